//! The HTTP client: one connection to one API server, through a proxy if there is one.
//!
//! It is put together here. kube's own client does not authenticate to SOCKS proxies, loads the system's certificates for
//! every client that has no CA (5.8 ms each), does not accept a server's own certificate as a CA, and hands each request
//! to a task of its own first.

mod connection;
mod proxy;
mod tls;

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use kube::client::Body;
use rustls::pki_types::ServerName;
use secrecy::{ExposeSecret, SecretString};
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service, ServiceExt};

use connection::Connections;
pub(crate) use proxy::ProxyEnvironment;
pub(super) use proxy::{Proxy, ProxyScheme};

/// What all connections of a process share.
#[derive(Debug, Default)]
pub(crate) struct Network {
    proxies: ProxyEnvironment,
    /// One verifier for all clients, because loading the system's certificates takes milliseconds.
    system: OnceLock<Result<Arc<rustls_platform_verifier::Verifier>, String>>,
}

impl Network {
    /// Makes a network with the proxies of the environment.
    pub(crate) fn new(proxies: ProxyEnvironment) -> Self {
        Self { proxies, system: OnceLock::new() }
    }
}

/// Where a connection goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Target {
    /// The server URL.
    pub(super) server: String,
    /// CA certificates as PEM; without them the system's are trusted.
    pub(super) authority: Option<Arc<[u8]>>,
    pub(super) server_name: Option<String>,
    pub(super) proxy_url: Option<String>,
    /// Whether the server certificate is not checked.
    pub(super) insecure: bool,
}

impl Target {
    /// Returns a text that identifies an API server: one address behind two proxies, or with two CAs, counts as two.
    pub(super) fn identity(&self) -> String {
        let server = self.server.trim_end_matches('/').to_ascii_lowercase();
        format!("{server} {:?} {:?} {:?}", self.server_name, self.proxy_url, self.authority)
    }
}

/// A certificate chain and its key, both PEM.
pub(super) type ClientCertificate = (Arc<[u8]>, SecretString);

/// How a connection authenticates. Its secrets cannot be formatted.
#[derive(Clone, Default)]
pub(super) struct Login {
    pub(super) bearer: Option<SecretString>,
    pub(super) basic: Option<(String, SecretString)>,
    pub(super) certificate: Option<ClientCertificate>,
    pub(super) impersonation: Option<Impersonation>,
}

impl Login {
    /// Returns the parts that are secret.
    pub(super) fn secrets(&self) -> Vec<SecretString> {
        let mut secrets: Vec<SecretString> = self.bearer.iter().cloned().collect();
        if let Some((user, password)) = &self.basic {
            secrets.push(SecretString::from(basic_credentials(user, password)));
            secrets.push(password.clone());
        }
        secrets
    }
}

/// As whom requests are made (client-go `transport.ImpersonationConfig`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Impersonation {
    pub(super) user: String,
    pub(super) uid: Option<String>,
    pub(super) groups: Vec<String>,
    pub(super) extra: Vec<(String, Vec<String>)>,
}

/// The body of an answer.
pub(crate) type Answer = UnsyncBoxBody<Bytes, BoxError>;

/// What sends requests to one API server.
pub(crate) struct Client(BoxCloneSyncService<http::Request<Body>, http::Response<Answer>, BoxError>);

impl Client {
    /// Makes a client of a service.
    pub(crate) fn new<S, B>(service: S) -> Self
    where
        S: Service<http::Request<Body>, Response = http::Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        B: hyper::body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let boxed = |body: B| body.map_err(Into::into).boxed_unsync();
        let service = service.map_response(move |response: http::Response<B>| response.map(boxed));
        Self(BoxCloneSyncService::new(service.map_err(Into::into)))
    }

    /// Sends a request.
    ///
    /// # Errors
    ///
    /// If no answer comes.
    pub(crate) async fn send(&self, request: http::Request<Body>) -> Result<http::Response<Answer>, BoxError> {
        self.0.clone().oneshot(request).await
    }
}

/// Makes a client; nothing is sent yet. The error says which part cannot be used, and quotes none.
pub(super) fn client(target: &Target, login: &Login, network: &Network) -> Result<Client, String> {
    let base = Base::parse(&target.server)?;
    let headers = headers(login)?;
    let proxy = match &target.proxy_url {
        Some(url) => Some(Proxy::parse(url)?),
        None => network.proxies.proxy_of(&base.host, base.port)?,
    };
    let tls = tls::configuration(target, login.certificate.as_ref(), network)?;
    let server_name = server_name(target, &base.host)?;
    let secured = |config: &rustls::ClientConfig, name: ServerName<'static>| {
        let builder = HttpsConnectorBuilder::new().with_tls_config(config.clone()).https_only();
        builder.with_server_name_resolver(FixedServerNameResolver::new(name)).enable_http1()
    };
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let Some(proxy) = proxy else {
        return Ok(finish(secured(&tls, server_name).wrap_connector(tcp), base, headers));
    };
    Ok(match proxy.scheme {
        ProxyScheme::Http => {
            let tunnel = authorized(Tunnel::new(proxy.address.clone(), tcp), &proxy);
            finish(secured(&tls, server_name).wrap_connector(tunnel), base, headers)
        }
        ProxyScheme::Https => {
            // As in Go, the proxy's certificate is checked like the server's own, and the proxy does not get the client
            // certificate.
            let name = match &target.server_name {
                Some(_) => server_name.clone(),
                None => name_of(proxy.address.host().unwrap_or_default(), "the proxy's host")?,
            };
            let outer = tls::configuration(target, None, network)?;
            let tunnel =
                authorized(Tunnel::new(proxy.address.clone(), secured(&outer, name).wrap_connector(tcp)), &proxy);
            finish(secured(&tls, server_name).wrap_connector(tunnel), base, headers)
        }
        ProxyScheme::Socks5 => {
            let mut socks = SocksV5::new(proxy.address.clone(), tcp);
            if let Some((user, password)) = &proxy.login {
                socks = socks.with_auth(user.clone(), password.expose_secret().to_owned());
            }
            finish(secured(&tls, server_name).wrap_connector(socks), base, headers)
        }
    })
}

fn authorized<C>(tunnel: Tunnel<C>, proxy: &Proxy) -> Tunnel<C> {
    match &proxy.login {
        // Base64 has only characters that a header may have.
        Some((user, password)) => tunnel.with_auth(basic(user, password)),
        None => tunnel,
    }
}

/// Returns the name that the server's certificate must have.
fn server_name(target: &Target, host: &str) -> Result<ServerName<'static>, String> {
    match &target.server_name {
        Some(name) => name_of(name, "`tls-server-name`"),
        None => name_of(host, "the host of `server`"),
    }
}

fn name_of(name: &str, what: &str) -> Result<ServerName<'static>, String> {
    // Go accepts names with a final dot.
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let name = name.strip_suffix('.').unwrap_or(name);
    ServerName::try_from(name.to_owned()).map_err(|_| format!("{what} is neither a DNS name nor an IP address"))
}

/// The parts of a server URL.
#[derive(Debug, Clone)]
struct Base {
    authority: http::uri::Authority,
    host: String,
    port: u16,
    /// Without the final slash.
    path: String,
}

impl Base {
    fn parse(server: &str) -> Result<Self, String> {
        let url: http::Uri = server.parse().map_err(|_| "`server` is not a URL")?;
        let authority = url.authority().cloned().ok_or("`server` has no host")?;
        Ok(Self {
            host: authority.host().to_owned(),
            port: authority.port_u16().unwrap_or(443),
            authority,
            path: url.path().trim_end_matches('/').to_owned(),
        })
    }

    /// Returns the address to connect to.
    fn server(&self) -> http::Uri {
        let server = http::Uri::builder().scheme("https").authority(self.authority.clone()).path_and_query("/");
        server.build().expect("its parts are valid")
    }

    /// Returns the address of a request for a path and query.
    fn address(&self, request: http::Uri) -> http::Uri {
        if self.path.is_empty() {
            return request;
        }
        format!("{}{request}", self.path).parse().expect("a path that follows a valid path is valid")
    }

    /// Returns what the header `Host` says: as in Go, the port too, unless it is the usual one.
    fn host_header(&self) -> HeaderValue {
        let host = if self.port == 443 { self.host.clone() } else { format!("{}:{}", self.host, self.port) };
        HeaderValue::try_from(host).expect("a URL's host has only characters that a header may have")
    }
}

/// How long making a connection may take, with its proxy and its TLS handshake: a few round trips around the world.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Puts the layers together: a deadline for connecting, address and headers on every request, one idle connection at most.
fn finish<C, S>(connector: HttpsConnector<C>, base: Base, mut headers: HeaderMap) -> Client
where
    HttpsConnector<C>: Service<http::Uri, Response = S, Error = BoxError> + Clone + Send + Sync + 'static,
    <HttpsConnector<C> as Service<http::Uri>>::Future: Send + 'static,
    S: connection::Stream + Sync,
{
    // A connector does not limit the TLS handshake itself.
    let connector = connector.map_future(|connecting| {
        Box::pin(async move {
            let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
            connected.unwrap_or_else(|_| Err(BoxError::from(io::Error::from(io::ErrorKind::TimedOut))))
        })
    });
    let connections = Connections::new(connector, base.server());
    headers.insert(HOST, base.host_header());
    let service = connections.map_request(move |mut request: http::Request<Body>| {
        let address = std::mem::take(request.uri_mut());
        *request.uri_mut() = base.address(address);
        for (name, value) in &headers {
            request.headers_mut().append(name, value.clone());
        }
        request
    });
    Client::new(service)
}

fn headers(login: &Login) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("kubemint/", env!("CARGO_PKG_VERSION"))));
    if let Some(token) = &login.bearer {
        // A header may contain blanks, but a token may not.
        if token.expose_secret().bytes().any(|byte| !(0x21..=0x7e).contains(&byte)) {
            return Err("the token has characters that a token cannot have".to_owned());
        }
        let value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()));
        let mut value = value.map_err(|_| "the token has characters that a token cannot have")?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    } else if let Some((user, password)) = &login.basic {
        headers.insert(AUTHORIZATION, basic(user, password));
    }
    if let Some(impersonation) = &login.impersonation {
        impersonate(&mut headers, impersonation)?;
    }
    Ok(headers)
}

fn basic_credentials(user: &str, password: &SecretString) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(format!("{user}:{}", password.expose_secret()))
}

fn basic(user: &str, password: &SecretString) -> HeaderValue {
    let encoded = basic_credentials(user, password);
    let mut value = HeaderValue::try_from(format!("Basic {encoded}")).expect("base64 fits into a header");
    value.set_sensitive(true);
    value
}

/// Adds the headers of an impersonation (client-go `transport/round_trippers.go`).
fn impersonate(headers: &mut HeaderMap, impersonation: &Impersonation) -> Result<(), String> {
    let mut add = |name: &str, value: &str| {
        let name = HeaderName::try_from(name).map_err(|_| "`as-user-extra` has a key that cannot be sent")?;
        // HTTP/1.1 strips blanks around a value, and the rest may be somebody else's name.
        if value.trim() != value {
            return Err("`as`, `as-groups` or `as-user-extra` begins or ends with a blank".to_owned());
        }
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| "`as` has characters that cannot be sent")?;
        headers.append(name, value);
        Ok::<(), String>(())
    };
    add("impersonate-user", &impersonation.user)?;
    if let Some(uid) = &impersonation.uid {
        add("impersonate-uid", uid)?;
    }
    for group in &impersonation.groups {
        add("impersonate-group", group)?;
    }
    for (key, values) in &impersonation.extra {
        let name = format!("impersonate-extra-{}", escape_key(key));
        for value in values {
            add(&name, value)?;
        }
    }
    Ok(())
}

/// Escapes characters that a header name cannot have; the API server decodes them.
fn escape_key(key: &str) -> String {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&byte);
    let escape = |byte: u8| if is_legal(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    key.bytes().map(escape).collect()
}

/// Checks that a login can be sent at all, before any connection is made.
pub(super) fn check_login(login: &Login) -> Result<(), String> {
    headers(login).map(drop)?;
    if let Some((certificate, key)) = &login.certificate { tls::check_certificate(certificate, key) } else { Ok(()) }
}

/// Checks that a target can be connected to at all.
pub(super) fn check_target(target: &Target, network: &Network) -> Result<(), String> {
    let base = Base::parse(&target.server)?;
    server_name(target, &base.host)?;
    if let Some(url) = &target.proxy_url {
        Proxy::parse(url)?;
    }
    tls::configuration(target, None, network).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_prefix_stays_before_the_path() {
        let base = Base::parse("https://rancher/k8s/clusters/c-1/").unwrap();
        let address = base.address("/api/v1/namespaces?limit=1".parse().unwrap());
        assert_eq!(address.to_string(), "/k8s/clusters/c-1/api/v1/namespaces?limit=1");
    }

    #[test]
    fn an_impersonation_is_sent_whole() {
        let impersonation = Impersonation {
            user: "jo".into(),
            uid: Some("42".into()),
            groups: vec!["a".into(), "b".into()],
            extra: vec![("example.com/Scopes".into(), vec!["x".into(), "y".into()])],
        };
        let login = Login { impersonation: Some(impersonation), ..Login::default() };
        let headers = headers(&login).unwrap();
        let values = |name: &str| headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(values("impersonate-user"), ["jo"]);
        assert_eq!(values("impersonate-uid"), ["42"]);
        assert_eq!(values("impersonate-group"), ["a", "b"]);
        assert_eq!(values("impersonate-extra-example.com%2fscopes"), ["x", "y"]);
    }

    #[test]
    fn secrets_in_headers_are_marked() {
        for login in [
            Login { bearer: Some("t".into()), ..Login::default() },
            Login { basic: Some(("u".into(), "p".into())), ..Login::default() },
        ] {
            assert!(headers(&login).unwrap()[AUTHORIZATION].is_sensitive());
        }
        let line_end = Login { bearer: Some("t\n".into()), ..Login::default() };
        assert_eq!(headers(&line_end).unwrap_err(), "the token has characters that a token cannot have");
    }
}
