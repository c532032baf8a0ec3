//! Campaigns over seeds, and the seeds that once found something.

use std::collections::BTreeSet;

use simulator::campaign::Campaign;
use simulator::faults::{Fault, Lie, Options};
use simulator::report::Report;
use simulator::world;
use types::MemberIndex;
use types::time::Duration;

fn campaign(seeds: u64, validators: &[u16], seconds: u64) -> Campaign {
    Campaign {
        from: 0,
        seeds,
        validators: validators.to_vec(),
        safety: Duration::from_secs(seconds),
        planted: None,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
    }
}

#[test]
fn every_invariant_holds_in_600_runs_of_four_and_seven_validators() {
    let summary = campaign(300, &[4, 7], 3)
        .run()
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(summary.runs, 600);
    println!("{}", summary.json());
    assert_eq!(
        summary.total.hot_timers,
        0,
        "a node with nothing to do must sleep: {}",
        summary.json()
    );
    if let Err(what) = summary.check_not_vacuous() {
        panic!("in no run there was {what}: the campaign proves nothing about it");
    }
}

#[test]
fn larger_committees_hold_too() {
    let summary = campaign(6, &[10, 16], 2)
        .run()
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(summary.runs, 12);
}

#[test]
fn committees_with_aggregates_hold_too() {
    // Seed 17 signs for real.
    let summary = Campaign {
        from: 14,
        ..campaign(6, &[20], 1)
    }
    .run()
    .unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!((summary.runs, summary.total.hot_timers), (6, 0));
    let summary = campaign(2, &[48], 1)
        .run()
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!((summary.runs, summary.total.hot_timers), (2, 0));
}

#[test]
fn without_faults_one_leader_proposes_at_every_interval_and_nobody_complains() {
    for validators in [4, 7, 16] {
        let safety = Duration::from_secs(4);
        let options = Options::calm(1, validators, safety);
        let report = world::run(&options).unwrap_or_else(|broken| panic!("{}\n{options:#?}", broken.0));
        assert_eq!(report.view_changes, 0, "{validators} validators: {report:?}");
        // Blocks every 20 ms while there is work; some intervals are lost to the slowest of many.
        assert!(report.height >= 150, "{validators} validators: {report:?}");
        assert_eq!(
            report.seen.lost + report.seen.finals + report.seen.refused,
            report.seen.submitted
        );
    }
}

#[test]
fn a_seed_run_twice_gives_the_same_events_in_the_same_order() {
    let campaign = campaign(1, &[4], 2);
    for seed in 0..20 {
        let validators = if seed % 2 == 0 { 4 } else { 7 };
        let first = campaign
            .run_one(seed, validators)
            .unwrap_or_else(|failure| panic!("{failure}"));
        let second = campaign
            .run_one(seed, validators)
            .unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(first, second, "seed {seed}");
    }
}

/// Calm networks but for what the caller adds, each of which must hold.
fn all_hold(seeds: std::ops::Range<u64>, change: impl Fn(&mut Options)) -> Vec<Report> {
    let run = |seed| {
        let mut options = Options::calm(seed, 4, Duration::from_secs(3));
        change(&mut options);
        world::run(&options).unwrap_or_else(|broken| panic!("{}\n{options:#?}", broken.0))
    };
    seeds.map(run).collect()
}

#[test]
fn a_liar_that_changes_what_a_right_header_covers_stops_nobody() {
    // References that a leader took out of a block under a right header stood in the way of the right ones, and the
    // block became final without them: its receiver had to halt. So did a node that fetched such a block.
    let reports = all_hold(0..40, |options| {
        options.liars = BTreeSet::from([MemberIndex(options.seed as u16 % 4)]);
        options.lies = BTreeSet::from([Lie::Garbage]);
        options.kill_pause = Some(Duration::from_millis(500));
        options.loss = 20;
    });
    let lies: u64 = reports
        .iter()
        .map(|report| report.faults.of(Fault::Lie(Lie::Garbage)))
        .sum();
    assert!(lies > 1_000, "{lies} lies");
}

#[test]
fn a_chain_ahead_of_all_clocks_goes_on() {
    // Clocks that are read anew after a loss of power may be an hour behind the chain's time: no block's time was
    // near enough to anyone's clock.
    let reports = all_hold(0..20, |options| {
        options.power_pause = Some(Duration::from_millis(400));
        options.blackouts = 1_000;
        options.down_max = Duration::from_millis(50);
        options.clock_off = Duration::from_secs(3_600);
    });
    assert!(reports.iter().all(|report| report.faults.of(Fault::Blackout) > 0));
}

/// Seeds that broke an invariant once, with the size of the committee and the seconds of faults.
const REGRESSIONS: [(u64, u16, u64); 4] = [
    // Two voters that were left behind asked each other for blocks, for ever; and a leader whose last proposal was
    // final found no parent for the next one.
    (334, 10, 3),
    // A lying author left the leader with one block for a position and a voter with another, which it insisted on.
    (1_795_275_224_189, 4, 18),
    // A leader's timer was due again and again while its parent was not executed.
    (20, 7, 3),
    (1, 4, 3),
];

#[test]
fn seeds_that_once_broke_an_invariant_hold() {
    for (seed, validators, seconds) in REGRESSIONS {
        let report = campaign(1, &[validators], seconds)
            .run_one(seed, validators)
            .unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(report.hot_timers, 0, "seed {seed}");
    }
}

#[test]
fn the_summary_is_one_line_of_json() {
    let summary = campaign(2, &[4], 1)
        .run()
        .unwrap_or_else(|failure| panic!("{failure}"));
    let line = summary.json();
    assert!(!line.contains('\n'));
    let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(value["seeds"], 2);
    assert!(
        value["events"].as_u64().is_some_and(|events| events > 100),
        "{line}"
    );
}
