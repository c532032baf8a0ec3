//! The end audit: every validator's chain, as fetched, against the genesis, against the other validators' chains and
//! against what the client was told.
//!
//! Flow: `Audit::new`, `set_address`, then for each validator `begin`, `push` for every item of its chain from height 1
//! upward, `set_state`, `end`; then `finish`. A height is recomputed once, from the first validator that serves it
//! whole; of the others every header, certificate and body is checked, and bodies of equal bytes are not decoded again.
//! Memory: the unspent sets, 8 bytes for each output ever spent, 32 bytes for each author block, and one height's
//! bodies at a time.

use types::client::{BlockItem, StateInfo};
use types::genesis::{Allocation, EpochConfig, Genesis};
use types::{Amount, Height, OutPoint, Owner, ShardId, TxId, ValidatorId};

mod closing;
mod collect;
mod faults;
pub mod fetch;
pub mod finding;
mod headers;
mod league;
pub mod limits;
mod model;
mod outcome;
mod reading;
mod receipts;
mod replay;
mod settle;
mod shard;
#[cfg(test)]
pub(crate) mod tests;

use closing::Sums;
use crypto::cosign::Verifier;
use crypto::hash::allocations_hash;
use crypto::keys::Scheme;
use finding::{Directory, Fault, Findings};
use reading::Replica;
use settle::Signatures;
use shard::{Shard, Shown};

pub use faults::{FaultLog, ModeChange, ShardMoney};
pub use finding::{Finding, FindingKind};
pub use outcome::{AuditError, AuditOptions, AuditOutcome};
pub use receipts::{Certified, Claim, Position, Receipts, Told};

/// Whether the current chain is worth reading on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Go on.
    Wanted,
    /// Nothing that follows can be judged: the chain is broken.
    Broken,
}

/// The audit in progress.
pub struct Audit {
    epoch: EpochConfig,
    /// By shard.
    verifiers: Vec<Verifier>,
    shards: Vec<Shard>,
    current: Option<Replica>,
    signatures: Signatures,
    receipts: Receipts,
    directory: Directory,
    findings: Findings,
    sums: Sums,
}

impl Audit {
    /// Starts from the genesis state.
    ///
    /// # Errors
    /// `Allocations` when they are not the genesis'.
    pub fn new(
        genesis: &Genesis,
        epoch: &EpochConfig,
        allocations: &[Allocation],
        receipts: Receipts,
        options: AuditOptions,
    ) -> Result<Self, AuditError> {
        let found = allocations_hash(allocations);
        if found != genesis.allocations_hash {
            return Err(AuditError::Allocations {
                found,
                named: genesis.allocations_hash,
            });
        }
        let shards = (0..genesis.shards)
            .map(|shard| shard::genesis(genesis, epoch, ShardId(shard), allocations))
            .collect();
        Ok(Self {
            signatures: Signatures::new(epoch.genesis_hash, options.seed, options.sample_ppm),
            directory: Directory::of(epoch),
            verifiers: epoch
                .committees
                .iter()
                .map(|committee| Verifier::new(Scheme::Ed25519, committee.clone()))
                .collect(),
            epoch: epoch.clone(),
            shards,
            current: None,
            receipts,
            findings: Findings::default(),
            sums: Sums::default(),
        })
    }

    /// Tells where a validator was asked: findings name it.
    pub fn set_address(&mut self, validator: ValidatorId, address: String) {
        self.directory.set_address(validator, address);
    }

    /// Highest height of a shard that the client holds a certificate of: every validator must show it.
    #[must_use]
    pub fn height_due(&self, shard: ShardId) -> Height {
        self.receipts.height_max(shard)
    }

    /// Begins a validator's chain; ends the one before.
    ///
    /// # Errors
    /// `Validator` for one that is not of this network.
    pub fn begin(&mut self, validator: ValidatorId) -> Result<(), AuditError> {
        self.end();
        let shard = self.shard_of(validator).ok_or(AuditError::Validator(validator))?;
        self.current = Some(Replica::new(validator, shard, self.epoch.genesis_hash));
        Ok(())
    }

    /// Takes the next item of the current validator's chain; without one it is ignored.
    pub fn push(&mut self, item: BlockItem) -> Progress {
        let Some(mut replica) = self.current.take() else {
            return Progress::Broken;
        };
        if !replica.is_broken() {
            match replica.collector.push(item) {
                Ok(Some(complete)) => self.read(&mut replica, complete),
                Ok(None) => {}
                Err(stray) => self.report_stray(&mut replica, &stray),
            }
        }
        let progress = if replica.is_broken() {
            Progress::Broken
        } else {
            Progress::Wanted
        };
        self.current = Some(replica);
        progress
    }

    /// Takes what the current validator says of its state; `finish` holds it against the recomputed one.
    pub fn set_state(&mut self, state: StateInfo) {
        if let Some(replica) = &mut self.current {
            replica.shown.state = Some(state);
        }
    }

    /// Ends the current validator's chain.
    pub fn end(&mut self) {
        let Some(mut replica) = self.current.take() else {
            return;
        };
        if !replica.is_broken()
            && let Some(complete) = replica.collector.finish()
        {
            self.read(&mut replica, complete);
        }
        let (validator, shard, shown) = replica.into_shown();
        self.shards[shard].shown.insert(validator, shown);
    }

    /// Notes that the chain of a validator could not be fetched, or not to its end; ends it if it is the current one.
    pub fn unreachable(&mut self, validator: ValidatorId, reason: &str) {
        self.end();
        let Some(number) = self.shard_of(validator) else {
            return;
        };
        let shard = &mut self.shards[number];
        shard.agrees = false;
        let shown = shard.shown.entry(validator).or_default();
        if shown.end.is_none() {
            shown.end = Some(format!("its chain could not be fetched: {reason}"));
            let height = shown.height;
            let last = shard.at(height).and_then(|mark| mark.last);
            let witness = self.withheld(number, height.next()).or(last);
            let fault = Fault::new(FindingKind::Unreadable, "its chain and its state", reason);
            self.find(validator, fault.at(height).of(witness));
        }
    }

    /// Adds what the client found out about a validator's answers while it ran.
    pub(crate) fn accuse(&mut self, validator: ValidatorId, fault: Fault) {
        self.find(validator, fault);
    }

    /// The first fault of a validator whose chain was read, when its chain cannot be used; another validator of its
    /// shard may be read instead.
    #[must_use]
    pub fn fault_of(&self, validator: ValidatorId) -> Option<String> {
        let shown = self.shards.iter().find_map(|shard| shard.shown.get(&validator));
        if shown.is_some_and(Shown::is_whole) {
            return None;
        }
        let finding = self.findings.about(&[validator]);
        Some(finding.map_or("its chain was not read".to_owned(), ToString::to_string))
    }

    /// Unspent outputs of all shards: what a further run on this network can spend. At least one validator of each
    /// shard must have shown its whole chain.
    ///
    /// # Errors
    /// `Chain` when the certified chain of a shard is wrong, or no validator shows it.
    pub fn unspent(mut self) -> Result<Vec<(OutPoint, Owner, Amount)>, AuditError> {
        self.end();
        if let Some(finding) = self.findings.of_chain() {
            return Err(AuditError::Chain(finding.to_string()));
        }
        for (committee, shard) in self.epoch.committees.iter().zip(&self.shards) {
            if !shard.shown.values().any(Shown::is_whole) {
                let members: Vec<ValidatorId> = committee.members.iter().map(|(id, _)| *id).collect();
                let finding = self.findings.about(&members);
                let nobody = || format!("no validator of shard {} was read", shard.id);
                return Err(AuditError::Chain(
                    finding.map_or_else(nobody, ToString::to_string),
                ));
            }
        }
        let live = self.shards.iter().flat_map(|shard| shard.model.live());
        Ok(live
            .map(|(outpoint, held)| (*outpoint, held.owner, held.amount))
            .collect())
    }

    /// Compares the chains with one another, with the states and with the client's receipts, and sums up.
    #[must_use]
    pub fn finish(mut self) -> AuditOutcome {
        self.end();
        self.close()
    }

    fn shard_of(&self, validator: ValidatorId) -> Option<usize> {
        let is_member = |(id, _): &(ValidatorId, _)| *id == validator;
        self.epoch
            .committees
            .iter()
            .position(|committee| committee.members.iter().any(is_member))
    }

    fn find(&mut self, validator: ValidatorId, fault: Fault) {
        self.findings.add(self.directory.finding(validator, fault));
    }
}

/// First transaction of a body that may not even be one.
fn first_transaction(body: &[u8]) -> Option<TxId> {
    transactions(body).next()
}

/// Transactions of a body as far as it can be read.
fn transactions(body: &[u8]) -> impl Iterator<Item = TxId> {
    let mut rest = body.get(4..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (tx, after) = types::transaction::TxView::decode_prefix(rest).ok()?;
        rest = after;
        Some(crypto::hash::txid(tx.body()))
    })
}
