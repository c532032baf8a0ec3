//! The choice of a base, by hand. Schedules, faults and planted bugs are the simulator's.

use types::certificate::{Certificate, Phase, Signatures, Subject};
use types::message::{Certified, Committed, ViewChange};
use types::{Hash, Height, MemberIndex, Signature, View};

use crate::choose_base;

mod collective;

const GENESIS: Hash = Hash([0; 32]);

fn certified(phase: Phase, view: u32, height: u64, hash: u8) -> Certified {
    let subject = Subject {
        phase,
        height: Height(height),
        view: View(view),
        hash: Hash([hash; 32]),
    };
    Certified {
        subject,
        certificate: Certificate {
            view: View(view),
            committee: 4,
            signatures: Signatures::List(Vec::new()),
        },
    }
}

fn change(member: u16, committed: Option<Certified>, tip: Option<Certified>) -> ViewChange {
    let committed = match committed {
        Some(proof) => Committed {
            height: proof.subject.height,
            hash: proof.subject.hash,
            proof: Some(proof),
        },
        None => Committed {
            height: Height(0),
            hash: GENESIS,
            proof: None,
        },
    };
    ViewChange {
        new_view: View(9),
        committed,
        tip,
        member: MemberIndex(member),
        signature: Signature::default(),
    }
}

#[test]
fn without_tips_the_base_is_the_highest_committed_block() {
    assert_eq!(
        choose_base(&[change(0, None, None)], GENESIS),
        (Height(0), GENESIS)
    );
    let changes = [
        change(0, Some(certified(Phase::Commit, 1, 3, 3)), None),
        change(1, None, None),
    ];
    assert_eq!(choose_base(&changes, GENESIS), (Height(3), Hash([3; 32])));
}

#[test]
fn the_tip_of_the_highest_view_wins_over_a_higher_tip_of_a_lower_view() {
    let old_high = certified(Phase::Prepare, 1, 7, 7);
    let new_low = certified(Phase::Prepare, 2, 5, 5);
    let changes = [
        change(0, None, Some(old_high)),
        change(1, None, Some(new_low)),
        change(2, None, None),
    ];
    assert_eq!(choose_base(&changes, GENESIS), (Height(5), Hash([5; 32])));
}

#[test]
fn a_low_tip_of_the_highest_view_sends_an_old_high_tip_into_oblivion() {
    // Filtering tips by height first would let the old one of height 7 displace what view 2 committed at 5.
    let old_high = certified(Phase::Prepare, 1, 7, 7);
    let new_low = certified(Phase::Prepare, 2, 5, 5);
    let committed = certified(Phase::Commit, 2, 5, 5);
    let changes = [
        change(0, None, Some(old_high)),
        change(1, Some(committed), Some(new_low)),
    ];
    assert_eq!(choose_base(&changes, GENESIS), (Height(5), Hash([5; 32])));
}
