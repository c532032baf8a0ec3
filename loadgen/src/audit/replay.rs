//! Recomputes a height of a shard's chain and holds what its header commits to against the result.

use crypto::merkle::{root, slow_leaf};
use types::block::{Block, Body, GROUP_ONE_LEAGUE};
use types::{Hash, Height, MemberIndex, TxId, ValidatorId};

use super::Audit;
use super::finding::{Fault, FindingKind};
use super::model::{Breach, Place, Run};
use super::reading::Replica;
use super::receipts::{Position, Receipts};
use super::settle::{Deviation, Order, settle};

impl Audit {
    /// Applies a new height, whose header, certificate and bodies hold, to the model.
    pub(super) fn replay(
        &mut self,
        replica: &Replica,
        block: &Block,
        bodies: &[Body],
        authors: &[ValidatorId],
        hashes: Vec<[u8; 32]>,
    ) {
        let (validator, height) = (replica.validator, replica.tip.height);
        let header = &block.header;
        let first = bodies.iter().find_map(|body| body.entries().first());
        let first = first.map(|entry| entry.txid);
        let committee = &self.epoch.committees[replica.shard];
        let league = &mut self.shards[replica.shard].league;
        let (reactions, wrong) = league.begin(block, &self.epoch, committee);
        self.check_authors(replica, block, bodies, authors);
        self.sums.take_block(block);
        let shard = &mut self.shards[replica.shard];
        let settled = settle(
            &shard.model,
            Order {
                height,
                bodies,
                sampled: block
                    .refs
                    .iter()
                    .map(|reference| reference.group < GROUP_ONE_LEAGUE)
                    .collect(),
                expected: header.excluded_root,
                reactions: reactions.clone(),
            },
            &mut self.signatures,
        );
        shard.league.finish(block);
        let members = &self.epoch.committees[replica.shard].members;
        let id_of = |member: MemberIndex| members.get(usize::from(member.0)).map(|(id, _)| *id);
        self.sums.log.take_reactions(&reactions, &settled.run, id_of);
        settled
            .run
            .settled
            .iter()
            .for_each(|txid| drop(shard.forged.remove(txid)));
        for (reference, position) in &settled.forged {
            let txid = bodies[*reference].entries()[*position].txid;
            let expected =
                "a claim for it, because its signature is not valid and its author's voters missed it";
            let fault = Fault::new(FindingKind::Forgery, expected, "none")
                .at(height)
                .of(Some(txid));
            shard.forged.insert(txid, (validator, fault));
            self.sums.log.forged_final += 1;
        }
        let mut faults: Vec<Fault> = settled
            .deviations
            .iter()
            .map(|deviation| self.sums.count(deviation).words(bodies, first))
            .collect();
        let due = "records and a mode that follow from the chain";
        faults.extend(
            wrong
                .into_iter()
                .map(|found| Fault::new(FindingKind::Record, due, found).of(first)),
        );
        if let Some(found) = wrong_slow_root(&reactions.slow, &settled.run, header.slow_root) {
            faults
                .push(Fault::new(FindingKind::Record, "the outcomes of slow transactions", found).of(first));
        }
        let last = note_applied(
            &mut self.sums.applied,
            &mut self.receipts,
            bodies,
            &settled.run,
            height,
        );
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

    /// Author blocks of one group stand in the chain once, in their order, and are of the group's author.
    fn check_authors(&mut self, replica: &Replica, block: &Block, bodies: &[Body], authors: &[ValidatorId]) {
        for ((reference, body), author) in block.refs.iter().zip(bodies).zip(authors) {
            let member = self.epoch.committees[replica.shard].member_of(*author);
            let shard = &mut self.shards[replica.shard];
            if !shard.league.is_author(reference.group, member) {
                let expected = format!("a block of the author of group {:#06x}", reference.group);
                let fault = Fault::new(FindingKind::AuthorOrder, expected, format!("validator {author}"));
                let first = body.entries().first().map(|entry| entry.txid);
                self.find(replica.validator, fault.at(replica.tip.height).of(first));
            }
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

/// What is wrong with the outcomes of slow transactions. The code of one that failed may say why otherwise than the
/// model does, so that only those which took effect are held against the root.
fn wrong_slow_root(slow: &[(TxId, Vec<u8>)], run: &Run, found: Hash) -> Option<String> {
    let leaves: Vec<Hash> = slow
        .iter()
        .zip(&run.slow)
        .map(|((txid, _), breach)| slow_leaf(txid, breach.map_or(0, |breach| breach.reject().code())))
        .collect();
    let is_certain = run.slow.iter().all(Option::is_none);
    (is_certain && root(&leaves) != found).then(|| format!("slow_root {found}"))
}

/// Tells the receipts where each transaction took effect; gives the last one.
fn note_applied(
    applied: &mut u64,
    receipts: &mut Receipts,
    bodies: &[Body],
    run: &Run,
    height: Height,
) -> Option<TxId> {
    let mut last = None;
    for (reference, index) in run.places(true) {
        let txid = bodies[reference].entries()[index].txid;
        let (reference, index) = (reference as u16, index as u16);
        *applied += 1;
        receipts.note_applied(
            &txid,
            Position {
                height,
                reference,
                index,
            },
        );
        last = Some(txid);
    }
    last
}
