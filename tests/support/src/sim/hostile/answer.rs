//! Answers one request of a client under attack.
//!
//! What is refused by the honest server is refused here too; then the families change the answer,
//! or give one of their own. Start reading at [`answer`].

use bytes::Bytes;
use serde_json::Value;

use super::mode::Hostility;
use super::{bodies, lies, shapes, tokens, words, writes};
use crate::sim::body::ReplyBody;
use crate::sim::request::{Attributes, Reply, Request};
use crate::sim::server::Server;

/// An answer whose body may be more than a reply can hold.
pub(crate) struct Outgoing {
    /// The head; its own body is not sent.
    pub(crate) reply: Reply,
    pub(crate) body: ReplyBody,
}

/// What a request is, as far as attacks choose by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// A path outside the resources.
    Path,
    Object,
    List,
    /// What the caller is or may do.
    Review,
    Token,
    /// A write that changes nothing.
    DryRun,
    Write,
}

impl Asked {
    pub(super) fn of(request: &Request) -> Self {
        let Attributes::Resource(attributes) = request.attributes() else {
            return Self::Path;
        };
        if attributes.resource.starts_with("selfsubject") {
            return Self::Review;
        }
        match (request.method.is_safe(), attributes.name.is_empty()) {
            (true, true) => Self::List,
            (true, false) => Self::Object,
            _ if attributes.subresource == "token" => Self::Token,
            _ if request.is_dry_run() || has_dry_run_option(request) => Self::DryRun,
            _ => Self::Write,
        }
    }

    /// Returns whether something is read.
    pub(super) fn is_read(self) -> bool {
        matches!(self, Self::Path | Self::Object | Self::List)
    }

    /// Returns whether something would be changed or issued.
    pub(super) fn is_write(self) -> bool {
        matches!(self, Self::Write | Self::Token)
    }
}

/// The options of a DELETE are in its body.
fn has_dry_run_option(request: &Request) -> bool {
    let options: Option<Value> = serde_json::from_slice(&request.body).ok();
    request.method == http::Method::DELETE && options.is_some_and(|options| !options["dryRun"].is_null())
}

impl From<Reply> for Outgoing {
    fn from(reply: Reply) -> Self {
        Self { body: ReplyBody::whole(reply.body.clone()), reply }
    }
}

impl Outgoing {
    /// Returns the head of `reply` with another body.
    pub(super) fn with_body(reply: Reply, body: ReplyBody) -> Self {
        Self { reply: Reply { body: Bytes::new(), ..reply }, body }
    }
}

/// Answers a request, and carries it out where the attack does not keep it from that.
///
/// Must be called inside a runtime.
pub(crate) fn answer(mode: &Hostility, server: &Server, request: &Request) -> Outgoing {
    let asked = Asked::of(request);
    if let Some(reply) = writes::answer_to_all(mode, asked, request).or_else(|| words::answer_to_all(mode, request)) {
        return reply.into();
    }
    if is_never_carried_out(mode, asked, request) {
        let honest = server.handle(&request.as_dry_run());
        if honest.code >= 300 {
            return honest.into();
        }
        let refused = words::refuse(mode, request).or_else(|| writes::not_carried_out(mode));
        return refused.unwrap_or(honest).into();
    }
    if *mode == Hostility::DeleteWithoutEnd && asked == Asked::Write && request.method == http::Method::DELETE {
        server.pin(request);
    }
    // Its tokens for further pages are not the honest server's.
    let honest = server.handle(&request.without_continue());
    if honest.code >= 300 {
        return words::decorate_refusal(mode, request, honest).into();
    }
    let reply = honest;
    match mode {
        Hostility::EndlessList | Hostility::EndlessListEmpty | Hostility::ManyObjects if asked == Asked::List => {
            bodies::list(mode, request, reply)
        }
        Hostility::HugeAnswer | Hostility::DeepJson | Hostility::GzipBomb if asked.is_read() => {
            bodies::read(mode, reply)
        }
        Hostility::HugeHeader | Hostility::ManyHeaders | Hostility::SlowDrip => bodies::any(mode, reply),
        Hostility::PastToken
        | Hostility::TimelessToken
        | Hostility::FarToken
        | Hostility::FartherToken
        | Hostility::ForeignToken
        | Hostility::UnboundToken
        | Hostility::HostileToken
            if asked == Asked::Token =>
        {
            tokens::forge(mode, server, reply).into()
        }
        Hostility::EscapeText | Hostility::ShellText | Hostility::EchoCredentials | Hostility::TraversalIndex
            if !matches!(asked, Asked::Path | Asked::Review | Asked::Token) =>
        {
            words::decorate(mode, request, reply).into()
        }
        Hostility::Numbers
        | Hostility::WrongTypes
        | Hostility::NullItems
        | Hostility::NullObjects
        | Hostility::OtherKind
        | Hostility::OtherName
        | Hostility::OtherUid
            if !matches!(asked, Asked::Path | Asked::Review) =>
        {
            shapes::distort(mode, reply).into()
        }
        _ => lies::lie(mode, request, reply).into(),
    }
}

/// Returns whether the request only seems to be carried out, or is refused for no reason.
fn is_never_carried_out(mode: &Hostility, asked: Asked, request: &Request) -> bool {
    let is_delete = request.method == http::Method::DELETE;
    asked.is_write()
        && match mode {
            Hostility::OkFailure | Hostility::OkNothing | Hostility::EscapeErrors | Hostility::EchoCredentials => true,
            Hostility::OkLieDelete => is_delete,
            Hostility::ConflictForever => !is_delete,
            _ => false,
        }
}

/// Changes the JSON of a reply.
pub(super) fn rewrite(mut reply: Reply, change: impl FnOnce(&mut Value)) -> Reply {
    if let Ok(mut value) = serde_json::from_slice(&reply.body) {
        change(&mut value);
        reply.body = Bytes::from(value.to_string());
    }
    reply
}

/// Calls `change` with each object of a list, or with the one object.
pub(super) fn each_object(value: &mut Value, mut change: impl FnMut(&mut Value)) {
    if let Some(items) = value.get_mut("items") {
        items.as_array_mut().into_iter().flatten().for_each(change);
    } else if value.pointer("/metadata/name").is_some() {
        change(value);
    }
}
