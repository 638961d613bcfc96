//! What a run does to access, over a fleet: said once, what is escalating first, and folded.

use std::collections::BTreeSet;

use super::*;
use crate::plan::MissingRights;
use crate::rbac::{Escalating, RightGroup, Scope};
use crate::risk::{Access, Risk, RiskClass};

fn rights(verb: &str, resource: &str) -> Vec<RightGroup> {
    vec![RightGroup {
        verbs: vec![verb.to_owned()],
        api_group: Some(String::new()),
        resource: Some(resource.to_owned()),
        resource_name: None,
        url: None,
    }]
}

fn risk(class: RiskClass, verb: &str, resource: &str) -> Risk {
    let access = vec![Access::rights(&Scope::Cluster, rights(verb, resource))];
    let (gains, losses) = if class == RiskClass::Narrows { (vec![], access) } else { (access, vec![]) };
    let escalating = BTreeSet::from([Escalating::SecretsRead]).into_iter().filter(|_| resource == "secrets").collect();
    Risk { class, profile: Some("deployer".into()), gains, losses, escalating }
}

fn with(name: &str, risks: &[Risk]) -> ClusterReport {
    let change = |(number, risk): (usize, &Risk)| Change {
        risk: Some(risk.clone().into()),
        ..change(Action::Update, Kind::ClusterRole, &format!("role-{number}"))
    };
    ClusterReport {
        changes: risks.iter().enumerate().map(change).map(Into::into).collect(),
        ..cluster(name, State::Pending)
    }
}

/// Returns the lines about access.
fn section(report: &Report) -> String {
    let text = plain(&shown(report));
    let is_about = |line: &&str| {
        ["creates:", "widens:", "narrows:", "lacks rights:", "… and"].iter().any(|it| line.starts_with(it))
    };
    text.lines().filter(is_about).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_is_the_same_in_many_clusters_is_said_once() {
    let delete = risk(RiskClass::Widens, "delete", "pods");
    let get = risk(RiskClass::Narrows, "get", "services");
    let secrets = risk(RiskClass::Widens, "get", "secrets");
    let mut clusters: Vec<ClusterReport> =
        // A role and its binding say the same.
        (0..412).map(|number| with(&format!("c{number}"), &[delete.clone(), delete.clone()])).collect();
    clusters.extend((0..3).map(|number| with(&format!("d{number}"), std::slice::from_ref(&get))));
    clusters.push(with("e", &[secrets]));
    let report = report(Command::Plan, clusters);
    insta::assert_snapshot!(section(&report), @r"
    widens: profile `deployer` may now get secrets: 1 cluster (escalating: secrets-read)
    widens: profile `deployer` may now delete pods: 412 clusters
    narrows: profile `deployer` may no longer get services: 3 clusters
    ");
    let comment = markdown::markdown(&report, OPTIONS);
    let expected = "- **widens** ``profile `deployer` may now get secrets``: 1 cluster **escalating**: `secrets-read`\n\
                    - **widens** ``profile `deployer` may now delete pods``: 412 clusters\n\
                    - **narrows** ``profile `deployer` may no longer get services``: 3 clusters\n";
    assert!(comment.contains(expected), "{comment}");
}

#[test]
fn many_changes_of_access_are_folded() {
    let clusters =
        (0..100).map(|number| with(&format!("c{number}"), &[risk(RiskClass::Widens, "get", &format!("r{number}"))]));
    let section = section(&report(Command::Plan, clusters.collect()));
    assert_eq!(section.lines().filter(|line| line.starts_with("widens:")).count(), 20, "{section}");
    assert!(section.contains("… and 80 more changes of access; `--all` shows them"), "{section}");
}

#[test]
fn rights_that_admins_lack_are_said_once_with_their_clusters() {
    let lacking = |name: &str, verb: &str| ClusterReport {
        missing_rights: vec![MissingRights { user: Some("ci".to_owned()), rights: rights(verb, "pods") }],
        ..cluster(name, State::Blocked)
    };
    let clusters =
        vec![lacking("a", "get"), lacking("b", "delete"), lacking("c", "delete"), cluster("d", State::Pending)];
    insta::assert_snapshot!(section(&report(Command::Plan, clusters)), @r"
    lacks rights: `ci` may not grant delete on pods: 2 clusters: b, c
    lacks rights: `ci` may not grant get on pods: 1 cluster: a
    ");
}
