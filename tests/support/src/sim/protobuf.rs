//! Reads the protobuf in which kubectl sends the objects that it knows, and turns it into JSON.
//!
//! Pure. Only what kubectl and typed clients send to the routes of the simulation: fields are
//! looked up by number in the tables below, unknown ones are skipped. Replies are always JSON,
//! which such clients accept as well.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// What every body starts with.
const MAGIC: &[u8] = b"k8s\0";

/// The fields of a message.
type Message = &'static [Field];

/// Number, name in JSON, type.
type Field = (u64, &'static str, Type);

/// How a field is encoded, and what it becomes.
#[derive(Clone, Copy)]
enum Type {
    Text,
    Texts,
    Number,
    Flag,
    Message(Message),
    Messages(Message),
    TextMap,
    /// Bytes become base64.
    ByteMap,
}

const OWNER_REFERENCE: Message = &[
    (5, "apiVersion", Type::Text),
    (1, "kind", Type::Text),
    (3, "name", Type::Text),
    (4, "uid", Type::Text),
    (6, "controller", Type::Flag),
    (7, "blockOwnerDeletion", Type::Flag),
];
const METADATA: Message = &[
    (1, "name", Type::Text),
    (2, "generateName", Type::Text),
    (3, "namespace", Type::Text),
    (5, "uid", Type::Text),
    (6, "resourceVersion", Type::Text),
    (11, "labels", Type::TextMap),
    (12, "annotations", Type::TextMap),
    (13, "ownerReferences", Type::Messages(OWNER_REFERENCE)),
    (14, "finalizers", Type::Texts),
];
const OBJECT: Message = &[(1, "metadata", Type::Message(METADATA))];
const NAME: Message = &[(1, "name", Type::Text)];
const OBJECT_REFERENCE: Message = &[
    (1, "kind", Type::Text),
    (2, "namespace", Type::Text),
    (3, "name", Type::Text),
    (4, "uid", Type::Text),
    (5, "apiVersion", Type::Text),
];
const SERVICE_ACCOUNT: Message = &[
    (1, "metadata", Type::Message(METADATA)),
    (2, "secrets", Type::Messages(OBJECT_REFERENCE)),
    (3, "imagePullSecrets", Type::Messages(NAME)),
    (4, "automountServiceAccountToken", Type::Flag),
];
const SECRET: Message = &[
    (1, "metadata", Type::Message(METADATA)),
    (2, "data", Type::ByteMap),
    (3, "type", Type::Text),
    (4, "stringData", Type::TextMap),
    (5, "immutable", Type::Flag),
];
const RULE: Message = &[
    (1, "verbs", Type::Texts),
    (2, "apiGroups", Type::Texts),
    (3, "resources", Type::Texts),
    (4, "resourceNames", Type::Texts),
    (5, "nonResourceURLs", Type::Texts),
];
const LABEL_SELECTOR: Message = &[(1, "matchLabels", Type::TextMap)];
const AGGREGATION_RULE: Message = &[(1, "clusterRoleSelectors", Type::Messages(LABEL_SELECTOR))];
const ROLE: Message = &[
    (1, "metadata", Type::Message(METADATA)),
    (2, "rules", Type::Messages(RULE)),
    (3, "aggregationRule", Type::Message(AGGREGATION_RULE)),
];
const SUBJECT: Message =
    &[(1, "kind", Type::Text), (2, "apiGroup", Type::Text), (3, "name", Type::Text), (4, "namespace", Type::Text)];
const ROLE_REF: Message = &[(1, "apiGroup", Type::Text), (2, "kind", Type::Text), (3, "name", Type::Text)];
const BINDING: Message = &[
    (1, "metadata", Type::Message(METADATA)),
    (2, "subjects", Type::Messages(SUBJECT)),
    (3, "roleRef", Type::Message(ROLE_REF)),
];
const RESOURCE_ATTRIBUTES: Message = &[
    (1, "namespace", Type::Text),
    (2, "verb", Type::Text),
    (3, "group", Type::Text),
    (4, "version", Type::Text),
    (5, "resource", Type::Text),
    (6, "subresource", Type::Text),
    (7, "name", Type::Text),
];
const NON_RESOURCE_ATTRIBUTES: Message = &[(1, "path", Type::Text), (2, "verb", Type::Text)];
const ACCESS_REVIEW_SPEC: Message = &[
    (1, "resourceAttributes", Type::Message(RESOURCE_ATTRIBUTES)),
    (2, "nonResourceAttributes", Type::Message(NON_RESOURCE_ATTRIBUTES)),
];
const ACCESS_REVIEW: Message = &[(2, "spec", Type::Message(ACCESS_REVIEW_SPEC))];
const RULES_REVIEW_SPEC: Message = &[(1, "namespace", Type::Text)];
const RULES_REVIEW: Message = &[(2, "spec", Type::Message(RULES_REVIEW_SPEC))];
const BOUND_OBJECT: Message =
    &[(1, "kind", Type::Text), (2, "apiVersion", Type::Text), (3, "name", Type::Text), (4, "uid", Type::Text)];
const TOKEN_REQUEST_SPEC: Message = &[
    (1, "audiences", Type::Texts),
    (3, "boundObjectRef", Type::Message(BOUND_OBJECT)),
    (4, "expirationSeconds", Type::Number),
];
const TOKEN_REQUEST: Message =
    &[(1, "metadata", Type::Message(METADATA)), (2, "spec", Type::Message(TOKEN_REQUEST_SPEC))];
const PRECONDITIONS: Message = &[(1, "uid", Type::Text), (2, "resourceVersion", Type::Text)];
const DELETE_OPTIONS: Message = &[(2, "preconditions", Type::Message(PRECONDITIONS)), (5, "dryRun", Type::Texts)];
const TYPE: Message = &[(1, "apiVersion", Type::Text), (2, "kind", Type::Text)];

/// Returns the body as JSON, `None` where it is not understood.
pub(crate) fn to_json(body: &[u8]) -> Option<Value> {
    let envelope = fields(body.strip_prefix(MAGIC)?)?;
    let bytes = |wanted: u64| {
        let found = envelope.iter().find(|(number, _)| *number == wanted);
        match found.map(|(_, content)| content) {
            Some(Content::Bytes(bytes)) => *bytes,
            _ => &[],
        }
    };
    let message_type = read(bytes(1), TYPE)?;
    let message = match message_type["kind"].as_str()? {
        "ServiceAccount" => SERVICE_ACCOUNT,
        "Secret" => SECRET,
        "Role" | "ClusterRole" => ROLE,
        "RoleBinding" | "ClusterRoleBinding" => BINDING,
        "SelfSubjectAccessReview" => ACCESS_REVIEW,
        "SelfSubjectRulesReview" => RULES_REVIEW,
        "TokenRequest" => TOKEN_REQUEST,
        "DeleteOptions" => DELETE_OPTIONS,
        _ => OBJECT,
    };
    let mut object = read(bytes(2), message)?;
    object["kind"] = message_type["kind"].clone();
    object["apiVersion"] = message_type["apiVersion"].clone();
    Some(object)
}

enum Content<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn read(bytes: &[u8], message: Message) -> Option<Value> {
    let mut object = Map::new();
    for (number, content) in fields(bytes)? {
        let Some((_, name, kind)) = message.iter().find(|(known, ..)| *known == number) else {
            continue;
        };
        let name = (*name).to_owned();
        match (kind, content) {
            (Type::Number, Content::Number(value)) => {
                object.insert(name, value.into());
            }
            (Type::Flag, Content::Number(value)) => {
                object.insert(name, (value != 0).into());
            }
            (Type::Text, Content::Bytes(bytes)) => {
                // Protobuf spells out empty texts that JSON leaves out.
                if !bytes.is_empty() {
                    object.insert(name, text(bytes)?.into());
                }
            }
            (Type::Texts, Content::Bytes(bytes)) => {
                push(&mut object, name, text(bytes)?.into());
            }
            (Type::Message(inner), Content::Bytes(bytes)) => {
                object.insert(name, read(bytes, inner)?);
            }
            (Type::Messages(inner), Content::Bytes(bytes)) => {
                push(&mut object, name, read(bytes, inner)?);
            }
            (Type::TextMap | Type::ByteMap, Content::Bytes(bytes)) => {
                let (key, value) = map_entry(bytes)?;
                let value = match kind {
                    Type::ByteMap => STANDARD.encode(value),
                    _ => text(value)?,
                };
                let map = object.entry(name).or_insert_with(|| json!({}));
                map[text(key)?] = value.into();
            }
            _ => return None,
        }
    }
    Some(object.into())
}

fn push(object: &mut Map<String, Value>, name: String, item: Value) {
    let items = object.entry(name).or_insert_with(|| json!([]));
    if let Some(items) = items.as_array_mut() {
        items.push(item);
    }
}

fn map_entry(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut entry: (&[u8], &[u8]) = (&[], &[]);
    for field in fields(bytes)? {
        match field {
            (1, Content::Bytes(key)) => entry.0 = key,
            (2, Content::Bytes(value)) => entry.1 = value,
            _ => return None,
        }
    }
    Some(entry)
}

fn text(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

/// Splits a message into its fields.
fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, Content<'_>)>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = number(&mut bytes)?;
        let content = match tag & 7 {
            0 => Content::Number(number(&mut bytes)?),
            2 => {
                let length = usize::try_from(number(&mut bytes)?).ok()?;
                let (content, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                Content::Bytes(content)
            }
            _ => return None,
        };
        fields.push((tag >> 3, content));
    }
    Some(fields)
}

/// Reads a variable-length number.
fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
        bytes.extend(content);
        bytes
    }

    #[test]
    fn a_secret_in_protobuf_becomes_json() {
        let kind = [field(1, b"v1"), field(2, b"Secret")].concat();
        let metadata = [field(1, b"anchor"), field(3, b"")].concat();
        let data = [field(1, b"k"), field(2, b"v")].concat();
        let secret = [field(1, &metadata), field(2, &data), field(3, b"t")].concat();
        let body = [MAGIC.to_vec(), field(1, &kind), field(2, &secret)].concat();
        assert_eq!(
            to_json(&body).unwrap(),
            json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": { "name": "anchor" },
                "data": { "k": "dg==" },
                "type": "t",
            })
        );
        assert_eq!(to_json(b"k8s\0\x0a\xff"), None);
    }
}
