//! Sends every transaction at its time: one dedicated thread, sleeping to absolute times, taking all that is due.
//!
//! Invariant: a transaction leaves never before its intended time and never before its parent; what cannot leave
//! waits in the queue of its own connection, so that one slow node does not hold back the others.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use types::limits::SUBMIT_TXS_MAX;

use crate::accounting::Sending;
use crate::config::Overload;
use crate::recording::Recording;

mod clock;
#[cfg(test)]
mod tests;

pub use clock::{Clock, RunClock};

/// Bytes of transactions in one frame: many fit a large write, none waits long behind another.
const FRAME_BYTES: usize = 64 << 10;
/// Pause before a connection without room is tried again.
const RETRY_NS: u64 = 500_000;
/// Longest sleep, so that a signal is noticed.
const SLEEP_MAX_NS: u64 = 20_000_000;

/// Where a transaction goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Connection, by position.
    pub connection: u32,
    /// Transaction that must have left before; `u32::MAX` = none.
    pub parent: u32,
}

/// No parent.
pub const NO_PARENT: u32 = u32::MAX;

/// Why a frame was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No room now, or the node is away and is dialled.
    Full,
    /// The connection has ended.
    Closed,
}

/// Transactions of one submission.
#[derive(Clone, Copy, Debug)]
pub struct Submission<'a> {
    /// Which.
    pub indices: &'a [u32],
    /// Their bytes.
    pub txs: &'a [&'a [u8]],
}

/// Where frames go.
pub trait Sink {
    /// Hands over a submission without waiting. `mark(true)` comes before the hand-over, for an answer may come at
    /// once; `mark(false)` takes it back after a refusal. Without a hand-over it is not called.
    ///
    /// # Errors
    /// `Full` or `Closed`; nothing was taken.
    fn try_send(
        &self,
        connection: usize,
        submission: Submission<'_>,
        mark: &dyn Fn(bool),
    ) -> Result<(), Refusal>;
}

/// What is sent when.
pub trait Source {
    /// Intended times, never falling, nanoseconds from the start of the run.
    fn times(&self) -> &[u64];
    /// Where a transaction goes at the moment.
    fn route(&self, index: u32) -> Route;
    /// Its bytes.
    fn bytes(&self, index: u32) -> &[u8];
    /// Rises whenever a route changes: what waits is then routed anew.
    fn version(&self) -> u64 {
        0
    }
}

/// How it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Connections.
    pub connections: usize,
    /// Transactions that are waited for.
    pub batch: usize,
    /// Shortest sleep, nanoseconds.
    pub quantum_ns: u64,
    /// Most in flight.
    pub in_flight_max: u64,
    /// When sends fall behind.
    pub overload: Overload,
    /// What is later than this is shed, nanoseconds.
    pub deadline_ns: u64,
}

/// How it went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pacing {
    /// Transactions whose time had come: the first ones of the schedule.
    pub due: u32,
    /// Times that the in-flight limit held something back.
    pub cap_hits: u64,
    /// Times that a connection had no room.
    pub back_pressure: u64,
    /// Connections that had ended when something was to leave on them.
    pub closed: u64,
    /// `--overload stop` ended the run.
    pub stopped: bool,
}

/// Sends the whole schedule, or until `stop` is set; what is due and has not left then is shed.
pub fn pace(
    source: &dyn Source,
    sink: &dyn Sink,
    clock: &dyn Clock,
    recording: &Recording,
    rules: &Rules,
    stop: &AtomicBool,
) -> Pacing {
    let mut pacer = Pacer {
        source,
        sink,
        clock,
        recording,
        rules,
        queues: vec![VecDeque::new(); rules.connections],
        closed: vec![false; rules.connections],
        waiting: 0,
        version: source.version(),
        ended: false,
        pacing: Pacing::default(),
    };
    pacer.run(stop);
    pacer.pacing
}

struct Pacer<'a> {
    source: &'a dyn Source,
    sink: &'a dyn Sink,
    clock: &'a dyn Clock,
    recording: &'a Recording,
    rules: &'a Rules,
    /// Due and not sent, by connection, ascending.
    queues: Vec<VecDeque<u32>>,
    closed: Vec<bool>,
    /// Sum of the lengths of `queues`.
    waiting: usize,
    /// Of the routes by which the queues were filled.
    version: u64,
    /// The whole schedule is due: nothing more comes that a batch could wait for.
    ended: bool,
    pacing: Pacing,
}

/// What a look at the front of a queue says.
enum Front {
    /// This many can leave in one frame.
    Ready(usize),
    /// Nothing can leave now.
    Wait,
    /// The first one will never leave.
    Doomed,
}

impl Pacer<'_> {
    fn run(&mut self, stop: &AtomicBool) {
        let times = self.source.times();
        let mut next = 0_usize;
        loop {
            let now = self.clock.now_ns();
            let due = times
                .get(next..)
                .unwrap_or_default()
                .partition_point(|time| *time <= now);
            for index in next..next + due {
                self.admit(index as u32);
            }
            next += due;
            self.recording.add_due(due as u64);
            self.pacing.due = next as u32;
            self.ended = next == times.len();
            if stop.load(Ordering::Relaxed) || self.pacing.stopped {
                self.shed_all();
                return;
            }
            self.follow_routes();
            let blocked = self.flush();
            if self.pacing.stopped {
                continue;
            }
            if self.ended && self.waiting == 0 {
                return;
            }
            let mut wake = times.get(next).copied().unwrap_or(u64::MAX);
            if blocked {
                wake = wake.min(now + RETRY_NS);
            }
            self.clock
                .sleep_until(wake.max(now + self.rules.quantum_ns).min(now + SLEEP_MAX_NS));
        }
    }

    fn admit(&mut self, index: u32) {
        let connection = self.source.route(index).connection as usize;
        match self.queues.get_mut(connection) {
            Some(queue) => {
                queue.push_back(index);
                self.waiting += 1;
            }
            None => self.recording.set_shed(index),
        }
    }

    /// Routes everything that waits anew, in its order, when a route has changed.
    fn follow_routes(&mut self) {
        let version = self.source.version();
        if version == self.version {
            return;
        }
        self.version = version;
        let mut waiting: Vec<u32> = self.queues.iter_mut().flat_map(|queue| queue.drain(..)).collect();
        waiting.sort_unstable();
        self.waiting = 0;
        for index in waiting {
            self.admit(index);
        }
    }

    /// Sends what can leave; true when something due has to wait for room or for its parent.
    fn flush(&mut self) -> bool {
        let mut blocked = false;
        for connection in 0..self.queues.len() {
            while !self.queues[connection].is_empty() {
                match self.front(connection) {
                    Front::Doomed => self.shed_front(connection),
                    Front::Wait => {
                        blocked = true;
                        break;
                    }
                    Front::Ready(count) => {
                        if !self.ended && self.queues[connection].len() < self.rules.batch {
                            break;
                        }
                        if !self.send(connection, count) {
                            blocked = true;
                            break;
                        }
                    }
                }
                if self.pacing.stopped {
                    return true;
                }
            }
        }
        blocked
    }

    /// How many from the front of a queue fit one frame: parents have left or go with them.
    fn front(&self, connection: usize) -> Front {
        let queue = &self.queues[connection];
        let now = self.clock.now_ns();
        let (mut count, mut bytes) = (0, 0);
        for index in queue.iter().take(SUBMIT_TXS_MAX) {
            let route = self.source.route(*index);
            let len = self.source.bytes(*index).len() + 2;
            if count > 0 && bytes + len > FRAME_BYTES {
                break;
            }
            let intended = self.source.times().get(*index as usize).copied().unwrap_or(0);
            let is_late = now > intended.saturating_add(self.rules.deadline_ns);
            let parent = match route.parent {
                NO_PARENT => Some(Sending::At(0)),
                parent => self.recording.sending(parent),
            };
            let goes_along = || queue.iter().take(count).any(|earlier| *earlier == route.parent);
            match parent {
                _ if is_late || self.closed[connection] => {
                    return if count == 0 {
                        Front::Doomed
                    } else {
                        Front::Ready(count)
                    };
                }
                Some(Sending::Shed) => {
                    return if count == 0 {
                        Front::Doomed
                    } else {
                        Front::Ready(count)
                    };
                }
                None if !goes_along() => break,
                Some(Sending::At(_)) | None => {}
            }
            count += 1;
            bytes += len;
        }
        if count == 0 {
            Front::Wait
        } else {
            Front::Ready(count)
        }
    }

    /// Sends `count` from the front of a queue in one frame; false when they stay.
    fn send(&mut self, connection: usize, count: usize) -> bool {
        let room = self
            .rules
            .in_flight_max
            .saturating_sub(self.recording.in_flight());
        let count = count.min(usize::try_from(room).unwrap_or(usize::MAX));
        if count == 0 {
            self.pacing.cap_hits += 1;
            return self.give_way(connection);
        }
        let indices: Vec<u32> = self.queues[connection].iter().take(count).copied().collect();
        let txs: Vec<&[u8]> = indices.iter().map(|index| self.source.bytes(*index)).collect();
        let submission = Submission {
            indices: &indices,
            txs: &txs,
        };
        let now = self.clock.now_ns();
        let mark = |is_sent: bool| {
            for index in &indices {
                if is_sent {
                    self.recording.set_sent(*index, now);
                } else {
                    self.recording.revoke_sent(*index);
                }
            }
        };
        match self.sink.try_send(connection, submission, &mark) {
            Ok(()) => {
                self.queues[connection].drain(..count);
                self.waiting -= count;
                true
            }
            Err(refusal) => {
                if refusal == Refusal::Closed {
                    self.closed[connection] = true;
                    self.pacing.closed += 1;
                    return true;
                }
                self.pacing.back_pressure += 1;
                self.give_way(connection)
            }
        }
    }

    /// What `--overload` says about something that cannot leave now; false when it stays.
    fn give_way(&mut self, connection: usize) -> bool {
        match self.rules.overload {
            Overload::Queue => false,
            Overload::Shed => {
                self.shed_front(connection);
                true
            }
            Overload::Stop => {
                self.pacing.stopped = true;
                true
            }
        }
    }

    fn shed_front(&mut self, connection: usize) {
        if let Some(index) = self.queues[connection].pop_front() {
            self.recording.set_shed(index);
            self.waiting -= 1;
        }
    }

    fn shed_all(&mut self) {
        for connection in 0..self.queues.len() {
            while !self.queues[connection].is_empty() {
                self.shed_front(connection);
            }
        }
    }
}
