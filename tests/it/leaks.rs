//! Searches for secrets in everything that any command shows or leaves behind, at the most verbose log level.
//!
//! Secrets are planted in every form of admin access, and tokens are minted. Then every command runs, once where it
//! succeeds and once where it fails, and a [`Spy`] collects what it prints, logs, serves and writes, and what `/proc`
//! shows of it and of its plugins. Secrets may be in outputs, in token files, in the cache of the exec plugin and in
//! the output of `credential`, and nowhere else. Start with [`no_command_shows_a_secret`].

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kubemint_testkit::TestCluster;
use kubemint_testkit::sim::{Fault, Fleet, Hostility};
use memchr::memmem;
use serde_json::Value;

use crate::support::{Machine, simulated};

/// Clusters whose admin access works: with a token, and with a plugin.
const WORKING: [&str; 4] = ["tok", "plug", "echo", "html"];
/// Clusters whose admin access is refused, each in another form.
const REFUSED: [&str; 6] = ["basic", "cert", "wrongca", "fails", "noisy", "garbled"];

const PASSWORD: &str = "correct-horse-battery-staple-7";
const GIVEN: &str = "value-that-only-the-plugin-may-know";
const OPAQUE: &str = "ghp_16C7e42F292c6912E7710c838347Ae178B4a";

const OUTPUTS: &str = r#"
[profiles.reader]
token = { ttl = "2h", overlap = "1s" }
cluster-rules = [{ api-groups = [""], resources = ["pods", "namespaces"], verbs = ["get", "list"] }]
[[grants]]
profile = "reader"
selector = "env=test"
[[outputs]]
path = "out/{cluster}.kubeconfig"
[[outputs]]
path = "out/all.kubeconfig"
[[outputs]]
path = "out/files.kubeconfig"
credential = "token-file"
[[outputs]]
path = "out/exec.kubeconfig"
credential = "exec"
"#;

/// How often the process and its files are examined while it runs.
const SAMPLE: Duration = Duration::from_millis(3);

/// Runs commands, and keeps what they show.
struct Spy {
    machine: Machine,
    /// The secrets, each with its description.
    secrets: BTreeSet<(String, String)>,
    /// Everything that was seen, with its source.
    seen: Vec<(String, Vec<u8>)>,
    /// Whether `/proc` showed a plugin.
    saw_plugin: bool,
    /// The format of the last run's logs.
    logs_json: bool,
}

impl Spy {
    /// Runs a command; the logs alternate between text and JSON.
    #[track_caller]
    fn run(&mut self, arguments: &[&str], codes: &[i32]) {
        self.logs_json = !self.logs_json;
        let format = if self.logs_json { "json" } else { "text" };
        let arguments = [arguments, &["-vv", "--log-format", format]].concat();
        let what = arguments.join(" ");
        let child = self.machine.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (code, stdout, stderr) = self.watch(&what, child);
        assert!(
            codes.contains(&code),
            "{what}: {code}
{}",
            String::from_utf8_lossy(&stderr)
        );
        self.seen.push((format!("stdout of {what}"), stdout));
        self.seen.push((format!("stderr of {what}"), stderr));
        self.collect(&what);
    }

    /// Runs the plugin that a kubeconfig names; its standard output is for its client alone, and not checked.
    fn run_plugin(&mut self, machine_file: &str, codes: &[i32]) {
        let file: Value = serde_saphyr::from_str(&self.machine.read(machine_file)).unwrap();
        for user in file["users"].as_array().unwrap() {
            let exec = &user["user"]["exec"];
            let arguments = exec["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap());
            let arguments: Vec<&str> = arguments.chain(["-vv"]).collect();
            let what = arguments.join(" ");
            let info = serde_json::json!({"apiVersion": exec["apiVersion"], "kind": "ExecCredential"}).to_string();
            let mut command = self.machine.command(&arguments);
            command.env("KUBERNETES_EXEC_INFO", info).stdout(Stdio::piped()).stderr(Stdio::piped());
            let (code, stdout, stderr) = self.watch(&what, command.spawn().unwrap());
            assert!(codes.contains(&code), "{what}: {code}\n{}", String::from_utf8_lossy(&stderr));
            if code == 0 {
                let reply: Value = serde_json::from_slice(&stdout).unwrap();
                self.plant("a token of `credential`", reply["status"]["token"].as_str().unwrap());
            } else {
                self.seen.push((format!("stdout of {what}"), stdout));
            }
            self.seen.push((format!("stderr of {what}"), stderr));
            self.collect(&what);
        }
    }

    /// Waits for a process, and meanwhile examines it, its children and its files.
    fn watch(&mut self, what: &str, child: Child) -> (i32, Vec<u8>, Vec<u8>) {
        let id = child.id();
        let directory = self.machine.path("");
        let is_over = AtomicBool::new(false);
        let (output, sampled) = std::thread::scope(|scope| {
            let sampling = scope.spawn(|| {
                let mut sampled = BTreeSet::new();
                while !is_over.load(Ordering::Relaxed) {
                    sample(id, &directory, &mut sampled);
                    std::thread::sleep(SAMPLE);
                }
                sampled
            });
            let output = child.wait_with_output().unwrap();
            is_over.store(true, Ordering::Relaxed);
            (output, sampling.join().unwrap())
        });
        self.saw_plugin |= sampled.iter().any(|(place, _)| place == "environ of a plugin");
        self.seen.extend(sampled.into_iter().map(|(place, content)| (format!("{place} during {what}"), content)));
        (output.status.code().unwrap_or(-1), output.stdout, output.stderr)
    }

    /// Examines every file, and collects the tokens that exist.
    fn collect(&mut self, what: &str) {
        for (path, content) in self.machine.files() {
            let name = path.strip_prefix(self.machine.path("")).unwrap().to_owned();
            if may_hold_secrets(&name) {
                for token in tokens(&String::from_utf8_lossy(&content)) {
                    self.plant("a minted token", &token);
                }
            } else {
                self.seen.push((format!("{} after {what}", name.display()), content));
            }
        }
    }

    fn plant(&mut self, what: &str, secret: &str) {
        self.secrets.insert((what.to_owned(), secret.to_owned()));
    }

    /// Checks that nothing that was seen holds a secret, or half of one.
    fn check(&self) {
        for (what, secret) in &self.secrets {
            let halves = [&secret[secret.len() / 4..secret.len() * 3 / 4], &secret[secret.len() / 2..]];
            for (place, content) in &self.seen {
                for half in halves {
                    let found = memmem::find(content, half.as_bytes());
                    assert!(found.is_none(), "{what} is in {place}:\n{}", around(content, found.unwrap_or(0)));
                }
            }
        }
    }
}

/// Examines a process, its children, and the files that must not hold secrets, once.
fn sample(id: u32, directory: &Path, sampled: &mut BTreeSet<(String, Vec<u8>)>) {
    let mut keep = |place: &str, content: std::io::Result<Vec<u8>>| {
        // What ended meanwhile cannot be read, and what was seen before says nothing new.
        if let Ok(content) = content.map(|content| (place.to_owned(), content)) {
            sampled.insert(content);
        }
    };
    let process = |id: &str, file: &str| std::fs::read(Path::new("/proc").join(id).join(file));
    let id = id.to_string();
    keep("cmdline", process(&id, "cmdline"));
    keep("environ", process(&id, "environ"));
    let threads = std::fs::read_dir(Path::new("/proc").join(&id).join("task")).into_iter().flatten().flatten();
    for thread in threads {
        let children = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace() {
            keep("cmdline of a plugin", process(child, "cmdline"));
            let environ = process(child, "environ").map(|environ| without_given(&environ));
            keep("environ of a plugin", environ);
        }
    }
    let mut files = vec![];
    collect_files(directory, &mut files);
    for path in files {
        let name = path.strip_prefix(directory).unwrap();
        if name.to_string_lossy().contains(".kubemint-tmp-") {
            let mode = std::fs::metadata(&path).map_or(0, |metadata| metadata.permissions().mode() & 0o077);
            keep(&name.display().to_string(), if mode == 0 { Ok(vec![]) } else { std::fs::read(&path) });
        } else if !may_hold_secrets(name) {
            keep(&name.display().to_string(), std::fs::read(&path));
        }
    }
}

fn collect_files(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => collect_files(&path, files),
            _ => files.push(path),
        }
    }
}

/// Whether secrets were put into a file, or belong into it.
fn may_hold_secrets(name: &Path) -> bool {
    let text = name.to_string_lossy();
    let is_output = text.starts_with("out/") && (text.ends_with(".kubeconfig") || text.ends_with(".token"));
    let is_cache = text.starts_with(".cache/kubemint/") && text.ends_with(".json");
    let is_input = ["admin.yaml", "damaged.yaml"].contains(&&*text) || text.starts_with("plugins/");
    is_output || is_cache || is_input
}

/// Returns an environment without the value that the user gives to the plugin. Of a process that ends while it is read, the
/// last variable may be cut.
fn without_given(environ: &[u8]) -> Vec<u8> {
    let variables = environ.split(|byte| *byte == 0).filter(|variable| !variable.starts_with(b"GIVEN="));
    variables.collect::<Vec<_>>().join(&0)
}

fn around(content: &[u8], at: usize) -> String {
    let range = at.saturating_sub(400)..(at + 400).min(content.len());
    String::from_utf8_lossy(&content[range]).into_owned()
}

/// Returns the texts that look like a JSON Web Token.
fn tokens(text: &str) -> Vec<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let words = text.split(|c| !is_part(c));
    words.filter(|word| word.starts_with("eyJ") && word.matches('.').count() == 2).map(str::to_owned).collect()
}

/// Sets up a machine with a secret in every form of admin access.
fn spy(fleet: &Fleet) -> Spy {
    let machine = Machine::of(fleet, "leaks", OUTPUTS);
    let impatient = machine.read("clusters.toml").replace("\"10s\"", "\"1s\"").replace("\"60s\"", "\"2s\"");
    machine.write("clusters.toml", &impatient.replacen("[defaults]\n", "[defaults]\nevents = true\n", 1));
    let mut spy = Spy { machine, secrets: BTreeSet::new(), seen: vec![], saw_plugin: false, logs_json: false };
    let (cert, key) = (pem("client-p256.pem"), pem("client-p256-key.pem"));
    for secret in [PASSWORD, GIVEN, OPAQUE] {
        spy.plant("a planted secret", secret);
    }
    spy.plant("the password as it is sent", &STANDARD.encode(format!("jo:{PASSWORD}")));
    spy.plant("a client key", &STANDARD.encode(&key));
    spy.plant("a client key as PEM", key.lines().nth(1).unwrap());
    let tokens: Vec<(String, String)> =
        fleet.test_clusters().iter().map(|cluster| (cluster.name.clone(), cluster.admin_token.clone())).collect();
    let mut admin = spy.machine.read("admin.yaml");
    for (name, token) in &tokens {
        spy.plant("an admin's token", token);
        let reply = serde_json::json!({
            "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": token},
        });
        // A shell that is busy for a moment, so that it can be seen.
        let script = match name.as_str() {
            "plug" => format!("echo 'token {OPAQUE}' >&2\nfor i in 1 2 3; do sleep 0.02; done\necho '{reply}'\n"),
            "fails" => format!("echo '{reply}'\necho 'refused {token} of {GIVEN}' >&2\nexit 1\n"),
            "noisy" => format!("echo 'token={OPAQUE}' >&2\nexit 1\n"),
            "garbled" => format!("echo '{reply} and {OPAQUE}'\n"),
            _ => String::new(),
        };
        let user = match name.as_str() {
            "basic" => format!("{{username: jo, password: {PASSWORD}}}"),
            "cert" => format!(
                "{{client-certificate-data: {}, client-key-data: {}}}",
                STANDARD.encode(&cert),
                STANDARD.encode(&key)
            ),
            "plug" | "fails" | "noisy" | "garbled" => {
                let path = format!("plugins/{name}");
                spy.machine.write(&path, &format!("#!/bin/sh\n{script}"));
                let path = spy.machine.path(&path);
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
                format!(
                    "{{exec: {{apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: '{}', \
                     env: [{{name: PATH, value: '/usr/bin:/bin'}}, {{name: GIVEN, value: {GIVEN}}}]}}}}",
                    path.display()
                )
            }
            _ => continue,
        };
        admin = admin.replace(&format!("  user:\n    token: {token}\n"), &format!("  user: {user}\n"));
    }
    let authority = |name: &str| {
        let clusters = fleet.test_clusters();
        STANDARD.encode(&clusters.iter().find(|cluster| cluster.name == name).unwrap().ca_pem)
    };
    let other = STANDARD.encode(pem("other-ca.pem"));
    let at = admin.find("name: wrongca\n").unwrap();
    let start = admin[..at].rfind("certificate-authority-data: ").unwrap();
    let wrong = admin[start..at].replace(&authority("wrongca"), &other);
    admin.replace_range(start..at, &wrong);
    spy.machine.write("admin.yaml", &admin);
    spy
}

fn pem(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/parity/pki").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// The exit code of a command if some clusters work and others do not.
const SOME: &[i32] = &[6];
const ALL_FAILED: &[i32] = &[4, 5, 6, 7];

#[test]
fn no_command_shows_a_secret() {
    let fleet = simulated(WORKING.into_iter().chain(REFUSED));
    let mut spy = spy(&fleet);
    let admin = spy.machine.path("admin.yaml").display().to_string();

    spy.run(&["schema"], &[0]);
    spy.run(&["completions", "bash"], &[0]);
    spy.run(&["man", "pages"], &[0]);
    spy.run(&["init", "-f", "new.toml", "--from", &admin], &[0, 2]);
    spy.run(&["validate"], &[0]);
    for command in [&["plan"][..], &["apply", "--yes"]] {
        // One after the other, the two formats of logs.
        spy.run(command, SOME);
        spy.run(command, SOME);
    }
    for cluster in WORKING {
        assert!(spy.machine.path(&format!("out/{cluster}.kubeconfig")).exists(), "{cluster} works");
    }
    spy.run(&["refresh", "--force", "--metrics-file", "metrics.prom"], SOME);
    spy.run_plugin("out/exec.kubeconfig", &[0]);
    for command in [&["plan"][..], &["apply", "--yes"], &["refresh"], &["status"], &["verify"]] {
        spy.run(&[command, &["-o", "json"]].concat(), &[0, 4, 6]);
    }
    let formats = ["json=r.json", "html=r.html", "markdown=r.md", "junit=r.xml"];
    let formats: Vec<&str> = formats.into_iter().flat_map(|format| ["-o", format]).collect();
    for (command, codes) in [
        (&["plan", "--out", "saved.plan"][..], SOME),
        (&["show", "saved.plan"], &[0]),
        (&["apply", "saved.plan", "--events", "events.jsonl"], SOME),
        (&["refresh", "--force", "--events", "events.jsonl"], SOME),
        (&["status"], &[0, 4, 6]),
        (&["verify"], &[0, 4, 6]),
    ] {
        spy.run(&[command, &formats].concat(), codes);
    }
    spy.run(&["status", "-o", "wide", "--legacy"], &[0, 4, 6]);
    for file in ["out/tok.kubeconfig", "out/exec.kubeconfig", "out/files.kubeconfig"] {
        spy.run(&["verify", "--kubeconfig", file, "--context", "reader@tok"], &[0, 4, 7]);
    }
    for context in WORKING.into_iter().chain(REFUSED) {
        spy.run(&["verify", "--kubeconfig", "admin.yaml", "--context", context, "-o", "json"], &[0, 4, 7]);
    }
    spy.run(&["merge", "out/tok.kubeconfig", "out/plug.kubeconfig", "-o", "out/merged.kubeconfig"], &[0]);
    spy.run(&["merge", "admin.yaml", "-o", "out/merged.kubeconfig", "--dry-run"], &[0]);
    watcher(&mut spy);

    // Servers that repeat what they were sent.
    fleet.cluster("echo").set_fault(Some(Fault::Hostile(Hostility::EchoCredentials)));
    for cluster in ["html", "basic", "cert"] {
        fleet.cluster(cluster).set_fault(Some(Fault::Hostile(Hostility::EchoCredentialsHtml)));
    }
    for command in [&["plan"][..], &["apply", "--yes"], &["refresh", "--force"], &["status"], &["verify"]] {
        spy.run(command, &[0, 4, 6]);
    }
    events(&mut spy);
    spy.run(&["verify", "--kubeconfig", "out/html.kubeconfig"], &[4, 7]);
    spy.run(&["verify", "--kubeconfig", "admin.yaml", "--context", "basic"], &[4, 7]);
    std::fs::remove_dir_all(spy.machine.path(".cache")).unwrap();
    spy.run_plugin("out/exec.kubeconfig", &[0, 7]);
    spy.run(&["revoke", "--superseded", "--yes"], &[0, 4, 5, 6, 7]);

    for cluster in fleet.clusters() {
        cluster.set_fault(None);
    }

    // Outputs that cannot be read.
    let token = spy.machine.token("out/tok.kubeconfig");
    let whole = spy.machine.read("out/tok.kubeconfig");
    for damage in [format!("users: [\n  token: {token}\n"), format!("{token}: [{token}\n"), token.clone()] {
        spy.machine.write("out/tok.kubeconfig", &damage);
        spy.machine.write("damaged.yaml", &damage);
        for command in [&["plan"][..], &["apply", "--yes"], &["status", "--offline"], &["verify"]] {
            let command = [command, &["--cluster", "tok"]].concat();
            let command = command.as_slice();
            spy.run(command, &[0, 4, 5, 6, 7]);
        }
        spy.run(&["verify", "--kubeconfig", "damaged.yaml"], &[4, 7]);
        spy.run(&["merge", "damaged.yaml", "-o", "out/merged.kubeconfig"], &[0, 3, 5, 7]);
        spy.run(&["init", "-f", "never.toml", "--from", "damaged.yaml"], &[3, 7]);
        spy.run(&["-f", "damaged.yaml", "validate"], &[3]);
    }
    spy.machine.write("out/tok.kubeconfig", &whole);

    for depth in [&["--generation", "1"][..], &[], &["--all"], &["--hard"], &["--access"]] {
        spy.run(&[&["revoke", "--yes", "-o", "json"], depth].concat(), ALL_FAILED);
    }
    assert!(spy.saw_plugin, "plugins were seen while they ran");
    assert!(spy.secrets.len() > 20, "tokens were minted: {}", spy.secrets.len());
    let logs = spy.seen.iter().filter(|(_, content)| memmem::find(content, b"/serviceaccounts/reader/token").is_some());
    assert!(logs.count() > 0, "requests are logged");
    spy.check();
}

/// Has a token proven at a server that repeats it, and examines what is said of that in the cluster.
fn events(spy: &mut Spy) {
    let text = spy.machine.read("clusters.toml");
    let find = |name: &str| spy.machine.clusters.iter().position(|cluster| cluster.name == name).unwrap();
    let (tok, echo) = (find("tok"), find("echo"));
    let TestCluster { server, ca_pem, .. } = spy.machine.clusters[echo].clone();
    spy.machine.write("echo-ca.pem", &ca_pem);
    let consumer = format!("consumer = {{ server = \"{server}\", certificate-authority = \"echo-ca.pem\" }}");
    let elsewhere = text.replace("name = \"tok\"\n", &format!("name = \"tok\"\n{consumer}\n"));
    // A server that refuses a new token is asked again for a quarter of a minute.
    spy.machine.write("clusters.toml", &elsewhere.replace("\"2s\"", "\"25s\""));
    spy.run(&["refresh", "--cluster", "tok"], &[7]);
    spy.machine.write("clusters.toml", &text);
    let said = spy.machine.admin(tok).get("/apis/events.k8s.io/v1/namespaces/leaks/events").unwrap().to_string();
    assert!(said.contains("was not delivered") && said.contains("[REDACTED]") && tokens(&said).is_empty(), "{said}");
    spy.seen.push(("Events".to_owned(), said.into_bytes()));
}

/// Runs the watcher until it has renewed once, and examines all that it serves.
fn watcher(spy: &mut Spy) {
    let arguments = ["refresh", "--watch", "--listen", "127.0.0.1:0", "--metrics-file", "metrics.prom", "-vv"];
    let mut child = spy.machine.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    let address = loop {
        let start = said.len();
        assert!(stderr.read_line(&mut said).unwrap() > 0, "it ended: {said}");
        if let Some(address) = said[start..].trim().strip_prefix("listening on http://") {
            break address.to_owned();
        }
    };
    let rest = std::thread::spawn(move || {
        let mut rest = vec![];
        stderr.read_to_end(&mut rest).unwrap();
        rest
    });
    let get = |path: &str| {
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = vec![];
        stream.read_to_end(&mut answer).unwrap();
        answer
    };
    crate::life::eventually("the watcher ran once", || {
        memmem::find(&get("/metrics"), b"kubemint_credentials{").is_some()
    });
    for path in ["/metrics", "/healthz", "/readyz", "/", "/clusters.toml"] {
        spy.seen.push((format!("{path} of the watcher"), get(path)));
    }
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    let (_, stdout, _) = spy.watch("refresh --watch", child);
    spy.seen.push(("stdout of the watcher".to_owned(), stdout));
    spy.seen.push(("stderr of the watcher".to_owned(), [said.into_bytes(), rest.join().unwrap()].concat()));
    spy.collect("refresh --watch");
}

/// The search finds a planted secret: half of it, and in each kind of source.
#[test]
fn the_search_finds_half_a_secret() {
    let fleet = simulated(["tok", "wrongca"]);
    let mut spy = spy(&fleet);
    spy.check();
    for place in ["stderr", "left.lock"] {
        let half = spy.machine.clusters[0].admin_token[20..].to_owned();
        if place == "stderr" {
            spy.seen.push((place.to_owned(), half.into_bytes()));
        } else {
            spy.machine.write(place, &half);
            spy.collect("nothing");
        }
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| spy.check()));
        assert!(found.is_err(), "{place}");
        spy.seen.clear();
    }
}
