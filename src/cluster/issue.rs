//! Mints one generation: claim → anchor → token. Proof, outputs and record follow in the executor.
//!
//! A kill may end any of these functions at any point; [`crate::credential::decide`] says how the next run continues
//! from what it finds.

use std::time::Duration;

use backon::{ConstantBuilder, Retryable};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::anchor::{self, AnchorOwner};
use super::api::{Api, Request};
use super::index::{edit_index, read_index};
use super::revoke::{free, retire};
use crate::calendar::later;
use crate::credential::{ClaimRefused, Claims, Credential, CredentialFacts, Generation, KIND_TOKEN};
use crate::event::Superseded;
use crate::failure::{ApiFailure, Gate, StepFailure};
use crate::inventory::Period;
use crate::names::{
    ANCHOR_TYPE, AnchorOf, FIELD_MANAGER, HOLDER_LABEL, Holder, INVENTORY_LABEL, InventoryName, MANAGED_BY,
    MANAGED_BY_LABEL, PROFILE_LABEL, ProfileName, RUN_ANNOTATION,
};
use crate::object::ObjectRef;
use crate::observed::TOLERATED_SECONDS;
use crate::plan::{Note, SHORTEST_LIFE};
use crate::secret::SecretToken;
use crate::step::{ExecAnchor, Mint, Retire};

/// A generation that is claimed in the index and not published yet.
#[derive(Debug, Clone)]
pub(crate) struct Claimed {
    /// The uid of the ServiceAccount.
    pub account_uid: String,
    /// The claim.
    pub generation: Generation,
    /// The living generations of the holder before it.
    pub superseded: Vec<Superseded>,
}

/// Claims the generation of a step in the index.
///
/// # Errors
///
/// If another run claimed it, or the ServiceAccount cannot be written.
pub(crate) async fn claim(api: &Api, mint: &Mint, run: &str, now: Timestamp) -> Result<Claimed, StepFailure> {
    let mut claimed = None;
    edit_index(api, &mint.service_account, &mint.inventory, |account_uid, date, index| {
        let generation = Generation {
            n: mint.generation,
            kind: KIND_TOKEN.to_owned(),
            run: run.to_owned(),
            // The cluster's clock if it is known, because other machines compare this time with it too.
            claimed_at: date.unwrap_or(now),
            policy: mint.policy.clone(),
            anchor: owner(mint, account_uid).anchor(&mint.holder, AnchorOf::Generation(mint.generation)).name,
            requested_seconds: mint.ttl_seconds,
            anchor_uid: None,
            issued: None,
            expires: None,
            jti: None,
            date_ahead: None,
            published: None,
            in_secrets: false,
            other: serde_json::Map::new(),
        };
        let superseded = index.published(&mint.holder);
        claimed = Some(Claimed { account_uid: account_uid.to_owned(), generation: generation.clone(), superseded });
        index.claim(&mint.holder, generation).map(Some).map_err(|refused| match refused {
            ClaimRefused::Taken { last } => {
                let holder = &mint.holder;
                StepFailure::overtaken(format!("another run of holder `{holder}` claimed generation {last} meanwhile"))
                    .hint("run it again when the other run has ended")
            }
            ClaimRefused::Suspended => suspended(&mint.grant.profile),
        })
    })
    .await?;
    claimed.ok_or_else(|| StepFailure::new("the index was not written"))
}

/// Removes the generations that are spent after a mint: their anchors, then their lines in the index.
///
/// It comes last, because a spent generation that cannot be removed must not keep a credential from being renewed.
///
/// # Errors
///
/// If an anchor cannot be deleted or the index cannot be written; a later run tries again.
pub(crate) async fn clear_spent(api: &Api, mint: &Mint, fresh: &Generation) -> Result<Vec<Note>, StepFailure> {
    if mint.spent.is_empty() {
        return Ok(vec![]);
    }
    let step = Retire {
        profile: mint.grant.profile.clone(),
        inventory: mint.inventory.clone(),
        holder: mint.holder.clone(),
        service_account: mint.service_account.clone(),
        generations: mint.spent.clone(),
        asks_for_time: false,
        keep: mint.generation,
    };
    // The new token tells the API server's own time, so a wrong `Date` cannot end a token that is still needed.
    retire(api, &step, fresh.issued).await
}

/// Asks an API server for its own time, which is when it issued a token. The token is bound to the anchor of a living
/// generation, and is thrown away.
///
/// # Errors
///
/// If no token is issued.
pub(super) async fn own_time(
    api: &Api,
    account: &ObjectRef,
    (anchor, anchor_uid): (&str, &str),
) -> Result<Timestamp, StepFailure> {
    /// The shortest lifetime that an API server grants.
    const SECONDS: u64 = 600;
    let issued = request_bound_token(api, account, SECONDS, &[], (anchor, anchor_uid)).await?;
    let claims = Claims::of(&issued.token);
    claims.map(|claims| claims.issued).map_err(|error| StepFailure::new(format!("the token is unusable: {error}")))
}

fn suspended(profile: &ProfileName) -> StepFailure {
    StepFailure::new(format!("a revocation suspended issuing for `{profile}`"))
        .hint("see why it was revoked; `kubemint refresh --resume` lifts the suspension")
}

/// Checks, before a token goes to any output, that no revocation came in between.
///
/// A revocation first writes its fence and then deletes every anchor that it finds. This check comes after the anchor
/// was made. So either this check sees the fence, or the revocation sees the anchor.
///
/// # Errors
///
/// If the claim does not stand any more.
pub(crate) async fn confirm_claim(api: &Api, mint: &Mint, claimed: &Claimed) -> Result<(), StepFailure> {
    let (_, _, index) = read_index(api, &mint.service_account, &mint.inventory).await?;
    if index.is_suspended(&mint.holder) {
        return Err(suspended(&mint.grant.profile));
    }
    if index.has_claim(&mint.holder, &claimed.generation) {
        return Ok(());
    }
    Err(StepFailure::new(format!("another run dropped the claim of generation {}", mint.generation))
        .hint("run it again to mint a new one"))
}

/// How often a creation is tried until a quota notices a deletion: its controller works off a queue.
const RECOUNT_TRIES: usize = 20;
const RECOUNT_WAIT: Duration = Duration::from_millis(500);

/// What to do where a quota of Secrets is used up.
const OVER_QUOTA: &str =
    "raise the quota of Secrets in that namespace: each credential needs one, and a renewal one more";

/// Creates the anchor of a claim and returns its uid. If a quota leaves no room for it, spent anchors are deleted
/// first.
///
/// # Errors
///
/// If it exists and is not this run's, or cannot be created.
pub(crate) async fn create_anchor(api: &Api, mint: &Mint, claimed: &Claimed) -> Result<String, StepFailure> {
    let anchor = anchor_ref(mint, claimed);
    let mut manifest = anchor_manifest(&anchor, owner(mint, &claimed.account_uid), &mint.holder);
    manifest.metadata.annotations = Some([(RUN_ANNOTATION.to_owned(), claimed.generation.run.clone())].into());
    let request = create_request(&anchor, &manifest);
    let created = match api.object(&request, &anchor).await {
        // Spent anchors take up the room that this one needs.
        Err(failure) if failure.is_over_quota() => {
            let freed = free(api, owner(mint, &claimed.account_uid), &mint.holder, &mint.spent).await?;
            if freed == 0 {
                return Err(StepFailure::from(failure).hint(OVER_QUOTA));
            }
            // The quota's controller counts a little later.
            let waits = ConstantBuilder::default().with_delay(RECOUNT_WAIT).with_max_times(RECOUNT_TRIES);
            let created = || api.object(&request, &anchor);
            created.retry(waits).when(ApiFailure::is_over_quota).await?.value
        }
        Err(failure) if failure.is_already_exists() => {
            let existing = api.object(&Request::get(anchor.path()).metadata_only(), &anchor).await?.value;
            // With the name of this run on it, it was made by an earlier try whose response was lost.
            if existing["metadata"]["annotations"][RUN_ANNOTATION] != claimed.generation.run.as_str() {
                return Err(StepFailure::new(format!("{anchor} exists and is not this run's"))
                    .hint("see whose it is; the next run takes another number, and with it another name"));
            }
            existing
        }
        result => result?.value,
    };
    Ok(created["metadata"]["uid"].as_str().unwrap_or_default().to_owned())
}

/// Creates the standing anchor that the tokens of exec plugins are bound to. Its existence is written to the index
/// first, so that a revocation finds it.
///
/// # Errors
///
/// If issuing is suspended, the index cannot be written, or something else has the anchor's name.
pub(crate) async fn create_exec_anchor(api: &Api, step: &ExecAnchor) -> Result<(), StepFailure> {
    let account = &step.service_account;
    let mut account_uid = String::new();
    edit_index(api, account, &step.inventory, |uid, _, index| {
        uid.clone_into(&mut account_uid);
        if index.is_suspended(&step.holder) {
            return Err(suspended(&step.profile));
        }
        let changed = index.clone().with_exec_anchor(&step.holder);
        Ok((changed != index).then_some(changed))
    })
    .await?;
    let owner = AnchorOwner { account, account_uid: &account_uid, inventory: &step.inventory, profile: &step.profile };
    let anchor = owner.anchor(&step.holder, AnchorOf::Plugins);
    match api.object(&create_request(&anchor, &anchor_manifest(&anchor, owner, &step.holder)), &anchor).await {
        Ok(_) => Ok(()),
        Err(failure) if failure.is_already_exists() => {
            let existing = api.object(&Request::get(anchor.path()).metadata_only(), &anchor).await?.value;
            if anchor::is_owned_by(&existing, &account_uid) {
                return Ok(());
            }
            Err(StepFailure::new(format!("{anchor} exists and is not kubemint's"))
                .hint("see whose it is, and delete it if nobody needs it"))
        }
        Err(failure) => Err(failure.into()),
    }
}

/// Requests a token for an exec plugin, bound to the standing anchor.
///
/// # Errors
///
/// If issuing is suspended, the anchor is gone, or the API server refuses.
pub(crate) async fn request_exec_token(
    api: &Api,
    wanted: &ExecToken<'_>,
) -> Result<(SecretToken, Claims), StepFailure> {
    let (account, holder) = (wanted.service_account, wanted.holder);
    let (observed, _, index) = read_index(api, account, wanted.inventory).await?;
    if index.is_suspended(holder) {
        return Err(suspended(wanted.profile));
    }
    let owner =
        AnchorOwner { account, account_uid: &observed.uid, inventory: wanted.inventory, profile: wanted.profile };
    let anchor = owner.anchor(holder, AnchorOf::Plugins);
    let missing = || {
        StepFailure::new(format!("{anchor}, which tokens are bound to, does not exist: it was revoked, or never made"))
            .hint(wanted.if_missing)
    };
    let existing = match api.object(&Request::get(anchor.path()).metadata_only(), &anchor).await {
        Ok(answer) => answer.value,
        Err(failure) if failure.is_not_found() => return Err(missing()),
        Err(failure) => return Err(failure.into()),
    };
    if !anchor::is_owned_by(&existing, &observed.uid) {
        return Err(StepFailure::new(format!("{anchor} is not kubemint's: a token bound to it could not be revoked")));
    }
    let uid = existing["metadata"]["uid"].as_str().unwrap_or_default();
    let bound_to = (anchor.name.as_str(), uid);
    let issued = request_bound_token(api, account, wanted.seconds, wanted.audiences, bound_to).await?;
    let claims = check_token(&issued, account, &observed.uid, uid, wanted.now)?;
    Ok((issued.token, claims))
}

/// The request for the token of an exec plugin.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExecToken<'a> {
    /// The ServiceAccount.
    pub service_account: &'a ObjectRef,
    /// The inventory.
    pub inventory: &'a InventoryName,
    /// The profile.
    pub profile: &'a ProfileName,
    /// The holder.
    pub holder: &'a Holder,
    /// The requested lifetime in seconds.
    pub seconds: u64,
    /// The requested audiences.
    pub audiences: &'a [String],
    /// The current time, by this machine's clock.
    pub now: Timestamp,
    /// What to do if there is no anchor to bind it to.
    pub if_missing: &'a str,
}

fn anchor_manifest(anchor: &ObjectRef, owner: AnchorOwner<'_>, holder: &Holder) -> Secret {
    let labels = [
        (MANAGED_BY_LABEL, MANAGED_BY),
        (INVENTORY_LABEL, owner.inventory.as_str()),
        (PROFILE_LABEL, owner.profile.as_str()),
        (HOLDER_LABEL, holder.as_str()),
    ];
    let account = OwnerReference {
        api_version: "v1".to_owned(),
        kind: "ServiceAccount".to_owned(),
        name: owner.account.name.clone(),
        uid: owner.account_uid.to_owned(),
        // `blockOwnerDeletion` is not set, because it would need a right on finalizers.
        ..OwnerReference::default()
    };
    Secret {
        metadata: ObjectMeta {
            name: Some(anchor.name.clone()),
            namespace: anchor.namespace.clone(),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            owner_references: Some(vec![account]),
            ..ObjectMeta::default()
        },
        type_: Some(ANCHOR_TYPE.to_owned()),
        ..Secret::default()
    }
}

fn create_request(anchor: &ObjectRef, manifest: &Secret) -> Request {
    Request::post(anchor.collection_path(), manifest).query("fieldManager", FIELD_MANAGER).metadata_only()
}

/// Requests the token of a claim, bound to its anchor.
///
/// The lifetime is taken from the response, because the API server shortens it without an error. The number is how many
/// seconds the response's `Date` is ahead of the API server's own time, if that matters.
///
/// # Errors
///
/// If the API server refuses, or answers with a token for something else.
pub(crate) async fn request_token(
    api: &Api,
    mint: &Mint,
    claimed: &Claimed,
    anchor_uid: &str,
    now: Timestamp,
) -> Result<(Credential, Option<i64>), StepFailure> {
    let account = &mint.service_account;
    let anchor = anchor_ref(mint, claimed);
    let bound_to = (anchor.name.as_str(), anchor_uid);
    let seconds = life(mint, claimed.generation.claimed_at)?;
    let issued = request_bound_token(api, account, seconds, &mint.audiences, bound_to).await?;
    let claims = check_token(&issued, account, &claimed.account_uid, anchor_uid, now)?;
    let facts = CredentialFacts {
        kind: KIND_TOKEN.to_owned(),
        generation: mint.generation,
        anchor: anchor.name,
        anchor_uid: anchor_uid.to_owned(),
        issued: claims.issued,
        requested_seconds: seconds,
        // If the token and the response differ, the earlier time counts.
        expires: issued.expires.min(claims.expires),
    };
    let date_ahead = issued.date.map(|date| date.duration_since(claims.issued).as_secs());
    Ok((Credential { facts, token: issued.token }, date_ahead.filter(|ahead| ahead.abs() > TOLERATED_SECONDS)))
}

/// Returns how long the token of a mint lives, in seconds. It is asked for some time after it was planned, and must not
/// outlive its grant; `claimed` is when it was claimed, by the cluster's clock.
fn life(mint: &Mint, claimed: Timestamp) -> Result<u64, StepFailure> {
    /// Between the claim and the token the anchor is made, and times have whole seconds.
    const MARGIN: SignedDuration = SignedDuration::from_secs(5);
    let Some(expires) = mint.not_after else { return Ok(mint.ttl_seconds) };
    let period = Period { starts: None, expires: Some(expires) };
    period.life(mint.ttl_seconds, SHORTEST_LIFE, later(claimed, MARGIN)).ok_or_else(|| {
        let profile = &mint.grant.profile;
        StepFailure::new(format!(
            "the grant of `{profile}` ends at {expires}, and no token lives for less than 10 minutes"
        ))
    })
}

/// A token as the API server issued it.
struct Issued {
    token: SecretToken,
    /// When it expires, as the response says.
    expires: Timestamp,
    /// The `Date` of the response, whoever set it.
    date: Option<Timestamp>,
}

/// Turns a refused request for a token into a failure that names what of the profile it depends on.
fn not_issued(failure: ApiFailure) -> StepFailure {
    let is_about_life = failure.status().is_some_and(|status| status.message.contains("expirationSeconds"));
    let hint = match failure.gate() {
        Some(gate @ (Gate::Policy(_) | Gate::Webhook(_))) => {
            Some(format!("see whether `ttl` or `audiences` of the profile's `token` are refused; {}", gate.hint()))
        }
        _ if is_about_life => Some("change `ttl` of the profile's `token`".to_owned()),
        _ => None,
    };
    let failure = StepFailure::from(failure);
    StepFailure { hint: hint.or(failure.hint.clone()), ..failure }
}

/// Requests a token that is bound to a Secret, by name and uid.
async fn request_bound_token(
    api: &Api,
    account: &ObjectRef,
    seconds: u64,
    audiences: &[String],
    (anchor, anchor_uid): (&str, &str),
) -> Result<Issued, StepFailure> {
    let spec = TokenRequestSpec {
        expiration_seconds: Some(i64::try_from(seconds).unwrap_or(i64::MAX)),
        // Without audiences the API server uses its own.
        audiences: (!audiences.is_empty()).then(|| audiences.to_vec()),
        bound_object_ref: Some(BoundObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Secret".to_owned()),
            name: Some(anchor.to_owned()),
            uid: Some(anchor_uid.to_owned()),
        }),
        ..TokenRequestSpec::default()
    };
    let body = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
    let answer = api.send(&Request::post(format!("{}/token", account.path()), body)).await.map_err(not_issued)?;
    let status = &answer.value["status"];
    let unreadable = |what: &str| StepFailure::new(format!("the API server's answer has no {what}"));
    let token = SecretToken::new(status["token"].as_str().ok_or_else(|| unreadable("token"))?);
    let expires = status["expirationTimestamp"].as_str().and_then(|text| text.parse().ok());
    let expires = expires.ok_or_else(|| unreadable("expirationTimestamp"))?;
    Ok(Issued { token, expires, date: answer.date })
}

/// Checks that a token is bound to its anchor, is for the ServiceAccount that was read, and has not expired; `now` is
/// by this machine's clock.
fn check_token(
    issued: &Issued,
    account: &ObjectRef,
    account_uid: &str,
    anchor_uid: &str,
    now: Timestamp,
) -> Result<Claims, StepFailure> {
    let claims =
        Claims::of(&issued.token).map_err(|error| StepFailure::new(format!("the token is unusable: {error}")))?;
    if claims.anchor_uid.as_deref() != Some(anchor_uid) {
        return Err(StepFailure::new("the token is not bound to its anchor, so it could not be revoked"));
    }
    if claims.service_account_uid.as_deref() != Some(account_uid) {
        return Err(StepFailure::new(format!("{account} was recreated meanwhile")));
    }
    let expires = issued.expires.min(claims.expires);
    // A token counts as expired only if it is by both clocks: the API server's own may be behind that of a gateway.
    let is_over = expires <= now && issued.date.is_none_or(|date| expires <= date);
    if is_over || expires <= claims.issued {
        let apart = now.duration_since(claims.issued).as_secs();
        let direction = if apart < 0 { "ahead of" } else { "behind" };
        return Err(StepFailure::new(format!(
            "the API server issued a token that expired at {expires}: by its clock it is {}, {} {direction} this machine's",
            claims.issued,
            crate::wording::duration(Duration::from_secs(apart.unsigned_abs())),
        ))
        .hint("set the clock of the API server, or see what answers in its place"));
    }
    Ok(claims)
}

/// Records in the index that the outputs of a generation are written.
///
/// # Errors
///
/// If the index cannot be written. The outputs hold the credential nevertheless, and a later run records it.
pub(crate) async fn record(
    api: &Api,
    account: &ObjectRef,
    inventory: &InventoryName,
    holder: &Holder,
    generation: &Generation,
) -> Result<(), StepFailure> {
    edit_index(api, account, inventory, |_, date, index| {
        let dropped = || {
            StepFailure::new(format!(
                "generation {} is written, but another run took it for abandoned and has revoked it",
                generation.n
            ))
            .hint("run it again to mint a new one")
        };
        let now = date.or(generation.issued).unwrap_or(generation.claimed_at);
        let ahead = SignedDuration::from_secs(generation.date_ahead.unwrap_or_default());
        let now = now.checked_sub(ahead).unwrap_or(now);
        index.record(holder, generation.clone(), now).ok_or_else(dropped).map(Some)
    })
    .await
}

/// Takes back a claim that will not be published: deletes its anchor, so that its token, which nobody holds, no longer
/// works, and then its line in the index.
///
/// # Errors
///
/// If either fails; a later run then removes it as an orphan.
pub(crate) async fn abandon(api: &Api, mint: &Mint, claimed: &Claimed, anchor_uid: &str) -> Result<(), StepFailure> {
    anchor::delete(api, &anchor_ref(mint, claimed), anchor_uid).await?;
    edit_index(api, &mint.service_account, &mint.inventory, |_, _, index| {
        let stands = index.has_claim(&mint.holder, &claimed.generation);
        Ok(stands.then(|| index.without(&mint.holder, &[mint.generation])))
    })
    .await
}

fn owner<'a>(mint: &'a Mint, account_uid: &'a str) -> AnchorOwner<'a> {
    AnchorOwner {
        account: &mint.service_account,
        account_uid,
        inventory: &mint.inventory,
        profile: &mint.grant.profile,
    }
}

fn anchor_ref(mint: &Mint, claimed: &Claimed) -> ObjectRef {
    owner(mint, &claimed.account_uid).anchor(&mint.holder, AnchorOf::Generation(mint.generation))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Response;
    use kube::client::Body;
    use tower_test::mock;

    use super::*;
    use crate::cluster::Limits;
    use crate::cluster::transport::Client;
    use serde_json::json;

    use crate::credential::Index;
    use crate::names::INDEX_ANNOTATION;
    use crate::object::Kind;

    /// If another run dropped a generation, it was revoked, so recording it must fail.
    #[tokio::test]
    async fn a_generation_that_left_the_index_is_not_recorded_as_done() {
        let (service, mut server) = mock::pair::<http::Request<Body>, Response<Body>>();
        let limits = Limits::new(Duration::from_secs(10), Duration::from_secs(60));
        let api = Api::new(Client::new(service), "https://api", limits);
        let serve = async {
            let (request, reply) = server.next_request().await.unwrap();
            assert_eq!(request.uri(), "/api/v1/namespaces/ci/serviceaccounts/deployer");
            let account = json!({"kind": "ServiceAccount", "metadata": {
                "name": "deployer", "namespace": "ci", "uid": "u", "resourceVersion": "7",
                "labels": {MANAGED_BY_LABEL: MANAGED_BY, INVENTORY_LABEL: "acme"},
                "annotations": {INDEX_ANNOTATION: Index::default().to_annotation()},
            }});
            reply.send_response(Response::new(Body::from(account.to_string().into_bytes())));
        };
        let account = ObjectRef::namespaced(Kind::ServiceAccount, "ci", "deployer");
        let generation = Generation {
            n: 4,
            kind: KIND_TOKEN.to_owned(),
            run: "run".to_owned(),
            claimed_at: Timestamp::UNIX_EPOCH,
            policy: String::new(),
            anchor: "anchor".to_owned(),
            requested_seconds: 3600,
            anchor_uid: None,
            issued: None,
            expires: None,
            jti: None,
            date_ahead: None,
            published: None,
            in_secrets: false,
            other: serde_json::Map::new(),
        };
        let (inventory, holder) = ("acme".into(), Holder::new("default"));
        let (result, ()) = tokio::join!(record(&api, &account, &inventory, &holder, &generation), serve);
        assert!(result.unwrap_err().cause.contains("generation 4 is written, but another run"));
    }

    /// An expired token would be published, found expired and minted again in every run.
    #[test]
    fn a_token_that_has_expired_already_is_not_published() {
        let account = ObjectRef::namespaced(Kind::ServiceAccount, "ci", "deployer");
        let at = |seconds: i64| Timestamp::from_second(seconds).unwrap();
        // The `Date` of the response, this machine's time, and three times of the token: issued, expires, expires as
        // the response says.
        let check = |date: Option<i64>, now: i64, [issued, expires, said]: [i64; 3]| {
            let token = crate::credential::tests_support::token(&json!({
                "sub": "system:serviceaccount:ci:deployer", "iat": issued, "exp": expires,
                "kubernetes.io": {"serviceaccount": {"uid": "u"}, "secret": {"name": "a", "uid": "s"}},
            }));
            let issued = Issued { token, expires: at(said), date: date.map(at) };
            check_token(&issued, &account, "u", "s", at(now)).map(drop)
        };
        assert_eq!(check(Some(1000), 1000, [1000, 4600, 4600]), Ok(()));
        assert_eq!(check(None, 1000, [1000, 4600, 4600]), Ok(()));
        assert!(check(Some(9000), 9000, [1000, 4600, 4600]).is_err(), "by both clocks it is over");
        assert!(check(Some(1000), 1000, [1000, 4600, 900]).is_err(), "by what the answer says it is over");
        assert_eq!(
            check(Some(9000), 1000, [1000, 4600, 4600]),
            Ok(()),
            "what stands before the server has its own clock"
        );
        assert_eq!(check(Some(1000), 9000, [1000, 4600, 4600]), Ok(()), "this machine has its own clock");
        assert!(check(Some(1000), 1000, [5000, 4600, 4600]).is_err(), "it never lives");
    }
}
