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
use crate::cluster::warn::{Reason, Warning, hour, warn};
use crate::cluster::{Api, Limits};
use crate::desired::service_account;
use crate::failure::{ApiFailure, StepFailure, with_hint};
use crate::inventory::{GrantKey, Inventory, duration};
use crate::names::{ProfileName, short_hash};
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
    /// What the users of each credential have.
    in_use: BTreeMap<ProfileName, InUse>,
    said: Vec<Warning>,
}

/// What those who use a credential have while it is not renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InUse {
    /// No credential, or nobody knows one.
    Nothing,
    /// One that the API server accepts no more, though it may not have expired.
    Dead,
    /// One that has expired.
    Expired,
    /// One that works until it expires.
    Until(Timestamp),
}

impl Warnings {
    /// Begins with what a plan says: which credentials are left behind because something blocks them.
    pub(super) fn of(inventory: &Arc<Inventory>, clock: Clock, Assessed { plan, assessment }: &Assessed) -> Self {
        let (inventory, clock_ahead, standings) =
            (Arc::clone(inventory), assessment.clock_ahead, &assessment.standings);
        let mut warnings = Self { inventory, clock, clock_ahead, in_use: BTreeMap::new(), said: vec![] };
        if warnings.inventory.run.events {
            warnings.in_use = standings.iter().map(|it| (it.grant.profile.clone(), InUse::of(it))).collect();
            warnings.said = blocked(&warnings.inventory, plan, standings, warnings.now());
        }
        warnings
    }

    /// Keeps what a step that failed is worth saying. A credential that is in the outputs is renewed, whatever failed then.
    pub(super) fn of_failure(&mut self, step: &Step, failure: &StepFailure, published: &[Published]) {
        let is_published = published.iter().any(|published| step.grant() == Some(&published.grant));
        if self.inventory.run.events && !is_published {
            let warning = failed(&self.inventory, step, failure, (&self.in_use, self.now()));
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

    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.said.is_empty()
    }

    /// Forgets what was kept of revocations: it is not certain that they had their effect.
    pub(super) fn forget_revocations(&mut self) {
        self.said.retain(|warning| warning.reason != Reason::Revoked);
    }

    /// Writes what was kept as Events, in the time that one request may take, which comes after the cluster's own. If that
    /// fails, nothing else does, and a note says so.
    pub(super) async fn write(&mut self, api: Api) -> Option<Note> {
        let limit = self.inventory.run.request_timeout;
        let api = api.go_on(Limits::new(limit, limit));
        let why = match tokio::time::timeout(limit, self.write_each(&api)).await {
            Ok(Ok(())) => return None,
            Ok(Err(failure)) => failure.to_string(),
            Err(_) => format!("not done within {}", crate::wording::duration(limit)),
        };
        tracing::debug!(why, "not all Events were written");
        Some(Note::new(NoteKind::NoEvent, format!("not all Events were written: {why}")))
    }

    /// Writes the most urgent ones, and returns the first failure. One that is refused does not stop the others, which may be
    /// in other namespaces: by a missing right, a webhook or a policy.
    async fn write_each(&mut self, api: &Api) -> Result<(), ApiFailure> {
        let said = chosen(std::mem::take(&mut self.said), self.now());
        let by = (&self.inventory.name, &self.inventory.holder);
        let mut first_failure = None;
        for warning in &said {
            match warn(api, warning, by, self.now()).await {
                Ok(()) => {}
                Err(failure) if failure.is_refusal() => first_failure = first_failure.or(Some(failure)),
                Err(failure) => return Err(first_failure.unwrap_or(failure)),
            }
        }
        first_failure.map_or(Ok(()), Err)
    }

    fn now(&self) -> Timestamp {
        by_the_cluster(self.clock.now(), self.clock_ahead)
    }
}

/// Returns what is written: the most urgent, each once. Of those that are as urgent, others come first in the next hour, so
/// that each is said some time.
fn chosen(mut said: Vec<Warning>, now: Timestamp) -> Vec<Warning> {
    let turn = hour(now).to_string();
    said.sort_by_cached_key(|warning| {
        let account = warning.account.to_string();
        (warning.reason, short_hash(&[&account, &turn]), account)
    });
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
        let (in_use, why) = (InUse::of(standing), with_hint(&blocker.message, blocker.hint.as_deref()));
        let (reason, note) = in_use.not(in_use.renewed(), profile, &why, now);
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
        is_worth_saying.then_some(Warning { account, reason, note })
    };
    standings.iter().filter_map(warning).collect()
}

/// Returns what to say of a step that failed, if it was to bring a credential to its outputs.
fn failed(
    inventory: &Inventory,
    step: &Step,
    failure: &StepFailure,
    (in_use, now): (&BTreeMap<ProfileName, InUse>, Timestamp),
) -> Option<Warning> {
    let grant: &GrantKey = match step {
        Step::Mint(mint) => &mint.grant,
        Step::Publish(publish) => &publish.grant,
        Step::Plugin(plugin) => &plugin.grant,
        _ => return None,
    };
    let in_use = in_use.get(&grant.profile).copied().unwrap_or(InUse::Nothing);
    let done = if matches!(step, Step::Mint(_)) { in_use.renewed() } else { "delivered" };
    let (reason, note) = in_use.not(done, &grant.profile, &failure.with_hint(), now);
    Some(Warning { account: service_account(inventory.grant(grant)?), reason, note })
}

impl InUse {
    fn of(standing: &Standing) -> Self {
        match standing.state {
            CredentialState::Missing => Self::Nothing,
            CredentialState::Revoked => Self::Dead,
            CredentialState::Expired => Self::Expired,
            _ => {
                let newest = standing.newest.as_ref().map(|newest| newest.expires);
                standing.soonest.or(newest).map_or(Self::Nothing, Self::Until)
            }
        }
    }

    /// What should have been done about it.
    fn renewed(self) -> &'static str {
        if self == Self::Nothing { "minted" } else { "renewed" }
    }

    /// Says what was not done about the credential of a profile, and how urgent that is. Why comes last, because a long text
    /// is cut.
    fn not(self, done: &str, profile: &ProfileName, why: &str, now: Timestamp) -> (Reason, String) {
        let (reason, state) = match self {
            Self::Nothing => (Reason::NotRenewed, String::new()),
            Self::Dead => (Reason::Expired, " (the one in use does not work any more)".to_owned()),
            Self::Expired => (Reason::Expired, " (it has expired)".to_owned()),
            Self::Until(expires) if expires <= now => (Reason::Expired, " (it has expired)".to_owned()),
            Self::Until(expires) if expires <= later(now, SOON) => {
                (Reason::Expires, format!(" (it expires at {expires})"))
            }
            Self::Until(expires) => (Reason::NotRenewed, format!(" (the one in use expires at {expires})")),
        };
        (reason, format!("the credential of profile `{profile}` was not {done}{state}: {why}"))
    }
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
    use std::collections::BTreeSet;

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
        let note =
            |what: &str| format!("the credential of profile `reader` was not {what}: the admin may not mint; let it");
        let expired = [(Reason::Expired, note("renewed (it has expired)"))];
        let dead = [(Reason::Expired, note("renewed (the one in use does not work any more)"))];
        let soon = [(Reason::Expires, note("renewed (it expires at 1970-01-01T01:06:40Z)"))];
        let later = [(Reason::NotRenewed, note("renewed (the one in use expires at 1970-01-11T10:00:00Z)"))];
        assert_eq!(said(CredentialState::Due, 900_000, &[reader]), later);
        assert_eq!(said(CredentialState::Due, 4000, &[reader]), soon);
        assert_eq!(said(CredentialState::Expired, 900, &[reader]), expired);
        assert_eq!(said(CredentialState::Unknown, 900, &[reader]), expired, "such as where no hub responds");
        assert_eq!(said(CredentialState::Revoked, 900_000, &[reader]), dead, "however long it would have lived");
        assert_eq!(said(CredentialState::Missing, 900_000, &[reader]), [(Reason::NotRenewed, note("minted"))]);
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

    /// One output may have missed the last renewal.
    #[test]
    fn the_first_that_expires_counts() {
        let standing = Standing { soonest: Some(at(900)), ..standing(CredentialState::NotEverywhere, 900_000) };
        assert_eq!(InUse::of(&standing), InUse::Until(at(900)));
    }

    #[test]
    fn a_long_cause_leaves_room_for_what_is_urgent() {
        let (_, note) = InUse::Until(at(4000)).not("renewed", &"reader".into(), &"x".repeat(3000), at(1000));
        assert!(crate::failure::clean(&note).contains("(it expires at 1970-01-01T01:06:40Z)"), "{note}");
    }

    #[test]
    fn each_has_its_turn() {
        let warning = |name: &str| Warning {
            account: ObjectRef::namespaced(Kind::ServiceAccount, "ns", name),
            reason: Reason::Expired,
            note: String::new(),
        };
        let names = ["a", "b", "c", "d", "e", "f", "g"];
        let in_hour = |hour: i64| {
            let chosen = chosen(names.map(warning).to_vec(), at(hour * 3600));
            chosen.into_iter().map(|warning| warning.account.name).collect::<BTreeSet<String>>()
        };
        assert_eq!(in_hour(0).len(), MOST);
        assert_eq!((0..24).flat_map(in_hour).collect::<BTreeSet<_>>().len(), names.len());
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
        let chosen = chosen(said, at(1000)).into_iter().map(|warning| (warning.reason, warning.account.name));
        let (urgent, next): (BTreeSet<_>, BTreeSet<_>) = chosen.partition(|(reason, _)| *reason == Reason::Expired);
        assert_eq!(urgent, ["a", "b", "c"].map(|name| (Reason::Expired, name.to_owned())).into());
        assert_eq!(next.len(), 2);
        assert!(next.iter().all(|(reason, _)| *reason == Reason::NotRenewed), "{next:?}");
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

    #[test]
    fn a_revocation_that_is_not_certain_is_not_said() {
        let mut warnings = warnings(INVENTORY);
        let blocked = warnings.said.clone();
        warnings.said.push(Warning { reason: Reason::Revoked, ..blocked[0].clone() });
        warnings.forget_revocations();
        assert_eq!(warnings.said, blocked);
    }

    /// An API server that does not answer holds up nobody, whatever there is to say.
    #[tokio::test(start_paused = true)]
    async fn events_that_nobody_answers_cost_the_time_that_is_kept_for_them() {
        let inventory = INVENTORY.replace("events = true", "events = true\nrequest-timeout = \"8s\"");
        let (api, _server) = mute();
        let began = tokio::time::Instant::now();
        let note = warnings(&inventory).write(api).await;
        assert_eq!(note.map(|note| note.kind), Some(NoteKind::NoEvent));
        assert_eq!(began.elapsed().as_secs(), 8);
    }
}
