use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crypto::hash::genesis_hash;
use crypto::keys::{SecretKey, account_seed};
use files::{GenesisFileError, NetworkGenesis};
use types::codec::encode_items;
use types::genesis::Allocation;
use types::{Amount, Owner};

use super::{CreateError, CreateOptions, Created, LeagueOptions, create, one_league};
use crate::config::{Config, Overrides};
use crate::keys;

fn options(out: &Path) -> CreateOptions {
    CreateOptions {
        out: out.into(),
        shards: 2,
        validators: 4,
        leagues: one_league(),
        seed: 7,
        accounts: 5,
        amount: 9,
        allocations: None,
        policy: "lan".into(),
        name: "test \"net\"".into(),
        keys: None,
        reproducible: false,
        addresses: vec!["127.0.0.1".parse().expect("address")],
        base_port: 21_000,
    }
}

fn listed(path: &Path, amounts: &[u64]) -> Vec<Allocation> {
    let allocation = |(owner, amount): (u8, &u64)| Allocation {
        owner: Owner([owner; 32]),
        amount: Amount(*amount),
    };
    let allocations: Vec<_> = (1..).zip(amounts).map(allocation).collect();
    let mut bytes = Vec::new();
    encode_items(&allocations, &mut bytes);
    fs::write(path, bytes).expect("written");
    allocations
}

fn load_dir(dir: &Path) -> Result<NetworkGenesis, GenesisFileError> {
    NetworkGenesis::load(&dir.join("genesis.toml"))
}

/// Everything in a folder and below, for "unchanged".
fn tree(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten() {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                files.push((path.clone(), fs::read(path).expect("read")));
            }
        }
    }
    files.sort();
    files
}

/// Creation is refused and no file appears or changes.
fn refused(options: &CreateOptions) -> CreateError {
    let before = tree(&options.out);
    let error = create(options).expect_err("refused");
    assert_eq!(tree(&options.out), before, "{error}");
    assert!(!error.to_string().contains('\n'), "{error}");
    error
}

#[test]
fn what_is_created_is_loaded() {
    let folder = tempfile::tempdir().expect("folder");
    let out = folder.path().join("deep/net");
    let file = folder.path().join("listed.bin");
    let listed = listed(&file, &[3, 4]);
    let Created { hash, bond } = create(&CreateOptions {
        allocations: Some(file),
        ..options(&out)
    })
    .expect("created");
    assert_eq!(bond, None);
    let network = load_dir(&out).expect("loaded");
    assert!(network.genesis.policy.leagues.is_none() && network.genesis.bonds == [0; 8]);
    assert_eq!((network.hash, genesis_hash(&network.genesis)), (hash, hash));
    assert_eq!(network.epoch.committees.len(), 2);
    assert_eq!((network.genesis.shards, network.genesis.validators.len()), (2, 8));
    assert_eq!(network.genesis.name, "test \"net\"");
    assert_eq!(network.allocations.len(), 7);
    for (index, allocation) in (0..5).zip(&network.allocations) {
        let owner = Owner(SecretKey::from_seed(account_seed(7, index)).public());
        assert_eq!(
            *allocation,
            Allocation {
                owner,
                amount: Amount(9)
            }
        );
    }
    assert_eq!(network.allocations[5..], listed);
    for (id, public) in network.genesis.validators.iter().enumerate() {
        let path = out.join(format!("keys/{id:03}.key"));
        assert_eq!(keys::read_key(&path).expect("key").public(), *public);
        assert_eq!(
            fs::metadata(&path).expect("metadata").permissions().mode() & 0o777,
            0o600
        );
        let config = out.join(format!("validator-{id:03}.toml"));
        let config = Config::read(&config, &Overrides::default()).expect("config");
        assert_eq!(config.key.public(), *public);
    }
    let hosts = fs::read_to_string(out.join("hosts")).expect("hosts");
    let line = format!("127.0.0.1:21003 {}", hex::encode(network.genesis.validators[1]));
    assert_eq!(
        (hosts.lines().count(), hosts.lines().nth(1)),
        (8, Some(line.as_str()))
    );
}

fn two_leagues(out: &Path, validators: u16, leagues: LeagueOptions) -> CreateOptions {
    CreateOptions {
        validators,
        leagues,
        ..options(out)
    }
}

#[test]
fn a_network_of_two_leagues_has_bonds_seats_and_candidates() {
    let folder = tempfile::tempdir().expect("folder");
    let out = folder.path().join("a");
    let five = two_leagues(&out, 5, LeagueOptions::default());
    let bond = create(&five).expect("created").bond.expect("two leagues");
    let network = load_dir(&out).expect("loaded");
    assert_eq!(network.genesis.bonds, [bond.units; 10]);
    for committee in &network.epoch.committees {
        assert_eq!(
            (
                committee.voters,
                committee.members.len(),
                committee.candidates.len()
            ),
            (4, 5, 1)
        );
    }
    let text = fs::read_to_string(out.join("genesis.toml")).expect("text");
    for words in [
        "pob, two leagues",
        "sampling          0.25",
        " voter ",
        " seat-0 ",
        &bond.units.to_string(),
    ] {
        assert!(text.contains(words), "{words} in {text}");
    }

    let out = folder.path().join("b");
    let leagues = LeagueOptions {
        believable: Some(2),
        candidates: Some(3),
        sampling: Some(500_000),
        bond: Some(1 << 40),
        ..LeagueOptions::default()
    };
    create(&two_leagues(&out, 7, leagues)).expect("created");
    let network = load_dir(&out).expect("loaded");
    let policy = network.genesis.policy.leagues.expect("two leagues");
    assert_eq!(
        (policy.seats, policy.candidates, policy.sampling_ppm),
        (2, 3, 500_000)
    );
    assert_eq!(network.genesis.bonds, [1 << 40; 14]);
    let text = fs::read_to_string(out.join("genesis.toml")).expect("text");
    assert!(text.contains(" seat-1 ") && text.contains(" stand-in "), "{text}");
}

#[test]
fn a_network_whose_leagues_do_not_fit_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("folder");
    let out = folder.path().join("net");
    let flags = LeagueOptions::default;
    let poor = LeagueOptions {
        bond: Some(5),
        ..flags()
    };
    let seats = LeagueOptions {
        believable: Some(2),
        candidates: Some(1),
        ..flags()
    };
    let rich = LeagueOptions {
        bond: Some(u64::MAX / 9),
        ..flags()
    };
    for (validators, leagues, words) in [
        (4, flags(), "1 candidates each, accepted are 4 to 256 voters"),
        (5, poor, "--bond is 5, accepted is"),
        (6, seats, "seats is 2, accepted is 1 to candidates"),
        (5, rich, "the sum of all bonds is"),
    ] {
        let error = refused(&two_leagues(&out, validators, leagues)).to_string();
        assert!(error.contains(words), "{words} in {error}");
    }
    let policy = folder.path().join("policy.toml");
    fs::write(&policy, "[leagues]\nbelievability_min = 900000\n").expect("written");
    let nobody = CreateOptions {
        policy: policy.display().to_string(),
        ..two_leagues(&out, 5, flags())
    };
    let error = refused(&nobody).to_string();
    assert!(error.contains("0 members who are eligible"), "{error}");
}

#[test]
fn only_listed_allocations_and_many_accounts() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("listed.bin");
    let listed = listed(&file, &[3]);
    let only = CreateOptions {
        accounts: 0,
        allocations: Some(file),
        ..options(&folder.path().join("a"))
    };
    create(&only).expect("created");
    assert_eq!(load_dir(&only.out).expect("loaded").allocations, listed);
    // More than threads, and no multiple of their number.
    let many = CreateOptions {
        accounts: 1001,
        ..options(&folder.path().join("b"))
    };
    create(&many).expect("created");
    let allocations = load_dir(&many.out).expect("loaded").allocations;
    for index in [0, 500, 501, 1000] {
        let owner = Owner(SecretKey::from_seed(account_seed(7, index as u64)).public());
        assert_eq!(allocations[index].owner, owner, "{index}");
    }
}

#[test]
fn given_keys_are_used_in_place_or_copied() {
    let folder = tempfile::tempdir().expect("folder");
    let mine = folder.path().join("mine");
    let made = keys::create(&mine, 8).expect("keys");
    let mut publics: Vec<_> = made.iter().map(|(_, public)| *public).collect();
    publics.sort_unstable();
    let copied = CreateOptions {
        keys: Some(mine.clone()),
        ..options(&folder.path().join("net"))
    };
    create(&copied).expect("created");
    assert_eq!(load_dir(&copied.out).expect("loaded").genesis.validators, publics);
    for (id, public) in publics.iter().enumerate() {
        let copy = copied.out.join("keys").join(keys::key_file_name(id));
        assert_eq!(keys::read_key(&copy).expect("copy").public(), *public);
    }
    let out = folder.path().join("other");
    fs::create_dir(&out).expect("folder");
    fs::rename(&mine, out.join("keys")).expect("moved");
    create(&CreateOptions {
        keys: Some(out.join("keys")),
        ..options(&out)
    })
    .expect("created");
    assert_eq!(
        fs::read_dir(out.join("keys")).expect("keys").count(),
        8,
        "no copies"
    );
    for (id, public) in publics.iter().enumerate() {
        let config = Config::read(
            &out.join(format!("validator-{id:03}.toml")),
            &Overrides::default(),
        )
        .expect("config");
        assert_eq!(config.key.public(), *public);
    }
}

#[test]
fn wrong_numbers_of_keys_and_equal_keys_are_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let mine = folder.path().join("mine");
    keys::create(&mine, 7).expect("keys");
    let options = CreateOptions {
        keys: Some(mine.clone()),
        ..options(&folder.path().join("net"))
    };
    let error = refused(&options);
    assert!(
        matches!(
            error,
            CreateError::KeyCount {
                found: 7,
                expected: 8,
                ..
            }
        ),
        "{error}"
    );
    fs::copy(mine.join("002.key"), mine.join("007.key")).expect("copied");
    let error = refused(&options);
    assert!(matches!(error, CreateError::KeyTwice { .. }), "{error}");
    assert!(
        error.to_string().contains("002.key") && error.to_string().contains("007.key"),
        "{error}"
    );
    fs::write(mine.join("007.key"), "short").expect("written");
    fs::set_permissions(mine.join("007.key"), PermissionsExt::from_mode(0o600)).expect("changed");
    assert!(matches!(refused(&options), CreateError::Key(_)));
    let none = CreateOptions {
        keys: Some(folder.path().join("none")),
        ..options
    };
    assert!(matches!(refused(&none), CreateError::Read { .. }));
}

#[test]
fn nothing_is_overwritten() {
    for name in [
        "genesis.toml",
        "allocations.bin",
        "hosts",
        "validator-007.toml",
        "keys/old.key",
    ] {
        let folder = tempfile::tempdir().expect("folder");
        fs::create_dir(folder.path().join("keys")).expect("folder");
        fs::write(folder.path().join(name), "precious").expect("written");
        let error = refused(&options(folder.path()));
        assert!(
            matches!(error, CreateError::Exists { .. }) && error.to_string().contains(name),
            "{error}"
        );
    }
    let folder = tempfile::tempdir().expect("folder");
    create(&options(folder.path())).expect("created");
    assert!(matches!(
        refused(&options(folder.path())),
        CreateError::Exists { .. }
    ));
    load_dir(folder.path()).expect("still whole");
}

#[test]
fn a_place_that_is_no_folder_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("file");
    fs::write(&file, "").expect("written");
    let error = create(&options(&file.join("net"))).expect_err("no folder");
    assert!(matches!(error, CreateError::Write { .. }), "{error}");
}

#[test]
fn every_bad_flag_is_refused_with_what_is_accepted() {
    let folder = tempfile::tempdir().expect("folder");
    let base = options(&folder.path().join("net"));
    let with = |change: fn(&mut CreateOptions)| {
        let mut options = base.clone();
        change(&mut options);
        refused(&options)
    };
    for (error, words) in [
        (
            with(|options| options.shards = 3),
            "3 shards, accepted is a power of two",
        ),
        (with(|options| options.shards = 0), "0 shards"),
        (with(|options| options.shards = 512), "512 shards"),
        (with(|options| options.validators = 3), "4 to 256"),
        (with(|options| options.validators = 257), "4 to 256"),
        (with(|options| options.name.clear()), "1 to 64"),
        (with(|options| options.name = "x".repeat(65)), "1 to 64"),
    ] {
        assert!(matches!(error, CreateError::Network(_)), "{error}");
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
    for (error, flag, words) in [
        (
            with(|options| options.name = "a\nb".into()),
            "--name",
            "without control characters",
        ),
        (
            with(|options| options.accounts = 0),
            "--accounts",
            "0 with --allocations",
        ),
        (
            with(|options| options.accounts = u32::MAX),
            "--accounts",
            "67108864",
        ),
        (with(|options| options.amount = 0), "--amount", "1 or more"),
        (
            with(|options| options.addresses.clear()),
            "--addresses",
            "IP addresses",
        ),
        (
            with(|options| options.base_port = 65_521),
            "--base-port",
            "0 to 65520",
        ),
    ] {
        assert!(matches!(error, CreateError::Flag { .. }), "{error}");
        assert!(
            error.to_string().contains(flag) && error.to_string().contains(words),
            "{words}: {error}"
        );
    }
    assert!(matches!(
        with(|options| options.amount = u64::MAX / 4),
        CreateError::File(GenesisFileError::Supply { .. })
    ));
    assert!(matches!(
        with(|options| options.policy = "fast".into()),
        CreateError::Policy(_)
    ));
    let mut last = base.clone();
    last.base_port = 65_520;
    create(&last).expect("the highest port is 65535");
    let hosts = fs::read_to_string(last.out.join("hosts")).expect("hosts");
    assert!(hosts.contains("127.0.0.1:65535 "), "{hosts}");
}

#[test]
fn listed_allocations_are_checked() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("listed.bin");
    let options = CreateOptions {
        allocations: Some(file.clone()),
        ..options(&folder.path().join("net"))
    };
    assert!(matches!(
        refused(&options),
        CreateError::File(GenesisFileError::Read { .. })
    ));
    listed(&file, &[3, 0]);
    let error = refused(&options);
    assert!(
        matches!(error, CreateError::File(GenesisFileError::Zero { index: 1, .. })),
        "{error}"
    );
    listed(&file, &[u64::MAX, 1]);
    assert!(matches!(
        refused(&options),
        CreateError::File(GenesisFileError::Supply { .. })
    ));
    listed(&file, &[u64::MAX]);
    let error = refused(&options);
    assert!(
        matches!(error, CreateError::File(GenesisFileError::Supply { .. })),
        "with the accounts it is too much: {error}"
    );
    listed(&file, &[3, 4]);
    let bytes = fs::read(&file).expect("bytes");
    for end in 0..bytes.len() {
        fs::write(&file, &bytes[..end]).expect("written");
        assert!(
            matches!(
                refused(&options),
                CreateError::File(GenesisFileError::Encoding { .. })
            ),
            "{end}"
        );
    }
    fs::write(&file, [bytes.as_slice(), &[0]].concat()).expect("written");
    assert!(matches!(
        refused(&options),
        CreateError::File(GenesisFileError::Encoding { .. })
    ));
    listed(&file, &[]);
    let error = refused(&CreateOptions {
        accounts: 0,
        ..options
    });
    assert!(matches!(error, CreateError::Flag { .. }), "{error}");
}

#[test]
fn ports_by_rule_and_ports_that_are_free() {
    let folder = tempfile::tempdir().expect("folder");
    let addresses = vec![
        "10.0.0.1".parse().expect("address"),
        "10.0.0.2".parse().expect("address"),
    ];
    let two = CreateOptions {
        addresses,
        base_port: 100,
        shards: 1,
        ..options(&folder.path().join("two"))
    };
    create(&two).expect("created");
    let hosts = fs::read_to_string(two.out.join("hosts")).expect("hosts");
    let places: Vec<_> = hosts.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(
        places,
        ["10.0.0.1:101", "10.0.0.2:103", "10.0.0.1:105", "10.0.0.2:107"]
    );

    let free = CreateOptions {
        base_port: 0,
        ..options(&folder.path().join("free"))
    };
    create(&free).expect("created");
    let config = Config::read(&free.out.join("validator-000.toml"), &Overrides::default()).expect("config");
    let mut places: Vec<_> = config.peers.values().copied().collect();
    let hosts = fs::read_to_string(free.out.join("hosts")).expect("hosts");
    let first_word = |line: &str| {
        line.split(' ')
            .next()
            .and_then(|word| word.parse::<SocketAddr>().ok())
    };
    places.extend(hosts.lines().filter_map(first_word));
    assert!(places.iter().all(|place| place.port() > 0));
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), 16, "each is given once");

    // An address of no interface of this machine gives no port.
    let address = "192.0.2.1".parse().expect("address");
    if UdpSocket::bind((address, 0)).is_err() {
        let error = refused(&CreateOptions {
            addresses: vec![address],
            base_port: 0,
            ..options(&folder.path().join("far"))
        });
        assert!(
            matches!(error, CreateError::System { .. }) && error.to_string().contains("--base-port"),
            "{error}"
        );
    }
}

#[test]
fn equal_seeds_give_equal_networks_only_where_that_was_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let hash = |name: &str, reproducible| {
        let out = folder.path().join(name);
        create(&CreateOptions {
            reproducible,
            ..options(&out)
        })
        .expect("a network")
    };
    assert_eq!(hash("a", true), hash("b", true));
    assert_ne!(hash("c", false), hash("d", false));
}
