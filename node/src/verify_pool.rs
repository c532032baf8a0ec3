//! Signature verification: one worker per core for the process, queues per validator served round robin.
//!
//! A worker that panics fails the validators: a pool with fewer workers would only be slow, for no reason to be seen.
//!
//! Invariant: a batch holds one validator's jobs, and nothing is remembered of a transaction: validators that
//! share this process verify for themselves.

mod intake;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crypto::keys::Scheme;
use crypto::verify::{BatchVerifier, SignatureJob, verify_one};
use crypto::{body, hash};
use replica::Admission;
use replica::body_check::{check_body, recheck_body};
use rpc::ServerHandle;
use types::client::{Answer, Refused};
use types::limits::VERIFY_BATCH_MAX;
use types::message::AuthorBlock;
use types::transaction::TxView;
use types::{ConnectionId, Hash, Reject, Tag};

use crate::driver::inbox::Inbox;
pub(crate) use intake::{BodyJob, RecheckJob, Way};
use intake::{Intake, Submission, Work};

/// Milliseconds after which a client may try again what found the queue full.
pub(crate) const BUSY_RETRY_MS: u16 = 100;

/// Signatures that entered an equation, repeated single checks of failed batches included, by what asked for them.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    /// Transactions of clients.
    pub(crate) intake: AtomicU64,
    /// Author blocks of other members.
    pub(crate) sampled: AtomicU64,
    /// Final blocks of slashed authors.
    pub(crate) recheck: AtomicU64,
}

/// One validator's part of the pool.
pub(crate) struct VerifyLane {
    genesis: Hash,
    inbox: Arc<Inbox>,
    clients: Mutex<Option<ServerHandle>>,
    queue: Mutex<Intake>,
    pub(crate) checks: Checks,
    /// Transactions refused before they reached the replica.
    pub(crate) refused: AtomicU64,
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
            let verifier = BatchVerifier::new(own_seed, Scheme::Ed25519);
            lock(&pool.workers).push(thread.spawn(move || shared.guard(|| shared.run(verifier)))?);
        }
        Ok(pool)
    }

    /// Runs a worker; its panic is our bug and stops every validator that relies on it.
    fn guard(&self, worker: impl FnOnce()) {
        if catch_unwind(AssertUnwindSafe(worker)).is_err() {
            for lane in lock(&self.lanes).iter() {
                lane.inbox.fail("a verification worker panicked".into());
            }
        }
    }

    /// Adds a validator: about `txs_max` transactions of clients wait, at most `patience` for a fuller batch.
    pub(crate) fn lane(
        &self,
        genesis: Hash,
        inbox: Arc<Inbox>,
        txs_max: usize,
        patience: Duration,
    ) -> Arc<VerifyLane> {
        let lane = Arc::new(VerifyLane {
            genesis,
            inbox,
            clients: Mutex::new(None),
            queue: Mutex::new(Intake::new(txs_max, patience)),
            checks: Checks::default(),
            refused: AtomicU64::new(0),
        });
        lock(&self.lanes).push(Arc::clone(&lane));
        lane
    }

    /// Queues a client's transactions; false when its share of the validator's queue is full.
    pub(crate) fn submit(
        &self,
        lane: &VerifyLane,
        connection: ConnectionId,
        first_tag: Tag,
        way: Way,
        txs: Vec<Bytes>,
    ) -> bool {
        let taken = lock(&lane.queue).push(connection, first_tag, way, txs, Instant::now());
        if taken {
            self.notify();
        }
        taken
    }

    /// Queues a body; the caller bounds how many are under way.
    pub(crate) fn check_body(&self, lane: &VerifyLane, job: BodyJob) {
        lock(&lane.queue).push_body(job);
        self.notify();
    }

    /// Queues a final block; the caller bounds how many are under way.
    pub(crate) fn recheck(&self, lane: &VerifyLane, job: RecheckJob) {
        lock(&lane.queue).push_recheck(job);
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
                Work::Recheck(job) => lane.run_recheck(&mut verifier, &job),
                Work::Batch(submissions) => {
                    let verify = |jobs: &[SignatureJob]| lane.verify_in_batches(&mut verifier, jobs);
                    lane.run_submissions(submissions, verify);
                }
                Work::Suspect(submission) => {
                    lane.run_submissions(vec![submission], |jobs| lane.verify_one_by_one(jobs));
                }
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
                match lock(&lane.queue).take(Instant::now()) {
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

impl VerifyLane {
    /// Where refused transactions are answered.
    pub(crate) fn set_clients(&self, clients: ServerHandle) {
        *lock(&self.clients) = Some(clients);
    }

    /// Forgets a client that has gone.
    pub(crate) fn forget(&self, connection: ConnectionId) {
        lock(&self.queue).forget(connection);
    }

    fn run_body(&self, verifier: &mut BatchVerifier, job: BodyJob) {
        let (verdict, checks) = check_body(
            verifier,
            &self.genesis,
            &job.header,
            job.bytes,
            &job.checks,
            VERIFY_BATCH_MAX,
        );
        self.checks.sampled.fetch_add(checks, Ordering::Relaxed);
        self.inbox.body_checked(job.hash, verdict);
    }

    fn run_recheck(&self, verifier: &mut BatchVerifier, job: &RecheckJob) {
        let AuthorBlock { header, body } = &job.block;
        let (forged, checks) = recheck_body(verifier, &self.genesis, header, body, VERIFY_BATCH_MAX);
        self.checks.recheck.fetch_add(checks, Ordering::Relaxed);
        self.inbox.rechecked(job.hash, forged);
    }

    /// Decodes and verifies submissions, answers the bad ones and admits the good ones. `verify` gives the positions
    /// of bad jobs.
    fn run_submissions(
        &self,
        submissions: Vec<Submission>,
        verify: impl FnOnce(&[SignatureJob]) -> Vec<usize>,
    ) {
        let mut admissions =
            Vec::with_capacity(submissions.iter().map(|submission| submission.txs.len()).sum());
        let mut refused: Vec<(ConnectionId, Refused)> = Vec::new();
        let mut ways = Vec::with_capacity(admissions.capacity());
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
                        ways.push(submission.way);
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
        let mut bad = BTreeSet::new();
        for job in verify(&jobs) {
            let place = owner_of_job.get(job).and_then(|owner| admissions.get_mut(*owner));
            if let Some(Admission { connection, tag, .. }) = place.and_then(Option::take) {
                bad.insert(connection);
                let reason = Reject::BadSignature;
                refused.push((connection, Refused { tag, reason }));
            }
        }
        let (mut good, mut slow) = (Vec::with_capacity(admissions.len()), Vec::new());
        for (way, admission) in ways.into_iter().zip(admissions) {
            match way {
                Way::Author => good.extend(admission),
                Way::Slow => slow.extend(admission),
            }
        }
        self.judge(&good, &slow, bad);
        let no_room = [self.inbox.admit(good), self.inbox.admit_slow(slow)];
        refused.extend(no_room.into_iter().flatten().map(|admission| {
            let (tag, reason) = (admission.tag, Reject::Busy);
            (admission.connection, Refused { tag, reason })
        }));
        self.refuse(refused);
    }

    /// Positions of the bad jobs.
    fn verify_in_batches(&self, verifier: &mut BatchVerifier, jobs: &[SignatureJob]) -> Vec<usize> {
        let mut bad = Vec::new();
        for (number, chunk) in jobs.chunks(VERIFY_BATCH_MAX).enumerate() {
            let verdict = verifier.verify(chunk);
            let checks = verdict.checks + verdict.fallback_checks;
            self.checks.intake.fetch_add(checks, Ordering::Relaxed);
            let first = number * VERIFY_BATCH_MAX;
            bad.extend(verdict.bad.into_iter().map(|job| first + job as usize));
        }
        bad
    }

    /// The same without a batch, which a bad job would only make dearer. The rule is the same (`ios` 1.5).
    fn verify_one_by_one(&self, jobs: &[SignatureJob]) -> Vec<usize> {
        self.checks.intake.fetch_add(jobs.len() as u64, Ordering::Relaxed);
        let is_bad = |job: &SignatureJob| !verify_one(&job.key, &job.message, &job.signature);
        let jobs = jobs.iter().enumerate();
        jobs.filter_map(|(position, job)| is_bad(job).then_some(position))
            .collect()
    }

    /// Remembers of each client whether its signatures were good.
    fn judge(&self, good: &[Admission], slow: &[Admission], bad: BTreeSet<ConnectionId>) {
        let mut queue = lock(&self.queue);
        for lane in [good, slow] {
            for of_connection in lane.chunk_by(|left, right| left.connection == right.connection) {
                if let Some(first) = of_connection.first() {
                    queue.judge(first.connection, of_connection.len(), false);
                }
            }
        }
        // Last, so that the good ones beside a bad one count for nothing.
        for connection in bad {
            queue.judge(connection, 0, true);
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

#[cfg(test)]
mod tests;
