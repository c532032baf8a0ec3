//! The load itself: connections, pacer, receivers, drain.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, bounded};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use types::ValidatorId;
use types::client::NodeInfo;
use types::genesis::EpochConfig;

use super::monitor::Monitor;
use super::prepare::{Local, Prepared};
use super::routes::{ArenaSource, Routes};
use super::steer::{Steerer, look_first, steer};
use super::{RunError, Setting};
use crate::embedded::EmbeddedError;
use crate::host::{Counters, own_memory_bytes};
use crate::interrupt::EXIT_INTERRUPT;
use crate::link::{Dial, Slot};
use crate::network::{Control, NetworkError, Target, greeting};
use crate::pacer::{Clock as _, Pacing, Refusal, Rules, RunClock, Sink, Submission, pace};
use crate::recording::Recording;
use crate::run::plan::nanoseconds;
use crate::steering::{Moves, Steering};
use crate::worker::{
    Checked, Contradictions, Lane, LaneEnd, NOTES_MAX, ProvenBy, Shared, Stray, check_claims, receive,
};

/// Time between the last preparation and the first transaction.
const START_DELAY: Duration = Duration::from_millis(200);
/// Number of the process of a node that does not answer; a running one draws 64 random bits.
const GONE: u64 = 0;
/// Pause between looks at the run.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// What the load left behind.
pub(crate) struct Loaded {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pacing: Pacing,
    pub(crate) checked: Checked,
    /// End of the drain, nanoseconds from the start.
    pub(crate) end_ns: u64,
    /// Why it ended early, if it did.
    pub(crate) interruption: Option<String>,
    /// Times that a connection ended by itself.
    pub(crate) breaks: u64,
    /// Why one of them did.
    pub(crate) first_break: Option<String>,
    /// The local network died.
    pub(crate) child_error: Option<EmbeddedError>,
    pub(crate) infos: [Vec<NodeInfo>; 2],
    /// Nodes that did not say what they had counted at the end.
    pub(crate) silent: Vec<String>,
    pub(crate) counters: [Counters; 2],
    pub(crate) own_memory: Option<u64>,
    /// By transaction: the validator that was asked last; none for what never left.
    pub(crate) asked: Vec<Option<ValidatorId>>,
}

/// Connections to all nodes.
struct Lanes {
    slots: Vec<Arc<Slot>>,
    receivers: Vec<Lane>,
    strays: mpsc::UnboundedReceiver<Stray>,
}

struct Slots(Vec<Arc<Slot>>);

impl Sink for Slots {
    fn try_send(
        &self,
        connection: usize,
        submission: Submission<'_>,
        mark: &dyn Fn(bool),
    ) -> Result<(), Refusal> {
        let slot = self.0.get(connection).ok_or(Refusal::Closed)?;
        slot.try_send(submission, mark)
    }
}

async fn open(prepared: &Prepared, per_node: usize) -> Result<Lanes, RunError> {
    let epoch = &prepared.network.epoch;
    let hello = greeting(epoch);
    let (strays_in, strays) = mpsc::unbounded_channel();
    let has_modes = epoch.policy.leagues.is_some();
    let mut lanes = Lanes {
        slots: Vec::new(),
        receivers: Vec::new(),
        strays,
    };
    for connection in 0..prepared.targets.len() * per_node {
        let target = &prepared.targets[connection / per_node];
        let (dial, sender, receiver) = Dial::first(*target, hello.clone()).await?;
        let slot = Arc::new(Slot::new(sender));
        lanes.slots.push(Arc::clone(&slot));
        lanes.receivers.push(Lane {
            validator: target.validator,
            shard: target.shard,
            connection: connection as u32,
            arena: Arc::clone(&prepared.arena),
            receiver,
            slot,
            strays: strays_in.clone(),
            has_modes,
            dial,
        });
    }
    Ok(lanes)
}

/// The validator that was asked last, by transaction.
fn asked(
    prepared: &Prepared,
    slots: &[Arc<Slot>],
    moves: &Moves,
    per_node: usize,
) -> Vec<Option<ValidatorId>> {
    let mut asked = vec![None; prepared.arena.entries.len()];
    for (connection, slot) in slots.iter().enumerate() {
        let validator = prepared.targets[connection / per_node].validator;
        slot.tags().read(|tags| {
            let own = tags
                .iter()
                .filter(|index| moves.is_with(**index, connection as u32));
            for index in own {
                if let Some(slot) = asked.get_mut(*index as usize) {
                    *slot = Some(validator);
                }
            }
        });
    }
    asked
}

/// What every node has counted so far.
async fn infos(targets: &[Target], epoch: &EpochConfig) -> Result<Vec<NodeInfo>, NetworkError> {
    let hello = greeting(epoch);
    let mut infos = Vec::with_capacity(targets.len());
    for target in targets {
        infos.push(Control::connect(*target, &hello).await?.info().await?);
    }
    Ok(infos)
}

/// The same after the load. A node that does not say it costs its own figures, not the run: what it said `before`
/// stands for it, and the reason is told.
async fn infos_after(
    targets: &[Target],
    epoch: &EpochConfig,
    before: &[NodeInfo],
) -> (Vec<NodeInfo>, Vec<String>) {
    let hello = greeting(epoch);
    let (mut infos, mut silent) = (Vec::with_capacity(targets.len()), Vec::new());
    for (target, before) in targets.iter().zip(before) {
        let asked = async { Control::connect(*target, &hello).await?.info().await };
        infos.push(asked.await.unwrap_or_else(|error: NetworkError| {
            silent.push(format!("validator {}: {error}", target.validator));
            // As another process: no cost is computed over a node that went away.
            NodeInfo {
                process: GONE,
                ..before.clone()
            }
        }));
    }
    (infos, silent)
}

async fn join_all(tasks: Vec<JoinHandle<LaneEnd>>) -> Vec<LaneEnd> {
    let mut ends = Vec::with_capacity(tasks.len());
    for task in tasks {
        ends.push(task.await.unwrap_or_else(|error| LaneEnd {
            breaks: 1,
            first: Some(format!("a receiving task failed: {error}")),
        }));
    }
    ends
}

fn rules(setting: &Setting<'_>, connections: usize) -> Rules {
    let (load, client) = (&setting.config.load, &setting.config.client);
    Rules {
        connections,
        batch: usize::from(client.batch),
        quantum_ns: nanoseconds(client.pace_quantum),
        in_flight_max: load.in_flight_max,
        overload: load.overload,
        deadline_ns: nanoseconds(load.deadline),
    }
}

fn interruption(
    setting: &Setting<'_>,
    pacing: &Pacing,
    child_error: Option<&EmbeddedError>,
    aborted: Option<&str>,
) -> Option<String> {
    if let Some(error) = child_error {
        return Some(error.to_string());
    }
    if let Some(code) = setting.interrupt.code() {
        return Some(
            if code == EXIT_INTERRUPT {
                "Ctrl-C"
            } else {
                "SIGTERM"
            }
            .to_owned(),
        );
    }
    let stopped = pacing
        .stopped
        .then(|| "--overload stop: sends fell behind".to_owned());
    aborted.map(|rule| format!("--abort-on {rule}")).or(stopped)
}

/// Looks at the run from the main thread while others work.
struct Watch<'a> {
    monitor: Monitor<'a>,
    local: Option<&'a mut Local>,
    stop: &'a AtomicBool,
    child_error: Option<EmbeddedError>,
}

impl Watch<'_> {
    fn look(&mut self) {
        std::thread::sleep(LOOK_PAUSE);
        self.monitor.look();
        if let Some(Err(error)) = self.local.as_mut().map(|local| local.embedded.check()) {
            self.child_error.get_or_insert(error);
            self.stop.store(true, Ordering::Release);
        }
    }

    /// Until the pacer is done, then until everything is answered or the drain is over.
    fn until_drained(
        &mut self,
        pacer: &ScopedJoinHandle<'_, Pacing>,
        recording: &Recording,
        drain: Duration,
    ) {
        while !pacer.is_finished() {
            self.look();
        }
        let end = Instant::now() + drain;
        while recording.in_flight() > 0 && Instant::now() < end && !self.stop.load(Ordering::Acquire) {
            self.look();
        }
    }
}

/// Receivers of all connections.
struct Receivers {
    tasks: Vec<JoinHandle<LaneEnd>>,
    closing: watch::Sender<bool>,
    notes: Receiver<ProvenBy>,
    /// For what is found otherwise than by an answer.
    notes_in: Sender<ProvenBy>,
}

fn spawn_receivers(setting: &Setting<'_>, lanes: Vec<Lane>, shared: &Arc<Shared>) -> Receivers {
    let (closing, is_closing) = watch::channel(false);
    let (notes_in, notes) = bounded(NOTES_MAX);
    let spawn = |lane| {
        let task = receive(lane, Arc::clone(shared), notes_in.clone(), is_closing.clone());
        setting.runtime.spawn(task)
    };
    Receivers {
        tasks: lanes.into_iter().map(spawn).collect(),
        closing,
        notes,
        notes_in,
    }
}

fn joined<T>(handle: ScopedJoinHandle<'_, T>) -> T {
    handle
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// What all tasks of a load share.
fn shared(prepared: &Prepared, clock: &RunClock) -> Shared {
    Shared {
        recording: Recording::new(prepared.arena.entries.len()),
        times: prepared.plan.times.clone(),
        start: clock.start(),
        contradictions: Contradictions::default(),
        moves: Moves::default(),
    }
}

/// Sends everything, waits for the answers, and closes the connections.
pub(crate) fn load(setting: &Setting<'_>, prepared: &mut Prepared) -> Result<Loaded, RunError> {
    let per_node = usize::from(setting.config.client.connections);
    setting.progress.note("connecting");
    let lanes = setting.runtime.block_on(open(prepared, per_node))?;
    let (targets, epoch) = (&prepared.targets, &prepared.network.epoch);
    let infos_before = setting.runtime.block_on(infos(targets, epoch))?;
    let steering = Arc::new(Steering::new(epoch));
    setting.runtime.block_on(look_first(epoch, targets, &steering));
    let counters_before = Counters::read();
    let clock = RunClock::starting_in(START_DELAY);
    let shared = Arc::new(shared(prepared, &clock));
    let routes = Arc::new(Routes::new(
        &prepared.arena,
        targets,
        per_node,
        Arc::clone(&steering),
    ));
    let receivers = spawn_receivers(setting, lanes.receivers, &shared);
    let steerer = Steerer {
        epoch: epoch.clone(),
        targets: targets.clone(),
        routes: Arc::clone(&routes),
        slots: lanes.slots.clone(),
        arena: Arc::clone(&prepared.arena),
        shared: Arc::clone(&shared),
        notes: receivers.notes_in,
        tags: Arc::default(),
    };
    let steerer = steer(steerer, lanes.strays, receivers.closing.subscribe());
    let steerer = setting.runtime.spawn(steerer);
    setting.interrupt.set_loading();
    let rules = rules(setting, lanes.slots.len());
    let slots = Slots(lanes.slots);
    let stop: &AtomicBool = setting.interrupt.stop_flag();
    let mut watch = Watch {
        monitor: Monitor::new(setting, &prepared.plan, &shared),
        local: prepared.local.as_mut(),
        stop,
        child_error: None,
    };
    let source = ArenaSource {
        arena: &prepared.arena,
        times: &shared.times,
        routes: &routes,
    };
    let entries = &prepared.arena.entries;
    let (pacing, checked, end_ns, ends, infos_after, counters_after) = std::thread::scope(|scope| {
        let checker = scope.spawn(|| check_claims(epoch, &receivers.notes, entries));
        let pacer = scope.spawn(|| {
            RunClock::tighten_this_thread();
            pace(&source, &slots, &clock, &shared.recording, &rules, stop)
        });
        watch.until_drained(&pacer, &shared.recording, setting.config.load.drain);
        let end_ns = clock.now_ns();
        receivers.closing.send_replace(true);
        let counters_after = Counters::read();
        let infos_after = match &watch.child_error {
            Some(_) => (infos_before.clone(), Vec::new()),
            None => setting
                .runtime
                .block_on(infos_after(targets, epoch, &infos_before)),
        };
        slots.0.iter().for_each(|slot| slot.close());
        let ends = setting.runtime.block_on(async {
            let ends = join_all(receivers.tasks).await;
            // It ends with `closing`; a panic of it would show as transactions without an answer.
            let _ = steerer.await;
            ends
        });
        (
            joined(pacer),
            joined(checker),
            end_ns,
            ends,
            infos_after,
            counters_after,
        )
    });
    let aborted = watch.monitor.abort_reason().map(str::to_owned);
    let child_error = watch.child_error;
    Ok(Loaded {
        interruption: interruption(setting, &pacing, child_error.as_ref(), aborted.as_deref()),
        pacing,
        checked,
        end_ns,
        breaks: ends.iter().map(|end| end.breaks).sum(),
        first_break: ends.into_iter().find_map(|end| end.first),
        child_error,
        infos: [infos_before, infos_after.0],
        silent: infos_after.1,
        counters: [counters_before, counters_after],
        own_memory: own_memory_bytes(),
        asked: asked(prepared, &slots.0, &shared.moves, per_node),
        shared,
    })
}
