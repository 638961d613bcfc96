//! Bodies and heads that exhaust who reads them. Nothing large is held more than once.

use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::LazyLock;
use std::time::Duration;

use super::answer::Outgoing;
use super::mode::Hostility;
use crate::identity::derived_uid;
use crate::sim::body::{Part, ReplyBody};
use crate::sim::request::{Attributes, Reply, Request};

/// The time between two bytes of a dripping answer.
const DRIP: Duration = Duration::from_millis(500);

/// The objects on an endless list's page, and the size of the annotation that each carries: 400 kB together.
const OBJECTS_PER_PAGE: usize = 300;
const ANNOTATION_SIZE: usize = 1024;

/// What stands in a body for what is streamed into it.
const PLACE: &str = "\"@here@\"";

/// 64 KiB that a huge answer repeats.
static PADDING: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(vec![b'x'; 64 * 1024]));

/// How often it does: 60 MiB.
const PADDINGS: usize = 960;

/// The depth of deep JSON.
const DEPTH: usize = 200_000;

static OPENING: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(vec![b'['; DEPTH]));
static CLOSING: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(vec![b']'; DEPTH]));

/// The items of a list of 200,000 objects.
static TINY_OBJECTS: LazyLock<Bytes> = LazyLock::new(|| {
    let items: Vec<String> =
        (0..200_000).map(|number| format!(r#"{{"metadata":{{"name":"o{number}","uid":"u{number}"}}}}"#)).collect();
    Bytes::from(items.join(","))
});

/// 10.3 MB of blanks, packed; how often a bomb repeats them makes 1 GB.
static PACKED_BLANKS: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(packed(&EIGHT_MATCHES.repeat(5_000))));
const PACKED_TIMES: usize = 100;

/// A match of 258 bytes at distance 1 in the fixed code of deflate: 8 bits of length, 5 of distance.
const MATCH: &str = "1100010100000";
static EIGHT_MATCHES: LazyLock<String> = LazyLock::new(|| MATCH.repeat(8));

/// Answers a list.
pub(super) fn list(mode: &Hostility, request: &Request, reply: Reply) -> Outgoing {
    if *mode == Hostility::ManyObjects {
        return filled(reply, |list| list["items"] = json!(["@here@"]), [Part::once(TINY_OBJECTS.clone())]);
    }
    let page: usize = request.query("continue").strip_prefix("page-").and_then(|page| page.parse().ok()).unwrap_or(0);
    let reply = super::answer::rewrite(reply, |list| {
        let items = match mode {
            Hostility::EndlessList => {
                let name = |number: usize| format!("endless-{page}-{number}");
                (0..OBJECTS_PER_PAGE).map(|number| padded(request, list, &name(number))).collect()
            }
            _ => vec![],
        };
        list["items"] = items.into();
        list["metadata"]["continue"] = format!("page-{}", page + 1).into();
    });
    reply.into()
}

fn padded(request: &Request, list: &Value, name: &str) -> Value {
    let mut object = fabricated(request, list, name);
    object["metadata"]["annotations"] = json!({ "padding": "x".repeat(ANNOTATION_SIZE) });
    object
}

/// Returns an object that fits into the answer to a list request, its selector included.
pub(super) fn fabricated(request: &Request, list: &Value, name: &str) -> Value {
    let labels: serde_json::Map<String, Value> = request
        .query("labelSelector")
        .split(',')
        .filter_map(|requirement| requirement.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.trim_start_matches('=').into()))
        .collect();
    let mut object = json!({
        "metadata": {
            "name": name,
            "uid": derived_uid(name),
            "resourceVersion": "1",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": labels,
        },
    });
    let Attributes::Resource(attributes) = request.attributes() else {
        return object;
    };
    if ["roles", "rolebindings", "serviceaccounts", "secrets"].contains(&attributes.resource.as_str()) {
        let namespace = if attributes.namespace.is_empty() { "default" } else { &attributes.namespace };
        object["metadata"]["namespace"] = namespace.into();
    }
    if list["kind"] == "PartialObjectMetadataList" {
        object["kind"] = "PartialObjectMetadata".into();
        object["apiVersion"] = "meta.k8s.io/v1".into();
    } else if attributes.resource.ends_with("roles") {
        object["rules"] = json!([]);
    } else if attributes.resource.ends_with("bindings") {
        object["roleRef"] = json!({ "apiGroup": attributes.group, "kind": "ClusterRole", "name": "view" });
        object["subjects"] = json!([]);
    }
    object
}

/// Answers a read.
pub(super) fn read(mode: &Hostility, mut reply: Reply) -> Outgoing {
    let annotate = |value: &mut Value| {
        if !value["metadata"].is_object() {
            value["metadata"] = json!({});
        }
        value["metadata"]["annotations"] = json!({ "padding": "@here@" });
    };
    match mode {
        Hostility::HugeAnswer => {
            let parts = [Part::once("\""), Part::repeated(PADDING.clone(), PADDINGS), Part::once("\"")];
            filled(reply, annotate, parts)
        }
        Hostility::DeepJson => filled(reply, annotate, [Part::once(OPENING.clone()), Part::once(CLOSING.clone())]),
        _ => {
            reply.headers.push(("content-encoding", "gzip".to_owned()));
            Outgoing::with_body(reply, bomb())
        }
    }
}

/// Puts `parts` where `prepare` put the placeholder.
fn filled<const N: usize>(reply: Reply, prepare: impl FnOnce(&mut Value), parts: [Part; N]) -> Outgoing {
    let mut value = serde_json::from_slice(&reply.body).unwrap_or_else(|_| json!({}));
    prepare(&mut value);
    let text = value.to_string();
    let (before, after) = text.split_once(PLACE).expect("the placeholder was put there");
    let (before, after) = (Part::once(before.to_owned()), Part::once(after.to_owned()));
    let body = ReplyBody::parts(std::iter::once(before).chain(parts).chain([after]));
    Outgoing::with_body(reply, body)
}

/// Returns 1 GB of blanks as gzip. Its checksum is missing: who gets that far has lost already.
fn bomb() -> ReplyBody {
    const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    // The last block (1), in the fixed code (1, 0), a blank, and a match: 24 bits, so that what is
    // repeated starts with a byte.
    let mut start = HEADER.to_vec();
    start.extend(packed(&format!("11001010000{MATCH}")));
    ReplyBody::parts([Part::once(start), Part::repeated(PACKED_BLANKS.clone(), PACKED_TIMES), Part::once(&b"\0"[..])])
}

/// Packs bits as deflate does, the first into the lowest place.
fn packed(bits: &str) -> Vec<u8> {
    let bit = |bit: &u8| u8::from(*bit == b'1');
    bits.as_bytes().chunks(8).map(|byte| byte.iter().rev().fold(0, |sum, next| sum << 1 | bit(next))).collect()
}

/// Answers anything.
pub(super) fn any(mode: &Hostility, mut reply: Reply) -> Outgoing {
    match mode {
        Hostility::HugeHeader => reply.headers.push(("x-padding", "x".repeat(4 * 1024 * 1024))),
        Hostility::ManyHeaders => {
            reply.headers.extend((0..5_000).map(|number| ("x-padding", format!("{number:0>64}"))));
        }
        _ => {
            let body = ReplyBody::dripping(reply.body.clone(), DRIP);
            return Outgoing::with_body(reply, body);
        }
    }
    reply.into()
}
