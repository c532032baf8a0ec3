use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use store::Durability;

use super::{Config, ConfigError, Overrides};
use crate::genesis_file::{self, CreateOptions, one_league};

/// A network of 4 validators in a folder.
fn network(folder: &Path) {
    let options = CreateOptions {
        out: folder.into(),
        shards: 1,
        validators: 4,
        leagues: one_league(),
        seed: 1,
        accounts: 1,
        amount: 1,
        allocations: None,
        policy: "lan".into(),
        name: "test".into(),
        keys: None,
        reproducible: false,
        addresses: vec!["127.0.0.1".parse().expect("address")],
        base_port: 21_000,
    };
    genesis_file::create(&options).expect("created");
}

fn read(path: &Path) -> Result<Config, ConfigError> {
    Config::read(path, &Overrides::default())
}

/// Reads the configuration of validator 1 with one text replaced by another.
fn replaced(folder: &Path, from: &str, to: &str) -> ConfigError {
    let text = fs::read_to_string(folder.join("validator-001.toml")).expect("text");
    assert!(text.contains(from), "{from} in {text}");
    let path = folder.join("changed.toml");
    fs::write(&path, text.replace(from, to)).expect("written");
    read(&path).expect_err(to)
}

#[test]
fn what_genesis_writes_is_read_with_paths_beside_the_file() {
    let folder = tempfile::tempdir().expect("folder");
    network(folder.path());
    let config = read(&folder.path().join("validator-002.toml")).expect("read");
    assert_eq!(config.genesis, folder.path().join("genesis.toml"));
    assert_eq!(config.data_dir, folder.path().join("data/002"));
    let genesis = files::genesis::read_genesis(&config.genesis).expect("genesis");
    assert_eq!(config.key.public(), genesis.validators[2]);
    assert_eq!(config.listen_peers.to_string(), "127.0.0.1:21004");
    assert_eq!(config.listen_clients.to_string(), "127.0.0.1:21005");
    let peers: BTreeMap<u16, _> = (0..4)
        .map(|id| (id, ([127, 0, 0, 1], 21_000 + 2 * id).into()))
        .collect();
    assert_eq!(config.peers, peers);
    assert_eq!(
        (config.durability, config.apply_threads, config.rtt),
        (Durability::Fsync, 1, Duration::ZERO)
    );
    assert!(config.verify_threads >= 1, "0 is one for each core");
}

#[test]
fn flags_win_over_the_file() {
    let (folder, other) = (
        tempfile::tempdir().expect("folder"),
        tempfile::tempdir().expect("folder"),
    );
    network(folder.path());
    let moved = other.path().join("moved.toml");
    fs::rename(folder.path().join("genesis.toml"), &moved).expect("moved");
    let path = folder.path().join("validator-000.toml");
    assert!(matches!(read(&path), Err(ConfigError::Genesis(_))));
    let overrides = Overrides {
        genesis: Some(moved.clone()),
        data_dir: Some("elsewhere".into()),
    };
    let config = Config::read(&path, &overrides).expect("read");
    assert_eq!(
        (config.genesis, config.data_dir),
        (moved, PathBuf::from("elsewhere"))
    );
}

#[test]
fn keys_with_a_default_may_be_left_out() {
    let folder = tempfile::tempdir().expect("folder");
    network(folder.path());
    let text = fs::read_to_string(folder.path().join("validator-000.toml")).expect("text");
    let optional = ["durability", "apply_threads", "verify_threads", "rtt"];
    let kept = text
        .lines()
        .filter(|line| !optional.iter().any(|key| line.starts_with(key)));
    let path = folder.path().join("short.toml");
    fs::write(&path, kept.collect::<Vec<_>>().join("\n")).expect("written");
    let config = read(&path).expect("read");
    assert_eq!(
        (config.durability, config.apply_threads, config.rtt),
        (Durability::Fsync, 1, Duration::ZERO)
    );
}

#[test]
fn every_bad_value_is_named_with_what_is_accepted() {
    let folder = tempfile::tempdir().expect("folder");
    network(folder.path());
    for (from, to, key, accepted) in [
        (
            "listen_peers = \"127.0.0.1:21002\"",
            "listen_peers = \"localhost:21002\"",
            "listen_peers",
            "IP:PORT",
        ),
        (
            "listen_clients = \"127.0.0.1:21003\"",
            "listen_clients = \"127.0.0.1\"",
            "listen_clients",
            "IP:PORT",
        ),
        (
            "listen_clients = \"127.0.0.1:21003\"",
            "listen_clients = \"127.0.0.1:21002\"",
            "listen_clients",
            "another port",
        ),
        (
            "durability = \"fsync\"",
            "durability = \"maybe\"",
            "durability",
            "fsync or async",
        ),
        (
            "apply_threads = 1",
            "apply_threads = 0",
            "apply_threads",
            "1 to 1024",
        ),
        (
            "apply_threads = 1",
            "apply_threads = 1025",
            "apply_threads",
            "1 to 1024",
        ),
        (
            "verify_threads = 0",
            "verify_threads = -1",
            "verify_threads",
            "0 to 1024",
        ),
        ("rtt = \"0s\"", "rtt = \"11s\"", "rtt", "0s to 10s"),
        ("rtt = \"0s\"", "rtt = \"soon\"", "rtt", "0s to 10s"),
        ("0 = \"127", "first = \"127", "[peers]", "number of a validator"),
        ("0 = \"127", "9 = \"127", "[peers]", "0 to 3"),
        (
            "0 = \"127.0.0.1:21000\"",
            "0 = \"127.0.0.1:0\"",
            "peers.0",
            "port above 0",
        ),
        (
            "0 = \"127.0.0.1:21000\"",
            "0 = \"127.0.0.1:21006\"",
            "peers.3",
            "of its own",
        ),
        (
            "0 = \"127.0.0.1:21000\"",
            "0 = \"127.0.0.1:21000\"\n00 = \"127.0.0.1:9\"",
            "[peers]",
            "once",
        ),
    ] {
        let error = replaced(folder.path(), from, to);
        assert!(
            matches!(error, ConfigError::File(files::ConfigError::Value { .. })),
            "{to}: {error}"
        );
        let words = error.to_string();
        for part in [key, accepted, "changed.toml"] {
            assert!(words.contains(part), "{part} in {words}");
        }
    }
}

#[test]
fn a_file_of_another_shape_is_refused_with_its_line() {
    let folder = tempfile::tempdir().expect("folder");
    network(folder.path());
    for (from, to, words) in [
        ("durability = ", "durable = ", "unknown field `durable`"),
        ("apply_threads = 1", "apply_threads = \"one\"", "line 18"),
        ("genesis = \"", "genesis = ", "line 6"),
        ("data_dir = ", "# ", "changed.toml: missing field `data_dir`"),
        ("\n[peers]", "\n[peers", "line 39"),
        ("\n[peers]", "\n# ", "unknown field `0`"),
    ] {
        let error = replaced(folder.path(), from, to);
        assert!(
            matches!(error, ConfigError::File(files::ConfigError::Shape { .. })),
            "{to}: {error}"
        );
        let found = error.to_string();
        assert!(
            found.contains(words) && found.contains("changed.toml") && !found.contains('\n'),
            "{words} in {found}"
        );
    }
    // Cut at every byte: it is refused, or the cut took nothing that is needed, never a panic.
    let text = fs::read_to_string(folder.path().join("validator-001.toml")).expect("text");
    let path = folder.path().join("changed.toml");
    let last_peer = text.rfind("3 = ").expect("peer 3");
    for end in 0..last_peer {
        fs::write(&path, &text[..end]).expect("written");
        read(&path).expect_err("cut short");
    }
    let error = read(&folder.path().join("none.toml")).expect_err("missing");
    assert!(
        matches!(error, ConfigError::File(files::ConfigError::Read { .. }))
            && error.to_string().contains("none.toml"),
        "{error}"
    );
}

#[test]
fn a_member_of_the_committee_without_address_is_named() {
    let folder = tempfile::tempdir().expect("folder");
    network(folder.path());
    let error = replaced(folder.path(), "\n2 = \"127.0.0.1:21004\"", "");
    let ConfigError::File(files::ConfigError::Peer {
        missing: 2, shard: 0, ..
    }) = error
    else {
        panic!("{error}")
    };
    assert!(error.to_string().contains("0, 2, 3"), "{error}");
    // One's own address is not needed.
    let text = fs::read_to_string(folder.path().join("validator-001.toml")).expect("text");
    let path = folder.path().join("changed.toml");
    fs::write(&path, text.replace("\n1 = \"127.0.0.1:21002\"", "")).expect("written");
    assert_eq!(read(&path).expect("read").peers.len(), 3);
}

#[test]
fn missing_and_foreign_keys_are_refused() {
    let folder = tempfile::tempdir().expect("folder");
    network(folder.path());
    let error = replaced(folder.path(), "keys/001.key", "keys/009.key");
    assert!(
        matches!(error, ConfigError::Key(_)) && error.to_string().contains("009.key"),
        "{error}"
    );
    let foreign = folder.path().join("keys/009.key");
    fs::write(&foreign, "5a".repeat(32)).expect("written");
    fs::set_permissions(&foreign, PermissionsExt::from_mode(0o600)).expect("changed");
    let error = replaced(folder.path(), "keys/001.key", "keys/009.key");
    assert!(matches!(error, ConfigError::Foreign { .. }), "{error}");
    let words = error.to_string();
    assert!(
        words.contains("009.key") && words.contains("genesis.toml"),
        "{words}"
    );
}
