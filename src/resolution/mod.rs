//! From the tables as typed to the inventory as meant: includes joined, defaults applied, selectors
//! expanded, every rule checked.
//!
//! The shell reads the files and hands over their texts; [`Loading`] parses them, returns their includes, and resolves
//! everything to an [`Inventory`] or to all its [`Problem`]s at once. There is one file per topic; each reports to one
//! `Context` and goes on. Pure: no I/O, no clock. Start with [`Loading`].
//!
//! ```
//! use kubemint::inventory::{Color, SourceFile, render};
//! use kubemint::resolution::{Setting, resolve};
//!
//! let text = r#"
//! version = 1
//! name = "acme"
//! [profiles.auditor]
//! cluster-roles = ["view"]
//! [[clusters]]
//! name = "prod-eu"
//! admin.kubeconfig = "admin.yaml"
//! [[grants]]
//! profile = "audtor"
//! clusters = ["prod-eu"]
//! "#;
//! let root = SourceFile::new("/srv/access/clusters.toml", text).named("clusters.toml");
//! let resolution = resolve(root, vec![], Setting::default());
//! assert!(resolution.inventory.is_none());
//! let shown = render(&resolution.problems, &resolution.sources, Color::Never);
//! assert!(shown.contains("did you mean `auditor`?"));
//! ```

mod admin;
mod anchor;
mod clusters;
mod discovery;
mod grants;
mod left_out;
mod load;
mod outputs;
mod policy;
mod profiles;
mod rollout;
mod rules;
mod secrets;
mod selection;

use self::outputs::Outputs;

pub(crate) use self::admin::kubeconfig_source;
pub use self::left_out::LeftOut;
pub use self::load::{Include, Loading, Resolution, parse_holder, resolve};
pub use crate::delivery::{Layout, OutputEntry, OutputFile};

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::inventory::duration;
use crate::inventory::file::{DefaultsTable, InventoryFile};
use crate::inventory::problem::{At, FileId, Location, Problem, Problems, Sources, quote};
use crate::inventory::syntax::{self, Verdict};
use crate::inventory::{Discovery, DiscoveryId, Grant, Inventory, MissingNamespace, RunPolicy};
use crate::names::{ClusterName, DEFAULT_HOLDER, Holder, InventoryName};

/// The time for all work on one cluster if the inventory does not set one.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// No run over one cluster takes a day, and much longer limits would overflow deadlines.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// What the meaning of an inventory depends on besides its text.
#[derive(Debug, Clone, Default)]
pub struct Setting {
    /// The home directory, for paths that begin with `~/`.
    pub home: Option<PathBuf>,
    /// The files that kubectl would read, for `$KUBECONFIG`.
    pub kubeconfig: Vec<PathBuf>,
    /// The holder that overrides the inventory's.
    pub holder: Option<Holder>,
}

/// A file, and its content as typed.
#[derive(Debug)]
struct Parsed {
    file: FileId,
    content: InventoryFile,
    /// The source that found what it says, if nobody typed it.
    discovered_by: Option<DiscoveryId>,
}

/// The state that every topic needs.
#[derive(Debug)]
struct Context<'a> {
    sources: &'a Sources,
    setting: &'a Setting,
    problems: &'a mut Problems,
    /// Whether a value had the wrong type, so that what seems to be absent may only be unreadable.
    misread: bool,
    /// Whether something that others refer to is missing or broken. Then nothing is reported of names that nobody
    /// refers to, or that are not found.
    incomplete: bool,
    /// The sources of clusters.
    discoveries: Vec<Discovery>,
    /// Whether some source has not been asked or did not answer: a cluster that is unknown may be one of its.
    is_undiscovered: bool,
}

impl<'a> Context<'a> {
    fn new(sources: &'a Sources, setting: &'a Setting, problems: &'a mut Problems) -> Self {
        Self {
            sources,
            setting,
            problems,
            misread: false,
            incomplete: false,
            discoveries: vec![],
            is_undiscovered: false,
        }
    }

    fn error(&mut self, location: Location, message: impl Into<String>) {
        self.problems.push(Problem::error(location, message));
    }

    /// Checks a text against a rule and reports `` `key` … is not valid ``.
    fn check(&mut self, what: &str, text: &At<String>, rule: fn(&str) -> Verdict) {
        if text.value.is_empty() {
            self.error(text.location, format!("{what} must not be empty"));
        } else if let Err(reason) = rule(&text.value) {
            self.error(text.location, format!("{what} {} is not valid: {reason}", quote(&text.value)));
        }
    }

    /// Returns the location of a part of a string, or of the whole string if escapes shift its parts.
    fn inside(&self, text: &At<String>, offset: usize, length: usize) -> Location {
        let span = text.location.span();
        let raw = self.sources.file(text.location.file()).text.get(span.clone()).unwrap_or_default();
        match raw.find(&text.value).filter(|_| !text.value.is_empty()) {
            Some(at) => {
                let start = span.start + at + offset;
                Location::new(text.location.file(), start..start + length)
            }
            None => text.location,
        }
    }
}

/// Returns what happens to a missing namespace.
fn missing(create: bool) -> MissingNamespace {
    if create { MissingNamespace::Create } else { MissingNamespace::Block }
}

/// Resolves all files together; `None` if the root file could not be read at all.
fn resolve_all(
    files: &[Parsed],
    (undiscovered, doubts): (&[(DiscoveryId, String)], &[discovery::Doubt]),
    ctx: &mut Context<'_>,
) -> Option<(Inventory, Layout)> {
    for parsed in files.iter().filter(|parsed| !parsed.file.is_root() && parsed.discovered_by.is_none()) {
        refuse_root_keys(&parsed.content, ctx);
    }
    let root = files.iter().find(|parsed| parsed.file.is_root());
    let empty = InventoryFile::default();
    let root_content = root.map_or(&empty, |parsed| &parsed.content);
    ctx.incomplete |= root.is_none();

    let no_defaults = DefaultsTable::default();
    let defaults = root_content.defaults.as_ref().map_or(&no_defaults, |defaults| &defaults.value);
    if let Some(name) = &root_content.name {
        ctx.check("inventory name", name, syntax::dns_label);
    }
    if let Some(holder) = &root_content.holder {
        ctx.check("holder", holder, syntax::dns_label);
    }
    let run = run_policy(defaults, ctx);
    ctx.discoveries = discovery::resolve(files, defaults, ctx);
    let clusters = clusters::resolve(files, doubts, defaults, ctx);
    let allows_dangling_roles = policy::allows_dangling_roles(root_content);
    let profiles = profiles::resolve(files, defaults, allows_dangling_roles, ctx);
    let granted = grants::resolve(files, &clusters, &profiles, defaults, ctx);
    let policy = policy::resolve(files, root_content, defaults, (&clusters, &profiles, &granted), ctx);
    let waves = rollout::resolve(root, &clusters, ctx);
    let holder = match (&ctx.setting.holder, &root_content.holder) {
        (Some(holder), _) => holder.clone(),
        (None, Some(holder)) => Holder::new(&holder.value),
        (None, None) => Holder::new(DEFAULT_HOLDER),
    };
    let name = InventoryName::new(root_content.name.as_ref().map_or("", |name| &name.value));
    let outputs = outputs::resolve(files, (&clusters, &profiles, &granted), (&name, &holder), ctx);
    let Outputs { kubeconfigs: outputs, secrets } = outputs;
    let (hubs, secrets, secret_namespaces) = secrets.into_parts();

    let grants: Vec<Arc<Grant>> = granted.list.into_iter().map(|granted| granted.grant).collect();
    let mut by_cluster: HashMap<ClusterName, Vec<Arc<Grant>>> = HashMap::new();
    for grant in &grants {
        by_cluster.entry(grant.cluster.name.clone()).or_default().push(Arc::clone(grant));
    }
    let inventory = Inventory {
        name,
        holder,
        clusters: clusters.list.iter().map(|resolved| resolved.cluster.clone()).collect(),
        profiles: profiles.by_name.values().map(|p| (p.profile.name.clone(), p.profile.clone())).collect(),
        grants,
        by_cluster,
        outputs: outputs.iter().map(|resolved| Arc::clone(&resolved.output)).collect(),
        hubs,
        waves: waves.into_iter().map(Arc::new).collect(),
        run,
        policy,
        discoveries: std::mem::take(&mut ctx.discoveries),
        undiscovered: undiscovered.to_vec(),
        digest: String::new(),
    };
    if ctx.incomplete {
        return None;
    }
    let layout = outputs::check_layout(&inventory, &outputs, ctx)?;
    Some((inventory, Layout { secrets, secret_namespaces, ..layout }))
}

/// Refuses keys that only the root file may have.
fn refuse_root_keys(included: &InventoryFile, ctx: &mut Context<'_>) {
    let keys = [
        ("name", included.name.as_ref().map(|at| at.location)),
        ("holder", included.holder.as_ref().map(|at| at.location)),
        ("include", included.include.as_ref().map(|at| at.location)),
        ("defaults", included.defaults.as_ref().map(|at| at.location)),
        ("rollout", included.rollout.as_ref().map(|at| at.location)),
        ("policy", included.policy.as_ref().map(|at| at.location)),
        ("discover", included.discover.as_ref().map(|at| at.location)),
    ];
    for (key, location) in keys {
        if let Some(location) = location {
            let name = ctx.sources.root().map_or("the root file", |root| root.name.as_str()).to_owned();
            let problem = Problem::error(location, format!("`{key}` is not allowed in an included file"));
            ctx.problems.push(problem.hint(format!("say it in `{name}`")));
        }
    }
}

fn run_policy(defaults: &DefaultsTable, ctx: &mut Context<'_>) -> RunPolicy {
    let concurrency = defaults.concurrency.as_ref();
    if let Some(at) = concurrency.filter(|at| !(1..=4096).contains(&at.value)) {
        ctx.error(at.location, format!("`concurrency` must be between 1 and 4096, not {}", at.value));
    }
    let run = RunPolicy {
        concurrency: concurrency.map_or(64, |at| usize::try_from(at.value).unwrap_or(usize::MAX)),
        request_timeout: defaults.request_timeout.as_ref().map_or(Duration::from_secs(10), |at| at.value),
        cluster_timeout: defaults.cluster_timeout.as_ref().map_or(DEFAULT_TIMEOUT, |at| at.value),
        events: defaults.events.as_ref().is_some_and(|at| at.value),
    };
    let timeouts = [("request-timeout", &defaults.request_timeout), ("cluster-timeout", &defaults.cluster_timeout)];
    for (key, at) in timeouts {
        if let Some(at) = at.as_ref().filter(|at| at.value < Duration::from_secs(1)) {
            ctx.error(at.location, format!("`{key}` must be at least `1s`"));
        }
        if let Some(at) = at.as_ref().filter(|at| at.value > LONGEST_TIMEOUT) {
            ctx.error(at.location, format!("`{key}` must be at most `24h`"));
        }
    }
    let location = defaults.request_timeout.as_ref().or(defaults.cluster_timeout.as_ref()).map(|at| at.location);
    if let Some(location) = location.filter(|_| run.request_timeout > run.cluster_timeout) {
        let (request, cluster) = (duration::show(run.request_timeout), duration::show(run.cluster_timeout));
        ctx.error(location, format!("`request-timeout` (`{request}`) is longer than `cluster-timeout` (`{cluster}`)"));
    }
    run
}

#[cfg(test)]
mod tests;
