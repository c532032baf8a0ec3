//! The load itself: connections, pacer, receivers, drain.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam::channel::bounded;
use rpc::{Connection, RequestSender, SendError};
use transport::ClientEndpoint;
use types::client::NodeInfo;
use types::{MemberIndex, ShardId};

use super::monitor::Monitor;
use super::prepare::Prepared;
use super::{RunError, Setting};
use crate::arena::Arena;
use crate::embedded::EmbeddedError;
use crate::host::{Counters, own_memory_bytes};
use crate::network::{Target, connect_all, endpoint_for, greeting};
use crate::pacer::{Clock as _, NO_PARENT, Pacing, Refusal, Route, Rules, RunClock, Sink, Source, pace};
use crate::recording::Recording;
use crate::run::plan::nanoseconds;
use crate::worker::{Checked, Lane, LaneEnd, NOTES_MAX, Shared, check_notes, receive};

/// Type byte of a submission.
const SUBMIT: u8 = 0x10;
/// Time between the last preparation and the first transaction.
const START_DELAY: Duration = Duration::from_millis(200);
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
    /// Connections that ended by themselves.
    pub(crate) broken: Vec<String>,
    /// The local network died.
    pub(crate) child_error: Option<EmbeddedError>,
    pub(crate) infos: [Vec<NodeInfo>; 2],
    pub(crate) counters: [Counters; 2],
    pub(crate) own_memory: Option<u64>,
}

/// Connections to all nodes, and where each transaction goes.
struct Lanes {
    senders: Vec<RequestSender>,
    routes: Vec<Route>,
    receivers: Vec<Lane>,
    _endpoints: Vec<ClientEndpoint>,
}

struct ArenaSource<'a> {
    arena: &'a Arena,
    times: &'a [u64],
    routes: &'a [Route],
}

impl Source for ArenaSource<'_> {
    fn times(&self) -> &[u64] {
        self.times
    }

    fn route(&self, index: u32) -> Route {
        self.routes.get(index as usize).copied().unwrap_or(Route {
            connection: u32::MAX,
            tag: 0,
            parent: NO_PARENT,
        })
    }

    fn bytes(&self, index: u32) -> &[u8] {
        self.arena.tx(index)
    }
}

struct Senders(Vec<RequestSender>);

impl Sink for Senders {
    fn try_send(&self, connection: usize, payload: Bytes) -> Result<(), Refusal> {
        let sender = self.0.get(connection).ok_or(Refusal::Closed)?;
        sender.try_send_frame(SUBMIT, payload).map_err(|error| match error {
            SendError::Full => Refusal::Full,
            SendError::Closed | SendError::TooLarge { .. } => Refusal::Closed,
        })
    }
}

/// Where each transaction goes: the node that its entry names; a child on its parent's connection if that is to the
/// same node, else the node's connections in turn. Tags count on each connection.
fn routes(arena: &Arena, targets: &[Target], per_node: usize) -> (Vec<Route>, Vec<Vec<u32>>) {
    let nodes: BTreeMap<(ShardId, MemberIndex), usize> = targets
        .iter()
        .enumerate()
        .map(|(node, target)| ((target.shard, target.member), node))
        .collect();
    let mut tags: Vec<Vec<u32>> = vec![Vec::new(); targets.len() * per_node];
    let mut turns = vec![0_usize; targets.len()];
    let mut routes: Vec<Route> = Vec::with_capacity(arena.entries.len());
    for (index, entry) in (0_u32..).zip(&arena.entries) {
        let node = nodes.get(&(entry.shard, entry.member)).copied().unwrap_or(0);
        let of_parent = entry
            .parent
            .and_then(|parent| routes.get(parent as usize))
            .map(|route| route.connection as usize)
            .filter(|connection| connection / per_node == node);
        let connection = of_parent.unwrap_or_else(|| {
            turns[node] += 1;
            node * per_node + turns[node] % per_node
        });
        routes.push(Route {
            connection: connection as u32,
            tag: tags[connection].len() as u32,
            parent: entry.parent.unwrap_or(NO_PARENT),
        });
        tags[connection].push(index);
    }
    (routes, tags)
}

async fn open(prepared: &Prepared, per_node: usize) -> Result<Lanes, RunError> {
    let hello = greeting(&prepared.network.epoch);
    let (routes, tags) = routes(&prepared.arena, &prepared.targets, per_node);
    let mut lanes = Lanes {
        senders: Vec::new(),
        routes,
        receivers: Vec::new(),
        _endpoints: Vec::new(),
    };
    for (connection, tags) in tags.into_iter().enumerate() {
        let target = &prepared.targets[connection / per_node];
        let endpoint = endpoint_for(target.address)?;
        let (sender, receiver) = Connection::connect(&endpoint, target.address, target.key, hello.clone())
            .await
            .map_err(crate::network::NetworkError::from)?;
        lanes.senders.push(sender);
        lanes.receivers.push(Lane {
            shard: target.shard,
            tags: Arc::new(tags),
            receiver,
        });
        lanes._endpoints.push(endpoint);
    }
    Ok(lanes)
}

async fn infos(prepared: &Prepared) -> Result<Vec<NodeInfo>, RunError> {
    let hello = greeting(&prepared.network.epoch);
    let mut controls = connect_all(&prepared.targets, &hello).await?;
    let mut infos = Vec::with_capacity(controls.len());
    for control in &mut controls {
        infos.push(control.info().await?);
    }
    Ok(infos)
}

/// Sends everything, waits for the answers, and closes the connections.
pub(crate) fn load(setting: &Setting<'_>, prepared: &mut Prepared) -> Result<Loaded, RunError> {
    let per_node = usize::from(setting.config.client.connections);
    setting.progress.note("connecting");
    let lanes = setting.runtime.block_on(open(prepared, per_node))?;
    let infos_before = setting.runtime.block_on(infos(prepared))?;
    let counters_before = Counters::read();
    let clock = RunClock::starting_in(START_DELAY);
    let shared = Arc::new(Shared {
        recording: Recording::new(prepared.arena.entries.len()),
        times: prepared.plan.times.clone(),
        start: clock.start(),
    });
    let is_closing = Arc::new(AtomicBool::new(false));
    let (notes_in, notes_out) = bounded(NOTES_MAX);
    let tasks: Vec<_> = lanes
        .receivers
        .into_iter()
        .map(|lane| {
            let task = receive(lane, Arc::clone(&shared), notes_in.clone(), Arc::clone(&is_closing));
            setting.runtime.spawn(task)
        })
        .collect();
    drop(notes_in);
    setting.interrupt.set_loading();
    let mut monitor = Monitor::new(setting, &prepared.plan, &shared);
    let rules = rules(setting, lanes.senders.len());
    let stop = Arc::clone(setting.interrupt.stop_flag());
    let (arena, plan) = (Arc::clone(&prepared.arena), prepared.plan.clone());
    let epoch = prepared.network.epoch.clone();
    let local = &mut prepared.local;
    let mut child_error = None;
    let senders = Senders(lanes.senders);
    let (pacing, checked, end_ns, ends, infos_after, counters_after) = std::thread::scope(|scope| {
        let checker = scope.spawn(|| check_notes(&epoch, &notes_out));
        let pacer = scope.spawn(|| {
            RunClock::tighten_this_thread();
            let source = ArenaSource {
                arena: &arena,
                times: &plan.times,
                routes: &lanes.routes,
            };
            pace(&source, &senders, &clock, &shared.recording, &rules, &stop)
        });
        let mut look = |monitor: &mut Monitor<'_>| {
            std::thread::sleep(LOOK_PAUSE);
            monitor.look();
            if let Some(Err(error)) = local.as_mut().map(|local| local.embedded.check()) {
                child_error.get_or_insert(error);
                stop.store(true, Ordering::Release);
            }
        };
        while !pacer.is_finished() {
            look(&mut monitor);
        }
        let drained = Instant::now() + setting.config.load.drain;
        while shared.recording.in_flight() > 0 && Instant::now() < drained && !stop.load(Ordering::Acquire) {
            look(&mut monitor);
        }
        let end_ns = clock.now_ns();
        is_closing.store(true, Ordering::Release);
        let counters_after = Counters::read();
        let infos_after = if child_error.is_some() {
            Ok(infos_before.clone())
        } else {
            setting.runtime.block_on(async { infos_of(&prepared.targets, &epoch).await })
        };
        senders.0.iter().for_each(RequestSender::close);
        let ends = setting.runtime.block_on(join_all(tasks));
        let pacing = pacer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let checked = checker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (pacing, checked, end_ns, ends, infos_after, counters_after)
    });
    let interruption = interruption(setting, &pacing, child_error.as_ref(), monitor.abort_reason());
    Ok(Loaded {
        pacing,
        checked,
        end_ns,
        interruption,
        broken: ends.into_iter().flatten().collect(),
        child_error,
        infos: [infos_before, infos_after?],
        counters: [counters_before, counters_after],
        own_memory: own_memory_bytes(),
        shared,
    })
}
