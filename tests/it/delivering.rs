//! Credentials that go into Secrets: on both fleets, with the cluster as its own hub.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kubemint_testkit::{Admin, TestCluster, User};
use serde_json::{Value, json};

use crate::scenarios::is_refused_soon;
use crate::support::{Machine, can_i, changes};

/// Passes the scenarios to a macro, so that none can be left out on one fleet.
macro_rules! every_secret {
    ($run:ident) => {
        $run!(
            a_secret_is_delivered_and_then_nothing_is_done,
            a_renewal_reaches_every_secret,
            drift_in_a_secret_is_shown_and_repaired,
            a_lost_secret_is_delivered_again,
            what_the_inventory_drops_leaves_the_secret,
            a_foreign_secret_blocks_until_it_is_adopted,
            what_an_object_owns_is_not_taken_over,
            what_cannot_be_changed_is_replaced_by_consent,
            a_namespace_is_missing_unless_it_may_be_created,
            access_that_ends_takes_its_secrets_along,
            secrets_that_no_output_gives_are_pruned,
            who_notices_only_comings_and_goings_gets_a_new_secret,
            a_writer_of_named_secrets_is_enough,
            no_output_shows_what_a_secret_holds,
            a_token_file_holds_the_token_and_nothing_else,
            who_has_to_be_restarted_is_named,
        );
    };
}
pub(crate) use every_secret;

/// A profile that reads Pods.
const PROFILE: &str = "
[profiles.reader]
cluster-rules = [{ api-groups = [''], resources = ['pods'], verbs = ['get', 'list'] }]
[[grants]]
profile = 'reader'
selector = ''
";

/// An output in the cluster itself, in a namespace that is created.
fn output(cluster: &TestCluster, kind: &str, namespace: &str, more: &str) -> String {
    format!(
        "[[outputs]]\nkind = '{kind}'\nadmin = {{ cluster = '{}' }}\nnamespace = '{namespace}'\n\
         create-namespaces = true\n{more}\n",
        cluster.name
    )
}

/// A free form with every variable.
const FREE: &str = "name = 'free-{cluster}'\nlabels = { env = '{labels.env}' }\n\
    data = { token = '{token}', kubeconfig = '{kubeconfig}', server = '{server}', 'ca.crt' = '{ca}', note = '{profile} of {cluster}' }";

fn machine(cluster: &TestCluster, name: &str, outputs: &str) -> Machine {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory(name, &format!("{PROFILE}{outputs}"));
    machine
}

pub(crate) fn path(namespace: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/secrets/{name}")
}

/// Returns a value of a Secret as its consumer reads it.
#[track_caller]
fn value(secret: &Value, key: &str) -> String {
    let encoded = secret["data"][key].as_str().unwrap_or_else(|| panic!("no `{key}` in {:?}", secret["data"]));
    String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap()
}

/// Returns the token that Argo CD would read.
#[track_caller]
pub(crate) fn argocd_token(admin: &Admin, namespace: &str, name: &str) -> String {
    let secret = admin.get(&path(namespace, name)).unwrap();
    let config: Value = serde_json::from_str(&value(&secret, "config")).unwrap();
    config["bearerToken"].as_str().unwrap().to_owned()
}

pub(crate) fn facts(secret: &Value) -> Value {
    serde_json::from_str(secret["metadata"]["annotations"]["kubemint.dev/delivery"].as_str().unwrap()).unwrap()
}

fn notes(report: &Value) -> String {
    report["clusters"][0]["notes"].to_string()
}

pub(crate) fn a_secret_is_delivered_and_then_nothing_is_done(cluster: &TestCluster) {
    let outputs = [
        output(
            cluster,
            "argocd",
            "deliver",
            "options = { project = 'team-a', namespaces = ['a', 'b'], cluster-resources = true }",
        ),
        output(cluster, "secret", "deliver", FREE),
    ];
    let machine = machine(cluster, "deliver", &outputs.concat());
    let admin = machine.admin(0);
    let plan = machine.kubemint(&["plan", "-o", "json"]).exits(0).report();
    let mint = plan["clusters"][0]["changes"].as_array().unwrap().last().unwrap();
    let (argocd, free) = (format!("cluster-{}", cluster.name), format!("free-{}", cluster.name));
    assert_eq!(mint["secrets"].as_array().unwrap().len(), 2, "{mint:#}");
    let created = mint["fields"].to_string();
    assert!(
        created.contains("created with `clusterResources`, `config`, `name`, `namespaces`, `project`, `server`"),
        "{created}"
    );
    assert!(admin.get("/api/v1/namespaces/deliver").is_err_and(|status| status.code == 404), "a plan writes nothing");

    machine.expect(0, &["apply", "--yes"]);
    let secret = admin.get(&path("deliver", &argocd)).unwrap();
    assert_eq!(secret["type"], "Opaque");
    assert_eq!(secret["metadata"]["labels"]["argocd.argoproj.io/secret-type"], "cluster");
    let shown = ["name", "project", "namespaces", "clusterResources"].map(|key| value(&secret, key));
    assert_eq!(shown, [cluster.name.as_str(), "team-a", "a,b", "true"]);
    let config: Value = serde_json::from_str(&value(&secret, "config")).unwrap();
    assert_eq!(config["tlsClientConfig"]["insecure"], false);
    let authority = STANDARD.decode(config["tlsClientConfig"]["caData"].as_str().unwrap()).unwrap();
    assert!(String::from_utf8(authority).unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    let token = config["bearerToken"].as_str().unwrap();
    assert!(can_i(&admin, token, "list", "pods", "") && !can_i(&admin, token, "get", "secrets", ""));
    assert_eq!(facts(&secret)["generation"], 1);

    let secret = admin.get(&path("deliver", &free)).unwrap();
    assert_eq!(secret["metadata"]["labels"]["env"], "test");
    assert_eq!(value(&secret, "token"), token);
    assert_eq!(value(&secret, "note"), format!("reader of {}", cluster.name));
    let kubeconfig: Value = serde_saphyr::from_str(&value(&secret, "kubeconfig")).unwrap();
    assert_eq!(kubeconfig["users"][0]["user"], json!({ "token": token }), "no marks");
    assert_eq!(kubeconfig["clusters"][0]["cluster"]["server"].as_str().unwrap(), value(&secret, "server"));

    let versions = || {
        [&argocd, &free].map(|name| admin.get(&path("deliver", name)).unwrap()["metadata"]["resourceVersion"].clone())
    };
    let before = versions();
    let again = machine.kubemint(&["apply", "--yes"]).exits(0);
    assert_eq!(again.stdout, "1 cluster is up to date, nothing was left to do\n");
    machine.expect(0, &["refresh"]);
    machine.expect(0, &["plan", "--check"]);
    let verified = machine.kubemint(&["verify", "-o", "json"]).exits(0).report();
    let used = &verified["clusters"][0]["grants"][0]["credentials"][0];
    assert_eq!(used["files"].as_array().unwrap().len(), 2, "{used:#}");
    let status = machine.kubemint(&["status", "-o", "json"]).exits(0).report();
    let outputs = status["grants"][0]["outputs"].as_array().unwrap();
    assert!(outputs.len() == 2 && outputs.iter().all(|output| output["holds"] == "newest"), "{outputs:#?}");
    assert_eq!(versions(), before, "nothing was written");
}

pub(crate) fn a_renewal_reaches_every_secret(cluster: &TestCluster) {
    let outputs = [
        output(cluster, "argocd", "renewal", ""),
        output(cluster, "secret", "renewal", FREE),
        "[[outputs]]\npath = 'out/{cluster}.kubeconfig'\n".to_owned(),
    ];
    let machine = machine(cluster, "renewal", &outputs.concat());
    let admin = machine.admin(0);
    machine.expect(0, &["apply", "--yes"]);
    let (argocd, free) = (format!("cluster-{}", cluster.name), format!("free-{}", cluster.name));
    let first = argocd_token(&admin, "renewal", &argocd);
    machine.expect(0, &["refresh", "--force"]);
    let second = argocd_token(&admin, "renewal", &argocd);
    assert_ne!(first, second);
    let secret = admin.get(&path("renewal", &free)).unwrap();
    assert_eq!((value(&secret, "token"), facts(&secret)["generation"].clone()), (second.clone(), json!(2)));
    assert_eq!(machine.token(&format!("out/{}.kubeconfig", cluster.name)), second);
    assert!(can_i(&admin, &first, "list", "pods", ""), "the one before lives on during the overlap");
    machine.expect(0, &["plan", "--check"]);

    // What is copied to a Secret that lacks it is not minted, whichever holds it.
    admin.delete(&path("renewal", &argocd)).unwrap();
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(0).report();
    assert_eq!(changes(&report, 0), ["write reader"]);
    assert_eq!(argocd_token(&admin, "renewal", &argocd), second);
}

pub(crate) fn drift_in_a_secret_is_shown_and_repaired(cluster: &TestCluster) {
    let machine = machine(cluster, "hand", &output(cluster, "argocd", "hand", "labels = { env = '{labels.env}' }"));
    let admin = machine.admin(0);
    machine.expect(0, &["apply", "--yes"]);
    let name = format!("cluster-{}", cluster.name);
    let token = argocd_token(&admin, "hand", &name);
    let patch = json!({
        "metadata": { "labels": { "env": "edited", "mine": "stays" }, "annotations": { "argocd.argoproj.io/refresh": "hard" } },
        "data": { "server": STANDARD.encode("https://elsewhere:6443"), "extra": STANDARD.encode("stays") },
    });
    admin.merge_patch(&path("hand", &name), &patch).unwrap();
    let plan = machine.kubemint(&["plan", "--check", "-o", "json"]).exits(4).report();
    assert_eq!(changes(&plan, 0), ["write reader"]);
    let fields = plan["clusters"][0]["changes"][0]["fields"].to_string();
    assert!(fields.contains("data.server") && fields.contains("metadata.labels.env"), "{fields}");
    assert!(!fields.contains("elsewhere") && !fields.contains("extra"), "{fields}");
    let verified = machine.kubemint(&["verify"]).exits(4);
    assert!(verified.stdout.contains("data.server"), "{}", verified.stdout);
    machine.expect(0, &["apply", "--yes"]);
    let secret = admin.get(&path("hand", &name)).unwrap();
    assert_eq!(argocd_token(&admin, "hand", &name), token, "nothing was minted");
    assert_eq!((value(&secret, "extra").as_str(), &secret["metadata"]["labels"]["mine"]), ("stays", &json!("stays")));
    assert_eq!(secret["metadata"]["labels"]["env"], "test");
    assert_ne!(value(&secret, "server"), "https://elsewhere:6443");
    machine.expect(0, &["plan", "--check"]);

    // A damaged token is none, so a new one is minted.
    admin.merge_patch(&path("hand", &name), &json!({ "data": { "config": STANDARD.encode("{}") } })).unwrap();
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(0).report();
    assert_eq!(changes(&report, 0), ["mint reader"]);
    assert_ne!(argocd_token(&admin, "hand", &name), token);
}

/// Nobody can hold what no Secret holds any more, so no consent is needed to replace it.
pub(crate) fn a_lost_secret_is_delivered_again(cluster: &TestCluster) {
    let machine = machine(cluster, "lost", &output(cluster, "flux", "lost", ""));
    let admin = machine.admin(0);
    machine.expect(0, &["apply", "--yes"]);
    let name = format!("{}-kubeconfig", cluster.name);
    admin.delete(&path("lost", &name)).unwrap();
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(0).report();
    assert_eq!(changes(&report, 0), ["mint reader"]);
    assert!(
        notes(&report)
            .contains("none of the Secrets that outputs name holds the living credential of `reader` any more"),
        "{}",
        notes(&report)
    );
    assert_eq!(facts(&admin.get(&path("lost", &name)).unwrap())["generation"], 2);
    machine.expect(0, &["plan", "--check"]);
}

pub(crate) fn what_the_inventory_drops_leaves_the_secret(cluster: &TestCluster) {
    let with = |more: &str| format!("{PROFILE}{}", output(cluster, "argocd", "narrow", more));
    let machine = machine(cluster, "narrow", "");
    machine.inventory(
        "narrow",
        &with("labels = { env = 'x' }\nannotations = { note = 'y' }\noptions = { project = 'team-a' }"),
    );
    let admin = machine.admin(0);
    machine.expect(0, &["apply", "--yes"]);
    let name = format!("cluster-{}", cluster.name);
    let token = argocd_token(&admin, "narrow", &name);
    machine.inventory("narrow", &with(""));
    let plan = machine.kubemint(&["plan"]).exits(0);
    for field in ["data.project", "metadata.labels.env", "metadata.annotations.note"] {
        assert!(plan.stdout.contains(field), "{field} in {}", plan.stdout);
    }
    machine.expect(0, &["apply", "--yes"]);
    let secret = admin.get(&path("narrow", &name)).unwrap();
    assert!(secret["data"]["project"].is_null() && secret["metadata"]["labels"]["env"].is_null(), "{secret:#}");
    assert!(secret["metadata"]["annotations"]["note"].is_null());
    assert_eq!(argocd_token(&admin, "narrow", &name), token);
    machine.expect(0, &["plan", "--check"]);
}

pub(crate) fn a_foreign_secret_blocks_until_it_is_adopted(cluster: &TestCluster) {
    let machine = machine(cluster, "adopting", &output(cluster, "argocd", "adopting", ""));
    let admin = machine.admin(0);
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "adopting" } });
    admin.create("/api/v1/namespaces", &namespace).unwrap();
    let name = format!("cluster-{}", cluster.name);
    let theirs = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": name, "namespace": "adopting", "labels": { "argocd.argoproj.io/secret-type": "cluster" } },
        "stringData": { "name": "old", "server": "https://old:6443", "config": "{\"bearerToken\":\"s3cr3t\"}", "mine": "stays" },
    });
    admin.create("/api/v1/namespaces/adopting/secrets", &theirs).unwrap();
    let version = || admin.get(&path("adopting", &name)).unwrap()["metadata"]["resourceVersion"].clone();
    let before = version();
    let refused = machine.kubemint(&["apply", "--yes"]).exits(5);
    assert!(refused.stderr.contains("has the keys `config`, `mine`, `name`, `server`"), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("kubemint apply --cluster") && refused.stderr.contains("--adopt"),
        "{}",
        refused.stderr
    );
    assert_eq!(version(), before);
    assert!(admin.get("/api/v1/namespaces/adopting/serviceaccounts/reader").is_err(), "nothing was touched");
    let refreshed = machine.kubemint(&["plan", "--adopt", "-o", "json"]).exits(0).report();
    let said = notes(&refreshed);
    assert!(said.contains("replaces the keys `config`, `name`, `server`, and leaves `mine`"), "{said}");
    assert!(said.contains("its `server` was <https://old:6443> and will be <https://"), "{said}");
    assert!(!refreshed.to_string().contains("s3cr3t"));
    let goes = |report: &Value| {
        let changes = report["clusters"][0]["changes"].as_array().unwrap().clone();
        let mut fields = changes.iter().filter_map(|change| change["fields"].as_array()).flatten();
        let field = fields.find(|field| field["field"].as_str().unwrap().ends_with(", data.config")).unwrap().clone();
        field["removed"].is_array()
    };
    assert!(goes(&refreshed));
    // What is not there is not shown as something that goes.
    admin.merge_patch(&path("adopting", &name), &json!({ "data": { "config": null } })).unwrap();
    assert!(!goes(&machine.kubemint(&["plan", "--adopt", "-o", "json"]).exits(0).report()));
    machine.expect(0, &["apply", "--adopt", "--yes"]);
    let secret = admin.get(&path("adopting", &name)).unwrap();
    assert_eq!((value(&secret, "mine"), value(&secret, "name")), ("stays".to_owned(), cluster.name.clone()));
    assert!(can_i(&admin, &argocd_token(&admin, "adopting", &name), "list", "pods", ""));
    machine.expect(0, &["plan", "--check"]);
}

pub(crate) fn what_an_object_owns_is_not_taken_over(cluster: &TestCluster) {
    let machine = machine(cluster, "owned", &output(cluster, "cluster-api", "owned", ""));
    let admin = machine.admin(0);
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "owned" } });
    let uid = admin.create("/api/v1/namespaces", &namespace).unwrap()["metadata"]["uid"].clone();
    let name = format!("{}-kubeconfig", cluster.name);
    let owner = json!({ "apiVersion": "v1", "kind": "Namespace", "name": "owned", "uid": uid });
    let theirs = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "cluster.x-k8s.io/secret",
        "metadata": { "name": name, "namespace": "owned", "ownerReferences": [owner] },
        "stringData": { "value": "theirs" },
    });
    admin.create("/api/v1/namespaces/owned/secrets", &theirs).unwrap();
    let refused = machine.kubemint(&["apply", "--adopt", "--yes"]).exits(5);
    assert!(refused.stderr.contains("Namespace owned owns it and may write it again"), "{}", refused.stderr);
    assert_eq!(value(&admin.get(&path("owned", &name)).unwrap(), "value"), "theirs");
}

pub(crate) fn what_cannot_be_changed_is_replaced_by_consent(cluster: &TestCluster) {
    let form = |kind: &str| {
        format!(
            "{PROFILE}{}",
            output(
                cluster,
                "secret",
                "fixed",
                &format!("name = 'x'\ntype = '{kind}'\ndata = {{ token = '{{token}}' }}")
            )
        )
    };
    let machine = machine(cluster, "fixed", "");
    machine.inventory("fixed", &form("Opaque"));
    let admin = machine.admin(0);
    machine.expect(0, &["apply", "--yes"]);
    let uid = || admin.get(&path("fixed", "x")).unwrap()["metadata"]["uid"].clone();
    let first = uid();
    machine.inventory("fixed", &form("example.com/token"));
    let refused = machine.kubemint(&["apply", "--yes"]).exits(5);
    assert!(refused.stderr.contains("its type is `Opaque` and should be `example.com/token`"), "{}", refused.stderr);
    assert_eq!(uid(), first);
    machine.expect(0, &["apply", "--adopt", "--yes"]);
    let secret = admin.get(&path("fixed", "x")).unwrap();
    assert_eq!((&secret["type"], secret["metadata"]["uid"] == first), (&json!("example.com/token"), false));
    let token = value(&secret, "token");

    admin.merge_patch(&path("fixed", "x"), &json!({ "immutable": true })).unwrap();
    machine.expect(0, &["plan", "--check"]);
    // What holds what it should is left, whatever it is.
    let forced = machine.kubemint(&["refresh", "--force"]).exits(5);
    assert!(forced.stderr.contains("it is immutable"), "{}", forced.stderr);
    assert_eq!(value(&admin.get(&path("fixed", "x")).unwrap(), "token"), token);
}

pub(crate) fn a_namespace_is_missing_unless_it_may_be_created(cluster: &TestCluster) {
    let outputs = output(cluster, "flux", "nowhere", "");
    let other = "[[outputs]]\npath = 'out/{cluster}-{profile}'\nprofiles = ['second']\n[profiles.second]\ncluster-roles = ['view']\n\
                 [[grants]]\nprofile = 'second'\nselector = ''\n";
    let outputs = outputs.replace("create-namespaces", "profiles = ['reader']\ncreate-namespaces");
    let machine = machine(cluster, "missing", "");
    machine.inventory("missing", &format!("{PROFILE}{}{other}", outputs.replace("create-namespaces = true\n", "")));
    let admin = machine.admin(0);
    let refused = machine.kubemint(&["apply", "--yes"]).exits(7);
    assert!(
        refused.stderr.contains("namespace `nowhere` does not exist; nothing was minted for it"),
        "{}",
        refused.stderr
    );
    assert!(refused.stderr.contains("kubectl create namespace nowhere"), "{}", refused.stderr);
    // Only the grant that goes there waits.
    let secrets = admin.get("/api/v1/namespaces/missing/secrets").unwrap();
    assert_eq!(secrets["items"].as_array().unwrap().len(), 1, "{secrets:#}");
    assert!(machine.path(&format!("out/{}-second", cluster.name)).exists());
    machine.inventory("missing", &format!("{PROFILE}{outputs}{other}"));
    machine.expect(0, &["apply", "--yes"]);
    assert!(admin.get("/api/v1/namespaces/nowhere").is_ok());
}

pub(crate) fn access_that_ends_takes_its_secrets_along(cluster: &TestCluster) {
    let outputs = [output(cluster, "argocd", "ending", ""), output(cluster, "secret", "ending", FREE)];
    let machine = machine(cluster, "ending", &outputs.concat());
    let admin = machine.admin(0);
    machine.expect(0, &["apply", "--yes"]);
    let (argocd, free) = (format!("cluster-{}", cluster.name), format!("free-{}", cluster.name));
    let token = argocd_token(&admin, "ending", &argocd);
    // Somebody took this one for their own.
    admin
        .merge_patch(&path("ending", &free), &json!({ "metadata": { "labels": { "kubemint.dev/inventory": null } } }))
        .unwrap();
    let report = machine.kubemint(&["revoke", "--access", "--yes", "-o", "json"]).exits(0).report();
    let change =
        report["clusters"][0]["changes"].as_array().unwrap().iter().find(|change| change["action"] == "remove");
    assert_eq!(
        change.unwrap()["secrets"],
        json!([format!("Secret ending/{argocd} in {}", cluster.name)]),
        "{report:#}"
    );
    assert!(admin.get(&path("ending", &argocd)).is_err_and(|status| status.code == 404));
    assert!(admin.get(&path("ending", &free)).is_ok());
    assert!(is_refused_soon(&admin, &token));
}

pub(crate) fn secrets_that_no_output_gives_are_pruned(cluster: &TestCluster) {
    let with = |name: &str| format!("{PROFILE}{}", output(cluster, "flux", "pruned", &format!("name = '{name}'")));
    let machine = machine(cluster, "pruned", "");
    machine.inventory("pruned", &with("old-{cluster}"));
    let admin = machine.admin(0);
    machine.expect(0, &["apply", "--yes"]);
    machine.inventory("pruned", &with("new-{cluster}"));
    let (old, new) = (format!("old-{}", cluster.name), format!("new-{}", cluster.name));
    machine.expect(0, &["apply", "--yes"]);
    assert!(admin.get(&path("pruned", &old)).is_ok(), "an ordinary apply leaves it");
    let report = machine.kubemint(&["apply", "--prune", "--max-prune", "1", "--yes", "-o", "json"]).exits(0).report();
    assert_eq!(changes(&report, 0), ["remove reader"], "{report:#}");
    assert!(admin.get(&path("pruned", &old)).is_err_and(|status| status.code == 404));
    assert!(admin.get(&path("pruned", &new)).is_ok());

    // An output that selects no cluster makes its hub known, which is how the last Secrets there are removed.
    machine.inventory("pruned", &format!("{}selector = 'tier=none'\n", with("new-{cluster}")));
    machine.expect(0, &["apply", "--prune", "--max-prune", "1", "--yes"]);
    assert!(admin.get(&path("pruned", &new)).is_err_and(|status| status.code == 404));
    machine.inventory("pruned", &with("new-{cluster}"));
    machine.expect(0, &["apply", "--yes"]);
    assert!(admin.get(&path("pruned", &new)).is_ok());

    // A cluster that is gone takes its Secrets along.
    let hub = format!("[[clusters]]\nname = 'hub'\nadmin = {{ context = '{}' }}\n", cluster.name);
    let outputs = with("new-{cluster}").replace(&format!("cluster = '{}'", cluster.name), "cluster = 'hub'");
    machine.write(
        "clusters.toml",
        &format!(
            "version = 1\nname = 'pruned'\n[defaults]\nadmin = {{ kubeconfig = 'admin.yaml' }}\n{hub}{}",
            outputs.replace("selector = ''", "clusters = ['hub']\n")
        ),
    );
    machine.expect(0, &["retire", "--forget", "--cluster", &cluster.name, "--yes"]);
    assert!(admin.get(&path("pruned", &new)).is_err_and(|status| status.code == 404));
}

pub(crate) fn who_notices_only_comings_and_goings_gets_a_new_secret(cluster: &TestCluster) {
    let machine = machine(cluster, "recreate", &output(cluster, "linkerd", "recreate", ""));
    let admin = machine.admin(0);
    machine.expect(0, &["apply", "--yes"]);
    let name = format!("cluster-credentials-{}", cluster.name);
    let token = |secret: &Value| {
        let kubeconfig: Value = serde_saphyr::from_str(&value(secret, "kubeconfig")).unwrap();
        kubeconfig["users"][0]["user"]["token"].as_str().unwrap().to_owned()
    };
    let before = admin.get(&path("recreate", &name)).unwrap();
    assert_eq!(before["type"], "mirror.linkerd.io/remote-kubeconfig");
    machine.expect(0, &["refresh", "--force"]);
    let after = admin.get(&path("recreate", &name)).unwrap();
    assert_ne!(before["metadata"]["uid"], after["metadata"]["uid"], "it came anew");
    assert!(can_i(&admin, &token(&before), "list", "pods", "") && can_i(&admin, &token(&after), "list", "pods", ""));
    machine.expect(0, &["plan", "--check"]);
}

/// The rights that docs/security.md asks for in a hub, and no others.
pub(crate) fn a_writer_of_named_secrets_is_enough(cluster: &TestCluster) {
    let name = format!("cluster-{}", cluster.name);
    let machine = machine(cluster, "least", "");
    let admin = machine.admin(0);
    let create = |path: &str, object: Value| drop(admin.create(path, &object).unwrap());
    create(
        "/api/v1/namespaces",
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "least-hub" } }),
    );
    let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "writer", "namespace": "least-hub" } });
    create("/api/v1/namespaces/least-hub/serviceaccounts", account);
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": "writer", "namespace": "least-hub" },
        "rules": [
            { "apiGroups": [""], "resources": ["secrets"], "verbs": ["create"] },
            { "apiGroups": [""], "resources": ["secrets"], "resourceNames": [name], "verbs": ["get", "patch", "delete"] },
        ],
    });
    create("/apis/rbac.authorization.k8s.io/v1/namespaces/least-hub/roles", role);
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": { "name": "writer", "namespace": "least-hub" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "writer" },
        "subjects": [{ "kind": "ServiceAccount", "name": "writer", "namespace": "least-hub" }],
    });
    create("/apis/rbac.authorization.k8s.io/v1/namespaces/least-hub/rolebindings", binding);
    let request = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": { "expirationSeconds": 3600 } });
    let token = admin.create("/api/v1/namespaces/least-hub/serviceaccounts/writer/token", &request).unwrap();
    machine.write("writer.token", token["status"]["token"].as_str().unwrap());
    machine.write("ca.pem", &cluster.ca_pem);
    let hub = format!(
        "[[outputs]]\nkind = 'argocd'\nnamespace = 'least-hub'\nadmin = {{ server = 'https://127.0.0.1:{}', \
         certificate-authority = 'ca.pem', token-file = 'writer.token' }}\n",
        cluster.port()
    );
    machine.inventory("least", &format!("{PROFILE}{hub}"));
    machine.expect(0, &["apply", "--yes"]);
    machine.expect(0, &["refresh", "--force"]);
    let again = machine.kubemint(&["apply", "--yes"]).exits(0);
    assert!(again.stdout.contains("up to date"), "{}", again.stdout);
    machine.expect(0, &["verify"]);
    // Only what is left over has to be looked for, which is said.
    let pruning = machine.kubemint(&["plan", "--prune"]).exits(6);
    assert!(pruning.stderr.contains("cannot be listed"), "{}", pruning.stderr);
    machine.expect(6, &["revoke", "--access", "--yes"]);
    assert!(admin.get(&path("least-hub", &name)).is_err_and(|status| status.code == 404));
}

pub(crate) fn no_output_shows_what_a_secret_holds(cluster: &TestCluster) {
    let outputs = [output(cluster, "argocd", "quiet", ""), output(cluster, "secret", "quiet", FREE)];
    let machine = machine(cluster, "quiet", &outputs.concat());
    let admin = machine.admin(0);
    let mut shown = String::new();
    let mut tokens = vec![];
    let name = format!("cluster-{}", cluster.name);
    let commands: [&[&str]; 8] = [
        &[
            "-vvv",
            "apply",
            "--yes",
            "-o",
            "json",
            "-o",
            "html=report.html",
            "-o",
            "markdown=report.md",
            "--events",
            "trail.jsonl",
        ],
        &["-vvv", "refresh", "--force"],
        &["-vvv", "plan", "--out", "plan.json"],
        &["-vvv", "status"],
        &["-vvv", "verify", "-o", "json"],
        &["-vvv", "apply", "--yes"],
        &["-vvv", "plan", "-o", "json"],
        &["-vvv", "revoke", "--access", "--yes"],
    ];
    for (number, arguments) in commands.into_iter().enumerate() {
        if number == 5 {
            let edit = json!({ "data": { "token": STANDARD.encode("eyJ.another.token") } });
            admin.merge_patch(&path("quiet", &format!("free-{}", cluster.name)), &edit).unwrap();
        }
        let mut command = machine.command(arguments);
        let output = command.env("RUST_LOG", "trace").output().unwrap();
        shown.push_str(&String::from_utf8_lossy(&output.stdout));
        shown.push_str(&String::from_utf8_lossy(&output.stderr));
        if number < 7 {
            tokens.push(argocd_token(&admin, "quiet", &name));
        }
    }
    for (file, content) in machine.files() {
        if file.file_name().is_none_or(|name| name != "admin.yaml") {
            shown.push_str(&String::from_utf8_lossy(&content));
        }
    }
    tokens.dedup();
    assert_eq!(tokens.len(), 2);
    for token in tokens {
        let (payload, signature) = (token.split('.').nth(1).unwrap(), token.split('.').nth(2).unwrap());
        for secret in [payload, signature, &STANDARD.encode(&token)[..60]] {
            assert!(!shown.contains(secret), "a token is shown");
        }
    }
    assert!(!shown.contains("eyJ.another.token"));
}

/// As Prometheus reads it.
pub(crate) fn a_token_file_holds_the_token_and_nothing_else(cluster: &TestCluster) {
    let outputs = "[[outputs]]\nkind = 'token-file'\npath = 'tokens/{cluster}'\n\
                   [[outputs]]\npath = 'out/{cluster}.kubeconfig'\n";
    let machine = machine(cluster, "bare", outputs);
    let admin = machine.admin(0);
    let (file, kubeconfig) = (format!("tokens/{}", cluster.name), format!("out/{}.kubeconfig", cluster.name));
    machine.write(&file, "precious\n");
    let refused = machine.kubemint(&["apply", "--yes"]).exits(5);
    assert!(refused.stderr.contains("the file exists and holds something else than a token"), "{}", refused.stderr);
    assert_eq!(machine.read(&file), "precious\n");
    machine.write(&file, &cluster.admin_token);
    if cluster.admin_token.starts_with("eyJ") {
        machine.expect(5, &["apply", "--yes"]);
        assert_eq!(machine.read(&file), cluster.admin_token, "the token of somebody else stays");
    }
    machine.write(&file, "");
    machine.expect(0, &["apply", "--yes"]);
    let token = machine.read(&file);
    assert_eq!(token, machine.token(&kubeconfig));
    assert!(can_i(&admin, &token, "list", "pods", ""));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(machine.path(&file)).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let again = machine.kubemint(&["apply", "--yes"]).exits(0);
    assert!(again.stdout.contains("up to date"), "{}", again.stdout);
    machine.expect(0, &["verify"]);
    machine.expect(0, &["refresh", "--force"]);
    let second = machine.read(&file);
    assert!(second != token && second == machine.token(&kubeconfig));

    // What one holds is copied to the other, and nothing is minted.
    machine.write(&file, "");
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(0).report();
    assert_eq!(changes(&report, 0), ["write reader"]);
    assert_eq!(machine.read(&file), second);
    let report = machine.kubemint(&["revoke", "--access", "--yes", "-o", "json"]).exits(0).report();
    assert!(report.to_string().contains(&file), "{report:#}");
    assert!(!machine.path(&file).exists());
}

pub(crate) fn who_has_to_be_restarted_is_named(cluster: &TestCluster) {
    let form = "name = 'karmada'\ndata = { token = '{token}' }\nrotation = 'restart'\nrestart-acknowledged = true\n\
                workload = 'deployment/karmada-controller-manager'";
    let machine = machine(cluster, "restart", &output(cluster, "secret", "restart", form));
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(0).report();
    assert!(!notes(&report).contains("restart-needed"), "nothing runs with it yet: {}", notes(&report));
    let report = machine.kubemint(&["refresh", "--force", "-o", "json"]).exits(0).report();
    assert!(
        notes(&report).contains("restart `deployment/karmada-controller-manager` after this"),
        "{}",
        notes(&report)
    );
}
