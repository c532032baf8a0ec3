//! Bounds of what is read from a file. A larger file is refused and not read further.

use std::time::Duration;

use types::limits::VALIDATORS_MAX;

/// Allocations of one network: 64 Mi take 2.7 GB of memory while they are read.
pub const ALLOCATIONS_MAX: u32 = 1 << 26;
/// Bytes of one encoded allocation.
pub const ALLOCATION_BYTES: usize = 40;
/// Bytes of the largest `genesis.toml`: keys of all validators in hexadecimal, their id keys twice, and words.
pub const GENESIS_FILE_BYTES_MAX: u64 = (VALIDATORS_MAX * 768 + (64 << 10)) as u64;
/// Bytes of the largest `allocations.bin`.
pub const ALLOCATIONS_FILE_BYTES_MAX: u64 = ALLOCATIONS_MAX as u64 * ALLOCATION_BYTES as u64 + 4;
/// Bytes of the largest configuration: an address of each validator, and words.
pub const CONFIG_FILE_BYTES_MAX: u64 = (VALIDATORS_MAX * 128 + (64 << 10)) as u64;
/// Bytes of the largest policy file: twelve parameters, and words.
pub const POLICY_FILE_BYTES_MAX: u64 = 64 << 10;
/// Bytes of the largest hosts file: address and key of each validator, and words.
pub const HOSTS_FILE_BYTES_MAX: u64 = (VALIDATORS_MAX * 512 + (64 << 10)) as u64;
/// Nodes of one hosts file or list.
pub const HOSTS_MAX: usize = VALIDATORS_MAX;

/// Longest round trip that links are shaped to.
pub const RTT_MAX: Duration = Duration::from_secs(10);
/// Threads of one kind: beyond, a typing error is likelier than such a machine.
pub const THREADS_MAX: usize = 1024;
/// Longest floor of the view timer: beyond, a network with one dead leader looks dead itself.
pub const VIEW_TIMEOUT_MIN_MAX: Duration = Duration::from_secs(3600);

/// Default of the free space, in MiB, below which a validator suspends: what is in flight then fits in any case.
pub const RESERVE_MIB_DEFAULT: u64 = 1536;
/// Least such reserve: the state's buffers fit, and a load of some thousand transactions per second.
pub const RESERVE_MIB_MIN: u64 = 128;
/// Largest such reserve.
pub const RESERVE_MIB_MAX: u64 = 1 << 20;
