use types::Hash;
use types::block::{BlockRef, BlockSeq};
use types::block_record::{Record, ResetRequest};
use types::client::MerklePath;
use types::{Signature, codec::Encode};

use super::{
    EMPTY, excluded_root, leaf, node, path, paths, record_leaf, records_root, ref_leaf, refs_root, root,
    verify,
};

fn leaves(count: u32) -> Vec<Hash> {
    (0..count).map(|index| leaf(&index.to_le_bytes())).collect()
}

/// The rule as it is written, by recursion over halves that are powers of two: promotion of the odd node is the
/// same as cutting at the largest power of two below the count.
fn top_by_halves(leaves: &[Hash]) -> Hash {
    match leaves {
        [only] => *only,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node(&top_by_halves(left), &top_by_halves(right))
        }
    }
}

fn derived(tag: &str, input: &[u8]) -> Hash {
    Hash(blake3::derive_key(&format!("shardbench v1 {tag}"), input))
}

#[test]
fn roots_follow_the_rule_for_every_count() {
    assert_eq!(EMPTY, derived("node", &[0; 40]));
    assert_eq!(root(&[]), EMPTY);
    assert_eq!(leaf(b"x"), derived("leaf", b"x"));
    for count in 1..=70 {
        let leaves = leaves(count);
        let mut sealed = u64::from(count).to_le_bytes().to_vec();
        sealed.extend(top_by_halves(&leaves).0);
        assert_eq!(root(&leaves), derived("node", &sealed), "{count} leaves");
    }
}

#[test]
fn every_path_verifies_and_every_change_of_it_is_refused() {
    for count in 0..=70 {
        let leaves = leaves(count);
        let root = root(&leaves);
        assert_eq!(path(&leaves, count as usize), None);
        for index in 0..count {
            let path = path(&leaves, index as usize).expect("a leaf");
            let leaf = &leaves[index as usize];
            assert_eq!((path.index, path.count), (index, count));
            assert!(verify(&root, leaf, &path), "{index} of {count}");
            refuses_changes(&root, leaf, &path);
        }
    }
}

fn refuses_changes(root: &Hash, leaf: &Hash, path: &MerklePath) {
    for position in 0..path.siblings.len() {
        let mut wrong = path.clone();
        wrong.siblings[position].0[position % 32] ^= 1;
        assert!(
            !verify(root, leaf, &wrong),
            "wrong sibling {position} of {path:?}"
        );
        let mut short = path.clone();
        short.siblings.remove(position);
        assert!(
            !verify(root, leaf, &short),
            "sibling {position} missing of {path:?}"
        );
    }
    let mut long = path.clone();
    long.siblings.push(*root);
    assert!(!verify(root, leaf, &long), "a sibling too many in {path:?}");
    for other in (0..path.count + 2).filter(|other| *other != path.index) {
        assert!(
            !verify(
                root,
                leaf,
                &MerklePath {
                    index: other,
                    ..path.clone()
                }
            ),
            "as {other} in {path:?}"
        );
    }
    for other in [0, path.count - 1, path.count + 1, path.count * 2, u32::MAX] {
        assert!(
            !verify(
                root,
                leaf,
                &MerklePath {
                    count: other,
                    ..path.clone()
                }
            ),
            "count {other} in {path:?}"
        );
    }
    assert!(!verify(root, &Hash([0; 32]), path));
    assert!(!verify(&Hash([0; 32]), leaf, path));
}

#[test]
fn nothing_is_in_the_empty_tree() {
    let path = MerklePath {
        index: 0,
        count: 0,
        siblings: Vec::new(),
    };
    assert!(!verify(&EMPTY, &Hash([0; 32]), &path));
}

#[test]
fn an_inner_node_is_no_leaf() {
    let leaves = leaves(4);
    let inner = [node(&leaves[0], &leaves[1]), node(&leaves[2], &leaves[3])];
    let path = path(&inner, 0).expect("a leaf");
    assert!(!verify(&root(&leaves), &inner[0], &path));
}

#[test]
fn several_paths_are_those_of_each() {
    let leaves = leaves(13);
    let expected: Vec<_> = [12, 0, 7]
        .iter()
        .filter_map(|index| path(&leaves, *index))
        .collect();
    assert_eq!(paths(&leaves, &[12, 0, 13, 7]), expected);
    assert_eq!(paths(&[], &[0]), []);
}

#[test]
fn lists_of_a_block_hash_their_encodings() {
    let reference = BlockRef {
        group: 0x8000,
        seq: BlockSeq(4),
        hash: Hash([2; 32]),
        tx_count: 3,
    };
    assert_eq!(ref_leaf(&reference), leaf(&reference.to_bytes()));
    assert_eq!(
        refs_root(&[reference.clone(), reference.clone()]),
        root(&[ref_leaf(&reference); 2])
    );
    let record = Record::Reset(ResetRequest {
        group: 1,
        run: 2,
        boot_nonce: 3,
        signature: Signature([4; 64]),
    });
    assert_eq!(
        records_root(std::slice::from_ref(&record)),
        root(&[record_leaf(&record)])
    );
    assert_eq!(record_leaf(&record), leaf(&record.to_bytes()));
    assert_eq!(
        excluded_root(&[vec![], vec![1, 2]]),
        root(&[leaf(&[]), leaf(&[1, 2])])
    );
    assert_eq!(
        (refs_root(&[]), excluded_root(&[]), records_root(&[])),
        (EMPTY, EMPTY, EMPTY)
    );
}
