//! Transactions: the real decoder against the slow one, and what must hold of everything that is accepted.

use types::transaction::{TxDraft, TxView};
use types::{Amount, Reject};

use crate::memory::in_proportion;
use crate::reference::{self, Transaction};

/// The input is one transaction.
pub(crate) fn check(input: &[u8]) {
    let decoded = in_proportion(input.len(), 0, || TxView::decode(input));
    let reference = reference::decode(input);
    match (&decoded, &reference) {
        (Ok(view), Ok(expected)) => {
            assert_eq!(&copied(view), expected);
            check_accepted(input, view);
        }
        (Err(reject), Err(broken)) => {
            assert!(
                broken.contains(reject),
                "refused as {reject}, broken are {broken:?}"
            );
        }
        (Ok(_), Err(broken)) => panic!("accepted, broken are {broken:?}"),
        (Err(reject), Ok(_)) => panic!("refused as {reject}, no rule is broken"),
    }
    check_prefix(input, decoded.map(|_| ()));
}

fn copied(view: &TxView<'_>) -> Transaction {
    let [n0, n1, n2, _] = view.nonce().to_le_bytes();
    Transaction {
        expiry_epoch: view.expiry_epoch(),
        fee: view.fee().0,
        nonce: [n0, n1, n2],
        owners: view.owners().map(|owner| owner.0.to_vec()).collect(),
        inputs: view
            .inputs()
            .map(|input| {
                let outpoint = input.outpoint;
                ((outpoint.txid.0.to_vec(), outpoint.index), input.owner)
            })
            .collect(),
        outputs: view
            .outputs()
            .map(|output| (output.owner.0.to_vec(), output.amount.0))
            .collect(),
        memo: view.memo().to_vec(),
        signatures: view.signatures().map(|signature| signature.0.to_vec()).collect(),
    }
}

/// What every later stage takes for granted.
fn check_accepted(input: &[u8], view: &TxView<'_>) {
    let inputs: Vec<_> = view.inputs().collect();
    assert!(inputs.windows(2).all(|pair| pair[0].outpoint < pair[1].outpoint));
    assert!(inputs.iter().all(|input| view.owner(input.owner).is_some()));
    let counts = (view.owner_count(), view.input_count(), view.output_count());
    assert_eq!(
        counts,
        (view.owners().len(), view.inputs().len(), view.outputs().len())
    );
    let sum = |amounts: Option<Amount>, amount| amounts.and_then(|sum| sum.checked_add(amount));
    let sum = view
        .outputs()
        .map(|output| output.amount)
        .fold(Some(view.fee()), sum);
    assert!(sum.is_some(), "the sum of outputs and fee was checked");

    // One value, one encoding: the fields written again are the bytes.
    let draft = TxDraft {
        expiry_epoch: view.expiry_epoch(),
        fee: view.fee(),
        nonce: view.nonce(),
        owners: view.owners().collect(),
        inputs,
        outputs: view.outputs().collect(),
        memo: view.memo().to_vec(),
    };
    let mut again = Vec::new();
    draft.encode_body(&mut again);
    assert_eq!(again, view.body());
    view.signatures()
        .for_each(|signature| again.extend_from_slice(&signature.0));
    assert_eq!(again, input);

    // The decoder that skips the rules reads the same fields from bytes that were accepted.
    let unchecked = TxView::decode_checked_before(input).expect("accepted before");
    assert_eq!(copied(&unchecked), copied(view));
}

/// A transaction at the front of more bytes is the same transaction.
fn check_prefix(input: &[u8], whole: Result<(), Reject>) {
    let Ok((view, rest)) = TxView::decode_prefix(input) else {
        assert!(whole.is_err(), "what is accepted whole is accepted at the front");
        return;
    };
    assert_eq!([view.bytes(), rest].concat(), input);
    assert_eq!(whole.is_ok(), rest.is_empty());
    TxView::decode(view.bytes()).expect("accepted at the front");
}
