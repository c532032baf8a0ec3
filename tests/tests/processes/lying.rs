//! Networks in which one validator lies to its clients: each lie ends with exit 4, a finding in the report, and a line
//! that names the validator and the transaction. Four `run` processes; the client port of one is behind a [`Proxy`]
//! that holds its key and changes answers.

use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use types::TxId;

use crate::programs::{Folder, Running, assert_sound, loadgen, program, report};

mod chains;
mod proxy;
mod receipts;

use chains::{
    Cut, Digest, DoubledBody, DroppedTransaction, Elsewhere, Garbage, HangUp, LeftOutBlock, Mint, MintedBody,
    Recorder, Silence,
};
use proxy::{Lie, Proxy};
use receipts::{DoubledReceipt, ForgedReceipt, Refusal};

/// The validator that lies, where it does not matter which.
const LIAR: usize = 2;

/// A transaction that a lie is about, told to the test.
#[derive(Clone, Debug, Default)]
struct Victim(Arc<Mutex<Option<TxId>>>);

impl Victim {
    /// Names the transaction, once.
    fn name(&self, txid: TxId) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(txid);
    }

    fn named(&self) -> Option<TxId> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Four processes and the keys of their validators.
struct Network {
    folder: Folder,
    _nodes: Vec<Running>,
}

impl Network {
    /// `number` tells apart the networks of this process: each has ports of its own, below those of `four_nodes`.
    fn start(name: &str, number: u32) -> Self {
        let folder = Folder::new(name);
        let base_port = 10_000 + std::process::id() % 64 * 160 + number * 8;
        let fixed =
            "genesis --shards 1 --validators 4 --protocol pbft --seed 1 --accounts 1000 --amount 1000000";
        let status = Command::new(program("shardbench-node"))
            .args(fixed.split(' '))
            .args(["--name", name, "--base-port", &base_port.to_string(), "--out"])
            .arg(folder.join("net"))
            .stderr(Stdio::null())
            .status()
            .expect("shardbench-node starts");
        assert!(status.success());
        let start = |validator: u32| {
            let config = folder.join("net").join(format!("validator-{validator:03}.toml"));
            let mut command = Command::new(program("shardbench-node"));
            command.arg("run").arg("--config").arg(config);
            Running::start(command.stdout(Stdio::null()).stderr(Stdio::null()))
        };
        Self {
            _nodes: (0..4).map(start).collect(),
            folder,
        }
    }

    fn hosts(&self) -> Vec<(SocketAddr, String)> {
        let text = std::fs::read_to_string(self.folder.join("net/hosts")).expect("hosts");
        let node = |line: &str| {
            let (address, key) = line.split_once(' ').expect("an address and a key");
            (address.parse().expect("an address"), key.trim().to_owned())
        };
        text.lines().map(node).collect()
    }

    /// The liar's port for clients is where `lie` listens; the hosts file `liars` says so.
    fn proxied(&self, liar: usize, lie: Box<dyn Lie>) -> Proxy {
        let mut hosts = self.hosts();
        let key =
            std::fs::read_to_string(self.folder.join(&format!("net/keys/{liar:03}.key"))).expect("a key");
        let mut secret = [0; 32];
        hex::decode_to_slice(key.trim(), &mut secret).expect("64 hexadecimal digits");
        let proxy = Proxy::start(secret, hosts[liar].0, lie);
        hosts[liar].0 = proxy.address;
        let lines: Vec<String> = hosts
            .iter()
            .map(|(address, key)| format!("{address} {key}\n"))
            .collect();
        std::fs::write(self.folder.join("net/liars"), lines.concat()).expect("a hosts file");
        proxy
    }

    fn load(&self, hosts: &str) -> (Output, Value) {
        let hosts = format!("@net/{hosts}");
        let fixed = "--tps 200 --duration 3s --warmup 1s --drain 5s -o r.json";
        let arguments: Vec<&str> = ["--nodes", &hosts].into_iter().chain(fixed.split(' ')).collect();
        let output = loadgen(&self.folder, &arguments);
        let path = self.folder.join("r.json");
        assert!(
            path.exists(),
            "no report: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        (output, report(&path))
    }

    fn run(&self, liar: usize, proxy: &Proxy) -> Run {
        let (output, report) = self.load("liars");
        let findings = report["audit"]["findings"].as_array().map_or(0, Vec::len);
        let is_invalid = report["verdict"]["status"] == "INVALID";
        let counters = [
            ("runs", 1),
            ("runs_invalid", u64::from(is_invalid)),
            ("findings", findings as u64),
        ];
        simulator::record::append("lying_validators", &counters);
        Run {
            liar,
            address: proxy.address,
            text: String::from_utf8_lossy(&output.stdout).into_owned(),
            output,
            report,
        }
    }
}

/// Runs a load against a network with one liar.
fn run(name: &str, number: u32, lie: Box<dyn Lie>) -> Run {
    let network = Network::start(name, number);
    let proxy = network.proxied(LIAR, lie);
    network.run(LIAR, &proxy)
}

struct Run {
    liar: usize,
    address: SocketAddr,
    text: String,
    output: Output,
    report: Value,
}

impl Run {
    /// The run is invalid, only the liar is blamed, and of each kind there is a finding that names the transaction,
    /// in the report and on a line of its own.
    fn assert_lies(&self, kinds: &[&str], victim: Option<TxId>) {
        let text = &self.text;
        assert_eq!(self.output.status.code(), Some(4), "{text}");
        assert_eq!(self.report["verdict"]["status"], "INVALID", "{text}");
        let findings = self.report["audit"]["findings"].as_array().expect("findings");
        for finding in findings {
            assert_eq!(finding["validator"], self.liar, "only the liar is blamed: {text}");
            assert_eq!(finding["address"], self.address.to_string(), "{text}");
        }
        for kind in kinds {
            let of_kind = |finding: &&Value| {
                let txid = finding["transaction"].as_str();
                finding["kind"] == **kind
                    && txid.is_some_and(|txid| victim.is_none_or(|victim| victim.to_string() == txid))
            };
            let finding = findings.iter().find(of_kind);
            let finding = finding.unwrap_or_else(|| panic!("no {kind} of {victim:?}: {text}"));
            let who = format!("validator {} ({}", self.liar, self.address);
            let txid = finding["transaction"].as_str().expect("a transaction");
            let is_line = |line: &&str| line.contains(&who) && line.contains(txid);
            assert!(text.lines().any(|line| is_line(&line)), "{kind}: {text}");
        }
    }
}

/// The tests below find lies; this one shows that it is not the proxy that they find.
#[test]
fn a_proxy_that_changes_nothing_ends_with_a_clean_audit() {
    struct Honest;
    impl Lie for Honest {}
    let run = run("lie-none", 0, Box::new(Honest));
    assert_sound(&run.report, &run.output);
    let text = &run.text;
    assert_eq!(
        run.report["audit"]["findings"].as_array().map(Vec::len),
        Some(0),
        "{text}"
    );
    assert_ne!(run.report["verdict"]["status"], "INVALID", "{text}");
    assert!(matches!(run.output.status.code(), Some(0 | 4)), "{text}");
}

#[test]
fn a_receipted_transaction_that_is_dropped_from_a_body_is_named() {
    let victim = Victim::default();
    let run = run("lie-drop", 1, Box::new(DroppedTransaction(victim.clone())));
    assert!(victim.named().is_some());
    run.assert_lies(&["body", "receipt_dropped"], victim.named());
}

#[test]
fn a_block_that_is_left_out_is_found_with_its_first_receipted_transaction() {
    let victim = Victim::default();
    let run = run("lie-block", 2, Box::new(LeftOutBlock::new(victim.clone())));
    assert!(victim.named().is_some());
    run.assert_lies(&["receipt_dropped"], victim.named());
    run.assert_lies(&["header"], None);
}

#[test]
fn a_lie_about_the_digest_is_found() {
    run("lie-digest", 3, Box::new(Digest)).assert_lies(&["state"], None);
}

#[test]
fn a_lie_about_the_supply_is_found() {
    run("lie-supply", 4, Box::new(Mint)).assert_lies(&["state"], None);
}

#[test]
fn an_output_that_is_raised_in_a_body_is_found() {
    let victim = Victim::default();
    let run = run("lie-mint", 5, Box::new(MintedBody(victim.clone())));
    assert!(victim.named().is_some());
    run.assert_lies(&["body", "receipt_dropped"], victim.named());
}

#[test]
fn an_author_block_that_is_counted_twice_is_found() {
    let victim = Victim::default();
    let run = run("lie-twice", 6, Box::new(DoubledBody(victim.clone())));
    assert!(victim.named().is_some());
    run.assert_lies(&["body"], victim.named());
    assert_eq!(run.report["audit"]["double_spends"], 0);
    assert_eq!(
        run.report["audit"]["final_txs_in_chain"],
        run.report["counts"]["final"]
    );
}

#[test]
fn a_transaction_that_is_receipted_twice_is_counted_once_and_named() {
    let victim = Victim::default();
    let run = run("lie-again", 7, Box::new(DoubledReceipt::new(victim.clone())));
    assert!(victim.named().is_some());
    run.assert_lies(&["answered_twice"], victim.named());
    assert_eq!(
        run.report["audit"]["final_txs_in_chain"],
        run.report["counts"]["final"]
    );
}

#[test]
fn a_receipt_whose_certificate_does_not_fit_is_found() {
    let victim = Victim::default();
    let run = run(
        "lie-forged",
        8,
        Box::new(ForgedReceipt::uncertified(victim.clone())),
    );
    assert!(victim.named().is_some());
    run.assert_lies(&["receipt_forged"], victim.named());
}

#[test]
fn a_certified_receipt_for_a_transaction_that_is_in_no_block_is_found() {
    let victim = Victim::default();
    let run = run("lie-false", 9, Box::new(ForgedReceipt::certified(victim.clone())));
    assert!(victim.named().is_some());
    run.assert_lies(&["receipt_false"], victim.named());
}

#[test]
fn a_refusal_of_a_transaction_that_was_applied_is_found() {
    let victim = Victim::default();
    let run = run("lie-refused", 10, Box::new(Refusal::new(victim.clone())));
    assert!(victim.named().is_some());
    run.assert_lies(&["refusal_false"], victim.named());
}

#[test]
fn a_validator_that_shows_no_chain_is_named_and_the_audit_ends() {
    run("lie-silent", 11, Box::new(Silence)).assert_lies(&["unreadable", "receipt_dropped"], None);
}

#[test]
fn a_validator_that_hangs_up_is_named() {
    run("lie-hang-up", 16, Box::new(HangUp)).assert_lies(&["unreadable", "receipt_dropped"], None);
}

#[test]
fn a_validator_that_ends_its_chain_early_is_named() {
    let run = run("lie-cut", 12, Box::new(Cut::default()));
    run.assert_lies(&["unreadable", "receipt_dropped"], None);
}

#[test]
fn a_validator_that_answers_garbage_is_named() {
    let run = run("lie-garbage", 13, Box::new(Garbage));
    run.assert_lies(&["unreadable", "receipt_dropped"], None);
}

#[test]
fn a_chain_of_another_network_is_found() {
    let other = Network::start("lie-other", 14);
    let recorder = Recorder::default();
    let proxy = other.proxied(LIAR, Box::new(recorder.clone()));
    let (output, report) = other.load("liars");
    assert_sound(&report, &output);
    drop(proxy);
    let items = recorder.items();
    assert!(items.len() > 2, "{} items", items.len());
    let run = run("lie-foreign", 15, Box::new(Elsewhere(items)));
    run.assert_lies(&["header", "receipt_dropped"], None);
}

/// The first validator of a shard is the one that a run on a used network reads the chain from.
#[test]
fn a_first_validator_that_lies_does_not_stop_a_second_run() {
    let network = Network::start("lie-first", 17);
    let (output, report) = network.load("hosts");
    assert_sound(&report, &output);
    let proxy = network.proxied(0, Box::new(Garbage));
    let run = network.run(0, &proxy);
    run.assert_lies(&["unreadable", "receipt_dropped"], None);
    let count = &run.report["counts"]["final"];
    assert!(count.as_u64().is_some_and(|count| count > 0), "{}", run.text);
    let told = String::from_utf8_lossy(&run.output.stderr);
    assert!(
        told.contains("another validator is asked for the chain: validator 0 ("),
        "{told}"
    );
}
