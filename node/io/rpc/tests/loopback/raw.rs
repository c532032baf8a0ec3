//! A client below the client half: writes any bytes to its stream.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, ConnectionError, Endpoint, RecvStream, SendStream};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use types::client::{Hello, Request};

use crate::fixture::{client_hello, loopback, soon};

pub(crate) struct RawClient {
    pub(crate) endpoint: Endpoint,
    pub(crate) connection: Connection,
    pub(crate) send: SendStream,
    pub(crate) receive: RecvStream,
}

impl RawClient {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyKey))
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"shardbench-client/1".to_vec()];
        let tls = QuicClientConfig::try_from(tls).unwrap();
        let endpoint = Endpoint::client(loopback()).unwrap();
        let connecting = endpoint
            .connect_with(quinn::ClientConfig::new(Arc::new(tls)), address, "validator")
            .unwrap();
        let connection = soon(connecting).await.unwrap();
        let (send, receive) = soon(connection.open_bi()).await.unwrap();
        Self {
            endpoint,
            connection,
            send,
            receive,
        }
    }

    /// Connects and greets as a client should.
    pub(crate) async fn greeted(address: SocketAddr) -> Self {
        let mut client = Self::connect(address).await;
        client.greet(client_hello()).await;
        client
    }

    pub(crate) async fn greet(&mut self, hello: Hello) {
        let hello = Request::Hello(hello);
        self.write(&frame(hello.kind(), &hello.encode_payload())).await;
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        let chunk = Bytes::copy_from_slice(bytes);
        soon(self.send.write_chunk(chunk)).await.unwrap();
    }

    /// The text with which the server closes the connection.
    pub(crate) async fn closed(&self) -> String {
        match soon(self.connection.closed()).await {
            ConnectionError::ApplicationClosed(close) => String::from_utf8(close.reason.to_vec()).unwrap(),
            other => panic!("not closed by the server: {other}"),
        }
    }
}

/// A frame as it stands on the stream.
pub(crate) fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    [&envelope(payload.len() as u32, kind, 1, 0, 0)[..], payload].concat()
}

/// `len u32, type u8, ver u8, epoch u32, shard u16`, little-endian (`ios` 0.5).
pub(crate) fn envelope(len: u32, kind: u8, version: u8, epoch: u32, shard: u16) -> [u8; 12] {
    let ([l0, l1, l2, l3], [e0, e1, e2, e3]) = (len.to_le_bytes(), epoch.to_le_bytes());
    let [s0, s1] = shard.to_le_bytes();
    [l0, l1, l2, l3, kind, version, e0, e1, e2, e3, s0, s1]
}

/// Trusts any node: these tests are about what comes after the handshake.
#[derive(Debug)]
struct AnyKey;

impl ServerCertVerifier for AnyKey {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}
