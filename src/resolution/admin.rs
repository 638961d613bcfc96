//! Admin access: which of its three forms is used, and whether its keys fit together. Pure.

use std::path::PathBuf;
use std::sync::Arc;

use super::Context;
use crate::inventory::file::AdminTable;
use crate::inventory::model::{AdminAccess, InlineAdmin, KubeconfigSource};
use crate::inventory::problem::{At, Location, Problem, quote};
use crate::inventory::syntax::{self, Verdict};
use crate::inventory::{AdminSecret, Discovery, DiscoveryHub, DiscoveryKind, Seen};

/// The value that stands for the files that kubectl would read.
const AMBIENT: &str = "$KUBECONFIG";

/// The keys of an `admin` table. Their paths are resolved already, because those of the defaults start elsewhere.
#[derive(Debug, Clone, Default)]
pub(super) struct Admin {
    form: Option<Form>,
    context: Option<String>,
    seen: Seen,
    certificate_authority: Option<PathBuf>,
    token_file: Option<PathBuf>,
    client_certificate: Option<PathBuf>,
    client_key: Option<PathBuf>,
    tls_server_name: Option<String>,
    proxy_url: Option<String>,
    insecure_skip_tls_verify: Option<bool>,
    /// The first key that makes sense only with `server`, and its location.
    inline_key: Option<(&'static str, Location)>,
    /// Whether a value could not be resolved; this was reported.
    is_broken: bool,
}

#[derive(Debug, Clone)]
enum Form {
    Kubeconfig(KubeconfigSource),
    Server(String),
    InCluster,
    Secret(Arc<AdminSecret>),
}

impl Admin {
    /// Reads a table; an absent one is empty.
    pub(super) fn resolve(table: Option<&At<AdminTable>>, ctx: &mut Context<'_>) -> Self {
        let Some(table) = table else { return Self::default() };
        let mut admin = Self::default();
        admin.read(&table.value, table.location, ctx);
        admin
    }

    fn read(&mut self, table: &AdminTable, location: Location, ctx: &mut Context<'_>) {
        if let Some(cluster) = &table.cluster {
            ctx.error(cluster.location, "`cluster` is for the `admin` of `[[outputs]]`");
        }
        if let Some(context) = &table.context {
            ctx.check("context", context, syntax::plain_text);
            self.context = Some(context.value.clone());
        }
        if let Some(name) = &table.tls_server_name {
            ctx.check("tls-server-name", name, syntax::server_name);
        }
        let url = |ctx: &mut Context<'_>, key: &str, url: &At<String>, rule: fn(&str) -> Verdict| {
            // The value is not quoted: an invalid URL may hold a password.
            if let Err(reason) = rule(&url.value) {
                ctx.error(url.location, format!("`{key}` is not valid: {reason}"));
            }
        };
        if let Some(proxy) = &table.proxy_url {
            url(ctx, "proxy-url", proxy, syntax::proxy_url);
        }
        let text = |at: &Option<At<String>>| at.as_ref().map(|at| at.value.clone());
        self.tls_server_name = text(&table.tls_server_name);
        self.proxy_url = text(&table.proxy_url);
        self.insecure_skip_tls_verify = table.insecure_skip_tls_verify.as_ref().map(|at| at.value);
        self.certificate_authority = self.path("certificate-authority", table.certificate_authority.as_ref(), ctx);
        self.token_file = self.path("token-file", table.token_file.as_ref(), ctx);
        self.client_certificate = self.path("client-certificate", table.client_certificate.as_ref(), ctx);
        self.client_key = self.path("client-key", table.client_key.as_ref(), ctx);
        let location_of = |at: &Option<At<String>>| at.as_ref().map(|at| at.location);
        let inline = [
            ("certificate-authority", location_of(&table.certificate_authority)),
            ("token-file", location_of(&table.token_file)),
            ("client-certificate", location_of(&table.client_certificate)),
            ("client-key", location_of(&table.client_key)),
            ("tls-server-name", location_of(&table.tls_server_name)),
            ("proxy-url", location_of(&table.proxy_url)),
            ("insecure-skip-tls-verify", table.insecure_skip_tls_verify.as_ref().map(|at| at.location)),
        ];
        self.inline_key = inline.into_iter().find_map(|(key, location)| Some((key, location?)));

        let of_secrets = [
            ("secret", &table.secret),
            ("key", &table.key),
            ("profile", &table.profile),
            ("seen-server", &table.seen_server),
            ("seen-endpoint", &table.seen_endpoint),
        ];
        for (key, at) in of_secrets {
            if let Some(at) = at.as_ref().filter(|_| table.discovered.is_none()) {
                ctx.error(at.location, format!("`{key}` needs `discovered`, the `id` of a `[[discover]]`"));
            }
        }
        self.seen = Seen { server: text(&table.seen_server), endpoint: text(&table.seen_endpoint) };
        let in_cluster = table.in_cluster.as_ref().is_some_and(|at| at.value);
        let found_by = table.discovered.as_ref().map(|discovered| (discovered, discovery(discovered, ctx)));
        self.is_broken |= matches!(found_by, Some((_, None)));
        // Only a hub has Secrets. Of other sources, it says which one found what the other keys name.
        let hub = found_by.as_ref().and_then(|(discovered, source)| match source.as_ref()?.kind.clone() {
            DiscoveryKind::Hub(hub) => Some((*discovered, source.clone()?, hub)),
            DiscoveryKind::Kubeconfigs(_) | DiscoveryKind::Command(_) => None,
        });
        if let Some((discovered, Some(source))) = &found_by
            && hub.is_none()
            && (is_discovered_only(table) || table.secret.is_some())
        {
            ctx.error(discovered.location, format!("discovery `{}` finds no Secrets", source.id));
            self.is_broken = true;
        }
        let forms = [table.kubeconfig.is_some(), table.server.is_some(), in_cluster, hub.is_some()];
        if forms.into_iter().filter(|form| *form).count() > 1 {
            ctx.error(location, "`admin` has more than one of `kubeconfig`, `server`, `in-cluster` and `discovered`");
            self.is_broken = true;
        }
        if let Some((discovered, source, hub)) = hub {
            let secret = admin_secret(table, discovered, &source, hub, ctx);
            self.is_broken |= secret.is_none();
            self.form = secret.map(|secret| Form::Secret(Arc::new(secret)));
        }
        if let Some(kubeconfig) = &table.kubeconfig {
            let source = source(kubeconfig, ctx);
            self.is_broken |= source.is_none();
            self.form = source.map(Form::Kubeconfig);
        }
        if let Some(server) = &table.server {
            url(ctx, "server", server, |url| syntax::server_url(url).map(|_| ()));
            self.form = Some(Form::Server(server.value.clone()));
        }
        if in_cluster {
            self.form = Some(Form::InCluster);
        }
    }

    fn path(&mut self, key: &str, path: Option<&At<String>>, ctx: &mut Context<'_>) -> Option<PathBuf> {
        let resolved = path.and_then(|path| ctx.path(key, path));
        self.is_broken |= path.is_some() && resolved.is_none();
        resolved
    }

    /// Adds the defaults for keys that are absent here.
    pub(super) fn or(self, defaults: &Self) -> Self {
        let other = defaults.clone();
        // If a cluster names another form than the defaults, their keys for `server` do not have to fit it.
        let is_inline = matches!(self.form.as_ref().or(other.form.as_ref()), Some(Form::Server(_)) | None);
        let other = if is_inline { other } else { Self { inline_key: None, ..other } };
        let is_secret = matches!(self.form, Some(Form::Secret(_)));
        Self {
            is_broken: self.is_broken || (other.is_broken && self.form.is_none()),
            form: self.form.or(other.form),
            // A Secret's contexts have names of their own.
            context: if is_secret { self.context } else { self.context.or(other.context) },
            // Where one access was seen to lead says nothing of others.
            seen: self.seen,
            certificate_authority: self.certificate_authority.or(other.certificate_authority),
            token_file: self.token_file.or(other.token_file),
            client_certificate: self.client_certificate.or(other.client_certificate),
            client_key: self.client_key.or(other.client_key),
            tls_server_name: self.tls_server_name.or(other.tls_server_name),
            proxy_url: self.proxy_url.or(other.proxy_url),
            insecure_skip_tls_verify: self.insecure_skip_tls_verify.or(other.insecure_skip_tls_verify),
            inline_key: self.inline_key.or(other.inline_key),
        }
    }

    /// Returns the admin access of a cluster, and reports keys that do not fit together.
    pub(super) fn access(self, cluster: &str, location: Location, ctx: &mut Context<'_>) -> AdminAccess {
        let is_inline = matches!(self.form, Some(Form::Server(_)) | None);
        if self.seen != Seen::default()
            && !matches!(self.form, Some(Form::Kubeconfig(_) | Form::Secret(_)))
            && !self.is_broken
        {
            let problem =
                Problem::error(location, "`seen-server` and `seen-endpoint` are for kubeconfigs and Secrets only");
            ctx.problems.push(problem.hint("remove them: such an `admin` says itself where it leads"));
        }
        if let Some((key, key_place)) = self.inline_key.filter(|_| !is_inline) {
            let problem = Problem::error(key_place, format!("`{key}` is for `admin` with `server` only"));
            ctx.problems.push(problem.hint("a kubeconfig says that itself; remove the key or name the `server`"));
        }
        match self.form {
            Some(Form::Kubeconfig(source)) => {
                let context = self.context.unwrap_or_else(|| cluster.to_owned());
                AdminAccess::Kubeconfig { source, context, seen: self.seen }
            }
            Some(Form::InCluster) => AdminAccess::InCluster,
            // Without a name, it is the current context: nobody chose what the kubeconfig of such a Secret calls it.
            Some(Form::Secret(secret)) => AdminAccess::Kubeconfig {
                source: KubeconfigSource::Secret(secret),
                context: self.context.unwrap_or_default(),
                seen: self.seen,
            },
            Some(Form::Server(server)) => {
                let has_certificate = self.client_certificate.is_some();
                if !self.is_broken && has_certificate != self.client_key.is_some() {
                    ctx.error(location, "only one of `client-certificate` and `client-key` is set");
                } else if !self.is_broken && has_certificate == self.token_file.is_some() {
                    let problem = Problem::error(location, "`admin` with `server` needs one credential");
                    ctx.problems.push(problem.hint("set `token-file`, or `client-certificate` and `client-key`"));
                }
                if self.insecure_skip_tls_verify == Some(true) && self.certificate_authority.is_some() {
                    ctx.error(location, "`insecure-skip-tls-verify` and `certificate-authority` exclude each other");
                }
                AdminAccess::Inline(Box::new(InlineAdmin {
                    server,
                    certificate_authority: self.certificate_authority,
                    token_file: self.token_file,
                    client_certificate: self.client_certificate,
                    client_key: self.client_key,
                    tls_server_name: self.tls_server_name,
                    proxy_url: self.proxy_url,
                    insecure_skip_tls_verify: self.insecure_skip_tls_verify.unwrap_or_default(),
                }))
            }
            None => {
                if !self.is_broken && !ctx.misread {
                    let problem = Problem::error(location, "the cluster has no admin access");
                    let hint = "set `admin = { kubeconfig = \"…\" }` in `[defaults]` or in the cluster";
                    ctx.problems.push(problem.hint(hint));
                }
                // A placeholder for an access that could not be resolved. It is never used, because that is an error.
                AdminAccess::context(KubeconfigSource::List(vec![]), "")
            }
        }
    }
}

/// Whether an access names a source of clusters and nothing else.
pub(super) fn is_discovered_only(admin: &AdminTable) -> bool {
    let others = AdminTable { discovered: None, ..admin.clone() };
    admin.discovered.is_some() && others.cluster.is_none() && !has_other_keys(&others)
}

/// Whether the access of a hub says more than the cluster whose access it is.
pub(super) fn has_other_keys(admin: &AdminTable) -> bool {
    let AdminTable {
        cluster: _,
        kubeconfig,
        context,
        server,
        certificate_authority,
        token_file,
        client_certificate,
        client_key,
        tls_server_name,
        proxy_url,
        insecure_skip_tls_verify,
        in_cluster,
        discovered,
        secret,
        key,
        profile,
        seen_server,
        seen_endpoint,
    } = admin;
    let texts = [
        kubeconfig,
        context,
        server,
        certificate_authority,
        token_file,
        client_certificate,
        client_key,
        tls_server_name,
        proxy_url,
        discovered,
        secret,
        key,
        profile,
        seen_server,
        seen_endpoint,
    ];
    texts.into_iter().any(Option::is_some) || insecure_skip_tls_verify.is_some() || in_cluster.is_some()
}

/// Returns the source of clusters that an access names.
fn discovery(discovered: &At<String>, ctx: &mut Context<'_>) -> Option<Discovery> {
    let found = ctx.discoveries.iter().find(|source| source.id.as_str() == discovered.value).cloned();
    if found.is_none() {
        // What is wrong with a source is reported there.
        if !ctx.misread && !ctx.incomplete {
            let known: Vec<&str> = ctx.discoveries.iter().map(|source| source.id.as_str()).collect();
            let mut problem = Problem::error(
                discovered.location,
                format!("no `[[discover]]` has the `id` {}", quote(&discovered.value)),
            );
            problem.hint = ctx.problems.suggest("sources", &discovered.value, known.into_iter());
            ctx.problems.push(problem);
        }
    }
    found
}

/// Returns the Secret that an access names.
fn admin_secret(
    table: &AdminTable,
    discovered: &At<String>,
    source: &Discovery,
    hub: Arc<DiscoveryHub>,
    ctx: &mut Context<'_>,
) -> Option<AdminSecret> {
    let id = source.id.clone();
    let Some(secret) = &table.secret else {
        ctx.error(
            discovered.location,
            "`discovered` needs `secret`, as `NAMESPACE/NAME`, unless the discovery is asked in each run",
        );
        return None;
    };
    let mut parts = |text: &At<String>| match text.value.split_once('/') {
        Some((namespace, name)) if syntax::dns_label(namespace).is_ok() && syntax::dns_subdomain(name).is_ok() => {
            Some((namespace.to_owned(), name.to_owned()))
        }
        _ => {
            ctx.error(text.location, format!("{} is no `NAMESPACE/NAME`", quote(&text.value)));
            None
        }
    };
    let (namespace, name) = parts(secret)?;
    if let Some(profile) = &table.profile {
        parts(profile)?;
    }
    let text = |at: &Option<At<String>>| at.as_ref().map(|at| at.value.clone());
    let (key, profile) = (text(&table.key), text(&table.profile));
    Some(AdminSecret { source: id, hub, namespace, name, key, profile })
}

/// Returns the source of kubeconfigs that a value means.
pub(super) fn source(value: &At<String>, ctx: &mut Context<'_>) -> Option<KubeconfigSource> {
    if value.value == AMBIENT && ctx.setting.kubeconfig.is_empty() {
        ctx.error(value.location, format!("`{AMBIENT}` names no file: neither it nor the home directory is set"));
        return None;
    }
    let ctx = std::cell::RefCell::new(ctx);
    let at = |text: &str| At { value: text.to_owned(), location: value.location };
    let ambient = ctx.borrow().setting.kubeconfig.clone();
    let mut path = |text: &str| ctx.borrow_mut().path("kubeconfig", &at(text));
    let mut pattern = |text: &str| ctx.borrow_mut().pattern("kubeconfig", &at(text));
    kubeconfig_source(&value.value, &ambient, &mut path, &mut pattern)
}

/// Reads a source of kubeconfigs: `$KUBECONFIG`, a list separated by `:`, a pattern, or one path.
///
/// `ambient` replaces `$KUBECONFIG`; `path` and `pattern` make the other forms absolute, and return nothing for invalid
/// ones.
pub(crate) fn kubeconfig_source(
    text: &str,
    ambient: &[PathBuf],
    path: &mut dyn FnMut(&str) -> Option<PathBuf>,
    pattern: &mut dyn FnMut(&str) -> Option<String>,
) -> Option<KubeconfigSource> {
    if text == AMBIENT {
        return (!ambient.is_empty()).then(|| KubeconfigSource::List(ambient.to_owned()));
    }
    let parts: Vec<&str> = text.split(':').filter(|part| !part.is_empty()).collect();
    if text.contains(':') && !parts.is_empty() {
        return parts.into_iter().map(path).collect::<Option<_>>().map(KubeconfigSource::List);
    }
    if text.contains(['*', '?', '[']) {
        return pattern(text).map(KubeconfigSource::Glob);
    }
    path(text).map(KubeconfigSource::Path)
}

/// Returns a key that is equal for equal admin accesses; nothing for one that was not resolved.
pub(super) fn identity(admin: &AdminAccess) -> Option<AdminAccess> {
    let is_resolved =
        !matches!(admin, AdminAccess::Kubeconfig { source: KubeconfigSource::List(files), .. } if files.is_empty());
    is_resolved.then(|| admin.wherever())
}
