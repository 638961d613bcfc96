//! Loads an inventory in steps, because the core reads no file: root text → includes → further texts → result.
//!
//! The shell expands the [`Include`] patterns and hands the texts back. Pure: no I/O, no clock.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::admin::Admin;
use super::discovery::Doubt;
use super::left_out::{LeftOut, take_out};
use super::{Context, Parsed, Setting, discovery, resolve_all};
use crate::delivery::Layout;
use crate::inventory::file::{ClusterTable, DefaultsTable, InventoryFile};
use crate::inventory::masking::looks_like_inventory;
use crate::inventory::problem::{At, FileId, Problems};
use crate::inventory::read::Reader;
use crate::inventory::{
    AdminAccess, Discovery, DiscoveryId, Inventory, Location, Omitted, Problem, SourceFile, Sources, syntax,
};
use crate::names::Holder;

/// The version of the inventory format.
const VERSION: &str = "1";

/// A pattern of files to include.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Include {
    /// The absolute pattern, in the syntax of the crate `glob`.
    pub pattern: String,
    /// Where it stands.
    pub location: Location,
    /// The pattern as it was written.
    pub written: String,
}

/// An inventory of which some files may still be missing.
#[derive(Debug)]
pub struct Loading {
    setting: Setting,
    sources: Sources,
    known: HashSet<PathBuf>,
    files: Vec<Parsed>,
    includes: Vec<Include>,
    problems: Problems,
    /// Whether a file could not be read completely, so that a missing key proves nothing.
    incomplete: bool,
    /// Whether a value had the wrong type.
    misread: bool,
    /// The sources whose clusters are not known, and why.
    undiscovered: Vec<(DiscoveryId, String)>,
    /// What they may have found beside the clusters that are known.
    doubts: Vec<Doubt>,
    /// What is wrong with the text of clusters that were found.
    of_found: Problems,
}

/// The result of loading.
#[derive(Debug)]
pub struct Resolution {
    /// The inventory, if no problem is an error.
    pub inventory: Option<Inventory>,
    /// Which file holds which entries, if the inventory is valid.
    pub layout: Option<Layout>,
    /// The problems, in the order of their locations.
    pub problems: Vec<Problem>,
    /// How many further problems there are.
    pub omitted: Omitted,
    /// The files, for showing the problems.
    pub sources: Sources,
    /// The discovered clusters that the inventory cannot have; it is valid without them.
    pub left_out: Vec<LeftOut>,
}

impl Loading {
    /// Parses the root file.
    pub fn start(root: SourceFile, setting: Setting) -> Self {
        let mut loading = Self {
            setting,
            sources: Sources::default(),
            known: HashSet::from([root.path.clone()]),
            files: vec![],
            includes: vec![],
            problems: Problems::default(),
            incomplete: false,
            misread: false,
            undiscovered: vec![],
            doubts: vec![],
            of_found: Problems::default(),
        };
        loading.parse(root);
        if let Some(patterns) = loading.files.first().and_then(|root| root.content.include.clone()) {
            let mut ctx = Context::new(&loading.sources, &loading.setting, &mut loading.problems);
            loading.includes = patterns.value.iter().filter_map(|pattern| ctx.include(pattern)).collect();
            loading.incomplete |= ctx.incomplete;
        }
        loading
    }

    /// Returns the patterns of the files to include, in their order.
    pub fn includes(&self) -> Vec<Include> {
        self.includes.clone()
    }

    /// Adds an included file. A file that is known already is ignored; this includes the root.
    pub fn include(&mut self, file: SourceFile) {
        if self.known.insert(file.path.clone()) {
            self.parse(file);
        }
    }

    /// Reports that a pattern matches no file.
    pub fn unmatched(&mut self, include: &Include) {
        let message = format!("include pattern `{}` matches no file", include.written);
        let mut problem = Problem::error(include.location, message);
        if self.files.iter().any(|parsed| parsed.file.is_root() && parsed.content.discover.is_some()) {
            problem =
                problem.hint("`kubemint discover --write FILE` writes that file, if it is to have what sources find");
        }
        self.problems.push(problem);
        self.incomplete = true;
    }

    /// Notes that an included file with what sources find is not written yet: none of their clusters is known.
    pub fn not_written_yet(&mut self) {
        for discovery in self.discoveries() {
            self.undiscovered(&discovery, "it was not written down yet");
        }
    }

    /// Reports that a file which a pattern matches cannot be read.
    pub fn unreadable(&mut self, include: &Include, path: &Path, cause: &str) {
        let message = format!("cannot read included file `{}`: {cause}", path.display());
        self.problems.push(Problem::error(include.location, message));
        self.incomplete = true;
    }

    /// Returns the sources of further clusters, without those that something is wrong with.
    pub fn discoveries(&self) -> Vec<Discovery> {
        let no_defaults = DefaultsTable::default();
        let root = self.files.iter().find(|parsed| parsed.file.is_root());
        let defaults = root.and_then(|root| root.content.defaults.as_ref()).map_or(&no_defaults, |it| &it.value);
        // What is wrong with them is reported in the end.
        let mut problems = Problems::default();
        let mut ctx = Context::new(&self.sources, &self.setting, &mut problems);
        ctx.misread = self.misread;
        discovery::resolve(&self.files, defaults, &mut ctx)
    }

    /// Returns the admin access of the clusters that a source found, by name, with the defaults of the inventory. What is wrong
    /// with one is reported when they are added.
    pub(crate) fn accesses(&self, discovery: &Discovery, text: String) -> HashMap<String, AdminAccess> {
        let no_defaults = DefaultsTable::default();
        let root = self.files.iter().find(|parsed| parsed.file.is_root());
        let defaults = root.and_then(|root| root.content.defaults.as_ref()).map_or(&no_defaults, |it| &it.value);
        let (mut sources, mut problems) = (self.sources.clone(), Problems::default());
        let file = sources.add(self.found_file(discovery, text));
        let Ok(table) = DeTable::parse(&sources.file(file).text) else { return HashMap::new() };
        let mut reader = Reader { file, problems: &mut problems, partial: true, misread: false };
        let content = InventoryFile::read_table(table.get_ref(), Location::new(file, 0..0), &mut reader);
        let defaults =
            Admin::resolve(defaults.admin.as_ref(), &mut Context::new(&sources, &self.setting, &mut problems));
        let discoveries = self.discoveries();
        let tables = content.clusters.iter().flat_map(|list| &list.value);
        let access = |table: &At<ClusterTable>| {
            let name = &table.value.name.as_ref()?.value;
            let mut problems = Problems::default();
            let mut ctx = Context::new(&sources, &self.setting, &mut problems);
            ctx.discoveries.clone_from(&discoveries);
            let admin = Admin::resolve(table.value.admin.as_ref(), &mut ctx).or(&defaults);
            let access = admin.access(name, table.location, &mut ctx);
            (!problems.has_errors()).then(|| (name.clone(), access))
        };
        tables.filter_map(access).collect()
    }

    /// Returns the file that stands for what a source found.
    fn found_file(&self, discovery: &Discovery, text: String) -> SourceFile {
        // Paths in it start where those of the inventory do.
        let directory = self.sources.root().map(|root| root.directory().to_owned()).unwrap_or_default();
        let file = SourceFile::new(directory.join(format!(".discovered-by-{}", discovery.id)), text);
        file.named(format!("what discovery {} found", discovery.id))
    }

    /// Adds the clusters that a source found, as the text of an inventory file.
    pub fn discovered(&mut self, discovery: &Discovery, text: String) {
        let file = self.sources.add(self.found_file(discovery, text));
        let known = self.files.len();
        let (typed, misread) = (std::mem::take(&mut self.problems), self.misread);
        if self.read(file) {
            self.sources.show(file);
        }
        let found = std::mem::replace(&mut self.problems, typed);
        // A value of the wrong type is wrong in one cluster. Without any table, nothing can be left out.
        if self.files.len() > known {
            self.of_found.extend(found);
            self.misread = misread;
        } else {
            self.problems.extend(found);
        }
        for parsed in self.files.iter_mut().skip(known) {
            parsed.discovered_by = Some(discovery.id.clone());
        }
    }

    /// Notes that the clusters of a source are not known: it was not asked, or did not answer.
    pub fn undiscovered(&mut self, discovery: &Discovery, why: &str) {
        self.undiscovered.push((discovery.id.clone(), why.to_owned()));
        self.doubts.push(Doubt { source: discovery.id.clone(), left_out: None });
    }

    /// Notes that something of a source was left out, which came to a name or would have, if that is known.
    pub fn left_out(&mut self, discovery: &Discovery, why: &str, name: Option<&str>) {
        let source = &discovery.id;
        if !self.undiscovered.iter().any(|(known, _)| known == source) {
            self.undiscovered.push((source.clone(), why.to_owned()));
        }
        let left_out = Some((why.to_owned(), name.map(str::to_owned)));
        self.doubts.push(Doubt { source: source.clone(), left_out });
    }

    /// Notes that no source was asked: the clusters of those that are not frozen are not known.
    pub fn ask_nobody(&mut self) {
        for discovery in self.discoveries().into_iter().filter(|discovery| !discovery.is_frozen) {
            self.undiscovered(&discovery, "it was not asked");
        }
    }

    /// Resolves all files together. Discovered clusters with which the inventory is not valid are left out, if it is valid
    /// without them.
    pub fn finish(mut self) -> Resolution {
        let of_found = std::mem::take(&mut self.of_found);
        let mut left_out = self.leave_out(of_found.errors());
        let (mut resolved, mut problems) = self.resolve();
        let (mut whole, mut of_rules) = (None, vec![]);
        while problems.has_errors() {
            let more = self.leave_out(problems.errors());
            if more.is_empty() {
                break;
            }
            of_rules.extend(more);
            let again = self.resolve();
            whole.get_or_insert(problems);
            (resolved, problems) = again;
        }
        match whole {
            // Without them it is not valid either, so all that is wrong is shown.
            Some(whole) if problems.has_errors() => problems = whole,
            _ => left_out.extend(of_rules),
        }
        let (inventory, layout) = match resolved {
            Some((inventory, layout)) if !problems.has_errors() => (Some(inventory), Some(layout)),
            _ => (None, None),
        };
        let omitted = problems.omitted();
        Resolution { inventory, layout, problems: problems.into_sorted(), omitted, sources: self.sources, left_out }
    }

    /// Leaves out the discovered clusters that some problems are about.
    fn leave_out<'a>(&mut self, problems: impl IntoIterator<Item = &'a Problem>) -> Vec<LeftOut> {
        let left_out = take_out(problems, &mut self.files, &self.sources);
        for LeftOut { source, why, names } in &left_out {
            self.undiscovered.push((source.clone(), why.clone()));
            let doubt =
                |name: &String| Doubt { source: source.clone(), left_out: Some((why.clone(), Some(name.clone()))) };
            self.doubts.extend(names.iter().map(doubt));
        }
        left_out
    }

    /// Resolves the files as they are.
    fn resolve(&self) -> (Option<(Inventory, Layout)>, Problems) {
        let mut problems = self.problems.clone();
        let mut ctx = Context::new(&self.sources, &self.setting, &mut problems);
        ctx.incomplete = self.incomplete || self.misread;
        ctx.misread = self.misread;
        ctx.is_undiscovered = !self.undiscovered.is_empty();
        let resolved = resolve_all(&self.files, (&self.undiscovered, &self.doubts), &mut ctx);
        (resolved, problems)
    }

    fn parse(&mut self, source: SourceFile) {
        let file = self.sources.add(source);
        if self.read(file) {
            self.sources.show(file);
        }
    }

    /// Reads a file, and returns whether it is plausibly an inventory.
    fn read(&mut self, file: FileId) -> bool {
        let text = &self.sources.file(file).text;
        let (table, errors) = DeTable::parse_recoverable(text);
        let is_shown = looks_like_inventory(table.get_ref());
        if !errors.is_empty() {
            // After a syntax error the table is not used: its gaps would look like further problems.
            for error in errors {
                let location = Location::new(file, error.span().unwrap_or(0..0));
                self.problems.push(Problem::error(location, format!("invalid TOML: {}", error.message().trim_end())));
            }
            self.incomplete = true;
            return is_shown;
        }
        if let Some((key, _)) = table.get_ref().iter().min_by_key(|(key, _)| key.span().start)
            && !is_shown
        {
            // The file may be something else, so its keys and values are not reported.
            let message = "this does not look like an inventory: it has no `version` and none of the tables of one";
            let problem = Problem::error(Location::new(file, key.span()), message);
            self.problems.push(
                problem.hint("an inventory begins with `version = 1`; the files that it includes have tables only"),
            );
            self.incomplete = true;
            return is_shown;
        }
        if let Some(version) = table.get_ref().get("version") {
            let known = match version.get_ref() {
                // A wrong type is reported by the reader.
                DeValue::Integer(integer) => integer.to_string() == VERSION,
                _ => true,
            };
            if !known {
                let location = Location::new(file, version.span());
                let written = &text[version.span()];
                let message = format!("unknown format version `{written}`");
                self.problems
                    .push(Problem::error(location, message).hint(format!("this kubemint reads version {VERSION}")));
                self.incomplete = true;
                return is_shown;
            }
        }
        let mut reader = Reader { file, problems: &mut self.problems, partial: !file.is_root(), misread: false };
        let content = InventoryFile::read_table(table.get_ref(), Location::new(file, 0..0), &mut reader);
        self.misread |= reader.misread;
        self.files.push(Parsed { file, content, discovered_by: None });
        is_shown
    }
}

/// Resolves an inventory whose files are all known. No source is asked for further clusters.
pub fn resolve(root: SourceFile, included: Vec<SourceFile>, setting: Setting) -> Resolution {
    let mut loading = Loading::start(root, setting);
    for file in included {
        loading.include(file);
    }
    loading.ask_nobody();
    loading.finish()
}

/// Checks the name of a holder that does not come from an inventory.
///
/// # Errors
///
/// If it is no DNS label; the error is a sentence about it.
pub fn parse_holder(name: &str) -> Result<Holder, String> {
    syntax::dns_label(name).map(|()| Holder::new(name))
}
