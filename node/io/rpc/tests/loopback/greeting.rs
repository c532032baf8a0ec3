//! Who is let in, and how a mismatch is named on both sides.

use std::time::Duration;

use rpc::{ConnectError, Connection, Limits, Mismatch, Refusal, ServerEvent};
use transport::DisconnectReason;
use types::Hash;
use types::client::{Answer, CLIENT_PROTOCOL_VERSION, Hello, Role};
use types::codec::Encode as _;

use crate::fixture::{Node, client_hello, endpoint, identity, listener, node_hello, soon};
use crate::raw::{RawClient, envelope, frame};

async fn refused_as(hello: Hello) -> (Mismatch, Node) {
    let node = Node::start();
    let endpoint = endpoint();
    let connecting = Connection::connect(&endpoint, node.address, node.key, hello);
    match soon(connecting).await {
        Err(ConnectError::Mismatch { address, mismatch }) => {
            assert_eq!(address, node.address);
            // The server learns of it when the client closes, and has counted it by then.
            soon(async {
                while node.handle.counters().refused(Refusal::HelloMismatch) == 0 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            })
            .await;
            (mismatch, node)
        }
        other => panic!("no mismatch: {other:?}"),
    }
}

#[tokio::test]
async fn the_client_names_both_sides_of_a_mismatch_and_the_server_counts_it() {
    let cases = [
        (
            Hello {
                genesis: Hash([2; 32]),
                ..client_hello()
            },
            Mismatch::Genesis {
                client: Hash([2; 32]),
                node: Hash([1; 32]),
            },
        ),
        (
            Hello {
                protocol_version: CLIENT_PROTOCOL_VERSION + 1,
                ..client_hello()
            },
            Mismatch::Version {
                client: CLIENT_PROTOCOL_VERSION + 1,
                node: CLIENT_PROTOCOL_VERSION,
            },
        ),
        (
            Hello {
                design: 0,
                ..client_hello()
            },
            Mismatch::Design { client: 0, node: 1 },
        ),
    ];
    for (hello, expected) in cases {
        let (mismatch, mut node) = refused_as(hello).await;
        assert_eq!(mismatch, expected);
        node.assert_refused_only(Refusal::HelloMismatch);
    }
}

#[tokio::test]
async fn the_server_tells_a_client_that_stays_both_sides_of_the_mismatch() {
    let mut node = Node::start();
    for (hello, parts) in [
        (
            Hello {
                genesis: Hash([2; 32]),
                ..client_hello()
            },
            [Hash([2; 32]).to_string(), Hash([1; 32]).to_string()],
        ),
        (
            Hello {
                protocol_version: CLIENT_PROTOCOL_VERSION + 1,
                ..client_hello()
            },
            [CLIENT_PROTOCOL_VERSION + 1, CLIENT_PROTOCOL_VERSION]
                .map(|version| format!("version {version}")),
        ),
    ] {
        let mut client = RawClient::connect(node.address).await;
        client.greet(hello).await;
        let text = client.closed().await;
        for part in parts {
            assert!(text.contains(&part), "{text}");
        }
    }
    assert_eq!(node.handle.counters().refused(Refusal::HelloMismatch), 2);
    assert!(node.events.try_recv().is_err());
}

#[tokio::test]
async fn a_client_that_poses_as_a_validator_is_refused() {
    let mut node = Node::start();
    let mut client = RawClient::connect(node.address).await;
    client.greet(node_hello(node.key)).await;
    let text = client.closed().await;
    assert!(text.contains("zero id"), "{text}");
    node.assert_refused_only(Refusal::HelloMismatch);
}

/// Runs a node that greets with `hello` whatever the client says; gives both sides' words.
async fn node_that_greets(payload: Vec<u8>, kind: u8) -> (ConnectError, DisconnectReason) {
    let mut listener = listener(4);
    let address = listener.local_addr();
    let key = identity().public_key();
    let node = tokio::spawn(async move {
        let (sender, mut receiver) = listener.accept().await.unwrap().split();
        let hello = receiver.recv().await.unwrap().unwrap();
        let frame = transport::Frame {
            kind,
            payload: payload.into(),
            ..hello
        };
        sender.send(frame).await.unwrap();
        sender.closed().await
    });
    let endpoint = endpoint();
    let connecting = Connection::connect(&endpoint, address, key, client_hello());
    let error = soon(connecting).await.unwrap_err();
    (error, soon(node).await.unwrap())
}

#[tokio::test]
async fn a_node_of_another_network_or_identity_is_refused_and_told_why() {
    let key = identity().public_key();
    let cases = [
        (
            Hello {
                genesis: Hash([9; 32]),
                ..node_hello(key)
            },
            Hash([9; 32]).to_string(),
        ),
        (node_hello([3; 32]), Hash([3; 32]).to_string()),
        (
            Hello {
                role: Role::Client,
                ..node_hello(key)
            },
            "Client".to_owned(),
        ),
    ];
    for (hello, part) in cases {
        let (error, reason) = node_that_greets(hello.to_bytes(), 0x01).await;
        assert!(matches!(error, ConnectError::Mismatch { .. }), "{error:?}");
        assert!(error.to_string().contains(&part), "{error}");
        let DisconnectReason::ByPeer { text, .. } = reason else {
            panic!("not told: {reason}");
        };
        assert!(text.contains(&part), "{text}");
    }
}

#[tokio::test]
async fn something_else_than_a_greeting_is_refused_by_the_client() {
    let state = Answer::State(types::client::StateInfo::default());
    let (error, _) = node_that_greets(state.encode_payload(), state.kind()).await;
    assert!(error.to_string().contains("0x1c"), "{error}");
    let (error, _) = node_that_greets(vec![1, 2, 3], 0x01).await;
    assert!(error.to_string().contains("truncated"), "{error}");
}

#[tokio::test]
async fn the_first_frame_must_be_a_hello() {
    let mut node = Node::start();
    let mut client = RawClient::connect(node.address).await;
    client.write(&frame(0x1b, &[])).await;
    let text = client.closed().await;
    assert!(text.contains("0x1b") && text.contains("Hello"), "{text}");
    node.assert_refused_only(Refusal::HelloMissing);

    let mut node = Node::start();
    let mut client = RawClient::connect(node.address).await;
    client.write(&frame(0x01, &[0; 75])).await;
    let text = client.closed().await;
    assert!(text.contains("Hello: truncated"), "{text}");
    node.assert_refused_only(Refusal::Malformed);
}

#[tokio::test]
async fn a_half_open_client_is_closed_at_the_deadline() {
    let limits = Limits {
        hello_deadline: Duration::from_millis(200),
        ..Limits::default()
    };
    let mut node = Node::with(limits, 4);
    let mut client = RawClient::connect(node.address).await;
    client.write(&envelope(76, 0x01, 1, 0, 0)[..5]).await;
    let text = client.closed().await;
    assert!(text.contains("Hello within 200ms"), "{text}");
    node.assert_refused_only(Refusal::HelloLate);
}

#[tokio::test]
async fn a_client_that_ends_its_stream_before_the_hello_is_forgotten() {
    let mut node = Node::start();
    let mut client = RawClient::connect(node.address).await;
    client.write(&envelope(76, 0x01, 1, 0, 0)[..5]).await;
    client.send.finish().unwrap();
    let text = client.closed().await;
    assert!(text.contains("5 of 12 bytes"), "{text}");
    node.assert_refused_only(Refusal::Truncated);
}

#[tokio::test]
async fn connections_beyond_the_bound_are_refused_and_room_comes_back() {
    let mut node = Node::with(Limits::default(), 1);
    let endpoint = endpoint();
    let (sender, _receiver) = node.connect(&endpoint).await;
    let first = node.opened().await;
    let connecting = Connection::connect(&endpoint, node.address, node.key, client_hello());
    let error = soon(connecting).await.unwrap_err();
    assert!(error.to_string().contains("too many connections"), "{error}");
    let counts = soon(node.handle.refused_connections()).await.unwrap();
    assert_eq!((counts.no_room, counts.total()), (1, 1));
    assert_eq!(node.handle.connections(), 1);

    sender.close();
    assert_eq!(node.event().await, ServerEvent::Closed(first));
    // The place is free when the last task of the closed connection has let go of it.
    let (_sender, _receiver) = soon(async {
        loop {
            let connecting = Connection::connect(&endpoint, node.address, node.key, client_hello());
            if let Ok(halves) = connecting.await {
                break halves;
            }
        }
    })
    .await;
    assert_ne!(node.opened().await, first);
}
