//! `kubemint status`: how the credentials stand, from the clusters or from the output files alone.

use std::sync::Arc;

use jiff::Timestamp;

use super::CommandContext;
use super::session::{block_on, interruptible};
use super::show::{Showing, check_outputs, exit_code, print};
use crate::cli::StatusArgs;
use crate::credential::{due_at, jitter_seed};
use crate::error::Error;
use crate::executor::Cancellation;
use crate::executor::observe::Legacy;
use crate::exit_code::ExitCode;
use crate::failure::StepFailure;
use crate::fleet::{ClusterRun, Fleet, FleetPolicy, Outputs};
use crate::inventory::{Grant, Phase};
use crate::kubeconfig::Mark;
use crate::names::ClusterName;
use crate::outcome::Planned;
use crate::plan::{Assessed, Assessment, CredentialState, Newest, Standing};
use crate::report::{Changes, Command, Drifted, GrantStatus, Holds, LegacyTokenStatus, Report, Status};

/// Reports how the credentials of the selected grants stand.
pub(super) fn run(context: &CommandContext<'_>, args: &StatusArgs) -> Result<ExitCode, Error> {
    block_on(status(context, args))?
}

async fn status(context: &CommandContext<'_>, args: &StatusArgs) -> Result<ExitCode, Error> {
    check_outputs(context, &args.report.output)?;
    let legacy = if args.legacy { Legacy::Find } else { Legacy::Leave };
    let policy = FleetPolicy { legacy, ..FleetPolicy::looking(args.holder.as_ref()) };
    let fleet = context.load_fleet(&args.selection, &policy).await?;
    let cancellation = Cancellation::default();
    let (status, code) = if args.offline {
        (offline(context, &fleet), ExitCode::Done)
    } else {
        online(context, args, &fleet, &cancellation).await?
    };
    let has_findings = status.has_findings();
    print(context, &Report::new(fleet.head(Command::Status), status), Showing::new(&args.report, args.all), &[])?;
    Ok(if code == ExitCode::Done && args.check && has_findings { ExitCode::Pending } else { code })
}

async fn online(
    context: &CommandContext<'_>,
    args: &StatusArgs,
    fleet: &Fleet,
    cancellation: &Cancellation,
) -> Result<(Status, ExitCode), Error> {
    let run = interruptible(context, cancellation, fleet.plan(cancellation)).await;
    let (mut grants, mut legacy, mut notes) = (vec![], vec![], vec![]);
    for ClusterRun { cluster, grants: selected, outside, planned, outputs, .. } in &run.clusters {
        grants.extend(outside.iter().map(|grant| outside_grant(fleet, outputs, grant)));
        match planned {
            Planned::Plan(assessed) => {
                let Assessed { plan, assessment } = &**assessed;
                let standing =
                    |grant: &Arc<Grant>| assessment.standings.iter().find(|standing| grant.is(&standing.grant));
                let known = selected.iter().filter_map(|grant| Some((grant, standing(grant)?)));
                grants.extend(known.map(|(grant, standing)| planned_grant(outputs, grant, assessment, standing)));
                legacy.extend(legacy_tokens(&cluster.name, assessment));
                notes.extend(
                    plan.notes
                        .iter()
                        .filter(|note| is_shown(note))
                        .map(|note| format!("{}: {}", cluster.name, note.message)),
                );
            }
            Planned::Failed { failure, .. } => {
                grants.extend(selected.iter().map(|grant| unread(outputs, grant, (**failure).clone())));
            }
            Planned::NotStarted(_) => {
                grants.extend(selected.iter().map(|grant| unread(outputs, grant, StepFailure::new("interrupted"))));
            }
        }
    }
    // The exit code counts clusters as in every command, but a blocked cluster is only a state here.
    let mut summary = Changes::new(run.planned_reports()).summary;
    summary.unchanged += std::mem::take(&mut summary.blocked);
    let legacy = args.legacy.then_some(legacy);
    Ok((Status::new(false, grants, legacy, notes), exit_code(&summary, cancellation)))
}

fn is_shown(note: &crate::plan::Note) -> bool {
    use crate::plan::NoteKind;
    matches!(
        note.kind,
        NoteKind::NotChecked
            | NoteKind::ClockSkew
            | NoteKind::VanishedGrants
            | NoteKind::LostIndex
            | NoteKind::IndexInDoubt
            | NoteKind::CopiedIdentity
            | NoteKind::AnotherServer
    )
}

/// Reads only the output files, and judges by this machine's clock.
fn offline(context: &CommandContext<'_>, fleet: &Fleet) -> Status {
    let now = context.environment.clock.now();
    let selected = fleet.selected.iter().flat_map(|selected| &selected.grants);
    let grants = selected.map(|grant| {
        let newest = fleet.outputs.newest(&grant.key());
        let standing = standing_by_files(fleet, grant, newest, now);
        status_of(&fleet.outputs, grant, &standing, Drifted::Unknown, vec![])
    });
    let outside = fleet.selected.iter().flat_map(|selected| &selected.outside);
    let outside = outside.map(|grant| outside_grant(fleet, &fleet.outputs, grant));
    Status::new(true, grants.chain(outside).collect(), None, vec![])
}

fn standing_by_files(fleet: &Fleet, grant: &Grant, newest: Option<Newest>, now: Timestamp) -> Standing {
    let key = grant.key();
    if let Some(trouble) = fleet.outputs.trouble(&key) {
        return Standing { newest, ..Standing::only(key, CredentialState::Unknown, Some(trouble)) };
    }
    let seed = jitter_seed(&key.cluster, &key.profile, fleet.holder());
    let due = newest.as_ref().map(|newest| due_at(newest.issued, newest.expires, &grant.profile.token, &seed));
    let altered = fleet.outputs.altered(&key, &Mark::of(&fleet.inventory.name, fleet.holder(), &key));
    let outputs = fleet.outputs.statuses(&key, newest.as_ref().map(|newest| newest.generation), &altered);
    let has_plugin = outputs.iter().any(|output| output.holds == Holds::Plugin);
    let holds_all = outputs.iter().all(|output| matches!(output.holds, Holds::Newest | Holds::Plugin));
    let state = match (&newest, due) {
        _ if outputs.is_empty() => CredentialState::NoOutput,
        (None, _) if has_plugin && holds_all => CredentialState::Plugin,
        (None, _) => CredentialState::Missing,
        (Some(newest), _) if newest.expires <= now => CredentialState::Expired,
        (Some(_), Some(due)) if due <= now => CredentialState::Due,
        (Some(_), _) if !holds_all => CredentialState::NotEverywhere,
        (Some(_), _) => CredentialState::Current,
    };
    Standing { newest, due, lacking: altered, ..Standing::only(key, state, None) }
}

fn planned_grant(outputs: &Outputs, grant: &Grant, assessment: &Assessment, standing: &Standing) -> GrantStatus {
    let profile = &grant.profile.name;
    let concerns = |drift: &&crate::plan::Drift| drift.profile.as_ref().is_none_or(|other| other == profile);
    let drifted: Vec<String> = assessment.drift.iter().filter(concerns).map(|drift| drift.what.clone()).collect();
    let drift = if drifted.is_empty() { Drifted::No } else { Drifted::Yes };
    status_of(outputs, grant, standing, drift, drifted)
}

/// Reports a grant that has not begun, or has ended.
fn outside_grant(fleet: &Fleet, outputs: &Outputs, grant: &Grant) -> GrantStatus {
    let key = grant.key();
    let is_waiting = grant.period.phase(fleet.clock.now()) == Phase::Before;
    let state = if is_waiting { CredentialState::NotBegun } else { CredentialState::Ended };
    let standing = Standing { newest: outputs.newest(&key), ..Standing::only(key, state, None) };
    let status = status_of(outputs, grant, &standing, Drifted::Unknown, vec![]);
    let is_left = status.needs_somebody();
    GrantStatus { detail: is_left.then(|| "`kubemint refresh` removes what is left".to_owned()), ..status }
}

fn unread(outputs: &Outputs, grant: &Grant, failure: StepFailure) -> GrantStatus {
    let key = grant.key();
    let standing = Standing {
        newest: outputs.newest(&key),
        detail: outputs.trouble(&key),
        ..Standing::only(key, CredentialState::Unknown, None)
    };
    let status = status_of(outputs, grant, &standing, Drifted::Unknown, vec![]);
    GrantStatus { error: Some(failure.cause), error_kind: Some(failure.kind), ..status }
}

fn status_of(
    outputs: &Outputs,
    grant: &Grant,
    standing: &Standing,
    drift: Drifted,
    drifted: Vec<String>,
) -> GrantStatus {
    let newest = standing.newest.as_ref();
    GrantStatus {
        cluster: grant.cluster.name.clone(),
        profile: grant.profile.name.clone(),
        labels: grant.cluster.labels.clone(),
        state: standing.state,
        grant_starts: grant.period.starts,
        grant_expires: grant.period.expires,
        detail: standing.detail.clone(),
        generation: newest.map(|newest| newest.generation),
        issued: newest.map(|newest| newest.issued),
        expires: newest.map(|newest| newest.expires),
        requested_seconds: newest.map(|newest| newest.requested_seconds),
        clamped_seconds: newest.and_then(Newest::clamped_seconds),
        due: standing.due,
        superseded: standing.superseded.clone(),
        other_holders: standing.others.clone(),
        drift,
        drifted,
        outputs: outputs.statuses(&standing.grant, newest.map(|newest| newest.generation), &standing.lacking),
        namespace: grant.namespace.clone(),
        service_account: grant.profile.service_account.clone(),
        error: None,
        error_kind: None,
    }
}

fn legacy_tokens<'a>(
    cluster: &'a ClusterName,
    assessment: &'a Assessment,
) -> impl Iterator<Item = LegacyTokenStatus> + 'a {
    assessment.legacy.iter().map(|token| LegacyTokenStatus {
        cluster: cluster.clone(),
        profile: token.grant.profile.clone(),
        namespace: token.secret.namespace.clone().unwrap_or_default(),
        secret: token.secret.name.clone(),
        created: token.created.clone(),
        last_used: token.last_used.clone(),
        invalid_since: token.invalid_since.clone(),
    })
}
