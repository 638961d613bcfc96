//! Outputs: which grants each selects, the templates of kubeconfigs, and what their files collide with. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Context;
use super::Parsed;
use super::clusters::Clusters;
use super::grants::{Granted, Grants};
use super::profiles::Profiles;
use super::secrets::Secrets;
use super::selection::select;
use crate::delivery::{
    Collision, CollisionKind, CredentialForm, DEFAULT_CONTEXT, FileForm, LOCK_SUFFIX, Layout, OWN_PREFIX, Output,
    OutputFile, OutputId, VARIABLES,
};
use crate::inventory::file::{OutputKind, OutputTable};
use crate::inventory::problem::{At, Location, Problem, quote};
use crate::inventory::render::count;
use crate::inventory::syntax;
use crate::inventory::{Grant, GrantKey, Inventory};
use crate::names::{ClusterName, Holder, InventoryName, ProfileName};
use crate::paths;
use crate::template::{Template, TemplateError, TemplateErrorKind};
use crate::wording::list;

/// An output, and the locations of its keys.
#[derive(Debug)]
pub(super) struct ResolvedOutput {
    pub(super) output: Arc<Output>,
    location: Location,
    path: Location,
    context: Option<Location>,
    cluster: Option<Location>,
    user: Option<Location>,
    current_context: Option<Location>,
}

/// What the outputs come to: kubeconfigs and Secrets.
pub(super) struct Outputs {
    /// The kubeconfigs, in the order of the inventory.
    pub(super) kubeconfigs: Vec<ResolvedOutput>,
    /// The Secrets.
    pub(super) secrets: Secrets,
}

/// Which grants an output selects.
pub(super) struct Selected<'a> {
    clusters: Option<HashSet<&'a ClusterName>>,
    profiles: Option<BTreeSet<&'a ProfileName>>,
    /// The inventory's name, which templates know.
    pub(super) inventory: &'a InventoryName,
    /// The holder, which templates know.
    pub(super) holder: &'a Holder,
}

impl Selected<'_> {
    /// Returns whether it selects a grant.
    pub(super) fn holds(&self, granted: &Granted) -> bool {
        let Grant { cluster, profile, .. } = &*granted.grant;
        self.clusters.as_ref().is_none_or(|selected| selected.contains(&cluster.name))
            && self.profiles.as_ref().is_none_or(|wanted| wanted.contains(&profile.name))
    }
}

pub(super) fn resolve(
    files: &[Parsed],
    (clusters, profiles, grants): (&Clusters, &Profiles, &Grants),
    (inventory, holder): (&InventoryName, &Holder),
    ctx: &mut Context<'_>,
) -> Outputs {
    let tables = files.iter().filter_map(|parsed| parsed.content.outputs.as_ref()).flat_map(|list| &list.value);
    let mut outputs = Outputs { kubeconfigs: vec![], secrets: Secrets::default() };
    for (id, table) in (0..).map(OutputId::new).zip(tables) {
        let output = &table.value;
        let wanted = output.profiles.as_ref().map(|names| {
            let found = names.value.iter().filter_map(|name| profiles.find(name, ctx));
            found.map(|resolved| &resolved.profile.name).collect()
        });
        let selected = Selected {
            clusters: select(output.selector.as_ref(), output.clusters.as_ref(), clusters, ctx),
            profiles: wanted,
            inventory,
            holder,
        };
        if let Some(names) = output.profiles.as_ref().filter(|names| names.value.is_empty()) {
            ctx.error(names.location, "the output names no profile");
            ctx.incomplete = true;
        }
        if !ctx.incomplete && !ctx.is_undiscovered && !grants.list.iter().any(|granted| selected.holds(granted)) {
            ctx.problems.push(Problem::warning(table.location, "no grant reaches this output"));
        }
        match output.kind.as_ref().map_or(OutputKind::Kubeconfig, |kind| kind.value) {
            OutputKind::Kubeconfig => outputs.kubeconfigs.extend(kubeconfig(id, table, grants, &selected, ctx)),
            OutputKind::TokenFile => {
                refuse_keys_of_kubeconfigs(output, ctx);
                outputs.kubeconfigs.extend(kubeconfig(id, table, grants, &selected, ctx));
            }
            OutputKind::Secret(kind) => {
                outputs.secrets.add((id, kind), table, (clusters, grants), &selected, ctx);
            }
        }
    }
    if !ctx.incomplete {
        outputs.secrets.check_collisions(clusters, ctx);
        warn_about_tokenless(&outputs, grants, ctx);
    }
    outputs
}

/// Returns where a key stands, if it is there.
pub(super) fn at<T>(key: Option<&At<T>>) -> Option<Location> {
    key.map(|key| key.location)
}

/// Refuses keys of Secrets.
fn refuse_keys_of_secrets(output: &OutputTable, ctx: &mut Context<'_>) {
    let keys = [
        ("admin", at(output.admin.as_ref())),
        ("allow-insecure", at(output.allow_insecure.as_ref())),
        ("create-namespaces", at(output.create_namespaces.as_ref())),
        ("name", at(output.name.as_ref())),
        ("type", at(output.secret_type.as_ref())),
        ("labels", at(output.labels.as_ref())),
        ("annotations", at(output.annotations.as_ref())),
        ("data", at(output.data.as_ref())),
        ("rotation", at(output.rotation.as_ref())),
        ("restart-acknowledged", at(output.restart_acknowledged.as_ref())),
        ("workload", at(output.workload.as_ref())),
        ("options", at(output.options.as_ref())),
    ];
    let is_token_file = output.kind.as_ref().is_some_and(|kind| kind.value == OutputKind::TokenFile);
    let what = if is_token_file { "a file with a token" } else { "a kubeconfig file" };
    for (key, location) in keys {
        if let Some(location) = location {
            let problem = Problem::error(location, format!("`{key}` is for Secrets, and this output is {what}"));
            ctx.problems.push(problem.hint("set `kind` to `\"secret\"`, or to the consumer that the Secret is for"));
        }
    }
}

/// Refuses keys of kubeconfigs in an output of token files.
fn refuse_keys_of_kubeconfigs(output: &OutputTable, ctx: &mut Context<'_>) {
    let keys = [
        ("credential", at(output.credential.as_ref())),
        ("context", at(output.context.as_ref())),
        ("cluster", at(output.cluster.as_ref())),
        ("user", at(output.user.as_ref())),
        ("namespace", at(output.namespace.as_ref())),
        ("current-context", at(output.current_context.as_ref())),
    ];
    for (key, location) in keys {
        if let Some(location) = location {
            ctx.error(
                location,
                format!("`{key}` is for kubeconfigs, and the files of this output hold a token and nothing else"),
            );
        }
    }
}

fn kubeconfig(
    id: OutputId,
    table: &At<OutputTable>,
    grants: &Grants,
    selected: &Selected<'_>,
    ctx: &mut Context<'_>,
) -> Option<ResolvedOutput> {
    let output = &table.value;
    // An output whose `kind` could not be read may be a Secret.
    if output.kind.is_some() || !ctx.misread {
        refuse_keys_of_secrets(output, ctx);
    }
    let names = [&output.context, &output.cluster, &output.user, &output.current_context];
    for template in names.into_iter().flatten() {
        check_template(template, ctx);
    }
    if let Some(namespace) = &output.namespace {
        ctx.check("namespace", namespace, syntax::dns_label);
    }
    if output.path.is_none() && !ctx.misread {
        ctx.error(table.location, "an output lacks the key `path`");
    }
    let credential = output.credential.as_ref().map(|form| form.value).unwrap_or_default();
    let plugin_keys = [("command", &output.command), ("credential-directory", &output.credential_directory)];
    for (key, value) in plugin_keys {
        if let Some(value) = value.as_ref().filter(|_| credential != CredentialForm::Exec) {
            ctx.error(value.location, format!("`{key}` needs `credential = \"exec\"`"));
        }
    }
    if let Some(command) = output.command.as_ref().filter(|command| !command.value.starts_with('/')) {
        ctx.error(command.location, "`command` must be an absolute path: kubectl runs it from any directory");
    }
    let path = output.path.as_ref().and_then(|path| {
        let is_good = check_template(path, ctx);
        ctx.path_template(path).filter(|_| is_good).map(|text| (text, path.location))
    });
    let Some((path, path_location)) = path else {
        ctx.incomplete = true;
        return None;
    };
    let names_holder = names.into_iter().flatten().find(|template| template.value.contains("{holder}"));
    if let Some(template) =
        names_holder.filter(|_| credential == CredentialForm::TokenFile && !path.contains("{holder}"))
    {
        ctx.error(
            template.location,
            "two holders would write one token file, whose name has no `{holder}`: put `{holder}` into `path` instead",
        );
    }
    let held: Vec<GrantKey> =
        grants.list.iter().filter(|granted| selected.holds(granted)).map(|granted| granted.grant.key()).collect();
    let text = |at: &Option<At<String>>| at.as_ref().map(|at| at.value.clone());
    let location = |at: &Option<At<String>>| at.as_ref().map(|at| at.location);
    Some(ResolvedOutput {
        output: Arc::new(Output {
            id,
            form: match output.kind.as_ref().map(|kind| kind.value) {
                Some(OutputKind::TokenFile) => FileForm::TokenFile,
                Some(OutputKind::Kubeconfig | OutputKind::Secret(_)) | None => FileForm::Kubeconfig,
            },
            path,
            credential,
            command: output.command.as_ref().map(|command| PathBuf::from(&command.value)),
            credential_directory: output
                .credential_directory
                .as_ref()
                .and_then(|directory| ctx.path("credential-directory", directory)),
            context: text(&output.context).unwrap_or_else(|| DEFAULT_CONTEXT.to_owned()),
            cluster: text(&output.cluster),
            user: text(&output.user),
            namespace: text(&output.namespace),
            current_context: text(&output.current_context),
            holds: held.iter().cloned().collect(),
            grants: held,
        }),
        location: table.location,
        path: path_location,
        context: location(&output.context),
        cluster: location(&output.cluster),
        user: location(&output.user),
        current_context: location(&output.current_context),
    })
}

fn check_template(text: &At<String>, ctx: &mut Context<'_>) -> bool {
    if let Err(reason) = syntax::plain_text(&text.value) {
        ctx.error(text.location, format!("the template is not valid: {reason}"));
        ctx.incomplete = true;
        return false;
    }
    let Err(error) = Template::parse(&text.value, &VARIABLES) else {
        return true;
    };
    let location = ctx.inside(text, error.offset, error.length);
    let problem = unknown_variable(&error, location, &VARIABLES, ctx);
    ctx.problems.push(problem);
    ctx.incomplete = true;
    false
}

/// How lists of variables name those that stand for labels.
pub(super) const LABEL_VARIABLE: &str = "labels.NAME";

/// Returns the problem of a template that cannot be read.
pub(super) fn unknown_variable(
    error: &TemplateError,
    location: Location,
    variables: &[&'static str],
    ctx: &mut Context<'_>,
) -> Problem {
    match &error.kind {
        TemplateErrorKind::UnknownVariable(name) => {
            let mut problem = Problem::error(location, format!("unknown variable {}", quote(&format!("{{{name}}}"))));
            let nearest = ctx.problems.nearest(name, variables.iter().copied());
            let label = name.strip_prefix("label.").filter(|_| variables.contains(&LABEL_VARIABLE));
            problem.hint = Some(match (label, nearest, variables.split_last()) {
                (Some(label), _, _) => format!("did you mean `{{labels.{label}}}`?"),
                (None, Some(nearest), _) => format!("did you mean `{{{nearest}}}`?"),
                (None, None, Some((last, others))) => {
                    let others: Vec<String> = others.iter().map(|name| format!("`{{{name}}}`")).collect();
                    format!("the variables are {} and `{{{last}}}`", others.join(", "))
                }
                (None, None, None) => "there are no variables here".to_owned(),
            });
            problem
        }
        TemplateErrorKind::LoneBrace(brace) => {
            Problem::error(location, error.kind.to_string()).hint(format!("write `{brace}{brace}` for a brace"))
        }
    }
}

/// Warns about profiles whose grants get objects but no token.
fn warn_about_tokenless(outputs: &Outputs, grants: &Grants, ctx: &mut Context<'_>) {
    let in_files = outputs.kubeconfigs.iter().flat_map(|resolved| &resolved.output.grants);
    let is_held: HashSet<&GrantKey> = in_files.chain(outputs.secrets.grants()).collect();
    let mut lacking: BTreeMap<&ProfileName, Vec<&Granted>> = BTreeMap::new();
    for granted in grants.list.iter().filter(|granted| !is_held.contains(&granted.grant.key())) {
        lacking.entry(&granted.grant.profile.name).or_default().push(granted);
    }
    for (profile, lacking) in lacking {
        let names = lacking.iter().map(|granted| granted.grant.cluster.name.as_str());
        let message = format!(
            "no output holds profile `{profile}` on {}, so no token is minted: {}",
            count(lacking.len(), "cluster"),
            list(names, 3)
        );
        let problem = Problem::warning(lacking[0].location, message);
        ctx.problems.push(problem.hint("add an `[[outputs]]` that holds it"));
    }
}

/// Computes which file holds which entries, and reports files that cannot be written.
pub(super) fn check_layout(inventory: &Inventory, outputs: &[ResolvedOutput], ctx: &mut Context<'_>) -> Option<Layout> {
    match Layout::compute(&inventory.outputs, &inventory.name, &inventory.holder) {
        Ok(layout) => {
            check_current_contexts(&layout, outputs, ctx);
            check_targets(&layout, inventory, outputs, ctx);
            Some(layout)
        }
        Err(collisions) => {
            report_collisions(&collisions, outputs, ctx);
            None
        }
    }
}

/// Finds an output. They stand in the order of their ids.
fn find(outputs: &[ResolvedOutput], id: OutputId) -> Option<&ResolvedOutput> {
    outputs.binary_search_by_key(&id, |resolved| resolved.output.id).ok().map(|at| &outputs[at])
}

/// Reports collisions; those of the same kind between the same two outputs are one problem.
fn report_collisions(collisions: &[Collision], outputs: &[ResolvedOutput], ctx: &mut Context<'_>) {
    let mut together: BTreeMap<(OutputId, OutputId, CollisionKind), Vec<&Collision>> = BTreeMap::new();
    for collision in collisions {
        let key = (collision.second.output.id, collision.first.output.id, collision.kind);
        together.entry(key).or_default().push(collision);
    }
    for ((second, first, kind), collisions) in together {
        let mut message = collisions[0].describe();
        if collisions.len() > 1 {
            message.push_str(&format!(", and {} like this", count(collisions.len() - 1, "more collision")));
        }
        let Some(output) = find(outputs, second) else { continue };
        let location = match kind {
            CollisionKind::Context => output.context,
            CollisionKind::Cluster => output.cluster.or(output.context),
            CollisionKind::User => output.user.or(output.context),
            CollisionKind::CurrentContext => output.current_context,
            CollisionKind::Directory | CollisionKind::Lock | CollisionKind::TokenFiles | CollisionKind::Token => None,
        };
        let mut problem = Problem::error(location.unwrap_or(output.path), message);
        problem.hint = collisions[0].hint();
        let collide = collisions.iter().flat_map(|collision| [&collision.first, &collision.second]);
        problem = problem.about(collide.map(|origin| &origin.grant.cluster));
        if let Some(other) = find(outputs, first).filter(|_| first != second) {
            problem = problem.also(other.path, "the other output");
        }
        ctx.problems.push(problem);
    }
}

/// Refuses a `current-context` that no file of the output has.
fn check_current_contexts(layout: &Layout, outputs: &[ResolvedOutput], ctx: &mut Context<'_>) {
    for id in layout.dangling.iter().copied() {
        let Some(output) = find(outputs, id) else { continue };
        let written = output.output.current_context.as_deref().unwrap_or_default();
        let files = layout.files.iter().filter(|file| file.outputs.contains(&id));
        let contexts = files.flat_map(|file| file.entries.iter().map(|entry| entry.context.as_str()));
        let message = format!("no file of this output has the context {}", quote(written));
        let mut problem = Problem::error(output.current_context.unwrap_or(output.location), message);
        problem.hint = ctx.problems.suggest("contexts", written, contexts);
        ctx.problems.push(problem);
    }
}

/// Returns why no file of that name can be written.
fn unusable_name(file: &OutputFile) -> Option<String> {
    /// The limit of all usual file systems (`NAME_MAX`).
    const LONGEST: usize = 255;
    let fits = |name: &std::ffi::OsStr, more: usize| name.len() + more <= LONGEST;
    let shown = |name: &std::ffi::OsStr| quote(&name.to_string_lossy());
    let name = file.path.file_name()?;
    if name.to_string_lossy().starts_with(OWN_PREFIX) {
        return Some(format!("the output {} has a name of kubemint's temporary files", shown(name)));
    }
    let tokens = file.token_directory();
    let token_files = || file.token_files().filter_map(|path| path.file_name().map(ToOwned::to_owned));
    let directories = file.path.iter().filter(|directory| *directory != name);
    let parts = directories.chain(tokens.iter().filter_map(|path| path.file_name()));
    let long = parts.filter(|part| !fits(part, 0)).map(ToOwned::to_owned).next();
    let with_lock =
        || std::iter::once(name.to_owned()).chain(token_files()).find(|name| !fits(name, LOCK_SUFFIX.len()));
    let long = long.or_else(with_lock)?;
    let bytes = long.len();
    Some(format!(
        "the name {} has {bytes} bytes, and a name may have {LONGEST} with the `{LOCK_SUFFIX}` of a lock",
        shown(&long)
    ))
}

/// Refuses output files that are also input, and warns about those that hold admin access.
fn check_targets(layout: &Layout, inventory: &Inventory, outputs: &[ResolvedOutput], ctx: &mut Context<'_>) {
    let files: Vec<PathBuf> = ctx.sources.files().map(|file| paths::normalise(&file.path)).collect();
    let mut sources: HashMap<&Path, String> =
        files.iter().map(|file| (file.as_path(), "the inventory".to_owned())).collect();
    let clusters = || inventory.clusters.iter();
    let authorities = clusters().filter_map(|cluster| cluster.consumer.certificate_authority.as_ref());
    let parts = authorities.map(|path| ("certificate-authority", path));
    let parts = parts.chain(clusters().flat_map(|cluster| cluster.admin.parts()));
    sources.extend(parts.map(|(key, path)| (path.as_path(), format!("a `{key}`"))));
    let admins: HashSet<&Path> =
        clusters().flat_map(|cluster| cluster.admin.kubeconfigs()).map(PathBuf::as_path).collect();
    // An output may have thousands of files, so only one problem is reported for each.
    let mut unusable: BTreeMap<OutputId, Problem> = BTreeMap::new();
    for file in &layout.files {
        let first = file.outputs.first().copied();
        let Some(output) = first.and_then(|id| find(outputs, id)) else { continue };
        let shown = || quote(&file.path.to_string_lossy());
        let in_it = || file.entries.iter().map(|entry| &entry.grant.cluster);
        let mut refuse = |message: String| ctx.problems.push(Problem::error(output.path, message).about(in_it()));
        if let Some(message) = unusable_name(file) {
            let problem = unusable.entry(output.output.id).or_insert_with(|| Problem::error(output.path, message));
            problem.about.extend(in_it().cloned());
            continue;
        }
        let is_input = |path: &Path| sources.contains_key(path) || admins.contains(path);
        let locked = file.path.to_str().and_then(|path| path.strip_suffix(LOCK_SUFFIX)).map(Path::new);
        if let Some(input) = locked.filter(|path| is_input(path)) {
            let input = quote(&input.to_string_lossy());
            refuse(format!("the output {} is where the lock of {input} must be", shown()));
            continue;
        }
        if let Some(token) = file.token_files().find(|path| is_input(path)) {
            let token = quote(&token.to_string_lossy());
            refuse(format!("the token files of {} would overwrite {token}, which is read", shown()));
            continue;
        }
        if let Some(what) = sources.get(file.path.as_path()) {
            refuse(format!("the output would overwrite {what} {}", shown()));
        } else if admins.contains(file.path.as_path()) {
            let message = format!("the output is merged into the admin kubeconfig {}", shown());
            let problem = Problem::warning(output.path, message);
            ctx.problems
                .push(problem.hint("its own entries stay; give the output a file of its own to keep them apart"));
        }
    }
    for problem in unusable.into_values() {
        ctx.problems.push(problem);
    }
}
