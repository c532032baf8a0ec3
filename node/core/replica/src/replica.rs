//! The replica: routes events between author, pool, ordering and chain, and paces proposals.

use std::collections::{BTreeMap, VecDeque};

use consensus::{Outgoing, Output, Pbft, PbftConfig, Slot, Target};
use crypto::keys::{Scheme, SecretKey};
use ledger::{Executor, Ledger};
use types::block::Block;
use types::block_record::ResetRequest;
use types::client::{Answer, Refused, StateInfo};
use types::genesis::{Committee, EpochConfig, SigningContext};
use types::message::{AuthorBlock, PeerMessage};
use types::record::LogRecord;
use types::{ConnectionId, Hash, Height, MemberIndex, Reject, Sequence, ShardId, Tag, Time};

use crate::author::{Admitted, Author, AuthorConfig};
use crate::chain::{Chain, Waiting};
use crate::content::Rules;
use crate::event::{Admission, CheckedBody, Counters, Effect, Event, HaltReason};
use crate::pool::{Cursor, Pool};
use crate::standing::State;

/// A rule to leave out; always `None` outside the simulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// One of ordering.
    Ordering(consensus::PlantedBug),
    /// One of the ledger.
    #[cfg(feature = "planted-bugs")]
    Ledger(ledger::PlantedBug),
    /// Votes leave before their record is durable.
    #[cfg(feature = "planted-bugs")]
    VoteBeforeDurable,
    /// Batches of signatures are verified without the cofactor; whoever owns the verifiers plants it there.
    #[cfg(feature = "planted-bugs")]
    BatchWithoutCofactor,
}

/// Everything that a replica is told at its start.
#[derive(Clone, Debug)]
pub struct ReplicaConfig {
    /// Committees, policy, genesis.
    pub epoch: EpochConfig,
    /// Shard that it serves.
    pub shard: ShardId,
    /// Own position in the committee.
    pub me: MemberIndex,
    /// Signature scheme of id keys.
    pub scheme: Scheme,
    /// Fresh at each start of the process; names this life of the author in reset requests.
    pub boot_nonce: u64,
    /// The disk is known to lack things that this validator signed: it signs nothing in this epoch.
    pub disk_lost: bool,
    /// A rule to leave out.
    pub planted: Option<Planted>,
}

/// A body that others are asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// Where a block refers to it; none when only an author or a `Nack` named it.
    pub(crate) place: Option<(u16, types::block::BlockSeq)>,
    /// Who is asked next.
    pub(crate) next: MemberIndex,
    /// When.
    pub(crate) at: Time,
    /// Questions so far.
    pub(crate) asked: u32,
}

/// One validator of one shard, in mode 1.
#[derive(Debug)]
pub struct Replica {
    pub(crate) config: ReplicaConfig,
    pub(crate) committee: Committee,
    pub(crate) context: SigningContext,
    pub(crate) key: SecretKey,
    pub(crate) pbft: Pbft,
    pub(crate) pool: Pool,
    pub(crate) chain: Chain,
    pub(crate) author: Author,
    /// Blocks whose check waits for bodies or for an earlier block.
    pub(crate) checks: BTreeMap<Hash, (Box<Block>, bool)>,
    /// Bodies asked of others.
    pub(crate) wanted: BTreeMap<Hash, Wanted>,
    /// Reset requests of members, by group.
    pub(crate) resets: BTreeMap<u16, ResetRequest>,
    pub(crate) next_reset_request: Option<Time>,
    /// Of a leader, when it last proposed; of everyone, not before the view was entered.
    pub(crate) last_proposal: Time,
    pub(crate) next_pace_check: Time,
    next_seq: Sequence,
    /// Messages to oneself, held until their record is durable.
    pub(crate) loopback: BTreeMap<Sequence, Vec<PeerMessage>>,
    pub(crate) standing: State,
    /// Nothing is handled that would have to be written: the disk is nearly full.
    pub(crate) suspended: bool,
    refused: BTreeMap<ConnectionId, Vec<Refused>>,
    effects: VecDeque<Effect>,
    pub(crate) counters: Counters,
    halted: bool,
}

impl Replica {
    /// A replica with an empty disk: a newcomer, which signs nothing until the others said that they do not know it.
    ///
    /// # Panics
    /// When the configuration names a shard or member that the epoch does not have: a mistake of the caller.
    #[must_use]
    pub fn new(config: ReplicaConfig, key: SecretKey, ledger: Ledger, now: Time) -> Self {
        let disk_lost = config.disk_lost;
        let mut replica = Self::closed(config, key, ledger, now);
        if disk_lost {
            replica.bar();
        }
        replica.ask_for_traces(now);
        replica
    }

    /// A replica whose author may not cut yet.
    pub(crate) fn closed(config: ReplicaConfig, key: SecretKey, ledger: Ledger, now: Time) -> Self {
        let committee = config
            .epoch
            .committees
            .iter()
            .find(|committee| committee.shard == config.shard);
        let committee = committee.expect("the epoch has the shard").clone();
        let context = SigningContext {
            genesis_hash: config.epoch.genesis_hash,
            epoch: config.epoch.epoch,
            shard: config.shard,
            committee_hash: committee.hash,
        };
        let ordering_bug = match config.planted {
            Some(Planted::Ordering(bug)) => Some(bug),
            _ => None,
        };
        let pbft = PbftConfig {
            context,
            committee: committee.clone(),
            me: config.me,
            scheme: config.scheme,
            randomness: config.epoch.randomness,
            policy: config.epoch.policy.clone(),
            planted: ordering_bug,
        };
        let start = Cursor {
            next: types::block::BlockSeq(0),
            last: context.genesis_hash,
        };
        let (validator, _) = committee
            .members
            .get(usize::from(config.me.0))
            .copied()
            .expect("the committee has the member");
        let author = AuthorConfig {
            policy: config.epoch.policy.clone(),
            context,
            member: config.me,
            validator,
            members: committee.size(),
            shards: config.epoch.committees.len() as u16,
            boot_nonce: config.boot_nonce,
        };
        let chain = Chain::new(ledger, context.genesis_hash, 0, vec![start; committee.size()]);
        let mut pbft = Pbft::new(pbft, key.clone(), now);
        pbft.set_silent(true);
        Self {
            pbft,
            pool: Pool::new(committee.size()),
            chain,
            author: Author::new(author, start, false),
            config,
            committee,
            context,
            key,
            checks: BTreeMap::new(),
            wanted: BTreeMap::new(),
            resets: BTreeMap::new(),
            next_reset_request: None,
            last_proposal: now,
            next_pace_check: now,
            next_seq: Sequence(0),
            loopback: BTreeMap::new(),
            standing: State::newcomer(now),
            suspended: false,
            refused: BTreeMap::new(),
            effects: VecDeque::new(),
            counters: Counters::default(),
            halted: false,
        }
    }

    /// Next effect.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When `handle_timeout` is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Time {
        let policy = &self.config.epoch.policy;
        let parked = self.author.parking.next_expiry(policy.park_timeout);
        if self.suspended {
            return parked.unwrap_or(Time(u64::MAX));
        }
        // Only when `propose` would go ahead: else the driver would come back at once, again and again.
        let can_execute = |slot: &Slot| self.chain.waiting.is_empty() && self.chain.is_executed(&slot.parent);
        let proposal = self.pbft.slot().filter(can_execute).map(|_| {
            let pause = if self.has_work() {
                policy.block_interval
            } else {
                policy.idle_interval()
            };
            self.last_proposal + pause
        });
        let wanted = self.wanted.values().map(|wanted| wanted.at).min();
        let others = [
            proposal,
            self.author
                .may_cut(Time(u64::MAX), self.chain.final_height())
                .then(|| self.author.cut_due())
                .flatten(),
            parked,
            self.pbft.waits_for_leader().then_some(self.next_pace_check),
            self.next_reset_request,
            wanted,
            match &self.standing {
                State::Newcomer { ask_at, .. } => Some(*ask_at),
                _ => None,
            },
        ];
        others
            .into_iter()
            .flatten()
            .fold(self.pbft.poll_timeout(), Time::min)
    }

    /// Highest final height executed here.
    #[must_use]
    pub fn final_height(&self) -> Height {
        self.chain.final_height()
    }

    /// Ledger, for invariants and inspection.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.chain.ledger
    }

    /// Highest committed block known, executed or not.
    #[must_use]
    pub const fn committed(&self) -> (Height, Hash) {
        self.pbft.committed()
    }

    /// Current view, and whether it is open.
    #[must_use]
    pub const fn view(&self) -> (types::View, bool) {
        (self.pbft.view(), self.pbft.is_active())
    }

    /// Counters since the start.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        let ordering = self.pbft.counters();
        Counters {
            view_changes: ordering.view_changes,
            refused: self.counters.refused + ordering.refused,
            ..self.counters
        }
    }

    /// Takes one event.
    pub fn handle_event(&mut self, now: Time, event: Event, executor: &dyn Executor) {
        if self.halted {
            return;
        }
        if self.suspended {
            return self.handle_suspended(now, event, executor);
        }
        match event {
            Event::Admitted(admissions) if self.is_barred() => admissions
                .into_iter()
                .for_each(|admission| self.refuse(admission.connection, admission.tag, Reject::Closed)),
            Event::Admitted(admissions) => admissions
                .into_iter()
                .for_each(|admission| self.admit(now, admission)),
            Event::ClientClosed(connection) => self.author.on_closed(connection),
            Event::StatusAsked { connection, txids } => self.answer_status(connection, &txids),
            Event::StateAsked(connection) => self.answer_state(connection),
            Event::Peer { from, message } => self.handle_peer(now, from, message),
            Event::PeerConnected(member) => {
                self.pbft.handle_connected();
                self.send_own_blocks(member);
                self.ask_for_trace(member);
            }
            Event::Space { low } => self.set_suspended(now, low),
            Event::BodyChecked { hash, verdict } => self.handle_body_checked(now, hash, verdict),
            Event::Rechecked { .. } => {}
            Event::SlowAdmitted(admissions) => admissions
                .into_iter()
                .for_each(|admission| self.refuse(admission.connection, admission.tag, Reject::KindClosed)),
            Event::Durable(seq) => self.handle_durable(now, seq),
        }
        self.advance(now, executor);
    }

    /// Does what is due by time.
    pub fn handle_timeout(&mut self, now: Time, executor: &dyn Executor) {
        if self.halted {
            return;
        }
        let timeout = self.config.epoch.policy.park_timeout;
        for late in self.author.parking.expire(now, timeout) {
            self.refuse(late.connection, late.tag, Reject::InputMissing);
        }
        if self.suspended {
            return self.flush_refused();
        }
        if now >= self.pbft.poll_timeout() {
            self.pbft.handle_timeout(now);
        }
        self.ask_for_traces(now);
        self.ask_again(now);
        self.request_reset(now);
        self.advance(now, executor);
    }

    /// Runs until nothing more follows from what is known now.
    pub(crate) fn advance(&mut self, now: Time, executor: &dyn Executor) {
        self.watch_pace(now);
        loop {
            self.cut(now);
            self.propose(now, executor);
            let Some(output) = self.pbft.poll_output() else {
                if self.finalize_waiting(now, executor) || self.retry_checks(now, executor) {
                    continue;
                }
                break;
            };
            self.carry_out(now, output);
        }
        self.look_for_own_trace();
        self.flush_refused();
    }

    pub(crate) fn flush_refused(&mut self) {
        for (connection, refused) in std::mem::take(&mut self.refused) {
            self.effects.push_back(Effect::Answer {
                connection,
                answer: Answer::Reject(refused),
            });
        }
    }

    fn carry_out(&mut self, now: Time, output: Output) {
        match output {
            Output::Persist { records, then } => {
                let seq = self.persist(records, !then.is_empty());
                #[cfg(feature = "planted-bugs")]
                if self.config.planted == Some(Planted::VoteBeforeDurable) {
                    return then.into_iter().for_each(|outgoing| self.send(outgoing, None));
                }
                then.into_iter()
                    .for_each(|outgoing| self.send(outgoing, Some(seq)));
            }
            Output::Send(outgoing) => self.send(outgoing, None),
            Output::Check {
                hash,
                block,
                certified,
            } => {
                self.checks.insert(hash, (block, certified));
            }
            Output::Committed { hash, block, proof } => {
                self.checks.remove(&hash);
                self.chain.waiting.push_back(Waiting {
                    hash,
                    block: *block,
                    proof: *proof,
                });
            }
            Output::ViewEntered(_) => {
                self.checks.clear();
                self.last_proposal = now;
                self.trim_pool();
            }
            Output::Conflict(certified) => self.halt(HaltReason::Conflict(certified.subject.height)),
        }
    }

    pub(crate) fn persist(&mut self, records: Vec<LogRecord>, sync: bool) -> Sequence {
        self.next_seq = Sequence(self.next_seq.0 + 1);
        self.effects.push_back(Effect::Persist {
            seq: self.next_seq,
            records,
            sync,
        });
        self.next_seq
    }

    pub(crate) fn send(&mut self, outgoing: Outgoing, after: Option<Sequence>) {
        let Outgoing { to, message } = outgoing;
        match to {
            Target::Others => self.effects.push_back(Effect::Broadcast { message, after }),
            Target::Member(to) if to != self.config.me => {
                self.effects.push_back(Effect::Send { to, message, after })
            }
            Target::Member(_) => self
                .loopback
                .entry(after.unwrap_or(self.next_seq))
                .or_default()
                .push(message),
        }
    }

    pub(crate) fn effects(&self) -> impl Iterator<Item = &Effect> {
        self.effects.iter()
    }

    /// Takes the state changes out of the effects.
    pub(crate) fn take_state_changes(&mut self) -> Vec<ledger::StateChanges> {
        let mut changes = Vec::new();
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::WriteState(change) => changes.push(*change),
                other => self.effects.push_back(other),
            }
        }
        changes
    }

    pub(crate) fn effect(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    pub(crate) fn set_last_sequence(&mut self, last: Sequence) {
        self.next_seq = last;
    }

    pub(crate) fn halt(&mut self, reason: HaltReason) {
        self.halted = true;
        self.effects.push_back(Effect::Halt(reason));
    }

    pub(crate) fn answer(&mut self, connection: ConnectionId, answer: Answer) {
        self.effects.push_back(Effect::Answer { connection, answer });
    }

    pub(crate) fn refuse(&mut self, connection: ConnectionId, tag: Tag, reason: Reject) {
        self.refused
            .entry(connection)
            .or_default()
            .push(Refused { tag, reason });
    }

    pub(crate) fn answer_status(&mut self, connection: ConnectionId, txids: &[types::TxId]) {
        let statuses = txids
            .iter()
            .map(|txid| self.author.status(txid, &self.chain.ledger))
            .collect();
        self.answer(connection, Answer::Status(statuses));
    }

    pub(crate) fn answer_state(&mut self, connection: ConnectionId) {
        let totals = self.chain.ledger.totals();
        let state = StateInfo {
            height: self.chain.final_height(),
            digest: self.chain.ledger.final_digest(),
            outputs: totals.outputs,
            value: types::Amount(u64::try_from(totals.value).unwrap_or(u64::MAX)),
            fees: types::Amount(totals.counters.fees),
            bonds: types::Amount(totals.counters.bonds),
            pool: types::Amount(totals.counters.pool),
            rewards: types::Amount(totals.counters.rewards),
            unpaid: types::Amount(totals.counters.unpaid),
        };
        self.answer(connection, Answer::State(state));
    }

    fn handle_durable(&mut self, now: Time, seq: Sequence) {
        self.on_standing_durable(now, seq);
        let later = self.loopback.split_off(&Sequence(seq.0 + 1));
        let due = std::mem::replace(&mut self.loopback, later);
        let me = self.config.me;
        for message in due.into_values().flatten() {
            self.handle_peer(now, me, message);
        }
    }

    pub(crate) fn admit(&mut self, now: Time, admission: Admission) {
        let mut queue = VecDeque::from([admission]);
        while let Some(admission) = queue.pop_front() {
            let (connection, tag, txid) = (admission.connection, admission.tag, admission.txid);
            match self.author.admit(now, admission, &self.chain.ledger) {
                Admitted::Taken => queue.extend(self.author.parking.wake_children(txid)),
                Admitted::Parked(evicted) => {
                    for late in evicted {
                        self.refuse(late.connection, late.tag, Reject::Busy);
                    }
                }
                Admitted::Moved(old) => self.refuse(old.connection, old.tag, Reject::Busy),
                Admitted::Refused(reason) => {
                    self.refuse(connection, tag, reason);
                    self.refuse_children(txid);
                }
            }
        }
    }

    /// Children of a refused transaction will never find their input (`ios` 7.4).
    pub(crate) fn refuse_children(&mut self, parent: types::TxId) {
        let mut parents = vec![parent];
        while let Some(parent) = parents.pop() {
            for child in self.author.parking.wake_children(parent) {
                parents.push(child.txid);
                self.refuse(child.connection, child.tag, Reject::ParentExcluded);
            }
        }
    }

    /// Drops bodies that only proposals of the view that ended referred to.
    fn trim_pool(&mut self) {
        let keep = self
            .chain
            .unfinished()
            .chain(self.pbft.base_chain())
            .flat_map(|block| &block.refs)
            .map(|reference| reference.hash)
            .collect();
        self.pool.trim(&keep);
        self.wanted.retain(|_, wanted| wanted.place.is_none());
    }

    pub(crate) fn rules(&self) -> Rules<'_> {
        Rules {
            policy: &self.config.epoch.policy,
            committee: &self.committee,
            context: &self.context,
            scheme: self.config.scheme,
        }
    }

    fn cut(&mut self, now: Time) {
        while self.author.may_cut(now, self.chain.final_height()) {
            let (header, hash, body) = self.author.cut(now, &self.key, self.chain.final_height());
            self.counters.cut += body.len() as u64;
            let block = AuthorBlock {
                header: header.clone(),
                body: body.bytes().clone(),
            };
            self.pool
                .insert(self.config.me, hash, header, body.bytes().len(), true);
            let checked = CheckedBody {
                body,
                bad_signatures: Vec::new(),
            };
            self.pool
                .set_checked(now, self.chain.final_height(), &hash, checked);
            self.persist(vec![LogRecord::AuthorBlock(block.clone())], false);
            self.effects.push_back(Effect::Broadcast {
                message: PeerMessage::AuthorBlock(block),
                after: None,
            });
        }
    }
}
