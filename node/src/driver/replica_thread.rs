//! The thread that owns a replica: bounded turns, then all effects of the turn.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use replica::{Counters, Effect, Event, Executor, Inline, Replica};
use rpc::ServerHandle;
use store::{CommittedRead, StoreHandle};
use transport::MeshSender;
use types::limits::EVENTS_PER_TURN_MAX;
use types::message::PeerMessage;
use types::record::{LogRecord, Standing};
use types::time::Duration;
use types::{Hash, MemberIndex, Sequence};

use super::Place;
use super::inbox::{Inbox, InboxReceivers};
use super::outbox::{Outbox, frame, wire_lane};
use super::restart::convert_changes;
use crate::clock::Clock;
use crate::key_mark::KeyMark;
use crate::verify_pool::{BodyJob, RecheckJob, VerifyLane, VerifyPool};

/// Bytes of final blocks that one answer to a fetch carries.
const SERVE_BYTES: usize = 512 << 10;

/// Final blocks of slashed authors under verification at a time; the others wait as hashes.
const RECHECKS_MAX: usize = 2;

/// What other threads read of a replica.
#[derive(Debug)]
pub(crate) struct SharedCounters {
    /// Final height executed.
    pub(crate) height: AtomicU64,
    shown: Mutex<Shown>,
}

/// What changes together.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    /// What the replica has counted.
    pub(crate) counters: Counters,
    /// Mode of the next height: 0 two leagues, 1 one league.
    pub(crate) mode: u8,
    /// Groups of that mode with the members that author them.
    pub(crate) authors: Vec<(u16, MemberIndex)>,
}

impl SharedCounters {
    /// Of a replica that is about to run.
    pub(crate) fn of(replica: &Replica) -> Self {
        Self {
            height: AtomicU64::new(replica.final_height().0),
            shown: Mutex::new(Shown {
                counters: replica.counters(),
                mode: replica.mode(),
                authors: replica.authors(),
            }),
        }
    }

    /// What the replica showed last.
    pub(crate) fn shown(&self) -> Shown {
        self.lock().clone()
    }

    /// Sets what the replica shows; gives what it had counted before.
    fn update(&self, replica: &Replica) -> Counters {
        let mut shown = self.lock();
        let height = replica.final_height().0;
        // Only final blocks change who authors what.
        if self.height.swap(height, Ordering::Relaxed) != height {
            shown.mode = replica.mode();
            shown.authors = replica.authors();
        }
        std::mem::replace(&mut shown.counters, replica.counters())
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Everything that the thread needs.
pub(crate) struct Parts {
    pub(crate) replica: Replica,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) receivers: InboxReceivers,
    pub(crate) clock: Clock,
    pub(crate) place: Place,
    pub(crate) store: StoreHandle,
    pub(crate) pool: Arc<VerifyPool>,
    pub(crate) lane: Arc<VerifyLane>,
    pub(crate) mesh: MeshSender,
    pub(crate) clients: ServerHandle,
    pub(crate) counters: Arc<SharedCounters>,
    pub(crate) apply_threads: usize,
    /// The mark of the key and the network that is put on it.
    pub(crate) key_mark: Option<(KeyMark, Hash)>,
    /// Bodies under verification at a time.
    pub(crate) verify_jobs: usize,
}

/// Starts the thread.
pub(crate) fn spawn(parts: Parts) -> std::io::Result<JoinHandle<()>> {
    let name = format!("replica-{}-{}", parts.place.shard, parts.place.member);
    std::thread::Builder::new().name(name).spawn(move || {
        let inbox = Arc::clone(&parts.inbox);
        inbox.set_thread(std::thread::current());
        // A panic is our bug; the validator must stop then, not keep its ports and answer nobody.
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| Turns::new(parts).run()));
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(reason)) => inbox.fail(reason),
            Err(_) => inbox.fail("the replica's thread panicked".into()),
        }
    })
}

/// Runs ledger tasks on scoped threads.
struct Scoped(usize);

impl Executor for Scoped {
    fn run<'scope>(&self, tasks: Vec<Box<dyn FnOnce() + Send + 'scope>>) {
        let mut shares: Vec<Vec<_>> = (0..self.0).map(|_| Vec::new()).collect();
        for (position, task) in tasks.into_iter().enumerate() {
            shares[position % self.0].push(task);
        }
        std::thread::scope(|scope| {
            let mut shares = shares.into_iter();
            let own = shares.next();
            for share in shares.filter(|share| !share.is_empty()) {
                scope.spawn(move || share.into_iter().for_each(|task| task()));
            }
            own.into_iter().flatten().for_each(|task| task());
        });
    }
}

struct Turns {
    replica: Replica,
    inbox: Arc<Inbox>,
    receivers: InboxReceivers,
    clock: Clock,
    place: Place,
    store: StoreHandle,
    pool: Arc<VerifyPool>,
    lane: Arc<VerifyLane>,
    mesh: MeshSender,
    clients: ServerHandle,
    counters: Arc<SharedCounters>,
    executor: Box<dyn Executor + Send>,
    outbox: Outbox,
    durable: Sequence,
    space_low: bool,
    key_mark: Option<(KeyMark, Hash)>,
    /// Record of this validator's entry as a voter, until it is durable and the key is marked.
    entry: Option<Sequence>,
    /// Whether it was said that this validator may sign nothing.
    barred: bool,
    /// Body checks that wait for a credit, and credits in use.
    body_backlog: VecDeque<BodyJob>,
    bodies_under_way: usize,
    verify_jobs: usize,
    /// Final blocks to be checked again that wait for a credit, and credits in use. As many wait as the replica has duties,
    /// which it bounds.
    recheck_backlog: VecDeque<Hash>,
    rechecks_under_way: usize,
}

impl Turns {
    fn new(parts: Parts) -> Self {
        let executor: Box<dyn Executor + Send> = if parts.apply_threads > 1 {
            Box::new(Scoped(parts.apply_threads))
        } else {
            Box::new(Inline)
        };
        let outbox = Outbox::new(parts.place.clone(), parts.mesh.clone());
        Self {
            replica: parts.replica,
            inbox: parts.inbox,
            receivers: parts.receivers,
            clock: parts.clock,
            place: parts.place,
            store: parts.store,
            pool: parts.pool,
            lane: parts.lane,
            mesh: parts.mesh,
            clients: parts.clients,
            counters: parts.counters,
            executor,
            outbox,
            durable: Sequence(0),
            space_low: false,
            key_mark: parts.key_mark,
            entry: None,
            barred: false,
            body_backlog: VecDeque::new(),
            bodies_under_way: 0,
            verify_jobs: parts.verify_jobs,
            recheck_backlog: VecDeque::new(),
            rechecks_under_way: 0,
        }
    }

    fn run(mut self) -> Result<(), String> {
        self.flush()?;
        while !self.inbox.is_stopped() {
            let taken = self.turn()?;
            if self.clock.now() >= self.replica.poll_timeout() {
                self.replica.handle_timeout(self.clock.now(), &*self.executor);
            }
            self.flush()?;
            self.publish();
            if taken == 0 {
                let wait = self
                    .clock
                    .until(self.replica.poll_timeout())
                    .min(Duration::from_secs(1));
                std::thread::park_timeout(wait);
            }
        }
        Ok(())
    }

    /// Takes at most `EVENTS_PER_TURN_MAX` events in the order of [`InboxReceivers`].
    fn turn(&mut self) -> Result<usize, String> {
        let mut taken = 0;
        let durable = self.inbox.durable_seq();
        if durable > self.durable {
            self.durable = durable;
            self.mark_key(durable)?;
            self.outbox.on_durable(durable);
            self.handle(Event::Durable(durable));
            taken += 1;
        }
        let low = self.inbox.is_space_low();
        if low != self.space_low {
            self.space_low = low;
            self.handle(Event::Space { low });
            taken += 1;
        }
        while taken < EVENTS_PER_TURN_MAX {
            let Some(event) = self.next_event() else { break };
            self.handle(event);
            taken += 1;
        }
        Ok(taken)
    }

    /// Marks the key before the replica learns that it may sign.
    fn mark_key(&mut self, durable: Sequence) -> Result<(), String> {
        if self.entry.is_some_and(|entry| entry <= durable) {
            self.entry = None;
            if let Some((mark, genesis)) = &self.key_mark {
                mark.set(genesis).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }

    fn next_event(&mut self) -> Option<Event> {
        let event = self.receivers.next(&self.inbox)?;
        match event {
            Event::BodyChecked { .. } => self.bodies_under_way -= 1,
            Event::Rechecked { .. } => self.rechecks_under_way -= 1,
            _ => {}
        }
        Some(event)
    }

    fn handle(&mut self, event: Event) {
        self.replica
            .handle_event(self.clock.now(), event, &*self.executor);
    }

    /// Carries out all effects.
    fn flush(&mut self) -> Result<(), String> {
        while let Some(effect) = self.replica.poll_effect() {
            match effect {
                Effect::Send { to, message, after } => self.outbox.send(to, &message, after),
                Effect::Broadcast { message, after } => self.outbox.broadcast(&message, after),
                Effect::CheckBody {
                    hash,
                    header,
                    bytes,
                    checks,
                } => self.body_backlog.push_back(BodyJob {
                    hash,
                    header,
                    bytes,
                    checks,
                }),
                Effect::Persist { seq, records, sync } => {
                    if records.contains(&LogRecord::Standing(Standing::Voter)) {
                        self.entry = Some(seq);
                    }
                    self.store
                        .persist(seq, records, sync)
                        .map_err(|error| error.to_string())?;
                }
                Effect::WriteState(changes) => {
                    self.store
                        .write_state(convert_changes(*changes))
                        .map_err(|error| error.to_string())?;
                }
                Effect::Answer { connection, answer } => {
                    if let Err(error) = self.clients.send(connection, &answer) {
                        tracing::debug!(connection = connection.0, %error, "an answer found no client");
                    }
                }
                Effect::ServeBlocks { to, from, count } => {
                    let read = CommittedRead {
                        from,
                        count,
                        bytes_max: SERVE_BYTES,
                        bodies: false,
                    };
                    let reply = self.reply_to(to);
                    let send = move |answer: Result<Vec<(_, Vec<_>)>, _>| match answer {
                        Ok(blocks) if !blocks.is_empty() => {
                            reply(&PeerMessage::Blocks(
                                blocks.into_iter().map(|(block, _)| block).collect(),
                            ));
                        }
                        _ => {}
                    };
                    self.store
                        .read_committed(read, send)
                        .map_err(|error| error.to_string())?;
                }
                Effect::ServeBody { to, hash } => {
                    let reply = self.reply_to(to);
                    let send = move |answer: Result<Option<_>, _>| {
                        if let Ok(Some(block)) = answer {
                            reply(&PeerMessage::AuthorBlock(block));
                        }
                    };
                    self.store
                        .read_body(hash, send)
                        .map_err(|error| error.to_string())?;
                }
                Effect::Recheck { hash } => self.recheck_backlog.push_back(hash),
                Effect::Halt(reason) => return Err(reason.to_string()),
            }
        }
        while self.bodies_under_way < self.verify_jobs
            && let Some(job) = self.body_backlog.pop_front()
        {
            self.bodies_under_way += 1;
            self.pool.check_body(&self.lane, job);
        }
        while self.rechecks_under_way < RECHECKS_MAX
            && let Some(hash) = self.recheck_backlog.pop_front()
        {
            self.rechecks_under_way += 1;
            self.recheck(hash)?;
        }
        Ok(())
    }

    /// Reads a final author block and has all of its signatures checked; a block that the log no longer has shows nothing.
    fn recheck(&self, hash: Hash) -> Result<(), String> {
        let (pool, lane, inbox) = (
            Arc::clone(&self.pool),
            Arc::clone(&self.lane),
            Arc::clone(&self.inbox),
        );
        let send = move |answer: Result<Option<_>, _>| match answer {
            Ok(Some(block)) => pool.recheck(&lane, RecheckJob { hash, block }),
            _ => inbox.rechecked(hash, Vec::new()),
        };
        self.store
            .read_body(hash, send)
            .map_err(|error| error.to_string())
    }

    /// Sends what the store read; called on the store's thread, never waits.
    fn reply_to(&self, to: MemberIndex) -> impl Fn(&PeerMessage) + Send + 'static {
        let (mesh, place) = (self.mesh.clone(), self.place.clone());
        move |message| {
            if let Some((id, _)) = place.committee.members.get(usize::from(to.0)) {
                // A full lane or a lost link: the asker asks again.
                let _ = mesh.send(id.0, wire_lane(message.lane()), frame(&place, message));
            }
        }
    }

    fn publish(&mut self) {
        if self.replica.is_barred() && !self.barred {
            self.barred = true;
            tracing::error!(
                shard = self.place.shard.0,
                member = self.place.member.0,
                "this key signed things in this epoch that the data directory does not know: it was lost or \
                 replaced. The validator follows the chain and signs nothing until the epoch ends"
            );
        }
        let before = self.counters.update(&self.replica);
        if before.view_changes < self.replica.counters().view_changes {
            let (view, _) = self.replica.view();
            tracing::info!(
                shard = self.place.shard.0,
                member = self.place.member.0,
                view = view.0,
                height = self.replica.final_height().0,
                "view change"
            );
        }
    }
}
