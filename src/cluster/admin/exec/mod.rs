//! Exec plugins (client-go `plugin/pkg/client/auth/exec`): each distinct one runs once, until the credential it printed
//! expires.
//!
//! kube would run one three times for each client, block the runtime meanwhile, and print its output in errors. Here a
//! plugin never gets a terminal, and its standard output, which holds the credential, is never shown.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;
use tokio::process::Command;
use tokio::sync::Semaphore;

use super::error::Problem;
use super::file::{ClusterFields, ExecFields, ExecVariable, read_part};
use crate::cluster::process::{Finished, given_as_arguments, spawn, without};
use crate::cluster::transport::{Login, check_login};
use crate::failure::clean;

/// Plugins are programs that start an interpreter and ask an identity provider: more at a time would
/// starve this machine and anger that provider.
const AT_A_TIME: usize = 8;
/// A credential that expires sooner than this is not used for another cluster.
const MARGIN: SignedDuration = SignedDuration::from_secs(30);
/// Plugins answer within seconds; those that hang hold up the others that wait for their turn.
const LONGEST: Duration = Duration::from_secs(30);
/// Credentials have some kilobytes.
const LARGEST_OUTPUT: u64 = 1024 * 1024;
const VERSIONS: [&str; 2] = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];

/// What to run, and everything else that the credential depends on.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Plugin {
    command: PathBuf,
    arguments: Vec<String>,
    environment: Vec<ExecVariable>,
    api_version: String,
    install_hint: Option<String>,
    /// The value of `KUBERNETES_EXEC_INFO`.
    info: String,
}

impl Plugin {
    /// Reads a plugin's fields as client-go validates them.
    pub(super) fn new(exec: &ExecFields, directory: &Path, cluster: &ClusterFields) -> Result<Self, Problem> {
        let command = exec.command.as_ref().ok_or("`exec` has no `command`")?;
        let api_version = exec.api_version.clone().ok_or("`exec` has no `apiVersion`")?;
        if !VERSIONS.contains(&api_version.as_str()) {
            return Err(
                "`exec` has an `apiVersion` that is neither `v1` nor `v1beta1` of `client.authentication.k8s.io`"
                    .into(),
            );
        }
        let environment = exec.env.clone().unwrap_or_default();
        if environment.iter().any(|variable| variable.name.is_empty() || variable.name.contains(['=', '\0'])) {
            return Err("`exec` has an environment variable without a proper name".into());
        }
        match exec.interactive_mode.as_deref() {
            Some("Never" | "IfAvailable") => {}
            Some("Always") => {
                return Err(Problem::new(
                    "`exec` wants a terminal (`interactiveMode: Always`), which no plugin gets here",
                )
                .hint("log in beforehand and use `IfAvailable`, or another admin credential"));
            }
            Some(_) => return Err("`exec` has an unknown `interactiveMode`".into()),
            None if api_version == VERSIONS[0] => {
                return Err("`exec` has no `interactiveMode`, which `v1` needs".into());
            }
            None => {}
        }
        // Only a command with a slash is a path, and relative to the kubeconfig.
        let command = if command.contains('/') { directory.join(command) } else { PathBuf::from(command) };
        let mut spec = json!({ "interactive": false });
        if exec.provide_cluster_info == Some(true) {
            spec["cluster"] = cluster_information(cluster, directory)?;
        }
        let info = json!({ "kind": "ExecCredential", "apiVersion": api_version, "spec": spec }).to_string();
        let (arguments, install_hint) = (exec.args.clone().unwrap_or_default(), exec.install_hint.clone());
        Ok(Self { command, arguments, environment, api_version, install_hint, info })
    }

    fn name(&self) -> String {
        format!("the exec plugin `{}`", self.command.display())
    }
}

/// Returns what `KUBERNETES_EXEC_INFO` says of the cluster with `provideClusterInfo` (`ExecCluster`).
fn cluster_information(cluster: &ClusterFields, directory: &Path) -> Result<serde_json::Value, Problem> {
    let mut told = json!({ "server": cluster.server });
    let authority = match (&cluster.certificate_authority, &cluster.certificate_authority_data) {
        (Some(file), None) => Some(read_part(&directory.join(file), "certificate-authority")?),
        _ => None,
    };
    let encoded = authority.map(|pem| base64::engine::general_purpose::STANDARD.encode(pem));
    let encoded = encoded.or_else(|| cluster.certificate_authority_data.as_ref()?.text());
    let flag = |value: Option<bool>| value.filter(|value| *value).map(serde_json::Value::from);
    let fields = [
        ("tls-server-name", cluster.tls_server_name.clone().map(Into::into)),
        ("insecure-skip-tls-verify", flag(cluster.insecure_skip_tls_verify)),
        ("certificate-authority-data", encoded.map(Into::into)),
        ("proxy-url", cluster.proxy_url.clone().map(Into::into)),
        ("disable-compression", flag(cluster.disable_compression)),
        // client-go always tells this one.
        ("config", Some(cluster.exec_configuration.as_deref().cloned().unwrap_or_default())),
    ];
    for (key, value) in fields {
        if let Some(value) = value {
            told[key] = value;
        }
    }
    Ok(told)
}

/// The plugins of a run, and their results.
pub(super) struct Plugins {
    running: Semaphore,
    limit: Duration,
    told: Mutex<HashMap<Plugin, Arc<tokio::sync::Mutex<Option<Told>>>>>,
}

/// The result of a plugin, and until when it is reused. Failures are reused for a moment too, so that a thousand
/// clusters that share a broken plugin do not wait for it a thousand times.
#[derive(Clone)]
struct Told {
    login: Result<Login, Problem>,
    until: Option<Timestamp>,
}

const FAILURE_COUNTS: SignedDuration = SignedDuration::from_secs(60);

impl std::fmt::Debug for Plugins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Plugins")
    }
}

impl Plugins {
    /// Runs plugins, each for `limit` at most, and never longer than [`LONGEST`].
    pub(super) fn new(limit: Duration) -> Self {
        let limit = limit.min(LONGEST);
        Self { running: Semaphore::new(AT_A_TIME), limit, told: Mutex::default() }
    }

    /// Returns the credential of a plugin. Runs it if it did not run yet, or if its credential expires.
    pub(super) async fn login(&self, plugin: &Plugin, now: impl Fn() -> Timestamp) -> Result<Login, Problem> {
        let entry = {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(told.entry(plugin.clone()).or_default())
        };
        let mut entry = entry.lock().await;
        let counts = |told: &Told| told.until.is_none_or(|until| now() < until);
        if let Some(told) = entry.as_ref().filter(|told| counts(told)) {
            return told.login.clone();
        }
        let told = {
            let _permit = self.running.acquire().await.expect("the semaphore is never closed");
            tracing::debug!(command = %plugin.command.display(), "running an exec plugin");
            self.run(plugin, &now).await
        };
        entry.insert(told).login.clone()
    }

    async fn run(&self, plugin: &Plugin, now: &impl Fn() -> Timestamp) -> Told {
        match self.ask(plugin).await {
            Ok((login, expires)) => {
                let until = expires.map(|expires| expires.checked_sub(MARGIN).unwrap_or(expires));
                Told { login: Ok(login), until }
            }
            Err(problem) => Told { login: Err(problem), until: now().checked_add(FAILURE_COUNTS).ok() },
        }
    }

    async fn ask(&self, plugin: &Plugin) -> Result<(Login, Option<Timestamp>), Problem> {
        let mut command = Command::new(&plugin.command);
        command
            .args(&plugin.arguments)
            .envs(plugin.environment.iter().map(|variable| (&variable.name, &variable.value)))
            .env("KUBERNETES_EXEC_INFO", &plugin.info);
        let child = spawn(&mut command).map_err(|error| {
            let cause = super::file::describe_io(&error);
            let problem = Problem::of_plugin(format!("{} cannot be started: {cause}", plugin.name()));
            match &plugin.install_hint {
                Some(hint) => problem.hint(clean(hint)),
                None => problem,
            }
        })?;
        let finished = Finished::of(child, self.limit, LARGEST_OUTPUT)
            .await
            .map_err(|cause| Problem::of_plugin(format!("{} {cause}", plugin.name())))?;
        if !finished.status.success() {
            let said = clean(&without_known_secrets(plugin, &finished));
            let said = if said.is_empty() { "it said nothing".to_owned() } else { said };
            return Err(Problem::of_plugin(format!("{} failed ({}): {said}", plugin.name(), finished.status)));
        }
        credential(&finished.stdout, &plugin.api_version)
            .map_err(|problem| Problem::of_plugin(format!("{} {problem}", plugin.name())))
    }
}

/// Returns what a plugin wrote to stderr, without the credential that it printed and without the values that it was
/// given, which may be tokens of any form.
fn without_known_secrets(plugin: &Plugin, finished: &Finished) -> String {
    use secrecy::ExposeSecret;
    let said = String::from_utf8_lossy(&finished.stderr);
    let printed = credential(&finished.stdout, &plugin.api_version).ok();
    let printed = printed.iter().filter_map(|(login, _)| login.bearer.as_ref().map(ExposeSecret::expose_secret));
    let given = plugin.environment.iter().map(|variable| variable.value.as_str());
    without(&said, printed.chain(given).chain(given_as_arguments(&plugin.arguments)))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExecCredential {
    api_version: Option<String>,
    kind: Option<String>,
    status: Option<Status>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    expiration_timestamp: Option<Timestamp>,
    token: Option<SecretString>,
    client_certificate_data: Option<String>,
    client_key_data: Option<SecretString>,
}

/// Reads the output of a plugin. Errors never quote it.
pub(super) fn credential(output: &[u8], api_version: &str) -> Result<(Login, Option<Timestamp>), String> {
    use secrecy::ExposeSecret;
    let unreadable = "printed something else than an ExecCredential";
    let text = std::str::from_utf8(output).map_err(|_| unreadable)?;
    // A token has to be a string, not a number.
    let mut options = crate::kubeconfig::yaml_options(text.len());
    options.no_schema = true;
    let answer: ExecCredential = serde_saphyr::from_str_with_options(text, options).map_err(|_| unreadable)?;
    // client-go assumes the expected kind where none is given.
    if !matches!(answer.kind.as_deref(), None | Some("" | "ExecCredential")) {
        return Err(unreadable.to_owned());
    }
    if answer.api_version.as_deref() != Some(api_version) {
        return Err(format!("printed another `apiVersion` than `{api_version}`"));
    }
    let status = answer.status.ok_or("printed no `status`")?;
    let text = |text: Option<String>| text.filter(|text| !text.is_empty());
    let secret = |secret: Option<SecretString>| secret.filter(|secret| !secret.expose_secret().is_empty());
    let mut login = Login { bearer: secret(status.token), ..Login::default() };
    login.certificate = match (text(status.client_certificate_data), secret(status.client_key_data)) {
        (Some(certificate), Some(key)) => Some((certificate.into_bytes().into(), key)),
        (None, None) => None,
        _ => return Err("printed only one of `clientCertificateData` and `clientKeyData`".to_owned()),
    };
    if login.bearer.is_none() && login.certificate.is_none() {
        return Err("printed neither a token nor a certificate".to_owned());
    }
    check_login(&login).map_err(|problem| format!("printed what cannot be used: {problem}"))?;
    Ok((login, status.expiration_timestamp))
}

#[cfg(test)]
mod tests;
