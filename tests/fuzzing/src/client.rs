//! The client protocol, both directions, and the proofs in a note of finality.

use bytes::Bytes;
use crypto::merkle;
use types::client::{Answer, BlockItem, FinalNote, Request};

use crate::memory::in_proportion;

/// The first byte is the type of the frame, the rest its payload.
pub(crate) fn check(input: &[u8]) {
    let Some((kind, payload)) = input.split_first() else {
        return;
    };
    let payload = Bytes::copy_from_slice(payload);
    let decode = || Request::decode_payload(*kind, &payload);
    // A transaction of no bytes takes two: its length. A slice of the payload takes 32.
    if let Ok(request) = in_proportion(payload.len(), 32, decode) {
        assert_eq!(
            (request.kind(), &request.encode_payload()[..]),
            (*kind, &payload[..])
        );
        if let Request::Submit { first_tag, txs } = request {
            let last = first_tag.0.checked_add(txs.len() as u32);
            assert!(last.is_some(), "each transaction has a tag");
        }
    }
    let decode = || Answer::decode_payload(*kind, &payload);
    if let Ok(answer) = in_proportion(payload.len(), 32, decode) {
        assert_eq!(
            (answer.kind(), &answer.encode_payload()[..]),
            (*kind, &payload[..])
        );
        match answer {
            Answer::Final(note) => check_note(&note),
            Answer::Blocks { items, .. } => {
                let bodies = items.iter().map(|item| match item {
                    BlockItem::Block(_) => 0,
                    BlockItem::Body(block) => block.body.len(),
                });
                assert!(bodies.sum::<usize>() <= payload.len());
            }
            _ => {}
        }
    }
}

/// A path leads to one root at most: what it proves under the root that follows from it, it proves under no other.
fn check_note(note: &FinalNote) {
    for entry in &note.entries {
        let leaf = merkle::ref_leaf(&entry.reference);
        let proved = merkle::verify(&note.header.refs_root, &leaf, &entry.reference_path);
        let mut other = note.header.refs_root;
        other.0[0] ^= 1;
        assert!(!(proved && merkle::verify(&other, &leaf, &entry.reference_path)));
        let leaf = merkle::excluded_leaf(&entry.excluded);
        let _ = merkle::verify(&note.header.excluded_root, &leaf, &entry.excluded_path);
    }
}
