//! Follows the modes of the shards while the load goes on: asks for the topology when refusals or broken connections
//! hint at a change, and sends what belongs elsewhere again.
//!
//! A refusal that may only mean a change of mode waits for the next answer about the shard: then it either goes to the
//! node that is to be asked now, or stands. Nothing is sent again to a node that refused it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use types::block::MODE_ONE_LEAGUE;
use types::client::Topology;
use types::genesis::EpochConfig;
use types::limits::SUBMIT_TXS_MAX;
use types::{Reject, ShardId};

use super::routes::Routes;
use crate::accounting::{Outcome, Sending};
use crate::arena::Arena;
use crate::link::Slot;
use crate::network::{Control, Target, greeting};
use crate::pacer::Submission;
use crate::worker::{Shared, Stray};

/// Pause between looks.
const LOOK: Duration = Duration::from_millis(200);
/// Looks between two questions while nothing hints at a change: an author that died says nothing, and its connection
/// counts as living until QUIC's idle time is over.
const ASK_EVERY: u32 = 5;
/// How long after a change of mode a node that is no target any more may still answer for what it had taken.
const FAREWELL: Duration = Duration::from_secs(2);
/// Longest wait for a node's topology; another node of the shard is asked then.
const ANSWER_WAIT: Duration = Duration::from_secs(1);
/// How long a refusal that names a wrong target waits for the right one.
const STRAY_WAIT_NS: u64 = 5_000_000_000;
/// Bytes of transactions in one frame of what is sent again.
const FRAME_BYTES: usize = 64 << 10;

/// What the task works with.
pub(crate) struct Steerer {
    pub(crate) epoch: EpochConfig,
    pub(crate) targets: Vec<Target>,
    pub(crate) routes: Arc<Routes>,
    pub(crate) slots: Vec<Arc<Slot>>,
    pub(crate) arena: Arc<Arena>,
    pub(crate) shared: Arc<Shared>,
}

/// Runs until `closing` turns true; refusals that still wait stand then.
pub(crate) async fn steer(
    steerer: Steerer,
    mut strays: mpsc::UnboundedReceiver<Stray>,
    mut closing: watch::Receiver<bool>,
) {
    let mut waiting: BTreeMap<ShardId, Vec<Stray>> = BTreeMap::new();
    let mut controls: BTreeMap<ShardId, Control> = BTreeMap::new();
    let mut modes: BTreeMap<ShardId, (u8, Instant)> = BTreeMap::new();
    let mut looks = 0_u32;
    loop {
        looks = looks.wrapping_add(1);
        tokio::select! {
            // A sender that is gone means the end too.
            _ = closing.wait_for(|closing| *closing) => break,
            () = tokio::time::sleep(LOOK) => {}
        }
        while let Ok(stray) = strays.try_recv() {
            waiting
                .entry(steerer.shard_of(stray.index))
                .or_default()
                .push(stray);
        }
        for committee in &steerer.epoch.committees {
            let shard = committee.shard;
            let strays = waiting.entry(shard).or_default();
            let quiet = strays.is_empty() && !steerer.is_unsettled(shard);
            if quiet && !looks.is_multiple_of(ASK_EVERY) {
                continue;
            }
            let Some(topology) = steerer.ask(shard, &mut controls).await else {
                continue;
            };
            steerer.routes.steering().learn(committee, &topology);
            *strays = steerer.settle(std::mem::take(strays));
            let mode = steerer.routes.steering().mode(shard);
            let (known, since) = modes.entry(shard).or_insert_with(|| (mode, Instant::now()));
            if *known != mode {
                (*known, *since) = (mode, Instant::now());
            }
            steerer.rescue(shard, since.elapsed() >= FAREWELL);
        }
    }
    strays.close();
    while let Some(stray) = strays.recv().await {
        waiting.entry(ShardId(0)).or_default().push(stray);
    }
    let left = waiting.into_values().flatten();
    left.for_each(|stray| steerer.stand(&stray));
}

impl Steerer {
    fn shard_of(&self, index: u32) -> ShardId {
        let entry = self.arena.entries.get(index as usize);
        entry.map(|entry| entry.shard).unwrap_or_default()
    }

    /// One league, or an author that is away: the mode may change any time.
    fn is_unsettled(&self, shard: ShardId) -> bool {
        let steering = self.routes.steering();
        steering.mode(shard) == MODE_ONE_LEAGUE
            || steering.authors(shard).into_iter().any(|author| {
                let first = self.routes.first_connection(shard, author);
                first.is_some_and(|first| self.slot(first).is_some_and(|slot| slot.is_away()))
            })
    }

    fn slot(&self, connection: u32) -> Option<&Slot> {
        self.slots.get(connection as usize).map(|slot| &**slot)
    }

    /// What the first node of the shard that answers says, voters first; keeps the connection to it.
    async fn ask(&self, shard: ShardId, controls: &mut BTreeMap<ShardId, Control>) -> Option<Topology> {
        if let Some(control) = controls.get_mut(&shard) {
            if let Ok(Ok(topology)) = timeout(ANSWER_WAIT, control.topology()).await {
                return Some(topology);
            }
            controls.remove(&shard);
        }
        let hello = greeting(&self.epoch);
        let mut members: Vec<&Target> = self
            .targets
            .iter()
            .filter(|target| target.shard == shard)
            .collect();
        members.sort_by_key(|target| target.member);
        for target in members {
            let asked = timeout(ANSWER_WAIT, async {
                let mut control = Control::connect(*target, &hello).await.ok()?;
                let topology = control.topology().await.ok()?;
                Some((control, topology))
            });
            if let Ok(Some((control, topology))) = asked.await {
                controls.insert(shard, control);
                return Some(topology);
            }
        }
        None
    }

    /// Sends strays to where they belong now; gives back those that wait on.
    fn settle(&self, strays: Vec<Stray>) -> Vec<Stray> {
        let now = self.shared.start.elapsed().as_nanos();
        let (mut elsewhere, mut waiting) = (Vec::new(), Vec::new());
        for stray in strays {
            let connection = self.routes.connection(&self.arena, stray.index);
            if !self.is_same_node(connection, stray.connection) {
                elsewhere.push((connection, stray));
            } else if stray.reason == Reject::Busy || now > u128::from(stray.at_ns + STRAY_WAIT_NS) {
                self.stand(&stray);
            } else {
                waiting.push(stray);
            }
        }
        waiting.extend(self.send_again(elsewhere));
        waiting
    }

    fn is_same_node(&self, left: u32, right: u32) -> bool {
        left / self.routes.per_node() == right / self.routes.per_node()
    }

    /// The refusal of a stray stands.
    fn stand(&self, stray: &Stray) {
        if self.shared.recording.outcome(stray.index).0 == Outcome::Pending {
            self.shared
                .recording
                .set_rejected(stray.index, stray.reason, stray.at_ns);
        }
    }

    /// Sends what is unanswered at nodes that are no targets any more, when they are away or had their time to answer.
    fn rescue(&self, shard: ShardId, is_over: bool) {
        let mut elsewhere = Vec::new();
        for (connection, slot) in (0_u32..).zip(&self.slots) {
            let node = self.targets.get((connection / self.routes.per_node()) as usize);
            if node.is_none_or(|node| node.shard != shard) || !(is_over || slot.is_away()) {
                continue;
            }
            let indices = slot.tags().read(<[u32]>::to_vec);
            for index in indices {
                let target = self.routes.connection(&self.arena, index);
                if self.is_open(index, connection) && !self.is_same_node(target, connection) {
                    let stray = Stray {
                        index,
                        connection,
                        reason: Reject::Closed,
                        at_ns: 0,
                    };
                    elsewhere.push((target, stray));
                }
            }
        }
        // What finds no room now is still unanswered at the next look.
        self.send_again(elsewhere);
    }

    fn is_open(&self, index: u32, connection: u32) -> bool {
        let recording = &self.shared.recording;
        matches!(recording.sending(index), Some(Sending::At(_)))
            && recording.outcome(index).0 == Outcome::Pending
            && self.shared.moves.is_with(index, connection)
    }

    /// Sends in the order of the schedule, so that parents come before children; gives back what found no room.
    fn send_again(&self, mut strays: Vec<(u32, Stray)>) -> Vec<Stray> {
        strays.sort_unstable_by_key(|(connection, stray)| (*connection, stray.index));
        let mut left = Vec::new();
        let mut rest = strays.as_slice();
        while let Some((connection, _)) = rest.first() {
            let mut bytes = 0;
            let count = rest
                .iter()
                .take(SUBMIT_TXS_MAX)
                .take_while(|(other, stray)| {
                    let is_first = bytes == 0;
                    bytes += self.arena.tx(stray.index).len() + 2;
                    other == connection && (is_first || bytes <= FRAME_BYTES)
                })
                .count();
            let (frame, others) = rest.split_at(count);
            rest = others;
            let strays: Vec<Stray> = frame.iter().map(|(_, stray)| *stray).collect();
            if !self.send(*connection, &strays) {
                left.extend(strays);
            }
        }
        left
    }

    fn send(&self, connection: u32, strays: &[Stray]) -> bool {
        let Some(slot) = self.slot(connection) else {
            return false;
        };
        let indices: Vec<u32> = strays.iter().map(|stray| stray.index).collect();
        let txs: Vec<&[u8]> = indices.iter().map(|index| self.arena.tx(*index)).collect();
        let submission = Submission {
            indices: &indices,
            txs: &txs,
        };
        // Moved before it leaves: an answer may come at once. They count as sent already.
        let mark = |is_sent: bool| {
            for stray in strays {
                let place = if is_sent { connection } else { stray.connection };
                self.shared.moves.add(stray.index, place);
            }
        };
        slot.try_send(submission, &mark).is_ok()
    }
}
