//! Collective signatures: lists of Ed25519 signatures up to 16 voters, BLS aggregates above (`ios` 0.7).

use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::ids::{AggregateSignature, Hash, Height, MemberIndex, Signature, View};
use crate::limits::{LIST_VOTERS_MAX, VOTERS_MAX};

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

/// A set of voters, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signers([u64; VOTERS_MAX / 64]);

impl Signers {
    /// The set of one.
    #[must_use]
    pub fn of(member: MemberIndex) -> Self {
        let mut signers = Self::default();
        signers.insert(member);
        signers
    }

    /// Adds a voter; one that is there, or past `VOTERS_MAX`, changes nothing.
    pub fn insert(&mut self, member: MemberIndex) {
        if let Some(word) = self.0.get_mut(usize::from(member.0 / 64)) {
            *word |= 1 << (member.0 % 64);
        }
    }

    /// Whether a voter is in the set.
    #[must_use]
    pub fn contains(&self, member: MemberIndex) -> bool {
        self.0
            .get(usize::from(member.0 / 64))
            .is_some_and(|word| word >> (member.0 % 64) & 1 == 1)
    }

    /// Number of voters.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The voter, if there is exactly one.
    #[must_use]
    pub fn only(&self) -> Option<MemberIndex> {
        let mut members = self.iter();
        members.next().filter(|_| members.next().is_none())
    }

    /// Whether it is the empty set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Voters in either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.combine(other, |left, right| left | right)
    }

    /// Voters in this set that are not in the other.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        self.combine(other, |left, right| left & !right)
    }

    /// Whether no voter is in both sets.
    #[must_use]
    pub fn is_disjoint(&self, other: &Self) -> bool {
        self.combine(other, |left, right| left & right).is_empty()
    }

    /// Voters, ascending.
    pub fn iter(&self) -> impl Iterator<Item = MemberIndex> + use<> {
        self.0
            .into_iter()
            .zip((0..).step_by(64))
            .flat_map(|(word, first)| {
                let rest = std::iter::successors(Some(word), |word| Some(word & word.wrapping_sub(1)));
                rest.take_while(|word| *word != 0)
                    .map(move |word| MemberIndex(u16::saturating_add(first, word.trailing_zeros() as u16)))
            })
    }

    fn combine(&self, other: &Self, with: impl Fn(u64, u64) -> u64) -> Self {
        let mut words = self.0;
        for (word, other) in words.iter_mut().zip(other.0) {
            *word = with(*word, other);
        }
        Self(words)
    }

    /// Appends the bitmap of a committee of this size: `ceil(size / 8)` bytes, lowest bit first.
    fn encode(&self, size: u16, out: &mut Vec<u8>) {
        let bytes = self.0.iter().flat_map(|word| word.to_le_bytes());
        out.extend(bytes.take(usize::from(size).div_ceil(8)));
    }

    /// Reads the bitmap of a committee of this size, which is at most `VOTERS_MAX`; no bit is past it.
    fn decode(reader: &mut Reader<'_>, size: u16) -> Result<Self, DecodeError> {
        let mut signers = Self::default();
        for (byte, first) in reader
            .bytes(usize::from(size).div_ceil(8))?
            .iter()
            .zip((0..).step_by(8))
        {
            for bit in (0..8_u16).filter(|bit| byte >> bit & 1 == 1) {
                let member = bit.saturating_add(first);
                if member >= size {
                    return Err(DecodeError::Value {
                        what: "bitmap of a certificate",
                    });
                }
                signers.insert(MemberIndex(member));
            }
        }
        Ok(signers)
    }
}

impl FromIterator<MemberIndex> for Signers {
    fn from_iter<I: IntoIterator<Item = MemberIndex>>(members: I) -> Self {
        let mut signers = Self::default();
        members.into_iter().for_each(|member| signers.insert(member));
        signers
    }
}

/// The signatures of a certificate. Which kind it is the size of the committee decides, for the whole chain: a list
/// up to `LIST_VOTERS_MAX` voters, an aggregate above (`ios` 0.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signatures {
    /// Ed25519 signatures of the id keys with their signers, ascending.
    List(Vec<(MemberIndex, Signature)>),
    /// The sum of the signers' BLS signatures.
    Aggregate {
        /// Signers.
        signers: Signers,
        /// Sum of their signatures.
        signature: AggregateSignature,
    },
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
    /// Signatures.
    pub signatures: Signatures,
}

impl Certificate {
    /// Those who signed.
    #[must_use]
    pub fn signers(&self) -> Signers {
        match &self.signatures {
            Signatures::List(list) => list.iter().map(|(member, _)| *member).collect(),
            Signatures::Aggregate { signers, .. } => *signers,
        }
    }

    /// The list of a small committee; empty in an aggregate.
    #[must_use]
    pub fn list(&self) -> &[(MemberIndex, Signature)] {
        match &self.signatures {
            Signatures::List(list) => list,
            Signatures::Aggregate { .. } => &[],
        }
    }

    /// The list of a small committee, to change it; none in an aggregate.
    pub const fn list_mut(&mut self) -> Option<&mut Vec<(MemberIndex, Signature)>> {
        match &mut self.signatures {
            Signatures::List(list) => Some(list),
            Signatures::Aggregate { .. } => None,
        }
    }
}

/// Whether committees of this size certify by aggregates (`ios` 0.7).
#[must_use]
pub const fn is_aggregated(voters: usize) -> bool {
    voters > LIST_VOTERS_MAX
}

impl Encode for Certificate {
    fn encode(&self, out: &mut Vec<u8>) {
        self.view.encode(out);
        self.committee.encode(out);
        self.signers().encode(self.committee, out);
        match &self.signatures {
            Signatures::List(list) => list.iter().for_each(|(_, signature)| signature.encode(out)),
            Signatures::Aggregate { signature, .. } => signature.encode(out),
        }
    }
}

impl Decode for Certificate {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let view = View::decode(reader)?;
        let committee = committee_size(reader)?;
        let signers = Signers::decode(reader, committee)?;
        let signatures = if is_aggregated(committee.into()) {
            let signature = AggregateSignature::decode(reader)?;
            Signatures::Aggregate { signers, signature }
        } else {
            let mut list = Vec::with_capacity(usize::from(committee));
            for member in signers.iter() {
                list.push((member, Signature::decode(reader)?));
            }
            Signatures::List(list)
        };
        Ok(Self {
            view,
            committee,
            signatures,
        })
    }
}

/// Votes of some voters for one subject, summed up (`ios` 9.4, 9.5): a vote alone, what a sub-leader sends up, or the
/// votes of a certificate. Only committees with aggregates have them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partial {
    /// Phase, height, view and hash.
    pub subject: Subject,
    /// Size of the committee.
    pub committee: u16,
    /// Those who signed.
    pub signers: Signers,
    /// Sum of their signatures.
    pub signature: AggregateSignature,
}

impl Encode for Partial {
    fn encode(&self, out: &mut Vec<u8>) {
        self.subject.encode(out);
        self.committee.encode(out);
        self.signers.encode(self.committee, out);
        self.signature.encode(out);
    }
}

impl Decode for Partial {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let subject = Subject::decode(reader)?;
        let committee = committee_size(reader)?;
        Ok(Self {
            subject,
            committee,
            signers: Signers::decode(reader, committee)?,
            signature: AggregateSignature::decode(reader)?,
        })
    }
}

fn committee_size(reader: &mut Reader<'_>) -> Result<u16, DecodeError> {
    let committee = reader.u16()?;
    if committee == 0 || usize::from(committee) > VOTERS_MAX {
        return Err(DecodeError::Count {
            what: "committee of a certificate",
            count: committee.into(),
            max: VOTERS_MAX as u64,
        });
    }
    Ok(committee)
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

impl Encode for Subject {
    fn encode(&self, out: &mut Vec<u8>) {
        self.phase.encode(out);
        self.height.encode(out);
        self.view.encode(out);
        self.hash.encode(out);
    }
}

impl Decode for Subject {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            phase: Decode::decode(reader)?,
            height: Height::decode(reader)?,
            view: View::decode(reader)?,
            hash: Hash::decode(reader)?,
        })
    }
}

#[cfg(test)]
mod tests;
