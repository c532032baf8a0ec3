//! TLS 1.3 with pinned Ed25519 keys: no authorities, no names, no dates.
//!
//! The side that verifies compares the key inside the other side's certificate with the key it knows, and
//! checks that the other side signed this very handshake with it.

use std::collections::BTreeSet;
use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate};
use rustls::sign::SingleCertAndKey;
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, SignatureScheme};

use crate::identity::{Identity, PublicKey};
use crate::limits::{Role, bound_server, transport_config};
use crate::socket::BindError;

/// Protocol name of the links between validators.
pub(crate) const PEER_ALPN: &[u8] = b"shardbench-peer/1";
/// Protocol name of the links of clients.
pub(crate) const CLIENT_ALPN: &[u8] = b"shardbench-client/1";
/// Name in the handshake; the field is mandatory, its content means nothing.
pub(crate) const SERVER_NAME: &str = "validator";

/// DER of a SubjectPublicKeyInfo up to the key (RFC 8410, 4).
const ED25519_SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// The certificate holds no Ed25519 key.
#[derive(Debug, thiserror::Error)]
#[error("certificate holds no Ed25519 key")]
struct NotEd25519;

/// The Ed25519 key of an end-entity certificate.
pub(crate) fn certificate_key(certificate: &CertificateDer<'_>) -> Result<PublicKey, rustls::Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    let spki = parsed.subject_public_key_info();
    spki.strip_prefix(ED25519_SPKI_PREFIX.as_slice())
        .and_then(|key| PublicKey::try_from(key).ok())
        .ok_or_else(|| CertificateError::Other(OtherError(Arc::new(NotEd25519))).into())
}

/// Accepts the certificates of a fixed set of keys.
#[derive(Debug)]
struct PinnedKeys {
    allowed: BTreeSet<PublicKey>,
    provider: Arc<CryptoProvider>,
}

impl PinnedKeys {
    fn new(allowed: BTreeSet<PublicKey>) -> Arc<Self> {
        Arc::new(Self {
            allowed,
            provider: provider(),
        })
    }

    fn check(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Result<(), rustls::Error> {
        if !intermediates.is_empty() {
            return Err(CertificateError::BadEncoding.into());
        }
        if self.allowed.contains(&certificate_key(certificate)?) {
            Ok(())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn check_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if signature.scheme != SignatureScheme::ED25519 {
            return Err(CertificateError::Other(OtherError(Arc::new(NotEd25519))).into());
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }
}

/// TLS 1.2 is not compiled in; this answers all the same.
fn no_tls12() -> Result<HandshakeSignatureValid, rustls::Error> {
    Err(rustls::Error::General("TLS 1.2 is not spoken".to_owned()))
}

impl ServerCertVerifier for PinnedKeys {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.check(end_entity, intermediates)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.check_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

impl ClientCertVerifier for PinnedKeys {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.check(end_entity, intermediates)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.check_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// The server half between validators: a client certificate of one of `dialers` is demanded.
pub(crate) fn peer_server(
    identity: &Identity,
    dialers: BTreeSet<PublicKey>,
) -> Result<quinn::ServerConfig, BindError> {
    let tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(tls_error)?
        .with_client_cert_verifier(PinnedKeys::new(dialers))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified())));
    server(tls, PEER_ALPN, Role::Peer)
}

/// The server half towards clients, which show no certificate.
pub(crate) fn client_server(identity: &Identity) -> Result<quinn::ServerConfig, BindError> {
    let tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(tls_error)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified())));
    server(tls, CLIENT_ALPN, Role::Server)
}

/// The dialling half between validators: the other side must hold `expected`.
pub(crate) fn peer_dialer(
    identity: &Identity,
    expected: PublicKey,
) -> Result<quinn::ClientConfig, BindError> {
    let tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(tls_error)?
        .dangerous()
        .with_custom_certificate_verifier(PinnedKeys::new(BTreeSet::from([expected])))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified())));
    dialer(tls, PEER_ALPN, Role::Peer)
}

/// The dialling half of a client: the validator must hold `expected`.
pub(crate) fn client_dialer(expected: PublicKey) -> Result<quinn::ClientConfig, BindError> {
    let tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(tls_error)?
        .dangerous()
        .with_custom_certificate_verifier(PinnedKeys::new(BTreeSet::from([expected])))
        .with_no_client_auth();
    dialer(tls, CLIENT_ALPN, Role::Client)
}

fn server(mut tls: rustls::ServerConfig, alpn: &[u8], role: Role) -> Result<quinn::ServerConfig, BindError> {
    tls.alpn_protocols = vec![alpn.to_vec()];
    // Data of a first flight could be replayed, so none is taken, and no ticket invites any.
    tls.max_early_data_size = 0;
    tls.send_tls13_tickets = 0;
    tls.session_storage = Arc::new(NoServerSessionStorage {});
    let quic = QuicServerConfig::try_from(tls).map_err(tls_error)?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(quic));
    bound_server(&mut config, role);
    Ok(config)
}

fn dialer(mut tls: rustls::ClientConfig, alpn: &[u8], role: Role) -> Result<quinn::ClientConfig, BindError> {
    tls.alpn_protocols = vec![alpn.to_vec()];
    tls.enable_early_data = false;
    tls.enable_sni = false;
    tls.resumption = Resumption::disabled();
    let quic = QuicClientConfig::try_from(tls).map_err(tls_error)?;
    let mut config = quinn::ClientConfig::new(Arc::new(quic));
    config.transport_config(Arc::new(transport_config(role)));
    Ok(config)
}

/// One group and two suites: all a validator needs, and less to attack.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
            aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![aws_lc_rs::kx_group::X25519],
        ..aws_lc_rs::default_provider()
    })
}

fn tls_error(error: impl std::fmt::Display) -> BindError {
    BindError::Tls(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(certificate: &CertificateDer<'_>, allowed: &[PublicKey]) -> Result<(), rustls::Error> {
        let pinned = PinnedKeys::new(allowed.iter().copied().collect());
        pinned
            .verify_client_cert(certificate, &[], UnixTime::now())
            .map(|_| ())
    }

    #[test]
    fn only_the_pinned_key_passes() {
        let identity = Identity::from_seed(&[1; 32]).expect("valid seed");
        let certificate = identity.certified().cert[0].clone();
        assert_eq!(certificate_key(&certificate), Ok(identity.public_key()));
        assert_eq!(verdict(&certificate, &[identity.public_key()]), Ok(()));
        let mut other = identity.public_key();
        other[31] ^= 1;
        assert_eq!(
            verdict(&certificate, &[other]),
            Err(CertificateError::ApplicationVerificationFailure.into())
        );
        assert!(verdict(&certificate, &[]).is_err());
    }

    #[test]
    fn keys_of_other_kinds_and_garbage_are_refused() {
        for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_RSA_SHA256] {
            let key = rcgen::KeyPair::generate_for(algorithm).expect("key");
            let certificate = rcgen::CertificateParams::default()
                .self_signed(&key)
                .expect("certificate");
            let error = certificate_key(certificate.der()).expect_err("no Ed25519 key");
            assert!(error.to_string().contains("Ed25519"), "{error}");
        }
        assert!(certificate_key(&CertificateDer::from(vec![0x30, 0x03, 0x02])).is_err());
        assert!(certificate_key(&CertificateDer::from(Vec::new())).is_err());
    }

    #[test]
    fn a_chain_is_refused() {
        let identity = Identity::from_seed(&[1; 32]).expect("valid seed");
        let certificate = identity.certified().cert[0].clone();
        let pinned = PinnedKeys::new(BTreeSet::from([identity.public_key()]));
        assert!(pinned.check(&certificate, &[]).is_ok());
        assert!(
            pinned
                .check(&certificate, std::slice::from_ref(&certificate))
                .is_err()
        );
    }
}
