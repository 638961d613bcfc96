//! Turns plans and outcomes into reports.
//!
//! Pure: no I/O, no clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::{Change, ClusterReport, CredentialReport, ErrorReport, State};
use crate::credential::{Spent, due_at, jitter_seed};
use crate::delivery::{Delivery, Removal};
use crate::desired::Content;
use crate::diff::describe_rules;
use crate::failure::FailureKind;
use crate::field_diff::FieldDiff;
use crate::inventory::{Grant, GrantKey};
use crate::names::{ClusterName, Holder};
use crate::outcome::{Applied, NotStarted, Planned, Published, Span};
use crate::plan::{Assessed, ClusterPlan};
use crate::step::Step;

/// The field name of changes that concern generations.
pub(in crate::report) const GENERATIONS: &str = "generations";

impl ClusterReport {
    /// Returns the report of a cluster of which nothing is said but its state.
    pub(in crate::report) fn empty(name: ClusterName, state: State) -> Self {
        Self {
            name,
            labels: BTreeMap::new(),
            wave: None,
            span: Span::default(),
            cluster_uid: None,
            profiles: vec![],
            state,
            changes: vec![],
            credentials: vec![],
            blockers: vec![],
            notes: vec![],
            missing_rights: vec![],
            error: None,
            not_started: None,
        }
    }

    /// Reports the result of planning a cluster.
    pub(crate) fn planned(name: &ClusterName, planned: &Planned) -> Self {
        match planned {
            Planned::Plan(assessed) => Self::plan(assessed),
            Planned::NotStarted(why) => Self::empty(name.clone(), State::NotStarted).not_started(*why),
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

    /// Reports that a cluster could not be planned; without an error, that it was not started.
    pub(crate) fn unplanned(name: &ClusterName, error: Option<ErrorReport>) -> Self {
        let state = if error.is_some() { State::Failed } else { State::NotStarted };
        Self { error, ..Self::empty(name.clone(), state) }
    }

    /// Adds what another part of the run did on the same cluster.
    #[must_use]
    pub(crate) fn joined(mut self, other: Self) -> Self {
        let weight = |state: State| match state {
            State::Unchanged => 0,
            State::Pending | State::Changed => 1,
            State::NotStarted => 2,
            State::Blocked => 3,
            State::Failed => 4,
        };
        if weight(other.state) > weight(self.state) {
            self.state = other.state;
        }
        self.profiles.extend(other.profiles);
        self.changes.extend(other.changes);
        self.credentials.extend(other.credentials);
        self.blockers.extend(other.blockers);
        self.notes.extend(other.notes);
        self.error = self.error.or(other.error);
        self.not_started = self.not_started.or(other.not_started);
        self.span.ended = other.span.ended.or(self.span.ended);
        self
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
            changes: plan
                .steps
                .iter()
                .map(|step| Arc::new(Change { risk: plan.risks.get(&step.id()).cloned(), ..change(step) }))
                .collect(),
            credentials: kept.collect(),
            blockers: plan.blockers.clone(),
            notes: plan.notes.clone(),
            missing_rights: plan.missing_rights.clone(),
            cluster_uid: Some(plan.cluster_uid.clone()).filter(|uid| !uid.is_empty()),
            ..Self::empty(plan.cluster.clone(), state)
        }
    }

    /// Adds the result of applying a plan to the report of that plan.
    #[must_use]
    pub(crate) fn applied(mut self, applied: &Applied, grants: &[Arc<Grant>], holder: &Holder) -> Self {
        for change in &mut self.changes {
            let done = applied.done.contains(&change.id);
            Arc::make_mut(change).done = Some(done);
        }
        for published in &applied.published {
            let profile = published.grant.profile.clone();
            let facts = &published.facts;
            let actual = facts.expires.duration_since(facts.issued).as_secs();
            let actual = u64::try_from(actual).unwrap_or(0);
            // The lifetime of the new token counts, not what the plan noted of an older one.
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
        // In a refresh, the credentials that were not blocked were renewed nevertheless.
        if let Some(blocker) = self.blockers.first().filter(|_| self.error.is_none()) {
            self.state = State::Failed;
            self.error = Some(ErrorReport {
                kind: FailureKind::Blocked,
                step: 0,
                steps: 0,
                doing: "carry out the whole plan".to_owned(),
                cause: blocker.message.clone(),
                hint: blocker.hint.clone(),
            });
        }
        self
    }

    /// Reports a cluster that apply did not start, with the reasons.
    #[must_use]
    pub(crate) fn refused(mut self, plan: &ClusterPlan) -> Self {
        self.state = State::Blocked;
        self.blockers = plan.refusals();
        self
    }

    /// Reports a cluster whose plan was not run.
    #[must_use]
    pub(crate) fn not_started(mut self, why: NotStarted) -> Self {
        self.state = State::NotStarted;
        self.not_started = Some(why);
        self
    }
}

/// Returns when a credential that was just published is due.
fn due(grant: &Grant, published: &Published, holder: &Holder) -> Timestamp {
    let seed = jitter_seed(&grant.cluster.name, &grant.profile.name, holder);
    due_at(published.facts.issued, published.facts.expires, &grant.profile.token, &seed)
}

fn change(step: &Step) -> Change {
    let object = step.object();
    let plain = Change {
        id: step.id(),
        action: step.action(),
        kind: object.map(|object| object.kind),
        namespace: object.and_then(|object| object.namespace.clone()),
        name: object.map(|object| object.name.clone()),
        // For objects the profile is left out, because it is part of their names.
        profile: step.profile().filter(|_| step.is_about_credentials()).map(ToString::to_string),
        generation: None,
        reason: None,
        fields: vec![],
        overrules: vec![],
        adopted_from: None,
        files: vec![],
        secrets: vec![],
        risk: None,
        done: None,
    };
    match step {
        Step::Create(desired) => Change { fields: created(&desired.content), ..plain },
        Step::Update(update) => Change {
            fields: update.changes.clone(),
            overrules: update.overrules.clone(),
            adopted_from: update.adopts.clone(),
            ..plain
        },
        Step::Delete(delete) if delete.removed.is_empty() => plain,
        Step::Delete(delete) => Change { fields: removed("", delete.removed.clone()), ..plain },
        Step::Mint(mint) => Change {
            generation: Some(mint.generation),
            reason: Some(mint.reason.as_str().into()),
            fields: [named(&mint.delivery.changes, &mint.grant), spent(&mint.spent)].concat(),
            ..writing(plain, &mint.delivery)
        },
        Step::Publish(publish) => Change {
            generation: publish.from.first().map(|source| source.facts.generation),
            fields: named(&publish.delivery.changes, &publish.grant),
            ..writing(plain, &publish.delivery)
        },
        Step::Plugin(plugin) => Change { fields: plugin.delivery.changes.clone(), ..writing(plain, &plugin.delivery) },
        Step::Retire(retire) => Change { fields: spent(&retire.generations), ..plain },
        Step::Revoke(revoke) => Change { fields: removed(GENERATIONS, revoke.shown.clone()), ..plain },
        Step::Remove(remove) => Change {
            reason: Some(remove.reason.as_str().into()),
            // Where something goes has to be seen.
            fields: removed("", remove.removals.iter().map(|removal| from(removal, &remove.grant)).collect()),
            files: places(&remove.removals, |removal| !matches!(removal, Removal::Secret(_))),
            secrets: places(&remove.removals, |removal| matches!(removal, Removal::Secret(_))),
            ..plain
        },
        Step::ExecAnchor(_) | Step::Recreate(_) | Step::Resume(_) => plain,
    }
}

/// Returns a place as an inventory names it, so that the same change of many clusters is one: with `{cluster}` where the
/// cluster's name stands by itself.
fn as_named(text: &str, grant: &GrantKey) -> String {
    let cluster = grant.cluster.as_str();
    // The hub and the fields of a Secret are not named after its cluster: `Secret argocd/prod-eu in hub, data.server`.
    let is_secret = text.starts_with("Secret ");
    let (mut rest, common) = match text.find(" in ").filter(|_| is_secret) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let mut place = String::new();
    while let Some(at) = rest.find(cluster) {
        let (before, after) = (&rest[..at], &rest[at + cluster.len()..]);
        let is_part = before.ends_with(char::is_alphanumeric) || after.starts_with(char::is_alphanumeric);
        place.push_str(before);
        place.push_str(if is_part { cluster } else { "{cluster}" });
        rest = after;
    }
    place + rest + common
}

/// Returns changes of fields, in which Secrets are named as an inventory names them.
fn named(changes: &[FieldDiff], grant: &GrantKey) -> Vec<FieldDiff> {
    let named = |change: &FieldDiff| FieldDiff { field: as_named(&change.field, grant), ..change.clone() };
    changes.iter().map(named).collect()
}

fn from(removal: &Removal, grant: &GrantKey) -> String {
    let place = as_named(&removal.place(), grant);
    match removal {
        Removal::Entries(_) => format!("from `{place}`"),
        Removal::TokenFile(_) | Removal::Secret(_) => format!("`{place}`"),
    }
}

fn places(removals: &[Removal], is_meant: impl Fn(&Removal) -> bool) -> Vec<String> {
    removals.iter().filter(|removal| is_meant(removal)).map(Removal::place).collect()
}

/// Adds the places that a delivery writes.
fn writing(change: Change, delivery: &Delivery) -> Change {
    let places = |is_file: bool| {
        let written = delivery.written().filter(|place| place.file().is_some() == is_file);
        written.map(ToString::to_string).collect()
    };
    Change { files: places(true), secrets: places(false), ..change }
}

fn removed(field: &str, removed: Vec<String>) -> Vec<FieldDiff> {
    vec![FieldDiff { field: field.to_owned(), removed, added: vec![] }]
}

fn spent(generations: &[Spent]) -> Vec<FieldDiff> {
    if generations.is_empty() {
        return vec![];
    }
    let lines = generations.iter().map(|spent| format!("generation {}, superseded, dead or never published", spent.n));
    removed(GENERATIONS, lines.collect())
}

fn created(content: &Content) -> Vec<FieldDiff> {
    let (field, added) = match content {
        Content::Empty => return vec![],
        Content::Rules(rules) => ("rules", describe_rules(rules)),
        Content::Binding { role, subject } => ("roleRef", vec![format!("{role} for {subject}")]),
    };
    vec![FieldDiff { field: field.to_owned(), removed: vec![], added }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_after_a_cluster_is_shown_with_its_variable() {
        let grant = GrantKey { cluster: "dev".into(), profile: "reader".into() };
        let texts = [
            ("Secret argocd/cluster-dev in dev", "Secret argocd/cluster-{cluster} in dev"),
            (
                "Secret dev/cluster-dev in hub, metadata.labels.kubemint.dev/inventory",
                "Secret {cluster}/cluster-{cluster} in hub, metadata.labels.kubemint.dev/inventory",
            ),
            ("/etc/devices/dev in use/dev", "/etc/devices/{cluster} in use/{cluster}"),
        ];
        for (text, expected) in texts {
            assert_eq!(as_named(text, &grant), expected);
        }
    }
}
