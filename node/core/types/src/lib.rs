//! Identifiers, amounts, limits, transactions, blocks, messages and their one canonical encoding.
//!
//! Invariant: nothing here computes a hash, reads a clock or touches a device; one value has exactly one
//! encoding (`ios` 0.5), and decoding arbitrary bytes never panics and never allocates more than the input's
//! own length allows.

// What decodes bytes from outside has nothing to panic with.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

pub mod block;
pub mod block_record;
pub mod certificate;
pub mod client;
pub mod codec;
pub mod counters;
pub mod durability;
pub mod evidence;
pub mod genesis;
pub mod ids;
pub mod limits;
pub mod message;
pub mod policy;
pub mod record;
pub mod reject;
pub mod time;
pub mod transaction;

pub use counters::Counters;
pub use durability::Durability;
pub use ids::{
    AggregateSignature, Amount, ConnectionId, Epoch, Hash, Height, MemberIndex, OutPoint, Owner, Sequence,
    ShardId, Signature, Tag, TxId, ValidatorId, View,
};
pub use reject::Reject;
pub use time::Time;
