//! SIGKILL at random instants under load: single validators again and again, and the whole network. Every round ends
//! with the generator's audit over all chains.
//!
//! `SHARDBENCH_LONG=1` runs the campaign of 204 single kills and 34 of the whole network, `SHARDBENCH_KILL_ROUNDS`
//! any number of rounds, `SHARDBENCH_SEED` repeats the instants of a run.

use std::time::{Duration, SystemTime};

use simulator::record;
use simulator::rng::SimRng;

use crate::network::{Network, VALIDATORS};
use crate::observer::Observer;
use crate::programs::survived;

/// Kills of one validator in a round, each under the same load.
const SINGLES: u64 = 6;
/// Rounds of the default run and of the long one.
const ROUNDS: u64 = 2;
const ROUNDS_LONG: u64 = 34;
/// Offered load. Low: what is tested is survival, and every round's chain is replayed at its end.
const TPS: u32 = 200;
const LOAD_SECONDS: u32 = 16;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{variable}={text}: accepted is a number")))
}

/// Whether the long variants run.
pub(crate) fn is_long() -> bool {
    std::env::var_os("SHARDBENCH_LONG").is_some_and(|value| value == "1")
}

fn seed() -> u64 {
    number("SHARDBENCH_SEED").unwrap_or_else(|| {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since.map_or(1, |since| since.as_nanos() as u64)
    })
}

fn sleep(rng: &mut SimRng, low_ms: u64, high_ms: u64) {
    std::thread::sleep(Duration::from_millis(rng.between(low_ms, high_ms)));
}

#[test]
fn validators_killed_at_random_instants_lose_nothing_that_was_final() {
    let rounds = number("SHARDBENCH_KILL_ROUNDS").unwrap_or(if is_long() { ROUNDS_LONG } else { ROUNDS });
    let seed = seed();
    println!("kill loop: {rounds} rounds, SHARDBENCH_SEED={seed}");
    let mut rng = SimRng::new(seed, 0);
    let mut network = Network::new("kill-loop");
    network.start_all();
    let mut observer = Observer::new(&network);
    let (mut checked, mut unanswered, mut lost) = (0, 0, 0);
    for round in 0..rounds {
        let out = format!("round-{round}.json");
        let idle = observer.height(0);
        let load = network.load(TPS, LOAD_SECONDS, &out);
        observer.loaded(idle);
        for _ in 0..SINGLES {
            let victim = rng.below(VALIDATORS as u64) as usize;
            sleep(&mut rng, 50, 900);
            network.kill(victim);
            sleep(&mut rng, 0, 700);
            network.start(victim);
        }
        sleep(&mut rng, 50, 900);
        network.kill_all();
        sleep(&mut rng, 0, 500);
        network.start_all();
        let output = load.finish();
        let report = survived(&network.folder, &out, &output);
        let count = |section: &str, key: &str| report[section][key].as_u64().expect("a count");
        // Everyone is back and reached again: nothing is left waiting for a node that was away.
        assert_eq!(count("counts", "shed"), 0, "{}", report["counts"]);
        assert_eq!(count("counts", "timeout"), 0, "{}", report["counts"]);
        checked += count("counts", "final");
        unanswered += count("audit", "unanswered_txs_in_chain");
        lost += count("counts", "lost");
        let state = observer.agreed(&[0, 1, 2, 3]);
        println!(
            "round {round}: {} final, {} lost, {} rejected, height {}, all agree",
            count("counts", "final"),
            count("counts", "lost"),
            report["counts"]["rejected"],
            state.height
        );
    }
    let (single, whole) = (rounds * SINGLES, rounds);
    println!(
        "kill loop: {single} single kills, {whole} of the whole network, {checked} receipts honoured, {lost} lost, {unanswered} final without an answer"
    );
    record::append(
        "kill loop",
        &[
            ("single", single),
            ("whole", whole),
            ("receipts checked", checked),
        ],
    );
}
