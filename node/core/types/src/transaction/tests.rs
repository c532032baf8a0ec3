use super::{Input, Output, TxDraft, TxView};
use crate::ids::{Amount, OutPoint, Owner, TxId};
use crate::reject::Reject;

fn draft() -> TxDraft {
    TxDraft {
        expiry_epoch: 3,
        fee: Amount(7),
        nonce: 0x00ab_cdef,
        owners: vec![Owner([1; 32]), Owner([2; 32])],
        inputs: vec![
            Input {
                outpoint: OutPoint {
                    txid: TxId([5; 32]),
                    index: 0,
                },
                owner: 1,
            },
            Input {
                outpoint: OutPoint {
                    txid: TxId([5; 32]),
                    index: 1,
                },
                owner: 0,
            },
        ],
        outputs: vec![
            Output {
                owner: Owner([9; 32]),
                amount: Amount(1),
            },
            Output {
                owner: Owner([8; 32]),
                amount: Amount(2),
            },
        ],
        memo: b"note".to_vec(),
    }
}

fn encoded(draft: &TxDraft) -> Vec<u8> {
    let mut bytes = Vec::new();
    draft.encode_body(&mut bytes);
    for position in 0..draft.owners.len() {
        bytes.extend_from_slice(&[position as u8; 64]);
    }
    bytes
}

#[test]
fn every_field_is_read_back_and_the_size_is_that_of_the_rule() {
    let draft = draft();
    let bytes = encoded(&draft);
    assert_eq!(bytes.len(), 22 + 96 * 2 + 35 * 2 + 40 * 2 + 4);
    let view = TxView::decode(&bytes).expect("canonical");
    assert_eq!(view.owners().collect::<Vec<_>>(), draft.owners);
    assert_eq!(view.inputs().collect::<Vec<_>>(), draft.inputs);
    assert_eq!(view.outputs().collect::<Vec<_>>(), draft.outputs);
    assert_eq!(view.memo(), b"note");
    assert_eq!(view.fee(), Amount(7));
    assert_eq!(view.expiry_epoch(), 3);
    assert_eq!(view.body().len(), bytes.len() - 128);
    assert_eq!(
        view.signatures()
            .map(|signature| signature.0[0])
            .collect::<Vec<_>>(),
        [0, 1]
    );
}

#[test]
fn every_broken_rule_has_its_code() {
    type Break = fn(&mut TxDraft);
    let cases: [(Break, Reject); 9] = [
        (|draft| draft.owners.swap(0, 1), Reject::Unsorted),
        (|draft| draft.owners[1] = draft.owners[0], Reject::Unsorted),
        (|draft| draft.inputs.swap(0, 1), Reject::Unsorted),
        (
            |draft| draft.inputs[1].outpoint = draft.inputs[0].outpoint,
            Reject::Unsorted,
        ),
        (|draft| draft.inputs[1].owner = 1, Reject::OwnerUnused),
        (|draft| draft.inputs[1].owner = 2, Reject::Limits),
        (|draft| draft.outputs[0].amount = Amount(0), Reject::Limits),
        (
            |draft| draft.outputs[0].amount = Amount(u64::MAX),
            Reject::Overflow,
        ),
        (|draft| draft.outputs.clear(), Reject::Limits),
    ];
    for (position, (breaks, expected)) in cases.into_iter().enumerate() {
        let mut broken = draft();
        breaks(&mut broken);
        assert_eq!(
            TxView::decode(&encoded(&broken)).map(|_| ()),
            Err(expected),
            "case {position}"
        );
    }
    let mut bytes = encoded(&draft());
    bytes[0] = 2;
    assert_eq!(TxView::decode(&bytes).map(|_| ()), Err(Reject::Version));
    bytes[0] = 1;
    bytes[1] = 1;
    assert_eq!(TxView::decode(&bytes).map(|_| ()), Err(Reject::KindClosed));
    bytes[1] = 0;
    bytes.push(0);
    assert_eq!(TxView::decode(&bytes).map(|_| ()), Err(Reject::Encoding));
}

#[test]
fn every_truncation_is_refused() {
    let bytes = encoded(&draft());
    for len in 0..bytes.len() {
        assert!(TxView::decode(&bytes[..len]).is_err(), "length {len}");
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_decode_or_are_refused(mut bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..600), keep in 0usize..40) {
        let valid = encoded(&draft());
        for (target, source) in bytes.iter_mut().zip(&valid).take(keep) { *target = *source; }
        if let Ok((view, rest)) = TxView::decode_prefix(&bytes) {
            // One value, one encoding: writing the fields again gives the same bytes.
            let again = TxDraft {
                expiry_epoch: view.expiry_epoch(), fee: view.fee(),
                nonce: u32::from_le_bytes([bytes[17], bytes[18], bytes[19], 0]),
                owners: view.owners().collect(), inputs: view.inputs().collect(), outputs: view.outputs().collect(),
                memo: view.memo().to_vec(),
            };
            let mut body = Vec::new();
            again.encode_body(&mut body);
            proptest::prop_assert_eq!(&body[..], view.body());
            proptest::prop_assert_eq!(view.bytes().len() + rest.len(), bytes.len());
        }
    }

    #[test]
    fn one_changed_byte_is_refused_or_changes_a_field(position in 0usize..400, flip in 1u8..) {
        let valid = encoded(&draft());
        let position = position % valid.len();
        let mut bytes = valid.clone();
        bytes[position] ^= flip;
        if let Ok(view) = TxView::decode(&bytes) {
            proptest::prop_assert_ne!(view.bytes(), &valid[..]);
        }
    }
}
