//! Planted bugs: each must be caught. Only with the feature `planted-bugs`.
#![cfg(feature = "planted-bugs")]

use consensus::PlantedBug;
use simulator::campaign::{Campaign, Design};
use simulator::explore::{explore, schedules};
use simulator::invariants::Checked;
use simulator::planted::planted_faults;
use types::time::Duration;

/// Plants a fault at every node and expects that an ordinary campaign finds one of the invariants broken that it
/// should break.
fn is_caught_by_a_seed(name: &str) {
    let planted = planted_faults()
        .into_iter()
        .find(|known| known.name == name)
        .expect("a known name");
    let campaign = Campaign {
        from: 0,
        seeds: 500,
        design: if planted.two_leagues {
            Design::Pob(None)
        } else {
            Design::Pbft
        },
        validators: vec![planted.validators],
        in_turn: false,
        safety: Duration::from_secs(3),
        planted: Some(planted),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
    };
    let failure = campaign.run().expect_err("a campaign finds the fault");
    println!("{name}: {}, {}", failure.violation, failure.reproduce);
    let broken = failure.violation.invariant;
    assert!(
        planted.breaks.contains(&broken),
        "{name} breaks {broken:?}, expected is one of {:?}",
        planted.breaks
    );
}

fn forks(schedule: fn(Option<PlantedBug>) -> Checked, bug: PlantedBug) {
    let violation = schedule(Some(bug)).expect_err("the fault must fork");
    assert_eq!(violation.invariant, "agreement", "{violation}");
}

#[test]
fn every_fault_that_random_runs_can_find_is_caught_by_the_invariant_that_it_breaks() {
    let faults = planted_faults();
    let found: Vec<_> = faults.iter().filter(|fault| !fault.breaks.is_empty()).collect();
    assert_eq!((faults.len(), found.len()), (27, 26));
    found.iter().for_each(|fault| is_caught_by_a_seed(fault.name));
}

#[test]
fn a_vote_again_for_every_height_forks() {
    forks(schedules::three_in_flight, PlantedBug::RevoteEveryHeight);
}

#[test]
fn tips_filtered_by_height_fork() {
    forks(schedules::old_high_tip, PlantedBug::TipsFilteredByHeight);
}

#[test]
fn a_vote_below_the_base_forks() {
    forks(schedules::below_the_base, PlantedBug::VoteBelowBase);
}

#[test]
fn a_second_opening_forks_with_and_without_a_restart() {
    forks(schedules::second_opening, PlantedBug::SecondNewView);
    forks(schedules::restart_between_openings, PlantedBug::SecondNewView);
}

#[test]
fn random_schedules_find_forks_without_a_script() {
    for bug in [
        PlantedBug::QuorumOffByOne,
        PlantedBug::VoteBelowBase,
        PlantedBug::SecondNewView,
    ] {
        let (seed, violation) = explore(0, 20_000, Some(bug)).expect_err("the fault must fork");
        assert_eq!(
            violation.invariant, "agreement",
            "{bug:?}, schedule {seed}: {violation}"
        );
    }
}
