//! The clusters that failed or were not done: which, why, and what to run.
//!
//! Pure: no I/O, no clock.

use std::collections::{BTreeSet, HashMap};

use super::{Body, ClusterReport, Command, Report, State, VerifyState};
use crate::failure::FailureKind;
use crate::foreign::shown;
use crate::names::ClusterName;
use crate::outcome::NotStarted;
use crate::wording::{command, count, kubemint};

/// The most clusters that are listed; a report has them all.
const MOST: usize = 20;

/// The error message about the clusters that failed or were not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failures {
    /// What failed.
    pub message: String,
    /// One line for each cluster, with its hints below, and one about the others.
    pub lines: Vec<String>,
    /// The command that repeats the run for those clusters for which this may help.
    pub hint: Option<String>,
}

/// What the reader has seen already, so that it is not repeated.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Seen<'a> {
    /// Nothing.
    Nothing,
    /// This report.
    This,
    /// What was planned.
    Plan(&'a [ClusterReport]),
}

/// A cluster that failed or was not done.
struct Sick<'a> {
    cluster: &'a ClusterName,
    why: String,
    hint: Option<&'a str>,
    /// Whether the reader has seen that already.
    is_seen: bool,
    /// Whether running it again may help.
    may_be_repeated: bool,
    /// The profiles that were left out, if the others are done: these need no second run, which might force them again.
    left_out: BTreeSet<&'a str>,
}

/// What is said of the clusters of a report.
struct Sickness<'a> {
    sick: Vec<Sick<'a>>,
    /// How many there are of each kind.
    kinds: Vec<(usize, &'static str)>,
    clusters: usize,
    /// The result of the others.
    others: Option<String>,
}

/// Returns the message about the clusters that failed or were not done; nothing if there are none.
///
/// `arguments` are those of the command besides the selection of clusters. Repeating it needs them: without the holder,
/// for example, it would act for another one.
pub(crate) fn failures(report: &Report, arguments: &[String], seen: Seen<'_>) -> Option<Failures> {
    let Sickness { sick, kinds, clusters, others } = sickness(report, seen);
    if sick.is_empty() {
        return None;
    }
    let kinds: Vec<String> =
        kinds.iter().filter(|(number, _)| *number > 0).map(|(number, what)| format!("{number} {what}")).collect();
    let new: Vec<&Sick<'_>> = sick.iter().filter(|sick| !sick.is_seen).collect();
    let name = |sick: &Sick<'_>| shown(sick.cluster.as_str()).into_owned();
    let width = new.iter().take(MOST).map(|sick| name(sick).chars().count()).max().unwrap_or(0);
    let mut lines = vec![];
    for sick in new.iter().take(MOST) {
        lines.push(format!("  {:width$}  {}", name(sick), shown(&sick.why)));
        lines.extend(sick.hint.map(|hint| format!("  {:width$}    {}", "", shown(hint))));
    }
    if new.len() > MOST {
        lines.push(format!("  … and {} more; `-o json` lists them all", new.len() - MOST));
    }
    lines.extend(others);
    let repeated: Vec<&Sick<'_>> = sick.iter().filter(|sick| sick.may_be_repeated).collect();
    let again: Vec<&str> = repeated.iter().map(|sick| sick.cluster.as_str()).collect();
    let mut arguments = arguments.to_owned();
    if repeated.iter().all(|sick| !sick.left_out.is_empty()) && !arguments.iter().any(|it| it.starts_with("--profile"))
    {
        let profiles: BTreeSet<&str> = repeated.iter().flat_map(|sick| sick.left_out.iter().copied()).collect();
        arguments.extend(profiles.into_iter().map(|profile| command(&["--profile", profile])));
    }
    let hint = (!again.is_empty() && again.len() <= MOST)
        .then(|| format!("run `{}`", kubemint(report.head.command.as_str(), &arguments, &again)));
    Some(Failures { message: format!("{} of {}", kinds.join(", "), count(clusters, "cluster")), lines, hint })
}

fn sickness<'a>(report: &'a Report, seen: Seen<'_>) -> Sickness<'a> {
    match &report.body {
        Body::Changes(changes) => {
            let planned: HashMap<&ClusterName, &ClusterReport> = match seen {
                Seen::Plan(planned) => planned.iter().map(|cluster| (&cluster.name, cluster)).collect(),
                Seen::Nothing | Seen::This => HashMap::new(),
            };
            // The reader knows already what the plan said, and what the report itself says.
            let is_seen = |cluster: &ClusterReport| {
                matches!(seen, Seen::This)
                    || planned.get(&cluster.name).is_some_and(|planned| {
                        (planned.state, &planned.error, &planned.blockers)
                            == (cluster.state, &cluster.error, &cluster.blockers)
                    })
            };
            let sick = changes.clusters.iter().filter_map(|cluster| {
                Some(Sick {
                    cluster: &cluster.name,
                    why: cluster.why_not()?,
                    hint: cluster.hint(),
                    is_seen: is_seen(cluster),
                    // What is blocked is blocked again until somebody does something about it.
                    may_be_repeated: cluster.state != State::Blocked
                        && cluster.not_started != Some(NotStarted::PruneCeiling),
                    left_out: match &cluster.error {
                        Some(error) if error.kind == FailureKind::Blocked => {
                            let profiles = cluster.blockers.iter().map(|it| Some(it.profile.as_ref()?.as_str()));
                            profiles.collect::<Option<_>>().unwrap_or_default()
                        }
                        _ => BTreeSet::new(),
                    },
                })
            });
            let summary = &changes.summary;
            let kinds =
                vec![(summary.failed, "failed"), (summary.blocked, "blocked"), (summary.not_started, "not started")];
            let fine = summary.unchanged + summary.changed;
            let planned = fine + summary.pending;
            let others = match report.head.command {
                Command::Apply | Command::Refresh if fine == 1 => Some("1 cluster is up to date".to_owned()),
                Command::Apply | Command::Refresh if fine > 1 => {
                    Some(format!("{} are up to date", count(fine, "cluster")))
                }
                Command::Revoke | Command::Retire if fine > 0 => Some(format!("{} done", count(fine, "cluster"))),
                Command::Plan if planned > 0 => Some(format!("{} could be planned", count(planned, "cluster"))),
                _ => None,
            };
            Sickness { sick: sick.collect(), kinds, clusters: summary.clusters, others }
        }
        Body::Verification(verification) => {
            let sick = verification.clusters.iter().filter(|cluster| cluster.state >= VerifyState::Failed);
            let sick: Vec<Sick<'_>> = sick
                .map(|cluster| Sick {
                    cluster: &cluster.name,
                    why: cluster
                        .error
                        .as_ref()
                        .map_or_else(|| "not started".to_owned(), |error| format!("{}: {}", error.doing, error.cause)),
                    hint: cluster.error.as_ref().and_then(|error| error.hint.as_deref()),
                    is_seen: matches!(seen, Seen::This) && cluster.error.is_some(),
                    may_be_repeated: true,
                    left_out: BTreeSet::new(),
                })
                .collect();
            let summary = &verification.summary;
            let looked_at = summary.clusters - sick.len();
            Sickness {
                sick,
                kinds: vec![(summary.failed, "failed"), (summary.not_started, "not started")],
                clusters: summary.clusters,
                others: (looked_at > 0).then(|| format!("{} could be verified", count(looked_at, "cluster"))),
            }
        }
        // Each grant in the report already says what is wrong with it.
        Body::Status(_) => Sickness { sick: vec![], kinds: vec![], clusters: 0, others: None },
    }
}
