//! Receives answers: one task per connection writes outcomes into the recording, one thread checks the proofs.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crossbeam::channel::{Receiver, Sender, TrySendError};
use rpc::{AnswerReceiver, Received};
use types::client::{Answer, FinalNote};
use types::genesis::EpochConfig;
use types::{Hash, Height, Reject, ShardId, Tag, ValidatorId};

use crate::accounting::Outcome;
use crate::audit::limits::ACCUSATIONS_MAX;
use crate::audit::{Certified, Position};
use crate::notes::{NoteChecker, NoteError};
use crate::recording::Recording;

/// Notes that wait for their check; beyond, the receiving task waits with them (the node then sees back-pressure).
pub const NOTES_MAX: usize = 65_536;

/// A note and where it came from.
#[derive(Debug)]
pub struct NoteFrom {
    /// Validator that sent it.
    pub validator: ValidatorId,
    /// Its shard.
    pub shard: ShardId,
    /// Transaction of each tag of the connection.
    pub tags: Arc<Vec<u32>>,
    /// The note.
    pub note: Box<FinalNote>,
}

/// What the tasks of all connections share.
#[derive(Debug)]
pub struct Shared {
    /// Outcomes.
    pub recording: Recording,
    /// Intended times by transaction, nanoseconds from the start.
    pub times: Vec<u64>,
    /// Start of the run.
    pub start: Instant,
    /// Answers that repeat or contradict another.
    pub contradictions: Contradictions,
}

/// An answer that repeats or contradicts an earlier one, or speaks of a tag that was never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// Validator that gave it.
    pub validator: ValidatorId,
    /// Transaction; `None` for a tag that belongs to none.
    pub index: Option<u32>,
    /// What it says.
    pub answer: Outcome,
}

/// The first contradictory answers, at most [`ACCUSATIONS_MAX`]; the recording counts all.
#[derive(Debug, Default)]
pub struct Contradictions(Mutex<Vec<Contradiction>>);

impl Contradictions {
    fn add(&self, contradiction: Contradiction) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if list.len() < ACCUSATIONS_MAX {
            list.push(contradiction);
        }
    }

    /// Those that are kept, in the order in which they came.
    pub fn list(&self) -> Vec<Contradiction> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One connection's receiving half.
#[derive(Debug)]
pub struct Lane {
    /// Node.
    pub validator: ValidatorId,
    /// Shard of the node.
    pub shard: ShardId,
    /// Transaction of each tag.
    pub tags: Arc<Vec<u32>>,
    /// Where answers come from.
    pub receiver: AnswerReceiver,
}

/// How a lane ended; `None` when this side closed it.
pub type LaneEnd = Option<String>;

/// Receives until the connection ends, then marks what it leaves unanswered as lost.
///
/// A connection that this side closes after the drain loses nothing: `is_closing` says so.
pub async fn receive(
    mut lane: Lane,
    shared: Arc<Shared>,
    notes: Sender<NoteFrom>,
    is_closing: Arc<std::sync::atomic::AtomicBool>,
) -> LaneEnd {
    let end = loop {
        match lane.receiver.recv().await {
            Ok(Some(received)) => {
                if let Some(note) = record(&lane, &shared, received) {
                    let note = NoteFrom {
                        validator: lane.validator,
                        shard: lane.shard,
                        tags: Arc::clone(&lane.tags),
                        note,
                    };
                    hand_over(&notes, note).await;
                }
            }
            Ok(None) => break None,
            Err(error) => break Some(error.to_string()),
        }
    };
    if is_closing.load(std::sync::atomic::Ordering::Acquire) {
        return None;
    }
    let now = since(&shared, Instant::now());
    lane.tags
        .iter()
        .for_each(|index| shared.recording.set_lost(*index, now));
    Some(end.unwrap_or_else(|| "the node shut down".to_owned()))
}

async fn hand_over(notes: &Sender<NoteFrom>, mut note: NoteFrom) {
    while let Err(TrySendError::Full(back)) = notes.try_send(note) {
        note = back;
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

fn since(shared: &Shared, at: Instant) -> u64 {
    u64::try_from(at.saturating_duration_since(shared.start).as_nanos()).unwrap_or(u64::MAX)
}

/// Writes the outcomes of one answer; a note is returned for its check.
fn record(lane: &Lane, shared: &Shared, received: Received) -> Option<Box<FinalNote>> {
    let (recording, at_ns) = (&shared.recording, since(shared, received.at));
    let index = |tag: Tag| lane.tags.get(tag.0 as usize).copied();
    let contradict = |index, answer| {
        shared.contradictions.add(Contradiction {
            validator: lane.validator,
            index,
            answer,
        });
    };
    let reject = |tag: Tag, reason: Reject| match index(tag) {
        Some(index) if recording.set_rejected(index, reason, at_ns) => {}
        Some(index) => contradict(Some(index), Outcome::Rejected(reason)),
        None => {
            recording.add_contradiction();
            contradict(None, Outcome::Rejected(reason));
        }
    };
    match received.answer {
        Answer::Final(note) => {
            for at in note.entries.iter().flat_map(|entry| &entry.tags) {
                match index(at.tag) {
                    Some(index) => {
                        let intended = shared.times.get(index as usize).copied().unwrap_or(at_ns);
                        if !recording.set_final(index, at_ns, intended) {
                            contradict(Some(index), Outcome::Final);
                        }
                    }
                    None => {
                        recording.add_contradiction();
                        contradict(None, Outcome::Final);
                    }
                }
            }
            return Some(note);
        }
        Answer::Reject(refused) => refused.iter().for_each(|item| reject(item.tag, item.reason)),
        Answer::Busy { first_tag, count, .. } => (0..u32::from(count)).for_each(|offset| {
            reject(Tag(first_tag.0.saturating_add(offset)), Reject::Busy);
        }),
        // A topology follows a wrong target; the rest answers questions that are asked on other connections.
        Answer::Topology(_)
        | Answer::Hello(_)
        | Answer::Status(_)
        | Answer::Blocks { .. }
        | Answer::State(_)
        | Answer::Info(_) => {}
    }
    None
}

/// A note that proves nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedNote {
    /// Validator that sent it.
    pub validator: ValidatorId,
    /// Height of its header.
    pub height: Height,
    /// First transaction that it calls final.
    pub index: Option<u32>,
    /// Why it proves nothing.
    pub reason: String,
}

/// What the checks of all notes gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Notes.
    pub notes: u64,
    /// Certificates verified, one per block.
    pub certificates: u64,
    /// Notes that prove nothing.
    pub refused: u64,
    /// The first of them, at most [`ACCUSATIONS_MAX`].
    pub refusals: Vec<RefusedNote>,
    /// By transaction: where the first note that holds says that it stands.
    pub receipts: Vec<Option<Position>>,
    /// Headers whose certificate holds.
    pub certified: Certified,
}

/// Checks notes about `count` transactions until all senders are gone. Runs on a thread of its own: a check never
/// delays a receive time.
#[must_use]
pub fn check_notes(epoch: &EpochConfig, notes: &Receiver<NoteFrom>, count: usize) -> Checked {
    let mut checker = NoteChecker::new(epoch);
    let mut checked = Checked {
        receipts: vec![None; count],
        ..Checked::default()
    };
    for from in notes {
        checked.notes += 1;
        match checker.check(from.shard, &from.note) {
            Ok(hash) => checked.keep(&from, hash),
            Err(error) => checked.refuse(&from, &error),
        }
    }
    checked.certificates = checker.certificates();
    checked
}

impl Checked {
    fn keep(&mut self, from: &NoteFrom, hash: Hash) {
        let height = from.note.header.height;
        self.certified
            .entry((from.shard, height))
            .or_insert((hash, from.validator));
        for entry in &from.note.entries {
            for at in &entry.tags {
                let index = from.tags.get(at.tag.0 as usize);
                if let Some(receipt) = index.and_then(|index| self.receipts.get_mut(*index as usize)) {
                    receipt.get_or_insert(Position {
                        height,
                        // At most `BLOCK_REFS_MAX`: the path holds under the root of a certified header.
                        reference: entry.reference_path.index as u16,
                        index: at.position,
                    });
                }
            }
        }
    }

    fn refuse(&mut self, from: &NoteFrom, error: &NoteError) {
        self.refused += 1;
        if self.refusals.len() < ACCUSATIONS_MAX {
            let tag = from.note.entries.iter().find_map(|entry| entry.tags.first());
            self.refusals.push(RefusedNote {
                validator: from.validator,
                height: from.note.header.height,
                index: tag.and_then(|at| from.tags.get(at.tag.0 as usize)).copied(),
                reason: error.to_string(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use types::ValidatorId;

    use super::{Contradiction, Contradictions};
    use crate::accounting::Outcome;
    use crate::audit::limits::ACCUSATIONS_MAX;

    #[test]
    fn the_first_contradictions_are_kept_and_no_more() {
        let contradictions = Contradictions::default();
        let number = |index| Contradiction {
            validator: ValidatorId(1),
            index: Some(index),
            answer: Outcome::Final,
        };
        (0..1000).for_each(|index| contradictions.add(number(index)));
        let kept: Vec<Contradiction> = (0..).map(number).take(ACCUSATIONS_MAX).collect();
        assert_eq!(contradictions.list(), kept);
    }
}
