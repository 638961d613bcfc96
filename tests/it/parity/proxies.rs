//! The servers between the programs and the API server: recording proxies, and front servers.
//!
//! Every listener belongs to one case, so its records need no other attribution. All of them lead to the API server,
//! whatever address is requested.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Handle, Runtime};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::pki;

/// The user and password for proxies with authentication.
pub(super) const CREDENTIALS: &str = "parity:secret";
/// The path prefix that the front server removes.
const PREFIX: &str = "/clusters/c-1";

/// The kind of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    HttpProxy {
        authenticated: bool,
    },
    HttpsProxy {
        authenticated: bool,
    },
    SocksProxy {
        authenticated: bool,
    },
    /// A TLS server that serves the API below a path prefix.
    Prefix,
    /// The API without TLS.
    Plain,
    /// The API server on `[::1]`.
    Six,
    /// Answers every request with a redirect to the API server.
    Redirect,
}

/// One tunnel that a proxy opened, or refused: case, proxy and target.
pub(super) type Tunnel = (usize, String);

pub(super) struct Relay {
    runtime: Runtime,
    shared: Arc<Shared>,
}

struct Shared {
    server: SocketAddr,
    connector: TlsConnector,
    acceptor: TlsAcceptor,
    tunnels: Mutex<BTreeSet<Tunnel>>,
}

impl Relay {
    /// Starts without a listener; the API server's certificate is checked with `ca`.
    pub(super) fn start(server: SocketAddr, ca: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let client = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let certificate = CertificateDer::from_pem_slice(pki::read("server.pem").as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(pki::read("server-key.pem").as_bytes()).unwrap();
        let serving = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let shared = Shared {
            server,
            connector: TlsConnector::from(Arc::new(client)),
            acceptor: TlsAcceptor::from(Arc::new(serving)),
            tunnels: Mutex::default(),
        };
        Self { runtime, shared: Arc::new(shared) }
    }

    /// Opens a listener for a case and returns its port.
    pub(super) fn open(&self, case: usize, kind: Kind) -> u16 {
        let address = if kind == Kind::Six { "[::1]:0" } else { "127.0.0.1:0" };
        let listener = self.runtime.block_on(TcpListener::bind(address)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::clone(&self.shared);
        let handle = self.runtime.handle().clone();
        drop(self.runtime.handle().spawn(accept(handle, listener, shared, case, kind)));
        port
    }

    /// Returns what went through the proxies since the last call.
    pub(super) fn take(&self) -> BTreeSet<Tunnel> {
        std::mem::take(&mut *self.shared.tunnels.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn accept(handle: Handle, listener: TcpListener, shared: Arc<Shared>, case: usize, kind: Kind) {
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        // A client that goes away is no failure of the test.
        drop(handle.spawn(async move { shared.serve(stream, case, kind).await }));
    }
}

impl Shared {
    async fn serve(&self, stream: TcpStream, case: usize, kind: Kind) -> io::Result<()> {
        match kind {
            Kind::HttpProxy { authenticated } => self.connect(stream, case, "http", authenticated).await,
            Kind::HttpsProxy { authenticated } => {
                self.connect(self.acceptor.accept(stream).await?, case, "https", authenticated).await
            }
            Kind::SocksProxy { authenticated } => self.socks(stream, case, authenticated).await,
            Kind::Prefix => self.front(self.acceptor.accept(stream).await?, PREFIX).await,
            Kind::Plain => self.front(stream, "").await,
            Kind::Six => self.tunnel(stream).await,
            Kind::Redirect => self.redirect(self.acceptor.accept(stream).await?).await,
        }
    }

    fn record(&self, case: usize, what: String) {
        self.tunnels.lock().unwrap_or_else(PoisonError::into_inner).insert((case, what));
    }

    async fn tunnel(&self, mut client: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
        let mut server = TcpStream::connect(self.server).await?;
        copy_bidirectional(&mut client, &mut server).await.map(drop)
    }

    async fn connect(
        &self,
        mut client: impl AsyncRead + AsyncWrite + Unpin,
        case: usize,
        scheme: &str,
        authenticated: bool,
    ) -> io::Result<()> {
        let (head, _) = read_head(&mut client).await?;
        let mut words = head.split_whitespace();
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if method != "CONNECT" {
            self.record(case, format!("{scheme} {method} without a tunnel"));
            return client.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n").await;
        }
        let expected = format!("basic {}", STANDARD.encode(CREDENTIALS));
        let given = header(&head, "proxy-authorization").unwrap_or_default();
        let given = given.split_once(' ').map(|(scheme, rest)| format!("{} {rest}", scheme.to_lowercase()));
        if authenticated && given.as_deref() != Some(expected.as_str()) {
            self.record(case, format!("{scheme} refuses {target}"));
            return client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n").await;
        }
        let user = if given.is_some() { " with credentials" } else { "" };
        self.record(case, format!("{scheme} to {target}{user}"));
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
        self.tunnel(client).await
    }

    async fn socks(&self, mut client: TcpStream, case: usize, authenticated: bool) -> io::Result<()> {
        const NONE: u8 = 0;
        const PASSWORD: u8 = 2;
        let mut greeting = [0; 2];
        client.read_exact(&mut greeting).await?;
        let mut methods = vec![0; greeting[1].into()];
        client.read_exact(&mut methods).await?;
        let wanted: &[u8] = if authenticated { &[PASSWORD] } else { &[NONE, PASSWORD] };
        let Some(method) = wanted.iter().find(|method| methods.contains(method)) else {
            self.record(case, "socks5 refuses: no credentials".to_owned());
            return client.write_all(&[5, 0xff]).await;
        };
        client.write_all(&[5, *method]).await?;
        if *method == PASSWORD {
            client.read_u8().await?;
            let user = read_counted(&mut client).await?;
            let password = read_counted(&mut client).await?;
            if format!("{user}:{password}") != CREDENTIALS {
                self.record(case, "socks5 refuses: wrong credentials".to_owned());
                return client.write_all(&[1, 1]).await;
            }
            client.write_all(&[1, 0]).await?;
        }
        let mut request = [0; 4];
        client.read_exact(&mut request).await?;
        let host = match request[3] {
            1 => std::net::Ipv4Addr::from(client.read_u32().await?).to_string(),
            4 => std::net::Ipv6Addr::from(client.read_u128().await?).to_string(),
            _ => read_counted(&mut client).await?,
        };
        let port = client.read_u16().await?;
        let user = if authenticated { " with credentials" } else { "" };
        self.record(case, format!("socks5 to {host}:{port}{user}"));
        client.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 1]).await?;
        self.tunnel(client).await
    }

    /// Forwards one request of a connection without the path prefix, and closes it.
    async fn front(&self, mut client: impl AsyncRead + AsyncWrite + Unpin, prefix: &str) -> io::Result<()> {
        let (head, rest) = read_head(&mut client).await?;
        let (line, headers) = head.split_once("\r\n").unwrap_or_default();
        let mut words = line.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let Some(path) = path.strip_prefix(prefix) else {
            return client.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
        };
        let headers: Vec<&str> =
            headers.split("\r\n").filter(|line| !line.to_lowercase().starts_with("connection:")).collect();
        let head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n{}", headers.join("\r\n"));
        let name = ServerName::IpAddress(self.server.ip().into());
        let mut server = self.connector.connect(name, TcpStream::connect(self.server).await?).await?;
        server.write_all(head.as_bytes()).await?;
        server.write_all(&rest).await?;
        copy_bidirectional(&mut client, &mut server).await.map(drop)
    }

    async fn redirect(&self, mut client: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
        let (head, _) = read_head(&mut client).await?;
        let path = head.split(' ').nth(1).unwrap_or_default();
        let answer = format!(
            "HTTP/1.1 307 Temporary Redirect\r\nLocation: https://{}{path}\r\nContent-Length: 0\r\n\
             Connection: close\r\n\r\n",
            self.server
        );
        client.write_all(answer.as_bytes()).await?;
        client.shutdown().await
    }
}

/// Reads up to the empty line; returns that, and the bytes after it.
async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(String, Vec<u8>)> {
    let mut bytes = vec![];
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), rest));
        }
        let is_end = stream.read_buf(&mut bytes).await? == 0;
        // Who speaks TLS here would wait for an answer.
        if is_end || !bytes[0].is_ascii_uppercase() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

async fn read_counted(stream: &mut TcpStream) -> io::Result<String> {
    let mut bytes = vec![0; stream.read_u8().await?.into()];
    stream.read_exact(&mut bytes).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn header(head: &str, name: &str) -> Option<String> {
    let values = head.split("\r\n").filter_map(|line| line.split_once(':'));
    values.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
}
