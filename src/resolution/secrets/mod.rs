//! Outputs that are Secrets: their hubs, their forms, and one target for each grant. Pure.

mod hub;
mod preset;
mod target;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use self::hub::Hubs;
use self::preset::{ARGOCD_CONFIG, Preset};
use self::target::{Templates, Values};
use super::Context;
use super::clusters::Clusters;
use super::grants::{Granted, Grants};
use super::outputs::{LABEL_VARIABLE, Selected, at, unknown_variable};
use crate::delivery::{HubName, OutputId, RegistrationForm, Rotation, SecretTarget};
use crate::inventory::file::OutputTable;
use crate::inventory::problem::{At, Location, Problem, quote};
use crate::inventory::target::SecretKind;
use crate::inventory::{Hub, duration, syntax};
use crate::names::{
    ClusterName, GrantKey, Holder, INVENTORY_LABEL, InventoryName, MANAGED_BY_LABEL, PROFILE_LABEL, ProfileName,
};
use crate::selector;
use crate::template::Template;

/// What the outputs that are Secrets come to.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    hubs: Hubs,
    targets: Vec<SecretTarget>,
    namespaces: BTreeSet<(HubName, String)>,
    /// The grants whose credential some Secret holds, also where something is wrong with that.
    held: HashSet<GrantKey>,
    /// Where each output stands, by the id.
    locations: HashMap<OutputId, (SecretKind, Location)>,
}

impl Secrets {
    /// Returns the grants whose credential some Secret holds.
    pub(super) fn grants(&self) -> impl Iterator<Item = &GrantKey> {
        self.held.iter()
    }

    /// Returns hubs, targets, and the namespaces that Secrets may have been written to.
    pub(super) fn into_parts(self) -> (Vec<Hub>, Vec<SecretTarget>, BTreeSet<(HubName, String)>) {
        (self.hubs.into_list(), self.targets, self.namespaces)
    }

    /// Resolves an output that is a Secret.
    pub(super) fn add(
        &mut self,
        (id, kind): (OutputId, SecretKind),
        table: &At<OutputTable>,
        (clusters, grants): (&Clusters, &Grants),
        selected: &Selected<'_>,
        ctx: &mut Context<'_>,
    ) {
        let output = &table.value;
        refuse_keys(kind, output, ctx);
        let hub = self.hubs.find(table, clusters, ctx);
        let namespace = output.namespace.as_ref();
        match namespace {
            Some(namespace) => ctx.check("namespace", namespace, syntax::dns_label),
            None => lacks(table.location, kind, "namespace", ctx),
        }
        let preset = Preset::of(kind, output, ctx);
        let name = output.name.clone().or_else(|| preset.name.map(|name| At::new(name.to_owned(), table.location)));
        if name.is_none() {
            lacks(table.location, kind, "name", ctx);
        }
        if kind == SecretKind::Free && output.data.is_none() {
            lacks(table.location, kind, "data", ctx);
        }
        let templates = name.as_ref().and_then(|name| Templates::parse(&preset, name, output, ctx));
        let of_output: Vec<&Granted> = grants.list.iter().filter(|granted| selected.holds(granted)).collect();
        self.held.extend(of_output.iter().map(|granted| granted.grant.key()));
        check_type(output, ctx);
        check_rotation(&preset, output, table.location, &of_output, ctx);
        warn_about_addresses(&of_output, clusters, (hub.as_ref(), table.location), ctx);
        let (Some(hub), Some(namespace), Some(templates)) = (hub, namespace, templates) else {
            ctx.incomplete = true;
            return;
        };
        self.locations.insert(id, (kind, table.location));
        self.namespaces.insert((hub.clone(), namespace.value.clone()));
        let creates_namespace = output.create_namespaces.as_ref().is_some_and(|at| at.value);
        // What is wrong with the Secrets of a thousand clusters is said once for each place in the file.
        let mut problems: Vec<(Wrong, Vec<&ClusterName>)> = vec![];
        for granted in of_output {
            let values = Values { grant: &granted.grant, inventory: selected.inventory, holder: selected.holder };
            match templates.target(id, (&hub, &namespace.value), &preset, &values) {
                Ok(mut target) => {
                    target.form.creates_namespace = creates_namespace;
                    self.targets.push(target);
                }
                Err(wrong) => {
                    let cluster = &granted.grant.cluster.name;
                    match problems.iter_mut().find(|(known, _)| known.location == wrong.location) {
                        Some((_, clusters)) => clusters.push(cluster),
                        None => problems.push((wrong, vec![cluster])),
                    }
                }
            }
        }
        for (Wrong { location, what }, clusters) in problems {
            let more = clusters.len() - 1;
            let others = if more > 0 { format!(", and {more} more like this") } else { String::new() };
            ctx.problems.push(Problem::error(location, format!("{what}{others}")).about(clusters));
        }
    }

    /// Refuses two credentials for one Secret, and two Secrets that Argo CD would take for one cluster.
    pub(super) fn check_collisions(&self, clusters: &Clusters, ctx: &mut Context<'_>) {
        let mut by_place = HashMap::new();
        let mut by_object = HashMap::new();
        let mut by_identity: HashMap<(SecretKind, &HubName, &str, String), &SecretTarget> = HashMap::new();
        let mut refused: BTreeMap<(OutputId, OutputId), Problem> = BTreeMap::new();
        for target in &self.targets {
            let (kind, location) = self.locations[&target.output];
            let mut refuse = |first: &SecretTarget, message: String, hint: &str| {
                // An output may have thousands of Secrets, so only one problem is reported for each pair.
                let problem = refused.entry((first.output, target.output)).or_insert_with(|| {
                    let (_, other) = self.locations[&first.output];
                    let problem = Problem::error(location, message).hint(hint.to_owned());
                    if first.output == target.output { problem } else { problem.also(other, "the other output") }
                });
                problem.about.extend([first, target].map(|target| target.grant.cluster.clone()));
            };
            if let Some(first) = by_place.insert(&target.place, target) {
                let message = format!("{} both go to `{}`", both(first, target), target.place);
                refuse(first, message, "put `{profile}` or `{cluster}` into `name`, or select fewer grants");
                continue;
            }
            if let Some(registration) = &target.form.registration {
                let provider = match &registration.form {
                    RegistrationForm::AccessProvider { name, .. } => name.as_str(),
                    RegistrationForm::Spec(_) => "",
                };
                if let Some(first) = by_object.insert((&target.place.hub, &registration.object, provider), target) {
                    let message = format!("{} are both registered by {}", both(first, target), registration.object);
                    refuse(first, message, "put `{profile}` or `{cluster}` into `register`, or select fewer grants");
                    continue;
                }
            }
            let cluster = clusters.find(target.grant.cluster.as_str());
            let of_cluster = || format!("cluster {}", target.grant.cluster);
            // What its consumer tells clusters apart by, which reads one namespace.
            let (identity, what) = match kind {
                SecretKind::Argocd => (
                    cluster.and_then(|resolved| resolved.consumer_server.clone()).unwrap_or_else(of_cluster),
                    "Argo CD the same `server`",
                ),
                SecretKind::Istio => (of_cluster(), "Istio the same cluster"),
                _ => continue,
            };
            let key = (kind, &target.place.hub, target.place.namespace.as_str(), identity);
            if let Some(first) = by_identity.insert(key, target) {
                let message = format!("{} give {what}, by which it tells clusters apart", both(first, target));
                refuse(
                    first,
                    message,
                    "give it one profile of each cluster, with `profiles`, `clusters` or `selector`",
                );
            }
        }
        for problem in refused.into_values() {
            ctx.problems.push(problem);
        }
    }
}

/// Refuses types that other parts of Kubernetes, or kubemint's own, give a meaning.
fn check_type(output: &OutputTable, ctx: &mut Context<'_>) {
    let Some(kind) = &output.secret_type else { return };
    ctx.check("type", kind, syntax::plain_text);
    if kind.value == "kubernetes.io/service-account-token" || kind.value.starts_with("kubemint.dev/") {
        let message =
            format!("a Secret of type {} means something else than a delivered credential", quote(&kind.value));
        ctx.error(kind.location, message);
    }
}

/// Names two grants.
fn both(first: &SecretTarget, second: &SecretTarget) -> String {
    let name = |target: &SecretTarget| format!("`{}` on cluster `{}`", target.grant.profile, target.grant.cluster);
    format!("{} and {}", name(first), name(second))
}

fn lacks(location: Location, kind: SecretKind, key: &str, ctx: &mut Context<'_>) {
    let problem = Problem::error(location, format!("an output of kind `{}` lacks the key `{key}`", kind.as_str()));
    ctx.problems.push(match key {
        "namespace" => problem.hint("say the namespace that its consumer reads; none is guessed"),
        _ => problem,
    });
    ctx.incomplete = true;
}

/// Refuses keys that are for kubeconfigs, or that a preset decides itself.
fn refuse_keys(kind: SecretKind, output: &OutputTable, ctx: &mut Context<'_>) {
    let of_kubeconfigs = [
        ("path", at(output.path.as_ref())),
        ("credential", at(output.credential.as_ref())),
        ("command", at(output.command.as_ref())),
        ("credential-directory", at(output.credential_directory.as_ref())),
        ("context", at(output.context.as_ref())),
        ("cluster", at(output.cluster.as_ref())),
        ("user", at(output.user.as_ref())),
        ("current-context", at(output.current_context.as_ref())),
    ];
    for (key, location) in of_kubeconfigs {
        if let Some(location) = location {
            let what = if key == "path" { "files" } else { "kubeconfig files" };
            let problem = Problem::error(location, format!("`{key}` is for {what}, and this output is a Secret"));
            ctx.problems.push(match key {
                "credential" => {
                    problem.hint("its consumer reads neither token files nor plugins; a Secret holds the token")
                }
                _ => problem,
            });
        }
    }
    let of_the_free_form = [
        ("type", at(output.secret_type.as_ref())),
        ("data", at(output.data.as_ref())),
        ("rotation", at(output.rotation.as_ref())),
        ("restart-acknowledged", at(output.restart_acknowledged.as_ref())),
        ("workload", at(output.workload.as_ref())),
    ];
    for (key, location) in of_the_free_form {
        if let Some(location) = location.filter(|_| kind != SecretKind::Free) {
            let problem = Problem::error(location, format!("`{key}` is for kind `secret`"));
            ctx.problems.push(problem.hint(format!("`{}` decides that itself", kind.as_str())));
        }
    }
    let marks = [MANAGED_BY_LABEL, INVENTORY_LABEL, PROFILE_LABEL];
    let named = [("label", &output.labels), ("annotation", &output.annotations)];
    for (what, names) in named {
        for (key, _) in names.iter().flat_map(|names| &names.value.0) {
            let name = key.value.as_str();
            if let Err(message) = selector::validate_label_key(name) {
                ctx.error(key.location, message);
            }
            // Argo CD prunes whatever carries its tracking marks.
            let is_argocds = name == "app.kubernetes.io/instance"
                || (name.starts_with("argocd.argoproj.io/") && name.ends_with("instance"));
            if is_argocds {
                ctx.error(key.location, format!("the {what} `{name}` would make Argo CD prune the Secret"));
            } else if marks.contains(&name) || name.starts_with("kubemint.dev/") {
                ctx.error(key.location, format!("kubemint sets the {what} `{name}` itself"));
            }
        }
    }
}

/// Refuses tokens that would end before the consumer has the newer one.
fn check_rotation(
    preset: &Preset,
    output: &OutputTable,
    location: Location,
    grants: &[&Granted],
    ctx: &mut Context<'_>,
) {
    /// Nobody restarts a controller each week for a token.
    const SHORTEST_TTL: std::time::Duration = std::time::Duration::from_secs(90 * 24 * 60 * 60);
    if let Some(workload) = &output.workload {
        ctx.check("workload", workload, syntax::plain_text);
        if preset.rotation != Rotation::Restart {
            ctx.error(workload.location, "`workload` needs `rotation = \"restart\"`");
        }
    }
    let needed = preset.rotation.shortest_overlap();
    let is_acknowledged = output.restart_acknowledged.as_ref().is_some_and(|at| at.value);
    let location = output.kind.as_ref().map_or(location, |kind| kind.location);
    let mut seen: BTreeSet<&ProfileName> = BTreeSet::new();
    for granted in grants {
        let profile = &granted.grant.profile;
        if !seen.insert(&profile.name) {
            continue;
        }
        let token = &profile.token;
        let overlap = token.overlap.min(token.ttl / 2);
        if overlap < needed {
            let problem = Problem::error(
                location,
                format!(
                    "a superseded token of profile `{}` lives for {} ({}), and a consumer with `rotation` `{}` needs {}",
                    profile.name,
                    duration::show(overlap),
                    if token.overlap <= token.ttl / 2 { "its `overlap`" } else { "half of its `ttl`" },
                    preset.rotation.as_str(),
                    duration::show(needed)
                ),
            );
            ctx.problems.push(problem.hint(format!(
                "in its `token`, set an `overlap` of at least {}, and a `ttl` of at least {}",
                duration::show(needed),
                duration::show(needed * 2)
            )));
        }
        if preset.rotation == Rotation::Restart && token.ttl < SHORTEST_TTL && !is_acknowledged {
            let message = format!(
                "the consumer reads its token when it starts, and tokens of profile `{}` live for {}",
                profile.name,
                duration::show(token.ttl)
            );
            ctx.problems.push(Problem::error(location, message).hint(format!(
                "set a `ttl` of at least {}, or `restart-acknowledged = true` if something restarts it in time",
                duration::show(SHORTEST_TTL)
            )));
        }
    }
}

/// Warns about API servers that the controllers in a hub cannot reach under the address that they are given.
fn warn_about_addresses(
    grants: &[&Granted],
    clusters: &Clusters,
    (hub, location): (Option<&HubName>, Location),
    ctx: &mut Context<'_>,
) {
    let mut seen: BTreeSet<&ClusterName> = BTreeSet::new();
    let mut unreachable = vec![];
    for granted in grants {
        let name = &granted.grant.cluster.name;
        // A hub reaches itself.
        let is_hub = hub.is_some_and(|hub| hub.as_str() == name.as_str());
        let told = clusters.find(name.as_str()).and_then(|resolved| resolved.told_server());
        if !is_hub && seen.insert(name) && told.is_some_and(syntax::is_for_here_only) {
            unreachable.push(name.as_str());
        }
    }
    if !unreachable.is_empty() {
        let message = format!(
            "controllers in `{}` cannot reach the API servers of {} under the address that they are told",
            hub.map_or("the hub", HubName::as_str),
            crate::wording::list(unreachable, 3)
        );
        let problem = Problem::warning(location, message);
        ctx.problems.push(problem.hint("set `consumer.server` of these clusters to an address that the hub reaches"));
    }
}

/// Returns the variables that names know, and whether values know one.
fn is_variable(name: &str) -> bool {
    matches!(name, "cluster" | "profile" | "inventory" | "holder")
        || name.strip_prefix("labels.").is_some_and(|key| !key.is_empty())
}

/// What a template knows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Knows {
    /// The grant and the labels of its cluster.
    Names,
    /// The credential as well.
    Credential,
    /// What only presets know as well.
    Everything,
}

/// Parses a template, and reports what it does not know.
fn parse(text: &At<String>, knows: Knows, ctx: &mut Context<'_>) -> Option<Template> {
    let is_known = |name: &str| {
        is_variable(name)
            || (knows != Knows::Names && matches!(name, "token" | "kubeconfig" | "server" | "ca"))
            || (knows == Knows::Everything && name == ARGOCD_CONFIG)
    };
    let error = match Template::parse_with(&text.value, is_known) {
        Ok(template) => return Some(template),
        Err(error) => error,
    };
    let location = ctx.inside(text, error.offset, error.length);
    let known: &[&'static str] = match knows {
        Knows::Names => &["cluster", "profile", "inventory", "holder", LABEL_VARIABLE],
        Knows::Credential | Knows::Everything => {
            &["cluster", "profile", "inventory", "holder", LABEL_VARIABLE, "token", "kubeconfig", "server", "ca"]
        }
    };
    let problem = unknown_variable(&error, location, known, ctx);
    ctx.problems.push(problem);
    None
}

/// Says what is wrong with the Secret of one grant.
#[derive(Debug)]
struct Wrong {
    location: Location,
    what: String,
}

impl Wrong {
    fn new(location: Location, what: String) -> Self {
        Self { location, what }
    }

    fn name(location: Location, what: &str, name: &str, reason: &str) -> Self {
        Self::new(location, format!("{what} {} is not valid: {reason}", quote(name)))
    }
}

/// The inventory and the holder, which take part in names.
type Namer<'a> = (&'a InventoryName, &'a Holder);
