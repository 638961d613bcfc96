//! Text of a large fleet: it counts, and shows what needs somebody.

use std::collections::BTreeMap;

use super::hostile::{status, verified};
use super::*;
use crate::plan::CredentialState;

/// What a screen or two hold.
const SHORT: usize = 150;

fn labels(number: usize) -> BTreeMap<String, String> {
    let region = if number.is_multiple_of(2) { "eu" } else { "us" };
    BTreeMap::from([("region".to_owned(), region.to_owned())])
}

/// A fleet in which one grant of a hundred is due.
fn statuses(number: usize) -> Report {
    let report = status("x");
    let Body::Status(Status { grants, .. }) = &report.body else { panic!("it is a status") };
    let fine = GrantStatus { drift: Drifted::No, error: None, detail: None, ..grants[0].clone() };
    let grant = |number: usize| GrantStatus {
        cluster: format!("c{number:05}").as_str().into(),
        labels: labels(number),
        state: if number % 100 == 7 { CredentialState::Due } else { CredentialState::Current },
        ..fine.clone()
    };
    let grants = (0..number).map(grant).collect();
    Report { body: Status::new(false, grants, None, vec![]).into(), ..report }
}

#[test]
fn the_status_of_a_large_fleet_counts_and_shows_what_needs_somebody() {
    let report = statuses(1_000);
    let text = plain(&shown(&report));
    assert!(text.starts_with("1000 grants: 10 due, 990 current\n\n"), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with('c')).count(), 10, "{text}");
    assert!(
        text.ends_with(
            "990 grants are fine and not shown\nhint: `--all` shows every grant, `-o wide` every column too\n"
        )
    );
    for options in [TextOptions { shows_all: true, ..OPTIONS }, TextOptions { is_wide: true, ..OPTIONS }] {
        let text = plain(&text::text(&report, options));
        assert_eq!(text.lines().filter(|line| line.starts_with('c')).count(), 1_000);
        assert!(text.ends_with("1000 grants: 10 due, 990 current\n"));
    }
    // Nor does a fleet of which nothing works scroll away.
    let text = plain(&shown(&statuses(20_000)));
    assert!(text.lines().count() < SHORT && text.contains("… and 150 more grants that need somebody"), "{text}");
    // A small one is shown whole.
    let text = plain(&shown(&statuses(50)));
    assert_eq!(text.lines().filter(|line| line.starts_with('c')).count(), 50, "{text}");
}

#[test]
fn clusters_are_counted_by_a_label() {
    let report = statuses(1_000);
    let by = |label| plain(&text::text(&report, TextOptions { group_by: Some(label), ..OPTIONS }));
    insta::assert_snapshot!(by("region").lines().take(4).collect::<Vec<_>>().join("\n"));
    assert!(by("zone").contains("(no such label)  1000"), "{}", by("zone"));
}

#[test]
fn a_plan_folds_what_would_scroll_away_but_not_what_failed() {
    let pending = |number: usize| ClusterReport {
        changes: vec![change(Action::Create, Kind::ClusterRole, &format!("role-{number}")).into()],
        labels: labels(number),
        ..cluster(&format!("c{number:05}"), State::Pending)
    };
    let blocked = |number: usize| ClusterReport {
        blockers: vec![Blocker {
            kind: BlockerKind::MissingNamespace,
            profile: None,
            message: format!("namespace `n{number}` does not exist"),
            hint: None,
        }],
        ..cluster(&format!("b{number}"), State::Blocked)
    };
    let clusters = (0..1_000).map(pending).chain((0..3).map(blocked)).collect();
    let report = report(Command::Plan, clusters);
    let text = plain(&shown(&report));
    assert!(text.lines().count() < SHORT, "{text}");
    assert!(text.contains("… and 980 more groups of changes, on 980 clusters; `--all` shows them"), "{text}");
    assert_eq!(text.matches("blocked: namespace").count(), 3);
    assert!(text.ends_with("1003 clusters: 1000 to change, 3 blocked\n"), "{text}");
    let text = plain(&text::text(&report, TextOptions { shows_all: true, group_by: Some("region"), ..OPTIONS }));
    assert_eq!(text.matches("+ create ClusterRole").count(), 1_000);
    insta::assert_snapshot!(text.lines().take(5).collect::<Vec<_>>().join("\n"));
}

#[test]
fn a_verification_folds_what_is_fine() {
    let one = verified("x");
    let Body::Verification(verification) = &one.body else { panic!("it is a verification") };
    let cluster = |number: usize| {
        let state = if number % 100 == 7 { VerifyState::Findings } else { VerifyState::Fine };
        let bad = &verification.clusters[0];
        let grant = GrantReport {
            state,
            findings: if state == VerifyState::Fine { vec![] } else { bad.grants[0].findings.clone() },
            excess: Some(vec![]),
            everyone: vec![],
            notes: vec![],
            ..bad.grants[0].clone()
        };
        let name = format!("c{number:05}").as_str().into();
        VerifiedClusterReport { name, state, error: None, grants: vec![grant], ..bad.clone() }
    };
    let text = |number: usize, options| {
        let verification = Verification::new(false, (0..number).map(cluster).collect());
        plain(&text::text(&Report { body: verification.into(), ..one.clone() }, options))
    };
    let shown = text(1_000, OPTIONS);
    assert!(shown.starts_with("1000 clusters: 990 fine, 10 with findings\n\n"), "{shown}");
    assert_eq!(shown.lines().filter(|line| line.starts_with('c')).count(), 10, "{shown}");
    assert!(shown.ends_with("\nhint: `--all` shows every grant\n"), "{shown}");
    let all = text(1_000, TextOptions { shows_all: true, ..OPTIONS });
    assert_eq!(all.lines().filter(|line| line.starts_with('c')).count(), 1_000);
    assert!(text(20_000, OPTIONS).lines().count() < SHORT);
}

fn render_all(report: &Report) {
    for rendering in Rendering::ALL {
        assert!(!render(report, rendering, OPTIONS).unwrap().is_empty());
    }
}

#[test]
#[ignore = "`instructions` runs it"]
fn a_plan_is_rendered() {
    let pending = |number: usize| ClusterReport {
        changes: vec![
            change(Action::Create, Kind::ClusterRole, "reader").into(),
            change(Action::Create, Kind::ServiceAccount, "reader").into(),
        ],
        labels: labels(number),
        ..cluster(&format!("c{number:05}"), State::Pending)
    };
    render_all(&report(Command::Plan, (0..crate::instructions::size()).map(pending).collect()));
}

#[test]
#[ignore = "`instructions` runs it"]
fn a_status_is_rendered() {
    render_all(&statuses(crate::instructions::size()));
}
