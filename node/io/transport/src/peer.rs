//! Links between validators: mutual TLS, both keys pinned, two lanes in each direction.
//!
//! Of a pair the validator with the lower key dials, so a pair has one link and the other direction is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{RecvStream, SendStream, VarInt};
use rustls::pki_types::CertificateDer;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::accept::{Refusal, RefusalCounts, Refusals, spawn_acceptor};
use crate::close::{CloseCode, ConnectError, DisconnectReason, close, reason_after};
use crate::frame::{Frame, FrameReader};
use crate::identity::{Identity, PublicKey};
use crate::lane::{FrameSender, LaneSpec, SendError, spawn_lane};
use crate::limits::{
    BULK_QUEUE, BULK_READ_BYTES, CONTROL_QUEUE, CONTROL_READ_BYTES, FRAME_BYTES_CEILING, HANDSHAKE_DEADLINE,
    PEER_EVENTS_MAX, PEER_FRAME_BYTES_MAX, PEER_QUEUE_FRAMES, QueueBound, SHUTDOWN_DEADLINE, WRITE_STALL,
    endpoint_config,
};
use crate::socket::{BindError, SocketBuffers, bind};
use crate::tls::{PEER_ALPN, SERVER_NAME, certificate_key, peer_dialer, peer_server};
use crate::traffic::{Traffic, TrafficGuard, TrafficMeter};

/// Index of a validator in the genesis file.
pub type ValidatorId = u16;

/// Which of a link's two streams a frame takes; frames of one lane arrive in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Consensus: votes, proposals, view changes.
    /// Its packets leave before those of the other lane.
    Control,
    /// Bodies: transaction batches, blocks to catch up.
    Bulk,
}

impl Lane {
    /// Both lanes, control first.
    pub const ALL: [Self; 2] = [Self::Control, Self::Bulk];

    /// First byte of the lane's stream.
    fn tag(self) -> u8 {
        match self {
            Self::Control => 0,
            Self::Bulk => 1,
        }
    }

    fn priority(self) -> i32 {
        match self {
            Self::Control => 1,
            Self::Bulk => 0,
        }
    }
}

/// Settings of a [`PeerEndpoint`].
#[derive(Clone, Debug)]
pub struct PeerConfig {
    /// UDP address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Keys of all validators; this validator's own entry may be among them and is skipped.
    pub keys: BTreeMap<ValidatorId, PublicKey>,
    /// Largest payload sent or accepted, in bytes: 1 to [`FRAME_BYTES_CEILING`].
    pub frame_bytes_max: usize,
    /// Added to every frame before it leaves, order kept; zero for none.
    /// The way to shape a round-trip time: half of it at each validator.
    pub one_way_delay: Duration,
    /// Frames that may wait for one lane of one validator, at least 1; a full lane refuses more.
    pub queue_frames: usize,
    /// Events of one validator's lane that may wait for their owner, at least 1; the sender waits then.
    pub events_max: usize,
}

impl PeerConfig {
    /// Listens on `listen` for the validators of `keys`: 2 MiB frames, no added delay.
    pub fn new(listen: SocketAddr, keys: BTreeMap<ValidatorId, PublicKey>) -> Self {
        Self {
            listen,
            keys,
            frame_bytes_max: PEER_FRAME_BYTES_MAX,
            one_way_delay: Duration::ZERO,
            queue_frames: PEER_QUEUE_FRAMES,
            events_max: PEER_EVENTS_MAX,
        }
    }
}

/// One UDP port of a validator, for dialling validators and for being dialled by them.
#[derive(Debug)]
pub struct PeerEndpoint {
    dialer: Dialer,
    accepted: mpsc::Receiver<PeerConnection>,
    refusals: Arc<Refusals>,
    local: SocketAddr,
    buffers: SocketBuffers,
    own_key: PublicKey,
    events_max: usize,
}

impl PeerEndpoint {
    /// Opens the port and starts to accept.
    pub fn bind(identity: &Identity, config: PeerConfig) -> Result<Self, BindError> {
        check_frame_bytes(config.frame_bytes_max)?;
        let own_key = identity.public_key();
        let ids = ids_by_key(&config.keys, own_key)?;
        let dialers: BTreeSet<PublicKey> = ids.keys().copied().filter(|key| *key < own_key).collect();
        let server = peer_server(identity, dialers)?;
        let mut targets = BTreeMap::new();
        for (key, id) in &ids {
            targets.insert(*id, (*key, peer_dialer(identity, *key)?));
        }
        let (socket, buffers) = bind(config.listen)?;
        let endpoint = quic_endpoint(
            socket,
            config.listen,
            endpoint_config(identity.reset_key(PEER_ALPN)),
            Some(server),
        )?;
        let local = endpoint.local_addr().map_err(|source| BindError::Socket {
            addr: config.listen,
            source,
        })?;
        let meter = TrafficMeter::default();
        let links = Links {
            ids: Arc::new(ids),
            meter,
            frame_bytes_max: config.frame_bytes_max,
            delay: config.one_way_delay,
            queue_frames: config.queue_frames.max(1),
        };
        let refusals = Arc::new(Refusals::default());
        let setup = {
            let links = links.clone();
            move |connection| {
                let links = links.clone();
                async move { links.establish(connection).await.map_err(Refusal::Setup) }
            }
        };
        let accepted = spawn_acceptor(endpoint.clone(), Arc::clone(&refusals), HANDSHAKE_DEADLINE, setup);
        let dialer = Dialer {
            endpoint,
            targets: Arc::new(targets),
            links,
        };
        Ok(Self {
            dialer,
            accepted,
            refusals,
            local,
            buffers,
            own_key,
            events_max: config.events_max.max(1),
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

    /// Bytes of all its links.
    pub fn traffic(&self) -> Traffic {
        self.dialer.links.meter.total()
    }

    /// Dials validator `id` at `address`; succeeds only after the other side let this one in.
    ///
    /// A validator refuses to be dialled by one with a higher key.
    pub async fn connect(
        &self,
        id: ValidatorId,
        address: SocketAddr,
    ) -> Result<PeerConnection, ConnectError> {
        self.dialer.connect(id, address).await
    }

    /// The next validator that dialled and was let in; `None` after the endpoint was closed.
    pub async fn accept(&mut self) -> Option<PeerConnection> {
        self.accepted.recv().await
    }

    /// Closes all links and waits at most 3 s for the other sides to take note.
    pub async fn shutdown(self) {
        self.dialer.shutdown().await;
    }

    pub(crate) fn into_parts(self) -> PeerParts {
        PeerParts {
            dialer: self.dialer,
            accepted: self.accepted,
            refusals: self.refusals,
            own_key: self.own_key,
            events_max: self.events_max,
        }
    }
}

/// What a mesh runs on.
pub(crate) struct PeerParts {
    pub(crate) dialer: Dialer,
    pub(crate) accepted: mpsc::Receiver<PeerConnection>,
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) own_key: PublicKey,
    pub(crate) events_max: usize,
}

/// The dialling half of an endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    endpoint: quinn::Endpoint,
    targets: Arc<BTreeMap<ValidatorId, (PublicKey, quinn::ClientConfig)>>,
    links: Links,
}

impl Dialer {
    pub(crate) fn targets(&self) -> impl Iterator<Item = (ValidatorId, PublicKey)> {
        self.targets.iter().map(|(id, (key, _))| (*id, *key))
    }

    pub(crate) fn traffic(&self) -> Traffic {
        self.links.meter.total()
    }

    pub(crate) async fn connect(
        &self,
        id: ValidatorId,
        address: SocketAddr,
    ) -> Result<PeerConnection, ConnectError> {
        let (_, config) = self.targets.get(&id).ok_or(ConnectError::UnknownPeer(id))?;
        let connecting = self
            .endpoint
            .connect_with(config.clone(), address, SERVER_NAME)
            .map_err(|error| ConnectError::Address(format!("{address}: {error}")))?;
        let setup = async { self.links.establish(connecting.await?).await };
        timeout(HANDSHAKE_DEADLINE, setup)
            .await
            .map_err(|_| ConnectError::Deadline {
                seconds: HANDSHAKE_DEADLINE.as_secs(),
            })?
    }

    pub(crate) fn close(&self) {
        self.endpoint
            .close(VarInt::from_u32(CloseCode::Shutdown as u32), b"shutdown");
    }

    pub(crate) async fn shutdown(&self) {
        self.close();
        // A peer that does not answer must not keep this process alive.
        let _ = timeout(SHUTDOWN_DEADLINE, self.endpoint.wait_idle()).await;
    }
}

/// Turns connections into links.
#[derive(Clone, Debug)]
struct Links {
    ids: Arc<BTreeMap<PublicKey, ValidatorId>>,
    meter: TrafficMeter,
    frame_bytes_max: usize,
    delay: Duration,
    queue_frames: usize,
}

impl Links {
    /// Names the other side by its certificate, and opens and awaits the lanes.
    ///
    /// The other side opens its lanes only once it has let this one in, so success here means admission; the
    /// end of the handshake alone would not.
    async fn establish(&self, connection: quinn::Connection) -> Result<PeerConnection, ConnectError> {
        let id = peer_key(&connection).and_then(|key| self.ids.get(&key).copied());
        let Some(id) = id else {
            close(&connection, CloseCode::BadLanes, "no validator's certificate");
            return Err(ConnectError::Refused("no validator's certificate".to_owned()));
        };
        let opened = async { tokio::try_join!(open_lanes(&connection), accept_lanes(&connection)) };
        let ([control_out, bulk_out], [control_in, bulk_in]) = opened.await.inspect_err(|error| {
            close(&connection, CloseCode::BadLanes, &error.to_string());
        })?;
        let traffic = self.meter.count(&connection);
        let out = |stream, bound: QueueBound| {
            let spec = LaneSpec {
                bound: QueueBound {
                    frames: self.queue_frames,
                    ..bound
                },
                payload_bytes_max: self.frame_bytes_max,
                delay: self.delay,
                stall: WRITE_STALL,
            };
            spawn_lane(connection.clone(), stream, &spec)
        };
        let (control, bulk) = (out(control_out, CONTROL_QUEUE), out(bulk_out, BULK_QUEUE));
        let read = |stream, read_bytes| LaneReader {
            frames: FrameReader::new(stream, read_bytes, self.frame_bytes_max),
            connection: connection.clone(),
        };
        Ok(PeerConnection {
            control: read(control_in, CONTROL_READ_BYTES),
            bulk: read(bulk_in, BULK_READ_BYTES),
            link: PeerLink(Arc::new(LinkState {
                id,
                connection,
                control,
                bulk,
                _traffic: traffic,
            })),
        })
    }
}

async fn open_lanes(connection: &quinn::Connection) -> Result<[SendStream; 2], ConnectError> {
    let mut opened = Vec::with_capacity(Lane::ALL.len());
    for lane in Lane::ALL {
        let mut stream = connection.open_uni().await?;
        let closed = |_| ConnectError::BadLanes("a lane was stopped while it was opened");
        stream
            .set_priority(lane.priority())
            .map_err(|_| ConnectError::BadLanes("a lane closed at once"))?;
        // A stream shows itself to the other side only with its first byte.
        stream.write_all(&[lane.tag()]).await.map_err(closed)?;
        opened.push(stream);
    }
    <[SendStream; 2]>::try_from(opened).map_err(|_| ConnectError::BadLanes("two lanes are needed"))
}

async fn accept_lanes(connection: &quinn::Connection) -> Result<[RecvStream; 2], ConnectError> {
    let (mut control, mut bulk) = (None, None);
    for _ in Lane::ALL {
        let mut stream = connection.accept_uni().await?;
        let mut tag = [u8::MAX];
        if stream.read_exact(&mut tag).await.is_err() {
            // A lost connection says why; else the stream ended without a byte.
            return Err(match connection.close_reason() {
                Some(reason) => reason.into(),
                None => ConnectError::BadLanes("a lane ended before its first byte"),
            });
        }
        let place = match tag {
            [0] => &mut control,
            [1] => &mut bulk,
            _ => return Err(ConnectError::BadLanes("a lane's first byte is neither 0 nor 1")),
        };
        if place.replace(stream).is_some() {
            return Err(ConnectError::BadLanes("a lane was opened twice"));
        }
    }
    match (control, bulk) {
        (Some(control), Some(bulk)) => Ok([control, bulk]),
        _ => Err(ConnectError::BadLanes("two lanes are needed")),
    }
}

/// The key that the other side proved to hold.
fn peer_key(connection: &quinn::Connection) -> Option<PublicKey> {
    let chain = connection
        .peer_identity()?
        .downcast::<Vec<CertificateDer<'static>>>()
        .ok()?;
    certificate_key(chain.first()?).ok()
}

/// A link to one validator, both lanes open in both directions.
#[derive(Debug)]
pub struct PeerConnection {
    link: PeerLink,
    control: LaneReader,
    bulk: LaneReader,
}

impl PeerConnection {
    /// The other side, as its certificate names it.
    pub fn id(&self) -> ValidatorId {
        self.link.id()
    }

    pub(crate) fn link(&self) -> PeerLink {
        self.link.clone()
    }

    /// The sending half, the control lane in and the bulk lane in, to be used by separate tasks.
    pub fn split(self) -> (PeerLink, LaneReader, LaneReader) {
        (self.link, self.control, self.bulk)
    }
}

/// The sending half of a link; a clone is the same link.
#[derive(Clone, Debug)]
pub struct PeerLink(Arc<LinkState>);

#[derive(Debug)]
struct LinkState {
    id: ValidatorId,
    connection: quinn::Connection,
    control: FrameSender,
    bulk: FrameSender,
    _traffic: TrafficGuard,
}

impl PeerLink {
    /// The other side.
    pub fn id(&self) -> ValidatorId {
        self.0.id
    }

    /// Queues `frame` on `lane`, or tells at once why not.
    pub fn try_send(&self, lane: Lane, frame: Frame) -> Result<(), SendError> {
        match lane {
            Lane::Control => self.0.control.try_send(frame),
            Lane::Bulk => self.0.bulk.try_send(frame),
        }
    }

    /// Ends the link with a code and a text that the other side sees.
    pub fn close(&self, code: CloseCode, text: &str) {
        close(&self.0.connection, code, text);
    }

    /// Waits for the end of the link.
    pub async fn closed(&self) -> DisconnectReason {
        self.0.connection.closed().await.into()
    }
}

/// The receiving half of one lane.
///
/// What is not read stays with the sender: QUIC's window bounds what waits here.
#[derive(Debug)]
pub struct LaneReader {
    frames: FrameReader,
    connection: quinn::Connection,
}

impl LaneReader {
    /// The next frame of the lane; a malformed one closes the link with a reason both sides see.
    ///
    /// Cancel safe.
    pub async fn recv(&mut self) -> Result<Frame, DisconnectReason> {
        match self.frames.next().await {
            Ok(Some(frame)) => Ok(frame),
            Ok(None) => {
                // Lanes live as long as their link.
                close(&self.connection, CloseCode::BadLanes, "a lane ended");
                Err(DisconnectReason::Failed("the peer ended a lane".to_owned()))
            }
            Err(error) => Err(reason_after(&self.connection, error)),
        }
    }
}

/// Refuses frame sizes that no queue could hold.
pub(crate) fn check_frame_bytes(bytes: usize) -> Result<(), BindError> {
    if (1..=FRAME_BYTES_CEILING).contains(&bytes) {
        Ok(())
    } else {
        Err(BindError::FrameBytes {
            bytes,
            ceiling: FRAME_BYTES_CEILING,
        })
    }
}

/// A QUIC endpoint on `socket`.
pub(crate) fn quic_endpoint(
    socket: std::net::UdpSocket,
    addr: SocketAddr,
    config: quinn::EndpointConfig,
    server: Option<quinn::ServerConfig>,
) -> Result<quinn::Endpoint, BindError> {
    quinn::Endpoint::new(config, server, socket, Arc::new(quinn::TokioRuntime))
        .map_err(|source| BindError::Socket { addr, source })
}

fn ids_by_key(
    keys: &BTreeMap<ValidatorId, PublicKey>,
    own_key: PublicKey,
) -> Result<BTreeMap<PublicKey, ValidatorId>, BindError> {
    let mut ids = BTreeMap::new();
    for (id, key) in keys {
        if let Some(first) = ids.insert(*key, *id) {
            return Err(BindError::SameKey { first, second: *id });
        }
    }
    ids.remove(&own_key);
    Ok(ids)
}
