//! Certificates and keys: one CA, one serving certificate and one token-signing key per cluster.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, NoServerSessionStorage, WebPkiClientVerifier};
use std::io;
use std::sync::Arc;

/// The certificates of one cluster, in PEM.
pub(crate) struct ClusterCertificates {
    /// The CA that consumers trust.
    pub(crate) authority: String,
    /// The serving certificate, signed by that CA.
    pub(crate) server: String,
    /// The key of the serving certificate.
    pub(crate) server_key: String,
    /// The certificate and the key of the admin, if it has them.
    pub(crate) admin: Option<(String, String)>,
}

/// The key of an admin that authenticates with a certificate.
#[derive(Clone, Debug)]
pub enum AdminKey {
    /// A new P-256 key for each cluster.
    P256,
    /// This RSA key in PEM (PKCS#8), for all clusters.
    Rsa(String),
}

/// A P-256 key pair in PEM.
pub(crate) struct SigningKeyPem {
    /// PKCS#8.
    pub(crate) private: String,
    /// `SubjectPublicKeyInfo`.
    pub(crate) public: String,
}

impl ClusterCertificates {
    /// Makes the CA and the serving certificate of the cluster `name`.
    pub(crate) fn generate(name: &str) -> io::Result<Self> {
        Self::generate_with(name, None)
    }

    /// Makes the certificates of the cluster `name`, with one for its admin if that has a key.
    pub(crate) fn generate_with(name: &str, admin: Option<&AdminKey>) -> io::Result<Self> {
        Self::try_generate(name, admin).map_err(io::Error::other)
    }

    fn try_generate(name: &str, admin: Option<&AdminKey>) -> Result<Self, rcgen::Error> {
        let ca_key = generate_key()?;
        let mut ca = CertificateParams::new(Vec::new())?;
        ca.distinguished_name.push(DnType::CommonName, format!("kubernetes-ca-{name}"));
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let authority_pem = ca.self_signed(&ca_key)?.pem();
        let issuer = Issuer::new(ca, ca_key);

        let server_key = generate_key()?;
        let mut server = CertificateParams::new(vec![
            "127.0.0.1".to_owned(),
            "localhost".to_owned(),
            format!("{name}.sim.test"),
            "kubernetes.default.svc".to_owned(),
        ])?;
        server.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let server_pem = server.signed_by(&server_key, &issuer)?.pem();
        let admin = admin.map(|key| admin_certificate(key, &issuer)).transpose()?;
        Ok(Self { authority: authority_pem, server: server_pem, server_key: server_key.serialize_pem(), admin })
    }

    /// Returns a TLS configuration that serves this certificate over HTTP/1.1.
    pub(crate) fn server_config(&self) -> io::Result<Arc<rustls::ServerConfig>> {
        let certificate = CertificateDer::from_pem_slice(self.server.as_bytes()).map_err(io::Error::other)?;
        let key = PrivateKeyDer::from_pem_slice(self.server_key.as_bytes()).map_err(io::Error::other)?;
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_client_cert_verifier(self.client_verifier()?)
            .with_single_cert(vec![certificate], key)
            .map_err(io::Error::other)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // A session cache for each of thousands of servers would cost more than it saves.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Arc::new(config))
    }
}

impl ClusterCertificates {
    /// Lets clients in without a certificate, and with one of this CA.
    fn client_verifier(&self) -> io::Result<Arc<dyn ClientCertVerifier>> {
        if self.admin.is_none() {
            return Ok(Arc::new(NoClientAuth));
        }
        let mut roots = rustls::RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(self.authority.as_bytes()).map_err(io::Error::other)?;
        roots.add(authority).map_err(io::Error::other)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        verifier.allow_unauthenticated().build().map_err(io::Error::other)
    }
}

/// Makes a certificate of an admin, as kubeadm does; returns it and its key.
fn admin_certificate(key: &AdminKey, issuer: &Issuer<'_, KeyPair>) -> Result<(String, String), rcgen::Error> {
    let key = match key {
        AdminKey::P256 => generate_key()?,
        AdminKey::Rsa(pem) => KeyPair::from_pem_and_sign_algo(pem, &PKCS_RSA_SHA256)?,
    };
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "admin");
    params.distinguished_name.push(DnType::OrganizationName, "system:masters");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    Ok((params.signed_by(&key, issuer)?.pem(), key.serialize_pem()))
}

impl SigningKeyPem {
    /// Makes a key that signs ServiceAccount tokens.
    pub(crate) fn generate() -> io::Result<Self> {
        let key = generate_key().map_err(io::Error::other)?;
        Ok(Self { private: key.serialize_pem(), public: key.public_key_pem() })
    }
}

/// Returns a client configuration that trusts exactly `ca_pem`.
pub(crate) fn client_config(ca_pem: &str) -> io::Result<Arc<rustls::ClientConfig>> {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).map_err(io::Error::other)?)
        .map_err(io::Error::other)?;
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn generate_key() -> Result<KeyPair, rcgen::Error> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
}
