//! Optimistic receipts: whether they bind their author, and whether it kept them.
//!
//! A receipt names the author block in which a transaction stands. Kept is what becomes final in that very block; a
//! later receipt replaces the one before, and a transaction counts as broken once, however often it was re-cut.

use crypto::cosign::verify_author_header;
use crypto::hash::author_header_hash;
use crypto::keys::Scheme;
use types::block::{BLOCK_VERSION, GROUP_ONE_LEAGUE};
use types::client::Receipts;
use types::genesis::EpochConfig;
use types::{Hash, ShardId, ValidatorId};

use crate::arena::ArenaEntry;

/// Why a receipt binds nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// The header is of another network, shard or author, or of no seat.
    #[error("the header is not one that this author can sign: its {0} is wrong")]
    Header(&'static str),
    /// The signature of the header does not hold.
    #[error("the header is not signed by its author")]
    Signature,
    /// A tag of a transaction of another group.
    #[error("a transaction of group {found} is receipted by the author of group {expected}")]
    Group {
        /// Group of the header.
        expected: u16,
        /// Group of the transaction's owner.
        found: u16,
    },
    /// A position behind the last transaction.
    #[error("position {position} of a block of {count} transactions")]
    Position {
        /// Position.
        position: u16,
        /// Transactions of the block.
        count: u32,
    },
    /// A tag that was never given.
    #[error("a tag that was never given")]
    Tag,
}

/// Promises of authors by transaction.
#[derive(Debug)]
pub struct Promises<'a> {
    epoch: &'a EpochConfig,
    entries: &'a [ArenaEntry],
    /// By transaction: place in `blocks` plus one; 0 = no receipt.
    held: Vec<u32>,
    /// Hashes of receipted blocks.
    blocks: Vec<Hash>,
    broken: Vec<bool>,
    replaced: u64,
    unannounced: u64,
}

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// By transaction: a receipt was replaced, or another block made it final.
    pub broken: Vec<bool>,
    /// Receipts that a later one replaced.
    pub replaced: u64,
    /// Transactions that a believable author's block made final without a receipt before.
    pub unannounced: u64,
}

impl<'a> Promises<'a> {
    /// Starts with no receipt.
    #[must_use]
    pub fn new(epoch: &'a EpochConfig, entries: &'a [ArenaEntry]) -> Self {
        Self {
            epoch,
            entries,
            held: vec![0; entries.len()],
            blocks: Vec::new(),
            broken: vec![false; entries.len()],
            replaced: 0,
            unannounced: 0,
        }
    }

    /// Takes the receipts of one block: header and signature are checked once, the group of every transaction against
    /// it. `index` gives the transaction of a tag.
    ///
    /// # Errors
    /// The first thing for which they bind nobody; nothing of them is kept then.
    pub fn take(
        &mut self,
        (shard, validator): (ShardId, ValidatorId),
        receipts: &Receipts,
        index: impl Fn(types::Tag) -> Option<u32>,
    ) -> Result<(), ReceiptError> {
        self.check_header(shard, validator, receipts)?;
        let header = &receipts.author.header;
        let mut taken = Vec::with_capacity(receipts.tags.len());
        for at in &receipts.tags {
            let place = index(at.tag).map(|index| index as usize);
            let entry = place.and_then(|place| self.entries.get(place));
            let (Some(place), Some(entry)) = (place, entry) else {
                return Err(ReceiptError::Tag);
            };
            if (entry.shard, entry.group) != (header.shard, header.group) {
                return Err(ReceiptError::Group {
                    expected: header.group,
                    found: entry.group,
                });
            }
            if u32::from(at.position) >= header.tx_count {
                return Err(ReceiptError::Position {
                    position: at.position,
                    count: header.tx_count,
                });
            }
            taken.push(place);
        }
        let block = author_header_hash(header);
        self.blocks.push(block);
        let number = self.blocks.len() as u32;
        for place in taken {
            if let Some(before) = self.block_of(place)
                && before != block
            {
                self.replaced += 1;
                self.broken[place] = true;
            }
            self.held[place] = number;
        }
        Ok(())
    }

    fn block_of(&self, place: usize) -> Option<Hash> {
        let number = self.held.get(place)?.checked_sub(1)?;
        self.blocks.get(number as usize).copied()
    }

    fn check_header(
        &self,
        shard: ShardId,
        validator: ValidatorId,
        receipts: &Receipts,
    ) -> Result<(), ReceiptError> {
        let header = &receipts.author.header;
        let committee = self.epoch.committees.get(usize::from(shard.0));
        let member = committee.and_then(|committee| Some((committee, committee.member_of(validator)?)));
        let Some((committee, member)) = member else {
            return Err(ReceiptError::Header("author"));
        };
        for (what, fits) in [
            ("version", header.version == BLOCK_VERSION),
            ("shard", header.shard == shard),
            ("epoch", header.epoch == self.epoch.epoch),
            (
                "author",
                header.author == validator && !committee.is_voter(member),
            ),
            ("group", header.group < self.epoch.policy.seats()),
        ] {
            if !fits {
                return Err(ReceiptError::Header(what));
            }
        }
        let context = self.epoch.signing_context(committee);
        let key = committee.key(member).ok_or(ReceiptError::Header("author"))?;
        if !verify_author_header(Scheme::Ed25519, &context, key, &receipts.author) {
            return Err(ReceiptError::Signature);
        }
        Ok(())
    }

    /// A block of this group and hash made a transaction final.
    pub fn settle(&mut self, index: u32, group: u16, block: &Hash) {
        let place = index as usize;
        match self.block_of(place) {
            Some(promised) if promised == *block => {}
            Some(_) => self.broken[place] = true,
            None => self.unannounced += u64::from(group < GROUP_ONE_LEAGUE),
        }
    }

    /// Ends the count.
    #[must_use]
    pub fn into_kept(self) -> Kept {
        Kept {
            broken: self.broken,
            replaced: self.replaced,
            unannounced: self.unannounced,
        }
    }
}

#[cfg(test)]
mod tests {
    use crypto::cosign::sign_author_header;
    use crypto::hash::author_header_hash;
    use types::block::{AuthorHeader, SignedAuthorHeader};
    use types::client::{Receipts, TagAt};
    use types::codec::Decode as _;
    use types::{Hash, MemberIndex, ShardId, Tag, TxId, ValidatorId};

    use super::{Promises, ReceiptError};
    use crate::arena::{ArenaEntry, Expect};
    use crate::workload::sample::Sample;

    const SHARD: ShardId = ShardId(0);

    fn sample() -> Sample {
        Sample::two_leagues(1, 4, |leagues| {
            leagues.seats = 2;
            leagues.candidates = 2;
        })
    }

    /// Four transactions of group 0, one of group 1.
    fn entries() -> Vec<ArenaEntry> {
        let entry = |group| ArenaEntry {
            offset: 0,
            len: 0,
            txid: TxId::default(),
            shard: SHARD,
            group,
            member: MemberIndex(0),
            parent: None,
            expect: Expect::Final,
        };
        [0, 0, 0, 0, 1].map(entry).to_vec()
    }

    fn author(sample: &Sample) -> ValidatorId {
        let committee = &sample.epoch.committees[0];
        committee.members[usize::from(committee.candidates[0].0)].0
    }

    /// Receipts for tags at their own positions, of a block of nine with this timestamp.
    fn receipts(
        sample: &Sample,
        timestamp: u64,
        tags: &[u32],
        change: impl FnOnce(&mut AuthorHeader),
    ) -> Receipts {
        let mut header = AuthorHeader::from_bytes(&[0; 119]).expect("a header");
        (header.version, header.tx_count) = (1, 9);
        (header.author, header.timestamp) = (author(sample), timestamp);
        change(&mut header);
        let key = &sample.keys[usize::from(author(sample).0)];
        let context = sample.epoch.signing_context(&sample.epoch.committees[0]);
        Receipts {
            author: SignedAuthorHeader {
                signature: sign_author_header(key, &context, &header),
                header,
            },
            tags: tags
                .iter()
                .map(|tag| TagAt {
                    tag: Tag(*tag),
                    position: *tag as u16,
                })
                .collect(),
        }
    }

    fn index(tag: Tag) -> Option<u32> {
        (tag.0 < 5).then_some(tag.0)
    }

    fn hash(receipts: &Receipts) -> Hash {
        author_header_hash(&receipts.author.header)
    }

    #[test]
    fn kept_replaced_broken_and_unannounced_are_told_apart() {
        let (sample, entries) = (sample(), entries());
        let mut promises = Promises::new(&sample.epoch, &entries);
        let from = (SHARD, author(&sample));
        let (first, second) = (
            receipts(&sample, 1, &[0, 1, 2], |_| {}),
            receipts(&sample, 2, &[1], |_| {}),
        );
        promises.take(from, &first, index).expect("good");
        promises
            .take(from, &first, index)
            .expect("the same again changes nothing");
        promises.take(from, &second, index).expect("a re-cut");
        promises.settle(0, 0, &hash(&first));
        promises.settle(1, 0, &hash(&second));
        promises.settle(2, 0x8001, &Hash([7; 32]));
        promises.settle(3, 0, &hash(&first));
        promises.settle(4, 0x8001, &Hash([7; 32]));
        let kept = promises.into_kept();
        assert_eq!(kept.broken, [false, true, true, false, false], "once each");
        assert_eq!(
            (kept.replaced, kept.unannounced),
            (1, 1),
            "a voter's block announces nothing"
        );
    }

    #[test]
    fn what_binds_nobody_is_refused_and_leaves_nothing() {
        let (sample, entries) = (sample(), entries());
        let from = (SHARD, author(&sample));
        type Change = fn(&mut AuthorHeader);
        let headers: [(&str, Change); 6] = [
            ("version", |header| header.version = 9),
            ("shard", |header| header.shard = ShardId(1)),
            ("epoch", |header| header.epoch = types::Epoch(1)),
            ("author", |header| header.author = ValidatorId(999)),
            ("group", |header| header.group = 2),
            ("group", |header| header.group = 0x8000),
        ];
        let mut promises = Promises::new(&sample.epoch, &entries);
        for (what, change) in headers {
            let bad = receipts(&sample, 1, &[0], change);
            assert_eq!(promises.take(from, &bad, index), Err(ReceiptError::Header(what)));
        }
        let mut unsigned = receipts(&sample, 1, &[0], |_| {});
        unsigned.author.header.value = 7;
        assert_eq!(
            promises.take(from, &unsigned, index),
            Err(ReceiptError::Signature)
        );
        let mut elsewhere = receipts(&sample, 1, &[0], |_| {});
        let mut context = sample.epoch.signing_context(&sample.epoch.committees[0]);
        context.genesis_hash = Hash([9; 32]);
        let key = &sample.keys[usize::from(author(&sample).0)];
        elsewhere.author.signature = sign_author_header(key, &context, &elsewhere.author.header);
        assert_eq!(
            promises.take(from, &elsewhere, index),
            Err(ReceiptError::Signature),
            "the same key in another network"
        );
        let (voter, _) = sample.epoch.committees[0].members[0];
        let foreign = receipts(&sample, 1, &[0], |header| header.author = voter);
        assert_eq!(
            promises.take((SHARD, voter), &foreign, index),
            Err(ReceiptError::Header("author")),
            "a voter has no seat"
        );
        let group = receipts(&sample, 1, &[0, 4], |_| {});
        assert_eq!(
            promises.take(from, &group, index),
            Err(ReceiptError::Group {
                expected: 0,
                found: 1
            })
        );
        let short = receipts(&sample, 1, &[0, 1], |header| header.tx_count = 1);
        assert!(matches!(
            promises.take(from, &short, index),
            Err(ReceiptError::Position {
                position: 1,
                count: 1
            })
        ));
        let never = receipts(&sample, 1, &[5], |_| {});
        assert_eq!(promises.take(from, &never, index), Err(ReceiptError::Tag));
        promises.settle(0, 0, &Hash([1; 32]));
        let kept = promises.into_kept();
        assert_eq!((kept.broken, kept.unannounced), (vec![false; 5], 1));
    }
}
