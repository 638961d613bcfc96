//! What of a step is said in the cluster too, as an Event at the ServiceAccount.

use jiff::{SignedDuration, Timestamp};

use super::Clock;
use crate::calendar::later;
use crate::cluster::Api;
use crate::cluster::warn::{Reason, Warning, warn};
use crate::credential::MintReason;
use crate::failure::{ApiFailure, StepFailure};
use crate::inventory::{Inventory, duration};
use crate::outcome::Published;
use crate::plan::{Newest, Note, NoteKind, Standing};
use crate::step::Step;

/// A credential that lives no longer is said to expire.
const SOON: SignedDuration = SignedDuration::from_hours(1);

/// What of one cluster's steps is said there.
#[derive(Debug, Default)]
pub(super) struct Warnings(Vec<Warning>);

impl Warnings {
    /// Keeps what a step that failed is worth saying. `standings` tell which credentials are in use.
    pub(super) fn of_failure(&mut self, step: &Step, failure: &StepFailure, standings: &[Standing], now: Timestamp) {
        self.0.extend(failed(step, failure, standings, now));
    }

    /// Keeps what a step that was done is worth saying. `published` are the credentials that are in the outputs now.
    pub(super) fn of_success(&mut self, step: &Step, published: &[Published]) {
        let of_step = published.iter().find(|published| step.grant() == Some(&published.grant));
        self.0.extend(done(step, of_step));
    }

    /// Writes what was kept as Events. If it fails, nothing else does; a note says so.
    pub(super) async fn write(&mut self, api: &Api, inventory: &Inventory, clock: Clock) -> Option<Note> {
        if self.0.is_empty() {
            return None;
        }
        let by = (&inventory.name, &inventory.holder);
        let said = async {
            for warning in &self.0 {
                warn(api, warning, by, clock.now()).await?;
            }
            Ok::<_, ApiFailure>(())
        };
        let why = match tokio::time::timeout(inventory.run.request_timeout, said).await {
            Ok(Ok(())) => return None,
            Ok(Err(failure)) => failure.to_string(),
            Err(_) => "it took too long".to_owned(),
        };
        Some(Note::new(NoteKind::NoEvent, format!("not all Events were written: {why}")))
    }
}

fn failed(step: &Step, failure: &StepFailure, standings: &[Standing], now: Timestamp) -> Option<Warning> {
    let Step::Mint(mint) = step else { return None };
    let of_grant = standings.iter().find(|standing| standing.grant == mint.grant);
    let expires = of_grant.and_then(|standing| Some(standing.newest.as_ref()?.expires));
    let (reason, state) = match expires {
        _ if mint.reason == MintReason::Expired => (Reason::Expired, "; it has expired".to_owned()),
        Some(expires) if expires <= now => (Reason::Expired, "; it has expired".to_owned()),
        Some(expires) if expires <= later(now, SOON) => (Reason::Expires, format!("; it expires at {expires}")),
        Some(expires) => (Reason::NotRenewed, format!("; the one in use expires at {expires}")),
        None => (Reason::NotRenewed, String::new()),
    };
    let hint = failure.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
    let note =
        format!("the credential of profile `{}` was not renewed: {}{hint}{state}", mint.grant.profile, failure.cause);
    Some(Warning { account: mint.service_account.clone(), reason, note })
}

fn done(step: &Step, published: Option<&Published>) -> Option<Warning> {
    match step {
        Step::Mint(mint) => {
            let newest = Newest::from(&published?.facts);
            let got = std::time::Duration::from_secs(newest.clamped_seconds()?);
            let requested = std::time::Duration::from_secs(newest.requested_seconds);
            let note = format!(
                "the API server shortened the life of the credential of profile `{}` from {} to {}",
                mint.grant.profile,
                duration::show(requested),
                duration::show(got)
            );
            Some(Warning { account: mint.service_account.clone(), reason: Reason::LifetimeShortened, note })
        }
        Step::Revoke(revoke) => {
            let note = format!("credentials of profile `{}` were revoked: {}", revoke.profile, revoke.shown.join(", "));
            Some(Warning { account: revoke.service_account.clone(), reason: Reason::Revoked, note })
        }
        _ => None,
    }
}
