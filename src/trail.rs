//! The audit trail: one line for each thing that a run did, joinable with Kubernetes' audit log by the token's `jti`.
//!
//! It has no field that could hold a token. Pure: no I/O, no clock.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::event::{End, Event, StepOutcome, Superseded};
use crate::failure::FailureKind;
use crate::foreign::{json_line, redacted};
use crate::names::{ClusterName, Holder, InventoryName, ProfileName};
use crate::step::{Action, StepId};

/// The version of the format.
const VERSION: u32 = 1;

/// What all lines of a run begin with.
#[derive(Debug, Clone)]
pub(crate) struct TrailHead {
    /// The run's identifier, as in indices and on anchors.
    pub run: String,
    /// The command.
    pub command: &'static str,
    /// The inventory.
    pub inventory: InventoryName,
    /// Who keeps the credentials.
    pub holder: Holder,
}

/// One line.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Line<'a> {
    trail: u32,
    time: Timestamp,
    run: &'a str,
    command: &'a str,
    inventory: &'a InventoryName,
    holder: &'a Holder,
    event: &'static str,
    cluster: &'a ClusterName,
    #[serde(flatten)]
    what: What<'a>,
}

/// What is said of an event.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
struct What<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<&'a ProfileName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<&'a StepId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<Action>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_kind: Option<FailureKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issued: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requested_expiry: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<Timestamp>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    superseded: &'a [Superseded],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    generations: &'a [u64],
}

/// Returns whether a file's first line is one of a trail.
pub(crate) fn is_trail(line: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Known {
        #[serde(rename = "trail")]
        _trail: u32,
        #[serde(rename = "run")]
        _run: String,
    }
    serde_json::from_slice::<Known>(line).is_ok()
}

/// Returns the line about an event; nothing for those that only progress displays need.
///
/// # Errors
///
/// If it cannot be written as JSON; that is a bug.
pub(crate) fn line(head: &TrailHead, time: Timestamp, event: &Event) -> serde_json::Result<Option<String>> {
    let (name, cluster, what) = match event {
        Event::Step { .. } => return Ok(None),
        Event::Started(cluster) => ("cluster-began", cluster, What::default()),
        Event::Finished { cluster, end } => {
            let (outcome, error) = match end {
                End::Unchanged => ("unchanged", None),
                End::Changed => ("changed", None),
                End::Blocked => ("blocked", None),
                End::Failed(cause) => ("failed", Some(cause.as_str())),
                End::NotStarted => ("not-started", None),
            };
            ("cluster-ended", cluster, What { outcome: Some(outcome), error, ..What::default() })
        }
        Event::StepEnded(ended) => {
            let (outcome, failure) = match &ended.outcome {
                StepOutcome::Done => ("done", None),
                StepOutcome::LeftToAnotherRun => ("left-to-another-run", None),
                StepOutcome::Failed(failure) => ("failed", Some(failure)),
            };
            let issued = ended.issued.as_ref();
            let facts = issued.map(|issued| &issued.facts);
            let requested = facts.and_then(|facts| {
                let seconds = i64::try_from(facts.requested_seconds).ok()?;
                facts.issued.checked_add(jiff::SignedDuration::from_secs(seconds)).ok()
            });
            let what = What {
                profile: ended.profile.as_ref(),
                step: Some(&ended.id),
                action: Some(ended.action),
                outcome: Some(outcome),
                error_kind: failure.map(|failure| failure.kind),
                error: failure.map(|failure| failure.cause.as_str()),
                generation: facts.map(|facts| facts.generation),
                jti: issued.and_then(|issued| issued.jti.as_deref()),
                issued: facts.map(|facts| facts.issued),
                requested_expiry: requested,
                expires: facts.map(|facts| facts.expires),
                superseded: issued.map_or(&[], |issued| &issued.superseded),
                generations: &ended.generations,
            };
            ("step-ended", &ended.cluster, what)
        }
    };
    let TrailHead { run, command, inventory, holder } = head;
    let line = Line { trail: VERSION, time, run, command, inventory, holder, event: name, cluster, what };
    Ok(Some(redacted(&json_line(&line)?).into_owned()))
}
