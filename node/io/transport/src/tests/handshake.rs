//! Who is let in, and who is not.

use std::time::Duration;

use rustls::sign::CertifiedKey;

use super::rogue::Rogue;
use super::{endpoint, identities, keys, loopback, numbered, within};
use crate::tls::PEER_ALPN;
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

fn shown(identity: &Identity) -> CertifiedKey {
    CertifiedKey::clone(&identity.certified())
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
