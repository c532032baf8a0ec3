//! Tags of one connection: strictly rising, and at most so many without an answer.

// What judges bytes of clients has nothing to panic with.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

use std::sync::atomic::{AtomicU32, Ordering};

use types::Tag;
use types::client::Answer;

/// What becomes of a submission whose tags are in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Its tags are in flight now.
    Taken,
    /// Too many would be in flight; none of its tags is.
    Busy,
}

/// A tag that is not above all earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tags must rise strictly: the submission starts at tag {first}, at least {least} is accepted")]
pub(crate) struct NotRising {
    first: Tag,
    least: u64,
}

/// Tags without an answer; the reader of the connection adds, answers subtract.
#[derive(Debug, Default)]
pub(crate) struct InFlight(AtomicU32);

impl InFlight {
    /// Subtracts the tags that `answer` settles. An answer for a tag that was settled before does not go
    /// below zero.
    pub(crate) fn settle(&self, answer: &Answer) {
        let tags = settled_tags(answer);
        if tags > 0 {
            let lowered = |count: u32| Some(count.saturating_sub(tags));
            // The closure always yields a value, so the update cannot fail.
            let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, lowered);
        }
    }

    /// Tags without an answer.
    pub(crate) fn count(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }
}

/// How many tags an answer settles: each tag gets exactly one of final, reject, busy (`ios` 14.2).
fn settled_tags(answer: &Answer) -> u32 {
    match answer {
        Answer::Reject(refused) => refused.len() as u32,
        Answer::Final(note) => {
            let tags = note.entries.iter().map(|entry| entry.tags.len() as u32);
            tags.sum::<u32>().saturating_add(note.slow.len() as u32)
        }
        Answer::Busy { count, .. } => u32::from(*count),
        Answer::Hello(_)
        | Answer::Topology(_)
        | Answer::Status(_)
        | Answer::Blocks { .. }
        | Answer::State(_)
        | Answer::Receipts(_)
        | Answer::Info(_) => 0,
    }
}

/// The reader's half: order of tags.
#[derive(Debug)]
pub(crate) struct TagOrder {
    least: u64,
    in_flight_max: u32,
}

impl TagOrder {
    pub(crate) const fn new(in_flight_max: u32) -> Self {
        Self {
            least: 0,
            in_flight_max,
        }
    }

    /// Judges a submission of `count` tags from `first` upward. Tags answered `Busy` are used up too.
    pub(crate) fn admit(
        &mut self,
        first: Tag,
        count: usize,
        in_flight: &InFlight,
    ) -> Result<Admission, NotRising> {
        let start = u64::from(first.0);
        if start < self.least {
            return Err(NotRising {
                first,
                least: self.least,
            });
        }
        self.least = start.saturating_add(count as u64);
        // Only this reader adds, so nobody else can overfill between the look and the addition.
        let room = self.in_flight_max.saturating_sub(in_flight.count());
        if count > room as usize {
            return Ok(Admission::Busy);
        }
        in_flight.0.fetch_add(count as u32, Ordering::AcqRel);
        Ok(Admission::Taken)
    }
}

#[cfg(test)]
mod tests {
    use types::client::{Answer, Refused};
    use types::{Reject, Tag};

    use super::{Admission, InFlight, TagOrder};

    fn reject(count: u32) -> Answer {
        let refused = |tag| Refused {
            tag: Tag(tag),
            reason: Reject::FeeLow,
        };
        Answer::Reject((0..count).map(refused).collect())
    }

    #[test]
    fn tags_rise_strictly_and_a_refused_submission_changes_nothing() {
        let in_flight = InFlight::default();
        let mut order = TagOrder::new(100);
        assert_eq!(order.admit(Tag(5), 3, &in_flight), Ok(Admission::Taken));
        for first in [0, 5, 7] {
            let error = order.admit(Tag(first), 1, &in_flight).unwrap_err();
            assert!(error.to_string().contains("at least 8"), "{error}");
            assert_eq!(in_flight.count(), 3);
        }
        assert_eq!(order.admit(Tag(8), 1, &in_flight), Ok(Admission::Taken));
        assert_eq!(order.admit(Tag(u32::MAX), 1, &in_flight), Ok(Admission::Taken));
        assert!(order.admit(Tag(u32::MAX), 1, &in_flight).is_err());
    }

    #[test]
    fn beyond_the_bound_a_submission_is_busy_as_a_whole_until_answers_leave() {
        let in_flight = InFlight::default();
        let mut order = TagOrder::new(10);
        assert_eq!(order.admit(Tag(0), 8, &in_flight), Ok(Admission::Taken));
        assert_eq!(order.admit(Tag(8), 3, &in_flight), Ok(Admission::Busy));
        assert_eq!(in_flight.count(), 8);
        in_flight.settle(&reject(1));
        assert_eq!(order.admit(Tag(11), 3, &in_flight), Ok(Admission::Taken));
        assert_eq!(in_flight.count(), 10);
        let busy = Answer::Busy {
            first_tag: Tag(0),
            count: 4,
            retry_ms: 1,
        };
        in_flight.settle(&busy);
        assert_eq!(in_flight.count(), 6);
        in_flight.settle(&Answer::State(types::client::StateInfo::default()));
        assert_eq!(in_flight.count(), 6);
        in_flight.settle(&reject(7));
        assert_eq!(in_flight.count(), 0);
    }
}
