//! The network side of a simulated server: accepts, speaks TLS and HTTP/1.1, and misbehaves.

use bytes::Bytes;
use http::{Request as HttpRequest, Response as HttpResponse};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::faults::{Answer, Fault, Verdict};
use super::request::{Reply, Request};
use super::server::Server;

/// Accepts connections until the task is aborted.
///
/// `other_tls` is served under [`Fault::WrongCertificate`].
pub(crate) async fn serve(listener: TcpListener, server: Arc<Server>, other_tls: Arc<rustls::ServerConfig>) {
    loop {
        // A failure here is a client that has gone, or too many open files; both pass.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let (server, other_tls) = (Arc::clone(&server), Arc::clone(&other_tls));
        tokio::spawn(async move {
            // A broken connection is the client's to notice.
            let _result = connection(stream, server, other_tls).await;
        });
    }
}

async fn connection(stream: TcpStream, server: Arc<Server>, other_tls: Arc<rustls::ServerConfig>) -> io::Result<()> {
    server.traffic.connected();
    stream.set_nodelay(true)?;
    let mut tls = Arc::clone(&server.tls);
    if let Some(active) = server.faults.active() {
        match active.fault {
            Fault::Refuse => return Ok(()),
            Fault::Hang => {
                active.lifted().await;
                return Ok(());
            }
            Fault::WrongCertificate => tls = other_tls,
            _ => {}
        }
    }
    let stream = TlsAcceptor::from(tls).accept(stream).await?;
    let service = service_fn(move |request| exchange(Arc::clone(&server), request));
    http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.map_err(io::Error::other)
}

/// Answers one request; an error closes the connection without an answer.
async fn exchange(server: Arc<Server>, request: HttpRequest<Incoming>) -> io::Result<HttpResponse<ReplyBody>> {
    let (head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    server.traffic.requested(&head.method, &path);
    let latency = server.traffic.latency();
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    let active = server.faults.active();
    let verdict = active.as_ref().map_or(Verdict::Serve, |active| active.verdict(&head.method, &path));
    let closed = || io::Error::other("closed by a fault");
    match verdict {
        Verdict::Close => return Err(closed()),
        Verdict::Hang => {
            if let Some(active) = active {
                active.lifted().await;
            }
            return Err(closed());
        }
        Verdict::Answer { code, retry_after, body } => return response(answer(code, retry_after, body), Length::Whole),
        Verdict::Serve | Verdict::BreakOff | Verdict::LoseReply => {}
    }
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let request = Request::new(head.method, &head.uri, head.headers, body);
    let reply = server.handle(&request);
    match verdict {
        Verdict::LoseReply => Err(closed()),
        Verdict::BreakOff => response(reply, Length::Half),
        _ => response(reply, Length::Whole),
    }
}

fn answer(code: u16, retry_after: Option<u64>, body: Answer) -> Reply {
    let mut reply = match body {
        Answer::Text(text) => Reply::text(code, text),
        Answer::Status => {
            let (reason, message) = match code {
                401 => ("Unauthorized", "Unauthorized"),
                403 => ("Forbidden", "forbidden by a fault"),
                404 => ("NotFound", "the server could not find the requested resource"),
                409 => ("Conflict", "conflict by a fault"),
                429 => ("TooManyRequests", "too many requests, please try again later"),
                500 => ("InternalError", "Internal error occurred: etcdserver: request timed out"),
                503 => ("ServiceUnavailable", "the server is currently unable to handle the request"),
                504 => ("Timeout", "the server was unable to return a response in the time allotted"),
                _ => ("", "a fault"),
            };
            let mut status = serde_json::json!({
                "kind": "Status",
                "apiVersion": "v1",
                "metadata": {},
                "status": "Failure",
                "message": message,
                "reason": reason,
                "code": code,
            });
            if let Some(seconds) = retry_after {
                status["details"] = serde_json::json!({ "retryAfterSeconds": seconds });
            }
            Reply::json(code, &status)
        }
    };
    if let Some(seconds) = retry_after {
        reply.headers.push(("retry-after", seconds.to_string()));
    }
    reply
}

/// How much of the announced body is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Length {
    Whole,
    Half,
}

fn response(reply: Reply, length: Length) -> io::Result<HttpResponse<ReplyBody>> {
    let mut response = HttpResponse::builder()
        .status(reply.code)
        .header("content-type", reply.content_type)
        .header("content-length", reply.body.len())
        .header("audit-id", crate::identity::random_uid())
        .header("cache-control", "no-cache, private");
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    let mut body = ReplyBody { announced: reply.body.len() as u64, bytes: reply.body, is_sent: false };
    if length == Length::Half {
        body.bytes.truncate(body.bytes.len() / 2);
    }
    response.body(body).map_err(io::Error::other)
}

/// A body that may end too early, which makes the HTTP library drop the connection.
struct ReplyBody {
    announced: u64,
    bytes: Bytes,
    is_sent: bool,
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if !std::mem::replace(&mut self.is_sent, true) {
            let bytes = self.bytes.clone();
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if self.bytes.len() as u64 == self.announced {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Err(io::Error::other("broken off by a fault"))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_sent && self.bytes.len() as u64 == self.announced
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.announced)
    }
}
