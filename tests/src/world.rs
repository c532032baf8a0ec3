//! Virtual time: one queue of events, one node after the other, and the checks after each.

use ledger::{Inline, StateChanges};
use replica::{Effect, Event};
use types::block::Block;
use types::client::Answer;
use types::message::PeerMessage;
use types::record::LogRecord;
use types::time::Duration;
use types::{ConnectionId, MemberIndex, Sequence, Time};

use crate::clients::Clients;
use crate::faults::Options;
use crate::invariants::agreement::Agreement;
use crate::invariants::model::Model;
use crate::invariants::votes::Votes;
use crate::invariants::{Checked, Violation, conservation, liveness, queues, receipts};
use crate::network::Network;
use crate::node::Node;
use crate::queue::{Queue, What};
use crate::report::Report;
use crate::rng::SimRng;
use crate::rogue::Rogue;
use crate::setup::Setup;

/// A node that has nothing to wait for would spin; the world gives it this much rest and counts it.
const REST: Duration = Duration::from_micros(200);
/// State changes between two walks over a node's ledger.
const WALK_EVERY: u64 = 64;

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
    rogue: Option<Rogue>,
    model: Model,
    agreement: Agreement,
    votes: Votes,
    supply: u128,
    states: u64,
    healed: bool,
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
    result
        .map(|()| world.report)
        .map_err(|violation| Box::new((violation, world.report)))
}

impl World {
    fn new(options: Options) -> Self {
        let setup = Setup::new(&options);
        let members = (0..options.validators).map(MemberIndex);
        let genesis = setup.context.genesis_hash;
        Self {
            rng: SimRng::new(options.seed, 0),
            now: Time(1_000),
            queue: Queue::default(),
            nodes: members.map(|me| Node::new(me, &setup)).collect(),
            network: Network::new(&options),
            clients: Clients::default(),
            rogue: options.rogue.map(|me| Rogue::new(MemberIndex(me), genesis)),
            model: Model::new(&setup),
            agreement: Agreement::default(),
            votes: Votes::default(),
            supply: setup
                .coins
                .iter()
                .map(|(_, utxo)| u128::from(utxo.amount.0))
                .sum(),
            states: 0,
            healed: false,
            report: Report::default(),
            setup,
            options,
        }
    }

    fn run(&mut self) -> Checked {
        for member in 0..self.options.validators {
            let at = self.now + self.rng.micros(0, self.options.start_micros);
            self.at(at, What::Start(MemberIndex(member)));
        }
        let start = self.now;
        self.at(start, What::Clients);
        if self.rogue.is_some() {
            self.at(start, What::Rogue);
        }
        self.schedule_fault(self.options.crash_pause, What::Crash);
        self.schedule_fault(self.options.partition_pause, What::Partition);
        self.run_until(start + self.options.safety, |_| false)?;
        self.heal()?;
        let at_heal = self.agreement.highest();
        let end = self.now + self.options.liveness;
        self.run_until(end, |world| {
            liveness::is_done(&world.nodes, &world.clients, at_heal)
        })?;
        liveness::check(&self.nodes, &self.clients, at_heal)?;
        for node in &self.nodes {
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

    fn schedule_fault(&mut self, pause: Option<Duration>, what: What) {
        if let Some(pause) = pause {
            let micros = pause.as_micros() as u64;
            let at = self.now + self.rng.micros(micros / 4, micros * 2);
            self.at(at, what);
        }
    }

    fn happen(&mut self, what: What) -> Checked {
        match what {
            What::Deliver { to, from, message } => {
                self.trace(&[1, to.0.into(), from.0.into(), message.kind().into()]);
                self.event(to, None, Event::Peer { from, message })
            }
            What::Durable(me, life, seq) => {
                self.trace(&[2, me.0.into(), seq.0]);
                self.durable(me, life, seq)
            }
            What::Checked(me, life, hash, checked) => {
                self.trace(&[3, me.0.into(), u64::from(hash.0[0])]);
                self.event(me, Some(life), Event::BodyChecked { hash, checked })
            }
            What::Timer(me, life) => self.timer(me, life),
            What::Start(me) => self.start(me),
            What::Clients => self.act_as_clients(),
            What::Rogue => {
                self.act_as_rogue();
                Ok(())
            }
            What::Crash if !self.healed => {
                self.crash();
                Ok(())
            }
            What::Partition if !self.healed => {
                let asymmetric = self.rng.chance(self.options.asymmetric);
                self.network.partition(&mut self.rng, asymmetric);
                let lasts = self.rng.micros(10_000, 800_000);
                self.at(self.now + lasts, What::Mend);
                self.schedule_fault(self.options.partition_pause, What::Partition);
                Ok(())
            }
            What::Mend => {
                self.network.mend();
                self.reconnect()
            }
            What::Crash | What::Partition => Ok(()),
        }
    }

    fn node(&mut self, me: MemberIndex) -> &mut Node {
        &mut self.nodes[usize::from(me.0)]
    }

    fn event(&mut self, me: MemberIndex, life: Option<u64>, event: Event) -> Checked {
        let now = self.now;
        let node = self.node(me);
        if life.is_some_and(|life| life != node.life) {
            return Ok(());
        }
        let Some(replica) = &mut node.replica else {
            return Ok(());
        };
        replica.handle_event(now, event, &Inline);
        self.after(me)
    }

    fn timer(&mut self, me: MemberIndex, life: u64) -> Checked {
        let now = self.now;
        let node = self.node(me);
        if node.life != life || node.timer != Some(now) {
            return Ok(());
        }
        node.timer = None;
        let Some(replica) = &mut node.replica else {
            return Ok(());
        };
        replica.handle_timeout(now, &Inline);
        self.trace(&[4, me.0.into(), now.0]);
        self.after(me)
    }

    fn start(&mut self, me: MemberIndex) -> Checked {
        let now = self.now;
        let at = usize::from(me.0);
        if self.nodes[at].replica.is_some() {
            return Ok(());
        }
        self.trace(&[5, me.0.into(), now.0]);
        let node = &mut self.nodes[at];
        self.report.recoveries += u64::from(node.life > 0);
        node.start(now, &self.setup)
            .map_err(|reason| Violation::new("recovery", format!("member {me} does not start: {reason}")))?;
        self.after(me)?;
        for other in 0..self.options.validators {
            let other = MemberIndex(other);
            if other != me {
                self.event(other, None, Event::PeerConnected(me))?;
            }
        }
        Ok(())
    }

    fn reconnect(&mut self) -> Checked {
        for me in 0..self.options.validators {
            for other in (0..self.options.validators).filter(|other| *other != me) {
                self.event(MemberIndex(me), None, Event::PeerConnected(MemberIndex(other)))?;
            }
        }
        Ok(())
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

    /// A message leaves its sender.
    fn leave(&mut self, from: MemberIndex, to: MemberIndex, message: PeerMessage) -> Checked {
        let disk = &self.nodes[usize::from(from.0)].disk;
        self.votes.on_wire(from, &message, disk)?;
        for at in self.network.arrivals(&mut self.rng, self.now, from, to) {
            let message = message.clone();
            self.at(at, What::Deliver { to, from, message });
        }
        Ok(())
    }

    fn send(
        &mut self,
        me: MemberIndex,
        to: MemberIndex,
        message: PeerMessage,
        after: Option<Sequence>,
    ) -> Checked {
        let node = self.node(me);
        match after {
            Some(seq) if seq > node.disk.durable_seq() => {
                node.held.entry(seq).or_default().push((to, message));
                Ok(())
            }
            _ => self.leave(me, to, message),
        }
    }

    /// Carries out what a node wants done, checks it, and sets its timer.
    fn after(&mut self, me: MemberIndex) -> Checked {
        let mut effects = 0;
        while let Some(effect) = self
            .node(me)
            .replica
            .as_mut()
            .and_then(replica::Replica::poll_effect)
        {
            effects += 1;
            self.carry_out(me, effect)?;
        }
        let events = self.queue.len();
        queues::check(&self.nodes[usize::from(me.0)], effects, events)?;
        let now = self.now;
        let node = self.node(me);
        let Some(replica) = &node.replica else {
            return Ok(());
        };
        let wanted = replica.poll_timeout();
        let due = if wanted <= now { now + REST } else { wanted };
        if node.timer != Some(due) && !(wanted <= now && node.timer.is_some_and(|at| at <= due)) {
            node.timer = Some(due);
            let life = node.life;
            self.report.hot_timers += u64::from(wanted <= now);
            self.at(due, What::Timer(me, life));
        }
        Ok(())
    }

    fn carry_out(&mut self, me: MemberIndex, effect: Effect) -> Checked {
        let life = self.node(me).life;
        match effect {
            Effect::Send { to, message, after } => self.send(me, to, message, after),
            Effect::Broadcast { message, after } => (0..self.options.validators)
                .map(MemberIndex)
                .filter(|to| *to != me)
                .try_for_each(|to| self.send(me, to, message.clone(), after)),
            Effect::CheckBody { hash, header, bytes } => {
                let checked = self.setup.check_body(&header, &bytes);
                let (low, high) = self.options.check_micros;
                let at = self.now + self.rng.micros(low, high);
                self.at(at, What::Checked(me, life, hash, checked));
                Ok(())
            }
            Effect::Persist { seq, records, sync } => self.persist(me, seq, records, sync),
            Effect::WriteState(changes) => self.write_state(me, *changes),
            Effect::Answer { connection, answer } => self.answer(connection, &answer),
            Effect::ServeBlocks { to, from, count } => {
                let blocks = self.node(me).disk.final_blocks(from, count);
                if blocks.is_empty() {
                    return Ok(());
                }
                self.leave(me, to, PeerMessage::Blocks(blocks))
            }
            Effect::ServeBody { to, hash } => match self.node(me).disk.author_block(&hash) {
                Some(block) => self.leave(me, to, PeerMessage::AuthorBlock(block)),
                None => Ok(()),
            },
            Effect::Halt(reason) => Err(Violation::new("no halt", format!("member {me} halts: {reason}"))),
        }
    }

    fn persist(&mut self, me: MemberIndex, seq: Sequence, records: Vec<LogRecord>, sync: bool) -> Checked {
        for record in &records {
            match record {
                LogRecord::AuthorBlock(block) => self.model.on_author_block(block),
                LogRecord::Committed(committed) => self.on_final(me, &committed.block)?,
                _ => {}
            }
        }
        let node = self.node(me);
        node.disk.append(seq, records);
        if sync {
            let life = node.life;
            let (low, high) = self.options.sync_micros;
            let at = self.now + self.rng.micros(low, high);
            self.at(at, What::Durable(me, life, seq));
        }
        Ok(())
    }

    fn on_final(&mut self, me: MemberIndex, block: &Block) -> Checked {
        let hash = crypto::hash::final_header_hash(&block.header);
        self.trace(&[6, me.0.into(), block.header.height.0, u64::from(hash.0[0])]);
        self.agreement.on_final(me, block.header.height, hash)?;
        self.model.on_final(&self.setup, block)
    }

    fn write_state(&mut self, me: MemberIndex, changes: StateChanges) -> Checked {
        self.model.on_state(me, &changes)?;
        self.states += 1;
        let walk = self.states.is_multiple_of(WALK_EVERY);
        let supply = self.supply;
        let at = usize::from(me.0);
        if let Some(replica) = &self.nodes[at].replica {
            conservation::check_sums(me, replica.ledger(), supply)?;
            if walk {
                conservation::check_walk(me, replica.ledger())?;
            }
        }
        self.nodes[at].disk.write_state(&mut self.rng, changes);
        Ok(())
    }

    fn answer(&mut self, connection: ConnectionId, answer: &Answer) -> Checked {
        let finals = self.clients.on_answer(connection, answer)?;
        if let Answer::Final(note) = answer {
            receipts::check(&self.setup, &self.model, note, &finals)?;
        }
        Ok(())
    }

    /// Nodes that run and take clients; nobody sends to a member that lies.
    fn serving(&self) -> Vec<MemberIndex> {
        let rogue = self.rogue.as_ref().map(Rogue::member);
        self.nodes
            .iter()
            .filter(|node| node.replica.is_some() && Some(node.me) != rogue)
            .map(|node| node.me)
            .collect()
    }

    fn act_as_clients(&mut self) -> Checked {
        if self.healed {
            return Ok(());
        }
        let up = self.serving();
        for (node, admissions) in self.clients.act(&mut self.rng, &self.setup, &self.model, &up) {
            self.trace(&[7, node.0.into(), u64::from(admissions[0].txid.0[0])]);
            self.event(node, None, Event::Admitted(admissions))?;
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

    fn act_as_rogue(&mut self) {
        let Some(rogue) = &mut self.rogue else { return };
        if self.healed {
            return;
        }
        let me = rogue.member();
        for (to, message) in rogue.act(&mut self.rng, &self.setup, &self.model, self.now) {
            for at in self.network.arrivals(&mut self.rng, self.now, me, to) {
                let message = message.clone();
                self.at(
                    at,
                    What::Deliver {
                        to,
                        from: me,
                        message,
                    },
                );
            }
        }
        let at = self.now + self.rng.micros(5_000, 200_000);
        self.at(at, What::Rogue);
    }

    fn crash(&mut self) {
        let all = self.rng.chance(self.options.power_loss);
        let one = MemberIndex(self.rng.below(self.options.validators.into()) as u16);
        for at in 0..self.nodes.len() {
            let me = self.nodes[at].me;
            if (!all && me != one) || self.nodes[at].replica.is_none() {
                continue;
            }
            self.trace(&[8, me.0.into(), self.now.0]);
            self.count_node(at);
            self.nodes[at].stop(&mut self.rng);
            self.clients.on_node_down(me);
            let micros = self.options.down_max.as_micros() as u64;
            let back = self.now + self.rng.micros(1_000, micros);
            self.at(back, What::Start(me));
        }
        self.schedule_fault(self.options.crash_pause, What::Crash);
    }

    /// Faults end: links mend, nodes start, clients stop sending.
    fn heal(&mut self) -> Checked {
        self.healed = true;
        self.network.heal();
        self.options.sync_micros = (50, 500);
        self.options.check_micros = (20, 200);
        for member in 0..self.options.validators {
            self.start(MemberIndex(member))?;
        }
        self.reconnect()
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

    fn finish_report(&mut self) {
        for at in 0..self.nodes.len() {
            self.count_node(at);
        }
        self.report.simulated = self.now.since(Time(0));
        self.report.height = self.agreement.highest().0;
        self.report.seen = self.clients.seen;
        self.report.traffic = self.network.counters;
    }

    /// FNV-1a over what happens: two runs of one seed must agree in it.
    fn trace(&mut self, words: &[u64]) {
        for word in words.iter().chain(&[self.now.0]) {
            self.report.trace = (self.report.trace ^ word).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
