//! The replica: routes events between author, pool, ordering and chain, and paces proposals.

use std::collections::{BTreeMap, VecDeque};

use consensus::{Outgoing, Output, Pbft, PbftConfig, Slot, Target};
use crypto::keys::{Scheme, SecretKey};
use ledger::{Executor, Ledger};
use types::block::{Block, BlockSeq};
use types::block_record::{AuthorReady, ResetRequest};
use types::client::{Answer, Receipts, Refused, StateInfo};
use types::genesis::{Committee, EpochConfig, SigningContext};
use types::message::{AuthorBlock, PeerMessage};
use types::record::LogRecord;
use types::{ConnectionId, Hash, Height, MemberIndex, Reject, Sequence, ShardId, Tag, Time};

use crate::accusations::Accusations;
use crate::author::{Admitted, Author, AuthorConfig, Role};
use crate::chain::{Chain, Waiting};
use crate::content::Rules;
use crate::event::{Admission, CheckedBody, Counters, Effect, Event, HaltReason};
use crate::league::{GroupIndex, Groups, League};
use crate::mischief::{Cheat, Mischief};
use crate::pool::{Cursor, Pool};
use crate::slow::SlowLane;
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
    /// A voter votes for author blocks that it has just received, without the challenge wait.
    #[cfg(feature = "planted-bugs")]
    NoChallengeWait,
    /// A voter votes for author blocks in which it found a fault.
    #[cfg(feature = "planted-bugs")]
    FaultyVotedFor,
    /// Evidence of broken state is believed and not replayed.
    #[cfg(feature = "planted-bugs")]
    EvidenceBelieved,
    /// A switch of the mode is accepted without its cause.
    #[cfg(feature = "planted-bugs")]
    SwitchWithoutCause,
    /// Receipts leave before the author's block is durable.
    #[cfg(feature = "planted-bugs")]
    ReceiptBeforeDurable,
    /// Bars of the slow lane are ignored.
    #[cfg(feature = "planted-bugs")]
    BarsIgnored,
    /// A fault costs its member the bond and nothing else: it authors on.
    #[cfg(feature = "planted-bugs")]
    SlashWithoutBan,
    /// A fault costs its member its seat and not the bond.
    #[cfg(feature = "planted-bugs")]
    BanWithoutSlash,
    /// Nobody is paid for a forged transaction.
    #[cfg(feature = "planted-bugs")]
    ClaimNotPaid,
    /// A group is given to the next candidate though its author shows itself.
    #[cfg(feature = "planted-bugs")]
    StandInWithoutSilence,
    /// What a voter samples follows from a secret that everybody knows.
    #[cfg(feature = "planted-bugs")]
    PredictableSamples,
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
    /// Cheats where it holds a seat; `None` on every honest validator.
    pub mischief: Option<Mischief>,
}

/// A body that others are asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// Where a block refers to it; none when only an author or a `Nack` named it.
    pub(crate) place: Option<(u16, BlockSeq)>,
    /// Who is asked next.
    pub(crate) next: MemberIndex,
    /// When.
    pub(crate) at: Time,
    /// Questions so far.
    pub(crate) asked: u32,
}

/// One validator of one shard: a voter, or a candidate, which follows the chain and may hold a seat.
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
    /// Reset requests of authors, by group.
    pub(crate) resets: BTreeMap<u16, ResetRequest>,
    /// Reports of candidates.
    pub(crate) reports: BTreeMap<MemberIndex, AuthorReady>,
    pub(crate) accusations: Accusations,
    pub(crate) slow: SlowLane,
    pub(crate) cheat: Option<Cheat>,
    /// Receipts that wait for their block to be durable.
    receipts: BTreeMap<Sequence, BlockSeq>,
    /// Since which final height the pool remembers every included block of seats, and the ledger every spent output.
    pub(crate) remembered_from: Height,
    /// When the challenge wait of a proposal ends.
    pub(crate) next_vote: Option<Time>,
    /// Final height of the last own report.
    pub(crate) last_report: Height,
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
        let context = config.epoch.signing_context(&committee);
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
        let league = League::genesis(&committee, &config.epoch.policy, context.genesis_hash);
        #[cfg(feature = "planted-bugs")]
        let league = league.with_fault(config.planted);
        let (validator, _) = committee
            .members
            .get(usize::from(config.me.0))
            .copied()
            .expect("the committee has the member");
        let author = AuthorConfig {
            policy: config.epoch.policy.clone(),
            context,
            validator,
            randomness: config.epoch.randomness,
            shards: config.epoch.committees.len() as u16,
            boot_nonce: config.boot_nonce,
        };
        let role = role_of(&league, config.me);
        let cursor = role.map_or_else(Cursor::default, |(index, _)| league.cursor(index));
        let author = Author::new(author, role.map(|(_, role)| role), cursor, now);
        let pool = Pool::new(league.groups());
        let chain = Chain::new(ledger, context.genesis_hash, 0, league);
        let cheat = config
            .mischief
            .clone()
            .map(|plan| Cheat::new(plan, &key.public()));
        let mut pbft = Pbft::new(pbft, key.clone(), now);
        pbft.set_silent(true);
        Self {
            pbft,
            pool,
            remembered_from: chain.final_height(),
            chain,
            author,
            committee,
            context,
            key,
            config,
            checks: BTreeMap::new(),
            wanted: BTreeMap::new(),
            resets: BTreeMap::new(),
            reports: BTreeMap::new(),
            accusations: Accusations::default(),
            slow: SlowLane::default(),
            cheat,
            receipts: BTreeMap::new(),
            next_vote: None,
            last_report: Height(0),
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
            self.may_cut(Time(u64::MAX))
                .then(|| self.author.cut_due())
                .flatten(),
            parked,
            self.pbft.waits_for_leader().then_some(self.next_pace_check),
            self.next_vote,
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

    /// Mode of the next height: 0 two leagues, 1 one league.
    #[must_use]
    pub fn mode(&self) -> u8 {
        self.chain.final_league().next_mode()
    }

    /// Group that this member authors now, as headers carry it.
    #[must_use]
    pub fn authored_group(&self) -> Option<u16> {
        self.author.role().map(|role| role.group)
    }

    /// Groups of the mode of the next height, as headers carry them, with the members that author them; a group whose
    /// author is banned and has no stand-in is left out.
    #[must_use]
    pub fn authors(&self) -> Vec<(u16, MemberIndex)> {
        let league = self.chain.final_league();
        let of = |index| Some((self.groups().number(index), league.author(index)?));
        league.next_active().filter_map(of).collect()
    }

    /// Members whose faults are final.
    #[must_use]
    pub fn banned(&self) -> Vec<MemberIndex> {
        let members = (0..self.committee.members.len() as u16).map(MemberIndex);
        members
            .filter(|member| self.chain.final_league().is_banned(*member))
            .collect()
    }

    pub(crate) const fn groups(&self) -> Groups {
        self.chain.final_league().groups()
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
            Event::ClientClosed(connection) => {
                self.author.on_closed(connection);
                self.slow.forget(connection);
            }
            Event::StatusAsked { connection, txids } => self.answer_status(connection, &txids),
            Event::StateAsked(connection) => self.answer_state(connection),
            Event::Peer { from, message } => self.handle_peer(now, from, message),
            Event::PeerConnected(member) => {
                self.pbft.handle_connected();
                self.send_own_blocks(member);
                self.send_accusations(member);
                self.ask_for_trace(member);
            }
            Event::Space { low } => self.set_suspended(now, low),
            Event::BodyChecked { hash, verdict } => self.handle_body_checked(now, hash, verdict),
            Event::Rechecked { forged, .. } => self.handle_rechecked(forged),
            Event::SlowAdmitted(admissions) => admissions
                .into_iter()
                .for_each(|admission| self.admit_slow(admission)),
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
        self.next_vote = self.next_vote.filter(|at| now < *at);
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
            Output::Equivocation(two) => self.accuse_voter(two),
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
        self.release_receipts(seq);
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
            let league = self.chain.final_league();
            match self.author.admit(now, admission, &self.chain.ledger, league) {
                Admitted::Taken => queue.extend(self.author.parking.wake_children(txid)),
                Admitted::Parked(evicted) => {
                    for late in evicted {
                        self.refuse(late.connection, late.tag, Reject::Busy);
                    }
                }
                Admitted::Moved(old, receipt) => {
                    self.refuse(old.connection, old.tag, Reject::Busy);
                    let waits = |receipt: &Receipts| {
                        let seq = receipt.author.header.seq;
                        self.receipts.values().any(|waiting| *waiting == seq)
                    };
                    // With the others when the block is durable, or at once when it is.
                    if let Some(receipt) = receipt.filter(|receipt| !waits(receipt)) {
                        self.answer(connection, Answer::Receipts(Box::new(receipt)));
                    }
                }
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
            groups: self.groups(),
        }
    }

    /// Whether a block is due, and would not promise what the final chain already rules out.
    fn may_cut(&self, now: Time) -> bool {
        self.chain.final_league().takes_blocks() && self.author.may_cut(now, self.chain.final_height())
    }

    fn cut(&mut self, now: Time) {
        while self.may_cut(now) {
            let Some(role) = self.author.role() else { return };
            if role.seated {
                self.plant_thefts();
            }
            let Some(index) = self.groups().index(role.group) else {
                return;
            };
            let league = self.chain.final_league();
            let dropped = self.author.drop_stale(&self.chain.ledger, league);
            for (txid, asker, reason) in dropped {
                if let Some(asker) = asker {
                    self.refuse(asker.connection, asker.tag, reason);
                }
                self.refuse_children(txid);
            }
            let (header, hash, body) = self.author.cut(now, &self.key, self.chain.final_height());
            self.counters.cut += body.len() as u64;
            self.counters.blocks_cut += 1;
            let seq = header.header.seq;
            let block = AuthorBlock {
                header: header.clone(),
                body: body.bytes().clone(),
            };
            self.pool.insert(now, index, hash, header, true);
            let checked = CheckedBody {
                body,
                bad_signatures: Vec::new(),
            };
            self.pool
                .set_checked(now, self.chain.final_height(), &hash, checked);
            // A receipt is a promise that the author must remember: it is durable before anybody sees the block.
            let written = self.persist(vec![LogRecord::AuthorBlock(block.clone())], role.seated);
            let after = role.seated.then_some(written);
            if !role.seated || !self.sends_otherwise(&block) {
                self.effects.push_back(Effect::Broadcast {
                    message: PeerMessage::AuthorBlock(block),
                    after,
                });
            }
            if role.seated {
                self.receipts.insert(written, seq);
                #[cfg(feature = "planted-bugs")]
                if self.config.planted == Some(Planted::ReceiptBeforeDurable) {
                    self.release_receipts(written);
                }
            }
        }
    }

    fn release_receipts(&mut self, durable: Sequence) {
        let later = self.receipts.split_off(&Sequence(durable.0 + 1));
        for seq in std::mem::replace(&mut self.receipts, later).into_values() {
            // Who asks now: a tag may have moved since the block was cut.
            for (connection, receipts) in self.author.receipts(seq) {
                self.counters.receipts += receipts.tags.len() as u64;
                self.answer(connection, Answer::Receipts(Box::new(receipts)));
            }
        }
    }

    /// Takes up or lays down authorship as the final chain says.
    pub(crate) fn follow_role(&mut self, now: Time) {
        let league = self.chain.final_league();
        let role = role_of(league, self.config.me);
        let cursor = role.map_or_else(Cursor::default, |(index, _)| league.cursor(index));
        let before = self.author.role();
        for (asker, reason) in self.author.set_role(now, role.map(|(_, role)| role), cursor) {
            self.refuse(asker.connection, asker.tag, reason);
        }
        if before != self.author.role() {
            self.receipts.clear();
            self.next_reset_request = None;
        }
    }
}

/// What a member authors at the height after the league's.
fn role_of(league: &League, me: MemberIndex) -> Option<(GroupIndex, Role)> {
    let index = league.group_of(me)?;
    let groups = league.groups();
    let role = Role {
        group: groups.number(index),
        seated: groups.is_seat(index),
        authors: league.next_active().count(),
    };
    Some((index, role))
}
