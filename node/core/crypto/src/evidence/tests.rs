use bytes::Bytes;
use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::{Scalar, clamp_integer};
use proptest::prelude::{any, prop_assert, prop_assert_ne};
use sha2::{Digest, Sha512};
use types::block::{AuthorHeader, BlockSeq, GROUP_ONE_LEAGUE, SignedAuthorHeader};
use types::certificate::{Partial, Phase, Signers, Subject};
use types::codec::{Decode, Encode};
use types::evidence::{Evidence, FaultKind, TwoPartials, TxEvidence, TxFault};
use types::genesis::{Committee, EpochConfig, FundingRule, Genesis, SigningContext};
use types::message::Vote;
use types::policy::Policy;
use types::transaction::{Input, Output, TxDraft};
use types::{
    Amount, Epoch, Hash, Height, MemberIndex, OutPoint, Owner, ShardId, Signature, TxId, ValidatorId, View,
};

use super::{
    Accused, EvidenceError, is_home, of_headers, of_partials, of_transaction, of_transactions, of_votes,
    verify,
};
use crate::bls::VotingSecret;
use crate::body::{self, BodyError};
use crate::cosign::{Verifier, sign_author_header, sign_partial, sign_subject, sum_partials, verify_partial};
use crate::keys::{Scheme, SecretKey};
use crate::{hash, placement};

const SCHEMES: [Scheme; 2] = [Scheme::Ed25519, Scheme::Simulated];
const FAULTS: [TxFault; 4] = [
    TxFault::Signature,
    TxFault::Encoding,
    TxFault::State,
    TxFault::Group,
];

/// Two shards of five voters and three candidates, two of them seated; the test holds all secrets of the first.
struct Shard {
    scheme: Scheme,
    keys: Vec<SecretKey>,
    epoch: EpochConfig,
    context: SigningContext,
}

impl Shard {
    fn new(scheme: Scheme) -> Self {
        let mut keys: Vec<_> = (1..=16)
            .map(|id| SecretKey::of_scheme(scheme, [id; 32]))
            .collect();
        keys.sort_unstable_by_key(SecretKey::public);
        let mut policy = Policy::lan().with_leagues();
        if let Some(leagues) = &mut policy.leagues {
            (leagues.seats, leagues.candidates) = (2, 3);
        }
        let genesis = Genesis {
            name: "evidence".into(),
            voting_keys: Vec::new(),
            bonds: vec![policy.leagues.as_ref().map_or(0, |leagues| leagues.bond_cap); keys.len()],
            policy,
            shards: 2,
            randomness: Hash([6; 32]),
            validators: keys.iter().map(SecretKey::public).collect(),
            funding: FundingRule {
                seed: 1,
                accounts: 1,
                amount: Amount(1),
            },
            allocations: 1,
            allocations_hash: Hash([0; 32]),
        };
        genesis.validate().expect("a network");
        let epoch = placement::epoch_config(&genesis);
        let committee = &epoch.committees[0];
        assert_eq!((committee.voters, committee.candidates.len()), (5, 3));
        let context = epoch.signing_context(committee);
        let members = committee.members.iter();
        let keys = members.map(|(id, _)| keys[usize::from(id.0)].clone()).collect();
        Self {
            scheme,
            keys,
            epoch,
            context,
        }
    }

    fn committee(&self) -> &Committee {
        &self.epoch.committees[0]
    }

    fn judge(&self, evidence: &Evidence) -> Result<Accused, EvidenceError> {
        verify(
            self.scheme,
            &self.context,
            self.committee(),
            &self.epoch,
            evidence,
        )
    }

    /// Who holds a group's seat.
    fn seated(&self, group: u16) -> MemberIndex {
        self.committee().candidates[usize::from(group)]
    }

    /// A key whose outputs live in this shard and group, the `number`th of them.
    fn owner(&self, group: u16, number: usize) -> SecretKey {
        let keys =
            (0_u64..).map(|index| SecretKey::of_scheme(self.scheme, crate::keys::account_seed(9, index)));
        let at_home = |key: &SecretKey| is_home(self.committee(), &self.epoch, group, &Owner(key.public()));
        keys.filter(at_home)
            .nth(number)
            .expect("every second of every second")
    }

    /// A payment of one owner.
    fn payment(&self, owner: &SecretKey, number: u8) -> (TxId, Bytes) {
        self.signed(owner, number, |key, message| key.sign(message))
    }

    fn signed(
        &self,
        owner: &SecretKey,
        number: u8,
        sign: impl Fn(&SecretKey, &[u8]) -> Signature,
    ) -> (TxId, Bytes) {
        let draft = TxDraft {
            owners: vec![Owner(owner.public())],
            inputs: vec![Input {
                outpoint: OutPoint {
                    txid: TxId([number; 32]),
                    index: 0,
                },
                owner: 0,
            }],
            outputs: vec![Output {
                owner: Owner([1; 32]),
                amount: Amount(5),
            }],
            memo: vec![number; 3],
            ..TxDraft::default()
        };
        let mut bytes = Vec::new();
        draft.encode_body(&mut bytes);
        let txid = hash::txid(&bytes);
        let message = hash::sighash(&self.epoch.genesis_hash, &txid);
        bytes.extend_from_slice(&sign(owner, &message).0);
        (txid, bytes.into())
    }

    fn header(&self, author: MemberIndex, group: u16) -> AuthorHeader {
        AuthorHeader {
            version: 1,
            shard: ShardId(0),
            epoch: Epoch(0),
            term: 0,
            group,
            seq: BlockSeq(3),
            prev: Hash([5; 32]),
            tx_root: Hash([4; 32]),
            tx_count: 0,
            body_bytes: 4,
            base_height: Height(7),
            value: 0,
            author: self.committee().members[usize::from(author.0)].0,
            timestamp: 8,
        }
    }

    fn sign(&self, author: MemberIndex, header: AuthorHeader) -> SignedAuthorHeader {
        SignedAuthorHeader {
            signature: sign_author_header(&self.keys[usize::from(author.0)], &self.context, &header),
            header,
        }
    }

    /// The block of a group's author.
    fn block(&self, group: u16, txs: &[(TxId, Bytes)]) -> (SignedAuthorHeader, Bytes) {
        let author = self.seated(group);
        let (body, tx_root) = body::build(txs);
        let header = AuthorHeader {
            tx_root,
            tx_count: body.len() as u32,
            body_bytes: body.bytes().len() as u32,
            ..self.header(author, group)
        };
        (self.sign(author, header), body.bytes().clone())
    }

    fn honest(&self) -> (SignedAuthorHeader, Bytes) {
        let txs: Vec<_> = (0..5)
            .map(|number| self.payment(&self.owner(1, usize::from(number) % 2), number))
            .collect();
        self.block(1, &txs)
    }

    fn vote(&self, member: u16, phase: Phase, hash: u8) -> Vote {
        let subject = Subject {
            phase,
            height: Height(5),
            view: View(2),
            hash: Hash([hash; 32]),
        };
        Vote {
            subject,
            member: MemberIndex(member),
            signature: sign_subject(&self.keys[usize::from(member)], &self.context, &subject),
        }
    }
}

fn evidence(block: &(SignedAuthorHeader, Bytes), position: u32, fault: TxFault) -> Evidence {
    let evidence = of_transaction(&block.0, &block.1, position, fault).expect("a transaction of the block");
    Evidence::Transaction(Box::new(evidence))
}

/// As the library would sign, with a component of small order in `R`: valid by the rule of `ios` 1.5.
fn sign_with_torsion(seed: [u8; 32], message: &[u8]) -> Signature {
    let expanded: [u8; 64] = Sha512::digest(seed).into();
    let (mut secret, mut nonce) = ([0; 32], [0; 32]);
    secret.copy_from_slice(&expanded[..32]);
    nonce.copy_from_slice(&expanded[32..]);
    let secret = Scalar::from_bytes_mod_order(clamp_integer(secret));
    let nonce = Scalar::from_bytes_mod_order(nonce);
    let point = (EdwardsPoint::mul_base(&nonce) + EIGHT_TORSION[1]).compress();
    let challenge = Sha512::new()
        .chain_update(point.as_bytes())
        .chain_update(EdwardsPoint::mul_base(&secret).compress().as_bytes())
        .chain_update(message)
        .finalize();
    let challenge = Scalar::from_bytes_mod_order_wide(&challenge.into());
    let mut signature = Signature([0; 64]);
    signature.0[..32].copy_from_slice(point.as_bytes());
    signature.0[32..].copy_from_slice((nonce + challenge * secret).as_bytes());
    signature
}

#[test]
fn every_fault_of_a_transaction_accuses_its_author_and_no_other_fault_is_seen_in_it() {
    for scheme in SCHEMES {
        let shard = Shard::new(scheme);
        let mine = shard.owner(1, 0);
        let forged = shard.signed(&mine, 2, |_, message| {
            SecretKey::of_scheme(scheme, [77; 32]).sign(message)
        });
        let foreign = shard.payment(&shard.owner(0, 0), 3);
        let block = shard.block(1, &[shard.payment(&mine, 1), forged, foreign]);
        body::decode(&block.0.header, block.1.clone()).expect("nothing is wrong with its form");
        let accused = Ok(Accused {
            member: shard.seated(1),
        });
        for (position, expected) in [
            (0, None),
            (1, Some(TxFault::Signature)),
            (2, Some(TxFault::Group)),
        ] {
            for fault in FAULTS {
                let found = shard.judge(&evidence(&block, position, fault));
                // What hangs on the state is for the voters' replay.
                if fault == TxFault::State || Some(fault) == expected {
                    assert_eq!(found, accused, "{position} {fault:?}");
                } else {
                    assert_eq!(found, Err(EvidenceError::Innocent), "{position} {fault:?}");
                }
            }
        }
        assert_eq!(of_transaction(&block.0, &block.1, 3, TxFault::State), None);
    }
}

/// The block with one bit of a transaction changed before it was hashed and signed.
fn broken(shard: &Shard, bit: usize) -> (SignedAuthorHeader, Bytes) {
    let (_, good) = shard.payment(&shard.owner(0, 0), 1);
    let (_, mut bad) = shard.payment(&shard.owner(0, 0), 2);
    let mut bytes = bad.to_vec();
    bytes[bit / 8] ^= 1 << (bit % 8);
    bad = bytes.into();
    let body: Bytes = [&2_u32.to_le_bytes()[..], &good, &bad].concat().into();
    let (_, leaves) = super::cut(&body);
    let author = shard.seated(0);
    let header = AuthorHeader {
        tx_root: crate::merkle::root(&leaves),
        tx_count: 2,
        body_bytes: body.len() as u32,
        ..shard.header(author, 0)
    };
    (shard.sign(author, header), body)
}

#[test]
fn a_transaction_that_breaks_a_rule_accuses_the_author_whose_own_body_it_is_in() {
    let shard = Shard::new(Scheme::Simulated);
    // The kind; and the owner that the input refers to.
    for bit in [8, 8 * (20 + 32 + 34)] {
        let block = broken(&shard, bit);
        let decoded = body::decode(&block.0.header, block.1.clone());
        let shown = evidence(&block, 1, TxFault::Encoding);
        assert!(
            matches!(decoded, Err(BodyError::Rule { position: 1, .. })),
            "{decoded:?}"
        );
        let accused = Accused {
            member: shard.seated(0),
        };
        assert_eq!(shard.judge(&shown), Ok(accused), "bit {bit}");
        for fault in [TxFault::Signature, TxFault::State, TxFault::Group] {
            let found = shard.judge(&evidence(&block, 1, fault));
            assert_eq!(found, Err(EvidenceError::NoTransaction), "{fault:?}");
        }
        // The good one beside it is none.
        let beside = shard.judge(&evidence(&block, 0, TxFault::Encoding));
        assert_eq!(beside, Err(EvidenceError::Innocent));
        // The same bytes under a root that the author did not sign say nothing of it.
        let header = shard.header(shard.seated(0), 0);
        let other = AuthorHeader {
            tx_count: 2,
            body_bytes: block.1.len() as u32,
            ..header
        };
        assert!(matches!(
            body::decode(&other, block.1.clone()),
            Err(BodyError::Root { .. })
        ));
    }
}

#[test]
fn signatures_that_begin_elsewhere_than_the_leaf_says_are_the_authors_fault_alone() {
    let shard = Shard::new(Scheme::Simulated);
    let (header, bytes) = shard.honest();
    let Some(mut moved) = of_transaction(&header, &bytes, 0, TxFault::Encoding) else {
        panic!("a transaction")
    };
    // Of an honest block: the leaf is another one.
    let byte = moved.signatures.remove(0);
    moved.body.push(byte);
    let found = shard.judge(&Evidence::Transaction(Box::new(moved.clone())));
    assert_eq!(found, Err(EvidenceError::Path(0)));
    // An author that hashed it so.
    let author = shard.seated(1);
    let leaf = super::leaf(&hash::txid(&moved.body), &moved.signatures);
    let root = crate::merkle::root(&[leaf]);
    moved.header = shard.sign(
        author,
        AuthorHeader {
            tx_root: root,
            tx_count: 1,
            ..shard.header(author, 1)
        },
    );
    moved.path = crate::merkle::path(&[leaf], 0).expect("a leaf");
    let found = shard.judge(&Evidence::Transaction(Box::new(moved)));
    assert_eq!(found, Ok(Accused { member: author }));
}

#[test]
fn a_signature_with_a_part_of_small_order_is_no_fault() {
    let shard = Shard::new(Scheme::Ed25519);
    let (key, seed) = (0..)
        .map(|index| crate::keys::account_seed(9, index))
        .map(|seed| (SecretKey::from_seed(seed), seed))
        .find(|(key, _)| is_home(shard.committee(), &shard.epoch, 0, &Owner(key.public())))
        .expect("one of four");
    let usual = shard.payment(&key, 1);
    let torsioned = shard.signed(&key, 1, |_, message| sign_with_torsion(seed, message));
    assert_eq!(usual.0, torsioned.0);
    assert_ne!(usual.1, torsioned.1);
    let block = shard.block(0, &[torsioned]);
    for fault in [TxFault::Signature, TxFault::Encoding, TxFault::Group] {
        let found = shard.judge(&evidence(&block, 0, fault));
        assert_eq!(found, Err(EvidenceError::Innocent), "{fault:?}");
    }
}

#[test]
fn only_candidates_of_this_shard_and_their_groups_are_judged() {
    let shard = Shard::new(Scheme::Simulated);
    let voter = MemberIndex(0);
    let third = shard.seated(2);
    let refused = |author: MemberIndex, header: AuthorHeader| {
        let leaf = crate::merkle::leaf(b"x");
        let shown = TxEvidence {
            fault: TxFault::State,
            header: shard.sign(author, header),
            body: Vec::new(),
            signatures: Vec::new(),
            path: crate::merkle::path(&[leaf], 0).expect("a leaf"),
        };
        shard
            .judge(&Evidence::Transaction(Box::new(shown)))
            .expect_err("not judged")
    };
    let header = |member| shard.header(member, 0);
    let group = |group| AuthorHeader {
        group,
        ..header(third)
    };
    assert_eq!(
        refused(voter, header(voter)),
        EvidenceError::Author(header(voter).author)
    );
    let seats = 2;
    for number in [2, GROUP_ONE_LEAGUE, GROUP_ONE_LEAGUE + third.0] {
        let error = EvidenceError::Group { group: number, seats };
        assert_eq!(refused(third, group(number)), error);
    }
    let shard_of = AuthorHeader {
        shard: ShardId(1),
        ..header(third)
    };
    assert!(matches!(refused(third, shard_of), EvidenceError::Place { .. }));
    let term = AuthorHeader {
        term: 1,
        ..header(third)
    };
    assert!(matches!(refused(third, term), EvidenceError::Place { .. }));
    let stranger = AuthorHeader {
        author: ValidatorId(999),
        ..header(third)
    };
    assert_eq!(refused(third, stranger), EvidenceError::Author(ValidatorId(999)));
    // Signed by somebody else; and a stand-in, whose header is judged up to the path.
    assert_eq!(
        refused(shard.seated(0), header(third)),
        EvidenceError::HeaderSignature
    );
    assert_eq!(refused(third, header(third)), EvidenceError::Path(0));
}

#[test]
fn headers_signed_for_another_network_epoch_or_shard_accuse_nobody() {
    type Change = fn(&mut SigningContext);
    let changes: [Change; 4] = [
        |context| context.genesis_hash.0[0] ^= 1,
        |context| context.epoch.0 += 1,
        |context| context.shard.0 += 1,
        |context| context.committee_hash.0[0] ^= 1,
    ];
    for scheme in SCHEMES {
        let shard = Shard::new(scheme);
        let (author, key) = (shard.seated(1), &shard.keys[usize::from(shard.seated(1).0)]);
        let good = shard.block(
            1,
            &[shard.signed(&shard.owner(1, 0), 1, |_, _| Signature([9; 64]))],
        );
        let other = shard.sign(author, shard.header(author, 1));
        let of_tx = of_transaction(&good.0, &good.1, 0, TxFault::Signature).expect("a transaction");
        let of_two = of_headers(&good.0, &other).expect("a contradiction");
        for evidence in [
            Evidence::Transaction(Box::new(of_tx.clone())),
            Evidence::Headers(Box::new(of_two.clone())),
        ] {
            assert_eq!(shard.judge(&evidence), Ok(Accused { member: author }));
        }
        for change in changes {
            let mut context = shard.context;
            change(&mut context);
            let (mut of_tx, mut of_two) = (of_tx.clone(), of_two.clone());
            for header in [&mut of_tx.header, &mut of_two.first] {
                header.signature = sign_author_header(key, &context, &header.header);
            }
            for evidence in [
                Evidence::Transaction(Box::new(of_tx)),
                Evidence::Headers(Box::new(of_two)),
            ] {
                assert_eq!(shard.judge(&evidence), Err(EvidenceError::HeaderSignature));
            }
        }
    }
}

#[test]
fn two_headers_of_one_position_accuse_and_nothing_less_does() {
    for scheme in SCHEMES {
        let shard = Shard::new(scheme);
        let (author, other) = (shard.seated(0), shard.seated(1));
        let header = shard.header(author, 0);
        let at = |prev: u8| AuthorHeader {
            prev: Hash([prev; 32]),
            ..header.clone()
        };
        let (one, two) = (shard.sign(author, at(1)), shard.sign(author, at(2)));
        let found = of_headers(&one, &two).expect("a contradiction");
        assert_eq!(of_headers(&two, &one), Some(found.clone()), "one order");
        let judged = shard.judge(&Evidence::Headers(Box::new(found.clone())));
        assert_eq!(judged, Ok(Accused { member: author }));
        let mut swapped = found.clone();
        std::mem::swap(&mut swapped.first, &mut swapped.second);
        let judged = shard.judge(&Evidence::Headers(Box::new(swapped)));
        assert_eq!(judged, Err(EvidenceError::Order));
        // The same header again, under whatever signature.
        assert_eq!(of_headers(&one, &one), None);
        let mut resigned = one.clone();
        resigned.signature.0[0] ^= 1;
        assert_eq!(of_headers(&one, &resigned), None);
        for elsewhere in [
            AuthorHeader {
                seq: BlockSeq(4),
                ..at(2)
            },
            AuthorHeader { group: 1, ..at(2) },
            AuthorHeader {
                shard: ShardId(1),
                ..at(2)
            },
        ] {
            assert_eq!(of_headers(&one, &shard.sign(author, elsewhere)), None);
        }
        let of_other = shard.sign(other, shard.header(other, 0));
        assert_eq!(of_headers(&one, &of_other), None);
        // Half of it is somebody else's.
        for half in [0, 1] {
            let mut planted = found.clone();
            let place = [&mut planted.first, &mut planted.second][half].header.clone();
            let planted_half = shard.sign(other, place);
            *[&mut planted.first, &mut planted.second][half] = planted_half;
            let judged = shard.judge(&Evidence::Headers(Box::new(planted)));
            assert_eq!(judged, Err(EvidenceError::HeaderSignature));
        }
    }
}

#[test]
fn two_votes_of_one_subject_accuse_and_nothing_less_does() {
    for scheme in SCHEMES {
        let shard = Shard::new(scheme);
        for phase in [Phase::Prepare, Phase::Commit, Phase::Propose] {
            let (low, high) = (shard.vote(2, phase, 1), shard.vote(2, phase, 2));
            let found = of_votes(&high, &low).expect("a contradiction");
            assert_eq!((&found.first, &found.second), (&low, &high));
            let judged = shard.judge(&Evidence::Votes(Box::new(found.clone())));
            assert_eq!(
                judged,
                Ok(Accused {
                    member: MemberIndex(2)
                })
            );
            let mut forged = found.clone();
            forged.second.signature = forged.first.signature;
            let judged = shard.judge(&Evidence::Votes(Box::new(forged)));
            assert_eq!(judged, Err(EvidenceError::VoteSignature));
            let mut equal = found.clone();
            equal.second = equal.first.clone();
            let judged = shard.judge(&Evidence::Votes(Box::new(equal)));
            assert_eq!(judged, Err(EvidenceError::Order));
        }
        // A voter that changes its mind in another phase, height or view, or two voters, contradict nobody.
        let vote = shard.vote(2, Phase::Prepare, 1);
        assert_eq!(of_votes(&vote, &shard.vote(2, Phase::Commit, 2)), None);
        assert_eq!(of_votes(&vote, &shard.vote(3, Phase::Prepare, 2)), None);
        for change in [
            |subject: &mut Subject| subject.height.0 += 1,
            |subject: &mut Subject| {
                subject.view.0 += 1;
            },
        ] {
            let mut other = shard.vote(2, Phase::Prepare, 2);
            change(&mut other.subject);
            assert_eq!(of_votes(&vote, &other), None);
        }
        // Promises differ from view to view, and candidates have no vote.
        let promise = |hash| shard.vote(2, Phase::ViewChange, hash);
        assert_eq!(of_votes(&promise(1), &promise(2)), None);
        let candidate = shard.seated(0).0;
        let cast = |hash| shard.vote(candidate, Phase::Commit, hash);
        let found = of_votes(&cast(1), &cast(2)).expect("a contradiction");
        let judged = shard.judge(&Evidence::Votes(Box::new(found)));
        assert_eq!(judged, Err(EvidenceError::Voter(MemberIndex(candidate))));
    }
}

/// A committee of as many voters, with their secrets; candidates have voting keys, too, and no vote.
fn aggregated(shard: &Shard, voters: u16) -> (Committee, Vec<VotingSecret>) {
    let secret = |seed: u16| SecretKey::of_scheme(shard.scheme, [seed as u8; 32]).voting();
    let secrets: Vec<_> = (1..=voters + 1).map(secret).collect();
    let members = (0..=voters).map(|id| (ValidatorId(id), [id as u8; 32]));
    let committee = Committee {
        voters,
        members: members.collect(),
        voting_keys: secrets.iter().map(VotingSecret::public).collect(),
        candidates: vec![MemberIndex(voters)],
        ..shard.committee().clone()
    };
    (committee, secrets)
}

#[test]
fn two_votes_of_a_committee_with_aggregates_accuse_and_nothing_less_does() {
    for scheme in SCHEMES {
        let shard = Shard::new(scheme);
        let (committee, secrets) = aggregated(&shard, 17);
        let in_context = |context: &SigningContext, member: u16, phase, hash: u8| {
            let subject = Subject {
                phase,
                height: Height(5),
                view: View(2),
                hash: Hash([hash; 32]),
            };
            let secret = &secrets[usize::from(member)];
            sign_partial(secret, context, &committee, MemberIndex(member), subject)
        };
        let vote = |member, phase, hash| in_context(&shard.context, member, phase, hash);
        let judge_by = |committee: &Committee, evidence: &TwoPartials| {
            let evidence = Evidence::Partials(Box::new(evidence.clone()));
            verify(scheme, &shard.context, committee, &shard.epoch, &evidence)
        };
        let judge = |evidence: &TwoPartials| judge_by(&committee, evidence);
        let member = MemberIndex(16);
        for phase in [Phase::Prepare, Phase::Commit] {
            let (low, high) = (vote(16, phase, 1), vote(16, phase, 2));
            let found = of_partials(&high, &low).expect("a contradiction");
            assert_eq!((&found.first, &found.second), (&low, &high));
            assert_eq!(judge(&found), Ok(Accused { member }));
            let evidence = Evidence::Partials(Box::new(found.clone()));
            assert_eq!((evidence.voter(), evidence.author()), (Some(member), None));
            assert_eq!(evidence.kind(), FaultKind::Votes);
            assert_eq!(Evidence::from_bytes(&evidence.to_bytes()).as_ref(), Ok(&evidence));
            // Either signature forged, of another voter, or for another network.
            let mut context = shard.context;
            context.genesis_hash.0[0] ^= 1;
            for (which, forged) in [
                (0, low.signature),
                (1, low.signature),
                (0, vote(15, phase, 1).signature),
                (1, vote(15, phase, 2).signature),
                (0, in_context(&context, 16, phase, 1).signature),
                (1, in_context(&context, 16, phase, 2).signature),
            ] {
                let mut wrong = found.clone();
                let half = [&mut wrong.first, &mut wrong.second].into_iter().nth(which);
                half.expect("two").signature = forged;
                let is_right = wrong == found;
                assert_eq!(judge(&wrong).is_ok(), is_right);
                assert!(is_right || judge(&wrong) == Err(EvidenceError::VoteSignature));
            }
            let mut swapped = found.clone();
            std::mem::swap(&mut swapped.first, &mut swapped.second);
            assert_eq!(judge(&swapped), Err(EvidenceError::Order));
            let mut equal = found.clone();
            equal.second = equal.first.clone();
            assert_eq!(judge(&equal), Err(EvidenceError::Order));
            // A committee of another size, and one with lists.
            let other_size = Committee {
                voters: 18,
                ..committee.clone()
            };
            let alone = |voters| Err(EvidenceError::Alone { voters });
            assert_eq!(judge_by(&other_size, &found), alone(18));
            let mut stated = found.clone();
            stated.second.committee = 18;
            assert_eq!(judge(&stated), alone(17));
            let mut small = found.clone();
            for half in [&mut small.first, &mut small.second] {
                (half.committee, half.signers) = (5, Signers::of(MemberIndex(2)));
            }
            assert_eq!(judge_by(shard.committee(), &small), alone(5));
        }
        what_excludes_nothing(&vote, &judge, &committee, &secrets, &shard);
    }
}

/// Votes that do not contradict each other, sums, and voters that are none.
fn what_excludes_nothing(
    vote: &dyn Fn(u16, Phase, u8) -> Partial,
    judge: &dyn Fn(&TwoPartials) -> Result<Accused, EvidenceError>,
    committee: &Committee,
    secrets: &[VotingSecret],
    shard: &Shard,
) {
    let pair = |first: &Partial, second: &Partial| TwoPartials {
        first: first.clone(),
        second: second.clone(),
    };
    let prepare = vote(2, Phase::Prepare, 1);
    let mut higher = vote(2, Phase::Prepare, 2);
    higher.subject.height.0 += 1;
    let mut later = vote(2, Phase::Prepare, 2);
    later.subject.view.0 += 1;
    let others = [
        vote(2, Phase::Commit, 2),
        vote(3, Phase::Prepare, 2),
        higher,
        later,
    ];
    for other in &others {
        assert_eq!(of_partials(&prepare, other), None);
        assert_eq!(judge(&pair(&prepare, other)), Err(EvidenceError::OneSubject));
    }
    for phase in [Phase::Propose, Phase::ViewChange, Phase::NewView] {
        let (one, other) = (vote(2, phase, 1), vote(2, phase, 2));
        assert_eq!(of_partials(&one, &other), None);
        assert_eq!(judge(&pair(&one, &other)), Err(EvidenceError::OneSubject));
    }
    // A sum is right, and accuses nobody alone; nor does an empty one.
    let verifier = Verifier::new(shard.scheme, committee.clone());
    let sum = |hash| {
        let parts = [vote(2, Phase::Commit, hash), vote(3, Phase::Commit, hash)];
        let sum = sum_partials(&verifier, &[&parts[0], &parts[1]]).expect("two");
        assert!(verify_partial(&shard.context, &verifier, &sum));
        sum
    };
    let mut empty = [sum(1), sum(2)];
    empty.iter_mut().for_each(|sum| sum.signers = Signers::default());
    for [one, other] in [[sum(1), sum(2)], empty] {
        assert_eq!(of_partials(&one, &other), None);
        let judged = judge(&pair(&one, &other));
        assert_eq!(judged, Err(EvidenceError::Alone { voters: 17 }));
        let evidence = Evidence::Partials(Box::new(pair(&one, &other)));
        assert_eq!(evidence.voter(), None);
    }
    // The candidate behind the voters has a key that signs well.
    let candidate = committee.candidates[0];
    assert_eq!(usize::from(candidate.0) + 1, secrets.len());
    let (one, other) = (
        vote(candidate.0, Phase::Commit, 1),
        vote(candidate.0, Phase::Commit, 2),
    );
    let found = of_partials(&one, &other).expect("a contradiction");
    assert_eq!(judge(&found), Err(EvidenceError::Voter(candidate)));
}

#[test]
fn an_honest_block_gives_no_evidence_whatever_is_claimed() {
    let shard = Shard::new(Scheme::Ed25519);
    let (header, bytes) = shard.honest();
    for fault in [TxFault::Signature, TxFault::Encoding, TxFault::Group] {
        let all = of_transactions(&header, &bytes, &[0, 1, 2, 3, 4], fault);
        assert_eq!(all.len(), 5);
        for shown in all {
            let judged = shard.judge(&Evidence::Transaction(Box::new(shown)));
            assert_eq!(judged, Err(EvidenceError::Innocent));
        }
    }
}

proptest::proptest! {
    #[test]
    fn honest_evidence_with_any_bits_changed_is_refused(
        position in 0_u32..5,
        fault in 0_usize..4,
        flips in proptest::collection::vec((any::<proptest::sample::Index>(), 0_u8..8), 1..4),
    ) {
        let shard = Shard::new(Scheme::Simulated);
        let (header, bytes) = shard.honest();
        let honest = evidence(&(header, bytes), position, FAULTS[fault]).to_bytes();
        let mut changed = honest.clone();
        for (place, bit) in flips {
            changed[place.index(honest.len())] ^= 1 << bit;
        }
        proptest::prop_assume!(changed != honest);
        if let Ok(decoded) = Evidence::from_bytes(&changed) {
            prop_assert_ne!(&decoded.to_bytes(), &honest);
            // F3 claims only that the author has put it there, which the voters' replay judges.
            let only_f3 = matches!(&decoded, Evidence::Transaction(shown) if shown.fault == TxFault::State)
                && changed.iter().zip(&honest).filter(|(one, other)| one != other).count() == 1
                && changed[1] != honest[1];
            prop_assert!(only_f3 || shard.judge(&decoded).is_err());
        }
    }
}
