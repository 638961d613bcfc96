//! Clusters that are found by themselves: on both fleets, with the cluster as its own hub, and fleets of many on simulated ones.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kubemint_testkit::control_plane::{ClusterOptions, ControlPlane};
use kubemint_testkit::sim::Fault;
use kubemint_testkit::{Admin, TestCluster, User, kubeconfig_yaml};
use serde_json::{Value, json};

use crate::delivering::{argocd_token, path};
use crate::registering::install;
use crate::support::{Machine, can_i, simulated};

/// Passes the scenarios to a macro, so that none can be left out on one fleet.
macro_rules! every_discovery {
    ($run:ident) => {
        $run!(
            from_an_admin_secret_to_a_limited_one_in_one_step,
            every_preset_leads_to_the_cluster,
            a_secret_may_not_run_programs_or_name_files,
            a_frozen_source_gives_what_was_reviewed,
            files_and_programs_name_clusters,
        );
    };
}
pub(crate) use every_discovery;

/// A profile for all clusters.
const PROFILE: &str = "
[profiles.reader]
cluster-rules = [{ api-groups = [''], resources = ['pods'], verbs = ['get', 'list'] }]
[[grants]]
profile = 'reader'
selector = ''
";

/// Writes an inventory that names no cluster.
pub(crate) fn inventory(machine: &Machine, name: &str, rest: &str) {
    machine.write(
        "clusters.toml",
        &format!(
            "version = 1\nname = '{name}'\n[defaults]\nadmin = {{ kubeconfig = 'admin.yaml' }}\nrequest-timeout = '5s'\n\
             cluster-timeout = '30s'\nnamespace = '{name}'\ncreate-namespaces = true\n{PROFILE}{rest}"
        ),
    );
}

pub(crate) fn namespace(admin: &Admin, name: &str) {
    let object = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
    admin.create("/api/v1/namespaces", &object).unwrap();
}

/// Creates a Secret with some text.
pub(crate) fn secret(
    admin: &Admin,
    (namespace, name): (&str, &str),
    kind: &str,
    labels: &Value,
    data: &[(&str, &str)],
) {
    let data: serde_json::Map<String, Value> =
        data.iter().map(|(key, value)| ((*key).to_owned(), STANDARD.encode(value).into())).collect();
    let object = json!({
        "apiVersion": "v1", "kind": "Secret", "type": kind, "data": data,
        "metadata": { "name": name, "namespace": namespace, "labels": labels },
    });
    admin.create(&format!("/api/v1/namespaces/{namespace}/secrets"), &object).unwrap();
}

/// Creates what Cluster API has of a cluster.
pub(crate) fn capi(hub: &Admin, namespace: &str, name: &str, env: &str, kubeconfig: &str) {
    let labels = json!({ "cluster.x-k8s.io/cluster-name": name, "env": env });
    let place = format!("{name}-kubeconfig");
    secret(hub, (namespace, &place), "cluster.x-k8s.io/secret", &labels, &[("value", kubeconfig)]);
}

/// The admin's kubeconfig of a cluster, as somebody else wrote it.
pub(crate) fn kubeconfig(cluster: &TestCluster) -> String {
    kubeconfig_yaml(&[cluster], User::Admin)
}

pub(crate) fn from_an_admin_secret_to_a_limited_one_in_one_step(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    let admin = machine.admin(0);
    namespace(&admin, "capi");
    capi(&admin, "capi", "edge", "prod", &kubeconfig(cluster));
    capi(&admin, "capi", "lab", "dev", &kubeconfig(cluster));
    // Others of that type, and what is no cluster.
    let labels = json!({ "cluster.x-k8s.io/cluster-name": "edge", "env": "prod" });
    secret(&admin, ("capi", "edge-ca"), "cluster.x-k8s.io/secret", &labels, &[("tls.crt", "x")]);
    capi(&admin, "capi", "broken", "prod", "no: kubeconfig");
    let leaky = kubeconfig(cluster).replace("https://", "https://admin:hunter2@");
    capi(&admin, "capi", "leaky", "prod", &leaky);
    let name = &cluster.name;
    inventory(
        &machine,
        "onestep",
        &format!(
            "[[discover]]\nkind = 'secrets'\npreset = 'capi'\nnamespaces = ['capi']\nadmin = {{ context = '{name}' }}\nselector = 'env=prod'\n\
             labels = ['env']\nadd-labels = {{ from = 'capi' }}\n\
             [[outputs]]\nkind = 'argocd'\nadmin = {{ context = '{name}' }}\nnamespace = 'onestep-argocd'\n\
             create-namespaces = true\nlabels = {{ env = '{{labels.env}}' }}\n\
             [[outputs]]\nkind = 'cluster-api'\nadmin = {{ context = '{name}' }}\nnamespace = 'capi'\n\
             name = '{{cluster}}-limited-kubeconfig'\n[[outputs]]\npath = 'out/{{cluster}}.kubeconfig'\n"
        ),
    );
    machine.expect(0, &["validate"]);
    let found = machine.kubemint(&["discover"]).exits(0);
    assert!(found.stdout.contains("edge"), "{}", found.stdout);
    assert!(!found.stdout.contains("lab") && !found.stdout.contains("edge-ca"), "{}", found.stdout);
    assert!(found.stderr.contains("Secret capi/broken-kubeconfig: "), "{}", found.stderr);
    assert!(found.stderr.contains("`server` has a user, a query or a fragment"), "{}", found.stderr);
    assert!(!found.stdout.contains("hunter2") && !found.stderr.contains("hunter2"), "{}", found.stdout);
    let document: Value = serde_json::from_str(&machine.kubemint(&["discover", "-o", "json"]).exits(0).stdout).unwrap();
    let found = &document["sources"][0]["clusters"][0];
    assert_eq!((&found["name"], &found["server"]), (&json!("edge"), &json!(cluster.server)), "{document:#}");
    assert_eq!(found["labels"], json!({ "env": "prod", "from": "capi" }));

    // What is left out may be a cluster of before, so a run without it is not about all of them.
    machine.expect(6, &["apply", "--yes"]);
    admin.delete(&path("capi", "broken-kubeconfig")).unwrap();
    admin.delete(&path("capi", "leaky-kubeconfig")).unwrap();
    let token = argocd_token(&admin, "onestep-argocd", "cluster-edge");
    assert_eq!(machine.token("out/edge.kubeconfig"), token);
    assert!(can_i(&admin, &token, "list", "pods", "") && !can_i(&admin, &token, "get", "secrets", ""));
    let labels = admin.get(&path("onestep-argocd", "cluster-edge")).unwrap()["metadata"]["labels"].clone();
    assert_eq!(labels["env"], "prod");
    // What kubemint delivered is no access to provision with.
    assert!(admin.get(&path("capi", "edge-limited-kubeconfig")).is_ok());
    let again = machine.kubemint(&["apply", "--yes"]).exits(0);
    assert!(again.stdout.contains("1 cluster is up to date"), "{}", again.stdout);
    machine.expect(0, &["refresh", "--force"]);
    machine.expect(0, &["status"]);
    machine.expect(0, &["verify"]);
    let admin_key = cluster.admin_certificate.as_ref().map_or(cluster.admin_token.as_str(), |(_, key)| key.as_str());
    for (file, content) in machine.files() {
        let is_admin = file.file_name().is_some_and(|name| name == "admin.yaml");
        let text = String::from_utf8_lossy(&content);
        assert!(is_admin || !text.contains(&STANDARD.encode(admin_key)[..40]), "{}", file.display());
    }
    capi(&admin, "capi", "broken", "prod", "no: kubeconfig");
    machine.expect(6, &["revoke", "--access", "--yes"]);
    assert!(admin.get(&path("onestep-argocd", "cluster-edge")).is_err_and(|status| status.code == 404));
}

/// Argo CD's form of an admin's access.
fn argocd_config(cluster: &TestCluster) -> String {
    let mut tls = json!({ "caData": STANDARD.encode(&cluster.ca_pem) });
    let mut config = json!({});
    match &cluster.admin_certificate {
        Some((certificate, key)) => {
            tls["certData"] = STANDARD.encode(certificate).into();
            tls["keyData"] = STANDARD.encode(key).into();
        }
        None => config["bearerToken"] = cluster.admin_token.as_str().into(),
    }
    config["tlsClientConfig"] = tls;
    config.to_string()
}

pub(crate) fn every_preset_leads_to_the_cluster(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    let admin = machine.admin(0);
    install(&admin);
    namespace(&admin, "presets");
    let plain = json!({ "owner": "x" });
    let config = kubeconfig(cluster);
    let put = |name: &str, data: &[(&str, &str)]| secret(&admin, ("presets", name), "Opaque", &plain, data);
    put("vc-virtual", &[("config", &config)]);
    put("plain-kubeconfig", &[("admin.conf", &config)]);
    put("custom", &[("config", &config)]);
    put("profile", &[("token", &cluster.admin_token)]);
    put("whole", &[("k", &config)]);
    let labels = json!({ "argocd.argoproj.io/secret-type": "cluster" });
    let access = argocd_config(cluster);
    let data = [("name", "argo"), ("server", cluster.server.as_str()), ("config", access.as_str())];
    secret(&admin, ("presets", "cluster-1"), "Opaque", &labels, &data);
    let sveltos = json!({
        "apiVersion": "lib.projectsveltos.io/v1beta1", "kind": "SveltosCluster",
        "metadata": { "name": "sv", "namespace": "presets" },
        "spec": { "kubeconfigName": "custom", "kubeconfigKeyName": "config" },
    });
    admin.create("/apis/lib.projectsveltos.io/v1beta1/namespaces/presets/sveltosclusters", &sveltos).unwrap();
    let profile = |name: &str, provider: &str, config: Value| {
        let object = json!({
            "apiVersion": "multicluster.x-k8s.io/v1alpha1", "kind": "ClusterProfile",
            "metadata": { "name": name, "namespace": "presets" }, "spec": { "clusterManager": { "name": "acme" } },
        });
        let collection = "/apis/multicluster.x-k8s.io/v1alpha1/namespaces/presets/clusterprofiles";
        admin.create(collection, &object).unwrap();
        let provider = json!({ "name": provider, "cluster": {
            "server": cluster.server, "certificate-authority-data": STANDARD.encode(&cluster.ca_pem),
            "extensions": [{ "name": "client.authentication.k8s.io/exec", "extension": config }],
        }});
        let status = json!({ "status": { "accessProviders": [provider] } });
        admin.merge_patch(&format!("{collection}/{name}/status"), &status).unwrap();
    };
    profile("by-token", "secretreader", json!({ "clusterName": "profile" }));
    profile("by-config", "kubeconfig-secretreader", json!({ "name": "whole", "key": "k", "context": cluster.name }));
    profile("by-cloud", "google", json!({}));
    // Whoever writes a ClusterProfile chooses what it names.
    namespace(&admin, "presets-elsewhere");
    secret(&admin, ("presets-elsewhere", "whole"), "Opaque", &plain, &[("k", &config)]);
    let ours = json!({ "app.kubernetes.io/managed-by": "kubemint" });
    secret(&admin, ("presets", "ours"), "Opaque", &ours, &[("k", &config)]);
    let elsewhere = json!({ "name": "whole", "namespace": "presets-elsewhere", "key": "k", "context": cluster.name });
    profile("by-elsewhere", "kubeconfig-secretreader", elsewhere);
    profile("by-ours", "kubeconfig-secretreader", json!({ "name": "ours", "key": "k", "context": cluster.name }));
    let sources = [
        ("vcluster", "kind = 'secrets'\npreset = 'vcluster'", "virtual"),
        (
            "kubeconfig",
            "kind = 'secrets'\nnamed = '*-kubeconfig'\nkey = 'admin.conf'\nname = '{namespace}-{name}'",
            "presets-plain-kubeconfig",
        ),
        ("argocd", "kind = 'secrets'\npreset = 'argocd'", "argo"),
        ("sveltos", "kind = 'secrets'\npreset = 'sveltos'", "sv"),
        ("cluster-profile", "kind = 'cluster-profile'\nnamed = 'by-token'", "by-token"),
        ("cluster-profile", "kind = 'cluster-profile'\nnamed = 'by-config'", "by-config"),
    ];
    for (id, source, name) in sources {
        let discover = format!(
            "[[discover]]\n{source}\nadmin = {{ context = '{}' }}\nnamespaces = ['presets']\n\
             [[outputs]]\npath = 'out/{{cluster}}.kubeconfig'\n",
            cluster.name
        );
        inventory(&machine, "presets", &discover);
        let found: Value =
            serde_json::from_str(&machine.kubemint(&["discover", "-o", "json"]).exits(0).stdout).unwrap();
        assert_eq!(found["sources"][0]["source"], id);
        let clusters = &found["sources"][0]["clusters"];
        assert_eq!((clusters.as_array().unwrap().len(), &clusters[0]["name"]), (1, &json!(name)), "{found:#}");
        assert_eq!(clusters[0]["server"], cluster.server.as_str(), "{found:#}");
        machine.expect(0, &["apply", "--yes", "--reissue"]);
        assert!(can_i(&admin, &machine.token(&format!("out/{name}.kubeconfig")), "list", "pods", ""), "{name}");
    }
    let discover = format!(
        "[[discover]]\nkind = 'cluster-profile'\nnamespaces = ['presets']\nadmin = {{ context = '{}' }}\n",
        cluster.name
    );
    inventory(&machine, "presets", &discover);
    let all = machine.kubemint(&["discover"]).exits(0);
    for why in [
        "by-cloud: it has none of the access providers",
        "by-elsewhere: it names a Secret in namespace `presets-elsewhere`, where this discovery does not look",
        "by-ours: kubemint delivered it",
    ] {
        assert!(all.stderr.contains(&format!("ClusterProfile presets/{why}")), "{why}: {}", all.stderr);
    }
}

pub(crate) fn a_secret_may_not_run_programs_or_name_files(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    let admin = machine.admin(0);
    namespace(&admin, "unsafe");
    machine.write("token", &cluster.admin_token);
    let with = |user: &str| {
        format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: c\n  cluster:\n    server: {}\n    \
             certificate-authority-data: {}\nusers:\n- name: u\n  user:\n{user}contexts:\n- name: x\n  context: {{cluster: c, user: u}}\n",
            cluster.server,
            STANDARD.encode(&cluster.ca_pem)
        )
    };
    let program = machine.path("ran");
    let exec = format!(
        "    exec:\n      apiVersion: client.authentication.k8s.io/v1\n      interactiveMode: Never\n      command: /bin/sh\n      \
         args: [-c, 'touch {}']\n",
        program.display()
    );
    let file = format!("    tokenFile: {}\n", machine.path("token").display());
    capi(&admin, "unsafe", "runs", "x", &with(&exec));
    capi(&admin, "unsafe", "reads", "x", &with(&file));
    let inventory_with = |more: &str| {
        let source = format!(
            "[[discover]]\nkind = 'secrets'\npreset = 'capi'\nadmin = {{ context = '{}' }}\nnamespaces = ['unsafe']\n{more}\n\
             [[outputs]]\npath = 'out/{{cluster}}.kubeconfig'\n",
            cluster.name
        );
        inventory(&machine, "unsafe", &source);
    };
    inventory_with("");
    let found = machine.kubemint(&["discover"]).exits(0);
    let refused =
        ["runs-kubeconfig: it wants a program to be run (`exec`)", "reads-kubeconfig: its `tokenFile` names a file"];
    for message in refused {
        assert!(found.stderr.contains(message), "{}", found.stderr);
    }
    assert!(!program.exists());
    // One that was written into a file by hand is refused just so.
    let cluster_of = |name: &str| {
        format!(
            "frozen = true\n[[clusters]]\nname = '{name}'\nadmin = {{ discovered = 'capi', secret = 'unsafe/{name}-kubeconfig' }}"
        )
    };
    inventory_with(&cluster_of("runs"));
    let refused = machine.kubemint(&["apply", "--yes"]).exits(7);
    assert!(refused.stderr.contains("it wants a program to be run"), "{}", refused.stderr);
    assert!(!program.exists());
    inventory_with(&format!("allow-exec = true\n{}", cluster_of("reads")));
    machine.expect(0, &["apply", "--yes"]);
    assert!(can_i(&admin, &machine.token("out/reads.kubeconfig"), "list", "pods", ""));
}

pub(crate) fn a_frozen_source_gives_what_was_reviewed(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    let admin = machine.admin(0);
    namespace(&admin, "frozen");
    capi(&admin, "frozen", "one", "prod", &kubeconfig(cluster));
    let source = |more: &str| {
        format!(
            "[[discover]]\nkind = 'secrets'\npreset = 'capi'\nadmin = {{ context = '{}' }}\nnamespaces = ['frozen']\n{more}\
             [[outputs]]\npath = 'out/{{cluster}}.kubeconfig'\n",
            cluster.name
        )
    };
    inventory(&machine, "frozen", &source(""));
    machine.write("mine.toml", "precious");
    let refused = machine.kubemint(&["discover", "--write", "mine.toml"]).exits(5);
    assert!(refused.stderr.contains("did not write it"), "{}", refused.stderr);
    machine.expect(0, &["discover", "--write", "found.toml"]);
    let written = machine.read("found.toml");
    assert!(written.contains("secret = \"frozen/one-kubeconfig\"") && !written.contains("client-"), "{written}");
    // What other sources found is not lost.
    let other = "[[discover]]\nkind = 'command'\ncommand = ['true']\n";
    inventory(&machine, "frozen", &format!("{}{other}", source("")));
    let refused = machine.kubemint(&["discover", "--source", "command", "--write", "found.toml"]).exits(5);
    assert!(refused.stderr.contains("clusters that were found by `capi`, which would be lost"), "{}", refused.stderr);
    assert_eq!(machine.read("found.toml"), written);
    inventory(&machine, "frozen", &source("frozen = true\n"));
    let text =
        machine.read("clusters.toml").replacen("name = 'frozen'\n", "name = 'frozen'\ninclude = ['found.toml']\n", 1);
    machine.write("clusters.toml", &text);
    machine.expect(0, &["apply", "--yes"]);
    let token = machine.token("out/one.kubeconfig");

    // Another appears, and the one that is known leads elsewhere by now.
    capi(&admin, "frozen", "two", "prod", &kubeconfig(cluster));
    let plan = machine.kubemint(&["plan"]).exits(0);
    assert!(
        plan.stderr.contains(
            "discovery `capi`: 1 cluster appeared since it was written down, which this run leaves out: `two`"
        ),
        "{}",
        plan.stderr
    );
    assert!(!plan.stdout.contains("two"), "{}", plan.stdout);
    let elsewhere = kubeconfig(cluster).replace("127.0.0.1", "localhost");
    let patch = json!({ "data": { "value": STANDARD.encode(&elsewhere) } });
    admin.merge_patch(&path("frozen", "one-kubeconfig"), &patch).unwrap();
    let plan = machine.kubemint(&["plan"]).exits(7);
    let port = cluster.port();
    let moved = format!("`one (<https://127.0.0.1:{port}>, now <https://localhost:{port}>)");
    assert!(plan.stderr.contains(&moved), "{}", plan.stderr);
    assert!(plan.stderr.contains("and led to <https://127.0.0.1"), "nothing goes there: {}", plan.stderr);
    // The same address over a proxy is somebody else's.
    let mut proxied: Value = serde_saphyr::from_str(&kubeconfig(cluster)).unwrap();
    proxied["clusters"][0]["cluster"]["proxy-url"] = "http://127.0.0.1:9".into();
    let patch = json!({ "data": { "value": STANDARD.encode(proxied.to_string()) } });
    admin.merge_patch(&path("frozen", "one-kubeconfig"), &patch).unwrap();
    let plan = machine.kubemint(&["plan"]).exits(7);
    assert!(plan.stderr.contains("`one (another CA, `tls-server-name` or `proxy-url`)`"), "{}", plan.stderr);
    assert!(
        plan.stderr.contains("its CA, `tls-server-name` or `proxy-url` is another than when it was found"),
        "{}",
        plan.stderr
    );
    admin
        .merge_patch(&path("frozen", "one-kubeconfig"), &json!({ "data": { "value": STANDARD.encode(&elsewhere) } }))
        .unwrap();
    assert_eq!(machine.token("out/one.kubeconfig"), token);
    machine.expect(0, &["discover", "--write", "found.toml"]);
    admin.delete(&path("frozen", "two-kubeconfig")).unwrap();
    let plan = machine.kubemint(&["plan"]).exits(6);
    assert!(
        plan.stderr.contains("discovery `capi`: 1 cluster went since it was written down: `two`"),
        "{}",
        plan.stderr
    );
}

pub(crate) fn files_and_programs_name_clusters(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    let admin = machine.admin(0);
    machine.write("more/site-a.yaml", &kubeconfig(cluster));
    machine.write("more/broken.yaml", "no: kubeconfig");
    let out = "[[outputs]]\npath = 'out/{cluster}.kubeconfig'\n";
    let files =
        "[[discover]]\nkind = 'kubeconfigs'\npath = 'more/*.yaml'\nname = '{file}'\nadd-labels = { from = 'files' }\n";
    // A table that says so refines what is found.
    let refines = "[[clusters]]\nname = 'site-a'\nadmin = { discovered = 'kubeconfigs' }\nlabels = { env = 'prod' }\nnamespace = 'refined'\n";
    inventory(
        &machine,
        "files",
        &format!("{files}{refines}{out}").replace("selector = ''", "selector = 'env=prod,from=files'"),
    );
    machine.expect(0, &["apply", "--yes"]);
    assert!(can_i(&admin, &machine.token("out/site-a.kubeconfig"), "list", "pods", ""));
    assert!(admin.get("/api/v1/namespaces/refined/serviceaccounts/reader").is_ok());

    let line = json!({ "name": "cloud-1", "labels": { "env": "prod" }, "kubeconfig": "more/site-a.yaml", "context": cluster.name });
    let bad = json!({ "name": "cloud-2", "password": "hunter2" });
    // Only the inventory knows that it cannot have this one.
    let unfit =
        json!({ "name": "cloud-3", "labels": { "env": "prod" }, "server": "https://jo:hunter2@x", "token-file": "t" });
    machine.write(
        "list-clusters",
        &format!("#!/bin/sh\ncat <<'END'\n{line}\n{bad}\nno json\n{unfit}\nEND\n")
            .replace("cat <<'END'", "while IFS= read -r line; do echo \"$line\"; done <<'END'"),
    );
    std::fs::set_permissions(machine.path("list-clusters"), std::fs::Permissions::from_mode(0o700)).unwrap();
    let command = "[[discover]]\nkind = 'command'\ncommand = ['./list-clusters', '--all']\nlabels = ['env']\n";
    inventory(&machine, "programs", &format!("{command}{out}").replace("selector = ''", "selector = 'env=prod'"));
    let found = machine.kubemint(&["apply", "--yes"]).exits(6);
    assert!(found.stderr.contains("`cloud-2` in line 2 of"), "{}", found.stderr);
    let left_out = "discovery `command`: left out is `cloud-3`: `server` is not valid";
    assert!(found.stderr.contains(left_out), "{}", found.stderr);
    assert!(found.stderr.contains("line 3 of") && !found.stderr.contains("hunter2"), "{}", found.stderr);
    assert!(can_i(&admin, &machine.token("out/cloud-1.kubeconfig"), "list", "pods", ""));

    // A program that fails is named, with what it said, and prunes nothing.
    machine.write(
        "list-clusters",
        "#!/bin/sh\necho '{\"name\": \"half\"}'\necho 'no credentials for the cloud' >&2\nexit 3\n",
    );
    std::fs::set_permissions(machine.path("list-clusters"), std::fs::Permissions::from_mode(0o700)).unwrap();
    let files = files.replace("'{file}'", "'{file}-again'");
    inventory(&machine, "programs", &format!("{command}{files}{out}"));
    let run = machine.kubemint(&["apply", "--prune", "--reissue", "--yes"]).exits(6);
    assert!(
        run.stderr.contains("no credentials for the cloud; its clusters are left out of this run"),
        "{}",
        run.stderr
    );
    assert!(
        run.stderr.contains("nothing is pruned, because not all clusters of discovery `command` are known"),
        "{}",
        run.stderr
    );
    assert!(machine.path("out/cloud-1.kubeconfig").exists());
    assert!(machine.path("out/site-a-again.kubeconfig").exists());
}

/// Fifty clusters of Cluster API: some come, some move, some go, and their hub fails.
#[test]
fn a_fleet_of_cluster_api_is_followed() {
    let names: Vec<String> =
        std::iter::once("hub".to_owned()).chain((0..51).map(|number| format!("c{number:02}"))).collect();
    let fleet = simulated(names);
    let machine = Machine::new(&fleet.test_clusters(), User::Admin);
    let hub = machine.admin(0);
    namespace(&hub, "fleet");
    let add = |number: usize| {
        let cluster = &machine.clusters[number + 1];
        capi(&hub, "fleet", &cluster.name, "prod", &kubeconfig(cluster));
    };
    (0..50).for_each(add);
    inventory(
        &machine,
        "followed",
        "[[discover]]\nkind = 'secrets'\npreset = 'capi'\nadmin = { context = 'hub' }\n\
         [[outputs]]\nkind = 'argocd'\nadmin = { context = 'hub' }\nnamespace = 'fleet'\n\
         [[outputs]]\npath = 'all.kubeconfig'\ncontext = '{cluster}'\n",
    );
    let applied = machine.kubemint(&["apply", "--yes"]).exits(0);
    assert!(applied.stdout.contains("50 clusters: 50 changed"), "{}", applied.stdout);
    let again = machine.kubemint(&["apply", "--yes"]).exits(0);
    assert!(again.stdout.contains("50 clusters are up to date"), "{}", again.stdout);

    // One comes, and one goes: an apply makes and prunes what belongs to them.
    add(50);
    hub.delete(&path("fleet", "c00-kubeconfig")).unwrap();
    machine.expect(0, &["apply", "--prune", "--yes"]);
    assert!(hub.get(&path("fleet", "cluster-c50")).is_ok());
    let run = machine.kubemint(&["retire", "--forget", "--gone", "--yes"]).exits(0);
    assert!(hub.get(&path("fleet", "cluster-c00")).is_err_and(|status| status.code == 404), "{}", run.stdout);
    let again = machine.kubemint(&["retire", "--forget", "--gone", "--yes"]).exits(0);
    assert!(!again.stdout.contains("c00"), "{}", again.stdout);
    let all = machine.read("all.kubeconfig");
    assert!(!all.contains("name: c00\n") && all.contains("name: c50\n"));

    // One moves: its credential is for another API server now.
    let token = argocd_token(&hub, "fleet", "cluster-c01");
    let patch = json!({ "data": { "value": STANDARD.encode(kubeconfig(&machine.clusters[1])) } });
    hub.merge_patch(&path("fleet", "c01-kubeconfig"), &patch).unwrap();
    machine.expect(0, &["apply", "--yes", "--reissue"]);
    let moved = argocd_token(&hub, "fleet", "cluster-c01");
    assert!(moved != token && can_i(&machine.admin(1), &moved, "list", "pods", ""));

    // Many vanish at once: somebody has lost a namespace, and nothing is done anywhere.
    for number in 10..30 {
        hub.delete(&path("fleet", &format!("c{number}-kubeconfig"))).unwrap();
    }
    let refused = machine.kubemint(&["retire", "--forget", "--gone", "--yes"]).exits(5);
    assert!(refused.stderr.contains("`--max-gone` is 10%: nothing is forgotten"), "{}", refused.stderr);
    assert!(hub.get(&path("fleet", "cluster-c10")).is_ok());

    // A hub that does not answer: everything stays, and the run says so.
    fleet.cluster("hub").set_fault(Some(Fault::Refuse));
    let run = machine.kubemint(&["apply", "--prune", "--yes"]);
    let gone = machine.kubemint(&["retire", "--forget", "--gone", "--yes"]).exits(5);
    assert!(
        gone.stderr.contains("nothing is forgotten, because not all clusters of discovery `capi` are known"),
        "{}",
        gone.stderr
    );
    assert!(run.code != 0 && run.stderr.contains("discovery `capi` did not answer"), "{} {}", run.code, run.stderr);
    assert!(machine.read("all.kubeconfig").contains("name: c10\n"));
    fleet.cluster("hub").set_fault(None);
}

/// A source that fails changes nothing for the clusters that others give.
#[test]
fn a_source_that_fails_leaves_the_others_alone() {
    let fleet = simulated(["hub", "a", "b"]);
    let machine = Machine::new(&fleet.test_clusters(), User::Admin);
    let hub = machine.admin(0);
    namespace(&hub, "fleet");
    capi(&hub, "fleet", "b", "prod", &kubeconfig(&machine.clusters[2]));
    inventory(
        &machine,
        "apart",
        "[[discover]]\nkind = 'secrets'\npreset = 'capi'\nadmin = { context = 'hub' }\n[[clusters]]\nname = 'a'\n\
         [[outputs]]\npath = 'out/{cluster}.kubeconfig'\n[[grants]]\nprofile = 'reader'\nclusters = ['b']\n",
    );
    machine.expect(0, &["apply", "--yes"]);
    let token = machine.token("out/b.kubeconfig");
    fleet.cluster("hub").set_fault(Some(Fault::Refuse));
    let report = machine.kubemint(&["refresh", "--force", "-o", "json"]).exits(6);
    assert!(report.stderr.contains("discovery `capi` did not answer"), "{}", report.stderr);
    let clusters = report.report()["clusters"].clone();
    assert_eq!((clusters.as_array().unwrap().len(), &clusters[0]["state"]), (1, &json!("changed")), "{clusters:#}");
    assert_eq!(machine.token("out/b.kubeconfig"), token);
    machine.expect(6, &["status"]);
    machine.expect(0, &["validate"]);
    fleet.cluster("hub").set_fault(None);
    machine.expect(0, &["refresh"]);
}

/// The program of a cloud: it answers what lists ask, and writes a kubeconfig where it is told to.
fn cloud(answers: &[(&str, Value)], file: &str, config: &str) -> String {
    let answers: Value = answers.iter().map(|(words, answer)| ((*words).to_owned(), answer.clone())).collect();
    format!(
        "#!/usr/bin/env python3\nimport json, os, sys\nline = ' '.join(sys.argv[1:])\n\
         for words, answer in json.loads(r'''{answers}''').items():\n    if words in line:\n        \
         sys.exit(print(json.dumps(answer)))\nwith open({file}, 'w') as out:\n    out.write(r'''{config}''')\n"
    )
}

/// The scripts for clouds, with programs in place of the clouds' own that print what these print.
#[test]
fn the_scripts_for_clouds_print_what_is_read() {
    let fleet = simulated(["cloud"]);
    let cluster: TestCluster = (*fleet.cluster("cloud")).clone();
    let machine = Machine::new(&[&cluster], User::Admin);
    let config =
        |context: &str| kubeconfig_yaml(&[&TestCluster { name: context.to_owned(), ..cluster.clone() }], User::Admin);
    let after = |flag: &str| format!("sys.argv[sys.argv.index('{flag}') + 1]");
    let eks = json!({ "cluster": { "status": "ACTIVE", "tags": { "kubemint/env": "prod", "owner": "x" } } });
    let aws = [("list-clusters", json!({ "clusters": ["prod"] })), ("describe-cluster", eks)];
    let gke = json!([{ "name": "prod", "location": "eu", "status": "RUNNING", "resourceLabels": { "env": "prod" } }]);
    let aks = json!([{ "name": "prod", "resourceGroup": "g", "location": "eu", "provisioningState": "Succeeded",
        "tags": { "kubemint-env": "prod" } }]);
    let clouds = [
        ("eks", "aws", cloud(&aws, &after("--kubeconfig"), &config("prod"))),
        ("gke", "gcloud", cloud(&[("clusters list", gke)], "os.environ['KUBECONFIG']", &config("gke_p_eu_prod"))),
        ("aks", "az", cloud(&[("aks list", aks)], &after("--file"), &config("prod"))),
    ];
    for (script, tool, program) in clouds {
        machine.write(&format!("bin/{tool}"), &program);
        let executable = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(machine.path(&format!("bin/{tool}")), executable).unwrap();
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/discover").join(script);
        inventory(
            &machine,
            script,
            &format!(
                "[[discover]]\nkind = 'command'\ncommand = ['{}', 'kubeconfigs', 'p']\nlabels = ['env', 'cloud']\n\
                 [[outputs]]\npath = 'out/{script}'\n",
                path.display()
            ),
        );
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", machine.path("bin").display());
        let run = |arguments: &[&str]| {
            let output = machine.command(arguments).env("PATH", &path).output().unwrap();
            assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
            output.stdout
        };
        let found: Value = serde_json::from_slice(&run(&["discover", "-o", "json"])).unwrap();
        let found = &found["sources"][0]["clusters"][0];
        assert_eq!((&found["name"], &found["labels"]["env"]), (&json!("prod"), &json!("prod")), "{script}: {found:#}");
        run(&["apply", "--yes"]);
        assert!(can_i(&machine.admin(0), &machine.token(&format!("out/{script}")), "list", "pods", ""));
    }
}

/// Answers as a Rancher server with one cluster that is active and one that is not, until both answers were given; whoever has
/// no token gets none.
fn rancher(config: &str) -> (String, std::thread::JoinHandle<()>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    let clusters = json!({ "data": [
        { "id": "c-1", "name": "prod", "state": "active", "labels": { "env": "prod", "a/b": "x" } },
        { "id": "c-2", "name": "later", "state": "provisioning" },
    ]});
    let answers = [
        ("GET /v3/clusters?limit=-1 ", clusters.to_string()),
        ("POST /v3/clusters/c-1?action=generateKubeconfig ", json!({ "config": config }).to_string()),
    ];
    let serving = std::thread::spawn(move || {
        for (request, answer) in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = String::new();
            let mut lines = BufReader::new(&stream);
            while !head.ends_with("\r\n\r\n") {
                assert!(lines.read_line(&mut head).unwrap() > 0, "{head}");
            }
            assert!(head.starts_with(request) && head.contains("Authorization: Bearer token-x:y\r\n"), "{head}");
            let length = answer.len();
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{answer}").unwrap();
        }
    });
    (server, serving)
}

#[test]
fn the_script_for_rancher_prints_what_is_read() {
    let fleet = simulated(["cloud"]);
    let cluster: TestCluster = (*fleet.cluster("cloud")).clone();
    let machine = Machine::new(&[&cluster], User::Admin);
    let config = kubeconfig_yaml(&[&TestCluster { name: "prod".to_owned(), ..cluster.clone() }], User::Admin);
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/discover/rancher");
    machine.write("token", "token-x:y\n");
    for arguments in [&["discover", "-o", "json"][..], &["apply", "--yes"]] {
        let (server, serving) = rancher(&config);
        let source = format!(
            "[[discover]]\nkind = 'command'\ncommand = ['{}', 'kubeconfigs', '{server}']\nlabels = ['env', 'cloud']\n\
             [[outputs]]\npath = 'out/rancher'\n",
            script.display()
        );
        inventory(&machine, "rancher", &source);
        let path = "/usr/local/bin:/usr/bin:/bin";
        let run =
            machine.command(arguments).env("PATH", path).env("RANCHER_TOKEN_FILE", machine.path("token")).output();
        let run = run.unwrap();
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "{said}");
        serving.join().unwrap();
        if arguments[0] == "discover" {
            let found: Value = serde_json::from_slice(&run.stdout).unwrap();
            let clusters = &found["sources"][0]["clusters"];
            assert_eq!(clusters.as_array().unwrap().len(), 1, "{clusters:#}");
            assert_eq!(clusters[0]["name"], "prod");
            assert_eq!(clusters[0]["labels"], json!({ "cloud": "rancher", "env": "prod" }));
        }
    }
    assert!(can_i(&machine.admin(0), &machine.token("out/rancher"), "list", "pods", ""));
}

/// The example of docs/discovery.md, on real API servers: Cluster API's access comes in, Argo CD's goes out, and it goes when
/// the cluster goes.
#[test]
fn the_example_from_cluster_api_to_argo_cd_works_on_real_servers() {
    let names = ["management", "edge-1", "edge-2"].map(ClusterOptions::named);
    let Some(plane) = ControlPlane::start(names.into()) else { return };
    let machine = Machine::new(&plane.test_clusters(), User::Admin);
    machine.write("management.kubeconfig", &machine.read("admin.yaml"));
    machine.write("clusters.toml", include_str!("../../examples/inventories/capi-to-argocd.toml"));
    let hub = machine.admin(0);
    namespace(&hub, "argocd");
    namespace(&hub, "capi");
    for number in [1, 2] {
        let cluster = &machine.clusters[number];
        capi(&hub, "capi", &cluster.name, "prod", &kubeconfig(cluster));
    }
    machine.expect(0, &["validate"]);
    machine.expect(0, &["apply", "--prune", "--yes"]);
    let token = argocd_token(&hub, "argocd", "cluster-edge-1");
    let edge = machine.admin(1);
    assert!(can_i(&edge, &token, "create", "configmaps", "default") && can_i(&edge, &token, "list", "nodes", ""));
    assert!(!can_i(&edge, &token, "create", "namespaces", ""));
    machine.expect(0, &["plan", "--check"]);
    hub.delete(&path("capi", "edge-2-kubeconfig")).unwrap();
    let refused = machine.kubemint(&["retire", "--forget", "--gone", "--yes"]).exits(5);
    assert!(refused.stderr.contains("pass `--max-gone 1` if they are"), "half of them: {}", refused.stderr);
    machine.expect(0, &["retire", "--forget", "--gone", "--max-gone", "1", "--yes"]);
    assert!(hub.get(&path("argocd", "cluster-edge-2")).is_err_and(|status| status.code == 404));
    machine.expect(0, &["apply", "--prune", "--yes"]);
    assert_eq!(argocd_token(&hub, "argocd", "cluster-edge-1"), token);
}
