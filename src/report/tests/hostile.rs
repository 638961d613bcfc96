//! Hostile text in every field of every report: the output is harmless, and gets no additional line.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::super::*;
use super::{OPTIONS, shown};
use crate::access::{AccessNote, AccessNoteKind};
use crate::failure::FailureKind;
use crate::field_diff::FieldDiff;
use crate::foreign::is_invisible;
use crate::kubeconfig::combine::{self, ChangeKind};
use crate::kubeconfig::edit::List;
use crate::kubeconfig::{FileFinding, FileFindingKind};
use crate::object::{Kind, ObjectRef};
use crate::outcome::Span;
use crate::plan::{Blocker, BlockerKind, CredentialState, Note, NoteKind};
use crate::rbac::RightGroup;
use crate::step::Action;

/// Text that servers, kubeconfigs and file names may contain.
const HOSTILE: &str = "x\n2 clusters: 2 changed\r\u{1b}[2J\u{1b}]52;c;eA==\u{7}\u{9b}31m\u{1b}[8m\u{202e}y\u{2066}\u{200b}\u{feff}\u{2028}z\0";
/// A harmless text that gives the same number of lines.
const HARMLESS: &str = "x";

fn change(text: &str, action: Action) -> Change {
    let text = || text.to_owned();
    Change {
        id: "x".into(),
        action,
        kind: Some(Kind::Role),
        namespace: Some(text()),
        name: Some(text()),
        profile: Some(text()),
        generation: Some(1),
        reason: None,
        fields: vec![FieldDiff { field: text(), removed: vec![text()], added: vec![text()] }],
        overrules: vec![text()],
        adopted_from: Some(text()),
        files: vec![text()],
        secrets: vec![text()],
        risk: None,
        done: Some(false),
    }
}

fn head(command: Command, text: &str) -> Head {
    Head { kubemint: "0".to_owned(), ..Head::new(command, Timestamp::UNIX_EPOCH, &text.into(), &text.into()) }
}

fn labels(text: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(text.to_owned(), text.to_owned())])
}

pub(super) fn report(text: &str) -> Report {
    let owned = || text.to_owned();
    let without_object = Change { kind: None, name: None, namespace: None, ..change(text, Action::Mint) };
    let cluster = |state, error| ClusterReport {
        name: text.into(),
        labels: labels(text),
        wave: Some(text.into()),
        cluster_uid: Some(owned()),
        span: Span::default(),
        profiles: vec![text.into()],
        state,
        changes: [change(text, Action::Update), change(text, Action::Delete), without_object.clone()]
            .map(Into::into)
            .into(),
        credentials: vec![],
        blockers: vec![Blocker {
            kind: BlockerKind::Refused,
            profile: Some(text.into()),
            message: owned(),
            hint: Some(owned()),
        }],
        missing_rights: vec![],
        notes: vec![Note::new(NoteKind::NotChecked, owned())],
        error,
        not_started: None,
    };
    let error = ErrorReport {
        kind: FailureKind::Other,
        step: 1,
        steps: 2,
        doing: owned(),
        cause: owned(),
        hint: Some(owned()),
    };
    let clusters = vec![cluster(State::Failed, Some(error)), cluster(State::Blocked, None)];
    Report::new(head(Command::Apply, text), Changes::new(clusters))
}

pub(super) fn status(text: &str) -> Report {
    let owned = || text.to_owned();
    let grant = GrantStatus {
        cluster: text.into(),
        profile: text.into(),
        labels: labels(text),
        state: CredentialState::Due,
        grant_starts: None,
        grant_expires: None,
        detail: Some(owned()),
        generation: Some(1),
        issued: None,
        expires: None,
        requested_seconds: None,
        clamped_seconds: None,
        due: None,
        superseded: vec![],
        other_holders: vec![(owned(), 1)],
        drift: Drifted::Yes,
        drifted: vec![owned()],
        outputs: vec![OutputStatus { path: owned(), holds: Holds::Newest, generation: None }],
        namespace: owned(),
        service_account: owned(),
        error: Some(owned()),
        error_kind: None,
    };
    let legacy = LegacyTokenStatus {
        cluster: text.into(),
        profile: text.into(),
        namespace: owned(),
        secret: owned(),
        created: Some(owned()),
        last_used: Some(owned()),
        invalid_since: Some(owned()),
    };
    Report::new(head(Command::Status, text), Status::new(false, vec![grant], Some(vec![legacy]), vec![owned()]))
}

pub(super) fn verified(text: &str) -> Report {
    let owned = || text.to_owned();
    let rights = || {
        let (api_group, resource, resource_name) = (Some(owned()), Some(owned()), Some(owned()));
        vec![RightGroup { verbs: vec![owned()], api_group, resource, resource_name, url: None }]
    };
    let binding = |default| BindingReport {
        binding: ObjectRef::namespaced(Kind::RoleBinding, owned(), owned()),
        role_kind: "Role".into(),
        role: owned(),
        group: Some(owned()),
        default,
        namespace: Some(owned()),
        rights: rights(),
    };
    let grant = GrantReport {
        profile: text.into(),
        service_account: owned(),
        state: VerifyState::Findings,
        credentials: vec![],
        rights: RightCounts { allowed: 0, denied: 1, unknown: 0 },
        allowed: vec![],
        denied: vec![],
        unknown: vec![],
        excess: Some(vec![binding(None)]),
        everyone: vec![binding(Some(false)), binding(Some(true))],
        findings: vec![Finding { kind: FindingKind::NoCredential, message: owned(), hint: Some(owned()) }],
        notes: vec![AccessNote::new(AccessNoteKind::NotAsked, owned())],
    };
    let error = VerifyError { kind: FailureKind::Other, doing: "verify".into(), cause: owned(), hint: Some(owned()) };
    let verification = Verification {
        strict: true,
        summary: VerifySummary { clusters: 1, fine: 0, excess: 0, findings: 0, failed: 1, not_started: 0 },
        clusters: vec![VerifiedClusterReport {
            name: text.into(),
            labels: labels(text),
            span: Span::default(),
            state: VerifyState::Failed,
            grants: vec![grant],
            error: Some(error),
        }],
    };
    Report::new(head(Command::Verify, text), verification)
}

fn examined(text: &str) -> KubeconfigReport {
    let finding = FileFinding::warning(FileFindingKind::Exposed, Some(1), text.to_owned()).hint(text);
    let finding = FileFinding { instead: Some(text.to_owned()), ..finding };
    let mut report = KubeconfigReport::new(text.to_owned(), Some(text.to_owned()), vec![finding]);
    (report.server, report.identity) = (Some(text.to_owned()), Some(text.to_owned()));
    report
}

fn changes_of(text: &str) -> Vec<combine::Change> {
    let owned = || text.to_owned();
    let change = |kind| combine::Change {
        kind,
        list: List::Users,
        name: owned(),
        from: Some(owned()),
        dropped: vec![owned()],
        changed: vec![owned()],
    };
    [ChangeKind::Come, ChangeKind::Change, ChangeKind::Go].map(change).to_vec()
}

fn merged<'a>(text: &str, changes: &'a [combine::Change]) -> MergeReport<'a> {
    MergeReport { file: Some(text.to_owned()), is_dry_run: true, inputs: 2, changes, unchanged: 1 }
}

/// What a merge says when it was done, when there was nothing to do, and of names that collide.
#[test]
fn a_merge_says_what_is_lost_and_counts_the_rest() {
    let [mut come, change, _] = changes_of("x").try_into().unwrap();
    come.dropped.clear();
    let changes = [come, change];
    let done = MergeReport { file: None, is_dry_run: false, ..merged("x", &changes) };
    let nothing = MergeReport { unchanged: 2, ..merged("x", &[]) };
    let collision = |first: Option<&str>| combine::Collision {
        list: List::Contexts,
        name: "c".to_owned(),
        first: first.map(str::to_owned),
        second: "two".to_owned(),
    };
    let collisions: Vec<_> = std::iter::once(collision(None)).chain((0..11).map(|_| collision(Some("one")))).collect();
    let lines = collision_lines(&collisions);
    assert_eq!(lines.len(), 11);
    let ends = format!("{}\n{}\n{}", lines[0], lines[1], lines[10]);
    insta::assert_snapshot!(format!("{}{}{ends}", merge_text(&done), merge_text(&nothing)));
}

/// Returns everything that is shown of reports that hold this text.
fn everything_shown(text: &str) -> Vec<String> {
    let (report, status, verified, examined) = (report(text), status(text), verified(text), examined(text));
    let quoted = [crate::wording::command(&["--holder", text])];
    let failed = failures(&report, &quoted, Seen::Nothing).unwrap();
    let unverified = failures(&verified, &quoted, Seen::Nothing).unwrap();
    let error = |failures: Failures| {
        let error = crate::error::Error::new(crate::exit_code::ExitCode::Partial, failures.message);
        crate::error::Error { lines: failures.lines, hint: failures.hint, ..error.because(text) }
    };
    let Body::Changes(changes) = &report.body else { unreachable!("made above") };
    vec![
        shown(&report),
        notes_text(&changes.clusters, &[]),
        summary_line(Command::Apply, &changes.summary),
        shown(&status),
        text::text(&status, TextOptions { is_wide: true, group_by: Some(text), ..OPTIONS }),
        text::text(&report, TextOptions { group_by: Some(text), ..OPTIONS }),
        text::text(&verified, TextOptions { group_by: Some(text), ..OPTIONS }),
        shown(&verified),
        kubeconfig_text(&examined),
        merge_text(&merged(text, &changes_of(text))),
        crate::output::render_error(&error(failed)),
        crate::output::render_error(&error(unverified)),
    ]
}

#[test]
fn no_text_of_others_reaches_a_terminal_as_it_came() {
    for (hostile, harmless) in everything_shown(HOSTILE).into_iter().zip(everything_shown(HARMLESS)) {
        let plain = anstream::adapter::strip_str(&hostile).to_string();
        let invisible = plain.chars().find(|c| is_invisible(*c) && *c != '\n');
        assert_eq!(invisible, None, "{plain:?}");
        // Only kubemint's own colours are left, and they are the same in both.
        let colours = |text: &str| text.matches('\u{1b}').count();
        assert_eq!(colours(&hostile), colours(&harmless), "{hostile:?}");
        assert_eq!(hostile.lines().count(), harmless.lines().count(), "a line was forged:\n{hostile}");
    }
}

#[test]
fn json_is_exact() {
    let json = crate::foreign::json(&report(HOSTILE)).unwrap();
    assert_eq!(json.chars().find(|c| is_invisible(*c) && *c != '\n'), None);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["clusters"][0]["notes"][0]["message"], HOSTILE);
}

/// Every renderer, on reports with everything that they can hold, so that changes of the model show.
#[test]
fn what_each_renderer_shows_is_known() {
    let plain = |text: String| anstream::adapter::strip_str(&text).to_string();
    let shown: Vec<String> = everything_shown("acme").into_iter().map(plain).collect();
    insta::assert_snapshot!(shown.join("\n~~~\n"));
    let again = failures(&verified("acme"), &[], Seen::This).unwrap();
    assert!(again.lines.is_empty(), "the report says why: {:?}", again.lines);
    let summary = CredentialSummary { current: 4, renewed: 3, due: 2, failed: 1, suspended: 1, next_due: None };
    let later = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_mins(192);
    let lines = [
        refresh_line(&summary, Timestamp::UNIX_EPOCH),
        refresh_line(
            &CredentialSummary { next_due: Some(later), ..CredentialSummary::default() },
            Timestamp::UNIX_EPOCH,
        ),
    ];
    insta::assert_snapshot!(lines.join("\n"), @r"
    4 current, 3 renewed, 2 due, 1 failed, 1 suspended
    0 current, 0 renewed, 0 failed, next due in 3h12m
    ");
}
