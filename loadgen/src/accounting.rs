//! The balance of a run: every transaction is counted once, and the sums must agree with what the pacer and the
//! receivers counted on their own.
//!
//! `scheduled = shed + sent`, `sent = final + rejected + expired + timeout + lost`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use types::Reject;

/// What became of a sent transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No answer when the drain ended.
    Pending,
    /// Final.
    Final,
    /// Refused with this reason.
    Rejected(Reject),
    /// Its connection closed before an answer came, and the node was away to the end or refused a second copy.
    Lost,
}

/// When a transaction left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    /// Never: the client shed it.
    Shed,
    /// At this time, nanoseconds from the start of the run.
    At(u64),
}

/// One scheduled transaction after the run. Times are nanoseconds from the start of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When the schedule wanted it to leave.
    pub scheduled_ns: u64,
    /// The later of the schedule and its parent's send: latency counts from here.
    pub intended_ns: u64,
    /// When it left.
    pub sending: Sending,
    /// What became of it.
    pub outcome: Outcome,
    /// When the outcome arrived; meaningless for `Pending`.
    pub done_ns: u64,
    /// Shard that it was sent to.
    pub shard: u16,
    /// The workload asked for its rejection.
    pub expect_reject: bool,
    /// When its first optimistic receipt came.
    pub optimistic_ns: Option<u64>,
    /// A block that receipted it is not the one that made it final.
    pub broken: bool,
}

impl Sample {
    /// A receipt was not kept: another block made it final, or it was refused.
    #[must_use]
    pub const fn is_broken(&self) -> bool {
        self.broken || (self.optimistic_ns.is_some() && matches!(self.outcome, Outcome::Rejected(_)))
    }
}

/// The balance of a set of transactions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// Transactions whose time had come.
    pub scheduled: u64,
    /// Not sent, by the client's decision.
    pub shed: u64,
    /// Handed to a connection.
    pub sent: u64,
    /// With an optimistic receipt, whatever became of them after it; not part of any sum.
    #[serde(default)]
    pub optimistic: u64,
    /// Of these, receipts that were not kept: another block made them final, or they were refused.
    #[serde(default)]
    pub broken_promises: u64,
    /// Final with a certificate.
    #[serde(rename = "final")]
    pub finalised: u64,
    /// Refused, by reason; `busy` counts submissions that a node had no room for.
    pub rejected: BTreeMap<String, u64>,
    /// Refused because their epoch of expiry had passed.
    pub expired: u64,
    /// Unanswered when the drain ended.
    pub timeout: u64,
    /// Unanswered when their connection closed, and not answered after it: the audit finds out what became of them.
    pub lost: u64,
    /// Final after their deadline; part of `final`.
    pub late: u64,
    /// Rejections that the workload asked for; part of `rejected`.
    pub expected_rejects: u64,
}

/// What the pacer and the receivers counted while the run went on, independently of the samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tallies {
    /// Transactions that the pacer took from the schedule.
    pub due: u64,
    /// Transactions that the pacer shed.
    pub shed: u64,
    /// Transactions that the pacer handed to connections.
    pub sent: u64,
    /// Tags that receivers were told are final.
    pub finalised: u64,
    /// Transactions that receivers hold an optimistic receipt of.
    pub optimistic: u64,
    /// Tags that receivers were told are refused, `Busy` included.
    pub rejected: u64,
}

/// Sums that do not agree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {left} on one side, {right} on the other")]
pub struct Imbalance {
    /// The equation.
    pub what: &'static str,
    /// Left side.
    pub left: u64,
    /// Right side.
    pub right: u64,
}

impl Counts {
    /// Counts samples; `deadline_ns` after the intended time a final one is late.
    pub fn of<'a>(samples: impl IntoIterator<Item = &'a Sample>, deadline_ns: u64) -> Self {
        let mut counts = Self::default();
        let mut rejected = [0_u64; Reject::ALL.len() + 1];
        for sample in samples {
            counts.add(sample, deadline_ns, &mut rejected);
        }
        counts.rejected = Reject::ALL
            .iter()
            .map(|reason| (reason.name().to_owned(), rejected[usize::from(reason.code())]))
            .filter(|(_, count)| *count > 0)
            .collect();
        counts
    }

    fn add(&mut self, sample: &Sample, deadline_ns: u64, rejected: &mut [u64]) {
        self.scheduled += 1;
        if sample.sending == Sending::Shed {
            self.shed += 1;
            return;
        }
        self.sent += 1;
        self.optimistic += u64::from(sample.optimistic_ns.is_some());
        self.broken_promises += u64::from(sample.is_broken());
        match sample.outcome {
            Outcome::Final => {
                self.finalised += 1;
                self.late += u64::from(sample.done_ns > sample.intended_ns.saturating_add(deadline_ns));
            }
            Outcome::Rejected(Reject::Expired) => self.expired += 1,
            Outcome::Rejected(reason) => {
                rejected[usize::from(reason.code())] += 1;
                // A node without room does not say what the workload asked for.
                let is_asked = sample.expect_reject && !matches!(reason, Reject::Busy | Reject::Closed);
                self.expected_rejects += u64::from(is_asked);
            }
            Outcome::Pending => self.timeout += 1,
            Outcome::Lost => self.lost += 1,
        }
    }

    /// Refused for any reason except expiry.
    #[must_use]
    pub fn rejected_total(&self) -> u64 {
        self.rejected.values().sum()
    }

    /// Refused with `Busy`.
    #[must_use]
    pub fn busy(&self) -> u64 {
        self.rejected.get(Reject::Busy.name()).copied().unwrap_or(0)
    }

    /// Share of the sent transactions that failed, without rejections that were asked for; 0 if none was sent.
    #[must_use]
    pub fn errors(&self) -> f64 {
        let failed = self.rejected_total() + self.expired + self.timeout + self.lost;
        let asked = self.expected_rejects;
        failed.saturating_sub(asked) as f64 / self.sent.saturating_sub(asked).max(1) as f64
    }

    /// Checks both equations of this balance.
    ///
    /// # Errors
    /// The first equation that does not hold.
    pub fn check(&self) -> Result<(), Imbalance> {
        equal("scheduled = shed + sent", self.scheduled, self.shed + self.sent)?;
        let answered = self.finalised + self.rejected_total() + self.expired;
        equal(
            "sent = final + rejected + expired + timeout + lost",
            self.sent,
            answered + self.timeout + self.lost,
        )
    }

    /// Checks both equations, and that pacer and receivers counted the same.
    ///
    /// # Errors
    /// The first pair of sums that differ.
    pub fn check_against(&self, tallies: &Tallies) -> Result<(), Imbalance> {
        self.check()?;
        equal("scheduled, samples against pacer", self.scheduled, tallies.due)?;
        equal("shed, samples against pacer", self.shed, tallies.shed)?;
        equal("sent, samples against pacer", self.sent, tallies.sent)?;
        equal(
            "final, samples against receivers",
            self.finalised,
            tallies.finalised,
        )?;
        equal(
            "optimistic, samples against receivers",
            self.optimistic,
            tallies.optimistic,
        )?;
        equal(
            "rejected and expired, samples against receivers",
            self.rejected_total() + self.expired,
            tallies.rejected,
        )
    }
}

fn equal(what: &'static str, left: u64, right: u64) -> Result<(), Imbalance> {
    if left == right {
        Ok(())
    } else {
        Err(Imbalance { what, left, right })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest};
    use types::Reject;

    use super::{Counts, Outcome, Sample, Sending, Tallies};

    fn sample(sending: Sending, outcome: Outcome) -> Sample {
        Sample {
            scheduled_ns: 5,
            intended_ns: 10,
            sending,
            outcome,
            done_ns: 40,
            shard: 0,
            expect_reject: false,
            optimistic_ns: None,
            broken: false,
        }
    }

    #[test]
    fn every_kind_lands_in_its_own_place() {
        let sent = |outcome| sample(Sending::At(11), outcome);
        let asked = Sample {
            expect_reject: true,
            ..sent(Outcome::Rejected(Reject::InputSpent))
        };
        let samples = [
            sample(Sending::Shed, Outcome::Pending),
            sent(Outcome::Final),
            sent(Outcome::Rejected(Reject::Busy)),
            sent(Outcome::Rejected(Reject::Expired)),
            sent(Outcome::Pending),
            sent(Outcome::Lost),
            asked,
        ];
        let counts = Counts::of(&samples, 29);
        assert_eq!((counts.scheduled, counts.shed, counts.sent), (7, 1, 6));
        assert_eq!((counts.finalised, counts.late), (1, 1), "40 is after 10 + 29");
        assert_eq!(Counts::of(&samples, 30).late, 0, "at the deadline is in time");
        assert_eq!((counts.busy(), counts.rejected_total()), (1, 2));
        assert_eq!((counts.expired, counts.timeout, counts.lost), (1, 1, 1));
        assert_eq!(counts.expected_rejects, 1);
        assert!((counts.errors() - 4.0 / 5.0).abs() < 1e-12);
        assert_eq!(counts.check(), Ok(()));
    }

    #[test]
    fn receipts_are_in_no_sum_and_a_broken_one_counts_once() {
        let receipted = |outcome, broken| Sample {
            optimistic_ns: Some(20),
            broken,
            ..sample(Sending::At(11), outcome)
        };
        let samples = [
            receipted(Outcome::Final, false),
            receipted(Outcome::Final, true),
            receipted(Outcome::Rejected(Reject::Closed), true),
            receipted(Outcome::Rejected(Reject::InputSpent), false),
            receipted(Outcome::Pending, false),
            sample(Sending::At(11), Outcome::Rejected(Reject::Busy)),
        ];
        let counts = Counts::of(&samples, 29);
        assert_eq!((counts.optimistic, counts.broken_promises), (5, 3));
        assert_eq!((counts.sent, counts.finalised, counts.timeout), (6, 2, 1));
        assert_eq!(counts.check(), Ok(()));
        let busy = Sample {
            expect_reject: true,
            ..sample(Sending::At(11), Outcome::Rejected(Reject::Busy))
        };
        assert_eq!(
            Counts::of(&[busy], 29).expected_rejects,
            0,
            "nobody asked for a full queue"
        );
    }

    fn any_sample() -> impl Strategy<Value = Sample> {
        let outcome = prop_oneof![
            Just(Outcome::Pending),
            Just(Outcome::Final),
            Just(Outcome::Lost),
            (0..Reject::ALL.len()).prop_map(|at| Outcome::Rejected(Reject::ALL[at])),
        ];
        let receipt = proptest::option::of(0_u64..100);
        (
            proptest::bool::ANY,
            outcome,
            0_u64..100,
            proptest::bool::ANY,
            receipt,
        )
            .prop_map(|(shed, outcome, done_ns, expect_reject, optimistic_ns)| Sample {
                done_ns,
                expect_reject,
                optimistic_ns,
                ..sample(if shed { Sending::Shed } else { Sending::At(11) }, outcome)
            })
    }

    fn tallies(counts: &Counts) -> Tallies {
        Tallies {
            due: counts.scheduled,
            shed: counts.shed,
            sent: counts.sent,
            finalised: counts.finalised,
            optimistic: counts.optimistic,
            rejected: counts.rejected_total() + counts.expired,
        }
    }

    proptest! {
        #[test]
        fn any_samples_balance_and_any_miscount_shows(
            samples in proptest::collection::vec(any_sample(), 0..200),
            which in 0_usize..6,
        ) {
            let counts = Counts::of(&samples, 29);
            prop_assert_eq!(counts.scheduled, samples.len() as u64);
            prop_assert_eq!(counts.check(), Ok(()));
            prop_assert!((0.0..=1.0).contains(&counts.errors()));
            let right = tallies(&counts);
            prop_assert_eq!(counts.check_against(&right), Ok(()));
            let mut wrong = right;
            let field = [&mut wrong.due, &mut wrong.shed, &mut wrong.sent, &mut wrong.finalised, &mut wrong.rejected,
                &mut wrong.optimistic].into_iter().nth(which).expect("six fields");
            *field += 1;
            prop_assert!(counts.check_against(&wrong).is_err());
            let lost_one = Counts { lost: counts.lost + 1, ..counts.clone() };
            prop_assert!(lost_one.check().is_err());
            let sent_one = Counts { sent: counts.sent + 1, ..counts };
            prop_assert!(sent_one.check().is_err());
        }
    }
}
