//! Receives answers: one task per connection writes outcomes into the recording, one thread checks the proofs.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use crossbeam::channel::{Receiver, Sender, TrySendError};
use rpc::{AnswerReceiver, Received};
use tokio::sync::watch;
use types::client::{Answer, FinalNote};
use types::genesis::EpochConfig;
use types::{Reject, ShardId, Tag};

use crate::accounting::{Outcome, Sending};
use crate::arena::Arena;
use crate::link::{Dial, Resubmission, Slot};
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

/// One connection's receiving half, with what brings it back after a break.
#[derive(Debug)]
pub struct Lane {
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
                if let Some(note) = record(&lane.tags, &lane.again, shared, received) {
                    hand_over(notes, (lane.shard, note)).await;
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
fn record(tags: &[u32], again: &HashSet<Tag>, shared: &Shared, received: Received) -> Option<Box<FinalNote>> {
    let (recording, at_ns) = (&shared.recording, since(shared, received.at));
    let index = |tag: Tag| tags.get(tag.0 as usize).copied();
    let reject = |tag: Tag, reason: Reject| match index(tag) {
        // The first copy may have been taken before the break, and is then what refuses this one.
        Some(index) if again.contains(&tag) => recording.set_lost(index, at_ns),
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
