//! QUIC endpoints with pinned identities, explicit limits and framing.
//!
//! Two kinds of endpoint, each on its own UDP port:
//! [`PeerEndpoint`] links validators by mutual TLS 1.3, both keys pinned, and [`PeerMesh`] keeps one link
//! per pair alive; [`ClientListener`] and [`ClientEndpoint`] link a client, which needs no identity, to a
//! validator whose key it pins.
//! All bytes travel as [`Frame`]s (12-byte envelope, ios 0.5) in lanes that do not wait for one another.
//!
//! Nothing here retries a frame: what was queued on a link that broke is lost, and the protocols above
//! ask again.
//! Every queue is bounded in frames and in bytes; a full one is an answer to the caller, never a silent drop.
//! All functions that start an endpoint must be called inside a tokio runtime.

mod limits;

mod frame;

mod lane;

mod identity;

mod tls;

mod close;

mod traffic;

mod socket;

mod accept;

mod peer;

mod client;

mod mesh;

#[cfg(test)]
mod tests;

pub use accept::RefusalCounts;
pub use client::{
    ClientConfig, ClientConnection, ClientEndpoint, ClientListener, ClientReceiver, ClientSender,
};
pub use close::{CloseCode, ConnectError, DisconnectReason};
pub use frame::{Frame, FrameError, FrameReader};
pub use identity::{Identity, IdentityError, PublicKey};
pub use lane::SendError;
pub use limits::{
    CLIENT_FRAME_BYTES_MAX, CLIENT_QUEUE_FRAMES, CLIENTS_MAX, ENVELOPE_BYTES, FRAME_BYTES_CEILING,
    PEER_EVENTS_MAX, PEER_FRAME_BYTES_MAX, PEER_QUEUE_FRAMES,
};
pub use mesh::{Arrival, HeldBytes, MeshError, MeshSender, PeerEvent, PeerEvents, PeerMesh};
pub use peer::{Lane, LaneReader, PeerConfig, PeerConnection, PeerEndpoint, PeerLink, ValidatorId};
pub use socket::{BindError, SocketBuffers};
pub use traffic::Traffic;
