//! One validator of one shard, voter or candidate: composes ordering, execution and the author of a group (`ios` 7, 10).
//!
//! ```text
//!  Admitted, Peer, BodyChecked, Durable ─▶ Replica ─▶ Persist, Send, CheckBody, WriteState, Answer, Serve*
//!                                            │
//!              author ── cuts blocks of admitted transactions, gives receipts, answers their tags
//!              league ── what the chain says of seats, bans, modes and slow transactions; a value, cloned per block
//!              accusations ── faults found or told, until they are final; then re-checks and claims
//!              pool ──── author blocks of all members, checked and waiting for inclusion
//!              pbft ──── orders references to them (crate `consensus`)
//!              chain ─── executes proposed blocks on the ledger, rolls back, finalises
//! ```
//!
//! Call order: `handle_event` or `handle_timeout`, then `poll_effect` until `None`; sleep until `poll_timeout`.
//! Completions may come in any order; handling an event twice changes nothing the second time.
//!
//! Invariant: no clock, socket, disk or entropy is touched here; the seed comes with the configuration.

mod accusations;
mod archive;
mod author;
pub mod body_check;
mod chain;
mod content;
mod event;
mod finality;
mod judge;
mod league;
mod mischief;
mod notes;
mod pace;
mod parking;
mod peers;
mod pool;
mod proposing;
mod records;
mod recovery;
mod replica;
mod slow;
mod standing;
mod suspension;

pub use consensus::PlantedBug as OrderingBug;
pub use event::{Admission, BodyVerdict, CheckedBody, Counters, Effect, Event, HaltReason, SignatureChecks};
pub use ledger::{Executor, Inline, Ledger, LedgerConfig, LedgerError, Snapshot, StateChanges, Utxo};

/// Whether this build can leave rules out on purpose; binaries refuse to be built so.
pub const PLANTED: bool = cfg!(feature = "planted-bugs");
pub use mischief::Mischief;
pub use recovery::{CheckBody, Recovery, RecoveryError};
pub use replica::{Planted, Replica, ReplicaConfig};

#[cfg(test)]
mod tests;
