//! Records of the block log: what must be on disk before a message leaves (`ios` 9.6, 20.6).

use bytes::Bytes;

use crate::block::{Block, CommittedBlock};
use crate::certificate::Partial;
use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::ids::View;
use crate::message::{AuthorBlock, NewView, PeerMessage, Propose, Tip, Vote};

/// One record of the block log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogRecord {
    /// An author block that a vote refers to.
    AuthorBlock(AuthorBlock),
    /// A proposal voted for, or one's own before it is sent.
    Proposal(Propose),
    /// A vote about to be sent.
    Vote(Vote),
    /// The highest prepare certificate held.
    Tip(Tip),
    /// A final block.
    Committed(Box<CommittedBlock>),
    /// The first accepted opening of a view.
    NewView(Box<NewView>),
    /// Promise to vote in no lower view ever again.
    Promise(View),
    /// A block fetched by hash: an ancestor of what was voted.
    Block(Box<Block>),
    /// Whether this validator may sign in the epoch; the last one counts, without one it may not.
    Standing(Standing),
    /// An own vote about to be sent, in a committee with aggregates.
    Partial(Partial),
}

/// Whether a validator may sign in an epoch (`ios` 20.5: a lost disk).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody knew a signature of it when it entered with an empty disk.
    Voter,
    /// It signed something that its disk does not know.
    Barred,
}

impl LogRecord {
    /// Type byte.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self {
            Self::AuthorBlock(_) => 1,
            Self::Proposal(_) => 2,
            Self::Vote(_) => 3,
            Self::Tip(_) => 4,
            Self::Committed(_) => 5,
            Self::NewView(_) => 6,
            Self::Promise(_) => 7,
            Self::Block(_) => 8,
            Self::Standing(_) => 9,
            Self::Partial(_) => 10,
        }
    }

    /// Payload as a head and, for author blocks, the body that follows it without a copy.
    #[must_use]
    pub fn encode_payload(&self) -> (Vec<u8>, Option<Bytes>) {
        let mut out = Vec::with_capacity(256);
        match self {
            Self::AuthorBlock(block) => {
                block.header.encode(&mut out);
                return (out, Some(block.body.clone()));
            }
            Self::Proposal(propose) => propose.encode(&mut out),
            Self::Vote(vote) => vote.encode(&mut out),
            Self::Tip(tip) => tip.encode(&mut out),
            Self::Committed(block) => block.encode(&mut out),
            Self::NewView(new_view) => new_view.encode(&mut out),
            Self::Promise(view) => view.encode(&mut out),
            Self::Block(block) => block.encode(&mut out),
            Self::Standing(standing) => out.push(match standing {
                Standing::Voter => 1,
                Standing::Barred => 2,
            }),
            Self::Partial(partial) => partial.encode(&mut out),
        }
        (out, None)
    }

    /// Reads a record back.
    ///
    /// # Errors
    /// Names what is not canonical.
    pub fn decode_payload(kind: u8, payload: &Bytes) -> Result<Self, DecodeError> {
        let peer = |kind| PeerMessage::decode_payload(kind, payload);
        match kind {
            1 => match peer(0x21)? {
                PeerMessage::AuthorBlock(block) => Ok(Self::AuthorBlock(block)),
                _ => Err(DecodeError::Value {
                    what: "author block record",
                }),
            },
            2 => Propose::from_bytes(payload).map(Self::Proposal),
            3 => Vote::from_bytes(payload).map(Self::Vote),
            4 => Tip::from_bytes(payload).map(Self::Tip),
            5 => CommittedBlock::from_bytes(payload).map(|block| Self::Committed(Box::new(block))),
            6 => NewView::from_bytes(payload).map(|new_view| Self::NewView(Box::new(new_view))),
            7 => {
                let mut reader = Reader::new(payload);
                let view = View::decode(&mut reader)?;
                reader.finish()?;
                Ok(Self::Promise(view))
            }
            8 => Block::from_bytes(payload).map(|block| Self::Block(Box::new(block))),
            9 => match payload.as_ref() {
                [1] => Ok(Self::Standing(Standing::Voter)),
                [2] => Ok(Self::Standing(Standing::Barred)),
                _ => Err(DecodeError::Value {
                    what: "standing record",
                }),
            },
            10 => Partial::from_bytes(payload).map(Self::Partial),
            _ => Err(DecodeError::Value {
                what: "type of a log record",
            }),
        }
    }
}
