//! Reasons for which a transaction or a request is refused: fault of the sender, counted, never logged singly.

use std::fmt;

/// Reject codes (`ios` 1.9), one byte on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Reject {
    /// Bytes that are no canonical encoding.
    Encoding = 1,
    /// Unknown format version.
    Version = 2,
    /// A count outside its bounds.
    Limits = 3,
    /// Owners or inputs not strictly ascending.
    Unsorted = 4,
    /// An owner that no input refers to.
    OwnerUnused = 5,
    /// `expiry_epoch` in the past, or further ahead than allowed.
    Expired = 6,
    /// Fee below the policy's minimum.
    FeeLow = 7,
    /// Sum of amounts above `u64::MAX`.
    Overflow = 8,
    /// The owners of the inputs live in another shard.
    WrongShard = 9,
    /// The owner's group is served by another author.
    WrongGroup = 10,
    /// An input that does not exist here.
    InputMissing = 11,
    /// An input that another transaction has spent.
    InputSpent = 12,
    /// An input locked by a cross-shard transaction.
    InputLocked = 13,
    /// The input belongs to another owner.
    OwnerMismatch = 14,
    /// Inputs do not equal outputs plus fee.
    ValueMismatch = 15,
    /// A signature that fails rule V (`ios` 1.5).
    BadSignature = 16,
    /// Queue full, or the tag moved to another connection.
    Busy = 17,
    /// Term or mode closed.
    Closed = 18,
    /// A parent was excluded.
    ParentExcluded = 19,
    /// The kind is not open, or outputs leave the shard while cross-shard commit does not exist.
    KindClosed = 20,
    /// The input is barred by the slow lane.
    InputBarred = 21,
    /// The cross-shard transaction was aborted.
    LockAborted = 22,
}

impl Reject {
    /// Every code, in wire order.
    pub const ALL: [Self; 22] = [
        Self::Encoding,
        Self::Version,
        Self::Limits,
        Self::Unsorted,
        Self::OwnerUnused,
        Self::Expired,
        Self::FeeLow,
        Self::Overflow,
        Self::WrongShard,
        Self::WrongGroup,
        Self::InputMissing,
        Self::InputSpent,
        Self::InputLocked,
        Self::OwnerMismatch,
        Self::ValueMismatch,
        Self::BadSignature,
        Self::Busy,
        Self::Closed,
        Self::ParentExcluded,
        Self::KindClosed,
        Self::InputBarred,
        Self::LockAborted,
    ];

    /// The wire code.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The reason of a wire code; `None` for an unknown one.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code).checked_sub(1)?).copied()
    }

    /// Name used in reports, `snake_case`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Encoding => "encoding",
            Self::Version => "version",
            Self::Limits => "limits",
            Self::Unsorted => "unsorted",
            Self::OwnerUnused => "owner_unused",
            Self::Expired => "expired",
            Self::FeeLow => "fee_low",
            Self::Overflow => "overflow",
            Self::WrongShard => "wrong_shard",
            Self::WrongGroup => "wrong_group",
            Self::InputMissing => "input_missing",
            Self::InputSpent => "input_spent",
            Self::InputLocked => "input_locked",
            Self::OwnerMismatch => "owner_mismatch",
            Self::ValueMismatch => "value_mismatch",
            Self::BadSignature => "bad_signature",
            Self::Busy => "busy",
            Self::Closed => "closed",
            Self::ParentExcluded => "parent_excluded",
            Self::KindClosed => "kind_closed",
            Self::InputBarred => "input_barred",
            Self::LockAborted => "lock_aborted",
        }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (code {})", self.name(), self.code())
    }
}

impl std::error::Error for Reject {}

#[cfg(test)]
mod tests {
    use super::Reject;

    #[test]
    fn codes_are_dense_and_reversible() {
        for (position, reject) in Reject::ALL.iter().enumerate() {
            assert_eq!(usize::from(reject.code()), position + 1);
            assert_eq!(Reject::from_code(reject.code()), Some(*reject));
        }
        assert_eq!(Reject::from_code(0), None);
        assert_eq!(Reject::from_code(23), None);
    }
}
