//! Planted bugs: each must be caught. Only with the feature `planted-bugs`.
#![cfg(feature = "planted-bugs")]

use consensus::PlantedBug;
use simulator::campaign::Campaign;
use simulator::explore::{explore, schedules};
use simulator::faults::planted_names;
use simulator::invariants::Checked;
use types::time::Duration;

/// A name that `planted_names` has.
fn is_caught_by_a_seed(name: &str) -> bool {
    let planted = planted_names()
        .into_iter()
        .find(|known| known.name == name)
        .expect("a known name");
    let campaign = Campaign {
        from: 0,
        seeds: 500,
        validators: vec![4],
        safety: Duration::from_secs(3),
        planted: Some((planted.name, planted.planted)),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
    };
    campaign.run().is_err_and(|failure| {
        println!("{name}: {}, {}", failure.violation, failure.reproduce);
        failure.violation.invariant != "liveness"
    })
}

fn forks(schedule: fn(Option<PlantedBug>) -> Checked, bug: PlantedBug) {
    let violation = schedule(Some(bug)).expect_err("the fault must fork");
    assert_eq!(violation.invariant, "agreement", "{violation}");
}

#[test]
fn a_quorum_off_by_one_is_caught() {
    assert!(is_caught_by_a_seed("quorum-off-by-one"));
}

#[test]
fn a_forgotten_claim_is_caught() {
    assert!(is_caught_by_a_seed("forgotten-claim"));
}

#[test]
fn a_skipped_conservation_check_is_caught() {
    assert!(is_caught_by_a_seed("skipped-conservation"));
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
