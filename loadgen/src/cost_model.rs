//! What the rules say a transaction should cost, beside what it did cost (`ios` 15.1, 15.3).

use types::limits::LIST_VOTERS_MAX;

/// A network and its load, as far as the model hangs on them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CostModel {
    /// `n`, members of a shard.
    pub members: f64,
    /// `n_n`, voters of a shard.
    pub voters: f64,
    /// Votes of a certificate.
    pub quorum: f64,
    /// `p`; 1 with one league.
    pub sampling: f64,
    /// Believable authors check at admission; with one league the author is one of the voters.
    pub is_two_leagues: bool,
    /// `o`, signatures of a transaction, mean.
    pub owners: f64,
    /// `s`, bytes of a transaction, mean.
    pub tx_bytes: f64,
    /// `T_o`, transactions of an author block, mean.
    pub txs_per_author_block: f64,
    /// `T_f`, transactions of a final block, mean.
    pub txs_per_final_block: f64,
    /// References of a final block, mean.
    pub refs_per_final_block: f64,
}

/// Bytes of a signed author header and of the envelope around a message.
const AUTHOR_HEADER: f64 = 183.0 + 12.0;
const ENVELOPE: f64 = 12.0;
/// Bytes of a final header, of a reference with its empty bitmap, and of a signature.
const FINAL_HEADER: f64 = 364.0;
const REFERENCE: f64 = 46.0 + 2.0;
const SIGNATURE: f64 = 64.0;
/// Bytes of the one signature of a large committee.
const COLLECTIVE_SIGNATURE: f64 = 48.0;
/// Bytes of a vote (`ios` 9.4).
const VOTE: f64 = 110.0;
/// Bytes of a transaction's length in a submission.
const LENGTH: f64 = 2.0;

impl CostModel {
    /// Signature checks per transaction: `o (1 + p n_n)`; with one league every voter checks, its author among them.
    #[must_use]
    pub fn sig_checks(&self) -> f64 {
        if self.is_two_leagues {
            self.owners * (1.0 + self.sampling * self.voters)
        } else {
            self.owners * self.voters
        }
    }

    /// Bytes that the members of a shard receive per transaction, from its client and from one another: the submission,
    /// `n - 1` bodies, the headers of author blocks with their echo among voters, proposals, votes and certificates.
    #[must_use]
    pub fn bytes_received(&self) -> f64 {
        let others = self.members - 1.0;
        let bodies = (self.tx_bytes + LENGTH) + others * self.tx_bytes;
        let echo = if self.is_two_leagues {
            self.voters * (self.voters - 1.0)
        } else {
            0.0
        };
        let author = (others + echo) * AUTHOR_HEADER / self.txs_per_author_block.max(1.0);
        let signatures = if self.voters > LIST_VOTERS_MAX as f64 {
            COLLECTIVE_SIGNATURE
        } else {
            SIGNATURE * self.quorum
        };
        let certificate = signatures + 6.0 + (self.voters / 8.0).ceil() + ENVELOPE;
        let proposal = FINAL_HEADER + SIGNATURE + ENVELOPE + self.refs_per_final_block * REFERENCE;
        let votes = 2.0 * (self.voters - 1.0) * (VOTE + ENVELOPE);
        let block = others * (proposal + 2.0 * certificate) + votes;
        bodies + author + block / self.txs_per_final_block.max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::CostModel;

    const POB: CostModel = CostModel {
        members: 5.0,
        voters: 4.0,
        quorum: 3.0,
        sampling: 0.25,
        is_two_leagues: true,
        owners: 1.0,
        tx_bytes: 233.0,
        txs_per_author_block: 100.0,
        txs_per_final_block: 500.0,
        refs_per_final_block: 5.0,
    };

    #[test]
    fn checks_are_those_of_the_rule() {
        assert!((POB.sig_checks() - 2.0).abs() < 1e-12, "1 + p n_n");
        let two_owners = CostModel { owners: 2.0, ..POB };
        assert!((two_owners.sig_checks() - 4.0).abs() < 1e-12);
        let pbft = CostModel {
            voters: 5.0,
            is_two_leagues: false,
            ..POB
        };
        assert!((pbft.sig_checks() - 5.0).abs() < 1e-12);
    }

    #[test]
    fn bodies_dominate_and_overheads_shrink_with_the_blocks() {
        let bytes = POB.bytes_received();
        // Five times 233, two of length; 16 headers of 195 over 100; some 4.5 kB of ordering over 500.
        assert!((1200.0..1230.0).contains(&bytes), "{bytes}");
        let large = CostModel {
            txs_per_author_block: 1e9,
            txs_per_final_block: 1e9,
            ..POB
        };
        assert!((large.bytes_received() - (5.0 * 233.0 + 2.0)).abs() < 0.01);
    }
}
