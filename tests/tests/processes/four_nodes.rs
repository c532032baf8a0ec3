//! Four `run` processes: loaded twice, killed and restarted in between.

use std::process::{Command, Stdio};

use crate::programs::{Folder, Running, assert_sound, loadgen, program, report};

/// Below the range from which systems hand out ports, and another one for each network of this process.
pub(crate) fn base_port(network: u32) -> u32 {
    21_000 + std::process::id() % 180 * 64 + network * 8
}

pub(crate) fn genesis(folder: &Folder, base_port: u32) {
    let out = folder.join("net");
    let status = Command::new(program("shardbench-node"))
        .args([
            "genesis",
            "--shards",
            "1",
            "--validators",
            "4",
            "--protocol",
            "pbft",
            "--seed",
            "1",
            "--accounts",
            "1000",
            "--amount",
            "1000000",
        ])
        .args(["--base-port", &base_port.to_string(), "--name", "four", "--out"])
        .arg(&out)
        .stderr(Stdio::null())
        .status()
        .expect("shardbench-node starts");
    assert!(status.success());
}

pub(crate) fn start(folder: &Folder, validator: usize) -> Running {
    let config = folder.join("net").join(format!("validator-{validator:03}.toml"));
    let mut command = Command::new(program("shardbench-node"));
    Running::start(
        command
            .arg("run")
            .arg("--config")
            .arg(config)
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    )
}

pub(crate) fn load(folder: &Folder, out: &str) {
    let output = loadgen(
        folder,
        &[
            "--nodes",
            "@net/hosts",
            "--tps",
            "200",
            "--duration",
            "3s",
            "--warmup",
            "1s",
            "-o",
            out,
        ],
    );
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        matches!(output.status.code(), Some(0 | 4)),
        "{:?}: {text}",
        output.status
    );
    assert_sound(&report(&folder.join(out)), &output);
}

#[test]
fn a_network_of_processes_is_loaded_survives_kill_9_of_all_and_is_loaded_again() {
    let folder = Folder::new("four");
    genesis(&folder, base_port(0));
    let mut nodes: Vec<Running> = (0..4).map(|validator| start(&folder, validator)).collect();
    load(&folder, "first.json");
    nodes.iter_mut().for_each(Running::kill);
    nodes = (0..4).map(|validator| start(&folder, validator)).collect();
    load(&folder, "second.json");
    let unfunded = loadgen(
        &folder,
        &[
            "--nodes",
            "@net/hosts",
            "--tps",
            "100",
            "--duration",
            "1s",
            "--seed",
            "99",
        ],
    );
    assert_eq!(unfunded.status.code(), Some(2));
    let said = String::from_utf8_lossy(&unfunded.stderr).into_owned();
    assert!(said.contains("99") && said.contains("seed 1"), "{said}");
    drop(nodes);
}

#[test]
fn a_port_in_use_is_said_and_nothing_starts() {
    let folder = Folder::new("port");
    genesis(&folder, base_port(1));
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("its address").to_string();
    let config = folder.join("net").join("validator-000.toml");
    let text = std::fs::read_to_string(&config).expect("the configuration");
    let own = format!("127.0.0.1:{}", base_port(1) + 1);
    std::fs::write(&config, text.replace(&own, &address)).expect("changed");
    let output = Command::new(program("shardbench-node"))
        .arg("run")
        .arg("--config")
        .arg(&config)
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(&address), "{said}");
    assert!(output.stdout.is_empty(), "nothing is served");
}
