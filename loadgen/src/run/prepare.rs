//! Everything before the first transaction leaves: host, network, accounts, coins, the signed arena.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use files::NetworkGenesis;
use sizing::exposure::Traffic;
use types::client::Hello;
use types::{Amount, Height, ShardId};

use super::plan::{Plan, nanoseconds, plan};
use super::traffic::{Coins, expected, peak};
use super::{RunError, Setting, heed};
use crate::arena::{Arena, ArenaPlan, Host, build};
use crate::audit::fetch::{fetch_chain, fetch_state};
use crate::audit::{Audit, AuditOptions, Receipts};
use crate::byzantine::victims;
use crate::config::{ACCOUNT_AMOUNT, Config, LocalNetwork, Network, RemoteNetwork, WorkloadChoice};
use crate::doctor::{Needs, Readings, examine};
use crate::embedded::{DataDir, Embedded, EmbeddedError, Funding, find_node, make_genesis};
use crate::host::Machine;
use crate::import::Trace;
use crate::network::{Control, Target, find_targets, greeting, targets_of};
use crate::ownership::Accounts;
use crate::wallet::Wallet;
use crate::workload::{Span, TransferShape, Workload, WorkloadSpec, trace_allocations};

/// Memory assumed where the system does not tell.
const MEMORY_GUESS: u64 = 4 << 30;
/// After this a transaction counts as final for the wallet, besides ten round trips that were added.
const SETTLE: Duration = Duration::from_secs(3);
/// Longest wait for a chain that does not come.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// A network of this run's own.
pub(crate) struct Local {
    pub(crate) embedded: Embedded,
    data: DataDir,
}

/// Everything that the load needs.
pub(crate) struct Prepared {
    pub(crate) network: NetworkGenesis,
    pub(crate) targets: Vec<Target>,
    pub(crate) arena: Arc<Arena>,
    pub(crate) plan: Plan,
    /// What the network is to carry, as known before it started where it is this run's own.
    pub(crate) traffic: Traffic,
    pub(crate) local: Option<Local>,
    pub(crate) readings: Readings,
    pub(crate) warnings: Vec<String>,
}

/// What is sent, read from its file if it has one.
fn read_workload(config: &Config) -> Result<Workload, RunError> {
    Ok(match &config.workload {
        WorkloadChoice::Bitcoin(path) => {
            let named = |source| RunError::Trace {
                path: path.clone(),
                source,
            };
            Workload::Replay(Trace::load(path).map_err(named)?)
        }
        WorkloadChoice::Transfer {
            inputs,
            outputs,
            amount,
            chain_depth,
            invalid,
            conflicts_ppm,
        } => Workload::Transfer(TransferShape {
            inputs: span(*inputs),
            outputs: span(*outputs),
            amount: amount.map(Amount),
            chain_depth: *chain_depth,
            invalid: *invalid,
            conflicts_ppm: *conflicts_ppm,
        }),
    })
}

const fn span((min, max): (u8, u8)) -> Span {
    Span { min, max }
}

fn trace_count(workload: &Workload) -> Option<u64> {
    match workload {
        Workload::Replay(trace) => Some(trace.transactions.len() as u64),
        Workload::Transfer(_) => None,
    }
}

const fn coins(config: &Config) -> Coins {
    Coins {
        accounts: config.accounts,
        amount: ACCOUNT_AMOUNT,
    }
}

fn estimate(workload: &Workload, count: usize, machine: &Machine) -> Result<ArenaPlan, RunError> {
    let host = Host {
        memory_bytes: machine.memory_bytes.unwrap_or(MEMORY_GUESS),
        threads: machine.cores,
    };
    Ok(crate::arena::plan(workload, count as u64, host)?)
}

/// What a run would do, for `--dry-run`.
pub(crate) fn describe(config: &Config) -> Result<String, RunError> {
    let workload = read_workload(config)?;
    let plan = plan(&config.load, trace_count(&workload));
    let arena = estimate(&workload, plan.times.len(), &Machine::read())?;
    if let Network::Local(local) = &config.network {
        find_node(local.node_bin.as_deref())?;
    }
    let mut out = String::new();
    let settings = serde_json::to_value(&config.resolved).unwrap_or_default();
    for (key, value) in settings.as_object().into_iter().flatten() {
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "{:<16}{}",
            key.replace('_', "-"),
            value.to_string().replace('"', "")
        );
    }
    let _ = writeln!(
        out,
        "would send {} transactions: {} MiB of memory, {:.1} s of signing; nothing was started",
        arena.count,
        arena.bytes_estimate >> 20,
        arena.signing_seconds_estimate
    );
    Ok(out)
}

/// Prepares a run. Nothing is left behind when it fails.
pub(crate) fn prepare(setting: &Setting<'_>) -> Result<Prepared, RunError> {
    let config = setting.config;
    let workload = read_workload(config)?;
    let plan = plan(&config.load, trace_count(&workload));
    match &config.network {
        Network::Local(local) => prepare_local(setting, local, &workload, plan),
        Network::Remote(remote) => prepare_remote(setting, remote, &workload, plan),
    }
}

fn prepare_local(
    setting: &Setting<'_>,
    local: &LocalNetwork,
    workload: &Workload,
    plan: Plan,
) -> Result<Prepared, RunError> {
    let node = find_node(local.node_bin.as_deref())?;
    let data = DataDir::create(local.data_dir.as_deref(), setting.id)?;
    setting
        .interrupt
        .set_leftovers(None, Some(data.path().to_owned()));
    let folder = data.path().to_owned();
    let attempt = || -> Result<(Prepared, Embedded), RunError> {
        let readings = Readings::take(Some(&folder));
        let estimate = estimate(workload, plan.times.len(), &readings.machine)?;
        let validators = u64::from(local.shards) * u64::from(local.validators);
        let needs = Needs {
            files: 512 + 64 * validators,
            memory_bytes: estimate.bytes_estimate,
            disk_bytes: (estimate.bytes_estimate * u64::from(local.validators) * 2) + (validators << 26),
        };
        let warnings = heed(&examine(&readings, &needs), setting.progress)?;
        let accounts = derive_accounts(setting, workload, local.shards, setting.config.accounts);
        let traffic = expected(
            workload,
            &setting.config.load,
            plan.times.len(),
            &coins(setting.config),
        );
        let listed = match workload {
            Workload::Replay(trace) => trace_allocations(trace, &accounts),
            Workload::Transfer(_) => Vec::new(),
        };
        let funding = Funding {
            seed: setting.config.load.seed,
            accounts: setting.config.accounts,
            listed: &listed,
            traffic,
        };
        let network = make_genesis(&node, local, &funding, &folder)?;
        let mut wallet = Wallet::from_genesis(&network.genesis, &network.allocations, &accounts)?;
        if local.byzantine.is_some() {
            wallet = wallet.without(&victims(setting.config.accounts));
        }
        let settle = SETTLE + 10 * local.rtt;
        let arena = build_arena(setting, workload, &network, &plan, &accounts, wallet, settle)?;
        setting.progress.note(&format!(
            "starting {} x {} validators in {}",
            local.shards,
            local.validators,
            folder.display()
        ));
        let embedded = Embedded::start(&node, local, setting.config.accounts, &folder)?;
        let targets = targets_of(&network.genesis, &network.epoch, embedded.addresses())?;
        let prepared = Prepared {
            network,
            targets,
            arena: Arc::new(arena),
            plan: plan.clone(),
            traffic,
            local: None,
            readings,
            warnings,
        };
        Ok((prepared, embedded))
    };
    match attempt() {
        Ok((mut prepared, embedded)) => {
            setting
                .interrupt
                .set_leftovers(Some(embedded.process()), Some(data.path().to_owned()));
            prepared.local = Some(Local { embedded, data });
            Ok(prepared)
        }
        Err(error) => {
            data.remove();
            Err(error)
        }
    }
}

fn prepare_remote(
    setting: &Setting<'_>,
    remote: &RemoteNetwork,
    workload: &Workload,
    plan: Plan,
) -> Result<Prepared, RunError> {
    let readings = Readings::take(None);
    let estimate = estimate(workload, plan.times.len(), &readings.machine)?;
    let network = NetworkGenesis::load(&remote.genesis)?;
    let connections = u64::from(setting.config.client.connections) * network.genesis.validators.len() as u64;
    let needs = Needs {
        files: 64 + 2 * connections,
        memory_bytes: estimate.bytes_estimate,
        disk_bytes: 0,
    };
    let warnings = heed(&examine(&readings, &needs), setting.progress)?;
    let targets = setting
        .runtime
        .block_on(find_targets(&network.genesis, &network.epoch, &remote.nodes))?;
    let count = match setting.config.accounts {
        0 => network.genesis.funding.accounts,
        count => count,
    };
    let accounts = derive_accounts(setting, workload, network.genesis.shards, count);
    let wallet = read_wallet(setting, &network, &targets, &accounts)?;
    let arena = build_arena(setting, workload, &network, &plan, &accounts, wallet, SETTLE)?;
    Ok(Prepared {
        network,
        targets,
        traffic: Traffic {
            rate: peak(&setting.config.load),
            value_mean: arena.mix.value_mean.ceil() as u64,
            value_max: arena.mix.value_max,
        },
        arena: Arc::new(arena),
        plan,
        local: None,
        readings,
        warnings,
    })
}

/// Coins of a network that may have run before: its chains are read and replayed, never taken on trust. A validator
/// whose chain does not hold is told and passed over, as long as another one of its shard shows one that does.
fn read_wallet(
    setting: &Setting<'_>,
    network: &NetworkGenesis,
    targets: &[Target],
    accounts: &Accounts,
) -> Result<Wallet, RunError> {
    let mut audit = Audit::new(
        &network.genesis,
        &network.epoch,
        &network.allocations,
        Receipts::default(),
        AuditOptions::sampled(sample_seed()),
    )?;
    let mut by_shard: BTreeMap<ShardId, Vec<Target>> = BTreeMap::new();
    for target in targets {
        audit.set_address(target.validator, target.address.to_string());
        by_shard.entry(target.shard).or_default().push(*target);
    }
    let mut has_run = false;
    for members in by_shard.values() {
        for target in members {
            let hello = greeting(&network.epoch);
            let height = setting
                .runtime
                .block_on(replay(*target, &hello, &mut audit, setting))?;
            match audit.fault_of(target.validator) {
                None => {
                    has_run |= height > Height(0);
                    break;
                }
                Some(fault) => setting.progress.note(&format!(
                    "warning: another validator is asked for the chain: {fault}"
                )),
            }
        }
    }
    let unspent = audit.unspent()?;
    if !has_run {
        return Ok(Wallet::from_genesis(
            &network.genesis,
            &network.allocations,
            accounts,
        )?);
    }
    setting.progress.note(&format!(
        "this network has run before: {} live outputs found in its chains",
        unspent.len()
    ));
    Ok(Wallet::resume(&network.genesis, accounts, unspent)?)
}

/// Reads one validator's chain up to the height that it says it has; gives that height.
async fn replay(
    target: Target,
    hello: &Hello,
    audit: &mut Audit,
    setting: &Setting<'_>,
) -> Result<Height, RunError> {
    let opened = async {
        let mut control = Control::connect(target, hello)
            .await
            .map_err(|error| error.to_string())?;
        let state = fetch_state(&control.sender, &mut control.answers, PATIENCE)
            .await
            .map_err(|error| format!("its state: {error}"))?;
        Ok::<_, String>((control, state.height))
    };
    let (mut control, height) = match opened.await {
        Ok(opened) => opened,
        Err(reason) => {
            audit.unreachable(target.validator, &reason);
            return Ok(Height(0));
        }
    };
    audit.begin(target.validator)?;
    let mut taken = 0_u64;
    let mut take = |item| {
        taken += 1;
        setting
            .progress
            .tick(|| format!("reading the chain: {taken} blocks and bodies"));
        audit.push(item)
    };
    match fetch_chain(
        &control.sender,
        &mut control.answers,
        (Height(0), height),
        PATIENCE,
        &mut take,
    )
    .await
    {
        Ok(_) => audit.end(),
        Err(error) => audit.unreachable(target.validator, &error.to_string()),
    }
    Ok(height)
}

/// Fresh for every audit: nodes must not know which signatures are looked at.
pub(super) fn sample_seed() -> [u8; 32] {
    let mut seed = [0; 32];
    for chunk in seed.chunks_exact_mut(8) {
        chunk.copy_from_slice(&super::random().to_le_bytes());
    }
    seed
}

fn derive_accounts(setting: &Setting<'_>, workload: &Workload, shards: u16, count: u32) -> Accounts {
    let count = match workload {
        Workload::Replay(trace) => trace.owners,
        Workload::Transfer(_) => count,
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let progress = setting.progress.counting("deriving accounts");
    Accounts::derive(setting.config.load.seed, count, shards, threads, &progress)
}

fn build_arena(
    setting: &Setting<'_>,
    workload: &Workload,
    network: &NetworkGenesis,
    plan: &Plan,
    accounts: &Accounts,
    wallet: Wallet,
    settle: Duration,
) -> Result<Arena, RunError> {
    let spec = WorkloadSpec {
        workload,
        seed: setting.config.load.seed,
        intended_ns: &plan.times,
        settle_ns: nanoseconds(settle),
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let progress = setting.progress.counting("signing");
    let arena = build(
        &spec,
        &network.genesis,
        &network.epoch,
        wallet,
        accounts,
        threads,
        &progress,
    )?;
    setting.progress.note(&format!(
        "{} transactions signed in {:.1} s on {} threads: {} MiB, digest {}",
        arena.entries.len(),
        arena.signing.wall.as_secs_f64(),
        arena.signing.threads,
        arena.bytes.len() >> 20,
        hex::encode(arena.digest)
    ));
    Ok(arena)
}

/// Ends the local network; its data stays when something was wrong, and the place is told.
pub(crate) fn tear_down(
    prepared: Prepared,
    setting: &Setting<'_>,
    is_sound: bool,
) -> Result<(), EmbeddedError> {
    let Some(Local { embedded, data }) = prepared.local else {
        return Ok(());
    };
    let stopped = embedded.stop();
    setting.interrupt.set_leftovers(None, None);
    if is_sound && stopped.is_ok() {
        data.remove();
    } else {
        setting
            .progress
            .note(&format!("data kept in {}", data.path().display()));
    }
    stopped
}
