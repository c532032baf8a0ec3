//! Consensus machines against a lying leader, with the rules as they are.

use simulator::explore::{explore, schedules};

fn holds(schedule: fn(Option<consensus::PlantedBug>) -> simulator::invariants::Checked) {
    if let Err(violation) = schedule(None) {
        panic!("{violation}");
    }
}

#[test]
fn three_heights_in_flight_and_only_the_first_certified_again() {
    holds(schedules::three_in_flight);
}

#[test]
fn an_old_high_tip_against_a_newer_low_commit() {
    holds(schedules::old_high_tip);
}

#[test]
fn a_block_below_the_base() {
    holds(schedules::below_the_base);
}

#[test]
fn a_second_opening_of_a_view_to_the_same_followers() {
    holds(schedules::second_opening);
}

#[test]
fn two_openings_of_one_view_to_different_followers() {
    holds(schedules::openings_to_different_followers);
}

#[test]
fn a_restart_between_two_openings_of_one_view() {
    holds(schedules::restart_between_openings);
}

#[test]
fn no_random_schedule_forks() {
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let each = 100_000_u64.div_ceil(threads);
    let explored: Vec<_> = std::thread::scope(|scope| {
        let run = |thread| scope.spawn(move || explore(thread * each, each, None));
        let handles: Vec<_> = (0..threads).map(run).collect();
        handles
            .into_iter()
            .map(|handle| handle.join().expect("no schedule panics"))
            .collect()
    });
    let (mut committed, mut view_changed) = (0, 0);
    for result in explored {
        match result {
            Ok(explored) => {
                committed += explored.committed;
                view_changed += explored.view_changed;
            }
            Err((seed, violation)) => panic!("schedule {seed}: {violation}"),
        }
    }
    assert!(
        committed > 10_000,
        "only {committed} schedules committed anything"
    );
    assert!(
        view_changed > 10_000,
        "only {view_changed} schedules opened a later view"
    );
}
