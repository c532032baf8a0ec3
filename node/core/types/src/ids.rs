//! Newtypes for every identifier and quantity, so that no two arguments of one type can be swapped.

use std::fmt;

macro_rules! integer_id {
    ($(#[$meta:meta])* $name:ident($inner:ty)) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }
    };
}

integer_id!(
    /// Shard number, `0..m` with m a power of two.
    ShardId(u16)
);
integer_id!(
    /// Index of a validator in the id-sorted active list of the epoch (`ios` 1.2).
    ValidatorId(u16)
);
integer_id!(
    /// Index of a voter inside its shard's committee; the bit that it sets in certificates.
    MemberIndex(u16)
);
integer_id!(
    /// Epoch number; 0 for the whole life of a chain in the first version (`ios` 20.1).
    Epoch(u32)
);
integer_id!(
    /// Height of a final block in its shard's chain; 0 is genesis.
    Height(u64)
);
integer_id!(
    /// View of the ordering protocol; one leader each.
    View(u32)
);
integer_id!(
    /// Tag that a client gives a submission, strictly rising per connection (`ios` 14.2).
    Tag(u32)
);
integer_id!(
    /// A client's connection to one node, numbered by the node; never reused in a process.
    ConnectionId(u64)
);
integer_id!(
    /// Number of a persisted record batch; a message may wait until it is durable.
    Sequence(u64)
);

impl Height {
    /// The next height; the highest of all stays what it is.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl View {
    /// The next view; the highest of all stays what it is.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// An amount of the smallest unit. All arithmetic is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(pub u64);

impl Amount {
    /// `self + other`, or `None` above `u64::MAX`.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// `self - other`, or `None` below zero.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(rest) => Some(Self(rest)),
            None => None,
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

macro_rules! bytes_id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// The 32 bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{}(", stringify!($name))?;
                self.0.iter().take(6).try_for_each(|byte| write!(formatter, "{byte:02x}"))?;
                formatter.write_str("..)")
            }
        }
    };
}

bytes_id!(
    /// A blake3 hash under one of the contexts of `ios` 0.6.
    Hash
);
bytes_id!(
    /// Hash of a transaction's bytes before its signatures (`ios` 1.4).
    TxId
);
bytes_id!(
    /// Owner of an output: an Ed25519 public key as it stands, no address hash (`ios` 1.3).
    Owner
);

/// 64 bytes of an Ed25519 signature, not yet known to decode.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

impl Default for Signature {
    fn default() -> Self {
        Self([0; 64])
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "Signature({:02x}{:02x}{:02x}{:02x}..)",
            self.0[0], self.0[1], self.0[2], self.0[3]
        )
    }
}

/// 48 bytes of a BLS signature or of a sum of several, not yet known to decode (`ios` 0.7).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AggregateSignature(pub [u8; 48]);

impl Default for AggregateSignature {
    fn default() -> Self {
        Self([0; 48])
    }
}

impl fmt::Debug for AggregateSignature {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "AggregateSignature({:02x}{:02x}{:02x}{:02x}..)",
            self.0[0], self.0[1], self.0[2], self.0[3]
        )
    }
}

/// Reference to one output of a transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutPoint {
    /// The transaction that created the output.
    pub txid: TxId,
    /// Its position among the outputs.
    pub index: u16,
}

impl OutPoint {
    /// Partition of the UTXO set and of the effects digest: the top six bits of the hash part (`ios` 0.6).
    #[must_use]
    pub const fn partition(&self) -> usize {
        (self.txid.0[0] >> 2) as usize
    }
}
