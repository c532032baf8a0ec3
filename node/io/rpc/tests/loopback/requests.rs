//! What correct clients do.

use std::time::Instant;

use bytes::Bytes;
use rpc::{AnswerError, Limits, SendError, ServerEvent};
use types::client::{
    Answer, Level, NodeInfo, Refused, Request, ShardStatus, StateInfo, Topology, TxStatus, encode_submit,
};
use types::limits::{CLIENT_FRAME_BYTES_MAX, SUBMIT_TXS_MAX};
use types::{ConnectionId, Epoch, Height, Reject, Tag, TxId};

use crate::fixture::{Node, SUBMIT, answer, endpoint, soon, submit};
use crate::raw::{RawClient, frame};

fn answers() -> Vec<Answer> {
    vec![
        Answer::Topology(Topology {
            epoch: Epoch(0),
            shards: vec![ShardStatus {
                members: 4,
                mode: 1,
                height: Height(3),
            }],
            validators: Vec::new(),
        }),
        Answer::Reject(vec![Refused {
            tag: Tag(4),
            reason: Reject::InputSpent,
        }]),
        Answer::Busy {
            first_tag: Tag(5),
            count: 1,
            retry_ms: 20,
        },
        Answer::Status(vec![TxStatus {
            level: Level::Final,
            height: Height(9),
            code: 0,
        }]),
        Answer::Blocks {
            items: Vec::new(),
            last: true,
        },
        Answer::State(StateInfo {
            outputs: 7,
            ..StateInfo::default()
        }),
        Answer::Info(Box::new(NodeInfo {
            backend: "avx512".to_owned(),
            ..NodeInfo::default()
        })),
    ]
}

#[tokio::test]
async fn requests_and_answers_go_round_in_order() {
    let mut node = Node::start();
    let endpoint = endpoint();
    let before = Instant::now();
    let (sender, mut receiver) = node.connect(&endpoint).await;
    let id = node.opened().await;
    assert_eq!(node.handle.connections(), 1);
    assert_eq!(sender.in_flight_max(), Limits::default().tags_in_flight_max);
    assert_eq!(receiver.node().id, node.key);

    let requests = [
        Request::Topology,
        submit(4, 2, 200),
        Request::Status(vec![TxId([3; 32])]),
        Request::Blocks {
            from: Height(1),
            count: 16,
        },
        Request::State,
        Request::Info,
    ];
    for request in &requests {
        soon(sender.send(request.clone())).await.unwrap();
    }
    for request in requests {
        let connection = id;
        assert_eq!(node.event().await, ServerEvent::Request { connection, request });
    }
    for expected in answers() {
        node.handle.send(id, &expected).unwrap();
        let received = soon(receiver.recv()).await.unwrap().unwrap();
        assert_eq!(received.frame_bytes, 12 + expected.encode_payload().len());
        assert!(received.at >= before && received.at <= Instant::now());
        assert_eq!(received.answer, expected);
    }
    let counters = node.handle.counters();
    let out: usize = answers()
        .iter()
        .map(|answer| 12 + answer.encode_payload().len())
        .sum();
    assert_eq!(counters.bytes_out(), out as u64 + 12 + 76);
    assert!(counters.bytes_in() > 2 * 200 + 76);
    assert_eq!(counters.refused_total(), 0);

    sender.close();
    assert_eq!(soon(receiver.recv()).await, Ok(None));
    assert_eq!(node.event().await, ServerEvent::Closed(id));
    assert_eq!(
        node.handle.send(id, &Answer::State(StateInfo::default())),
        Err(AnswerError::Gone)
    );
    assert_eq!(node.handle.connections(), 0);
}

#[tokio::test]
async fn a_burst_of_ten_thousand_submits_arrives_in_order() {
    const TXS: u32 = 10_000;
    const BATCH: u32 = 100;
    let mut node = Node::start();
    let endpoint = endpoint();
    let (sender, mut receiver) = node.connect(&endpoint).await;
    let id = node.opened().await;
    let sending = tokio::spawn(async move {
        for first in (0..TXS).step_by(BATCH as usize) {
            let Request::Submit { first_tag, txs } = submit(first, BATCH, 272) else {
                unreachable!();
            };
            let mut payload = Vec::new();
            encode_submit(first_tag, &txs, &mut payload);
            sender.send_frame(SUBMIT, Bytes::from(payload)).await.unwrap();
        }
        sender
    });
    for first in (0..TXS).step_by(BATCH as usize) {
        assert_eq!(node.request().await, submit(first, BATCH, 272));
    }
    let refused = |tag| Refused {
        tag: Tag(tag),
        reason: Reject::FeeLow,
    };
    let answers: Vec<Answer> = (0..TXS / BATCH)
        .map(|batch| Answer::Reject((batch * BATCH..(batch + 1) * BATCH).map(refused).collect()))
        .collect();
    for answer in &answers {
        node.handle.send(id, answer).unwrap();
    }
    for expected in answers {
        assert_eq!(answer(&mut receiver).await, expected);
    }
    drop(soon(sending).await.unwrap());
}

#[tokio::test]
async fn the_largest_submission_fits_and_one_byte_more_is_refused_here() {
    let mut node = Node::start();
    let endpoint = endpoint();
    let (sender, _receiver) = node.connect(&endpoint).await;
    node.opened().await;
    let full = submit(0, SUBMIT_TXS_MAX as u32, 250);
    soon(sender.send(full.clone())).await.unwrap();
    assert_eq!(node.request().await, full);
    let bytes = CLIENT_FRAME_BYTES_MAX + 1;
    let error = SendError::TooLarge {
        bytes,
        max: CLIENT_FRAME_BYTES_MAX,
    };
    let payload = Bytes::from(vec![0; bytes]);
    assert_eq!(sender.try_send_frame(SUBMIT, payload.clone()), Err(error));
    assert_eq!(soon(sender.send_frame(SUBMIT, payload)).await, Err(error));
    soon(sender.send(Request::State)).await.unwrap();
    assert_eq!(node.request().await, Request::State, "the connection is unharmed");
}

#[tokio::test]
async fn a_full_queue_towards_the_node_says_so_and_drains_later() {
    let mut node = Node::start();
    let endpoint = endpoint();
    let (sender, _receiver) = node.connect(&endpoint).await;
    node.opened().await;
    // Nobody takes events, so the node stops to read and everything fills up.
    let mut queued = 0_u32;
    let error = loop {
        let Request::Submit { first_tag, txs } = submit(queued * 10, 10, 6800) else {
            unreachable!();
        };
        let mut payload = Vec::new();
        encode_submit(first_tag, &txs, &mut payload);
        match sender.try_send_frame(SUBMIT, Bytes::from(payload)) {
            Ok(()) => queued += 1,
            Err(error) => break error,
        }
        assert!(queued < 10_000, "the queue must be bounded");
        tokio::task::yield_now().await;
    };
    assert_eq!(error, SendError::Full);
    for batch in 0..queued {
        assert_eq!(node.request().await, submit(batch * 10, 10, 6800));
    }
    soon(sender.send(Request::Info)).await.unwrap();
    assert_eq!(node.request().await, Request::Info);
}

#[tokio::test]
async fn too_many_tags_in_flight_are_busy_until_answers_leave() {
    let limits = Limits {
        tags_in_flight_max: 10,
        busy_retry_ms: 33,
        ..Limits::default()
    };
    let mut node = Node::with(limits, 4);
    let endpoint = endpoint();
    let (sender, mut receiver) = node.connect(&endpoint).await;
    let id = node.opened().await;
    assert_eq!(sender.in_flight_max(), 10);
    soon(sender.send(submit(0, 8, 64))).await.unwrap();
    soon(sender.send(submit(8, 3, 64))).await.unwrap();
    assert_eq!(node.request().await, submit(0, 8, 64));
    let busy = Answer::Busy {
        first_tag: Tag(8),
        count: 3,
        retry_ms: 33,
    };
    assert_eq!(answer(&mut receiver).await, busy);
    assert_eq!(node.handle.counters().busy_tags(), 3);

    let refused = Answer::Reject(vec![Refused {
        tag: Tag(0),
        reason: Reject::Expired,
    }]);
    node.handle.send(id, &refused).unwrap();
    assert_eq!(answer(&mut receiver).await, refused);
    soon(sender.send(submit(11, 3, 64))).await.unwrap();
    assert_eq!(
        node.request().await,
        submit(11, 3, 64),
        "the busy one never arrived"
    );
    assert_eq!(node.handle.counters().busy_tags(), 3);
    assert_eq!(node.handle.counters().refused_total(), 0);
}

#[tokio::test]
async fn an_answer_that_fits_no_frame_is_refused_and_the_client_stays() {
    let mut node = Node::start();
    let endpoint = endpoint();
    let (_sender, mut receiver) = node.connect(&endpoint).await;
    let id = node.opened().await;
    let status = TxStatus {
        level: Level::Unknown,
        height: Height(0),
        code: 0,
    };
    let large = Answer::Status(vec![status; 120_000]);
    let out = node.handle.counters().bytes_out();
    for error in [
        node.handle.send(id, &large),
        soon(node.handle.send_when_room(id, &large)).await,
    ] {
        assert_eq!(
            error,
            Err(AnswerError::TooLarge {
                bytes: 1_200_002,
                max: CLIENT_FRAME_BYTES_MAX
            })
        );
    }
    assert_eq!(node.handle.counters().bytes_out(), out);
    let small = Answer::State(StateInfo::default());
    node.handle.send(id, &small).unwrap();
    assert_eq!(answer(&mut receiver).await, small);
}

#[tokio::test]
async fn a_client_that_ends_its_requests_still_gets_its_answers() {
    let mut node = Node::start();
    let mut client = RawClient::greeted(node.address).await;
    let id = node.opened().await;
    client.write(&frame(0x1b, &[])).await;
    client.send.finish().unwrap();
    assert_eq!(node.request().await, Request::State);
    let state = Answer::State(StateInfo::default());
    node.handle.send(id, &state).unwrap();
    let mut greeting = vec![0; 12 + 76];
    soon(client.receive.read_exact(&mut greeting)).await.unwrap();
    let mut stated = vec![0; 12 + state.encode_payload().len()];
    soon(client.receive.read_exact(&mut stated)).await.unwrap();
    assert_eq!(stated, frame(state.kind(), &state.encode_payload()));
    client.connection.close(0_u32.into(), b"done");
    assert_eq!(node.event().await, ServerEvent::Closed(id));
    assert_eq!(node.handle.counters().refused_total(), 0);
}

#[tokio::test]
async fn a_shutdown_ends_every_client_in_order() {
    let mut node = Node::start();
    let endpoint = endpoint();
    let (sender, mut receiver) = node.connect(&endpoint).await;
    let id = node.opened().await;
    soon(node.handle.shutdown()).await;
    assert_eq!(node.event().await, ServerEvent::Closed(id));
    assert_eq!(soon(receiver.recv()).await, Ok(None));
    assert_eq!(soon(sender.send(Request::State)).await, Err(SendError::Closed));
    assert_eq!(node.handle.connections(), 0);
    assert_eq!(soon(node.handle.refused_connections()).await, None);
    soon(node.handle.shutdown()).await;
    assert_eq!(node.handle.counters().refused_total(), 0);
}

#[tokio::test]
async fn the_owner_can_end_a_client_with_a_reason() {
    let mut node = Node::start();
    let endpoint = endpoint();
    let (_sender, mut receiver) = node.connect(&endpoint).await;
    let id = node.opened().await;
    node.handle.disconnect(ConnectionId(id.0 + 1), "nobody");
    node.handle.disconnect(id, "the term is closed");
    let error = soon(receiver.recv()).await.unwrap_err();
    assert!(error.to_string().contains("the term is closed"), "{error}");
    assert_eq!(node.event().await, ServerEvent::Closed(id));
    assert_eq!(node.handle.counters().refused_total(), 0);
}
