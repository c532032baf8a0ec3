//! Imports of blocks made here, one for each mapping rule, and of real blocks where present.

use std::path::PathBuf;

use bitcoin::absolute::LockTime;
use bitcoin::block::{Header, Version};
use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash as _;
use bitcoin::script::{Builder, PushBytesBuf};
use bitcoin::transaction::Version as TxVersion;
use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxMerkleNode,
    TxOut, Txid, Witness,
};

use super::{ImportCounts, ImportError, Source, Trace, TraceError, import_block, import_file};

const HEIGHT: i64 = 300_025;
const SUBSIDY: u64 = 2_500_000_000;

fn key_script(owner: u8) -> ScriptBuf {
    ScriptBuf::new_p2wpkh(&bitcoin::WPubkeyHash::hash(&[owner; 33]))
}

fn output(owner: u8, value: u64) -> TxOut {
    TxOut {
        value: Amount::from_sat(value),
        script_pubkey: key_script(owner),
    }
}

fn data_output(data: &[u8], value: u64) -> TxOut {
    let data = PushBytesBuf::try_from(data.to_vec()).expect("short");
    TxOut {
        value: Amount::from_sat(value),
        script_pubkey: ScriptBuf::new_op_return(data),
    }
}

/// An output of an earlier block; `owner` 0 hides its script.
fn earlier(number: u32, owner: u8) -> TxIn {
    let key = [&[2_u8][..], &[owner; 32]].concat();
    let witness: &[&[u8]] = if owner == 0 {
        &[&[1; 64]]
    } else {
        &[&[1; 71], &key]
    };
    TxIn {
        previous_output: OutPoint {
            txid: Txid::from_byte_array([0xee; 32]),
            vout: number,
        },
        script_sig: ScriptBuf::new(),
        sequence: Sequence::MAX,
        witness: Witness::from_slice(witness),
    }
}

fn inside(parent: &Transaction, vout: u32) -> TxIn {
    TxIn {
        previous_output: OutPoint {
            txid: parent.compute_txid(),
            vout,
        },
        ..earlier(0, 0)
    }
}

fn transaction(input: Vec<TxIn>, output: Vec<TxOut>) -> Transaction {
    Transaction {
        version: TxVersion::TWO,
        lock_time: LockTime::ZERO,
        input,
        output,
    }
}

fn block(claimed: u64, transactions: Vec<Transaction>) -> Block {
    let coinbase = TxIn {
        previous_output: OutPoint::null(),
        script_sig: Builder::new().push_int(HEIGHT).push_int(7).into_script(),
        sequence: Sequence::MAX,
        witness: Witness::new(),
    };
    let mut txdata = vec![transaction(vec![coinbase], vec![output(200, SUBSIDY + claimed)])];
    txdata.extend(transactions);
    let mut block = Block {
        header: Header {
            version: Version::TWO,
            prev_blockhash: BlockHash::all_zeros(),
            merkle_root: TxMerkleNode::all_zeros(),
            time: 0,
            bits: CompactTarget::from_consensus(0),
            nonce: 0,
        },
        txdata,
    };
    block.header.merkle_root = block.compute_merkle_root().expect("not empty");
    block
}

fn import(claimed: u64, transactions: Vec<Transaction>) -> Trace {
    import_block(&serialize(&block(claimed, transactions))).expect("a valid block")
}

fn reason(claimed: u64, transactions: Vec<Transaction>) -> String {
    import_block(&serialize(&block(claimed, transactions)))
        .expect_err("a broken block")
        .to_string()
}

#[test]
fn values_chains_and_owners_are_kept() {
    let first = transaction(
        vec![earlier(1, 1), earlier(2, 1), earlier(3, 0)],
        vec![output(5, 1000), output(6, 500)],
    );
    let second = transaction(vec![inside(&first, 1), inside(&first, 0)], vec![output(5, 1400)]);
    let trace = import(340, vec![first, second]);
    // 100 of the claim are exact (1500 - 1400); 240 are left for the only open transaction.
    assert_eq!(trace.transactions[0].fee.0, 240);
    assert_eq!(trace.transactions[1].fee.0, 100);
    assert_eq!(
        trace.transactions[1].inputs,
        [
            Source::Output { tx: 0, index: 1 },
            Source::Output { tx: 0, index: 0 }
        ]
    );
    let amounts: Vec<u64> = trace.allocations.iter().map(|coin| coin.amount.0).collect();
    assert_eq!(amounts, [580, 580, 580]);
    // Both inputs of key 1 have one owner, the hidden one its own; output 5 is one owner in both transactions.
    let owners: Vec<u32> = trace.allocations.iter().map(|coin| coin.owner).collect();
    assert_eq!((owners[0], owners[0] == owners[2]), (owners[1], false));
    assert_eq!(
        trace.transactions[0].outputs[0].owner,
        trace.transactions[1].outputs[0].owner
    );
    let expected = ImportCounts {
        block_transactions: 3,
        coinbases_dropped: 1,
        transactions: 2,
        inputs_inside: 2,
        inputs_funded: 3,
        outputs: 3,
        owners: 4,
        scripts_unknown: 1,
        fees_exact: 1,
        fees_shared: 1,
        fees_satoshi: 340,
        fees_claimed_satoshi: 340,
        funded_satoshi: 1740,
        longest_chain: 2,
        ..ImportCounts::default()
    };
    assert_eq!(trace.counts, expected);
}

#[test]
fn data_and_zero_outputs_become_memos_or_vanish() {
    let first = transaction(
        vec![earlier(1, 1)],
        vec![
            data_output(b"hello ", 0),
            data_output(b"world", 0),
            data_output(&[1; 510], 0),
            data_output(b"!", 30),
            output(2, 0),
            output(3, 100),
        ],
    );
    // Spends the zero output beside a real one; the next one has nothing but it; the last burns all it has.
    let second = transaction(vec![inside(&first, 4), inside(&first, 5)], vec![output(4, 90)]);
    let third = transaction(vec![earlier(9, 1)], vec![output(2, 0), data_output(b"x", 0)]);
    let fourth = transaction(vec![inside(&third, 0)], vec![output(7, 0)]);
    let fifth = transaction(vec![inside(&second, 0)], vec![data_output(b"burn", 0)]);
    let trace = import(1000, vec![first, second, third, fourth, fifth]);
    assert_eq!(trace.transactions[0].memo, b"hello world!");
    let kept: Vec<u64> = trace.transactions[0]
        .outputs
        .iter()
        .map(|coin| coin.amount.0)
        .collect();
    assert_eq!(kept, [30, 100]);
    assert_eq!(trace.transactions[1].inputs, [Source::Output { tx: 0, index: 1 }]);
    assert_eq!(trace.transactions[2].outputs[0].amount.0, 1);
    assert_eq!(trace.transactions[3].memo, b"burn");
    assert_eq!(
        (
            trace.transactions[3].fee.0,
            trace.transactions[3].outputs[0].amount.0
        ),
        (89, 1)
    );
    let counts = trace.counts;
    assert_eq!((counts.memos, counts.memos_dropped, counts.burns_kept), (5, 1, 1));
    assert_eq!((counts.zero_outputs_dropped, counts.zero_inputs_dropped), (3, 2));
    assert_eq!(
        (
            counts.valueless_dropped,
            counts.outputs_added,
            counts.transactions
        ),
        (1, 2, 4)
    );
    assert_eq!(counts.fees_satoshi, 1000);
}

#[test]
fn large_transactions_are_split_and_owners_folded() {
    let many = (0..510)
        .map(|number| earlier(number, (number % 40) as u8 + 1))
        .collect();
    let first = transaction(many, (0..200).map(|owner| output(owner, 10)).collect());
    let second = transaction(vec![inside(&first, 0), inside(&first, 199)], vec![output(1, 15)]);
    let trace = import(105, vec![first, second]);
    // 510 inputs: 64, then seven times 63 and a last one with what is left; 200 outputs: 63, 63, 63 and 11.
    let counts = trace.counts;
    assert_eq!(
        (counts.transactions_split, counts.inputs_funded, counts.outputs),
        (1, 510, 201)
    );
    assert_eq!(counts.transactions, counts.transactions_added + 2);
    assert_eq!(counts.transactions_added, 8 + 3);
    assert_eq!(
        counts.owners_folded, 24,
        "40 owners meet in one segment, 16 are accepted"
    );
    // Key 2 is the only one on both sides.
    assert_eq!(counts.owners, 200 + 16 - 1);
    assert_eq!(counts.fees_satoshi, 105);
    // The fee of the long transaction leaves with the last segment, and the child finds its two parents.
    let last = trace.transactions.len() - 1;
    assert_eq!(trace.transactions[last - 1].fee.0, 100);
    assert_eq!(
        trace.transactions[last].inputs,
        [
            Source::Output { tx: 8, index: 0 },
            Source::Output { tx: 11, index: 10 }
        ]
    );
    assert_eq!(counts.longest_chain, counts.transactions);
}

#[test]
fn unknown_fees_are_the_least_that_balances() {
    let open = transaction(vec![earlier(1, 1)], vec![output(2, 50)]);
    let mut block = block(0, vec![open]);
    // Less claimed than allowed: the sum of the fees cannot be told.
    block.txdata[0].output[0].value = Amount::from_sat(SUBSIDY - 1);
    block.header.merkle_root = block.compute_merkle_root().expect("not empty");
    let trace = import_block(&serialize(&block)).expect("valid");
    assert_eq!(
        (trace.transactions[0].fee.0, trace.counts.fees_claimed_satoshi),
        (0, 0)
    );
}

#[test]
fn broken_blocks_are_refused_by_name() {
    let first = transaction(vec![earlier(1, 1)], vec![output(2, 50)]);
    let twice = transaction(vec![earlier(1, 1)], vec![output(3, 50)]);
    assert!(
        reason(0, vec![first.clone(), twice])
            .starts_with("block transaction 2: it spends an output that is already spent")
    );
    let child = transaction(vec![inside(&first, 0)], vec![output(3, 60)]);
    assert!(
        reason(0, vec![first.clone(), child.clone()])
            .contains("transaction 2: its outputs exceed its inputs")
    );
    assert!(
        reason(0, vec![child, first.clone()])
            .contains("transaction 1: it spends an output that does not exist")
    );

    let good = serialize(&block(0, vec![first]));
    let mut corrupt = good.clone();
    *corrupt.last_mut().expect("not empty") ^= 1;
    assert!(matches!(import_block(&corrupt), Err(ImportError::MerkleRoot)));
    assert!(matches!(
        import_block(&good[..good.len() - 1]),
        Err(ImportError::Block(_))
    ));
    let mut headless = block(0, vec![]);
    headless.txdata.clear();
    assert!(matches!(
        import_block(&serialize(&headless)),
        Err(ImportError::Coinbase)
    ));
}

#[test]
fn files_round_trip_and_damage_is_named() {
    let first = transaction(vec![earlier(1, 1)], vec![output(2, 50), data_output(b"m", 0)]);
    let trace = import(7, vec![first.clone()]);
    let folder = tempfile::tempdir().expect("temporary folder");
    let (raw, file) = (folder.path().join("block.raw"), folder.path().join("trace"));
    std::fs::write(&raw, serialize(&block(7, vec![first]))).expect("written");
    assert_eq!(import_file(&raw, &file).expect("imported"), trace.counts);
    assert_eq!(Trace::load(&file).expect("loaded"), trace);

    let bytes = trace.to_file_bytes();
    for position in 0..bytes.len() {
        let mut broken = bytes.clone();
        broken[position] ^= 0x10;
        let error = Trace::from_file_bytes(&broken).expect_err("every flipped bit is noticed");
        match position {
            0..8 => assert!(matches!(error, TraceError::Magic)),
            8..10 => assert!(matches!(error, TraceError::Version(_))),
            10..18 => assert!(matches!(error, TraceError::Length { .. })),
            _ => assert!(matches!(error, TraceError::Checksum)),
        }
        let error = Trace::from_file_bytes(&bytes[..position]).expect_err("truncated");
        let is_named = matches!(
            error,
            TraceError::Magic | TraceError::Encoding(_) | TraceError::Length { .. }
        );
        assert!(is_named, "{error}");
    }
    let missing = import_file(&folder.path().join("none"), &file).expect_err("no such file");
    assert!(missing.to_string().starts_with("--bitcoin "));
}

#[test]
fn graphs_that_cannot_run_are_refused() {
    let first = transaction(vec![earlier(1, 1), earlier(2, 1)], vec![output(2, 50)]);
    let second = transaction(vec![inside(&first, 0)], vec![output(2, 50)]);
    let good = import(0, vec![first, second]);
    good.validate().expect("valid");
    type Change = fn(&mut Trace);
    let changes: [(Change, &str); 8] = [
        (
            |trace| trace.transactions[1].inputs[0] = Source::Output { tx: 1, index: 0 },
            "transaction 1: it spends an output of a later",
        ),
        (
            |trace| trace.transactions[1].inputs[0] = Source::Allocation(0),
            "transaction 1: it spends an output that is already spent",
        ),
        (
            |trace| trace.transactions[0].inputs[0] = Source::Allocation(9),
            "transaction 0: it spends an output that does not exist",
        ),
        (
            |trace| trace.transactions[0].fee.0 += 1,
            "transaction 0: its inputs do not equal",
        ),
        (
            |trace| trace.transactions[0].outputs[0].amount.0 = 0,
            "transaction 0: an output's owner is unknown",
        ),
        (
            |trace| trace.transactions[0].outputs.clear(),
            "transaction 0: accepted are 1 to 64",
        ),
        (|trace| trace.owners = 0, "allocation 0: its owner is unknown"),
        (
            |trace| {
                trace
                    .allocations
                    .iter_mut()
                    .for_each(|coin| coin.amount.0 = u64::MAX)
            },
            "allocation 1: the supply exceeds",
        ),
    ];
    for (change, expected) in changes {
        let mut broken = good.clone();
        change(&mut broken);
        let error = Trace::from_file_bytes(&broken.to_file_bytes()).expect_err(expected);
        assert!(error.to_string().contains(expected), "{error} for {expected}");
    }
}

/// Real blocks lie outside the repository; the test says so when they are absent.
#[test]
fn real_blocks_import_with_their_whole_fee() {
    let folder = std::env::var_os("SHARDBENCH_BITCOIN_BLOCKS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/bitcoin"),
        PathBuf::from,
    );
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!(
            "skipped: no blocks in {} (SHARDBENCH_BITCOIN_BLOCKS names another folder)",
            folder.display()
        );
        return;
    };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.extension().is_none_or(|extension| extension != "raw") {
            continue;
        }
        let trace = import_block(&std::fs::read(&path).expect("readable")).expect("a real block");
        println!("{}\n{}", path.display(), trace.counts);
        let counts = trace.counts;
        assert_eq!(counts.fees_satoshi, counts.fees_claimed_satoshi);
        assert_eq!(
            counts.block_transactions + counts.transactions_added,
            counts.transactions + counts.coinbases_dropped + counts.valueless_dropped
        );
        assert_eq!(
            Trace::from_file_bytes(&trace.to_file_bytes()).expect("valid"),
            trace
        );
    }
}
