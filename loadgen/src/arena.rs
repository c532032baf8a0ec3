//! The pre-signed workload in memory: bytes, routes, parents, and the digest that proves what was sent.
//!
//! Writing the graph is sequential and cheap; signing takes nearly all of the time and runs on every thread.
//! Invariant: the same spec, network and wallet give the same bytes on any number of threads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crypto::hash::sighash;
use crypto::keys::SecretKey;
use types::genesis::{EpochConfig, Genesis};
use types::transaction::TxView;
use types::{Hash, MemberIndex, Reject, ShardId, TxId};

use crate::ownership::Accounts;
use crate::wallet::Wallet;
use crate::workload::{Network, Workload, WorkloadSpec};

/// Transactions that a thread signs before it reports progress.
const CHUNK: usize = 512;
const SIGNATURE_BYTES: usize = 64;
/// Longest signing that is accepted without `loadgen prepare`.
pub const SIGNING_MAX: Duration = Duration::from_secs(120);
/// Memory of a transaction outside its bytes: the entry, coins, and what the measurement keeps of it.
const OVERHEAD_BYTES: u64 = 192;

/// What should become of a transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expect {
    /// Final.
    #[default]
    Final,
    /// Refused or excluded for this reason.
    Rejected(Reject),
    /// Final if this other transaction, which spends the same coins, is not.
    OneOf(u32),
}

/// One transaction of the arena.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArenaEntry {
    /// First byte in the arena.
    pub offset: u64,
    /// Bytes, signatures included.
    pub len: u32,
    /// Id.
    pub txid: TxId,
    /// Shard of the owner of the first input.
    pub shard: ShardId,
    /// Group of that owner: in mode 0 the author of this group is sent to. 0 without believable authors.
    pub group: u16,
    /// Voter to send to in mode 1: by default the one that `ios` 1.7 names for the owner of the first input; a spend
    /// of what has not settled goes to the voter that took its parent.
    pub member: MemberIndex,
    /// Latest transaction of the arena that creates one of its inputs.
    pub parent: Option<u32>,
    /// What should become of it.
    pub expect: Expect,
}

/// Cost of signing, stated beside every result.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SigningCost {
    /// Signatures made.
    pub signatures: u64,
    /// Time from the first to the last.
    pub wall: Duration,
    /// Threads that signed.
    pub threads: usize,
}

/// What the workload really looks like, beside what was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ArenaMix {
    /// Inputs per transaction, mean.
    pub inputs_mean: f64,
    /// Outputs per transaction, mean.
    pub outputs_mean: f64,
    /// Owners, which is signatures, per transaction, mean.
    pub owners_mean: f64,
    /// Transactions with a parent in the arena.
    pub dependent: u64,
    /// Transactions that break a rule on purpose.
    pub invalid: u64,
    /// Pairs of transactions that spend the same coins.
    pub conflicts: u64,
    /// Largest value of a transaction: outputs and fee.
    pub value_max: u64,
    /// Value of a transaction, mean.
    pub value_mean: f64,
}

/// Signed transactions in the order of their intended times.
pub struct Arena {
    /// All transactions, one after another.
    pub bytes: Vec<u8>,
    /// Where each one is, where it goes and what it waits for.
    pub entries: Vec<ArenaEntry>,
    /// blake3 of the bytes and of the intended times: `workload_digest`.
    pub digest: [u8; 32],
    /// Cost of signing.
    pub signing: SigningCost,
    /// Measured shape.
    pub mix: ArenaMix,
}

/// What an arena would take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ArenaPlan {
    /// Transactions.
    pub count: u64,
    /// Bytes of memory.
    pub bytes_estimate: u64,
    /// Seconds of signing on all threads.
    pub signing_seconds_estimate: f64,
}

/// What the host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Threads that sign.
    pub threads: usize,
}

/// Why a workload cannot be built.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ArenaError {
    /// Flags of the workload that cannot be met.
    #[error("{0}")]
    Shape(&'static str),
    /// The intended times fall.
    #[error("intended send time {position} lies after the next one")]
    Schedule {
        /// Position of the later time.
        position: usize,
    },
    /// A shard has nobody to pay.
    #[error("shard {shard} has {accounts} accounts, at least 2 are needed: raise --accounts")]
    Accounts {
        /// Shard.
        shard: ShardId,
        /// Its accounts.
        accounts: usize,
    },
    /// A shard has no coin.
    #[error("shard {shard} has no coin at transaction {position}: raise --accounts")]
    OutOfCoins {
        /// Shard.
        shard: ShardId,
        /// Transaction that found none.
        position: u32,
    },
    /// More than a quarter of the host's memory.
    #[error(
        "{count} transactions need about {} MiB, accepted is a quarter of this host's memory ({} MiB): shorten --duration or lower --tps (a workload file by `loadgen prepare` does not exist yet)",
        bytes >> 20,
        accepted >> 20
    )]
    Memory {
        /// Transactions.
        count: u64,
        /// Bytes estimated.
        bytes: u64,
        /// Bytes accepted.
        accepted: u64,
    },
    /// More than two minutes of signing.
    #[error(
        "{count} transactions take about {seconds:.0} s to sign, accepted are {} s: shorten --duration or lower --tps (a workload file by `loadgen prepare` does not exist yet)",
        SIGNING_MAX.as_secs()
    )]
    Signing {
        /// Transactions.
        count: u64,
        /// Seconds estimated.
        seconds: f64,
    },
    /// More transactions than positions.
    #[error("{0} transactions, accepted are at most 2^32 - 1: shorten --duration or lower --tps")]
    Count(u64),
    /// A trace on several shards.
    #[error(
        "--workload bitcoin replays on one shard, this network has {shards}: use --shards 1 (payments between shards do not exist yet)"
    )]
    TraceShards {
        /// Shards of the network.
        shards: u16,
    },
    /// Too few keys for the owners of a trace.
    #[error(
        "the trace has {owners} owners, {accounts} accounts were derived: accepted is one account per owner"
    )]
    TraceAccounts {
        /// Owners of the trace.
        owners: u32,
        /// Accounts.
        accounts: usize,
    },
    /// A schedule of another length than the trace.
    #[error("the trace has {transactions} transactions, the schedule has {times} times")]
    TraceLength {
        /// Transactions.
        transactions: usize,
        /// Times.
        times: usize,
    },
    /// The network does not hold what the trace spends.
    #[error(
        "allocation {allocation} of the trace is not live: a replay needs a fresh network whose genesis was made from this trace with the same seed"
    )]
    TraceUnfunded {
        /// Position among the trace's allocations.
        allocation: u64,
    },
    /// A transaction of our own that does not decode: a mistake of this program.
    #[error("transaction {position} does not decode: {reject}")]
    Encoding {
        /// Its position.
        position: u32,
        /// The rule that it breaks.
        reject: Reject,
    },
    /// An owner without a key: a mistake of this program.
    #[error("transaction {position} has an owner that is not an account of this seed")]
    Key {
        /// Its position.
        position: u32,
    },
}

/// Estimates an arena and refuses one that would not fit. Signs a few messages to know this host's speed.
///
/// # Errors
/// `Memory`, `Signing` or `Count`, each naming what to change; `Shape` for a shape that cannot be built.
pub fn plan(workload: &Workload, count: u64, host: Host) -> Result<ArenaPlan, ArenaError> {
    if count >= u64::from(u32::MAX) {
        return Err(ArenaError::Count(count));
    }
    let (bytes, signatures) = match workload {
        Workload::Transfer(shape) => {
            shape.validate()?;
            let (inputs, outputs) = (shape.inputs.mean(), shape.outputs.mean());
            let owners = inputs.min(types::limits::OWNERS_MAX as f64);
            let each = 22.0 + 96.0 * owners + 35.0 * inputs + 40.0 * outputs;
            (count as f64 * each, count as f64 * owners)
        }
        Workload::Replay(trace) => {
            let inputs: usize = trace.transactions.iter().map(|tx| tx.inputs.len()).sum();
            let outputs: usize = trace.transactions.iter().map(|tx| tx.outputs.len()).sum();
            (
                (22 * trace.transactions.len() + 131 * inputs + 40 * outputs) as f64,
                inputs as f64,
            )
        }
    };
    let bytes_estimate = bytes as u64 + count * OVERHEAD_BYTES;
    let accepted = host.memory_bytes / 4;
    if bytes_estimate > accepted {
        return Err(ArenaError::Memory {
            count,
            bytes: bytes_estimate,
            accepted,
        });
    }
    let seconds = signatures * signing_seconds() / host.threads.max(1) as f64;
    if seconds > SIGNING_MAX.as_secs_f64() {
        return Err(ArenaError::Signing { count, seconds });
    }
    Ok(ArenaPlan {
        count,
        bytes_estimate,
        signing_seconds_estimate: seconds,
    })
}

/// Seconds of one signature on this host.
fn signing_seconds() -> f64 {
    const SAMPLES: u32 = 256;
    let key = SecretKey::from_seed([7; 32]);
    let start = Instant::now();
    let mut signature = key.sign(&[0; 32]);
    for _ in 0..SAMPLES {
        // Each message is the signature before it: none can be left out.
        signature = key.sign(&signature.0[..32]);
    }
    start.elapsed().as_secs_f64() / f64::from(SAMPLES)
}

/// Writes and signs a workload. `progress` gets (signed transactions, all transactions), from any thread.
///
/// # Errors
/// Names what the workload lacks; nothing of it is kept then.
pub fn build(
    spec: &WorkloadSpec<'_>,
    genesis: &Genesis,
    epoch: &EpochConfig,
    wallet: Wallet,
    accounts: &Accounts,
    threads: usize,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Arena, ArenaError> {
    if spec.intended_ns.len() >= u32::MAX as usize {
        return Err(ArenaError::Count(spec.intended_ns.len() as u64));
    }
    let network = Network {
        genesis,
        epoch,
        accounts,
    };
    let mut graph = crate::workload::write(spec, network, wallet)?;
    let threads = threads.max(1);
    let start = Instant::now();
    sign(
        &mut graph.bytes,
        &graph.entries,
        &Signer {
            genesis_hash: epoch.genesis_hash,
            accounts,
        },
        threads,
        progress,
    )?;
    let signing = SigningCost {
        signatures: graph.signatures,
        wall: start.elapsed(),
        threads,
    };
    let mut digest = blake3::Hasher::new();
    digest.update(&graph.bytes);
    for time in spec.intended_ns {
        digest.update(&time.to_le_bytes());
    }
    // Cut only now: signatures stand at the end.
    for entry in &mut graph.entries {
        entry.len -= u32::from(entry.expect == Expect::Rejected(Reject::Encoding));
    }
    let count = graph.entries.len().max(1) as f64;
    let expected =
        |is: fn(&Expect) -> bool| graph.entries.iter().filter(|entry| is(&entry.expect)).count() as u64;
    let mix = ArenaMix {
        invalid: expected(|expect| matches!(expect, Expect::Rejected(_))),
        conflicts: expected(|expect| matches!(expect, Expect::OneOf(_))) / 2,
        value_max: graph.value_max,
        value_mean: graph.value_sum as f64 / count,
        inputs_mean: graph.inputs as f64 / count,
        outputs_mean: graph.outputs as f64 / count,
        owners_mean: graph.signatures as f64 / count,
        dependent: graph
            .entries
            .iter()
            .filter(|entry| entry.parent.is_some())
            .count() as u64,
    };
    Ok(Arena {
        bytes: graph.bytes,
        entries: graph.entries,
        digest: digest.finalize().into(),
        signing,
        mix,
    })
}

struct Signer<'a> {
    genesis_hash: Hash,
    accounts: &'a Accounts,
}

impl Signer<'_> {
    /// Signs consecutive transactions in place; the first one stands at position `first`.
    fn sign(&self, first: u32, entries: &[ArenaEntry], bytes: &mut [u8]) -> Result<(), ArenaError> {
        let mut rest = bytes;
        for (position, entry) in (first..).zip(entries) {
            let (tx, left) = rest.split_at_mut(entry.len as usize);
            rest = left;
            // A full decode: a transaction that breaks a rule of the format never leaves the generator.
            let owners: Vec<_> = TxView::decode(tx)
                .map_err(|reject| ArenaError::Encoding { position, reject })?
                .owners()
                .collect();
            let message = sighash(&self.genesis_hash, &entry.txid);
            let at = tx.len() - owners.len() * SIGNATURE_BYTES;
            for (slot, owner) in tx[at..].chunks_exact_mut(SIGNATURE_BYTES).zip(&owners) {
                let account = self.accounts.find(owner);
                let signature = account.and_then(|account| self.accounts.sign(account, &message));
                slot.copy_from_slice(&signature.ok_or(ArenaError::Key { position })?.0);
            }
            if entry.expect == Expect::Rejected(Reject::BadSignature) {
                // The low byte of s: still canonical.
                tx[at + SIGNATURE_BYTES / 2] ^= 1;
            }
        }
        Ok(())
    }
}

/// Signs all transactions on `threads` threads, chunk by chunk.
fn sign(
    bytes: &mut [u8],
    entries: &[ArenaEntry],
    signer: &Signer<'_>,
    threads: usize,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<(), ArenaError> {
    let total = entries.len() as u64;
    let mut chunks = Vec::with_capacity(entries.len().div_ceil(CHUNK));
    let mut rest = bytes;
    for (number, entries) in entries.chunks(CHUNK).enumerate() {
        let len = entries.iter().map(|entry| entry.len as usize).sum();
        let (bytes, left) = rest.split_at_mut(len);
        rest = left;
        chunks.push(((number * CHUNK) as u32, entries, bytes));
    }
    let chunks = Mutex::new(chunks.into_iter());
    let done = AtomicU64::new(0);
    let work = || {
        loop {
            // A poisoned lock means that another worker panicked, which the scope passes on.
            let next = chunks.lock().map_or(None, |mut chunks| chunks.next());
            let Some((first, entries, bytes)) = next else {
                return Ok(());
            };
            signer.sign(first, entries, bytes)?;
            let signed = done.fetch_add(entries.len() as u64, Ordering::Relaxed);
            progress(signed + entries.len() as u64, total);
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| {
            worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })
}

impl std::fmt::Debug for Arena {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Arena")
            .field("bytes", &self.bytes.len())
            .field("entries", &self.entries.len())
            .field("digest", &Hash(self.digest))
            .field("signing", &self.signing)
            .field("mix", &self.mix)
            .finish()
    }
}

impl Arena {
    /// Bytes of a transaction; empty for one that does not exist.
    #[must_use]
    pub fn tx(&self, position: u32) -> &[u8] {
        self.entries.get(position as usize).map_or(&[], |entry| {
            let start = entry.offset as usize;
            self.bytes
                .get(start..start + entry.len as usize)
                .unwrap_or_default()
        })
    }

    /// Number of transactions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests;
