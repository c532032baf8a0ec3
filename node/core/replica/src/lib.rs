//! One validator of one shard: composes ordering, execution and the author of batches (`ios` 10.3, mode 1).
//!
//! ```text
//!  Admitted, Peer, BodyChecked, Durable ─▶ Replica ─▶ Persist, Send, CheckBody, WriteState, Answer, Serve*
//!                                            │
//!              author ── cuts blocks of admitted transactions, answers their tags
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
pub use recovery::{CheckBody, Recovery, RecoveryError};
pub use replica::{Planted, Replica, ReplicaConfig};

#[cfg(test)]
mod tests;
