//! Receives answers: one task per connection writes outcomes into the recording, one thread checks the proofs.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use crossbeam::channel::{Receiver, Sender, TrySendError};
use rpc::{AnswerReceiver, Received};
use tokio::sync::{mpsc, watch};
use types::client::{Answer, FinalNote, Receipts};
use types::genesis::EpochConfig;
use types::{Hash, Height, Reject, ShardId, Tag, ValidatorId};

use crate::accounting::{Outcome, Sending};
use crate::arena::{Arena, ArenaEntry};
use crate::audit::limits::ACCUSATIONS_MAX;
use crate::audit::{Certified, Position};
use crate::link::{Dial, Resubmission, Slot};
use crate::notes::{NoteChecker, NoteError};
use crate::promises::{Kept, Promises};
use crate::recording::Recording;
use crate::steering::Moves;
use crate::tags::TagBook;

/// Notes and receipts that wait for their check; beyond, the receiving task waits with them (the node then sees
/// back-pressure).
pub const NOTES_MAX: usize = 65_536;

/// What a node claims with a proof.
#[derive(Debug)]
pub enum Proven {
    /// Final.
    Final(Box<FinalNote>),
    /// Optimistic.
    Optimistic(Box<Receipts>),
}

/// A claim and where it came from.
#[derive(Debug)]
pub struct ProvenBy {
    /// Validator that sent it.
    pub validator: ValidatorId,
    /// Its shard.
    pub shard: ShardId,
    /// Tags of the connection.
    pub tags: Arc<TagBook>,
    /// The claim.
    pub claim: Proven,
}

/// A transaction that a node refused, which need not be the end of it: another node may have to be asked, or has it in
/// a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stray {
    /// Transaction.
    pub index: u32,
    /// Connection that refused it.
    pub connection: u32,
    /// Why.
    pub reason: Reject,
    /// When, nanoseconds from the start of the run.
    pub at_ns: u64,
}

/// Whether a refusal may only mean that the mode or the seat has changed.
pub const fn may_be_stray(reason: Reject) -> bool {
    matches!(
        reason,
        Reject::Busy | Reject::Closed | Reject::WrongShard | Reject::WrongGroup
    )
}

/// Whether a refusal follows from the bytes alone: then every node refuses, and what another one did before is no
/// matter.
pub const fn is_of_bytes(reason: Reject) -> bool {
    matches!(
        reason,
        Reject::Encoding
            | Reject::Version
            | Reject::Limits
            | Reject::Unsorted
            | Reject::OwnerUnused
            | Reject::FeeLow
            | Reject::Overflow
            | Reject::BadSignature
            | Reject::KindClosed
    )
}

/// A refusal, and what is known of its transaction.
#[derive(Clone, Copy, Debug)]
struct Refusal {
    /// Nobody has answered it yet.
    is_open: bool,
    /// It was sent more than once.
    is_copy: bool,
    /// The shard's mode may change.
    has_modes: bool,
    reason: Reject,
}

/// What follows from a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// The transaction is refused.
    End,
    /// Another node is to be asked, or what became of the other copy.
    Question,
    /// The other copy was answered, and is what refuses this one.
    Nothing,
}

impl Refusal {
    const fn meaning(self) -> Meaning {
        if self.is_copy && !self.is_open {
            return Meaning::Nothing;
        }
        let is_stray = self.has_modes && may_be_stray(self.reason);
        // A node may have taken the other copy before it died, and told nobody.
        let is_doubtful = self.is_copy && !is_of_bytes(self.reason);
        if self.is_open && (is_stray || is_doubtful) {
            Meaning::Question
        } else {
            Meaning::End
        }
    }
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
    /// What was sent more than once.
    pub moves: Moves,
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
    /// Number of this connection.
    pub connection: u32,
    /// Bytes of all transactions.
    pub arena: Arc<Arena>,
    /// Where answers come from.
    pub receiver: AnswerReceiver,
    /// Where submissions go, and their tags.
    pub slot: Arc<Slot>,
    /// Takes refusals that need not be the end. One for each tag at most.
    pub strays: mpsc::UnboundedSender<Stray>,
    /// Whether the shard's mode may change, so that another node is to be asked.
    pub has_modes: bool,
    /// Reaches the node again.
    pub dial: Dial,
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
    notes: Sender<ProvenBy>,
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
        let unanswered = || unanswered(&lane, &shared);
        let Some((receiver, again)) = lane.dial.restore(&lane.slot, &mut closing, unanswered).await else {
            break;
        };
        lane.receiver = receiver;
        lane.slot.tags().read(|tags| {
            let again = again.iter().filter_map(|tag| tags.get(tag.0 as usize));
            again.for_each(|index| shared.moves.add(*index, lane.connection));
        });
    }
    let now = since(&shared, Instant::now());
    lane.slot.tags().read(|tags| {
        let own = tags
            .iter()
            .filter(|index| shared.moves.is_with(**index, lane.connection));
        own.for_each(|index| shared.recording.set_lost(*index, now));
    });
    end
}

/// Takes answers until the connection ends; says why it did.
async fn answers(lane: &mut Lane, shared: &Shared, notes: &Sender<ProvenBy>) -> String {
    loop {
        match lane.receiver.recv().await {
            Ok(Some(received)) => {
                if let Some(claim) = record(lane, shared, received) {
                    let claim = ProvenBy {
                        validator: lane.validator,
                        shard: lane.shard,
                        tags: Arc::clone(lane.slot.tags()),
                        claim,
                    };
                    hand_over(notes, claim).await;
                }
            }
            Ok(None) => return "it shut down".to_owned(),
            Err(error) => return error.to_string(),
        }
    }
}

/// What was sent here and has no answer, in the order of tags.
fn unanswered(lane: &Lane, shared: &Shared) -> Vec<Resubmission> {
    let is_open = |index: u32| {
        matches!(shared.recording.sending(index), Some(Sending::At(_)))
            && shared.recording.outcome(index).0 == Outcome::Pending
            && shared.moves.is_with(index, lane.connection)
    };
    lane.slot.tags().read(|tags| {
        (0_u32..)
            .zip(tags)
            .filter(|(_, index)| is_open(**index))
            .map(|(tag, index)| (Tag(tag), Bytes::copy_from_slice(lane.arena.tx(*index))))
            .collect()
    })
}

/// Hands a claim to the thread that checks it.
pub async fn hand_over(notes: &Sender<ProvenBy>, mut note: ProvenBy) {
    while let Err(TrySendError::Full(back)) = notes.try_send(note) {
        note = back;
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

fn since(shared: &Shared, at: Instant) -> u64 {
    u64::try_from(at.saturating_duration_since(shared.start).as_nanos()).unwrap_or(u64::MAX)
}

/// Writes the outcomes of one answer; what has to be checked is returned.
fn record(lane: &Lane, shared: &Shared, received: Received) -> Option<Proven> {
    let at_ns = since(shared, received.at);
    match received.answer {
        Answer::Final(note) => {
            let tags = note.entries.iter().flat_map(|entry| &entry.tags).map(|at| at.tag);
            let slow = note.slow.iter().filter(|entry| entry.code == 0);
            for tag in tags.chain(slow.map(|entry| entry.tag)) {
                finish(lane, shared, tag, at_ns);
            }
            for entry in note.slow.iter().filter(|entry| entry.code != 0) {
                let reason = Reject::from_code(entry.code).unwrap_or(Reject::Encoding);
                refuse(lane, shared, entry.tag, reason, at_ns);
            }
            return Some(Proven::Final(note));
        }
        Answer::Receipts(receipts) => {
            for at in &receipts.tags {
                // A tag that belongs to none is named by the check.
                if let Some(index) = lane.slot.tags().index(at.tag) {
                    shared.recording.set_optimistic(index, at_ns);
                }
            }
            return Some(Proven::Optimistic(receipts));
        }
        Answer::Reject(refused) => {
            for item in &refused {
                refuse(lane, shared, item.tag, item.reason, at_ns);
            }
        }
        Answer::Busy { first_tag, count, .. } => (0..u32::from(count)).for_each(|offset| {
            let tag = Tag(first_tag.0.saturating_add(offset));
            refuse(lane, shared, tag, Reject::Busy, at_ns);
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

fn contradict(lane: &Lane, shared: &Shared, index: Option<u32>, answer: Outcome) {
    shared.contradictions.add(Contradiction {
        validator: lane.validator,
        index,
        answer,
    });
}

/// A tag is called final.
fn finish(lane: &Lane, shared: &Shared, tag: Tag, at_ns: u64) {
    let recording = &shared.recording;
    let Some(index) = lane.slot.tags().index(tag) else {
        recording.add_contradiction();
        return contradict(lane, shared, None, Outcome::Final);
    };
    // Both copies of what was sent twice may be told of the one that took effect.
    if shared.moves.place(index).is_some() && recording.outcome(index).0 == Outcome::Final {
        return;
    }
    let intended = shared.times.get(index as usize).copied().unwrap_or(at_ns);
    if !recording.set_final(index, at_ns, intended) {
        contradict(lane, shared, Some(index), Outcome::Final);
    }
}

/// A tag is refused.
fn refuse(lane: &Lane, shared: &Shared, tag: Tag, reason: Reject, at_ns: u64) {
    let recording = &shared.recording;
    let Some(index) = lane.slot.tags().index(tag) else {
        recording.add_contradiction();
        return contradict(lane, shared, None, Outcome::Rejected(reason));
    };
    if !shared.moves.is_with(index, lane.connection) {
        return;
    }
    let refusal = Refusal {
        is_open: recording.outcome(index).0 == Outcome::Pending,
        is_copy: shared.moves.place(index).is_some(),
        has_modes: lane.has_modes,
        reason,
    };
    match refusal.meaning() {
        Meaning::Nothing => return,
        Meaning::End => {}
        Meaning::Question => {
            let stray = Stray {
                index,
                connection: lane.connection,
                reason,
                at_ns,
            };
            if lane.strays.send(stray).is_ok() {
                return;
            }
            if refusal.is_copy {
                return recording.set_lost(index, at_ns);
            }
        }
    }
    if !recording.set_rejected(index, reason, at_ns) {
        contradict(lane, shared, Some(index), Outcome::Rejected(reason));
    }
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

/// What the checks of all notes and receipts gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Notes.
    pub notes: u64,
    /// Certificates verified, one per block.
    pub certificates: u64,
    /// Notes and receipts that prove nothing.
    pub refused: u64,
    /// The first of them, at most [`ACCUSATIONS_MAX`].
    pub refusals: Vec<RefusedNote>,
    /// By transaction: where the first note that holds says that it stands.
    pub receipts: Vec<Option<Position>>,
    /// Headers whose certificate holds.
    pub certified: Certified,
    /// What became of optimistic receipts.
    pub kept: Kept,
}

/// Checks notes and receipts about the transactions of an arena until all senders are gone. Runs on a thread of its
/// own: a check never delays a receive time.
#[must_use]
pub fn check_claims(epoch: &EpochConfig, claims: &Receiver<ProvenBy>, entries: &[ArenaEntry]) -> Checked {
    let mut checker = NoteChecker::new(epoch);
    let mut promises = Promises::new(epoch, entries);
    let mut checked = Checked {
        receipts: vec![None; entries.len()],
        ..Checked::default()
    };
    for from in claims {
        match &from.claim {
            Proven::Final(note) => {
                checked.notes += 1;
                match checker.check(from.shard, note) {
                    Ok(hash) => checked.keep(&from, note, hash, &mut promises),
                    Err(error) => checked.refuse_note(&from, note, &error),
                }
            }
            Proven::Optimistic(receipts) => {
                let index = |tag| from.tags.index(tag);
                if let Err(error) = promises.take((from.shard, from.validator), receipts, index) {
                    let tag = receipts.tags.first().map(|at| at.tag);
                    let height = receipts.author.header.base_height;
                    let reason = format!("an optimistic receipt: {error}");
                    checked.refuse(&from, height, tag, reason);
                }
            }
        }
    }
    checked.certificates = checker.certificates();
    checked.kept = promises.into_kept();
    checked
}

impl Checked {
    fn keep(&mut self, from: &ProvenBy, note: &FinalNote, hash: Hash, promises: &mut Promises<'_>) {
        let height = note.header.height;
        self.certified
            .entry((from.shard, height))
            .or_insert((hash, from.validator));
        for entry in &note.entries {
            for at in &entry.tags {
                let Some(index) = from.tags.index(at.tag) else {
                    continue;
                };
                let Some(receipt) = self.receipts.get_mut(index as usize) else {
                    continue;
                };
                if receipt.is_none() {
                    promises.settle(index, entry.reference.group, &entry.reference.hash);
                }
                receipt.get_or_insert(Position {
                    height,
                    // At most `BLOCK_REFS_MAX`: the path holds under the root of a certified header.
                    reference: entry.reference_path.index as u16,
                    index: at.position,
                });
            }
        }
    }

    fn refuse_note(&mut self, from: &ProvenBy, note: &FinalNote, error: &NoteError) {
        let tag = note.entries.iter().find_map(|entry| entry.tags.first());
        let tag = tag.map(|at| at.tag);
        self.refuse(from, note.header.height, tag, error.to_string());
    }

    fn refuse(&mut self, from: &ProvenBy, height: Height, tag: Option<Tag>, reason: String) {
        self.refused += 1;
        if self.refusals.len() < ACCUSATIONS_MAX {
            self.refusals.push(RefusedNote {
                validator: from.validator,
                height,
                index: tag.and_then(|tag| from.tags.index(tag)),
                reason,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use types::ValidatorId;

    use types::Reject;

    use super::{Contradiction, Contradictions, Meaning, Refusal};
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
    #[test]
    fn a_refusal_ends_what_it_speaks_of_only_when_no_other_node_and_no_other_copy_matters() {
        let cases = [
            // (open, sent twice, two leagues, reason, what follows)
            (true, false, false, Reject::InputSpent, Meaning::End),
            (true, false, false, Reject::Busy, Meaning::End),
            (true, false, true, Reject::InputSpent, Meaning::End),
            (true, false, true, Reject::Closed, Meaning::Question),
            // Also of a node that was away: the mode may have changed meanwhile.
            (true, true, true, Reject::WrongGroup, Meaning::Question),
            // The copy that a dead author took is spent there, and already forgotten by some.
            (true, true, true, Reject::InputSpent, Meaning::Question),
            (true, true, true, Reject::InputMissing, Meaning::Question),
            (true, true, false, Reject::InputSpent, Meaning::Question),
            (true, true, false, Reject::Busy, Meaning::Question),
            (true, true, true, Reject::BadSignature, Meaning::End),
            (false, true, true, Reject::InputSpent, Meaning::Nothing),
            // A second answer for one copy contradicts the first.
            (false, false, true, Reject::Closed, Meaning::End),
        ];
        for (is_open, is_copy, has_modes, reason, meaning) in cases {
            let refusal = Refusal {
                is_open,
                is_copy,
                has_modes,
                reason,
            };
            assert_eq!(refusal.meaning(), meaning, "{refusal:?}");
        }
    }
}
