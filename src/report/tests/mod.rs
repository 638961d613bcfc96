//! Snapshots of the text renderer on hand-made reports.

mod documents;
mod hostile;
mod large;
mod risk;

use jiff::Timestamp;

use super::*;
use crate::failure::FailureKind;
use crate::field_diff::FieldDiff;
use crate::object::Kind;
use crate::plan::{Blocker, BlockerKind, Note, NoteKind};
use crate::step::Action;

fn cluster(name: &str, state: State) -> ClusterReport {
    ClusterReport::empty(name.into(), state)
}

fn change(action: Action, kind: Kind, name: &str) -> Change {
    Change {
        id: format!("{action:?} {name}").as_str().into(),
        action,
        kind: Some(kind),
        namespace: None,
        name: Some(name.to_owned()),
        profile: None,
        generation: None,
        reason: None,
        fields: vec![],
        overrules: vec![],
        adopted_from: None,
        files: vec![],
        secrets: vec![],
        risk: None,
        done: None,
    }
}

fn report(command: Command, clusters: Vec<ClusterReport>) -> Report {
    let head = Head {
        kubemint: "0.0.0".to_owned(),
        ..Head::new(command, Timestamp::UNIX_EPOCH, &"acme".into(), &"default".into())
    };
    Report::new(head, Changes::new(clusters))
}

/// The usual options, with the epoch as the current time.
const OPTIONS: TextOptions<'static> =
    TextOptions { is_wide: false, shows_all: false, group_by: None, now: Timestamp::UNIX_EPOCH };

/// Renders a report, with the epoch as the current time.
fn shown(report: &Report) -> String {
    text::text(report, OPTIONS)
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

#[test]
fn a_plan_shows_identical_changes_once_and_each_field() {
    let pending = |name: &str| {
        let mut update = change(Action::Update, Kind::ClusterRole, "kubemint:acme:deployer");
        update.fields = vec![FieldDiff {
            field: "rules".into(),
            removed: vec!["delete on pods".into()],
            added: vec!["get, list on pods".into()],
        }];
        update.overrules = vec!["kubectl-edit".into()];
        ClusterReport { changes: vec![update.into()], ..cluster(name, State::Pending) }
    };
    let mut clusters: Vec<_> = (0..10).map(|number| pending(&format!("c{number}"))).collect();
    clusters.push(cluster("fine", State::Unchanged));
    clusters.push(ClusterReport {
        blockers: vec![Blocker {
            profile: None,
            kind: BlockerKind::MissingNamespace,
            message: "namespace `apps` does not exist; `deployer` needs it".into(),
            hint: Some("create it".into()),
        }],
        notes: vec![Note::new(NoteKind::ClockSkew, "the cluster's clock is 40 s behind this machine's")],
        ..cluster("stuck", State::Blocked)
    });
    insta::assert_snapshot!(plain(&shown(&report(Command::Plan, clusters))), @r"
    10 clusters: c0, c1, c2, c3, c4, c5, c6, c7 and 2 more
      ~ update ClusterRole `kubemint:acme:deployer`
          - rules: delete on pods
          + rules: get, list on pods
          overrules field manager `kubectl-edit`

    stuck blocked
      blocked: namespace `apps` does not exist; `deployer` needs it
        hint: create it
      note: the cluster's clock is 40 s behind this machine's

    12 clusters: 10 to change, 1 up to date, 1 blocked
    ");
}

#[test]
fn failures_name_cluster_step_cause_and_command() {
    let failed = |name: &str, step, doing: &str, cause: &str| ClusterReport {
        error: Some(ErrorReport {
            kind: FailureKind::Other,
            step,
            steps: 4,
            doing: doing.into(),
            cause: cause.into(),
            hint: None,
        }),
        ..cluster(name, State::Failed)
    };
    let mut clusters: Vec<_> = (0..12).map(|number| cluster(&format!("c{number}"), State::Changed)).collect();
    clusters.push(failed("prod-eu", 3, "request token", "no answer within 10s"));
    clusters.push(failed("edge-07", 0, "read current access objects", "it is signed by an unknown authority"));
    clusters.push(ClusterReport {
        blockers: vec![
            Blocker {
                profile: None,
                kind: BlockerKind::CredentialHeldElsewhere,
                message: "generation 1 is alive".into(),
                hint: Some("pass `--reissue`".into()),
            },
            Blocker {
                profile: None,
                kind: BlockerKind::ForeignObject,
                message: "hidden".into(),
                hint: Some("a hint about what is not shown".into()),
            },
        ],
        ..cluster("stuck", State::Blocked)
    });
    let arguments = ["--holder ci".to_owned()];
    let planned: Vec<ClusterReport> =
        clusters.iter().filter(|cluster| cluster.state == State::Blocked).cloned().collect();
    let report = report(Command::Apply, clusters);
    // After the plan on the same terminal, the same messages are not repeated.
    let after_plan = failures(&report, &arguments, Seen::Plan(&planned)).unwrap();
    assert_eq!(after_plan.message, "2 failed, 1 blocked of 15 clusters");
    assert!(!after_plan.lines.iter().any(|line| line.contains("stuck")), "{:?}", after_plan.lines);
    assert_eq!(after_plan.lines.len(), 3, "{:?}", after_plan.lines);
    let Failures { message, lines, hint } = failures(&report, &arguments, Seen::Nothing).unwrap();
    insta::assert_snapshot!(format!("{message}\n{}\n{}", lines.join("\n"), hint.unwrap()), @r"
    2 failed, 1 blocked of 15 clusters
      prod-eu  step 3 of 4, request token: no answer within 10s
      edge-07  read current access objects: it is signed by an unknown authority
      stuck    blocked: generation 1 is alive (and 1 more)
                 pass `--reissue`
    12 clusters are up to date
    run `kubemint apply --holder ci --cluster prod-eu --cluster edge-07`
    ");
}

#[test]
fn the_json_model_is_stable() {
    let mut mint = change(Action::Mint, Kind::Secret, "x");
    (mint.kind, mint.name) = (None, None);
    (mint.profile, mint.generation, mint.reason) = (Some("deployer".into()), Some(2), Some("due".into()));
    mint.files = vec!["out/a.kubeconfig".into()];
    let clusters = vec![ClusterReport { changes: vec![mint.into()], ..cluster("a", State::Pending) }];
    insta::assert_json_snapshot!(report(Command::Plan, clusters), @r#"
    {
      "schema_version": 1,
      "kubemint": "0.0.0",
      "command": "plan",
      "started": "1970-01-01T00:00:00Z",
      "inventory": "acme",
      "holder": "default",
      "summary": {
        "clusters": 1,
        "unchanged": 0,
        "pending": 1,
        "changed": 0,
        "blocked": 0,
        "failed": 0,
        "not-started": 0
      },
      "clusters": [
        {
          "name": "a",
          "profiles": [],
          "state": "pending",
          "changes": [
            {
              "id": "Mint x",
              "action": "mint",
              "profile": "deployer",
              "generation": 2,
              "reason": "due",
              "files": [
                "out/a.kubeconfig"
              ]
            }
          ],
          "credentials": [],
          "blockers": [],
          "notes": []
        }
      ]
    }
    "#);
}
