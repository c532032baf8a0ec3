//! The main job on the embedded network.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::programs::{Folder, Running, assert_sound, loadgen, program, report};

#[test]
fn a_run_on_two_shards_balances_audits_clean_and_checks_every_signature_on_every_validator() {
    let folder = Folder::new("embedded");
    let output = loadgen(
        &folder,
        &[
            "--protocol",
            "pbft",
            "--tps",
            "400",
            "--shards",
            "2",
            "--validators",
            "4",
            "--duration",
            "4s",
            "--warmup",
            "1s",
            "--accounts",
            "2000",
            "-o",
            "r.json",
        ],
    );
    let report = report(&folder.join("r.json"));
    assert_sound(&report, &output);
    let checks = report["cost"]["sig_checks_per_tx"].as_f64().expect("a number");
    assert!(
        (3.96..=4.04).contains(&checks),
        "{checks} signature checks per transaction"
    );
    assert!(matches!(output.status.code(), Some(0 | 4)), "{:?}", output.status);
    assert_eq!(report["env"]["nodes"].as_array().map(Vec::len), Some(8));
}

#[test]
fn a_round_trip_of_200_ms_puts_several_heights_in_flight() {
    let folder = Folder::new("rtt");
    let output = loadgen(
        &folder,
        &[
            "--tps",
            "200",
            "--shards",
            "1",
            "--rtt",
            "200ms",
            "--duration",
            "5s",
            "--warmup",
            "1s",
            "--accounts",
            "2000",
            "-o",
            "r.json",
        ],
    );
    let report = report(&folder.join("r.json"));
    assert_sound(&report, &output);
    let in_flight = report["cost"]["heights_in_flight_mean"]
        .as_f64()
        .expect("a number");
    assert!(in_flight > 1.0, "{in_flight} heights in flight");
}

#[test]
fn the_same_seed_gives_the_same_transactions() {
    let folder = Folder::new("seed");
    let digest = |seed: &str, out: &str| {
        let fixed = "--tps 300 --shards 1 --duration 1s --warmup 0s --accounts 500 --seed";
        let arguments: Vec<&str> = fixed.split(' ').chain([seed, "-o", out]).collect();
        let output = loadgen(&folder, &arguments);
        let report = report(&folder.join(out));
        assert_sound(&report, &output);
        report["run"]["workload_digest"].clone()
    };
    // Validators' keys of an embedded network once came from entropy, and with them another genesis each time.
    assert_eq!(digest("7", "a.json"), digest("7", "b.json"));
    assert_ne!(digest("7", "c.json"), digest("8", "d.json"));
}

/// The embedded network is a child that reads a pipe: when the generator is killed, the pipe ends.
#[test]
fn the_network_ends_when_its_parent_is_killed() {
    let folder = Folder::new("orphan");
    let mut command = Command::new(program("loadgen"));
    command
        .args([
            "--tps",
            "50",
            "--shards",
            "1",
            "--duration",
            "120s",
            "--warmup",
            "0s",
            "--accounts",
            "500",
        ])
        .current_dir(folder.path())
        .env("XDG_CACHE_HOME", folder.join("cache"))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    let mut generator = Running::start(&mut command);
    let parent = generator.0.id();
    let Some(network) = wait_for(|| child_of(parent)) else {
        println!("skipped: this system has no /proc to find the network's process in");
        return;
    };
    generator.kill();
    let ended = wait_for(|| (!is_alive(network)).then_some(()));
    assert!(ended.is_some(), "process {network} outlives its parent");
}

fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        if let Some(found) = look() {
            return Some(found);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    None
}

/// Process id of a `shardbench-node testnet` whose parent is `parent`.
fn child_of(parent: u32) -> Option<u32> {
    std::fs::read_dir("/proc")
        .ok()?
        .filter_map(Result::ok)
        .find_map(|entry| {
            let id: u32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            let command = std::fs::read_to_string(entry.path().join("cmdline")).ok()?;
            let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
            let of_parent = fields.get(1)?.parse::<u32>().ok()? == parent;
            (of_parent && command.contains("testnet")).then_some(id)
        })
}

fn is_alive(process: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}
