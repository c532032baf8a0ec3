//! Two leagues as processes: the believable author dies and comes back, a cheating one is caught.

use std::time::Duration;

use files::NetworkGenesis;

use crate::network::Network;
use crate::programs::{Folder, assert_sound, loadgen, report, survived};

#[test]
fn receipts_come_before_finality_and_every_transaction_is_checked_twice_in_all() {
    let folder = Folder::new("pob");
    let arguments = "--tps 400 --shards 2 --validators 5 --duration 4s --warmup 1s --accounts 4000 -o r.json";
    let output = loadgen(&folder, &arguments.split(' ').collect::<Vec<_>>());
    let report = report(&folder.join("r.json"));
    assert_sound(&report, &output);
    let checks = report["cost"]["sig_checks_per_tx"].as_f64().expect("a number");
    assert!(
        (1.8..=2.2).contains(&checks),
        "{checks} signature checks per transaction"
    );
    let p50 = |kind: &str| report["latency"][kind]["p50"].as_u64().expect("a latency");
    assert!(p50("optimistic") < p50("final"), "{}", report["latency"]);
    assert_eq!(report["counts"]["broken_promises"], 0, "{}", report["counts"]);
}

#[test]
fn an_author_that_forges_is_banned_and_the_accounts_are_explained() {
    let folder = Folder::new("forger");
    let arguments = "--tps 300 --shards 1 --validators 5 --duration 8s --warmup 1s --accounts 4000 \
                     --byzantine forge=0.05 -o r.json";
    let output = loadgen(&folder, &arguments.split_whitespace().collect::<Vec<_>>());
    let report = report(&folder.join("r.json"));
    assert_sound(&report, &output);
    let slashed = report["faults"]["slashed"].as_array().map(Vec::len);
    assert_eq!(slashed, Some(1), "{}", report["faults"]);
    assert_eq!(report["counts"]["lost"], 0, "{}", report["counts"]);
}

#[test]
fn finality_goes_on_without_the_author_and_receipts_return_with_it() {
    let mut network = Network::of_two_leagues("believable", 4_000);
    let genesis = NetworkGenesis::load(&network.folder.join("net/genesis.toml")).expect("a genesis");
    let committee = &genesis.epoch.committees[0];
    let (author, _) = committee.members[usize::from(committee.candidates[0].0)];
    let author = usize::from(author.0);
    network.start_all();
    let before = network.load(200, 3, "before.json");
    survived(&network.folder, "before.json", &before.finish());

    let load = network.load(200, 22, "away.json");
    std::thread::sleep(Duration::from_secs(4));
    network.kill(author);
    std::thread::sleep(Duration::from_secs(8));
    network.start(author);
    let report = survived(&network.folder, "away.json", &load.finish());
    assert_eq!(report["counts"]["lost"], 0, "{}", report["counts"]);

    // 64 heights after the switch, and what a candidate needs to be heard.
    std::thread::sleep(Duration::from_secs(15));
    let after = network.load(200, 4, "after.json");
    let report = survived(&network.folder, "after.json", &after.finish());
    let optimistic = &report["latency"]["optimistic"]["count"];
    assert!(
        optimistic.as_u64().is_some_and(|count| count > 0),
        "{}",
        report["latency"]
    );
}
