//! Final author blocks of seats: what can be checked again after a fault of their author, and what a forged transaction
//! of theirs costs whom (`ios` 7.8).

use std::collections::{BTreeMap, VecDeque};

use crypto::hash::{author_header_hash, sighash, txid};
use crypto::keys::Scheme;
use crypto::verify;
use ledger::{Claim, Slash};
use types::block::Block;
use types::block_record::Record;
use types::evidence::{Evidence, TxEvidence, TxFault};
use types::genesis::Committee;
use types::limits::WINDOW_MAX;
use types::policy::Leagues;
use types::transaction::TxView;
use types::{Hash, Height, MemberIndex, Owner, TxId};

use crate::league::{League, accused};

/// Heights for which final author blocks can be claimed against (`ios` 20.5).
const KEPT: u64 = 20_000;
/// Heights that must lie on a final block before a claim against it: every voter that judges the claim then has it.
const SETTLED: u64 = WINDOW_MAX + 1;

/// One final author block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Archived {
    pub(crate) height: Height,
    pub(crate) author: MemberIndex,
    excluded: Vec<u8>,
}

impl Archived {
    fn is_applied(&self, position: u32) -> bool {
        let byte = self
            .excluded
            .get(position as usize / 8)
            .copied()
            .unwrap_or_default();
        byte >> (position % 8) & 1 == 0
    }
}

/// By hash of their headers. Built from final blocks in order, so that it is equal on every validator.
#[derive(Clone, Debug, Default)]
pub(crate) struct Archive {
    blocks: BTreeMap<Hash, Archived>,
    heights: VecDeque<(Height, Vec<Hash>)>,
}

impl Archive {
    /// Takes a final block; `league` is that of its parent.
    pub(crate) fn take(&mut self, league: &League, block: &Block) {
        let (groups, height) = (league.groups(), block.header.height);
        let mut hashes = Vec::new();
        for (reference, excluded) in block.refs.iter().zip(&block.excluded) {
            let index = groups
                .index(reference.group)
                .filter(|index| groups.is_seat(*index));
            if let Some(author) = index.and_then(|index| league.author(index)) {
                hashes.push(reference.hash);
                let archived = Archived {
                    height,
                    author,
                    excluded: excluded.clone(),
                };
                self.blocks.insert(reference.hash, archived);
            }
        }
        if !hashes.is_empty() {
            self.heights.push_back((height, hashes));
        }
        while let Some((_, hashes)) = self.heights.pop_front_if(|(old, _)| old.0 + KEPT < height.0) {
            for hash in hashes {
                self.blocks.remove(&hash);
            }
        }
    }

    /// Blocks of an author.
    pub(crate) fn of(&self, author: MemberIndex) -> impl Iterator<Item = &Hash> {
        let blocks = self.blocks.iter();
        blocks
            .filter(move |(_, block)| block.author == author)
            .map(|(hash, _)| hash)
    }

    /// The final height that included a block.
    pub(crate) fn height_of(&self, block: &Hash) -> Option<Height> {
        self.blocks.get(block).map(|block| block.height)
    }

    /// Whether the transaction at a position of a final block took effect.
    pub(crate) fn is_applied(&self, block: &Hash, position: u32) -> bool {
        self.blocks
            .get(block)
            .is_some_and(|block| block.is_applied(position))
    }

    /// Whether a forged transaction took effect in a final block long enough ago for the block of `height` to claim it.
    pub(crate) fn is_claimable(&self, evidence: &TxEvidence, height: Height) -> bool {
        let hash = author_header_hash(&evidence.header.header);
        evidence.fault == TxFault::Signature
            && self.blocks.get(&hash).is_some_and(|block| {
                block.height.0 + SETTLED < height.0
                    && block.height.0 + KEPT >= height.0
                    && block.is_applied(evidence.path.index)
            })
    }
}

/// What the records of a block do to money, and which slow transactions it executes.
#[derive(Debug, Default)]
pub(crate) struct Reactions {
    pub(crate) slashes: Vec<Slash>,
    pub(crate) claims: Vec<Claim>,
    pub(crate) slow: Vec<(TxId, Vec<u8>)>,
}

/// Who is asked what a block's records do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judge<'a> {
    pub(crate) committee: &'a Committee,
    pub(crate) leagues: Option<&'a Leagues>,
    pub(crate) scheme: Scheme,
    pub(crate) genesis: &'a Hash,
}

impl Reactions {
    /// Those of a block on a parent with this league.
    pub(crate) fn of(block: &Block, parent: &League, archive: &Archive, judge: &Judge<'_>) -> Self {
        let height = block.header.height;
        let mut reactions = Self {
            slow: judge
                .leagues
                .into_iter()
                .flat_map(|leagues| parent.due_slow(leagues))
                .map(|intent| (intent.txid, intent.bytes.clone()))
                .collect(),
            ..Self::default()
        };
        let mut banned = Vec::new();
        for record in &block.records {
            let Record::Evidence(evidence) = record else {
                continue;
            };
            let Some(member) = accused(evidence, judge.committee) else {
                continue;
            };
            if parent.is_banned(member) {
                if let Evidence::Transaction(evidence) = evidence
                    && archive.is_claimable(evidence, height)
                {
                    reactions.claims.extend(judge.claim(evidence));
                }
            } else if !banned.contains(&member) {
                banned.push(member);
                let bond = judge.committee.bonds.get(usize::from(member.0)).copied();
                let bond = bond.unwrap_or_default();
                reactions.slashes.push(Slash { bond });
            }
        }
        reactions
    }
}

impl Judge<'_> {
    /// Who lost what by a forged transaction: its value is shared among the owners whose signatures are bad, by the
    /// inputs that each has; the first of them bears the rounding.
    fn claim(&self, evidence: &TxEvidence) -> Option<Claim> {
        let bytes = [&evidence.body[..], &evidence.signatures].concat();
        let view = TxView::decode(&bytes).ok()?;
        let txid = txid(view.body());
        let message = sighash(self.genesis, &txid);
        let mut robbed: Vec<(Owner, u128)> = Vec::new();
        for (number, (owner, signature)) in view.owners().zip(view.signatures()).enumerate() {
            if !verify::verify(self.scheme, &owner.0, &message, &signature) {
                let inputs = view.inputs().filter(|input| usize::from(input.owner) == number);
                robbed.push((owner, inputs.count() as u128));
            }
        }
        let value = view
            .outputs()
            .map(|output| u128::from(output.amount.0))
            .sum::<u128>()
            + u128::from(view.fee().0);
        let inputs = view.inputs().count() as u128;
        let of_robbed = value * robbed.iter().map(|(_, inputs)| inputs).sum::<u128>() / inputs.max(1);
        let mut victims: Vec<(Owner, u64)> = robbed
            .iter()
            .map(|(owner, own)| {
                (
                    *owner,
                    u64::try_from(value * own / inputs.max(1)).unwrap_or(u64::MAX),
                )
            })
            .collect();
        let shared: u128 = victims.iter().map(|(_, loss)| u128::from(*loss)).sum();
        let (_, first) = victims.first_mut()?;
        *first = first.saturating_add(u64::try_from(of_robbed.saturating_sub(shared)).unwrap_or_default());
        Some(Claim {
            txid,
            output_count: view.output_count() as u16,
            victims,
        })
    }
}
