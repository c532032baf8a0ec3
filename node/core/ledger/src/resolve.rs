//! Second step of a block: what each input refers to and what each transaction needs, one task per partition.

use crypto::placement::shard_of;
use hashbrown::HashTable;
use types::{Height, OutPoint, Owner, Reject, ShardId, TxId};

use crate::executor::{Executor, run_each};
use crate::hash::spread;
use crate::partition::Partition;
use crate::plan::{Block, PlannedInput, parts};

/// What holds for every transaction of the block.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) height: Height,
    pub(crate) shard: ShardId,
    pub(crate) shards: u16,
    pub(crate) fee_min: u64,
    pub(crate) expiry_ahead_max: u32,
    pub(crate) keep_spent: u64,
}

/// What a transaction says for itself; state has no part in it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Check {
    /// The first rule broken of those that need no state; signatures apart.
    pub(crate) reject: Option<Reject>,
    /// Outputs plus fee, or `None` above `u64::MAX`.
    pub(crate) needed: Option<u64>,
    pub(crate) fee: u64,
    /// The first transaction of the block with this txid. Only set right in partitions where some input may have
    /// its parent in this block; elsewhere nobody asks.
    pub(crate) first_of_id: u32,
}

/// Where an input's output is.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Source {
    /// Neither in the state nor among the outputs of this block.
    #[default]
    Missing,
    /// Spent by another transaction at an earlier height.
    Spent,
    /// Spent by this transaction at an earlier height.
    Duplicate,
    /// In the state, unspent before this block.
    State {
        /// Slot in the outpoint's partition.
        slot: u32,
    },
    /// An output of a transaction of this block.
    Block {
        /// That transaction, the first of its txid.
        parent: u32,
    },
    /// Past the outputs of a transaction of this block.
    PastEnd {
        /// That transaction, the first of its txid.
        parent: u32,
    },
}

/// An input with what it refers to.
#[derive(Clone, Copy, Default)]
pub(crate) struct Resolved {
    pub(crate) source: Source,
    /// Equal for inputs that refer to the same output: below the number of inputs for outputs of the state, that
    /// number plus the output's for outputs of this block.
    pub(crate) claim: u32,
    pub(crate) owner_matches: bool,
    pub(crate) amount: u64,
}

/// One partition's share.
struct Share<'a> {
    number: usize,
    partition: &'a mut Partition,
    checks: &'a mut [Check],
    resolved: &'a mut [Resolved],
}

/// Fills `checks` and `resolved`, both by partition. The state stays as it is, but for the claims in its slots,
/// which `commit` takes back.
pub(crate) fn run(
    block: &Block<'_>,
    rules: &Rules,
    partitions: &mut [Partition],
    (checks, resolved): (&mut [Check], &mut [Resolved]),
    executor: &dyn Executor,
) {
    let shares = partitions
        .iter_mut()
        .zip(parts(checks, &block.plan.tx_starts))
        .zip(parts(resolved, &block.plan.input_starts))
        .enumerate()
        .map(|(number, ((partition, checks), resolved))| Share {
            number,
            partition,
            checks,
            resolved,
        });
    run_each(executor, block.plan.txs.len(), shares, |mut share| {
        let orphans = look_up(block, rules, &mut share);
        for (check, tx) in share.checks.iter_mut().zip(block.txs_of(share.number)) {
            *check = check_alone(block, rules, *tx);
        }
        if orphans {
            find_parents(block, &mut share);
        }
    });
}

/// Looks every input up in the state. Returns whether some are not there.
fn look_up(block: &Block<'_>, rules: &Rules, share: &mut Share<'_>) -> bool {
    let first = block.plan.input_starts[share.number];
    let mut orphans = false;
    for (place, (resolved, input)) in
        (first..).zip(share.resolved.iter_mut().zip(block.inputs_of(share.number)))
    {
        let (outpoint, owner) = refers_to(block, *input);
        *resolved = Resolved::default();
        let Some(number) = share.partition.find(&outpoint) else {
            orphans = true;
            continue;
        };
        let slot = share.partition.slot_mut(number);
        if slot.spent_at == 0 {
            if slot.claim == 0 {
                slot.claim = place + 1;
            }
            *resolved = Resolved {
                source: Source::State { slot: number },
                claim: slot.claim - 1,
                owner_matches: owner == Some(slot.owner),
                amount: slot.amount,
            };
        } else if slot.spent_at.saturating_add(rules.keep_spent) < rules.height.0 {
            // Due to be purged: whether `finalize` came to it yet must make no difference.
            orphans = true;
        } else if slot.spent_by == block.txid(input.tx) {
            resolved.source = Source::Duplicate;
        } else {
            resolved.source = Source::Spent;
        }
    }
    orphans
}

fn refers_to(block: &Block<'_>, input: PlannedInput) -> (OutPoint, Option<Owner>) {
    let tx = block.tx(input.tx);
    let Some(found) = tx.inputs().nth(usize::from(input.position)) else {
        return (OutPoint::default(), None);
    };
    (found.outpoint, tx.owner(found.owner))
}

fn check_alone(block: &Block<'_>, rules: &Rules, number: u32) -> Check {
    let tx = block.tx(number);
    let mut needed = Some(tx.fee());
    let mut stays = true;
    for output in tx.outputs() {
        needed = needed.and_then(|sum| sum.checked_add(output.amount));
        stays &= shard_of(&output.owner, rules.shards) == rules.shard;
    }
    // The epoch is 0 for the whole life of a chain (ios 20.5), so every expiry is at or above it.
    let reject = if tx.expiry_epoch() > rules.expiry_ahead_max {
        Some(Reject::Expired)
    } else if tx.fee().0 < rules.fee_min {
        Some(Reject::FeeLow)
    } else if !stays {
        Some(Reject::KindClosed)
    } else {
        None
    };
    Check {
        reject,
        needed: needed.map(|sum| sum.0),
        fee: tx.fee().0,
        first_of_id: number,
    }
}

/// Looks for the outputs that are not in the state among those of this block.
///
/// A txid lies in the same partition as its outputs, so the parents in question are this share's own.
fn find_parents(block: &Block<'_>, share: &mut Share<'_>) {
    let hash = share.partition.key_hash();
    let parents = &mut share.partition.parents;
    let find = |parents: &HashTable<(u32, u32)>, txid: &TxId| {
        let tag = hash.tag(&OutPoint {
            txid: *txid,
            index: 0,
        });
        let same = |entry: &(u32, u32)| entry.0 == tag && block.txid(entry.1) == *txid;
        (tag, parents.find(spread(tag), same).map(|entry| entry.1))
    };
    parents.clear();
    for (number, check) in block.txs_of(share.number).iter().zip(share.checks.iter_mut()) {
        match find(parents, &block.txid(*number)) {
            (_, Some(first)) => check.first_of_id = first,
            (tag, None) => {
                parents.insert_unique(spread(tag), (tag, *number), |entry| spread(entry.0));
            }
        }
    }
    let inputs = block.inputs_of(share.number).iter();
    for (resolved, input) in share.resolved.iter_mut().zip(inputs) {
        if resolved.source != Source::Missing {
            continue;
        }
        let (outpoint, owner) = refers_to(block, *input);
        let (_, Some(parent)) = find(parents, &outpoint.txid) else {
            continue;
        };
        let first_output = block.plan.txs[parent as usize].first_output;
        *resolved = match block.tx(parent).outputs().nth(usize::from(outpoint.index)) {
            None => Resolved {
                source: Source::PastEnd { parent },
                ..Resolved::default()
            },
            Some(output) => Resolved {
                source: Source::Block { parent },
                claim: block.plan.input_places.len() as u32 + first_output + u32::from(outpoint.index),
                owner_matches: owner == Some(output.owner),
                amount: output.amount.0,
            },
        };
    }
}
