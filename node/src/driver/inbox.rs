//! What waits for a replica's thread: bounded queues, one for each source, and a way to wake it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::Thread;

use crossbeam::channel::{Receiver, Sender, unbounded};
use mempool::AdmissionRing;
use replica::{Admission, BodyVerdict, Event};
use tokio::sync::mpsc;
use transport::HeldBytes;
use types::evidence::TxEvidence;
use types::{Hash, MemberIndex, Sequence};

use files::QueueBounds;

/// One event in so many goes to sources other than the control lanes if anything waits there.
const OTHERS_EVERY: u64 = 3;

/// Verified transactions for the slow lane that wait for the replica; beyond, clients are answered `Busy`. A final block
/// announces at most 1024 (`ios` 7.9).
const SLOW_TXS_MAX: usize = 1024;

/// A member's message, with its share of that member's bytes.
type FromPeer = (Event, HeldBytes);

/// Sources of a replica's events.
pub(crate) struct Inbox {
    /// Completed checks of bodies. The replica's thread issues a bounded number of them at a time, so this queue is
    /// bounded by that credit and a worker never waits here.
    checked_in: Sender<Event>,
    checked_out: Receiver<Event>,
    /// Highest durable record; a number, so that the store's thread never waits.
    durable: AtomicU64,
    /// Whether the disk is nearly full; a state, so that no change can be lost.
    low_space: AtomicBool,
    /// Verified transactions.
    ring: AdmissionRing<Admission>,
    /// Verified transactions for the slow lane.
    slow: AdmissionRing<Admission>,
    /// Most transactions of one batch in `ring`.
    batch_txs_max: usize,
    /// By member, so that nobody waits for room that another one took.
    peers_in: Vec<PeerQueues<mpsc::Sender<FromPeer>>>,
    queries_in: mpsc::Sender<Event>,
    failure: Mutex<Option<String>>,
    stopped: AtomicBool,
    thread: OnceLock<Thread>,
}

/// Both lanes of a member.
#[derive(Debug)]
struct PeerQueues<T> {
    control: T,
    bulk: T,
}

/// The replica's thread's ends of the queues, and whose turn it is.
///
/// Order: control lanes, completed body checks, bulk lanes, transactions, those for the slow lane, questions. Members take turns within
/// their lanes, and every third event comes from behind the control lanes, each of the five sources there being
/// first in turn. So whatever a member floods, every other member and every other source is served once in a
/// bounded number of events.
pub(crate) struct InboxReceivers {
    peers: Vec<PeerQueues<mpsc::Receiver<FromPeer>>>,
    queries: mpsc::Receiver<Event>,
    /// Members to be asked first.
    control_turn: usize,
    bulk_turn: usize,
    /// Which of the other sources is to be asked first.
    others_turn: usize,
    served: u64,
}

/// Sources behind the control lanes, the most urgent first.
const OTHERS: [Source; 5] = [
    Source::Bodies,
    Source::Bulk,
    Source::Admissions,
    Source::Slow,
    Source::Queries,
];

#[derive(Clone, Copy)]
enum Source {
    Bodies,
    Bulk,
    Admissions,
    Slow,
    Queries,
}

impl InboxReceivers {
    /// The next event, if any waits.
    pub(crate) fn next(&mut self, inbox: &Inbox) -> Option<Event> {
        self.served += 1;
        if self.served.is_multiple_of(OTHERS_EVERY) {
            let first = self.others_turn;
            self.others_turn = (first + 1) % OTHERS.len();
            let rotated = (0..OTHERS.len()).map(|step| OTHERS[(first + step) % OTHERS.len()]);
            for source in rotated {
                if let Some(event) = self.of(source, inbox) {
                    return Some(event);
                }
            }
        }
        if let Some(event) = self.control() {
            return Some(event);
        }
        OTHERS.into_iter().find_map(|source| self.of(source, inbox))
    }

    fn of(&mut self, source: Source, inbox: &Inbox) -> Option<Event> {
        match source {
            Source::Bodies => inbox.checked_out.try_recv().ok(),
            Source::Bulk => in_turn(&mut self.peers, &mut self.bulk_turn, |peer| &mut peer.bulk),
            Source::Admissions => inbox.ring.pop().map(Event::Admitted),
            Source::Slow => inbox.slow.pop().map(Event::SlowAdmitted),
            Source::Queries => self.queries.try_recv().ok(),
        }
    }

    fn control(&mut self) -> Option<Event> {
        in_turn(&mut self.peers, &mut self.control_turn, |peer| &mut peer.control)
    }
}

/// The next message of the member whose turn it is, or of the next one that has any.
fn in_turn(
    peers: &mut [PeerQueues<mpsc::Receiver<FromPeer>>],
    turn: &mut usize,
    lane: impl Fn(&mut PeerQueues<mpsc::Receiver<FromPeer>>) -> &mut mpsc::Receiver<FromPeer>,
) -> Option<Event> {
    let count = peers.len();
    for step in 0..count {
        let member = (*turn + step) % count;
        // The bytes are free as soon as the replica has the event: what it keeps is bounded by its own limits.
        if let Some((event, _held)) = peers.get_mut(member).and_then(|peer| lane(peer).try_recv().ok()) {
            *turn = member + 1;
            return Some(event);
        }
    }
    None
}

impl Inbox {
    /// Empty queues for a committee of `members`.
    pub(crate) fn new(members: usize, bounds: &QueueBounds) -> (Self, InboxReceivers) {
        let (checked_in, checked_out) = unbounded();
        let (queries_in, queries) = mpsc::channel(bounds.queries);
        let (mut peers_in, mut peers) = (Vec::with_capacity(members), Vec::with_capacity(members));
        for _ in 0..members {
            let (control_in, control) = mpsc::channel(bounds.peer_events);
            let (bulk_in, bulk) = mpsc::channel(bounds.peer_events);
            peers_in.push(PeerQueues {
                control: control_in,
                bulk: bulk_in,
            });
            peers.push(PeerQueues { control, bulk });
        }
        let inbox = Self {
            checked_in,
            checked_out,
            durable: AtomicU64::new(0),
            low_space: AtomicBool::new(false),
            ring: AdmissionRing::new(bounds.admission_batches, bounds.intake_txs),
            slow: AdmissionRing::new(
                bounds.admission_batches.min(SLOW_TXS_MAX),
                bounds.intake_txs.min(SLOW_TXS_MAX),
            ),
            batch_txs_max: bounds.intake_txs,
            peers_in,
            queries_in,
            failure: Mutex::new(None),
            stopped: AtomicBool::new(false),
            thread: OnceLock::new(),
        };
        let receivers = InboxReceivers {
            peers,
            queries,
            control_turn: 0,
            bulk_turn: 0,
            others_turn: 0,
            served: 0,
        };
        (inbox, receivers)
    }

    /// Names the thread to be woken.
    pub(crate) fn set_thread(&self, thread: Thread) {
        // Set once by the thread itself.
        drop(self.thread.set(thread));
    }

    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// A body check is done.
    pub(crate) fn body_checked(&self, hash: Hash, verdict: BodyVerdict) {
        self.checked(Event::BodyChecked { hash, verdict });
    }

    /// The transactions of a final author block that should not be there.
    pub(crate) fn rechecked(&self, hash: Hash, forged: Vec<TxEvidence>) {
        self.checked(Event::Rechecked { hash, forged });
    }

    fn checked(&self, event: Event) {
        // The receiver lives as long as this value.
        drop(self.checked_in.send(event));
        self.wake();
    }

    /// Takes verified transactions, and gives those back that found no room.
    pub(crate) fn admit(&self, admissions: Vec<Admission>) -> Vec<Admission> {
        self.admit_to(&self.ring, self.batch_txs_max, admissions)
    }

    /// Takes verified transactions for the slow lane, and gives those back that found no room.
    pub(crate) fn admit_slow(&self, admissions: Vec<Admission>) -> Vec<Admission> {
        let batch_max = self.batch_txs_max.min(SLOW_TXS_MAX);
        self.admit_to(&self.slow, batch_max, admissions)
    }

    fn admit_to(
        &self,
        ring: &AdmissionRing<Admission>,
        batch_max: usize,
        mut admissions: Vec<Admission>,
    ) -> Vec<Admission> {
        let mut refused = Vec::new();
        while !admissions.is_empty() {
            let rest = admissions.split_off(admissions.len().min(batch_max));
            if let Err(back) = ring.push(admissions) {
                refused.extend(back);
            }
            admissions = rest;
        }
        self.wake();
        refused
    }

    /// Everything up to `seq` is durable.
    pub(crate) fn durable(&self, seq: Sequence) {
        self.durable.fetch_max(seq.0, Ordering::Release);
        self.wake();
    }

    /// The disk is nearly full, or has room again.
    pub(crate) fn space(&self, low: bool) {
        self.low_space.store(low, Ordering::Release);
        self.wake();
    }

    /// Whether the disk is nearly full.
    pub(crate) fn is_space_low(&self) -> bool {
        self.low_space.load(Ordering::Acquire)
    }

    /// A message of a member on its control lane; waits while that queue is full.
    pub(crate) async fn control(&self, from: MemberIndex, event: Event, held: HeldBytes) {
        if let Some(queues) = self.peers_in.get(usize::from(from.0)) {
            drop(queues.control.send((event, held)).await);
            self.wake();
        }
    }

    /// A message of a member on its bulk lane; waits while that queue is full.
    pub(crate) async fn bulk(&self, from: MemberIndex, event: Event, held: HeldBytes) {
        if let Some(queues) = self.peers_in.get(usize::from(from.0)) {
            drop(queues.bulk.send((event, held)).await);
            self.wake();
        }
    }

    /// A client's question; waits while the queue is full.
    pub(crate) async fn query(&self, event: Event) {
        drop(self.queries_in.send(event).await);
        self.wake();
    }

    /// The store or the replica cannot go on.
    pub(crate) fn fail(&self, reason: String) {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(reason);
        self.stop();
    }

    /// Why it failed, if it did.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Asks the thread to end.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.wake();
    }

    /// Whether the thread is to end.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Highest durable record.
    pub(crate) fn durable_seq(&self) -> Sequence {
        Sequence(self.durable.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests;
