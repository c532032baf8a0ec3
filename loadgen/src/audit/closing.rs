//! Ends an audit: what all validators of a shard showed, against one another and against what the client was told.

use std::collections::BTreeMap;

use types::block::{Block, FinalHeader, MODE_ONE_LEAGUE};
use types::block_record::Record;
use types::{Height, ShardId, TxId, ValidatorId};

use super::faults::{FaultLog, ModeChange};
use super::finding::{Fault, FindingKind};
use super::model::Breach;
use super::receipts::{Claim, Position, Told};
use super::settle::Deviation;
use super::shard::{Shard, Shown};
use super::{Audit, AuditOutcome};

/// What is counted on the way.
#[derive(Debug, Default)]
pub(super) struct Sums {
    pub(super) is_minted: bool,
    pub(super) double_spends: u64,
    pub(super) forgeries: u64,
    pub(super) applied: u64,
    pub(super) notes: Vec<String>,
    pub(super) log: FaultLog,
    /// Mode of the last block of each shard.
    pub(super) modes: BTreeMap<ShardId, u8>,
    pub(super) author_blocks: u64,
    pub(super) final_blocks: u64,
}

impl Sums {
    /// Counts a block that is recomputed.
    pub(super) fn take_block(&mut self, block: &Block) {
        self.final_blocks += 1;
        self.author_blocks += block.refs.len() as u64;
        self.log.heights_in_fallback += u64::from(block.header.mode == MODE_ONE_LEAGUE);
        let FinalHeader {
            shard, height, mode, ..
        } = block.header;
        let before = self.modes.insert(shard, mode);
        if before.is_some_and(|before| before != mode) {
            self.log.changes.push(ModeChange { shard, height, mode });
        }
        let evidence = block.records.iter().filter_map(|record| match record {
            Record::Evidence(evidence) => Some(evidence),
            _ => None,
        });
        self.log.take_evidence(&block.header, evidence);
    }

    pub(super) const fn count<'a>(&mut self, deviation: &'a Deviation) -> &'a Deviation {
        match deviation {
            Deviation::Applied(_, Breach::Spent) => self.double_spends += 1,
            Deviation::Applied(_, Breach::Signature) => self.forgeries += 1,
            _ => {}
        }
        deviation
    }
}

impl Audit {
    pub(super) fn close(mut self) -> AuditOutcome {
        for shard in 0..self.shards.len() {
            for (validator, _) in self.epoch.committees[shard].members.clone() {
                match self.shards[shard].shown.remove(&validator) {
                    None => self.find_absent(shard, validator),
                    Some(shown) => {
                        self.compare_heights(shard, validator, &shown);
                        self.compare_state(shard, validator, &shown);
                        self.compare_receipts(shard, validator, &shown);
                    }
                }
            }
        }
        self.compare_certified();
        self.close_forgeries();
        let receipts = std::mem::take(&mut self.receipts);
        let sums = receipts.compare(|told, applied| {
            let fault = broken_claim(told, applied);
            self.find(told.validator, fault);
        });
        let agreeing = self.shards.iter().filter(|shard| shard.agrees).count();
        let (findings, findings_omitted) = self.findings.into_parts();
        AuditOutcome {
            supply_conserved: !self.sums.is_minted,
            double_spends: self.sums.double_spends,
            replicas_agree: (agreeing, self.shards.len()),
            receipts_honoured: if sums.finals == 0 {
                1.0
            } else {
                sums.finals_honoured as f64 / sums.finals as f64
            },
            forgeries_accepted: self.sums.forgeries,
            findings,
            findings_omitted,
            notes: self.sums.notes,
            final_txs_in_chain: sums.applied,
            open_txs_in_chain: sums.open_applied,
            applied_txs: self.sums.applied,
            signatures_checked: self.signatures.checked,
            author_blocks: self.sums.author_blocks,
            final_blocks: self.sums.final_blocks,
            faults: self.sums.log,
            money: self.shards.iter().map(Shard::money).collect(),
            heights: self.shards.iter().map(|shard| shard.model.height).collect(),
        }
    }

    /// A forged transaction that nobody has claimed by the end was accepted.
    fn close_forgeries(&mut self) {
        for shard in 0..self.shards.len() {
            for (validator, fault) in std::mem::take(&mut self.shards[shard].forged).into_values() {
                self.sums.forgeries += 1;
                self.find(validator, fault);
            }
        }
    }

    fn find_absent(&mut self, shard: usize, validator: ValidatorId) {
        self.shards[shard].agrees = false;
        let fault = Fault::new(
            FindingKind::Unreadable,
            "its chain and its state",
            "nothing was fetched",
        );
        self.find(validator, fault);
    }

    /// What was shown ahead of the recomputation must have been recomputed from another validator since.
    fn compare_heights(&mut self, shard: usize, validator: ValidatorId, shown: &Shown) {
        let known = &mut self.shards[shard];
        if shown.end.is_none() && shown.height < known.model.height {
            self.sums.notes.push(format!(
                "validator {validator} shows {} of {} heights of shard {}",
                shown.height, known.model.height, known.id
            ));
        }
        for (height, hash) in &shown.ahead {
            let last = known.marks.last().and_then(|mark| mark.last);
            let fault = match known.at(*height) {
                Some(mark) if mark.hash == *hash => continue,
                Some(mark) => {
                    let expected = format!("block {} as of validator {}", mark.hash, mark.validator);
                    Fault::new(FindingKind::Fork, expected, format!("block {hash}")).of(mark.last)
                }
                None => {
                    let expected = "all bodies from at least one validator";
                    let found = format!("none for block {hash}");
                    Fault::new(FindingKind::NotRecomputed, expected, found).of(last)
                }
            };
            known.agrees = false;
            return self.find(validator, fault.at(*height));
        }
    }

    /// The state answer against the recomputed state of the same height.
    fn compare_state(&mut self, shard: usize, validator: ValidatorId, shown: &Shown) {
        let Some(state) = &shown.state else {
            return;
        };
        let known = &mut self.shards[shard];
        let (height, value, told) = (state.height, u128::from(state.value.0), state.counters());
        let is_beyond = shown.end.is_none() && height > shown.height;
        let fault = match known.at(height) {
            Some(mark) if !is_beyond => {
                let parts = [
                    ("digest", mark.digest.to_string(), state.digest.to_string()),
                    (
                        "unspent outputs",
                        mark.outputs.to_string(),
                        state.outputs.to_string(),
                    ),
                    ("unspent value", mark.value.to_string(), value.to_string()),
                    ("fees", mark.counters.fees.to_string(), told.fees.to_string()),
                    ("bonds", mark.counters.bonds.to_string(), told.bonds.to_string()),
                    ("pool", mark.counters.pool.to_string(), told.pool.to_string()),
                    (
                        "rewards",
                        mark.counters.rewards.to_string(),
                        told.rewards.to_string(),
                    ),
                    (
                        "unpaid",
                        mark.counters.unpaid.to_string(),
                        told.unpaid.to_string(),
                    ),
                ];
                let wrong: Vec<_> = parts.iter().filter(|(_, held, told)| held != told).collect();
                if wrong.is_empty() {
                    return;
                }
                let list = |told: bool| {
                    let words = wrong
                        .iter()
                        .map(|(what, held, said)| format!("{what} {}", if told { said } else { held }));
                    words.collect::<Vec<_>>().join(", ")
                };
                Fault::new(FindingKind::State, list(false), list(true)).of(mark.last)
            }
            // The end of its chain was reported already.
            _ if !is_beyond => return,
            _ => {
                let last = known.at(shown.height).and_then(|mark| mark.last);
                let expected = format!("a state of at most height {}, where its chain ends", shown.height);
                Fault::new(FindingKind::State, expected, format!("one of height {height}")).of(last)
            }
        };
        known.agrees = false;
        self.find(validator, fault.at(height));
    }

    /// Every receipt of the shard must be honoured by this validator's own chain.
    fn compare_receipts(&mut self, shard: usize, validator: ValidatorId, shown: &Shown) {
        let id = self.shards[shard].id;
        if shown.damaged.is_empty() && shown.height >= self.receipts.height_max(id) {
            return;
        }
        let mut dropped: Vec<(Position, usize, TxId)> = self
            .receipts
            .finals()
            .filter(|(_, told, _)| told.shard == id)
            .filter(|(_, told, at)| shown.lacks(&told.txid, *at))
            .map(|(number, told, at)| (at, number, told.txid))
            .collect();
        dropped.sort_unstable();
        for (at, number, txid) in dropped {
            self.receipts.note_dropped(number);
            self.shards[shard].agrees = false;
            let found = match &shown.end {
                Some(end) if at.height > shown.height => end.clone(),
                _ if at.height > shown.height => format!("a chain of {} heights", shown.height),
                _ => format!("reference {} without it", at.reference),
            };
            let fault = Fault::new(
                FindingKind::ReceiptDropped,
                format!("{at}, as its receipt names"),
                found,
            );
            self.find(validator, fault.at(at.height).of(Some(txid)));
        }
    }

    /// Headers that were certified to the client are those of the recomputed chain.
    fn compare_certified(&mut self) {
        let mut found = Vec::new();
        for ((shard, height), (hash, validator)) in self.receipts.certified() {
            let known = self.shards.get(usize::from(shard.0));
            if let Some(mark) = known.and_then(|known| known.at(*height))
                && mark.hash != *hash
            {
                let expected = format!("block {} as of validator {}", mark.hash, mark.validator);
                let fault = Fault::new(FindingKind::Fork, expected, format!("block {hash} in a receipt"));
                let is_of = |told: &Told, at: Position| told.shard == *shard && at.height == *height;
                let mut finals = self.receipts.finals();
                let witness = finals.find(|(_, told, at)| is_of(told, *at));
                let fault = fault.at(*height).of(witness.map(|(_, told, _)| told.txid));
                found.push((*shard, *validator, fault));
            }
        }
        for (shard, validator, fault) in found {
            self.shards[usize::from(shard.0)].agrees = false;
            self.find(validator, fault);
        }
    }
}

impl Shown {
    fn lacks(&self, txid: &TxId, at: Position) -> bool {
        let is_here = |height: Height, reference: u16| (height, reference) == (at.height, at.reference);
        at.height > self.height
            || self
                .damaged
                .iter()
                .filter(|damage| is_here(damage.height, damage.reference))
                .any(|damage| damage.held.as_ref().is_none_or(|held| !held.contains(txid)))
    }
}

/// A claim that the recomputed chain contradicts.
fn broken_claim(told: &Told, applied: Option<Position>) -> Fault {
    let found = applied.map_or("no height that applied it".to_owned(), |at| format!("it at {at}"));
    let fault = match told.claim {
        Claim::Final(Some(at)) => {
            let expected = format!("{at}, as its receipt names");
            Fault::new(FindingKind::ReceiptFalse, expected, found).at(at.height)
        }
        Claim::Final(None) => {
            let expected = "a receipt that holds";
            Fault::new(FindingKind::ReceiptForged, expected, format!("none, and {found}"))
        }
        Claim::Rejected(reason) => {
            let expected = format!("it nowhere, as refused with {reason}");
            Fault::new(FindingKind::RefusalFalse, expected, found)
        }
        Claim::Open => Fault::new(FindingKind::ReceiptFalse, "no claim", found),
    };
    match (fault.height, applied) {
        (None, Some(at)) => fault.at(at.height),
        _ => fault,
    }
    .of(Some(told.txid))
}
