//! Dialling sides that do what ours never would.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, Signer, SigningKey, SingleCertAndKey};
use rustls::{DigitallySignedStruct, Error, SignatureAlgorithm};

use super::loopback;

/// A dialling side without any check of its own.
pub(super) struct Rogue {
    endpoint: quinn::Endpoint,
}

impl Rogue {
    /// Shows `certified`, or no certificate, and asks for `alpn`.
    pub(super) fn new(certified: Option<CertifiedKey>, alpn: &[&[u8]]) -> Self {
        Self::made(certified, alpn, false)
    }

    /// The same, and willing to send data before the handshake ends as soon as it has a ticket for that.
    pub(super) fn with_early_data(certified: Option<CertifiedKey>, alpn: &[&[u8]]) -> Self {
        Self::made(certified, alpn, true)
    }

    fn made(certified: Option<CertifiedKey>, alpn: &[&[u8]], early_data: bool) -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Credulous));
        let mut tls = match certified {
            Some(certified) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified))),
            None => builder.with_no_client_auth(),
        };
        tls.enable_early_data = early_data;
        tls.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let quic = quinn::crypto::rustls::QuicClientConfig::try_from(tls).expect("suite");
        let mut endpoint = quinn::Endpoint::client(loopback()).expect("free port");
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(quic)));
        Self { endpoint }
    }

    /// The bare connection: an `Ok` here says nothing about admission.
    pub(super) async fn dial(
        &self,
        address: SocketAddr,
    ) -> Result<quinn::Connection, quinn::ConnectionError> {
        self.endpoint.connect(address, "anything").expect("dialled").await
    }

    /// Whether it holds what a first flight with data needs.
    pub(super) fn could_send_early(&self, address: SocketAddr) -> bool {
        let connecting = self.endpoint.connect(address, "anything").expect("dialled");
        connecting.into_0rtt().is_ok()
    }

    /// Dials and tries to open both lanes like a validator, until the other side ends it.
    pub(super) async fn intrude(&self, address: SocketAddr) -> quinn::ConnectionError {
        let connection = match self.dial(address).await {
            Ok(connection) => connection,
            Err(error) => return error,
        };
        let mut lanes = Vec::new();
        for tag in [0u8, 1] {
            if let Ok(mut lane) = connection.open_uni().await {
                let _ = lane.write_all(&[tag]).await;
                let _ = lane
                    .write_all(&[3, 0, 0, 0, 7, 1, 0, 0, 0, 0, 0, 0, b'a', b'b', b'c'])
                    .await;
                lanes.push(lane);
            }
        }
        connection.closed().await
    }
}

/// A certificate and key of another algorithm, made the regular way.
pub(super) fn certified(algorithm: &'static rcgen::SignatureAlgorithm) -> CertifiedKey {
    let key = rcgen::KeyPair::generate_for(algorithm).expect("key");
    let certificate = rcgen::CertificateParams::default()
        .self_signed(&key)
        .expect("certificate");
    let der = PrivatePkcs8KeyDer::from(key.serialize_der());
    let signing = aws_lc_rs::sign::any_supported_type(&der.into()).expect("supported");
    CertifiedKey::new(vec![certificate.der().clone()], signing)
}

/// Signs with a scheme the server did not offer.
#[derive(Debug)]
pub(super) struct Stubborn(pub(super) Arc<dyn SigningKey>, pub(super) SignatureScheme);

impl SigningKey for Stubborn {
    fn choose_scheme(&self, _offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        self.0.choose_scheme(&[self.1])
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.0.algorithm()
    }
}

/// Believes every server.
#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}
