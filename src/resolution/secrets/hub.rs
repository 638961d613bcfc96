//! Hubs: the clusters that Secrets are written to. Pure.

use super::super::Context;
use super::super::admin::{self, Admin};
use super::super::clusters::Clusters;
use crate::delivery::HubName;
use crate::inventory::file::OutputTable;
use crate::inventory::problem::{At, Problem, quote};
use crate::inventory::{AdminAccess, Hub, KubeconfigSource};

/// The hubs of an inventory: the same access is the same hub.
#[derive(Debug, Default)]
pub(super) struct Hubs(Vec<Hub>);

impl Hubs {
    pub(super) fn into_list(self) -> Vec<Hub> {
        self.0
    }

    /// Finds the hub of an output.
    pub(super) fn find(
        &mut self,
        table: &At<OutputTable>,
        clusters: &Clusters,
        ctx: &mut Context<'_>,
    ) -> Option<HubName> {
        let Some(admin) = &table.value.admin else {
            let problem = Problem::error(table.location, "an output that is a Secret lacks the key `admin`");
            ctx.problems.push(problem.hint("name the cluster that it is written to: `admin = { cluster = \"hub\" }`"));
            return None;
        };
        let insecure = table.value.allow_insecure.as_ref();
        if let Some(name) = &admin.value.cluster {
            if admin::has_other_keys(&admin.value) {
                ctx.error(name.location, "`cluster` is a whole admin access, so it needs no other keys");
            }
            let Some(cluster) = clusters.find(&name.value).map(|resolved| &resolved.cluster) else {
                let known = clusters.list.iter().map(|resolved| resolved.cluster.name.as_str());
                // A source may find it again, as one that did not answer.
                let is_open = ctx.is_undiscovered || ctx.discoveries.iter().any(|source| !source.is_frozen);
                if ctx.is_undiscovered {
                    return Some(self.unknown(&name.value));
                }
                let mut problem = if is_open {
                    let what = "is in no table, and no discovery finds it: what goes there is blocked";
                    Problem::warning(name.location, format!("{} {what}", quote(&name.value)))
                } else {
                    Problem::error(name.location, format!("unknown cluster {}", quote(&name.value)))
                };
                problem.hint = ctx.problems.suggest("clusters", &name.value, known);
                ctx.problems.push(problem);
                return is_open.then(|| self.unknown(&name.value));
            };
            let allow_insecure = insecure.map_or(cluster.allow_insecure, |at| at.value);
            return Some(self.add(&name.value, cluster.admin.clone(), allow_insecure));
        }
        let access = Admin::resolve(Some(admin), ctx).or(&clusters.default_admin);
        let context = admin.value.context.as_ref().map_or("", |context| &context.value);
        let access = access.access(context, admin.location, ctx);
        let name = match &access {
            AdminAccess::Kubeconfig { .. } if context.is_empty() => {
                let problem = Problem::error(admin.location, "the `admin` of an output lacks the key `context`");
                ctx.problems.push(problem.hint("say the context of the cluster that the Secret is written to"));
                return None;
            }
            AdminAccess::Kubeconfig { context, .. } => context.clone(),
            AdminAccess::Inline(inline) => inline.server.clone(),
            AdminAccess::InCluster => "in-cluster".to_owned(),
        };
        Some(self.add(&name, access, insecure.is_some_and(|at| at.value)))
    }

    /// Returns the name of a hub that no source finds.
    fn unknown(&mut self, name: &str) -> HubName {
        let name = HubName::new(name);
        if !self.0.iter().any(|hub| hub.name == name) {
            // The access is a placeholder, which is never used.
            let access = AdminAccess::context(KubeconfigSource::List(vec![]), name.as_str());
            self.0.push(Hub { name: name.clone(), access, allow_insecure: false, is_unknown: true });
        }
        name
    }

    /// Returns the name of an access, which no other access has.
    fn add(&mut self, name: &str, access: AdminAccess, allow_insecure: bool) -> HubName {
        let anywhere = access.wherever();
        let is_same = |hub: &&mut Hub| hub.access.wherever() == anywhere && hub.allow_insecure == allow_insecure;
        if let Some(known) = self.0.iter_mut().find(is_same) {
            // Whoever says where it was seen to lead is not led elsewhere by another output that says nothing of it.
            if access != anywhere {
                known.access = access;
            }
            return known.name.clone();
        }
        let is_taken = |name: &str| self.0.iter().any(|hub| hub.name.as_str() == name);
        let mut unique = name.to_owned();
        if is_taken(&unique)
            && let AdminAccess::Kubeconfig { source, .. } = &access
        {
            unique = format!("{name} of {}", shown(source));
        }
        for number in 2.. {
            if !is_taken(&unique) {
                break;
            }
            unique = format!("{name} ({number})");
        }
        let name = HubName::new(&unique);
        self.0.push(Hub { name: name.clone(), access, allow_insecure, is_unknown: false });
        name
    }
}

fn shown(source: &KubeconfigSource) -> String {
    match source {
        KubeconfigSource::Path(path) => path.display().to_string(),
        KubeconfigSource::List(paths) => {
            paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(":")
        }
        KubeconfigSource::Glob(pattern) => pattern.clone(),
        KubeconfigSource::Secret(secret) => secret.to_string(),
    }
}
