//! Making a network: keys, genesis, allocations, and a configuration for each validator.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

use crypto::hash;
use crypto::keys::{SecretKey, account_seed};
use files::genesis::{
    ALLOCATIONS_FILE, GENESIS_FILE, check_amounts, check_candidates, encode_allocations, genesis_text,
    read_allocations,
};
use files::hosts::{self, HOSTS_FILE};
use files::limits::ALLOCATIONS_MAX;
use files::policy::read_policy;
use files::{ConfigText, GenesisFileError};
use types::certificate::is_aggregated;
use types::genesis::{Allocation, FundingRule, Genesis, VotingKey};
use types::policy::Policy;
use types::{Amount, Hash, Owner};

use super::CreateError;
use super::leagues::{Bond, LeagueOptions, Scale};
use crate::keys::{self, KeyFileError, KeySeed};
use crate::testnet::cores;

/// Folder of the keys inside the network's.
const KEYS_DIR: &str = "keys";

/// What a new network is made of.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CreateOptions {
    /// Directory to write; no file in it is overwritten
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Shards, a power of two
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub(crate) shards: u16,
    /// Validators of each shard: 4 to 256 voters, and the candidates; above 16 voters certificates are BLS aggregates
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) validators: u16,
    #[command(flatten)]
    pub(crate) leagues: LeagueOptions,
    /// Seed of the accounts' keys: whoever knows it owns them
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Accounts that follow from the seed
    #[arg(long, value_name = "A", default_value_t = 10_000)]
    pub(crate) accounts: u32,
    /// Amount of each of them
    #[arg(long, value_name = "X", default_value_t = 1_000_000)]
    pub(crate) amount: u64,
    /// Further allocations, appended to the accounts: a file such as allocations.bin
    #[arg(long, value_name = "FILE")]
    pub(crate) allocations: Option<PathBuf>,
    /// Protocol parameters: lan, wan, or a TOML file with those that differ from lan, and a table `leagues` for two of them
    #[arg(long, value_name = "lan|wan|FILE", default_value = "lan")]
    pub(crate) policy: String,
    /// Name of the network, 1 to 64 bytes
    #[arg(long, default_value = "local")]
    pub(crate) name: String,
    /// Use the *.key files of this directory, one for each validator [default: new keys]
    #[arg(long, value_name = "DIR")]
    pub(crate) keys: Option<PathBuf>,
    /// Derive validators' keys and randomness from the seed: equal flags give an equal genesis, and anybody can
    /// compute the keys. For local networks whose runs must repeat
    #[arg(long, conflicts_with = "keys")]
    pub(crate) reproducible: bool,
    /// IP addresses of the machines; validators are dealt to them in turn
    #[arg(
        long,
        value_name = "IP,..",
        value_delimiter = ',',
        default_value = "127.0.0.1"
    )]
    pub(crate) addresses: Vec<IpAddr>,
    /// First UDP port; validator I takes P + 2 I and the one above; 0 takes ports that are free now
    #[arg(long, value_name = "P", default_value_t = 21_000)]
    pub(crate) base_port: u16,
}

/// A validator of the new network, in the order of ids.
struct Member {
    public: [u8; 32],
    seed: KeySeed,
    /// File that holds the key already, inside the network's `keys/`.
    in_place: Option<PathBuf>,
}

/// A network that was made.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Created {
    /// Hash of its genesis.
    pub(crate) hash: Hash,
    /// Bond of each validator and why it is as large; none with one league.
    pub(crate) bond: Option<Bond>,
}

/// Makes a network and writes its files.
///
/// # Errors
/// Names the flag or the file and what is accepted. No file is left behind then.
pub(crate) fn create(options: &CreateOptions) -> Result<Created, CreateError> {
    let policy = options.leagues.apply(read_policy(&options.policy)?)?;
    let count = check_flags(options, &policy)?;
    let members = match &options.keys {
        Some(dir) => given_keys(dir, &options.out, count)?,
        None => new_keys(options, count)?,
    };
    check_free(options, &members)?;
    let listed = options
        .allocations
        .as_deref()
        .map_or(Ok(Vec::new()), read_allocations)?;
    let allocations = allocations(options, listed)?;
    let scale = Scale {
        shards: options.shards,
        members: options.validators,
        allocations: &allocations,
    };
    let bond = options.leagues.bond(&policy, &scale)?;
    let bonds = vec![bond.as_ref().map_or(0, |bond| bond.units); members.len()];
    check_supply(&bonds, &allocations)?;
    let voting_keys = voting_keys(options, &policy, &members);
    let genesis = Genesis {
        name: options.name.clone(),
        policy,
        shards: options.shards,
        randomness: Hash(*secret(options, 0)?.expose()),
        validators: members.iter().map(|member| member.public).collect(),
        voting_keys,
        bonds,
        funding: FundingRule {
            seed: options.seed,
            accounts: options.accounts,
            amount: Amount(options.amount),
        },
        allocations: allocations.len() as u32,
        allocations_hash: hash::allocations_hash(&allocations),
    };
    genesis.validate()?;
    check_candidates(Path::new("--policy and --bond"), &genesis)?;
    let addresses = addresses(options, count)?;
    write(options, &genesis, &allocations, &members, &addresses)?;
    Ok(Created {
        hash: hash::genesis_hash(&genesis),
        bond,
    })
}

/// Refuses bonds that leave no room for the allocations in a supply.
fn check_supply(bonds: &[u64], allocations: &[Allocation]) -> Result<(), CreateError> {
    let allocated = allocations
        .iter()
        .map(|allocation| u128::from(allocation.amount.0));
    let bonded: u128 = bonds.iter().copied().map(u128::from).sum();
    if allocated.sum::<u128>() + bonded <= u128::from(u64::MAX) {
        return Ok(());
    }
    Err(CreateError::Flag {
        flag: "the sum of all bonds",
        value: bonded.to_string(),
        accepted: format!(
            "with the allocations at most {}: smaller amounts or --bond",
            u64::MAX
        ),
    })
}

/// Voters of each shard.
fn voters(options: &CreateOptions, policy: &Policy) -> usize {
    usize::from(options.validators.saturating_sub(policy.candidates()))
}

/// Keys for aggregates with their proofs, where committees are large enough to need them.
fn voting_keys(options: &CreateOptions, policy: &Policy, members: &[Member]) -> Vec<VotingKey> {
    if !is_aggregated(voters(options, policy)) {
        return Vec::new();
    }
    let voting_key = |member: &Member| SecretKey::from_seed(*member.seed.expose()).voting().voting_key();
    members.iter().map(voting_key).collect()
}

/// Refuses flags before anything costly is done; returns the number of validators.
fn check_flags(options: &CreateOptions, policy: &Policy) -> Result<usize, CreateError> {
    let flag = |flag, value: String, accepted: String| {
        Err(CreateError::Flag {
            flag,
            value,
            accepted,
        })
    };
    let count = usize::from(options.shards) * usize::from(options.validators);
    // The rules of a genesis, on one that differs in its keys alone.
    let like = Genesis {
        name: options.name.clone(),
        policy: policy.clone(),
        shards: options.shards,
        randomness: Hash::default(),
        validators: (0..count as u32).map(like_key).collect(),
        voting_keys: if is_aggregated(voters(options, policy)) {
            let (key, possession) = ([0; 96], [0; 48]);
            vec![VotingKey { key, possession }; count]
        } else {
            Vec::new()
        },
        bonds: vec![0; count],
        funding: FundingRule {
            seed: options.seed,
            accounts: options.accounts,
            amount: Amount(options.amount),
        },
        allocations: 0,
        allocations_hash: Hash::default(),
    };
    like.validate()?;
    if options.name.chars().any(char::is_control) {
        return flag(
            "--name",
            format!("{:?}", options.name),
            "1 to 64 bytes without control characters".into(),
        );
    }
    if options.accounts > ALLOCATIONS_MAX {
        return flag(
            "--accounts",
            options.accounts.to_string(),
            format!("0 to {ALLOCATIONS_MAX}"),
        );
    }
    if options.accounts == 0 && options.allocations.is_none() {
        return flag(
            "--accounts",
            "0".into(),
            "1 or more, or 0 with --allocations".into(),
        );
    }
    if options.accounts > 0 && options.amount == 0 {
        return flag("--amount", "0".into(), "1 or more".into());
    }
    if options.addresses.is_empty() {
        return flag(
            "--addresses",
            "empty".into(),
            "IP addresses separated by commas".into(),
        );
    }
    let port_max = usize::from(u16::MAX) + 1 - 2 * count;
    if usize::from(options.base_port) > port_max {
        let accepted = format!("0 to {port_max}, for two ports of each of {count} validators");
        return flag("--base-port", options.base_port.to_string(), accepted);
    }
    Ok(count)
}

/// Stands for a key where only the number of keys matters.
fn like_key(number: u32) -> [u8; 32] {
    let mut key = [0; 32];
    key[..4].copy_from_slice(&number.to_be_bytes());
    key
}

/// Secret number `number` of a network: from entropy, or from its seed where runs must repeat. Accounts count from
/// zero and fit 32 bits, these count down from the top, so no account shares a secret with a validator.
fn secret(options: &CreateOptions, number: u64) -> Result<KeySeed, KeyFileError> {
    if options.reproducible {
        return Ok(KeySeed::of(account_seed(options.seed, u64::MAX - number)));
    }
    KeySeed::generate()
}

fn new_keys(options: &CreateOptions, count: usize) -> Result<Vec<Member>, CreateError> {
    let member = |number: usize| {
        let seed = secret(options, number as u64 + 1)?;
        Ok(Member {
            public: seed.public(),
            seed,
            in_place: None,
        })
    };
    let mut members = (0..count).map(member).collect::<Result<Vec<_>, KeyFileError>>()?;
    members.sort_unstable_by_key(|member| member.public);
    Ok(members)
}

fn given_keys(dir: &Path, out: &Path, count: usize) -> Result<Vec<Member>, CreateError> {
    let canonical = |path: &Path| path.canonicalize().ok();
    let in_place = canonical(dir).is_some_and(|dir| canonical(&out.join(KEYS_DIR)) == Some(dir));
    let paths = key_files(dir).map_err(|source| CreateError::Read {
        path: dir.into(),
        source,
    })?;
    if paths.len() != count {
        return Err(CreateError::KeyCount {
            path: dir.into(),
            found: paths.len(),
            expected: count,
        });
    }
    let mut files: BTreeMap<[u8; 32], (KeySeed, PathBuf)> = BTreeMap::new();
    for path in paths {
        let seed = keys::read_key(&path)?;
        if let Some((_, other)) = files.insert(seed.public(), (seed, path.clone())) {
            return Err(CreateError::KeyTwice { path, other });
        }
    }
    let member = |(public, (seed, path)): ([u8; 32], (KeySeed, PathBuf))| Member {
        public,
        seed,
        in_place: in_place.then_some(path),
    };
    Ok(files.into_iter().map(member).collect())
}

/// The `*.key` files of a directory, in the order of their names.
fn key_files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let paths = std::fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path()));
    let mut paths: Vec<_> = paths.collect::<io::Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "key"));
    paths.sort_unstable();
    Ok(paths)
}

fn config_name(id: usize) -> String {
    format!("validator-{id:03}.toml")
}

/// Refuses a directory that holds a file of the network, or a key that is not one of its own.
fn check_free(options: &CreateOptions, members: &[Member]) -> Result<(), CreateError> {
    let names = [GENESIS_FILE, ALLOCATIONS_FILE, HOSTS_FILE]
        .map(str::to_owned)
        .into_iter();
    let mut paths: Vec<_> = names
        .chain((0..members.len()).map(config_name))
        .map(|name| options.out.join(name))
        .collect();
    if members.iter().all(|member| member.in_place.is_none()) {
        // Any key there would be taken for one of this network.
        paths.extend(key_files(&options.out.join(KEYS_DIR)).unwrap_or_default());
    }
    match paths.into_iter().find(|path| path.symlink_metadata().is_ok()) {
        Some(path) => Err(CreateError::Exists { path }),
        None => Ok(()),
    }
}

/// The accounts of the rule, derived on all cores, and the listed allocations behind them.
fn allocations(options: &CreateOptions, listed: Vec<Allocation>) -> Result<Vec<Allocation>, CreateError> {
    let total = options.accounts as usize + listed.len();
    if total == 0 || total > ALLOCATIONS_MAX as usize {
        let (value, accepted) = (total.to_string(), format!("1 to {ALLOCATIONS_MAX}"));
        return Err(CreateError::Flag {
            flag: "the number of allocations",
            value,
            accepted,
        });
    }
    let flags = Path::new("--accounts and --amount");
    if options.amount.checked_mul(options.accounts.into()).is_none() {
        return Err(GenesisFileError::Supply { path: flags.into() }.into());
    }
    if let Some(path) = &options.allocations {
        check_amounts(path, &listed)?;
    }
    let empty = Allocation {
        owner: Owner::default(),
        amount: Amount(options.amount),
    };
    let mut all = vec![empty; options.accounts as usize];
    let piece = all.len().div_ceil(cores()).max(1);
    let seed = options.seed;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0_u64..)
            .step_by(piece)
            .zip(all.chunks_mut(piece))
            .map(|(first, accounts)| {
                let derive = move || {
                    for (index, account) in (first..).zip(accounts) {
                        account.owner = Owner(SecretKey::from_seed(account_seed(seed, index)).public());
                    }
                };
                std::thread::Builder::new()
                    .name("accounts".into())
                    .spawn_scoped(scope, derive)
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.map(drop))
    })
    .map_err(|source| CreateError::System {
        what: "thread",
        source,
    })?;
    all.extend(listed);
    check_amounts(flags, &all)?;
    Ok(all)
}

/// Addresses for validators and for clients, by id.
fn addresses(options: &CreateOptions, count: usize) -> Result<Vec<(SocketAddr, SocketAddr)>, CreateError> {
    let ips = options.addresses.iter().copied().cycle().take(count);
    if options.base_port > 0 {
        let ports = (options.base_port..).step_by(2);
        let at = |(ip, port): (IpAddr, u16)| {
            (
                SocketAddr::new(ip, port),
                SocketAddr::new(ip, port.saturating_add(1)),
            )
        };
        return Ok(ips.zip(ports).map(at).collect());
    }
    // All are held until the last is chosen, so that none is given twice.
    let mut held = Vec::new();
    let mut free = |ip: IpAddr| -> io::Result<SocketAddr> {
        let socket = UdpSocket::bind((ip, 0))?;
        let address = socket.local_addr()?;
        held.push(socket);
        Ok(address)
    };
    ips.map(|ip| Ok((free(ip)?, free(ip)?)))
        .collect::<io::Result<_>>()
        .map_err(|source| CreateError::System {
            what: "free port at --addresses; name one with --base-port",
            source,
        })
}

/// Files that were written; removed again unless all of them are.
struct Written {
    files: Vec<PathBuf>,
    complete: bool,
}

impl Written {
    fn file(&mut self, path: PathBuf, bytes: &[u8]) -> Result<(), CreateError> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|source| match source.kind() {
                io::ErrorKind::AlreadyExists => CreateError::Exists { path: path.clone() },
                _ => CreateError::Write {
                    path: path.clone(),
                    source,
                },
            })?;
        self.files.push(path.clone());
        file.write_all(bytes)
            .map_err(|source| CreateError::Write { path, source })
    }

    fn key(&mut self, path: PathBuf, seed: &KeySeed) -> Result<(), CreateError> {
        let written = keys::write_key(&path, seed);
        if !matches!(written, Err(KeyFileError::Exists { .. })) {
            self.files.push(path);
        }
        Ok(written?)
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        if !self.complete {
            for path in &self.files {
                // The error that led here is the one to tell.
                drop(std::fs::remove_file(path));
            }
        }
    }
}

fn write(
    options: &CreateOptions,
    genesis: &Genesis,
    allocations: &[Allocation],
    members: &[Member],
    addresses: &[(SocketAddr, SocketAddr)],
) -> Result<(), CreateError> {
    let (out, keys_dir) = (&options.out, options.out.join(KEYS_DIR));
    std::fs::create_dir_all(&keys_dir).map_err(|source| CreateError::Write {
        path: keys_dir.clone(),
        source,
    })?;
    let mut written = Written {
        files: Vec::new(),
        complete: false,
    };
    written.file(out.join(ALLOCATIONS_FILE), &encode_allocations(allocations))?;
    let peers: BTreeMap<u16, SocketAddr> = (0..).zip(addresses.iter().map(|(peers, _)| *peers)).collect();
    let mut hosts_text = String::new();
    for (id, (member, (listen_peers, listen_clients))) in members.iter().zip(addresses).enumerate() {
        let name = match &member.in_place {
            Some(path) => path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            None => keys::key_file_name(id),
        };
        if member.in_place.is_none() {
            written.key(keys_dir.join(&name), &member.seed)?;
        }
        let text = ConfigText {
            validator: id as u16,
            public: member.public,
            key: &format!("{KEYS_DIR}/{name}"),
            listen_peers: *listen_peers,
            listen_clients: *listen_clients,
            peers: &peers,
        };
        written.file(out.join(config_name(id)), text.render().as_bytes())?;
        hosts_text.push_str(&hosts::line(*listen_clients, &member.public));
    }
    written.file(out.join(HOSTS_FILE), hosts_text.as_bytes())?;
    // Last: where it is, everything is.
    written.file(out.join(GENESIS_FILE), genesis_text(genesis).as_bytes())?;
    written.complete = true;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Written;
    use crate::genesis_file::CreateError;
    use crate::keys::KeySeed;

    #[test]
    fn files_of_a_creation_that_fails_are_removed_and_others_stay() {
        let folder = tempfile::tempdir().expect("folder");
        let path = |name: &str| folder.path().join(name);
        fs::write(path("there"), "precious").expect("written");
        fs::write(path("1.key"), "secret").expect("written");
        let seed = KeySeed::generate().expect("entropy");
        let mut written = Written {
            files: Vec::new(),
            complete: false,
        };
        written.file(path("a"), b"a").expect("written");
        written.key(path("0.key"), &seed).expect("written");
        assert!(path("a").exists() && path("0.key").exists());
        assert!(matches!(
            written.file(path("there"), b"b"),
            Err(CreateError::Exists { .. })
        ));
        assert!(matches!(
            written.key(path("1.key"), &seed),
            Err(CreateError::Key(_))
        ));
        assert!(matches!(
            written.file(path("none/a"), b"b"),
            Err(CreateError::Write { .. })
        ));
        drop(written);
        assert!(!path("a").exists() && !path("0.key").exists());
        assert_eq!(fs::read_to_string(path("there")).expect("read"), "precious");
        assert_eq!(fs::read_to_string(path("1.key")).expect("read"), "secret");
    }
}
