//! `kubemint credential`: the client-go exec plugin. It prints one `ExecCredential` or nothing.
//!
//! kubectl runs it in every process, so a token is kept in a private cache, and a cached token is found without opening
//! the inventory. A token lives for an hour, or for as long as `--min-left` asks, and is bound to the grant's standing
//! anchor, which `revoke` deletes.

mod wanted;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use self::wanted::Wanted;
use super::session::block_on;
use super::{CommandContext, load, printed};
use crate::cli::CredentialArgs;
use crate::cluster::issue::{ExecToken, request_exec_token};
use crate::cluster::observe::identify;
use crate::cluster::verify::distrust;
use crate::cluster::{
    AdminSources, Api, Insecure, Limits, connect_admin, connect_consumer, connect_with, consumer_endpoint,
};
use crate::credential::{Claims, policy_fingerprint};
use crate::desired::{service_account, service_account_user};
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::failure::StepFailure;
use crate::foreign::shown;
use crate::inventory::{Grant, GrantKey, Inventory, Phase, VerifyVia};
use crate::kubeconfig::exec::{CachedToken, ExecInfo, reply, told_expiry};
use crate::names::{cache_name, token_file_name};
use crate::output::Printer;
use crate::plan::SHORTEST_LIFE;
use crate::secret::SecretToken;
use crate::store::{Awaited, StoreError, forget, lock_private, process_identity, read_private, remember};
use crate::wording::{command, duration};

/// The limit for all of minting: kubectl waits for it, and other processes wait for the lock.
const LIMIT: Duration = Duration::from_secs(30);

/// Prints a credential for the grant that the arguments name.
pub(super) fn run(context: &CommandContext<'_>, args: &CredentialArgs) -> Result<ExitCode, Error> {
    let ExecInfo { version, cluster } =
        ExecInfo::parse(context.environment.exec_info.as_deref()).map_err(Error::usage)?;
    let wanted = &Wanted::new(args, cluster)?;
    let now = context.environment.clock.now();
    let (token, expires) = match &wanted.args.from {
        Some(directory) => from_directory(context, wanted, directory, now)?,
        None => from_cache(context, wanted)?,
    };
    let now = context.environment.clock.now();
    if let Some(least) = wanted.args.min_left.filter(|_| !wanted.lasts(expires, now)) {
        let cause = format!("the token expires at {expires}, and `--min-left {}` is asked for", duration(least));
        return Err(failed(wanted).because(cause).hint(
            "set a longer `ttl` in the profile's `token`, see whether the API server shortens it (`kubemint plan` says so), \
             or ask for less",
        ));
    }
    let told = told_expiry(expires, context.environment.clock.now()).ok_or_else(|| {
        failed(wanted).because(format!("the token expires at {expires}, which is too near to be of use"))
    })?;
    printed(Printer::bytes(&reply(version, &token, told)))?;
    Ok(ExitCode::Done)
}

fn failed(wanted: &Wanted<'_>) -> Error {
    let (profile, cluster) = (&wanted.args.profile, &wanted.cluster);
    Error::new(ExitCode::AllFailed, format!("no valid credential for `{profile}` in cluster `{cluster}`"))
}

/// Reads a token from a directory that a refresher writes.
fn from_directory(
    context: &CommandContext<'_>,
    wanted: &Wanted<'_>,
    directory: &Path,
    now: Timestamp,
) -> Result<(SecretToken, Timestamp), Error> {
    let name = token_file_name(&wanted.args.profile.as_str().into(), &wanted.cluster.as_str().into());
    let path = context.environment.directory.join(directory).join(name);
    let refreshed = "see whether `kubemint refresh` runs where that directory is written";
    let because = |cause: String| failed(wanted).because(cause).hint(refreshed);
    let bytes = crate::store::read(&path).map_err(|error| because(error.to_string()))?;
    let bytes = bytes.ok_or_else(|| because(format!("`{}` does not exist", path.display())))?;
    let text = String::from_utf8(bytes).map_err(|_| because(format!("`{}` is not UTF-8", path.display())))?;
    let token = SecretToken::new(text.trim());
    let claims = Claims::of(&token).map_err(|error| because(format!("`{}` is unusable: {error}", path.display())))?;
    if told_expiry(claims.expires, now).is_none() {
        return Err(because(format!("the token in `{}` expires at {}", path.display(), claims.expires)));
    }
    Ok((token, claims.expires))
}

/// Returns a token from the cache, or mints one and puts it there. Without a usable cache it mints.
fn from_cache(context: &CommandContext<'_>, wanted: &Wanted<'_>) -> Result<(SecretToken, Timestamp), Error> {
    let began = context.environment.clock.now();
    let now = || context.environment.clock.now();
    let without_cache = |why: &str| {
        context.printer.problem(&format!("warning: tokens are not cached: {}\n", shown(why)));
        let obtained = mint(context, wanted, None)?.map_err(|failure| failure.into_error(wanted))?;
        Ok((obtained.token, obtained.expires))
    };
    let key = cache_key(context, wanted);
    let Some(path) = cache_path(context, &key) else {
        return without_cache("there is no `HOME` and no `XDG_CACHE_HOME`");
    };
    let sharing = context.sharing();
    let read = || {
        let bytes = read_private(&path, sharing)?;
        Ok::<_, StoreError>(
            bytes
                .and_then(|bytes| CachedToken::parse(&bytes, &key))
                .filter(|cached| cached.is_fresh(now()) && wanted.lasts(cached.expires, now())),
        )
    };
    let describe = |error: &StoreError| crate::executor::publish::describe(error).cause;
    let cached = match read() {
        Ok(cached) => cached,
        Err(error) => return without_cache(&describe(&error)),
    };
    let (callers, failures) = (path.with_extension("callers"), path.with_extension("failure"));
    let caller = process_identity(context.environment.parent);
    let mut is_asked_again = false;
    if let Some(cached) = cached {
        // client-go asks again in the same process when the token it got was refused. If the list of callers cannot be
        // written, this counts as the first call.
        if let Some(caller) = &caller {
            is_asked_again = remember(&callers, caller, sharing).unwrap_or_default();
        }
        if !is_asked_again || cached.is_just_proven(now()) {
            return Ok((cached.token, cached.expires));
        }
    }
    let is_good = |cached: &CachedToken| !is_asked_again || cached.is_just_proven(now());
    // Who waits needs no lock if the token comes meanwhile: a hundred processes would take turns for long.
    let lock = match lock_private(&path, LIMIT, sharing, || read().ok().flatten().filter(is_good)) {
        Ok(Awaited::Lock(lock)) => lock,
        Ok(Awaited::Left(cached)) => return Ok((cached.token, cached.expires)),
        Err(error) => return without_cache(&describe(&error)),
    };
    // The process that held the lock may meanwhile have minted or tried a token, or have failed to get one.
    let suspect = match read() {
        Ok(Some(cached)) if is_good(&cached) => {
            return Ok((cached.token, cached.expires));
        }
        Ok(suspect) => suspect,
        Err(error) => return without_cache(&describe(&error)),
    };
    if let Some(failure) =
        read_private(&failures, sharing).ok().flatten().and_then(|bytes| SharedFailure::parse(&bytes))
        && (began..=now()).contains(&failure.at)
    {
        return Err(failed(wanted).because(failure.cause));
    }
    let obtained = match mint(context, wanted, suspect.as_ref())? {
        Ok(obtained) => obtained,
        Err(failure) => {
            // A cached token that still works is better than none, unless the caller was refused with it.
            let old = read_private(&path, sharing).ok().flatten().and_then(|bytes| CachedToken::parse(&bytes, &key));
            let is_of_use =
                |old: &CachedToken| told_expiry(old.expires, now()).is_some() && wanted.lasts(old.expires, now());
            let old = old.filter(|old| !is_asked_again && is_of_use(old));
            return match (failure, old) {
                (Obtaining::Failed(_), Some(old)) => Ok((old.token, old.expires)),
                (failure, _) => {
                    if let Obtaining::Failed(failure) = &failure {
                        let shared = SharedFailure { at: now(), cause: failure.cause.clone() };
                        // If this cannot be written, waiting processes learn it from the cluster a little later.
                        drop(lock.write(&failures, &shared.render()));
                    }
                    Err(failure.into_error(wanted))
                }
            };
        }
    };
    let is_new = suspect.is_none_or(|suspect| !suspect.token.is_same_as(&obtained.token));
    let kept = lock
        .write(&path, &obtained.render(&key))
        .and_then(|()| if is_new { forget(&callers, sharing) } else { Ok(()) });
    if let Err(error) = kept {
        context.printer.problem(&format!("warning: the token is not cached: {}\n", shown(&describe(&error))));
    } else if let Some(caller) = caller.filter(|_| is_new) {
        // As above: if it cannot be written, the next call counts as the first.
        remember(&callers, &caller, sharing).unwrap_or_default();
    }
    Ok((obtained.token, obtained.expires))
}

/// Obtains a token within the limit.
fn mint(
    context: &CommandContext<'_>,
    wanted: &Wanted<'_>,
    suspect: Option<&CachedToken>,
) -> Result<Result<CachedToken, Obtaining>, Error> {
    block_on(async {
        let late = || StepFailure::late(LIMIT);
        let obtained = tokio::time::timeout(LIMIT, obtain(context, wanted, suspect)).await;
        obtained.unwrap_or_else(|_| Err(late().into()))
    })
}

/// Why a token could not be obtained, for processes that wait for the same one.
#[derive(Serialize, Deserialize)]
struct SharedFailure {
    at: Timestamp,
    cause: String,
}

impl SharedFailure {
    fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    fn render(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a failure consists of a time and text")
    }
}

/// Returns the key of the cache: everything that distinguishes tokens is part of it, and where the client sends them.
fn cache_key(context: &CommandContext<'_>, wanted: &Wanted<'_>) -> String {
    let inventory = context.environment.directory.join(&context.global.inventory);
    let mut key = vec![inventory.display().to_string()];
    key.extend(wanted.distinctions());
    let key: Vec<&str> = key.iter().map(String::as_str).collect();
    cache_name(&key)
}

/// Returns the path of the cache, if there is one.
fn cache_path(context: &CommandContext<'_>, key: &str) -> Option<PathBuf> {
    let directory = context.environment.cache.as_ref()?;
    Some(directory.join("credentials").join(format!("{key}.json")))
}

/// Why no token was obtained.
enum Obtaining {
    /// The inventory cannot be used as it is.
    Unusable(Error),
    /// The cluster did not give one.
    Failed(StepFailure),
}

impl From<StepFailure> for Obtaining {
    fn from(failure: StepFailure) -> Self {
        Self::Failed(failure)
    }
}

impl Obtaining {
    fn into_error(self, wanted: &Wanted<'_>) -> Error {
        match self {
            Self::Unusable(error) => error,
            Self::Failed(StepFailure { cause, hint, .. }) => Error { hint, ..failed(wanted).because(cause) },
        }
    }
}

/// Returns how long a token lives, in seconds: no token outlives its grant.
fn life(grant: &Grant, wanted: u64, now: Timestamp) -> Result<u64, StepFailure> {
    let profile = &grant.profile.name;
    let outside =
        |what: String| StepFailure::new(what).hint("see `starts` and `expires` of the grant in the inventory");
    match (grant.period.phase(now), grant.period.starts, grant.period.expires) {
        (Phase::Before, Some(starts), _) => Err(outside(format!("the grant of `{profile}` begins at {starts}"))),
        (Phase::After, _, Some(expires)) => Err(outside(format!("the grant of `{profile}` ended at {expires}"))),
        (_, _, expires) => grant.period.life(wanted, SHORTEST_LIFE, now).ok_or_else(|| {
            let expires = expires.map(|expires| expires.to_string()).unwrap_or_default();
            outside(format!("the grant of `{profile}` ends at {expires}, and no token lives for less than 10 minutes"))
        }),
    }
}

/// Mints a token with the caller's own admin access. `refused` is a token that the caller may have been refused with;
/// if it still works, it is returned again.
async fn obtain(
    context: &CommandContext<'_>,
    wanted: &Wanted<'_>,
    refused: Option<&CachedToken>,
) -> Result<CachedToken, Obtaining> {
    let inventory = inventory(context, wanted).await.map_err(Obtaining::Unusable)?;
    let grant = grant(&inventory, wanted).map_err(Obtaining::Unusable)?;
    let policy = &grant.profile.token;
    if let Some(least) = wanted.args.min_left.filter(|least| least.saturating_add(Duration::from_secs(1)) > policy.ttl)
    {
        let (ttl, least) = (duration(policy.ttl), duration(least));
        let cause =
            format!("tokens of `{}` live for {ttl}, and `--min-left {least}` is asked for", wanted.args.profile);
        let failure = StepFailure::new(cause).hint("set a longer `ttl` in the profile's `token`, or ask for less");
        return Err(Obtaining::Failed(failure));
    }
    let clock = context.environment.clock;
    let seconds = policy.ttl.as_secs().min(wanted.life());
    let seconds = life(grant, seconds, clock.now())?;
    if wanted.args.policy.as_ref().is_some_and(|hash| *hash != policy_fingerprint(policy)) {
        context.printer.remark(&format!(
            "warning: the token policy of `{}` changed since this kubeconfig was written; `kubemint apply` renews it\n",
            wanted.args.profile
        ));
    }
    let run = &inventory.run;
    let limits = Limits::new(run.request_timeout, run.cluster_timeout.min(LIMIT));
    let sources = AdminSources::load([&grant.cluster.admin], &context.environment.admin, run.cluster_timeout);
    let admin = sources
        .resolve(&grant.cluster.admin, Insecure::of(&grant.cluster), || clock.now())
        .await
        .map_err(StepFailure::from)?;
    let endpoint = consumer_endpoint(&grant.cluster, &admin.endpoint());
    let endpoint = endpoint.map_err(|error| StepFailure::new(error.to_string()))?;
    wanted.check_endpoint(&endpoint)?;
    if let Some(refused) = refused {
        let api = match grant.cluster.consumer.verify {
            VerifyVia::Admin => connect_with(&admin, &refused.token, sources.network(), limits),
            VerifyVia::Endpoint => connect_consumer(&endpoint, &refused.token, sources.network(), limits),
        };
        let api = api.map_err(|error| StepFailure::new(error.to_string()))?;
        if distrust(&api, &service_account_user(grant)).await.map_err(StepFailure::from)?.is_none() {
            return Ok(CachedToken { proven: clock.now(), ..refused.clone() });
        }
    }
    let api = connect_admin(&admin, sources.network(), limits).map_err(|error| StepFailure::new(error.to_string()))?;
    check_cluster(&api, wanted, || clock.now()).await?;
    let account = service_account(grant);
    let audiences = if wanted.args.audience.is_empty() { &policy.audiences } else { &wanted.args.audience };
    let wanted = ExecToken {
        service_account: &account,
        inventory: &inventory.name,
        profile: &grant.profile.name,
        holder: &inventory.holder,
        seconds,
        audiences,
        if_missing: if inventory.has_minting_plugin(&grant.key()) {
            "run `kubemint apply`"
        } else {
            "add an output with `credential = \"exec\"` for this grant, which the inventory lacks, and run `kubemint apply`"
        },
        now: clock.now(),
    };
    let (token, claims) = request_exec_token(&api, &wanted).await?;
    // The expiry is computed from the lifetime, which is exact even if the two clocks differ.
    let now = clock.now();
    let expires = now.checked_add(claims.expires.duration_since(claims.issued)).unwrap_or(claims.expires);
    Ok(CachedToken { token, proven: now, expires })
}

/// Checks that the cluster that is about to mint is the one that the kubeconfig was written for.
async fn check_cluster(api: &Api, wanted: &Wanted<'_>, now: impl Fn() -> Timestamp) -> Result<(), StepFailure> {
    let Some(uid) = &wanted.args.cluster_uid else { return Ok(()) };
    match identify(api, now).await {
        Ok(identity) if identity.uid != *uid => {
            let cause =
                format!("`{}` is another cluster than the one that this kubeconfig was written for", wanted.cluster);
            Err(wanted.is_of_another(cause))
        }
        Ok(_) => Ok(()),
        // A caller without the right to read the namespace may still mint.
        Err(failure) if failure.is_forbidden() => Ok(()),
        Err(failure) => Err(failure.into()),
    }
}

async fn inventory(context: &CommandContext<'_>, wanted: &Wanted<'_>) -> Result<Inventory, Error> {
    let path = context.global.inventory.display();
    let resolution = load::resolve(context, wanted.args.holder.as_deref()).await?;
    let inventory = resolution.inventory.ok_or_else(|| {
        Error::new(ExitCode::InvalidInventory, format!("invalid inventory `{path}`"))
            .hint(format!("run `{}`", command(&["kubemint", "validate", "-f", &path.to_string()])))
    })?;
    match &wanted.args.inventory_name {
        Some(name) if name != inventory.name.as_str() => {
            let cause = format!("it is `{}`, and this kubeconfig was written for `{name}`", inventory.name);
            Err(Error::new(ExitCode::InvalidInventory, format!("`{path}` is another inventory")).because(cause))
        }
        _ => Ok(inventory),
    }
}

/// Finds the grant that the arguments name.
fn grant<'a>(inventory: &'a Inventory, wanted: &Wanted<'_>) -> Result<&'a Arc<Grant>, Error> {
    let key = GrantKey { cluster: wanted.cluster.as_str().into(), profile: wanted.args.profile.as_str().into() };
    inventory.grant(&key).ok_or_else(|| {
        let (profile, cluster) = (&wanted.args.profile, &wanted.cluster);
        Error::new(ExitCode::InvalidInventory, format!("the inventory gives `{profile}` no access to `{cluster}`"))
            .hint("see whether the grant was withdrawn; `kubemint plan` shows what there is")
    })
}
