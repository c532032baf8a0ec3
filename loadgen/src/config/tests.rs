//! Every bad value is refused with its flag; a report's configuration resolves to itself.

use std::time::Duration;

use clap::Parser as _;

use super::{Config, Design, Leagues, Network, Validity, WindowLength, WorkloadChoice, merge_file};
use crate::cli::{Cli, RawConfig};
use crate::units::Rate;

fn raw(flags: &[&str]) -> RawConfig {
    let line = std::iter::once("loadgen").chain(flags.iter().copied());
    Cli::try_parse_from(line).expect("flags").run.values
}

fn resolve(flags: &[&str]) -> Result<Config, String> {
    Config::resolve(&raw(flags), 42).map_err(|error| error.to_string())
}

#[test]
fn defaults_are_those_of_the_help() {
    let config = resolve(&["--tps", "5k"]).expect("defaults");
    let Network::Local(network) = &config.network else {
        panic!("local");
    };
    assert_eq!(
        (network.shards, network.validators, network.durability),
        (2, 5, "fsync")
    );
    let leagues = Leagues {
        seats: Some(1),
        candidates: Some(1),
        sampling_ppm: Some(250_000),
        bond: None,
    };
    assert_eq!(network.design, Design::TwoLeagues(leagues));
    assert_eq!(network.byzantine, None);
    assert_eq!(config.load.pieces[0].0.from, Rate { milli: 5_000_000 });
    assert_eq!(config.load.window, WindowLength::Time(Duration::from_secs(60)));
    assert_eq!(config.load.warmup, Duration::from_secs(10));
    assert_eq!(config.load.in_flight_max, 50_000);
    assert_eq!((config.load.seed, config.accounts), (1, 30_000));
    assert_eq!(config.client.connections, 1);
    assert_eq!(config.output.validity, Validity::Strict);
    assert_eq!(config.resolved.cross_shard.as_deref(), Some("0"));
    assert_eq!(
        resolve(&["--tps", "1", "--seed", "random"])
            .expect("random")
            .load
            .seed,
        42
    );
    let count = resolve(&["--tps", "1k", "--duration", "20000"]).expect("count");
    assert_eq!(count.load.window, WindowLength::Count(20_000));
    let stages = resolve(&["--stages", "1k@5s,1k:2k@10s"]).expect("stages");
    assert_eq!(stages.load.window, WindowLength::Time(Duration::from_secs(15)));
}

#[test]
fn a_resolved_configuration_resolves_to_itself() {
    for flags in [
        &[
            "--tps",
            "5k",
            "--slo",
            "final.p99<500ms",
            "--tag",
            "a=b",
            "--abort-on",
            "errors>5%@3s",
        ][..],
        &[
            "--stages",
            "1k@5s,1k:2k@10s",
            "--inputs",
            "1-3",
            "--rtt",
            "200ms",
            "--seed",
            "random",
        ],
        &[
            "--tps",
            "0.5",
            "--duration",
            "10",
            "--shards",
            "1",
            "--durability",
            "async",
        ],
        &["--tps", "1", "--protocol", "pbft"],
        &[
            "--tps",
            "1",
            "--believable",
            "2",
            "--candidates",
            "3",
            "--sampling",
            "5%",
            "--bond",
            "1M",
            "--byzantine",
            "forge=0.01",
            "--invalid",
            "sig=0.1,value=0.05",
            "--conflicts",
            "0.2",
            "--slo",
            "optimistic.p99<50ms",
        ],
    ] {
        let config = resolve(flags).expect("good");
        let again = Config::resolve(&config.resolved, 7).expect("again");
        assert_eq!(again, config, "{flags:?}");
    }
}

#[test]
fn every_bad_value_is_one_line_that_names_its_flag() {
    let cases: &[(&str, &[&str])] = &[
        ("--tps", &[]),
        ("--tps", &["--tps", "abc"]),
        ("--tps", &["--tps", "0"]),
        ("--stages", &["--stages", "5k"]),
        ("--duration", &["--stages", "5k@1s", "--duration", "5s"]),
        ("--duration", &["--tps", "1", "--duration", "soon"]),
        ("--duration", &["--tps", "1", "--duration", "0"]),
        ("--duration", &["--tps", "1:2", "--duration", "100"]),
        ("--warmup", &["--tps", "1", "--warmup", "x"]),
        ("--drain", &["--tps", "1", "--drain", "5"]),
        ("--deadline", &["--tps", "1", "--deadline", "0"]),
        ("--arrival", &["--tps", "1", "--arrival", "bursty"]),
        ("--overload", &["--tps", "1", "--overload", "panic"]),
        ("--max-in-flight", &["--tps", "1", "--max-in-flight", "0"]),
        ("--seed", &["--tps", "1", "--seed=-3"]),
        ("--shards", &["--tps", "1", "--shards", "3"]),
        ("--shards", &["--tps", "1", "--shards", "512"]),
        ("--shards", &["--tps", "1", "--shards", "0"]),
        ("--validators", &["--tps", "1", "--validators", "3"]),
        (
            "--validators",
            &["--tps", "1", "--shards", "256", "--validators", "16"],
        ),
        ("--durability", &["--tps", "1", "--durability", "maybe"]),
        ("--policy", &["--tps", "1", "--policy", "moon"]),
        ("--rtt", &["--tps", "1", "--rtt", "11s"]),
        ("--validators", &["--tps", "1", "--validators", "4"]),
        (
            "--validators",
            &["--tps", "1", "--protocol", "pbft", "--validators", "3"],
        ),
        ("--believable", &["--tps", "1", "--believable", "0"]),
        (
            "--believable",
            &["--tps", "1", "--protocol", "pbft", "--believable", "1"],
        ),
        (
            "--candidates",
            &["--tps", "1", "--believable", "3", "--candidates", "2"],
        ),
        ("--sampling", &["--tps", "1", "--sampling", "2"]),
        (
            "--sampling",
            &["--tps", "1", "--protocol", "pbft", "--sampling", "1"],
        ),
        ("--bond", &["--tps", "1", "--bond", "0"]),
        ("--byzantine", &["--tps", "1", "--byzantine", "steal"]),
        (
            "--byzantine",
            &["--tps", "1", "--protocol", "pbft", "--byzantine", "forge"],
        ),
        (
            "--slo",
            &["--tps", "1", "--protocol", "pbft", "--slo", "optimistic.p99<50ms"],
        ),
        ("--protocol", &["--tps", "1", "--protocol", "records"]),
        ("--protocol", &["--tps", "1", "--protocol", "pbtf"]),
        ("--cross-shard", &["--tps", "1", "--cross-shard", "natural"]),
        ("--cross-shard", &["--tps", "1", "--cross-shard", "0.5"]),
        ("--conflicts", &["--tps", "1", "--conflicts", "0.6"]),
        ("--invalid", &["--tps", "1", "--invalid", "sig"]),
        (
            "--invalid",
            &["--tps", "1", "--invalid", "0.5", "--conflicts", "0.45"],
        ),
        ("--workload", &["--tps", "1", "--workload", "fanout"]),
        ("--workload", &["--tps", "1", "--workload", "transfr"]),
        (
            "--workload",
            &["--tps", "1", "--workload", "bitcoin:/no/such/file"],
        ),
        ("--inputs", &["--tps", "1", "--inputs", "65"]),
        ("--outputs", &["--tps", "1", "--outputs", "0"]),
        ("--amount", &["--tps", "1", "--amount", "0"]),
        ("--accounts", &["--tps", "1", "--accounts", "many"]),
        (
            "--chain-depth",
            &["--tps", "1", "--chain-depth", "2", "--outputs", "1"],
        ),
        ("--nodes", &["--tps", "1", "--nodes", "nowhere"]),
        ("--genesis", &["--tps", "1", "--nodes", "127.0.0.1:1"]),
        (
            "--genesis",
            &[
                "--tps",
                "1",
                "--nodes",
                "127.0.0.1:1",
                "--genesis",
                "/no/such/file",
            ],
        ),
        ("--genesis", &["--tps", "1", "--genesis", "genesis.toml"]),
        ("--connections", &["--tps", "1", "--connections", "0"]),
        ("--batch", &["--tps", "1", "--batch", "5000"]),
        ("--threads", &["--tps", "1", "--threads", "65"]),
        ("--pace-quantum", &["--tps", "1", "--pace-quantum", "1s"]),
        ("--slo", &["--tps", "1", "--slo", "nonsense"]),
        ("--abort-on", &["--tps", "1", "--abort-on", "final.max<1s"]),
        ("--abort-on", &["--tps", "1", "--abort-on", "errors>5%@x"]),
        ("--validity", &["--tps", "1", "--validity", "lax"]),
        ("--out", &["--tps", "1", "--out", "/no/such/folder/r.json"]),
        ("--format", &["--tps", "1", "--format", "xml"]),
        ("--progress", &["--tps", "1", "--progress", "tui"]),
        ("--interval", &["--tps", "1", "--interval", "1ms"]),
        ("--tag", &["--tps", "1", "--tag", "novalue"]),
    ];
    for (flag, flags) in cases {
        let error = resolve(flags).expect_err(&format!("{flags:?}"));
        assert!(error.starts_with(flag), "{flags:?}: {error}");
        assert!(error.contains("accepted: "), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
    assert!(
        resolve(&["--tps", "1", "--protocol", "pbtf"])
            .expect_err("typo")
            .contains("did you mean 'pbft'")
    );
    assert!(
        resolve(&["--tps", "1", "--shards", "3"])
            .expect_err("3")
            .contains("did you mean '4'")
    );
}

#[test]
fn what_is_left_open_is_left_to_a_policy_file() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("policy.toml");
    std::fs::write(&file, "window = 3\n").expect("write");
    let path = file.display().to_string();
    let config = resolve(&["--tps", "1", "--policy", &path, "--sampling", "1"]).expect("a file");
    let Network::Local(network) = &config.network else {
        panic!("local");
    };
    let leagues = Leagues {
        seats: None,
        candidates: None,
        sampling_ppm: Some(1_000_000),
        bond: None,
    };
    assert_eq!(
        (&network.policy, &network.design),
        (&path, &Design::TwoLeagues(leagues))
    );
    let seats = resolve(&["--tps", "1", "--believable", "2"]).expect("seats");
    let Network::Local(network) = &seats.network else {
        panic!("local");
    };
    assert_eq!(network.validators, 6, "four vote");
    assert_eq!(seats.resolved.candidates.as_deref(), Some("2"));
}

#[test]
fn double_spends_need_coins_of_their_own() {
    let plain = resolve(&["--tps", "5k", "--duration", "30s"]).expect("plain");
    let doubled = resolve(&["--tps", "5k", "--duration", "30s", "--conflicts", "0.1"]).expect("doubled");
    assert_eq!(plain.accounts, 30_000);
    assert_eq!(
        doubled.accounts,
        30_000 + 24_000,
        "a tenth of 200,000 and a fifth more"
    );
}

#[test]
fn a_trace_has_its_own_rules() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("t.trace");
    std::fs::write(&file, "x").expect("write");
    let workload = format!("bitcoin:{}", file.display());
    let base = ["--tps", "100", "--workload", workload.as_str()];
    let config = resolve(&base).expect("trace");
    assert_eq!(config.workload, WorkloadChoice::Bitcoin(file));
    assert_eq!(config.load.warmup, Duration::ZERO);
    let Network::Local(network) = &config.network else {
        panic!("local");
    };
    assert_eq!(network.shards, 1);
    for (flag, more) in [
        ("--shards", &["--shards", "2"][..]),
        ("--warmup", &["--warmup", "3s"]),
        ("--duration", &["--duration", "3s"]),
        ("--invalid", &["--invalid", "0.1"]),
        ("--conflicts", &["--conflicts", "0.1"]),
    ] {
        let error = resolve(&[&base[..], more].concat()).expect_err(flag);
        assert!(error.starts_with(flag), "{error}");
    }
}

#[test]
fn files_fill_what_flags_leave_open() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("run.toml");
    std::fs::write(
        &path,
        "tps = 4000\nshards = \"1\"\nmax-in-flight = \"5k\"\nslo = [\"p99<1s\"]\n",
    )
    .expect("write");
    let merged = merge_file(&raw(&["--tps", "9k"]), &path).expect("merge");
    assert_eq!(merged.tps.as_deref(), Some("9k"), "the command line wins");
    assert_eq!(merged.shards.as_deref(), Some("1"));
    assert_eq!(merged.max_in_flight.as_deref(), Some("5k"));
    assert_eq!(merged.slo, ["p99<1s"]);
    for (text, part) in [
        ("tpss = 4", "did you mean 'tps'"),
        ("tps = true", "tps: not a value"),
        ("tps = ", "--config"),
        ("{\"run\": {\"config\": ", "not a whole report"),
        ("{}", "no run.config"),
    ] {
        std::fs::write(&path, text).expect("write");
        let error = merge_file(&raw(&[]), &path).expect_err(text).to_string();
        assert!(error.contains(part) && error.contains("run.toml"), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
    assert!(merge_file(&raw(&[]), &folder.path().join("none")).is_err());
}
