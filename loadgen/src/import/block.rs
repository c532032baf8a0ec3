//! From a block to a trace, in four passes: read, balance, split, number.

use std::collections::{HashMap, HashSet};

use bitcoin::consensus::deserialize;
use bitcoin::script::Instruction;
use bitcoin::{Block, OutPoint, Script, Transaction, TxOut, Txid};
use types::Amount;
use types::limits::{MEMO_BYTES_MAX, OWNERS_MAX};

use super::fees::{Balance, fees, subsidy};
use super::owner::Owners;
use super::split::{Spend, split};
use super::{ImportCounts, ImportError, Source, Trace, TraceCoin, TraceTx};

/// Imports one block in its consensus serialisation.
///
/// # Errors
/// Names what is wrong with the block, or the first transaction that breaks a rule.
pub fn import_block(raw: &[u8]) -> Result<Trace, ImportError> {
    let block: Block = deserialize(raw).map_err(|error| ImportError::Block(error.to_string()))?;
    let has_one_coinbase = block.txdata.first().is_some_and(Transaction::is_coinbase)
        && block.txdata.iter().filter(|tx| tx.is_coinbase()).count() == 1;
    if !has_one_coinbase {
        return Err(ImportError::Coinbase);
    }
    if !block.check_merkle_root() {
        return Err(ImportError::MerkleRoot);
    }
    let mut reading = Reading::new(&block);
    for (position, tx) in block.txdata.iter().enumerate().skip(1) {
        reading
            .read(position, tx)
            .map_err(|what| ImportError::Transaction { position, what })?;
    }
    let claimed = claimed_fees(&block);
    let balances: Vec<Balance> = reading.drafts.iter().map(Draft::balance).collect();
    let fees = fees(&balances, claimed);
    let mut counts = reading.counts;
    counts.fees_claimed_satoshi = claimed.unwrap_or(0);
    counts.fees_exact = balances.iter().filter(|balance| balance.funded == 0).count() as u64;
    counts.fees_shared = balances.len() as u64 - counts.fees_exact;
    counts.fees_satoshi = fees.iter().sum();
    counts.scripts_unknown = reading.owners.unknown;
    let writing = Writing {
        owners: reading.owners,
        trace: Trace {
            source: *bitcoin::hashes::Hash::as_byte_array(&block.block_hash()),
            counts,
            ..Trace::default()
        },
        places: Vec::new(),
    };
    let trace = writing.write(reading.drafts, &fees);
    trace.validate()?;
    Ok(trace)
}

/// Fees that the coinbase claimed, satoshi.
fn claimed_fees(block: &Block) -> Option<u64> {
    let height = block.bip34_block_height().ok()?;
    let paid = block.txdata.first()?.output.iter();
    let paid = paid
        .map(|output| output.value.to_sat())
        .try_fold(0_u64, u64::checked_add)?;
    paid.checked_sub(subsidy(height))
}

/// One transaction as read: outputs kept, inputs by origin.
#[derive(Debug, Default)]
struct Draft {
    inputs: Vec<DraftInput>,
    outputs: Vec<TraceCoin>,
    memo: Vec<u8>,
    weight: u64,
}

#[derive(Clone, Copy, Debug)]
enum DraftInput {
    /// Position of the draft and of the output kept there.
    Inside {
        draft: usize,
        output: usize,
        coin: TraceCoin,
    },
    Funded {
        owner: u32,
    },
}

impl DraftInput {
    const fn owner(&self) -> u32 {
        match self {
            Self::Inside { coin, .. } => coin.owner,
            Self::Funded { owner } => *owner,
        }
    }

    const fn inside(&self) -> Option<u64> {
        match self {
            Self::Inside { coin, .. } => Some(coin.amount.0),
            Self::Funded { .. } => None,
        }
    }
}

impl Draft {
    fn balance(&self) -> Balance {
        let inside = self.inputs.iter().filter_map(DraftInput::inside);
        Balance {
            inside: inside.clone().sum(),
            funded: (self.inputs.len() - inside.count()) as u64,
            outputs: self.outputs.iter().map(|coin| coin.amount.0).sum(),
            weight: self.weight,
        }
    }
}

/// First pass.
struct Reading {
    owners: Owners,
    counts: ImportCounts,
    drafts: Vec<Draft>,
    /// Ids of the block's transactions, to tell a forward reference from an earlier block.
    inside: HashSet<Txid>,
    /// Outputs of the block read so far: kept ones with their place, `None` for those of value zero.
    kept: HashMap<OutPoint, Option<(usize, usize, TraceCoin)>>,
    spent: HashSet<OutPoint>,
}

impl Reading {
    fn new(block: &Block) -> Self {
        Self {
            owners: Owners::default(),
            counts: ImportCounts {
                block_transactions: block.txdata.len() as u64,
                coinbases_dropped: 1,
                ..ImportCounts::default()
            },
            drafts: Vec::new(),
            inside: block.txdata.iter().map(Transaction::compute_txid).collect(),
            kept: HashMap::new(),
            spent: HashSet::new(),
        }
    }

    fn read(&mut self, position: usize, tx: &Transaction) -> Result<(), &'static str> {
        let mut draft = Draft {
            weight: tx.weight().to_wu(),
            ..Draft::default()
        };
        for input in &tx.input {
            let outpoint = input.previous_output;
            if !self.spent.insert(outpoint) {
                return Err("it spends an output that is already spent in this block");
            }
            match self.kept.get(&outpoint) {
                Some(Some((draft_position, output, coin))) => {
                    self.counts.inputs_inside += 1;
                    draft.inputs.push(DraftInput::Inside {
                        draft: *draft_position,
                        output: *output,
                        coin: *coin,
                    });
                }
                Some(None) => self.counts.zero_inputs_dropped += 1,
                None if self.inside.contains(&outpoint.txid) => {
                    return Err(
                        "it spends an output that does not exist, is the coinbase's or comes later in the block",
                    );
                }
                None => {
                    self.counts.inputs_funded += 1;
                    let owner = self.owners.of_spend(input);
                    draft.inputs.push(DraftInput::Funded { owner });
                }
            }
        }
        self.read_outputs(tx, draft, position)
    }

    fn read_outputs(
        &mut self,
        tx: &Transaction,
        mut draft: Draft,
        position: usize,
    ) -> Result<(), &'static str> {
        debug_assert!(position > 0, "the coinbase is not read");
        let txid = tx.compute_txid();
        let mut total = 0_u64;
        let mut kept = Vec::with_capacity(tx.output.len());
        for output in &tx.output {
            total = total
                .checked_add(output.value.to_sat())
                .filter(|total| *total <= bitcoin::Amount::MAX_MONEY.to_sat())
                .ok_or("its outputs exceed 21 million bitcoin")?;
            kept.push(self.read_output(output, &mut draft));
        }
        let has_funds = draft.inputs.iter().any(|input| input.inside().is_none());
        let inside: u64 = draft.inputs.iter().filter_map(DraftInput::inside).sum();
        if !has_funds && inside < total {
            return Err("its outputs exceed its inputs");
        }
        let place = self.drafts.len();
        for (vout, coin) in (0_u32..).zip(&kept) {
            let coin = coin.map(|(output, coin)| (place, output, coin));
            self.kept.insert(OutPoint { txid, vout }, coin);
        }
        let Some(first) = draft.inputs.first().map(DraftInput::owner) else {
            self.counts.valueless_dropped += 1;
            return Ok(());
        };
        if draft.outputs.is_empty() {
            self.counts.outputs_added += 1;
            draft.outputs.push(TraceCoin {
                owner: first,
                amount: Amount(1),
            });
        }
        self.counts.outputs += draft.outputs.len() as u64;
        self.drafts.push(draft);
        Ok(())
    }

    fn read_output(&mut self, output: &TxOut, draft: &mut Draft) -> Option<(usize, TraceCoin)> {
        let is_data = output.script_pubkey.is_op_return();
        let has_value = output.value.to_sat() > 0;
        if is_data {
            let data = data_of(&output.script_pubkey);
            if draft.memo.len() + data.len() <= MEMO_BYTES_MAX {
                draft.memo.extend_from_slice(&data);
                self.counts.memos += 1;
            } else {
                self.counts.memos_dropped += 1;
            }
            self.counts.burns_kept += u64::from(has_value);
        } else if !has_value {
            self.counts.zero_outputs_dropped += 1;
        }
        if !has_value {
            return None;
        }
        let coin = TraceCoin {
            owner: self.owners.of_script(&output.script_pubkey),
            amount: Amount(output.value.to_sat()),
        };
        draft.outputs.push(coin);
        Some((draft.outputs.len() - 1, coin))
    }
}

/// Data pushed behind `OP_RETURN`; the raw bytes where they are not pushes.
fn data_of(script: &Script) -> Vec<u8> {
    let mut data = Vec::new();
    for instruction in script.instructions().skip(1) {
        match instruction {
            Ok(Instruction::PushBytes(bytes)) => data.extend_from_slice(bytes.as_bytes()),
            Ok(Instruction::Op(opcode)) => data.push(opcode.to_u8()),
            Err(_) => return script.as_bytes().get(1..).unwrap_or_default().to_vec(),
        }
    }
    data
}

/// Last passes: chains inside the limits, then dense numbers for the owners that are left.
struct Writing {
    owners: Owners,
    trace: Trace,
    /// By draft, by output: place in the trace.
    places: Vec<Vec<(u32, u16)>>,
}

impl Writing {
    fn write(mut self, drafts: Vec<Draft>, fees: &[u64]) -> Trace {
        for (draft, fee) in drafts.into_iter().zip(fees) {
            self.write_draft(draft, Amount(*fee));
        }
        let trace = &mut self.trace;
        let mut numbers = HashMap::new();
        let coins = trace.allocations.iter_mut();
        for coin in coins.chain(trace.transactions.iter_mut().flat_map(|tx| &mut tx.outputs)) {
            let next = numbers.len() as u32;
            coin.owner = *numbers.entry(self.owners.root(coin.owner)).or_insert(next);
        }
        trace.owners = numbers.len() as u32;
        trace.counts.owners = numbers.len() as u64;
        trace.counts.owners_folded = self.owners.folded;
        trace.counts.transactions = trace.transactions.len() as u64;
        trace.counts.funded_satoshi = trace.allocations.iter().map(|coin| coin.amount.0).sum();
        trace.counts.longest_chain = longest_chain(&trace.transactions);
        self.trace
    }

    fn write_draft(&mut self, draft: Draft, fee: Amount) {
        let balance = draft.balance();
        // What the funded inputs share; at least 1 for each, by the least fee.
        let funds = (balance.outputs + fee.0).saturating_sub(balance.inside);
        let (mut seen, mut inputs) = (0, Vec::with_capacity(draft.inputs.len()));
        for input in &draft.inputs {
            inputs.push(match input {
                DraftInput::Inside { draft, output, coin } => {
                    let (tx, index) = self.places[*draft][*output];
                    Spend {
                        source: Source::Output { tx, index },
                        coin: *coin,
                    }
                }
                DraftInput::Funded { owner } => {
                    let part =
                        |nth: u64| (u128::from(funds) * u128::from(nth) / u128::from(balance.funded)) as u64;
                    let coin = TraceCoin {
                        owner: *owner,
                        amount: Amount(part(seen + 1) - part(seen)),
                    };
                    seen += 1;
                    self.trace.allocations.push(coin);
                    let position = self.trace.allocations.len() as u32 - 1;
                    Spend {
                        source: Source::Allocation(position),
                        coin,
                    }
                }
            });
        }
        let first = self.trace.transactions.len() as u32;
        let chain = split(inputs, &draft.outputs, fee, draft.memo, first);
        let added = chain.segments.len() as u64 - 1;
        self.trace.counts.transactions_added += added;
        self.trace.counts.transactions_split += u64::from(added > 0);
        for segment in chain.segments {
            self.owners.fold(segment.owners.into_iter(), OWNERS_MAX);
            self.trace.transactions.push(segment.tx);
        }
        self.places.push(chain.outputs);
    }
}

/// Transactions of the longest path of parents and children.
fn longest_chain(transactions: &[TraceTx]) -> u64 {
    let mut depths: Vec<u64> = Vec::with_capacity(transactions.len());
    for tx in transactions {
        let parents = tx.inputs.iter().filter_map(|source| match source {
            Source::Output { tx, .. } => depths.get(*tx as usize),
            Source::Allocation(_) => None,
        });
        let depth = parents.max().copied().unwrap_or(0) + 1;
        depths.push(depth);
    }
    depths.into_iter().max().unwrap_or(0)
}
