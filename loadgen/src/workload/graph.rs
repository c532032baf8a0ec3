//! Unsigned transactions one after another, each with its route and its parent.

use crypto::hash::txid;
use crypto::placement::{group_of, member_of, shard_of};
use types::genesis::EpochConfig;
use types::transaction::{Input, Output, TxDraft};
use types::{Amount, MemberIndex, OutPoint, Owner, ShardId, TxId};

use crate::arena::{ArenaEntry, Expect};

const SIGNATURE_BYTES: usize = 64;

/// One input with its owner.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spend {
    pub(super) outpoint: OutPoint,
    pub(super) owner: Owner,
}

/// One transaction to be written; inputs in any order.
#[derive(Debug, Default)]
pub(super) struct Payment {
    pub(super) spends: Vec<Spend>,
    pub(super) outputs: Vec<Output>,
    pub(super) fee: Amount,
    pub(super) memo: Vec<u8>,
    /// Latest creator of an input in this graph.
    pub(super) parent: Option<u32>,
    /// Voter to send to in mode 1, when it is not the one of the first input's owner.
    pub(super) member: Option<MemberIndex>,
    /// What should become of it.
    pub(super) expect: Expect,
}

/// Transactions with room for their signatures.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    pub(crate) bytes: Vec<u8>,
    pub(crate) entries: Vec<ArenaEntry>,
    pub(crate) inputs: u64,
    pub(crate) outputs: u64,
    pub(crate) signatures: u64,
    /// Largest value of a transaction, and the sum of all.
    pub(crate) value_max: u64,
    pub(crate) value_sum: u128,
    draft: TxDraft,
}

impl Graph {
    pub(super) fn with_capacity(transactions: usize, bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            entries: Vec::with_capacity(transactions),
            ..Self::default()
        }
    }

    pub(super) fn entry(&self, position: u32) -> Option<&ArenaEntry> {
        self.entries.get(position as usize)
    }

    /// Appends one transaction: sorts its inputs and owners, names its shard, its group and its voter.
    pub(super) fn push(&mut self, payment: &mut Payment, epoch: &EpochConfig) -> TxId {
        payment.spends.sort_unstable_by_key(|spend| spend.outpoint);
        let draft = &mut self.draft;
        draft.owners.clear();
        draft
            .owners
            .extend(payment.spends.iter().map(|spend| spend.owner));
        draft.owners.sort_unstable();
        draft.owners.dedup();
        draft.inputs.clear();
        for spend in &payment.spends {
            let owner = draft.owners.binary_search(&spend.owner).unwrap_or_default();
            draft.inputs.push(Input {
                outpoint: spend.outpoint,
                owner: owner as u8,
            });
        }
        std::mem::swap(&mut draft.outputs, &mut payment.outputs);
        std::mem::swap(&mut draft.memo, &mut payment.memo);
        draft.fee = payment.fee;
        let start = self.bytes.len();
        draft.encode_body(&mut self.bytes);
        let txid = txid(&self.bytes[start..]);
        let signatures = draft.owners.len();
        self.bytes
            .resize(self.bytes.len() + signatures * SIGNATURE_BYTES, 0);
        self.inputs += draft.inputs.len() as u64;
        self.outputs += draft.outputs.len() as u64;
        self.signatures += signatures as u64;
        let value = draft
            .outputs
            .iter()
            .fold(draft.fee.0, |sum, output| sum.saturating_add(output.amount.0));
        self.value_max = self.value_max.max(value);
        self.value_sum += u128::from(value);
        let (shard, group, member) = route(payment, epoch);
        self.entries.push(ArenaEntry {
            offset: start as u64,
            len: (self.bytes.len() - start) as u32,
            txid,
            shard,
            group,
            member,
            parent: payment.parent,
            expect: payment.expect,
        });
        txid
    }
}

/// Shard and group of the first input's owner, and its voter there unless the payment names one (`ios` 1.7, 1.8).
fn route(payment: &Payment, epoch: &EpochConfig) -> (ShardId, u16, MemberIndex) {
    let owner = payment
        .spends
        .first()
        .map(|spend| spend.owner)
        .unwrap_or_default();
    let shard = shard_of(&owner, epoch.committees.len() as u16);
    let group = group_of(&owner, &epoch.randomness, shard, epoch.policy.seats());
    let member = payment.member.unwrap_or_else(|| {
        let voters = epoch
            .committees
            .get(usize::from(shard.0))
            .map_or(1, |committee| committee.size() as u16);
        member_of(&owner, &epoch.randomness, shard, voters)
    });
    (shard, group, member)
}
