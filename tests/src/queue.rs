//! Events to come, by virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use replica::Event;
use types::message::PeerMessage;
use types::{MemberIndex, Sequence, Time};

/// What is about to happen.
#[derive(Debug)]
pub(crate) enum What {
    Deliver {
        to: MemberIndex,
        from: MemberIndex,
        message: PeerMessage,
    },
    /// Both are connected again: `to` may lack what `from` sent.
    Connect {
        to: MemberIndex,
        from: MemberIndex,
    },
    Durable(MemberIndex, u64, Sequence),
    Checked(MemberIndex, u64, Box<Event>),
    Timer(MemberIndex, u64),
    Start(MemberIndex),
    Clients,
    Lies,
    Rogue,
    /// Lying candidates say something on their own.
    Cheats,
    /// A lying candidate hides a forged transaction among those that it takes.
    Forge,
    /// All candidates go down.
    Outage,
    Kill,
    PowerLoss,
    Partition,
    Mend,
    Flap,
    Freeze,
}

impl What {
    /// The node that has to do something, if it is one that can be frozen.
    pub(crate) const fn member(&self) -> Option<MemberIndex> {
        match self {
            Self::Deliver { to, .. } | Self::Connect { to, .. } => Some(*to),
            Self::Durable(me, ..) | Self::Checked(me, ..) | Self::Timer(me, _) => Some(*me),
            _ => None,
        }
    }
}

/// An event with its time; among equal times the order of scheduling decides.
#[derive(Debug)]
struct Due {
    at: Time,
    order: u64,
    what: What,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    order: u64,
    heap: BinaryHeap<Reverse<Due>>,
}

impl Queue {
    /// Schedules an event.
    pub(crate) fn push(&mut self, at: Time, what: What) {
        self.order += 1;
        self.heap.push(Reverse(Due {
            at,
            order: self.order,
            what,
        }));
    }

    /// Next event, when it is due by `end`.
    pub(crate) fn pop_until(&mut self, end: Time) -> Option<(Time, What)> {
        if self.heap.peek().is_none_or(|Reverse(due)| due.at > end) {
            return None;
        }
        self.heap.pop().map(|Reverse(due)| (due.at, due.what))
    }

    /// Events under way.
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }
}
