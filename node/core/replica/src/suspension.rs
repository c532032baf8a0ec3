//! A nearly full disk: nothing is taken on that would have to be written, everything else goes on.

use ledger::Executor;
use types::message::PeerMessage;
use types::{Reject, Time};

use crate::event::Event;
use crate::replica::Replica;

impl Replica {
    /// Whether the disk was reported to be nearly full.
    #[must_use]
    pub const fn is_suspended(&self) -> bool {
        self.suspended
    }

    /// Stops or goes on. Going on is like a link that comes back: timers start anew, and what was missed is asked for.
    pub(crate) fn set_suspended(&mut self, now: Time, low: bool) {
        let returns = self.suspended && !low;
        self.suspended = low;
        if low {
            // Own messages that were held back are re-sent later, out of what is on record.
            self.loopback.clear();
        }
        if returns {
            self.pbft.resume_after_pause(now);
            for member in 0..self.committee.members.len() as u16 {
                self.send_own_blocks(types::MemberIndex(member));
            }
        }
    }

    /// Events while suspended: clients are answered, peers are served, nothing is begun.
    pub(crate) fn handle_suspended(&mut self, now: Time, event: Event, executor: &dyn Executor) {
        match event {
            Event::Space { low } => {
                self.set_suspended(now, low);
                if !low {
                    return self.advance(now, executor);
                }
            }
            Event::Admitted(admissions) | Event::SlowAdmitted(admissions) => {
                for admission in admissions {
                    self.refuse(admission.connection, admission.tag, Reject::Busy);
                }
            }
            Event::ClientClosed(connection) => self.author.on_closed(connection),
            Event::StatusAsked { connection, txids } => self.answer_status(connection, &txids),
            Event::StateAsked(connection) => self.answer_state(connection),
            Event::Peer {
                from,
                message: PeerMessage::Fetch(fetch),
            } => self.serve(from, fetch),
            Event::BodyChecked { hash, .. } => {
                // Not recorded, so not held: it is fetched again when a block refers to it.
                let group = self.pool.get(&hash).map(|held| held.header.header.group);
                if let Some(index) = group.and_then(|group| self.groups().index(group)) {
                    self.pool.forget(index, &hash);
                }
            }
            Event::Durable(seq) => self.on_standing_durable(now, seq),
            Event::Peer { .. } | Event::PeerConnected(_) | Event::Rechecked { .. } => {}
        }
        self.flush_refused();
    }
}
