//! A whole local network in one process: every validator its own identity, ports, store and state.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use crypto::keys::SecretKey;
use files::{NetworkGenesis, QueueBounds};
use serde::Serialize;
use store::Durability;
use types::ValidatorId;
use types::time::Duration;

use crate::clock::Clock;
use crate::driver::{Prepared, Shared, Validator, ValidatorConfig};
use crate::keys::{self, KeySeed};
use crate::verify_pool::VerifyPool;

/// How long all validators may take to link.
const LINK_DEADLINE: Duration = Duration::from_secs(30);

/// What `testnet` is told.
#[derive(Clone, Debug)]
pub(crate) struct TestnetOptions {
    /// Directory with `genesis.toml`, `allocations.bin` and `keys/`; data goes to `data/`.
    pub(crate) dir: PathBuf,
    /// What durable means.
    pub(crate) durability: Durability,
    /// Round-trip time between validators; zero for what the machine gives.
    pub(crate) rtt: Duration,
    /// Verification threads; 0 means one per core.
    pub(crate) workers: usize,
}

/// The line that tells a parent that the network is up.
#[derive(Serialize)]
struct Ready<'a> {
    ready: bool,
    build: &'a str,
    nodes: Vec<ReadyNode>,
}

#[derive(Serialize)]
struct ReadyNode {
    validator: u16,
    key: String,
    shard: u16,
    member: u16,
    address: SocketAddr,
}

/// Runs the network until standard input ends or a validator fails.
pub(crate) fn testnet(options: TestnetOptions) -> anyhow::Result<()> {
    let network = Arc::new(NetworkGenesis::load(&options.dir.join("genesis.toml"))?);
    let runtime = runtime()?;
    runtime.block_on(serve(network, options))
}

/// The runtime of sockets: one thread per core.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores())
        .enable_all()
        .build()?)
}

/// Cores of this machine.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Threads asked for; 0 means one per core.
pub(crate) fn workers(asked: usize) -> usize {
    if asked == 0 { cores() } else { asked }
}

async fn serve(network: Arc<NetworkGenesis>, options: TestnetOptions) -> anyhow::Result<()> {
    let keys = read_keys(&network, &options.dir.join("keys"))?;
    let prepared = prepare(&network, &options, keys)?;
    let peers: BTreeMap<u16, SocketAddr> = prepared
        .iter()
        .map(|(id, node)| (id.0, node.peer_address()))
        .collect();
    let topology: BTreeMap<u16, SocketAddr> = prepared
        .iter()
        .map(|(id, node)| (id.0, node.client_address()))
        .collect();
    let ready = ready(&network, &prepared);
    let workers = if options.workers == 0 {
        cores()
    } else {
        options.workers
    };
    let pool = VerifyPool::start(workers, crate::driver::random()?)?;
    let shared = Shared {
        network,
        clock: Clock::start(),
        pool: Arc::clone(&pool),
        topology: Arc::new(topology),
        process: u64::from_le_bytes(crate::driver::random()?),
    };
    let mut validators = Vec::with_capacity(prepared.len());
    for (id, node) in prepared {
        validators.push(
            node.start(&shared, &peers)
                .with_context(|| format!("validator {id} cannot start"))?,
        );
    }
    wait_for_links(&shared, &validators).await?;
    println!("{}", serde_json::to_string(&ready)?);
    std::io::stdout().flush()?;
    let ended = until_stdin_ends();
    let outcome = tokio::select! {
        _ = ended => Ok(()),
        failure = first_failure(&validators) => Err(failure),
        () = crate::run::signalled() => Ok(()),
    };
    let stopping = validators.into_iter().map(Validator::stop);
    for stopped in stopping {
        if let (Err(error), true) = (stopped.await, outcome.is_ok()) {
            return Err(error);
        }
    }
    pool.stop();
    outcome
}

/// Keys of all validators, matched by public key.
fn read_keys(network: &NetworkGenesis, dir: &Path) -> anyhow::Result<BTreeMap<ValidatorId, KeySeed>> {
    let mut keys = BTreeMap::new();
    let files = std::fs::read_dir(dir)
        .with_context(|| format!("the folder of keys {} cannot be read", dir.display()))?;
    for file in files {
        let path = file?.path();
        if path.extension().is_none_or(|extension| extension != "key") {
            continue;
        }
        let seed = keys::read_key(&path)?;
        let public = SecretKey::from_seed(*seed.expose()).public();
        match network.genesis.validators.binary_search(&public) {
            Ok(position) => drop(keys.insert(ValidatorId(position as u16), seed)),
            Err(_) => bail!("{} is the key of no validator of this genesis", path.display()),
        }
    }
    let expected = network.genesis.validators.len();
    ensure!(
        keys.len() == expected,
        "{} holds {} of the {expected} validators' keys",
        dir.display(),
        keys.len()
    );
    Ok(keys)
}

fn prepare(
    network: &NetworkGenesis,
    options: &TestnetOptions,
    keys: BTreeMap<ValidatorId, KeySeed>,
) -> anyhow::Result<BTreeMap<ValidatorId, Prepared>> {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    keys.into_iter()
        .map(|(id, seed)| {
            let config = ValidatorConfig {
                id,
                key: seed,
                // Keys and data lie in one folder and are lost together.
                key_mark: None,
                data_dir: options.dir.join("data").join(format!("{:03}", id.0)),
                listen_peers: any,
                listen_clients: any,
                durability: options.durability,
                rtt: options.rtt,
                reserve_bytes: store::RESERVE_BYTES,
                apply_threads: 1,
                queues: QueueBounds::default(),
            };
            Ok((id, Prepared::new(network, config)?))
        })
        .collect()
}

fn ready<'a>(network: &NetworkGenesis, prepared: &BTreeMap<ValidatorId, Prepared>) -> Ready<'a> {
    let nodes = prepared.iter().map(|(id, node)| ReadyNode {
        validator: id.0,
        key: network
            .genesis
            .validators
            .get(usize::from(id.0))
            .map(hex::encode)
            .unwrap_or_default(),
        shard: node.place().shard.0,
        member: node.place().member.0,
        address: node.client_address(),
    });
    Ready {
        ready: true,
        build: crate::BUILD,
        nodes: nodes.collect(),
    }
}

async fn wait_for_links(shared: &Shared, validators: &[Validator]) -> anyhow::Result<()> {
    let size = |id: ValidatorId| {
        let committee = shared
            .network
            .epoch
            .committees
            .iter()
            .find(|committee| committee.members.iter().any(|(other, _)| *other == id));
        committee.map_or(0, |committee| committee.members.len() - 1)
    };
    let linked = async {
        while !validators
            .iter()
            .all(|validator| validator.links() >= size(validator.id))
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LINK_DEADLINE, linked)
        .await
        .context("the validators did not link within 30 s")
}

/// Ends when standard input does: the parent is gone, however it ended.
async fn until_stdin_ends() {
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut byte = [0; 64];
        while matches!(stdin.read(&mut byte), Ok(read) if read > 0) {}
        drop(end);
    });
    // Both outcomes mean the end.
    drop(ended.await);
}

/// Waits for a validator that stops by itself.
pub(crate) async fn first_failure(validators: &[Validator]) -> anyhow::Error {
    loop {
        for validator in validators {
            if let Some(reason) = validator.failure() {
                return anyhow::anyhow!("validator {} stopped: {reason}", validator.id);
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
