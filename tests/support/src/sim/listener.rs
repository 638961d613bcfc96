//! The network side of a simulated server: accepts, speaks TLS and HTTP/1.1, and misbehaves.

use http::header::{AUTHORIZATION, HeaderValue};
use http::{Request as HttpRequest, Response as HttpResponse};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::io;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::body::ReplyBody;
use super::faults::{Answer, Fault, Verdict};
use super::hostile::{self, Outgoing};
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

async fn connection(
    mut stream: TcpStream,
    server: Arc<Server>,
    other_tls: Arc<rustls::ServerConfig>,
) -> io::Result<()> {
    server.traffic.connected();
    stream.set_nodelay(true)?;
    let mut tls = Arc::clone(&server.tls);
    let active = server.faults.active();
    if let Some(active) = &active {
        match &active.fault {
            Fault::Refuse => return Ok(()),
            Fault::Hang => {
                active.lifted().await;
                return Ok(());
            }
            Fault::WrongCertificate => tls = other_tls,
            Fault::Hostile(mode) if hostile::before_tls(mode, active, &mut stream).await? => return Ok(()),
            _ => {}
        }
    }
    let mut stream = TlsAcceptor::from(tls).accept(stream).await?;
    if let Some(active) = &active
        && let Some(mode) = active.hostility()
        && hostile::after_tls(mode, active, &server.traffic, &mut stream).await?
    {
        return Ok(());
    }
    // Only admins have certificates.
    let is_admin = stream.get_ref().1.peer_certificates().is_some();
    let service = service_fn(move |mut request: HttpRequest<Incoming>| {
        if is_admin && !request.headers().contains_key(AUTHORIZATION) {
            let token = HeaderValue::try_from(format!("Bearer {}", server.test_cluster.admin_token));
            request.headers_mut().insert(AUTHORIZATION, token.expect("a token of letters and digits"));
        }
        exchange(Arc::clone(&server), request)
    });
    http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.map_err(io::Error::other)
}

/// Answers one request; an error closes the connection without an answer.
async fn exchange(server: Arc<Server>, request: HttpRequest<Incoming>) -> io::Result<HttpResponse<ReplyBody>> {
    let (head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    server.traffic.requested(&head.method, &path, head.headers.contains_key(AUTHORIZATION));
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
            if let Some(active) = &active {
                active.lifted().await;
            }
            return Err(closed());
        }
        Verdict::Answer { code, retry_after, body } => return response(answer(code, retry_after, body).into()),
        Verdict::Serve | Verdict::BreakOff | Verdict::LoseReply => {}
    }
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let request = Request::new(head.method, &head.uri, head.headers, body);
    if let Some(mode) = active.as_ref().and_then(|active| active.hostility()) {
        return response(hostile::answer(mode, &server, &request));
    }
    let reply = server.handle(&request);
    match verdict {
        Verdict::LoseReply => Err(closed()),
        Verdict::BreakOff => response(Outgoing { body: ReplyBody::half(&reply.body), reply }),
        _ => response(reply.into()),
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

fn response(Outgoing { reply, body }: Outgoing) -> io::Result<HttpResponse<ReplyBody>> {
    let mut response = HttpResponse::builder()
        .status(reply.code)
        .header("content-type", reply.content_type)
        .header("audit-id", crate::identity::random_uid())
        .header("cache-control", "no-cache, private");
    if let Some(length) = body.announced() {
        response = response.header("content-length", length);
    }
    for (name, value) in reply.headers {
        // Values may hold more than ASCII, where a hostile server sends them.
        response = response.header(name, value.into_bytes());
    }
    response.body(body).map_err(io::Error::other)
}
