//! Receives answers: one task per connection writes outcomes into the recording, one thread checks the proofs.

use std::sync::Arc;
use std::time::Instant;

use crossbeam::channel::{Receiver, Sender, TrySendError};
use rpc::{AnswerReceiver, Received};
use types::client::{Answer, FinalNote};
use types::genesis::EpochConfig;
use types::{Reject, ShardId, Tag};

use crate::notes::NoteChecker;
use crate::recording::Recording;

/// Notes that wait for their check; beyond, the receiving task waits with them (the node then sees back-pressure).
pub const NOTES_MAX: usize = 65_536;

/// A note and the shard of the node that sent it.
pub type NoteFrom = (ShardId, Box<FinalNote>);

/// What the tasks of all connections share.
#[derive(Debug)]
pub struct Shared {
    /// Outcomes.
    pub recording: Recording,
    /// Intended times by transaction, nanoseconds from the start.
    pub times: Vec<u64>,
    /// Start of the run.
    pub start: Instant,
}

/// One connection's receiving half.
#[derive(Debug)]
pub struct Lane {
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
                    hand_over(&notes, (lane.shard, note)).await;
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
    let reject = |tag: Tag, reason: Reject| match index(tag) {
        Some(index) => recording.set_rejected(index, reason, at_ns),
        None => recording.add_contradiction(),
    };
    match received.answer {
        Answer::Final(note) => {
            for at in note.entries.iter().flat_map(|entry| &entry.tags) {
                match index(at.tag) {
                    Some(index) => {
                        let intended = shared.times.get(index as usize).copied().unwrap_or(at_ns);
                        recording.set_final(index, at_ns, intended);
                    }
                    None => recording.add_contradiction(),
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

/// What the checks of all notes gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Notes.
    pub notes: u64,
    /// Certificates verified, one per block.
    pub certificates: u64,
    /// Notes that prove nothing.
    pub refused: u64,
    /// The first of them.
    pub first: Option<String>,
}

/// Checks notes until all senders are gone. Runs on a thread of its own: a check never delays a receive time.
#[must_use]
pub fn check_notes(epoch: &EpochConfig, notes: &Receiver<NoteFrom>) -> Checked {
    let mut checker = NoteChecker::new(epoch);
    let mut checked = Checked::default();
    for (shard, note) in notes {
        checked.notes += 1;
        if let Err(error) = checker.check(shard, &note) {
            checked.refused += 1;
            checked.first.get_or_insert_with(|| error.to_string());
        }
    }
    checked.certificates = checker.certificates();
    checked
}
