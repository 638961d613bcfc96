//! One simulated API server: who asks, may they, and what is the answer.
//!
//! Synchronous: a request comes in whole and a reply goes out whole; [`super::listener`] does the
//! rest. Start reading at [`Server::handle`].

use jiff::fmt::rfc2822::DateTimePrinter;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::io;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::discovery::discover;
use super::failure::Failure;
use super::faults::{FaultSwitch, Webhook};
use super::fleet::{Anonymous, FleetOptions};
use super::hostile::Hostility;
use super::rbac::{Caller, SUPERUSERS, authorize};
use super::read::{self, Target};
use super::request::{Attributes, Reply, Request, ResourceAttributes};
use super::resource::{RESOURCE_TYPES, ResourceType, SERVICE_ACCOUNTS, Scope, Storage, qualified};
use super::reviews;
use super::seed::seeded_store;
use super::store::{Store, text};
use super::tokens::{Lifetime, TokenRequest, TokenSigner};
use super::traffic::Traffic;
use super::write::Write;
use crate::cluster::{TestCluster, User};
use crate::identity::random_uid;
use crate::pki::ClusterCertificates;

/// The finalizer that nobody takes away until a hostility is lifted.
const PIN: &str = "hostile.sim.test/never";

/// Everything about one simulated cluster.
pub(crate) struct Server {
    pub(crate) test_cluster: TestCluster,
    pub(crate) tls: Arc<rustls::ServerConfig>,
    pub(crate) faults: FaultSwitch,
    pub(crate) traffic: Traffic,
    webhook: Mutex<Option<Webhook>>,
    store: Mutex<Store>,
    signer: TokenSigner,
    max_token_expiration: Mutex<Option<Duration>>,
    clock_skew_seconds: AtomicI64,
    anonymous: Anonymous,
}

impl Server {
    pub(crate) fn new(name: &str, port: u16, options: &FleetOptions) -> io::Result<Self> {
        let certificates = ClusterCertificates::generate_with(name, options.admin_key.as_ref())?;
        let tls = certificates.server_config()?;
        let mut test_cluster = TestCluster::new(name, port, certificates.authority);
        test_cluster.admin_certificate = certificates.admin;
        Ok(Self {
            tls,
            test_cluster,
            faults: FaultSwitch::default(),
            traffic: Traffic::new(options.latency),
            webhook: Mutex::new(None),
            store: Mutex::new(seeded_store(name)),
            signer: TokenSigner::generate()?,
            max_token_expiration: Mutex::new(options.max_token_expiration),
            clock_skew_seconds: AtomicI64::new(0),
            anonymous: options.anonymous,
        })
    }

    pub(crate) fn set_webhook(&self, webhook: Option<Webhook>) {
        *lock(&self.webhook) = webhook;
    }

    pub(crate) fn set_max_token_expiration(&self, maximum: Option<Duration>) {
        *lock(&self.max_token_expiration) = maximum;
    }

    pub(crate) fn set_clock_skew(&self, skew: SignedDuration) {
        self.clock_skew_seconds.store(skew.as_secs(), Ordering::Relaxed);
    }

    /// Signs the claims of a token.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.signer.sign(claims)
    }

    /// Makes a ServiceAccount, unless it exists, and returns its uid.
    pub(crate) fn plant_account(&self, namespace: &str, name: &str) -> String {
        let mut store = lock(&self.store);
        if let Some(account) = store.get(&SERVICE_ACCOUNTS, namespace, name) {
            return text(account, "uid").to_owned();
        }
        let metadata = json!({ "name": name, "namespace": namespace, "uid": random_uid() });
        let account = json!({ "kind": "ServiceAccount", "apiVersion": "v1", "metadata": metadata });
        text(&store.put(&SERVICE_ACCOUNTS, account), "uid").to_owned()
    }

    /// Gives the object of a request a finalizer, so that a DELETE only marks it.
    pub(crate) fn pin(&self, request: &Request) {
        let Attributes::Resource(attributes) = request.attributes() else {
            return;
        };
        let Some(resource) = ResourceType::find(&attributes.group, &attributes.resource) else {
            return;
        };
        let namespace = if resource.scope == Scope::Cluster { "" } else { &attributes.namespace };
        let mut store = lock(&self.store);
        if let Some(object) = store.get(resource, namespace, &attributes.name) {
            let mut object = object.as_ref().clone();
            object["metadata"]["finalizers"] = json!([PIN]);
            store.insert(resource, Arc::new(object));
        }
    }

    /// Removes what was marked while it was pinned, and unpins the rest.
    pub(crate) fn unpin(&self) {
        let mut store = lock(&self.store);
        for resource in RESOURCE_TYPES {
            let pinned: Vec<Arc<Value>> = store
                .list(resource, "")
                .filter(|object| object["metadata"]["finalizers"] == json!([PIN]))
                .cloned()
                .collect();
            for object in pinned {
                if text(&object, "deletionTimestamp").is_empty() {
                    let mut object = object.as_ref().clone();
                    object["metadata"]["finalizers"] = json!([]);
                    store.insert(resource, Arc::new(object));
                } else {
                    store.remove(resource, &object);
                }
            }
        }
    }

    /// Returns the server's time.
    pub(crate) fn now(&self) -> Timestamp {
        let skew = self.clock_skew_seconds.load(Ordering::Relaxed);
        Timestamp::now() + SignedDuration::from_secs(skew)
    }

    /// Answers a request.
    pub(crate) fn handle(&self, request: &Request) -> Reply {
        let mut reply = self.answer(request).unwrap_or_else(|failure| Reply::json(failure.code, &failure.body()));
        // By the server's clock, which may differ from this machine's.
        let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&self.now());
        reply.headers.push(("date", date.expect("the year has four digits")));
        reply
    }

    fn answer(&self, request: &Request) -> Result<Reply, Failure> {
        let now = self.now();
        let mut store = lock(&self.store);
        let caller = self.authenticate(&store, request, now)?;
        let caller = impersonate(&store, caller, request)?;
        let attributes = request.attributes();
        if authorize(&store, &caller, &attributes).is_none() {
            return Err(match &attributes {
                Attributes::Path { verb, path } => {
                    Failure::forbidden_path(&format!("User {:?} cannot {verb} path {path:?}", caller.name))
                }
                Attributes::Resource(attributes) => forbidden(&caller, attributes),
            });
        }
        match attributes {
            Attributes::Path { path, .. } => Ok(non_resource(&path)),
            Attributes::Resource(attributes) => self.resource(&mut store, request, &caller, &attributes, now),
        }
    }

    fn authenticate(&self, store: &Store, request: &Request, now: Timestamp) -> Result<Caller, Failure> {
        let hostility = self.faults.hostility();
        if hostility == Some(Hostility::AnonymousYes) {
            let groups = ["system:unauthenticated", SUPERUSERS].map(str::to_owned).to_vec();
            return Ok(Caller { name: "system:anonymous".to_owned(), groups, ..Caller::default() });
        }
        let authorization = request.header("authorization");
        let Some((_, token)) =
            authorization.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        else {
            return self.anonymous_caller(request);
        };
        let token = token.trim();
        for user in User::ALL {
            if self.test_cluster.token(user) == token {
                return Ok(Caller {
                    name: user.name().to_owned(),
                    uid: format!("{}-uid", user.name()),
                    groups: vec![user.group().to_owned(), "system:authenticated".to_owned()],
                    credential_id: None,
                });
            }
        }
        let lifetime = match hostility {
            Some(Hostility::PastToken | Hostility::TimelessToken | Hostility::FarToken | Hostility::FartherToken) => {
                Lifetime::Ignored
            }
            _ => Lifetime::Checked,
        };
        self.signer.authenticate(store, token, now, lifetime).ok_or_else(Failure::unauthorized)
    }

    fn anonymous_caller(&self, request: &Request) -> Result<Caller, Failure> {
        let is_public = ["/healthz", "/livez", "/readyz", "/version"].iter().any(|path| request.path.starts_with(path));
        if self.anonymous == Anonymous::Unauthorized && !is_public {
            return Err(Failure::unauthorized());
        }
        Ok(Caller {
            name: "system:anonymous".to_owned(),
            groups: vec!["system:unauthenticated".to_owned()],
            ..Caller::default()
        })
    }

    fn resource(
        &self,
        store: &mut Store,
        request: &Request,
        caller: &Caller,
        attributes: &ResourceAttributes,
        now: Timestamp,
    ) -> Result<Reply, Failure> {
        if let Some(reply) = review(store, request, caller, attributes, now) {
            return reply;
        }
        let found = ResourceType::find(&attributes.group, &attributes.resource)
            .filter(|resource| attributes.version == resource.version());
        let Some(resource) = found else {
            let root = match attributes.group.as_str() {
                "" => format!("/api/{}", attributes.version),
                group => format!("/apis/{group}/{}", attributes.version),
            };
            // A known group answers with a Status, an unknown path with plain text.
            return match discover(&root) {
                Some(_) => Err(Failure::unknown_resource()),
                None => Ok(page_not_found()),
            };
        };
        let is_cluster_path = attributes.namespace.is_empty() || resource.plural == "namespaces";
        let is_wrong_scope = match resource.scope {
            Scope::Cluster => !is_cluster_path,
            Scope::Namespaced => is_cluster_path && attributes.verb != "list",
        };
        if is_wrong_scope {
            return Err(Failure::unknown_resource());
        }
        let target = Target {
            resource,
            namespace: match resource.scope {
                Scope::Cluster => "",
                Scope::Namespaced => &attributes.namespace,
            },
            name: &attributes.name,
        };
        match (attributes.subresource.as_str(), resource.plural) {
            ("", _) => {}
            ("token", "serviceaccounts") => {
                return self.token(store, request, target, now);
            }
            ("status", _) if resource.is_custom() && attributes.verb == "patch" => {}
            _ => return Err(Failure::unknown_resource()),
        }
        let verb = attributes.verb.as_str();
        match verb {
            "get" => return read::get(store, request, target, now),
            "list" => return read::list(store, request, target, now),
            _ if resource.storage == Storage::AlwaysEmpty => {
                return Err(Failure::method_not_allowed());
            }
            _ => {}
        }
        let webhook = lock(&self.webhook).clone();
        let is_of_status = attributes.subresource == "status";
        let write = Write { store, request, caller, target, is_of_status, webhook: webhook.as_ref(), now };
        match verb {
            "create" if target.name.is_empty() => write.create(),
            "patch" if !target.name.is_empty() => write.patch(),
            "update" if !target.name.is_empty() => write.replace(),
            "delete" => write.delete(),
            _ => Err(Failure::method_not_allowed()),
        }
    }

    fn token(&self, store: &Store, request: &Request, target: Target<'_>, now: Timestamp) -> Result<Reply, Failure> {
        if request.method != http::Method::POST {
            return Err(Failure::method_not_allowed());
        }
        let body = serde_json::from_slice(&request.body).map_err(|error| Failure::bad_request(error.to_string()))?;
        let token_request = TokenRequest {
            store,
            namespace: target.namespace,
            name: target.name,
            body: &body,
            maximum: *lock(&self.max_token_expiration),
            now,
        };
        token_request.issue(&self.signer)
    }
}

/// Refuses what no rule allows, as Kubernetes words it.
pub(crate) fn forbidden(caller: &Caller, attributes: &ResourceAttributes) -> Failure {
    let place = match attributes.namespace.as_str() {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace {namespace:?}"),
    };
    let why = format!(
        "User {:?} cannot {} resource {:?} in API group {:?} {place}",
        caller.name,
        attributes.verb,
        attributes.qualified_resource(),
        attributes.group,
    );
    let (group, resource) = (&attributes.group, &attributes.resource);
    Failure::forbidden(group, resource, &attributes.name, &why)
}

/// Answers a review, `None` for any other resource.
fn review(
    store: &Store,
    request: &Request,
    caller: &Caller,
    attributes: &ResourceAttributes,
    now: Timestamp,
) -> Option<Result<Reply, Failure>> {
    let resource = qualified(&attributes.resource, &attributes.group);
    let is_review = [
        "selfsubjectreviews.authentication.k8s.io",
        "selfsubjectaccessreviews.authorization.k8s.io",
        "selfsubjectrulesreviews.authorization.k8s.io",
    ]
    .contains(&resource.as_str());
    if !is_review {
        return None;
    }
    if request.method != http::Method::POST {
        return Some(Err(Failure::method_not_allowed()));
    }
    let body = match serde_json::from_slice(&request.body) {
        Ok(body) => body,
        Err(error) => return Some(Err(Failure::bad_request(error.to_string()))),
    };
    let answer = match attributes.resource.as_str() {
        "selfsubjectreviews" => Ok(reviews::self_subject_review(caller, now)),
        "selfsubjectaccessreviews" => Ok(reviews::self_subject_access_review(store, caller, &body)),
        _ => reviews::self_subject_rules_review(store, caller, &body),
    };
    Some(answer.map(|answer| Reply::json(201, &answer)))
}

/// Lets a caller who may impersonate act as another.
fn impersonate(store: &Store, caller: Caller, request: &Request) -> Result<Caller, Failure> {
    let user = request.header("impersonate-user");
    if user.is_empty() {
        return Ok(caller);
    }
    let mut groups: Vec<String> = request
        .headers
        .get_all("impersonate-group")
        .iter()
        .filter_map(|group| group.to_str().ok())
        .map(str::to_owned)
        .collect();
    let wanted = std::iter::once(("users", user)).chain(groups.iter().map(|group| ("groups", group.as_str())));
    for (resource, name) in wanted {
        let attributes = ResourceAttributes {
            verb: "impersonate".to_owned(),
            resource: resource.to_owned(),
            name: name.to_owned(),
            ..ResourceAttributes::default()
        };
        if authorize(store, &caller, &Attributes::Resource(attributes.clone())).is_none() {
            return Err(forbidden(&caller, &attributes));
        }
    }
    groups.push("system:authenticated".to_owned());
    Ok(Caller { name: user.to_owned(), groups, ..Caller::default() })
}

fn non_resource(path: &str) -> Reply {
    if ["/healthz", "/livez", "/readyz"].contains(&path.trim_end_matches('/')) {
        return Reply::text(200, "ok");
    }
    discover(path).map_or_else(page_not_found, |body| Reply::json(200, &body))
}

fn page_not_found() -> Reply {
    Reply::text(404, "404 page not found\n")
}

/// Locks, whatever happened to the thread that held the lock before.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
