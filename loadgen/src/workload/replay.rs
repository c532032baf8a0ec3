//! Replay of a trace: each transaction once, in order, the parent before the child.

use crypto::hash::allocation_outpoint;
use types::genesis::Allocation;
use types::transaction::Output;
use types::{MemberIndex, OutPoint, Owner};

use super::graph::{Payment, Spend};
use super::{Graph, Network, WorkloadSpec};
use crate::arena::{ArenaError, Expect};
use crate::import::{Source, Trace};
use crate::ownership::Accounts;
use crate::wallet::Wallet;

/// What the genesis must allocate so that a trace can be replayed by these accounts, in order, after the accounts of
/// its funding rule.
#[must_use]
pub fn allocations(trace: &Trace, accounts: &Accounts) -> Vec<Allocation> {
    trace
        .allocations
        .iter()
        .map(|coin| Allocation {
            owner: accounts.owner(coin.owner).unwrap_or_default(),
            amount: coin.amount,
        })
        .collect()
}

/// The first transaction of everything that hangs together, by transaction.
fn families(trace: &Trace) -> Vec<u32> {
    let mut roots: Vec<u32> = Vec::with_capacity(trace.transactions.len());
    let root = |roots: &[u32], mut tx: u32| {
        while roots[tx as usize] != tx {
            tx = roots[tx as usize];
        }
        tx
    };
    for (position, tx) in (0_u32..).zip(&trace.transactions) {
        roots.push(position);
        for source in &tx.inputs {
            if let Source::Output { tx, .. } = source {
                let (left, right) = (root(&roots, position), root(&roots, *tx));
                roots[left.max(right) as usize] = left.min(right);
            }
        }
    }
    (0..roots.len() as u32).map(|tx| root(&roots, tx)).collect()
}

pub(super) fn write(
    trace: &Trace,
    spec: &WorkloadSpec<'_>,
    network: Network<'_>,
    wallet: &Wallet,
) -> Result<Graph, ArenaError> {
    if network.genesis.shards != 1 {
        return Err(ArenaError::TraceShards {
            shards: network.genesis.shards,
        });
    }
    if (trace.owners as usize) > network.accounts.len() {
        return Err(ArenaError::TraceAccounts {
            owners: trace.owners,
            accounts: network.accounts.len(),
        });
    }
    if spec.intended_ns.len() != trace.transactions.len() {
        return Err(ArenaError::TraceLength {
            transactions: trace.transactions.len(),
            times: spec.intended_ns.len(),
        });
    }
    let funded = funded_outpoints(trace, network, wallet)?;
    let families = families(trace);
    let owner = |account: u32| network.accounts.owner(account).unwrap_or_default();
    let mut graph = Graph::with_capacity(trace.transactions.len(), 0);
    for (position, tx) in trace.transactions.iter().enumerate() {
        let spend = |source: &Source| {
            let outpoint = match *source {
                Source::Allocation(position) => funded[position as usize],
                Source::Output { tx, index } => OutPoint {
                    txid: graph.entries[tx as usize].txid,
                    index,
                },
            };
            let owner = trace.coin(*source).map(|coin| owner(coin.owner));
            Spend {
                outpoint,
                owner: owner.unwrap_or(Owner([0; 32])),
            }
        };
        let mut payment = Payment {
            spends: tx.inputs.iter().map(spend).collect(),
            outputs: tx
                .outputs
                .iter()
                .map(|coin| Output {
                    owner: owner(coin.owner),
                    amount: coin.amount,
                })
                .collect(),
            fee: tx.fee,
            memo: tx.memo.clone(),
            parent: tx.inputs.iter().filter_map(parent).max(),
            // Whatever hangs together goes to one author: a chain then never waits for a block between its links.
            member: member_of_family(&graph, &families, position),
            expect: Expect::Final,
        };
        graph.push(&mut payment, network.epoch);
    }
    Ok(graph)
}

const fn parent(source: &Source) -> Option<u32> {
    match source {
        Source::Allocation(_) => None,
        Source::Output { tx, .. } => Some(*tx),
    }
}

fn member_of_family(graph: &Graph, families: &[u32], position: usize) -> Option<MemberIndex> {
    let first = families[position];
    graph.entry(first).map(|entry| entry.member)
}

/// Outpoints of the trace's allocations, all of them live.
fn funded_outpoints(
    trace: &Trace,
    network: Network<'_>,
    wallet: &Wallet,
) -> Result<Vec<OutPoint>, ArenaError> {
    let live: std::collections::HashMap<OutPoint, (u32, types::Amount)> = wallet
        .coins()
        .iter()
        .map(|coin| (coin.outpoint, (coin.account, coin.amount)))
        .collect();
    let first = u64::from(network.genesis.funding.accounts);
    (0_u64..)
        .zip(&trace.allocations)
        .map(|(position, coin)| {
            let outpoint = allocation_outpoint(&network.genesis.name, first + position);
            if live.get(&outpoint) == Some(&(coin.owner, coin.amount)) {
                Ok(outpoint)
            } else {
                Err(ArenaError::TraceUnfunded { allocation: position })
            }
        })
        .collect()
}
