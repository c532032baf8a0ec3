//! What an audit finds wrong: who, what, where, expected against found. One line each.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use types::genesis::EpochConfig;
use types::{Height, TxId, ValidatorId};

use super::limits::{FINDINGS_MAX, FINDINGS_OF_A_KIND_MAX};

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// The chain that a validator serves lacks a transaction that was receipted as final.
    ReceiptDropped,
    /// A receipt whose certificate holds names a place at which the chain has not applied the transaction.
    ReceiptFalse,
    /// A receipt proves nothing.
    ReceiptForged,
    /// A transaction was refused, and the chain applied it.
    RefusalFalse,
    /// A second answer for one transaction, or an answer for none.
    AnsweredTwice,
    /// A chain or a state could not be fetched, or not to the end that it must have.
    Unreadable,
    /// A block does not follow from the one before it, or not from this genesis.
    Header,
    /// The commit certificate of a block does not hold.
    Certificate,
    /// Two certified blocks at one height.
    Fork,
    /// A body is missing, surplus, or not the one that its block commits to.
    Body,
    /// An author block stands in the chain twice, out of order, or is of another author than its group's.
    AuthorOrder,
    /// A record of a block, or its mode, does not follow from the chain.
    Record,
    /// No validator serves what it takes to recompute a height.
    NotRecomputed,
    /// A validator's answer about its state is not what the recomputation gives.
    State,
    /// An output was spent twice.
    DoubleSpend,
    /// A transaction created value.
    Mint,
    /// A transaction was applied with a signature that is not valid.
    Forgery,
    /// A transaction was applied that breaks another rule.
    Rule,
    /// A transaction was excluded that breaks no rule.
    Exclusion,
    /// The state digest of a certified header is not what the recomputation gives.
    Digest,
    /// Unspent value, fees, bonds, pool and rewards of a shard are not its supply.
    Supply,
}

impl FindingKind {
    /// True for a fault in the certified chain itself: of a committee, not of the one validator that serves it.
    const fn is_of_chain(self) -> bool {
        matches!(
            self,
            Self::Fork
                | Self::AuthorOrder
                | Self::Record
                | Self::NotRecomputed
                | Self::DoubleSpend
                | Self::Mint
                | Self::Forgery
                | Self::Rule
                | Self::Exclusion
                | Self::Digest
                | Self::Supply
        )
    }

    /// What a validator did, as a verb phrase; `tx` is put where the transaction is its object.
    fn words(self, tx: &str) -> String {
        match self {
            Self::ReceiptDropped => format!("dropped{tx}"),
            Self::ReceiptFalse => format!("gave a false receipt for{tx}"),
            Self::ReceiptForged => format!("forged a receipt for{tx}"),
            Self::RefusalFalse => format!("refused{tx}, which was applied"),
            Self::AnsweredTwice => format!("gave contradictory answers for{tx}"),
            Self::Unreadable => format!("does not show its chain with{tx}"),
            Self::Header => format!("serves a block that does not belong into its chain, with{tx}"),
            Self::Certificate => format!("serves a block that is not certified, with{tx}"),
            Self::Fork => format!("serves another certified block, with{tx}"),
            Self::Body => format!("serves a wrong body, with{tx}"),
            Self::AuthorOrder => format!("serves an author block out of order, with{tx}"),
            Self::Record => format!("certified a record or a mode that is not due in the block with{tx}"),
            Self::NotRecomputed => format!("serves too little to recompute its chain, with{tx}"),
            Self::State => format!("lies about its state after{tx}"),
            Self::DoubleSpend => format!("let{tx} spend twice"),
            Self::Mint => format!("let{tx} mint"),
            Self::Forgery => format!("accepted the forged{tx}"),
            Self::Rule => format!("applied{tx} against the rules"),
            Self::Exclusion => format!("excluded{tx} without a reason"),
            Self::Digest => format!("certified a wrong state in the block with{tx}"),
            Self::Supply => format!("does not conserve the supply in the block with{tx}"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// What is wrong.
    pub kind: FindingKind,
    /// Validator at fault: the one that served or said it. Of a fault of the whole committee, the one from which the
    /// chain was recomputed.
    pub validator: u16,
    /// First eight hexadecimal digits of its key.
    pub key: String,
    /// Address at which it was asked; empty when no address is known.
    pub address: String,
    /// Shard that it serves.
    pub shard: u16,
    /// Height concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u64>,
    /// Transaction concerned, or a witness: the first of the block, the last that a state covers, the first receipted
    /// one that is withheld. Hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction: Option<String>,
    /// What an honest validator shows.
    pub expected: String,
    /// What this one shows.
    pub found: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "validator {}", self.validator)?;
        if self.address.is_empty() {
            write!(formatter, " (key {})", self.key)?;
        } else {
            write!(formatter, " ({}, key {})", self.address, self.key)?;
        }
        let tx = match &self.transaction {
            Some(txid) => format!(" transaction {txid}"),
            None => " no transaction".to_owned(),
        };
        write!(formatter, " {}: shard {}", self.kind.words(&tx), self.shard)?;
        if let Some(height) = self.height {
            write!(formatter, ", height {height}")?;
        }
        write!(formatter, ": expected {}, found {}", self.expected, self.found)
    }
}

/// What a finding says besides who is at fault.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: FindingKind,
    pub(crate) height: Option<Height>,
    pub(crate) transaction: Option<TxId>,
    pub(crate) expected: String,
    pub(crate) found: String,
}

impl Fault {
    pub(crate) fn new(kind: FindingKind, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            kind,
            height: None,
            transaction: None,
            expected: expected.into(),
            found: found.into(),
        }
    }

    pub(crate) const fn at(mut self, height: Height) -> Self {
        self.height = Some(height);
        self
    }

    pub(crate) const fn of(mut self, transaction: Option<TxId>) -> Self {
        self.transaction = transaction;
        self
    }
}

/// The first findings in full, all of them in number.
///
/// Invariant: one finding per kind, validator, height and transaction; at most `FINDINGS_OF_A_KIND_MAX` of a kind and
/// validator are kept, so that a validator with one fault a block does not crowd out the others.
#[derive(Debug, Default)]
pub(super) struct Findings {
    kept: Vec<Finding>,
    omitted: u64,
    by_kind: BTreeMap<(FindingKind, u16), usize>,
}

impl Findings {
    pub(super) fn add(&mut self, finding: Finding) {
        let is_known = |known: &Finding| {
            (known.kind, known.validator, known.height) == (finding.kind, finding.validator, finding.height)
                && known.transaction == finding.transaction
                && known.transaction.is_some()
        };
        if self.kept.iter().any(is_known) {
            return;
        }
        let count = self.by_kind.entry((finding.kind, finding.validator)).or_default();
        *count += 1;
        if *count <= FINDINGS_OF_A_KIND_MAX && self.kept.len() < FINDINGS_MAX {
            self.kept.push(finding);
        } else {
            self.omitted += 1;
        }
    }

    /// The first fault of a certified chain itself.
    pub(super) fn of_chain(&self) -> Option<&Finding> {
        self.kept.iter().find(|finding| finding.kind.is_of_chain())
    }

    /// The first finding about one of these validators.
    pub(super) fn about(&self, validators: &[ValidatorId]) -> Option<&Finding> {
        let is_one = |finding: &&Finding| validators.contains(&ValidatorId(finding.validator));
        self.kept.iter().find(is_one)
    }

    pub(super) fn into_parts(self) -> (Vec<Finding>, u64) {
        (self.kept, self.omitted)
    }
}

/// Who the validators are: for findings.
#[derive(Debug)]
pub(super) struct Directory {
    known: BTreeMap<ValidatorId, (u16, String)>,
    addresses: BTreeMap<ValidatorId, String>,
}

impl Directory {
    pub(super) fn of(epoch: &EpochConfig) -> Self {
        let members = epoch.committees.iter().flat_map(|committee| {
            let named = |(id, key): &(ValidatorId, [u8; 32])| {
                let digits = key.iter().take(4).map(|byte| format!("{byte:02x}"));
                (*id, (committee.shard.0, digits.collect()))
            };
            committee.members.iter().map(named)
        });
        Self {
            known: members.collect(),
            addresses: BTreeMap::new(),
        }
    }

    pub(super) fn set_address(&mut self, validator: ValidatorId, address: String) {
        self.addresses.insert(validator, address);
    }

    pub(super) fn finding(&self, validator: ValidatorId, fault: Fault) -> Finding {
        let (shard, key) = self.known.get(&validator).cloned().unwrap_or_default();
        Finding {
            kind: fault.kind,
            validator: validator.0,
            key,
            address: self.addresses.get(&validator).cloned().unwrap_or_default(),
            shard,
            height: fault.height.map(|height| height.0),
            transaction: fault.transaction.map(|txid| txid.to_string()),
            expected: fault.expected,
            found: fault.found,
        }
    }
}
