//! Real spend graphs: a Bitcoin block becomes a trace that any seed can replay.
//!
//! Mapping (amounts in satoshi; every count of it is in [`ImportCounts`] and printed):
//! 1. The coinbase is dropped: nothing inside the block may spend it.
//! 2. An owner is a distinct `scriptPubKey`. An output of an earlier block shows only how it is spent, so its script
//!    is rebuilt from the public key, redeem script or witness script of the input; where that is not possible
//!    (taproot, pay-to-public-key) the output gets an owner of its own. Keys come from the seed of the run.
//! 3. An `OP_RETURN` output of value zero becomes the memo (several are joined up to 512 bytes), or is dropped when
//!    it does not fit; one with a value stays an output and its data becomes the memo. Other zero outputs are
//!    dropped, and so are inputs that spend them. A transaction that moves no value at all is dropped. One that is
//!    left without outputs gets one of 1 satoshi, back to its first input's owner.
//! 4. Fee: exact when all inputs come from inside the block. The amounts of outputs of earlier blocks are not in the
//!    block, only the sum of all fees is: coinbase value minus subsidy. What the exact fees leave of it is shared by
//!    weight among the other transactions, none below what its inputs inside the block demand, so the block's
//!    total fee is the real one. Where the sum cannot be known (no height in the coinbase, or less claimed than
//!    allowed) these fees are the least that balances, mostly 0.
//! 5. An output of an earlier block becomes an allocation of the genesis. Its amount is chosen so that the
//!    transaction balances: outputs plus fee minus inputs from inside the block, in equal parts.
//! 6. More than 64 inputs are merged by leading transactions of 64 inputs and one output (to the owner of the next
//!    input, fee 0), more than 64 outputs are handed on by a change output; value, fee and memo go through unchanged.
//! 7. A transaction with more than 16 owners: the 16th and all further ones become one owner, in the whole trace.

use std::fmt;
use std::path::{Path, PathBuf};

use types::struct_codec;

mod block;
mod fees;
mod owner;
mod split;
#[cfg(test)]
mod tests;
mod trace;

pub use block::import_block;
pub use trace::{Source, TRACE_MAGIC, TRACE_VERSION, Trace, TraceCoin, TraceError, TraceTx};

/// Bytes of the largest block file that is read.
const BLOCK_BYTES_MAX: u64 = 64 << 20;

/// What an import did, all in numbers of things unless a field says satoshi.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImportCounts {
    /// Transactions of the block, coinbase included.
    pub block_transactions: u64,
    /// Coinbases dropped.
    pub coinbases_dropped: u64,
    /// Transactions dropped because they move no value.
    pub valueless_dropped: u64,
    /// Transactions of the trace.
    pub transactions: u64,
    /// Inputs that spend an output of this block.
    pub inputs_inside: u64,
    /// Inputs that spend an output of an earlier block: allocations of the genesis.
    pub inputs_funded: u64,
    /// Inputs dropped because the output that they spend is worth zero.
    pub zero_inputs_dropped: u64,
    /// Outputs kept.
    pub outputs: u64,
    /// `OP_RETURN` outputs that became memos.
    pub memos: u64,
    /// `OP_RETURN` outputs whose data did not fit 512 bytes.
    pub memos_dropped: u64,
    /// `OP_RETURN` outputs with a value, kept as outputs as well.
    pub burns_kept: u64,
    /// Other outputs of value zero, dropped.
    pub zero_outputs_dropped: u64,
    /// Outputs of 1 satoshi given to transactions that had none left.
    pub outputs_added: u64,
    /// Transactions split into chains.
    pub transactions_split: u64,
    /// Transactions that splitting added.
    pub transactions_added: u64,
    /// Owners of the trace.
    pub owners: u64,
    /// Owners folded into another one.
    pub owners_folded: u64,
    /// Inputs of earlier blocks whose script could not be rebuilt: an owner of its own each.
    pub scripts_unknown: u64,
    /// Transactions whose fee is exact.
    pub fees_exact: u64,
    /// Transactions whose fee is a share of what the coinbase claimed.
    pub fees_shared: u64,
    /// Sum of all fees of the trace, satoshi.
    pub fees_satoshi: u64,
    /// Fees that the coinbase claimed, satoshi; 0 when unknown.
    pub fees_claimed_satoshi: u64,
    /// Sum of the allocations, satoshi.
    pub funded_satoshi: u64,
    /// Transactions of the longest chain of parents and children.
    pub longest_chain: u64,
}

struct_codec!(ImportCounts {
    block_transactions,
    coinbases_dropped,
    valueless_dropped,
    transactions,
    inputs_inside,
    inputs_funded,
    zero_inputs_dropped,
    outputs,
    memos,
    memos_dropped,
    burns_kept,
    zero_outputs_dropped,
    outputs_added,
    transactions_split,
    transactions_added,
    owners,
    owners_folded,
    scripts_unknown,
    fees_exact,
    fees_shared,
    fees_satoshi,
    fees_claimed_satoshi,
    funded_satoshi,
    longest_chain,
});

impl fmt::Display for ImportCounts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "transactions  {} in the block - {} coinbase dropped - {} without value dropped + {} added by splitting {} = {} in the trace",
            self.block_transactions,
            self.coinbases_dropped,
            self.valueless_dropped,
            self.transactions_added,
            self.transactions_split,
            self.transactions
        )?;
        writeln!(
            out,
            "inputs        {} from inside the block, {} funded by the genesis, {} of value zero dropped",
            self.inputs_inside, self.inputs_funded, self.zero_inputs_dropped
        )?;
        writeln!(
            out,
            "outputs       {} kept ({} of them burns), {} of value zero dropped, {} of 1 satoshi added",
            self.outputs, self.burns_kept, self.zero_outputs_dropped, self.outputs_added
        )?;
        writeln!(
            out,
            "memos         {} from OP_RETURN, {} too long and dropped",
            self.memos, self.memos_dropped
        )?;
        writeln!(
            out,
            "owners        {} after {} were folded, {} scripts unknown and given an owner of their own",
            self.owners, self.owners_folded, self.scripts_unknown
        )?;
        writeln!(
            out,
            "fees          {} satoshi of {} claimed by the coinbase; {} transactions exact, {} shared by weight",
            self.fees_satoshi, self.fees_claimed_satoshi, self.fees_exact, self.fees_shared
        )?;
        write!(
            out,
            "value         {} satoshi funded by the genesis; longest chain {} transactions",
            self.funded_satoshi, self.longest_chain
        )
    }
}

/// Why a block could not be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The block file cannot be read.
    #[error("--bitcoin {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is larger than any block.
    #[error("block file has {bytes} bytes, at most {BLOCK_BYTES_MAX} are accepted")]
    TooLarge {
        /// Its size.
        bytes: u64,
    },
    /// Not a block.
    #[error("not a raw Bitcoin block ({0}); accepted is the consensus serialisation, not hexadecimal text")]
    Block(String),
    /// The transactions are not those of the header.
    #[error("block is corrupt: its Merkle root does not match its transactions")]
    MerkleRoot,
    /// The block does not begin with a coinbase.
    #[error("block is not valid: accepted is exactly one coinbase, as the first transaction")]
    Coinbase,
    /// A transaction breaks a rule of Bitcoin.
    #[error("block transaction {position}: {what}")]
    Transaction {
        /// Position in the block.
        position: usize,
        /// The rule.
        what: &'static str,
    },
    /// The trace cannot be written, or would not be valid.
    #[error(transparent)]
    Trace(#[from] TraceError),
}

/// Imports a block file into a trace file; what `loadgen import --bitcoin BLOCK -o FILE` does.
///
/// # Errors
/// Names the file or the transaction that is wrong; nothing is written then.
pub fn import_file(block: &Path, out: &Path) -> Result<ImportCounts, ImportError> {
    let fail = |source| ImportError::File {
        path: block.to_owned(),
        source,
    };
    let bytes = std::fs::metadata(block).map_err(fail)?.len();
    if bytes > BLOCK_BYTES_MAX {
        return Err(ImportError::TooLarge { bytes });
    }
    let trace = import_block(&std::fs::read(block).map_err(fail)?)?;
    trace.save(out)?;
    Ok(trace.counts)
}
