//! Reads the inventory and its includes, and reports its problems.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use super::{CommandContext, Environment};
use crate::cluster::kubeconfig_files;
use crate::delivery::Layout;
use crate::discovery::{Named, Omission};
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::fleet::discovery::{self, Asked};
use crate::foreign::shown;
use crate::inventory::{Color, Discovery, DiscoveryId, Inventory, KubeconfigSource, Severity, SourceFile, render};
use crate::names::Holder;
use crate::paths::normalise;
use crate::resolution::{self, LeftOut, Loading, Resolution};
use crate::saved::digest_of_texts;
use crate::store;

/// A valid inventory and which file holds which entries.
#[derive(Debug, Clone)]
pub(super) struct Loaded {
    pub(super) inventory: Inventory,
    pub(super) layout: Layout,
    /// The files that it was read from.
    pub(super) files: Vec<PathBuf>,
    /// The digest of what these say.
    pub(super) digest: String,
    /// The patterns of its includes.
    pub(super) patterns: Vec<String>,
}

impl Loaded {
    /// Returns what a run on this inventory uses a file for, if it does.
    pub(super) fn use_of(&self, path: &Path) -> Option<&'static str> {
        let is = |other: &Path| store::is_same_file(path, other);
        if self.files.iter().any(|file| is(file)) {
            return Some("the inventory, or a part of it");
        }
        let clusters = || self.inventory.clusters.iter();
        let authorities = clusters().filter_map(|cluster| cluster.consumer.certificate_authority.as_ref());
        let mut parts = authorities.chain(clusters().flat_map(|cluster| cluster.admin.parts().map(|(_, path)| path)));
        if parts.any(|part| is(part)) {
            return Some("a certificate, key or token that the inventory names");
        }
        // Many clusters share one kubeconfig, or one directory of them.
        let sources: HashSet<&KubeconfigSource> = clusters().filter_map(|cluster| cluster.admin.source()).collect();
        if sources.into_iter().any(|source| kubeconfig_files(source).iter().any(|file| is(file))) {
            return Some("an admin kubeconfig");
        }
        self.layout.files.iter().find_map(|output| {
            if is(&output.path) {
                return Some("an output");
            }
            if is(&output.lock()) {
                return Some("the lock of an output");
            }
            let tokens = output.token_directory()?;
            path.parent().is_some_and(|parent| store::is_same_file(parent, &tokens)).then_some("a token of an output")
        })
    }
}

/// Loads the inventory; prints its warnings to stderr.
///
/// # Errors
///
/// If a file cannot be read, or the inventory has an error; all of them are shown.
pub(super) async fn load(context: &CommandContext<'_>, holder: Option<&str>) -> Result<Loaded, Error> {
    load_again(context, holder, &mut Answers::default()).await
}

/// What sources answered last, for a process that asks them again and again.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// The source as it was asked, and the text of the clusters that it found.
    last: HashMap<DiscoveryId, (Discovery, String)>,
}

/// Loads the inventory like [`load`]. A source that does not answer keeps the clusters that it found before.
///
/// # Errors
///
/// Like [`load`].
pub(super) async fn load_again(
    context: &CommandContext<'_>,
    holder: Option<&str>,
    answers: &mut Answers,
) -> Result<Loaded, Error> {
    let (mut loading, patterns) = begin(&context.global.inventory, context.environment, holder, None)?;
    discover(context, &mut loading, answers).await;
    let resolution = loading.finish();
    report_unfit(context, &resolution);
    shown_problems(context, resolution, patterns)
}

/// Loads the inventory without asking any source for further clusters; prints its warnings to stderr. `target` is a file that is
/// about to be written with what sources find: the inventory may include it before it exists.
///
/// # Errors
///
/// Like [`load`].
pub(super) fn load_offline(context: &CommandContext<'_>, target: Option<&Path>) -> Result<Loaded, Error> {
    let (mut loading, patterns) = begin(&context.global.inventory, context.environment, None, target)?;
    loading.ask_nobody();
    shown_problems(context, loading.finish(), patterns)
}

/// Asks the sources that are not frozen for their clusters. What they cannot say is reported, and the run goes on with the
/// others.
async fn discover(context: &CommandContext<'_>, loading: &mut Loading, answers: &mut Answers) {
    let live: Vec<Discovery> = loading.discoveries().into_iter().filter(|it| !it.is_frozen).collect();
    answers.last.retain(|id, (source, _)| live.iter().any(|it| it.id == *id && it == source));
    if live.is_empty() {
        return;
    }
    for Asked { discovery, result } in ask(context, loading, live).await {
        match result {
            Ok(named) => {
                report_left_out(context, &discovery, &named);
                // What is left out may be a cluster of before: it is not gone, and the run is not about all of them.
                for Omission { why, name } in &named.left_out {
                    context.is_undiscovered.store(true, Ordering::Relaxed);
                    loading.left_out(&discovery, why, name.as_deref());
                }
                let text = named.live_text(&discovery);
                loading.discovered(&discovery, text.clone());
                answers.last.insert(discovery.id.clone(), (discovery, text));
            }
            Err(why) => {
                context.is_undiscovered.store(true, Ordering::Relaxed);
                loading.undiscovered(&discovery, &why);
                let what_now = match answers.last.get(&discovery.id) {
                    Some((_, text)) => {
                        loading.discovered(&discovery, text.clone());
                        "the clusters that it found before stay in use"
                    }
                    None => "its clusters are left out of this run",
                };
                context.printer.problem(&format!(
                    "warning: discovery `{}` did not answer: {}; {what_now}\n",
                    discovery.id,
                    shown(&why)
                ));
            }
        }
    }
}

/// Asks some sources for their clusters. `loading` knows the defaults of what they say.
pub(super) async fn ask(context: &CommandContext<'_>, loading: &Loading, sources: Vec<Discovery>) -> Vec<Asked> {
    let accesses = |discovery: &Discovery, text| loading.accesses(discovery, text);
    let environment = context.environment;
    discovery::ask(sources, &environment.admin, accesses, environment.clock, resolution::DEFAULT_TIMEOUT).await
}

/// Asks some sources of the inventory for their clusters, after the inventory was read.
///
/// # Errors
///
/// If its file cannot be read any more.
pub(super) async fn ask_again(context: &CommandContext<'_>, sources: Vec<Discovery>) -> Result<Vec<Asked>, Error> {
    let loading = begin_root(&context.global.inventory, context.environment, None)?;
    Ok(ask(context, &loading, sources).await)
}

/// How many of those that are left out are listed.
const LISTED: usize = 5;

/// Says which clusters were found that the inventory cannot have. The run is not about all of them then.
fn report_unfit(context: &CommandContext<'_>, resolution: &Resolution) {
    for LeftOut { source, why, .. } in resolution.left_out.iter().take(LISTED) {
        context.printer.problem(&format!("warning: discovery `{source}`: left out is {}\n", shown(why)));
    }
    if let Some(more) = resolution.left_out.len().checked_sub(LISTED).filter(|more| *more > 0) {
        context.printer.problem(&format!("warning: {more} more problems leave out discovered clusters\n"));
    }
    if !resolution.left_out.is_empty() {
        context.is_undiscovered.store(true, Ordering::Relaxed);
    }
}

/// Says what a source found and could not be a cluster.
pub(super) fn report_left_out(context: &CommandContext<'_>, discovery: &Discovery, named: &Named) {
    for Omission { why, .. } in named.left_out.iter().take(LISTED) {
        context.printer.problem(&format!("warning: discovery `{}`: {}; it is left out\n", discovery.id, shown(why)));
    }
    if named.left_out.len() > LISTED {
        let more = named.left_out.len() - LISTED;
        context.printer.problem(&format!("warning: discovery `{}` leaves out {more} more\n", discovery.id));
    }
}

/// Returns what a run needs of an inventory; prints its problems.
fn shown_problems(
    context: &CommandContext<'_>,
    resolution: Resolution,
    patterns: Vec<String>,
) -> Result<Loaded, Error> {
    let color = if context.printer.colors_stderr() { Color::Always } else { Color::Never };
    let shown = render(&resolution.problems, &resolution.sources, color);
    match (resolution.inventory, resolution.layout) {
        (Some(mut inventory), Some(layout)) => {
            context.printer.remark(&shown);
            let files = resolution.sources.files().map(|file| file.path.clone()).collect();
            let digest = digest_of_texts(resolution.sources.files().map(|file| &*file.text));
            inventory.digest.clone_from(&digest);
            Ok(Loaded { inventory, layout, files, digest, patterns })
        }
        _ => {
            context.printer.problem(&shown);
            let errors = resolution.problems.iter().filter(|problem| problem.severity == Severity::Error).count();
            if resolution.omitted.errors > 0 {
                context.printer.problem(&format!("only the first {} problems are listed\n", resolution.problems.len()));
            }
            let name = context.global.inventory.display();
            let problems = crate::wording::count(errors + resolution.omitted.errors, "problem");
            Err(Error::new(ExitCode::InvalidInventory, format!("invalid inventory `{name}`: {problems}")))
        }
    }
}

/// Reads and resolves the inventory, whatever its problems.
pub(super) async fn resolve(context: &CommandContext<'_>, holder: Option<&str>) -> Result<Resolution, Error> {
    let (mut loading, _) = begin(&context.global.inventory, context.environment, holder, None)?;
    discover(context, &mut loading, &mut Answers::default()).await;
    let resolution = loading.finish();
    report_unfit(context, &resolution);
    Ok(resolution)
}

/// Reads and resolves an inventory without asking any source; returns the patterns of its includes too.
pub(super) fn read(
    written: &Path,
    environment: &Environment,
    holder: Option<&str>,
) -> Result<(Resolution, Vec<String>), Error> {
    let (mut loading, patterns) = begin(written, environment, holder, None)?;
    loading.ask_nobody();
    Ok((loading.finish(), patterns))
}

/// Reads the root file of an inventory.
fn begin_root(written: &Path, environment: &Environment, holder: Option<&str>) -> Result<Loading, Error> {
    let holder = match holder {
        Some(name) => Some(parse_holder(name)?),
        None => None,
    };
    let path = environment.directory.join(written);
    let text = read_text(&path).map_err(|error| {
        let failed = Error::unreadable(ExitCode::InvalidInventory, written, &error);
        if error.kind() == std::io::ErrorKind::NotFound {
            failed.hint("run this where the inventory is, or name it with `--inventory FILE` or `KUBEMINT_INVENTORY`")
        } else {
            failed
        }
    })?;
    let root = SourceFile::new(&path, text).named(written.display().to_string());
    let meant =
        resolution::Setting { home: environment.home.clone(), kubeconfig: environment.kubeconfig.clone(), holder };
    Ok(Loading::start(root, meant))
}

/// Reads an inventory and its includes; returns their patterns too.
///
/// Only `target` may be included and not exist: it is about to be written.
fn begin(
    written: &Path,
    environment: &Environment,
    holder: Option<&str>,
    target: Option<&Path>,
) -> Result<(Loading, Vec<String>), Error> {
    let target = target.map(|target| normalise(&environment.directory.join(target)));
    let is_target = |pattern: &str| {
        let pattern = glob::Pattern::new(&normalise(Path::new(pattern)).display().to_string());
        pattern.is_ok_and(|pattern| target.as_ref().is_some_and(|target| pattern.matches_path(target)))
    };
    let path = environment.directory.join(written);
    let mut loading = begin_root(written, environment, holder)?;
    let mut patterns = vec![];
    for include in loading.includes() {
        patterns.push(include.pattern.clone());
        let mut matches = matching(&include.pattern);
        matches.retain(|found| *found != path);
        if matches.is_empty() && is_target(&include.pattern) {
            loading.not_written_yet();
        } else if matches.is_empty() {
            loading.unmatched(&include);
        }
        for found in matches {
            match read_text(&found) {
                Ok(text) => {
                    let name = relative(&found, &environment.directory);
                    loading.include(SourceFile::new(&found, text).named(name));
                }
                Err(error) => loading.unreadable(&include, &found, &error.to_string()),
            }
        }
    }
    Ok((loading, patterns))
}

/// Reads one file of an inventory.
fn read_text(path: &Path) -> std::io::Result<String> {
    /// Inventories of 10,000 clusters have 2 MB.
    const LARGEST: u64 = 64 * 1024 * 1024;
    let bytes = store::read_regular(path, LARGEST)?;
    String::from_utf8(bytes).map_err(|_| std::io::Error::other("it is not UTF-8 text"))
}

fn parse_holder(name: &str) -> Result<Holder, Error> {
    resolution::parse_holder(name).map_err(|cause| Error::usage(format!("invalid holder `{name}`")).because(cause))
}

/// Returns the files that a pattern matches, sorted; a malformed pattern was reported when it was parsed.
pub(super) fn matching(pattern: &str) -> Vec<PathBuf> {
    let matches = glob::glob(pattern)
        .map(|paths| paths.filter_map(Result::ok).filter(|path| path.is_file()).collect())
        .unwrap_or_default();
    store::distinct(matches)
}

fn relative(path: &Path, directory: &Path) -> String {
    path.strip_prefix(directory).unwrap_or(path).display().to_string()
}
