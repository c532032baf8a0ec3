//! Collective signatures as lists of Ed25519 signatures (`ios` 0.7); above 16 voters BLS takes their place.

use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::ids::{Hash, Height, MemberIndex, Signature, View};
use crate::limits::LIST_VOTERS_MAX;

/// What a vote is for; part of the signed string (`ios` 0.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Phase {
    /// First phase.
    Prepare = 0,
    /// Second phase.
    Commit = 1,
    /// Promise to leave all lower views.
    ViewChange = 2,
    /// A leader's proposal.
    Propose = 3,
    /// A leader's opening of a view.
    NewView = 4,
}

impl Phase {
    /// Tag in the signed string.
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Commit => "commit",
            Self::ViewChange => "viewchange",
            Self::Propose => "propose",
            Self::NewView => "newview",
        }
    }
}

impl Encode for Phase {
    fn encode(&self, out: &mut Vec<u8>) {
        (*self as u8).encode(out);
    }
}

impl Decode for Phase {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u8()? {
            0 => Ok(Self::Prepare),
            1 => Ok(Self::Commit),
            2 => Ok(Self::ViewChange),
            3 => Ok(Self::Propose),
            4 => Ok(Self::NewView),
            _ => Err(DecodeError::Value { what: "phase" }),
        }
    }
}

/// Signatures of a quorum over one (phase, height, view, hash).
///
/// Canonical: signers strictly ascending; the bitmap has no bit past the committee. Whether there are enough
/// signers and whether they verify is for `crypto` to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// View of the votes, which is not always the view of the block's header.
    pub view: View,
    /// Size of the committee.
    pub committee: u16,
    /// Signers with their signatures, ascending.
    pub signatures: Vec<(MemberIndex, Signature)>,
}

impl Encode for Certificate {
    fn encode(&self, out: &mut Vec<u8>) {
        self.view.encode(out);
        self.committee.encode(out);
        let start = out.len();
        out.resize(start.saturating_add(usize::from(self.committee).div_ceil(8)), 0);
        for (member, _) in &self.signatures {
            if let Some(byte) = out.get_mut(start.saturating_add(usize::from(member.0 / 8))) {
                *byte |= 1 << (member.0 % 8);
            }
        }
        self.signatures
            .iter()
            .for_each(|(_, signature)| signature.encode(out));
    }
}

impl Decode for Certificate {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let view = View::decode(reader)?;
        let committee = reader.u16()?;
        if committee == 0 || usize::from(committee) > LIST_VOTERS_MAX {
            let max = LIST_VOTERS_MAX as u64;
            return Err(DecodeError::Count {
                what: "committee of a list certificate",
                count: committee.into(),
                max,
            });
        }
        let bitmap = reader.bytes(usize::from(committee).div_ceil(8))?;
        let is_set = |bit: u16| {
            bitmap
                .get(usize::from(bit / 8))
                .is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
        };
        if (committee..committee.next_multiple_of(8)).any(is_set) {
            return Err(DecodeError::Value {
                what: "bitmap of a certificate",
            });
        }
        let mut signatures = Vec::with_capacity(usize::from(committee));
        for bit in (0..committee).filter(|bit| is_set(*bit)) {
            signatures.push((MemberIndex(bit), Signature::decode(reader)?));
        }
        Ok(Self {
            view,
            committee,
            signatures,
        })
    }
}

/// What a vote or certificate speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// Phase.
    pub phase: Phase,
    /// Height of the block.
    pub height: Height,
    /// View of the vote.
    pub view: View,
    /// Hash of the block's header.
    pub hash: Hash,
}

#[cfg(test)]
mod tests {
    use super::Certificate;
    use crate::codec::{Decode, Encode};
    use crate::ids::{MemberIndex, Signature, View};

    #[test]
    fn round_trip_and_no_bit_past_the_committee() {
        let certificate = Certificate {
            view: View(3),
            committee: 4,
            signatures: [0, 2, 3]
                .map(|member| (MemberIndex(member), Signature([member as u8; 64])))
                .to_vec(),
        };
        let bytes = certificate.to_bytes();
        assert_eq!(bytes.len(), 6 + 1 + 64 * 3);
        assert_eq!(Certificate::from_bytes(&bytes), Ok(certificate));
        for bit in 4..8 {
            let mut broken = bytes.clone();
            broken[6] |= 1 << bit;
            assert!(Certificate::from_bytes(&broken).is_err());
        }
    }
}
