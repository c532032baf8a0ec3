//! Checks of a block that need no state: the header against what it covers, the proof, the author blocks.

use std::fmt::Display;

use crypto::cosign::{Verifier, verify_author_header, verify_commit_proof};
use crypto::hash::{author_header_hash, final_header_hash};
use crypto::keys::Scheme;
use crypto::merkle::{EMPTY, excluded_root, records_root, refs_root};
use types::block::{
    BLOCK_VERSION, BlockRef, Body, CommittedBlock, FinalHeader, GROUP_ONE_LEAGUE, MODE_ONE_LEAGUE,
};
use types::genesis::{Committee, EpochConfig, SigningContext};
use types::message::AuthorBlock;
use types::{Hash, Height};

use super::finding::{Fault, FindingKind};

/// Where a replica's chain stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tip {
    pub(super) height: Height,
    pub(super) hash: Hash,
    pub(super) timestamp: u64,
}

/// The part of the network that a chain belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) epoch: &'a EpochConfig,
    pub(super) committee: &'a Committee,
    pub(super) verifier: &'a Verifier,
}

impl Place<'_> {
    const fn context(&self) -> SigningContext {
        self.epoch.signing_context(self.committee)
    }

    /// Checks a block against the chain below it; gives the new tip.
    ///
    /// Mode, records, excluded bits and digest follow from the chain and the state and are checked by replay.
    pub(super) fn check(&self, tip: &Tip, committed: &CommittedBlock) -> Result<Tip, Fault> {
        let (header, block) = (&committed.block.header, &committed.block);
        let hash = final_header_hash(header);
        same("height", &tip.height.0.saturating_add(1), &header.height.0)?;
        same("block before it", &tip.hash, &header.prev)?;
        if header.timestamp <= tip.timestamp {
            let expected = format!("a time above {}", tip.timestamp);
            return Err(fault(expected, format!("time {}", header.timestamp)));
        }
        self.check_constants(header)?;
        same("refs_root", &refs_root(&block.refs), &header.refs_root)?;
        same(
            "evidence_root",
            &records_root(&block.records),
            &header.evidence_root,
        )?;
        let count: u64 = block
            .refs
            .iter()
            .map(|reference| u64::from(reference.tx_count))
            .sum();
        same(
            "excluded_root",
            &excluded_root(&block.excluded),
            &header.excluded_root,
        )?;
        same("tx_count", &count, &u64::from(header.tx_count))?;
        verify_commit_proof(&self.context(), self.verifier, header, &committed.proof).map_err(|error| {
            let expected = "a commit proof that holds";
            Fault::new(FindingKind::Certificate, expected, error.to_string())
        })?;
        Ok(Tip {
            height: header.height,
            hash,
            timestamp: header.timestamp,
        })
    }

    fn check_constants(&self, header: &FinalHeader) -> Result<(), Fault> {
        same("version", &BLOCK_VERSION, &header.version)?;
        if self.epoch.policy.leagues.is_none() {
            same("mode", &MODE_ONE_LEAGUE, &header.mode)?;
            same("slow_root", &EMPTY, &header.slow_root)?;
        }
        same("shard", &self.committee.shard, &header.shard)?;
        same("epoch", &self.epoch.epoch, &header.epoch)?;
        same("term", &0, &header.term)?;
        same("committee_hash", &self.committee.hash, &header.committee_hash)?;
        same("beacon height", &Height(0), &header.beacon_height)?;
        same("beacon hash", &Hash::default(), &header.beacon_hash)?;
        same("inbox_root", &EMPTY, &header.inbox_root)?;
        same("outbox_root", &EMPTY, &header.outbox_root)
    }

    /// Checks an author block against the reference that names it; gives its transactions.
    pub(super) fn check_body(&self, reference: &BlockRef, block: AuthorBlock) -> Result<Body, String> {
        let header = &block.header.header;
        if author_header_hash(header) != reference.hash {
            return Err("another author's header".to_owned());
        }
        let author = match header.group.checked_sub(GROUP_ONE_LEAGUE).map(usize::from) {
            Some(voter) if voter < self.committee.size() => self.committee.members.get(voter),
            // Which candidate holds the seat follows from the chain, and is checked with it.
            None if header.group < self.epoch.policy.seats() => {
                let mut candidates = self.committee.members.iter().skip(self.committee.size());
                candidates.find(|(id, _)| *id == header.author)
            }
            _ => None,
        };
        let fits = header.version == BLOCK_VERSION
            && header.shard == self.committee.shard
            && header.epoch == self.epoch.epoch
            && (header.group, header.seq) == (reference.group, reference.seq)
            && header.tx_count == reference.tx_count;
        let Some((id, key)) = author.filter(|(id, _)| fits && *id == header.author) else {
            return Err("an author's header that is not of this committee or not as referred to".to_owned());
        };
        if !verify_author_header(Scheme::Ed25519, &self.context(), key, &block.header) {
            return Err(format!("an author's header not signed by validator {id}"));
        }
        crypto::body::decode(&block.header.header, block.body)
            .map_err(|error| format!("a body that is not what its header says: {error}"))
    }
}

fn fault(expected: String, found: String) -> Fault {
    Fault::new(FindingKind::Header, expected, found)
}

fn same<T: PartialEq + Display>(what: &str, expected: &T, found: &T) -> Result<(), Fault> {
    if expected == found {
        return Ok(());
    }
    Err(fault(format!("{what} {expected}"), format!("{what} {found}")))
}
