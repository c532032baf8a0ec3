//! A server on a free port, its events, and clients of it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use rpc::{AnswerReceiver, Connection, Limits, Refusal, RequestSender, Server, ServerEvent, ServerHandle};
use tokio::sync::mpsc;
use tokio::time::timeout;
use transport::{ClientConfig, ClientEndpoint, ClientListener, Identity};
use types::client::{Answer, CLIENT_PROTOCOL_VERSION, Hello, Request, Role};
use types::{ConnectionId, Epoch, Hash, Tag};

/// Longer than anything here takes; only keeps a failing test from hanging.
const PATIENCE: Duration = Duration::from_secs(60);
/// Type byte of a submission.
pub(crate) const SUBMIT: u8 = 0x10;

pub(crate) fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Waits, and fails the test instead of hanging.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("must happen")
}

pub(crate) fn client_hello() -> Hello {
    Hello {
        genesis: Hash([1; 32]),
        id: [0; 32],
        protocol_version: CLIENT_PROTOCOL_VERSION,
        role: Role::Client,
        design: 1,
        epoch: Epoch(0),
        in_flight_max: 0,
    }
}

pub(crate) fn node_hello(key: [u8; 32]) -> Hello {
    Hello {
        id: key,
        role: Role::Validator,
        ..client_hello()
    }
}

pub(crate) fn identity() -> Identity {
    Identity::from_seed(&[42; 32]).unwrap()
}

pub(crate) fn listener(connections_max: usize) -> ClientListener {
    let mut config = ClientConfig::new(loopback());
    config.connections_max = connections_max;
    ClientListener::bind(&identity(), &config).unwrap()
}

pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    pub(crate) key: [u8; 32],
    pub(crate) handle: ServerHandle,
    pub(crate) events: mpsc::Receiver<ServerEvent>,
}

impl Node {
    pub(crate) fn start() -> Self {
        Self::with(Limits::default(), 16)
    }

    pub(crate) fn with(limits: Limits, connections_max: usize) -> Self {
        let key = identity().public_key();
        let listener = listener(connections_max);
        let address = listener.local_addr();
        let (sender, events) = mpsc::channel(64);
        let handle = Server::start(listener, node_hello(key), limits, sender);
        Self {
            address,
            key,
            handle,
            events,
        }
    }

    pub(crate) async fn connect(&self, endpoint: &ClientEndpoint) -> (RequestSender, AnswerReceiver) {
        let connecting = Connection::connect(endpoint, self.address, self.key, client_hello());
        soon(connecting).await.unwrap()
    }

    pub(crate) async fn event(&mut self) -> ServerEvent {
        soon(self.events.recv()).await.expect("the server runs")
    }

    pub(crate) async fn opened(&mut self) -> ConnectionId {
        match self.event().await {
            ServerEvent::Opened(connection) => connection,
            other => panic!("not opened: {other:?}"),
        }
    }

    pub(crate) async fn request(&mut self) -> Request {
        match self.event().await {
            ServerEvent::Request { request, .. } => request,
            other => panic!("no request: {other:?}"),
        }
    }

    /// Asserts that exactly this was counted, and that no event is waiting.
    pub(crate) fn assert_refused_only(&mut self, refusal: Refusal) {
        let counters = self.handle.counters();
        assert_eq!(counters.refused(refusal), 1, "{refusal:?}");
        assert_eq!(counters.refused_total(), 1, "{refusal:?}");
        assert_eq!(self.handle.connections(), 0);
        assert!(self.events.try_recv().is_err());
    }
}

pub(crate) fn endpoint() -> ClientEndpoint {
    ClientEndpoint::bind(loopback()).unwrap()
}

pub(crate) async fn answer(receiver: &mut AnswerReceiver) -> Answer {
    soon(receiver.recv()).await.unwrap().expect("an answer").answer
}

/// A submission of `count` transactions of `bytes` bytes whose first bytes are their tag.
pub(crate) fn submit(first: u32, count: u32, bytes: usize) -> Request {
    let tx = |tag: u32| {
        let mut tx = vec![7; bytes.max(4)];
        tx[..4].copy_from_slice(&tag.to_le_bytes());
        Bytes::from(tx)
    };
    Request::Submit {
        first_tag: Tag(first),
        txs: (first..first + count).map(tx).collect(),
    }
}
