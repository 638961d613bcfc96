//! Reading objects: get and list. Writing them is in [`super::write`].
//!
//! Pure but for the store that it is given; the time is an argument.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;

use super::failure::Failure;
use super::present::{self, Form, ListMetadata};
use super::request::{Reply, Request};
use super::resource::ResourceType;
use super::selector::Selector;
use super::store::{Store, text};

/// The object or the collection that a request is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) resource: &'static ResourceType,
    /// Empty for cluster scope, and for lists over all namespaces.
    pub(crate) namespace: &'a str,
    /// Empty for collections.
    pub(crate) name: &'a str,
}

/// Answers a GET of one object.
pub(crate) fn get(store: &Store, request: &Request, target: Target<'_>, now: Timestamp) -> Result<Reply, Failure> {
    let object = store
        .get(target.resource, target.namespace, target.name)
        .ok_or_else(|| Failure::not_found(target.resource, target.name))?;
    let form = Form::accepted(request.header("accept"));
    let shown = present::object(target.resource, object, form, now);
    Ok(Reply::json(200, &shown))
}

/// Answers a GET of a collection, page by page where `limit` says so.
pub(crate) fn list(store: &Store, request: &Request, target: Target<'_>, now: Timestamp) -> Result<Reply, Failure> {
    let selector = Selector::parse(request.query("labelSelector"))?;
    let start = start_of_page(request.query("continue"))?;
    let mut objects: Vec<&Arc<Value>> = store
        .list(target.resource, target.namespace)
        .filter(|object| selector.matches(object))
        .filter(|object| matches_fields(request.query("fieldSelector"), object))
        .filter(|object| start.as_ref().is_none_or(|start| key(object) > *start))
        .collect();
    let limit = request.query("limit").parse().unwrap_or(0);
    let rest = (limit > 0 && objects.len() > limit).then(|| {
        // A real server does not count what a selector would still have to look at.
        let is_selected = ["labelSelector", "fieldSelector"].iter().any(|selector| !request.query(selector).is_empty());
        let remaining = (!is_selected).then(|| objects.len() - limit);
        objects.truncate(limit);
        let last = key(objects[limit - 1]);
        (page_token(store.revision(), &last), remaining)
    });
    let metadata = ListMetadata { revision: store.revision(), rest };
    let objects: Vec<&Value> = objects.into_iter().map(AsRef::as_ref).collect();
    let form = Form::accepted(request.header("accept"));
    let shown = present::list(target.resource, &objects, &metadata, form, now);
    Ok(Reply::json(200, &shown))
}

fn key(object: &Value) -> (String, String) {
    let part = |field: &str| text(object, field).to_owned();
    (part("namespace"), part("name"))
}

fn matches_fields(selector: &str, object: &Value) -> bool {
    selector.split(',').filter_map(|requirement| requirement.split_once('=')).all(|(field, value)| {
        match field.strip_prefix("metadata.") {
            Some(field) => text(object, field) == value.trim_start_matches('='),
            // Of Secrets only, and their `type` is at the top.
            None if field == "type" => object["type"] == value.trim_start_matches('='),
            None => false,
        }
    })
}

fn page_token(revision: u64, (namespace, name): &(String, String)) -> String {
    let token = json!({
        "v": "meta.k8s.io/v1",
        "rv": revision,
        "start": format!("{namespace}/{name}\0"),
    });
    URL_SAFE_NO_PAD.encode(token.to_string())
}

/// Reads what [`page_token`] wrote: the key after which the page starts.
fn start_of_page(token: &str) -> Result<Option<(String, String)>, Failure> {
    if token.is_empty() {
        return Ok(None);
    }
    let read = || {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let token: Value = serde_json::from_slice(&bytes).ok()?;
        let start = token["start"].as_str()?.trim_end_matches('\0');
        let (namespace, name) = start.split_once('/')?;
        Some((namespace.to_owned(), name.to_owned()))
    };
    let invalid = || Failure::bad_request("invalid continue token: continue key is not valid");
    read().map(Some).ok_or_else(invalid)
}
