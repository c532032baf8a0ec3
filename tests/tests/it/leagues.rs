//! Two leagues: campaigns with cheating authors, and what must come of each way to cheat.

use std::collections::BTreeSet;

use simulator::campaign::{Campaign, Design};
use simulator::faults::{Fault, Options};
use simulator::league::Cheat;
use simulator::report::Report;
use simulator::world;
use types::MemberIndex;
use types::time::Duration;

fn campaign(from: u64, seeds: u64, voters: &[u16], seconds: u64) -> Campaign {
    Campaign {
        from,
        seeds,
        design: Design::Pob(None),
        validators: voters.to_vec(),
        in_turn: true,
        safety: Duration::from_secs(seconds),
        planted: None,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
    }
}

/// Calm networks of four voters but for what the caller adds, each of which must hold.
fn all_hold(seeds: std::ops::Range<u64>, sizes: (u16, u16), change: impl Fn(&mut Options)) -> Vec<Report> {
    let run = |seed| {
        let mut options = Options::calm_leagues(seed, 4, sizes, Duration::from_secs(2));
        change(&mut options);
        world::run(&options).unwrap_or_else(|broken| panic!("{}\n{options:#?}", broken.0))
    };
    seeds.map(run).collect()
}

/// The first candidate cheats in one way.
fn cheats(options: &mut Options, cheat: Cheat) {
    options.liars = BTreeSet::from([MemberIndex(options.validators)]);
    if let Some(leagues) = &mut options.leagues {
        leagues.cheats = BTreeSet::from([cheat]);
        leagues.spoiled = 100;
    }
}

#[test]
fn every_invariant_holds_in_runs_of_two_leagues() {
    let summary = campaign(0, 130, &[4, 5, 7, 10, 16], 2)
        .run()
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(summary.runs, 130);
    println!("{}", summary.json());
    assert_eq!(summary.total.hot_timers, 0, "{}", summary.json());
}

/// Runs that once broke an invariant: seed, voters, seconds.
const FOUND: [(u64, u16, u64); 30] = [
    (0, 4, 2),
    (8, 4, 2),
    (9, 4, 2),
    (13, 4, 2),
    (16, 4, 2),
    (21, 4, 2),
    (25, 4, 2),
    (35, 4, 2),
    (45, 4, 2),
    (48, 4, 2),
    (49, 4, 2),
    (68, 4, 2),
    (103, 4, 2),
    (106, 4, 2),
    (114, 4, 2),
    (16, 4, 3),
    (1134, 8, 2),
    (5066, 5, 2),
    (20_407, 8, 2),
    (31_049, 13, 2),
    (159, 4, 3),
    (489, 4, 3),
    (589, 4, 3),
    (60_848, 7, 2),
    (477, 4, 3),
    (86, 4, 3),
    (568, 4, 3),
    (200_312, 4, 2),
    (301_846, 4, 2),
    (601_293, 10, 2),
];

#[test]
fn runs_that_showed_a_defect_hold() {
    for (seed, voters, seconds) in FOUND {
        campaign(seed, 1, &[voters], seconds)
            .run()
            .unwrap_or_else(|failure| panic!("{failure}"));
    }
}

#[test]
fn without_faults_every_promise_is_kept_and_nothing_leaves_the_fast_path() {
    for sizes in [(1, 1), (2, 3)] {
        for report in all_hold(0..4, sizes, |_| {}) {
            let league = &report.league;
            assert_eq!(report.view_changes, 0, "{report:?}");
            assert_eq!(league.believable_heights, report.height, "{report:?}");
            assert!(league.receipts > 50 && league.believable_txs > 50, "{report:?}");
            assert_eq!(
                (league.broken, league.slashes, league.fallbacks),
                (0, 0, 0),
                "{report:?}"
            );
        }
    }
}

#[test]
fn an_idle_network_stays_in_the_fast_path() {
    let reports = all_hold(0..3, (1, 1), |options| {
        options.client_pause = Duration::from_secs(60);
        options.safety = Duration::from_secs(5);
    });
    for report in reports {
        assert!(report.height > 120, "{report:?}");
        assert_eq!(report.league.fallbacks, 0, "{report:?}");
    }
}

#[test]
fn a_block_that_shows_a_fault_costs_its_author_the_bond() {
    for cheat in [Cheat::Encoding, Cheat::State, Cheat::TwoHeaders] {
        let reports = all_hold(0..6, (2, 2), |options| cheats(options, cheat));
        let told: u64 = reports
            .iter()
            .map(|report| report.faults.of(Fault::Cheat(cheat)))
            .sum();
        let slashed: u64 = reports.iter().map(|report| report.league.slashes).sum();
        assert!(
            told >= 4 && slashed >= 4,
            "{cheat:?}: told {told}, slashed {slashed}"
        );
    }
}

#[test]
fn without_any_author_the_voters_take_over_and_give_back() {
    let reports = all_hold(0..6, (1, 1), |options| {
        options.safety = Duration::from_secs(8);
        if let Some(leagues) = &mut options.leagues {
            leagues.outage_pause = Some(Duration::from_secs(4));
        }
    });
    let entered: u64 = reports.iter().map(|report| report.league.fallbacks).sum();
    let left: u64 = reports.iter().map(|report| report.league.returns).sum();
    assert!(entered >= 3 && left == entered, "entered {entered}, left {left}");
}

/// A forged transaction that none of the four voters samples becomes final; one that is sampled ends its author. So the
/// number of forgeries that become final before the end is geometric, with `U = (1 - p)^n` (`ios` 7.12; all four
/// voters are honest here, and in a calm network each has sampled before the first has waited).
#[test]
fn forgeries_are_found_as_often_as_the_samples_say() {
    const RUNS: u64 = 240;
    const UNSAMPLED: f64 = 0.75 * 0.75 * 0.75 * 0.75;
    let reports = all_hold(0..RUNS, (1, 1), |options| {
        cheats(options, Cheat::Forge);
        if let Some(leagues) = &mut options.leagues {
            leagues.forge_pause = Duration::from_millis(60);
        }
    });
    let caught: Vec<u64> = reports
        .iter()
        .filter(|report| report.league.slashes == 1)
        .map(|report| report.league.forged_final)
        .collect();
    assert!(caught.len() as u64 >= RUNS * 95 / 100, "{} caught", caught.len());
    let mut counts = [0_u64; 4];
    for survived in &caught {
        counts[(*survived as usize).min(3)] += 1;
    }
    let runs = caught.len() as f64;
    let tail = UNSAMPLED.powi(3);
    let shares = [
        1.0 - UNSAMPLED,
        UNSAMPLED * (1.0 - UNSAMPLED),
        UNSAMPLED * UNSAMPLED * (1.0 - UNSAMPLED),
        tail,
    ];
    let chi_square: f64 = counts
        .iter()
        .zip(shares)
        .map(|(count, share)| {
            let expected = share * runs;
            (*count as f64 - expected).powi(2) / expected
        })
        .sum();
    println!("survived before the end: {counts:?}, chi-square {chi_square:.2}");
    // Three degrees of freedom, p = 0.001.
    assert!(
        chi_square < 16.27,
        "{counts:?} of {runs}, chi-square {chi_square}"
    );
    let (stolen, claims): (u64, u64) = reports.iter().fold((0, 0), |(stolen, claims), report| {
        let caught = report.league.slashes == 1;
        let of = |count: u64| if caught { count } else { 0 };
        (
            stolen + of(report.league.forged_final),
            claims + of(report.league.claims),
        )
    });
    assert_eq!(claims, stolen, "each theft is claimed");
    let unpaid: u64 = reports.iter().map(|report| report.league.unpaid).sum();
    assert_eq!(unpaid, 0, "the bond covers them all");
}
