//! What the store's thread does with its commands.

use std::fs::File;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use blocklog::{BlockLog, Durability};
use crossbeam::channel::{Receiver, RecvTimeoutError};
use types::limits::PERSIST_QUEUE_MAX;
use types::record::LogRecord;
use types::{Height, Sequence};

use super::space::Space;
use super::{Command, CommittedAnswer, CommittedRead, Opened, StoreEvent, StoreOptions};
use crate::changes::{Pending, StateChanges};
use crate::limits::GROUP_BYTES_MAX;
use crate::state::StateStore;
use crate::stats::{Counters, add};

/// State changes wait at least this long, so that what is spent soon is never written.
const STATE_WAIT_MIN: Duration = Duration::from_millis(50);
/// And at most this long while records keep coming.
const STATE_WAIT_MAX: Duration = Duration::from_millis(500);
/// And no longer than for this many outputs: a batch of them takes about as long as a few fsyncs, and votes wait.
const STATE_OUTPUTS_MAX: usize = 16_384;
/// The state is made durable this often, so that a restart does not replay more.
const STATE_FLUSH_INTERVAL: Duration = Duration::from_secs(10);
/// Idle time after which written records are made durable though nobody waits for it.
const IDLE: Duration = Duration::from_millis(250);

/// Commands of one turn.
#[derive(Default)]
struct Group {
    commands: usize,
    persists: Vec<(Sequence, Vec<LogRecord>)>,
    bytes: usize,
    sync: bool,
    /// Reads and cuts, which see what was appended before them.
    after: Vec<Command>,
    stop: bool,
}

pub(super) struct Worker {
    options: StoreOptions,
    log: BlockLog,
    state: StateStore,
    counters: Arc<Counters>,
    on_event: Box<dyn Fn(StoreEvent) + Send>,
    pending: Pending,
    pending_since: Option<Instant>,
    flush_began: Instant,
    /// Highest sequence that is written and not reported durable.
    undurable: Option<Sequence>,
    space: Space,
    /// Why nothing is written any more; the handles refuse with it.
    failure: Arc<OnceLock<String>>,
    /// Lock on the directory, for the life of the thread.
    _held: File,
}

impl Worker {
    pub(super) fn new(
        opened: Opened,
        counters: Arc<Counters>,
        failure: Arc<OnceLock<String>>,
        on_event: Box<dyn Fn(StoreEvent) + Send>,
    ) -> Self {
        let Opened {
            directory,
            options,
            log,
            state,
            held,
        } = opened;
        counters
            .state_height
            .store(state.head().map_or(0, |head| head.height.0), Ordering::Relaxed);
        Self {
            space: Space::new(directory, options.free_space, options.reserve_bytes),
            options,
            log,
            state,
            counters,
            on_event,
            pending: Pending::default(),
            pending_since: None,
            flush_began: Instant::now(),
            undurable: None,
            failure,
            _held: held,
        }
    }

    /// Serves until it is told to stop or nobody is left to tell it; returns the failure, if any.
    pub(super) fn run(mut self, receiver: &Receiver<Command>) -> Option<String> {
        loop {
            self.look_at_space(false);
            let mut group = Group::default();
            match receiver.recv_timeout(self.wait()) {
                Ok(command) => self.take(command, &mut group),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => group.stop = true,
            }
            let idle = group.is_empty();
            // Everything that waits goes into one group: one fsync for all of it.
            while group.is_open() {
                let Ok(command) = receiver.try_recv() else { break };
                self.take(command, &mut group);
            }
            self.commit(&group);
            group.after.into_iter().for_each(|command| self.serve(command));
            if idle {
                self.sync();
            }
            self.write_behind(receiver.is_empty(), group.stop);
            if group.stop {
                return self.finish();
            }
        }
    }

    /// How long to wait for a command before something else is due.
    fn wait(&self) -> Duration {
        match self.pending_since {
            Some(since) => STATE_WAIT_MIN
                .saturating_sub(since.elapsed())
                .max(Duration::from_millis(1)),
            None => IDLE,
        }
    }

    fn take(&mut self, command: Command, group: &mut Group) {
        group.commands += 1;
        match command {
            Command::Persist { seq, records, sync } => {
                group.bytes += records.iter().map(size_of_record).sum::<usize>();
                group.sync |= sync;
                group.persists.push((seq, records));
            }
            Command::WriteState(changes) => self.merge(changes),
            Command::Stop => group.stop = true,
            other => group.after.push(other),
        }
    }

    fn merge(&mut self, changes: StateChanges) {
        if self.has_failed() {
            return;
        }
        if let Err(error) = self.state.check_follows(&changes, self.pending.height()) {
            return self.fail(error.to_string());
        }
        self.pending.merge(changes);
        self.pending_since.get_or_insert_with(Instant::now);
    }

    /// Writes a group, and makes it durable when one of it waits for that.
    fn commit(&mut self, group: &Group) {
        let Some((last, _)) = group.persists.last() else {
            return;
        };
        if self.has_failed() {
            return;
        }
        let before = self.log.bytes();
        let batches: Vec<_> = group
            .persists
            .iter()
            .map(|(seq, records)| (*seq, &records[..]))
            .collect();
        match self.log.append_group(&batches) {
            Ok(()) => {}
            Err(error) => return self.fail(error.to_string()),
        }
        add(&self.counters.persists, batches.len() as u64);
        add(
            &self.counters.records,
            batches.iter().map(|(_, records)| records.len() as u64).sum(),
        );
        add(&self.counters.log_bytes, self.log.bytes() - before);
        self.undurable = Some(*last);
        (self.on_event)(StoreEvent::Written(*last));
        match self.options.durability {
            Durability::Async => self.report_durable(),
            Durability::Fsync if group.sync => self.sync(),
            Durability::Fsync => {}
        }
        self.look_at_space(true);
    }

    /// Says when space becomes low or returns: after each group, and from time to time.
    fn look_at_space(&mut self, now: bool) {
        if (now || self.space.is_due())
            && !self.has_failed()
            && let Some(event) = self.space.look()
        {
            (self.on_event)(event);
        }
    }

    fn has_failed(&self) -> bool {
        self.failure.get().is_some()
    }

    fn report_durable(&mut self) {
        if let Some(seq) = self.undurable.take() {
            (self.on_event)(StoreEvent::Durable(seq));
        }
    }

    /// Makes the log durable, if something is not, and reports it.
    fn sync(&mut self) {
        if self.has_failed() || self.options.durability == Durability::Async {
            return;
        }
        if self.log.is_unsynced() {
            let began = Instant::now();
            if let Err(error) = self.log.sync() {
                return self.fail(error.to_string());
            }
            self.counters.fsync(began.elapsed());
        }
        self.report_durable();
    }

    /// The first failure counts. The handles refuse before the event is out.
    fn fail(&mut self, reason: String) {
        if self.failure.set(reason.clone()).is_ok() {
            (self.on_event)(StoreEvent::Failed(reason));
            self.drop_pending();
        }
    }

    fn drop_pending(&mut self) {
        self.pending = Pending::default();
        self.pending_since = None;
    }

    fn serve(&mut self, command: Command) {
        match command {
            Command::ReadCommitted(read, reply) => reply(self.read_committed(read)),
            Command::ReadBody(hash, reply) => reply(self.log.read_body(&hash)),
            Command::ReadBlock(hash, reply) => reply(self.log.read_block(&hash)),
            Command::CutBelow(height) => self.cut_below(height),
            Command::Persist { .. } | Command::WriteState(_) | Command::Stop => {}
        }
    }

    fn read_committed(&self, read: CommittedRead) -> CommittedAnswer {
        let (mut found, mut bytes) = (Vec::new(), 0);
        for height in (read.from.0..).take(usize::from(read.count)).map(Height) {
            let Some(block) = self.log.read_committed(height)? else {
                break;
            };
            bytes += size_of_committed(&block);
            let mut bodies = Vec::new();
            for reference in block.block.refs.iter().filter(|_| read.bodies) {
                let Some(body) = self.log.read_body(&reference.hash)? else {
                    return Ok(found);
                };
                bytes += body.body.len() + HEADER_BYTES;
                bodies.push(body);
                if bytes > read.bytes_max && !found.is_empty() {
                    return Ok(found);
                }
            }
            if bytes > read.bytes_max && !found.is_empty() {
                break;
            }
            found.push((block, bodies));
        }
        Ok(found)
    }

    /// Cuts the log, never above what the state on disk makes superfluous (`ios` 20.6).
    fn cut_below(&mut self, height: Height) {
        if self.has_failed() {
            return;
        }
        if let Err(error) = self.state.begin_flush() {
            return self.fail(error.to_string());
        }
        let Some(flushed) = self.state.flushed() else {
            return;
        };
        match self.log.cut_below(height.min(flushed.next())) {
            Ok(cut) if cut.segments > 0 => {
                tracing::info!(segments = cut.segments, bytes = cut.bytes, "log cut");
                self.sync();
            }
            Ok(_) => {}
            Err(error) => self.fail(error.to_string()),
        }
    }

    /// Writes the waiting state changes when it is time.
    fn write_behind(&mut self, quiet: bool, stop: bool) {
        let Some(since) = self.pending_since else {
            return self.flush_when_due();
        };
        let age = since.elapsed();
        let due = stop
            || age >= STATE_WAIT_MAX
            || self.pending.len() >= STATE_OUTPUTS_MAX
            || (quiet && age >= STATE_WAIT_MIN);
        if !due {
            return;
        }
        // The state never gets ahead of the log on the disk, or power loss would leave a height without its block.
        self.sync();
        self.pending_since = None;
        let Some((changes, annihilated)) = self.pending.take() else {
            return;
        };
        if let Err(error) = self.state.write(&changes) {
            return self.fail(error.to_string());
        }
        add(&self.counters.state_writes, 1);
        add(
            &self.counters.outputs_written,
            (changes.created.len() + changes.spent.len()) as u64,
        );
        add(&self.counters.outputs_annihilated, annihilated);
        self.counters
            .state_height
            .store(changes.height.0, Ordering::Relaxed);
        self.flush_when_due();
    }

    fn flush_when_due(&mut self) {
        if !self.has_failed() && self.flush_began.elapsed() >= STATE_FLUSH_INTERVAL {
            self.flush_began = Instant::now();
            if let Err(error) = self.state.begin_flush() {
                self.fail(error.to_string());
            }
        }
    }

    /// Ends in good order: what was written becomes durable.
    fn finish(mut self) -> Option<String> {
        self.sync();
        if !self.has_failed() {
            if let Err(error) = self.log.sync() {
                self.fail(error.to_string());
            }
            if let Err(error) = self.state.flush() {
                self.fail(error.to_string());
            }
        }
        self.failure.get().cloned()
    }
}

impl Group {
    fn is_empty(&self) -> bool {
        self.persists.is_empty() && self.after.is_empty()
    }

    fn is_open(&self) -> bool {
        !self.stop && self.bytes < GROUP_BYTES_MAX && self.commands < PERSIST_QUEUE_MAX
    }
}

/// Bytes of a signed author header in an answer.
const HEADER_BYTES: usize = 183;

/// Bytes of a final block in an answer, rounded up.
fn size_of_committed(committed: &types::block::CommittedBlock) -> usize {
    let headers = 1 + committed.proof.descendants.len();
    headers * 364 + committed.block.refs.len() * 46 + committed.block.records.len() * 80 + 1200
}

/// Bytes of a record, roughly: bodies are what counts.
fn size_of_record(record: &LogRecord) -> usize {
    match record {
        LogRecord::AuthorBlock(block) => block.body.len() + 256,
        LogRecord::Proposal(propose) => propose.block.refs.len() * 46 + 512,
        LogRecord::Block(block) => block.refs.len() * 46 + 512,
        LogRecord::Committed(block) => size_of_committed(block),
        LogRecord::NewView(opening) => opening.view_changes.len() * 2048 + 512,
        LogRecord::Tip(_) => 1200,
        LogRecord::Vote(_) | LogRecord::Partial(_) | LogRecord::Promise(_) | LogRecord::Standing(_) => 512,
    }
}
