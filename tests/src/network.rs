//! Links: delay, loss, copies, reordering, partitions. Who sent a message is known for certain, as over TLS.

use std::collections::BTreeSet;

use types::time::Duration;
use types::{MemberIndex, Time};

use crate::faults::Options;
use crate::rng::SimRng;

/// Every link of the shard.
#[derive(Debug)]
pub struct Network {
    size: u16,
    hop: (u64, u64),
    loss: u64,
    copies: u64,
    stragglers: u64,
    slow: Option<(u16, u64)>,
    /// Directed links that carry nothing now.
    cut: BTreeSet<(MemberIndex, MemberIndex)>,
    /// Of them, those that come and go by themselves.
    flapping: BTreeSet<(MemberIndex, MemberIndex)>,
    /// Messages sent, lost and delivered twice.
    pub counters: Traffic,
}

/// What the network did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Messages handed to the network.
    pub sent: u64,
    /// Messages that never arrive.
    pub lost: u64,
    /// Messages that arrive twice.
    pub copied: u64,
    /// Messages that arrive behind later ones.
    pub late: u64,
}

impl Network {
    /// Links without partitions.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        Self {
            size: options.members(),
            hop: options.hop_micros,
            loss: options.loss,
            copies: options.copies,
            stragglers: options.stragglers,
            slow: options.slow,
            cut: BTreeSet::new(),
            flapping: BTreeSet::new(),
            counters: Traffic {
                sent: 0,
                lost: 0,
                copied: 0,
                late: 0,
            },
        }
    }

    /// When a message sent now arrives: never, once or twice.
    pub fn arrivals(&mut self, rng: &mut SimRng, now: Time, from: MemberIndex, to: MemberIndex) -> Vec<Time> {
        self.counters.sent += 1;
        let is_cut = self.cut.contains(&(from, to)) || self.flapping.contains(&(from, to));
        if is_cut || rng.chance(self.loss) {
            self.counters.lost += 1;
            return Vec::new();
        }
        let mut arrivals = vec![now + self.hop(rng, from, to)];
        if rng.chance(self.copies) {
            self.counters.copied += 1;
            arrivals.push(now + 3 * self.hop(rng, from, to));
        }
        arrivals
    }

    fn hop(&mut self, rng: &mut SimRng, from: MemberIndex, to: MemberIndex) -> Duration {
        let (low, high) = self.hop;
        let mut hop = rng.micros(low, high);
        if rng.chance(self.stragglers) {
            self.counters.late += 1;
            hop *= 10;
        }
        if let Some((node, factor)) = self.slow
            && (from.0 == node || to.0 == node)
        {
            hop *= factor as u32;
        }
        hop
    }

    /// Cuts the members in two groups, or one group's way to the other only.
    pub fn partition(&mut self, rng: &mut SimRng, asymmetric: bool) {
        let side: Vec<bool> = (0..self.size).map(|_| rng.chance(500)).collect();
        for from in 0..self.size {
            for to in 0..self.size {
                let (left, right) = (side[usize::from(from)], side[usize::from(to)]);
                if left != right && (!asymmetric || left) {
                    self.cut.insert((MemberIndex(from), MemberIndex(to)));
                }
            }
        }
    }

    /// Cuts one link in one direction or both, or lets it carry again.
    pub fn flap(&mut self, rng: &mut SimRng) {
        let from = MemberIndex(rng.below(self.size.into()) as u16);
        let to = MemberIndex(rng.below(self.size.into()) as u16);
        if self.flapping.remove(&(from, to)) {
            return;
        }
        // At most a link for each member at a time: the oldest comes back.
        if self.flapping.len() >= usize::from(self.size) {
            self.flapping.pop_first();
        }
        self.flapping.insert((from, to));
        if rng.chance(500) {
            self.flapping.insert((to, from));
        }
    }

    /// Ends all partitions.
    pub fn mend(&mut self) {
        self.cut.clear();
    }

    /// Whether some link is cut.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        !self.cut.is_empty()
    }

    /// From now on links are quick and lose nothing; copies stay.
    pub fn heal(&mut self) {
        self.mend();
        self.flapping.clear();
        self.hop = (50, 1_000);
        self.loss = 0;
        self.stragglers = 0;
        self.slow = None;
    }
}
