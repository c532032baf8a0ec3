//! Recomputes a height of a shard's chain and holds what its header commits to against the result.

use types::block::{Block, Body};
use types::{TxId, ValidatorId};

use super::Audit;
use super::finding::{Fault, FindingKind};
use super::model::{Breach, Place};
use super::reading::Replica;
use super::receipts::Position;
use super::settle::{Deviation, settle};

impl Audit {
    /// Applies a new height, whose header, certificate and bodies hold, to the model.
    pub(super) fn replay(
        &mut self,
        replica: &Replica,
        block: &Block,
        bodies: &[Body],
        hashes: Vec<[u8; 32]>,
    ) {
        let (validator, height) = (replica.validator, replica.tip.height);
        let header = &block.header;
        let first = bodies.iter().find_map(|body| body.entries().first());
        let first = first.map(|entry| entry.txid);
        self.check_authors(replica, block, bodies);
        let shard = &mut self.shards[replica.shard];
        let settled = settle(
            &shard.model,
            height,
            bodies,
            header.excluded_root,
            &mut self.signatures,
        );
        let mut faults: Vec<Fault> = settled
            .deviations
            .iter()
            .map(|deviation| self.sums.count(deviation).words(bodies, first))
            .collect();
        let mut last = None;
        for (reference, index) in settled.run.places(true) {
            let txid = bodies[reference].entries()[index].txid;
            let position = Position {
                height,
                reference: reference as u16,
                index: index as u16,
            };
            self.sums.applied += 1;
            self.receipts.note_applied(&txid, position);
            last = Some(txid);
        }
        let digest = shard.model.digest_after(height, &settled.run);
        let model = &mut shard.model;
        let was_conserved = model.sum() == model.supply;
        model.commit(height, settled.run);
        let is_conserved = model.sum() == model.supply;
        if was_conserved && !is_conserved {
            let expected = format!(
                "unspent value, fees, bonds, pool and rewards of together {}",
                model.supply
            );
            let found = format!("unspent value {} and {:?}", model.value, model.counters);
            let culprit = faults.iter().find_map(|fault| fault.transaction).or(first);
            faults.push(Fault::new(FindingKind::Supply, expected, found).of(culprit));
        }
        self.sums.is_minted |= !is_conserved;
        if digest != header.state_digest {
            let found = format!("state digest {}", header.state_digest);
            let fault = Fault::new(FindingKind::Digest, format!("state digest {digest}"), found);
            faults.push(fault.of(first));
        }
        // Follow the chain's own digest: each fault is reported once, not at every height above it.
        model.digest = header.state_digest;
        shard.mark(replica.tip.hash, validator, hashes, digest, last);
        self.find_all(validator, faults.into_iter().map(|fault| fault.at(height)));
    }

    fn find_all(&mut self, validator: ValidatorId, faults: impl Iterator<Item = Fault>) {
        faults.for_each(|fault| self.find(validator, fault));
    }

    /// Author blocks of one group stand in the chain once and in their order.
    fn check_authors(&mut self, replica: &Replica, block: &Block, bodies: &[Body]) {
        for (reference, body) in block.refs.iter().zip(bodies) {
            let shard = &mut self.shards[replica.shard];
            let is_next = shard.is_next(reference.group, reference.seq);
            let last = shard.authors.insert(reference.group, reference.seq);
            if !is_next {
                let number =
                    |seq: types::block::BlockSeq| format!("run {} number {}", seq.run(), seq.number());
                let after = last.map_or("the first".to_owned(), |last| {
                    format!("the one after {}", number(last))
                });
                let expected = format!("of group {:#06x} {after}", reference.group);
                let fault = Fault::new(FindingKind::AuthorOrder, expected, number(reference.seq));
                let first = body.entries().first().map(|entry| entry.txid);
                self.find(replica.validator, fault.at(replica.tip.height).of(first));
            }
        }
    }
}

impl Deviation {
    /// Names the transaction and the rule; `first` stands for the block when no transaction can be named.
    fn words(&self, bodies: &[Body], first: Option<TxId>) -> Fault {
        let txid = |(reference, index): &Place| Some(bodies[*reference].entries()[*index].txid);
        match self {
            Self::Applied(place, breach) => {
                let kind = match breach {
                    Breach::Spent => FindingKind::DoubleSpend,
                    Breach::Value => FindingKind::Mint,
                    Breach::Signature => FindingKind::Forgery,
                    _ => FindingKind::Rule,
                };
                let expected = format!("it excluded, because {}", breach.words());
                Fault::new(kind, expected, "it applied").of(txid(place))
            }
            Self::Excluded(place) => {
                let expected = "it applied, because it breaks no rule";
                Fault::new(FindingKind::Exclusion, expected, "it excluded").of(txid(place))
            }
            Self::Bits => {
                let expected = "the excluded bits that follow from the transactions";
                Fault::new(FindingKind::Exclusion, expected, "other bits").of(first)
            }
        }
    }
}
