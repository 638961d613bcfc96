//! Faults: how a simulated server misbehaves, switched on and off while it runs.

use http::Method;
use serde_json::Value;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

use super::hostile::Hostility;
use super::resource::ResourceType;

/// One way to misbehave.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Nothing listens on the port.
    Refuse,
    /// Connections are accepted, and nothing ever comes back; not even a TLS handshake.
    Hang,
    /// This many requests are answered, counted from now; later ones never are.
    HangAfter(u64),
    /// Requests are answered with a `Status` of this code.
    Status {
        /// The HTTP status code.
        code: u16,
        /// The `Retry-After` header, in seconds.
        retry_after: Option<u64>,
        /// How many requests, counted from now; `None` for all.
        times: Option<u64>,
    },
    /// Requests are answered with 200 and broken JSON.
    Garbage,
    /// Requests are answered with 502 and HTML, as a proxy does.
    Html502,
    /// Requests are carried out, and the connection breaks in the middle of the answer.
    ResetMidResponse,
    /// Matching requests are carried out, and the connection breaks before the answer.
    LoseReply {
        /// The method; `None` for all.
        method: Option<Method>,
        /// A part of the path and query; its end, if this ends with `$`.
        path_contains: String,
        /// How many requests; `None` for all.
        times: Option<u64>,
    },
    /// The serving certificate is signed by another CA.
    WrongCertificate,
    /// Matching requests are answered with this, and not carried out.
    FailOn {
        /// The method; `None` for all.
        method: Option<Method>,
        /// A part of the path and query; its end, if this ends with `$`.
        path_contains: String,
        /// The HTTP status code.
        code: u16,
        /// The body; `None` for a `Status` of the code.
        body: Option<String>,
        /// How many requests; `None` for all.
        times: Option<u64>,
    },
    /// No accident, but an attack.
    Hostile(Hostility),
}

/// A mutating admission webhook: it changes what others write.
///
/// Fields that it changed belong to the field manager `webhook`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Webhook {
    /// A verb that disappears from the rules of all roles.
    pub drop_verb: Option<String>,
    /// A label that disappears from all objects.
    pub remove_label: Option<String>,
    /// A label that all objects get.
    pub add_label: Option<(String, String)>,
}

impl Webhook {
    /// Changes `object`.
    pub(crate) fn mutate(&self, resource: &ResourceType, object: &mut Value) {
        if let Some(verb) = &self.drop_verb
            && resource.is_role()
        {
            for rule in object["rules"].as_array_mut().into_iter().flatten() {
                if let Some(verbs) = rule["verbs"].as_array_mut() {
                    verbs.retain(|other| other != verb);
                }
            }
        }
        let metadata = &mut object["metadata"];
        if let Some(label) = &self.remove_label
            && let Some(labels) = metadata["labels"].as_object_mut()
        {
            labels.shift_remove(label);
        }
        if let Some((label, value)) = &self.add_label {
            metadata["labels"][label] = value.as_str().into();
        }
    }
}

/// What to do with one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Answer as if nothing were wrong.
    Serve,
    /// Say nothing until the fault is lifted.
    Hang,
    /// Close the connection.
    Close,
    /// Answer this and do nothing.
    Answer { code: u16, retry_after: Option<u64>, body: Answer },
    /// Carry it out and break off within the answer.
    BreakOff,
    /// Carry it out and close the connection.
    LoseReply,
}

/// The body of an answer that a fault gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Status,
    Text(String),
}

/// The fault that is in force, and how often it struck.
pub(crate) struct ActiveFault {
    pub(crate) fault: Fault,
    requests: AtomicU64,
    /// Closes when another fault, or none, is in force.
    lifted: watch::Receiver<()>,
}

/// Holds the fault of one cluster.
#[derive(Default)]
pub(crate) struct FaultSwitch(Mutex<Option<Active>>);

type Active = (Arc<ActiveFault>, watch::Sender<()>);

impl FaultSwitch {
    /// Puts `fault` in force; requests that hang because of the one before are closed.
    pub(crate) fn set(&self, fault: Option<Fault>) {
        let active = fault.map(|fault| {
            let (lift, lifted) = watch::channel(());
            let active = ActiveFault { fault, requests: AtomicU64::new(0), lifted };
            (Arc::new(active), lift)
        });
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = active;
    }

    /// Returns the fault in force.
    pub(crate) fn active(&self) -> Option<Arc<ActiveFault>> {
        let active = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        active.as_ref().map(|(fault, _)| Arc::clone(fault))
    }

    /// Returns the attack in force.
    pub(crate) fn hostility(&self) -> Option<Hostility> {
        self.active()?.hostility().cloned()
    }
}

impl ActiveFault {
    /// Returns the attack, where the fault is one.
    pub(crate) fn hostility(&self) -> Option<&Hostility> {
        match &self.fault {
            Fault::Hostile(hostility) => Some(hostility),
            _ => None,
        }
    }

    /// Waits until the fault is no longer in force.
    pub(crate) async fn lifted(&self) {
        let mut lifted = self.lifted.clone();
        // Nothing is ever sent: the only change is that the sender goes away.
        while lifted.changed().await.is_ok() {}
    }

    /// Decides about one request.
    pub(crate) fn verdict(&self, method: &Method, path_and_query: &str) -> Verdict {
        match &self.fault {
            Fault::Refuse => Verdict::Close,
            Fault::Hang => Verdict::Hang,
            Fault::HangAfter(answered) if self.is_within(Some(*answered)) => Verdict::Serve,
            Fault::HangAfter(_) => Verdict::Hang,
            Fault::Status { code, retry_after, times } if self.is_within(*times) => {
                Verdict::Answer { code: *code, retry_after: *retry_after, body: Answer::Status }
            }
            Fault::Garbage => Verdict::Answer {
                code: 200,
                retry_after: None,
                body: Answer::Text("{\"kind\": \"ServiceAccount\", \"metadata\": [}".to_owned()),
            },
            Fault::Html502 => Verdict::Answer {
                code: 502,
                retry_after: None,
                body: Answer::Text("<html><body>502 Bad Gateway</body></html>".to_owned()),
            },
            Fault::ResetMidResponse => Verdict::BreakOff,
            Fault::LoseReply { method: wanted, path_contains, times }
                if is_match(wanted.as_ref(), path_contains, method, path_and_query) && self.is_within(*times) =>
            {
                Verdict::LoseReply
            }
            Fault::FailOn { method: wanted, path_contains, code, body, times }
                if is_match(wanted.as_ref(), path_contains, method, path_and_query) && self.is_within(*times) =>
            {
                Verdict::Answer {
                    code: *code,
                    retry_after: None,
                    body: body.clone().map_or(Answer::Status, Answer::Text),
                }
            }
            Fault::Status { .. }
            | Fault::LoseReply { .. }
            | Fault::FailOn { .. }
            | Fault::WrongCertificate
            | Fault::Hostile(_) => Verdict::Serve,
        }
    }

    /// Counts one request and returns whether it is still within `times`.
    fn is_within(&self, times: Option<u64>) -> bool {
        let before = self.requests.fetch_add(1, Ordering::Relaxed);
        times.is_none_or(|times| before < times)
    }
}

fn is_match(wanted: Option<&Method>, path_contains: &str, method: &Method, path_and_query: &str) -> bool {
    let has_path = match path_contains.strip_suffix('$') {
        Some(end) => path_and_query.ends_with(end),
        None => path_and_query.contains(path_contains),
    };
    wanted.is_none_or(|wanted| wanted == method) && has_path
}
