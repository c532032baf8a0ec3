//! The clients' port.

use super::rogue::Rogue;
use super::{identities, loopback, numbered, within};
use crate::tls::{CLIENT_ALPN, PEER_ALPN};
use crate::{
    BindError, CLIENT_FRAME_BYTES_MAX, ClientConfig, ClientEndpoint, ClientListener, ClientReceiver,
    ClientSender, CloseCode, ConnectError, DisconnectReason, FrameError, Identity, RefusalCounts, SendError,
};

fn server() -> (Identity, ClientListener) {
    let identity = identities(1).remove(0);
    let listener = ClientListener::bind(&identity, &ClientConfig::new(loopback())).expect("free port");
    (identity, listener)
}

/// Both ends of a connection whose first frame has arrived.
async fn connected(
    client: &ClientEndpoint,
    identity: &Identity,
    listener: &mut ClientListener,
) -> ((ClientSender, ClientReceiver), (ClientSender, ClientReceiver)) {
    let dialled = within(client.connect(listener.local_addr(), identity.public_key()))
        .await
        .expect("let in");
    let (sender, receiver) = dialled.split();
    sender.try_send(numbered(0, 1)).expect("room");
    let (answers, mut requests) = within(listener.accept()).await.expect("connection").split();
    assert_eq!(within(requests.recv()).await, Ok(Some(numbered(0, 1))));
    ((sender, receiver), (answers, requests))
}

#[tokio::test]
async fn a_client_and_a_validator_exchange_frames_in_order() {
    let (identity, mut listener) = server();
    let client = ClientEndpoint::bind(loopback()).expect("free port");
    let ((sender, mut receiver), (answers, mut requests)) =
        connected(&client, &identity, &mut listener).await;
    let asking = async {
        for number in 0..2000 {
            sender.send(numbered(number, 5000)).await.expect("queued");
        }
    };
    let answering = async {
        for number in 0..2000 {
            assert_eq!(requests.recv().await, Ok(Some(numbered(number, 5000))));
            answers.send(numbered(number, 10)).await.expect("queued");
        }
    };
    let reading = async {
        for number in 0..2000 {
            assert_eq!(receiver.recv().await, Ok(Some(numbered(number, 10))));
        }
    };
    within(async { tokio::join!(asking, answering, reading) }).await;
    assert!(listener.traffic().received_bytes > 10_000_000);
    assert!(client.traffic().sent_bytes >= listener.traffic().received_bytes);
    assert_eq!(answers.remote_addr().ip(), loopback().ip());
}

#[tokio::test]
async fn a_validator_with_another_key_is_not_believed() {
    let (_, listener) = server();
    let client = ClientEndpoint::bind(loopback()).expect("free port");
    let error = within(client.connect(listener.local_addr(), [7; 32]))
        .await
        .expect_err("another key");
    assert!(matches!(error, ConnectError::Refused(_)), "{error}");
    within(async {
        while listener.refusals().total() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(
        listener.refusals(),
        RefusalCounts {
            broken_off: 1,
            ..Default::default()
        }
    );
}

#[tokio::test]
async fn another_protocol_is_refused() {
    let (_, listener) = server();
    within(Rogue::new(None, &[PEER_ALPN]).intrude(listener.local_addr())).await;
    within(async {
        while listener.refusals().total() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(
        listener.refusals(),
        RefusalCounts {
            no_common_protocol: 1,
            ..Default::default()
        }
    );
}

#[tokio::test]
async fn a_stalled_receiver_fills_the_queue_and_loses_nothing() {
    let (identity, mut listener) = server();
    let client = ClientEndpoint::bind(loopback()).expect("free port");
    let ((sender, _receiver), (_answers, mut requests)) = connected(&client, &identity, &mut listener).await;
    let (mut queued, mut refused) = (0, 0);
    while refused < 50 {
        match sender.try_send(numbered(queued, 100_000)) {
            Ok(()) => (queued, refused) = (queued + 1, 0),
            Err(error) => {
                assert_eq!(error, SendError::Full);
                refused += 1;
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        }
    }
    assert!(
        queued < 110,
        "2 MiB of queue, 4 MiB sent and 1 MiB of window, not {queued} frames"
    );
    for number in 0..queued {
        assert_eq!(within(requests.recv()).await, Ok(Some(numbered(number, 100_000))));
    }
}

/// Writes `bytes` as a client's stream and gives both sides' view of the end.
async fn send_raw(bytes: &[u8], frames_before: usize) -> (DisconnectReason, quinn::ConnectionError) {
    let (_, mut listener) = server();
    let rogue = Rogue::new(None, &[CLIENT_ALPN]);
    let connection = within(rogue.dial(listener.local_addr()))
        .await
        .expect("no key needed");
    let (mut send, _receive) = connection.open_bi().await.expect("stream");
    send.write_all(bytes).await.expect("small");
    send.finish().expect("open");
    let (_answers, mut requests) = within(listener.accept()).await.expect("connection").split();
    for _ in 0..frames_before {
        assert!(matches!(within(requests.recv()).await, Ok(Some(_))));
    }
    let reason = within(requests.recv()).await.expect_err("malformed");
    (reason, within(connection.closed()).await)
}

#[tokio::test]
async fn malformed_streams_close_the_connection_with_a_named_reason() {
    let good = [1, 0, 0, 0, 7, 1, 0, 0, 0, 0, 0, 0, b'a'];
    let truncated = [good.as_slice(), &good[..12]].concat();
    let (reason, told) = send_raw(&truncated, 1).await;
    assert_eq!(
        reason,
        DisconnectReason::BadFrame(FrameError::Truncated { have: 12, need: 13 })
    );
    let quinn::ConnectionError::ApplicationClosed(closed) = told else {
        panic!("told by a close: {told}")
    };
    assert_eq!(
        CloseCode::from_wire(closed.error_code.into_inner()),
        Some(CloseCode::FrameIncomplete)
    );

    let oversized = [&good[..], &[1, 0, 16, 0, 7, 1, 0, 0, 0, 0, 0, 0]].concat();
    let (reason, told) = send_raw(&oversized, 1).await;
    let (bytes, max) = (CLIENT_FRAME_BYTES_MAX + 1, CLIENT_FRAME_BYTES_MAX);
    assert_eq!(
        reason,
        DisconnectReason::BadFrame(FrameError::TooLarge { bytes, max })
    );
    let quinn::ConnectionError::ApplicationClosed(closed) = told else {
        panic!("told by a close: {told}")
    };
    assert_eq!(
        CloseCode::from_wire(closed.error_code.into_inner()),
        Some(CloseCode::FrameTooLarge)
    );
}

#[tokio::test]
async fn streams_beyond_the_one_are_not_opened() {
    let (_, mut listener) = server();
    let rogue = Rogue::new(None, &[CLIENT_ALPN]);
    let connection = within(rogue.dial(listener.local_addr()))
        .await
        .expect("no key needed");
    let (mut send, _receive) = connection.open_bi().await.expect("the one stream");
    send.write_all(&[0]).await.expect("small");
    let _accepted = within(listener.accept()).await.expect("connection");
    let short = std::time::Duration::from_millis(50);
    assert!(tokio::time::timeout(short, connection.open_bi()).await.is_err());
    assert!(tokio::time::timeout(short, connection.open_uni()).await.is_err());
    assert_eq!(connection.max_datagram_size(), None);
}

#[tokio::test]
async fn connections_beyond_the_bound_are_turned_away_and_a_freed_place_is_given_on() {
    let identity = identities(1).remove(0);
    let config = ClientConfig {
        connections_max: 1,
        ..ClientConfig::new(loopback())
    };
    let mut listener = ClientListener::bind(&identity, &config).expect("free port");
    let client = ClientEndpoint::bind(loopback()).expect("free port");
    let (first, first_server) = connected(&client, &identity, &mut listener).await;

    let second = within(client.connect(listener.local_addr(), identity.public_key()))
        .await
        .expect("handshake");
    let DisconnectReason::ByPeer { code, .. } = within(second.split().0.closed()).await else {
        panic!("turned away with a code");
    };
    assert_eq!(CloseCode::from_wire(code), Some(CloseCode::NoRoom));
    assert_eq!(
        listener.refusals(),
        RefusalCounts {
            no_room: 1,
            ..Default::default()
        }
    );

    drop((first, first_server));
    connected(&client, &identity, &mut listener).await;
}

#[tokio::test]
async fn shutting_down_tells_the_clients() {
    let (identity, mut listener) = server();
    let client = ClientEndpoint::bind(loopback()).expect("free port");
    let ((sender, mut receiver), _server) = connected(&client, &identity, &mut listener).await;
    within(listener.shutdown()).await;
    let DisconnectReason::ByPeer { code, .. } = within(sender.closed()).await else {
        panic!("told by a close");
    };
    assert_eq!(CloseCode::from_wire(code), Some(CloseCode::Shutdown));
    assert!(within(receiver.recv()).await.is_err());
    within(client.shutdown()).await;
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let (identity, listener) = server();
    let error = ClientListener::bind(&identity, &ClientConfig::new(listener.local_addr()));
    assert!(matches!(error, Err(BindError::InUse(addr)) if addr == listener.local_addr()));
}
