//! Finds admin credentials: each kubeconfig is read once a run, each exec plugin asked once.
//!
//! What kubectl accepts is accepted, except what would act as somebody else, act without a credential, or send one in
//! the clear. docs/admin-access.md lists the differences, and a test compares them with kubectl itself.

mod consumer;
mod doctor;
mod error;
mod exec;
mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod secret;
mod seen;
mod source;
mod usable;

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

pub(crate) use self::consumer::consumer_endpoint;
pub(crate) use self::doctor::{Examined, examine};
pub(crate) use self::error::{AdminError, Problem};
use self::exec::Plugins;
use self::file::AdminFile;
use self::secret::{SecretHubs, of_secret};
pub(crate) use self::secret::{discovered_kubeconfig, gives_minted, has_key, is_delivered, provider_config};
use self::seen::check_seen;
pub(crate) use self::seen::{Leads, seen};
use self::source::Source;
pub(crate) use self::source::{kubeconfig_files, kubeconfigs_in};
use self::usable::Usable;
use super::transport::{Login, Network, ProxyEnvironment, Target, check_target};
use crate::inventory::{AdminAccess, Cluster, KubeconfigSource, Seen};
use crate::kubeconfig::Endpoint;

/// Whether the check of a server's certificate may be skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Insecure {
    /// It may, where the kubeconfig or the inventory says so.
    Allowed,
    /// It may not.
    Refused,
}

impl Insecure {
    /// Returns what the inventory says of a cluster.
    pub(crate) fn of(cluster: &Cluster) -> Self {
        if cluster.allow_insecure { Self::Allowed } else { Self::Refused }
    }
}

/// What admin access depends on beside the inventory.
#[derive(Debug, Clone, Default)]
pub(crate) struct AdminEnvironment {
    /// The proxies that apply where a kubeconfig names none.
    pub proxies: ProxyEnvironment,
    /// Host and port of the API server, from the environment of a pod.
    pub service: Option<(String, String)>,
}

/// The admin credentials of a run.
#[derive(Debug)]
pub(crate) struct AdminSources {
    sources: HashMap<KubeconfigSource, Result<Source, AdminError>>,
    plugins: Plugins,
    network: Network,
    service: Option<(String, String)>,
    pod_directory: PathBuf,
    hubs: SecretHubs,
}

/// The admin access of one cluster, ready to connect.
#[derive(Clone)]
pub(crate) struct AdminEntry {
    pub(super) target: Target,
    pub(super) login: Login,
    /// A command for trying it by hand.
    pub try_command: Option<String>,
}

impl std::fmt::Debug for AdminEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminEntry").field("endpoint", &self.target.server).finish_non_exhaustive()
    }
}

impl AdminEntry {
    /// Returns what the admin connects to.
    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint {
            server: self.target.server.clone(),
            certificate_authority: self.target.authority.clone(),
            tls_server_name: self.target.server_name.clone(),
            proxy_url: self.target.proxy_url.clone(),
            cluster_uid: None,
        }
    }

    /// Returns whether the server's certificate is not checked.
    pub(crate) fn is_insecure(&self) -> bool {
        self.target.insecure
    }
}

/// A context that could be a cluster of an inventory.
#[derive(Debug, Clone)]
pub(crate) struct ContextFound {
    /// Its name.
    pub name: String,
    /// The file that has it.
    pub file: PathBuf,
    /// Whether it is that file's current context.
    pub is_current: bool,
    /// Why it cannot be used, if so.
    pub problem: Option<AdminError>,
    /// Whether it can be used only with `allow-insecure`.
    pub is_insecure: bool,
    /// What identifies its API server: how it is reached, and its CA.
    pub endpoint: Option<String>,
    /// Where it leads.
    pub leads: Option<Leads>,
}

impl AdminSources {
    /// Reads every file that the clusters name, each once. `plugin_limit` is how long an exec plugin may run.
    pub(crate) fn load<'a>(
        accesses: impl IntoIterator<Item = &'a AdminAccess>,
        environment: &AdminEnvironment,
        plugin_limit: Duration,
    ) -> Self {
        let mut files: HashMap<PathBuf, Result<Arc<AdminFile>, AdminError>> = HashMap::new();
        let mut read = |path: &Path| {
            let file = files.entry(path.to_owned());
            file.or_insert_with(|| AdminFile::read(path).map(Arc::new)).clone()
        };
        let mut sources = HashMap::new();
        for access in accesses {
            // The kubeconfig in a Secret is read when its cluster is worked on, through the access of its hub.
            let source = match access.source() {
                Some(KubeconfigSource::Secret(secret)) => secret.hub.access.source(),
                source => source,
            };
            if let Some(source) = source.filter(|source| !sources.contains_key(*source)) {
                sources.insert(source.clone(), Source::load(source, &mut read));
            }
        }
        Self {
            sources,
            plugins: Plugins::new(plugin_limit),
            network: Network::new(environment.proxies.clone()),
            service: environment.service.clone(),
            pod_directory: usable::pod_directory(),
            hubs: SecretHubs::new(plugin_limit),
        }
    }

    /// Returns what all connections share.
    pub(crate) fn network(&self) -> &Network {
        &self.network
    }

    /// Returns what the user should know: files that others can read, and files that were left out.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let sources = || self.sources.values().filter_map(|source| source.as_ref().ok());
        let exposed: BTreeSet<&Path> = sources().flat_map(Source::exposed).collect();
        let mut warnings = vec![];
        if let Some(first) = exposed.first() {
            let others = match exposed.len() - 1 {
                0 => String::new(),
                more => format!(" and {} like it", crate::wording::count(more, "admin kubeconfig")),
            };
            warnings.push(format!(
                "`{}`{others} can be read by its group or by others; `chmod 600` keeps its credentials private",
                first.display()
            ));
        }
        let mut unusable: Vec<String> = sources().flat_map(Source::unusable).map(ToString::to_string).collect();
        unusable.sort();
        unusable.dedup();
        warnings.extend(unusable);
        warnings
    }

    /// Returns every context of the kubeconfigs and whether it can be used; no plugin is run.
    ///
    /// # Errors
    ///
    /// If there is no kubeconfig that can be read.
    pub(crate) fn contexts(&self) -> Result<Vec<ContextFound>, AdminError> {
        let mut found = vec![];
        for source in self.sources.values() {
            let source = source.as_ref().map_err(Clone::clone)?;
            for (name, file, is_current) in source.contexts() {
                let usable = |allow| self.usable(source, name, allow).map(drop);
                let refused = usable(false).err();
                let is_insecure = refused.is_some() && usable(true).is_ok();
                let problem = refused.filter(|_| !is_insecure);
                let endpoint = self.usable(source, name, true).ok().map(|(target, ..)| target.identity());
                let (name, file) = (name.to_owned(), file.to_owned());
                let leads = Self::leads_to(source, &name).ok();
                found.push(ContextFound { name, file, is_current, problem, is_insecure, endpoint, leads });
            }
        }
        Ok(found)
    }

    /// Returns where a context leads; no plugin is run.
    fn leads_to(source: &Source, context: &str) -> Result<Leads, AdminError> {
        let (file, cluster) = source.find(context)?.cluster;
        Leads::of(cluster, Some(file.directory())).map_err(|problem| unusable(file, context, problem))
    }

    /// Returns where an access leads that is not in a Secret; no plugin is run.
    ///
    /// # Errors
    ///
    /// If its kubeconfig cannot be read, or does not say so.
    pub(crate) fn leads(&self, access: &AdminAccess) -> Result<Leads, AdminError> {
        match access {
            AdminAccess::Kubeconfig { source, context, .. } => {
                let source = self.sources.get(source).expect("every source that is asked about was loaded");
                Self::leads_to(source.as_ref().map_err(Clone::clone)?, context)
            }
            AdminAccess::Inline(admin) => Ok(Leads::of_inline(admin)),
            AdminAccess::InCluster => Ok(Leads::of_pod()),
        }
    }

    /// Returns the credential and target of an access; runs its exec plugin if it has one that did not run yet.
    ///
    /// # Errors
    ///
    /// If a file, the context, or the plugin's output cannot be used.
    pub(crate) async fn resolve(
        &self,
        access: &AdminAccess,
        insecure: Insecure,
        now: impl Fn() -> Timestamp,
    ) -> Result<AdminEntry, AdminError> {
        match access {
            AdminAccess::Kubeconfig { source: KubeconfigSource::Secret(secret), context, seen } => {
                let source = self.read_secret(secret, &now).await?;
                let context = if context.is_empty() { source.only_context()? } else { context.clone() };
                // This comes before its plugin runs, which is told where the cluster is.
                check_seen(seen, source.find(&context)?.cluster.1, None)
                    .map_err(|problem| of_secret(secret, AdminError::Access(problem)))?;
                let (target, login, _) = self.in_source(&source, &context, insecure, now).await?;
                Ok(AdminEntry { target, login, try_command: None })
            }
            access => self.resolve_own(access, insecure, now).await,
        }
    }

    /// Returns the credential and target of an access that this machine has.
    async fn resolve_own(
        &self,
        access: &AdminAccess,
        insecure: Insecure,
        now: impl Fn() -> Timestamp,
    ) -> Result<AdminEntry, AdminError> {
        let allow_insecure = insecure == Insecure::Allowed;
        match access {
            AdminAccess::Kubeconfig { source, context, seen } => {
                let source = self.sources.get(source).expect("every source of the inventory was loaded");
                let source = source.as_ref().map_err(Clone::clone)?;
                if *seen != Seen::default() {
                    let (file, cluster) = source.find(context)?.cluster;
                    check_seen(seen, cluster, Some(file.directory()))
                        .map_err(|problem| unusable(file, context, problem))?;
                }
                let (target, login, file) = self.in_source(source, context, insecure, now).await?;
                let path = file.path.display().to_string();
                let words = ["kubectl", "--kubeconfig", &path, "--context", context, "get", "namespaces"];
                let try_command = crate::wording::command(&words);
                Ok(AdminEntry { target, login, try_command: Some(try_command) })
            }
            AdminAccess::Inline(admin) => {
                let target = usable::inline_target(admin, allow_insecure).map_err(AdminError::Access)?;
                let login = usable::inline_login(admin).map_err(AdminError::Access)?;
                self.checked(target).map(|target| AdminEntry { target, login, try_command: None })
            }
            AdminAccess::InCluster => {
                let found = usable::in_cluster(self.service.as_ref(), &self.pod_directory);
                let (target, login) = found.map_err(AdminError::Access)?;
                self.checked(target).map(|target| AdminEntry { target, login, try_command: None })
            }
        }
    }

    /// Returns target and credential of a context; runs its exec plugin if it has one that did not run yet.
    async fn in_source<'a>(
        &self,
        source: &'a Source,
        context: &str,
        insecure: Insecure,
        now: impl Fn() -> Timestamp,
    ) -> Result<(Target, Login, &'a AdminFile), AdminError> {
        let (target, usable, file) = self.usable(source, context, insecure == Insecure::Allowed)?;
        let login = match usable {
            Usable::Login(login) => login,
            Usable::Plugin(plugin, impersonation) => {
                let login = self.plugins.login(&plugin, now).await;
                let login = login.map_err(|problem: Problem| unusable(file, context, problem))?;
                Login { impersonation, ..login }
            }
        };
        Ok((target, login, file))
    }

    fn checked(&self, target: Target) -> Result<Target, AdminError> {
        check_target(&target, &self.network).map_err(|problem| AdminError::Access(problem.into()))?;
        Ok(target)
    }

    /// Finds a context, and reads its fields without running anything.
    fn usable<'a>(
        &self,
        source: &'a Source,
        context: &str,
        allow_insecure: bool,
    ) -> Result<(Target, Usable, &'a AdminFile), AdminError> {
        let found = source.find(context)?;
        let (file, fields) = found.cluster;
        let target = usable::target(fields, file.directory(), allow_insecure)
            .and_then(|target| {
                check_target(&target, &self.network)?;
                Ok(target)
            })
            .map_err(|problem| unusable(file, context, problem))?;
        let (user_file, user) = found.user;
        // A plugin that is told about the cluster finds its CA relative to the cluster's file.
        let cluster = fields.with_absolute_authority(file.directory());
        let usable = usable::login(user, user_file.directory(), &cluster);
        Ok((target, usable.map_err(|problem| unusable(user_file, context, problem))?, found.file))
    }
}

fn unusable(file: &AdminFile, context: &str, problem: Problem) -> AdminError {
    AdminError::Unusable { path: file.path.clone(), context: context.to_owned(), problem }
}

#[cfg(test)]
mod tests;
