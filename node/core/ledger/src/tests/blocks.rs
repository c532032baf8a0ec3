//! Transactions, blocks and executors for tests.

use bytes::Bytes;
use crypto::placement::shard_of;
use types::block::{Body, TxEntry};
use types::transaction::{Input, Output, TxDraft, TxView};
use types::{Amount, Hash, Height, OutPoint, Owner, ShardId, TxId};

use crate::{Applied, Batch, BlockInput, Claim, Executor, Ledger, LedgerConfig, Slash, SlowTx};

pub(super) const KEEP_SPENT: u64 = 3;
pub(super) const SHARD: ShardId = ShardId(1);
pub(super) const SHARDS: u16 = 2;

/// Owners of the shard under test.
pub(super) fn owner(number: u8) -> Owner {
    owner_of(SHARD, number)
}

/// Owners of the other shard.
pub(super) fn stranger(number: u8) -> Owner {
    owner_of(ShardId(0), number)
}

fn owner_of(shard: ShardId, number: u8) -> Owner {
    let owner = |first, last| {
        let mut key = [number; 32];
        (key[0], key[7]) = (first, last);
        Owner(key)
    };
    let candidates = [owner(0, 0), owner(0, 0xff)];
    let found = candidates
        .into_iter()
        .find(|owner| shard_of(owner, SHARDS) == shard);
    found.expect("the top bit decides between two shards")
}

pub(super) fn config(seed: u8) -> LedgerConfig {
    LedgerConfig {
        shard: SHARD,
        shards: SHARDS,
        genesis_hash: Hash([7; 32]),
        keep_spent: KEEP_SPENT,
        fee_min: 1,
        expiry_ahead_max: 4,
        hash_seed: [seed; 16],
    }
}

/// Outpoint of a genesis output.
pub(super) fn genesis_outpoint(number: u8) -> OutPoint {
    OutPoint {
        txid: TxId(*blake3::hash(&[number]).as_bytes()),
        index: 0,
    }
}

/// A ledger in which owner `i` has one output of `amounts[i]`.
pub(super) fn ledger(amounts: &[u64]) -> Ledger {
    bonded(amounts, 0)
}

/// The same with bonds in force.
pub(super) fn bonded(amounts: &[u64], bonds: u64) -> Ledger {
    let outputs = (0..)
        .zip(amounts)
        .map(|(number, amount)| (genesis_outpoint(number), owner(number), Amount(*amount)));
    Ledger::new(config(1), outputs, bonds).expect("a valid genesis")
}

/// A transaction as it travels, with its id.
#[derive(Clone, Debug)]
pub(super) struct Tx {
    pub(super) id: TxId,
    pub(super) bytes: Vec<u8>,
}

impl Tx {
    pub(super) fn view(&self) -> TxView<'_> {
        TxView::decode(&self.bytes).expect("made canonical")
    }

    pub(super) fn output(&self, index: u16) -> OutPoint {
        OutPoint { txid: self.id, index }
    }
}

/// What a transaction is made of; owners and inputs are put in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Terms {
    pub(super) inputs: Vec<(OutPoint, Owner)>,
    pub(super) outputs: Vec<(Owner, u64)>,
    pub(super) fee: u64,
    pub(super) expiry: u32,
    pub(super) nonce: u32,
}

impl Terms {
    /// A canonical transaction, or `None` when the terms cannot make one.
    pub(super) fn try_tx(&self) -> Option<Tx> {
        let mut inputs = self.inputs.clone();
        inputs.sort_unstable();
        let mut owners: Vec<Owner> = inputs.iter().map(|(_, owner)| *owner).collect();
        owners.sort_unstable();
        owners.dedup();
        let position = |owner: &Owner| owners.iter().position(|other| other == owner).expect("listed") as u8;
        let inputs = inputs.iter().map(|(outpoint, owner)| Input {
            outpoint: *outpoint,
            owner: position(owner),
        });
        let outputs = self.outputs.iter().map(|(owner, amount)| Output {
            owner: *owner,
            amount: Amount(*amount),
        });
        let draft = TxDraft {
            expiry_epoch: self.expiry,
            fee: Amount(self.fee),
            nonce: self.nonce,
            inputs: inputs.collect(),
            outputs: outputs.collect(),
            owners: owners.clone(),
            memo: Vec::new(),
        };
        let mut bytes = Vec::new();
        draft.encode_body(&mut bytes);
        let id = crypto::hash::txid(&bytes);
        bytes.resize(bytes.len() + 64 * owners.len(), 0);
        TxView::decode(&bytes).is_ok().then_some(Tx { id, bytes })
    }

    pub(super) fn tx(&self) -> Tx {
        self.try_tx().expect("terms of a canonical transaction")
    }
}

/// A payment of one input with a fee of 1.
pub(super) fn pay(input: OutPoint, from: Owner, outputs: &[(Owner, u64)]) -> Tx {
    Terms {
        inputs: vec![(input, from)],
        outputs: outputs.to_vec(),
        fee: 1,
        ..Terms::default()
    }
    .tx()
}

pub(super) fn body(txs: &[Tx]) -> Body {
    let mut bytes = (txs.len() as u32).to_le_bytes().to_vec();
    let mut entries = Vec::new();
    for tx in txs {
        entries.push(TxEntry {
            txid: tx.id,
            offset: bytes.len() as u32,
            len: tx.bytes.len() as u16,
        });
        bytes.extend_from_slice(&tx.bytes);
    }
    Body::new(Bytes::from(bytes), entries)
}

/// A block: bodies with the positions of bad signatures, and its orders.
#[derive(Clone, Debug, Default)]
pub(super) struct TestBlock {
    pub(super) bodies: Vec<(Body, Vec<u32>)>,
    pub(super) slashes: Vec<Slash>,
    pub(super) claims: Vec<Claim>,
    pub(super) slow: Vec<Tx>,
}

impl TestBlock {
    pub(super) fn of(txs: &[Tx]) -> Self {
        Self {
            bodies: vec![(body(txs), Vec::new())],
            ..Self::default()
        }
    }

    pub(super) fn apply(&self, ledger: &mut Ledger, height: Height, executor: &dyn Executor) -> Applied {
        let batches: Vec<Batch<'_>> = self
            .bodies
            .iter()
            .map(|(body, bad_signatures)| Batch { body, bad_signatures })
            .collect();
        let slow: Vec<SlowTx<'_>> = self
            .slow
            .iter()
            .map(|tx| SlowTx {
                txid: tx.id,
                tx: tx.view(),
            })
            .collect();
        let input = BlockInput {
            slashes: &self.slashes,
            claims: &self.claims,
            batches: &batches,
            slow: &slow,
        };
        ledger.apply(height, &input, executor)
    }
}

/// Runs tasks on a number of threads, the last task first.
pub(super) struct Threads(pub(super) usize);

impl Executor for Threads {
    #[expect(
        clippy::disallowed_methods,
        reason = "the driver has threads, and this stands for the driver"
    )]
    fn run<'scope>(&self, tasks: Vec<Box<dyn FnOnce() + Send + 'scope>>) {
        let tasks = std::sync::Mutex::new(tasks);
        let work = || {
            while let Some(task) = tasks.lock().map_or(None, |mut tasks| tasks.pop()) {
                task();
            }
        };
        std::thread::scope(|scope| {
            (0..self.0).for_each(|_| drop(scope.spawn(work)));
        });
    }
}
