//! Connections that were closed hold what their client pinned until QUIC has drained them, and count as long.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use super::{identities, loopback, numbered, within};
use crate::limits::HANDSHAKES_MAX;
use crate::{
    ClientConfig, ClientEndpoint, ClientListener, ClientReceiver, ClientSender, CloseCode, Identity,
};

/// Clients that are let in at the same time: more than handshakes, so that the bound on what is not drained is the one
/// that is reached.
const CLIENTS: usize = HANDSHAKES_MAX + 16;
/// How long a datagram takes on the slow way. Draining takes three times a probe timeout, which is more than the round
/// trip; the handshakes that have to fit into it take milliseconds.
const SLOW_MS: u64 = 700;

/// A way to the server that passes datagrams on, both ways, after a time that may change. Ends with the test.
struct Way {
    address: SocketAddr,
    delay_ms: Arc<AtomicU64>,
    _relays: JoinSet<()>,
}

impl Way {
    async fn to(server: SocketAddr) -> Self {
        let front = Arc::new(UdpSocket::bind(loopback()).await.expect("free port"));
        let back = Arc::new(UdpSocket::bind(loopback()).await.expect("free port"));
        back.connect(server).await.expect("a way");
        let address = front.local_addr().expect("bound");
        let delay_ms = Arc::new(AtomicU64::new(0));
        // One client endpoint uses this way: its address is that of the first datagram.
        let (client_in, mut client) = tokio::sync::watch::channel(None);
        let mut relays = JoinSet::new();
        let (from, to, delay) = (Arc::clone(&front), Arc::clone(&back), Arc::clone(&delay_ms));
        relays.spawn(async move {
            let mut datagram = [0; 2048];
            while let Ok((bytes, client)) = from.recv_from(&mut datagram).await {
                client_in.send_replace(Some(client));
                let (to, datagram) = (Arc::clone(&to), datagram[..bytes].to_vec());
                later(&delay, async move {
                    let _ = to.send(&datagram).await;
                });
            }
        });
        let delay = Arc::clone(&delay_ms);
        relays.spawn(async move {
            let mut datagram = [0; 2048];
            while let Ok(bytes) = back.recv(&mut datagram).await {
                let Ok(Some(client)) = client.wait_for(Option::is_some).await.map(|client| *client) else {
                    return;
                };
                let (front, datagram) = (Arc::clone(&front), datagram[..bytes].to_vec());
                later(&delay, async move {
                    let _ = front.send_to(&datagram, client).await;
                });
            }
        });
        Self {
            address,
            delay_ms,
            _relays: relays,
        }
    }
}

fn later(delay_ms: &AtomicU64, what: impl Future<Output = ()> + Send + 'static) {
    let delay = Duration::from_millis(delay_ms.load(Ordering::Relaxed));
    tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        what.await;
    });
}

type Half = (ClientSender, ClientReceiver);

/// The client's and the server's half of one more connection; `None` when the server has no room for it.
async fn one_more(
    client: &ClientEndpoint,
    address: SocketAddr,
    identity: &Identity,
    listener: &mut ClientListener,
) -> Option<(Half, Half)> {
    let refused = listener.refusals().no_room;
    let dialled = within(client.connect(address, identity.public_key()))
        .await
        .ok()?;
    let (sender, receiver) = dialled.split();
    // The server hears of the connection with its first frame; one that it closed already takes none.
    let _ = sender.try_send(numbered(0, 1));
    let taken = within(async {
        loop {
            tokio::select! {
                taken = listener.accept() => return taken,
                () = tokio::time::sleep(Duration::from_millis(5)) => {}
            }
            if listener.refusals().no_room > refused {
                return None;
            }
        }
    });
    Some(((sender, receiver), taken.await?.split()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed_connections_count_towards_the_bound_until_they_are_drained() {
    let identity = identities(1).remove(0);
    let config = ClientConfig {
        connections_max: CLIENTS,
        ..ClientConfig::new(loopback())
    };
    let mut listener = ClientListener::bind(&identity, &config).expect("free port");
    let server = listener.local_addr();
    let way = Way::to(server).await;
    let slow = ClientEndpoint::bind(loopback()).expect("free port");
    let mut slow_ones = Vec::new();
    for _ in 0..CLIENTS {
        let both = one_more(&slow, way.address, &identity, &mut listener).await;
        slow_ones.push(both.expect("room"));
    }
    // The server learns how slow the way has become from what it sends and hears of.
    way.delay_ms.store(SLOW_MS, Ordering::Relaxed);
    for (_, (server, _)) in &slow_ones {
        server.try_send(numbered(1, 10)).expect("room");
    }
    let learned = Duration::from_millis(SLOW_MS / 8);
    within(async {
        while slow_ones.iter().any(|(_, (server, _))| server.rtt() < learned) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;

    // All are gone and every place is free; what they pinned is not.
    let (slow_clients, servers): (Vec<Half>, Vec<Half>) = slow_ones.into_iter().unzip();
    for (server, _) in &servers {
        server.close(CloseCode::Shutdown, "the clients are gone");
    }
    drop(servers);
    let fast = ClientEndpoint::bind(loopback()).expect("free port");
    let mut let_in = Vec::new();
    while let_in.len() < CLIENTS
        && let Some(both) = one_more(&fast, server, &identity, &mut listener).await
    {
        let_in.push(both);
    }
    assert!(
        (HANDSHAKES_MAX..CLIENTS).contains(&let_in.len()),
        "{} let in beside {CLIENTS} that are not drained, accepted are {HANDSHAKES_MAX} more than {CLIENTS} in all",
        let_in.len()
    );
    assert!(listener.refusals().no_room > 0, "{:?}", listener.refusals());

    // Once they are drained there is room again.
    within(async {
        while one_more(&fast, server, &identity, &mut listener).await.is_none() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    drop((slow_clients, let_in));
}
