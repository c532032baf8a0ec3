//! The matrix of bad identities: who dials with what, and under which name the refusal is counted.
//!
//! Asserted on the side that must refuse: no connection reaches its owner before that of one who belongs there.
//! Not in the matrix: TLS 1.2, which QUIC cannot carry (RFC 9001, 4.2), and dates, which pinned keys do not have.

use std::sync::Arc;
use std::time::Duration;

use rustls::SignatureScheme;
use rustls::sign::CertifiedKey;

use super::rogue::{Rogue, Stubborn, certified};
use super::{endpoint, identities, keys, loopback, numbered, within};
use crate::tls::{CLIENT_ALPN, PEER_ALPN};
use crate::{
    ClientConfig, ClientEndpoint, ClientListener, CloseCode, Identity, Lane, PeerEndpoint, RefusalCounts,
};

/// Who is refused, how it comes, and the one counter that says so.
type Case = (&'static str, Rogue, RefusalCounts);

/// The validator that listens, of three; the first may dial it, the last may not.
const LISTENER: usize = 1;

fn shown(identity: &Identity) -> CertifiedKey {
    CertifiedKey::clone(&identity.certified())
}

fn stranger() -> Identity {
    Identity::from_seed(&[99; 32]).expect("valid seed")
}

fn count(set: impl FnOnce(&mut RefusalCounts)) -> RefusalCounts {
    let mut counts = RefusalCounts::default();
    set(&mut counts);
    counts
}

fn no_certificate() -> RefusalCounts {
    count(|counts| counts.no_certificate = 1)
}

fn unknown_key() -> RefusalCounts {
    count(|counts| counts.unknown_key = 1)
}

fn wrong_key_type() -> RefusalCounts {
    count(|counts| counts.wrong_key_type = 1)
}

fn no_common_protocol() -> RefusalCounts {
    count(|counts| counts.no_common_protocol = 1)
}

/// With this certificate and the right protocol.
fn with(certified: CertifiedKey) -> Rogue {
    Rogue::new(Some(certified), &[PEER_ALPN])
}

fn forced(algorithm: &'static rcgen::SignatureAlgorithm, scheme: SignatureScheme) -> Rogue {
    let honest = certified(algorithm);
    with(CertifiedKey::new(
        honest.cert,
        Arc::new(Stubborn(honest.key, scheme)),
    ))
}

/// Everyone who must not get in at a validator's port for validators.
fn at_the_port_for_validators() -> Vec<Case> {
    let all = identities(3);
    let listed = || shown(&all[0]);
    let protocol = |names: &[&[u8]]| Rogue::new(Some(listed()), names);
    let stolen = |owner: &Identity| {
        with(CertifiedKey::new(
            shown(owner).cert,
            Arc::clone(&shown(&stranger()).key),
        ))
    };
    let chain = |first: &Identity, second: &Identity| {
        let certificates = [shown(first).cert, shown(second).cert].concat();
        with(CertifiedKey::new(certificates, Arc::clone(&shown(first).key)))
    };
    let (ecdsa, rsa) = (&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_RSA_SHA256);
    // A member of another network holds a right key that is not in this list.
    let foreign = Identity::from_seed(&[77; 32]).expect("valid seed");
    vec![
        ("no certificate", Rogue::new(None, &[PEER_ALPN]), no_certificate()),
        ("a key of nobody", with(shown(&stranger())), unknown_key()),
        (
            "a member of another network",
            with(shown(&foreign)),
            unknown_key(),
        ),
        (
            "the listener's own identity",
            with(shown(&all[LISTENER])),
            unknown_key(),
        ),
        (
            "a member that should be dialled",
            with(shown(&all[2])),
            unknown_key(),
        ),
        (
            "a listed certificate, another key",
            stolen(&all[0]),
            wrong_key_type(),
        ),
        (
            "the listener's certificate, another key",
            stolen(&all[LISTENER]),
            unknown_key(),
        ),
        (
            "a chain of listed ones",
            chain(&all[0], &all[2]),
            wrong_key_type(),
        ),
        (
            "a chain with a stranger first",
            chain(&stranger(), &all[0]),
            wrong_key_type(),
        ),
        ("an ECDSA identity", with(certified(ecdsa)), no_certificate()),
        ("an RSA identity", with(certified(rsa)), no_certificate()),
        (
            "an ECDSA identity, forced",
            forced(ecdsa, SignatureScheme::ECDSA_NISTP256_SHA256),
            wrong_key_type(),
        ),
        (
            "an RSA identity, forced",
            forced(rsa, SignatureScheme::RSA_PSS_SHA256),
            wrong_key_type(),
        ),
        (
            "a member as a client",
            protocol(&[CLIENT_ALPN]),
            no_common_protocol(),
        ),
        ("a client", Rogue::new(None, &[CLIENT_ALPN]), no_common_protocol()),
        (
            "a later version",
            protocol(&[b"shardbench-peer/2"]),
            no_common_protocol(),
        ),
        ("another protocol", protocol(&[b"h3"]), no_common_protocol()),
        ("no protocol", protocol(&[]), no_common_protocol()),
    ]
}

/// Everyone who must not get in at a validator's port for clients, where nobody needs a certificate.
fn at_the_port_for_clients() -> Vec<Case> {
    let all = identities(3);
    let nameless = |names: &[&[u8]]| Rogue::new(None, names);
    vec![
        ("a member as a member", with(shown(&all[0])), no_common_protocol()),
        ("a nameless member", nameless(&[PEER_ALPN]), no_common_protocol()),
        (
            "a later version",
            nameless(&[b"shardbench-client/2"]),
            no_common_protocol(),
        ),
        ("another protocol", nameless(&[b"h3"]), no_common_protocol()),
        ("no protocol", nameless(&[]), no_common_protocol()),
    ]
}

async fn until_refused(counts: impl Fn() -> RefusalCounts) {
    within(async {
        while counts().total() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn every_bad_identity_is_refused_at_the_port_for_validators() {
    let all = identities(3);
    let cases = at_the_port_for_validators();
    assert!(cases.len() >= 12);
    for (name, rogue, expected) in cases {
        let mut listener: PeerEndpoint = endpoint(&all[LISTENER], &keys(&all));
        within(rogue.intrude(listener.local_addr())).await;
        until_refused(|| listener.refusals()).await;
        assert_eq!(listener.refusals(), expected, "{name}");
        assert_eq!(
            listener.traffic().received_bytes,
            0,
            "{name}: no link was ever made"
        );
        // The first connection that the owner ever sees is that of the one who belongs there.
        let good = endpoint(&all[0], &keys(&all));
        let address = listener.local_addr();
        let (dialled, accepted) =
            within(async { tokio::join!(good.connect(1, address), listener.accept()) }).await;
        let (link, _from_control, _from_bulk) = dialled.expect("let in").split();
        let accepted = accepted.expect("connection");
        assert_eq!(accepted.id(), 0, "{name}");
        let (_link, mut control, _bulk) = accepted.split();
        link.try_send(Lane::Control, numbered(5, 1)).expect("room");
        assert_eq!(within(control.recv()).await, Ok(numbered(5, 1)), "{name}");
    }
}

#[tokio::test]
async fn every_bad_identity_is_refused_at_the_port_for_clients() {
    let validator = &identities(3)[LISTENER];
    for (name, rogue, expected) in at_the_port_for_clients() {
        let mut listener =
            ClientListener::bind(validator, &ClientConfig::new(loopback())).expect("free port");
        within(rogue.intrude(listener.local_addr())).await;
        until_refused(|| listener.refusals()).await;
        assert_eq!(listener.refusals(), expected, "{name}");
        let client = ClientEndpoint::bind(loopback()).expect("free port");
        let dialled = within(client.connect(listener.local_addr(), validator.public_key()))
            .await
            .expect("let in");
        let (sender, _answers) = dialled.split();
        sender.try_send(numbered(5, 1)).expect("room");
        let (_sender, mut requests) = within(listener.accept()).await.expect("connection").split();
        assert_eq!(within(requests.recv()).await, Ok(Some(numbered(5, 1))), "{name}");
    }
}

#[tokio::test]
async fn nobody_gets_a_ticket_for_a_first_flight() {
    let all = identities(3);
    let mut listener = endpoint(&all[LISTENER], &keys(&all));
    let rogue = Rogue::with_early_data(Some(shown(&all[0])), &[PEER_ALPN]);
    // A whole admitted connection first: a server that gave tickets would have given one by then.
    let connection = within(rogue.dial(listener.local_addr()))
        .await
        .expect("listed key");
    let mut lanes = Vec::new();
    for tag in [0_u8, 1] {
        let mut lane = connection.open_uni().await.expect("stream");
        lane.write_all(&[tag]).await.expect("open");
        lanes.push(lane);
    }
    let accepted = within(listener.accept()).await.expect("connection");
    // Tickets come before the first bytes of the lanes.
    for _ in 0..2 {
        let mut lane = within(connection.accept_uni()).await.expect("lane");
        within(lane.read_exact(&mut [0])).await.expect("tag");
    }
    connection.close(quinn::VarInt::from_u32(0), b"again");
    drop(accepted);
    assert!(
        !rogue.could_send_early(listener.local_addr()),
        "no key for early data"
    );
}

#[tokio::test]
async fn of_many_connections_of_one_identity_the_newest_stays() {
    let all = identities(2);
    let listener = endpoint(&all[1], &keys(&all));
    let address = listener.local_addr();
    let nowhere = std::collections::BTreeMap::from([(0, address)]);
    let (mesh, mut events) = crate::PeerMesh::start(listener, &nowhere).expect("addresses");
    let rogue = with(shown(&all[0]));
    let mut kept: Option<(quinn::Connection, Vec<quinn::SendStream>)> = None;
    for number in 0..5 {
        let connection = within(rogue.dial(address)).await.expect("listed key");
        let mut lanes = Vec::new();
        for tag in [0_u8, 1] {
            let mut lane = connection.open_uni().await.expect("stream");
            lane.write_all(&[tag]).await.expect("open");
            lanes.push(lane);
        }
        if let Some((old, _)) = kept.replace((connection, lanes)) {
            let quinn::ConnectionError::ApplicationClosed(closed) = within(old.closed()).await else {
                panic!("connection {number}: the older one is told")
            };
            let code = CloseCode::from_wire(closed.error_code.into_inner());
            assert_eq!(code, Some(CloseCode::Replaced));
        }
    }
    // The newest one is heard.
    let (_connection, lanes) = kept.as_mut().expect("five were made");
    lanes[0]
        .write_all(&[1, 0, 0, 0, 7, 1, 0, 0, 0, 0, 0, 0, b'a'])
        .await
        .expect("open");
    let control = &mut events[0].control;
    within(async {
        while !matches!(
            control.recv().await.expect("runs").event,
            crate::PeerEvent::Frame(_)
        ) {}
    })
    .await;
    assert_eq!(mesh.sender().connected(), [0]);
}
