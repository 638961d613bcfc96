//! One connection to a server, driven by the task that waits for an answer.
//!
//! A cluster's requests follow each other. A pool with a task for each connection wakes that task and the one that waits
//! in turns, several times for each request, which costs more than the requests themselves (see `docs/performance.md`).
//! So no task is spawned here: who waits for an answer, or reads one, drives the connection meanwhile.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response, Uri};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::rt::{Read, Write};
use tower::{BoxError, Service, ServiceExt};

/// Sends requests, over the last connection if it still stands, else over a new one.
pub(super) struct Connections<C, S: Stream> {
    connector: C,
    server: Uri,
    idle: Idle<S>,
}

/// What a connection reads from and writes to.
pub(super) trait Stream: Read + Write + Send + Unpin + 'static {}

impl<S: Read + Write + Send + Unpin + 'static> Stream for S {}

/// The connection that no request uses, if there is one. Requests that are sent at the same time have one each, and the
/// last one stays.
type Idle<S> = Arc<Mutex<Option<Open<S>>>>;

type RequestBody = kube::client::Body;
type Driver<S> = http1::Connection<S, RequestBody>;

struct Open<S: Stream> {
    sender: SendRequest<RequestBody>,
    /// Nothing once it has ended.
    connection: Option<Driver<S>>,
}

impl<C, S: Stream> Connections<C, S> {
    /// Makes the sender; nothing is connected yet. Only the scheme, host and port of `server` count.
    pub(super) fn new(connector: C, server: Uri) -> Self {
        Self { connector, server, idle: Arc::default() }
    }
}

impl<C: Clone, S: Stream> Clone for Connections<C, S> {
    fn clone(&self) -> Self {
        Self { connector: self.connector.clone(), server: self.server.clone(), idle: Arc::clone(&self.idle) }
    }
}

impl<C, S> Connections<C, S>
where
    C: Service<Uri, Response = S, Error = BoxError>,
    S: Stream,
{
    /// Sends a request. A server may have closed a connection that was idle; then the request goes over a new one, unless
    /// it was sent already.
    async fn exchange(self, mut request: Request<RequestBody>) -> Result<Response<AnswerBody<S>>, BoxError> {
        let idle = take(&self.idle);
        if let Some(mut open) = idle
            && open.is_ready().await
        {
            match open.send(request).await {
                Ok(answer) => return Ok(AnswerBody::of(answer, open, self.idle)),
                Err(mut unanswered) => match unanswered.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(unanswered.into_error().into()),
                },
            }
        }
        let stream = self.connector.oneshot(self.server).await?;
        let (sender, connection) = http1::handshake(stream).await?;
        let mut open = Open { sender, connection: Some(connection) };
        let answer = open.send(request).await.map_err(TrySendError::into_error)?;
        Ok(AnswerBody::of(answer, open, self.idle))
    }
}

impl<C, S> Service<Request<RequestBody>> for Connections<C, S>
where
    C: Service<Uri, Response = S, Error = BoxError> + Clone + Send + 'static,
    C::Future: Send,
    S: Stream,
{
    type Response = Response<AnswerBody<S>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        Box::pin(self.clone().exchange(request))
    }
}

fn take<S: Stream>(idle: &Idle<S>) -> Option<Open<S>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Reads and writes what can be read and written now.
fn drive<S: Stream>(connection: &mut Option<Driver<S>>, context: &mut Context<'_>) {
    if let Some(driver) = connection
        && let Poll::Ready(end) = Pin::new(driver).poll(context)
    {
        // Who waits for an answer is told by hyper, also when the connection is dropped here.
        if let Err(error) = end {
            tracing::trace!(%error, "a connection ended");
        }
        *connection = None;
    }
}

impl<S: Stream> Open<S> {
    /// Whether a request may be sent now: the server may have closed the connection, or not have read the last request
    /// to its end.
    async fn is_ready(&mut self) -> bool {
        poll_fn(|context| {
            drive(&mut self.connection, context);
            let is_ready = matches!(self.sender.poll_ready(context), Poll::Ready(Ok(())));
            Poll::Ready(is_ready && self.connection.is_some())
        })
        .await
    }

    async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<RequestBody>>> {
        let mut answer = pin!(self.sender.try_send_request(request));
        poll_fn(|context| {
            drive(&mut self.connection, context);
            answer.as_mut().poll(context)
        })
        .await
    }
}

/// The body of an answer. When it has been read, its connection may serve the next request; if it is dropped before, the
/// connection is closed.
pub(super) struct AnswerBody<S: Stream> {
    body: Incoming,
    open: Option<Open<S>>,
    idle: Idle<S>,
}

impl<S: Stream> AnswerBody<S> {
    fn of(answer: Response<Incoming>, open: Open<S>, idle: Idle<S>) -> Response<Self> {
        answer.map(|body| Self { body, open: Some(open), idle })
    }
}

impl<S: Stream> Body for AnswerBody<S> {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(open) = &mut self.open {
            drive(&mut open.connection, context);
        }
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(None) = frame
            && let Some(open) = self.open.take()
        {
            *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(open);
        }
        frame
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http_body_util::{BodyExt, Full};
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::io::DuplexStream;
    use tower::util::BoxCloneService;

    use super::*;

    type Io = TokioIo<DuplexStream>;
    type Connector = BoxCloneService<Uri, Io, BoxError>;

    /// A server in this process, which counts its connections and does on each of them what its test says.
    #[expect(clippy::disallowed_methods, reason = "the server of a test needs tasks of its own")]
    fn connections(
        serve: impl Fn(DuplexStream) -> BoxFuture<'static, ()> + Clone + Send + Sync + 'static,
    ) -> (Connections<Connector, Io>, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let connector = tower::service_fn(move |_: Uri| {
            counted.fetch_add(1, Ordering::Relaxed);
            let (here, there) = tokio::io::duplex(64 * 1024);
            tokio::spawn(serve(there));
            std::future::ready(Ok(TokioIo::new(here)))
        });
        (Connections::new(BoxCloneService::new(connector), Uri::from_static("https://server/")), count)
    }

    /// Answers up to so many requests with a body of so many bytes, and closes the connection.
    fn answers(most: usize, bytes: usize) -> impl Fn(DuplexStream) -> BoxFuture<'static, ()> + Clone + Send + Sync {
        move |stream| {
            Box::pin(async move {
                let left = AtomicUsize::new(most);
                let answer = service_fn(|_: Request<Incoming>| {
                    let is_last = left.fetch_sub(1, Ordering::Relaxed) == 1;
                    let answer = Response::builder().header("connection", if is_last { "close" } else { "keep-alive" });
                    std::future::ready(answer.body(Full::new(Bytes::from(vec![b'x'; bytes]))))
                });
                drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await);
            })
        }
    }

    fn request() -> Request<RequestBody> {
        Request::builder().uri("/api").header("host", "server").body(RequestBody::from(b"{}".to_vec())).unwrap()
    }

    async fn read<C, S>(connections: &Connections<C, S>) -> usize
    where
        C: Service<Uri, Response = S, Error = BoxError> + Clone,
        S: Stream,
    {
        let answer = connections.clone().exchange(request()).await.unwrap();
        answer.into_body().collect().await.unwrap().to_bytes().len()
    }

    #[tokio::test]
    async fn requests_that_follow_each_other_share_a_connection() {
        for bytes in [0, 10, 300_000] {
            let (sender, count) = connections(answers(usize::MAX, bytes));
            for _ in 0..20 {
                assert_eq!(read(&sender).await, bytes);
            }
            assert_eq!(count.load(Ordering::Relaxed), 1, "{bytes} bytes");
        }
    }

    #[tokio::test]
    async fn requests_at_the_same_time_do_not_wait_for_each_other() {
        let (sender, count) = connections(answers(usize::MAX, 10));
        let (one, other) = tokio::join!(sender.clone().exchange(request()), sender.clone().exchange(request()));
        assert_eq!(count.load(Ordering::Relaxed), 2);
        for answer in [one, other] {
            answer.unwrap().into_body().collect().await.unwrap();
        }
        assert_eq!((read(&sender).await, count.load(Ordering::Relaxed)), (10, 2));
    }

    #[tokio::test]
    async fn a_connection_that_the_server_closed_is_replaced() {
        let (sender, count) = connections(answers(2, 10));
        for _ in 0..6 {
            assert_eq!(read(&sender).await, 10);
        }
        assert_eq!(count.load(Ordering::Relaxed), 3);
        // Without a word, while it is idle.
        let (sender, count) = connections(|mut stream| {
            Box::pin(async move {
                use tokio::io::{AsyncReadExt, AsyncWriteExt};
                drop(stream.read(&mut [0; 4096]).await);
                drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await);
            })
        });
        for _ in 0..3 {
            assert_eq!(read(&sender).await, 2);
            tokio::task::yield_now().await;
        }
        assert_eq!(count.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn an_answer_that_is_not_read_or_does_not_come_ends_its_connection() {
        let (sender, count) = connections(answers(usize::MAX, 300_000));
        drop(sender.clone().exchange(request()).await.unwrap());
        assert_eq!((read(&sender).await, count.load(Ordering::Relaxed)), (300_000, 2));
        let (sender, count) = connections(|mut stream| {
            Box::pin(async move { drop(tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 4096]).await) })
        });
        // It was sent, so whether it had an effect is for the caller to find out.
        let error = sender.clone().exchange(request()).await.err().unwrap();
        assert!(error.to_string().contains("connection closed"), "{error}");
        assert_eq!(count.load(Ordering::Relaxed), 1);
    }
}
