//! Writing objects: create, apply, patch, replace and delete.
//!
//! The time is an argument. Every write goes through the same gates in the order of Kubernetes:
//! the namespace exists, a webhook may change the object, nobody grants what they do not hold, the
//! object is valid; only then it is stored, and not in a dry run.

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::sync::Arc;

use super::escalation;
use super::failure::{Cause, Failure};
use super::faults::Webhook;
use super::managed::{Conflicts, Writer, apply, record_update, stamp_apply};
use super::patch;
use super::present::{self, Form};
use super::rbac::{Caller, authorize};
use super::read::Target;
use super::request::{Attributes, Reply, Request, ResourceAttributes};
use super::resource::{NAMESPACES, SERVICE_ACCOUNTS, Scope};
use super::store::{Store, text};
use super::validate;
use crate::identity::{random_hex, random_uid};

/// Namespaces that may not be deleted.
const PERMANENT_NAMESPACES: [&str; 3] = ["default", "kube-public", "kube-system"];

/// Fields of the metadata that belong to the server.
const SERVER_FIELDS: [&str; 6] =
    ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "managedFields", "resourceVersion"];

/// A write and everything that it needs.
pub(crate) struct Write<'a> {
    pub(crate) store: &'a mut Store,
    pub(crate) request: &'a Request,
    pub(crate) caller: &'a Caller,
    pub(crate) target: Target<'a>,
    /// Whether it is of the subresource `status`.
    pub(crate) is_of_status: bool,
    pub(crate) webhook: Option<&'a Webhook>,
    pub(crate) now: Timestamp,
}

impl Write<'_> {
    /// Answers a POST.
    pub(crate) fn create(mut self) -> Result<Reply, Failure> {
        let mut object = self.decode()?;
        self.check_namespace()?;
        self.adopt_namespace(&mut object)?;
        let prefix = text(&object, "generateName").to_owned();
        if text(&object, "name").is_empty() && !prefix.is_empty() {
            object["metadata"]["name"] = format!("{prefix}{}", random_hex::<3>()).into();
        }
        self.new_metadata(&mut object);
        self.default_namespace_label(&mut object);
        validate::set_defaults(self.target.resource, &mut object);
        self.record(&json!({}), &mut object);
        let object = self.admit(None, object)?;
        let name = text(&object, "name").to_owned();
        let Target { resource, namespace, .. } = self.target;
        if self.store.get(resource, namespace, &name).is_some() {
            return Err(Failure::already_exists(resource, &name));
        }
        Ok(self.store_created(object))
    }

    /// Answers a PATCH of any type.
    pub(crate) fn patch(mut self) -> Result<Reply, Failure> {
        let media_type = self.request.media_type();
        if media_type == "application/apply-patch+yaml" {
            return self.apply();
        }
        let body = self.json_body()?;
        let live = self.live()?;
        let mut object = live.as_ref().clone();
        match media_type {
            "application/merge-patch+json" | "application/strategic-merge-patch+json" => {
                patch::merge(&mut object, &body);
            }
            "application/json-patch+json" => patch::json_patch(&mut object, &body)?,
            _ => {
                return Err(Failure::unsupported_media_type(
                    "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml, application/apply-patch+cbor",
                ));
            }
        }
        self.check_name(&object)?;
        if self.target.resource.is_custom() {
            let kept = if self.is_of_status { "spec" } else { "status" };
            object[kept] = live[kept].clone();
        }
        self.update(&live, object)
    }

    /// Answers a PUT.
    pub(crate) fn replace(mut self) -> Result<Reply, Failure> {
        let mut object = self.decode()?;
        self.check_name(&object)?;
        self.adopt_namespace(&mut object)?;
        let live = self.live()?;
        let Target { resource, namespace, name } = self.target;
        let (uid, live_uid) = (text(&object, "uid"), text(&live, "uid"));
        if !uid.is_empty() && uid != live_uid {
            let why = format!(
                "StorageError: invalid object, Code: 4, Key: /registry/{}/{namespace}/{name}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: {live_uid}",
                resource.plural
            );
            return Err(Failure::conflict(resource, name, &why));
        }
        self.update(&live, object)
    }

    /// Answers a DELETE of one object.
    pub(crate) fn delete(self) -> Result<Reply, Failure> {
        let options = if self.request.body.is_empty() { Value::Null } else { self.json_body()? };
        let Target { resource, name, .. } = self.target;
        if *resource == NAMESPACES && PERMANENT_NAMESPACES.contains(&name) {
            let why = "this namespace may not be deleted";
            return Err(Failure::forbidden("", "namespaces", name, why));
        }
        let live = self.live()?;
        self.check_preconditions(&live, &options["preconditions"])?;
        // Where there is a body, the query does not count: apiserver pkg/endpoints/handlers/delete.go.
        let is_dry_run =
            if options.is_null() { self.request.is_dry_run() } else { options["dryRun"] == json!(["All"]) };
        let mut object = live.as_ref().clone();
        let is_kept = !validate::is_empty(&object["metadata"]["finalizers"]);
        if is_kept || *resource == NAMESPACES {
            object["metadata"]["deletionTimestamp"] = self.timestamp().into();
        }
        if *resource == NAMESPACES {
            object["status"] = json!({ "phase": "Terminating" });
        }
        present::in_order(resource, &mut object);
        if is_kept {
            if *resource != NAMESPACES {
                object["metadata"]["deletionGracePeriodSeconds"] = 0.into();
            }
            if !is_dry_run && text(&live, "deletionTimestamp").is_empty() {
                object = self.store.put(resource, object).as_ref().clone();
            }
            return Ok(self.show(200, &object));
        }
        if !is_dry_run {
            self.store.remove(resource, &live);
        }
        if *resource == SERVICE_ACCOUNTS || *resource == NAMESPACES {
            return Ok(self.show(200, &object));
        }
        let mut details = json!({ "name": name });
        if !resource.group.is_empty() {
            details["group"] = resource.group.into();
        }
        details["kind"] = resource.plural.into();
        details["uid"] = text(&live, "uid").into();
        let status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": details,
        });
        Ok(Reply::json(200, &status))
    }

    fn apply(mut self) -> Result<Reply, Failure> {
        let manager = self.request.query("fieldManager");
        if manager.is_empty() {
            let causes = [Cause::required("fieldManager", "is required for apply patch")];
            return Err(Failure::invalid("PatchOptions", "meta.k8s.io", "", &causes));
        }
        let conflicts = match self.request.query("force") {
            "true" => Conflicts::TakeOver,
            _ => Conflicts::Refuse,
        };
        let (configuration, live) = self.configuration()?;
        let mut base = match &live {
            Some(live) => live.as_ref().clone(),
            None => json!({ "metadata": { "name": self.target.name } }),
        };
        if live.is_none() {
            self.check_namespace()?;
            self.adopt_namespace(&mut base)?;
        }
        let (api_version, time) = (self.target.resource.api_version(), self.timestamp());
        let writer = Writer { manager, api_version: &api_version, time: &time };
        let mut object = apply(&base, &configuration, writer, conflicts)?;
        let Some(live) = live else {
            stamp_apply(&mut object, writer);
            self.new_metadata(&mut object);
            self.default_namespace_label(&mut object);
            validate::set_defaults(self.target.resource, &mut object);
            let object = self.admit(None, object)?;
            return Ok(self.store_created(object));
        };
        let uid = &configuration["metadata"]["uid"];
        if !validate::is_empty(uid) {
            object["metadata"]["uid"] = uid.clone();
        }
        validate::set_defaults(self.target.resource, &mut object);
        validate::store_form(self.target.resource, &mut object);
        if object == *live {
            return Ok(self.show(200, &live));
        }
        if !same_but_for_ownership(&object, &live) {
            stamp_apply(&mut object, writer);
        }
        let object = self.admit(Some(&live), object)?;
        Ok(self.store_updated(&live, object))
    }

    /// Reads and checks the body of an apply, and the object that it meets.
    fn configuration(&self) -> Result<(Value, Option<Arc<Value>>), Failure> {
        let Target { resource, namespace, name } = self.target;
        let mut configuration = self.json_body()?;
        let field = |key: &str| configuration[key].as_str().unwrap_or_default();
        let (api_version, kind) = (field("apiVersion"), field("kind"));
        if (api_version, kind) != (&resource.api_version(), resource.kind) {
            let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
            let why = format!("invalid object type: {group}/{version}, Kind={kind}");
            return Err(Failure::bad_request(why));
        }
        if let [unknown, ..] = validate::unknown_fields(resource, &configuration).as_slice() {
            return Err(Failure::internal(format!(
                "failed to create typed patch object ({}/{name}; {}, Kind={kind}): .{unknown}: field not declared in schema",
                text(&configuration, "namespace"),
                if resource.group.is_empty() { "/v1".to_owned() } else { resource.api_version() },
            )));
        }
        if !configuration["metadata"]["managedFields"].is_null() {
            return Err(Failure::bad_request("metadata.managedFields must be nil"));
        }
        self.check_name(&configuration)?;
        string_data_to_data(&mut configuration);
        let live = self.store.get(resource, namespace, name).cloned();
        let wanted = |key: &str| text(&configuration, key);
        if let Some(live) = &live {
            let version = wanted("resourceVersion");
            if !version.is_empty() && version != text(live, "resourceVersion") {
                return Err(Failure::modified(resource, name));
            }
        } else {
            self.check_may_create()?;
            let uid = wanted("uid");
            if !uid.is_empty() {
                let why =
                    format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
                return Err(Failure::conflict(resource, name, &why));
            }
        }
        Ok((configuration, live))
    }

    /// An apply that creates needs the right to create as well.
    fn check_may_create(&self) -> Result<(), Failure> {
        let Target { resource, namespace, name } = self.target;
        let attributes = ResourceAttributes {
            verb: "create".to_owned(),
            group: resource.group.to_owned(),
            version: "v1".to_owned(),
            resource: resource.plural.to_owned(),
            subresource: String::new(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let wanted = Attributes::Resource(attributes.clone());
        match authorize(self.store, self.caller, &wanted) {
            Some(_) => Ok(()),
            None => Err(super::server::forbidden(self.caller, &attributes)),
        }
    }

    fn update(&mut self, live: &Arc<Value>, mut object: Value) -> Result<Reply, Failure> {
        let Target { resource, name, .. } = self.target;
        let version = text(&object, "resourceVersion");
        if !version.is_empty() && version != text(live, "resourceVersion") {
            return Err(Failure::modified(resource, name));
        }
        // A changed UID must reach the validation; the rest belongs to the server.
        let uid = object["metadata"]["uid"].clone();
        for field in SERVER_FIELDS {
            let value = live["metadata"][field].clone();
            let metadata = object["metadata"].as_object_mut();
            let Some(metadata) = metadata else { continue };
            if value.is_null() {
                metadata.shift_remove(field);
            } else {
                metadata.insert(field.to_owned(), value);
            }
        }
        if !validate::is_empty(&uid) {
            object["metadata"]["uid"] = uid;
        }
        validate::drop_unknown_fields(resource, &mut object);
        validate::set_defaults(resource, &mut object);
        self.record(live, &mut object);
        let object = self.admit(Some(live), object)?;
        Ok(self.store_updated(live, object))
    }

    /// Runs the gates between a wanted object and the store.
    fn admit(&self, before: Option<&Value>, mut object: Value) -> Result<Value, Failure> {
        let resource = self.target.resource;
        if let Some(webhook) = self.webhook {
            let unchanged = object.clone();
            webhook.mutate(resource, &mut object);
            let (api_version, time) = (resource.api_version(), self.timestamp());
            let writer = Writer { manager: "webhook", api_version: &api_version, time: &time };
            record_update(&unchanged, &mut object, writer);
        }
        validate::store_form(resource, &mut object);
        escalation::check(self.store, self.caller, resource, before, &object)?;
        validate::check(resource, before, &object)?;
        present::in_order(resource, &mut object);
        Ok(object)
    }

    fn store_created(&mut self, mut object: Value) -> Reply {
        if self.request.is_dry_run() {
            if let Some(metadata) = object["metadata"].as_object_mut() {
                metadata.shift_remove("resourceVersion");
            }
            return self.show(201, &object);
        }
        object["metadata"]["resourceVersion"] = "".into();
        present::in_order(self.target.resource, &mut object);
        let stored = self.store.put(self.target.resource, object);
        self.show(201, &stored)
    }

    fn store_updated(&mut self, live: &Value, object: Value) -> Reply {
        if self.request.is_dry_run() || object == *live {
            return self.show(200, &object);
        }
        let is_terminating = !text(live, "deletionTimestamp").is_empty();
        if is_terminating && validate::is_empty(&object["metadata"]["finalizers"]) {
            self.store.remove(self.target.resource, &object);
            return self.show(200, &object);
        }
        let stored = self.store.put(self.target.resource, object);
        self.show(200, &stored)
    }

    fn show(&self, code: u16, object: &Value) -> Reply {
        let form = Form::accepted(self.request.header("accept"));
        let shown = present::object(self.target.resource, object, form, self.now);
        Reply::json(code, &shown)
    }

    fn live(&self) -> Result<Arc<Value>, Failure> {
        let Target { resource, namespace, name } = self.target;
        let live = self.store.get(resource, namespace, name).cloned();
        live.ok_or_else(|| Failure::not_found(resource, name))
    }

    fn record(&self, before: &Value, after: &mut Value) {
        let (manager, time) = (self.request.field_manager(), self.timestamp());
        let writer = Writer { manager: &manager, api_version: &self.target.resource.api_version(), time: &time };
        record_update(before, after, writer);
    }

    fn timestamp(&self) -> String {
        let second = Timestamp::from_second(self.now.as_second());
        second.unwrap_or(self.now).to_string()
    }

    fn json_body(&self) -> Result<Value, Failure> {
        serde_json::from_slice(&self.request.body)
            .map_err(|error| Failure::bad_request(format!("the body of the request is not JSON: {error}")))
    }

    /// Reads an object that is created or replaced.
    fn decode(&self) -> Result<Value, Failure> {
        let resource = self.target.resource;
        if !["", "application/json"].contains(&self.request.media_type()) {
            return Err(Failure::unsupported_media_type(
                "application/json, application/yaml, application/vnd.kubernetes.protobuf",
            ));
        }
        let kind = resource.kind;
        let mut object: Value = serde_json::from_slice(&self.request.body).map_err(|error| {
            Failure::bad_request(format!(
                "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: {error}"
            ))
        })?;
        let refuse = |given: &str, why: &str| {
            let version = match resource.group {
                "" => "v1".to_owned(),
                group => format!("{group}/{}", resource.version()),
            };
            Err(Failure::bad_request(format!("{given} in version \"{version}\" cannot be handled as a {kind}: {why}")))
        };
        if let Some(given) = object["kind"].as_str()
            && given != kind
        {
            let why = format!("no kind {given:?} is registered for this version");
            return refuse(given, &why);
        }
        let unknown = validate::unknown_fields(resource, &object);
        if !unknown.is_empty() && self.request.query("fieldValidation") == "Strict" {
            let unknown: Vec<String> = unknown.iter().map(|field| format!("unknown field {field:?}")).collect();
            let why = format!("strict decoding error: {}", unknown.join(", "));
            return refuse(kind, &why);
        }
        validate::drop_unknown_fields(resource, &mut object);
        if !object["metadata"].is_object() {
            object["metadata"] = Value::Object(Map::new());
        }
        Ok(object)
    }

    fn check_name(&self, object: &Value) -> Result<(), Failure> {
        let (name, wanted) = (text(object, "name"), self.target.name);
        if name == wanted || name.is_empty() {
            return Ok(());
        }
        Err(Failure::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({wanted})"
        )))
    }

    fn adopt_namespace(&self, object: &mut Value) -> Result<(), Failure> {
        if self.target.resource.scope == Scope::Cluster {
            return Ok(());
        }
        let given = text(object, "namespace");
        if !given.is_empty() && given != self.target.namespace {
            return Err(Failure::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        object["metadata"]["namespace"] = self.target.namespace.into();
        Ok(())
    }

    /// Refuses new content in a namespace that is missing or going away.
    fn check_namespace(&self) -> Result<(), Failure> {
        let Target { resource, namespace, name } = self.target;
        if resource.scope == Scope::Cluster {
            return Ok(());
        }
        let live =
            self.store.get(&NAMESPACES, "", namespace).ok_or_else(|| Failure::not_found(&NAMESPACES, namespace))?;
        if text(live, "deletionTimestamp").is_empty() {
            return Ok(());
        }
        let body_name = self.json_body().ok();
        let name = match (name, &body_name) {
            ("", Some(body)) => text(body, "name"),
            _ => name,
        };
        let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
        let cause = Cause {
            reason: "NamespaceTerminating",
            message: format!("namespace {namespace} is being terminated"),
            field: "metadata.namespace".to_owned(),
        };
        Err(Failure::forbidden(resource.group, resource.plural, name, &why).because(cause))
    }

    fn new_metadata(&self, object: &mut Value) {
        let metadata = &mut object["metadata"];
        metadata["uid"] = random_uid().into();
        metadata["creationTimestamp"] = self.timestamp().into();
        if let Some(metadata) = metadata.as_object_mut() {
            for field in ["resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds"] {
                metadata.shift_remove(field);
            }
        }
    }

    fn default_namespace_label(&self, object: &mut Value) {
        if *self.target.resource == NAMESPACES {
            let name = object["metadata"]["name"].clone();
            object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name;
        }
    }

    fn check_preconditions(&self, live: &Value, preconditions: &Value) -> Result<(), Failure> {
        let resource = self.target.resource;
        for (field, label, hint) in
            [("uid", "UID", "deleted and then recreated"), ("resourceVersion", "ResourceVersion", "modified")]
        {
            let Some(wanted) = preconditions[field].as_str() else {
                continue;
            };
            let found = text(live, field);
            if wanted != found {
                let why = format!(
                    "the {label} in the precondition ({wanted}) does not match the {label} in record ({found}). The object might have been {hint}"
                );
                let name = self.target.name;
                return Err(Failure::conflict_on(resource.kind, resource.group, name, &why));
            }
        }
        Ok(())
    }
}

fn same_but_for_ownership(object: &Value, live: &Value) -> bool {
    let without_owners = |object: &Value| {
        let mut object = object.clone();
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.shift_remove("managedFields");
        }
        object
    };
    without_owners(object) == without_owners(live)
}

/// Applies `stringData` as the data that it stands for.
fn string_data_to_data(configuration: &mut Value) {
    use base64::Engine;
    let Some(fields) = configuration.as_object_mut() else {
        return;
    };
    let Some(Value::Object(strings)) = fields.shift_remove("stringData") else {
        return;
    };
    for (key, value) in strings {
        let bytes = value.as_str().unwrap_or_default();
        configuration["data"][key] = base64::engine::general_purpose::STANDARD.encode(bytes).into();
    }
}
