//! Restart from the state store and the block log (`ios` 20.6).

use std::collections::BTreeMap;

use crypto::hash;
use crypto::keys::SecretKey;
use ledger::{Executor, Ledger, StateChanges};
use types::block::{AuthorHeader, CommittedBlock};
use types::block_record::Record;
use types::message::AuthorBlock;
use types::record::{LogRecord, Standing};
use types::{Hash, Height, MemberIndex, Sequence, Time};

use crate::chain::Waiting;
use crate::content::author_of;
use crate::event::{CheckedBody, Effect, HaltReason};
use crate::pool::Cursor;
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

/// Decodes and verifies the body of an author block of the log, as `Effect::CheckBody` does.
pub type CheckBody<'a> = dyn FnMut(&AuthorHeader, &bytes::Bytes) -> Option<CheckedBody> + 'a;

/// A replica on its way back: takes the records of the log in order.
#[derive(Debug)]
pub struct Recovery {
    replica: Replica,
    bodies: BTreeMap<Hash, AuthorBlock>,
    /// Cursors after the highest final block read, and its height.
    cursors: Vec<Cursor>,
    height: Height,
    state: Height,
}

impl Recovery {
    /// Starts with the ledger at the height of the state store (or at genesis).
    #[must_use]
    pub fn new(config: ReplicaConfig, key: SecretKey, ledger: Ledger, now: Time) -> Self {
        let state = ledger.final_height();
        let replica = Replica::closed(config, key, ledger, now);
        let cursors = replica.chain.final_cursors().to_vec();
        Self {
            replica,
            bodies: BTreeMap::new(),
            cursors,
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
            if let Some(member) = author_of(reference.group, self.cursors.len())
                && let Some(cursor) = self.cursors.get_mut(usize::from(member.0))
            {
                *cursor = Cursor {
                    next: reference.seq.next(),
                    last: reference.hash,
                };
            }
        }
        for record in &block.records {
            let Record::Reset(reset) = record else { continue };
            if let Some(member) = author_of(reset.group, self.cursors.len())
                && let Some(cursor) = self.cursors.get_mut(usize::from(member.0))
            {
                cursor.next = types::block::BlockSeq::start_of(reset.run + 1);
            }
        }
        if header.height == self.state {
            if self.replica.chain.ledger.digest() != header.state_digest {
                return Err(RecoveryError::StateDigest(header.height));
            }
            self.replica
                .chain
                .start_at(hash, header.timestamp, self.cursors.clone());
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
                    self.replica.restore_body(now, hash, block, check);
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
        let next: Vec<_> = self
            .replica
            .chain
            .final_cursors()
            .iter()
            .map(|cursor| cursor.next)
            .collect();
        for (hash, block) in std::mem::take(&mut self.bodies) {
            let header = &block.header.header;
            let author = author_of(header.group, next.len());
            let open = author
                .and_then(|author| next.get(usize::from(author.0)))
                .is_some_and(|next| header.seq >= *next);
            if open {
                self.replica.restore_body(now, hash, block, check);
            }
        }
        self.replica.reopen(now, last, executor);
        Ok(self.replica)
    }
}

impl Replica {
    fn restore_body(&mut self, now: Time, hash: Hash, block: AuthorBlock, check: &mut CheckBody<'_>) {
        let AuthorBlock { header, body } = block;
        let Some(author) = author_of(header.header.group, self.committee.size()) else {
            return;
        };
        let Some(checked) = check(&header.header, &body) else {
            return;
        };
        self.pool.insert(author, hash, header, body.len(), true);
        let height = self.chain.final_height();
        self.pool.set_checked(now, height, &hash, checked);
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
        for member in 0..self.committee.size() as u16 {
            if let Some(cursor) = self.chain.final_cursors().get(usize::from(member)).copied() {
                self.pool.forget_below(MemberIndex(member), cursor.next);
            }
        }
        self.request_reset(now);
        self.handle_timeout(now, executor);
    }
}
