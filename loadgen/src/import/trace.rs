//! The trace file: a spend graph without keys, so that any seed and any genesis can replay it.
//!
//! Layout (little-endian, `ios` 0.5): magic, version u16, payload length u64, payload, blake3 of all bytes before it.
//! Invariant of a [`Trace`]: every source lies earlier and is spent once, no amount is zero, every transaction
//! keeps the format's limits and its inputs equal its outputs plus its fee.

use std::io::Write;
use std::path::{Path, PathBuf};

use types::Amount;
use types::codec::{Decode, DecodeError, Encode, Reader};
use types::limits::{INPUTS_MAX, MEMO_BYTES_MAX, OUTPUTS_MAX, OWNERS_MAX};

use super::ImportCounts;

/// First bytes of every trace file.
pub const TRACE_MAGIC: [u8; 8] = *b"SHBTRACE";
/// Format version that this build reads and writes.
pub const TRACE_VERSION: u16 = 1;

const HEAD_BYTES: usize = 8 + 2 + 8;
const CHECKSUM_BYTES: usize = 32;
const ITEMS_MAX: usize = 1 << 24;
const FILE_BYTES_MAX: u64 = 1 << 30;

/// An amount and who holds it; owners are positions, keys come from the seed of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceCoin {
    /// Owner, below [`Trace::owners`].
    pub owner: u32,
    /// Amount, above zero.
    pub amount: Amount,
}

/// Where an input comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// Allocation of the genesis, by position.
    Allocation(u32),
    /// Output of an earlier transaction of the trace.
    Output {
        /// Position of the transaction.
        tx: u32,
        /// Position among its outputs.
        index: u16,
    },
}

/// One transaction of the trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceTx {
    /// Fee.
    pub fee: Amount,
    /// Inputs, in the order of the block; the wire order follows from the outpoints.
    pub inputs: Vec<Source>,
    /// Outputs.
    pub outputs: Vec<TraceCoin>,
    /// Opaque bytes.
    pub memo: Vec<u8>,
}

/// A replayable spend graph.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// Hash of the block that it was made from, in the byte order of the block.
    pub source: [u8; 32],
    /// What the import did.
    pub counts: ImportCounts,
    /// Number of distinct owners.
    pub owners: u32,
    /// What the genesis must fund, by position.
    pub allocations: Vec<TraceCoin>,
    /// In an order in which every parent precedes its children.
    pub transactions: Vec<TraceTx>,
}

/// Why a file is not a trace that this build can replay.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file cannot be read or written.
    #[error("trace {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is larger than any trace.
    #[error("trace has {bytes} bytes, at most {FILE_BYTES_MAX} are accepted")]
    TooLarge {
        /// Its size.
        bytes: u64,
    },
    /// Another kind of file.
    #[error("not a trace: the file does not begin with SHBTRACE (make one with `loadgen import`)")]
    Magic,
    /// Another format version.
    #[error("trace has format version {0}, this build reads version {TRACE_VERSION}: import the block again")]
    Version(u16),
    /// The file is shorter or longer than its head says.
    #[error(
        "trace has {actual} bytes, its head asks for {expected}: the file is truncated or was appended to"
    )]
    Length {
        /// Bytes by the head.
        expected: u64,
        /// Bytes present.
        actual: u64,
    },
    /// The checksum differs.
    #[error("trace is corrupt: its checksum does not match its bytes")]
    Checksum,
    /// A field is not canonical.
    #[error("trace is not canonical: {0}")]
    Encoding(#[from] DecodeError),
    /// A rule of the graph is broken.
    #[error("trace transaction {transaction}: {what}")]
    Graph {
        /// Position of the transaction.
        transaction: usize,
        /// The rule.
        what: &'static str,
    },
    /// An allocation breaks a rule.
    #[error("trace allocation {allocation}: {what}")]
    Allocation {
        /// Position of the allocation.
        allocation: usize,
        /// The rule.
        what: &'static str,
    },
}

impl Encode for TraceCoin {
    fn encode(&self, out: &mut Vec<u8>) {
        self.owner.encode(out);
        self.amount.encode(out);
    }
}

impl Decode for TraceCoin {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            owner: reader.u32()?,
            amount: Amount::decode(reader)?,
        })
    }
}

impl Encode for Source {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Allocation(position) => {
                0_u8.encode(out);
                position.encode(out);
            }
            Self::Output { tx, index } => {
                1_u8.encode(out);
                tx.encode(out);
                index.encode(out);
            }
        }
    }
}

impl Decode for Source {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u8()? {
            0 => Ok(Self::Allocation(reader.u32()?)),
            1 => Ok(Self::Output {
                tx: reader.u32()?,
                index: reader.u16()?,
            }),
            _ => Err(DecodeError::Value {
                what: "kind of a source",
            }),
        }
    }
}

impl Encode for TraceTx {
    fn encode(&self, out: &mut Vec<u8>) {
        self.fee.encode(out);
        (self.inputs.len() as u8).encode(out);
        self.inputs.iter().for_each(|input| input.encode(out));
        (self.outputs.len() as u8).encode(out);
        self.outputs.iter().for_each(|output| output.encode(out));
        (self.memo.len() as u16).encode(out);
        out.extend_from_slice(&self.memo);
    }
}

impl Decode for TraceTx {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let fee = Amount::decode(reader)?;
        let inputs = usize::from(reader.u8()?);
        let inputs = reader.items(inputs)?;
        let outputs = usize::from(reader.u8()?);
        let outputs = reader.items(outputs)?;
        let memo = reader.count16("bytes of a memo", MEMO_BYTES_MAX)?;
        Ok(Self {
            fee,
            inputs,
            outputs,
            memo: reader.bytes(memo)?.to_vec(),
        })
    }
}

impl Trace {
    /// The file's bytes.
    #[must_use]
    pub fn to_file_bytes(&self) -> Vec<u8> {
        let mut payload = Vec::new();
        self.source.encode(&mut payload);
        self.counts.encode(&mut payload);
        self.owners.encode(&mut payload);
        types::codec::encode_items(&self.allocations, &mut payload);
        types::codec::encode_items(&self.transactions, &mut payload);
        let mut out = Vec::with_capacity(HEAD_BYTES + payload.len() + CHECKSUM_BYTES);
        out.extend_from_slice(&TRACE_MAGIC);
        TRACE_VERSION.encode(&mut out);
        (payload.len() as u64).encode(&mut out);
        out.extend_from_slice(&payload);
        let checksum = blake3::hash(&out);
        out.extend_from_slice(checksum.as_bytes());
        out
    }

    /// Reads a file's bytes and checks every rule of the graph.
    ///
    /// # Errors
    /// Names what is wrong with the file, or the first transaction that breaks a rule.
    pub fn from_file_bytes(bytes: &[u8]) -> Result<Self, TraceError> {
        let mut reader = Reader::new(bytes);
        if reader.array::<8>().map_err(|_| TraceError::Magic)? != TRACE_MAGIC {
            return Err(TraceError::Magic);
        }
        let version = reader.u16()?;
        if version != TRACE_VERSION {
            return Err(TraceError::Version(version));
        }
        let payload = reader.u64()?;
        let expected = payload.saturating_add((HEAD_BYTES + CHECKSUM_BYTES) as u64);
        if expected != bytes.len() as u64 {
            return Err(TraceError::Length {
                expected,
                actual: bytes.len() as u64,
            });
        }
        let (covered, checksum) = bytes.split_at(bytes.len() - CHECKSUM_BYTES);
        if blake3::hash(covered).as_bytes() != checksum {
            return Err(TraceError::Checksum);
        }
        let mut reader = Reader::new(covered.get(HEAD_BYTES..).unwrap_or_default());
        let (source, counts, owners) = (reader.array()?, ImportCounts::decode(&mut reader)?, reader.u32()?);
        let allocations = reader.count("allocations of a trace", ITEMS_MAX)?;
        let allocations = reader.items(allocations)?;
        let transactions = reader.count("transactions of a trace", ITEMS_MAX)?;
        let transactions = reader.items(transactions)?;
        reader.finish()?;
        let trace = Self {
            source,
            counts,
            owners,
            allocations,
            transactions,
        };
        trace.validate()?;
        Ok(trace)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// As [`Trace::from_file_bytes`], or that the file cannot be read.
    pub fn load(path: &Path) -> Result<Self, TraceError> {
        let fail = |source| TraceError::File {
            path: path.to_owned(),
            source,
        };
        let bytes = std::fs::metadata(path).map_err(fail)?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(TraceError::TooLarge { bytes });
        }
        Self::from_file_bytes(&std::fs::read(path).map_err(fail)?)
    }

    /// Writes a file; a file of that name appears complete or not at all.
    ///
    /// # Errors
    /// That the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), TraceError> {
        let fail = |source| TraceError::File {
            path: path.to_owned(),
            source,
        };
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let part = path.with_file_name(name);
        let mut file = std::fs::File::create(&part).map_err(fail)?;
        file.write_all(&self.to_file_bytes()).map_err(fail)?;
        file.sync_all().map_err(fail)?;
        std::fs::rename(&part, path).map_err(fail)
    }

    /// What a source holds; `None` for one that does not exist.
    #[must_use]
    pub fn coin(&self, source: Source) -> Option<TraceCoin> {
        match source {
            Source::Allocation(position) => self.allocations.get(position as usize).copied(),
            Source::Output { tx, index } => self
                .transactions
                .get(tx as usize)?
                .outputs
                .get(usize::from(index))
                .copied(),
        }
    }

    /// Refuses a graph that cannot be replayed.
    ///
    /// # Errors
    /// Names the first allocation or transaction that breaks a rule.
    pub fn validate(&self) -> Result<(), TraceError> {
        let mut supply = Amount(0);
        for (allocation, coin) in self.allocations.iter().enumerate() {
            let fail = |what| TraceError::Allocation { allocation, what };
            if coin.owner >= self.owners || coin.amount.0 == 0 {
                return Err(fail("its owner is unknown or its amount is zero"));
            }
            supply = supply
                .checked_add(coin.amount)
                .ok_or(fail("the supply exceeds 2^64 - 1"))?;
        }
        let mut spent = std::collections::HashSet::new();
        for transaction in 0..self.transactions.len() {
            self.check_transaction(transaction, &mut spent)
                .map_err(|what| TraceError::Graph { transaction, what })?;
        }
        Ok(())
    }

    fn check_transaction(
        &self,
        position: usize,
        spent: &mut std::collections::HashSet<Source>,
    ) -> Result<(), &'static str> {
        let tx = &self.transactions[position];
        if !(1..=INPUTS_MAX).contains(&tx.inputs.len()) || !(1..=OUTPUTS_MAX).contains(&tx.outputs.len()) {
            return Err("accepted are 1 to 64 inputs and 1 to 64 outputs");
        }
        let (mut incoming, mut owners) = (0_u128, std::collections::BTreeSet::new());
        for source in &tx.inputs {
            if matches!(source, Source::Output { tx, .. } if *tx as usize >= position) {
                return Err("it spends an output of a later transaction");
            }
            let coin = self
                .coin(*source)
                .ok_or("it spends an output that does not exist")?;
            if !spent.insert(*source) {
                return Err("it spends an output that is already spent");
            }
            owners.insert(coin.owner);
            incoming += u128::from(coin.amount.0);
        }
        if owners.len() > OWNERS_MAX {
            return Err("accepted are at most 16 owners");
        }
        let mut outgoing = u128::from(tx.fee.0);
        for output in &tx.outputs {
            if output.owner >= self.owners || output.amount.0 == 0 {
                return Err("an output's owner is unknown or its amount is zero");
            }
            outgoing += u128::from(output.amount.0);
        }
        if incoming != outgoing {
            return Err("its inputs do not equal its outputs plus its fee");
        }
        Ok(())
    }
}
