//! Two leagues whose believable authors die under load: the voters go on in one league, nothing is lost, and the fast
//! path returns with the authors. Where somebody stands in, and where nobody asks for anything, two leagues stay.

use serde_json::Value;
use simulator::record;
use types::Height;
use types::block::{Block, CommittedBlock, MODE_ONE_LEAGUE, MODE_TWO_LEAGUES};
use types::block_record::Record;

use crate::network::{Network, VALIDATORS};
use crate::observer::Observer;
use crate::programs::survived;

/// From this height on two leagues are left when 16 heights show no author (`ios` 10.2: 64 heights that nobody watches,
/// 16 that are).
const WATCHED_FROM: Height = Height(80);
const WATCHED: u64 = 16;
/// Heights in which the fast path has to be back.
const RETURN_MAX: u64 = 128;
/// Heights that the authors stay away in one league.
const AWAY: u64 = 20;
/// Offered load. Low: what is tested is survival, and the chain is replayed at the end.
const TPS: u32 = 200;

/// A network with one seat, its candidates in the order of the draw, and a voter to look through.
fn start(name: &str, candidates: u16) -> (Network, Observer, Vec<usize>, usize) {
    let mut network = Network::of_two_leagues(name, candidates);
    network.start_all();
    let observer = Observer::new(&network);
    let candidates = observer.candidates();
    let mut validators = 0..VALIDATORS + candidates.len();
    let witness = validators.find(|validator| !candidates.contains(validator));
    (network, observer, candidates, witness.expect("a voter"))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Everything that was sent is final, and the client knows it.
fn assert_nothing_lost(report: &Value) {
    let counts = &report["counts"];
    assert_eq!(number(&counts["lost"]), 0, "{counts}");
    assert_eq!(counts["rejected"], serde_json::json!({}), "{counts}");
    assert_eq!(counts["final"], counts["sent"], "{counts}");
    assert_eq!(
        report["audit"]["unanswered_txs_in_chain"], 0,
        "{}",
        report["audit"]
    );
}

/// First heights of the modes after the first, as the report names them.
fn mode_changes(report: &Value) -> Vec<(u64, u64)> {
    let changes = report["faults"]["mode_changes"].as_array().expect("a list");
    let change = |change: &Value| (number(&change["height"]), number(&change["mode"]));
    changes.iter().map(change).collect()
}

fn is_of(mode: u8) -> impl Fn(&CommittedBlock) -> bool {
    move |block| block.block.header.mode == mode
}

/// A load for which the author of the seat gives receipts from the first transaction on.
fn assert_fast_path(network: &Network, out: &str) {
    let output = network.load(TPS, 3, out).finish();
    let report = survived(&network.folder, out, &output);
    assert_nothing_lost(&report);
    let counts = &report["counts"];
    assert_eq!(counts["optimistic"], counts["final"], "{counts}");
    assert_eq!(report["faults"]["sent_again"], 0, "{}", report["faults"]);
}

#[test]
fn one_league_goes_on_without_any_author_and_the_fast_path_returns_with_them() {
    let (mut network, mut observer, authors, witness) = start("fallback", 2);
    let idle = observer.height(witness);
    let load = network.load(TPS, 40, "fallback.json");
    observer.loaded(idle);
    observer.above(witness, WATCHED_FROM);

    authors.iter().for_each(|author| network.kill(*author));
    let killed = observer.height(witness);
    let fallen = observer.first_block("transactions in one league", witness, killed, |block| {
        is_of(MODE_ONE_LEAGUE)(block) && block.block.header.tx_count > 0
    });
    observer.above(witness, Height(fallen.0 + AWAY));
    authors.iter().for_each(|author| network.start(*author));
    for author in &authors {
        observer.height(*author);
    }
    let revived = observer.height(witness);
    let returned = observer.first_block("two leagues again", witness, revived, is_of(MODE_TWO_LEAGUES));
    assert!(
        returned.0 <= revived.0 + RETURN_MAX,
        "the authors answer at height {revived}, two leagues begin at {returned}"
    );

    let report = survived(&network.folder, "fallback.json", &load.finish());
    assert_nothing_lost(&report);
    let [(fell, 1), (rose, 0)] = mode_changes(&report)[..] else {
        panic!("one league and two again: {}", report["faults"]);
    };
    assert!(
        fell > killed.0 && fell <= fallen.0 && rose == returned.0,
        "{}",
        report["faults"]
    );
    let inside = number(&report["faults"]["heights_in_fallback"]);
    assert_eq!(inside, rose - fell, "{}", report["faults"]);
    assert_fast_path(&network, "again.json");
    let final_count = number(&report["counts"]["final"]);
    println!(
        "all authors killed at height {killed}, one league from {fell}, authors back at {revived}, two leagues from {rose}: {final_count} transactions, all final"
    );
    record::append("all authors killed", &[("runs", 1), ("final", final_count)]);
}

#[test]
fn a_candidate_stands_in_for_the_author_that_was_killed() {
    let (mut network, mut observer, candidates, witness) = start("stand-in", 2);
    let idle = observer.height(witness);
    let load = network.load(TPS, 16, "stand-in.json");
    observer.loaded(idle);
    network.kill(candidates[0]);
    let killed = observer.height(witness);
    let mut seated = None;
    let given = observer.first_block("a stand-in", witness, killed, |block| {
        block
            .block
            .records
            .iter()
            .any(|record| matches!(record, Record::StandIn(_)))
    });
    for block in observer.blocks(witness, given).into_iter().take(1) {
        seated = block.block.records.iter().find_map(|record| match record {
            Record::StandIn(stand_in) => Some(stand_in.member),
            _ => None,
        });
    }
    assert_eq!(
        seated.map(|member| observer.validator(member)),
        Some(candidates[1])
    );
    network.start(candidates[0]);

    let report = survived(&network.folder, "stand-in.json", &load.finish());
    assert_nothing_lost(&report);
    assert_eq!(mode_changes(&report), [], "{}", report["faults"]);
    let counts = &report["counts"];
    assert!(number(&counts["optimistic"]) > 0, "{counts}");
    let final_count = number(&counts["final"]);
    println!(
        "the author killed at height {killed}, replaced at {given}: {final_count} transactions, all final"
    );
    record::append("author replaced", &[("runs", 1), ("final", final_count)]);
}

#[test]
fn an_idle_network_stays_in_the_fast_path() {
    let (network, mut observer, _, witness) = start("idle", 1);
    // Each of the last 32 heights could have decided on one league.
    let last = observer.above(witness, Height(WATCHED_FROM.0 + 2 * WATCHED));
    let first = observer.first_block("the last height or a switch", witness, Height(1), |block| {
        let Block { header, records, .. } = &block.block;
        let is_decided = records
            .iter()
            .any(|record| matches!(record, Record::ModeSwitch(_)));
        is_decided || header.mode != MODE_TWO_LEAGUES || header.height >= last
    });
    assert_eq!(first, last, "two leagues were left");
    assert_fast_path(&network, "idle.json");
    record::append("idle in two leagues", &[("runs", 1), ("heights", last.0)]);
}
