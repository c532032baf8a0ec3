use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crypto::placement;
use types::genesis::{FundingRule, Genesis};
use types::policy::Policy;
use types::{Amount, Hash, ValidatorId};

use super::{ConfigError, ConfigText, Durability, Settings};
use crate::limits::{CONFIG_FILE_BYTES_MAX, RESERVE_MIB_DEFAULT};

fn peers() -> BTreeMap<u16, SocketAddr> {
    (0..4)
        .map(|id| (id, ([127, 0, 0, 1], 21_000 + 2 * id).into()))
        .collect()
}

fn text() -> String {
    let peers = peers();
    ConfigText {
        validator: 1,
        public: [0xab; 32],
        key: "keys/\"1\".key",
        listen_peers: peers[&1],
        listen_clients: ([127, 0, 0, 1], 21_003).into(),
        peers: &peers,
    }
    .render()
}

fn parse(text: &str) -> Result<Settings, ConfigError> {
    Settings::parse(Path::new("dir/v.toml"), text)
}

fn genesis() -> Genesis {
    Genesis {
        name: "config".into(),
        policy: Policy::lan(),
        shards: 1,
        randomness: Hash([3; 32]),
        validators: (0..4).map(|id| [id; 32]).collect(),
        voting_keys: Vec::new(),
        bonds: vec![0; 4],
        funding: FundingRule {
            seed: 1,
            accounts: 0,
            amount: Amount(0),
        },
        allocations: 0,
        allocations_hash: Hash::default(),
    }
}

#[test]
fn what_is_written_is_read_with_paths_beside_the_file() {
    let settings = parse(&text()).expect("settings");
    let expected = Settings {
        path: "dir/v.toml".into(),
        genesis: "dir/genesis.toml".into(),
        key: "dir/keys/\"1\".key".into(),
        data_dir: PathBuf::from("dir/data/001"),
        listen_peers: peers()[&1],
        listen_clients: ([127, 0, 0, 1], 21_003).into(),
        peers: peers(),
        durability: Durability::Fsync,
        apply_threads: 1,
        verify_threads: 0,
        rtt: Duration::ZERO,
        reserve_mib: RESERVE_MIB_DEFAULT,
        queues: crate::QueueBounds::default(),
    };
    assert_eq!(settings, expected);
}

#[test]
fn every_optional_value_is_taken() {
    let changed = text()
        .replace("durability = \"fsync\"", "durability = \"async\"")
        .replace("apply_threads = 1", "apply_threads = 1024")
        .replace("verify_threads = 0", "verify_threads = 7")
        .replace("rtt = \"0s\"", "rtt = \"10s\"");
    let settings = parse(&changed).expect("settings");
    assert_eq!(
        (settings.durability, settings.rtt),
        (Durability::Async, Duration::from_secs(10))
    );
    assert_eq!((settings.apply_threads, settings.verify_threads), (1024, 7));
}

#[test]
fn a_file_larger_than_any_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("v.toml");
    let filled = |bytes: u64| text() + &"#".repeat(bytes as usize - text().len());
    std::fs::write(&path, filled(CONFIG_FILE_BYTES_MAX)).expect("written");
    Settings::read(&path).expect("as large as may be");
    std::fs::write(&path, filled(CONFIG_FILE_BYTES_MAX + 1)).expect("written");
    let error = Settings::read(&path).expect_err("too large");
    assert!(matches!(error, ConfigError::Size { .. }), "{error}");
}

#[test]
fn addresses_are_held_against_the_network() {
    let genesis = genesis();
    let committees = placement::epoch_config(&genesis).committees;
    let check = |text: &str| {
        let settings = parse(text).expect("settings");
        settings.check_peers(&genesis, &committees, ValidatorId(1))
    };
    check(&text()).expect("all there");
    let error = check(&text().replace("\n3 = ", "\n4 = ")).expect_err("no such validator");
    assert!(
        matches!(error, ConfigError::Value { .. }) && error.to_string().contains("0 to 3"),
        "{error}"
    );
    let error = check(&text().replace("\n2 = \"127.0.0.1:21004\"", "")).expect_err("one missing");
    assert!(matches!(error, ConfigError::Peer { missing: 2, .. }), "{error}");
}

#[test]
fn queue_bounds_are_taken_from_their_section_and_held_to_their_range() {
    let uncommented = text()
        .replace("# [queues]", "[queues]")
        .replace("# persist = 1024", "persist = 1");
    let settings = parse(&uncommented).expect("settings");
    assert_eq!(settings.queues.persist, 1);
    assert_eq!(
        settings.queues.peer_events,
        crate::QueueBounds::default().peer_events
    );
    for (wrong, names) in [
        ("persist = 0", "queues.persist is \"0\""),
        ("persist = 1025", "1 to 1024"),
        ("presist = 3", "presist"),
    ] {
        let error = parse(&uncommented.replace("persist = 1", wrong)).expect_err(wrong);
        assert!(error.to_string().contains(names), "{error}");
    }
}

#[test]
fn a_reserve_is_taken_and_held_to_its_range() {
    let with =
        |reserve: &str| parse(&text().replace("reserve_mib = 1536", &format!("reserve_mib = {reserve}")));
    assert_eq!(with("128").expect("settings").reserve_mib, 128);
    for wrong in ["127", "-1", "1048577"] {
        let error = with(wrong).expect_err(wrong).to_string();
        assert!(
            error.contains("reserve_mib") && error.contains("128 to 1048576"),
            "{error}"
        );
    }
}
