//! Bounds of the store, with their units, and how they belong together.

use blocklog::RECORD_BYTES_MAX;
use types::limits::{EVENTS_PER_TURN_MAX, LIST_VOTERS_MAX, PEER_FRAME_BYTES_MAX, PERSIST_QUEUE_MAX};

/// Bytes of one group; what waits beyond goes into the next one.
pub(crate) const GROUP_BYTES_MAX: usize = 8 << 20;

/// Bytes that one persist command adds to the log: one record of the largest size (a body, a proposal, an opening of
/// a view) with its vote, tip and frames.
pub const PERSIST_BYTES_MAX: u64 = RECORD_BYTES_MAX as u64 + (64 << 10);

/// Persist commands that may follow once the store has said that space is low: those in its full queue, and one for
/// each event of the turn during which the replica's thread learns of it.
pub const PERSISTS_IN_FLIGHT_MAX: u64 = (PERSIST_QUEUE_MAX + EVENTS_PER_TURN_MAX) as u64;

/// Bytes of one write buffer of the state, by default; two may be held.
pub(crate) const STATE_BUFFER_BYTES: usize = 32 << 20;

/// Bytes that writing the state's buffers out may take: both, and once more while they are merged.
const STATE_BYTES_MAX: u64 = 4 * STATE_BUFFER_BYTES as u64;

/// Bytes of the filesystem that stay free for what was already under way when space became low.
pub const RESERVE_BYTES: u64 = 1536 << 20;

const _: () = assert!(
    PERSISTS_IN_FLIGHT_MAX * PERSIST_BYTES_MAX + STATE_BYTES_MAX <= RESERVE_BYTES,
    "what is in flight when space becomes low fits the reserve"
);
const _: () = assert!(
    PEER_FRAME_BYTES_MAX <= RECORD_BYTES_MAX,
    "whatever a peer sends can be recorded"
);
const _: () = assert!(
    LIST_VOTERS_MAX * 128 + 1024 <= 64 << 10,
    "votes and certificates fit beside the largest record"
);
