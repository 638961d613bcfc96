//! `plan`, `status`, `refresh` and `verify` agree, on any cluster, simulated or real, on whether an entry of an output
//! is whole and current, field by field; and the user's own fields in it stay.
//!
//! Like `scenarios`: each has an inventory name and a namespace of its own.

use kubemint_testkit::sim::Fault;
use kubemint_testkit::{TestCluster, User};
use serde_json::{Value, json};

use crate::life::{index, output, profile};
use crate::support::{Machine, simulated};

/// Passes every scenario to a macro, so that none can be left out on one fleet.
macro_rules! every_judgement {
    ($run:ident) => {
        $run!(
            all_commands_agree_on_what_is_whole,
            what_is_the_users_own_in_an_entry_stays,
            an_entry_that_lost_its_marks_is_taken_back,
            profiles_share_the_entry_of_their_cluster,
            a_token_without_its_kubeconfig_is_not_everywhere,
            only_the_files_that_are_written_are_counted,
            an_exec_plugin_is_proven_before_its_entries_are_written,
            an_issued_kubeconfig_is_somebodys_admin_kubeconfig,
        );
    };
}
pub(crate) use every_judgement;

/// Changes the bodies of a cluster, a user and a context entry.
type Edit = fn(&mut Value, &mut Value, &mut Value);

/// Changes the entries of the only grant in a kubeconfig as an editor would.
fn change(machine: &Machine, file: &str, change: impl Fn(&mut Value, &mut Value, &mut Value)) {
    let mut value: Value = serde_saphyr::from_str(&machine.read(file)).unwrap();
    let mut take = |list: &str, body: &str| value[list][0][body].take();
    let (mut cluster, mut user, mut context) =
        (take("clusters", "cluster"), take("users", "user"), take("contexts", "context"));
    change(&mut cluster, &mut user, &mut context);
    value["clusters"][0]["cluster"] = cluster;
    value["users"][0]["user"] = user;
    value["contexts"][0]["context"] = context;
    machine.write(file, &value.to_string());
}

/// Returns the fields that a plan would change in the kubeconfig of the only grant.
fn fields(machine: &Machine) -> Vec<String> {
    let report = machine.kubemint(&["plan", "-o", "json"]).exits(0).report();
    let fields = report["clusters"][0]["changes"][0]["fields"].as_array().cloned().unwrap_or_default();
    fields.iter().map(|field| field["field"].as_str().unwrap().to_owned()).collect()
}

pub(crate) fn all_commands_agree_on_what_is_whole(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("judged", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    let file = output(cluster);
    let read = |machine: &Machine| serde_saphyr::from_str::<Value>(&machine.read(&file)).unwrap();
    let whole = read(&machine);
    let edits: [(&str, Edit); 6] = [
        ("cluster.server", |cluster, _, _| cluster["server"] = json!("https://127.0.0.1:1")),
        ("cluster.certificate-authority-data", |cluster, _, _| {
            cluster.as_object_mut().unwrap().remove("certificate-authority-data");
        }),
        ("cluster.insecure-skip-tls-verify", |cluster, _, _| cluster["insecure-skip-tls-verify"] = json!(true)),
        ("context.user", |_, _, context| context["user"] = json!("somebody")),
        ("user.username", |_, user, _| (user["username"], user["password"]) = (json!("me"), json!("hunter2-hunter2"))),
        ("user.as", |_, user, _| user["as"] = json!("nobody")),
    ];
    for (field, edit) in edits {
        change(&machine, &file, edit);
        let changed = fields(&machine);
        assert!(changed.iter().any(|changed| changed == field), "{changed:?}");
        machine.expect(4, &["plan", "--check"]);
        let status = machine.kubemint(&["status", "--check", "-o", "json"]).exits(4).report();
        assert_eq!(status["grants"][0]["state"], "not-everywhere", "{field}");
        assert!(status["grants"][0]["detail"].as_str().unwrap().contains(&format!("`{field}`")), "{status:#}");
        assert_eq!(status["grants"][0]["outputs"][0]["holds"], "altered", "{field}");
        // Without the cluster, nothing is known of how it is reached.
        let offline = machine.kubemint(&["status", "--offline", "--check", "-o", "json"]);
        assert_eq!(offline.code, if field.starts_with("cluster.") { 0 } else { 4 }, "{field}: {}", offline.stdout);
        let verified = machine.kubemint(&["verify", "-o", "json"]);
        // A server that does not answer is worse than a finding.
        assert_eq!(verified.code, if field == "cluster.server" { 7 } else { 4 }, "{field}: {}", verified.stdout);
        let findings = verified.report()["clusters"][0]["grants"][0]["findings"].as_array().cloned().unwrap();
        let altered = findings.iter().find(|finding| finding["kind"] == "altered-entry").unwrap();
        assert!(altered["message"].as_str().unwrap().contains(&format!("`{field}`")), "{altered}");
        let plan = machine.kubemint(&["plan"]).exits(0);
        assert!(plan.stdout.contains(field) && !plan.stdout.contains("hunter2"), "{}", plan.stdout);
        // A refresh repairs it, and mints nothing for that.
        machine.expect(0, &["refresh"]);
        assert_eq!(read(&machine), whole, "{field}");
        for check in ["plan", "status"] {
            machine.expect(0, &[check, "--check"]);
        }
    }
    machine.expect(0, &["verify"]);
}

/// A namespace set by `kubens`, a proxy, another tool's extension, and fields that kubemint does not know.
pub(crate) fn what_is_the_users_own_in_an_entry_stays(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("kept", &profile("0s"));
    machine.expect(0, &["apply", "--yes"]);
    let file = output(cluster);
    change(&machine, &file, |cluster, user, context| {
        context["namespace"] = json!("team-x");
        cluster["disable-compression"] = json!(true);
        user["mine"] = json!({"a": [1, null]});
        let other = json!({"name": "other-tool", "extension": {"pinned": true}});
        context["extensions"].as_array_mut().unwrap().insert(0, other);
    });
    for check in [&["plan", "--check"][..], &["status", "--check"], &["verify"]] {
        machine.expect(0, check);
    }
    let check = || {
        let value: Value = serde_saphyr::from_str(&machine.read(&file)).unwrap();
        let context = &value["contexts"][0]["context"];
        assert_eq!(context["namespace"], "team-x");
        assert_eq!(context["extensions"][0]["extension"]["pinned"], true);
        assert_eq!(value["clusters"][0]["cluster"]["disable-compression"], true);
        assert_eq!(value["users"][0]["user"]["mine"], json!({"a": [1, null]}));
        value["users"][0]["user"]["token"].as_str().unwrap().to_owned()
    };
    let before = check();
    machine.expect(0, &["refresh", "--force"]);
    assert_ne!(check(), before, "it was renewed");
    change(&machine, &file, |cluster, _, _| cluster["server"] = json!("https://127.0.0.1:1"));
    assert_eq!(fields(&machine), ["cluster.server"]);
    machine.expect(0, &["apply", "--yes"]);
    check();
    machine.expect(0, &["plan", "--check"]);
}

/// As in handwritten kubeconfigs, several users share one cluster entry. It is removed with the last of them.
pub(crate) fn profiles_share_the_entry_of_their_cluster(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    let alone = format!("{}cluster = \"{{cluster}}\"\n", profile("15m"));
    let both = alone.replace(
        "[[outputs]]",
        "[profiles.other]\ncluster-roles = [\"view\"]\n[[grants]]\nprofile = \"other\"\nselector = \"env=test\"\n[[outputs]]",
    );
    let file = output(cluster);
    let names = |list: &str| -> Vec<String> {
        let value: Value = serde_saphyr::from_str(&machine.read(&file)).unwrap();
        value[list].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
    };
    machine.inventory("shared-entry", &alone);
    machine.expect(0, &["apply", "--yes"]);
    machine.inventory("shared-entry", &both);
    for command in [&["apply", "--yes"][..], &["plan", "--check"], &["status", "--check"], &["verify"]] {
        machine.expect(0, command);
    }
    assert_eq!((names("clusters").len(), names("users").len(), names("contexts").len()), (1, 2, 2));
    let before = machine.files();
    machine.expect(0, &["apply", "--yes"]);
    assert_eq!(machine.files(), before);
    machine.expect(0, &["refresh", "--force", "--profile", "other"]);
    machine.expect(0, &["revoke", "--access", "--yes", "--profile", "other"]);
    assert_eq!((names("clusters").len(), names("users").len()), (1, 1));
    machine.expect(0, &["verify", "--profile", "reader"]);
    machine.expect(0, &["revoke", "--access", "--yes"]);
    assert_eq!((names("clusters").len(), names("users").len(), names("contexts").len()), (0, 0, 0));
}

/// Converters, and tools that rewrite kubeconfigs, drop fields that they do not know.
pub(crate) fn an_entry_that_lost_its_marks_is_taken_back(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    let file = output(cluster);
    let strip = || {
        change(&machine, &file, |cluster, user, context| {
            for body in [cluster, user, &mut *context] {
                body.as_object_mut().unwrap().remove("extensions");
            }
            context["namespace"] = json!("team-x");
        });
    };
    for (name, form) in [("strip-token", "token"), ("strip-file", "token-file"), ("strip-exec", "exec")] {
        machine.inventory(name, &format!("{}credential = \"{form}\"\n", profile("15m")));
        drop(std::fs::remove_file(machine.path(&file)));
        machine.expect(0, &["apply", "--yes"]);
        let admin = machine.admin(0);
        let before = index(&admin, name);
        strip();
        let stripped = machine.read(&file);
        let run = machine.kubemint(&["apply", "--yes"]).exits(5);
        assert!(run.stderr.contains("has lost kubemint's mark"), "{form}: {}", run.stderr);
        assert!(run.stderr.contains("take it back with `kubemint apply --adopt --cluster "), "{form}: {}", run.stderr);
        let verified = machine.kubemint(&["verify", "-o", "json"]).exits(4).report();
        let finding = &verified["clusters"][0]["grants"][0]["findings"][0];
        assert!(finding["hint"].as_str().unwrap().contains("rename the entry"), "apply would not write it: {finding}");
        machine.expect(5, &["refresh", "--force"]);
        assert_eq!(machine.read(&file), stripped, "{form}");
        machine.expect(0, &["apply", "--yes", "--adopt"]);
        assert_eq!(index(&admin, name)["holders"], before["holders"], "{form}: nothing was minted");
        assert!(machine.read(&file).contains("team-x"), "{form}: what is the user's own stays");
        machine.expect(0, &["plan", "--check"]);
        machine.expect(0, &["verify"]);
        // Neither a cluster nor a credential of somebody else is ever taken for ours.
        strip();
        change(&machine, &file, |cluster, _, _| cluster["server"] = json!("https://bastion.example.com"));
        let theirs = machine.read(&file);
        let run = machine.kubemint(&["apply", "--yes", "--adopt"]).exits(5);
        assert!(run.stderr.contains("is not kubemint's"), "{}", run.stderr);
        assert_eq!(machine.read(&file), theirs, "{form}");
        strip();
        change(&machine, &file, |_, user, _| *user = json!({ "token": "somebody-elses" }));
        let theirs = machine.read(&file);
        let run = machine.kubemint(&["apply", "--yes", "--adopt"]).exits(5);
        assert!(run.stderr.contains("is not kubemint's") && !run.stderr.contains("somebody-elses"), "{}", run.stderr);
        assert_eq!(machine.read(&file), theirs, "{form}");
    }
    // Neither is one of ours that was revoked: then it is not known whose the entry became.
    machine.inventory("strip-dead", &profile("15m"));
    std::fs::remove_file(machine.path(&file)).unwrap();
    machine.expect(0, &["apply", "--yes"]);
    machine.expect(0, &["revoke", "--yes"]);
    strip();
    machine.expect(5, &["apply", "--yes", "--adopt"]);
}

/// After the kubeconfig of a token file was deleted, nothing names the token.
pub(crate) fn a_token_without_its_kubeconfig_is_not_everywhere(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("nameless", &format!("{}credential = \"token-file\"\n", profile("15m")));
    machine.expect(0, &["apply", "--yes"]);
    machine.expect(0, &["status", "--check"]);
    std::fs::remove_file(machine.path(&output(cluster))).unwrap();
    for command in ["plan", "status"] {
        machine.expect(4, &[command, "--check"]);
    }
    let offline = machine.kubemint(&["status", "--offline", "--check", "-o", "json"]).exits(4).report();
    assert_eq!(offline["grants"][0]["outputs"][0]["holds"], "altered", "{offline:#}");
    machine.expect(4, &["verify"]);
    machine.expect(0, &["apply", "--yes"]);
    machine.expect(0, &["status", "--check"]);
}

/// Only one of three outputs has to be written; the plan says which.
pub(crate) fn only_the_files_that_are_written_are_counted(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    let outputs = "[[outputs]]\npath = \"two.kubeconfig\"\n[[outputs]]\npath = \"three.kubeconfig\"\n";
    machine.inventory("counted", &format!("{}{outputs}", profile("15m")));
    let first = machine.kubemint(&["plan"]).exits(0);
    assert!(first.stdout.contains("first, 3 files"), "{}", first.stdout);
    machine.expect(0, &["apply", "--yes"]);
    change(&machine, "two.kubeconfig", |_, _, context| context["user"] = json!("somebody"));
    let plan = machine.kubemint(&["plan"]).exits(0);
    assert!(plan.stdout.contains("1 file)") && plan.stdout.contains("- context.user: somebody"), "{}", plan.stdout);
    let report = machine.kubemint(&["plan", "-o", "json"]).exits(0).report();
    let files = report["clusters"][0]["changes"][0]["files"].as_array().unwrap();
    assert!(files.len() == 1 && files[0].as_str().unwrap().ends_with("two.kubeconfig"), "{files:?}");
    // What a mint overwrites is shown as well.
    let shorter = profile("15m").replace("ttl = \"1h\"", "ttl = \"2h\"");
    machine.inventory("counted", &format!("{shorter}{outputs}"));
    let plan = machine.kubemint(&["plan"]).exits(0);
    assert!(plan.stdout.contains("policy changed, 3 files"), "{}", plan.stdout);
    assert!(plan.stdout.contains("- context.user: somebody"), "{}", plan.stdout);
}

/// kubemint can read a kubeconfig that it issued as the admin access of another inventory, marks included.
pub(crate) fn an_issued_kubeconfig_is_somebodys_admin_kubeconfig(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    let admin = "[profiles.reader]\ncluster-roles = [\"cluster-admin\"]\n[[grants]]\nprofile = \"reader\"\n\
                 selector = \"env=test\"\n[[outputs]]\npath = \"issued.yaml\"\ncontext = \"{cluster}\"\n";
    machine.inventory("issues-admin", admin);
    machine.expect(0, &["apply", "--yes"]);
    machine.write("admin.yaml", &machine.read("issued.yaml"));
    machine.inventory("uses-issued", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    machine.expect(0, &["verify"]);
}

/// If the endpoint does not respond, the CA is not the server's, or the API server does not accept the audience,
/// nothing is written, and the run says so.
pub(crate) fn an_exec_plugin_is_proven_before_its_entries_are_written(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    // Of a fleet that signed nothing here.
    let stranger = simulated(["stranger"]);
    machine.write("other.pem", &stranger.cluster("stranger").ca_pem);
    let inventory = format!("{}credential = \"exec\"\n", profile("15m"));
    let consumer = |line: &str| {
        machine.inventory("exec-proven", &inventory);
        let text = machine.read("clusters.toml");
        machine.write("clusters.toml", &text.replacen("labels = {", &format!("{line}\nlabels = {{"), 1));
    };
    let refused = |machine: &Machine, step: &str| {
        let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(7).report();
        let doing = report["clusters"][0]["error"]["doing"].as_str().unwrap();
        assert!(doing.contains("verify the token"), "{step}: {report:#}");
        let hint = report["clusters"][0]["error"]["hint"].as_str().unwrap();
        let key = if step == "another CA" { "consumer.certificate-authority" } else { "consumer.server" };
        assert!(hint.contains(key), "{step}: {hint}");
        assert!(!machine.path(&output(cluster)).exists(), "{step}: nothing was written");
    };
    consumer("consumer.server = \"https://127.0.0.1:1\"");
    refused(&machine, "a dead endpoint");
    consumer("consumer.certificate-authority = \"other.pem\"");
    refused(&machine, "another CA");
    let foreign = inventory.replace("ttl = \"1h\"", "ttl = \"1h\", audiences = [\"vault\"]");
    machine.inventory("exec-proven", &foreign);
    refused(&machine, "an audience of somebody else");
    machine.inventory("exec-proven", &inventory);
    machine.expect(0, &["apply", "--yes"]);
    machine.expect(0, &["verify"]);
}

/// A gateway that refuses everything proves nothing, whatever its response looks like; a refusal by the API server
/// names the user. Servers before 1.28 are asked in another way.
#[test]
fn only_an_api_server_that_says_who_asked_has_proven_a_credential() {
    let fleet = simulated(["sim"]);
    let cluster = fleet.cluster("sim");
    let machine = Machine::new(&[&cluster], User::Admin);
    machine.inventory("proven", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    let fail = |code: u16, body: &str| {
        let (path_contains, body) = ("selfsubjectreviews".to_owned(), Some(body.to_owned()));
        cluster.set_fault(Some(Fault::FailOn { method: None, path_contains, code, body, times: None }));
    };
    let forbidden = |message: &str| {
        json!({"kind": "Status", "status": "Failure", "reason": "Forbidden", "code": 403, "message": message})
            .to_string()
    };
    let state = |code: i32| {
        let report = machine.kubemint(&["verify", "-o", "json"]).exits(code).report();
        report["clusters"][0]["grants"][0]["credentials"][0]["state"].as_str().unwrap().to_owned()
    };
    for page in ["<html>no</html>".to_owned(), forbidden("denied by policy"), forbidden("User is not allowed")] {
        fail(403, &page);
        assert_eq!(state(7), "unreachable", "{page}");
    }
    let refusal =
        |user: &str| forbidden(&format!("reviews is forbidden: User \"{user}\" cannot create resource \"x\""));
    fail(403, &refusal("system:serviceaccount:proven:reader"));
    assert_eq!(state(0), "works");
    fail(403, &refusal("system:serviceaccount:proven:other"));
    assert_eq!(state(4), "other-identity");
    fail(403, &refusal("system:anonymous"));
    assert_eq!(state(4), "refused");
    fail(404, "404 page not found");
    assert_eq!(state(0), "works", "an old API server says it when it refuses something");
    machine.expect(0, &["refresh", "--force"]);
    fail(403, "<html>log in first</html>");
    let report = machine.kubemint(&["refresh", "--force", "-o", "json"]).exits(7).report();
    let hint = report["clusters"][0]["error"]["hint"].as_str().unwrap();
    assert!(hint.contains("authenticating proxy") && hint.contains("`consumer.server`"), "{hint}");
}
