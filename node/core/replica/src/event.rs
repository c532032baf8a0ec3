//! Events in, effects out.

use bytes::Bytes;
use crypto::sampling::Sampling;
use ledger::StateChanges;
use types::block::{Body, SignedAuthorHeader};
use types::client::{Answer, FaultCounts, TxStatus};
use types::evidence::TxEvidence;
use types::message::PeerMessage;
use types::record::LogRecord;
use types::{ConnectionId, Hash, Height, MemberIndex, Sequence, Tag, TxId};

/// A transaction that was decoded and whose signatures were verified: what ingress hands to the replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Connection that submitted it.
    pub connection: ConnectionId,
    /// Its tag there.
    pub tag: Tag,
    /// Id.
    pub txid: TxId,
    /// Canonical bytes, accepted by `TxView::decode`.
    pub bytes: Bytes,
}

/// A body after decoding and verification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedBody {
    /// Body.
    pub body: Body,
    /// Positions of transactions with a bad signature among those that were checked, ascending.
    pub bad_signatures: Vec<u32>,
}

/// Which signatures of a body are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignatureChecks {
    /// Every one: mode 1, and authors whose final blocks are checked again.
    All,
    /// None: this member does not vote, or the block is certified already.
    Skipped,
    /// A private sample (`ios` 7.6).
    Sampled(Sampling),
}

/// What became of a body that was to be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyVerdict {
    /// The bytes are no body of that header; whoever sent them need not be the author.
    Foreign,
    /// The header's own body breaks a rule that needs no state, with the proof (F2).
    Faulty(Box<TxEvidence>),
    /// Decoded, signatures checked as asked.
    Checked(CheckedBody),
}

/// What happens to a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Verified transactions of clients.
    Admitted(Vec<Admission>),
    /// A client went away: its tags need no answer.
    ClientClosed(ConnectionId),
    /// A client asks how far transactions are; answered by `Effect::Answer`.
    StatusAsked {
        /// Who asks.
        connection: ConnectionId,
        /// About what.
        txids: Vec<TxId>,
    },
    /// A client asks for the state's totals.
    StateAsked(ConnectionId),
    /// A message of another member, whose identity the transport has proven.
    Peer {
        /// Sender.
        from: MemberIndex,
        /// Message.
        message: PeerMessage,
    },
    /// A member is connected (again): it may lack what was in flight.
    PeerConnected(MemberIndex),
    /// Completion of `Effect::CheckBody`.
    BodyChecked {
        /// Hash of the author header.
        hash: Hash,
        /// Result.
        verdict: BodyVerdict,
    },
    /// Completion of `Effect::Recheck`: the transactions whose signatures are bad, with proofs (F1).
    Rechecked {
        /// Hash of the author header.
        hash: Hash,
        /// In the order of the block.
        forged: Vec<TxEvidence>,
    },
    /// Transactions that clients want in the slow lane; every signature was verified.
    SlowAdmitted(Vec<Admission>),
    /// Everything persisted up to this number is on disk.
    Durable(Sequence),
    /// The disk is nearly full, or has room again. While it is low nothing is voted, admitted or taken from peers;
    /// what was persisted before still becomes durable, and questions are answered.
    Space {
        /// Whether it is nearly full.
        low: bool,
    },
}

/// What a replica wants done. Effects are carried out in order; completions may return in any order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send to one member, held back until `after` is durable.
    Send {
        /// Receiver, never oneself.
        to: MemberIndex,
        /// Message.
        message: PeerMessage,
        /// Record that must be durable first.
        after: Option<Sequence>,
    },
    /// Send to every other member of the shard, held back until `after` is durable.
    Broadcast {
        /// Message.
        message: PeerMessage,
        /// Record that must be durable first.
        after: Option<Sequence>,
    },
    /// Hold a body against its header and verify its signatures (`body_check::check_body`); answer by `BodyChecked`.
    CheckBody {
        /// Hash of the author header, to be returned.
        hash: Hash,
        /// Header, whose signature was verified.
        header: Box<SignedAuthorHeader>,
        /// Body bytes.
        bytes: Bytes,
        /// Which signatures.
        checks: SignatureChecks,
    },
    /// Read a final author block from the log and verify every signature of it (`body_check::recheck_body`); answer by
    /// `Rechecked`, also when the log no longer has it (then with nothing forged).
    Recheck {
        /// Hash of the author header, to be returned.
        hash: Hash,
    },
    /// Append records to the block log; `Durable(seq)` is expected when `sync`.
    Persist {
        /// Rising number.
        seq: Sequence,
        /// In order; may be empty when only earlier records are waited for.
        records: Vec<LogRecord>,
        /// Whether something waits for it.
        sync: bool,
    },
    /// Net changes of final heights, for the written-behind state.
    WriteState(Box<StateChanges>),
    /// Answer a client.
    Answer {
        /// Connection.
        connection: ConnectionId,
        /// Answer.
        answer: Answer,
    },
    /// Read final blocks from the log and send them as `PeerMessage::Blocks`.
    ServeBlocks {
        /// Receiver.
        to: MemberIndex,
        /// First height.
        from: Height,
        /// At most this many.
        count: u16,
    },
    /// Read an author block from the log and send it as `PeerMessage::AuthorBlock`; nothing when absent.
    ServeBody {
        /// Receiver.
        to: MemberIndex,
        /// Hash of its header.
        hash: Hash,
    },
    /// Stop at once: going on would be unsafe.
    Halt(HaltReason),
}

/// Why a replica stops.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HaltReason {
    /// Two certificates contradict each other: more than `f` voters are faulty.
    #[error(
        "two certificates contradict each other at height {0}: more voters are faulty than the committee tolerates"
    )]
    Conflict(Height),
    /// A final block does not give the certified digest here: this validator's state is wrong.
    #[error(
        "executing the final block of height {0} does not give its certified digest: this validator's state is wrong"
    )]
    Digest(Height),
    /// A final block contradicts the rules.
    #[error("the final block of height {0} breaks a rule: {1}")]
    Content(Height, &'static str),
}

/// What a replica counts since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// View changes taken part in.
    pub view_changes: u64,
    /// Messages refused, any reason.
    pub refused: u64,
    /// Proposals made.
    pub proposals: u64,
    /// Sum over proposals of the heights in flight when each was made, itself included.
    pub heights_in_flight_sum: u64,
    /// Own transactions cut into blocks.
    pub cut: u64,
    /// Transactions applied in final blocks.
    pub applied: u64,
    /// Transactions excluded in final blocks.
    pub excluded: u64,
    /// Resets of runs that became final.
    pub resets: u64,
    /// Own blocks cut, empty ones included.
    pub blocks_cut: u64,
    /// Faults that this validator found by itself.
    pub faults: FaultCounts,
    /// Members slashed in final blocks.
    pub slashed: u64,
    /// Claims decided in final blocks.
    pub claims: u64,
    /// Value of the outputs that claims seized.
    pub claims_seized: u64,
    /// Value paid to the defrauded.
    pub claims_paid: u64,
    /// Losses that nothing was left to pay.
    pub claims_unpaid: u64,
    /// Final switches to one league.
    pub fallback_entries: u64,
    /// Final switches back to two leagues.
    pub fallback_exits: u64,
    /// Final author blocks checked again.
    pub rechecked: u64,
    /// Candidates that took over a group.
    pub stand_ins: u64,
    /// Slow transactions executed.
    pub slow: u64,
    /// Own transactions answered with a receipt.
    pub receipts: u64,
}

/// Answer for one transaction, built from what the replica knows.
pub(crate) const fn status(level: types::client::Level, height: Height, code: u8) -> TxStatus {
    TxStatus { level, height, code }
}
