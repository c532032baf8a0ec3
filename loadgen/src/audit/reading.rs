//! Reads one validator's chain: headers, certificates and bodies, each against what it must follow from.

use std::collections::{HashMap, HashSet};

use crypto::hash::author_header_hash;
use types::block::{BlockRef, Body};
use types::message::AuthorBlock;
use types::{Hash, Height, ShardId, TxId, ValidatorId};

use super::collect::{Collector, Complete, Stray};
use super::finding::{Fault, FindingKind};
use super::headers::{Place, Tip};
use super::limits::DAMAGED_BODIES_MAX;
use super::shard::{Damage, Shown};
use super::{Audit, first_transaction, transactions};

/// The validator whose chain is being read.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) validator: ValidatorId,
    /// Position of its shard.
    pub(super) shard: usize,
    pub(super) tip: Tip,
    pub(super) collector: Collector,
    pub(super) shown: Shown,
}

impl Replica {
    pub(super) fn new(validator: ValidatorId, shard: usize, genesis: Hash) -> Self {
        Self {
            validator,
            shard,
            tip: Tip {
                height: Height(0),
                hash: genesis,
                timestamp: 0,
            },
            collector: Collector::default(),
            shown: Shown::default(),
        }
    }

    /// Nothing after the first fault that breaks the chain can be judged.
    pub(super) const fn is_broken(&self) -> bool {
        self.shown.end.is_some()
    }

    pub(super) fn into_shown(self) -> (ValidatorId, usize, Shown) {
        let shown = Shown {
            height: self.tip.height,
            ..self.shown
        };
        (self.validator, self.shard, shown)
    }
}

impl Audit {
    /// Checks the next height of a validator's chain, and recomputes it if no other validator served it before.
    pub(super) fn read(&mut self, replica: &mut Replica, complete: Complete) {
        let place = Place {
            epoch: &self.epoch,
            committee: &self.epoch.committees[replica.shard],
            verifier: &self.verifiers[replica.shard],
        };
        let height = complete.committed.block.header.height;
        let first = complete
            .bodies
            .iter()
            .find_map(|body| first_transaction(&body.body));
        let tip = match place.check(&replica.tip, &complete.committed) {
            Ok(tip) => tip,
            Err(fault) => return self.break_chain(replica, fault.at(height).of(first)),
        };
        let shard = &self.shards[replica.shard];
        let mark = shard.at(tip.height);
        if let Some(mark) = mark
            && mark.hash != tip.hash
        {
            let expected = format!("block {} as of validator {}", mark.hash, mark.validator);
            let fault = Fault::new(FindingKind::Fork, expected, format!("block {}", tip.hash));
            return self.break_chain(replica, fault.at(height).of(first));
        }
        replica.tip = tip;
        let hashes: Vec<[u8; 32]> = complete.bodies.iter().map(hash_of).collect();
        if mark.is_some_and(|mark| mark.bodies == hashes) {
            return;
        }
        let is_next = shard.marks.len() as u64 == tip.height.0;
        let is_new = mark.is_none();
        let authors = authors_of(&complete.committed.block.refs, &complete.bodies);
        let bodies = self.read_bodies(replica, &complete.committed.block.refs, complete.bodies);
        match bodies {
            Some(bodies) if is_next => {
                self.replay(replica, &complete.committed.block, &bodies, &authors, hashes);
            }
            _ if is_new => replica.shown.ahead.push((tip.height, tip.hash)),
            _ => {}
        }
    }

    /// Checks every body against its reference; `None` when one is missing or wrong.
    fn read_bodies(
        &mut self,
        replica: &mut Replica,
        refs: &[BlockRef],
        served: Vec<AuthorBlock>,
    ) -> Option<Vec<Body>> {
        let height = replica.tip.height;
        let held: HashSet<TxId> = served.iter().flat_map(|body| transactions(&body.body)).collect();
        let (assigned, surplus) = Complete::assign(served, refs);
        let mut bodies = Vec::with_capacity(refs.len());
        let mut is_damaged = false;
        for (number, (reference, block)) in (0_u16..).zip(refs.iter().zip(assigned)) {
            let place = Place {
                epoch: &self.epoch,
                committee: &self.epoch.committees[replica.shard],
                verifier: &self.verifiers[replica.shard],
            };
            let first = block.as_ref().and_then(|block| first_transaction(&block.body));
            let checked = match block {
                Some(block) => place.check_body(reference, block),
                None if surplus.is_empty() => Err("none".to_owned()),
                None => Err("a body that no reference names".to_owned()),
            };
            match checked {
                Ok(body) => bodies.push(body),
                Err(found) => {
                    is_damaged = true;
                    let at = (height, number);
                    let lacking = self.lacking(self.shards[replica.shard].id, at, &held);
                    let witness = lacking
                        .or(first)
                        .or_else(|| surplus.iter().find_map(|body| first_transaction(&body.body)));
                    let expected = format!(
                        "the body of reference {number}: author block {} with {} transactions",
                        reference.hash, reference.tx_count
                    );
                    let fault = Fault::new(FindingKind::Body, expected, found);
                    self.damage(replica, number, &held, fault.at(height).of(witness));
                }
            }
        }
        if let Some(body) = surplus.first()
            && !is_damaged
        {
            let expected = format!("the bodies of {} references", refs.len());
            let fault = Fault::new(FindingKind::Body, expected, "a body that no reference names");
            self.shards[replica.shard].agrees = false;
            self.find(
                replica.validator,
                fault.at(height).of(first_transaction(&body.body)),
            );
        }
        (!is_damaged).then_some(bodies)
    }

    /// The first transaction whose receipt names this reference and that is not among `held`.
    fn lacking(
        &self,
        shard: ShardId,
        (height, reference): (Height, u16),
        held: &HashSet<TxId>,
    ) -> Option<TxId> {
        self.receipts
            .finals()
            .filter(|(_, told, at)| told.shard == shard && (at.height, at.reference) == (height, reference))
            .map(|(_, told, _)| told.txid)
            .find(|txid| !held.contains(txid))
    }

    fn damage(&mut self, replica: &mut Replica, reference: u16, held: &HashSet<TxId>, fault: Fault) {
        let is_remembered = replica.shown.damaged.len() < DAMAGED_BODIES_MAX;
        replica.shown.damaged.push(Damage {
            height: replica.tip.height,
            reference,
            held: is_remembered.then(|| held.clone()),
        });
        self.shards[replica.shard].agrees = false;
        self.find(replica.validator, fault);
    }

    pub(super) fn report_stray(&mut self, replica: &mut Replica, Stray(body): &Stray) {
        let fault = Fault::new(
            FindingKind::Body,
            "the block of height 1",
            "a body before any block",
        );
        self.break_chain(replica, fault.of(first_transaction(&body.body)));
    }

    /// The first receipted transaction from a height on: what a chain that ends there withholds.
    pub(super) fn withheld(&self, shard: usize, from: Height) -> Option<TxId> {
        let shard = self.shards[shard].id;
        let above = self
            .receipts
            .finals()
            .filter(|(_, told, at)| told.shard == shard && at.height >= from);
        let first = above.min_by_key(|(_, _, at)| *at);
        first.map(|(_, told, _)| told.txid)
    }

    /// Reports a fault after which this validator's chain cannot be followed.
    fn break_chain(&mut self, replica: &mut Replica, mut fault: Fault) {
        if fault.transaction.is_none() {
            fault.transaction = self.withheld(replica.shard, replica.tip.height.next());
        }
        let at = fault
            .height
            .map_or(String::new(), |height| format!(" at height {height}"));
        replica.shown.end = Some(format!("its chain breaks{at}: {}", fault.found));
        self.shards[replica.shard].agrees = false;
        self.find(replica.validator, fault);
    }
}

/// By reference: who signed the block of that hash; the first validator where there is none, and then no replay.
fn authors_of(refs: &[BlockRef], bodies: &[AuthorBlock]) -> Vec<ValidatorId> {
    let authors: HashMap<Hash, ValidatorId> = bodies
        .iter()
        .map(|block| &block.header.header)
        .map(|header| (author_header_hash(header), header.author))
        .collect();
    let author = |reference: &BlockRef| authors.get(&reference.hash).copied().unwrap_or_default();
    refs.iter().map(author).collect()
}

/// Hash of an author block as it was received: a replica that changes any byte of it is decoded on its own.
fn hash_of(block: &AuthorBlock) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&types::codec::Encode::to_bytes(&block.header));
    hasher.update(&block.body);
    hasher.finalize().into()
}
