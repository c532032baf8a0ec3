//! What nodes want done is done, and checked.

use ledger::StateChanges;
use replica::Effect;
use types::block::Block;
use types::client::Answer;
use types::message::PeerMessage;
use types::record::LogRecord;
use types::time::Duration;
use types::{ConnectionId, MemberIndex, Sequence};

use super::World;
use crate::invariants::votes::Votes;
use crate::invariants::{Checked, Violation, conservation, queues, receipts};
use crate::queue::What;

/// A node that has nothing to wait for would spin; the world gives it this much rest.
const REST: Duration = Duration::from_micros(200);
/// State changes between two walks over a node's ledger.
const WALK_EVERY: u64 = 64;
/// Bounds of a write of a slow disk, in microseconds.
const SLOW_SYNC_MICROS: (u64, u64) = (80_000, 120_000);

impl World {
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
    pub(super) fn after(&mut self, me: MemberIndex) -> Checked {
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
        self.note_view(me);
        let now = self.now;
        let node = self.node(me);
        let Some(replica) = &node.replica else {
            return Ok(());
        };
        let wanted = replica.poll_timeout();
        let is_due = wanted <= node.clock.at(now);
        let due = if is_due {
            now + REST
        } else {
            node.clock.world(wanted)
        };
        if node.timer != Some(due) && !(is_due && node.timer.is_some_and(|at| at <= due)) {
            node.timer = Some(due);
            let life = node.life;
            self.at(due, What::Timer(me, life));
        }
        Ok(())
    }

    /// Counts liars that led a view which honest members have left.
    fn note_view(&mut self, me: MemberIndex) {
        let Some(replica) = &self.nodes[usize::from(me.0)].replica else {
            return;
        };
        let (view, is_open) = replica.view();
        if !is_open || view <= self.view_open || !self.is_honest(me) {
            return;
        }
        let committee = &self.setup.epoch.committees[0];
        let left = (self.view_open.0..view.0).map(types::View);
        let liars = left.filter(|view| self.options.liars.contains(&committee.leader(*view)));
        self.report.liars_replaced += liars.count() as u64;
        self.view_open = view;
    }

    fn carry_out(&mut self, me: MemberIndex, effect: Effect) -> Checked {
        match effect {
            Effect::Send { to, message, after } => self.send(me, to, message, after),
            Effect::Broadcast { message, after } => (0..self.options.members())
                .map(MemberIndex)
                .filter(|to| *to != me)
                .try_for_each(|to| self.send(me, to, message.clone(), after)),
            Effect::CheckBody {
                hash,
                header,
                bytes,
                checks,
            } => self.check_body(me, (hash, &header), &bytes, &checks),
            Effect::Recheck { hash } => {
                self.recheck(me, hash);
                Ok(())
            }
            Effect::Persist { seq, records, sync } => self.persist(me, seq, records, sync),
            Effect::WriteState(changes) => self.write_state(me, *changes),
            Effect::Answer { connection, answer } => self.answer(me, connection, &answer),
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
            // What a liar tells its own replica may stop it.
            Effect::Halt(_) if !self.is_honest(me) => {
                self.count_node(usize::from(me.0));
                self.node(me).replica = None;
                Ok(())
            }
            Effect::Halt(reason) => Err(Violation::new("no halt", format!("member {me} halts: {reason}"))),
        }
    }

    fn persist(&mut self, me: MemberIndex, seq: Sequence, records: Vec<LogRecord>, sync: bool) -> Checked {
        for record in &records {
            match record {
                LogRecord::AuthorBlock(block) => self.model.on_author_block(block),
                LogRecord::Committed(committed) if self.is_honest(me) => {
                    self.on_final(me, &committed.block)?;
                }
                LogRecord::NewView(opening) if self.is_honest(me) => {
                    Votes::on_opening(me, opening, &self.node(me).disk)?;
                }
                _ => {}
            }
        }
        let node = self.node(me);
        node.disk.append(seq, records);
        if sync {
            let life = node.life;
            let (low, high) = if self.options.slow_disk == Some(me.0) {
                SLOW_SYNC_MICROS
            } else {
                self.options.sync_micros
            };
            let lasts = self.rng.micros(low, high);
            let at = self.now + self.of_node(me, lasts);
            self.at(at, What::Durable(me, life, seq));
        }
        Ok(())
    }

    fn on_final(&mut self, me: MemberIndex, block: &Block) -> Checked {
        let hash = crypto::hash::final_header_hash(&block.header);
        self.trace(&[6, me.0.into(), block.header.height.0, u64::from(hash.0[0])]);
        self.agreement.on_final(me, block.header.height, hash)?;
        let Some(outcome) = self.model.on_final(&self.setup, block)? else {
            return Ok(());
        };
        let lives: Vec<u64> = self.nodes.iter().map(|node| node.life).collect();
        self.promises.on_final(&self.setup, &self.model, &outcome, &lives)
    }

    fn write_state(&mut self, me: MemberIndex, changes: StateChanges) -> Checked {
        let at = usize::from(me.0);
        if self.is_honest(me) {
            self.model.on_state(me, &changes)?;
            self.states += 1;
            let walk = self.states.is_multiple_of(WALK_EVERY);
            if let Some(replica) = &self.nodes[at].replica {
                conservation::check_sums(me, replica.ledger(), self.supply)?;
                if walk {
                    conservation::check_walk(me, replica.ledger())?;
                }
            }
        }
        self.nodes[at].disk.write_state(&mut self.rng, changes);
        Ok(())
    }

    fn answer(&mut self, me: MemberIndex, connection: ConnectionId, answer: &Answer) -> Checked {
        let promised = self.clients.on_answer(connection, answer)?;
        if let Answer::Receipts(receipts) = answer {
            self.report.league.receipts += promised.receipts.len() as u64;
            let author = (me, &self.nodes[usize::from(me.0)].disk);
            return self
                .promises
                .on_receipts(&self.setup, author, &receipts.author, &promised.receipts);
        }
        if let Answer::Final(note) = answer {
            receipts::check(&self.setup, &self.model, note, &promised.finals)?;
            let hash = crypto::hash::final_header_hash(&note.header);
            if self.told.insert(hash) {
                receipts::check_durable(&self.options, &self.setup, &self.nodes, &hash)?;
            }
        }
        Ok(())
    }
}
