//! Other sides that take up room and time.

use std::sync::Arc;
use std::time::Duration;

use super::rogue::Rogue;
use super::{identities, loopback, numbered, within};
use crate::accept::{Refusal, Refusals, spawn_acceptor};
use crate::identity::ResetKey;
use crate::lane::{LaneSpec, spawn_lane};
use crate::limits::{CLIENT_QUEUE, HANDSHAKES_BEFORE_RETRY, HANDSHAKES_MAX, endpoint_config};
use crate::peer::quic_endpoint;
use crate::socket::bind;
use crate::tls::{CLIENT_ALPN, client_server};
use crate::{CLIENT_FRAME_BYTES_MAX, CloseCode, ConnectError, RefusalCounts};

/// The clients' server settings on a free port, without an accepting task.
fn bare_server() -> quinn::Endpoint {
    let (socket, _) = bind(loopback()).expect("free port");
    let server = client_server(&identities(1)[0]).expect("valid settings");
    quic_endpoint(
        socket,
        loopback(),
        endpoint_config(ResetKey::random()),
        Some(server),
    )
    .expect("endpoint")
}

/// A set-up that wants one stream, as the clients' port does.
async fn one_stream(connection: quinn::Connection) -> Result<quinn::Connection, Refusal> {
    let opened = connection
        .accept_bi()
        .await
        .map_err(|error| Refusal::Setup(ConnectError::from(error)));
    opened.map(|_| connection)
}

#[tokio::test]
async fn a_connection_that_opens_nothing_is_closed_at_the_deadline() {
    let server = bare_server();
    let refusals = Arc::new(Refusals::default());
    let deadline = Duration::from_millis(300);
    let mut accepted = spawn_acceptor(server.clone(), Arc::clone(&refusals), deadline, one_stream);
    let rogue = Rogue::new(None, &[CLIENT_ALPN]);
    // On a busy machine the deadline may strike before the handshake is through; then it is refused earlier.
    if let Ok(connection) = within(rogue.dial(server.local_addr().expect("bound"))).await
        && let quinn::ConnectionError::ApplicationClosed(closed) = within(connection.closed()).await
        && !closed.reason.is_empty()
    {
        let code = CloseCode::from_wire(closed.error_code.into_inner());
        assert_eq!(code, Some(CloseCode::SetupDeadline));
    }
    within(async {
        while refusals.counts().total() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    assert_eq!(
        refusals.counts(),
        RefusalCounts {
            deadline: 1,
            ..Default::default()
        }
    );
    assert!(accepted.try_recv().is_err(), "nothing reached the owner");
}

#[tokio::test]
async fn handshakes_are_bounded_and_strangers_must_prove_their_address_first() {
    let server = bare_server();
    let address = server.local_addr().expect("bound");
    let refusals = Arc::new(Refusals::default());
    let deadline = Duration::from_secs(600);
    let _accepted = spawn_acceptor(server.clone(), Arc::clone(&refusals), deadline, one_stream);
    let rogue = Rogue::new(None, &[CLIENT_ALPN]);
    let mut idle = Vec::new();
    for _ in 0..HANDSHAKES_MAX {
        idle.push(within(rogue.dial(address)).await.expect("room"));
    }
    assert_eq!(refusals.counts().total(), 0);
    // A lost or late answer makes a stranger ask twice.
    assert!(refusals.counts().retried >= (HANDSHAKES_MAX - HANDSHAKES_BEFORE_RETRY) as u64);
    assert!(within(rogue.dial(address)).await.is_err());
    let counts = refusals.counts();
    assert_eq!((counts.no_room, counts.total()), (1, 1));
    // One that is done makes room for another.
    let first = idle.remove(0);
    first.close(quinn::VarInt::from_u32(0), b"");
    within(async {
        while refusals.counts().broken_off == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    assert!(within(rogue.dial(address)).await.is_ok());
}

#[tokio::test]
async fn a_receiver_that_takes_nothing_is_given_up() {
    let server = bare_server();
    let rogue = Rogue::new(None, &[CLIENT_ALPN]);
    let address = server.local_addr().expect("bound");
    let accept = async { server.accept().await.expect("dialled").await.expect("let in") };
    let (dialled, accepted) = within(async { tokio::join!(rogue.dial(address), accept) }).await;
    let dialled = dialled.expect("let in");
    let (send, _receive) = dialled.open_bi().await.expect("stream");
    let spec = LaneSpec {
        bound: CLIENT_QUEUE,
        payload_bytes_max: CLIENT_FRAME_BYTES_MAX,
        delay: Duration::ZERO,
        stall: Duration::from_millis(50),
    };
    let lane = spawn_lane(dialled.clone(), send, &spec);
    // The receiver's window is 1 MiB and nobody reads.
    for number in 0..3 {
        lane.try_send(numbered(number, 600_000)).expect("room");
    }
    let quinn::ConnectionError::ApplicationClosed(closed) = within(accepted.closed()).await else {
        panic!("told by a close");
    };
    assert_eq!(
        CloseCode::from_wire(closed.error_code.into_inner()),
        Some(CloseCode::Stalled)
    );
}
