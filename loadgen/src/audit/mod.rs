//! The end audit: every validator's chain, as fetched, against the genesis and against what the client was told.
//!
//! Flow: `Audit::new`, then for each validator `begin`, `push` for every item of its chain from height 1 upward,
//! `end`; then `finish`. A shard's chain is replayed once, from the first validator that shows it; of the others every
//! header, proof and body is checked, and bodies of equal bytes are not decoded again.
//! Memory: the unspent sets, 8 bytes for each output ever spent, 32 bytes for each author block, and one height's
//! bodies at a time.

use std::collections::BTreeMap;

use crypto::hash::allocations_hash;
use types::block::Body;
use types::client::{BlockItem, StateInfo};
use types::genesis::{Allocation, EpochConfig, Genesis};
use types::message::AuthorBlock;
use types::{Amount, Hash, Height, OutPoint, Owner, ShardId, ValidatorId};

mod collect;
pub mod fetch;
mod headers;
mod model;
mod outcome;
mod receipts;
mod settle;
#[cfg(test)]
mod tests;

use collect::{Collector, Complete, Gap};
use headers::{Place, Tip};
use model::{Breach, Model};
use settle::{Deviation, Signatures, settle};

pub use outcome::{AuditError, AuditOptions, AuditOutcome};
pub use receipts::{Claim, Receipts};

/// Findings that are kept in words; more are counted.
const FINDINGS_MAX: usize = 100;

/// One height of a shard's chain as first shown.
struct Mark {
    hash: Hash,
    /// blake3 of each author block: header, signature and body.
    bodies: Vec<[u8; 32]>,
    digest: Hash,
    outputs: u64,
    value: u128,
    fees: u128,
}

struct Shard {
    model: Model,
    /// By height, from 1.
    marks: Vec<Mark>,
    /// Heights that validators showed.
    shown: BTreeMap<ValidatorId, Height>,
    agrees: bool,
}

/// The validator whose chain is being read.
struct Replica {
    validator: ValidatorId,
    shard: usize,
    tip: Tip,
    collector: Collector,
    /// Nothing after the first fault that breaks the chain can be judged.
    is_broken: bool,
}

/// The audit in progress.
pub struct Audit {
    epoch: EpochConfig,
    shards: Vec<Shard>,
    current: Option<Replica>,
    signatures: Signatures,
    receipts: Receipts,
    supply_conserved: bool,
    double_spends: u64,
    forgeries: u64,
    applied: u64,
    findings: Vec<String>,
    omitted: u64,
    notes: Vec<String>,
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
            .map(|shard| Shard {
                model: Model::new(genesis, epoch, ShardId(shard), allocations),
                marks: Vec::new(),
                shown: BTreeMap::new(),
                agrees: true,
            })
            .collect();
        Ok(Self {
            signatures: Signatures::new(epoch.genesis_hash, options.seed, options.sample_ppm),
            epoch: epoch.clone(),
            shards,
            current: None,
            receipts,
            supply_conserved: true,
            double_spends: 0,
            forgeries: 0,
            applied: 0,
            findings: Vec::new(),
            omitted: 0,
            notes: Vec::new(),
        })
    }

    /// Begins a validator's chain; ends the one before.
    ///
    /// # Errors
    /// `Validator` for one that is not of this network.
    pub fn begin(&mut self, validator: ValidatorId) -> Result<(), AuditError> {
        self.end();
        let shard = self
            .epoch
            .committees
            .iter()
            .position(|committee| committee.members.iter().any(|(id, _)| *id == validator))
            .ok_or(AuditError::Validator(validator))?;
        self.current = Some(Replica {
            validator,
            shard,
            tip: Tip {
                height: Height(0),
                hash: self.epoch.genesis_hash,
                timestamp: 0,
            },
            collector: Collector::default(),
            is_broken: false,
        });
        Ok(())
    }

    /// Takes the next item of the current validator's chain.
    pub fn push(&mut self, item: BlockItem) {
        let Some(mut replica) = self.current.take() else {
            self.find("an item came before any validator was named".to_owned());
            return;
        };
        if !replica.is_broken {
            match replica.collector.push(item) {
                Ok(Some(complete)) => self.check(&mut replica, complete),
                Ok(None) => {}
                Err(gap) => self.report_gap(&mut replica, gap),
            }
        }
        self.current = Some(replica);
    }

    /// Ends the current validator's chain.
    pub fn end(&mut self) {
        let Some(mut replica) = self.current.take() else {
            return;
        };
        if !replica.is_broken
            && let Err(gap) = replica.collector.finish()
        {
            self.report_gap(&mut replica, gap);
        }
        let shard = &mut self.shards[replica.shard];
        shard.shown.insert(replica.validator, replica.tip.height);
    }

    /// Notes that a validator's chain could not be fetched, or not to its end.
    pub fn unreachable(&mut self, validator: ValidatorId, reason: &str) {
        self.find(format!(
            "validator {validator}: its chain could not be fetched: {reason}"
        ));
        let committees = self.epoch.committees.iter().zip(&mut self.shards);
        for (committee, shard) in committees {
            if committee.members.iter().any(|(id, _)| *id == validator) {
                shard.agrees = false;
            }
        }
    }

    /// Holds what the current validator says of its state against the replayed chain, up to the height that was
    /// replayed.
    pub fn check_state(&mut self, state: &StateInfo) {
        let Some(replica) = &self.current else {
            return;
        };
        let (validator, shard) = (replica.validator, &mut self.shards[replica.shard]);
        let Some(mark) = (state.height.0 as usize)
            .checked_sub(1)
            .and_then(|at| shard.marks.get(at))
        else {
            return;
        };
        let held = (mark.digest, mark.outputs, mark.value, mark.fees);
        let told = (
            state.digest,
            state.outputs,
            u128::from(state.value.0),
            u128::from(state.fees.0),
        );
        if held != told {
            shard.agrees = false;
            self.find(format!(
                "validator {validator}: its state at height {} is {} outputs of value {} and fees {} (digest {}), the replay of the chain gives {} outputs of value {} and fees {} (digest {})",
                state.height, told.1, told.2, told.3, told.0, held.1, held.2, held.3, held.0
            ));
        }
    }

    /// Unspent outputs of all shards: what a further run on this network can spend.
    ///
    /// # Errors
    /// `Chain` when anything was found wrong.
    pub fn unspent(mut self) -> Result<Vec<(OutPoint, Owner, Amount)>, AuditError> {
        self.end();
        if let Some(finding) = self.findings.into_iter().next() {
            return Err(AuditError::Chain(finding));
        }
        let live = self.shards.iter().flat_map(|shard| shard.model.live());
        Ok(live
            .map(|(outpoint, held)| (*outpoint, held.owner, held.amount))
            .collect())
    }

    /// Compares the chains with the client's receipts and sums up.
    #[must_use]
    pub fn finish(mut self) -> AuditOutcome {
        self.end();
        self.compare_replicas();
        let receipts = std::mem::take(&mut self.receipts);
        let sums = receipts.compare(|txid, shard, claim| {
            let validators = self.validators(shard);
            self.find(match claim {
                Claim::Final => format!(
                    "transaction {txid}: the client holds it as final, the chain of shard {shard} (validators {validators}) does not"
                ),
                _ => format!(
                    "transaction {txid}: the client was told that it is refused, the chain of shard {shard} (validators {validators}) applied it"
                ),
            });
        });
        let agreeing = self.shards.iter().filter(|shard| shard.agrees).count();
        AuditOutcome {
            supply_conserved: self.supply_conserved,
            double_spends: self.double_spends,
            replicas_agree: (agreeing, self.shards.len()),
            receipts_honoured: if sums.finals == 0 {
                1.0
            } else {
                sums.finals_applied as f64 / sums.finals as f64
            },
            forgeries_accepted: self.forgeries,
            findings: self.findings,
            findings_omitted: self.omitted,
            notes: self.notes,
            final_txs_in_chain: sums.applied,
            open_txs_in_chain: sums.open_applied,
            applied_txs: self.applied,
            signatures_checked: self.signatures.checked,
            heights: self.shards.iter().map(|shard| shard.model.height).collect(),
        }
    }

    fn validators(&self, shard: ShardId) -> String {
        let committee = self.epoch.committees.get(usize::from(shard.0));
        let members = committee.map_or(&[][..], |committee| &committee.members);
        let ids: Vec<String> = members.iter().map(|(id, _)| id.to_string()).collect();
        ids.join(", ")
    }

    fn find(&mut self, finding: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.omitted += 1;
        }
    }

    fn report_gap(&mut self, replica: &mut Replica, gap: Gap) {
        let what = match gap {
            Gap::Missing { height, reference } => {
                format!("height {height}: the body of reference {reference} is missing")
            }
            Gap::Surplus => format!("a body without a block after height {}", replica.tip.height),
        };
        self.break_chain(replica, &what);
    }

    /// Reports a fault after which this replica's chain cannot be followed.
    fn break_chain(&mut self, replica: &mut Replica, what: &str) {
        replica.is_broken = true;
        self.shards[replica.shard].agrees = false;
        self.find(format!("validator {}: {what}", replica.validator));
    }

    fn compare_replicas(&mut self) {
        let (mut missing, mut shorter) = (Vec::new(), Vec::new());
        for (committee, shard) in self.epoch.committees.iter().zip(&mut self.shards) {
            for (id, _) in &committee.members {
                match shard.shown.get(id) {
                    None => {
                        shard.agrees = false;
                        missing.push(format!("validator {id}: its chain was not audited"));
                    }
                    Some(height) if *height < shard.model.height => shorter.push(format!(
                        "validator {id} shows {height} of {} heights of shard {}",
                        shard.model.height, committee.shard
                    )),
                    Some(_) => {}
                }
            }
        }
        missing.into_iter().for_each(|finding| self.find(finding));
        self.notes.append(&mut shorter);
    }

    fn check(&mut self, replica: &mut Replica, complete: Complete) {
        let place = Place {
            epoch: &self.epoch,
            committee: &self.epoch.committees[replica.shard],
        };
        let height = complete.committed.block.header.height;
        let first = first_transaction(&complete);
        let tip = match place.check(&replica.tip, &complete.committed) {
            Ok(tip) => tip,
            Err(what) => {
                return self.break_chain(replica, &format!("height {height}{first}: {what}"));
            }
        };
        let shard = &self.shards[replica.shard];
        let hashes: Vec<[u8; 32]> = complete.bodies.iter().map(hash_of).collect();
        let mark = shard.marks.get((tip.height.0 - 1) as usize);
        if let Some(mark) = mark {
            if mark.hash != tip.hash {
                let what =
                    format!("height {height}{first}: another block than the other validators of the shard");
                return self.break_chain(replica, &what);
            }
            if mark.bodies == hashes {
                replica.tip = tip;
                return;
            }
        }
        let is_new = mark.is_none();
        let mut bodies = Vec::with_capacity(complete.bodies.len());
        for (reference, block) in complete.committed.block.refs.iter().zip(complete.bodies) {
            match place.check_body(reference, block) {
                Ok(body) => bodies.push(body),
                Err(what) => {
                    let position = bodies.len();
                    let what = format!("height {height}, reference {position}{first}: {what}");
                    return self.break_chain(replica, &what);
                }
            }
        }
        replica.tip = tip;
        if is_new {
            let header = &complete.committed.block.header;
            let roots = (header.excluded_root, header.state_digest);
            self.replay(replica, roots, &bodies, hashes);
        }
    }

    /// Applies a new height of the shard's chain to the model.
    fn replay(
        &mut self,
        replica: &Replica,
        (excluded_root, state_digest): (Hash, Hash),
        bodies: &[Body],
        hashes: Vec<[u8; 32]>,
    ) {
        let (validator, height) = (replica.validator, replica.tip.height);
        let shard = &mut self.shards[replica.shard];
        let settled = settle(&shard.model, height, bodies, excluded_root, &mut self.signatures);
        let first = bodies
            .iter()
            .find_map(|body| body.entries().first())
            .map_or_else(String::new, |entry| {
                format!(", block of transaction {}", entry.txid)
            });
        let at = format!("validator {validator}: height {height}");
        let mut found = Vec::new();
        for deviation in &settled.deviations {
            match deviation {
                Deviation::Applied(_, Breach::Spent) => self.double_spends += 1,
                Deviation::Applied(_, Breach::Signature) => self.forgeries += 1,
                _ => {}
            }
            found.push(match deviation.words(bodies) {
                Some(words) => format!("{at}: {words}"),
                None => format!("{at}{first}: the excluded bits do not follow from the transactions"),
            });
        }
        for (reference, position) in settled.run.places(true) {
            self.applied += 1;
            self.receipts
                .note_applied(&bodies[reference].entries()[position].txid);
        }
        let digest = shard.model.digest_after(height, &settled.run);
        let model = &mut shard.model;
        let was_conserved = model.value + model.fees == model.supply;
        model.commit(height, settled.run);
        if was_conserved && model.value + model.fees != model.supply {
            found.push(format!(
                "{at}{first}: unspent value {} and fees {} are not the supply {}",
                model.value, model.fees, model.supply
            ));
        }
        self.supply_conserved &= model.value + model.fees == model.supply;
        if digest != state_digest {
            found.push(format!(
                "{at}{first}: the header's state digest is {state_digest}, the replay gives {digest}"
            ));
        }
        // Follow the chain's own digest: each fault is reported once, not at every height above it.
        model.digest = state_digest;
        shard.marks.push(Mark {
            hash: replica.tip.hash,
            bodies: hashes,
            digest,
            outputs: model.live().len() as u64,
            value: model.value,
            fees: model.fees,
        });
        found.into_iter().for_each(|finding| self.find(finding));
    }
}

/// Hash of an author block as it was received: a replica that changes any byte of it is decoded on its own.
fn hash_of(block: &AuthorBlock) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&types::codec::Encode::to_bytes(&block.header));
    hasher.update(&block.body);
    hasher.finalize().into()
}

/// Names the first transaction of a block that may not even decode.
fn first_transaction(complete: &Complete) -> String {
    let first = complete.bodies.iter().find_map(|block| {
        let rest = block.body.get(4..)?;
        let (tx, _) = types::transaction::TxView::decode_prefix(rest).ok()?;
        Some(crypto::hash::txid(tx.body()))
    });
    first.map_or_else(String::new, |txid| format!(" (block of transaction {txid})"))
}
