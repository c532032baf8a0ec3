//! What two leagues add to the world: checks of bodies, samples and second checks, cheats, forged transactions.

use bytes::Bytes;
use replica::{Admission, BodyVerdict, Event, SignatureChecks};
use types::block::SignedAuthorHeader;
use types::message::PeerMessage;
use types::{ConnectionId, Hash, MemberIndex, Tag, Time};

use super::World;
use crate::byzantine::authors::forged;
use crate::faults::Fault;
use crate::invariants::model::accused;
use crate::invariants::sampling::Samples;
use crate::invariants::{Checked, Violation};
use crate::league::Cheat;
use crate::queue::What;

/// Most signatures that a thread verifies together.
const TOGETHER_MAX: u64 = 16;
/// Connection of the transactions that a cheating author makes itself: no client hears its answers.
const NOBODY: ConnectionId = ConnectionId(u64::MAX);

impl World {
    /// A body is decoded and its signatures are verified, some time later.
    pub(super) fn check_body(
        &mut self,
        me: MemberIndex,
        (hash, header): (Hash, &SignedAuthorHeader),
        bytes: &Bytes,
        checks: &SignatureChecks,
    ) -> Checked {
        let together = self.rng.between(1, TOGETHER_MAX) as usize;
        let at = usize::from(me.0);
        let (life, local) = (self.nodes[at].life, self.nodes[at].clock.at(self.now));
        self.samples
            .on_check(&self.setup, (me, life, local), (hash, &header.header), checks)?;
        let verdict = self.setup.check_body(header, bytes, checks, together);
        if let BodyVerdict::Checked(checked) = &verdict {
            self.verdicts
                .on_checked(&self.setup, (me, hash), header, checks, checked)?;
            if let Some(author) = self.setup.committee().member_of(header.header.author) {
                self.promises.on_seen(author, hash, &header.header);
            }
            if matches!(checks, SignatureChecks::Sampled(_)) {
                let asked = self.setup.asked(&header.header, &checked.body, checks).len() as u64;
                self.report.league.sampled += asked;
                self.report.league.unsampled += checked.body.len() as u64 - asked;
            }
        }
        let (low, high) = self.options.check_micros;
        let lasts = self.rng.micros(low, high);
        let at = self.now + self.of_node(me, lasts);
        let event = Event::BodyChecked { hash, verdict };
        self.at(at, What::Checked(me, life, Box::new(event)));
        Ok(())
    }

    /// A final body is read from the log and checked whole, some time later.
    pub(super) fn recheck(&mut self, me: MemberIndex, hash: Hash) {
        self.report.league.rechecks += 1;
        let node = &self.nodes[usize::from(me.0)];
        let life = node.life;
        let found = node.disk.author_block(&hash);
        let forged = found.map_or_else(Vec::new, |block| {
            self.setup
                .recheck_body(&block.header, &block.body, TOGETHER_MAX as usize)
        });
        let (low, high) = self.options.check_micros;
        let lasts = self.rng.micros(low, 4 * high);
        let at = self.now + self.of_node(me, lasts);
        let event = Event::Rechecked { hash, forged };
        self.at(at, What::Checked(me, life, Box::new(event)));
    }

    /// A check has ended: from now on its voter may vote for the block.
    pub(super) fn note_checked(&mut self, me: MemberIndex, life: u64, event: &Event) {
        let node = &self.nodes[usize::from(me.0)];
        let Event::BodyChecked { hash, verdict } = event else {
            return;
        };
        let Some(replica) = node.replica.as_ref().filter(|_| node.life == life) else {
            return;
        };
        let clean = matches!(verdict, BodyVerdict::Checked(checked) if checked.bad_signatures.is_empty());
        self.samples.on_checked(me, *hash, clean);
        if clean {
            self.promises.on_held(me, *hash, life, replica.committed().0);
        }
    }

    /// An honest member's message: votes come after samples, and nobody honest is accused.
    pub(super) fn watch_leagues(&mut self, from: MemberIndex, message: &PeerMessage) -> Checked {
        if self.options.leagues.is_none() {
            return Ok(());
        }
        let node = &self.nodes[usize::from(from.0)];
        if let Some(block) = Samples::voted(message, &node.disk) {
            let local = node.clock.at(self.now);
            self.samples
                .on_prepare(&self.setup, (from, node.life, local), block)?;
        }
        if let PeerMessage::FraudProof(evidence) = message {
            self.report.league.proofs += 1;
            let Some(member) = accused(self.setup.committee(), evidence) else {
                return Ok(());
            };
            if self.is_honest(member) {
                let known = self.model.history(evidence);
                let detail = format!("member {from} accuses member {member}: {known}; {evidence:?}");
                return Err(Violation::new("no honest accused", detail));
            }
            self.accused.insert(member);
        }
        Ok(())
    }

    /// Schedules the first acts of candidates that cheat.
    pub(super) fn begin_cheats(&mut self, start: Time) {
        if self.cheats.is_none() || self.options.liars.is_empty() {
            return;
        }
        self.at(start, What::Cheats);
        if self.options.cheats(Cheat::Forge) {
            self.at(start, What::Forge);
        }
    }

    /// A lying candidate's message leaves, or what it says in its place.
    pub(super) fn cheat(&mut self, from: MemberIndex, to: MemberIndex, message: PeerMessage) {
        let Some(cheats) = &mut self.cheats else {
            return;
        };
        let said = cheats.speak(&mut self.rng, (&self.setup, &self.model), (from, to), message);
        for message in said {
            self.travel(from, to, message);
        }
    }

    /// A lying leader's proposal may carry other records than its replica chose, and then its votes are for that.
    pub(super) fn mislead(&mut self, from: MemberIndex, message: PeerMessage) -> PeerMessage {
        match (message, &mut self.cheats) {
            (PeerMessage::Propose(propose), Some(cheats)) => {
                PeerMessage::Propose(cheats.propose(&mut self.rng, (&self.setup, &self.model), from, propose))
            }
            (PeerMessage::Vote(vote), Some(cheats)) => {
                PeerMessage::Vote(cheats.vote(&self.setup, from, vote))
            }
            (message, _) => message,
        }
    }

    pub(super) fn act_as_cheats(&mut self) -> Checked {
        let Some(cheats) = &mut self.cheats else {
            return Ok(());
        };
        for (from, to, message) in cheats.act(&mut self.rng, &self.model) {
            self.travel(from, to, message);
        }
        let at = self.now + self.rng.micros(5_000, 100_000);
        self.at(at, What::Cheats);
        Ok(())
    }

    /// A cheating author's replica is handed a transaction that nobody signed, as if its signatures were verified.
    pub(super) fn forge(&mut self) -> Checked {
        if self.healed {
            return Ok(());
        }
        let Some(leagues) = &self.options.leagues else {
            return Ok(());
        };
        let micros = leagues.forge_pause.as_micros() as u64;
        let at = self.now + self.rng.micros(micros / 4, micros * 2);
        self.at(at, What::Forge);
        let authors: Vec<(u16, MemberIndex)> = (0..self.model.groups())
            .filter_map(|group| Some((group, self.model.author(group)?)))
            .filter(|(_, author)| !self.is_honest(*author))
            .collect();
        let Some((group, author)) = self.rng.pick(&authors).copied() else {
            return Ok(());
        };
        let groups = self.model.groups();
        let made = forged(&mut self.rng, &self.setup, &self.model, |owner| {
            self.setup.group_of(owner, groups) == group
        });
        let Some((txid, bytes)) = made else {
            return Ok(());
        };
        self.report.faults.count(Fault::Cheat(Cheat::Forge));
        self.report.league.forged += 1;
        let admission = Admission {
            connection: NOBODY,
            tag: Tag(self.report.league.forged as u32),
            txid,
            bytes,
        };
        self.event(author, None, Event::Admitted(vec![admission]))
    }
}
