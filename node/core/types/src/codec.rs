//! The canonical encoding: little-endian fixed-width integers, counts before items, no padding, no optional
//! trailing bytes (`ios` 0.5).

use crate::ids::{
    AggregateSignature, Amount, Epoch, Hash, Height, MemberIndex, OutPoint, Owner, ShardId, Signature, Tag,
    TxId, ValidatorId, View,
};

/// Why bytes are not a canonical encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The input ends inside a field.
    #[error("truncated: {needed} more bytes are needed at offset {offset}")]
    Truncated {
        /// Offset of the field.
        offset: usize,
        /// Bytes missing.
        needed: usize,
    },
    /// Bytes after the value.
    #[error("{extra} trailing bytes after the value")]
    Trailing {
        /// How many.
        extra: usize,
    },
    /// A count above its maximum.
    #[error("{what} counts {count}, at most {max} are accepted")]
    Count {
        /// The field.
        what: &'static str,
        /// What was stated.
        count: u64,
        /// What is accepted.
        max: u64,
    },
    /// A value outside its domain.
    #[error("{what} is not valid")]
    Value {
        /// The field.
        what: &'static str,
    },
}

/// A value with one canonical encoding.
pub trait Encode {
    /// Appends the encoding.
    fn encode(&self, out: &mut Vec<u8>);

    /// The encoding as a vector.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }
}

/// A value that can be read back.
pub trait Decode: Sized {
    /// Reads one value from the front.
    ///
    /// # Errors
    /// Names the first thing that is not canonical.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;

    /// Reads exactly one value.
    ///
    /// # Errors
    /// As `decode`; trailing bytes are refused.
    fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let value = Self::decode(&mut reader)?;
        reader.finish()?;
        Ok(value)
    }
}

impl<T: Encode> Encode for Option<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            None => 0_u8.encode(out),
            Some(value) => {
                1_u8.encode(out);
                value.encode(out);
            }
        }
    }
}

impl<T: Decode> Decode for Option<T> {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u8()? {
            0 => Ok(None),
            1 => T::decode(reader).map(Some),
            _ => Err(DecodeError::Value {
                what: "presence byte",
            }),
        }
    }
}

/// Cursor over bytes from outside; never panics.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the front.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// Bytes consumed so far.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// Bytes not yet consumed.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.bytes.len().saturating_sub(self.offset)
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// `Truncated`.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let rest = self.bytes.get(self.offset..).unwrap_or_default();
        let taken = rest.get(..len).ok_or(DecodeError::Truncated {
            offset: self.offset,
            needed: len.saturating_sub(rest.len()),
        })?;
        self.offset = self.offset.saturating_add(len);
        Ok(taken)
    }

    /// The next `N` bytes as an array.
    ///
    /// # Errors
    /// `Truncated`.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let offset = self.offset;
        self.bytes(N)?
            .try_into()
            .map_err(|_| DecodeError::Truncated { offset, needed: N })
    }

    /// One byte.
    ///
    /// # Errors
    /// `Truncated`.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Two bytes.
    ///
    /// # Errors
    /// `Truncated`.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes.
    ///
    /// # Errors
    /// `Truncated`.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes.
    ///
    /// # Errors
    /// `Truncated`.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A 32-bit count that is at most `max`.
    ///
    /// # Errors
    /// `Truncated` or `Count`.
    pub fn count(&mut self, what: &'static str, max: usize) -> Result<usize, DecodeError> {
        let count = self.u32()? as usize;
        bounded(what, count, max)
    }

    /// A 16-bit count that is at most `max`.
    ///
    /// # Errors
    /// `Truncated` or `Count`.
    pub fn count16(&mut self, what: &'static str, max: usize) -> Result<usize, DecodeError> {
        let count = usize::from(self.u16()?);
        bounded(what, count, max)
    }

    /// `count` values. Room is made for no more bytes than are left to read; beyond, the vector grows with what was
    /// really read.
    ///
    /// # Errors
    /// Those of the values.
    pub fn items<T: Decode>(&mut self, count: usize) -> Result<Vec<T>, DecodeError> {
        let room = self.remaining().checked_div(size_of::<T>());
        let mut items = Vec::with_capacity(count.min(room.unwrap_or_default()));
        for _ in 0..count {
            items.push(T::decode(self)?);
        }
        Ok(items)
    }

    /// Ends the value.
    ///
    /// # Errors
    /// `Trailing` when bytes are left.
    pub const fn finish(&self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            extra => Err(DecodeError::Trailing { extra }),
        }
    }
}

const fn bounded(what: &'static str, count: usize, max: usize) -> Result<usize, DecodeError> {
    if count > max {
        return Err(DecodeError::Count {
            what,
            count: count as u64,
            max: max as u64,
        });
    }
    Ok(count)
}

/// Appends a 32-bit count and the items.
pub fn encode_items<T: Encode>(items: &[T], out: &mut Vec<u8>) {
    (items.len() as u32).encode(out);
    items.iter().for_each(|item| item.encode(out));
}

macro_rules! integer_codec {
    ($($integer:ty => $read:ident),*) => {$(
        impl Encode for $integer {
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
        }
        impl Decode for $integer {
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                reader.$read()
            }
        }
    )*};
}
integer_codec!(u8 => u8, u16 => u16, u32 => u32, u64 => u64);

macro_rules! newtype_codec {
    ($($name:ident),*) => {$(
        impl Encode for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                self.0.encode(out);
            }
        }
        impl Decode for $name {
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                Decode::decode(reader).map(Self)
            }
        }
    )*};
}
newtype_codec!(
    ShardId,
    ValidatorId,
    MemberIndex,
    Epoch,
    Height,
    View,
    Tag,
    Amount,
    Hash,
    TxId,
    Owner,
    Signature,
    AggregateSignature
);

impl<const N: usize> Encode for [u8; N] {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
}

impl<const N: usize> Decode for [u8; N] {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array()
    }
}

impl Encode for OutPoint {
    fn encode(&self, out: &mut Vec<u8>) {
        self.txid.encode(out);
        self.index.encode(out);
    }
}

impl Decode for OutPoint {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            txid: TxId::decode(reader)?,
            index: reader.u16()?,
        })
    }
}

/// Encodes and decodes a plain struct field by field, in order.
#[macro_export]
macro_rules! struct_codec {
    ($name:ident { $($field:ident),* $(,)? }) => {
        impl $crate::codec::Encode for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                $( $crate::codec::Encode::encode(&self.$field, out); )*
            }
        }
        impl $crate::codec::Decode for $name {
            fn decode(reader: &mut $crate::codec::Reader<'_>) -> Result<Self, $crate::codec::DecodeError> {
                Ok(Self { $( $field: $crate::codec::Decode::decode(reader)?, )* })
            }
        }
    };
}
