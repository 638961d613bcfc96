//! Reports in several formats, on standard output and in files.

use std::fs::File;
use std::io::{Read, Write};
use std::process::Stdio;

use kubemint_testkit::User;
use kubemint_testkit::sim::Fault;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::cli::READER;
use crate::support::{Machine, simulated};

#[test]
fn one_run_writes_reports_for_everybody_who_reads_them() {
    let fleet = simulated(["a", "b"]);
    let machine = Machine::new(&fleet.test_clusters(), User::Admin);
    machine.inventory("several", READER);
    let formats = ["-o", "json=plan.json", "-o", "junit=plan.xml", "-o", "markdown=plan.md"];
    let run = machine.kubemint(&[&["plan"], formats.as_slice()].concat()).exits(0);
    assert!(run.stdout.contains("2 clusters: 2 to change"), "the terminal still has the text: {}", run.stdout);
    let json: serde_json::Value = serde_json::from_str(&machine.read("plan.json")).unwrap();
    assert_eq!(json["summary"]["pending"], 2);
    assert_eq!(json["clusters"][0]["profiles"][0], "reader");
    assert!(machine.read("plan.xml").contains("<testcase classname=\"a\" name=\"reader\"/>"));
    assert!(
        machine.read("plan.md").starts_with("<!-- kubemint report -->\n### kubemint plan: 2 clusters: 2 to change")
    );
    // The next run replaces its own.
    let run = machine.kubemint(&[&["apply", "--yes"], formats.as_slice()].concat()).exits(0);
    assert!(run.stdout.ends_with("2 clusters: 2 changed\n"), "{}", run.stdout);
    let json: serde_json::Value = serde_json::from_str(&machine.read("plan.json")).unwrap();
    assert_eq!((&json["command"], &json["summary"]["changed"]), (&"apply".into(), &2.into()));
    // A document on standard output stands alone there.
    let run = machine.kubemint(&["status", "-o", "markdown", "-o", "json=plan.json"]).exits(0);
    assert!(
        run.stdout.starts_with("<!-- kubemint report -->\n### kubemint status: 2 grants, 2 fine\n"),
        "{}",
        run.stdout
    );
    for command in ["status", "verify"] {
        drop(machine.kubemint(&[command, "-o", "junit=plan.xml"]).exits(0));
        assert!(machine.read("plan.xml").contains(&format!("<testsuites name=\"kubemint {command}\" tests=\"2\"")));
    }
}

#[test]
fn what_is_no_report_of_that_format_is_not_overwritten() {
    let fleet = simulated(["a"]);
    let machine = Machine::new(&fleet.test_clusters(), User::Admin);
    machine.inventory("kept", READER);
    let inventory = machine.read("clusters.toml");
    for (outputs, cause) in [
        (&["-o", "json=clusters.toml"][..], "it is something else"),
        (&["-o", "json", "-o", "markdown"], "two reports would go to standard output"),
        (&["-o", "json=x", "-o", "junit=./x"], "two reports would go to `./x`"),
        (&["-o", "text=x"], "json=FILE"),
    ] {
        let run = machine.kubemint(&[&["apply", "--yes"], outputs].concat()).exits(2);
        assert!(run.stderr.contains(cause), "{outputs:?}: {}", run.stderr);
    }
    assert_eq!(machine.read("clusters.toml"), inventory);
    assert_eq!(fleet.requests(), 0, "nothing was contacted");
    machine.write("report", "{}");
    drop(machine.kubemint(&["plan", "-o", "junit=report"]).exits(2));
    assert_eq!(machine.read("report"), "{}");
}

/// Whoever says no gets no change, and reports that say so: an older report must not stay as if it were the newest.
#[test]
fn a_declined_run_reports_that_it_was_declined() {
    let fleet = simulated(["a"]);
    let machine = Machine::new(&fleet.test_clusters(), User::Admin);
    machine.inventory("declined", READER);
    for command in ["apply", "revoke"] {
        for (outputs, on_stdout) in
            [(&["-o", "json=said.json"][..], false), (&["-o", "json", "-o", "junit=said.xml"], true)]
        {
            let (code, stdout, terminal) = answered(&machine, &[&[command], outputs].concat(), "n\n");
            assert_eq!(code, Some(4), "{terminal}");
            let report = if on_stdout { stdout } else { machine.read("said.json") };
            let report: serde_json::Value = serde_json::from_str(&report).unwrap();
            let cluster = &report["clusters"][0];
            assert_eq!(
                (&report["command"], &cluster["not-started"]),
                (&command.into(), &"declined".into()),
                "{report}"
            );
            if on_stdout {
                assert!(machine.read("said.xml").contains("<skipped"), "{}", machine.read("said.xml"));
            } else {
                let nothing = if command == "apply" { "nothing was changed" } else { "nothing was revoked" };
                assert!(terminal.contains(nothing), "{terminal}");
            }
        }
        machine.expect(0, &["apply", "--yes"]);
    }
}

/// Runs kubemint on a terminal and answers its question; returns the exit code, stdout, and what the terminal showed.
fn answered(machine: &Machine, arguments: &[&str], answer: &str) -> (Option<i32>, String, String) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, vec![]).unwrap();
    let open = || File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let mut command = machine.command(arguments);
    let child = command.stdin(open()).stderr(open()).stdout(Stdio::piped()).spawn().unwrap();
    // The terminal ends for its reader once nobody has its other side open.
    drop(command);
    let mut master = File::from(master);
    master.write_all(answer.as_bytes()).unwrap();
    let reader = std::thread::spawn(move || {
        let mut shown = vec![];
        // Linux ends a terminal with an error.
        let ended = master.read_to_end(&mut shown).map_err(|error| error.raw_os_error());
        assert!(matches!(ended, Ok(_) | Err(Some(5))), "{ended:?}");
        String::from_utf8_lossy(&shown).into_owned()
    });
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap(), reader.join().unwrap())
}

/// The schema stands in docs/, and what each command writes follows it, of clusters that work and of one that does not.
#[test]
#[expect(clippy::disallowed_methods, reason = "it writes a document of the repository when it is asked to")]
fn every_command_writes_what_the_published_schema_says() {
    let fleet = simulated(["a", "b"]);
    let machine = Machine::new(&fleet.test_clusters(), User::Admin);
    machine.inventory("schema", READER);
    let schema = machine.kubemint(&["schema", "report"]).exits(0).stdout;
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/report.schema.json");
    if std::env::var_os("KUBEMINT_UPDATE_DOCS").is_some() {
        std::fs::write(&page, &schema).unwrap();
    }
    let written = std::fs::read_to_string(&page).unwrap();
    assert_eq!(written, schema, "run the tests with KUBEMINT_UPDATE_DOCS=1 to write docs/report.schema.json");
    let validator = jsonschema::draft202012::new(&serde_json::from_str(&schema).unwrap()).unwrap();
    let check = |arguments: &[&str], code: i32| {
        let report = machine.kubemint(&[arguments, &["-o", "json"]].concat()).exits(code).report();
        let errors: Vec<String> = validator.iter_errors(&report).map(|error| error.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new(), "{arguments:?}");
        assert_eq!(report["command"], arguments[0]);
        let row = &report[if arguments[0] == "status" { "grants" } else { "clusters" }][0];
        assert_eq!(row["labels"], serde_json::json!({"env": "test"}), "{arguments:?}");
        if arguments[0] != "status" {
            let time = |field: &str| row[field].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
            assert!(time("began") <= time("ended"), "{row}");
        }
    };
    for (arguments, code) in [
        (&["plan"][..], 0),
        (&["apply", "--yes"], 0),
        (&["refresh", "--force"], 0),
        (&["status", "--legacy"], 0),
        (&["verify"], 0),
    ] {
        check(arguments, code);
    }
    fleet.cluster("b").set_fault(Some(Fault::Hang));
    for arguments in [&["plan"][..], &["status"], &["verify"], &["refresh"], &["revoke", "--yes"]] {
        check(arguments, 6);
    }
}
