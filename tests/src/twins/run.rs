//! One scenario from its first round to the heal and the commits after it.

use std::collections::VecDeque;

use consensus::{Outgoing, PlantedBug, Target};
use types::certificate::Phase;
use types::message::PeerMessage;
use types::policy::Policy;
use types::time::Duration;
use types::{MemberIndex, Time, View};

use super::scenario::{Lost, Round, Scenario};
use super::watch::{Seen, Watch};
use crate::explore::voter::{Act, Shard, Voter};
use crate::invariants::{Checked, Violation};
use crate::rng::SimRng;

/// Messages of one round: many times what a round can need, so that only an endless exchange reaches it.
const DELIVERIES_MAX: u64 = 200_000;
/// Views after the heal within which every honest voter must commit something new.
const VIEWS_TO_PROGRESS: u32 = 4;
/// Steps of time after the heal; every fourth is longer than any view timeout, the others resend.
const STEPS_AFTER_HEAL: u32 = 40;
/// A timeout grows to 2^6 times its start; twice that is longer than any.
const BEYOND_ANY_TIMEOUT: u32 = 128;

/// Runs a scenario.
///
/// # Errors
/// The invariant that does not hold.
pub fn run(scenario: &Scenario, planted: Option<PlantedBug>) -> Result<Seen, Violation> {
    let mut run = Run::new(scenario, planted);
    for (number, round) in scenario.rounds.iter().enumerate() {
        run.round(number, round)?;
    }
    run.heal()?;
    Ok(run.watch.seen)
}

#[derive(Debug)]
struct Envelope {
    from: u16,
    to: u16,
    message: PeerMessage,
}

#[derive(Debug)]
struct Run<'a> {
    scenario: &'a Scenario,
    shard: Shard,
    voters: Vec<Voter>,
    /// Honest voters that found a conflict: their owners stop.
    stopped: Vec<bool>,
    /// Blocks that each instance proposed in the current round.
    proposed: Vec<u8>,
    now: Time,
    rng: SimRng,
    /// The round; none after the heal.
    round: Option<&'a Round>,
    /// Messages that are still delivered in the round, when it is cut short.
    left: Option<u16>,
    queue: VecDeque<Envelope>,
    /// Messages between groups that have not met since.
    held: Vec<Envelope>,
    /// Makes blocks of different copies and rounds differ.
    salt: u64,
    watch: Watch,
}

impl<'a> Run<'a> {
    fn new(scenario: &'a Scenario, planted: Option<PlantedBug>) -> Self {
        let leaders: Vec<_> = scenario.leaders.iter().copied().map(MemberIndex).collect();
        let shard = Shard::new(scenario.voters, &leaders, planted);
        let now = Time(1);
        let instances = scenario.instances();
        Self {
            voters: (0..instances)
                .map(|instance| Voter::new(&shard, MemberIndex(scenario.identity(instance)), now))
                .collect(),
            scenario,
            shard,
            stopped: vec![false; usize::from(instances)],
            proposed: vec![0; usize::from(instances)],
            now,
            rng: SimRng::new(scenario.order, 3),
            round: None,
            left: None,
            queue: VecDeque::new(),
            held: Vec::new(),
            salt: 0,
            watch: Watch::new(scenario),
        }
    }

    fn identity(&self, instance: u16) -> MemberIndex {
        MemberIndex(self.scenario.identity(instance))
    }

    fn round(&mut self, number: usize, round: &'a Round) -> Checked {
        self.round = Some(round);
        self.left = (round.cut > 0).then_some(round.cut);
        self.release();
        for instance in of_mask(round.restarted, self.scenario.instances()) {
            self.voters[usize::from(instance)].restart(&self.shard, self.now);
            if !self.scenario.is_twin(self.scenario.identity(instance)) {
                self.watch.seen.restarts = 1;
            }
            self.drain(instance)?;
        }
        // View 0 is open from the beginning.
        if number > 0 {
            self.expire(round.expired, BEYOND_ANY_TIMEOUT)?;
        }
        self.settle(round.proposals)
    }

    /// Ends all faults. With at most `f` twins every honest voter must soon commit something new; with more, a fork
    /// must be noticed.
    fn heal(&mut self) -> Checked {
        self.round = None;
        self.left = None;
        self.release();
        let reached = self.watch.seen;
        let view = self.voters.iter().map(|voter| voter.machine.view()).max();
        let last = View(view.unwrap_or_default().0 + VIEWS_TO_PROGRESS);
        let height = self.honest().map(|voter| voter.machine.committed().0).max();
        let height = height.unwrap_or_default();
        for step in 1..=STEPS_AFTER_HEAL {
            self.settle(1)?;
            let lowest = self.honest().map(|voter| voter.machine.committed().0).min();
            let progress = lowest.is_some_and(|lowest| lowest > height);
            let noticed = self.watch.seen.conflicts > 0;
            if progress && self.watch.seen.forks == 0 || noticed {
                break;
            }
            let late = self.honest().any(|voter| voter.machine.view() > last);
            if self.scenario.is_tolerated() && (late || step == STEPS_AFTER_HEAL) {
                let detail = format!(
                    "healed in view {view:?} at height {height}; now the lowest height is {lowest:?}, in {:?}",
                    self.honest()
                        .map(|voter| voter.machine.view())
                        .collect::<Vec<_>>()
                );
                return Err(Violation::new("progress after the heal", detail));
            }
            let long = step % 4 == 0;
            self.expire(u32::MAX, if long { BEYOND_ANY_TIMEOUT } else { 1 })?;
        }
        let seen = &mut self.watch.seen;
        if seen.forks > seen.conflicts {
            let detail = "honest voters hold different blocks for final, and none says so";
            return Err(Violation::new("conflicts are noticed", detail));
        }
        // What only the heal brought about says nothing about the script.
        (seen.commits, seen.twin_commits) = (reached.commits, reached.twin_commits);
        Ok(())
    }

    fn honest(&self) -> impl Iterator<Item = &Voter> {
        let honest = self.scenario.voters - self.scenario.twins;
        self.voters.iter().take(usize::from(honest))
    }

    /// Delivers until nothing is under way and no leader may propose any more.
    fn settle(&mut self, proposals: u8) -> Checked {
        self.proposed.fill(0);
        let mut deliveries = 0;
        loop {
            while let Some(envelope) = self.next() {
                deliveries += 1;
                if deliveries > DELIVERIES_MAX {
                    let detail = format!("{DELIVERIES_MAX} messages were delivered, and more come");
                    return Err(Violation::new("quiet", detail));
                }
                self.deliver(envelope)?;
            }
            self.watch.seen.messages += std::mem::take(&mut deliveries);
            let mut any = false;
            for instance in 0..self.scenario.instances() {
                any |= self.propose(instance, proposals)?;
            }
            if !any {
                return Ok(());
            }
        }
    }

    fn next(&mut self) -> Option<Envelope> {
        match &mut self.left {
            None => {}
            Some(0) => {
                self.queue.clear();
                return None;
            }
            Some(left) => *left -= 1,
        }
        if self.scenario.order == 0 {
            return self.queue.pop_front();
        }
        let at = self.rng.below(self.queue.len() as u64) as usize;
        self.queue.swap_remove_front(at)
    }

    fn deliver(&mut self, envelope: Envelope) -> Checked {
        let Envelope { from, to, message } = envelope;
        if self.stopped[usize::from(to)] {
            return Ok(());
        }
        let sender = self.identity(from);
        let answer = self.voters[usize::from(to)].handle(self.now, sender, message);
        if let Some(message) = answer {
            self.leave(
                to,
                Outgoing {
                    to: Target::Member(sender),
                    message,
                },
            )?;
        }
        self.drain(to)
    }

    /// A leader proposes into every open slot, up to `proposals` blocks in a round.
    fn propose(&mut self, instance: u16, proposals: u8) -> Result<bool, Violation> {
        let at = usize::from(instance);
        let mut any = false;
        while self.proposed[at] < proposals
            && !self.stopped[at]
            && let Some(slot) = self.voters[at].machine.slot()
        {
            self.salt += 1;
            let (hash, block) = self
                .shard
                .block(slot.height.0, slot.view.0, slot.parent, self.salt);
            self.watch.on_block(hash, slot.height, slot.parent);
            self.voters[at].machine.propose(self.now, block);
            self.proposed[at] += 1;
            self.drain(instance)?;
            any = true;
        }
        Ok(any)
    }

    /// Lets time pass, in view timeouts before any doubling; timers of these instances run out.
    fn expire(&mut self, instances: u32, timeouts: u32) -> Checked {
        self.now = self.now + view_timeout() * timeouts;
        for instance in of_mask(instances, self.scenario.instances()) {
            if !self.stopped[usize::from(instance)] {
                self.voters[usize::from(instance)]
                    .machine
                    .handle_timeout(self.now);
                self.drain(instance)?;
            }
        }
        Ok(())
    }

    fn drain(&mut self, instance: u16) -> Checked {
        let at = usize::from(instance);
        let me = self.identity(instance);
        while let Some(act) = self.voters[at].poll_act(self.now) {
            match act {
                Act::Send(outgoing) => self.leave(instance, outgoing)?,
                Act::Final { height, hash, view } => {
                    let leader = self.shard.committee.leader(view);
                    self.watch.on_final(me, height, hash, leader)?;
                }
                Act::Conflict(certified) => {
                    self.watch.on_conflict(me, &certified)?;
                    self.stopped[at] = !self.scenario.is_twin(me.0);
                }
            }
        }
        Ok(())
    }

    /// A message leaves for every instance of its receiver. What copies say to their own identity reaches the other
    /// copy too.
    fn leave(&mut self, from: u16, outgoing: Outgoing) -> Checked {
        let Outgoing { to, message } = outgoing;
        let me = self.identity(from);
        let committed = self.voters[usize::from(from)].machine.committed().0;
        self.watch.on_send(me, &message, committed)?;
        for instance in 0..self.scenario.instances() {
            let addressed = match to {
                Target::Others => instance != from,
                Target::Member(member) => self.identity(instance) == member,
            };
            if !addressed {
                continue;
            }
            if instance == from {
                // Only votes go to oneself, and they are never under way.
                self.voters[usize::from(from)].handle(self.now, me, message.clone());
            } else {
                self.route(from, instance, message.clone());
            }
        }
        Ok(())
    }

    fn route(&mut self, from: u16, to: u16, message: PeerMessage) {
        let envelope = Envelope { from, to, message };
        let Some(round) = self.round else {
            return self.queue.push_back(envelope);
        };
        if round.groups[usize::from(from)] != round.groups[usize::from(to)] {
            if self.scenario.held {
                self.held.push(envelope);
            }
            return;
        }
        let deaf = round.deaf & (1 << to) != 0 && is_lost(round.lost, &envelope.message);
        let lost = deaf || round.loss > 0 && self.rng.chance(round.loss.into());
        if !lost {
            self.queue.push_back(envelope);
        }
    }

    /// Groups have changed: what was held is tried again.
    fn release(&mut self) {
        for envelope in std::mem::take(&mut self.held) {
            self.route(envelope.from, envelope.to, envelope.message);
        }
    }
}

fn view_timeout() -> Duration {
    Policy::simulated().view_timeout()
}

fn of_mask(mask: u32, instances: u16) -> impl Iterator<Item = u16> {
    (0..instances).filter(move |instance| mask & (1 << instance) != 0)
}

fn is_lost(lost: Lost, message: &PeerMessage) -> bool {
    match (lost, message) {
        (Lost::Proposals, PeerMessage::Propose(_))
        | (Lost::ViewChanges, PeerMessage::ViewChange(_))
        | (Lost::Openings, PeerMessage::NewView(_))
        | (Lost::Commits, PeerMessage::Blocks(_)) => true,
        (Lost::CommitVotes, PeerMessage::Vote(vote)) => vote.subject.phase == Phase::Commit,
        (Lost::Tips, PeerMessage::Certified(certified)) => certified.subject.phase == Phase::Prepare,
        (Lost::Commits, PeerMessage::Certified(certified)) => certified.subject.phase == Phase::Commit,
        _ => false,
    }
}
