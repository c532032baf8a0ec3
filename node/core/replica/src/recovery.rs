//! Restart from the state store and the block log (`ios` 20.6).

use std::collections::BTreeMap;

use crypto::hash;
use crypto::keys::SecretKey;
use ledger::{Executor, Ledger, StateChanges};
use types::block::{CommittedBlock, SignedAuthorHeader};
use types::evidence::TxFault;
use types::message::AuthorBlock;
use types::record::{LogRecord, Standing};
use types::{Hash, Height, Sequence, Time};

use crate::archive::Archive;
use crate::chain::Waiting;
use crate::event::{BodyVerdict, Effect, HaltReason, SignatureChecks};
use crate::league::League;
use crate::replica::{Replica, ReplicaConfig};
use crate::standing::State;

/// Why a replica cannot be brought back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryError {
    /// The state store holds a height that the log does not have: rebuild the state from genesis and the log.
    #[error("the state is of height {state}, the block log ends at height {log}")]
    StateAhead {
        /// Height of the state.
        state: Height,
        /// Highest final height of the log.
        log: Height,
    },
    /// The state's digest is not the one of the log's block.
    #[error("the state of height {0} does not have the digest that its final block certifies")]
    StateDigest(Height),
    /// A gap in the final blocks of the log.
    #[error("the block log has final block {found} after {last}")]
    Gap {
        /// Highest height so far.
        last: Height,
        /// Height found.
        found: Height,
    },
    /// A final block of the log cannot be executed.
    #[error(transparent)]
    Halt(#[from] HaltReason),
}

/// Checks the body of an author block of the log, as `Effect::CheckBody` does.
pub type CheckBody<'a> = dyn FnMut(&SignedAuthorHeader, &bytes::Bytes, &SignatureChecks) -> BodyVerdict + 'a;

/// A replica on its way back: takes the records of the log in order.
#[derive(Debug)]
pub struct Recovery {
    replica: Replica,
    bodies: BTreeMap<Hash, AuthorBlock>,
    /// The leagues after the highest final block read that the state holds, and the final author blocks of seats.
    league: League,
    archive: Archive,
    /// Height of the highest final block read.
    height: Height,
    state: Height,
}

impl Recovery {
    /// Starts with the ledger at the height of the state store (or at genesis).
    #[must_use]
    pub fn new(config: ReplicaConfig, key: SecretKey, ledger: Ledger, now: Time) -> Self {
        let state = ledger.final_height();
        let replica = Replica::closed(config, key, ledger, now);
        let league = replica.chain.final_league().clone();
        Self {
            replica,
            bodies: BTreeMap::new(),
            league,
            archive: Archive::default(),
            height: Height(0),
            state,
        }
    }

    /// Takes one record.
    ///
    /// # Errors
    /// When the log and the state do not fit together.
    pub fn replay(
        &mut self,
        now: Time,
        record: LogRecord,
        check: &mut CheckBody<'_>,
        executor: &dyn Executor,
    ) -> Result<(), RecoveryError> {
        self.replica.pbft.replay(&record);
        match record {
            LogRecord::AuthorBlock(block) => {
                self.bodies
                    .insert(hash::author_header_hash(&block.header.header), block);
            }
            LogRecord::Committed(committed) => self.replay_committed(now, *committed, check, executor)?,
            LogRecord::Standing(standing) => self.replica.set_standing(match standing {
                Standing::Voter => State::Voter,
                Standing::Barred => State::Barred,
            }),
            _ => {}
        }
        Ok(())
    }

    fn replay_committed(
        &mut self,
        now: Time,
        committed: CommittedBlock,
        check: &mut CheckBody<'_>,
        executor: &dyn Executor,
    ) -> Result<(), RecoveryError> {
        let CommittedBlock { block, proof } = committed;
        let header = &block.header;
        if header.height <= self.height {
            return Ok(());
        }
        if header.height != self.height.next() {
            return Err(RecoveryError::Gap {
                last: self.height,
                found: header.height,
            });
        }
        self.height = header.height;
        let hash = hash::final_header_hash(header);
        if header.height > self.state {
            self.replica
                .chain
                .waiting
                .push_back(Waiting { hash, block, proof });
            return self.catch_up(now, check, executor);
        }
        for reference in &block.refs {
            self.bodies.remove(&reference.hash);
        }
        self.archive.take(&self.league, &block);
        let policy = &self.replica.config.epoch.policy;
        self.league = self.league.after(&block, &self.replica.committee, policy);
        if header.height == self.state {
            if self.replica.chain.ledger.digest() != header.state_digest {
                return Err(RecoveryError::StateDigest(header.height));
            }
            self.replica.chain.start_at(
                hash,
                header.timestamp,
                self.league.clone(),
                std::mem::take(&mut self.archive),
            );
            self.replica.remembered_from = header.height;
        }
        Ok(())
    }

    /// Net changes of the final heights executed so far, in order: take them after each record, so that a long replay
    /// does not keep all of them in memory.
    pub fn take_state_changes(&mut self) -> Vec<StateChanges> {
        self.replica.take_state_changes()
    }

    /// Executes final blocks above the state whose bodies are in the log.
    fn catch_up(
        &mut self,
        now: Time,
        check: &mut CheckBody<'_>,
        executor: &dyn Executor,
    ) -> Result<(), RecoveryError> {
        loop {
            let Some(waiting) = self.replica.chain.waiting.front() else {
                return Ok(());
            };
            let hashes: Vec<Hash> = waiting
                .block
                .refs
                .iter()
                .map(|reference| reference.hash)
                .collect();
            for hash in hashes {
                if let Some(block) = self.bodies.remove(&hash) {
                    self.replica.restore_body(now, hash, block, true, check);
                }
            }
            if !self.replica.finalize_waiting(now, executor) {
                return self
                    .replica
                    .halt_reason()
                    .map_or(Ok(()), |reason| Err(reason.into()));
            }
        }
    }

    /// Ends the replay; `last` is the highest sequence number of the log.
    ///
    /// # Errors
    /// When the log ends below the state.
    pub fn finish(
        mut self,
        now: Time,
        last: Sequence,
        check: &mut CheckBody<'_>,
        executor: &dyn Executor,
    ) -> Result<Replica, RecoveryError> {
        if self.height < self.state {
            return Err(RecoveryError::StateAhead {
                state: self.state,
                log: self.height,
            });
        }
        self.catch_up(now, check, executor)?;
        let league = self.replica.chain.final_league().clone();
        for (hash, block) in std::mem::take(&mut self.bodies) {
            let header = &block.header.header;
            let index = league.groups().index(header.group);
            if index.is_some_and(|index| header.seq >= league.cursor(index).next) {
                self.replica.restore_body(now, hash, block, false, check);
            }
        }
        self.replica.reopen(now, last, executor);
        Ok(self.replica)
    }
}

impl Replica {
    fn restore_body(
        &mut self,
        now: Time,
        hash: Hash,
        block: AuthorBlock,
        is_final: bool,
        check: &mut CheckBody<'_>,
    ) {
        let AuthorBlock { header, body } = block;
        let Some(index) = self.groups().index(header.header.group) else {
            return;
        };
        let seated = self.groups().is_seat(index);
        let author = self.committee.member_of(header.header.author).unwrap_or_default();
        // What is final was judged; what is not gets the same sample as before the restart.
        let checks = if is_final && seated {
            SignatureChecks::Skipped
        } else {
            self.checks_of(index, author)
        };
        let BodyVerdict::Checked(checked) = check(&header, &body, &checks) else {
            return;
        };
        let forged = checked.bad_signatures.first().copied().filter(|_| seated);
        self.pool.insert(now, index, hash, header, true);
        let height = self.chain.final_height();
        self.pool.set_checked(now, height, &hash, checked);
        if let Some(position) = forged {
            self.accuse_of_transaction(&hash, position, TxFault::Signature);
        }
    }

    fn halt_reason(&self) -> Option<HaltReason> {
        self.effects().find_map(|effect| match effect {
            Effect::Halt(reason) => Some(reason.clone()),
            _ => None,
        })
    }

    /// Goes on after a replay: timers, promises, blocks of the current view, and a reset of the author's run.
    fn reopen(&mut self, now: Time, last: Sequence, executor: &dyn Executor) {
        self.set_last_sequence(last);
        if self.config.disk_lost {
            self.bar_whatever_the_log_says();
        }
        self.pbft.resume(now);
        let league = self.chain.final_league().clone();
        for index in league.groups().all() {
            let next = league.cursor(index).next;
            self.pool.forget_below(index, next, self.chain.final_height());
        }
        self.follow_role(now);
        self.request_reset(now);
        // What was being checked again when this validator stopped; what is claimed already is passed over.
        self.banned()
            .into_iter()
            .for_each(|author| self.queue_rechecks(author));
        self.handle_timeout(now, executor);
    }
}
