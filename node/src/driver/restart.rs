//! Bringing a replica back from its data directory, or starting a new one (`ios` 20.6).

use anyhow::Context;
use bytes::Bytes;
use crypto::keys::{Scheme, SecretKey};
use crypto::verify::BatchVerifier;
use crypto::{hash, placement};
use files::NetworkGenesis;
use replica::body_check::check_body;
use replica::{
    Inline, Ledger, LedgerConfig, Recovery, RecoveryError, Replica, ReplicaConfig, SignatureChecks, Snapshot,
    StateChanges, Utxo,
};
use types::block::SignedAuthorHeader;
use types::limits::VERIFY_BATCH_MAX;
use types::{Hash, OutPoint, Owner, Sequence};

use super::{Place, ValidatorConfig};
use crate::clock::Clock;

/// A replica and the data directory that it continues.
pub(crate) struct Restarted {
    pub(crate) replica: Replica,
    pub(crate) opened: store::Opened,
}

/// Fresh random bytes of the operating system.
pub(crate) fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes)
        .ok()
        .context("the operating system gives no random numbers")?;
    Ok(bytes)
}

/// Loads the state, replays the log; a directory that was never used gives a new replica.
pub(crate) fn restore(
    network: &NetworkGenesis,
    place: &Place,
    config: &ValidatorConfig,
    mut opened: store::Opened,
    clock: Clock,
) -> anyhow::Result<Restarted> {
    let fresh = opened.log().last_sequence().is_none() && opened.state().head().is_none();
    let mut replica_config = ReplicaConfig {
        epoch: network.epoch.clone(),
        shard: place.shard,
        me: place.member,
        scheme: Scheme::Ed25519,
        boot_nonce: u64::from_le_bytes(random()?),
        disk_lost: is_disk_lost(config, &network.hash, fresh)?,
        planted: None,
        mischief: config.mischief.clone(),
    };
    let key = || SecretKey::from_seed(*config.key.expose());
    let ledger_config = ledger_config(network, place)?;
    // Keys the coefficients of the batch equation.
    let seed: [u8; 32] = random()?;
    let genesis = || genesis_ledger(network, place, ledger_config.clone());
    if fresh {
        let ledger = genesis()?;
        begin_state(&mut opened, &ledger)?;
        return Ok(Restarted {
            replica: Replica::new(replica_config, key(), ledger, clock.now()),
            opened,
        });
    }
    let snapshot = match opened.state().load() {
        Ok(snapshot) => snapshot,
        Err(error) => {
            tracing::warn!(%error, "the state is rebuilt from genesis and the block log");
            opened = opened.reset_state()?;
            None
        }
    };
    let ledger = match snapshot {
        Some(snapshot) => Ledger::restore(ledger_config.clone(), convert(snapshot))?,
        None => {
            let ledger = genesis()?;
            begin_state(&mut opened, &ledger)?;
            ledger
        }
    };
    let replica = match replay(
        replica_config.clone(),
        key(),
        ledger,
        &mut opened,
        network,
        clock,
        seed,
    ) {
        Ok(replica) => replica,
        Err(ReplayError::Recovery(
            error @ (RecoveryError::StateAhead { .. } | RecoveryError::StateDigest(_)),
        )) => {
            // The state is derived: the log has everything that was promised, unless it ends below the state. The
            // state is written after the log's fsync, so durable records are gone then, and votes may be among them.
            let lost = matches!(error, RecoveryError::StateAhead { .. });
            replica_config.disk_lost |= lost && config.durability == store::Durability::Fsync;
            tracing::warn!(%error, "the state is rebuilt from genesis and the block log");
            opened = opened.reset_state()?;
            let ledger = genesis()?;
            begin_state(&mut opened, &ledger)?;
            replay(replica_config, key(), ledger, &mut opened, network, clock, seed)?
        }
        Err(error) => return Err(error.into()),
    };
    // It may have ended after its entry became durable and before the key was marked.
    if let (true, Some(mark)) = (replica.is_signing(), &config.key_mark) {
        mark.set(&network.hash)?;
    }
    Ok(Restarted { replica, opened })
}

/// Whether the key has signed in this network with a data directory that is gone.
fn is_disk_lost(config: &ValidatorConfig, genesis: &Hash, fresh: bool) -> anyhow::Result<bool> {
    let Some(mark) = &config.key_mark else {
        return Ok(false);
    };
    let lost = fresh && mark.names(genesis)?;
    if lost {
        tracing::error!(
            mark = %mark.path().display(),
            data = %config.data_dir.display(),
            "this key was used in this network and its data directory is empty: the validator follows the chain and \
             signs nothing. Only where the whole network starts anew, remove the mark and start again"
        );
    }
    Ok(lost)
}

/// Writes the outputs of genesis to an empty state: later writes are changes to it.
fn begin_state(opened: &mut store::Opened, ledger: &Ledger) -> anyhow::Result<()> {
    let created = ledger
        .outputs()
        .map(|(outpoint, utxo)| output(outpoint, utxo))
        .collect();
    let changes = store::StateChanges {
        digest: ledger.final_digest(),
        counters: ledger.totals().counters,
        created,
        ..store::StateChanges::default()
    };
    Ok(opened.begin_state(&changes)?)
}

/// An output as the store holds it.
const fn output(outpoint: OutPoint, utxo: Utxo) -> store::Output {
    store::Output {
        outpoint,
        owner: utxo.owner,
        amount: utxo.amount,
        created: utxo.created,
    }
}

#[derive(Debug, thiserror::Error)]
enum ReplayError {
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    #[error(transparent)]
    Read(#[from] store::ReadError),
    #[error(transparent)]
    State(#[from] store::StateError),
}

fn replay(
    config: ReplicaConfig,
    key: SecretKey,
    ledger: Ledger,
    opened: &mut store::Opened,
    network: &NetworkGenesis,
    clock: Clock,
    seed: [u8; 32],
) -> Result<Replica, ReplayError> {
    let mut verifier = BatchVerifier::new(seed, Scheme::Ed25519);
    let genesis = network.hash;
    let mut check = |header: &SignedAuthorHeader, bytes: &Bytes, checks: &SignatureChecks| {
        check_body(
            &mut verifier,
            &genesis,
            header,
            bytes.clone(),
            checks,
            VERIFY_BATCH_MAX,
        )
        .0
    };
    let mut recovery = Recovery::new(config, key, ledger, clock.now());
    let mut last = Sequence(0);
    let (log, state) = opened.log_and_state();
    for record in log.replay() {
        let (seq, record) = record?;
        last = last.max(seq);
        recovery.replay(clock.now(), record, &mut check, &Inline)?;
        for changes in recovery.take_state_changes() {
            state.write(&convert_changes(changes))?;
        }
    }
    Ok(recovery.finish(clock.now(), last, &mut check, &Inline)?)
}

fn ledger_config(network: &NetworkGenesis, place: &Place) -> anyhow::Result<LedgerConfig> {
    let policy = &network.genesis.policy;
    Ok(LedgerConfig {
        shard: place.shard,
        shards: network.genesis.shards,
        genesis_hash: network.hash,
        keep_spent: policy.memory(),
        fee_min: policy.fee_min,
        expiry_ahead_max: policy.expiry_ahead_max,
        hash_seed: random()?,
    })
}

fn genesis_ledger(network: &NetworkGenesis, place: &Place, config: LedgerConfig) -> anyhow::Result<Ledger> {
    let here = |owner: &Owner| placement::shard_of(owner, network.genesis.shards) == place.shard;
    let outputs = (0_u64..)
        .zip(&network.allocations)
        .filter(|(_, allocation)| here(&allocation.owner))
        .map(|(index, allocation)| {
            (
                hash::allocation_outpoint(&network.genesis.name, index),
                allocation.owner,
                allocation.amount,
            )
        });
    Ok(Ledger::new(config, outputs, place.committee.bonded())?)
}

/// Net changes as the store takes them.
pub(crate) fn convert_changes(changes: StateChanges) -> store::StateChanges {
    store::StateChanges {
        height: changes.height,
        digest: changes.digest,
        counters: changes.counters,
        claimed: changes.claimed,
        created: changes
            .created
            .into_iter()
            .map(|(outpoint, utxo)| output(outpoint, utxo))
            .collect(),
        spent: changes.spent,
    }
}

fn convert(snapshot: store::Snapshot) -> Snapshot {
    Snapshot {
        height: snapshot.height,
        digest: snapshot.digest,
        counters: snapshot.counters,
        claimed: snapshot.claimed,
        outputs: snapshot
            .outputs
            .into_iter()
            .map(|output| {
                (
                    output.outpoint,
                    Utxo {
                        owner: output.owner,
                        amount: output.amount,
                        created: output.created,
                    },
                )
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use files::{NetworkGenesis, QueueBounds};
    use store::{Identity, Snapshot, Store, StoreOptions};
    use types::record::LogRecord;
    use types::time::Duration;
    use types::{Sequence, ValidatorId};

    use super::{Restarted, restore};
    use crate::clock::Clock;
    use crate::driver::{ValidatorConfig, place_of};
    use crate::genesis_file::{CreateOptions, create, one_league};

    const ID: ValidatorId = ValidatorId(0);

    /// A network whose state is larger than one block of a file of the state.
    fn network(folder: &Path) -> NetworkGenesis {
        let options = CreateOptions {
            out: folder.into(),
            shards: 1,
            validators: 4,
            leagues: one_league(),
            seed: 7,
            accounts: 2000,
            amount: 9,
            allocations: None,
            policy: "lan".into(),
            name: "restart".into(),
            keys: None,
            reproducible: true,
            addresses: vec!["127.0.0.1".parse().expect("address")],
            base_port: 21_000,
        };
        create(&options).expect("created");
        NetworkGenesis::load(&folder.join("genesis.toml")).expect("loaded")
    }

    /// Opens and restores a data directory as a start does.
    fn restart(network: &NetworkGenesis, data_dir: &Path) -> anyhow::Result<Restarted> {
        let any_port = "127.0.0.1:0".parse().expect("address");
        let config = ValidatorConfig {
            id: ID,
            key: crate::keys::KeySeed::of([1; 32]),
            key_mark: None,
            queues: QueueBounds::default(),
            mischief: None,
            data_dir: data_dir.into(),
            listen_peers: any_port,
            listen_clients: any_port,
            durability: store::Durability::Fsync,
            rtt: Duration::ZERO,
            reserve_bytes: store::RESERVE_BYTES,
            apply_threads: 1,
        };
        let place = place_of(network, ID).expect("a member");
        let owner = Identity {
            genesis: network.hash,
            validator: [2; 32],
        };
        let opened = Store::open(data_dir, owner, StoreOptions::default())?;
        restore(network, &place, &config, opened, Clock::start())
    }

    fn snapshot(restarted: &Restarted) -> Snapshot {
        restarted.opened.state().load().expect("readable").expect("begun")
    }

    #[test]
    fn a_state_whose_outputs_have_rotted_is_rebuilt() {
        let folder = tempfile::tempdir().expect("folder");
        let network = network(&folder.path().join("network"));
        let data_dir = folder.path().join("data");
        let first = restart(&network, &data_dir).expect("a new one");
        let expected = snapshot(&first);
        assert_eq!(expected.outputs.len(), 2000);
        let store = first.opened.start(Box::new(|_| ())).expect("started");
        let promise = vec![LogRecord::Promise(types::View(0))];
        store
            .handle()
            .persist(Sequence(1), promise, true)
            .expect("running");
        store.close().expect("closed");

        let table = std::fs::read_dir(data_dir.join("state"))
            .expect("readable")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|end| end == "sst"))
            .max_by_key(|path| std::fs::metadata(path).map_or(0, |data| data.len()))
            .expect("a table");
        let mut bytes = std::fs::read(&table).expect("readable");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&table, bytes).expect("written");

        // Head and owner stand elsewhere in the table: opening finds nothing wrong, reading the outputs does.
        let again = restart(&network, &data_dir).expect("rebuilt");
        assert_eq!(snapshot(&again), expected);
        assert_eq!(again.opened.log().replay().count(), 1);
        drop(again);
        assert_eq!(snapshot(&restart(&network, &data_dir).expect("sound")), expected);
    }
}
