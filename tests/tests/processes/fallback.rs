//! Two leagues whose believable authors die under load: the voters go on in one league and nothing is lost; the fast
//! path returns with an author. Whoever stands in makes the other mode needless, and an idle network does not need it.

use serde_json::Value;
use simulator::record;
use types::block::{CommittedBlock, MODE_ONE_LEAGUE, MODE_TWO_LEAGUES};
use types::block_record::Record;
use types::Height;

use crate::network::{Network, VALIDATORS};
use crate::observer::Observer;
use crate::programs::survived;

/// Below this height no network leaves two leagues (`ios` 10.2), however silent its authors are.
const SETTLED: Height = Height(80);
/// Heights in which the fast path has to be back.
const RETURN_MAX: u64 = 128;
/// Offered load. Low: what is tested is survival, and the chain is replayed at the end.
const TPS: u32 = 200;
/// Time under load: the kill, one league, and the return fall into it on a machine that keeps the pace.
const LOAD_SECONDS: u32 = 40;
/// Heights that the author stays away in one league.
const AWAY: u64 = 30;

/// Somebody who is neither asked to author nor killed.
const WITNESS_FIRST: usize = 0;

fn witness(observer: &Observer) -> usize {
    let candidates = observer.candidates();
    let mut all = WITNESS_FIRST..VALIDATORS + candidates.len();
    all.find(|validator| !candidates.contains(validator)).expect("a voter")
}

fn count(report: &Value, section: &str, key: &str) -> u64 {
    report[section][key].as_u64().expect("a count")
}

/// Everything that was sent became final, and the client knows it.
fn assert_nothing_lost(report: &Value) {
    let counts = &report["counts"];
    for what in ["lost", "timeout", "rejected_total"] {
        assert!(counts[what].as_u64().is_none_or(|count| count == 0), "{what}: {counts}");
    }
    assert_eq!(counts["final"], counts["sent"], "{counts}");
}

/// A block of this mode that carries transactions.
fn carries(mode: u8) -> impl Fn(&CommittedBlock) -> bool {
    move |block| block.block.header.mode == mode && block.block.header.tx_count > 0
}

#[test]
fn one_league_goes_on_while_the_only_author_is_dead_and_the_fast_path_returns_with_it() {
    let mut network = Network::of_two_leagues("fallback", 1);
    network.start_all();
    let mut observer = Observer::new(&network);
    let (author, witness) = (observer.candidates()[0], witness(&observer));
    let idle = observer.height(witness);
    let load = network.load(TPS, LOAD_SECONDS, "fallback.json");
    observer.loaded(idle);
    observer.above(witness, SETTLED);

    network.kill(author);
    let killed = observer.height(witness);
    let fallen = observer.first_block("transactions in one league", witness, killed, carries(MODE_ONE_LEAGUE));
    observer.above(witness, Height(fallen.0 + AWAY));
    network.start(author);
    observer.height(author);
    let revived = observer.height(witness);
    let returned = observer.first_block("two leagues again", witness, revived, |block| {
        block.block.header.mode == MODE_TWO_LEAGUES
    });
    assert!(
        returned.0 <= revived.0 + RETURN_MAX,
        "the author answers at height {revived}, two leagues at {returned}"
    );
    let report = survived(&network.folder, "fallback.json", &load.finish());
    println!("{:#}", report["counts"]);
    println!("{:#}", report["faults"]);
    println!("{:#}", report["labels"]);
    println!("killed {killed} fallen {fallen} revived {revived} returned {returned}");
    assert_nothing_lost(&report);
}
