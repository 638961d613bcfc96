//! Discovery: the sources of clusters that an inventory names, and what they found. Pure.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::admin::{self, Admin};
use super::outputs::{LABEL_VARIABLE, unknown_variable};
use super::{Context, Parsed};
use crate::inventory::file::{ClusterTable, DefaultsTable, DiscoverKind, DiscoverTable};
use crate::inventory::problem::{At, FileId, Location, Problem, Problems, quote};
use crate::inventory::syntax;
use crate::inventory::{
    AdminAccess, Contest, Discovery, DiscoveryHub, DiscoveryId, DiscoveryKind, DiscoveryPreset, KubeconfigSource,
};
use crate::selector::{self, Selector};
use crate::template::Template;

/// Resolves the sources of the root file; what is wrong with one is reported, and that one is left out.
pub(super) fn resolve(files: &[Parsed], defaults: &DefaultsTable, ctx: &mut Context<'_>) -> Vec<Discovery> {
    let root = files.iter().find(|parsed| parsed.file.is_root());
    let tables = root.and_then(|root| root.content.discover.as_ref()).map_or(&[][..], |tables| &tables.value);
    let mut found: Vec<Discovery> = vec![];
    let mut known: HashMap<DiscoveryId, Location> = HashMap::new();
    for table in tables {
        let Some(discovery) = one(table, files, defaults, ctx) else {
            ctx.incomplete = true;
            continue;
        };
        if let Some(first) = known.insert(discovery.id.clone(), table.location) {
            let problem = Problem::error(table.location, format!("two discoveries have the `id` `{}`", discovery.id));
            ctx.problems.push(problem.hint("set another `id` in one of them").also(first, "the other one"));
            continue;
        }
        found.push(discovery);
    }
    found
}

fn one(
    table: &At<DiscoverTable>,
    files: &[Parsed],
    defaults: &DefaultsTable,
    ctx: &mut Context<'_>,
) -> Option<Discovery> {
    let discover = &table.value;
    let kind = discover.kind.as_ref()?.value;
    refuse_keys(kind, discover, ctx);
    let preset = discover.preset.as_ref().map_or(DiscoveryPreset::Kubeconfig, |at| at.value);
    let what = match kind {
        DiscoverKind::Secrets => DiscoveryKind::Hub(hub(preset, table, files, defaults, ctx)?),
        DiscoverKind::ClusterProfile => {
            DiscoveryKind::Hub(hub(DiscoveryPreset::ClusterProfile, table, files, defaults, ctx)?)
        }
        DiscoverKind::Kubeconfigs => {
            let path = lacking(discover.path.as_ref(), table.location, kind, "path", ctx)?;
            DiscoveryKind::Kubeconfigs(admin::source(path, ctx)?)
        }
        DiscoverKind::Command => {
            let command = lacking(discover.command.as_ref(), table.location, kind, "command", ctx)?;
            let words: Vec<String> = command.value.iter().map(|word| word.value.clone()).collect();
            if words.first().is_none_or(String::is_empty) {
                ctx.error(command.location, "`command` names no program");
                return None;
            }
            // Only a program with a slash is a path, as in a shell.
            let program = match command.value.first() {
                Some(first) if first.value.contains('/') => ctx.path("command", first)?.display().to_string(),
                first => first.map(|first| first.value.clone())?,
            };
            DiscoveryKind::Command(std::iter::once(program).chain(words.into_iter().skip(1)).collect())
        }
    };
    let id = match &discover.id {
        Some(id) => {
            ctx.check("id", id, syntax::dns_label);
            id.value.as_str()
        }
        None if kind == DiscoverKind::Secrets => preset.as_str(),
        None => kind.as_str(),
    };
    let name = name(kind, preset, discover, ctx)?;
    for key in discover.labels.iter().flat_map(|keys| &keys.value) {
        if let Err(message) = selector::validate_label_key(&key.value) {
            ctx.error(key.location, message);
        }
    }
    let mut add_labels = BTreeMap::new();
    for (key, value) in discover.add_labels.iter().flat_map(|labels| &labels.value.0) {
        for (at, verdict) in
            [(key, selector::validate_label_key(&key.value)), (value, selector::validate_label_value(&value.value))]
        {
            if let Err(message) = verdict {
                ctx.error(at.location, message);
            }
        }
        add_labels.insert(key.value.clone(), value.value.clone());
    }
    Some(Discovery {
        id: DiscoveryId::new(id),
        kind: what,
        name,
        labels: discover.labels.iter().flat_map(|keys| &keys.value).map(|key| key.value.clone()).collect(),
        add_labels,
        is_frozen: discover.frozen.as_ref().is_some_and(|at| at.value),
    })
}

/// Returns the template of the names of clusters.
fn name(
    kind: DiscoverKind,
    preset: DiscoveryPreset,
    discover: &DiscoverTable,
    ctx: &mut Context<'_>,
) -> Option<String> {
    let variables: &[&'static str] = match kind {
        DiscoverKind::Secrets | DiscoverKind::ClusterProfile => &["namespace", "name", "cluster", LABEL_VARIABLE],
        DiscoverKind::Kubeconfigs => &["context", "file"],
        DiscoverKind::Command => &["name", LABEL_VARIABLE],
    };
    let Some(name) = &discover.name else {
        let default = match (kind, preset) {
            (DiscoverKind::Kubeconfigs, _) => "{context}",
            (DiscoverKind::Secrets, DiscoveryPreset::Kubeconfig)
            | (DiscoverKind::ClusterProfile | DiscoverKind::Command, _) => "{name}",
            (DiscoverKind::Secrets, _) => "{cluster}",
        };
        return Some(default.to_owned());
    };
    let is_label = |name: &str| name.strip_prefix("labels.").is_some_and(|key| !key.is_empty());
    let knows_labels = variables.contains(&LABEL_VARIABLE);
    let is_known = |name: &str| variables.contains(&name) || (knows_labels && is_label(name));
    match Template::parse_with(&name.value, is_known) {
        Ok(_) => Some(name.value.clone()),
        Err(error) => {
            let location = ctx.inside(name, error.offset, error.length);
            let problem = unknown_variable(&error, location, variables, ctx);
            ctx.problems.push(problem);
            None
        }
    }
}

fn lacking<'a, T>(
    key: Option<&'a At<T>>,
    location: Location,
    kind: DiscoverKind,
    name: &str,
    ctx: &mut Context<'_>,
) -> Option<&'a At<T>> {
    if key.is_none() && !ctx.misread {
        ctx.error(location, format!("a discovery of kind `{}` lacks the key `{name}`", kind.as_str()));
    }
    key
}

/// Resolves the hub of a source.
fn hub(
    preset: DiscoveryPreset,
    table: &At<DiscoverTable>,
    files: &[Parsed],
    defaults: &DefaultsTable,
    ctx: &mut Context<'_>,
) -> Option<Arc<DiscoveryHub>> {
    let discover = &table.value;
    let admin = discover.admin.as_ref();
    let Some(admin) = admin else {
        let problem = Problem::error(table.location, "a discovery in a hub lacks the key `admin`");
        ctx.problems.push(problem.hint("say how that cluster is reached: `admin = { context = \"hub\" }`"));
        return None;
    };
    let (access, is_insecure) = match &admin.value.cluster {
        Some(name) => {
            if admin::has_other_keys(&admin.value) {
                ctx.error(name.location, "`cluster` is a whole admin access, so it needs no other keys");
            }
            of_cluster(name, files, defaults, ctx)?
        }
        None => {
            let resolved = Admin::resolve(Some(admin), ctx).or(&Admin::resolve(defaults.admin.as_ref(), ctx));
            let context = admin.value.context.as_ref().map_or("", |context| &context.value);
            let access = resolved.access(context, admin.location, ctx);
            if matches!(&access, AdminAccess::Kubeconfig { .. } if context.is_empty()) {
                ctx.error(admin.location, "the `admin` of a discovery lacks the key `context`");
                return None;
            }
            (access, false)
        }
    };
    if access.source().is_some_and(|source| matches!(source, KubeconfigSource::Secret(_))) {
        ctx.error(admin.location, "a hub that is discovered itself cannot be asked for clusters");
        return None;
    }
    for namespace in discover.namespaces.iter().flat_map(|names| &names.value) {
        ctx.check("namespace", namespace, syntax::dns_label);
    }
    if let Some(namespace) = &discover.secret_namespace {
        ctx.check("secret-namespace", namespace, syntax::dns_label);
        if discover.frozen.as_ref().is_none_or(|frozen| !frozen.value) {
            let why = "who may edit a ClusterProfile would choose the server that a token of that namespace is sent to";
            let problem =
                Problem::error(namespace.location, format!("`secret-namespace` needs `frozen = true`: {why}"));
            ctx.problems
                .push(problem.hint("write its clusters down with `kubemint discover --write FILE`, and review them"));
        }
    }
    if let Some(text) = &discover.selector
        && let Err(error) = Selector::parse(&text.value)
    {
        let location = ctx.inside(text, error.offset, error.length);
        ctx.error(location, format!("invalid selector: {}", error.message));
    }
    if let Some(named) = &discover.named
        && let Err(error) = glob::Pattern::new(&named.value)
    {
        ctx.error(named.location, format!("`named` is not a valid pattern: {}", error.msg));
    }
    let text = |at: &Option<At<String>>| at.as_ref().map(|at| at.value.clone());
    Some(Arc::new(DiscoveryHub {
        access,
        allow_insecure: discover.allow_insecure.as_ref().map_or(is_insecure, |at| at.value),
        preset,
        namespaces: discover.namespaces.iter().flat_map(|names| &names.value).map(|at| at.value.clone()).collect(),
        selector: text(&discover.selector).unwrap_or_default(),
        named: text(&discover.named),
        secret_type: text(&discover.secret_type),
        key: text(&discover.key),
        secret_namespace: text(&discover.secret_namespace),
        allow_exec: discover.allow_exec.as_ref().is_some_and(|at| at.value),
    }))
}

/// Returns the access of a cluster that the inventory names. What is wrong with that one is reported with it.
fn of_cluster(
    name: &At<String>,
    files: &[Parsed],
    defaults: &DefaultsTable,
    ctx: &mut Context<'_>,
) -> Option<(AdminAccess, bool)> {
    let is_it = |table: &&At<ClusterTable>| table.value.name.as_ref().is_some_and(|it| it.value == name.value);
    let tables = files.iter().filter_map(|parsed| parsed.content.clusters.as_ref()).flat_map(|list| &list.value);
    let Some(table) = tables.clone().find(is_it) else {
        let known = tables.filter_map(|table| Some(table.value.name.as_ref()?.value.as_str()));
        let mut problem = Problem::error(name.location, format!("unknown cluster {}", quote(&name.value)));
        problem.hint = ctx.problems.suggest("clusters", &name.value, known);
        ctx.problems.push(problem);
        return None;
    };
    let mut reported_elsewhere = Problems::default();
    let mut ctx = Context { misread: ctx.misread, ..Context::new(ctx.sources, ctx.setting, &mut reported_elsewhere) };
    let resolved = Admin::resolve(table.value.admin.as_ref(), &mut ctx);
    let resolved = resolved.or(&Admin::resolve(defaults.admin.as_ref(), &mut ctx));
    let access = resolved.access(&name.value, table.location, &mut ctx);
    Some((access, table.value.allow_insecure.as_ref().is_some_and(|at| at.value)))
}

/// Refuses keys of other kinds.
fn refuse_keys(kind: DiscoverKind, discover: &DiscoverTable, ctx: &mut Context<'_>) {
    fn at<T>(at: Option<&At<T>>) -> Option<Location> {
        at.map(|at| at.location)
    }
    let of_hubs: &[DiscoverKind] = &[DiscoverKind::Secrets, DiscoverKind::ClusterProfile];
    let of_secrets: &[DiscoverKind] = &[DiscoverKind::Secrets];
    let keys = [
        ("preset", at(discover.preset.as_ref()), of_secrets),
        ("admin", at(discover.admin.as_ref()), of_hubs),
        ("allow-insecure", at(discover.allow_insecure.as_ref()), of_hubs),
        ("namespaces", at(discover.namespaces.as_ref()), of_hubs),
        ("selector", at(discover.selector.as_ref()), of_hubs),
        ("named", at(discover.named.as_ref()), of_hubs),
        ("type", at(discover.secret_type.as_ref()), of_secrets),
        ("key", at(discover.key.as_ref()), of_secrets),
        ("secret-namespace", at(discover.secret_namespace.as_ref()), &[DiscoverKind::ClusterProfile]),
        ("allow-exec", at(discover.allow_exec.as_ref()), of_hubs),
        ("path", at(discover.path.as_ref()), &[DiscoverKind::Kubeconfigs]),
        ("command", at(discover.command.as_ref()), &[DiscoverKind::Command]),
    ];
    for (key, location, kinds) in keys {
        if let Some(location) = location.filter(|_| !kinds.contains(&kind)) {
            let kinds: Vec<String> = kinds.iter().map(|kind| format!("`{}`", kind.as_str())).collect();
            let message =
                format!("`{key}` is for kind {}, and this discovery is `{}`", kinds.join(" and "), kind.as_str());
            ctx.error(location, message);
        }
    }
    let preset = discover.preset.as_ref().map(|at| at.value);
    let of_any = [("type", at(discover.secret_type.as_ref())), ("key", at(discover.key.as_ref()))];
    for (key, location) in of_any {
        if let Some(location) = location
            && let Some(preset) = preset.filter(|preset| *preset != DiscoveryPreset::Kubeconfig)
        {
            ctx.error(
                location,
                format!("`{key}` is for preset `kubeconfig`; `{}` decides that itself", preset.as_str()),
            );
        }
    }
}

/// Puts what was found together with what the inventory says.
///
/// A table whose `admin` names the source refines the cluster of its name that the source found, key by key. Any other table
/// stays as it is: whoever may write in a hub does not get to be the cluster that somebody else named.
pub(super) fn refined<'a>(files: &'a [Parsed], ctx: &mut Context<'_>) -> Vec<Cow<'a, At<ClusterTable>>> {
    let tables = |parsed: &'a Parsed| parsed.content.clusters.iter().flat_map(|list| &list.value);
    let typed = files.iter().filter(|parsed| parsed.discovered_by.is_none());
    let mut all: Vec<Cow<'a, At<ClusterTable>>> = typed.flat_map(tables).map(Cow::Borrowed).collect();
    if files.iter().all(|parsed| parsed.discovered_by.is_none()) && ctx.discoveries.is_empty() {
        return all;
    }
    let by_name: HashMap<Option<String>, usize> =
        all.iter().enumerate().rev().map(|(index, table)| (name_of(table).map(str::to_owned), index)).collect();
    let mut seen = HashSet::new();
    let found = files.iter().filter_map(|parsed| Some((parsed.discovered_by.as_ref()?, parsed)));
    for (source, found) in found.flat_map(|(source, parsed)| tables(parsed).map(move |table| (source, table))) {
        let name = name_of(found).map(str::to_owned);
        match by_name.get(&name).and_then(|index| all.get_mut(*index)) {
            Some(table) if source_of(table).is_some_and(|id| id.value == source.as_str()) => {
                refine(&mut table.to_mut().value, found.value.clone());
            }
            Some(table) => {
                let named = quote(name.as_deref().unwrap_or_default());
                let problem = Problem::warning(
                    table.location,
                    format!(
                        "discovery `{source}` found a cluster {named} too, which is left out: this one has the name"
                    ),
                );
                ctx.problems.push(problem.hint(format!(
                    "if this is meant to refine what is found, say `admin = {{ discovered = \"{source}\" }}`; otherwise \
                     give the discovery another `name`"
                )));
            }
            // Two sources may find one cluster; what reads them says so.
            None if seen.insert(name) => all.push(Cow::Borrowed(found)),
            None => {}
        }
    }
    // What refines a cluster that is not found has no access.
    let live: HashSet<&str> =
        ctx.discoveries.iter().filter(|source| !source.is_frozen).map(|source| source.id.as_str()).collect();
    let is_found =
        |table: &At<ClusterTable>| placeholder_of(table).is_none_or(|source| !live.contains(source.value.as_str()));
    let (found, lacking): (Vec<_>, Vec<_>) = all.into_iter().partition(|table| is_found(table));
    if !ctx.is_undiscovered {
        for table in &lacking {
            let (Some(source), Some(name)) = (placeholder_of(table), name_of(table)) else { continue };
            let (source, name) = (quote(&source.value), quote(name));
            let message = format!("discovery {source} does not find cluster {name}, so it is left out");
            ctx.problems.push(Problem::warning(table.location, message));
        }
    }
    // Grants and outputs may name it still.
    ctx.is_undiscovered |= !lacking.is_empty();
    found
}

/// What a source may have found beside the clusters that are known.
#[derive(Debug, Clone)]
pub(super) struct Doubt {
    /// The source.
    pub(super) source: DiscoveryId,
    /// What was left out, and the name that it would have, if that is known; nothing if the source did not answer.
    pub(super) left_out: Option<(String, Option<String>)>,
}

/// Returns the sources whose findings are in files.
pub(super) fn sources_of(files: &[Parsed]) -> BTreeMap<FileId, DiscoveryId> {
    files.iter().filter_map(|parsed| Some((parsed.file, parsed.discovered_by.clone()?))).collect()
}

/// The doubts of each source about each name, and about all of them.
pub(super) struct Doubts<'a>(HashMap<(&'a DiscoveryId, Option<&'a str>), &'a Doubt>);

impl<'a> Doubts<'a> {
    pub(super) fn of(doubts: &'a [Doubt]) -> Self {
        let mut by_name: HashMap<_, &Doubt> = HashMap::new();
        for doubt in doubts {
            let name = doubt.left_out.as_ref().and_then(|(_, name)| name.as_deref());
            let known = by_name.entry((&doubt.source, name)).or_insert(doubt);
            // That it did not answer says more than what it left out before.
            if doubt.left_out.is_none() {
                *known = doubt;
            }
        }
        Self(by_name)
    }

    /// Returns the doubt of a source about a name that is known best: that it did not answer, or what came to this very name.
    fn about(&self, source: &DiscoveryId, name: &str) -> Option<&'a Doubt> {
        let of_all = self.0.get(&(source, None));
        let of_name = self.0.get(&(source, Some(name)));
        of_all.filter(|doubt| doubt.left_out.is_none()).or(of_name).or(of_all).copied()
    }
}

/// Returns the sources before `own` that may have a cluster of a name that `own` found, too. One that answered, and of which
/// nothing was left out that may have that name, leaves it to `own`.
pub(super) fn contests(own: &DiscoveryId, name: &str, doubts: &Doubts<'_>, ctx: &Context<'_>) -> Vec<Contest> {
    let before = ctx.discoveries.iter().map(|source| &source.id).take_while(|source| *source != own);
    let contest = |source: &DiscoveryId| {
        let left_out = doubts.about(source, name)?.left_out.as_ref().map(|(why, _)| why.clone());
        Some(Contest { source: source.clone(), left_out })
    };
    before.filter_map(contest).collect()
}

fn name_of(table: &At<ClusterTable>) -> Option<&str> {
    table.value.name.as_ref().map(|name| name.value.as_str())
}

/// Returns the source that a table's `admin` names.
fn source_of(table: &At<ClusterTable>) -> Option<&At<String>> {
    table.value.admin.as_ref()?.value.discovered.as_ref()
}

/// Returns the source that a table's `admin` names, if it leaves to that which Secret or file it is.
fn placeholder_of(table: &At<ClusterTable>) -> Option<&At<String>> {
    let admin = &table.value.admin.as_ref()?.value;
    admin.discovered.as_ref().filter(|_| admin::is_discovered_only(admin))
}

fn refine(typed: &mut ClusterTable, found: ClusterTable) {
    if typed.admin.as_ref().is_none_or(|admin| admin::is_discovered_only(&admin.value)) {
        typed.admin = found.admin;
    }
    typed.consumer = typed.consumer.take().or(found.consumer);
    typed.labels = match (typed.labels.take(), found.labels) {
        (Some(mut typed), Some(found)) => {
            let keys: HashSet<String> = typed.value.0.iter().map(|(key, _)| key.value.clone()).collect();
            typed.value.0.extend(found.value.0.into_iter().filter(|(key, _)| !keys.contains(&key.value)));
            Some(typed)
        }
        (typed, found) => typed.or(found),
    };
}
