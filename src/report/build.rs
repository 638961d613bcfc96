//! Turns plans and outcomes into reports.
//!
//! Pure: no I/O, no clock.

use std::sync::Arc;

use jiff::Timestamp;

use super::model::{
    Action, Change, ClusterReport, Command, CredentialReport, ErrorReport, Report, SCHEMA_VERSION, State, Summary,
};
use crate::credential::{Spent, due_at, jitter_seed};
use crate::delivery::Delivery;
use crate::desired::Content;
use crate::diff::{FieldDiff, describe_rules};
use crate::failure::FailureKind;
use crate::inventory::{Grant, Inventory};
use crate::names::{ClusterName, Holder, InventoryName};
use crate::object::ObjectRef;
use crate::outcome::{Applied, Planned, Published};
use crate::plan::{Assessed, ClusterPlan};
use crate::step::{Step, StepId};

/// The field of changes that are about generations.
pub(super) const GENERATIONS: &str = "generations";

/// What a report says beside its clusters.
#[derive(Debug, Clone)]
pub struct ReportHead {
    /// The command.
    pub command: Command,
    /// When the run began.
    pub started: Timestamp,
    /// The run's identifier.
    pub run: Option<String>,
    /// Who keeps the chain of generations.
    pub holder: Holder,
}

impl Report {
    /// Puts a report together.
    pub fn new(head: ReportHead, inventory: &Inventory, clusters: Vec<ClusterReport>) -> Self {
        Self::of(head, &inventory.name, clusters)
    }

    /// Puts a report together of an inventory of which the name is enough.
    pub fn of(head: ReportHead, inventory: &InventoryName, clusters: Vec<ClusterReport>) -> Self {
        let mut summary = Summary { clusters: clusters.len(), ..Summary::default() };
        for cluster in &clusters {
            let counter = match cluster.state {
                State::Unchanged => &mut summary.unchanged,
                State::Pending => &mut summary.pending,
                State::Changed => &mut summary.changed,
                State::Blocked => &mut summary.blocked,
                State::Failed => &mut summary.failed,
                State::NotStarted => &mut summary.not_started,
            };
            *counter += 1;
        }
        Self {
            schema_version: SCHEMA_VERSION,
            kubemint: env!("CARGO_PKG_VERSION"),
            command: head.command,
            started: head.started,
            run: head.run,
            inventory: inventory.clone(),
            holder: head.holder,
            summary,
            credentials: None,
            clusters,
        }
    }
}

impl ClusterReport {
    fn empty(name: ClusterName, state: State) -> Self {
        Self { name, state, changes: vec![], credentials: vec![], blockers: vec![], notes: vec![], error: None }
    }

    /// Reports what came of planning a cluster.
    pub fn planned(name: &ClusterName, planned: &Planned) -> Self {
        match planned {
            Planned::Plan(assessed) => Self::plan(assessed),
            Planned::NotStarted(_) => Self::empty(name.clone(), State::NotStarted),
            Planned::Failed { doing, failure } => Self {
                error: Some(ErrorReport {
                    kind: failure.kind,
                    step: 0,
                    steps: 0,
                    doing: (*doing).to_owned(),
                    cause: failure.cause.clone(),
                    hint: failure.hint.clone(),
                }),
                ..Self::empty(name.clone(), State::Failed)
            },
        }
    }

    fn plan(Assessed { plan, assessment }: &Assessed) -> Self {
        let state = match (plan.blockers.is_empty(), plan.steps.is_empty()) {
            (false, _) => State::Blocked,
            (true, true) => State::Unchanged,
            (true, false) => State::Pending,
        };
        let kept = assessment.kept.iter().map(|kept| CredentialReport {
            profile: kept.grant.profile.clone(),
            generation: kept.generation,
            expires: kept.expires,
            due: Some(kept.due),
            minted: false,
        });
        Self {
            changes: plan.steps.iter().map(change).collect(),
            credentials: kept.collect(),
            blockers: plan.blockers.clone(),
            notes: plan.notes.clone(),
            ..Self::empty(plan.cluster.clone(), state)
        }
    }

    /// Reports what came of applying a plan that this is the report of.
    #[must_use]
    pub fn applied(mut self, applied: &Applied, grants: &[Arc<Grant>], holder: &Holder) -> Self {
        for change in &mut self.changes {
            change.done = Some(applied.done.contains(&change.id));
        }
        for published in &applied.published {
            let profile = published.grant.profile.clone();
            let facts = &published.facts;
            let actual = facts.expires.duration_since(facts.issued).as_secs();
            let actual = u64::try_from(actual).unwrap_or(0);
            // What a new token shows counts, not what the plan remembers of an older one.
            self.notes.retain(|note| !note.is_about_life_of(&profile));
            let Some(grant) = grants.iter().find(|grant| grant.is(&published.grant)) else { continue };
            self.notes.extend(crate::plan::shortened_lifetime(grant, facts.requested_seconds, actual));
            self.credentials.push(CredentialReport {
                profile,
                generation: facts.generation,
                expires: facts.expires,
                due: Some(due(grant, published, holder)),
                minted: published.minted,
            });
        }
        self.notes.extend(applied.notes.iter().cloned());
        if let Some(failed) = &applied.failure {
            self.state = State::Failed;
            self.error = Some(ErrorReport {
                kind: failed.failure.kind,
                step: failed.number,
                steps: failed.of,
                doing: failed.doing.clone(),
                cause: failed.failure.cause.clone(),
                hint: failed.failure.hint.clone(),
            });
        } else {
            self.state = if applied.done.is_empty() { State::Unchanged } else { State::Changed };
        }
        // Where each credential stands for itself, the others were renewed all the same.
        if let Some(blocker) = self.blockers.first().filter(|_| self.error.is_none()) {
            self.state = State::Failed;
            self.error = Some(ErrorReport {
                kind: FailureKind::Blocked,
                step: 0,
                steps: 0,
                doing: "carry out everything".to_owned(),
                cause: blocker.message.clone(),
                hint: blocker.hint.clone(),
            });
        }
        self
    }

    /// Reports a cluster that apply refused to start, with the reasons.
    #[must_use]
    pub fn refused(mut self, plan: &ClusterPlan) -> Self {
        self.state = State::Blocked;
        self.blockers = plan.refusals();
        self
    }

    /// Reports a cluster whose plan nobody ran.
    #[must_use]
    pub fn not_started(mut self) -> Self {
        self.state = State::NotStarted;
        self
    }
}

/// Returns when a credential that was just published is due.
fn due(grant: &Grant, published: &Published, holder: &Holder) -> Timestamp {
    let seed = jitter_seed(&grant.cluster.name, &grant.profile.name, holder);
    due_at(published.facts.issued, published.facts.expires, &grant.profile.token, &seed)
}

fn change(step: &Step) -> Change {
    Change { id: step.id(), ..what_changes(step) }
}

fn what_changes(step: &Step) -> Change {
    match step {
        Step::Create(desired) => Change { fields: created(&desired.content), ..on(Action::Create, &desired.object) },
        Step::Update(update) => {
            let action = if update.adopts.is_some() { Action::Adopt } else { Action::Update };
            Change {
                fields: update.changes.clone(),
                overrules: update.overrules.clone(),
                adopted_from: update.adopts.clone(),
                ..on(action, &update.desired.object)
            }
        }
        Step::Delete(delete) => {
            let removed = delete.removed.clone();
            let field = FieldDiff { field: String::new(), removed, added: vec![] };
            let fields = if field.removed.is_empty() { vec![] } else { vec![field] };
            Change { fields, ..on(Action::Delete, &delete.object) }
        }
        Step::Mint(mint) => Change {
            profile: Some(mint.grant.profile.to_string()),
            generation: Some(mint.generation),
            reason: Some(mint.reason.as_str()),
            fields: [mint.delivery.changes.clone(), spent(&mint.spent)].concat(),
            files: files(&mint.delivery),
            ..empty(Action::Mint)
        },
        Step::Publish(publish) => Change {
            profile: Some(publish.grant.profile.to_string()),
            generation: publish.from.first().map(|source| source.facts.generation),
            fields: publish.delivery.changes.clone(),
            files: files(&publish.delivery),
            ..empty(Action::Write)
        },
        Step::ExecAnchor(anchor) => Change { profile: Some(anchor.profile.to_string()), ..empty(Action::Anchor) },
        Step::Plugin(plugin) => Change {
            profile: Some(plugin.grant.profile.to_string()),
            fields: plugin.delivery.changes.clone(),
            files: files(&plugin.delivery),
            ..empty(Action::Link)
        },
        Step::Retire(retire) => Change {
            profile: Some(retire.profile.to_string()),
            fields: spent(&retire.generations),
            ..empty(Action::Retire)
        },
        Step::Revoke(revoke) => Change {
            profile: Some(revoke.profile.to_string()),
            fields: vec![FieldDiff { field: GENERATIONS.to_owned(), removed: revoke.shown.clone(), added: vec![] }],
            ..empty(Action::Revoke)
        },
        Step::Recreate(recreate) => {
            Change { profile: Some(recreate.profile.to_string()), ..on(Action::Recreate, &recreate.account.object) }
        }
        Step::Resume(resume) => Change { profile: Some(resume.profile.to_string()), ..empty(Action::Resume) },
    }
}

fn files(delivery: &Delivery) -> Vec<String> {
    delivery.written().map(|path| path.display().to_string()).collect()
}

fn empty(action: Action) -> Change {
    Change {
        id: StepId::from(""),
        action,
        kind: None,
        namespace: None,
        name: None,
        profile: None,
        generation: None,
        reason: None,
        fields: vec![],
        overrules: vec![],
        adopted_from: None,
        files: vec![],
        done: None,
    }
}

fn on(action: Action, object: &ObjectRef) -> Change {
    Change {
        kind: Some(object.kind),
        namespace: object.namespace.clone(),
        name: Some(object.name.clone()),
        ..empty(action)
    }
}

fn spent(generations: &[Spent]) -> Vec<FieldDiff> {
    if generations.is_empty() {
        return vec![];
    }
    let removed = generations
        .iter()
        .map(|spent| format!("generation {}, superseded, dead or never published", spent.n))
        .collect();
    vec![FieldDiff { field: GENERATIONS.to_owned(), removed, added: vec![] }]
}

fn created(content: &Content) -> Vec<FieldDiff> {
    let (field, added) = match content {
        Content::Empty => return vec![],
        Content::Rules(rules) => ("rules", describe_rules(rules)),
        Content::Binding { role, subject } => ("roleRef", vec![format!("{role} for {subject}")]),
    };
    vec![FieldDiff { field: field.to_owned(), removed: vec![], added }]
}
