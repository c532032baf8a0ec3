//! Bringing a replica back from its data directory, or starting a new one (`ios` 20.6).

use anyhow::Context;
use bytes::Bytes;
use crypto::keys::{Scheme, SecretKey};
use crypto::verify::BatchVerifier;
use crypto::{hash, placement};
use replica::{
    Inline, Ledger, LedgerConfig, Recovery, RecoveryError, Replica, ReplicaConfig, Snapshot, Utxo,
};
use types::block::AuthorHeader;
use types::{OutPoint, Owner, Sequence};

use super::{Place, ValidatorConfig};
use crate::clock::Clock;
use crate::genesis_file::Network;
use crate::verify_pool::check_body;

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
    network: &Network,
    place: &Place,
    config: &ValidatorConfig,
    mut opened: store::Opened,
    clock: Clock,
) -> anyhow::Result<Restarted> {
    let replica_config = ReplicaConfig {
        epoch: network.epoch.clone(),
        shard: place.shard,
        me: place.member,
        scheme: Scheme::Ed25519,
        boot_nonce: u64::from_le_bytes(random()?),
        planted: None,
    };
    let key = || SecretKey::from_seed(*config.key.expose());
    let ledger_config = ledger_config(network, place)?;
    // Keys the coefficients of the batch equation.
    let seed: [u8; 32] = random()?;
    let genesis = || genesis_ledger(network, place, ledger_config.clone());
    if opened.log().last_sequence().is_none() && opened.state().head().is_none() {
        let ledger = genesis()?;
        begin_state(&mut opened, &ledger)?;
        return Ok(Restarted {
            replica: Replica::new(replica_config, key(), ledger, clock.now()),
            opened,
        });
    }
    let ledger = match opened.state().load()? {
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
        &opened,
        network,
        clock,
        seed,
    ) {
        Ok(replica) => replica,
        Err(ReplayError::Recovery(
            error @ (RecoveryError::StateAhead { .. } | RecoveryError::StateDigest(_)),
        )) => {
            // The state is derived: the log has everything that was promised.
            tracing::warn!(%error, "the state is rebuilt from genesis and the block log");
            opened = opened.reset_state()?;
            let ledger = genesis()?;
            begin_state(&mut opened, &ledger)?;
            replay(replica_config, key(), ledger, &opened, network, clock, seed)?
        }
        Err(error) => return Err(error.into()),
    };
    Ok(Restarted { replica, opened })
}

/// Writes the outputs of genesis to an empty state: later writes are changes to it.
fn begin_state(opened: &mut store::Opened, ledger: &Ledger) -> anyhow::Result<()> {
    let created = ledger
        .outputs()
        .map(|(outpoint, utxo)| output(outpoint, utxo))
        .collect();
    let changes = store::StateChanges {
        digest: ledger.final_digest(),
        created,
        ..store::StateChanges::default()
    };
    Ok(opened.begin_state(&changes)?)
}

/// An output as the store holds it.
pub(crate) const fn output(outpoint: OutPoint, utxo: Utxo) -> store::Output {
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
}

fn replay(
    config: ReplicaConfig,
    key: SecretKey,
    ledger: Ledger,
    opened: &store::Opened,
    network: &Network,
    clock: Clock,
    seed: [u8; 32],
) -> Result<Replica, ReplayError> {
    let mut verifier = BatchVerifier::new(seed, Scheme::Ed25519);
    let genesis = network.hash;
    let mut check =
        |header: &AuthorHeader, bytes: &Bytes| check_body(&mut verifier, &genesis, header, bytes.clone()).0;
    let mut recovery = Recovery::new(config, key, ledger, clock.now());
    let mut last = Sequence(0);
    for record in opened.log().replay() {
        let (seq, record) = record?;
        last = last.max(seq);
        recovery.replay(clock.now(), record, &mut check, &Inline)?;
    }
    Ok(recovery.finish(clock.now(), last, &mut check, &Inline)?)
}

fn ledger_config(network: &Network, place: &Place) -> anyhow::Result<LedgerConfig> {
    let policy = &network.genesis.policy;
    Ok(LedgerConfig {
        shard: place.shard,
        shards: network.genesis.shards,
        genesis_hash: network.hash,
        keep_spent: policy.lag + policy.window + 8,
        fee_min: policy.fee_min,
        expiry_ahead_max: policy.expiry_ahead_max,
        hash_seed: random()?,
    })
}

fn genesis_ledger(network: &Network, place: &Place, config: LedgerConfig) -> anyhow::Result<Ledger> {
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
    Ok(Ledger::new(config, outputs)?)
}

fn convert(snapshot: store::Snapshot) -> Snapshot {
    Snapshot {
        height: snapshot.height,
        digest: snapshot.digest,
        fees: snapshot.fees_total,
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
