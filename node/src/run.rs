//! One validator from a configuration file.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use crypto::keys::SecretKey;
use files::NetworkGenesis;
use types::ValidatorId;

use crate::clock::Clock;
use crate::config::Config;
use crate::driver::{Prepared, Shared, ValidatorConfig, random};
use crate::key_mark::KeyMark;
use crate::testnet::{first_failure, runtime, workers};
use crate::verify_pool::VerifyPool;

/// Runs until SIGINT or SIGTERM, or until the validator cannot go on.
pub(crate) fn run(config: Config) -> anyhow::Result<()> {
    let network = Arc::new(NetworkGenesis::load(&config.genesis)?);
    let public = SecretKey::from_seed(*config.key.expose()).public();
    let position =
        network.genesis.validators.binary_search(&public).ok().context(
            "the key is of no validator of this genesis; use one of the keys that it was made with",
        )?;
    runtime()?.block_on(serve(network, config, ValidatorId(position as u16)))
}

async fn serve(network: Arc<NetworkGenesis>, config: Config, id: ValidatorId) -> anyhow::Result<()> {
    let validator = ValidatorConfig {
        id,
        key: config.key.clone(),
        key_mark: Some(KeyMark::beside(&config.key_file)),
        data_dir: config.data_dir.clone(),
        listen_peers: config.listen_peers,
        listen_clients: config.listen_clients,
        durability: config.durability,
        rtt: config.rtt,
        reserve_bytes: config.reserve_bytes,
        apply_threads: config.apply_threads,
        queues: config.queues,
        mischief: None,
    };
    let prepared = Prepared::new(&network, validator)?;
    let client_address = prepared.client_address();
    let (peer_address, place) = (prepared.peer_address(), prepared.place().clone());
    let pool = VerifyPool::start(workers(config.verify_threads), random()?)?;
    let shared = Shared {
        network,
        clock: Clock::start(),
        pool: Arc::clone(&pool),
        topology: Arc::new(BTreeMap::from([(id.0, client_address)])),
        process: u64::from_le_bytes(random()?),
    };
    let peers: BTreeMap<u16, SocketAddr> = config.peers.clone();
    let validator = prepared.start(&shared, &peers)?;
    println!(
        "validator {id} of shard {} (member {}) serves clients at {client_address} and validators at {peer_address}",
        place.shard, place.member
    );
    std::io::stdout().flush()?;
    let validators = [validator];
    let outcome = tokio::select! {
        failure = first_failure(&validators) => Err(failure),
        () = signalled() => Ok(()),
    };
    for validator in validators {
        if let (Err(error), true) = (validator.stop().await, outcome.is_ok()) {
            return Err(error);
        }
    }
    pool.stop();
    outcome
}

/// Waits for SIGINT or SIGTERM.
pub(crate) async fn signalled() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
