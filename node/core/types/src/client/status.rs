//! What a node says of transactions, of its state and of itself.

use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::counters::Counters;
use crate::evidence::FaultKind;
use crate::ids::{Amount, Hash, Height, ValidatorId};
use crate::limits::TEXT_BYTES_MAX;
use crate::struct_codec;

/// How far a transaction has come (17).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Level {
    /// Not in the intake, the unfinal chain or the last heights.
    Unknown = 0,
    /// Taken, not final.
    Taken = 1,
    /// Final.
    Final = 2,
    /// Refused or excluded.
    Refused = 3,
}

/// Answer for one transaction id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxStatus {
    /// How far.
    pub level: Level,
    /// Height of the final block, else 0.
    pub height: Height,
    /// Reject code, else 0.
    pub code: u8,
}

impl Encode for Level {
    fn encode(&self, out: &mut Vec<u8>) {
        (*self as u8).encode(out);
    }
}

impl Decode for Level {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u8()? {
            0 => Ok(Self::Unknown),
            1 => Ok(Self::Taken),
            2 => Ok(Self::Final),
            3 => Ok(Self::Refused),
            _ => Err(DecodeError::Value { what: "level" }),
        }
    }
}

struct_codec!(TxStatus { level, height, code });

/// 1C: state at the highest final height.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateInfo {
    /// Height.
    pub height: Height,
    /// Effects digest after it.
    pub digest: Hash,
    /// Live outputs.
    pub outputs: u64,
    /// Their value.
    pub value: Amount,
    /// Fees collected since genesis.
    pub fees: Amount,
    /// Bonds in force.
    pub bonds: Amount,
    /// Confiscated and not paid out yet.
    pub pool: Amount,
    /// What detectors have earned.
    pub rewards: Amount,
    /// What the defrauded should have got and nothing was there to pay; outside the supply.
    pub unpaid: Amount,
}

impl StateInfo {
    /// Value of the shard that is in no output, and what it owes.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        Counters {
            fees: self.fees.0,
            bonds: self.bonds.0,
            pool: self.pool.0,
            rewards: self.rewards.0,
            unpaid: self.unpaid.0,
        }
    }
}

struct_codec!(StateInfo {
    height,
    digest,
    outputs,
    value,
    fees,
    bonds,
    pool,
    rewards,
    unpaid
});

/// 1E: what this validator runs on and what it has counted since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeInfo {
    /// Validator.
    pub validator: ValidatorId,
    /// Random number of the process: validators that share one share CPU and memory figures.
    pub process: u64,
    /// Verification backend in use, and the best that the machine allows.
    pub backend: String,
    /// See `backend`.
    pub backend_best: String,
    /// File system of the data directory.
    pub filesystem: String,
    /// `fsync` or `async`.
    pub durability: String,
    /// Version and source revision of the build.
    pub build: String,
    /// Median duration of an fsync, nanoseconds.
    pub fsync_p50_ns: u64,
    /// Fsyncs.
    pub fsyncs: u64,
    /// Signatures that entered a verification equation.
    pub signature_checks: u64,
    /// Bytes of frames sent to other validators and to clients.
    pub bytes_sent: u64,
    /// Bytes of frames received.
    pub bytes_received: u64,
    /// CPU time of the process, nanoseconds.
    pub cpu_ns: u64,
    /// Resident memory of the process, bytes.
    pub memory_bytes: u64,
    /// Sum over proposals of the heights in flight when each was made, and the number of proposals.
    pub heights_in_flight_sum: u64,
    /// See `heights_in_flight_sum`.
    pub proposals: u64,
    /// View changes that this validator took part in.
    pub view_changes: u64,
    /// Messages refused, any reason.
    pub refused: u64,
    /// Those of `signature_checks` that clients' transactions asked for.
    pub checks_intake: u64,
    /// Those of `signature_checks` that other members' author blocks asked for, by sample or all of them.
    pub checks_sampled: u64,
    /// Those of `signature_checks` that went into final blocks of slashed authors.
    pub checks_recheck: u64,
    /// Own author blocks cut.
    pub blocks_cut: u64,
    /// Faults detected, by kind in the order of `FaultKind::ALL`.
    pub faults: FaultCounts,
    /// Members slashed.
    pub slashed: u64,
    /// Claims of the defrauded that final blocks decided.
    pub claims: u64,
    /// Value of the outputs that claims seized.
    pub claims_seized: Amount,
    /// Value paid to the defrauded.
    pub claims_paid: Amount,
    /// Losses that nothing was left to pay.
    pub claims_unpaid: Amount,
    /// Switches to one league.
    pub fallback_entries: u64,
    /// Switches back to two leagues.
    pub fallback_exits: u64,
}

/// Faults counted by kind, in the order of `FaultKind::ALL`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts(pub [u64; FaultKind::ALL.len()]);

impl FaultCounts {
    /// Kinds with their counts.
    pub fn by_kind(&self) -> impl Iterator<Item = (FaultKind, u64)> {
        FaultKind::ALL.into_iter().zip(self.0)
    }
}

impl Encode for FaultCounts {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.iter().for_each(|count| count.encode(out));
    }
}

impl Decode for FaultCounts {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut counts = Self::default();
        for count in &mut counts.0 {
            *count = reader.u64()?;
        }
        Ok(counts)
    }
}

impl Encode for str {
    fn encode(&self, out: &mut Vec<u8>) {
        let text = self.as_bytes();
        let text = text.get(..TEXT_BYTES_MAX).unwrap_or(text);
        (text.len() as u16).encode(out);
        out.extend_from_slice(text);
    }
}

impl Encode for String {
    fn encode(&self, out: &mut Vec<u8>) {
        self.as_str().encode(out);
    }
}

impl Decode for String {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let len = reader.count16("bytes of a text", TEXT_BYTES_MAX)?;
        let text = std::str::from_utf8(reader.bytes(len)?).map_err(|_| DecodeError::Value {
            what: "UTF-8 of a text",
        })?;
        Ok(text.to_owned())
    }
}

struct_codec!(NodeInfo {
    validator,
    process,
    backend,
    backend_best,
    filesystem,
    durability,
    build,
    fsync_p50_ns,
    fsyncs,
    signature_checks,
    bytes_sent,
    bytes_received,
    cpu_ns,
    memory_bytes,
    heights_in_flight_sum,
    proposals,
    view_changes,
    refused,
    checks_intake,
    checks_sampled,
    checks_recheck,
    blocks_cut,
    faults,
    slashed,
    claims,
    claims_seized,
    claims_paid,
    claims_unpaid,
    fallback_entries,
    fallback_exits,
});
