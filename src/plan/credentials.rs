//! Planning credentials: which to mint, which to hand on, which to leave.
//!
//! Pure: no I/O, `now` comes with the input.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::contested::{Answering, Origin, is_known, origins, taken_name};
use super::delivery::{self, HandingOn, handing_on};
use super::standing::{Basis, CredentialState, Plugins, Standing, newest, standing};
use super::{
    Assessed, Blocker, BlockerKind, Extent, GrantInput, KeptCredential, Note, NoteKind, PlanInput, Suspension,
};
use crate::credential::{
    AnchorState, Decision, DecisionInput, Generation, HolderIndex, Index, IndexError, MintReason, Reissue, Spent,
    StoredCredential, decide, jitter_seed, policy_fingerprint,
};
use crate::delivery::{Delivery, Held, Place, ReadPlace};
use crate::desired::service_account;
use crate::failure::StepFailure;
use crate::inventory::Grant;
use crate::kubeconfig::OtherHolder;
use crate::names::{Holder, INDEX_ANNOTATION, ProfileName, anchor_name, exec_anchor_name};
use crate::object::ObjectRef;
use crate::observed::{ObservedObject, Ownership};
use crate::step::{ExecAnchor, Mint, Plugin, Publish, Resume, Retire, Step, TriedToken};
use crate::wording::command;

pub(super) fn plan_credentials(input: &PlanInput<'_>, draft: &mut Assessed) {
    let of_all: Vec<Origin> = input.grants.iter().flat_map(|it| origins(&it.grant, &it.outputs)).collect();
    let is_known = is_known(input.endpoint.cluster_uid.as_deref(), &of_all);
    for grant_input in input.grants {
        plan_credential(input, grant_input, is_known, draft);
    }
}

/// Plans the credential of one grant; `is_known` is whether an output of the cluster says that it is of the server that answers.
fn plan_credential(input: &PlanInput<'_>, grant_input: &GrantInput, is_known: bool, draft: &mut Assessed) {
    let grant = &grant_input.grant;
    let profile = &grant.profile.name;
    let account = service_account(grant);
    let observed = input.observed.objects.get(&account);
    let key = grant.key();
    if input.options.extent == Extent::Credentials
        && let Some(blocker) = not_provisioned(input, profile, &account, observed)
    {
        return block(Standing::only(key, CredentialState::Missing, None), vec![blocker], draft);
    }
    let unknown = |newest| Standing { newest, ..Standing::only(key.clone(), CredentialState::Unknown, None) };
    let index = match read_index(input, observed) {
        Ok(index) => index,
        Err(error) => return block(unknown(None), vec![unusable_index(grant, &account, &error)], draft),
    };
    draft.plan.notes.extend(index.incomplete.then(|| lost_index(&account)));
    let holder = &input.options.holder;
    let chain = index.holder(holder);
    if let Some((kind, failure)) = &grant_input.unusable {
        return block(unknown(newest(chain, &[])), vec![unusable_output(profile, *kind, failure)], draft);
    }
    let anchors = chain.map(|chain| anchor_states(input, (&account, observed), chain)).unwrap_or_default();
    let uid = observed.map(|observed| observed.uid.as_str());
    let grant_input = &*delivery::take_back(input, grant_input, uid, &anchors);
    let foreign = delivery::foreign_entries(input, grant_input, uid, &anchors);
    if !foreign.is_empty() {
        return block(unknown(newest(chain, &[])), foreign, draft);
    }
    let answering = Answering { uid: input.endpoint.cluster_uid.as_deref(), account: observed, is_known };
    if let Some(blocker) = taken_name(grant, &origins(grant, &grant_input.outputs), &answering) {
        return block(unknown(newest(chain, &[])), vec![blocker], draft);
    }
    draft.plan.notes.extend(delivery::taken_over(input, grant_input));
    let stored = |read: &ReadPlace| read.held()?.stored().cloned();
    let outputs: Vec<_> = grant_input.holding().map(|read| (read.place.clone(), stored(read))).collect();
    draft.plan.notes.extend(delivery::another_server(input, grant_input));
    draft.plan.notes.extend(went_back(&account, observed, holder, chain, &outputs));
    let decision = decide(&DecisionInput {
        chain,
        anchors: &anchors,
        service_account_uid: observed.map(|observed| observed.uid.as_str()),
        policy: &grant.profile.token,
        ends: grant.period.expires,
        outputs: &outputs,
        reissue: input.options.reissue,
        renewal: input.options.renewal,
        distrust: grant_input.distrust,
        now: input.now,
        orphan_after: input.options.orphan_after,
        jitter_seed: &jitter_seed(&grant.cluster.name, profile, holder),
    });
    if let Decision::Mint { reason, .. } = &decision {
        draft.plan.notes.extend(delivery::restarts(grant_input));
        draft.plan.notes.extend((*reason == MintReason::Lost).then(|| lost(profile, grant_input)));
    }
    draft.plan.notes.extend(left_by_another_inventory(input, &account, observed, &anchors));
    let is_suspended = index.is_suspended(holder);
    let handing_on = match &decision {
        Decision::Publish { from, generation, .. } => {
            handing_on(input, grant_input, from, chain.and_then(|chain| chain.generation(*generation)))
        }
        _ => None,
    };
    let for_plugins = delivery::plugins(input, grant_input);
    let plugins = Plugins::find(input, grant_input, &account, observed);
    draft.assessment.standings.push(standing(
        &Basis {
            grant: grant_input.grant.key(),
            index: &index,
            holder,
            anchors: &anchors,
            outputs: &outputs,
            plugins,
            delivery: handing_on.as_ref().map(|handing_on| &handing_on.delivery),
            for_plugins: &for_plugins,
            is_suspended,
            now: input.now,
        },
        &decision,
    ));
    let is_written = |place: &Place| match (&decision, &handing_on) {
        (Decision::Mint { .. }, _) => true,
        (_, Some(handing_on)) => handing_on.delivery.written().any(|written| **written == *place),
        (_, None) => false,
    };
    let fixed = delivery::fixed_secrets(input, grant_input, is_written);
    if !may_go_on(input, grant_input, &account, is_suspended, fixed, draft) {
        return;
    }
    plan_plugins(input, grant_input, &account, plugins, for_plugins, draft);
    let has_plugin = plugins.is_any;
    note_life(input, grant, chain, draft);
    follow(&Grounds { input, grant_input, grant, account: &account, chain, has_plugin }, decision, handing_on, draft);
}

/// Ends the planning of a grant with blockers; the first says why its standing is what it is.
fn block(standing: Standing, blockers: Vec<Blocker>, draft: &mut Assessed) {
    let detail = blockers.first().map(|blocker| blocker.message.clone());
    draft.assessment.standings.push(Standing { detail, ..standing });
    draft.plan.blockers.extend(blockers);
}

/// Notes that an index was lost at some time.
fn lost_index(account: &ObjectRef) -> Note {
    let message = format!(
        "{account} lost its annotation `{INDEX_ANNOTATION}` at some time: tokens may live that it does not list; \
         `kubemint revoke --hard` ends them"
    );
    Note::new(NoteKind::LostIndex, message)
}

/// Says that a Secret lost a living credential.
fn lost(profile: &ProfileName, grant_input: &GrantInput) -> Note {
    let places: Vec<String> = grant_input.holding().map(|read| read.place.to_string()).collect();
    let message = format!(
        "none of the Secrets that outputs name holds the living credential of `{profile}` any more ({}): a new one is \
         minted, and the one before ends after its overlap",
        crate::wording::list(places.iter().map(String::as_str), 3)
    );
    Note::new(NoteKind::Replaced, message)
}

/// Whether the planning of a grant goes on. It ends if another holder's credential is in an output, if something else
/// stands in the way there (`others`), or if a revocation suspended issuing and this run keeps that. Otherwise it lifts a suspension.
fn may_go_on(
    input: &PlanInput<'_>,
    grant_input: &GrantInput,
    account: &ObjectRef,
    is_suspended: bool,
    others: Vec<Blocker>,
    draft: &mut Assessed,
) -> bool {
    let profile = &grant_input.grant.profile.name;
    let others = [other_holders(input, grant_input), others].concat();
    if let Some(blocker) = others.first() {
        if let Some(standing) = draft.assessment.standings.last_mut() {
            standing.detail = Some(blocker.message.clone());
        }
        draft.plan.blockers.extend(others);
        return false;
    }
    if is_suspended && input.options.suspension == Suspension::Keep {
        let message = format!("issuing for `{profile}` is suspended by a revocation");
        draft.plan.notes.push(Note::new(NoteKind::Suspended, message));
        return false;
    }
    if is_suspended {
        draft.plan.steps.push(Step::Resume(Box::new(Resume {
            profile: profile.clone(),
            inventory: input.inventory.name.clone(),
            holder: input.options.holder.clone(),
            service_account: account.clone(),
        })));
    }
    true
}

/// Says which generations another inventory leaves behind when its ServiceAccount is taken over: their anchors have names
/// of that inventory, so later runs of this one neither find nor end them.
fn left_by_another_inventory(
    input: &PlanInput<'_>,
    account: &ObjectRef,
    observed: Option<&ObservedObject>,
    anchors: &BTreeMap<u64, AnchorState>,
) -> Option<Note> {
    let Ownership::OtherInventory(other) = observed?.ownership(&input.inventory.name) else { return None };
    let living = anchors.iter().filter(|(_, state)| matches!(state, AnchorState::Present(_)));
    let living: Vec<String> = living.map(|(number, _)| number.to_string()).collect();
    let message = format!(
        "{account} has living tokens of inventory `{other}` (generation {}), which an adoption does not end: revoke them \
         with that inventory first; later, only `kubemint revoke --all` finds them, and `--hard` ends them",
        living.join(", ")
    );
    (!living.is_empty()).then(|| Note::new(NoteKind::NotRetired, message))
}

/// Notes that an output holds a generation that the index has not reached yet. Then somebody changed the index, or
/// restored an older one, and it may lack living generations.
fn went_back(
    account: &ObjectRef,
    observed: Option<&ObservedObject>,
    holder: &Holder,
    chain: Option<&HolderIndex>,
    outputs: &[(Arc<Place>, Option<StoredCredential>)],
) -> Option<Note> {
    let uid = observed.map(|observed| observed.uid.as_str());
    let next = chain.map_or(1, |chain| chain.next.max(1));
    // Credentials for an account that is gone have their own numbers.
    let is_of_it = |stored: &&StoredCredential| stored.claims.service_account_uid.as_deref() == uid;
    let held = outputs
        .iter()
        .filter_map(|(_, stored)| stored.as_ref())
        .filter(is_of_it)
        .map(|stored| stored.generation)
        .max()?;
    (uid.is_some() && held >= next).then(|| {
        let message = format!(
            "somebody changed the annotation `{INDEX_ANNOTATION}` of {account}, or restored it: it says that generation \
             {next} of holder `{holder}` comes next, and an output holds generation {held}; `kubemint revoke --all` \
             finds what it does not list"
        );
        Note::new(NoteKind::IndexInDoubt, message)
    })
}

/// Returns the blocker for an output of a grant that cannot be read: nothing is minted for it.
fn unusable_output(profile: &ProfileName, kind: BlockerKind, failure: &StepFailure) -> Blocker {
    Blocker {
        profile: Some(profile.clone()),
        kind,
        message: format!("{}; nothing was minted for it", failure.cause),
        hint: failure.hint.clone(),
    }
}

/// Returns the blocker for an index that cannot be read: no number is then known to be free.
fn unusable_index(grant: &Grant, account: &ObjectRef, error: &IndexError) -> Blocker {
    let (profile, cluster) = (&grant.profile.name, &grant.cluster.name);
    Blocker {
        profile: Some(profile.clone()),
        kind: BlockerKind::UnusableIndex,
        message: format!("the annotation `{INDEX_ANNOTATION}` of {account} is unusable: {error}"),
        hint: Some(format!(
            "restore it from a backup, or start anew with `{}`",
            command(&["kubemint", "revoke", "--hard", "--cluster", cluster.as_str(), "--profile", profile.as_str()])
        )),
    }
}

/// The facts that a decision about a grant was based on.
struct Grounds<'a> {
    input: &'a PlanInput<'a>,
    grant_input: &'a GrantInput,
    grant: &'a Grant,
    account: &'a ObjectRef,
    chain: Option<&'a HolderIndex>,
    has_plugin: bool,
}

/// Turns a decision into steps, blockers and notes.
fn follow(grounds: &Grounds<'_>, decision: Decision, handing_on: Option<HandingOn>, draft: &mut Assessed) {
    let Grounds { input, grant_input, grant, account, chain, has_plugin } = *grounds;
    let (profile, holder) = (&grant.profile.name, &input.options.holder);
    match decision {
        Decision::NoOutput if has_plugin => {}
        Decision::NoOutput => {
            let message = format!("no output holds profile `{profile}`, so no token is minted for it");
            draft.plan.notes.push(Note::new(NoteKind::NoOutput, message));
        }
        Decision::Withheld { generation, expires } => draft.plan.blockers.push(Blocker {
            profile: Some(profile.clone()),
            kind: BlockerKind::CredentialHeldElsewhere,
            message: format!(
                "generation {generation} of `{profile}` for holder `{holder}` is alive until {expires}, and no output \
                 here holds it; who holds it would lose it when a newer one supersedes it"
            ),
            hint: Some("pass `--reissue` to mint a new one, or use a `--holder` of your own".to_owned()),
        }),
        Decision::InFlight { generation, expires, due, claimed } => {
            let message = format!(
                "another run is renewing `{profile}` (it claimed generation {claimed}); generation {generation} is \
                 current until {expires}"
            );
            draft.plan.notes.push(Note::new(NoteKind::ClaimInFlight, message));
            let grant = grant_input.grant.key();
            draft.assessment.kept.push(KeptCredential {
                grant,
                generation,
                expires,
                due,
                superseded: vec![],
                retire_at: None,
            });
        }
        Decision::Mint { generation, reason, spent } => {
            note_claims_in_flight(chain, &spent, draft);
            let ttl = grant.profile.token.ttl.as_secs();
            match grant.period.life(ttl, SHORTEST_LIFE, input.now) {
                Some(life) => {
                    let step = mint(input, grant_input, account, Minting { generation, reason, spent, life });
                    draft.plan.steps.push(step);
                }
                None => draft.plan.notes.push(ends_soon(grant)),
            }
        }
        Decision::Publish { from: _, generation, recorded, due, retire, superseded, retire_at } => {
            let claim = chain.and_then(|chain| chain.generation(generation)).cloned();
            let kept = KeptCredential {
                grant: grant_input.grant.key(),
                generation,
                expires: input.now,
                due,
                superseded,
                retire_at,
            };
            if let Some(handing_on) = handing_on {
                publish(grant_input, draft, handing_on, &Publishing { account, recorded, claim, kept });
            }
            if !retire.is_empty() {
                draft.plan.steps.push(Step::Retire(Box::new(Retire {
                    profile: profile.clone(),
                    inventory: input.inventory.name.clone(),
                    holder: holder.clone(),
                    service_account: account.clone(),
                    generations: retire,
                    asks_for_time: input.observed.is_clock_in_doubt(),
                    keep: generation,
                })));
            }
        }
    }
}

impl Plugins {
    fn find(
        input: &PlanInput<'_>,
        grant_input: &GrantInput,
        account: &ObjectRef,
        observed: Option<&ObservedObject>,
    ) -> Self {
        let (holder, inventory) = (&input.options.holder, &input.inventory.name);
        let name = observed.map(|observed| exec_anchor_name(&account.name, &observed.uid, inventory, holder));
        let exists = name.is_some_and(|name| input.observed.anchors.contains_key(&ObjectRef::anchor_of(account, name)));
        Self {
            is_any: grant_input.outputs.iter().any(|read| !read.format.holds_credential()),
            is_anchored: input.inventory.has_minting_plugin(&grant_input.grant.key()).then_some(exists),
        }
    }
}

/// Plans the entries of exec plugins and the anchor that their tokens are bound to.
fn plan_plugins(
    input: &PlanInput<'_>,
    grant_input: &GrantInput,
    account: &ObjectRef,
    plugins: Plugins,
    delivery: Delivery,
    draft: &mut Assessed,
) {
    let grant = &grant_input.grant;
    let profile = &grant.profile.name;
    if plugins.is_anchored == Some(false) {
        draft.plan.steps.push(Step::ExecAnchor(Box::new(ExecAnchor {
            profile: profile.clone(),
            inventory: input.inventory.name.clone(),
            holder: input.options.holder.clone(),
            service_account: account.clone(),
        })));
    }
    if !delivery.is_there() {
        let tried = input.inventory.has_minting_plugin(&grant_input.grant.key()).then(|| TriedToken {
            inventory: input.inventory.name.clone(),
            holder: input.options.holder.clone(),
            audiences: grant.profile.token.audiences.clone(),
        });
        let service_account = account.clone();
        let plugin = Plugin { grant: grant_input.grant.key(), service_account, tried, delivery };
        draft.plan.steps.push(Step::Plugin(Box::new(plugin)));
    }
}

/// Returns the blocker for a ServiceAccount that is not there, which a run that changes only credentials cannot make.
fn not_provisioned(
    input: &PlanInput<'_>,
    profile: &ProfileName,
    account: &ObjectRef,
    observed: Option<&ObservedObject>,
) -> Option<Blocker> {
    let why = match observed {
        None => "does not exist",
        Some(observed) if observed.deleting => "is being deleted",
        Some(observed) if observed.ownership(&input.inventory.name) != Ownership::Ours => "is not this inventory's",
        Some(_) => return None,
    };
    Some(Blocker {
        profile: Some(profile.clone()),
        kind: BlockerKind::NotProvisioned,
        message: format!("{account} {why}, so nothing can be renewed for `{profile}`"),
        hint: Some(format!(
            "run `{}`",
            command(&["kubemint", "apply", "--cluster", input.cluster.as_str(), "--profile", profile.as_str()])
        )),
    })
}

/// A living credential in the outputs, and what the index knows of it.
struct Publishing<'a> {
    account: &'a ObjectRef,
    /// Whether the index knows that it is published.
    recorded: bool,
    claim: Option<Generation>,
    /// How it is reported if all outputs hold it.
    kept: KeptCredential,
}

/// Plans to hand a living credential on, or reports that all outputs hold it already.
fn publish(grant_input: &GrantInput, draft: &mut Assessed, handing_on: HandingOn, publishing: &Publishing<'_>) {
    let HandingOn { from, delivery } = handing_on;
    let Some(first) = from.first() else { return };
    if delivery.is_there() && publishing.recorded {
        return draft.assessment.kept.push(KeptCredential { expires: first.facts.expires, ..publishing.kept.clone() });
    }
    // If an output still held an older generation, the overlap of that one begins only now.
    let is_behind = !publishing.recorded || !publishing.kept.superseded.is_empty();
    let record = publishing.claim.clone().filter(|_| is_behind).map(|claim| (publishing.account.clone(), claim));
    draft.plan.steps.push(Step::Publish(Box::new(Publish { grant: grant_input.grant.key(), from, delivery, record })));
}

/// Returns a blocker for each output entry that holds another holder's credential, which may be in use.
fn other_holders(input: &PlanInput<'_>, grant_input: &GrantInput) -> Vec<Blocker> {
    if input.options.reissue == Reissue::Allowed {
        return vec![];
    }
    let held = grant_input.outputs.iter().filter_map(ReadPlace::held);
    let others = held.filter_map(Held::other_holder).filter(|other| other.may_live(input.now));
    let holds = |other: &OtherHolder| match other.token {
        Some((generation, expires)) => {
            format!("generation {generation} of holder `{}`, alive until {expires}", other.holder)
        }
        None => format!("the exec plugin of holder `{}`", other.holder),
    };
    let blocker = |other: &OtherHolder| Blocker {
        profile: Some(grant_input.grant.profile.name.clone()),
        kind: BlockerKind::CredentialHeldElsewhere,
        message: format!("an output holds {}; it would be overwritten", holds(other)),
        hint: Some(
            "give each holder outputs of its own, as with `{holder}` in `path` or `name`, or pass `--reissue`"
                .to_owned(),
        ),
    };
    let mut blockers: Vec<Blocker> = others.map(blocker).collect();
    blockers.dedup();
    blockers
}

/// Reads the index. A ServiceAccount that does not exist yet, or is not ours, has none; one of ours without an index
/// has lost it.
fn read_index(input: &PlanInput<'_>, observed: Option<&ObservedObject>) -> Result<Index, IndexError> {
    let Some(observed) = observed else { return Ok(Index::default()) };
    let is_ours = observed.ownership(&input.inventory.name) == Ownership::Ours;
    if is_ours || observed.has_index() { observed.index() } else { Ok(Index::default()) }
}

/// Returns whether the anchors of a chain exist. Their names are computed, because anybody may have edited those in the
/// index.
fn anchor_states(
    input: &PlanInput<'_>,
    (account, observed): (&ObjectRef, Option<&ObservedObject>),
    chain: &HolderIndex,
) -> BTreeMap<u64, AnchorState> {
    let uid = observed.map_or("", |observed| observed.uid.as_str());
    let ours = &input.inventory.name;
    let inventory = observed.map_or_else(|| ours.clone(), |observed| observed.minted_for(ours));
    let state = |generation: &Generation| {
        let name = anchor_name(&account.name, uid, &inventory, &input.options.holder, generation.n);
        match input.observed.anchors.get(&ObjectRef::anchor_of(account, name)) {
            Some(uid) => AnchorState::Present(uid.clone()),
            None => AnchorState::Absent,
        }
    };
    chain.generations.iter().map(|generation| (generation.n, state(generation))).collect()
}

/// The shortest life of a token, in seconds (TokenRequest, `validateTokenRequestSpec`).
pub(crate) const SHORTEST_LIFE: u64 = 600;

/// Notes that a grant ends so soon that nothing is minted for it any more.
fn ends_soon(grant: &Grant) -> Note {
    let ends = grant.period.expires.map(|ends| format!(" at {ends}")).unwrap_or_default();
    let message = format!(
        "nothing is minted for `{}`: its grant ends{ends}, and no token lives for less than 10 minutes",
        grant.profile.name
    );
    Note::new(NoteKind::OutsidePeriod, message)
}

/// What is minted.
struct Minting {
    generation: u64,
    reason: MintReason,
    spent: Vec<Spent>,
    /// How long it lives, in seconds.
    life: u64,
}

fn mint(input: &PlanInput<'_>, grant_input: &GrantInput, account: &ObjectRef, minting: Minting) -> Step {
    let Minting { generation, reason, mut spent, life } = minting;
    spent.shrink_to_fit();
    let grant = &grant_input.grant;
    let policy = &grant.profile.token;
    Step::Mint(Box::new(Mint {
        grant: grant_input.grant.key(),
        inventory: input.inventory.name.clone(),
        holder: input.options.holder.clone(),
        service_account: account.clone(),
        generation,
        reason,
        ttl_seconds: life,
        not_after: grant.period.expires,
        audiences: policy.audiences.clone(),
        policy: policy_fingerprint(policy),
        spent,
        delivery: delivery::minted(input, grant_input),
    }))
}

/// Notes, if the index shows it, that the API server shortens lifetimes, and what follows from that.
fn note_life(input: &PlanInput<'_>, grant: &Grant, chain: Option<&HolderIndex>, draft: &mut Assessed) {
    let newest = chain.and_then(|chain| chain.generations.iter().rev().find(|generation| generation.is_recorded()));
    let Some(generation) = newest else { return };
    let profile = grant.profile.name.as_str();
    let life = life(generation);
    draft.plan.notes.extend(life.and_then(|life| shortened_lifetime(grant, generation.requested_seconds, life)));
    let horizon = input.options.renewal.horizon;
    if let Some(life) = life.map(Duration::from_secs).filter(|life| *life <= horizon) {
        let (life, horizon) = (crate::wording::duration(life), crate::wording::duration(horizon));
        let message =
            format!("tokens of `{profile}` live for {life}, and the next run comes in {horizon}: run more often");
        draft.plan.notes.push(Note::new(NoteKind::ShortLife, message));
    }
}

/// Returns how many seconds a recorded generation lives.
fn life(generation: &Generation) -> Option<u64> {
    u64::try_from(generation.expires?.duration_since(generation.issued?).as_secs()).ok()
}

/// Returns a note if tokens live for `actual` seconds and that is less than `requested`, and what follows from it.
pub(crate) fn shortened_lifetime(grant: &Grant, requested: u64, actual: u64) -> Option<Note> {
    // The API server rounds issue and expiry to seconds.
    const ROUNDING: u64 = 2;
    if actual + ROUNDING >= requested {
        return None;
    }
    let show = |seconds| crate::wording::duration(Duration::from_secs(seconds));
    let prefix = shortens(&grant.profile.name);
    let mut message = format!("{prefix} from {} to {}", show(requested), show(actual));
    let overlap = grant.profile.token.overlap;
    if Duration::from_secs(actual) <= overlap {
        let overlap = crate::wording::duration(overlap);
        message.push_str(&format!(", which is not more than `overlap` ({overlap}): half their life counts instead"));
    }
    Some(Note::new(NoteKind::ShortenedLifetime, message))
}

fn shortens(profile: &ProfileName) -> String {
    format!("the API server shortens tokens of `{profile}`")
}

impl Note {
    /// Whether the note is about the lifetime of a profile's tokens.
    pub(crate) fn is_about_life_of(&self, profile: &ProfileName) -> bool {
        self.kind == NoteKind::ShortenedLifetime && self.message.starts_with(&shortens(profile))
    }
}

fn note_claims_in_flight(chain: Option<&HolderIndex>, spent: &[Spent], draft: &mut Assessed) {
    for generation in chain.map_or(&[][..], |chain| &chain.generations) {
        if !generation.is_recorded() && !spent.iter().any(|spent| spent.n == generation.n) {
            let message = format!(
                "generation {} was claimed by run {} at {} and is not published yet",
                generation.n, generation.run, generation.claimed_at
            );
            draft.plan.notes.push(Note::new(NoteKind::ClaimInFlight, message));
        }
    }
}
