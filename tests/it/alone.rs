//! A fault of one grant, or a change by one holder, does not affect others; on any cluster, simulated or real.
//!
//! Like `scenarios`: each has an inventory name and a namespace of its own.

use kubemint_testkit::{Admin, TestCluster, User};
use serde_json::{Value, json};

use crate::life::{anchors, generations, index, output, profile};
use crate::plugin::{plugin, run, token_of};
use crate::scenarios::is_refused_soon;
use crate::support::{Machine, can_i, simulated};

/// Passes every scenario to a macro, so that none can be left out on one fleet.
macro_rules! every_limit {
    ($run:ident) => {
        $run!(a_blocked_grant_has_no_steps, an_orphan_is_ended_and_suspends_nothing,);
    };
}
pub(crate) use every_limit;

/// Another holder's outputs, of either form, are not written, and nothing is minted for them.
pub(crate) fn a_blocked_grant_has_no_steps(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    let plugin = "[[outputs]]\npath = \"plugin.kubeconfig\"\ncredential = \"exec\"\n";
    for (name, inventory) in [
        ("stepless-token", profile("15m")),
        (
            "stepless-exec",
            profile("15m").replace(
                "path = \"out/{cluster}.kubeconfig\"\n",
                "path = \"plugin.kubeconfig\"\ncredential = \"exec\"\n",
            ),
        ),
        ("stepless-both", format!("{}{plugin}", profile("15m"))),
    ] {
        machine.inventory(name, &inventory);
        for file in ["plugin.kubeconfig".to_owned(), output(cluster)] {
            drop(std::fs::remove_file(machine.path(&file)));
        }
        machine.expect(0, &["apply", "--yes"]);
        let admin = machine.admin(0);
        let state = || (anchors(&admin, name), index(&admin, name), machine.files());
        let before = state();
        for _ in 0..2 {
            let report = machine.kubemint(&["refresh", "--holder", "other", "-o", "json"]);
            assert_eq!(report.code, 5, "{name}: {}", report.stdout);
            let report = report.report();
            assert_eq!(report["clusters"][0]["changes"], json!([]), "{name}: {report:#}");
            assert_eq!(report["clusters"][0]["blockers"][0]["kind"], "credential-held-elsewhere", "{name}");
            machine.expect(5, &["apply", "--yes", "--holder", "other"]);
            assert_eq!(state(), before, "{name}: nothing was written anywhere");
        }
        machine.expect(0, &["apply", "--yes", "--holder", "other", "--reissue"]);
    }
}

/// Adds an old claim to the index that was never published, with its anchor.
fn orphan(machine: &Machine, admin: &Admin, inventory: &str, number: u64) {
    let account = format!("/api/v1/namespaces/{inventory}/serviceaccounts/reader");
    let mut index: Value = index(admin, inventory);
    let chain = &mut index["holders"]["default"];
    let mut claim = chain["generations"][0].clone();
    for recorded in ["anchor-uid", "issued", "expires", "jti", "published"] {
        claim.as_object_mut().unwrap().remove(recorded);
    }
    (claim["n"], claim["claimed-at"]) = (json!(number), json!("2020-01-01T00:00:00Z"));
    chain["generations"].as_array_mut().unwrap().push(claim);
    chain["next"] = json!(number + 1);
    let patch = json!({"metadata": {"annotations": {"kubemint.dev/credentials": index.to_string()}}});
    admin.merge_patch(&account, &patch).unwrap();
    drop(machine.kubemint(&["plan"]).exits(0));
}

/// Nobody holds the credential of a claim that was never published. So it ends with the superseded ones, and ending it
/// by its number does not suspend the current one.
pub(crate) fn an_orphan_is_ended_and_suspends_nothing(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("orphans", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let token = machine.token(&output(cluster));
    for (number, arguments) in
        [(2, &["revoke", "--superseded", "--yes"][..]), (3, &["revoke", "--generation", "3", "--yes"])]
    {
        orphan(&machine, &admin, "orphans", number);
        assert_eq!(generations(&admin, "orphans"), [1, number]);
        machine.expect(0, arguments);
        assert_eq!(generations(&admin, "orphans"), [1], "{arguments:?}");
        machine.expect(0, &["status", "--check"]);
    }
    machine.expect(0, &["verify"]);
    machine.expect(0, &["revoke", "--generation", "1", "--yes"]);
    assert!(is_refused_soon(&admin, &token));
    machine.expect(4, &["status", "--check"]);
}

/// If two API servers are swapped behind their names, no token of one is given for the other, neither from the cache
/// nor freshly minted. The plan says that another API server responds.
#[test]
fn a_token_never_goes_to_a_server_that_it_was_not_minted_for() {
    let fleet = simulated(["one", "two"]);
    let (one, two) = (fleet.cluster("one"), fleet.cluster("two"));
    let machine = Machine::new(&[&one, &two], User::Admin);
    let outputs = "path = \"{cluster}.kubeconfig\"\ncredential = \"exec\"\n";
    machine.inventory("swapped", &profile("15m").replace("path = \"out/{cluster}.kubeconfig\"\n", outputs));
    machine.expect(0, &["apply", "--yes"]);
    let first = token_of(&run(plugin(&machine, "one.kubeconfig")).exits(0));
    assert_eq!(token_of(&run(plugin(&machine, "one.kubeconfig")).exits(0)), first, "it is kept");
    let mut admin: Value = serde_saphyr::from_str(&machine.read("admin.yaml")).unwrap();
    let contexts = admin["contexts"].as_array_mut().unwrap();
    let (a, b) = (contexts[0]["context"].clone(), contexts[1]["context"].clone());
    (contexts[0]["context"], contexts[1]["context"]) = (b, a);
    machine.write("admin.yaml", &admin.to_string());

    // The kubeconfig still names the old server, and its token is still the one for it.
    assert_eq!(token_of(&run(plugin(&machine, "one.kubeconfig")).exits(0)), first);
    std::fs::remove_dir_all(machine.path(".cache")).unwrap();
    let refused = run(plugin(&machine, "one.kubeconfig")).exits(7);
    assert!(refused.stdout.is_empty() && refused.stderr.contains("this kubeconfig is for `"), "{}", refused.stderr);
    assert!(refused.stderr.contains("kubemint apply --cluster one --profile reader"), "{}", refused.stderr);

    let plan = machine.kubemint(&["plan", "-o", "json"]).exits(0).report();
    let notes = plan["clusters"][0]["notes"].to_string();
    assert!(notes.contains("another API server answers than the one that"), "{notes}");
    machine.expect(0, &["apply", "--yes"]);
    let second = token_of(&run(plugin(&machine, "one.kubeconfig")).exits(0));
    assert!(can_i(&machine.admin(1), &second, "list", "pods", "default"), "it is the other server's");
    assert_ne!(first, second);
}
