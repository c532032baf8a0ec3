//! `audit` in the report.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::audit::Finding;

/// `audit`: recomputed from the chains that every validator serves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AuditSection {
    /// Genesis supply equals live outputs, fees, bonds, pool and rewards in every shard.
    pub supply_conserved: bool,
    /// Outputs that were spent twice.
    pub double_spends: u64,
    /// Every shard's validators hold the same chain.
    pub replicas_agree: bool,
    /// Shards whose validators agree.
    pub shards_agreeing: u64,
    /// Shards that were read.
    pub shards_total: u64,
    /// Share of receipts that the chains honour.
    pub receipts_honoured: f64,
    /// Forged signatures or certificates that were accepted.
    pub forgeries_accepted: u64,
    /// Transactions of this run that the chains hold as final.
    pub final_txs_in_chain: u64,
    /// Those of them that the client was not answered: part of `timeout`, `lost` or `expired`, found by this audit.
    #[serde(default)]
    pub unanswered_txs_in_chain: u64,
    /// What is wrong: the first findings in full.
    pub findings: Vec<Finding>,
    /// Findings beyond those.
    pub findings_omitted: u64,
}

impl AuditSection {
    /// Nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.supply_conserved
            && self.double_spends == 0
            && self.replicas_agree
            && self.receipts_honoured >= 1.0
            && self.forgeries_accepted == 0
            && self.findings.is_empty()
            && self.findings_omitted == 0
    }

    /// One line for each finding, and one for those that are not listed.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.findings.iter().map(Finding::to_string).collect();
        if self.findings_omitted > 0 {
            lines.push(format!("{} more findings are not listed", self.findings_omitted));
        }
        lines
    }
}
