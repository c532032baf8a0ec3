//! The money of the model: outputs, what is in no output, and the digest of what a height changed.

use std::collections::{BTreeMap, BTreeSet};

use crypto::hash;
use ledger::Utxo;
use types::limits::COMPENSATION_INDEX;
use types::transaction::TxView;
use types::{Amount, Counters, Hash, Height, OutPoint, Owner, TxId};

/// A forged transaction that took effect: who lost what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Forgery {
    pub(super) txid: TxId,
    pub(super) outputs: u16,
    /// Owners whose signatures are bad, with their losses.
    pub(super) victims: Vec<(Owner, u64)>,
}

/// What a claim came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Settled {
    pub(super) seized: u64,
    pub(super) paid: u64,
    pub(super) unpaid: u64,
}

/// What a height changed.
#[derive(Clone, Debug)]
pub(super) struct Delta {
    pub(super) digest: Hash,
    pub(super) counters: Counters,
    pub(super) created: Vec<(OutPoint, Utxo)>,
    pub(super) spent: Vec<OutPoint>,
    pub(super) claimed: Vec<TxId>,
}

/// All money at a height.
#[derive(Debug)]
pub(super) struct Money {
    pub(super) utxos: BTreeMap<OutPoint, Utxo>,
    pub(super) counters: Counters,
    pub(super) claimed: BTreeSet<TxId>,
    pub(super) digest: Hash,
    /// Every output ever made by a final transaction or claim.
    known: BTreeMap<OutPoint, Known>,
    before: (BTreeMap<OutPoint, Utxo>, Counters, BTreeSet<TxId>),
}

/// The life of an output.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) utxo: Utxo,
    /// Height and transaction that spent it; a claim seizes an output under its own transaction's id.
    pub(super) spent: Option<(Height, TxId)>,
}

impl Money {
    pub(super) fn new(genesis: &Hash, coins: &[(OutPoint, Utxo)], bonds: u64) -> Self {
        let counters = Counters {
            bonds,
            ..Counters::default()
        };
        let utxos: BTreeMap<OutPoint, Utxo> = coins.iter().copied().collect();
        let known = |(outpoint, utxo): (&OutPoint, &Utxo)| {
            let life = Known {
                utxo: *utxo,
                spent: None,
            };
            (*outpoint, life)
        };
        let mut money = Self {
            known: utxos.iter().map(known).collect(),
            before: (BTreeMap::new(), Counters::default(), BTreeSet::new()),
            utxos,
            counters,
            claimed: BTreeSet::new(),
            digest: *genesis,
        };
        money.finish(Height(0));
        money
    }

    pub(super) fn known(&self, outpoint: &OutPoint) -> Option<&Known> {
        self.known.get(outpoint)
    }

    /// Remembers the state before a height.
    pub(super) fn begin(&mut self) {
        self.before = (self.utxos.clone(), self.counters, self.claimed.clone());
    }

    /// A bond is lost: a twentieth rewards who found out, the rest is for the defrauded.
    pub(super) const fn slash(&mut self, bond: u64) {
        let reward = (bond as u128 * 5 / 100) as u64;
        self.counters.bonds -= bond;
        self.counters.rewards += reward;
        self.counters.pool += bond - reward;
    }

    /// Takes back what is left of a forged transaction's outputs and pays its victims; nothing the second time.
    pub(super) fn settle(&mut self, forgery: &Forgery, height: Height) -> Settled {
        let mut settled = Settled::default();
        let txid = forgery.txid;
        if !self.claimed.insert(txid) {
            return settled;
        }
        for index in 0..forgery.outputs {
            if let Some(utxo) = self.spend(OutPoint { txid, index }, height, txid) {
                settled.seized += utxo.amount.0;
            }
        }
        let mut left = settled.seized;
        for (index, (owner, loss)) in (COMPENSATION_INDEX..).zip(&forgery.victims) {
            let from_seized = left.min(*loss);
            let from_pool = self.counters.pool.min(loss - from_seized);
            left -= from_seized;
            self.counters.pool -= from_pool;
            let paid = from_seized + from_pool;
            settled.paid += paid;
            settled.unpaid += loss - paid;
            if paid > 0 {
                self.make(OutPoint { txid, index }, *owner, Amount(paid), height);
            }
        }
        self.counters.pool += left;
        self.counters.unpaid += settled.unpaid;
        settled
    }

    /// Whether a transaction's inputs are there, belong to its owners and are worth its outputs and its fee.
    pub(super) fn is_payable(&self, tx: &TxView<'_>) -> bool {
        let mut sum = 0_u128;
        for input in tx.inputs() {
            let Some(utxo) = self.utxos.get(&input.outpoint) else {
                return false;
            };
            if tx.owner(input.owner) != Some(utxo.owner) {
                return false;
            }
            sum += u128::from(utxo.amount.0);
        }
        sum == value_of(tx)
    }

    pub(super) fn pay(&mut self, txid: TxId, tx: &TxView<'_>, height: Height) {
        for input in tx.inputs() {
            self.spend(input.outpoint, height, txid);
        }
        for (index, output) in (0..).zip(tx.outputs()) {
            self.make(OutPoint { txid, index }, output.owner, output.amount, height);
        }
        self.counters.fees += tx.fee().0;
    }

    fn spend(&mut self, outpoint: OutPoint, height: Height, by: TxId) -> Option<Utxo> {
        let utxo = self.utxos.remove(&outpoint)?;
        if let Some(known) = self.known.get_mut(&outpoint) {
            known.spent = Some((height, by));
        }
        Some(utxo)
    }

    fn make(&mut self, outpoint: OutPoint, owner: Owner, amount: Amount, height: Height) {
        let utxo = Utxo {
            owner,
            amount,
            created: height,
        };
        self.utxos.insert(outpoint, utxo);
        self.known.insert(outpoint, Known { utxo, spent: None });
    }

    /// Advances the digest by what changed since [`Money::begin`].
    pub(super) fn finish(&mut self, height: Height) -> Delta {
        let (utxos, counters, claimed) = &self.before;
        let created: Vec<_> = self
            .utxos
            .iter()
            .filter(|(outpoint, _)| !utxos.contains_key(outpoint))
            .map(|(outpoint, utxo)| (*outpoint, *utxo))
            .collect();
        let spent: Vec<_> = utxos
            .keys()
            .filter(|outpoint| !self.utxos.contains_key(outpoint))
            .copied()
            .collect();
        let claimed: Vec<_> = self.claimed.difference(claimed).copied().collect();
        let owed = |of: &Counters| [of.bonds, of.pool, of.rewards, of.unpaid];
        let mut changes: BTreeMap<(u8, Vec<u8>), Option<Vec<u8>>> = BTreeMap::new();
        for outpoint in &spent {
            changes.insert(output_key(outpoint), None);
        }
        for (outpoint, utxo) in &created {
            changes.insert(output_key(outpoint), Some(output_value(utxo)));
        }
        if owed(counters) != owed(&self.counters) {
            let value = owed(&self.counters).map(u64::to_le_bytes).concat();
            changes.insert((0, vec![KIND_COUNTERS]), Some(value));
        }
        for txid in &claimed {
            let key = [&[KIND_CLAIM], &txid.0[..]].concat();
            changes.insert((partition(txid), key), Some(Vec::new()));
        }
        self.digest = digest(&self.digest, height, &changes);
        Delta {
            digest: self.digest,
            counters: self.counters,
            created,
            spent,
            claimed,
        }
    }
}

/// What a transaction moves: its outputs and its fee.
pub(super) fn value_of(tx: &TxView<'_>) -> u128 {
    let outputs: u128 = tx.outputs().map(|output| u128::from(output.amount.0)).sum();
    outputs + u128::from(tx.fee().0)
}

const KIND_OUTPUT: u8 = 0;
const KIND_COUNTERS: u8 = 6;
const KIND_CLAIM: u8 = 7;

const fn partition(txid: &TxId) -> u8 {
    txid.0[0] / 4
}

fn output_key(outpoint: &OutPoint) -> (u8, Vec<u8>) {
    let index = outpoint.index.to_le_bytes();
    let key = [&[KIND_OUTPUT], &outpoint.txid.0[..], &index].concat();
    (partition(&outpoint.txid), key)
}

fn output_value(utxo: &Utxo) -> Vec<u8> {
    let numbers = [utxo.amount.0, utxo.created.0].map(u64::to_le_bytes).concat();
    [&utxo.owner.0[..], &numbers].concat()
}

/// Effects digest of a height, written down again from `ios` 0.6: for each partition the hash of its net changes,
/// ascending by key.
fn digest(before: &Hash, height: Height, changes: &BTreeMap<(u8, Vec<u8>), Option<Vec<u8>>>) -> Hash {
    let mut partitions = vec![blake3::Hasher::new(); 64];
    for ((partition, key), value) in changes {
        let Some(partition) = partitions.get_mut(usize::from(*partition)) else {
            continue;
        };
        partition.update(&[u8::from(value.is_some())]);
        partition.update(key);
        partition.update(value.as_deref().unwrap_or_default());
    }
    let mut hashes = [[0; 32]; 64];
    for (hash, partition) in hashes.iter_mut().zip(partitions) {
        *hash = partition.finalize().into();
    }
    hash::effects_digest(before, height, &hashes)
}
