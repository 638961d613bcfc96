//! The role that sends the requests that kubemint sent, and does nothing else: hyper and rustls, one connection to each
//! cluster, and one more where kubemint proves what it issued. Bodies are empty, and answers are read and dropped.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use kube::config::Kubeconfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use secrecy::ExposeSecret;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// As many as kubemint works on at the same time.
const CONCURRENCY: usize = 64;

/// A cluster to send requests to.
struct Cluster {
    address: String,
    token: Option<String>,
    tls: TlsConnector,
    /// Without the admin's certificate.
    consumer: TlsConnector,
}

/// Replays requests: its arguments are the admin kubeconfig, and the file of the requests.
pub(crate) fn replay() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kubeconfig, requests] = arguments.try_into().unwrap();
    let requests: Vec<(String, String)> = serde_json::from_slice(&std::fs::read(requests).unwrap()).unwrap();
    let requests = Arc::new(requests);
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    // kube's own reader stops at some thousand clusters.
    let mut unlimited = serde_saphyr::Options::default();
    unlimited.budget = None;
    let text = std::fs::read_to_string(kubeconfig).unwrap();
    let kubeconfig: Kubeconfig = serde_saphyr::from_str_with_options(&text, unlimited).unwrap();
    let clusters = clusters(&kubeconfig);
    runtime.block_on(async {
        let replay = |cluster: Cluster| tokio::spawn(of_cluster(cluster, Arc::clone(&requests)));
        let replays = futures::stream::iter(clusters).map(replay).buffer_unordered(CONCURRENCY);
        replays.for_each(|done| async { done.unwrap() }).await;
    });
}

fn clusters(kubeconfig: &Kubeconfig) -> Vec<Cluster> {
    let both = kubeconfig.clusters.iter().zip(&kubeconfig.auth_infos);
    let cluster = |(cluster, user): (&kube::config::NamedCluster, &kube::config::NamedAuthInfo)| {
        let cluster = cluster.cluster.as_ref().unwrap();
        let user = user.auth_info.as_ref().unwrap();
        let decode = |text: &str| base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).unwrap();
        let authority = decode(cluster.certificate_authority_data.as_ref().unwrap());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&authority).unwrap()).unwrap();
        let builder = || rustls::ClientConfig::builder().with_root_certificates(roots.clone());
        let admin = match user.client_certificate_data.as_ref().zip(user.client_key_data.as_ref()) {
            Some((certificate, key)) => {
                let certificate = CertificateDer::from_pem_slice(&decode(certificate)).unwrap();
                let key = PrivateKeyDer::from_pem_slice(&decode(key.expose_secret())).unwrap();
                builder().with_client_auth_cert(vec![certificate], key).unwrap()
            }
            None => builder().with_no_client_auth(),
        };
        Cluster {
            address: cluster.server.as_ref().unwrap().strip_prefix("https://").unwrap().to_owned(),
            token: user.token.as_ref().map(|token| token.expose_secret().to_owned()),
            tls: TlsConnector::from(Arc::new(admin)),
            consumer: TlsConnector::from(Arc::new(builder().with_no_client_auth())),
        }
    };
    both.map(cluster).collect()
}

async fn of_cluster(cluster: Cluster, requests: Arc<Vec<(String, String)>>) {
    let is_proof = |(_, path): &&(String, String)| path.contains("/selfsubjectreviews");
    send(&cluster, &cluster.tls, requests.iter().filter(|request| !is_proof(request))).await;
    if requests.iter().any(|request| is_proof(&request)) {
        // It is not accepted where the admin has no token; that costs no less.
        send(&cluster, &cluster.consumer, requests.iter().filter(is_proof)).await;
    }
}

/// Sends requests over one connection.
async fn send(cluster: &Cluster, tls: &TlsConnector, requests: impl Iterator<Item = &(String, String)>) {
    let stream = TcpStream::connect(&cluster.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (host, _) = cluster.address.split_once(':').unwrap();
    let stream = tls.connect(ServerName::try_from(host.to_owned()).unwrap(), stream).await.unwrap();
    let (mut sender, connection) = http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    for (method, path) in requests {
        let mut request = http::Request::builder().method(method.as_str()).uri(path);
        if let Some(token) = &cluster.token {
            request = request.header(http::header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request
            .header(http::header::HOST, &cluster.address)
            .header(http::header::CONTENT_TYPE, "application/json")
            .header(http::header::ACCEPT, "application/json")
            .body(Full::new(Bytes::from_static(if method == "GET" { b"" } else { b"{}" })))
            .unwrap();
        sender.ready().await.unwrap();
        let answer = sender.send_request(request).await.unwrap();
        answer.into_body().collect().await.unwrap();
    }
    drop(sender);
    // It ends when its sender is gone; how is no matter.
    drop(connection.await);
}
