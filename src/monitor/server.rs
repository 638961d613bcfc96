//! An HTTP server for those who watch: `/metrics`, `/healthz` and `/readyz`, and nothing else.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use super::Metrics;

/// A client that has not said what it wants by then wants nothing.
const HEADER_TIMEOUT: Duration = Duration::from_secs(2);
/// A client that has not read its answer by then does not want it.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests that are being answered when the server stops get this long.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);
/// The pause after a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections at the same time. Who asks and reads is answered within a millisecond, so the oldest connection makes
/// room for a new one: it is the one that wants nothing.
const MOST_CONNECTIONS: usize = 64;
/// Connections from one address: a monitoring system has a few, and one that has more hurts itself only.
const MOST_PER_PEER: usize = 16;

/// What the server answers from.
#[derive(Debug)]
pub(crate) struct Health {
    /// The metrics.
    pub metrics: Metrics,
    /// Whether an inventory is loaded and the fleet was gone through once.
    pub is_ready: AtomicBool,
    /// Tells the time.
    pub now: fn() -> Timestamp,
}

/// Answers until it is stopped, then finishes what it is answering.
pub(crate) async fn serve(listener: TcpListener, health: Arc<Health>, stop: CancellationToken) {
    let graceful = GracefulShutdown::new();
    let mut connections = tokio::task::JoinSet::new();
    let mut open: VecDeque<(IpAddr, AbortHandle)> = VecDeque::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            () = stop.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok((stream, address)) => (stream, address.ip()),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                // Out of files, say: trying again at once would fill the log and help nobody.
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        make_room(&mut open, peer);
        let health = Arc::clone(&health);
        let service = service_fn(move |request| {
            let response = answer(&request, &health);
            async move { Ok::<_, Infallible>(response) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            // A client that kept its connection would keep its place.
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        let handle = connections.spawn(async move {
            match tokio::time::timeout(CONNECTION_TIMEOUT, connection).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "a connection ended"),
                Err(_) => tracing::debug!("a client did not read its answer in time"),
            }
        });
        open.push_back((peer, handle));
    }
    drop(listener);
    if tokio::time::timeout(SHUTDOWN_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::debug!("some connections did not end in time");
    }
}

/// Ends the oldest connection of a peer that has too many, or of anybody where there are too many in all.
fn make_room(open: &mut VecDeque<(IpAddr, AbortHandle)>, peer: IpAddr) {
    open.retain(|(_, connection)| !connection.is_finished());
    let of_peer = open.iter().filter(|(other, _)| *other == peer).count();
    let oldest = if of_peer >= MOST_PER_PEER {
        open.iter().position(|(other, _)| *other == peer)
    } else {
        (open.len() >= MOST_CONNECTIONS).then_some(0)
    };
    if let Some((_, connection)) = oldest.and_then(|position| open.remove(position)) {
        connection.abort();
    }
}

fn answer(request: &Request<Incoming>, health: &Health) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET\n".to_owned());
    }
    match request.uri().path() {
        "/metrics" => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            text(StatusCode::OK, kind, health.metrics.render((health.now)()))
        }
        "/healthz" => text(StatusCode::OK, "text/plain", "ok\n".to_owned()),
        "/readyz" if health.is_ready.load(Ordering::Acquire) => text(StatusCode::OK, "text/plain", "ok\n".to_owned()),
        "/readyz" => {
            text(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "the fleet was not gone through yet\n".to_owned())
        }
        _ => text(StatusCode::NOT_FOUND, "text/plain", "not found\n".to_owned()),
    }
}

fn text(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn started() -> (std::net::SocketAddr, CancellationToken, impl Future<Output = ()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let health =
            Health { metrics: Metrics::new(), is_ready: AtomicBool::new(false), now: || Timestamp::UNIX_EPOCH };
        let stop = CancellationToken::new();
        (address, stop.clone(), serve(listener, Arc::new(health), stop))
    }

    async fn ask(address: std::net::SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("{request} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        said
    }

    /// Whoever reaches the port may look, and nothing else.
    #[tokio::test]
    async fn nothing_but_reading_is_answered() {
        let (address, stop, serving) = started().await;
        let asking = async {
            for path in ["/metrics", "/healthz", "/readyz", "/"] {
                for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
                    let said = ask(address, &format!("{method} {path}")).await;
                    assert!(said.starts_with("HTTP/1.1 405"), "{method} {path}: {said}");
                }
                assert!(!ask(address, &format!("GET {path}")).await.starts_with("HTTP/1.1 405"));
            }
            stop.cancel();
        };
        tokio::join!(serving, asking);
    }

    /// Nobody who sits on the port keeps the health check from being answered.
    #[tokio::test]
    async fn slow_clients_keep_nobody_from_being_answered() {
        let (address, stop, serving) = started().await;
        let asking = async {
            let mut slow = vec![];
            for _ in 0..200 {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.write_all(b"GET /healthz HT").await.unwrap();
                slow.push(stream);
            }
            let said = ask(address, "GET /healthz").await;
            stop.cancel();
            said
        };
        // Far less than what the slow ones are given.
        let both = tokio::time::timeout(HEADER_TIMEOUT, async { tokio::join!(serving, asking).1 });
        let said = both.await;
        assert!(said.is_ok_and(|said| said.starts_with("HTTP/1.1 200") && said.ends_with("ok\n")));
    }
}
