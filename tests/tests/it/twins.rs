//! Twins: identities that run twice, with the rules as they are and with rules left out.

use simulator::record;
use simulator::twins::{Campaign, Plan, Scenario, Seen, run};

/// Runs a plan of which nothing may fail.
fn holds(name: &str, plan: Plan) -> Seen {
    let began = std::time::Instant::now();
    let outcome = Campaign::new(plan).run();
    let seen = outcome
        .into_result()
        .unwrap_or_else(|failure| panic!("{name}: {failure}"));
    let speed = seen.scenarios as f64 / began.elapsed().as_secs_f64();
    println!("{name}: {speed:.0} scenarios/s, {seen:?}");
    record::append("twins", &seen.counters());
    seen
}

/// Something happened in at least this share of the scenarios, in hundredths.
fn in_share(what: &str, happened: u64, scenarios: u64, percent: u64) {
    assert!(
        happened * 100 >= scenarios * percent,
        "{what} in {happened} of {scenarios} scenarios, at least {percent} % expected"
    );
}

#[test]
fn no_scenario_breaks_agreement_a_promise_or_progress() {
    let mut total = Seen::default();
    for (name, plan) in Plan::every_tolerated() {
        let seen = holds(name, plan);
        let scenarios = seen.scenarios;
        in_share("two copies voted differently", seen.equivocations, scenarios, 40);
        in_share("commits under a twin", seen.twin_commits, scenarios, 25);
        in_share("a view opened on a tip", seen.tips, scenarios, 25);
        in_share("two heights in flight", seen.pipelined, scenarios, 50);
        total.add(&seen);
    }
    assert!(total.scenarios >= 100_000, "only {} scenarios", total.scenarios);
    assert!(
        total.restarts > 1_000,
        "only {} scenarios with a restart",
        total.restarts
    );
}

#[test]
fn a_fork_by_too_many_twins_is_noticed_by_an_honest_voter() {
    for (name, plan) in Plan::every_excessive() {
        let seen = holds(name, plan);
        // That each fork was noticed is checked in every run.
        assert!(
            seen.forks * 1000 >= seen.scenarios,
            "{name}: {} forks",
            seen.forks
        );
    }
}

/// An honest voter learnt of the other chain from final blocks alone, and refused them without a word.
#[test]
fn a_fork_that_only_final_blocks_show_is_noticed() {
    let line = "voters=4 twins=2 leaders=3,2,3,0,2,3,2,3,0,1,2,3 order=890153511 held=1 \
        round=000011:ffffffff:1:openings:c:50:0:0 round=000000:0:3:commits:2a:50:0:0 \
        round=000000:3d:3:tips:ffffffff:0:0:0 round=101001:ffffffff:3:proposals:0:0:0:0 \
        round=000200:ffffffff:1:commit-votes:12:200:0:0 round=010000:ffffffff:3:view-changes:ffffffff:200:0:0 \
        round=011000:0:1:nothing:ffffffff:0:0:0 round=000000:ffffffff:3:nothing:11:0:0:1";
    let scenario: Scenario = line.parse().expect("a scenario");
    let seen = run(&scenario, None).unwrap_or_else(|violation| panic!("{violation}"));
    assert_eq!((seen.forks, seen.conflicts), (1, 1));
}

/// Every rule of consensus that can be left out breaks agreement in some sampled scenario.
#[cfg(feature = "planted-bugs")]
#[test]
fn every_planted_bug_of_consensus_is_found() {
    // Partial aggregates travel in committees of more than 16 voters only.
    let bugs = consensus::PlantedBug::ALL.into_iter();
    for bug in bugs.filter(|bug| *bug != consensus::PlantedBug::PartialCountedTwice) {
        let mut campaign = Campaign::new(Plan::Sampled {
            voters: 4,
            twins: 1,
            from: 0,
            count: 40_000,
        });
        campaign.planted = Some(bug);
        let outcome = campaign.run();
        let ran = outcome.seen.scenarios;
        let Err(failure) = outcome.into_result() else {
            panic!("{bug:?} is not found in {ran} scenarios");
        };
        println!("{bug:?}, after {ran} scenarios that held: {failure}");
        // The line that is printed repeats it: the same invariant, broken in the same way.
        let scenario: Scenario = failure.scenario.to_string().parse().expect("a scenario");
        assert_eq!(run(&scenario, Some(bug)), Err(failure.violation.clone()));
        assert!(
            run(&scenario, None).is_ok(),
            "{failure}: fails without the fault too"
        );
    }
}
