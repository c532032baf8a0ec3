//! Clients that greeted and then break a rule: closed with a reason that names it, counted, nothing handed on.

use rpc::{Refusal, ServerEvent};
use types::client::Request;
use types::limits::CLIENT_FRAME_BYTES_MAX;

use crate::fixture::{Node, SUBMIT, client_hello, soon, submit};
use crate::raw::{RawClient, envelope, frame};

/// Sends `bytes` after a correct greeting and one good submission (tags 0 and 1).
async fn refused(bytes: &[u8], finish: bool, refusal: Refusal) -> String {
    let mut node = Node::start();
    let mut client = RawClient::greeted(node.address).await;
    let id = node.opened().await;
    let good = submit(0, 2, 100);
    client.write(&frame(SUBMIT, &good.encode_payload())).await;
    assert_eq!(node.request().await, good);
    client.write(bytes).await;
    if finish {
        client.send.finish().unwrap();
    }
    let text = client.closed().await;
    assert_eq!(node.event().await, ServerEvent::Closed(id));
    node.assert_refused_only(refusal);
    text
}

#[tokio::test]
async fn tags_that_do_not_rise() {
    for first in [0, 1] {
        let again = submit(first, 1, 100);
        let text = refused(&frame(SUBMIT, &again.encode_payload()), false, Refusal::Tags).await;
        assert!(
            text.contains(&format!("tag {first}")) && text.contains("at least 2"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn an_oversized_frame() {
    let bytes = CLIENT_FRAME_BYTES_MAX as u32 + 1;
    let text = refused(&envelope(bytes, SUBMIT, 1, 0, 0), false, Refusal::Oversized).await;
    assert!(text.contains("1048577") && text.contains("1048576"), "{text}");
}

#[tokio::test]
async fn a_truncated_frame() {
    let text = refused(&frame(SUBMIT, &[0; 40])[..30], true, Refusal::Truncated).await;
    assert!(text.contains("30 of 52"), "{text}");
}

#[tokio::test]
async fn payloads_that_are_not_canonical() {
    let cases: [(u8, Vec<u8>, &str); 5] = [
        (0x44, vec![], "type of a client message"),
        (0x13, vec![], "type of a client message"),
        (0x1b, vec![0], "1 trailing bytes"),
        (SUBMIT, vec![9, 0, 0, 0, 1, 0], "truncated"),
        (SUBMIT, vec![9, 0, 0, 0, 1, 16], "counts 4097, at most 4096"),
    ];
    for (kind, payload, part) in cases {
        let text = refused(&frame(kind, &payload), false, Refusal::Malformed).await;
        assert!(
            text.contains(part) && text.contains(&format!("{kind:#04x}")),
            "{text}"
        );
    }
    // Tags beyond the last one.
    let mut payload = submit(5, 2, 10).encode_payload();
    payload[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    let text = refused(&frame(SUBMIT, &payload), false, Refusal::Malformed).await;
    assert!(text.contains("first tag"), "{text}");
}

#[tokio::test]
async fn envelopes_of_another_version_epoch_or_shard() {
    for (bytes, part) in [
        (envelope(0, 0x1b, 2, 0, 0), "version 2"),
        (envelope(0, 0x1b, 1, 2, 0), "epoch 2"),
        (envelope(0, 0x1b, 1, 0, 1), "shard 1"),
    ] {
        let text = refused(&bytes, false, Refusal::Envelope).await;
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn a_second_greeting() {
    let hello = Request::Hello(client_hello());
    let text = refused(
        &frame(hello.kind(), &hello.encode_payload()),
        false,
        Refusal::HelloTwice,
    )
    .await;
    assert_eq!(text, "a second Hello");
}

#[tokio::test]
async fn one_clients_fault_leaves_the_others_alone() {
    let mut node = Node::start();
    let mut good = RawClient::greeted(node.address).await;
    let good_id = node.opened().await;
    let mut bad = RawClient::greeted(node.address).await;
    let bad_id = node.opened().await;
    bad.write(&frame(0x44, &[])).await;
    bad.closed().await;
    assert_eq!(node.event().await, ServerEvent::Closed(bad_id));
    good.write(&frame(0x1d, &[])).await;
    let connection = good_id;
    let request = Request::Info;
    assert_eq!(node.event().await, ServerEvent::Request { connection, request });
    assert_eq!(node.handle.connections(), 1);
    good.endpoint.close(0_u32.into(), b"");
    assert_eq!(node.event().await, ServerEvent::Closed(good_id));
    soon(node.handle.shutdown()).await;
    assert_eq!(node.handle.counters().refused_total(), 1);
}
