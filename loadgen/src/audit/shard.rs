//! One shard as recomputed so far, and what each of its validators showed.

use std::collections::{BTreeMap, HashSet};

use types::block::BlockSeq;
use types::client::StateInfo;
use types::genesis::{EpochConfig, Genesis};
use types::{Counters, Hash, Height, ShardId, TxId, ValidatorId};

use super::faults::ShardMoney;
use super::finding::Fault;
use super::league::League;
use super::model::Model;

/// One height of a shard's chain as recomputed.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) hash: Hash,
    /// Validator from which it was recomputed.
    pub(super) validator: ValidatorId,
    /// blake3 of each author block: header, signature and body.
    pub(super) bodies: Vec<[u8; 32]>,
    pub(super) digest: Hash,
    pub(super) outputs: u64,
    pub(super) value: u128,
    pub(super) counters: Counters,
    /// Last transaction of the chain up to here.
    pub(super) last: Option<TxId>,
}

/// A body that a validator does not serve as its certified block wants it.
#[derive(Debug)]
pub(super) struct Damage {
    pub(super) height: Height,
    pub(super) reference: u16,
    /// Transactions of the bodies that it serves at that height instead; `None` when they are not remembered.
    pub(super) held: Option<HashSet<TxId>>,
}

/// What one validator showed.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// Up to here its headers are certified and follow from genesis.
    pub(super) height: Height,
    /// Why nothing above is to be judged, when something above was shown or should have been.
    pub(super) end: Option<String>,
    pub(super) damaged: Vec<Damage>,
    /// Certified heights that were not recomputed when it showed them.
    pub(super) ahead: Vec<(Height, Hash)>,
    pub(super) state: Option<StateInfo>,
}

impl Shown {
    /// True when all that was shown holds and was recomputed.
    pub(super) const fn is_whole(&self) -> bool {
        self.end.is_none() && self.damaged.is_empty() && self.ahead.is_empty()
    }
}

#[derive(Debug)]
pub(super) struct Shard {
    pub(super) id: ShardId,
    pub(super) model: Model,
    pub(super) league: League,
    /// Forged transactions of believable authors that took effect and are not claimed yet.
    pub(super) forged: BTreeMap<TxId, (ValidatorId, Fault)>,
    /// By height; the first is genesis.
    pub(super) marks: Vec<Mark>,
    /// Last author block of each group.
    pub(super) authors: BTreeMap<u16, BlockSeq>,
    pub(super) shown: BTreeMap<ValidatorId, Shown>,
    pub(super) agrees: bool,
}

impl Shard {
    pub(super) fn new(id: ShardId, model: Model, league: League, genesis: Hash) -> Self {
        let mut shard = Self {
            id,
            model,
            league,
            forged: BTreeMap::new(),
            marks: Vec::new(),
            authors: BTreeMap::new(),
            shown: BTreeMap::new(),
            agrees: true,
        };
        let digest = shard.model.digest;
        shard.mark(genesis, ValidatorId::default(), Vec::new(), digest, None);
        shard
    }

    /// Notes what the model is after a height.
    pub(super) fn mark(
        &mut self,
        hash: Hash,
        validator: ValidatorId,
        bodies: Vec<[u8; 32]>,
        digest: Hash,
        last: Option<TxId>,
    ) {
        let last = last.or_else(|| self.marks.last().and_then(|mark| mark.last));
        self.marks.push(Mark {
            hash,
            validator,
            bodies,
            digest,
            outputs: self.model.live().len() as u64,
            value: self.model.value,
            counters: self.model.counters,
            last,
        });
    }

    /// Money at the last height.
    pub(super) const fn money(&self) -> ShardMoney {
        ShardMoney {
            supply: self.model.supply,
            value: self.model.value,
            counters: self.model.counters,
        }
    }

    pub(super) fn at(&self, height: Height) -> Option<&Mark> {
        self.marks.get(usize::try_from(height.0).ok()?)
    }

    /// True when an author block may follow the last one of its group: the next of its run, or the first of a later.
    pub(super) fn is_next(&self, group: u16, seq: BlockSeq) -> bool {
        match self.authors.get(&group) {
            Some(last) if last.run() == seq.run() => last.next() == seq,
            Some(last) => last.run() < seq.run() && seq.number() == 0,
            None => seq.number() == 0,
        }
    }
}

/// A shard in its genesis state.
pub(super) fn genesis(
    genesis: &Genesis,
    epoch: &EpochConfig,
    shard: ShardId,
    allocations: &[types::genesis::Allocation],
) -> Shard {
    let model = Model::new(genesis, epoch, shard, allocations);
    let league = League::new(epoch, &epoch.committees[usize::from(shard.0)]);
    Shard::new(shard, model, league, epoch.genesis_hash)
}
