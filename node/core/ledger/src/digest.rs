//! Bytes of one partition's net changes, and their hash (`ios` 0.6).

use types::OutPoint;

use crate::Utxo;

const GONE: u8 = 0;
const NEW: u8 = 1;
/// First byte of every key: what kind of state it names. Outpoints are the only kind so far.
const KIND_OUTPOINT: u8 = 0;

/// Bytes of a partition's changes; the caller appends them ascending by outpoint.
///
/// The order of outpoints is that of the encoded keys too: an index is little-endian in the key, but below 256
/// for every output of a transaction.
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
