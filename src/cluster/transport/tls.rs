//! TLS: whom to trust, and the client certificate.
//!
//! Three things are as in Go and not as in rustls: a certificate among the CAs is trusted itself, even if it is a
//! server's own; an expired CA is not trusted; and with `insecure-skip-tls-verify` only one thing is checked, that the
//! server holds the certificate's key.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use secrecy::{ExposeSecret, SecretString};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{ClientCertificate, Network, Target};

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Makes the configuration of a client.
pub(super) fn configuration(
    target: &Target,
    certificate: Option<&ClientCertificate>,
    network: &Network,
) -> Result<ClientConfig, String> {
    let provider = provider();
    let verifier: Arc<dyn ServerCertVerifier> = match &target.authority {
        _ if target.insecure => Arc::new(Unchecked(Arc::clone(&provider))),
        Some(pem) => Arc::new(Anchored::new(pem, &provider)?),
        None => system(network, &provider)?,
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("ring supports TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match certificate {
        Some((chain, key)) => {
            let (chain, key) = client_certificate(chain, key)?;
            builder.with_client_auth_cert(chain, key).map_err(|error| describe(&error))?
        }
        None => builder.with_no_client_auth(),
    };
    // There is one connection at a time, so no session is resumed.
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn system(network: &Network, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let make = || {
        rustls_platform_verifier::Verifier::new(Arc::clone(provider))
            .map(Arc::new)
            .map_err(|_| "it names no CA, and the system has no usable certificates".to_owned())
    };
    network.system.get_or_init(make).clone().map(|verifier| verifier as Arc<dyn ServerCertVerifier>)
}

fn client_certificate(
    chain: &[u8],
    key: &SecretString,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or("the client certificate is not PEM")?;
    let key = PrivateKeyDer::from_pem_slice(key.expose_secret().as_bytes());
    Ok((chain, key.map_err(|_| "the client key is not an unencrypted key in PEM")?))
}

/// Checks that a client certificate and its key can be used and belong together.
pub(super) fn check_certificate(chain: &[u8], key: &SecretString) -> Result<(), String> {
    let (chain, key) = client_certificate(chain, key)?;
    let certified = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| describe(&error))?;
    drop(certified);
    Ok(())
}

fn describe(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InconsistentKeys(_) => "the client key does not belong to the client certificate",
        rustls::Error::InvalidCertificate(_) => "the client certificate is malformed",
        _ => "the client key is of a kind that is not supported; RSA, ECDSA P-256 and P-384, and Ed25519 are",
    }
    .to_owned()
}

/// Trusts some certificates, and whatever chains up to one of them.
#[derive(Debug)]
struct Anchored {
    chain: Option<Arc<WebPkiServerVerifier>>,
    trusted: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl Anchored {
    fn new(pem: &[u8], provider: &Arc<CryptoProvider>) -> Result<Self, String> {
        // Like Go, this skips other blocks and the text between them.
        let all: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect();
        let now = DefaultTimeProvider.current_time().ok_or("the clock cannot be read")?;
        let parsed: Vec<_> = all.iter().filter(|der| X509Certificate::from_der(der).is_ok()).cloned().collect();
        if parsed.is_empty() {
            return Err("its CA holds no certificate".to_owned());
        }
        let current: Vec<_> = parsed.into_iter().filter(|der| is_current(der, now)).collect();
        if current.is_empty() {
            return Err("its CA certificate has expired or is not valid yet".to_owned());
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(current.iter().cloned());
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build().ok();
        Ok(Self { chain, trusted: current, provider: Arc::clone(provider) })
    }
}

fn is_current(certificate: &CertificateDer<'_>, now: UnixTime) -> bool {
    let Ok(now) = i64::try_from(now.as_secs()) else { return false };
    X509Certificate::from_der(certificate).is_ok_and(|(_, parsed)| {
        (parsed.validity().not_before.timestamp()..=parsed.validity().not_after.timestamp()).contains(&now)
    })
}

/// Whether a certificate may be a server's: it says so, or does not restrict its use.
fn is_for_servers(certificate: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(certificate).is_ok_and(|(_, parsed)| match parsed.extended_key_usage() {
        Ok(Some(usage)) => usage.value.server_auth || usage.value.any,
        Ok(None) => true,
        Err(_) => false,
    })
}

impl ServerCertVerifier for Anchored {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.trusted.iter().any(|trusted| trusted.as_ref() == end_entity.as_ref()) {
            if !is_current(end_entity, now) {
                return Err(CertificateError::Expired.into());
            }
            if !is_for_servers(end_entity) {
                return Err(CertificateError::InvalidPurpose.into());
            }
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        match &self.chain {
            Some(chain) => chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Checks nothing about whose certificate it is: `insecure-skip-tls-verify`.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
