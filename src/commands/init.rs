//! `kubemint init`: an inventory from the contexts of existing kubeconfigs. Contacts nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use regex::Regex;

use super::{CommandContext, printed};
use crate::cli::InitArgs;
use crate::cluster::{AdminSources, ContextFound};
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::inventory::{AdminAccess, KubeconfigSource, SourceFile, StarterCluster, cluster_name_of, starter};
use crate::resolution;
use crate::selector::{validate_label_key, validate_label_value};
use crate::store;
use crate::wording::count;

/// Writes the inventory, unless there is one.
pub(super) fn run(context: &CommandContext<'_>, args: &InitArgs) -> Result<ExitCode, Error> {
    let target = context.environment.directory.join(&context.global.inventory);
    let shown = context.global.inventory.display();
    if std::fs::symlink_metadata(&target).is_ok() {
        let error = Error::usage(format!("`{shown}` exists, and is not overwritten"));
        return Err(error.hint("name another with `--inventory FILE`"));
    }
    let labels = Labels::parse(args)?;
    let patterns: Vec<glob::Pattern> = args.context.iter().map(|text| pattern(text)).collect::<Result<_, _>>()?;
    let is_wanted = |name: &str| patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(name));

    let mut starting =
        Starting { labels, clusters: vec![], names: HashSet::new(), reached: HashMap::new(), remarks: vec![] };
    let directory = target.parent().unwrap_or(Path::new("/"));
    for typed in &args.from {
        let source = source(context, typed)?;
        let access = AdminAccess::context(source.clone(), "");
        let sources = AdminSources::load([&access], &context.environment.admin, resolution::DEFAULT_TIMEOUT);
        let contexts = sources
            .contexts()
            .map_err(|error| Error { hint: error.hint(), ..Error::new(ExitCode::AllFailed, error.to_string()) })?;
        for warning in sources.warnings() {
            context.printer.remark(&format!("warning: {}\n", crate::foreign::shown(&warning)));
        }
        let mut contexts: Vec<ContextFound> = contexts.into_iter().filter(|found| is_wanted(&found.name)).collect();
        // If several contexts lead to one API server, the first is taken.
        contexts.sort_by_cached_key(preference);
        let before = starting.clusters.len();
        for found in contexts {
            // A list is one kubeconfig; in a directory or a pattern, each file is one.
            let written = match &source {
                KubeconfigSource::List(_) => listed(context, typed, directory),
                _ => written(context, &found.file, directory),
            };
            starting.add(found, written);
        }
        let place = |cluster: &StarterCluster| (cluster.kubeconfig.clone(), cluster.context.clone());
        starting.clusters[before..].sort_by_cached_key(place);
    }
    let Starting { clusters, remarks, .. } = starting;
    for remark in &remarks {
        context.printer.problem(&format!("{}\n", crate::foreign::shown(remark)));
    }
    if clusters.is_empty() {
        return Err(Error::new(ExitCode::AllFailed, "no context can be used, so nothing was written"));
    }
    let text = starter(&args.name, &clusters);
    check(context, &target, &text)?;
    let created = store::update(&target, context.manner(false), |before| match before {
        None => Ok(text.into_bytes()),
        Some(_) => Err("it exists meanwhile, and is not overwritten"),
    });
    created.map_err(|error| {
        let failure = crate::executor::publish::describe(&error);
        Error { hint: failure.hint, ..Error::new(ExitCode::Blocked, failure.cause) }
    })?;
    let summary = format!("`{shown}` has {}; next: `kubemint plan`\n", count(clusters.len(), "cluster"));
    printed(context.printer.data(&summary))?;
    Ok(if remarks.is_empty() { ExitCode::Done } else { ExitCode::Partial })
}

/// Returns the sort key of contexts for one API server: the current one comes first, then the one with the cleanest
/// name.
fn preference(found: &ContextFound) -> (bool, bool, bool, usize, String) {
    let name = &found.name;
    let has_invisible = name.contains(crate::foreign::is_invisible);
    (!found.is_current, has_invisible, cluster_name_of(name) != *name, name.chars().count(), name.clone())
}

fn pattern(text: &str) -> Result<glob::Pattern, Error> {
    glob::Pattern::new(text)
        .map_err(|error| Error::usage(format!("`--context {text}` is not a valid pattern")).because(error.msg))
}

fn source(context: &CommandContext<'_>, typed: &str) -> Result<KubeconfigSource, Error> {
    let environment = &context.environment;
    let mut path = |text: &str| Some(environment.directory.join(text));
    let mut glob = |text: &str| {
        let valid = glob::Pattern::new(text).is_ok();
        valid.then(|| environment.directory.join(text).to_string_lossy().into_owned())
    };
    let source = resolution::kubeconfig_source(typed, &environment.kubeconfig, &mut path, &mut glob);
    source.ok_or_else(|| Error::usage(format!("`--from {typed}` names no kubeconfig")))
}

/// Writes a path as the inventory has it: below the inventory or the home directory, else absolute.
fn written(context: &CommandContext<'_>, path: &Path, directory: &Path) -> String {
    if let Ok(below) = path.strip_prefix(directory) {
        return below.display().to_string();
    }
    match context.environment.home.as_ref().and_then(|home| path.strip_prefix(home).ok()) {
        Some(below) => format!("~/{}", below.display()),
        None => path.display().to_string(),
    }
}

fn listed(context: &CommandContext<'_>, typed: &str, directory: &Path) -> String {
    if typed.starts_with('$') {
        return typed.to_owned();
    }
    let parts = typed.split(':').filter(|part| !part.is_empty());
    let parts: Vec<String> =
        parts.map(|part| written(context, &context.environment.directory.join(part), directory)).collect();
    parts.join(":")
}

/// Checks that the written text means the same as its source; a difference is a bug that the user should not have to
/// find.
fn check(context: &CommandContext<'_>, target: &Path, text: &str) -> Result<(), Error> {
    let environment = resolution::Setting {
        home: context.environment.home.clone(),
        kubeconfig: context.environment.kubeconfig.clone(),
        holder: None,
    };
    let resolution = resolution::resolve(SourceFile::new(target, text), vec![], environment);
    match resolution.problems.first() {
        Some(problem) if resolution.inventory.is_none() => {
            Err(Error::usage("the contexts do not make a valid inventory").because(problem.message.clone()))
        }
        _ => Ok(()),
    }
}

/// The clusters of the new inventory so far, and the remarks about what was left out.
struct Starting {
    labels: Labels,
    clusters: Vec<StarterCluster>,
    names: HashSet<String>,
    /// The chosen context of each endpoint.
    reached: HashMap<String, String>,
    remarks: Vec<String>,
}

impl Starting {
    fn add(&mut self, found: ContextFound, kubeconfig: String) {
        let place = format!("context `{}` in `{}`", found.name, found.file.display());
        if let Some(problem) = found.problem {
            return self.remarks.push(format!("{problem}; it is left out"));
        }
        if crate::inventory::syntax::plain_text(&found.name).is_err() {
            return self.remarks.push(format!(
                "{place} has invisible characters in its name, which no inventory has; it is left out, rename it"
            ));
        }
        if found.is_insecure {
            return self.remarks.push(format!(
                "{place} does not check the server's certificate; it is left out, add it with `allow-insecure = true`"
            ));
        }
        if let Some(other) = found.endpoint.as_ref().and_then(|endpoint| self.reached.get(endpoint)) {
            return self
                .remarks
                .push(format!("{place} reaches the same API server as context `{other}`; it is left out"));
        }
        let suggested = cluster_name_of(&found.name);
        let stem = found.file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let candidates = [suggested.clone(), cluster_name_of(&format!("{stem}-{suggested}"))];
        let Some(name) = candidates.into_iter().find(|name| !self.names.contains(name)) else {
            return self.remarks.push(format!("{place} has a name that others have already; it is left out"));
        };
        let labels = match self.labels.of(&found.name) {
            Ok(labels) => labels,
            Err(problem) => {
                self.remarks.push(format!("{place} gets no labels: {problem}"));
                BTreeMap::new()
            }
        };
        self.names.insert(name.clone());
        if let Some(endpoint) = found.endpoint {
            self.reached.insert(endpoint, found.name.clone());
        }
        self.clusters.push(StarterCluster { name, context: found.name, kubeconfig, labels });
    }
}

/// How labels are derived from names.
struct Labels(Option<Regex>);

impl Labels {
    fn parse(args: &InitArgs) -> Result<Self, Error> {
        let Some(text) = &args.label_from_name else { return Ok(Self(None)) };
        let invalid = |cause: String| Error::usage("`--label-from-name` cannot be used").because(cause);
        let regex = Regex::new(text).map_err(|error| invalid(error.to_string()))?;
        let mut keys = regex.capture_names().flatten().peekable();
        if keys.peek().is_none() {
            return Err(invalid("it has no named group".to_owned())
                .hint("name the labels, as in `^(?P<env>prod|dev)-(?P<region>.+)$`"));
        }
        for key in keys {
            validate_label_key(key).map_err(invalid)?;
        }
        Ok(Self(Some(regex)))
    }

    fn of(&self, name: &str) -> Result<BTreeMap<String, String>, String> {
        let Some(regex) = &self.0 else { return Ok(BTreeMap::new()) };
        let captures = regex.captures(name).ok_or("its name does not match `--label-from-name`")?;
        let groups = regex.capture_names().flatten();
        let labels = groups.filter_map(|key| Some((key.to_owned(), captures.name(key)?.as_str().to_owned())));
        let labels: BTreeMap<String, String> = labels.collect();
        labels.values().try_for_each(|value| validate_label_value(value))?;
        Ok(labels)
    }
}
