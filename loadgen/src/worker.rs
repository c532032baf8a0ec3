//! Receives answers: one task per connection writes outcomes into the recording, one thread checks the proofs.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use crossbeam::channel::{Receiver, Sender, TrySendError};
use rpc::{AnswerReceiver, Received};
use tokio::sync::watch;
use types::client::{Answer, FinalNote};
use types::genesis::EpochConfig;
use types::{Hash, Height, Reject, ShardId, Tag, ValidatorId};

use crate::accounting::{Outcome, Sending};
use crate::arena::Arena;
use crate::audit::limits::ACCUSATIONS_MAX;
use crate::audit::{Certified, Position};
use crate::link::{Dial, Resubmission, Slot};
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

/// One connection's receiving half, with what brings it back after a break.
#[derive(Debug)]
pub struct Lane {
    /// Node.
    pub validator: ValidatorId,
    /// Shard of the node.
    pub shard: ShardId,
    /// Transaction of each tag.
    pub tags: Arc<Vec<u32>>,
    /// Bytes of all transactions.
    pub arena: Arc<Arena>,
    /// Where answers come from.
    pub receiver: AnswerReceiver,
    /// Where submissions go.
    pub slot: Arc<Slot>,
    /// Reaches the node again.
    pub dial: Dial,
    /// Tags that were sent again: a refusal of the second copy does not say what became of the first.
    pub again: HashSet<Tag>,
}

/// How often the connection of a lane broke, and why the first time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneEnd {
    /// Breaks; a connection that this side closes did not break.
    pub breaks: u64,
    /// Why the first time.
    pub first: Option<String>,
}

/// Receives until `closing` is true and the connection has ended. One that breaks before is made again, and what it
/// left unanswered is sent again; while the node is away at the end, what it left unanswered is lost.
pub async fn receive(
    mut lane: Lane,
    shared: Arc<Shared>,
    notes: Sender<NoteFrom>,
    mut closing: watch::Receiver<bool>,
) -> LaneEnd {
    let mut end = LaneEnd::default();
    loop {
        let reason = answers(&mut lane, &shared, &notes).await;
        if *closing.borrow() {
            return end;
        }
        end.breaks += 1;
        end.first
            .get_or_insert_with(|| format!("node {}: {reason}", lane.dial.address()));
        let unanswered = || unanswered(&lane.tags, &lane.arena, &shared.recording);
        let Some((receiver, again)) = lane.dial.restore(&lane.slot, &mut closing, unanswered).await else {
            break;
        };
        lane.receiver = receiver;
        lane.again.extend(again);
    }
    let now = since(&shared, Instant::now());
    lane.tags
        .iter()
        .for_each(|index| shared.recording.set_lost(*index, now));
    end
}

/// Takes answers until the connection ends; says why it did.
async fn answers(lane: &mut Lane, shared: &Shared, notes: &Sender<NoteFrom>) -> String {
    loop {
        match lane.receiver.recv().await {
            Ok(Some(received)) => {
                if let Some(note) = record(lane, shared, received) {
                    let note = NoteFrom {
                        validator: lane.validator,
                        shard: lane.shard,
                        tags: Arc::clone(&lane.tags),
                        note,
                    };
                    hand_over(notes, note).await;
                }
            }
            Ok(None) => return "it shut down".to_owned(),
            Err(error) => return error.to_string(),
        }
    }
}

/// What was sent and has no answer, in the order of tags.
fn unanswered(tags: &[u32], arena: &Arena, recording: &Recording) -> Vec<Resubmission> {
    (0_u32..)
        .zip(tags)
        .filter(|(_, index)| {
            matches!(recording.sending(**index), Some(Sending::At(_)))
                && recording.outcome(**index).0 == Outcome::Pending
        })
        .map(|(tag, index)| (Tag(tag), Bytes::copy_from_slice(arena.tx(*index))))
        .collect()
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
        // The first copy may have been taken before the break, and is then what refuses this one.
        Some(index) if lane.again.contains(&tag) => {
            recording.set_lost(index, at_ns);
        }
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
        | Answer::Receipts(_)
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
