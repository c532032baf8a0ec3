//! Hostile clients beside honest ones, on a network of four `run` processes.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::four_nodes::{base_port, genesis, load, start};
use crate::programs::{Folder, Running, finish, program, report};

/// No node may need more, attacked or not: what all clients together can pin, and the rest of the node.
const NODE_MEMORY_MAX: u64 = (1 << 30) + (256 << 20);

/// Runs an attack beside a load, and checks that the honest clients were served and that the nodes still run.
fn attacked(folder: &Folder, nodes: &mut [Running], attack: &str, arguments: &[&str]) -> Value {
    let attacker = Command::new(program("hostile"))
        .current_dir(folder.path())
        .args([attack, "--nodes", "@net/hosts", "--seconds", "8"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("hostile starts");
    let out = format!("{attack}.json");
    load(folder, &out);
    let output = finish(attacker);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{attack}: {said}");
    for (number, node) in nodes.iter_mut().enumerate() {
        let ended = node.0.try_wait().expect("a child can be waited for");
        assert_eq!(ended, None, "{attack}: node {number} ended");
    }
    let loaded = report(&folder.join(&out));
    assert_eq!(loaded["counts"]["lost"], 0, "{attack}: {}", loaded["counts"]);
    let memory = loaded["cost"]["rss_bytes"].as_u64();
    assert!(
        memory.is_some_and(|bytes| bytes > 0 && bytes < 4 * NODE_MEMORY_MAX),
        "{attack}: {}",
        loaded["cost"]
    );
    serde_json::from_slice(&output.stdout).expect("one line of JSON")
}

fn counted(outcome: &Value, name: &str) -> u64 {
    outcome["counts"][name].as_u64().unwrap_or(0)
}

#[test]
fn honest_clients_are_served_beside_every_attack() {
    let folder = Folder::new("hostile");
    genesis(&folder, base_port(2));
    let mut nodes: Vec<Running> = (0..4).map(|validator| start(&folder, validator)).collect();
    let mut run = |attack: &str, arguments: &[&str]| {
        let outcome = attacked(&folder, &mut nodes, attack, arguments);
        assert_eq!(counted(&outcome, "attackers_panicked"), 0, "{outcome}");
        outcome
    };

    let outcome = run("bad-signatures", &["--rate", "200", "--bad-share", "0.5"]);
    let (bad, refused) = (
        counted(&outcome, "sent_bad"),
        counted(&outcome, "answered_bad_signature"),
    );
    assert!(
        refused > 0 && refused <= bad,
        "bad ones are refused as such: {outcome}"
    );
    assert_eq!(counted(&outcome, "answered_final_notes"), 0, "{outcome}");

    let outcome = run("garbage", &["--connections", "8"]);
    assert!(counted(&outcome, "closed_by_node") > 0, "{outcome}");
    assert_eq!(counted(&outcome, "not_closed"), 0, "{outcome}");

    let outcome = run("half-open", &["--connections", "24"]);
    assert!(counted(&outcome, "connected") > 0, "{outcome}");

    let outcome = run("slow-readers", &["--connections", "32"]);
    assert!(counted(&outcome, "sent_questions") > 0, "{outcome}");

    let outcome = run("flood", &["--connections", "4"]);
    assert!(
        counted(&outcome, "answered_busy") > 0,
        "beyond the bounds is busy: {outcome}"
    );

    let outcome = run("handshakes", &["--connections", "8"]);
    assert!(counted(&outcome, "connected") > 0, "{outcome}");
    simulator::record::append("hostile clients", &[("attacks", 6)]);
}

/// Every queue between the threads and sockets of a validator holds one item: what waits for room must never wait in a
/// circle. The exception is what waits for a client: there nobody waits, the client is disconnected.
#[test]
fn transactions_become_final_through_queues_of_one() {
    let folder = Folder::new("narrow");
    genesis(&folder, base_port(3));
    for validator in 0..4 {
        let path = folder.join("net").join(format!("validator-{validator:03}.toml"));
        let mut text = std::fs::read_to_string(&path).expect("the configuration");
        text.push_str("\n[queues]\n");
        for queue in [
            "peer_events",
            "peer_frames",
            "client_requests",
            "queries",
            "intake_txs",
            "admission_batches",
            "verify_jobs",
            "persist",
        ] {
            text.push_str(&format!("{queue} = 1\n"));
        }
        std::fs::write(&path, text).expect("changed");
    }
    let _nodes: Vec<Running> = (0..4).map(|validator| start(&folder, validator)).collect();
    load(&folder, "narrow.json");
    let counts = &report(&folder.join("narrow.json"))["counts"];
    assert_eq!(counts["lost"], 0, "{counts}");
}
