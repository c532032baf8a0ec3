//! Two leagues in the embedded network: receipts and samples, and an author that cheats.

use crate::programs::{Folder, assert_sound, loadgen, report};

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

/// From 17 voters on certificates are BLS aggregates, collected over a tree.
#[test]
fn seventeen_voters_sign_together_and_everything_is_final() {
    let folder = Folder::new("collective");
    let arguments = "--tps 40 --shards 1 --validators 18 --believable 1 --duration 4s --warmup 1s --drain 60s \
                     --deadline 60s --accounts 1000 -o r.json";
    let output = loadgen(&folder, &arguments.split_whitespace().collect::<Vec<_>>());
    let report = report(&folder.join("r.json"));
    assert_sound(&report, &output);
    let (counts, security) = (&report["counts"], &report["security"]);
    assert_eq!(counts["final"], counts["sent"], "{counts}");
    assert_eq!(counts["lost"], 0, "{counts}");
    assert_eq!(security["failure"]["validators"], 18, "{security}");
}
