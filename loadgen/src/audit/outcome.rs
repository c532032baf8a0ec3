//! What the audit is told, and what it says.

use types::{Hash, Height, ValidatorId};

use super::faults::{FaultLog, ShardMoney};
use super::finding::Finding;

/// How much the audit checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditOptions {
    /// Draws the sample; nodes must not know it before the run has ended.
    pub seed: [u8; 32],
    /// Share of the transactions whose signatures are verified, per million; a million checks all.
    pub sample_ppm: u32,
}

impl AuditOptions {
    /// Every signature.
    #[must_use]
    pub const fn full(seed: [u8; 32]) -> Self {
        Self {
            seed,
            sample_ppm: 1_000_000,
        }
    }

    /// One signature in a hundred.
    #[must_use]
    pub const fn sampled(seed: [u8; 32]) -> Self {
        Self {
            seed,
            sample_ppm: 10_000,
        }
    }
}

/// An audit that cannot start or go on: a mistake of the caller or a wrong file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// The allocations are not those of the genesis.
    #[error(
        "the allocations do not belong to this genesis: their hash is {found}, the genesis names {named}"
    )]
    Allocations {
        /// Hash of the allocations.
        found: Hash,
        /// Hash in the genesis.
        named: Hash,
    },
    /// Not a validator of this network.
    #[error("validator {0} is not one of this network")]
    Validator(ValidatorId),
    /// The chain is not what it should be, so that no state can be taken from it.
    #[error("the fetched chain does not hold: {0}")]
    Chain(String),
}

/// Result of the audit.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditOutcome {
    /// Genesis supply equals unspent value, fees, bonds, pool and rewards, after every block of every shard.
    pub supply_conserved: bool,
    /// Applied transactions that spend what was spent before.
    pub double_spends: u64,
    /// Shards whose validators all show one chain, of all shards.
    pub replicas_agree: (usize, usize),
    /// Share of the transactions that the client holds as final which the chains of all validators of the shard hold
    /// too; 1 when there are none.
    pub receipts_honoured: f64,
    /// Applied transactions with a signature that is not valid.
    pub forgeries_accepted: u64,
    /// What is wrong: the first findings, see `limits`.
    pub findings: Vec<Finding>,
    /// Findings beyond those.
    pub findings_omitted: u64,
    /// What is no fault: validators that show a shorter chain.
    pub notes: Vec<String>,
    /// Transactions of this client that the chains hold.
    pub final_txs_in_chain: u64,
    /// Those of them about which the client holds nothing: they became final unseen.
    pub open_txs_in_chain: u64,
    /// All transactions that the chains applied, of any client, since genesis.
    pub applied_txs: u64,
    /// Signatures of transactions that were verified.
    pub signatures_checked: u64,
    /// Final height of each shard.
    pub heights: Vec<Height>,
    /// Author blocks that final blocks refer to.
    pub author_blocks: u64,
    /// Final blocks of all shards.
    pub final_blocks: u64,
    /// What the chains say about cheating.
    pub faults: FaultLog,
    /// By shard: the supply and where it is at the last height.
    pub money: Vec<ShardMoney>,
}

impl AuditOutcome {
    /// True when nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
            && self.supply_conserved
            && self.double_spends == 0
            && self.forgeries_accepted == 0
            && self.replicas_agree.0 == self.replicas_agree.1
    }
}
