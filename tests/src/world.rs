//! Virtual time: one queue of events, one node after the other, and the checks after each.

mod effects;
mod leagues;
mod nemesis;

use std::collections::BTreeSet;

use ledger::Inline;
use replica::Event;
use types::message::PeerMessage;
use types::time::Duration;
use types::{Hash, MemberIndex, Sequence, Time, View};

use crate::byzantine::Coalition;
use crate::byzantine::authors::Cheats;
use crate::clients::{Clients, Lane};
use crate::faults::{Fault, Lie, Options};
use crate::invariants::agreement::Agreement;
use crate::invariants::model::Model;
use crate::invariants::promises::Promises;
use crate::invariants::sampling::Samples;
use crate::invariants::verdicts::Verdicts;
use crate::invariants::votes::Votes;
use crate::invariants::{Checked, Violation, conservation, liveness};
use crate::network::Network;
use crate::node::{Crash, Node};
use crate::queue::{Queue, What};
use crate::report::Report;
use crate::rng::SimRng;
use crate::rogue::Rogue;
use crate::setup::Setup;

/// The whole world of one run.
struct World {
    options: Options,
    setup: Setup,
    rng: SimRng,
    now: Time,
    queue: Queue,
    nodes: Vec<Node>,
    network: Network,
    clients: Clients,
    coalition: Coalition,
    cheats: Option<Cheats>,
    rogue: Option<Rogue>,
    model: Model,
    agreement: Agreement,
    votes: Votes,
    verdicts: Verdicts,
    promises: Promises,
    samples: Samples,
    /// Members that an honest one has proof against.
    accused: BTreeSet<MemberIndex>,
    supply: u128,
    states: u64,
    healed: bool,
    /// Highest view that an honest member saw open.
    view_open: View,
    /// Final blocks of which a client was told.
    told: BTreeSet<Hash>,
    report: Report,
}

/// Runs one seed to its end.
///
/// # Errors
/// The invariant that does not hold, with the report so far.
pub fn run(options: &Options) -> Result<Report, Box<(Violation, Report)>> {
    let mut world = World::new(options.clone());
    let result = world.run();
    world.finish_report();
    match result {
        Ok(()) => Ok(world.report),
        Err(violation) => Err(Box::new((violation, world.report))),
    }
}

impl World {
    fn new(options: Options) -> Self {
        let setup = Setup::new(&options);
        let members = (0..options.members()).map(MemberIndex);
        let genesis = setup.context.genesis_hash;
        let author = options.lying_voters().next();
        let author = author.filter(|_| options.lies.contains(&Lie::InvalidBatches));
        Self {
            rng: SimRng::new(options.seed, 0),
            now: Time(1_000),
            queue: Queue::default(),
            nodes: members.map(|me| Node::new(me, &setup)).collect(),
            network: Network::new(&options),
            clients: Clients::new(options.leagues.as_ref().map_or(0, |leagues| leagues.slow)),
            coalition: Coalition::new(&options),
            cheats: Cheats::new(&options),
            rogue: author.map(|me| Rogue::new(me, genesis)),
            model: Model::new(&setup),
            agreement: Agreement::default(),
            votes: Votes::new(options.liars.clone(), genesis),
            verdicts: Verdicts::default(),
            promises: Promises::default(),
            samples: Samples::default(),
            accused: BTreeSet::new(),
            supply: setup
                .coins
                .iter()
                .map(|(_, utxo)| u128::from(utxo.amount.0))
                .sum::<u128>()
                + u128::from(setup.bonds),
            states: 0,
            healed: false,
            view_open: View(0),
            told: BTreeSet::new(),
            report: Report::default(),
            setup,
            options,
        }
    }

    fn run(&mut self) -> Checked {
        for member in 0..self.options.members() {
            let at = self.now + self.rng.micros(0, self.options.start_micros);
            self.at(at, What::Start(MemberIndex(member)));
        }
        let start = self.now;
        self.at(start, What::Clients);
        if self.options.lying_voters().next().is_some() {
            self.at(start, What::Lies);
        }
        self.begin_cheats(start);
        if self.rogue.is_some() {
            self.at(start, What::Rogue);
        }
        self.schedule_faults();
        self.run_until(start + self.options.safety, |_| false)?;
        self.heal()?;
        let at_heal = self.agreement.highest();
        let end = self.now + self.options.liveness;
        self.run_until(end, |world| {
            liveness::is_done(&world.options, &world.nodes, &world.clients, at_heal)
                && liveness::is_settled(&world.options, &world.setup, &world.model).is_ok()
        })?;
        liveness::check(&self.options, &self.nodes, &self.clients, at_heal)?;
        liveness::is_settled(&self.options, &self.setup, &self.model)?;
        for node in self.nodes.iter().filter(|node| self.is_honest(node.me)) {
            if let Some(replica) = &node.replica {
                conservation::check_walk(node.me, replica.ledger())?;
            }
        }
        Ok(())
    }

    fn run_until(&mut self, end: Time, done: impl Fn(&Self) -> bool) -> Checked {
        while let Some((at, what)) = self.queue.pop_until(end) {
            self.now = at;
            self.report.events += 1;
            self.happen(what)?;
            if self.report.events.is_multiple_of(64) && done(self) {
                return Ok(());
            }
        }
        self.now = end;
        Ok(())
    }

    fn at(&mut self, at: Time, what: What) {
        self.queue.push(at, what);
    }

    fn happen(&mut self, what: What) -> Checked {
        if let Some(me) = what.member() {
            let until = self.node(me).frozen_until;
            if until > self.now {
                self.put_off(me, until, what);
                return Ok(());
            }
        }
        match what {
            What::Deliver { to, from, message } => self.deliver(to, from, message),
            What::Connect { to, from } => self.event(to, None, Event::PeerConnected(from)),
            What::Durable(me, life, seq) => {
                self.trace(&[2, me.0.into(), seq.0]);
                self.durable(me, life, seq)
            }
            What::Checked(me, life, event) => {
                self.trace(&[3, me.0.into()]);
                self.note_checked(me, life, &event);
                self.event(me, Some(life), *event)
            }
            What::Timer(me, life) => self.timer(me, life),
            What::Start(me) => self.start(me),
            What::Clients => self.act_as_clients(),
            What::Lies => self.act_as_liars(),
            What::Rogue => self.act_as_rogue(),
            What::Cheats => self.act_as_cheats(),
            What::Forge => self.forge(),
            What::Mend => {
                self.network.mend();
                self.reconnect();
                Ok(())
            }
            fault => self.strike(fault),
        }
    }

    /// A frozen node does later what it should do now.
    fn put_off(&mut self, me: MemberIndex, until: Time, what: What) {
        if let What::Timer(_, life) = what {
            let now = self.now;
            let node = self.node(me);
            if node.life != life || node.timer != Some(now) {
                return;
            }
            node.timer = Some(until);
        }
        self.at(until, what);
    }

    fn node(&mut self, me: MemberIndex) -> &mut Node {
        &mut self.nodes[usize::from(me.0)]
    }

    fn is_honest(&self, me: MemberIndex) -> bool {
        !self.options.liars.contains(&me)
    }

    fn deliver(&mut self, to: MemberIndex, from: MemberIndex, message: PeerMessage) -> Checked {
        self.trace(&[1, to.0.into(), from.0.into(), message.kind().into()]);
        if !self.is_honest(to) {
            self.coalition.hear(&self.setup, &message);
            if let Some(cheats) = &mut self.cheats {
                cheats.hear(&message);
            }
        }
        let fetched = matches!(message, PeerMessage::Blocks(_));
        let committed = |node: &Node| node.replica.as_ref().map(|replica| replica.committed().0);
        let before = committed(self.node(to));
        self.event(to, None, Event::Peer { from, message })?;
        if fetched && committed(self.node(to)) > before {
            self.report.caught_up += 1;
        }
        Ok(())
    }

    fn event(&mut self, me: MemberIndex, life: Option<u64>, event: Event) -> Checked {
        let now = self.now;
        let node = self.node(me);
        if life.is_some_and(|life| life != node.life) {
            return Ok(());
        }
        let local = node.clock.at(now);
        let Some(replica) = &mut node.replica else {
            return Ok(());
        };
        replica.handle_event(local, event, &Inline);
        self.after(me)
    }

    fn timer(&mut self, me: MemberIndex, life: u64) -> Checked {
        let now = self.now;
        let node = self.node(me);
        if node.life != life || node.timer != Some(now) {
            return Ok(());
        }
        node.timer = None;
        let local = node.clock.at(now);
        let Some(replica) = &mut node.replica else {
            return Ok(());
        };
        replica.handle_timeout(local, &Inline);
        self.trace(&[4, me.0.into(), now.0]);
        self.after(me)?;
        let node = self.node(me);
        let is_hot = |replica: &replica::Replica| replica.poll_timeout() <= local;
        let is_hot = node.replica.as_ref().is_some_and(is_hot);
        self.report.hot_timers += u64::from(is_hot);
        Ok(())
    }

    fn start(&mut self, me: MemberIndex) -> Checked {
        let now = self.now;
        let at = usize::from(me.0);
        if self.nodes[at].replica.is_some() {
            return Ok(());
        }
        self.trace(&[5, me.0.into(), now.0]);
        let clock = self.draw_clock();
        let node = &mut self.nodes[at];
        self.report.recoveries += u64::from(node.life > 0);
        match node.crashed {
            Some((Crash::Kill, _)) => self.report.recoveries_from_kill += 1,
            Some((Crash::PowerLoss, lost)) if lost > 0 => self.report.recoveries_with_loss += 1,
            _ => {}
        }
        node.clock = clock;
        if let Err(reason) = node.start(now, &self.setup) {
            if self.options.liars.contains(&me) {
                return Ok(());
            }
            let detail = format!("member {me} does not start: {reason}");
            return Err(Violation::new("recovery", detail));
        }
        for (hash, clean) in std::mem::take(&mut self.nodes[at].recovered) {
            self.samples.on_recovered(me, hash, clean);
        }
        self.after(me)?;
        for other in (0..self.options.members()).map(MemberIndex) {
            if other != me {
                self.at(now, What::Connect { to: other, from: me });
            }
        }
        Ok(())
    }

    fn reconnect(&mut self) {
        let now = self.now;
        for to in (0..self.options.members()).map(MemberIndex) {
            for from in (0..self.options.members()).map(MemberIndex) {
                if from != to {
                    self.at(now, What::Connect { to, from });
                }
            }
        }
    }

    fn durable(&mut self, me: MemberIndex, life: u64, seq: Sequence) -> Checked {
        let node = self.node(me);
        if node.life != life || node.replica.is_none() {
            return Ok(());
        }
        node.disk.sync(seq);
        let later = node.held.split_off(&Sequence(seq.0 + 1));
        let free = std::mem::replace(&mut node.held, later);
        for (to, message) in free.into_values().flatten() {
            self.leave(me, to, message)?;
        }
        self.event(me, Some(life), Event::Durable(seq))
    }

    /// A message leaves its sender; what a liar says in its place, when it is one.
    fn leave(&mut self, from: MemberIndex, to: MemberIndex, message: PeerMessage) -> Checked {
        if self.is_honest(from) {
            let disk = &self.nodes[usize::from(from.0)].disk;
            self.votes.on_wire(from, &message, disk)?;
            self.watch_leagues(from, &message)?;
            self.travel(from, to, message);
            return Ok(());
        }
        if !self.options.is_voter(from) {
            self.cheat(from, to, message);
            return Ok(());
        }
        let message = self.mislead(from, message);
        for message in self
            .coalition
            .speak(&mut self.rng, &self.setup, (from, to), message)
        {
            self.travel(from, to, message);
        }
        Ok(())
    }

    fn travel(&mut self, from: MemberIndex, to: MemberIndex, message: PeerMessage) {
        for at in self.network.arrivals(&mut self.rng, self.now, from, to) {
            let message = message.clone();
            self.at(at, What::Deliver { to, from, message });
        }
    }

    /// Nodes that take clients; nobody sends to a member that lies.
    fn serving(&self) -> Vec<MemberIndex> {
        self.nodes
            .iter()
            .filter(|node| node.replica.is_some() && node.frozen_until <= self.now && self.is_honest(node.me))
            .map(|node| node.me)
            .collect()
    }

    fn act_as_clients(&mut self) -> Checked {
        if self.healed {
            return Ok(());
        }
        let up = self.serving();
        for handed in self.clients.act(&mut self.rng, &self.setup, &self.model, &up) {
            let (node, admission) = (handed.to, handed.admission);
            self.trace(&[7, node.0.into(), u64::from(admission.txid.0[0])]);
            let event = match handed.lane {
                Lane::Fast => Event::Admitted(vec![admission]),
                Lane::Slow => Event::SlowAdmitted(vec![admission]),
            };
            self.event(node, None, event)?;
        }
        if self.rng.chance(10)
            && let Some((node, connection)) = self.clients.hang_up(&mut self.rng, &up)
        {
            self.event(node, None, Event::ClientClosed(connection))?;
        }
        let micros = self.options.client_pause.as_micros() as u64;
        let at = self.now + self.rng.micros(micros / 4, micros * 2);
        self.at(at, What::Clients);
        Ok(())
    }

    /// Liars go on after the heal: no rule makes them stop.
    fn act_as_liars(&mut self) -> Checked {
        for (from, to, message) in self.coalition.act(&mut self.rng, &self.setup) {
            self.travel(from, to, message);
        }
        let at = self.now + self.rng.micros(5_000, 200_000);
        self.at(at, What::Lies);
        Ok(())
    }

    fn act_as_rogue(&mut self) -> Checked {
        let Some(rogue) = self.rogue.as_mut().filter(|_| !self.healed) else {
            return Ok(());
        };
        let me = rogue.member();
        let local = self.nodes[usize::from(me.0)].clock.at(self.now);
        for (to, message) in rogue.act(&mut self.rng, &self.setup, &self.model, local) {
            self.report.faults.count(Fault::Lie(Lie::InvalidBatches));
            self.travel(me, to, message);
        }
        let at = self.now + self.rng.micros(5_000, 200_000);
        self.at(at, What::Rogue);
        Ok(())
    }

    fn finish_report(&mut self) {
        for at in 0..self.nodes.len() {
            self.count_node(at);
        }
        self.report.simulated = self.now.since(Time(0));
        self.report.height = self.agreement.highest().0;
        self.report.seen = self.clients.seen;
        self.report.league.add(&self.model.seen);
        self.report.league.broken += self.promises.broken;
        self.report.league.suspensions += self.accused.len() as u64;
        if let Some(cheats) = &self.cheats {
            self.report.faults.merge(&cheats.told);
        }
        self.report.traffic = self.network.counters;
        self.report.faults.merge(&self.coalition.told);
        self.report.faults.add(Fault::Loss, self.network.counters.lost);
        self.report
            .faults
            .add(Fault::Straggler, self.network.counters.late);
    }

    fn count_node(&mut self, at: usize) {
        if let Some(replica) = &self.nodes[at].replica {
            let counters = replica.counters();
            self.report.view_changes += counters.view_changes;
            self.report.resets += counters.resets;
            self.report.excluded += counters.excluded;
            self.report.pipelined += counters.heights_in_flight_sum - counters.proposals;
        }
    }

    /// FNV-1a over what happens: two runs of one seed must agree in it.
    fn trace(&mut self, words: &[u64]) {
        for word in words.iter().chain(&[self.now.0]) {
            self.report.trace = (self.report.trace ^ word).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// A duration of a node: longer when it is the slow one.
    fn of_node(&self, me: MemberIndex, duration: Duration) -> Duration {
        match self.options.slow {
            Some((slow, factor)) if slow == me.0 => duration * factor as u32,
            _ => duration,
        }
    }
}
