use types::block::{AuthorHeader, Block, SignedAuthorHeader};
use types::block_record::ResetRequest;
use types::certificate::{Phase, Subject};
use types::codec::{Decode, Encode};
use types::genesis::SigningContext;
use types::message::{Committed, NewView, Propose, ViewChange, Vote};
use types::{Hash, Height, MemberIndex, Signature, View};

use super::{SCHEMES, Voters, header, other_contexts};
use crate::cosign;

fn view_change(voters: &Voters) -> ViewChange {
    let change = ViewChange {
        new_view: View(4),
        committed: Committed {
            height: Height(3),
            hash: Hash([1; 32]),
            proof: None,
        },
        tip: None,
        member: MemberIndex(1),
        signature: Signature::default(),
    };
    let signature = cosign::sign_view_change(&voters.keys[1], &voters.context, &change);
    ViewChange { signature, ..change }
}

/// Checks a signed message against right and wrong keys and contexts.
fn is_bound(voters: &Voters, signer: usize, verify: impl Fn(&SigningContext, &[u8; 32]) -> bool) {
    for (id, key) in voters.keys.iter().enumerate() {
        assert_eq!(verify(&voters.context, &key.public()), id == signer);
    }
    for context in other_contexts(voters.context) {
        assert!(!verify(&context, &voters.keys[signer].public()), "{context:?}");
    }
}

#[test]
fn view_changes_and_openings_are_bound_to_every_field() {
    for scheme in SCHEMES {
        let voters = Voters::new(scheme, 4);
        let change = view_change(&voters);
        is_bound(&voters, 1, |context, key| {
            cosign::verify_view_change(scheme, context, key, &change)
        });
        let committed = |height, hash| Committed {
            height: Height(height),
            hash: Hash(hash),
            proof: None,
        };
        for wrong in [
            ViewChange {
                new_view: View(5),
                ..change.clone()
            },
            ViewChange {
                committed: committed(4, [1; 32]),
                ..change.clone()
            },
            ViewChange {
                committed: committed(3, [2; 32]),
                ..change.clone()
            },
            ViewChange {
                member: MemberIndex(2),
                ..change.clone()
            },
        ] {
            assert!(
                !cosign::verify_view_change(scheme, &voters.context, &voters.keys[1].public(), &wrong),
                "{wrong:?}"
            );
        }

        let opening = NewView {
            view: View(4),
            view_changes: vec![change.clone()],
            signature: Signature::default(),
        };
        let signature = cosign::sign_new_view(&voters.keys[0], &voters.context, &opening);
        let opening = NewView { signature, ..opening };
        is_bound(&voters, 0, |context, key| {
            cosign::verify_new_view(scheme, context, key, &opening)
        });
        for wrong in [
            NewView {
                view: View(5),
                ..opening.clone()
            },
            NewView {
                view_changes: Vec::new(),
                ..opening.clone()
            },
            NewView {
                view_changes: vec![ViewChange {
                    new_view: View(9),
                    ..change
                }],
                ..opening.clone()
            },
        ] {
            assert!(
                !cosign::verify_new_view(scheme, &voters.context, &voters.keys[0].public(), &wrong),
                "{wrong:?}"
            );
        }
    }
}

#[test]
fn proposals_are_bound_to_view_and_header() {
    for scheme in SCHEMES {
        let voters = Voters::new(scheme, 4);
        let block = Block {
            header: header(5, Hash([1; 32])),
            refs: Vec::new(),
            excluded: Vec::new(),
            records: Vec::new(),
        };
        let signature = cosign::sign_propose(&voters.keys[3], &voters.context, View(2), &block.header);
        let propose = Propose {
            view: View(2),
            block,
            signature,
        };
        is_bound(&voters, 3, |context, key| {
            cosign::verify_propose(scheme, context, key, &propose)
        });
        let mut wrong = propose.clone();
        wrong.view = View(3);
        assert!(!cosign::verify_propose(
            scheme,
            &voters.context,
            &voters.keys[3].public(),
            &wrong
        ));
        let mut wrong = propose.clone();
        wrong.block.header.timestamp ^= 1;
        assert!(!cosign::verify_propose(
            scheme,
            &voters.context,
            &voters.keys[3].public(),
            &wrong
        ));
        // A proposal is no vote of its leader.
        let subject = Subject {
            phase: Phase::Prepare,
            ..cosign::propose_subject(View(2), &propose.block.header)
        };
        let vote = Vote {
            subject,
            member: MemberIndex(3),
            signature,
        };
        assert!(!cosign::verify_vote(
            scheme,
            &voters.context,
            &voters.committee,
            &vote
        ));
    }
}

#[test]
fn author_headers_and_reset_requests_are_bound_to_every_field() {
    for scheme in SCHEMES {
        let voters = Voters::new(scheme, 4);
        let (key, public) = (&voters.keys[1], voters.keys[1].public());
        let header = AuthorHeader::from_bytes(&[1; 119]).expect("119 bytes");
        let signature = cosign::sign_author_header(key, &voters.context, &header);
        let signed = SignedAuthorHeader { header, signature };
        is_bound(&voters, 1, |context, key| {
            cosign::verify_author_header(scheme, context, key, &signed)
        });
        for byte in 0..119 {
            let mut bytes = signed.to_bytes();
            bytes[byte] ^= 1;
            let wrong = SignedAuthorHeader::from_bytes(&bytes).expect("every header decodes");
            assert!(
                !cosign::verify_author_header(scheme, &voters.context, &public, &wrong),
                "byte {byte}"
            );
        }

        let request = ResetRequest {
            group: 0x8001,
            run: 2,
            boot_nonce: 3,
            signature: Signature::default(),
        };
        let signature = cosign::sign_reset_request(key, &voters.context, &request);
        let request = ResetRequest { signature, ..request };
        is_bound(&voters, 1, |context, key| {
            cosign::verify_reset_request(scheme, context, key, &request)
        });
        for byte in 0..12 {
            let mut bytes = request.to_bytes();
            bytes[byte] ^= 1;
            let wrong = ResetRequest::from_bytes(&bytes).expect("every request decodes");
            assert!(
                !cosign::verify_reset_request(scheme, &voters.context, &public, &wrong),
                "byte {byte}"
            );
        }
    }
}
