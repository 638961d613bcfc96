//! Fuzz targets: responses of API servers, from their bytes to the values that are kept.

use serde_json::Value;

use super::json::{ItemsAre, object, page};
use crate::access::Binding;
use crate::cluster::{classify, review};
use crate::credential::Index;
use crate::foreign::is_invisible;
use crate::fuzz::{PLANTED, boundary, choice, middle};
use crate::object::{Kind, ObjectRef};
use crate::observed::{ObservedObject, Ownership};

/// An object or a page is read like any JSON, and everything that is kept of it can be used.
pub(crate) fn api_answer(data: &[u8]) -> bool {
    let read = object(data);
    let usual = serde_json::from_slice::<Value>(data);
    match &read {
        Ok(value) => {
            assert_eq!(usual.ok().as_ref(), Some(value));
            observe(value);
        }
        Err(problem) => {
            assert!(usual.is_err() || *problem == "it has too many values");
        }
    }
    let mut items = vec![];
    let page = page(data, &mut |item| {
        observe(item);
        items.push(item.clone());
    });
    if let Ok(page) = &page {
        assert_eq!(page.items, items.len());
        assert!(page.items == 0 || page.items_are == ItemsAre::List);
        assert!(!page.rest.contains_key("items"));
        // Anything but a list is skipped without looking into its values.
        if let Ok(value) = &read
            && page.items_are == ItemsAre::List
        {
            assert_eq!(value["items"].as_array(), Some(&items));
        }
    }
    read.is_ok()
}

/// Reads an object in every way in which one is read.
fn observe(value: &Value) {
    let observed = ObservedObject::from_json(value);
    assert!(observed.weight() >= size_of::<ObservedObject>());
    let inventory = "acme".into();
    assert!(observed.ownership(&inventory) != Ownership::Ours || observed.labels.len() >= 2);
    assert!(observed.other_managers(".rules", "kubemint").all(|manager| manager != "kubemint"));
    assert!(observed.profile().is_none_or(|profile| observed.labels.values().any(|value| value == profile)));
    if let Ok(index) = observed.index() {
        assert_eq!(Index::parse(&index.to_annotation()).as_ref(), Ok(&index));
    }
    let name = value["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let namespace = value["metadata"]["namespace"].as_str().map(str::to_owned);
    let at = ObjectRef { kind: Kind::RoleBinding, namespace, name };
    assert_eq!(at.path().matches('/').count(), if at.namespace.is_some() { 7 } else { 5 }, "{}", at.path());
    if let Some(binding) = Binding::new(at, observed) {
        let role = binding.role_object();
        assert_eq!(role.name, binding.role.name);
        assert!(!binding.scope().to_string().is_empty());
    }
    drop(review::read_answer(value));
    let rules = review::read_rules(value);
    assert!(rules.cause.is_none_or(|cause| !cause.contains(is_invisible)));
}

/// The text of an error response is fit to print, and a token that it echoes is not in it.
pub(crate) fn api_error(data: &[u8]) -> bool {
    for code in [200, 401, 403, 404, 409, 410, 422, 429, 500, 503, 599] {
        let failure = classify::status(code, data, None);
        let shown = failure.to_string();
        assert!(!shown.contains(is_invisible), "{shown:?}");
        let _ = (failure.is_stale(), failure.is_transient(), failure.is_escalation(), failure.is_already_exists());
        let status = failure.status().expect("a status is made of a status code");
        for cause in &status.causes {
            assert!(![&cause.reason, &cause.message, &cause.field].into_iter().any(|text| text.contains(is_invisible)));
        }
    }
    let text = String::from_utf8_lossy(data);
    let at = boundary(&text, choice(data) % (text.len() + 1));
    // After a backslash the token could become part of an escape, and be another text.
    if !text[boundary(&text, at.saturating_sub(12))..at].contains('\\') {
        let planted = format!("{}{PLANTED}{}", &text[..at], &text[at..]);
        let failure = classify::status(500, planted.as_bytes(), None);
        let shown = format!("{failure} {failure:?}");
        assert!(!shown.contains(middle(PLANTED)), "{shown}");
    }
    serde_json::from_slice::<Value>(data).is_ok_and(|value| value["kind"] == "Status")
}
