//! First step of a block: who works on what.
//!
//! A partition's task handles the inputs whose outpoint lies in it and the transactions whose txid lies in it,
//! which are those whose outputs will. So every number that a task writes is kept *by partition*, in slices that
//! do not overlap, and the steps that go in list order look a place up here.

use types::TxId;
use types::transaction::TxView;

use crate::{BlockInput, PARTITIONS};

/// A transaction in list order.
#[derive(Clone, Copy)]
pub(crate) struct PlannedTx {
    /// Its batch and its position there; slow transactions are numbered as the batch after the last.
    batch: u16,
    position: u16,
    /// Its place in `txs_by_partition`.
    pub(crate) place: u32,
    /// Number of its first input, and of its first output, in list order.
    pub(crate) first_input: u32,
    pub(crate) first_output: u32,
    pub(crate) input_count: u8,
    pub(crate) bad_signature: bool,
}

/// One input: the transaction and the position among its inputs.
#[derive(Clone, Copy, Default)]
pub(crate) struct PlannedInput {
    pub(crate) tx: u32,
    pub(crate) position: u8,
}

/// Transactions and inputs by partition.
struct Counts {
    txs: [u32; PARTITIONS],
    inputs: [u32; PARTITIONS],
}

/// The plan of a block. Its vectors are used again from block to block.
pub(crate) struct Plan {
    /// Transactions in list order; a transaction's number is its position here.
    pub(crate) txs: Vec<PlannedTx>,
    /// For each input in list order, its place in `inputs_by_partition`.
    pub(crate) input_places: Vec<u32>,
    /// Numbers of transactions, by partition of the txid and inside a partition in list order.
    pub(crate) txs_by_partition: Vec<u32>,
    /// Inputs, by partition of the outpoint and inside a partition in list order.
    pub(crate) inputs_by_partition: Vec<PlannedInput>,
    /// Where each partition starts in `txs_by_partition`, and the end.
    pub(crate) tx_starts: [u32; PARTITIONS + 1],
    /// Where each partition starts in `inputs_by_partition`, and the end.
    pub(crate) input_starts: [u32; PARTITIONS + 1],
    /// Outputs of all transactions.
    pub(crate) output_count: u32,
    input_partitions: Vec<u8>,
}

impl Plan {
    pub(crate) const fn new() -> Self {
        Self {
            txs: Vec::new(),
            input_places: Vec::new(),
            txs_by_partition: Vec::new(),
            inputs_by_partition: Vec::new(),
            tx_starts: [0; PARTITIONS + 1],
            input_starts: [0; PARTITIONS + 1],
            output_count: 0,
            input_partitions: Vec::new(),
        }
    }

    /// Plans a block: two passes in list order, of which the first reads the transactions' heads.
    pub(crate) fn read(&mut self, input: &BlockInput<'_>) {
        self.txs.clear();
        self.input_partitions.clear();
        self.output_count = 0;
        let mut counts = Counts {
            txs: [0; PARTITIONS],
            inputs: [0; PARTITIONS],
        };
        for (number, batch) in input.batches.iter().enumerate() {
            let first = self.txs.len();
            for (position, (txid, tx)) in batch.body.txs().enumerate() {
                self.add((number, position), &txid, &tx, &mut counts);
            }
            for position in batch.bad_signatures {
                self.txs[first + *position as usize].bad_signature = true;
            }
        }
        for (position, slow) in input.slow.iter().enumerate() {
            self.add((input.batches.len(), position), &slow.txid, &slow.tx, &mut counts);
        }
        self.tx_starts = starts(&counts.txs);
        self.input_starts = starts(&counts.inputs);
        self.order(input);
    }

    #[inline]
    fn add(&mut self, (batch, position): (usize, usize), txid: &TxId, tx: &TxView<'_>, counts: &mut Counts) {
        counts.txs[partition(txid)] += 1;
        self.txs.push(PlannedTx {
            batch: batch as u16,
            position: position as u16,
            place: 0,
            first_input: self.input_partitions.len() as u32,
            first_output: self.output_count,
            input_count: tx.input_count() as u8,
            bad_signature: false,
        });
        self.output_count += tx.output_count() as u32;
        for input in tx.inputs() {
            let partition = input.outpoint.partition();
            counts.inputs[partition] += 1;
            self.input_partitions.push(partition as u8);
        }
    }

    fn order(&mut self, listed: &BlockInput<'_>) {
        self.txs_by_partition.resize(self.txs.len(), 0);
        self.inputs_by_partition
            .resize(self.input_partitions.len(), PlannedInput::default());
        self.input_places.resize(self.input_partitions.len(), 0);
        let (mut next_tx, mut next_input) = (self.tx_starts, self.input_starts);
        for (number, tx) in self.txs.iter_mut().enumerate() {
            let next = &mut next_tx[partition(&txid(listed, tx))];
            tx.place = *next;
            self.txs_by_partition[*next as usize] = number as u32;
            *next += 1;
            for position in 0..tx.input_count {
                let input = tx.first_input as usize + usize::from(position);
                let next = &mut next_input[usize::from(self.input_partitions[input])];
                self.input_places[input] = *next;
                self.inputs_by_partition[*next as usize] = PlannedInput {
                    tx: number as u32,
                    position,
                };
                *next += 1;
            }
        }
    }

    /// Places of a transaction's inputs.
    pub(crate) fn places_of(&self, tx: &PlannedTx) -> &[u32] {
        let first = tx.first_input as usize;
        &self.input_places[first..first + usize::from(tx.input_count)]
    }
}

/// The block as the tasks see it.
#[derive(Clone, Copy)]
pub(crate) struct Block<'a> {
    pub(crate) input: &'a BlockInput<'a>,
    pub(crate) plan: &'a Plan,
}

impl<'a> Block<'a> {
    pub(crate) fn txid(&self, tx: u32) -> TxId {
        txid(self.input, &self.plan.txs[tx as usize])
    }

    pub(crate) fn tx(&self, tx: u32) -> TxView<'a> {
        let planned = &self.plan.txs[tx as usize];
        let position = usize::from(planned.position);
        match self.input.batches.get(usize::from(planned.batch)) {
            Some(batch) => batch.body.tx(position),
            None => self.input.slow[position].tx,
        }
    }

    /// Whether a transaction comes by the slow lane.
    pub(crate) fn is_slow(&self, tx: &PlannedTx) -> bool {
        usize::from(tx.batch) == self.input.batches.len()
    }

    /// Where a partition's transactions stand in every list by partition.
    pub(crate) fn txs_of(&self, partition: usize) -> &'a [u32] {
        let starts = &self.plan.tx_starts;
        &self.plan.txs_by_partition[starts[partition] as usize..starts[partition + 1] as usize]
    }

    /// A partition's inputs.
    pub(crate) fn inputs_of(&self, partition: usize) -> &'a [PlannedInput] {
        let starts = &self.plan.input_starts;
        &self.plan.inputs_by_partition[starts[partition] as usize..starts[partition + 1] as usize]
    }
}

/// Cuts a list by partition into its 64 parts.
pub(crate) fn parts<'a, T>(
    mut list: &'a mut [T],
    starts: &[u32; PARTITIONS + 1],
) -> impl ExactSizeIterator<Item = &'a mut [T]> {
    starts.windows(2).map(move |bounds| {
        let (part, rest) = std::mem::take(&mut list).split_at_mut((bounds[1] - bounds[0]) as usize);
        list = rest;
        part
    })
}

fn txid(listed: &BlockInput<'_>, tx: &PlannedTx) -> TxId {
    let position = usize::from(tx.position);
    match listed.batches.get(usize::from(tx.batch)) {
        Some(batch) => batch.body.entries()[position].txid,
        None => listed.slow[position].txid,
    }
}

fn partition(txid: &TxId) -> usize {
    types::OutPoint {
        txid: *txid,
        index: 0,
    }
    .partition()
}

fn starts(counts: &[u32; PARTITIONS]) -> [u32; PARTITIONS + 1] {
    let mut starts = [0; PARTITIONS + 1];
    for (partition, count) in counts.iter().enumerate() {
        starts[partition + 1] = starts[partition] + count;
    }
    starts
}
