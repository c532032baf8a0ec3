//! What happened to every transaction, written while the run goes on: one slot per transaction, no map, no lock.
//!
//! Invariant: a slot's outcome is written once; a second answer for the same transaction is counted as
//! contradictory and changes nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use types::Reject;

use crate::accounting::{Outcome, Sending, Tallies};

const SHED: u64 = u64::MAX;
const CODE_FINAL: u64 = 100;
const CODE_LOST: u64 = 101;
const TIME_BITS: u32 = 56;

/// Slots of all transactions of a run, with counters for progress and for the balance.
#[derive(Debug)]
pub struct Recording {
    /// Time of sending plus one; 0 = not yet.
    sent: Vec<AtomicU64>,
    /// Outcome code and time; 0 = none.
    done: Vec<AtomicU64>,
    /// Time of the first optimistic receipt plus one; 0 = none.
    optimistic: Vec<AtomicU64>,
    due_count: AtomicU64,
    shed_count: AtomicU64,
    sent_count: AtomicU64,
    final_count: AtomicU64,
    optimistic_count: AtomicU64,
    rejected_count: AtomicU64,
    lost_count: AtomicU64,
    contradictions: AtomicU64,
    live: LiveLatency,
}

impl Recording {
    /// Empty slots for `count` transactions: 24 bytes each.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let slots = || std::iter::repeat_with(AtomicU64::default).take(count).collect();
        Self {
            sent: slots(),
            done: slots(),
            optimistic: slots(),
            due_count: AtomicU64::new(0),
            shed_count: AtomicU64::new(0),
            sent_count: AtomicU64::new(0),
            final_count: AtomicU64::new(0),
            optimistic_count: AtomicU64::new(0),
            rejected_count: AtomicU64::new(0),
            lost_count: AtomicU64::new(0),
            contradictions: AtomicU64::new(0),
            live: LiveLatency::default(),
        }
    }

    /// Number of slots.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sent.len()
    }

    /// True without slots.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// The time of this many more transactions has come.
    pub fn add_due(&self, count: u64) {
        self.due_count.fetch_add(count, Ordering::Relaxed);
    }

    /// A transaction left at this time (nanoseconds from the start of the run).
    pub fn set_sent(&self, index: u32, at_ns: u64) {
        if let Some(slot) = self.sent.get(index as usize) {
            // Release: a receiver that sees the answer must see the sending.
            slot.store(at_ns.saturating_add(1).min(SHED - 1), Ordering::Release);
            self.sent_count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes back `set_sent` of a transaction that its connection had no room for.
    pub fn revoke_sent(&self, index: u32) {
        if let Some(slot) = self.sent.get(index as usize) {
            slot.store(0, Ordering::Release);
            self.sent_count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A transaction will not leave.
    pub fn set_shed(&self, index: u32) {
        if let Some(slot) = self.sent.get(index as usize) {
            slot.store(SHED, Ordering::Release);
            self.shed_count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// When a transaction left, or that it never will; `None` while undecided or without such a slot.
    #[must_use]
    pub fn sending(&self, index: u32) -> Option<Sending> {
        match self.sent.get(index as usize)?.load(Ordering::Acquire) {
            0 => None,
            SHED => Some(Sending::Shed),
            at => Some(Sending::At(at - 1)),
        }
    }

    /// A transaction is final; `intended_ns` feeds the live latency. False, and counted as contradictory, when it was
    /// answered before or never left.
    pub fn set_final(&self, index: u32, at_ns: u64, intended_ns: u64) -> bool {
        let is_first = self.set_outcome(index, CODE_FINAL, at_ns);
        if is_first {
            self.final_count.fetch_add(1, Ordering::Relaxed);
            self.live.add(at_ns.saturating_sub(intended_ns));
        }
        is_first
    }

    /// A transaction that was sent twice was found in the chain. True when nobody had answered it; no answer contradicts.
    pub fn set_found(&self, index: u32, at_ns: u64, intended_ns: u64) -> bool {
        let was_sent = matches!(self.sending(index), Some(Sending::At(_)));
        let is_first = was_sent && self.take_slot(index, CODE_FINAL, at_ns);
        if is_first {
            self.final_count.fetch_add(1, Ordering::Relaxed);
            self.live.add(at_ns.saturating_sub(intended_ns));
        }
        is_first
    }

    /// An optimistic receipt came for a transaction. The first one counts: another replaces its promise, not its time.
    /// False, and counted as contradictory, for one that never left.
    pub fn set_optimistic(&self, index: u32, at_ns: u64) -> bool {
        let was_sent = matches!(self.sending(index), Some(Sending::At(_)));
        if !was_sent {
            self.add_contradiction();
            return false;
        }
        let is_first = self.optimistic.get(index as usize).is_some_and(|slot| {
            let packed = at_ns.saturating_add(1);
            slot.compare_exchange(0, packed, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        });
        self.optimistic_count
            .fetch_add(u64::from(is_first), Ordering::Relaxed);
        true
    }

    /// When the first optimistic receipt of a transaction came.
    #[must_use]
    pub fn optimistic(&self, index: u32) -> Option<u64> {
        let slot = self.optimistic.get(index as usize)?;
        slot.load(Ordering::Relaxed).checked_sub(1)
    }

    /// A transaction was refused; false as in `set_final`.
    pub fn set_rejected(&self, index: u32, reason: Reject, at_ns: u64) -> bool {
        let is_first = self.set_outcome(index, u64::from(reason.code()), at_ns);
        if is_first {
            self.rejected_count.fetch_add(1, Ordering::Relaxed);
        }
        is_first
    }

    /// The connection of a transaction closed; one that was answered or never left stays as it is.
    pub fn set_lost(&self, index: u32, at_ns: u64) {
        let was_sent = matches!(self.sending(index), Some(Sending::At(_)));
        if was_sent && self.take_slot(index, CODE_LOST, at_ns) {
            self.lost_count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn set_outcome(&self, index: u32, code: u64, at_ns: u64) -> bool {
        let was_sent = matches!(self.sending(index), Some(Sending::At(_)));
        let is_first = was_sent && self.take_slot(index, code, at_ns);
        if !is_first {
            self.add_contradiction();
        }
        is_first
    }

    /// Writes an outcome where there is none.
    fn take_slot(&self, index: u32, code: u64, at_ns: u64) -> bool {
        self.done.get(index as usize).is_some_and(|slot| {
            slot.compare_exchange(0, pack(code, at_ns), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        })
    }

    /// An answer that repeats or contradicts an earlier one, or speaks of a tag that was never sent.
    pub fn add_contradiction(&self) {
        self.contradictions.fetch_add(1, Ordering::Relaxed);
    }

    /// Answers that repeated or contradicted an earlier one, or spoke of a tag that was never sent.
    #[must_use]
    pub fn contradictions(&self) -> u64 {
        self.contradictions.load(Ordering::Relaxed)
    }

    /// Outcome of a transaction and when it came.
    #[must_use]
    pub fn outcome(&self, index: u32) -> (Outcome, u64) {
        let packed = self
            .done
            .get(index as usize)
            .map_or(0, |slot| slot.load(Ordering::Relaxed));
        let at_ns = packed & ((1 << TIME_BITS) - 1);
        let outcome = match packed >> TIME_BITS {
            CODE_FINAL => Outcome::Final,
            CODE_LOST => Outcome::Lost,
            code => Reject::from_code(code as u8).map_or(Outcome::Pending, Outcome::Rejected),
        };
        (outcome, at_ns)
    }

    /// What was counted on the way.
    #[must_use]
    pub fn tallies(&self) -> Tallies {
        Tallies {
            due: self.due_count.load(Ordering::Relaxed),
            shed: self.shed_count.load(Ordering::Relaxed),
            sent: self.sent_count.load(Ordering::Relaxed),
            finalised: self.final_count.load(Ordering::Relaxed),
            optimistic: self.optimistic_count.load(Ordering::Relaxed),
            rejected: self.rejected_count.load(Ordering::Relaxed),
        }
    }

    /// Sent and not answered.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        let tallies = self.tallies();
        let lost = self.lost_count.load(Ordering::Relaxed);
        tallies
            .sent
            .saturating_sub(tallies.finalised + tallies.rejected + lost)
    }

    /// Latency of all transactions that are final so far.
    #[must_use]
    pub const fn live(&self) -> &LiveLatency {
        &self.live
    }
}

fn pack(code: u64, at_ns: u64) -> u64 {
    (code << TIME_BITS) | at_ns.min((1 << TIME_BITS) - 1)
}

const SUB_BITS: u32 = 3;
const BUCKETS: usize = 64 << SUB_BITS;

/// A coarse histogram (12 %) that many threads fill: for the progress line and `--abort-on`, never for the report.
#[derive(Debug)]
pub struct LiveLatency {
    buckets: Vec<AtomicU64>,
}

impl Default for LiveLatency {
    fn default() -> Self {
        Self {
            buckets: std::iter::repeat_with(AtomicU64::default).take(BUCKETS).collect(),
        }
    }
}

impl LiveLatency {
    fn add(&self, nanoseconds: u64) {
        if let Some(bucket) = self.buckets.get(bucket_of(nanoseconds)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts so far, to be subtracted from later ones.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u64> {
        self.buckets
            .iter()
            .map(|bucket| bucket.load(Ordering::Relaxed))
            .collect()
    }
}

/// Quantile of the difference of two snapshots, nanoseconds (upper edge of its bucket); `None` when empty.
#[must_use]
pub fn live_quantile(before: &[u64], after: &[u64], quantile: f64) -> Option<u64> {
    let count = |at: usize| {
        let earlier = before.get(at).copied().unwrap_or(0);
        after.get(at).copied().unwrap_or(0).saturating_sub(earlier)
    };
    let total: u64 = (0..after.len()).map(count).sum();
    let rank = ((total as f64 * quantile).ceil() as u64).max(1);
    let mut seen = 0;
    (0..after.len())
        .find(|at| {
            seen += count(*at);
            seen >= rank
        })
        .map(upper_edge)
}

fn bucket_of(value: u64) -> usize {
    let value = value.max(1 << SUB_BITS);
    let exponent = 63 - value.leading_zeros();
    let sub = (value >> (exponent - SUB_BITS)) & ((1 << SUB_BITS) - 1);
    ((exponent as usize) << SUB_BITS) | sub as usize
}

fn upper_edge(bucket: usize) -> u64 {
    let exponent = (bucket >> SUB_BITS) as u32;
    let sub = (bucket & ((1 << SUB_BITS) - 1)) as u64;
    let edge = u128::from((1 << SUB_BITS) + sub + 1) << exponent.saturating_sub(SUB_BITS);
    u64::try_from(edge).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use types::Reject;

    use super::{Recording, live_quantile};
    use crate::accounting::{Outcome, Sending};

    #[test]
    fn the_first_answer_counts_and_any_other_is_a_contradiction() {
        let recording = Recording::new(3);
        recording.set_sent(0, 0);
        recording.set_sent(1, 19);
        recording.revoke_sent(1);
        assert_eq!(recording.sending(1), None);
        recording.set_sent(1, 20);
        recording.set_shed(2);
        recording.set_final(0, 30, 5);
        recording.set_rejected(0, Reject::Busy, 31);
        recording.set_final(0, 32, 5);
        recording.set_rejected(1, Reject::InputSpent, 33);
        recording.set_final(2, 34, 0);
        recording.set_final(9, 35, 0);
        assert_eq!(recording.outcome(0), (Outcome::Final, 30));
        assert_eq!(recording.outcome(1), (Outcome::Rejected(Reject::InputSpent), 33));
        assert_eq!(recording.outcome(2).0, Outcome::Pending);
        assert_eq!(recording.sending(0), Some(Sending::At(0)));
        assert_eq!(recording.sending(2), Some(Sending::Shed));
        assert_eq!(recording.contradictions(), 4);
        let tallies = recording.tallies();
        assert_eq!(
            (tallies.sent, tallies.shed, tallies.finalised, tallies.rejected),
            (2, 1, 1, 1)
        );
        assert_eq!(recording.in_flight(), 0);
    }

    #[test]
    fn the_first_receipt_gives_the_time_and_is_no_outcome() {
        let recording = Recording::new(2);
        recording.set_sent(0, 0);
        assert!(recording.set_optimistic(0, 0));
        assert!(recording.set_optimistic(0, 9), "a receipt may be replaced");
        assert!(!recording.set_optimistic(1, 9), "never sent");
        assert_eq!(
            (recording.optimistic(0), recording.optimistic(1)),
            (Some(0), None)
        );
        assert_eq!(recording.outcome(0).0, Outcome::Pending);
        assert_eq!((recording.in_flight(), recording.tallies().optimistic), (1, 1));
        assert_eq!(recording.contradictions(), 1);
        assert!(recording.set_final(0, 10, 0));
        assert_eq!(recording.in_flight(), 0);
    }

    #[test]
    fn only_sent_and_unanswered_transactions_are_lost() {
        let recording = Recording::new(3);
        recording.set_sent(0, 1);
        recording.set_sent(1, 1);
        recording.set_final(0, 2, 1);
        (0..3).for_each(|index| recording.set_lost(index, 9));
        recording.set_lost(1, 10);
        assert_eq!(recording.outcome(0).0, Outcome::Final);
        assert_eq!(recording.outcome(1), (Outcome::Lost, 9));
        assert_eq!(recording.outcome(2).0, Outcome::Pending);
        assert_eq!((recording.in_flight(), recording.contradictions()), (0, 0));
    }

    #[test]
    fn live_quantiles_are_within_an_eighth() {
        let recording = Recording::new(1000);
        let empty = recording.live().snapshot();
        assert_eq!(live_quantile(&empty, &empty, 0.5), None);
        for index in 0..1000_u32 {
            recording.set_sent(index, 0);
            recording.set_final(index, u64::from(index + 1) * 1_000_000, 0);
        }
        let all = recording.live().snapshot();
        for (quantile, exact) in [(0.5, 500e6), (0.99, 990e6), (0.001, 1e6)] {
            let value = live_quantile(&empty, &all, quantile).expect("filled") as f64;
            assert!(value >= exact && value <= exact * 1.126, "{quantile}: {value}");
        }
    }
}
