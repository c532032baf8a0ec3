//! What waits for verification at one validator, and in which order it is served.
//!
//! Senders take turns: authors with their bodies, clients with their transactions. Final blocks of slashed authors are
//! checked again when nothing else is due, or once in a bounded number of pieces of work. A client whose signatures have
//! not proved themselves is verified apart from the others, so that it spoils nobody's batch; one that sent a bad
//! signature is verified one by one and in a small share of the workers' time, until it has proved itself again.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use replica::SignatureChecks;
use types::block::SignedAuthorHeader;
use types::limits::VERIFY_BATCH_MAX;
use types::message::AuthorBlock;
use types::{ConnectionId, Hash, Tag};

use crate::fair_queue::FairQueue;

/// Good transactions in a row after which a client's are verified together with others'. A failed batch costs about
/// four good ones, so whoever wants to spoil one has paid for as much before.
pub(super) const TRUST_AFTER_TXS: usize = VERIFY_BATCH_MAX;
/// Transactions of one turn of a client, unless it has trust and nobody else waits.
pub(super) const TURN_TXS_MAX: usize = 64;
/// Transactions of a suspect that may wait; beyond, `Busy`.
pub(super) const SUSPECT_TXS_MAX: usize = 1024;
/// While others wait, at most one piece of work in so many is a suspect's.
pub(super) const SUSPECT_EVERY: u32 = 8;
/// Bodies in a row while transactions of clients are due.
pub(super) const BODIES_RUN_MAX: u32 = 4;
/// While other work is due, one piece of work in so many checks a final block again.
pub(super) const RECHECK_EVERY: u32 = 16;
/// Clients whose standing is remembered; beyond, the oldest are newcomers again.
const STANDINGS_MAX: usize = 4096;

/// A body of a peer.
pub(crate) struct BodyJob {
    pub(crate) hash: Hash,
    pub(crate) header: Box<SignedAuthorHeader>,
    pub(crate) bytes: Bytes,
    pub(crate) checks: SignatureChecks,
}

/// A final author block whose signatures are all to be checked.
pub(crate) struct RecheckJob {
    pub(crate) hash: Hash,
    pub(crate) block: AuthorBlock,
}

/// Where verified transactions go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// To the author of their group.
    Author,
    /// To the slow lane.
    Slow,
}

/// Transactions of one client with successive tags.
pub(super) struct Submission {
    pub(super) connection: ConnectionId,
    pub(super) first_tag: Tag,
    pub(super) way: Way,
    pub(super) txs: VecDeque<Bytes>,
    since: Instant,
}

impl Submission {
    /// Cuts off up to `count` of the first transactions.
    fn cut(&mut self, count: usize) -> Self {
        let count = count.min(self.txs.len());
        let rest = self.txs.split_off(count);
        let txs = std::mem::replace(&mut self.txs, rest);
        let first_tag = self.first_tag;
        self.first_tag = Tag(first_tag.0.wrapping_add(count as u32));
        Self {
            connection: self.connection,
            first_tag,
            way: self.way,
            txs,
            since: self.since,
        }
    }
}

/// Work for one worker.
pub(super) enum Work {
    /// A body of a peer.
    Body(BodyJob),
    /// Transactions to be verified in batches.
    Batch(Vec<Submission>),
    /// Transactions of a suspect, to be verified one by one.
    Suspect(Submission),
    /// A final block.
    Recheck(RecheckJob),
}

/// What a client's signatures were like.
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    /// Good transactions since it connected or since its last bad one.
    good: usize,
    /// It sent a bad signature and has not made up for it.
    suspect: bool,
}

/// Queues of one validator.
pub(super) struct Intake {
    txs_max: usize,
    /// The oldest submission may wait this long for a fuller batch.
    patience: Duration,
    bodies: FairQueue<u16, BodyJob>,
    clients: FairQueue<ConnectionId, Submission>,
    suspects: FairQueue<ConnectionId, Submission>,
    rechecks: VecDeque<RecheckJob>,
    /// Waiting transactions of each client, zeros left out, and of all.
    waiting: BTreeMap<ConnectionId, usize>,
    txs: usize,
    /// Those of `txs` that are suspects'.
    suspect_txs: usize,
    standings: BTreeMap<ConnectionId, Standing>,
    bodies_run: u32,
    since_suspect: u32,
    since_recheck: u32,
}

impl Intake {
    /// Empty queues for about `txs_max` transactions.
    pub(super) fn new(txs_max: usize, patience: Duration) -> Self {
        Self {
            txs_max,
            patience,
            bodies: FairQueue::default(),
            clients: FairQueue::default(),
            suspects: FairQueue::default(),
            rechecks: VecDeque::new(),
            waiting: BTreeMap::new(),
            txs: 0,
            suspect_txs: 0,
            standings: BTreeMap::new(),
            bodies_run: 0,
            since_suspect: 0,
            since_recheck: 0,
        }
    }

    /// Adds a body; the caller bounds how many are under way.
    pub(super) fn push_body(&mut self, job: BodyJob) {
        self.bodies.push(job.header.header.group, job);
    }

    /// Adds a final block; the caller bounds how many are under way.
    pub(super) fn push_recheck(&mut self, job: RecheckJob) {
        self.rechecks.push_back(job);
    }

    /// Adds a client's transactions; false when it has its share waiting already.
    ///
    /// A client may take as much room as it leaves free, so there is always some for another one. An empty queue
    /// takes any submission.
    pub(super) fn push(
        &mut self,
        connection: ConnectionId,
        first_tag: Tag,
        way: Way,
        txs: Vec<Bytes>,
        now: Instant,
    ) -> bool {
        let own = self.waiting.get(&connection).copied().unwrap_or(0) + txs.len();
        let free = self.txs_max.saturating_sub(self.txs);
        let suspect = self.standing(connection).suspect;
        let fits = own <= free && (!suspect || own <= SUSPECT_TXS_MAX);
        let alone = self.txs == 0 && !suspect;
        if !fits && !alone {
            return false;
        }
        self.txs += txs.len();
        self.waiting.insert(connection, own);
        let submission = Submission {
            connection,
            first_tag,
            way,
            txs: txs.into(),
            since: now,
        };
        if suspect {
            self.suspect_txs += submission.txs.len();
            self.suspects.push(connection, submission);
        } else {
            self.clients.push(connection, submission);
        }
        true
    }

    /// Work that is due, or when the oldest will be.
    pub(super) fn take(&mut self, now: Instant) -> Result<Work, Option<Instant>> {
        if self.rechecks.is_empty() || self.since_recheck + 1 < RECHECK_EVERY {
            match self.take_urgent(now) {
                Ok(work) => {
                    self.since_recheck = (self.since_recheck + 1).min(RECHECK_EVERY);
                    return Ok(work);
                }
                Err(due) if self.rechecks.is_empty() => return Err(due),
                Err(_) => {}
            }
        }
        self.since_recheck = 0;
        self.rechecks.pop_front().map(Work::Recheck).ok_or(None)
    }

    /// Work for authors and clients.
    fn take_urgent(&mut self, now: Instant) -> Result<Work, Option<Instant>> {
        let due = self.clients.oldest().map(|submission| submission.since).min();
        let due = due.map(|since| since + self.patience);
        let clients_due =
            due.is_some_and(|due| now >= due || self.txs - self.suspect_txs >= VERIFY_BATCH_MAX);
        let others = clients_due || !self.bodies.is_empty();
        if !self.suspects.is_empty() && (!others || self.since_suspect + 1 >= SUSPECT_EVERY) {
            self.since_suspect = 0;
            return self.take_suspect().ok_or(due);
        }
        let yields = clients_due && self.bodies_run >= BODIES_RUN_MAX;
        if !self.bodies.is_empty() && !yields {
            self.bodies_run += 1;
            self.since_suspect += 1;
            return self.bodies.pop().map(|(_, job)| Work::Body(job)).ok_or(due);
        }
        if !clients_due {
            return Err(due);
        }
        self.bodies_run = 0;
        self.since_suspect += 1;
        Ok(Work::Batch(self.take_batch()))
    }

    fn take_suspect(&mut self) -> Option<Work> {
        let (connection, mut submission) = self.suspects.pop()?;
        let piece = submission.cut(TURN_TXS_MAX);
        if !submission.txs.is_empty() {
            self.suspects.push_front(connection, submission);
        }
        self.suspect_txs -= piece.txs.len();
        self.count_out(&piece);
        Some(Work::Suspect(piece))
    }

    /// A full batch of clients with trust in turn, or a small one of a client without.
    fn take_batch(&mut self) -> Vec<Submission> {
        let mut batch = Vec::new();
        let mut room = VERIFY_BATCH_MAX;
        while room > 0
            && let Some(connection) = self.clients.next_sender()
        {
            let trusted = self.standing(connection).good >= TRUST_AFTER_TXS;
            if !trusted && !batch.is_empty() {
                break;
            }
            let Some((_, mut submission)) = self.clients.pop() else {
                break;
            };
            let alone = self.clients.is_empty();
            let piece = submission.cut(if trusted && alone {
                room
            } else {
                room.min(TURN_TXS_MAX)
            });
            if !submission.txs.is_empty() {
                self.clients.push_front(connection, submission);
            }
            self.count_out(&piece);
            room -= piece.txs.len().min(room);
            batch.push(piece);
            if !trusted {
                break;
            }
        }
        batch
    }

    fn count_out(&mut self, piece: &Submission) {
        let count = piece.txs.len();
        self.txs = self.txs.saturating_sub(count);
        if let Some(waiting) = self.waiting.get_mut(&piece.connection) {
            *waiting = waiting.saturating_sub(count);
            if *waiting == 0 {
                self.waiting.remove(&piece.connection);
            }
        }
    }

    fn standing(&self, connection: ConnectionId) -> Standing {
        self.standings.get(&connection).copied().unwrap_or_default()
    }

    /// Remembers how many transactions of a client were good, and whether one was bad.
    pub(super) fn judge(&mut self, connection: ConnectionId, good: usize, bad: bool) {
        let mut standing = self.standing(connection);
        if bad {
            standing = Standing {
                good: 0,
                suspect: true,
            };
            for submission in self.clients.remove(connection) {
                self.suspect_txs += submission.txs.len();
                self.suspects.push(connection, submission);
            }
        } else {
            standing.good = standing.good.saturating_add(good);
            if standing.suspect && standing.good >= TRUST_AFTER_TXS {
                standing.suspect = false;
                for submission in self.suspects.remove(connection) {
                    self.suspect_txs -= submission.txs.len();
                    self.clients.push(connection, submission);
                }
            }
        }
        self.standings.insert(connection, standing);
        if self.standings.len() > STANDINGS_MAX {
            self.standings.pop_first();
        }
    }

    /// Forgets what a client that has gone was like; what waits of it is verified all the same.
    pub(super) fn forget(&mut self, connection: ConnectionId) {
        self.standings.remove(&connection);
    }
}

#[cfg(test)]
mod tests;
