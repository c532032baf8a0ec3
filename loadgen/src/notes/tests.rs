//! A note with real signatures is accepted; every part that is changed is noticed.

use crypto::cosign::sign_subject;
use crypto::hash::{author_header_hash, final_header_hash};
use crypto::keys::SecretKey;
use crypto::merkle;
use crypto::placement::epoch_config;
use types::block::{AuthorHeader, BlockRef, BlockSeq, CommitProof, FinalHeader, SignedAuthorHeader};
use types::certificate::{Certificate, Phase, Signatures, Subject};
use types::client::{FinalNote, NoteEntry, TagAt};
use types::codec::Decode as _;
use types::genesis::{EpochConfig, FundingRule, Genesis};
use types::policy::Policy;
use types::{Amount, Hash, Height, MemberIndex, ShardId, Signature, Tag, View};

use super::{NoteChecker, NoteError};

struct World {
    epoch: EpochConfig,
    keys: Vec<SecretKey>,
}

fn world() -> World {
    let mut keys: Vec<SecretKey> = (1..=4).map(|seed| SecretKey::from_seed([seed; 32])).collect();
    keys.sort_by_key(SecretKey::public);
    let genesis = Genesis {
        name: "notes".into(),
        policy: Policy::lan(),
        shards: 1,
        randomness: Hash([3; 32]),
        validators: keys.iter().map(SecretKey::public).collect(),
        voting_keys: Vec::new(),
        bonds: vec![0; keys.len()],
        funding: FundingRule {
            seed: 1,
            accounts: 1,
            amount: Amount(1),
        },
        allocations: 1,
        allocations_hash: Hash([4; 32]),
    };
    World {
        epoch: epoch_config(&genesis),
        keys,
    }
}

impl World {
    /// A note with two references; the tag stands in the second one.
    fn note(&self, timestamp: u64) -> FinalNote {
        let authors: Vec<SignedAuthorHeader> = (0..2_u8)
            .map(|author| {
                let mut header = AuthorHeader::from_bytes(&[0; 119]).expect("header");
                header.group = 0x8000 + u16::from(author);
                header.tx_count = 9;
                SignedAuthorHeader {
                    header,
                    signature: Signature::default(),
                }
            })
            .collect();
        let refs: Vec<BlockRef> = authors
            .iter()
            .map(|author| BlockRef {
                group: author.header.group,
                seq: BlockSeq::default(),
                hash: author_header_hash(&author.header),
                tx_count: 9,
            })
            .collect();
        let excluded = vec![Vec::new(), vec![0b0000_0010, 0]];
        let leaves: Vec<Hash> = refs.iter().map(merkle::ref_leaf).collect();
        let excluded_leaves: Vec<Hash> = excluded.iter().map(|bits| merkle::excluded_leaf(bits)).collect();
        let committee = &self.epoch.committees[0];
        let mut header = FinalHeader::from_bytes(&[0; 364]).expect("header");
        header.height = Height(5);
        header.timestamp = timestamp;
        header.committee_hash = committee.hash;
        header.refs_root = merkle::refs_root(&refs);
        header.excluded_root = merkle::excluded_root(&excluded);
        let hash = final_header_hash(&header);
        let context = self.epoch.signing_context(committee);
        let subject = Subject {
            phase: Phase::Commit,
            height: Height(5),
            view: View(2),
            hash,
        };
        let signatures = (0..3_u16)
            .map(|member| {
                let key = committee.key(MemberIndex(member)).expect("member");
                let secret = self
                    .keys
                    .iter()
                    .find(|secret| secret.public() == *key)
                    .expect("key");
                (MemberIndex(member), sign_subject(secret, &context, &subject))
            })
            .collect();
        FinalNote {
            slow: Vec::new(),
            proof: CommitProof {
                height: Height(5),
                hash,
                descendants: Vec::new(),
                certificate: Certificate {
                    view: View(2),
                    committee: 4,
                    signatures: Signatures::List(signatures),
                },
            },
            header,
            entries: vec![NoteEntry {
                reference: refs[1].clone(),
                reference_path: merkle::path(&leaves, 1).expect("path"),
                excluded: excluded[1].clone(),
                excluded_path: merkle::path(&excluded_leaves, 1).expect("path"),
                author: authors[1].clone(),
                tags: vec![TagAt {
                    tag: Tag(0),
                    position: 3,
                }],
            }],
        }
    }
}

#[test]
fn a_certificate_is_checked_once_and_a_fork_is_named() {
    let world = world();
    let mut checker = NoteChecker::new(&world.epoch);
    for _ in 0..3 {
        let note = world.note(1);
        assert_eq!(
            checker.check(ShardId(0), &note),
            Ok(final_header_hash(&note.header))
        );
    }
    assert_eq!(checker.certificates(), 1);
    assert!(matches!(
        checker.check(ShardId(0), &world.note(2)),
        Err(NoteError::Fork { .. })
    ));
    assert!(matches!(
        checker.check(ShardId(1), &world.note(1)),
        Err(NoteError::Shard { .. })
    ));
}

#[test]
fn whatever_is_changed_is_noticed() {
    let world = world();
    type Change = fn(&mut FinalNote);
    let changes: [Change; 13] = [
        |note| note.header.tx_count += 1,
        |note| note.header.timestamp += 1,
        |note| note.proof.certificate.list_mut().expect("a list").truncate(2),
        |note| note.proof.certificate.list_mut().expect("a list")[1].1.0[5] ^= 1,
        |note| note.proof.certificate.view = View(3),
        |note| note.entries[0].reference.tx_count += 1,
        |note| note.entries[0].author.header.value += 1,
        |note| note.entries[0].reference_path.siblings[0].0[0] ^= 1,
        |note| note.entries[0].reference_path.index = 0,
        |note| note.entries[0].excluded_path.siblings[0].0[0] ^= 1,
        |note| note.entries[0].excluded = Vec::new(),
        |note| note.entries[0].tags[0].position = 9,
        |note| note.entries[0].tags[0].position = 1,
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut note = world.note(1);
        change(&mut note);
        let mut checker = NoteChecker::new(&world.epoch);
        assert!(checker.check(ShardId(0), &note).is_err(), "change {number}");
        let note = world.note(1);
        assert_eq!(
            checker.check(ShardId(0), &note),
            Ok(final_header_hash(&note.header)),
            "a refused note leaves nothing behind"
        );
    }
}
