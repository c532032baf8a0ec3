//! What waits for a replica's thread: bounded queues, one for each source, and a way to wake it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::Thread;

use crossbeam::channel::{Receiver, Sender, unbounded};
use mempool::AdmissionRing;
use replica::{Admission, CheckedBody, Event};
use tokio::sync::mpsc;
use types::limits::{ADMISSION_RING_BATCHES_MAX, INTAKE_TXS_MAX, PEER_EVENTS_MAX};
use types::{Hash, Sequence};

/// Queries of clients that wait for the replica; their reader waits when it is full.
const QUERIES_MAX: usize = 256;

/// Sources of a replica's events. Consensus is served first, clients last.
pub(crate) struct Inbox {
    /// Completed body checks. The replica's thread issues no more than `VERIFY_JOBS_MAX` at a time, so this
    /// queue is bounded by that credit and a worker never waits here.
    bodies_in: Sender<(Hash, Option<CheckedBody>)>,
    bodies_out: Receiver<(Hash, Option<CheckedBody>)>,
    /// Highest durable record; a number, so that the store's thread never waits.
    durable: AtomicU64,
    /// Whether the disk is nearly full; a state, so that no change can be lost.
    low_space: AtomicBool,
    /// Verified transactions.
    ring: AdmissionRing<Admission>,
    control_in: mpsc::Sender<Event>,
    bulk_in: mpsc::Sender<Event>,
    queries_in: mpsc::Sender<Event>,
    failure: Mutex<Option<String>>,
    stopped: AtomicBool,
    thread: OnceLock<Thread>,
}

/// The replica's thread's ends of the queues.
pub(crate) struct InboxReceivers {
    pub(crate) control: mpsc::Receiver<Event>,
    pub(crate) bulk: mpsc::Receiver<Event>,
    pub(crate) queries: mpsc::Receiver<Event>,
}

impl Inbox {
    /// Empty queues.
    pub(crate) fn new() -> (Self, InboxReceivers) {
        let (bodies_in, bodies_out) = unbounded();
        let (control_in, control) = mpsc::channel(PEER_EVENTS_MAX);
        let (bulk_in, bulk) = mpsc::channel(PEER_EVENTS_MAX);
        let (queries_in, queries) = mpsc::channel(QUERIES_MAX);
        let inbox = Self {
            bodies_in,
            bodies_out,
            durable: AtomicU64::new(0),
            low_space: AtomicBool::new(false),
            ring: AdmissionRing::new(ADMISSION_RING_BATCHES_MAX, INTAKE_TXS_MAX),
            control_in,
            bulk_in,
            queries_in,
            failure: Mutex::new(None),
            stopped: AtomicBool::new(false),
            thread: OnceLock::new(),
        };
        (
            inbox,
            InboxReceivers {
                control,
                bulk,
                queries,
            },
        )
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
    pub(crate) fn body_checked(&self, hash: Hash, checked: Option<CheckedBody>) {
        // The receiver lives as long as this value.
        drop(self.bodies_in.send((hash, checked)));
        self.wake();
    }

    /// Verified transactions, or all of them back when the ring is full.
    pub(crate) fn admit(&self, admissions: Vec<Admission>) -> Result<(), Vec<Admission>> {
        let outcome = self.ring.push(admissions);
        self.wake();
        outcome
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

    /// A message of a peer on the control lane; waits while the queue is full.
    pub(crate) async fn control(&self, event: Event) {
        drop(self.control_in.send(event).await);
        self.wake();
    }

    /// A message of a peer on the bulk lane; waits while the queue is full.
    pub(crate) async fn bulk(&self, event: Event) {
        drop(self.bulk_in.send(event).await);
        self.wake();
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

    /// Next completed body check.
    pub(crate) fn next_body(&self) -> Option<(Hash, Option<CheckedBody>)> {
        self.bodies_out.try_recv().ok()
    }

    /// Next batch of verified transactions.
    pub(crate) fn next_admissions(&self) -> Option<Vec<Admission>> {
        self.ring.pop()
    }
}
