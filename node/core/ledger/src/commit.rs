//! Last step of a block: the decisions are written into the state, one task per partition.

use types::{Height, OutPoint};

use crate::decide::Decisions;
use crate::executor::{Executor, run_each};
use crate::partition::Partition;
use crate::plan::{Block, parts};
use crate::planted::Fault;
use crate::resolve::{Check, Resolved, Source};
use crate::{PARTITIONS, Utxo};

/// One partition's share.
struct Share<'a> {
    number: usize,
    partition: &'a mut Partition,
    checks: &'a mut [Check],
    resolved: &'a mut [Resolved],
    changes_hash: &'a mut [u8; 32],
}

/// Writes the block into the state and returns the hash of each partition's net changes.
pub(crate) fn run(
    block: &Block<'_>,
    height: Height,
    partitions: &mut [Partition],
    (checks, resolved): (&mut [Check], &mut [Resolved]),
    (decisions, fault): (&Decisions, Fault),
    executor: &dyn Executor,
) -> [[u8; 32]; PARTITIONS] {
    let mut hashes = [[0; 32]; PARTITIONS];
    let shares = partitions
        .iter_mut()
        .zip(parts(checks, &block.plan.tx_starts))
        .zip(parts(resolved, &block.plan.input_starts))
        .zip(hashes.iter_mut())
        .enumerate()
        .map(
            |(number, (((partition, checks), resolved), changes_hash))| Share {
                number,
                partition,
                checks,
                resolved,
                changes_hash,
            },
        );
    run_each(executor, block.plan.txs.len(), shares, |mut share| {
        spend(block, height, decisions, &mut share);
        create(block, height, decisions, &mut share);
        *share.changes_hash = share.partition.take_changes_hash(fault);
    });
    hashes
}

fn spend(block: &Block<'_>, height: Height, decisions: &Decisions, share: &mut Share<'_>) {
    for (resolved, input) in share.resolved.iter().zip(block.inputs_of(share.number)) {
        let Source::State { slot } = resolved.source else {
            continue;
        };
        share.partition.slot_mut(slot).claim = 0;
        if decisions.applied[input.tx as usize] {
            share.partition.spend(slot, height, block.txid(input.tx));
        }
    }
}

fn create(block: &Block<'_>, height: Height, decisions: &Decisions, share: &mut Share<'_>) {
    for (check, number) in share.checks.iter().zip(block.txs_of(share.number)) {
        if !decisions.applied[*number as usize] {
            continue;
        }
        let txid = block.txid(*number);
        let first_claim =
            block.plan.input_places.len() + block.plan.txs[check.first_of_id as usize].first_output as usize;
        for (index, output) in block.tx(*number).outputs().enumerate() {
            let spender = decisions.claims[first_claim + index];
            let spent_by = (spender != 0).then(|| block.txid(spender - 1));
            let outpoint = OutPoint {
                txid,
                index: index as u16,
            };
            let utxo = Utxo {
                owner: output.owner,
                amount: output.amount,
                created: height,
            };
            share.partition.create(&outpoint, &utxo, spent_by);
        }
    }
}
