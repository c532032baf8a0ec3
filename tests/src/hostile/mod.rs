//! Attacks of clients on a running network, and a count of how each was answered.
//!
//! Nothing here is simulated: real connections to real nodes. An attack never spends a coin, so whatever the honest
//! clients of the same network do must come to the same end as without it.

mod attacks;
mod transactions;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::ValueEnum;
use files::NetworkGenesis;
use loadgen::hosts::{NodeList, parse_nodes};
use loadgen::network::{Target, endpoint_for, find_targets, greeting};
use serde_json::{Value, json};
use tokio::time::Instant;
use transport::ClientEndpoint;
use types::client::Hello;

/// What the attackers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Attack {
    /// Well-formed transactions at a rate. Bad ones spend coins of the genesis with a wrong signature, the others
    /// are signed rightly and spend a coin that never exists.
    BadSignatures,
    /// Frames that are none: a wrong greeting, unknown types, wrong epochs, payloads that do not decode.
    Garbage,
    /// Connections that send nothing.
    HalfOpen,
    /// Clients that ask for all blocks again and again and never read an answer.
    SlowReaders,
    /// As many rightly signed transactions as the connection takes, far beyond what may be in flight.
    Flood,
    /// Handshakes, one after the other, each connection ended at once.
    Handshakes,
}

/// One attack; nothing has been sent.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What to do.
    pub attack: Attack,
    /// Nodes as `loadgen --nodes` takes them.
    pub nodes: String,
    /// `genesis.toml`; beside the hosts file when none is given.
    pub genesis: Option<PathBuf>,
    /// Connections at a time, dealt to the nodes in turn; at least 1.
    pub connections: usize,
    /// Transactions per second over all connections; of `BadSignatures` only.
    pub rate: u32,
    /// Share of transactions with a bad signature, 0 to 1; of `BadSignatures` only.
    pub bad_share: f64,
    /// How long.
    pub duration: Duration,
    /// Whatever is random follows from it.
    pub seed: u64,
}

/// Why there was no attack.
#[derive(Debug, thiserror::Error)]
pub enum AttackError {
    /// The nodes are not named rightly.
    #[error(transparent)]
    Usage(#[from] loadgen::usage::UsageError),
    /// The genesis.
    #[error(transparent)]
    Genesis(#[from] files::GenesisFileError),
    /// No genesis was named.
    #[error("--genesis is needed when --nodes names no file, accepted is the network's genesis.toml")]
    NoGenesis,
    /// The nodes cannot be reached.
    #[error(transparent)]
    Network(#[from] loadgen::network::NetworkError),
}

/// What all attackers share.
struct Field {
    plan: Plan,
    network: NetworkGenesis,
    targets: Vec<Target>,
    hello: Hello,
    endpoint: ClientEndpoint,
    until: Instant,
    tally: Tally,
}

/// Counters by name.
#[derive(Debug, Default)]
struct Tally(Mutex<BTreeMap<String, u64>>);

impl Tally {
    fn add(&self, name: &str, count: u64) {
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match counters.get_mut(name) {
            Some(counter) => *counter += count,
            None => drop(counters.insert(name.to_owned(), count)),
        }
    }

    fn to_json(&self) -> Value {
        json!(*self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Attacks until the plan's time is over; answers what was sent and how it was answered.
///
/// # Errors
/// Nothing was sent: the nodes or the genesis cannot be read or reached.
pub async fn run(plan: Plan) -> Result<Value, AttackError> {
    let list = parse_nodes(&plan.nodes)?;
    let network = NetworkGenesis::load(&genesis_path(&plan, &list)?)?;
    let targets = find_targets(&network.genesis, &network.epoch, &list).await?;
    let first = targets.first().map(|target| target.address);
    let endpoint = endpoint_for(first.ok_or(AttackError::NoGenesis)?)?;
    let field = Arc::new(Field {
        until: Instant::now() + plan.duration,
        hello: greeting(&network.epoch),
        plan,
        network,
        targets,
        endpoint,
        tally: Tally::default(),
    });
    let mut attackers = tokio::task::JoinSet::new();
    for number in 0..field.plan.connections {
        attackers.spawn(attacks::attacker(Arc::clone(&field), number));
    }
    while let Some(ended) = attackers.join_next().await {
        if ended.is_err() {
            field.tally.add("attackers_panicked", 1);
        }
    }
    let plan = &field.plan;
    let name = plan
        .attack
        .to_possible_value()
        .map(|value| value.get_name().to_owned());
    Ok(json!({
        "attack": name,
        "connections": plan.connections,
        "seconds": plan.duration.as_secs_f64(),
        "counts": field.tally.to_json(),
    }))
}

fn genesis_path(plan: &Plan, list: &NodeList) -> Result<PathBuf, AttackError> {
    match (&plan.genesis, &list.file) {
        (Some(path), _) => Ok(path.clone()),
        (None, Some(hosts)) => Ok(hosts.with_file_name("genesis.toml")),
        (None, None) => Err(AttackError::NoGenesis),
    }
}
