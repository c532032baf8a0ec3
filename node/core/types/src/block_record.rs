//! Records of final blocks: what the voters decide besides transactions (`ios` 9.4).

use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::evidence::Evidence;
use crate::ids::{Height, MemberIndex, Signature};
use crate::limits::TX_BYTES_MAX;
use crate::struct_codec;

/// Request of an author for a new run after a restart or an aged chain (`ios` 7.4, second form of Reset).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResetRequest {
    /// Group of the author.
    pub group: u16,
    /// Run that ends.
    pub run: u16,
    /// Fresh at each start of the process, so that an author resumes only on a reset of its own.
    pub boot_nonce: u64,
    /// Signature of the author's id key.
    pub signature: Signature,
}

struct_codec!(ResetRequest {
    group,
    run,
    boot_nonce,
    signature
});

/// A candidate takes the group of a silent or banned author (`ios` 7.8, 7.12a).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StandIn {
    /// The group.
    pub group: u16,
    /// Who authors it from the next height on.
    pub member: MemberIndex,
}

struct_codec!(StandIn { group, member });

/// A candidate says that it is there and follows the chain (`ios` 10.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorReady {
    /// The candidate.
    pub member: MemberIndex,
    /// Its final height.
    pub height: Height,
    /// Signature of its id key.
    pub signature: Signature,
}

struct_codec!(AuthorReady {
    member,
    height,
    signature
});

/// One record; in a block they stand in the order of the variants, and in each by what [`Record::order`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A fault: its author is banned and loses its bond; a forged final transaction is paid for.
    Evidence(Evidence),
    /// A run ends.
    Reset(ResetRequest),
    /// A group changes hands.
    StandIn(StandIn),
    /// The other mode from a later height on (`ios` 10.2): 0 two leagues, 1 one league.
    ModeSwitch(u8),
    /// A candidate is there.
    AuthorReady(AuthorReady),
    /// A transaction that every voter checked; it bars its inputs and executes `SLOW` heights later (`ios` 7.9).
    SlowIntent(Vec<u8>),
}

impl Record {
    /// Place among the kinds.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Evidence(_) => 0,
            Self::Reset(_) => 1,
            Self::StandIn(_) => 2,
            Self::ModeSwitch(_) => 3,
            Self::AuthorReady(_) => 4,
            Self::SlowIntent(_) => 5,
        }
    }

    /// Place in a block: kind, then group or member, then the bytes; strictly rising.
    #[must_use]
    pub fn order(&self) -> (u8, u16, Vec<u8>) {
        let number = match self {
            Self::Evidence(_) | Self::SlowIntent(_) | Self::ModeSwitch(_) => 0,
            Self::Reset(reset) => reset.group,
            Self::StandIn(stand_in) => stand_in.group,
            Self::AuthorReady(ready) => ready.member.0,
        };
        let bytes = match self {
            // One for each group, member or switch.
            Self::Reset(_) | Self::StandIn(_) | Self::ModeSwitch(_) | Self::AuthorReady(_) => Vec::new(),
            Self::Evidence(_) | Self::SlowIntent(_) => self.to_bytes(),
        };
        (self.kind(), number, bytes)
    }
}

impl Encode for Record {
    fn encode(&self, out: &mut Vec<u8>) {
        self.kind().encode(out);
        match self {
            Self::Evidence(evidence) => evidence.encode(out),
            Self::Reset(reset) => reset.encode(out),
            Self::StandIn(stand_in) => stand_in.encode(out),
            Self::ModeSwitch(mode) => mode.encode(out),
            Self::AuthorReady(ready) => ready.encode(out),
            Self::SlowIntent(tx) => {
                (tx.len() as u16).encode(out);
                out.extend_from_slice(tx);
            }
        }
    }
}

impl Decode for Record {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u8()? {
            0 => Evidence::decode(reader).map(Self::Evidence),
            1 => ResetRequest::decode(reader).map(Self::Reset),
            2 => StandIn::decode(reader).map(Self::StandIn),
            3 => match reader.u8()? {
                mode @ (0 | 1) => Ok(Self::ModeSwitch(mode)),
                _ => Err(DecodeError::Value { what: "mode" }),
            },
            4 => AuthorReady::decode(reader).map(Self::AuthorReady),
            5 => {
                let bytes = reader.count16("bytes of a transaction", TX_BYTES_MAX)?;
                reader.bytes(bytes).map(|bytes| Self::SlowIntent(bytes.to_vec()))
            }
            _ => Err(DecodeError::Value {
                what: "kind of record",
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AuthorReady, Record, ResetRequest, StandIn};
    use crate::codec::{Decode, Encode};
    use crate::ids::{Height, MemberIndex, Signature};

    #[test]
    fn every_kind_round_trips_and_unknown_ones_are_refused() {
        let records = [
            Record::Reset(ResetRequest {
                group: 1,
                run: 2,
                boot_nonce: 3,
                signature: Signature::default(),
            }),
            Record::StandIn(StandIn {
                group: 4,
                member: MemberIndex(5),
            }),
            Record::ModeSwitch(1),
            Record::AuthorReady(AuthorReady {
                member: MemberIndex(6),
                height: Height(7),
                signature: Signature::default(),
            }),
            Record::SlowIntent(vec![1, 2, 3]),
        ];
        for record in &records {
            assert_eq!(Record::from_bytes(&record.to_bytes()).as_ref(), Ok(record));
        }
        assert!(records.is_sorted_by_key(Record::order));
        Record::from_bytes(&[6, 0]).expect_err("no such kind");
        Record::from_bytes(&[3, 2]).expect_err("no such mode");
    }
}
