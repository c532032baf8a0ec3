//! Bounds of what can be asked. Far beyond the networks that this version runs: the arithmetic is the same.

/// Validators of all shards together.
pub const VALIDATORS_MAX: u32 = 1_000_000;
/// Fewest voters of a shard: fewer tolerate no faulty one.
pub const VOTERS_MIN: u32 = 4;
