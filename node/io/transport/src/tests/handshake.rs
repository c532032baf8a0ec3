//! Who is let in, and who is not.

use std::sync::Arc;
use std::time::Duration;

use rustls::SignatureScheme;
use rustls::sign::CertifiedKey;

use super::rogue::{Rogue, Stubborn, certified};
use super::{endpoint, identities, keys, loopback, numbered, within};
use crate::tls::{CLIENT_ALPN, PEER_ALPN};
use crate::{BindError, ConnectError, Identity, Lane, PeerConfig, PeerEndpoint, RefusalCounts};

#[tokio::test]
async fn listed_keys_are_linked_both_ways() {
    let all = identities(2);
    let dialer = endpoint(&all[0], &keys(&all));
    let mut listener = endpoint(&all[1], &keys(&all));
    let (dialled, accepted) =
        within(async { tokio::join!(dialer.connect(1, listener.local_addr()), listener.accept()) }).await;
    let (dialled, accepted) = (dialled.expect("let in"), accepted.expect("connection"));
    assert_eq!((dialled.id(), accepted.id()), (1, 0));
    let (there, mut there_control, mut there_bulk) = dialled.split();
    let (here, mut here_control, mut here_bulk) = accepted.split();
    for (lane, from, to) in [
        (Lane::Control, &there, &mut here_control),
        (Lane::Bulk, &there, &mut here_bulk),
        (Lane::Control, &here, &mut there_control),
        (Lane::Bulk, &here, &mut there_bulk),
    ] {
        let frame = numbered(u32::from(from.id()), 100_000);
        from.try_send(lane, frame.clone()).expect("room");
        assert_eq!(within(to.recv()).await, Ok(frame));
    }
    assert_eq!(listener.refusals(), RefusalCounts::default());
    assert!(listener.traffic().received_bytes > 200_000);
    assert!(listener.socket_buffers().receive_bytes > 0);
}

/// Lets `intrude` try a listener, then asserts that the refusal was counted as `expected` and that the first
/// connection its owner ever sees is that of the validator who belongs there.
async fn assert_refused(intruder: Rogue, expected: RefusalCounts) {
    let all = identities(2);
    let mut listener = endpoint(&all[1], &keys(&all));
    within(intruder.intrude(listener.local_addr())).await;
    within(async {
        while listener.refusals().total() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    assert_eq!(listener.refusals(), expected);
    assert_eq!(listener.traffic().received_bytes, 0, "no link was ever made");
    let good = endpoint(&all[0], &keys(&all));
    let address = listener.local_addr();
    let (dialled, accepted) =
        within(async { tokio::join!(good.connect(1, address), listener.accept()) }).await;
    let (link, _from_control, _from_bulk) = dialled.expect("let in").split();
    let (_link, mut control, _bulk) = accepted.expect("connection").split();
    link.try_send(Lane::Control, numbered(5, 1)).expect("room");
    assert_eq!(within(control.recv()).await, Ok(numbered(5, 1)));
}

fn shown(identity: &Identity) -> CertifiedKey {
    CertifiedKey::clone(&identity.certified())
}

#[tokio::test]
async fn no_certificate_is_refused() {
    let expected = RefusalCounts {
        no_certificate: 1,
        ..Default::default()
    };
    assert_refused(Rogue::new(None, &[PEER_ALPN]), expected).await;
}

#[tokio::test]
async fn an_unknown_key_is_refused() {
    let stranger = Identity::from_seed(&[99; 32]).expect("valid seed");
    let expected = RefusalCounts {
        unknown_key: 1,
        ..Default::default()
    };
    assert_refused(Rogue::new(Some(shown(&stranger)), &[PEER_ALPN]), expected).await;
}

#[tokio::test]
async fn a_listed_certificate_without_its_key_is_refused() {
    let (listed, stranger) = (
        &identities(2)[0],
        Identity::from_seed(&[99; 32]).expect("valid seed"),
    );
    let stolen = CertifiedKey::new(shown(listed).cert, Arc::clone(&shown(&stranger).key));
    let expected = RefusalCounts {
        wrong_key_type: 1,
        ..Default::default()
    };
    assert_refused(Rogue::new(Some(stolen), &[PEER_ALPN]), expected).await;
}

#[tokio::test]
async fn honest_ecdsa_and_rsa_identities_are_refused() {
    for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_RSA_SHA256] {
        // Their own stack finds no scheme in common and shows no certificate.
        let expected = RefusalCounts {
            no_certificate: 1,
            ..Default::default()
        };
        assert_refused(Rogue::new(Some(certified(algorithm)), &[PEER_ALPN]), expected).await;
    }
}

#[tokio::test]
async fn forced_ecdsa_and_rsa_identities_are_refused() {
    for (algorithm, scheme) in [
        (
            &rcgen::PKCS_ECDSA_P256_SHA256,
            SignatureScheme::ECDSA_NISTP256_SHA256,
        ),
        (&rcgen::PKCS_RSA_SHA256, SignatureScheme::RSA_PSS_SHA256),
    ] {
        let honest = certified(algorithm);
        let forced = CertifiedKey::new(honest.cert, Arc::new(Stubborn(honest.key, scheme)));
        let expected = RefusalCounts {
            wrong_key_type: 1,
            ..Default::default()
        };
        assert_refused(Rogue::new(Some(forced), &[PEER_ALPN]), expected).await;
    }
}

#[tokio::test]
async fn another_protocol_is_refused() {
    let listed = &identities(2)[0];
    for alpn in [&[CLIENT_ALPN] as &[&[u8]], &[b"shardbench-peer/2"], &[b"h3"], &[]] {
        let expected = RefusalCounts {
            no_common_protocol: 1,
            ..Default::default()
        };
        assert_refused(Rogue::new(Some(shown(listed)), alpn), expected).await;
    }
}

#[tokio::test]
async fn a_validator_that_should_be_dialled_is_refused_when_it_dials() {
    let all = identities(3);
    let expected = RefusalCounts {
        unknown_key: 1,
        ..Default::default()
    };
    // Of three keys in order the last one is above the listener's.
    let (listener, dialer) = (endpoint(&all[1], &keys(&all)), endpoint(&all[2], &keys(&all)));
    let error = within(dialer.connect(1, listener.local_addr()))
        .await
        .expect_err("wrong direction");
    assert!(matches!(error, ConnectError::Refused(_)), "{error}");
    assert_eq!(listener.refusals(), expected);
}

#[tokio::test]
async fn the_dialling_side_insists_on_the_key_too() {
    let all = identities(3);
    let dialer = endpoint(&all[0], &keys(&all));
    let mut wrong = endpoint(&all[2], &keys(&all));
    let error = within(dialer.connect(1, wrong.local_addr()))
        .await
        .expect_err("another validator answers");
    assert!(matches!(error, ConnectError::Refused(_)), "{error}");
    within(async {
        while wrong.refusals().broken_off == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    let address = wrong.local_addr();
    let (dialled, accepted) =
        within(async { tokio::join!(dialer.connect(2, address), wrong.accept()) }).await;
    assert_eq!(
        (dialled.expect("let in").id(), accepted.expect("connection").id()),
        (2, 0)
    );
    assert_eq!(wrong.refusals().total(), 1);
}

#[tokio::test]
async fn lanes_opened_wrongly_are_refused() {
    let all = identities(2);
    for tags in [[0u8, 0], [1, 1], [2, 0]] {
        let mut listener = endpoint(&all[1], &keys(&all));
        let rogue = Rogue::new(Some(shown(&all[0])), &[PEER_ALPN]);
        let connection = within(rogue.dial(listener.local_addr()))
            .await
            .expect("listed key");
        let mut lanes = Vec::new();
        for tag in tags {
            let mut lane = connection.open_uni().await.expect("stream");
            // The second may find the connection closed for the first.
            let _ = lane.write_all(&[tag]).await;
            lanes.push(lane);
        }
        let closed = within(connection.closed()).await;
        assert!(
            matches!(closed, quinn::ConnectionError::ApplicationClosed(_)),
            "{closed}"
        );
        within(async {
            while listener.refusals().bad_lanes == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        let good = endpoint(&all[0], &keys(&all));
        let address = listener.local_addr();
        let (dialled, accepted) =
            within(async { tokio::join!(good.connect(1, address), listener.accept()) }).await;
        let (link, ..) = accepted.expect("connection").split();
        dialled
            .expect("let in")
            .split()
            .0
            .close(crate::CloseCode::Application, "the good one");
        assert!(within(link.closed()).await.to_string().contains("the good one"));
    }
}

#[tokio::test]
async fn bad_settings_are_named() {
    let all = identities(2);
    let mut config = PeerConfig::new(loopback(), keys(&all));
    for bytes in [0, crate::FRAME_BYTES_CEILING + 1] {
        config.frame_bytes_max = bytes;
        let error = PeerEndpoint::bind(&all[0], config.clone()).expect_err("out of range");
        assert!(error.to_string().contains(&bytes.to_string()), "{error}");
    }
    let mut config = PeerConfig::new(loopback(), keys(&all));
    config.keys.insert(9, all[1].public_key());
    let error = PeerEndpoint::bind(&all[0], config).expect_err("one key twice");
    assert!(matches!(error, BindError::SameKey { first: 1, second: 9 }));
    let held = endpoint(&all[0], &keys(&all));
    let error = PeerEndpoint::bind(&all[1], PeerConfig::new(held.local_addr(), keys(&all)));
    assert!(matches!(error, Err(BindError::InUse(addr)) if addr == held.local_addr()));
}
