//! Admin access that stands in a Secret of another cluster: read when its cluster is worked on, and held in memory only.
//!
//! A Secret is what whoever may write there put into it. So what it leads to is checked like a file, and it may neither run
//! a program nor name a file of this machine, unless the inventory allows that (`allow-exec`).

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use super::error::{AdminError, Problem};
use super::file::{AdminFile, ByName, ClusterFields, ContextFields, Data, ExecFields, ExecVariable, UserFields};
use super::seen::Leads;
use super::source::Source;
use super::{AdminSources, Insecure};
use crate::cluster::api::{Api, Limits, Request};
use crate::cluster::connect::connect_admin;
use crate::delivery::is_minted;
use crate::failure::ApiFailure;
use crate::inventory::{AdminSecret, DiscoveryHub, DiscoveryPreset};
use crate::names::{MANAGED_BY, MANAGED_BY_LABEL};
use crate::object::{Kind, ObjectRef};

/// A hub that did not respond is asked again after so long.
const DOWN_FOR: Duration = Duration::from_secs(15);

/// The longest time for one request to a hub.
const LONGEST: Duration = Duration::from_secs(10);

/// The connections to the clusters that hold the access of others: one each, over which one request goes after another.
#[derive(Debug)]
pub(super) struct SecretHubs {
    by_hub: Mutex<HashMap<Arc<DiscoveryHub>, Arc<tokio::sync::Mutex<State>>>>,
    limit: Duration,
}

/// What is known of a hub.
enum State {
    Unconnected,
    Connected(Api),
    Down(AdminError, Instant),
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("State")
    }
}

/// The connection of a hub, which nobody else uses meanwhile.
pub(crate) struct HubLease {
    state: tokio::sync::OwnedMutexGuard<State>,
    pub(crate) api: Api,
}

impl HubLease {
    /// Gives the connection back, and makes an error of a failure.
    pub(crate) fn end<T>(mut self, done: Result<T, ApiFailure>) -> Result<T, AdminError> {
        let is_down = done.as_ref().is_err_and(|failure| failure.code().is_none());
        let done = done.map_err(|failure| AdminError::Access(Problem::new(failure.to_string())));
        *self.state = match &done {
            Err(error) if is_down => State::Down(error.clone(), Instant::now()),
            Ok(_) | Err(_) => State::Connected(self.api),
        };
        done
    }
}

impl SecretHubs {
    pub(super) fn new(limit: Duration) -> Self {
        Self { by_hub: Mutex::default(), limit: limit.min(LONGEST) }
    }

    fn state(&self, hub: &Arc<DiscoveryHub>) -> Arc<tokio::sync::Mutex<State>> {
        let mut by_hub = self.by_hub.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(tokio::sync::Mutex::new(State::Unconnected));
        Arc::clone(by_hub.entry(Arc::clone(hub)).or_insert_with(new))
    }
}

impl AdminSources {
    /// Waits for the connection of a hub, and makes one where there is none.
    ///
    /// # Errors
    ///
    /// If it cannot be used, or did not respond a moment ago.
    pub(crate) async fn lease_hub(
        &self,
        hub: &Arc<DiscoveryHub>,
        now: impl Fn() -> Timestamp,
    ) -> Result<HubLease, AdminError> {
        let mut state = self.hubs.state(hub).lock_owned().await;
        // If the lease is dropped half-way, the connection goes with it.
        let limits = Limits::new(self.hubs.limit, self.hubs.limit * 2);
        let api = match std::mem::replace(&mut *state, State::Unconnected) {
            State::Down(error, since) if since.elapsed() < DOWN_FOR => {
                *state = State::Down(error.clone(), since);
                return Err(error);
            }
            State::Connected(api) => api.go_on(limits),
            State::Unconnected | State::Down(..) => match self.connect_hub(hub, now, limits).await {
                Ok(api) => api,
                Err(error) => {
                    *state = State::Down(error.clone(), Instant::now());
                    return Err(error);
                }
            },
        };
        Ok(HubLease { state, api })
    }

    async fn connect_hub(
        &self,
        hub: &DiscoveryHub,
        now: impl Fn() -> Timestamp,
        limits: Limits,
    ) -> Result<Api, AdminError> {
        let insecure = if hub.allow_insecure { Insecure::Allowed } else { Insecure::Refused };
        // A hub is never one that is discovered itself, which resolving an inventory makes sure of.
        let entry = self.resolve_own(&hub.access, insecure, now).await?;
        connect_admin(&entry, &self.network, limits).map_err(|error| AdminError::Access(error.to_string().into()))
    }

    /// Reads the kubeconfig of a Secret, whatever form it has there.
    pub(super) async fn read_secret(
        &self,
        secret: &AdminSecret,
        now: impl Fn() -> Timestamp,
    ) -> Result<Source, AdminError> {
        let lease = self.lease_hub(&secret.hub, now).await.map_err(|error| of_secret(secret, error))?;
        let read = read_objects(&lease.api, secret).await;
        let (found, profile) = lease.end(read).map_err(|error| of_secret(secret, error))?;
        let file = kubeconfig_of(&found, secret, profile.as_ref())
            .map_err(|cause| of_secret(secret, AdminError::Access(cause.into())))?;
        Ok(Source::of(format!("`{secret}`"), file))
    }
}

/// Reads a Secret, and the ClusterProfile that it is for.
async fn read_objects(api: &Api, secret: &AdminSecret) -> Result<(Value, Option<Value>), ApiFailure> {
    let object = ObjectRef::delivered(&secret.namespace, &secret.name);
    let found = api.object(&Request::get(object.path()), &object).await?.value;
    let Some((namespace, name)) = secret.profile.as_ref().and_then(|profile| profile.split_once('/')) else {
        return Ok((found, None));
    };
    let object = ObjectRef::namespaced(Kind::ClusterProfile, namespace, name);
    Ok((found, Some(api.object(&Request::get(object.path()), &object).await?.value)))
}

/// Says which Secret an error is about.
pub(super) fn of_secret(secret: &AdminSecret, error: AdminError) -> AdminError {
    let problem = match error {
        AdminError::Access(problem) => problem,
        error => Problem::new(error.to_string()),
    };
    AdminError::Access(Problem { what: format!("`{secret}`: {}", problem.what), ..problem })
}

/// Whether an object carries kubemint's label: what it delivered is access that it gave, not access that it was given.
pub(crate) fn is_delivered(object: &Value) -> bool {
    object["metadata"]["labels"][MANAGED_BY_LABEL] == MANAGED_BY
}

/// Reads the admin access in a Secret as a kubeconfig.
///
/// # Errors
///
/// If it has none, or one that would run a program or read a file and may not.
fn kubeconfig_of(object: &Value, secret: &AdminSecret, profile: Option<&Value>) -> Result<AdminFile, String> {
    if is_delivered(object) {
        return Err("kubemint delivered it, so it is access that kubemint gave".to_owned());
    }
    read_kubeconfig(object, secret, profile)
}

/// Reads the access in a Secret as a kubeconfig, whoever gave it.
fn read_kubeconfig(object: &Value, secret: &AdminSecret, profile: Option<&Value>) -> Result<AdminFile, String> {
    let data = |key: &str| -> Option<Vec<u8>> { STANDARD.decode(object["data"][key].as_str()?).ok() };
    let text = |key: &str| data(key).and_then(|bytes| String::from_utf8(bytes).ok());
    let path = PathBuf::from(secret.to_string());
    let file = match (secret.hub.preset, &secret.profile) {
        (DiscoveryPreset::Argocd, _) => argocd(&path, text("server"), text("config"))?,
        (_, Some(_)) => {
            let cluster =
                profile.and_then(secretreader).ok_or("its ClusterProfile has no access provider `secretreader`")?;
            let cluster = ClusterFields::deserialize(cluster).map_err(|_| "its ClusterProfile says no cluster")?;
            let token = text("token").ok_or("it has no `token`")?;
            one(&path, cluster, UserFields { token: Some(SecretString::from(token)), ..UserFields::default() })
        }
        (_, None) => {
            let key = key_of(secret);
            let text = text(key).ok_or_else(|| format!("it has no text under the key `{key}`"))?;
            AdminFile::parse(&path, &text).map_err(|error| error.to_string())?
        }
    };
    if !secret.hub.allow_exec {
        refuse_exec(&file)?;
    }
    Ok(file)
}

/// Returns where the kubeconfig in a Secret leads.
///
/// # Errors
///
/// If there is no kubeconfig, or it cannot be used.
pub(crate) fn discovered_kubeconfig(
    object: &Value,
    secret: &AdminSecret,
    profile: Option<&Value>,
    context: Option<&str>,
) -> Result<Leads, String> {
    let file = kubeconfig_of(object, secret, profile)?;
    let source = Source::of(format!("`{secret}`"), file);
    let used = match context {
        Some(context) => context.to_owned(),
        None => source.only_context().map_err(|error| error.to_string())?,
    };
    let found = source.find(&used).map_err(|error| error.to_string())?;
    Leads::of(found.cluster.1, None).map_err(|problem| problem.what)
}

/// Returns what the plugin of an access provider of a ClusterProfile is told.
pub(crate) fn provider_config(profile: &Value, name: &str) -> Option<Value> {
    let cluster = ClusterFields::deserialize(access_provider(profile, name)?).ok()?;
    cluster.exec_configuration.map(|told| *told)
}

/// Whether the credential that a Secret gives is one that kubemint mints: the one that a client would use, and no other that
/// stands beside it.
pub(crate) fn gives_minted(object: &Value, secret: &AdminSecret) -> bool {
    let used = || {
        let source = Source::of(format!("`{secret}`"), read_kubeconfig(object, secret, None).ok()?);
        let context = source.only_context().ok()?;
        let UserFields { token, client_certificate, client_certificate_data, exec, .. } =
            source.find(&context).ok()?.user.1;
        let has_another = client_certificate.is_some() || client_certificate_data.is_some() || exec.is_some();
        Some(!has_another && is_minted(token.as_ref()?.expose_secret()))
    };
    used() == Some(true)
}

/// Whether a Secret has the key under which its kubeconfig would be.
pub(crate) fn has_key(object: &Value, secret: &AdminSecret) -> bool {
    !object["data"][key_of(secret)].is_null()
}

/// The key under which the kubeconfig of a Secret is.
fn key_of(secret: &AdminSecret) -> &str {
    secret.key.as_deref().or(secret.hub.key.as_deref()).unwrap_or(default_key(secret.hub.preset))
}

/// The key under which a preset's Secrets have their kubeconfig.
fn default_key(preset: DiscoveryPreset) -> &'static str {
    match preset {
        DiscoveryPreset::ClusterApi | DiscoveryPreset::RancherFleet => "value",
        DiscoveryPreset::Vcluster => "config",
        DiscoveryPreset::Argocd
        | DiscoveryPreset::Sveltos
        | DiscoveryPreset::Kubeconfig
        | DiscoveryPreset::ClusterProfile => "kubeconfig",
    }
}

/// Returns the cluster of the access provider `secretreader` (cluster-inventory-api).
fn secretreader(profile: &Value) -> Option<&Value> {
    access_provider(profile, "secretreader")
}

/// Returns the cluster of an access provider of a ClusterProfile.
fn access_provider<'a>(profile: &'a Value, name: &str) -> Option<&'a Value> {
    let providers = profile["status"]["accessProviders"].as_array()?;
    providers.iter().find(|provider| provider["name"] == name).map(|provider| &provider["cluster"])
}

/// Refuses what would run a program, or read a file of this machine and send it somewhere.
fn refuse_exec(file: &AdminFile) -> Result<(), String> {
    let allow = "which `allow-exec = true` in that `[[discover]]` would allow";
    if file.clusters.entries().any(|cluster| cluster.certificate_authority.is_some()) {
        return Err(format!("its `certificate-authority` names a file, {allow}"));
    }
    for user in file.users.entries() {
        let files = [
            ("client-certificate", user.client_certificate.is_some()),
            ("client-key", user.client_key.is_some()),
            ("tokenFile", user.token_file.is_some()),
        ];
        if let Some((field, _)) = files.into_iter().find(|(_, is_there)| *is_there) {
            return Err(format!("its `{field}` names a file, {allow}"));
        }
        if user.exec.is_some() {
            return Err(format!("it wants a program to be run (`exec`), {allow}"));
        }
    }
    Ok(())
}

/// Makes a kubeconfig of one cluster and one user.
fn one(path: &Path, cluster: ClusterFields, user: UserFields) -> AdminFile {
    const NAME: &str = "cluster";
    let context = ContextFields { cluster: NAME.to_owned(), user: NAME.to_owned() };
    AdminFile {
        path: path.to_owned(),
        clusters: ByName::one(NAME, cluster),
        users: ByName::one(NAME, user),
        contexts: ByName::one(NAME, context),
        current_context: Some(NAME.to_owned()),
        is_exposed: false,
    }
}

/// Argo CD's form of access (argo-cd, `pkg/apis/application/v1alpha1/types.go`, `ClusterConfig`).
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ArgocdConfig {
    username: Option<String>,
    password: Option<SecretString>,
    bearer_token: Option<SecretString>,
    tls_client_config: ArgocdTls,
    aws_auth_config: Option<Value>,
    exec_provider_config: Option<ArgocdExec>,
    proxy_url: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ArgocdTls {
    insecure: bool,
    server_name: Option<String>,
    ca_data: Option<String>,
    cert_data: Option<String>,
    key_data: Option<SecretString>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ArgocdExec {
    command: Option<String>,
    args: Option<Vec<String>>,
    env: Option<BTreeMap<String, String>>,
    api_version: Option<String>,
    install_hint: Option<String>,
}

fn argocd(path: &Path, server: Option<String>, config: Option<String>) -> Result<AdminFile, String> {
    let config = config.ok_or("it has no `config`")?;
    // The original error would quote a value.
    let config: ArgocdConfig = serde_json::from_str(&config).map_err(|_| "its `config` is not Argo CD's")?;
    if config.aws_auth_config.is_some() {
        return Err("its `awsAuthConfig` is Argo CD's own way to AWS, which nothing else has".to_owned());
    }
    let some = |text: Option<String>| text.filter(|text| !text.is_empty());
    let tls = config.tls_client_config;
    let cluster = ClusterFields {
        server: some(server.map(|server| server.trim_end_matches('/').to_owned())),
        tls_server_name: some(tls.server_name),
        insecure_skip_tls_verify: tls.insecure.then_some(true),
        certificate_authority_data: some(tls.ca_data).as_deref().map(Data::of),
        proxy_url: some(config.proxy_url),
        ..ClusterFields::default()
    };
    let exec = config.exec_provider_config.map(|exec| ExecFields {
        command: some(exec.command),
        args: exec.args,
        env: exec.env.map(|env| env.into_iter().map(|(name, value)| ExecVariable { name, value }).collect()),
        api_version: some(exec.api_version),
        install_hint: some(exec.install_hint),
        provide_cluster_info: None,
        interactive_mode: Some("Never".to_owned()),
    });
    let user = UserFields {
        token: config.bearer_token,
        username: some(config.username),
        password: config.password,
        client_certificate_data: some(tls.cert_data).as_deref().map(Data::of),
        client_key_data: tls.key_data,
        exec: exec.map(Box::new),
        ..UserFields::default()
    };
    Ok(one(path, cluster, user))
}
