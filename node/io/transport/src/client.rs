//! Links of clients: the validator's key is pinned, the client needs none; one stream each way, in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{RecvStream, SendStream, VarInt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use crate::accept::{Refusal, RefusalCounts, Refusals, spawn_acceptor};
use crate::close::{CloseCode, ConnectError, DisconnectReason, close, reason_after};
use crate::frame::{Frame, FrameReader};
use crate::identity::{Identity, PublicKey, ResetKey};
use crate::lane::{FrameSender, LaneSpec, SendError, spawn_lane};
use crate::limits::{
    CLIENT_FRAME_BYTES_MAX, CLIENT_QUEUE, CLIENT_QUEUE_FRAMES, CLIENT_READ_BYTES, CLIENTS_MAX,
    HANDSHAKE_DEADLINE, HANDSHAKES_MAX, QueueBound, SHUTDOWN_DEADLINE, WRITE_STALL, endpoint_config,
};
use crate::peer::quic_endpoint;
use crate::socket::{BindError, SocketBuffers, bind};
use crate::tls::{CLIENT_ALPN, SERVER_NAME, client_dialer, client_server};
use crate::traffic::{Traffic, TrafficGuard, TrafficMeter};

/// Settings of a [`ClientListener`].
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// UDP address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Connections at the same time; more are closed with [`CloseCode::NoRoom`].
    pub connections_max: usize,
    /// Answers that may wait for one client, at least 1; a full queue refuses more.
    pub queue_frames: usize,
}

impl ClientConfig {
    /// Listens on `listen` for up to [`CLIENTS_MAX`] connections.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            connections_max: CLIENTS_MAX,
            queue_frames: CLIENT_QUEUE_FRAMES,
        }
    }
}

/// A validator's port for clients.
#[derive(Debug)]
pub struct ClientListener {
    endpoint: quinn::Endpoint,
    accepted: mpsc::Receiver<ClientConnection>,
    refusals: Arc<Refusals>,
    meter: TrafficMeter,
    local: SocketAddr,
    buffers: SocketBuffers,
}

impl ClientListener {
    /// Opens the port and starts to accept.
    pub fn bind(identity: &Identity, config: &ClientConfig) -> Result<Self, BindError> {
        let server = client_server(identity)?;
        let (socket, buffers) = bind(config.listen)?;
        let endpoint_config = endpoint_config(identity.reset_key(CLIENT_ALPN));
        let endpoint = quic_endpoint(socket, config.listen, endpoint_config, Some(server))?;
        let local = endpoint.local_addr().map_err(|source| BindError::Socket {
            addr: config.listen,
            source,
        })?;
        let meter = TrafficMeter::default();
        let refusals = Arc::new(Refusals::default());
        let room = Arc::new(Semaphore::new(config.connections_max.min(Semaphore::MAX_PERMITS)));
        let queue_frames = config.queue_frames.max(1);
        let setup = {
            let (meter, endpoint) = (meter.clone(), endpoint.clone());
            // Connections that are closed and not yet drained still hold what their client pinned.
            let open_max = config.connections_max.saturating_add(HANDSHAKES_MAX);
            move |connection| {
                let (room, meter) = (Arc::clone(&room), meter.clone());
                let full = endpoint.open_connections() > open_max;
                async move { take_in(connection, room, full, &meter, queue_frames).await }
            }
        };
        let accepted = spawn_acceptor(endpoint.clone(), Arc::clone(&refusals), HANDSHAKE_DEADLINE, setup);
        Ok(Self {
            endpoint,
            accepted,
            refusals,
            meter,
            local,
            buffers,
        })
    }

    /// The address it listens on, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// What the kernel granted for the socket.
    pub fn socket_buffers(&self) -> SocketBuffers {
        self.buffers
    }

    /// Connections that were not let in.
    pub fn refusals(&self) -> RefusalCounts {
        self.refusals.counts()
    }

    /// Bytes of all client connections.
    pub fn traffic(&self) -> Traffic {
        self.meter.total()
    }

    /// The next client that connected and sent its first bytes; `None` after the endpoint was closed.
    ///
    /// A client that sends nothing for 5 s is closed with [`CloseCode::SetupDeadline`].
    pub async fn accept(&mut self) -> Option<ClientConnection> {
        self.accepted.recv().await
    }

    /// Closes all connections and waits at most 3 s for the clients to take note.
    pub async fn shutdown(self) {
        shutdown(&self.endpoint).await;
    }
}

/// The server's half of the set-up: a place, then the client's stream.
async fn take_in(
    connection: quinn::Connection,
    room: Arc<Semaphore>,
    full: bool,
    meter: &TrafficMeter,
    queue_frames: usize,
) -> Result<ClientConnection, Refusal> {
    let place = room.try_acquire_owned().ok().filter(|_| !full);
    let Some(place) = place else {
        close(&connection, CloseCode::NoRoom, "too many connections");
        return Err(Refusal::NoRoom);
    };
    let (send, receive) = connection
        .accept_bi()
        .await
        .map_err(|error| Refusal::Setup(error.into()))?;
    Ok(ClientConnection::new(
        connection,
        send,
        receive,
        meter,
        queue_frames,
        Some(place),
    ))
}

/// A client's UDP port, for any number of connections.
#[derive(Debug)]
pub struct ClientEndpoint {
    endpoint: quinn::Endpoint,
    meter: TrafficMeter,
    buffers: SocketBuffers,
}

impl ClientEndpoint {
    /// Opens a port at `local`, usually the wildcard address with port 0.
    pub fn bind(local: SocketAddr) -> Result<Self, BindError> {
        let (socket, buffers) = bind(local)?;
        let endpoint = quic_endpoint(socket, local, endpoint_config(ResetKey::random()), None)?;
        Ok(Self {
            endpoint,
            meter: TrafficMeter::default(),
            buffers,
        })
    }

    /// Connects to the validator at `address`, which must hold `server_key`.
    ///
    /// The validator knows of the connection from the first frame on, which it expects within 5 s.
    pub async fn connect(
        &self,
        address: SocketAddr,
        server_key: PublicKey,
    ) -> Result<ClientConnection, ConnectError> {
        let config = client_dialer(server_key).map_err(|error| ConnectError::Refused(error.to_string()))?;
        let connecting = self
            .endpoint
            .connect_with(config, address, SERVER_NAME)
            .map_err(|error| ConnectError::Address(format!("{address}: {error}")))?;
        let setup = async {
            let connection = connecting.await?;
            let (send, receive) = connection.open_bi().await?;
            Ok(ClientConnection::new(
                connection,
                send,
                receive,
                &self.meter,
                CLIENT_QUEUE_FRAMES,
                None,
            ))
        };
        timeout(HANDSHAKE_DEADLINE, setup)
            .await
            .map_err(|_| ConnectError::Deadline {
                seconds: HANDSHAKE_DEADLINE.as_secs(),
            })?
    }

    /// What the kernel granted for the socket.
    pub fn socket_buffers(&self) -> SocketBuffers {
        self.buffers
    }

    /// Bytes of all its connections.
    pub fn traffic(&self) -> Traffic {
        self.meter.total()
    }

    /// Closes all connections and waits at most 3 s for the validators to take note.
    pub async fn shutdown(self) {
        shutdown(&self.endpoint).await;
    }
}

async fn shutdown(endpoint: &quinn::Endpoint) {
    endpoint.close(VarInt::from_u32(CloseCode::Shutdown as u32), b"shutdown");
    // A side that does not answer must not keep this process alive.
    let _ = timeout(SHUTDOWN_DEADLINE, endpoint.wait_idle()).await;
}

/// A connection between a client and a validator, seen from either side.
#[derive(Debug)]
pub struct ClientConnection {
    sender: ClientSender,
    receiver: ClientReceiver,
}

impl ClientConnection {
    fn new(
        connection: quinn::Connection,
        send: SendStream,
        receive: RecvStream,
        meter: &TrafficMeter,
        queue_frames: usize,
        place: Option<OwnedSemaphorePermit>,
    ) -> Self {
        let spec = LaneSpec {
            bound: QueueBound {
                frames: queue_frames,
                ..CLIENT_QUEUE
            },
            payload_bytes_max: CLIENT_FRAME_BYTES_MAX,
            delay: Duration::ZERO,
            stall: WRITE_STALL,
        };
        let frames = FrameReader::new(receive, CLIENT_READ_BYTES, CLIENT_FRAME_BYTES_MAX);
        let state = Arc::new(ClientState {
            lane: spawn_lane(connection.clone(), send, &spec),
            _traffic: meter.count(&connection),
            connection,
            _place: place,
        });
        Self {
            sender: ClientSender(Arc::clone(&state)),
            receiver: ClientReceiver { frames, state },
        }
    }

    /// The two halves, to be used by separate tasks; the connection ends when both are dropped.
    pub fn split(self) -> (ClientSender, ClientReceiver) {
        (self.sender, self.receiver)
    }
}

/// The sending half of a client connection; a clone feeds the same queue.
///
/// Frames arrive in the order they were queued; those not yet sent when the connection ends are lost.
#[derive(Clone, Debug)]
pub struct ClientSender(Arc<ClientState>);

#[derive(Debug)]
struct ClientState {
    connection: quinn::Connection,
    lane: FrameSender,
    _traffic: TrafficGuard,
    /// The server's count of connections.
    _place: Option<OwnedSemaphorePermit>,
}

impl ClientSender {
    /// Queues `frame`, or tells at once why not.
    pub fn try_send(&self, frame: Frame) -> Result<(), SendError> {
        self.0.lane.try_send(frame)
    }

    /// Queues `frame` as soon as there is room; never answers [`SendError::Full`].
    ///
    /// Cancel safe: a cancelled call queued nothing.
    pub async fn send(&self, frame: Frame) -> Result<(), SendError> {
        self.0.lane.send(frame).await
    }

    /// Ends the connection at once with a code and a text that the other side sees; queued frames are lost.
    pub fn close(&self, code: CloseCode, text: &str) {
        close(&self.0.connection, code, text);
    }

    /// Waits for the end of the connection.
    pub async fn closed(&self) -> DisconnectReason {
        self.0.connection.closed().await.into()
    }

    /// Address of the other side.
    pub fn remote_addr(&self) -> SocketAddr {
        self.0.connection.remote_address()
    }

    /// Smoothed round-trip time of the path.
    pub fn rtt(&self) -> Duration {
        self.0.connection.rtt()
    }
}

/// The receiving half of a client connection.
///
/// What is not read stays with the sender: QUIC's window bounds what waits here.
#[derive(Debug)]
pub struct ClientReceiver {
    frames: FrameReader,
    state: Arc<ClientState>,
}

impl ClientReceiver {
    /// The next frame, or `None` when the other side sends no more.
    /// A malformed one closes the connection with a reason both sides see.
    ///
    /// Cancel safe.
    pub async fn recv(&mut self) -> Result<Option<Frame>, DisconnectReason> {
        let next = self.frames.next().await;
        next.map_err(|error| reason_after(&self.state.connection, error))
    }
}
