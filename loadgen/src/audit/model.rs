//! The auditor's own ledger: a plain map, one transaction after another. It shares nothing with the nodes' ledger but
//! the rules (`ios` 0.6, 1.9) and the hash functions.

use std::collections::{HashMap, HashSet};

use crypto::hash::{allocation_outpoint, effects_digest};
use crypto::placement::shard_of;
use types::block::Body;
use types::genesis::{Allocation, Committee, EpochConfig, Genesis};
use types::limits::COMPENSATION_INDEX;
use types::transaction::TxView;
use types::{Amount, Counters, Hash, Height, OutPoint, Owner, Reject, ShardId, TxId};

use super::league::{Claim, Reactions};

const PARTITIONS: usize = 64;
/// First byte of the key of the counters, which has nothing else.
const KIND_COUNTERS: u8 = 6;
/// First byte of the key of a settled claim; the txid follows.
const KIND_CLAIM: u8 = 7;
/// One in so many units of a lost bond rewards the detectors.
pub(super) const REWARD_SHARE: u64 = 20;

/// An unspent output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) owner: Owner,
    pub(super) amount: Amount,
    pub(super) created: Height,
}

/// Rule that a transaction breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Breach {
    Signature,
    Expiry,
    Fee,
    ForeignOutput,
    Missing,
    Spent,
    Owner,
    Value,
}

impl Breach {
    /// The code with which a transaction that breaks this rule is refused.
    pub(super) const fn reject(self) -> Reject {
        match self {
            Self::Signature => Reject::BadSignature,
            Self::Expiry => Reject::Expired,
            Self::Fee => Reject::FeeLow,
            Self::ForeignOutput => Reject::KindClosed,
            Self::Missing => Reject::InputMissing,
            Self::Spent => Reject::InputSpent,
            Self::Owner => Reject::OwnerMismatch,
            Self::Value => Reject::ValueMismatch,
        }
    }

    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Signature => "its signature is not valid",
            Self::Expiry => "it has expired",
            Self::Fee => "its fee is below the minimum",
            Self::ForeignOutput => "an output leaves the shard",
            Self::Missing => "an input does not exist",
            Self::Spent => "an input is already spent",
            Self::Owner => "an input belongs to another owner",
            Self::Value => "its inputs do not equal its outputs plus its fee",
        }
    }
}

/// A transaction of a block: reference, position in its body.
pub(super) type Place = (usize, usize);

/// What a block would do; nothing is changed until [`Model::commit`].
#[derive(Debug, Default)]
pub(super) struct Run {
    /// By reference, by position: the first rule that is broken.
    pub(super) breaches: Vec<Vec<Option<Breach>>>,
    /// By reference, by position: whether it takes effect.
    pub(super) applied: Vec<Vec<bool>>,
    pub(super) created: HashMap<OutPoint, Held>,
    spent: HashSet<OutPoint>,
    /// Created and spent inside the block.
    passed: HashSet<OutPoint>,
    fees: u128,
    /// Change of the live value.
    incoming: u128,
    pub(super) outgoing: u128,
    /// Counters after the block, when something but fees changed them.
    counters: Option<Counters>,
    /// Forged transactions whose claims took effect, ascending.
    pub(super) settled: Vec<TxId>,
    /// What claims took back, paid, and could not pay.
    pub(super) seized: u128,
    pub(super) paid: u128,
    pub(super) unpaid: u128,
    /// By slow transaction: the rule that it breaks.
    pub(super) slow: Vec<Option<Breach>>,
}

impl Run {
    /// Places of the transactions that take effect, or of those that do not.
    pub(super) fn places(&self, applied: bool) -> Vec<Place> {
        let mut places = Vec::new();
        for (reference, flags) in self.applied.iter().enumerate() {
            for (position, flag) in flags.iter().enumerate() {
                if *flag == applied {
                    places.push((reference, position));
                }
            }
        }
        places
    }

    pub(super) fn breach(&self, (reference, position): Place) -> Option<Breach> {
        *self.breaches.get(reference)?.get(position)?
    }

    /// One bitmap per reference, empty when nothing is excluded (`ios` 0.6).
    pub(super) fn bitmaps(&self) -> Vec<Vec<u8>> {
        let bitmap = |flags: &Vec<bool>| {
            if flags.iter().all(|applied| *applied) {
                return Vec::new();
            }
            let mut bytes = vec![0_u8; flags.len().div_ceil(8)];
            for (position, applied) in flags.iter().enumerate() {
                bytes[position / 8] |= u8::from(!*applied) << (position % 8);
            }
            bytes
        };
        self.applied.iter().map(bitmap).collect()
    }
}

/// What the model is told besides the transactions.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Transactions with a signature that is not valid.
    pub(super) bad_signatures: HashSet<Place>,
    /// Transactions that the chain treats otherwise than the rules: whether it applied them.
    pub(super) overruled: HashMap<Place, bool>,
    /// What the block does besides the transactions of its references.
    pub(super) reactions: Reactions,
}

/// State of one shard after a height.
#[derive(Debug)]
pub(super) struct Model {
    shard: ShardId,
    shards: u16,
    fee_min: u64,
    expiry_ahead_max: u32,
    live: HashMap<OutPoint, Held>,
    /// First bytes of everything ever spent: only to tell a double spend from a missing input.
    spent: HashSet<u64>,
    /// Forged transactions that were paid for: once each.
    claimed: HashSet<TxId>,
    pub(super) supply: u128,
    pub(super) value: u128,
    pub(super) counters: Counters,
    pub(super) height: Height,
    pub(super) digest: Hash,
}

impl Model {
    pub(super) fn new(
        genesis: &Genesis,
        epoch: &EpochConfig,
        shard: ShardId,
        allocations: &[Allocation],
    ) -> Self {
        let mut model = Self {
            shard,
            shards: genesis.shards,
            fee_min: epoch.policy.fee_min,
            expiry_ahead_max: epoch.policy.expiry_ahead_max,
            live: HashMap::new(),
            spent: HashSet::new(),
            claimed: HashSet::new(),
            supply: 0,
            value: 0,
            counters: Counters::default(),
            height: Height(0),
            digest: epoch.genesis_hash,
        };
        let mut run = Run::default();
        for (position, allocation) in (0_u64..).zip(allocations) {
            if shard_of(&allocation.owner, genesis.shards) == shard {
                let held = Held {
                    owner: allocation.owner,
                    amount: allocation.amount,
                    created: Height(0),
                };
                run.outgoing += u128::from(held.amount.0);
                run.created
                    .insert(allocation_outpoint(&genesis.name, position), held);
            }
        }
        let bonds = epoch.committees.iter().find(|committee| committee.shard == shard);
        let bonds = bonds.map_or(0, Committee::bonded);
        if bonds > 0 {
            run.counters = Some(Counters {
                bonds,
                ..Counters::default()
            });
        }
        model.supply = run.outgoing + u128::from(bonds);
        model.digest = model.digest_after(Height(0), &run);
        model.commit(Height(0), run);
        model
    }

    /// Unspent value, fees, bonds, pool and rewards: equal to the supply unless value was made or lost.
    pub(super) fn sum(&self) -> u128 {
        self.value + self.counters.held()
    }

    /// Unspent outputs.
    pub(super) fn live(&self) -> &HashMap<OutPoint, Held> {
        &self.live
    }

    /// Runs a block without changing the state.
    pub(super) fn run(&self, height: Height, bodies: &[Body], told: &Told) -> Run {
        let mut run = Run::default();
        self.settle(&mut run, height, &told.reactions);
        for (reference, body) in bodies.iter().enumerate() {
            let mut breaches = Vec::with_capacity(body.len());
            let mut applied = Vec::with_capacity(body.len());
            for (position, (txid, tx)) in body.txs().enumerate() {
                let place = (reference, position);
                let breach = if told.bad_signatures.contains(&place) {
                    Some(Breach::Signature)
                } else {
                    self.breach(&run, &tx)
                };
                let applies = told.overruled.get(&place).copied().unwrap_or(breach.is_none());
                if applies {
                    self.apply(&mut run, height, &txid, &tx);
                }
                breaches.push(breach);
                applied.push(applies);
            }
            run.breaches.push(breaches);
            run.applied.push(applied);
        }
        for (txid, bytes) in &told.reactions.slow {
            let Ok(tx) = TxView::decode(bytes) else { continue };
            let breach = self.breach(&run, &tx);
            if breach.is_none() {
                self.apply(&mut run, height, txid, &tx);
            }
            run.slow.push(breach);
        }
        run
    }

    /// Slashes, then claims, before any transaction (`ios` 7.8).
    fn settle(&self, run: &mut Run, height: Height, reactions: &Reactions) {
        let mut counters = self.counters;
        for (_, bond) in &reactions.slashes {
            // A bond that is not in force shows as a broken sum.
            counters.bonds = counters.bonds.saturating_sub(*bond);
            counters.rewards += bond / REWARD_SHARE;
            counters.pool += bond - bond / REWARD_SHARE;
        }
        for claim in &reactions.claims {
            if !self.claimed.contains(&claim.txid) && !run.settled.contains(&claim.txid) {
                self.compensate(run, height, claim, &mut counters);
                run.settled.push(claim.txid);
            }
        }
        run.settled.sort_unstable();
        run.counters = (counters != self.counters).then_some(counters);
    }

    /// Seizes what is unspent of a forged transaction and pays its victims in order, the rest from the pool.
    fn compensate(&self, run: &mut Run, height: Height, claim: &Claim, counters: &mut Counters) {
        let outpoint = |index| OutPoint {
            txid: claim.txid,
            index,
        };
        let mut fund = u128::from(counters.pool);
        for index in 0..claim.outputs {
            let seized = self.live.get(&outpoint(index));
            if let Some(held) = seized.filter(|_| !run.spent.contains(&outpoint(index))) {
                run.spent.insert(outpoint(index));
                let amount = u128::from(held.amount.0);
                run.incoming += amount;
                run.seized += amount;
                fund += amount;
            }
        }
        for (index, (owner, loss)) in (COMPENSATION_INDEX..).zip(&claim.victims) {
            let paid = fund.min(u128::from(*loss)) as u64;
            fund -= u128::from(paid);
            let missing = loss - paid;
            counters.unpaid = counters.unpaid.saturating_add(missing);
            run.unpaid += u128::from(missing);
            if paid > 0 {
                run.paid += u128::from(paid);
                run.outgoing += u128::from(paid);
                let held = Held {
                    owner: *owner,
                    amount: Amount(paid),
                    created: height,
                };
                run.created.insert(outpoint(index), held);
            }
        }
        counters.pool = u64::try_from(fund).unwrap_or(u64::MAX);
    }

    fn held(&self, run: &Run, outpoint: &OutPoint) -> Result<Held, Breach> {
        if let Some(held) = run.created.get(outpoint) {
            return Ok(*held);
        }
        if run.spent.contains(outpoint) || run.passed.contains(outpoint) {
            return Err(Breach::Spent);
        }
        self.live.get(outpoint).copied().ok_or_else(|| {
            if self.spent.contains(&short(outpoint)) {
                Breach::Spent
            } else {
                Breach::Missing
            }
        })
    }

    fn breach(&self, run: &Run, tx: &TxView<'_>) -> Option<Breach> {
        if tx.expiry_epoch() > self.expiry_ahead_max {
            return Some(Breach::Expiry);
        }
        if tx.fee().0 < self.fee_min {
            return Some(Breach::Fee);
        }
        let mut outgoing = u128::from(tx.fee().0);
        for output in tx.outputs() {
            if shard_of(&output.owner, self.shards) != self.shard {
                return Some(Breach::ForeignOutput);
            }
            outgoing += u128::from(output.amount.0);
        }
        let mut incoming = 0_u128;
        for input in tx.inputs() {
            match self.held(run, &input.outpoint) {
                Ok(held) if tx.owner(input.owner) != Some(held.owner) => return Some(Breach::Owner),
                Ok(held) => incoming += u128::from(held.amount.0),
                Err(breach) => return Some(breach),
            }
        }
        (incoming != outgoing).then_some(Breach::Value)
    }

    fn apply(&self, run: &mut Run, height: Height, txid: &TxId, tx: &TxView<'_>) {
        for input in tx.inputs() {
            let outpoint = input.outpoint;
            if let Some(held) = run.created.remove(&outpoint) {
                run.passed.insert(outpoint);
                run.incoming += u128::from(held.amount.0);
            } else if let Some(held) = self.live.get(&outpoint)
                && run.spent.insert(outpoint)
            {
                run.incoming += u128::from(held.amount.0);
            }
        }
        for (index, output) in (0_u16..).zip(tx.outputs()) {
            let held = Held {
                owner: output.owner,
                amount: output.amount,
                created: height,
            };
            run.outgoing += u128::from(output.amount.0);
            run.created.insert(OutPoint { txid: *txid, index }, held);
        }
        run.fees += u128::from(tx.fee().0);
    }

    /// Effects digest after a block (`ios` 0.6).
    pub(super) fn digest_after(&self, height: Height, run: &Run) -> Hash {
        let mut changes: Vec<(&OutPoint, Option<&Held>)> = run
            .created
            .iter()
            .map(|(outpoint, held)| (outpoint, Some(held)))
            .chain(run.spent.iter().map(|outpoint| (outpoint, None)))
            .collect();
        // Ascending by key, in which an index is little-endian.
        changes.sort_unstable_by_key(|(outpoint, _)| (outpoint.txid, outpoint.index.to_le_bytes()));
        let mut partitions = [[0; 32]; PARTITIONS];
        let mut rest = changes.as_slice();
        for (number, partition) in partitions.iter_mut().enumerate() {
            let len = rest.partition_point(|(outpoint, _)| outpoint.partition() <= number);
            let (mine, others) = rest.split_at(len);
            rest = others;
            let mut hasher = blake3::Hasher::new();
            for (outpoint, held) in mine {
                // 0 gone or 1 new; kind of the key (0 = outpoint); key; for new ones the value.
                hasher.update(&[u8::from(held.is_some()), 0]);
                hasher.update(&outpoint.txid.0);
                hasher.update(&outpoint.index.to_le_bytes());
                if let Some(held) = held {
                    hasher.update(&held.owner.0);
                    hasher.update(&held.amount.0.to_le_bytes());
                    hasher.update(&held.created.0.to_le_bytes());
                }
            }
            if let (0, Some(counters)) = (number, &run.counters) {
                hasher.update(&[1, KIND_COUNTERS]);
                for value in [counters.bonds, counters.pool, counters.rewards, counters.unpaid] {
                    hasher.update(&value.to_le_bytes());
                }
            }
            for txid in &run.settled {
                if outpoint_of(txid).partition() == number {
                    hasher.update(&[1, KIND_CLAIM]);
                    hasher.update(&txid.0);
                }
            }
            *partition = hasher.finalize().into();
        }
        effects_digest(&self.digest, height, &partitions)
    }

    /// Makes a run the state.
    pub(super) fn commit(&mut self, height: Height, run: Run) {
        for outpoint in &run.spent {
            self.live.remove(outpoint);
        }
        let gone = run.spent.iter().chain(&run.passed).map(short);
        self.spent.extend(gone);
        self.claimed.extend(&run.settled);
        self.live.extend(run.created);
        self.value = (self.value + run.outgoing).saturating_sub(run.incoming);
        if let Some(counters) = run.counters {
            self.counters = Counters {
                fees: self.counters.fees,
                ..counters
            };
        }
        let fees = u64::try_from(run.fees).unwrap_or(u64::MAX);
        self.counters.fees = self.counters.fees.saturating_add(fees);
        self.height = height;
    }
}

const fn outpoint_of(txid: &TxId) -> OutPoint {
    OutPoint {
        txid: *txid,
        index: 0,
    }
}

fn short(outpoint: &OutPoint) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = outpoint.txid.0;
    u64::from_le_bytes([a, b, c, d, e, f, g, h]) ^ u64::from(outpoint.index)
}
