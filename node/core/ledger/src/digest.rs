//! Bytes of one partition's net changes, and their hash (`ios` 0.6).

use types::{Counters, OutPoint, TxId};

use crate::Utxo;

const GONE: u8 = 0;
const NEW: u8 = 1;
/// First byte of every key: what kind of state it names. Kinds 1 to 5 are those of `ios` 0.6 that do not exist yet:
/// locks, records of cross-shard decisions, pair cursors, pending queries, intents.
const KIND_OUTPOINT: u8 = 0;
const KIND_COUNTERS: u8 = 6;
const KIND_CLAIM: u8 = 7;

/// Where an outpoint stands among the keys: they ascend as bytes, and an index is little-endian in the key.
pub(crate) fn order(outpoint: &OutPoint) -> (TxId, u16) {
    (outpoint.txid, outpoint.index.swap_bytes())
}

/// The entry of counters that slashes or claims changed. It has no hash part and so stands in partition 0. Fees are
/// left out: the transactions imply them.
pub(crate) fn counters_entry(counters: &Counters) -> [u8; 34] {
    let mut entry = [0; 34];
    (entry[0], entry[1]) = (NEW, KIND_COUNTERS);
    let values = [counters.bonds, counters.pool, counters.rewards, counters.unpaid];
    for (bytes, value) in entry[2..].chunks_exact_mut(8).zip(values) {
        bytes.copy_from_slice(&value.to_le_bytes());
    }
    entry
}

/// The entry of a transaction whose claim was settled. It has no value.
pub(crate) fn claim_entry(txid: &TxId) -> [u8; 34] {
    let mut entry = [0; 34];
    (entry[0], entry[1]) = (NEW, KIND_CLAIM);
    entry[2..].copy_from_slice(&txid.0);
    entry
}

/// Bytes of a partition's changes; the caller appends them ascending by [`order`], entries of other kinds last.
#[derive(Default)]
pub(crate) struct ChangeBytes {
    bytes: Vec<u8>,
}

impl ChangeBytes {
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }

    pub(crate) fn gone(&mut self, outpoint: &OutPoint) {
        self.bytes.extend_from_slice(&key(GONE, outpoint));
    }

    pub(crate) fn new_output(&mut self, outpoint: &OutPoint, utxo: &Utxo) {
        let mut change = [0; 84];
        change[..36].copy_from_slice(&key(NEW, outpoint));
        change[36..68].copy_from_slice(&utxo.owner.0);
        change[68..76].copy_from_slice(&utxo.amount.0.to_le_bytes());
        change[76..].copy_from_slice(&utxo.created.0.to_le_bytes());
        self.bytes.extend_from_slice(&change);
    }

    pub(crate) fn append(&mut self, entries: &[u8]) {
        self.bytes.extend_from_slice(entries);
    }

    /// Plain blake3 of all changes.
    pub(crate) fn hash(&self) -> [u8; 32] {
        *blake3::hash(&self.bytes).as_bytes()
    }
}

fn key(change: u8, outpoint: &OutPoint) -> [u8; 36] {
    let mut key = [0; 36];
    key[0] = change;
    key[1] = KIND_OUTPOINT;
    key[2..34].copy_from_slice(&outpoint.txid.0);
    key[34..].copy_from_slice(&outpoint.index.to_le_bytes());
    key
}
