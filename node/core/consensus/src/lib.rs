//! PBFT with collective signatures (`ios` 9): pipelined heights, view change, recovery.
//!
//! ```text
//!  Propose, Vote | Partial, Certified, ViewChange, NewView ─▶ ┌──────┐ ─▶ Persist{records, then: messages}
//!  timeouts, checked blocks, own proposals       ─▶ │ Pbft │ ─▶ Check{block}   Committed{block, proof}
//!  records of the log after a restart            ─▶ └──────┘ ─▶ Send           Fetch
//! ```
//!
//! The machine knows headers and their links, never transactions: whether a block's content is right is asked of
//! its owner (`Output::Check`) and answered by [`Pbft::handle_checked`].
//!
//! Invariants: one hash is voted Prepare per (height, view); no vote leaves before its record is durable; after
//! the promise of a view no vote of a lower view is ever made; the first accepted opening of a view is the only one.

mod blocks;
mod collecting;
mod firsts;
mod machine;
mod ordering;
mod planted;
mod recovery;
mod tree;
mod view_change;
mod votes;

pub use machine::{CheckVerdict, Outgoing, Output, Pbft, PbftConfig, Slot, Target};
pub use planted::PlantedBug;
pub use view_change::choose_base;

#[cfg(test)]
mod tests;
