//! Signature verification: one worker per core for the process, queues per validator served round robin.
//!
//! Invariant: a batch holds one validator's jobs, and nothing is remembered of a transaction: validators that
//! share this process verify for themselves.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crypto::keys::Scheme;
use crypto::verify::{BatchVerifier, SignatureJob};
use crypto::{body, hash};
use replica::{Admission, CheckedBody};
use rpc::ServerHandle;
use types::block::AuthorHeader;
use types::client::{Answer, Refused};
use types::limits::{INTAKE_TXS_MAX, VERIFY_BATCH_MAX};
use types::transaction::TxView;
use types::{ConnectionId, Hash, Reject, Tag};

use crate::driver::inbox::Inbox;

/// Milliseconds after which a client may try again what found the queue full.
pub(crate) const BUSY_RETRY_MS: u16 = 100;
/// Connections remembered for a bad signature; beyond, the oldest are forgiven.
const SUSPECTS_MAX: usize = 4096;

/// One validator's part of the pool.
pub(crate) struct VerifyLane {
    genesis: Hash,
    inbox: Arc<Inbox>,
    clients: Mutex<Option<ServerHandle>>,
    /// Oldest submission may wait this long for a fuller batch.
    patience: Duration,
    queue: Mutex<Queue>,
    /// Signatures that entered an equation, repeated single checks of failed batches included.
    pub(crate) checks: AtomicU64,
    /// Transactions refused before they reached the replica.
    pub(crate) refused: AtomicU64,
}

#[derive(Default)]
struct Queue {
    bodies: VecDeque<BodyJob>,
    submissions: VecDeque<Submission>,
    /// Transactions in `submissions`.
    txs: usize,
    suspects: BTreeSet<ConnectionId>,
}

/// A body of a peer.
pub(crate) struct BodyJob {
    pub(crate) hash: Hash,
    pub(crate) header: Box<AuthorHeader>,
    pub(crate) bytes: Bytes,
}

struct Submission {
    connection: ConnectionId,
    first_tag: Tag,
    txs: Vec<Bytes>,
    since: Instant,
}

enum Work {
    Body(BodyJob),
    Submissions(Vec<Submission>),
}

/// The pool of a process.
pub(crate) struct VerifyPool {
    lanes: Mutex<Vec<Arc<VerifyLane>>>,
    turn: Mutex<usize>,
    wake: Condvar,
    stop: AtomicBool,
    workers: Mutex<Vec<JoinHandle<()>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl VerifyPool {
    /// Starts `workers` threads; `seed` keys the coefficients of the batch equation.
    pub(crate) fn start(workers: usize, seed: [u8; 32]) -> std::io::Result<Arc<Self>> {
        let pool = Arc::new(Self {
            lanes: Mutex::new(Vec::new()),
            turn: Mutex::new(0),
            wake: Condvar::new(),
            stop: AtomicBool::new(false),
            workers: Mutex::new(Vec::new()),
        });
        for worker in 0..workers {
            let shared = Arc::clone(&pool);
            let mut own_seed = seed;
            own_seed[0] ^= worker as u8;
            let thread = std::thread::Builder::new().name(format!("verify-{worker}"));
            lock(&pool.workers)
                .push(thread.spawn(move || shared.run(BatchVerifier::new(own_seed, Scheme::Ed25519)))?);
        }
        Ok(pool)
    }

    /// Adds a validator.
    pub(crate) fn lane(&self, genesis: Hash, inbox: Arc<Inbox>, patience: Duration) -> Arc<VerifyLane> {
        let lane = Arc::new(VerifyLane {
            genesis,
            inbox,
            clients: Mutex::new(None),
            patience,
            queue: Mutex::new(Queue::default()),
            checks: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        });
        lock(&self.lanes).push(Arc::clone(&lane));
        lane
    }

    /// Queues a client's transactions; false when the validator's queue is full.
    pub(crate) fn submit(
        &self,
        lane: &VerifyLane,
        connection: ConnectionId,
        first_tag: Tag,
        txs: Vec<Bytes>,
    ) -> bool {
        {
            let mut queue = lock(&lane.queue);
            if queue.txs + txs.len() > INTAKE_TXS_MAX {
                return false;
            }
            queue.txs += txs.len();
            queue.submissions.push_back(Submission {
                connection,
                first_tag,
                txs,
                since: Instant::now(),
            });
        }
        self.notify();
        true
    }

    /// Queues a body; the caller bounds how many are under way.
    pub(crate) fn check_body(&self, lane: &VerifyLane, job: BodyJob) {
        lock(&lane.queue).bodies.push_back(job);
        self.notify();
    }

    fn notify(&self) {
        // Taking the lock orders this with a worker that is about to sleep.
        drop(lock(&self.turn));
        self.wake.notify_one();
    }

    /// Ends the workers; what is queued is dropped.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(lock(&self.turn));
        self.wake.notify_all();
        for worker in std::mem::take(&mut *lock(&self.workers)) {
            if worker.join().is_err() {
                tracing::error!("a verification worker ended abnormally");
            }
        }
    }

    fn run(&self, mut verifier: BatchVerifier) {
        while let Some((lane, work)) = self.next() {
            match work {
                Work::Body(job) => lane.run_body(&mut verifier, job),
                Work::Submissions(submissions) => lane.run_submissions(&mut verifier, submissions),
            }
        }
    }

    /// Waits for work: the next lane in turn that has a body, a full batch, or one that waited long enough.
    fn next(&self) -> Option<(Arc<VerifyLane>, Work)> {
        let mut turn = lock(&self.turn);
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return None;
            }
            let lanes: Vec<_> = lock(&self.lanes).clone();
            let mut earliest: Option<Instant> = None;
            for step in 0..lanes.len() {
                let position = (*turn + step) % lanes.len();
                let lane = &lanes[position];
                match lane.take(Instant::now()) {
                    Ok(work) => {
                        *turn = position + 1;
                        return Some((Arc::clone(lane), work));
                    }
                    Err(due) => earliest = [earliest, due].into_iter().flatten().min(),
                }
            }
            let wait = earliest.map_or(Duration::from_secs(1), |due| {
                due.saturating_duration_since(Instant::now())
            });
            turn = self
                .wake
                .wait_timeout(turn, wait)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

/// Decodes a body and verifies its signatures; also says how many entered an equation. `None` when the bytes are no
/// body of that header.
pub(crate) fn check_body(
    verifier: &mut BatchVerifier,
    genesis: &Hash,
    header: &AuthorHeader,
    bytes: Bytes,
) -> (Option<CheckedBody>, u64) {
    let Ok(body) = body::decode(header, bytes) else {
        return (None, 0);
    };
    let jobs = body::signature_jobs(&body, genesis);
    let positions = body::job_positions(&body);
    let mut bad_signatures = Vec::new();
    let mut checks = 0;
    for (jobs, positions) in jobs
        .chunks(VERIFY_BATCH_MAX)
        .zip(positions.chunks(VERIFY_BATCH_MAX))
    {
        let verdict = verifier.verify(jobs);
        checks += verdict.checks + verdict.fallback_checks;
        bad_signatures.extend(
            verdict
                .bad
                .iter()
                .filter_map(|job| positions.get(*job as usize).copied()),
        );
    }
    bad_signatures.dedup();
    (Some(CheckedBody { body, bad_signatures }), checks)
}

impl VerifyLane {
    /// Where refused transactions are answered.
    pub(crate) fn set_clients(&self, clients: ServerHandle) {
        *lock(&self.clients) = Some(clients);
    }

    /// Work that is due, or when the oldest will be.
    fn take(&self, now: Instant) -> Result<Work, Option<Instant>> {
        let mut queue = lock(&self.queue);
        if let Some(job) = queue.bodies.pop_front() {
            return Ok(Work::Body(job));
        }
        let Some(oldest) = queue.submissions.front() else {
            return Err(None);
        };
        let due = oldest.since + self.patience;
        if queue.txs < VERIFY_BATCH_MAX && now < due {
            return Err(Some(due));
        }
        let mut batch = Vec::new();
        let mut txs = 0;
        while let Some(next) = queue.submissions.front() {
            // A sender of bad signatures is verified apart, so that it spoils nobody's batch.
            let apart = queue.suspects.contains(&next.connection);
            let fits = txs == 0 || (txs + next.txs.len() <= VERIFY_BATCH_MAX && !apart);
            if !fits {
                break;
            }
            let Some(next) = queue.submissions.pop_front() else {
                break;
            };
            txs += next.txs.len();
            batch.push(next);
            if apart {
                break;
            }
        }
        queue.txs -= txs;
        Ok(Work::Submissions(batch))
    }

    fn run_body(&self, verifier: &mut BatchVerifier, job: BodyJob) {
        let (checked, checks) = check_body(verifier, &self.genesis, &job.header, job.bytes);
        self.checks.fetch_add(checks, Ordering::Relaxed);
        self.inbox.body_checked(job.hash, checked);
    }

    fn verify(&self, verifier: &mut BatchVerifier, jobs: &[SignatureJob]) -> Vec<u32> {
        let verdict = verifier.verify(jobs);
        self.checks
            .fetch_add(verdict.checks + verdict.fallback_checks, Ordering::Relaxed);
        verdict.bad
    }

    /// Decodes and verifies submissions, answers the bad ones and admits the good ones.
    fn run_submissions(&self, verifier: &mut BatchVerifier, submissions: Vec<Submission>) {
        let mut admissions =
            Vec::with_capacity(submissions.iter().map(|submission| submission.txs.len()).sum());
        let mut refused: Vec<(ConnectionId, Refused)> = Vec::new();
        let mut jobs = Vec::with_capacity(admissions.capacity());
        let mut owner_of_job = Vec::with_capacity(admissions.capacity());
        for submission in submissions {
            let tags = submission.first_tag.0..;
            for (tag, bytes) in tags.map(Tag).zip(submission.txs) {
                match TxView::decode(&bytes) {
                    Ok(view) => {
                        let txid = hash::txid(view.body());
                        let before = jobs.len();
                        body::push_jobs(&txid, &view, &self.genesis, &mut jobs);
                        owner_of_job.extend((before..jobs.len()).map(|_| admissions.len()));
                        let connection = submission.connection;
                        admissions.push(Some(Admission {
                            connection,
                            tag,
                            txid,
                            bytes,
                        }));
                    }
                    Err(reason) => refused.push((submission.connection, Refused { tag, reason })),
                }
            }
        }
        for bad in self.verify_in_batches(verifier, &jobs) {
            let place = owner_of_job.get(bad).and_then(|owner| admissions.get_mut(*owner));
            if let Some(admission) = place.and_then(Option::take) {
                self.suspect(admission.connection);
                refused.push((
                    admission.connection,
                    Refused {
                        tag: admission.tag,
                        reason: Reject::BadSignature,
                    },
                ));
            }
        }
        let good: Vec<Admission> = admissions.into_iter().flatten().collect();
        if let Err(back) = self.inbox.admit(good) {
            refused.extend(back.into_iter().map(|admission| {
                (
                    admission.connection,
                    Refused {
                        tag: admission.tag,
                        reason: Reject::Busy,
                    },
                )
            }));
        }
        self.refuse(refused);
    }

    fn verify_in_batches(&self, verifier: &mut BatchVerifier, jobs: &[SignatureJob]) -> Vec<usize> {
        let mut bad = Vec::new();
        for (number, chunk) in jobs.chunks(VERIFY_BATCH_MAX).enumerate() {
            bad.extend(
                self.verify(verifier, chunk)
                    .into_iter()
                    .map(|job| number * VERIFY_BATCH_MAX + job as usize),
            );
        }
        bad
    }

    fn suspect(&self, connection: ConnectionId) {
        let mut queue = lock(&self.queue);
        queue.suspects.insert(connection);
        if queue.suspects.len() > SUSPECTS_MAX {
            queue.suspects.pop_first();
        }
    }

    /// Answers refused transactions, one frame for each connection.
    fn refuse(&self, mut refused: Vec<(ConnectionId, Refused)>) {
        if refused.is_empty() {
            return;
        }
        self.refused.fetch_add(refused.len() as u64, Ordering::Relaxed);
        let Some(clients) = lock(&self.clients).clone() else {
            return;
        };
        refused.sort_by_key(|(connection, refused)| (*connection, refused.tag));
        for of_connection in refused.chunk_by(|left, right| left.0 == right.0) {
            let Some((connection, _)) = of_connection.first() else {
                continue;
            };
            let answer = Answer::Reject(of_connection.iter().map(|(_, refused)| *refused).collect());
            // A client that is gone needs no answer.
            let _ = clients.send(*connection, &answer);
        }
    }
}
