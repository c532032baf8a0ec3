//! Faults with their self-contained proofs (`ios` 7.7): what anybody, or every voter by replay, can judge again.

use crate::block::SignedAuthorHeader;
use crate::certificate::Partial;
use crate::client::MerklePath;
use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::ids::{MemberIndex, ValidatorId};
use crate::limits::{OWNERS_MAX, TX_BYTES_MAX};
use crate::message::Vote;
use crate::struct_codec;

/// What is wrong with a transaction of an author block (`ios` 7.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum TxFault {
    /// F1: a signature of an owner fails rule V.
    Signature = 1,
    /// F2: no canonical transaction, or a rule that needs no state is broken.
    Encoding = 2,
    /// F3: an input that is missing, spent or barred, or values that do not add up, seen from the declared base and the
    /// author's own chain; judged by replay.
    State = 3,
    /// F5: an owner of another group or shard.
    Group = 5,
}

impl Encode for TxFault {
    fn encode(&self, out: &mut Vec<u8>) {
        (*self as u8).encode(out);
    }
}

impl Decode for TxFault {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u8()? {
            1 => Ok(Self::Signature),
            2 => Ok(Self::Encoding),
            3 => Ok(Self::State),
            5 => Ok(Self::Group),
            _ => Err(DecodeError::Value {
                what: "fault of a transaction",
            }),
        }
    }
}

/// A transaction that its author should not have put into a block: header, leaf and path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxEvidence {
    /// What is claimed to be wrong.
    pub fault: TxFault,
    /// Header that the author signed.
    pub header: SignedAuthorHeader,
    /// The transaction without its signatures, as its id is hashed.
    pub body: Vec<u8>,
    /// What stands behind it; with the id it is the leaf under `tx_root`.
    pub signatures: Vec<u8>,
    /// From the leaf to `tx_root`; its index is the position in the block.
    pub path: MerklePath,
}

impl Encode for TxEvidence {
    fn encode(&self, out: &mut Vec<u8>) {
        self.fault.encode(out);
        self.header.encode(out);
        for bytes in [&self.body, &self.signatures] {
            (bytes.len() as u16).encode(out);
            out.extend_from_slice(bytes);
        }
        self.path.encode(out);
    }
}

impl Decode for TxEvidence {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let fault = TxFault::decode(reader)?;
        let header = SignedAuthorHeader::decode(reader)?;
        let body = reader.count16("bytes of a transaction", TX_BYTES_MAX)?;
        let body = reader.bytes(body)?.to_vec();
        let signatures = reader.count16("bytes of signatures", 64 * OWNERS_MAX)?;
        Ok(Self {
            fault,
            header,
            body,
            signatures: reader.bytes(signatures)?.to_vec(),
            path: MerklePath::decode(reader)?,
        })
    }
}

/// Two headers of one author for one position: F4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TwoHeaders {
    /// The one with the lower hash of its encoding.
    pub first: SignedAuthorHeader,
    /// The other.
    pub second: SignedAuthorHeader,
}

struct_codec!(TwoHeaders { first, second });

/// Two signatures of one voter for one phase at one height and view over different hashes: F7. A proposal is a
/// signature of the phase `Propose`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TwoVotes {
    /// The one over the lower hash.
    pub first: Vote,
    /// The other.
    pub second: Vote,
}

struct_codec!(TwoVotes { first, second });

/// Two votes of one voter of a committee with aggregates, for one phase at one height and view over different hashes:
/// F7. Sums of several voters are none, as they accuse nobody alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TwoPartials {
    /// The one over the lower hash.
    pub first: Partial,
    /// The other.
    pub second: Partial,
}

struct_codec!(TwoPartials { first, second });

/// A fault with its proof. F8 leaves none: such blocks are only not included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// F1, F2, F3, F5.
    Transaction(Box<TxEvidence>),
    /// F4.
    Headers(Box<TwoHeaders>),
    /// F7: votes of a committee with lists, and proposals of either.
    Votes(Box<TwoVotes>),
    /// F7: votes of a committee with aggregates.
    Partials(Box<TwoPartials>),
}

/// What a fault is, for reports and counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// F1, bad signature.
    Signature,
    /// F2, bad encoding.
    Encoding,
    /// F3, broken state rule.
    State,
    /// F4, two blocks for one position.
    Equivocation,
    /// F5, wrong group or shard.
    Group,
    /// F7, two votes or two proposals.
    Votes,
}

impl FaultKind {
    /// Every kind, in the order of the rules.
    pub const ALL: [Self; 6] = [
        Self::Signature,
        Self::Encoding,
        Self::State,
        Self::Equivocation,
        Self::Group,
        Self::Votes,
    ];

    /// Name used in reports, `snake_case`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Signature => "bad_signature",
            Self::Encoding => "bad_encoding",
            Self::State => "bad_state",
            Self::Equivocation => "equivocation",
            Self::Group => "wrong_group",
            Self::Votes => "two_votes",
        }
    }
}

impl Evidence {
    /// What the fault is.
    #[must_use]
    pub const fn kind(&self) -> FaultKind {
        match self {
            Self::Transaction(evidence) => match evidence.fault {
                TxFault::Signature => FaultKind::Signature,
                TxFault::Encoding => FaultKind::Encoding,
                TxFault::State => FaultKind::State,
                TxFault::Group => FaultKind::Group,
            },
            Self::Headers(_) => FaultKind::Equivocation,
            Self::Votes(_) | Self::Partials(_) => FaultKind::Votes,
        }
    }

    /// The author that the fault is of; `None` for a voter's.
    #[must_use]
    pub const fn author(&self) -> Option<ValidatorId> {
        match self {
            Self::Transaction(evidence) => Some(evidence.header.header.author),
            Self::Headers(headers) => Some(headers.first.header.author),
            Self::Votes(_) | Self::Partials(_) => None,
        }
    }

    /// The voter that the fault is of; `None` for an author's, and where not exactly one is named.
    #[must_use]
    pub fn voter(&self) -> Option<MemberIndex> {
        match self {
            Self::Votes(votes) => Some(votes.first.member),
            Self::Partials(partials) => partials.first.signers.only(),
            Self::Transaction(_) | Self::Headers(_) => None,
        }
    }
}

impl Encode for Evidence {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Transaction(evidence) => {
                0_u8.encode(out);
                evidence.encode(out);
            }
            Self::Headers(headers) => {
                1_u8.encode(out);
                headers.encode(out);
            }
            Self::Votes(votes) => {
                2_u8.encode(out);
                votes.encode(out);
            }
            Self::Partials(partials) => {
                3_u8.encode(out);
                partials.encode(out);
            }
        }
    }
}

impl Decode for Evidence {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u8()? {
            0 => TxEvidence::decode(reader).map(|evidence| Self::Transaction(Box::new(evidence))),
            1 => TwoHeaders::decode(reader).map(|headers| Self::Headers(Box::new(headers))),
            2 => TwoVotes::decode(reader).map(|votes| Self::Votes(Box::new(votes))),
            3 => TwoPartials::decode(reader).map(|partials| Self::Partials(Box::new(partials))),
            _ => Err(DecodeError::Value {
                what: "kind of evidence",
            }),
        }
    }
}
