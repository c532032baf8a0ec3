//! Every bound of the protocol and of the queues between threads, with its unit and its drop policy.
//!
//! Relations between bounds are asserted at compile time, with the reason.

/// Owners of one transaction (`ios` 1.4).
pub const OWNERS_MAX: usize = 16;
/// Inputs of one transaction (`ios` 1.4).
pub const INPUTS_MAX: usize = 64;
/// Outputs of one transaction (`ios` 1.4).
pub const OUTPUTS_MAX: usize = 64;
/// Index of the first output that compensates the defrauded of a forged transaction; the next ones follow (`ios` 7.8).
pub const COMPENSATION_INDEX: u16 = 0xC000;
/// Bytes of a memo (`ios` 1.4).
pub const MEMO_BYTES_MAX: usize = 512;
/// Bytes of the largest transaction (`ios` 1.4).
pub const TX_BYTES_MAX: usize = 22 + 96 * OWNERS_MAX + 35 * INPUTS_MAX + 40 * OUTPUTS_MAX + MEMO_BYTES_MAX;
/// Bytes of the smallest transaction: one owner, one input, one output, no memo.
pub const TX_BYTES_MIN: usize = 22 + 96 + 35 + 40;

/// Bytes of a frame on a client connection, without its envelope (`ios` 14.2).
pub const CLIENT_FRAME_BYTES_MAX: usize = 1 << 20;
/// Bytes of a frame between validators, without its envelope (`ios` 21).
pub const PEER_FRAME_BYTES_MAX: usize = 1 << 20;
/// Bytes of the envelope before every frame (`ios` 0.5).
pub const ENVELOPE_BYTES: usize = 12;

/// Transactions of one author block (`opt_max`, `ios` 0.10).
pub const BATCH_TXS_MAX: usize = 4096;
/// Bytes of one author block's body (`opt_max`, `ios` 0.10).
pub const BATCH_BYTES_MAX: usize = (1 << 20) - 4096;
/// Transactions that one final block may refer to (`ios` 7.11).
pub const BLOCK_TXS_MAX: usize = 65_536;
/// Bytes of bodies that one final block may refer to (`ios` 7.11).
pub const BLOCK_BYTES_MAX: usize = 16 << 20;
/// References of one final block. 46 bytes each; keeps a proposal below 256 KiB (`ios` 21).
pub const BLOCK_REFS_MAX: usize = 2048;
/// Records of one final block.
pub const BLOCK_RECORDS_MAX: usize = 64;
/// Bytes of the records of one final block; keeps a proposal below 256 KiB (`ios` 21).
pub const BLOCK_RECORD_BYTES_MAX: usize = 96 << 10;
/// Candidates for the seats of one shard.
pub const CANDIDATES_MAX: usize = 64;

/// Depth of the deepest Merkle path: leaves are counted in 32 bits.
pub const MERKLE_DEPTH_MAX: usize = 32;
/// Bytes of the longest text in a message (`NodeInfo`).
pub const TEXT_BYTES_MAX: usize = 512;

/// Voters of a committee whose certificates are lists of Ed25519 signatures (`ios` 0.7).
pub const LIST_VOTERS_MAX: usize = 16;
/// Voters of a committee (`ios` 0.3 counts 240); above `LIST_VOTERS_MAX` certificates are aggregates.
pub const VOTERS_MAX: usize = 256;
/// Views ahead of the current one of which proposals are kept, at most one turn of the leaders; more are refused.
pub const VIEWS_AHEAD_MAX: u32 = 16;
/// Certificates known to be right that a voter of an aggregate chain remembers, so that a certificate which many
/// messages carry is checked once; the oldest goes first.
pub const CERTIFICATES_KNOWN_MAX: usize = 64;
/// Validators of a network in the first version.
pub const VALIDATORS_MAX: usize = 1024;
/// Shards of a network in the first version.
pub const SHARDS_MAX: usize = 256;

/// Heights in flight above the committed one (`W`, `ios` 0.10). Policies may ask for less.
pub const WINDOW_MAX: u64 = 16;
/// Headers between a block and the certified one above it.
pub const DESCENDANTS_MAX: usize = WINDOW_MAX as usize + 1;
/// Proposals of future heights or views that a voter keeps; the oldest height stays, others are dropped.
pub const PROPOSALS_HELD_MAX: usize = 64;
/// Blocks above the committed height that a voter holds, proposed or fetched; the highest are dropped.
pub const BLOCKS_HELD_MAX: usize = 1024;
/// Author blocks that a voter holds above the included ones, per author; more are dropped and fetched later.
pub const AUTHOR_BLOCKS_HELD_MAX: usize = 4096;
/// Bytes of bodies that a voter holds for one author and that no final block includes; more are dropped.
pub const AUTHOR_BYTES_HELD_MAX: usize = 48 << 20;
/// Final blocks that one fetch answers.
pub const FETCH_BLOCKS_MAX: u16 = 16;

/// Parked transactions per author (`park_max`, `ios` 0.10); beyond, the oldest of the largest parker is answered `Busy`.
pub const PARKED_TXS_MAX: usize = 65_536;
/// Bytes of parked transactions per author (`park_max`, `ios` 0.10).
pub const PARKED_BYTES_MAX: usize = 32 << 20;
/// Transactions admitted and waiting for the next cut; beyond, ingress answers `Busy`.
pub const INTAKE_TXS_MAX: usize = 65_536;
/// Transactions waiting between verification and the replica; beyond, ingress answers `Busy`.
pub const ADMISSION_RING_BATCHES_MAX: usize = 1024;
/// Tags in flight on one client connection; beyond, `Busy` (`ios` 14.2).
pub const TAGS_IN_FLIGHT_MAX: u32 = 65_536;
/// Client connections of one node; beyond, the connection is refused.
pub const CLIENT_CONNECTIONS_MAX: usize = 1024;
/// Transactions of one submission frame (`SubmitBatch`).
pub const SUBMIT_TXS_MAX: usize = 4096;

/// Events that the replica takes from its queue in one turn.
pub const EVENTS_PER_TURN_MAX: usize = 256;
/// Events waiting for the replica from peers; the reader of the peer's stream waits (back-pressure by QUIC).
pub const PEER_EVENTS_MAX: usize = 1024;
/// Verification jobs of one validator that wait for a worker; the issuer holds a credit for each.
pub const VERIFY_JOBS_MAX: usize = 1024;
/// Signatures of one verification batch.
pub const VERIFY_BATCH_MAX: usize = 1024;
/// Persist effects waiting for the store; the replica's turn waits.
pub const PERSIST_QUEUE_MAX: usize = 1024;
/// Frames that wait for one peer's lane; a full bulk lane drops the body (the peer fetches it), a full control
/// lane closes the connection, which re-sends on reconnect.
pub const PEER_LANE_FRAMES_MAX: usize = 4096;
/// Answer frames that wait for one client; a client that does not read is disconnected.
pub const CLIENT_ANSWERS_MAX: usize = 1024;

const _: () = assert!(
    BLOCKS_HELD_MAX >= VIEWS_AHEAD_MAX as usize * WINDOW_MAX as usize * 4,
    "every leader of the views ahead can fill its window four times"
);
const _: () = assert!(
    VOTERS_MAX > LIST_VOTERS_MAX && VOTERS_MAX.is_multiple_of(64),
    "a set of voters is a whole number of words"
);
const _: () = assert!(
    VOTERS_MAX * 1024 <= PEER_FRAME_BYTES_MAX,
    "the opening of a view with everybody's view change, below 1 KiB each, travels in one frame"
);
const _: () = assert!(
    BATCH_BYTES_MAX + 183 + 4 <= PEER_FRAME_BYTES_MAX,
    "an author block travels in one frame"
);
const _: () = assert!(
    TX_BYTES_MAX + 8 <= CLIENT_FRAME_BYTES_MAX,
    "the largest transaction fits a submission"
);
const _: () = assert!(
    TX_BYTES_MAX < BATCH_BYTES_MAX,
    "the largest transaction fits an author block"
);
const _: () = assert!(
    BLOCK_REFS_MAX * 48 + BLOCK_TXS_MAX / 8 + BLOCK_REFS_MAX + BLOCK_RECORD_BYTES_MAX + 364 < 256 << 10,
    "a proposal stays below 256 KiB"
);
const _: () = assert!(
    OUTPUTS_MAX <= COMPENSATION_INDEX as usize && INPUTS_MAX <= (u16::MAX - COMPENSATION_INDEX) as usize,
    "outputs and compensations of one transaction never meet"
);
const _: () = assert!(TX_BYTES_MAX == 6870, "ios 1.4 states this size");
