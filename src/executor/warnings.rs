//! What of a run is said in the cluster too, as an Event at the ServiceAccount: what blocks a credential, and what came of
//! the steps about it.
//!
//! What is decided here is pure; [`Warnings::write`] alone sends requests. A run that wants no Events keeps nothing and
//! sends none.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Clock;
use super::observe::by_the_cluster;
use crate::calendar::later;
use crate::cluster::Api;
use crate::cluster::warn::{Reason, Warning, warn};
use crate::credential::MintReason;
use crate::desired::service_account;
use crate::failure::{ApiFailure, StepFailure};
use crate::inventory::{GrantKey, Inventory, duration};
use crate::names::ProfileName;
use crate::outcome::Published;
use crate::plan::{Assessed, ClusterPlan, CredentialState, Newest, Note, NoteKind, Standing};
use crate::step::Step;

/// A credential that lives no longer is said to expire: it is how often Events are repeated.
const SOON: SignedDuration = SignedDuration::from_hours(1);

/// The most that one run says in a cluster. Each costs two requests, and a cluster in which more is wrong is looked into
/// anyway; the report has all of it.
const MOST: usize = 5;

/// What of one cluster's run is said there.
#[derive(Debug)]
pub(super) struct Warnings {
    inventory: Arc<Inventory>,
    clock: Clock,
    /// How many seconds the cluster's clock is ahead of this machine's.
    clock_ahead: i64,
    /// When the credentials in use expire.
    expiries: BTreeMap<ProfileName, Timestamp>,
    said: Vec<Warning>,
}

impl Warnings {
    /// Begins with what a plan says: which credentials are left behind because something blocks them.
    pub(super) fn of(inventory: &Arc<Inventory>, clock: Clock, Assessed { plan, assessment }: &Assessed) -> Self {
        let (inventory, clock_ahead, standings) =
            (Arc::clone(inventory), assessment.clock_ahead, &assessment.standings);
        let mut warnings = Self { inventory, clock, clock_ahead, expiries: BTreeMap::new(), said: vec![] };
        if warnings.inventory.run.events {
            let expiry = |it: &Standing| Some((it.grant.profile.clone(), it.newest.as_ref()?.expires));
            warnings.expiries = standings.iter().filter_map(expiry).collect();
            warnings.said = blocked(&warnings.inventory, plan, standings, warnings.now());
        }
        warnings
    }

    /// Keeps what a step that failed is worth saying. A credential that is in the outputs is renewed, whatever failed then.
    pub(super) fn of_failure(&mut self, step: &Step, failure: &StepFailure, published: &[Published]) {
        let is_published = published.iter().any(|published| step.grant() == Some(&published.grant));
        if self.inventory.run.events && !is_published {
            let warning = failed(&self.inventory, step, failure, (&self.expiries, self.now()));
            self.said.extend(warning);
        }
    }

    /// Keeps what a step that was done is worth saying. `published` are the credentials that are in the outputs now.
    pub(super) fn of_success(&mut self, step: &Step, published: &[Published]) {
        if self.inventory.run.events {
            let of_step = published.iter().find(|published| step.grant() == Some(&published.grant));
            self.said.extend(done(step, of_step));
        }
    }

    /// Returns how much of the cluster's time is kept for writing Events, so that they are written also if the steps are late:
    /// that of one request, and not much of all.
    pub(super) fn time(&self) -> Duration {
        let run = &self.inventory.run;
        if run.events { run.request_timeout.min(run.cluster_timeout / 6) } else { Duration::ZERO }
    }

    /// Writes what was kept as Events, in the time that there is for it. If that fails, nothing else does, and a note says so.
    pub(super) async fn write(&mut self, api: &Api) -> Option<Note> {
        if self.said.is_empty() {
            return None;
        }
        let limit = self.time();
        let why = match tokio::time::timeout(limit, self.write_each(api)).await {
            Ok(Ok(())) => return None,
            Ok(Err(failure)) => failure.to_string(),
            Err(_) => format!("not done within {}", crate::wording::duration(limit)),
        };
        tracing::debug!(why, "not all Events were written");
        Some(Note::new(NoteKind::NoEvent, format!("not all Events were written: {why}")))
    }

    /// Writes the most urgent ones, and returns the first failure. One that is refused does not stop the others, which may be
    /// in other namespaces.
    async fn write_each(&mut self, api: &Api) -> Result<(), ApiFailure> {
        let said = chosen(std::mem::take(&mut self.said));
        let by = (&self.inventory.name, &self.inventory.holder);
        let mut first_failure = None;
        for warning in &said {
            match warn(api, warning, by, self.now()).await {
                Ok(()) => {}
                Err(failure) if failure.is_forbidden() => first_failure = first_failure.or(Some(failure)),
                Err(failure) => return Err(first_failure.unwrap_or(failure)),
            }
        }
        first_failure.map_or(Ok(()), Err)
    }

    fn now(&self) -> Timestamp {
        by_the_cluster(self.clock.now(), self.clock_ahead)
    }
}

/// Returns what is written: the most urgent, each once.
fn chosen(mut said: Vec<Warning>) -> Vec<Warning> {
    said.sort_by(|a, b| (a.reason, &a.account).cmp(&(b.reason, &b.account)));
    said.dedup_by(|later, earlier| (later.reason, &later.account) == (earlier.reason, &earlier.account));
    if said.len() > MOST {
        tracing::debug!(left_out = said.len() - MOST, "more Events than one run writes");
        said.truncate(MOST);
    }
    said
}

/// Returns what to say of the credentials that a run leaves behind because of a blocker of their own. What stops the whole
/// cluster may mean that it is another one, so nothing is written there then.
fn blocked(inventory: &Inventory, plan: &ClusterPlan, standings: &[Standing], now: Timestamp) -> Vec<Warning> {
    if !plan.refusals().is_empty() {
        return vec![];
    }
    let warning = |standing: &Standing| {
        let profile = &standing.grant.profile;
        let blocker = plan.blockers.iter().find(|blocker| blocker.profile.as_ref() == Some(profile))?;
        let expires = standing.newest.as_ref().map(|newest| newest.expires);
        let (reason, state) = urgency(expires, standing.state == CredentialState::Expired, now);
        let is_worth_saying = match standing.state {
            CredentialState::Expired
            | CredentialState::Revoked
            | CredentialState::Missing
            | CredentialState::Due
            | CredentialState::NotEverywhere => true,
            // It works, as long as it does.
            CredentialState::HeldElsewhere | CredentialState::Current | CredentialState::Unknown => {
                reason != Reason::NotRenewed
            }
            CredentialState::Suspended
            | CredentialState::Plugin
            | CredentialState::NoOutput
            | CredentialState::NotBegun
            | CredentialState::Ended => false,
        };
        let account = inventory.grant(&standing.grant).map(|grant| service_account(grant))?;
        let why = with_hint(&blocker.message, blocker.hint.as_deref());
        let note = format!("the credential of profile `{profile}` was not renewed: {why}{state}");
        is_worth_saying.then_some(Warning { account, reason, note })
    };
    standings.iter().filter_map(warning).collect()
}

/// Returns what to say of a step that failed, if it was to bring a credential to its outputs.
fn failed(
    inventory: &Inventory,
    step: &Step,
    failure: &StepFailure,
    (expiries, now): (&BTreeMap<ProfileName, Timestamp>, Timestamp),
) -> Option<Warning> {
    let (grant, what, has_expired): (&GrantKey, _, _) = match step {
        Step::Mint(mint) => (&mint.grant, "renewed", mint.reason == MintReason::Expired),
        Step::Publish(publish) => (&publish.grant, "delivered", false),
        Step::Plugin(plugin) => (&plugin.grant, "delivered", false),
        _ => return None,
    };
    let (reason, state) = urgency(expiries.get(&grant.profile).copied(), has_expired, now);
    let why = with_hint(&failure.cause, failure.hint.as_deref());
    let note = format!("the credential of profile `{}` was not {what}: {why}{state}", grant.profile);
    Some(Warning { account: service_account(inventory.grant(grant)?), reason, note })
}

/// Says how urgent it is that a credential was not renewed, by when the one in use expires.
fn urgency(expires: Option<Timestamp>, has_expired: bool, now: Timestamp) -> (Reason, String) {
    match expires {
        _ if has_expired => (Reason::Expired, "; it has expired".to_owned()),
        Some(expires) if expires <= now => (Reason::Expired, "; it has expired".to_owned()),
        Some(expires) if expires <= later(now, SOON) => (Reason::Expires, format!("; it expires at {expires}")),
        Some(expires) => (Reason::NotRenewed, format!("; the one in use expires at {expires}")),
        None => (Reason::NotRenewed, String::new()),
    }
}

fn with_hint(cause: &str, hint: Option<&str>) -> String {
    hint.map_or_else(|| cause.to_owned(), |hint| format!("{cause}; {hint}"))
}

/// Returns what to say of a step that was done, and of the credential that it published.
fn done(step: &Step, published: Option<&Published>) -> Option<Warning> {
    let (account, reason, note) = match step {
        Step::Mint(mint) => {
            let newest = Newest::from(&published?.facts);
            let got = Duration::from_secs(newest.clamped_seconds()?);
            let requested = Duration::from_secs(newest.requested_seconds);
            let note = format!(
                "the API server shortened the life of the credential of profile `{}` from {} to {}",
                mint.grant.profile,
                duration::show(requested),
                duration::show(got)
            );
            (&mint.service_account, Reason::LifetimeShortened, note)
        }
        Step::Revoke(revoke) => {
            let note = format!("credentials of profile `{}` were revoked: {}", revoke.profile, revoke.shown.join(", "));
            (&revoke.service_account, Reason::Revoked, note)
        }
        Step::Recreate(recreate) => {
            let profile = &recreate.profile;
            let note = format!("every token of profile `{profile}` was revoked: the ServiceAccount was made anew");
            (&recreate.account.object, Reason::Revoked, note)
        }
        _ => return None,
    };
    Some(Warning { account: account.clone(), reason, note })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::warn::tests_support::mute;
    use crate::inventory::SourceFile;
    use crate::object::{Kind, ObjectRef};
    use crate::plan::tests_support::empty_plan;
    use crate::plan::{Assessment, Blocker, BlockerKind};
    use crate::resolution::{Setting, resolve};

    const INVENTORY: &str = r#"
version = 1
name = "acme"
[defaults]
admin = { kubeconfig = "admin.yaml" }
events = true
[profiles.reader]
cluster-roles = ["view"]
[profiles.writer]
cluster-roles = ["edit"]
[[clusters]]
name = "a"
[[grants]]
profiles = ["reader", "writer"]
clusters = ["a"]
[[outputs]]
path = "out/{profile}"
"#;

    fn inventory(text: &str) -> Arc<Inventory> {
        let resolution = resolve(SourceFile::new("/x/clusters.toml", text), vec![], Setting::default());
        Arc::new(resolution.inventory.unwrap_or_else(|| panic!("{:?}", resolution.problems)))
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn standing(state: CredentialState, expires: i64) -> Standing {
        let grant = GrantKey { cluster: "a".into(), profile: "reader".into() };
        let newest = Newest { generation: 1, issued: at(0), expires: at(expires), requested_seconds: 3600 };
        Standing { newest: Some(newest), ..Standing::only(grant, state, None) }
    }

    fn blocker(profile: Option<&str>) -> Blocker {
        Blocker {
            kind: BlockerKind::MissingRight,
            profile: profile.map(Into::into),
            message: "the admin may not mint".to_owned(),
            hint: Some("let it".to_owned()),
        }
    }

    #[test]
    fn a_credential_that_something_blocks_is_said_to_stay_behind() {
        let inventory = inventory(INVENTORY);
        let said = |state, expires, blockers: &[Option<&str>]| {
            let mut plan = empty_plan("a", "uid");
            plan.blockers = blockers.iter().map(|profile| blocker(*profile)).collect();
            let said = blocked(&inventory, &plan, &[standing(state, expires)], at(1000));
            said.into_iter().map(|warning| (warning.reason, warning.note)).collect::<Vec<_>>()
        };
        let reader = Some("reader");
        let note = "the credential of profile `reader` was not renewed: the admin may not mint; let it";
        assert_eq!(
            said(CredentialState::Due, 900_000, &[reader]),
            [(Reason::NotRenewed, format!("{note}; the one in use expires at 1970-01-11T10:00:00Z"))]
        );
        assert_eq!(
            said(CredentialState::Due, 4000, &[reader]),
            [(Reason::Expires, format!("{note}; it expires at 1970-01-01T01:06:40Z"))]
        );
        assert_eq!(
            said(CredentialState::Expired, 900, &[reader]),
            [(Reason::Expired, format!("{note}; it has expired"))]
        );
        let expired = [(Reason::Expired, format!("{note}; it has expired"))];
        assert_eq!(said(CredentialState::Unknown, 900, &[reader]), expired, "such as where no hub responds");
        for (state, expires, blockers) in [
            // It works, and does so for long.
            (CredentialState::Current, 900_000, &[reader][..]),
            (CredentialState::HeldElsewhere, 900_000, &[reader]),
            // It cannot be judged, and lives for long.
            (CredentialState::Unknown, 900_000, &[reader]),
            // Somebody wanted that.
            (CredentialState::Suspended, 900, &[reader]),
            (CredentialState::Ended, 900, &[reader]),
            // Nothing blocks it, or another profile is blocked.
            (CredentialState::Due, 900, &[]),
            (CredentialState::Due, 900, &[Some("writer")]),
            // It may be the wrong cluster.
            (CredentialState::Due, 900, &[reader, None]),
        ] {
            assert_eq!(said(state, expires, blockers), [], "{state:?} {expires} {blockers:?}");
        }
    }

    #[test]
    fn the_most_urgent_is_written_and_each_once() {
        let warning = |name: &str, reason| Warning {
            account: ObjectRef::namespaced(Kind::ServiceAccount, "ns", name),
            reason,
            note: String::new(),
        };
        let all = ["a", "b", "c"]
            .map(|name| [Reason::Revoked, Reason::NotRenewed, Reason::Expired].map(|reason| warning(name, reason)));
        let said = [all.concat(), all.concat()].concat();
        let chosen = chosen(said).into_iter().map(|warning| (warning.reason, warning.account.name));
        let expect = [
            (Reason::Expired, "a"),
            (Reason::Expired, "b"),
            (Reason::Expired, "c"),
            (Reason::NotRenewed, "a"),
            (Reason::NotRenewed, "b"),
        ];
        assert_eq!(chosen.collect::<Vec<_>>(), expect.map(|(reason, name)| (reason, name.to_owned())));
    }

    fn warnings(text: &str) -> Warnings {
        let mut plan = empty_plan("a", "uid");
        plan.blockers = vec![blocker(Some("reader"))];
        let clock = Clock::start(at(1000));
        let standings = vec![standing(CredentialState::Due, 4000)];
        let assessment = Assessment { standings, ..Assessment::default() };
        Warnings::of(&inventory(text), clock, &Assessed { plan, assessment })
    }

    #[test]
    fn who_wants_no_events_keeps_nothing() {
        assert_eq!(warnings(INVENTORY).said.len(), 1);
        assert!(warnings(&INVENTORY.replace("events = true", "events = false")).said.is_empty());
    }

    /// An API server that does not answer holds up nobody, whatever there is to say.
    #[tokio::test(start_paused = true)]
    async fn events_that_nobody_answers_cost_the_time_that_is_kept_for_them() {
        let inventory = INVENTORY.replace("events = true", "events = true\ncluster-timeout = \"48s\"");
        let (api, _server) = mute();
        let began = tokio::time::Instant::now();
        let note = warnings(&inventory).write(&api).await;
        assert_eq!(note.map(|note| note.kind), Some(NoteKind::NoEvent));
        assert_eq!(began.elapsed().as_secs(), 8);
    }
}
