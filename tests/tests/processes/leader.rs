//! The leader dies under load: finality goes on, and the one that comes back votes again.
//!
//! `SHARDBENCH_LONG=1` uses half of what four validators on one machine carry, and brings the leader back after 30 s.

use std::time::{Duration, Instant};

use simulator::record;

use crate::kill_loop::is_long;
use crate::network::{Network, VALIDATORS, wait_for};
use crate::observer::Observer;
use crate::programs::survived;

/// Offered load, time under load, and how long the leader stays away.
struct Size {
    accounts: u32,
    tps: u32,
    load_seconds: u32,
    away: Duration,
}

const SHORT: Size = Size {
    accounts: 4_000,
    tps: 500,
    load_seconds: 14,
    away: Duration::from_secs(4),
};
/// A coin rests some seconds between two spends, so the rate asks for that many accounts.
const LONG: Size = Size {
    accounts: 60_000,
    tps: 7_500,
    load_seconds: 45,
    away: Duration::from_secs(30),
};

#[test]
fn finality_goes_on_without_the_leader_and_it_votes_again_when_it_is_back() {
    let size = if is_long() { LONG } else { SHORT };
    let mut network = Network::with_accounts("leader", size.accounts);
    network.start_all();
    let mut observer = Observer::new(&network);
    let idle = observer.height(0);
    let load = network.load(size.tps, size.load_seconds, "leader.json");
    observer.loaded(idle);
    let leader = observer.leader(0);
    let [witness, third, _] = others(leader);

    network.kill(leader);
    let killed = Instant::now();
    let before = observer.height(witness);
    wait_for("a final block of another leader", || {
        let height = observer.state(witness)?.height;
        (height > before && observer.leader(witness) != leader).then_some(())
    });
    let resumed = killed.elapsed();
    std::thread::sleep(size.away.saturating_sub(killed.elapsed()));
    let away = observer.height(witness);
    assert!(
        away > before,
        "finality stands still at height {before} without the leader"
    );

    network.start(leader);
    let restarted = Instant::now();
    let caught_up = catch_up(&mut observer, leader, witness);
    observer.signed(leader, witness, away);
    // With a third one paused a quorum needs the vote of the one that came back.
    network.pause(third);
    let alone = observer.height(witness);
    observer.above(witness, alone.next().next());
    network.resume(third);

    let output = load.finish();
    let report = survived(&network.folder, "leader.json", &output);
    let state = observer.agreed(&[0, 1, 2, 3]);
    println!(
        "leader {leader} killed at {} tps: finality resumed after {:.2} s; back after {:.0} s it stood at the others' height {:.2} s after its start; all agree at height {}",
        size.tps,
        resumed.as_secs_f64(),
        (restarted - killed).as_secs_f64(),
        caught_up.as_secs_f64(),
        state.height
    );
    println!(
        "final.p50 of the whole run {} ns",
        report["latency"]["final"]["p50"]
    );
    record::append(
        "leader kill",
        &[
            ("runs", 1),
            ("tps", size.tps.into()),
            ("resumed ms", resumed.as_millis() as u64),
            ("caught up ms", caught_up.as_millis() as u64),
        ],
    );
}

#[test]
fn a_paused_leader_and_a_paused_follower_are_gone_without_and_catch_up() {
    let away = Duration::from_secs(if is_long() { 20 } else { 4 });
    let mut network = Network::new("pause");
    network.start_all();
    let mut observer = Observer::new(&network);
    let idle = observer.height(0);
    let load = network.load(300, 8 + 3 * away.as_secs() as u32, "pause.json");
    observer.loaded(idle);
    for is_leader in [false, true] {
        let leader = observer.leader(0);
        let paused = if is_leader { leader } else { others(leader)[0] };
        let witness = others(paused)[1];
        network.pause(paused);
        let since = Instant::now();
        let before = observer.height(witness);
        wait_for("final blocks without the paused validator", || {
            let height = observer.state(witness)?.height;
            // Blocks in flight become final without their leader too.
            let is_replaced = !is_leader || observer.leader(witness) != paused;
            (height > before.next() && is_replaced).then_some(())
        });
        let resumed = since.elapsed();
        std::thread::sleep(away.saturating_sub(since.elapsed()));
        network.resume(paused);
        let caught_up = catch_up(&mut observer, paused, witness);
        println!(
            "validator {paused} paused (leader: {is_leader}): the others went on after {:.2} s, caught up {:.2} s after it went on",
            resumed.as_secs_f64(),
            caught_up.as_secs_f64()
        );
    }
    let output = load.finish();
    survived(&network.folder, "pause.json", &output);
    observer.agreed(&[0, 1, 2, 3]);
    record::append("pauses", &[("leader", 1), ("follower", 1)]);
}

/// What a slow validator costs is printed: how fast a machine is, no test can promise.
#[test]
fn a_slow_validator_leaves_accounts_and_chains_sound() {
    let mut network = Network::new("slow");
    network.start_all();
    let mut observer = Observer::new(&network);
    let (tps, seconds) = (400, 6);
    let mut figures = Vec::new();
    for (out, is_slow) in [("even.json", false), ("slow.json", true)] {
        let idle = observer.height(0);
        let mut load = network.load(tps, seconds, out);
        observer.loaded(idle);
        let slow = others(observer.leader(0))[0];
        while load.is_running() {
            if is_slow {
                network.pause(slow);
                std::thread::sleep(Duration::from_millis(50));
                network.resume(slow);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let output = load.finish();
        let report = survived(&network.folder, out, &output);
        let figure = |value: &serde_json::Value| value.as_f64().expect("a number");
        figures.push((
            figure(&report["rate"]["final_in_window_tps"]),
            figure(&report["latency"]["final"]["p50"]) / 1e6,
        ));
    }
    let [(even, even_ms), (slow, slow_ms)] = figures[..] else {
        unreachable!("two runs");
    };
    println!(
        "one validator of four stopped for 50 of every 100 ms: {slow:.0} against {even:.0} final per second ({:.0} %), final p50 {slow_ms:.0} against {even_ms:.0} ms ({:.0} %)",
        100.0 * slow / even,
        100.0 * slow_ms / even_ms
    );
    record::append(
        "slow validator",
        &[("runs", 1), ("tps percent", (100.0 * slow / even) as u64)],
    );
}

/// Everyone else.
fn others(validator: usize) -> [usize; VALIDATORS - 1] {
    std::array::from_fn(|offset| (validator + 1 + offset) % VALIDATORS)
}

/// Waits until a validator shows the height that the witness shows now; how long that took.
pub(crate) fn catch_up(observer: &mut Observer, validator: usize, witness: usize) -> Duration {
    let start = Instant::now();
    let height = observer.height(witness);
    wait_for(&format!("validator {validator} at height {height}"), || {
        observer.state(validator).filter(|state| state.height >= height)
    });
    start.elapsed()
}
