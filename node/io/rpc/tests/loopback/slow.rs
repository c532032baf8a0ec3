//! Clients that do not read.

use rpc::{AnswerError, Limits, Refusal, ServerEvent};
use types::Height;
use types::client::{Answer, Level, StateInfo, TxStatus};
use types::limits::SUBMIT_TXS_MAX;

use crate::fixture::{Node, SUBMIT, answer, endpoint, soon, submit};
use crate::raw::{RawClient, frame};

/// An answer of some 40 kB; `number` tells them apart.
fn large(number: u64) -> Answer {
    let status = TxStatus {
        level: Level::Final,
        height: Height(number),
        code: 0,
    };
    Answer::Status(vec![status; SUBMIT_TXS_MAX])
}

#[tokio::test]
async fn a_client_that_does_not_read_is_disconnected_and_others_are_served() {
    let mut node = Node::start();
    let endpoint = endpoint();
    let (_good_sender, mut good) = node.connect(&endpoint).await;
    let good_id = node.opened().await;
    let (_sender, mut silent) = node.connect(&endpoint).await;
    let id = node.opened().await;
    let mut queued = 0_u64;
    let error = loop {
        match node.handle.send(id, &large(queued)) {
            Ok(()) => queued += 1,
            Err(error) => break error,
        }
        assert!(queued < 10_000, "the queue must be bounded");
        tokio::task::yield_now().await;
    };
    assert_eq!(error, AnswerError::Full);
    assert_eq!(node.event().await, ServerEvent::Closed(id));
    assert_eq!(node.handle.send(id, &large(0)), Err(AnswerError::Gone));
    assert_eq!(node.handle.counters().refused(Refusal::SlowReader), 1);
    assert_eq!(node.handle.counters().refused_total(), 1);

    let state = Answer::State(StateInfo::default());
    node.handle.send(good_id, &state).unwrap();
    assert_eq!(answer(&mut good).await, state);

    // What came before the end may still be read; then the client learns why.
    let mut read = 0;
    let error = loop {
        match soon(silent.recv()).await {
            Ok(Some(received)) => {
                assert_eq!(received.answer, large(read));
                read += 1;
            }
            Ok(None) => panic!("an orderly end"),
            Err(error) => break error,
        }
    };
    assert!(read <= queued);
    assert!(error.to_string().contains("does not read"), "{error}");
}

#[tokio::test]
async fn answers_of_many_frames_wait_for_room() {
    const FRAMES: u64 = 400;
    let mut node = Node::start();
    let endpoint = endpoint();
    let (_sender, mut receiver) = node.connect(&endpoint).await;
    let id = node.opened().await;
    let handle = node.handle.clone();
    let sending = tokio::spawn(async move {
        for number in 0..FRAMES {
            handle.send_when_room(id, &large(number)).await.unwrap();
        }
    });
    for number in 0..FRAMES {
        assert_eq!(answer(&mut receiver).await, large(number));
    }
    soon(sending).await.unwrap();
    assert_eq!(node.handle.counters().refused_total(), 0);
}

#[tokio::test]
async fn who_waits_for_room_learns_that_the_client_left() {
    let mut node = Node::start();
    let endpoint = endpoint();
    let (sender, receiver) = node.connect(&endpoint).await;
    let id = node.opened().await;
    let handle = node.handle.clone();
    let sending = tokio::spawn(async move {
        loop {
            if let Err(error) = handle.send_when_room(id, &large(0)).await {
                break error;
            }
        }
    });
    sender.close();
    assert_eq!(soon(sending).await.unwrap(), AnswerError::Gone);
    assert_eq!(node.event().await, ServerEvent::Closed(id));
    drop(receiver);
}

#[tokio::test]
async fn a_client_that_stops_its_answers_is_disconnected() {
    let mut node = Node::start();
    let mut client = RawClient::greeted(node.address).await;
    let id = node.opened().await;
    client.receive.stop(0_u32.into()).unwrap();
    let handle = node.handle.clone();
    let sending = async move {
        loop {
            if let Err(error) = handle.send_when_room(id, &large(0)).await {
                break error;
            }
        }
    };
    assert_eq!(soon(sending).await, AnswerError::Gone);
    let text = client.closed().await;
    assert!(text.contains("does not read"), "{text}");
    assert_eq!(node.event().await, ServerEvent::Closed(id));
    node.assert_refused_only(Refusal::SlowReader);
}

#[tokio::test]
async fn a_flood_beyond_the_bound_is_slowed_down_and_every_tag_answered() {
    const FRAMES: u32 = 20_000;
    let limits = Limits {
        tags_in_flight_max: 0,
        ..Limits::default()
    };
    let mut node = Node::with(limits, 4);
    let client = RawClient::greeted(node.address).await;
    node.opened().await;
    let mut flood = Vec::new();
    for tag in 0..FRAMES {
        flood.extend_from_slice(&frame(SUBMIT, &submit(tag, 1, 4).encode_payload()));
    }
    let (mut send, mut receive) = (client.send, client.receive);
    let flooding = tokio::spawn(async move {
        send.write_all(&flood).await.unwrap();
        send
    });
    let mut bytes = vec![0; 12 + 76];
    soon(receive.read_exact(&mut bytes)).await.unwrap();
    for tag in 0..FRAMES {
        let mut bytes = [0; 12 + 8];
        soon(receive.read_exact(&mut bytes)).await.unwrap();
        assert_eq!(bytes[4], 0x15);
        assert_eq!(bytes[12..16], tag.to_le_bytes());
    }
    let send = soon(flooding).await.unwrap();
    assert_eq!(node.handle.counters().busy_tags(), u64::from(FRAMES));
    assert_eq!(node.handle.counters().refused_total(), 0);
    assert_eq!(node.handle.connections(), 1);
    drop(send);
    client.connection.close(0_u32.into(), b"done");
}
