//! No double spend, equal digests: the final chain replayed by an independent, naive ledger.
//!
//! It knows one rule: a transaction takes effect when its signatures are right, all its inputs are unspent at its
//! place in the chain and belong to its owners, and value is conserved. Exclusions, state changes and digests of
//! all nodes are compared with it.

use std::collections::{BTreeMap, BTreeSet};

use crypto::{hash, merkle};
use ledger::{StateChanges, Utxo};
use types::block::{Block, BlockSeq, Body, GROUP_ONE_LEAGUE};
use types::block_record::Record;
use types::message::AuthorBlock;
use types::transaction::TxView;
use types::{Hash, Height, MemberIndex, OutPoint, TxId};

use super::{Checked, Violation};
use crate::rng::SimRng;
use crate::setup::Setup;

#[derive(Debug)]
struct Delta {
    digest: Hash,
    created: Vec<(OutPoint, Utxo)>,
    spent: Vec<OutPoint>,
}

/// The naive ledger of the final chain.
#[derive(Debug)]
pub struct Model {
    genesis: Hash,
    height: Height,
    digest: Hash,
    utxos: BTreeMap<OutPoint, Utxo>,
    applied: BTreeMap<TxId, Height>,
    bodies: BTreeMap<Hash, AuthorBlock>,
    txids: BTreeMap<Hash, Vec<TxId>>,
    deltas: BTreeMap<Height, Delta>,
    cursors: BTreeMap<MemberIndex, (BlockSeq, Hash)>,
}

impl Model {
    /// The state of genesis.
    #[must_use]
    pub fn new(setup: &Setup) -> Self {
        Self {
            genesis: setup.context.genesis_hash,
            height: Height(0),
            digest: digest(&setup.context.genesis_hash, Height(0), &setup.coins, &[]),
            utxos: setup.coins.iter().copied().collect(),
            applied: BTreeMap::new(),
            bodies: BTreeMap::new(),
            txids: BTreeMap::new(),
            deltas: BTreeMap::new(),
            cursors: BTreeMap::new(),
        }
    }

    /// Highest height replayed.
    #[must_use]
    pub const fn height(&self) -> Height {
        self.height
    }

    /// Coins unspent at that height.
    #[must_use]
    pub fn coin_count(&self) -> usize {
        self.utxos.len()
    }

    /// Any of them.
    #[must_use]
    pub fn random_coin(&self, rng: &mut SimRng) -> Option<(OutPoint, Utxo)> {
        let at = rng.below(self.utxos.len() as u64) as usize;
        self.utxos
            .iter()
            .nth(at)
            .map(|(outpoint, utxo)| (*outpoint, *utxo))
    }

    /// Height at which a transaction took effect.
    #[must_use]
    pub fn applied_at(&self, txid: &TxId) -> Option<Height> {
        self.applied.get(txid).copied()
    }

    /// Transaction at a position of an included author block.
    #[must_use]
    pub fn txid_at(&self, author_block: &Hash, position: usize) -> Option<TxId> {
        self.txids.get(author_block)?.get(position).copied()
    }

    /// Next position of a member's chain of author blocks, and the hash of the last one included.
    #[must_use]
    pub fn cursor(&self, member: MemberIndex) -> (BlockSeq, Hash) {
        self.cursors
            .get(&member)
            .copied()
            .unwrap_or((BlockSeq(0), self.genesis))
    }

    /// An author block that a node has on record.
    pub fn on_author_block(&mut self, block: &AuthorBlock) {
        let hash = hash::author_header_hash(&block.header.header);
        self.bodies.entry(hash).or_insert_with(|| block.clone());
    }

    /// A block is final somewhere.
    ///
    /// # Errors
    /// When it skips a height, nobody has its bodies on record, or it excludes other transactions than the rules do.
    pub fn on_final(&mut self, setup: &Setup, block: &Block) -> Checked {
        let header = &block.header;
        if header.height <= self.height {
            return Ok(());
        }
        if header.height != self.height.next() {
            let detail = format!("height {} is final before {}", header.height, self.height.next());
            return Err(Violation::new("order of heights", detail));
        }
        let before = self.utxos.clone();
        let mut bitmaps = Vec::with_capacity(block.refs.len());
        for reference in &block.refs {
            let checked = self
                .bodies
                .get(&reference.hash)
                .and_then(|held| setup.check_body(&held.header.header, &held.body, 1));
            let Some(checked) = checked else {
                let detail = format!(
                    "nobody has body {} of height {} on record",
                    reference.hash, header.height
                );
                return Err(Violation::new("final means durable", detail));
            };
            let bad: BTreeSet<u32> = checked.bad_signatures.iter().copied().collect();
            bitmaps.push(self.replay(&checked.body, &bad, header.height));
            let txids = checked.body.entries().iter().map(|entry| entry.txid).collect();
            self.txids.insert(reference.hash, txids);
            let member = MemberIndex(reference.group - GROUP_ONE_LEAGUE);
            self.cursors
                .insert(member, (reference.seq.next(), reference.hash));
        }
        for record in &block.records {
            let Record::Reset(reset) = record else { continue };
            let member = MemberIndex(reset.group - GROUP_ONE_LEAGUE);
            let (_, last) = self.cursor(member);
            self.cursors
                .insert(member, (BlockSeq::start_of(reset.run + 1), last));
        }
        self.height = header.height;
        if merkle::excluded_root(&bitmaps) != header.excluded_root {
            let detail = format!(
                "height {} excludes other transactions than the rules do",
                header.height
            );
            return Err(Violation::new("no double spend", detail));
        }
        self.keep_delta(&before);
        if self.digest != header.state_digest {
            let detail = format!(
                "height {} certifies digest {}, the rules give {}",
                header.height, header.state_digest, self.digest
            );
            return Err(Violation::new("equal digests", detail));
        }
        Ok(())
    }

    fn keep_delta(&mut self, before: &BTreeMap<OutPoint, Utxo>) {
        let created = self
            .utxos
            .iter()
            .filter(|(outpoint, _)| !before.contains_key(outpoint));
        let spent = before
            .keys()
            .filter(|outpoint| !self.utxos.contains_key(outpoint));
        let created: Vec<_> = created.map(|(outpoint, utxo)| (*outpoint, *utxo)).collect();
        let spent: Vec<_> = spent.copied().collect();
        self.digest = digest(&self.digest, self.height, &created, &spent);
        let delta = Delta {
            digest: self.digest,
            created,
            spent,
        };
        self.deltas.insert(self.height, delta);
    }

    /// Bitmap of the excluded transactions of a body, empty when there are none.
    fn replay(&mut self, body: &Body, bad: &BTreeSet<u32>, height: Height) -> Vec<u8> {
        let mut bitmap = Vec::new();
        for (position, (txid, tx)) in body.txs().enumerate() {
            if !bad.contains(&(position as u32)) && self.is_payable(&tx) {
                self.pay(txid, &tx, height);
                continue;
            }
            if bitmap.is_empty() {
                bitmap.resize(body.len().div_ceil(8), 0);
            }
            bitmap[position / 8] |= 1 << (position % 8);
        }
        bitmap
    }

    fn is_payable(&self, tx: &TxView<'_>) -> bool {
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
        let paid: u128 = tx.outputs().map(|output| u128::from(output.amount.0)).sum();
        sum == paid + u128::from(tx.fee().0)
    }

    fn pay(&mut self, txid: TxId, tx: &TxView<'_>, height: Height) {
        for input in tx.inputs() {
            self.utxos.remove(&input.outpoint);
        }
        for (index, output) in tx.outputs().enumerate() {
            let outpoint = OutPoint {
                txid,
                index: index as u16,
            };
            let utxo = Utxo {
                owner: output.owner,
                amount: output.amount,
                created: height,
            };
            self.utxos.insert(outpoint, utxo);
        }
        self.applied.insert(txid, height);
    }

    /// A node writes the changes of a height.
    ///
    /// # Errors
    /// When they are not the model's, or the digest is not the one that the final block certifies.
    pub fn on_state(&self, member: MemberIndex, changes: &StateChanges) -> Checked {
        let height = changes.height;
        let Some(delta) = self.deltas.get(&height) else {
            let detail = format!("member {member} writes the state of height {height}, which is not final");
            return Err(Violation::new("equal states", detail));
        };
        if delta.digest != changes.digest {
            let detail = format!("member {member} has digest {} at height {height}", changes.digest);
            return Err(Violation::new("equal digests", detail));
        }
        let (mut created, mut spent) = (changes.created.clone(), changes.spent.clone());
        created.sort_unstable_by_key(|(outpoint, _)| *outpoint);
        spent.sort_unstable();
        if created != delta.created || spent != delta.spent {
            let detail =
                format!("member {member} changes other outputs at height {height} than the rules do");
            return Err(Violation::new("no double spend", detail));
        }
        Ok(())
    }
}

/// Effects digest of a height, written down again from `ios` 0.6: for each partition the hash of its net changes,
/// ascending by outpoint.
fn digest(before: &Hash, height: Height, created: &[(OutPoint, Utxo)], spent: &[OutPoint]) -> Hash {
    const OUTPOINT: u8 = 0;
    let mut changes: BTreeMap<OutPoint, Option<&Utxo>> = spent.iter().map(|gone| (*gone, None)).collect();
    changes.extend(created.iter().map(|(new, utxo)| (*new, Some(utxo))));
    let mut partitions = vec![blake3::Hasher::new(); 64];
    for (outpoint, utxo) in changes {
        let Some(partition) = partitions.get_mut(usize::from(outpoint.txid.0[0] / 4)) else {
            continue;
        };
        partition.update(&[u8::from(utxo.is_some()), OUTPOINT]);
        partition.update(&outpoint.txid.0);
        partition.update(&outpoint.index.to_le_bytes());
        if let Some(utxo) = utxo {
            partition.update(&utxo.owner.0);
            partition.update(&utxo.amount.0.to_le_bytes());
            partition.update(&utxo.created.0.to_le_bytes());
        }
    }
    let mut hashes = [[0; 32]; 64];
    for (hash, partition) in hashes.iter_mut().zip(partitions) {
        *hash = partition.finalize().into();
    }
    hash::effects_digest(before, height, &hashes)
}
