use types::block::{AuthorHeader, FinalHeader};
use types::block_record::ResetRequest;
use types::codec::Decode;
use types::genesis::Allocation;
use types::message::{Committed, NewView, ViewChange};
use types::{Amount, Epoch, Hash, Height, MemberIndex, Owner, ShardId, Signature, TxId, ValidatorId, View};

use super::Xof;

fn change() -> ViewChange {
    ViewChange {
        new_view: View(3),
        committed: Committed {
            height: Height(0),
            hash: Hash([1; 32]),
            proof: None,
        },
        tip: None,
        member: MemberIndex(2),
        signature: Signature::default(),
    }
}

#[test]
fn hashes_are_pinned() {
    let txid = super::txid(b"body");
    let author = AuthorHeader::from_bytes(&[0x11; 119]).expect("119 bytes");
    let header = FinalHeader::from_bytes(&[0x22; 364]).expect("364 bytes");
    let members = [(ValidatorId(1), [1; 32]), (ValidatorId(5), [2; 32])];
    let mut partitions = [[0; 32]; 64];
    partitions[63] = [6; 32];
    let allocations = [Allocation {
        owner: Owner([3; 32]),
        amount: Amount(9),
    }; 2];
    let request = ResetRequest {
        group: 0x8001,
        run: 2,
        boot_nonce: 3,
        signature: Signature([9; 64]),
    };
    let opening = NewView {
        view: View(3),
        view_changes: vec![change()],
        signature: Signature([9; 64]),
    };
    let found = [
        ("txid", Hash(txid.0)),
        ("sighash", Hash(super::sighash(&Hash([8; 32]), &txid))),
        ("author header", super::author_header_hash(&author)),
        ("final header", super::final_header_hash(&header)),
        (
            "committee",
            super::committee_hash(Epoch(0), ShardId(1), &members, 1),
        ),
        (
            "effects",
            super::effects_digest(&Hash([4; 32]), Height(5), &partitions),
        ),
        ("allocations", super::allocations_hash(&allocations)),
        ("outpoint", Hash(super::allocation_outpoint("net", 7).txid.0)),
        ("view change", super::view_change_hash(&change())),
        ("new view", super::new_view_hash(&opening)),
        ("reset", super::reset_hash(&request)),
    ];
    let pinned = PINNED.map(|(name, hash)| (name.to_owned(), hash.to_owned()));
    assert_eq!(
        found.map(|(name, hash)| (name.to_owned(), hash.to_string())),
        pinned
    );
}

#[test]
fn inputs_are_laid_out_as_the_rules_say() {
    let derived = |tag: &str, input: &[u8]| Hash(blake3::derive_key(&format!("shardbench v1 {tag}"), input));
    let (genesis, txid) = (Hash([8; 32]), TxId([5; 32]));
    let joined = [genesis.0, txid.0].concat();
    assert_eq!(super::sighash(&genesis, &txid), derived("sighash", &joined).0);
    let mut members = vec![0, 0, 0, 0, 1, 0];
    members.extend([5, 0]);
    members.extend([2; 32]);
    members.push(0);
    let hash = super::committee_hash(Epoch(0), ShardId(1), &[(ValidatorId(5), [2; 32])], 1);
    assert_eq!(hash, derived("committee", &members));
    // The second is a candidate.
    members.extend([9, 0]);
    members.extend([4; 32]);
    members.push(1);
    let both = [(ValidatorId(5), [2; 32]), (ValidatorId(9), [4; 32])];
    assert_eq!(
        super::committee_hash(Epoch(0), ShardId(1), &both, 1),
        derived("committee", &members)
    );
    let outpoint = super::allocation_outpoint("net", 7);
    assert_eq!(outpoint.txid.0, derived("tx", b"genesisnet\x07\0\0\0\0\0\0\0").0);
    assert_eq!(outpoint.index, 0);
    let mut effects = [4; 32].to_vec();
    effects.extend(5_u64.to_le_bytes());
    effects.extend([6; 2048]);
    let found = super::effects_digest(&Hash([4; 32]), Height(5), &[[6; 32]; 64]);
    assert_eq!(found, derived("effects", &effects));
}

#[test]
fn allocations_hash_the_same_in_pieces() {
    let allocation = |index: u32| Allocation {
        owner: Owner([index as u8; 32]),
        amount: Amount(index.into()),
    };
    for count in [0, 1, 1599, 1600, 1601, 5000] {
        let allocations: Vec<_> = (0..count).map(allocation).collect();
        let mut bytes = Vec::new();
        types::codec::encode_items(&allocations, &mut bytes);
        assert_eq!(
            super::allocations_hash(&allocations).0,
            *blake3::hash(&bytes).as_bytes(),
            "{count}"
        );
    }
}

#[test]
fn the_signature_and_nothing_else_stays_out_of_a_signed_hash() {
    let signed = ViewChange {
        signature: Signature([1; 64]),
        ..change()
    };
    assert_eq!(
        super::view_change_hash(&signed),
        super::view_change_hash(&change())
    );
    let other = ViewChange {
        member: MemberIndex(3),
        ..change()
    };
    assert_ne!(
        super::view_change_hash(&other),
        super::view_change_hash(&change())
    );
    let opening = |inner: ViewChange, signature| NewView {
        view: View(3),
        view_changes: vec![inner],
        signature,
    };
    let first = super::new_view_hash(&opening(change(), Signature([1; 64])));
    assert_eq!(
        first,
        super::new_view_hash(&opening(change(), Signature([2; 64])))
    );
    // The signatures of the view changes inside are part of what the leader signs.
    assert_ne!(first, super::new_view_hash(&opening(signed, Signature([1; 64]))));
}

#[test]
fn draws_reject_the_top_and_are_uniform() {
    let mut xof = Xof::new(&Hash([1; 32]));
    let mut counts = [0_u32; 6];
    for _ in 0..60_000 {
        counts[xof.uniform(6) as usize] += 1;
    }
    // Five degrees of freedom: 20.5 is exceeded once in a thousand seeds; this seed is fixed.
    let chi_square: f64 = counts
        .iter()
        .map(|count| (f64::from(*count) - 10_000.0).powi(2) / 10_000.0)
        .sum();
    assert!(chi_square < 20.5, "{counts:?}: {chi_square}");

    // Just above half of the range, nearly every second number is refused; the accepted ones are taken as drawn.
    let bound = (1 << 63) + 1;
    let (mut drawn, mut raw) = (Xof::new(&Hash([2; 32])), Xof::new(&Hash([2; 32])));
    let mut refused = 0;
    for _ in 0..200 {
        let mut expected = raw.next_u64();
        while expected >= bound {
            refused += 1;
            expected = raw.next_u64();
        }
        assert_eq!(drawn.uniform(bound), expected);
    }
    assert!((100..400).contains(&refused), "{refused}");
}

#[test]
fn no_power_of_two_refuses_and_tiny_bounds_are_zero() {
    let (mut drawn, mut raw) = (Xof::new(&Hash([3; 32])), Xof::new(&Hash([3; 32])));
    for bits in 0..64 {
        let bound = 1 << bits;
        assert_eq!(drawn.uniform(bound), raw.next_u64() % bound);
    }
    assert_eq!((drawn.uniform(0), drawn.uniform(1)), (0, 0));
}

#[test]
fn permutation_is_pinned_and_complete() {
    assert_eq!(Xof::new(&Hash([4; 32])).permutation(12), PERMUTATION);
    for count in [0, 1, 2, 17, 1024] {
        let mut order = Xof::new(&Hash([5; 32])).permutation(count);
        order.sort_unstable();
        assert_eq!(order, (0..count).collect::<Vec<_>>());
    }
}

const PERMUTATION: [u16; 12] = [1, 9, 11, 0, 8, 3, 10, 2, 7, 4, 6, 5];

const PINNED: [(&str, &str); 11] = [
    (
        "txid",
        "9fd2f386cc812f0e4c5a6f8d5bfe16f827af57693f5f2fbb0cfc98e8f722b46d",
    ),
    (
        "sighash",
        "8812cd4c9f1d6a42940d26105ac6d14d65a79d8f26bac703eb1cf8d34d145064",
    ),
    (
        "author header",
        "dbba4a4d3b8ea6ee20b5bce215974746482d7bc508a4f2208204b74371abf78b",
    ),
    (
        "final header",
        "3e755c94cad55bf05ce9b187b6e097a5630e10d8621faea189480e782316f1d3",
    ),
    (
        "committee",
        "d1c245542f85f18137cf35650af67c4d4f9daf90edc667b7b1acd797d991c674",
    ),
    (
        "effects",
        "6be5580ad2c46ba9fc25868a08c78f0d764ba5f9bcc41ec6676b75a9074e4528",
    ),
    (
        "allocations",
        "690c54936e0bb5e626fdc41d3f3565d2442c1e01ef7c47b6d68a234482e094db",
    ),
    (
        "outpoint",
        "1a51e9a3539240376541cfc9cd3ff14888e25ad2bcb0d672e54fd67211147c7e",
    ),
    (
        "view change",
        "1b979f4ae85b7dcf4a5365ff4132fe7f2ff63446a7c429813c52e770d268fe7a",
    ),
    (
        "new view",
        "c84b26666dec93b6e95b55a8c0ef8ec289e3c0affc284f7ca7d7d385dccc536e",
    ),
    (
        "reset",
        "5f2917ba8bf89eb356f98374728043b03b2bebca4287365f3289f559517e9244",
    ),
];
