//! Checks of a block that need no state: the header against what it covers, the proof, the author blocks.

use crypto::cosign::{verify_author_header, verify_commit_proof};
use crypto::hash::{author_header_hash, final_header_hash};
use crypto::keys::Scheme;
use crypto::merkle::{EMPTY, records_root, refs_root};
use types::block::{
    BLOCK_VERSION, BlockRef, Body, CommittedBlock, FinalHeader, GROUP_ONE_LEAGUE, MODE_ONE_LEAGUE,
};
use types::genesis::{Committee, EpochConfig, SigningContext};
use types::message::AuthorBlock;
use types::{Hash, Height};

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
}

impl Place<'_> {
    fn context(&self) -> SigningContext {
        SigningContext {
            genesis_hash: self.epoch.genesis_hash,
            epoch: self.epoch.epoch,
            shard: self.committee.shard,
            committee_hash: self.committee.hash,
        }
    }

    /// Checks a block against the chain below it; gives the new tip.
    ///
    /// The excluded bits and the digest follow from the state and are for the model to check.
    pub(super) fn check(&self, tip: &Tip, committed: &CommittedBlock) -> Result<Tip, String> {
        let (header, block) = (&committed.block.header, &committed.block);
        let hash = final_header_hash(header);
        let expect = |holds: bool, what: &str| {
            if holds { Ok(()) } else { Err(what.to_owned()) }
        };
        expect(
            header.height == tip.height.next(),
            "the height does not follow the one before",
        )?;
        expect(
            header.prev == tip.hash,
            "the header does not name the block before it",
        )?;
        expect(header.timestamp > tip.timestamp, "the time does not rise")?;
        self.check_constants(header)?;
        expect(
            header.refs_root == refs_root(&block.refs),
            "refs_root does not cover the references",
        )?;
        expect(
            header.evidence_root == records_root(&block.records),
            "evidence_root does not cover the records",
        )?;
        let count: u64 = block
            .refs
            .iter()
            .map(|reference| u64::from(reference.tx_count))
            .sum();
        expect(
            u64::from(header.tx_count) == count,
            "tx_count is not the sum of the references'",
        )?;
        verify_commit_proof(
            Scheme::Ed25519,
            &self.context(),
            self.committee,
            header,
            &committed.proof,
        )
        .map_err(|error| format!("the commit proof does not hold: {error}"))?;
        Ok(Tip {
            height: header.height,
            hash,
            timestamp: header.timestamp,
        })
    }

    fn check_constants(&self, header: &FinalHeader) -> Result<(), String> {
        let checks = [
            (header.version == BLOCK_VERSION, "version"),
            (header.mode == MODE_ONE_LEAGUE, "mode"),
            (header.shard == self.committee.shard, "shard"),
            (header.epoch == self.epoch.epoch, "epoch"),
            (header.term == 0, "term"),
            (header.committee_hash == self.committee.hash, "committee_hash"),
            (
                header.beacon_height == Height(0) && header.beacon_hash == Hash::default(),
                "beacon fields",
            ),
            (header.slow_root == EMPTY, "slow_root"),
            (header.inbox_root == EMPTY, "inbox_root"),
            (header.outbox_root == EMPTY, "outbox_root"),
        ];
        match checks.iter().find(|(holds, _)| !holds) {
            Some((_, what)) => Err(format!("{what} of the header is not this network's")),
            None => Ok(()),
        }
    }

    /// Checks an author block against the reference that names it; gives its transactions.
    pub(super) fn check_body(&self, reference: &BlockRef, block: AuthorBlock) -> Result<Body, String> {
        let header = &block.header.header;
        if author_header_hash(header) != reference.hash {
            return Err("the author's header is not the one that is referred to".to_owned());
        }
        let member = header.group.checked_sub(GROUP_ONE_LEAGUE).map(usize::from);
        let author = member.and_then(|member| self.committee.members.get(member));
        let fits = header.version == BLOCK_VERSION
            && header.shard == self.committee.shard
            && header.epoch == self.epoch.epoch
            && (header.group, header.seq) == (reference.group, reference.seq)
            && header.tx_count == reference.tx_count;
        let Some((id, key)) = author.filter(|(id, _)| fits && *id == header.author) else {
            return Err("the author's header is not of this committee or not as referred to".to_owned());
        };
        if !verify_author_header(Scheme::Ed25519, key, &block.header) {
            return Err(format!("the author's header is not signed by validator {id}"));
        }
        crypto::body::decode(&block.header.header, block.body)
            .map_err(|error| format!("the body is not what its header says: {error}"))
    }
}
