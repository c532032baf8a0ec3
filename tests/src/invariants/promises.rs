//! Promises of authors: a receipt leaves when its block is on disk, and is broken only for a reason (`ios` 18, I8).
//!
//! Reasons are that its author lies, that the author's machine lost power, that a mode ends, or that the block was held
//! by no more than `f` honest voters in time, which is before its run or its author's seat was voted away too. Whoever
//! holds a block early enough votes for no proposal that lets it
//! age out.

use std::collections::{BTreeMap, BTreeSet};

use types::block::{AuthorHeader, BlockSeq, SignedAuthorHeader};
use types::{Hash, Height, MemberIndex, TxId};

use super::model::{Model, Outcome};
use super::{Checked, Violation};
use crate::disk::Disk;
use crate::setup::Setup;

/// An author block, and what was promised of it.
#[derive(Debug)]
struct Block {
    author: MemberIndex,
    group: u16,
    seq: BlockSeq,
    prev: Hash,
    base: Height,
    /// Positions and what stands there.
    positions: BTreeMap<u16, TxId>,
    done: bool,
}

/// When a member had a block: its life then, and its final height.
#[derive(Clone, Copy, Debug)]
struct Held {
    life: u64,
    height: Height,
}

/// All promises of a run.
#[derive(Debug, Default)]
pub struct Promises {
    blocks: BTreeMap<Hash, Block>,
    held: BTreeMap<Hash, BTreeMap<MemberIndex, Held>>,
    /// Members whose machine lost power.
    unpowered: BTreeSet<MemberIndex>,
    /// Author blocks that are final.
    included: BTreeSet<Hash>,
    /// When groups were given to another author.
    handed: BTreeMap<u16, BTreeSet<Height>>,
    /// Promised transactions whose block never counted.
    pub broken: u64,
}

impl Promises {
    /// A member's machine lost power.
    pub fn on_power_loss(&mut self, member: MemberIndex) {
        self.unpowered.insert(member);
    }

    /// A voter has checked a body and found nothing.
    pub fn on_held(&mut self, member: MemberIndex, hash: Hash, life: u64, height: Height) {
        let members = self.held.entry(hash).or_default();
        let held = members.entry(member).or_insert(Held { life, height });
        if held.life != life {
            *held = Held { life, height };
        }
    }

    /// A client is promised something.
    ///
    /// # Errors
    /// When the header is not signed by its author, the block is not on the author's disk, or another transaction
    /// stands at a position of it.
    pub fn on_receipts(
        &mut self,
        setup: &Setup,
        (author, disk): (MemberIndex, &Disk),
        header: &SignedAuthorHeader,
        positions: &[(u16, TxId)],
    ) -> Checked {
        let hash = crypto::hash::author_header_hash(&header.header);
        let fail = |invariant, what: String| {
            let detail = format!("member {author} promises {hash}: {what}");
            Err(Violation::new(invariant, detail))
        };
        let committee = setup.committee();
        let key = committee.key(author).copied().unwrap_or_default();
        if committee.member_of(header.header.author) != Some(author)
            || !crypto::cosign::verify_author_header(setup.scheme, &setup.context, &key, header)
        {
            return fail("receipts honoured", "the header is not its own".into());
        }
        if !disk.has_durable_body(&hash) {
            return fail("receipt before durable", "its disk could lose the block".into());
        }
        let body = disk.author_block(&hash);
        let body = body.and_then(|block| setup.check_alone(&block.header, &block.body));
        let Some(checked) = body else {
            return fail("receipts honoured", "the block is none".into());
        };
        let mismatch = positions.iter().find(|(position, txid)| {
            let entry = checked.body.entries().get(usize::from(*position));
            entry.map(|entry| entry.txid) != Some(*txid)
        });
        if let Some((position, txid)) = mismatch {
            return fail(
                "receipts honoured",
                format!("{txid} is not at position {position}"),
            );
        }
        self.on_seen(author, hash, &header.header);
        if let Some(block) = self.blocks.get_mut(&hash) {
            block.positions.extend(positions.iter().copied());
        }
        Ok(())
    }

    /// Somebody has an author block.
    pub fn on_seen(&mut self, author: MemberIndex, hash: Hash, header: &AuthorHeader) {
        self.blocks.entry(hash).or_insert_with(|| Block {
            author,
            group: header.group,
            seq: header.seq,
            prev: header.prev,
            base: header.base_height,
            positions: BTreeMap::new(),
            done: false,
        });
    }

    /// A height is final: what it includes is kept, what it makes impossible is broken. `lives` are those of all
    /// members now.
    ///
    /// # Errors
    /// When a promise is broken without a reason.
    pub fn on_final(&mut self, setup: &Setup, model: &Model, outcome: &Outcome, lives: &[u64]) -> Checked {
        for hash in &outcome.included {
            self.included.insert(*hash);
            self.keep(setup, model, hash)?;
        }
        for group in &outcome.handed {
            self.handed.entry(*group).or_default().insert(outcome.height);
        }
        let dead: Vec<Hash> = self
            .blocks
            .iter()
            .filter(|(hash, block)| {
                let run = (block.group, block.seq.run());
                !block.done
                    && !block.positions.is_empty()
                    && !self.included.contains(*hash)
                    && (outcome.switched || outcome.ended.contains(&run))
            })
            .map(|(hash, _)| *hash)
            .collect();
        for hash in dead {
            self.broken_off(setup, outcome, &hash, lives)?;
        }
        Ok(())
    }

    /// A promised block counts: each promised transaction took effect, or could not since another author, the slow
    /// lane or a claim was faster.
    fn keep(&mut self, setup: &Setup, model: &Model, hash: &Hash) -> Checked {
        let Some(block) = self.blocks.get_mut(hash) else {
            return Ok(());
        };
        block.done = true;
        if !setup.honest.contains(&block.author) {
            return Ok(());
        }
        for (position, txid) in &block.positions {
            if model.is_excluded(hash, usize::from(*position)) && model.applied_at(txid).is_none() {
                self.broken += 1;
            }
        }
        Ok(())
    }

    fn broken_off(&mut self, setup: &Setup, outcome: &Outcome, hash: &Hash, lives: &[u64]) -> Checked {
        let Some(block) = self.blocks.get(hash) else {
            return Ok(());
        };
        self.broken += block.positions.len() as u64;
        let excused = outcome.switched
            || !setup.honest.contains(&block.author)
            || self.unpowered.contains(&block.author);
        let holders = setup
            .honest
            .iter()
            .filter(|member| {
                setup.committee().is_voter(**member)
                    && self.held_in_time(setup, hash, **member, (outcome.height, lives))
            })
            .count();
        let (author, group, seq, base) = (block.author, block.group, block.seq, block.base);
        if let Some(block) = self.blocks.get_mut(hash) {
            block.done = true;
        }
        if excused || holders <= setup.committee().faulty_max() {
            return Ok(());
        }
        let detail = format!(
            "{hash}, {seq:?} of group {group} by member {author} on base {base}, is void though {holders} honest voters \
             held it in time"
        );
        Err(Violation::new("promises kept", detail))
    }

    /// Whether a voter had a block and everything before it in its run so early that no proposal passes it that omits
    /// them for too long, and has not restarted since.
    fn held_in_time(
        &self,
        setup: &Setup,
        hash: &Hash,
        member: MemberIndex,
        (ended, lives): (Height, &[u64]),
    ) -> bool {
        let policy = &setup.epoch.policy;
        let life = lives.get(usize::from(member.0)).copied();
        let group = self.blocks.get(hash).map(|block| block.group);
        let handed = group.and_then(|group| self.handed.get(&group));
        let in_time = |hash: &Hash, base: Height| {
            let held = self.held.get(hash).and_then(|members| members.get(&member));
            held.is_some_and(|held| {
                let last = base.0 + policy.lag.saturating_sub(2 * policy.window + 4);
                // Who hears of a block when its author's seat is being given away, or its run is being ended, cannot
                // object any more.
                let given = handed.and_then(|handed| handed.range(base.next()..).next());
                let voted = given.map_or(ended, |given| ended.min(*given));
                let known = held.height.0 + policy.window + 1 < voted.0;
                Some(held.life) == life && held.height.0 <= last && known
            })
        };
        let mut at = *hash;
        while let Some(block) = self.blocks.get(&at) {
            if self.included.contains(&at) {
                return true;
            }
            if !in_time(&at, block.base) {
                return false;
            }
            if block.seq.number() == 0 {
                return true;
            }
            at = block.prev;
        }
        self.included.contains(&at)
    }
}
