//! What is sent: generated transfers, or the replay of a real spend graph.

use types::genesis::{EpochConfig, Genesis};

use crate::arena::ArenaError;
use crate::import::Trace;
use crate::ownership::Accounts;
use crate::wallet::Wallet;

mod graph;
mod invalid;
mod replay;
#[cfg(test)]
pub(crate) mod sample;
mod transfer;

pub(crate) use graph::Graph;
pub use invalid::{InvalidKind, InvalidShares};
pub use replay::allocations as trace_allocations;
pub use transfer::{Span, TransferShape};

/// Kind of workload with its parameters.
#[derive(Clone, Debug)]
pub enum Workload {
    /// Payments between accounts of one shard.
    Transfer(TransferShape),
    /// A trace, each transaction once.
    Replay(Trace),
}

/// Everything that the bytes of a workload depend on, besides the network.
#[derive(Clone, Debug)]
pub struct WorkloadSpec<'a> {
    /// What is sent.
    pub workload: &'a Workload,
    /// Seed of every choice; keys come from the seed of the accounts.
    pub seed: u64,
    /// Intended send times, nanoseconds, one per transaction, never falling. A replay takes as many as its trace has
    /// transactions.
    pub intended_ns: &'a [u64],
    /// Nanoseconds after its intended send when a transaction counts as final, so that anybody may spend from it.
    pub settle_ns: u64,
}

/// What the graph is built for.
#[derive(Clone, Copy)]
pub(crate) struct Network<'a> {
    pub(crate) genesis: &'a Genesis,
    pub(crate) epoch: &'a EpochConfig,
    pub(crate) accounts: &'a Accounts,
}

/// Writes the unsigned transactions of a workload.
pub(crate) fn write(
    spec: &WorkloadSpec<'_>,
    network: Network<'_>,
    wallet: Wallet,
) -> Result<Graph, ArenaError> {
    if let Some(position) = spec.intended_ns.windows(2).position(|pair| pair[0] > pair[1]) {
        return Err(ArenaError::Schedule { position });
    }
    match spec.workload {
        Workload::Transfer(shape) => transfer::write(shape, spec, network, &wallet),
        Workload::Replay(trace) => replay::write(trace, spec, network, &wallet),
    }
}
