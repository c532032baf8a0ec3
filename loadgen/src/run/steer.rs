//! Follows the modes of the shards while the load goes on: asks for the topology when refusals or broken connections
//! hint at a change, and sends what belongs elsewhere again.
//!
//! A refusal that may only mean a change of mode waits for the next answer about the shard: then it either goes to the
//! node that is to be asked now, or stands. Nothing is sent again to a node that refused it. The refusal of what was
//! sent twice stands only when the chain does not hold the other copy ([`Doubts`]).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::Sender;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use types::block::MODE_ONE_LEAGUE;
use types::client::Topology;
use types::genesis::EpochConfig;
use types::limits::SUBMIT_TXS_MAX;
use types::{Height, Reject, ShardId};

use super::doubts::Doubts;
use super::routes::Routes;
use crate::accounting::{Outcome, Sending};
use crate::arena::Arena;
use crate::audit::Progress;
use crate::audit::fetch::fetch_chain;
use crate::link::Slot;
use crate::network::{Control, Target, greeting};
use crate::pacer::Submission;
use crate::steering::Steering;
use crate::tags::TagBook;
use crate::worker::{Proven, ProvenBy, Shared, Stray, hand_over, is_of_bytes, may_be_stray};

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
/// The same for `Busy`, which mostly means what it says: as long as the node that is asked for the mode may lag behind
/// the one that refused.
const BUSY_WAIT_NS: u64 = 1_000_000_000;
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
    /// Takes what is found in the chain.
    pub(crate) notes: Sender<ProvenBy>,
    /// Tags of that.
    pub(crate) tags: Arc<TagBook>,
}

/// What waits in one shard.
#[derive(Default)]
struct Waiting {
    /// For the right target.
    strays: Vec<Stray>,
    /// For the chain.
    doubts: Doubts,
}

/// Runs until `closing` turns true; refusals that still wait stand then.
pub(crate) async fn steer(
    steerer: Steerer,
    mut strays: mpsc::UnboundedReceiver<Stray>,
    mut closing: watch::Receiver<bool>,
) {
    let mut waiting: BTreeMap<ShardId, Waiting> = BTreeMap::new();
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
            let waiting = waiting.entry(steerer.shard_of(stray.index)).or_default();
            if steerer.has_modes() && may_be_stray(stray.reason) {
                waiting.strays.push(stray);
            } else {
                steerer.stand(&stray, &mut waiting.doubts);
            }
        }
        for committee in &steerer.epoch.committees {
            let shard = committee.shard;
            let waiting = waiting.entry(shard).or_default();
            let is_due =
                steerer.has_modes() && steerer.is_unsettled(shard) || looks.is_multiple_of(ASK_EVERY);
            let is_idle = waiting.strays.is_empty() && waiting.doubts.first().is_none();
            if is_idle && !is_due {
                continue;
            }
            let Some(topology) = ask(&steerer.epoch, &steerer.targets, shard, &mut controls).await else {
                continue;
            };
            if let Some(status) = topology.shards.first() {
                waiting.doubts.show(steerer.now_ns(), status.height);
            }
            steerer.routes.steering().learn(committee, &topology);
            let strays = std::mem::take(&mut waiting.strays);
            waiting.strays = steerer.settle(strays, &mut waiting.doubts);
            let mode = steerer.routes.steering().mode(shard);
            let (known, since) = modes.entry(shard).or_insert_with(|| (mode, Instant::now()));
            if *known != mode {
                (*known, *since) = (mode, Instant::now());
            }
            // With one route for each transaction there is nowhere else to send it.
            if steerer.has_modes() {
                steerer.rescue(shard, since.elapsed() >= FAREWELL);
            }
            steerer.look_up(shard, &mut waiting.doubts, &mut controls).await;
        }
    }
    steerer.end(waiting, strays).await;
}

/// Learns modes and authors before the load: a network that has run for a while need not be as its genesis has it.
pub(crate) async fn look_first(epoch: &EpochConfig, targets: &[Target], steering: &Steering) {
    let mut controls = BTreeMap::new();
    let committees = epoch.committees.iter().filter(|_| epoch.policy.leagues.is_some());
    for committee in committees {
        if let Some(topology) = ask(epoch, targets, committee.shard, &mut controls).await {
            steering.learn(committee, &topology);
        }
    }
}

/// What the first node of the shard that answers says, voters first; keeps the connection to it.
async fn ask(
    epoch: &EpochConfig,
    targets: &[Target],
    shard: ShardId,
    controls: &mut BTreeMap<ShardId, Control>,
) -> Option<Topology> {
    if let Some(control) = controls.get_mut(&shard) {
        if let Ok(Ok(topology)) = timeout(ANSWER_WAIT, control.topology()).await {
            return Some(topology);
        }
        controls.remove(&shard);
    }
    let hello = greeting(epoch);
    let mut members: Vec<&Target> = targets.iter().filter(|target| target.shard == shard).collect();
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

/// How long a refusal waits for another target, nanoseconds.
const fn wait_of(reason: Reject) -> u64 {
    if matches!(reason, Reject::Busy) {
        BUSY_WAIT_NS
    } else {
        STRAY_WAIT_NS
    }
}

impl Steerer {
    fn has_modes(&self) -> bool {
        self.epoch.policy.leagues.is_some()
    }

    /// Time from the start of the run.
    fn now_ns(&self) -> u64 {
        u64::try_from(self.shared.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

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

    /// Sends strays to where they belong now; gives back those that wait on.
    fn settle(&self, strays: Vec<Stray>, doubts: &mut Doubts) -> Vec<Stray> {
        let now = self.now_ns();
        let (mut elsewhere, mut waiting) = (Vec::new(), Vec::new());
        for stray in strays {
            let connection = self.routes.connection(&self.arena, stray.index);
            if !self.is_same_node(connection, stray.connection) {
                elsewhere.push((connection, stray));
            } else if now > stray.at_ns.saturating_add(wait_of(stray.reason)) {
                self.stand(&stray, doubts);
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

    /// The refusal of a stray stands, unless another copy may have taken effect.
    fn stand(&self, stray: &Stray, doubts: &mut Doubts) {
        let is_copy = self.shared.moves.place(stray.index).is_some();
        let entry = self.arena.entries.get(stray.index as usize);
        let is_open = self.shared.recording.outcome(stray.index).0 == Outcome::Pending;
        match (entry, self.shared.recording.sending(stray.index)) {
            (Some(entry), Some(Sending::At(sent_ns))) if is_copy && is_open && !is_of_bytes(stray.reason) => {
                let policy = &self.epoch.policy;
                doubts.add(entry.txid, *stray, sent_ns, policy.lag + policy.window);
            }
            _ => self.refuse(stray),
        }
    }

    fn refuse(&self, stray: &Stray) {
        let recording = &self.shared.recording;
        if recording.outcome(stray.index).0 == Outcome::Pending {
            recording.set_rejected(stray.index, stray.reason, stray.at_ns);
        }
    }

    /// Reads on in the chain of the node that was asked last, for what is in doubt.
    async fn look_up(&self, shard: ShardId, doubts: &mut Doubts, controls: &mut BTreeMap<ShardId, Control>) {
        let (Some(first), tip) = (doubts.first(), doubts.tip()) else {
            return;
        };
        let Some(control) = controls.get_mut(&shard).filter(|_| first <= tip) else {
            return;
        };
        let mut found = Vec::new();
        let mut take = |item| {
            found.extend(doubts.take(item, &self.tags));
            Progress::Wanted
        };
        let heights = (Height(first.0.saturating_sub(1)), tip);
        let (sender, answers) = (&control.sender, &mut control.answers);
        let read = fetch_chain(sender, answers, heights, ANSWER_WAIT, &mut take).await;
        let validator = control.target.validator;
        for found in found {
            let now = self.now_ns();
            for index in found.indices {
                let intended = self.shared.times.get(index as usize).copied().unwrap_or(now);
                self.shared.recording.set_found(index, now, intended);
            }
            let claim = ProvenBy {
                validator,
                shard,
                tags: Arc::clone(&self.tags),
                claim: Proven::Final(Box::new(found.note)),
            };
            hand_over(&self.notes, claim).await;
        }
        match read {
            Ok(read) => doubts.settle(read).iter().for_each(|stray| self.refuse(stray)),
            // Another connection reads the same again.
            Err(_) => drop(controls.remove(&shard)),
        }
    }

    /// The run ends: refusals that wait stand, and what is in doubt is lost.
    async fn end(&self, waiting: BTreeMap<ShardId, Waiting>, mut strays: mpsc::UnboundedReceiver<Stray>) {
        let mut doubts = Doubts::default();
        strays.close();
        while let Some(stray) = strays.recv().await {
            self.stand(&stray, &mut doubts);
        }
        for mut waiting in waiting.into_values() {
            let strays = waiting.strays.iter();
            strays.for_each(|stray| self.stand(stray, &mut doubts));
            let open = waiting.doubts.drain();
            open.iter().for_each(|stray| self.lose(stray));
        }
        doubts.drain().iter().for_each(|stray| self.lose(stray));
    }

    fn lose(&self, stray: &Stray) {
        self.shared.recording.set_lost(stray.index, stray.at_ns);
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
        let before: Vec<Option<u32>> = indices
            .iter()
            .map(|index| self.shared.moves.place(*index))
            .collect();
        let mark = |is_sent: bool| {
            for (index, before) in indices.iter().zip(&before) {
                if is_sent {
                    self.shared.moves.add(*index, connection);
                } else {
                    self.shared.moves.restore(*index, *before);
                }
            }
        };
        slot.try_send(submission, &mark).is_ok()
    }
}
