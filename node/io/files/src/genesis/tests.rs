use std::fs;
use std::path::Path;

use crypto::hash::allocations_hash;
use types::codec::Encode as _;
use types::genesis::{Allocation, FundingRule, Genesis};
use types::policy::Policy;
use types::{Amount, Hash, Owner};

use super::{GenesisFileError, NetworkGenesis, genesis_text, write_allocations};

/// Writes a network of two shards with five allocations of 9.
fn network(folder: &Path, policy: Policy) -> NetworkGenesis {
    let allocations: Vec<Allocation> = (1..=5)
        .map(|owner| Allocation {
            owner: Owner([owner; 32]),
            amount: Amount(9),
        })
        .collect();
    let genesis = Genesis {
        name: "files \"and\" more".into(),
        policy,
        shards: 2,
        randomness: Hash([3; 32]),
        validators: (0..8).map(|id| [id; 32]).collect(),
        voting_keys: Vec::new(),
        bonds: vec![3; 8],
        funding: FundingRule {
            seed: 7,
            accounts: 5,
            amount: Amount(9),
        },
        allocations: 5,
        allocations_hash: allocations_hash(&allocations),
    };
    fs::write(folder.join("genesis.toml"), genesis_text(&genesis)).expect("genesis");
    write_allocations(&folder.join("allocations.bin"), &allocations).expect("allocations");
    let network = load_dir(folder).expect("loaded");
    assert_eq!((&network.genesis, &network.allocations), (&genesis, &allocations));
    network
}

fn load_dir(dir: &Path) -> Result<NetworkGenesis, GenesisFileError> {
    NetworkGenesis::load(&dir.join("genesis.toml"))
}

fn listed(path: &Path, amounts: &[u64]) -> Vec<Allocation> {
    let allocation = |(owner, amount): (u8, &u64)| Allocation {
        owner: Owner([owner; 32]),
        amount: Amount(*amount),
    };
    let allocations: Vec<_> = (1..).zip(amounts).map(allocation).collect();
    write_allocations(path, &allocations).expect("written");
    allocations
}

#[test]
fn every_damage_of_a_genesis_is_named() {
    let folder = tempfile::tempdir().expect("folder");
    let network = network(folder.path(), Policy::lan());
    let toml = folder.path().join("genesis.toml");
    let text = fs::read_to_string(&toml).expect("text");
    let bytes = network.genesis.to_bytes();
    let genesis_of = |bytes: &[u8]| format!("genesis = \"{}\"", hex::encode(bytes));
    let mut three = network.genesis.clone();
    three.shards = 3;
    // Five members a shard, one of them a candidate; their bonds are too small for that.
    let mut poor = network.genesis.clone();
    poor.policy = Policy::lan().with_leagues();
    poor.validators = (0..10).map(|id| [id; 32]).collect();
    poor.bonds = vec![1; 10];
    for (text, words) in [
        (String::new(), "missing field `genesis`"),
        ("genesis = ".to_owned(), "line 1"),
        ("genesis = 5".to_owned(), "line 1"),
        ("genesis = \"zz\"".to_owned(), "not hexadecimal"),
        ("genesis = \"0\"".to_owned(), "cut short"),
        (format!("shards = 4\n{text}"), "unknown field `shards`"),
        (genesis_of(&[]), "cut short"),
        (genesis_of(&[&bytes[..], &[0]].concat()), "trailing"),
        (genesis_of(&three.to_bytes()), "3 shards"),
        (
            genesis_of(&poor.to_bytes()),
            "shard 0 has 0 members who are eligible as candidates, accepted are 1 or more",
        ),
        (
            genesis_of(&[&[9], &bytes[1..]].concat()),
            "version of the genesis",
        ),
    ] {
        fs::write(&toml, &text).expect("written");
        let error = load_dir(folder.path()).expect_err(&text).to_string();
        assert!(
            error.contains(words) && error.contains("genesis.toml") && !error.contains('\n'),
            "{words} in {error}"
        );
    }
    let mut rich = poor;
    rich.bonds = vec![1 << 40; 10];
    fs::write(&toml, genesis_of(&rich.to_bytes())).expect("written");
    assert_eq!(load_dir(folder.path()).expect("believable").genesis, rich);
    for end in 0..bytes.len() {
        fs::write(&toml, genesis_of(&bytes[..end])).expect("written");
        assert!(
            matches!(load_dir(folder.path()), Err(GenesisFileError::Encoding { .. })),
            "{end}"
        );
    }
    fs::write(&toml, [0xff, 0xfe]).expect("written");
    assert!(matches!(
        load_dir(folder.path()),
        Err(GenesisFileError::Shape { .. })
    ));
    fs::write(&toml, "#".repeat(1 << 20)).expect("written");
    assert!(matches!(
        load_dir(folder.path()),
        Err(GenesisFileError::Size { .. })
    ));
    fs::remove_file(&toml).expect("removed");
    assert!(matches!(
        load_dir(folder.path()),
        Err(GenesisFileError::Read { .. })
    ));
    fs::write(&toml, text).expect("written");
    assert_eq!(load_dir(folder.path()).expect("whole again"), network);
}

#[test]
fn allocations_of_another_network_and_damaged_ones_are_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let out = folder.path().to_path_buf();
    network(&out, Policy::lan());
    let bin = out.join("allocations.bin");
    let bytes = fs::read(&bin).expect("bytes");
    let mut flipped = bytes.clone();
    flipped[20] ^= 1;
    fs::write(&bin, &flipped).expect("written");
    let error = load_dir(&out).expect_err("flipped");
    assert!(
        matches!(
            error,
            GenesisFileError::Allocations {
                found: 5,
                count: 5,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("allocations.bin"), "{error}");
    listed(&bin, &[9, 9, 9]);
    assert!(matches!(
        load_dir(&out),
        Err(GenesisFileError::Allocations {
            found: 3,
            count: 5,
            ..
        })
    ));
    fs::write(&bin, &bytes[..100]).expect("written");
    assert!(matches!(load_dir(&out), Err(GenesisFileError::Encoding { .. })));
    fs::write(&bin, [0xff; 8]).expect("written");
    assert!(
        matches!(load_dir(&out), Err(GenesisFileError::Encoding { .. })),
        "a count beyond the file"
    );
    fs::remove_file(&bin).expect("removed");
    let error = load_dir(&out).expect_err("missing");
    assert!(
        matches!(error, GenesisFileError::Read { .. }) && error.to_string().contains("allocations.bin"),
        "{error}"
    );

    // A genesis that agrees with an allocation of nothing.
    fs::write(&bin, &bytes).expect("written");
    let mut genesis = load_dir(&out).expect("whole again").genesis;
    let zero = listed(&bin, &[1, 0]);
    (genesis.allocations, genesis.allocations_hash) = (2, allocations_hash(&zero));
    fs::write(
        out.join("genesis.toml"),
        format!("genesis = \"{}\"", hex::encode(genesis.to_bytes())),
    )
    .expect("written");
    assert!(matches!(
        load_dir(&out),
        Err(GenesisFileError::Zero { index: 1, .. })
    ));
}

#[test]
fn the_words_for_people_say_what_is_encoded() {
    let folder = tempfile::tempdir().expect("folder");
    let network = network(folder.path(), Policy::wan());
    let text = fs::read_to_string(folder.path().join("genesis.toml")).expect("text");
    let committee = &network.epoch.committees[1];
    let (id, key) = committee.members[2];
    for words in [
        format!("# genesis hash      {}", network.hash),
        "# block_interval    250ms".to_owned(),
        "# accounts          5 of 9 each, keys from seed 7".to_owned(),
        "# protocol          pbft, one league".to_owned(),
        format!(
            "# {:03} 1 2 voter {} {}",
            id.0,
            committee.bonds[2],
            hex::encode(key)
        ),
    ] {
        assert!(text.contains(&words), "{words} in {text}");
    }
}
