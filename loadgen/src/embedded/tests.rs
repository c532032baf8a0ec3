//! The contract with the child, played by small shell scripts.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sizing::exposure::Traffic;

use super::{
    DataDir, Embedded, EmbeddedError, Funding, design_flags, find_node, make_genesis, parse_ready, shown,
};
use crate::config::{Design, Leagues, LocalNetwork};

fn network() -> LocalNetwork {
    LocalNetwork {
        shards: 1,
        validators: 4,
        design: Design::OneLeague,
        byzantine: None,
        durability: "fsync",
        data_dir: None,
        policy: "lan".to_owned(),
        rtt: Duration::from_millis(200),
        node_bin: None,
    }
}

/// A program that does what `body` says.
fn script(folder: &Path, body: &str) -> PathBuf {
    let path = folder.join("node.sh");
    std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).expect("script");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("mode");
    path
}

fn ready_line() -> String {
    format!(
        r#"{{"ready":true,"build":"{}","nodes":[{{"validator":0,"key":"{}","shard":0,"member":0,"address":"127.0.0.1:4001"}}]}}"#,
        crate::build_info::build(),
        "ab".repeat(32)
    )
}

#[test]
fn a_child_is_started_found_and_ended_by_the_end_of_its_input() {
    let folder = tempfile::tempdir().expect("folder");
    let body = format!(
        "echo \"$@\" > {}/args\necho '{}'\ncat > /dev/null",
        folder.path().display(),
        ready_line()
    );
    let node = script(folder.path(), &body);
    let mut embedded = Embedded::start(&node, &network(), 10, folder.path()).expect("ready");
    assert_eq!(
        embedded.addresses()[&[0xab; 32]],
        "127.0.0.1:4001".parse().expect("address")
    );
    embedded.check().expect("running");
    embedded.stop().expect("ends by itself");
    let args = std::fs::read_to_string(folder.path().join("args")).expect("args");
    assert!(
        args.contains("testnet --dir") && args.contains("--durability fsync --rtt 200ms"),
        "{args}"
    );
}

#[test]
fn what_was_asked_of_the_design_reaches_the_child_and_nothing_else_does() {
    let traffic = Traffic {
        rate: 1000.5,
        value_mean: 7,
        value_max: 9,
    };
    assert_eq!(design_flags(&Design::OneLeague, &traffic), ["--protocol", "pbft"]);
    let leagues = Leagues {
        seats: Some(2),
        candidates: Some(3),
        sampling_ppm: Some(50_000),
        bond: None,
    };
    let flags = design_flags(&Design::TwoLeagues(leagues), &traffic).join(" ");
    assert_eq!(
        flags,
        "--protocol pob --believable 2 --candidates 3 --sampling 0.05 --rate 1001 --value-mean 7 --value-max 9"
    );
    let folder = tempfile::tempdir().expect("folder");
    let body = format!(
        "echo \"$@\" > {}/args\necho '{}'\ncat > /dev/null",
        folder.path().display(),
        ready_line()
    );
    let node = script(folder.path(), &body);
    let cheating = LocalNetwork {
        byzantine: Some("forge=0.01,late".to_owned()),
        ..network()
    };
    let embedded = Embedded::start(&node, &cheating, 10, folder.path()).expect("ready");
    embedded.stop().expect("ends by itself");
    let args = std::fs::read_to_string(folder.path().join("args")).expect("args");
    assert!(args.contains("--byzantine forge=0.01,late"), "{args}");
}

#[test]
fn a_child_that_fails_is_quoted() {
    let folder = tempfile::tempdir().expect("folder");
    let node = script(folder.path(), "echo 'port 4001 is in use' >&2\nexit 3");
    let error = Embedded::start(&node, &network(), 10, folder.path())
        .expect_err("fails")
        .to_string();
    assert!(
        error.contains("port 4001 is in use") && error.contains('3'),
        "{error}"
    );
    let body = format!("echo '{}'\nread line", ready_line());
    let node = script(folder.path(), &format!("{body}\nexit 4"));
    let embedded = Embedded::start(&node, &network(), 10, folder.path()).expect("ready");
    assert!(
        matches!(embedded.stop(), Err(EmbeddedError::Failed { .. })),
        "an error at the end is told"
    );
    let error = make_genesis(
        &script(folder.path(), "echo 'no room' >&2\nexit 1"),
        &network(),
        &Funding {
            seed: 1,
            accounts: 5,
            listed: &[],
            traffic: Traffic {
                rate: 1.0,
                value_mean: 1,
                value_max: 1,
            },
        },
        folder.path(),
    );
    assert!(error.expect_err("fails").to_string().contains("no room"));
}

#[test]
fn other_builds_and_other_words_are_refused() {
    let line = ready_line();
    let node = Path::new("node");
    let ours = crate::build_info::build();
    assert_eq!(parse_ready(&line, node, &ours).expect("good").len(), 1);
    let error = parse_ready(&line, node, "9.9.9+abc")
        .expect_err("build")
        .to_string();
    assert!(error.contains("9.9.9+abc") && error.contains(&ours), "{error}");
    for bad in [
        "hello",
        "{}",
        &line.replace("true", "false"),
        &line.replace("abab", "xyxy"),
        &line.replace(":4001", ""),
    ] {
        assert!(
            matches!(parse_ready(bad, node, &ours), Err(EmbeddedError::Protocol { .. })),
            "{bad}"
        );
    }
}

#[test]
fn a_missing_program_is_said_with_the_way_out() {
    let error = find_node(Some(Path::new("/no/such/node")))
        .expect_err("missing")
        .to_string();
    assert!(
        error.contains("cargo build") && error.contains("--node-bin"),
        "{error}"
    );
    let folder = tempfile::tempdir().expect("folder");
    let node = script(folder.path(), "exit 0");
    assert_eq!(find_node(Some(&node)).expect("found"), node);
}

#[test]
fn a_data_directory_is_made_and_removed() {
    let folder = tempfile::tempdir().expect("folder");
    let data = DataDir::create(Some(folder.path()), "1a2b").expect("made");
    std::fs::write(data.path().join("x"), "x").expect("write");
    data.remove();
    assert_eq!(std::fs::read_dir(folder.path()).expect("folder").count(), 0);
    let file = folder.path().join("file");
    std::fs::write(&file, "x").expect("write");
    let error = DataDir::create(Some(&file), "1a2b")
        .expect_err("a file")
        .to_string();
    assert!(error.contains("--data-dir"), "{error}");
}

#[test]
fn long_messages_keep_their_end() {
    let text = shown(&format!("{}\nthe end", "x".repeat(5000)));
    assert!(
        text.ends_with(" / the end") && text.len() <= 2100,
        "{}",
        text.len()
    );
    assert_eq!(shown(" \n"), "it said nothing");
}
