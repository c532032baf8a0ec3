//! A validator's client port with somebody in between who holds its key: what passes may be changed on the way.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::runtime::Runtime;
use transport::{
    ClientConfig, ClientConnection, ClientEndpoint, ClientListener, ClientReceiver, ClientSender, CloseCode,
    Frame, Identity,
};
use types::client::{Answer, Request};

/// What becomes of a client's request.
pub(super) enum Heard {
    /// The node gets it as it is.
    Pass,
    /// The node gets this instead, if anything, and the client these answers at once.
    Instead(Option<Request>, Vec<Said>),
}

/// What a client is sent.
pub(super) enum Said {
    Answer(Answer),
    /// A frame of this type with these bytes.
    Raw(u8, Vec<u8>),
    /// The end of the connection.
    Close,
}

/// Changes what passes. Both functions see all connections; `connection` counts them.
pub(super) trait Lie: Send {
    fn hear(&mut self, _connection: u64, _request: &Request) -> Heard {
        Heard::Pass
    }

    /// `None` passes the answer on as it is.
    fn say(&mut self, _connection: u64, _answer: &Answer) -> Option<Vec<Said>> {
        None
    }
}

type SharedLie = Arc<Mutex<Box<dyn Lie>>>;

/// Listens until it is dropped.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    _runtime: Runtime,
}

impl Proxy {
    /// Speaks for the validator with this secret, whose real client port is `node`.
    pub(super) fn start(secret: [u8; 32], node: SocketAddr, lie: Box<dyn Lie>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let identity = Identity::from_seed(&secret).expect("a key");
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let _inside = runtime.enter();
        let listener = ClientListener::bind(&identity, &ClientConfig::new(loopback)).expect("a free port");
        let address = listener.local_addr();
        let lie: SharedLie = Arc::new(Mutex::new(lie));
        runtime.spawn(accept(listener, node, identity.public_key(), lie));
        Self {
            address,
            _runtime: runtime,
        }
    }
}

async fn accept(mut listener: ClientListener, node: SocketAddr, key: [u8; 32], lie: SharedLie) {
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let endpoint = Arc::new(ClientEndpoint::bind(loopback).expect("a free port"));
    let mut connection = 0;
    while let Some(client) = listener.accept().await {
        connection += 1;
        let (endpoint, lie) = (Arc::clone(&endpoint), Arc::clone(&lie));
        tokio::spawn(async move {
            // A node that cannot be reached looks to the client like one that hangs up.
            if let Ok(node) = endpoint.connect(node, key).await {
                between(client, node, connection, lie).await;
            }
        });
    }
}

/// Carries frames both ways until one side ends.
async fn between(client: ClientConnection, node: ClientConnection, connection: u64, lie: SharedLie) {
    let (to_client, from_client) = client.split();
    let (to_node, from_node) = node.split();
    let up = requests(from_client, to_node.clone(), to_client.clone(), connection, &lie);
    let down = answers(from_node, to_client.clone(), connection, &lie);
    tokio::select! {
        () = up => {}
        () = down => {}
    }
    to_client.close(CloseCode::Shutdown, "shutdown");
    to_node.close(CloseCode::Shutdown, "shutdown");
}

async fn requests(
    mut from: ClientReceiver,
    node: ClientSender,
    client: ClientSender,
    connection: u64,
    lie: &SharedLie,
) {
    while let Ok(Some(frame)) = from.recv().await {
        let heard = match Request::decode_payload(frame.kind, &frame.payload) {
            Ok(Request::Hello(_)) | Err(_) => Heard::Pass,
            Ok(request) => locked(lie).hear(connection, &request),
        };
        let sent = match heard {
            Heard::Pass => node.send(frame).await.is_ok(),
            Heard::Instead(request, said) => {
                let mut sent = true;
                if let Some(request) = request {
                    let payload = Bytes::from(request.encode_payload());
                    sent = node.send(with(&frame, request.kind(), payload)).await.is_ok();
                }
                sent && send_all(&client, &frame, said).await
            }
        };
        if !sent {
            return;
        }
    }
}

async fn answers(mut from: ClientReceiver, client: ClientSender, connection: u64, lie: &SharedLie) {
    while let Ok(Some(frame)) = from.recv().await {
        let said = match Answer::decode_payload(frame.kind, &frame.payload) {
            Ok(Answer::Hello(_)) | Err(_) => None,
            Ok(answer) => locked(lie).say(connection, &answer),
        };
        let sent = match said {
            None => client.send(frame).await.is_ok(),
            Some(said) => send_all(&client, &frame, said).await,
        };
        if !sent {
            return;
        }
    }
}

/// False when the connection is to end.
async fn send_all(client: &ClientSender, like: &Frame, said: Vec<Said>) -> bool {
    for said in said {
        let frame = match said {
            Said::Answer(answer) => with(like, answer.kind(), Bytes::from(answer.encode_payload())),
            Said::Raw(kind, bytes) => with(like, kind, Bytes::from(bytes)),
            Said::Close => return false,
        };
        if client.send(frame).await.is_err() {
            return false;
        }
    }
    true
}

fn with(like: &Frame, kind: u8, payload: Bytes) -> Frame {
    Frame {
        kind,
        payload,
        ..like.clone()
    }
}

fn locked(lie: &SharedLie) -> MutexGuard<'_, Box<dyn Lie>> {
    lie.lock().unwrap_or_else(PoisonError::into_inner)
}
