//! Every bound of the transport in one place, with its unit and its reason.
//!
//! quinn's defaults suit browsers on the open Internet (an unlimited connection window, 200 streams,
//! 65,536 pending handshakes, connection migration): none of them is relied upon.

use std::sync::Arc;
use std::time::Duration;

use quinn::congestion::CubicConfig;
use quinn::{
    EndpointConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, ValidationTokenConfig, VarInt,
};
use quinn_proto::RandomConnectionIdGenerator;

use crate::identity::ResetKey;

/// Bytes of the envelope before every payload (ios 0.5).
pub const ENVELOPE_BYTES: usize = 12;
/// Default and protocol maximum of a payload on a client connection, in bytes (ios 14.2).
pub const CLIENT_FRAME_BYTES_MAX: usize = 1 << 20;
/// Default maximum of a payload between validators, in bytes: a full batch plus its proposal.
pub const PEER_FRAME_BYTES_MAX: usize = 2 << 20;
/// No configuration may allow a larger payload, in bytes: it has to fit in every byte budget below.
pub const FRAME_BYTES_CEILING: usize = 4 << 20;
/// Default maximum of client connections of one validator.
/// A client can pin one receive window, one send window and one queue. A connection that was closed keeps them
/// until QUIC has drained it, and counts as long: with the handshakes under way, all stay below 1 GiB.
pub const CLIENTS_MAX: usize = 128;

/// Time from a first packet to a connection whose lanes are open.
pub(crate) const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);
/// Handshakes of one endpoint at the same time; one costs about 0.9 ms of CPU, so 64 are 60 ms of work.
pub(crate) const HANDSHAKES_MAX: usize = 64;
/// From this many on, a source address must prove itself by a Retry round trip.
pub(crate) const HANDSHAKES_BEFORE_RETRY: usize = 16;
/// Connections whose handshake is done and which the owner has not taken yet.
pub(crate) const ACCEPTED_QUEUE: usize = 16;
/// First Initial packets waiting to be looked at.
const INCOMING_MAX: usize = 256;
/// Bytes kept for one connection before it is accepted: a few Initial packets.
const INCOMING_BUFFER_BYTES: u64 = 64 << 10;
/// The same for all connections together.
const INCOMING_BUFFER_BYTES_TOTAL: u64 = 8 << 20;

/// How long a partial frame may take to become whole while its reader waits for it.
pub(crate) const FRAME_DEADLINE: Duration = Duration::from_secs(30);
/// How long a write may make no progress before the receiver counts as dead.
pub(crate) const WRITE_STALL: Duration = Duration::from_secs(30);
/// How long a shutdown waits for the peers to take note.
pub(crate) const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(3);

/// Frames and bytes that may wait for a lane's writer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueBound {
    pub(crate) frames: usize,
    pub(crate) bytes: usize,
}

/// Default of the frames that may wait for one lane to a validator; with an added delay all of a round trip
/// waits there. More are refused with [`SendError::Full`](crate::SendError::Full).
pub const PEER_QUEUE_FRAMES: usize = types::limits::PEER_LANE_FRAMES_MAX;
/// Default of the frames that may wait in either direction of a client connection.
pub const CLIENT_QUEUE_FRAMES: usize = types::limits::CLIENT_ANSWERS_MAX;

/// Control between validators: votes are small and few.
pub(crate) const CONTROL_QUEUE: QueueBound = QueueBound {
    frames: PEER_QUEUE_FRAMES,
    bytes: 8 << 20,
};
/// Bodies between validators: 100 ms at 300 MB/s when a delay is added.
pub(crate) const BULK_QUEUE: QueueBound = QueueBound {
    frames: PEER_QUEUE_FRAMES,
    bytes: 32 << 20,
};
/// Either direction of a client connection.
pub(crate) const CLIENT_QUEUE: QueueBound = QueueBound {
    frames: CLIENT_QUEUE_FRAMES,
    bytes: 2 << 20,
};

/// Received frames of one peer that wait for the owner of the mesh, in bytes per lane.
pub(crate) const CONTROL_INBOX_BYTES: usize = 8 << 20;
/// See [`CONTROL_INBOX_BYTES`].
pub(crate) const BULK_INBOX_BYTES: usize = 16 << 20;
/// Default of the events of one validator that wait for their owner, per lane.
pub const PEER_EVENTS_MAX: usize = 1024;

/// Bytes a writer collects before it hands them to QUIC: amortises the connection lock over many frames.
pub(crate) const WRITE_BATCH_BYTES: usize = 256 << 10;
/// Payloads up to this many bytes are copied behind their envelope: quinn searches its unacknowledged
/// segments one by one for every packet, so thousands of tiny segments cost more than the copy.
pub(crate) const COPY_BYTES_MAX: usize = 4 << 10;
/// Size of the buffers those copies go to.
pub(crate) const COPY_BLOCK_BYTES: usize = 64 << 10;
/// Receive buffer of a bulk lane: several 64 KiB frames per allocation.
pub(crate) const BULK_READ_BYTES: usize = 256 << 10;
/// Receive buffer of a client connection.
pub(crate) const CLIENT_READ_BYTES: usize = 64 << 10;
/// Receive buffer of a control lane: a kept vote holds on to its buffer, so it is small.
pub(crate) const CONTROL_READ_BYTES: usize = 16 << 10;

/// First pause before a validator is dialled again.
pub(crate) const REDIAL_MIN: Duration = Duration::from_millis(50);
/// Longest such pause; a link that lived longer than this resets the pause.
pub(crate) const REDIAL_MAX: Duration = Duration::from_secs(2);

/// Smallest and first packet size: what every QUIC path must carry (RFC 9000, 14).
const MTU_MIN: u16 = 1200;
/// Largest packet searched for: loopback and jumbo-frame networks take it, and ten of them still fit in one
/// segmented send of 64 KiB; with 9000 the send would be refused and the size fall back to 1200.
const MTU_MAX: u16 = 6000;
/// Packets in one segmented send of quinn.
const SEGMENTS_PER_SEND: usize = 10;
/// Largest payload of one UDP send over IPv4, in bytes.
const UDP_PAYLOAD_MAX: usize = 65_507;
/// Requested socket buffers, in bytes, each direction; the kernel may grant less.
pub(crate) const SOCKET_BUFFER_BYTES: usize = 8 << 20;
/// Bytes of a connection id: random, so that no id is ever given to two connections of one reset key.
const CONNECTION_ID_BYTES: usize = 8;

/// Unread bytes a validator lets one lane of a peer send.
const PEER_STREAM_WINDOW: u32 = 4 << 20;
/// Unread bytes a validator lets one peer send on all lanes.
const PEER_WINDOW: u32 = 8 << 20;
/// Unacknowledged bytes a validator keeps for one peer.
const PEER_SEND_WINDOW: u64 = 8 << 20;
/// Unread bytes a validator lets a client send.
const CLIENT_WINDOW: u32 = 1 << 20;
/// Unacknowledged bytes a validator keeps for a client.
const CLIENT_SEND_WINDOW: u64 = 2 << 20;
/// Unread bytes a client lets a validator send: it chose that validator, and it reads whole blocks.
const SERVER_WINDOW: u32 = 4 << 20;
/// Unacknowledged bytes a client keeps.
const SERVER_SEND_WINDOW: u64 = 4 << 20;

/// Silence after which a peer counts as gone; long enough for a machine that is busy with four validators.
const PEER_IDLE: Duration = Duration::from_secs(15);
/// The same for clients.
const CLIENT_IDLE: Duration = Duration::from_secs(30);
/// Silence after which a keep-alive goes out.
const KEEP_ALIVE: Duration = Duration::from_secs(3);
/// Round-trip time assumed before the first sample; only paces the first retransmission of a handshake.
const INITIAL_RTT: Duration = Duration::from_millis(100);
/// Out-of-order handshake bytes kept per connection: certificates here are below 1 KiB.
const CRYPTO_BUFFER_BYTES: usize = 16 << 10;
/// First congestion window, in bytes: ten of the smallest packets (RFC 6928).
const INITIAL_WINDOW_BYTES: u64 = 10 * MTU_MIN as u64;
/// Pause between two searches for a larger packet size.
const MTU_SEARCH_INTERVAL: Duration = Duration::from_secs(600);
/// Pause after larger packets vanished on a path.
const MTU_BLACK_HOLE_PAUSE: Duration = Duration::from_secs(60);
/// The search ends when the next step would win less than this, in bytes.
const MTU_STEP_MIN: u16 = 20;
/// Shortest time between two stateless resets, so that they cannot be used to flood.
const RESET_INTERVAL: Duration = Duration::from_millis(20);
/// Life of a Retry token; one handshake.
const RETRY_TOKEN_LIFE: Duration = Duration::from_secs(15);

// A segmented send that exceeds one UDP payload fails, and quinn would fall back to 1200 bytes for good.
const _: () = assert!(MTU_MAX as usize * SEGMENTS_PER_SEND <= UDP_PAYLOAD_MAX);
// One lane that nobody reads must leave room for the other, at the receiver and at the sender.
const _: () = assert!(PEER_WINDOW >= 2 * PEER_STREAM_WINDOW);
const _: () = assert!(PEER_SEND_WINDOW > PEER_STREAM_WINDOW as u64);
// A whole frame of any allowed size must fit in every byte budget, or its sender would wait for ever.
const _: () = assert!(FRAME_BYTES_CEILING + ENVELOPE_BYTES <= CONTROL_QUEUE.bytes);
const _: () = assert!(FRAME_BYTES_CEILING + ENVELOPE_BYTES <= BULK_QUEUE.bytes);
const _: () = assert!(CLIENT_FRAME_BYTES_MAX + ENVELOPE_BYTES <= CLIENT_QUEUE.bytes);
const _: () = assert!(FRAME_BYTES_CEILING + ENVELOPE_BYTES <= CONTROL_INBOX_BYTES);
const _: () = assert!(FRAME_BYTES_CEILING + ENVELOPE_BYTES <= BULK_INBOX_BYTES);
// A semaphore hands out at most u32::MAX permits in one call.
const _: () = assert!(BULK_QUEUE.bytes <= u32::MAX as usize);
const _: () = assert!(CLIENT_FRAME_BYTES_MAX <= PEER_FRAME_BYTES_MAX);
const _: () = assert!(PEER_FRAME_BYTES_MAX <= FRAME_BYTES_CEILING);
// A copied payload fits in the block it is copied to.
const _: () = assert!(COPY_BYTES_MAX + ENVELOPE_BYTES <= COPY_BLOCK_BYTES);
const _: () = assert!(COPY_BLOCK_BYTES <= WRITE_BATCH_BYTES);
// What all clients of a validator together can pin.
const _: () = assert!(
    (CLIENTS_MAX + HANDSHAKES_MAX)
        * (CLIENT_WINDOW as usize + CLIENT_SEND_WINDOW as usize + CLIENT_QUEUE.bytes)
        <= 1 << 30
);
// Several keep-alives may be lost before a link counts as dead.
const _: () = assert!(PEER_IDLE.as_secs() >= 4 * KEEP_ALIVE.as_secs());
const _: () = assert!(CLIENT_IDLE.as_secs() >= PEER_IDLE.as_secs());
const _: () = assert!(HANDSHAKES_BEFORE_RETRY < HANDSHAKES_MAX);
const _: () = assert!(INCOMING_MAX as u64 * INCOMING_BUFFER_BYTES >= INCOMING_BUFFER_BYTES_TOTAL);

/// Whose connection a [`TransportConfig`] is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A validator towards a validator, whichever dialled.
    Peer,
    /// A validator towards a client.
    Server,
    /// A client towards a validator.
    Client,
}

/// The QUIC settings of a connection; each one that quinn has is set.
pub(crate) fn transport_config(role: Role) -> TransportConfig {
    let mut config = TransportConfig::default();
    let (uni_streams, bidi_streams, stream_window, window, send_window, idle) = match role {
        Role::Peer => (2, 0, PEER_STREAM_WINDOW, PEER_WINDOW, PEER_SEND_WINDOW, PEER_IDLE),
        Role::Server => (
            0,
            1,
            CLIENT_WINDOW,
            CLIENT_WINDOW,
            CLIENT_SEND_WINDOW,
            CLIENT_IDLE,
        ),
        Role::Client => (
            0,
            0,
            SERVER_WINDOW,
            SERVER_WINDOW,
            SERVER_SEND_WINDOW,
            CLIENT_IDLE,
        ),
    };
    config
        .max_concurrent_uni_streams(VarInt::from_u32(uni_streams))
        .max_concurrent_bidi_streams(VarInt::from_u32(bidi_streams))
        .stream_receive_window(VarInt::from_u32(stream_window))
        .receive_window(VarInt::from_u32(window))
        .send_window(send_window)
        .max_idle_timeout(Some(idle_timeout(idle)))
        .keep_alive_interval(Some(KEEP_ALIVE))
        // Lanes of equal priority share; control goes first by its priority.
        .send_fairness(true)
        // Recommended by RFC 9002, 6.1 and 7.6.
        .packet_threshold(3)
        .time_threshold(9.0 / 8.0)
        .persistent_congestion_threshold(3)
        .initial_rtt(INITIAL_RTT)
        .initial_mtu(MTU_MIN)
        .min_mtu(MTU_MIN)
        .mtu_discovery_config(Some(mtu_discovery()))
        .pad_to_mtu(false)
        .ack_frequency_config(None)
        .crypto_buffer_size(CRYPTO_BUFFER_BYTES)
        .allow_spin(false)
        // Datagrams are not used: none is accepted, none is buffered.
        .datagram_receive_buffer_size(None)
        .datagram_send_buffer_size(0)
        .congestion_controller_factory(Arc::new(congestion()))
        .enable_segmentation_offload(true);
    config
}

/// The settings of a UDP endpoint.
pub(crate) fn endpoint_config(reset_key: ResetKey) -> EndpointConfig {
    let mut config = EndpointConfig::new(reset_key.into_hmac());
    config
        .cid_generator(|| Box::new(RandomConnectionIdGenerator::new(CONNECTION_ID_BYTES)))
        .supported_versions(vec![QUIC_V1])
        .grease_quic_bit(true)
        .min_reset_interval(RESET_INTERVAL)
        .rng_seed(None);
    if config.max_udp_payload_size(MTU_MAX).is_err() {
        unreachable!("MTU_MAX lies in the range of RFC 9000, 18.2");
    }
    config
}

/// Sets the bounds of an accepting endpoint.
pub(crate) fn bound_server(config: &mut quinn::ServerConfig, role: Role) {
    let mut no_tokens = ValidationTokenConfig::default();
    no_tokens.sent(0).lifetime(Duration::ZERO);
    config
        .transport_config(Arc::new(transport_config(role)))
        .migration(false)
        .preferred_address_v4(None)
        .preferred_address_v6(None)
        .validation_token_config(no_tokens)
        .retry_token_lifetime(RETRY_TOKEN_LIFE)
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BUFFER_BYTES)
        .incoming_buffer_size_total(INCOMING_BUFFER_BYTES_TOTAL);
}

/// The only version spoken (RFC 9000).
const QUIC_V1: u32 = 1;

fn mtu_discovery() -> MtuDiscoveryConfig {
    let mut config = MtuDiscoveryConfig::default();
    config
        .interval(MTU_SEARCH_INTERVAL)
        .upper_bound(MTU_MAX)
        .black_hole_cooldown(MTU_BLACK_HOLE_PAUSE)
        .minimum_change(MTU_STEP_MIN);
    config
}

fn congestion() -> CubicConfig {
    let mut config = CubicConfig::default();
    config.initial_window(INITIAL_WINDOW_BYTES);
    config
}

fn idle_timeout(duration: Duration) -> IdleTimeout {
    IdleTimeout::try_from(duration).unwrap_or_else(|_| unreachable!("seconds fit in the field"))
}
