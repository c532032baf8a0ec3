//! Keys and values of the state.

use blocklog::Identity;
use types::codec::{Decode, DecodeError, Encode, Reader};
use types::{Amount, Counters, Hash, Height, OutPoint, Owner, TxId};

use super::{CLAIM_PREFIX, OUTPUT_PREFIX, SnapshotHead};
use crate::changes::Output;

/// Reads whose state it is.
pub(super) fn decode_identity(bytes: &[u8]) -> Result<(u32, Identity), DecodeError> {
    let mut reader = Reader::new(bytes);
    let version = reader.u32()?;
    let identity = Identity {
        genesis: Hash(reader.array()?),
        validator: reader.array()?,
    };
    reader.finish()?;
    Ok((version, identity))
}

/// Height, digest and counters.
pub(super) fn encode_head(head: &SnapshotHead) -> Vec<u8> {
    let mut value = head.height.to_bytes();
    head.digest.encode(&mut value);
    head.counters.encode(&mut value);
    value
}

/// Reads height, digest and counters.
pub(super) fn decode_head(bytes: &[u8]) -> Result<SnapshotHead, DecodeError> {
    let mut reader = Reader::new(bytes);
    let (height, digest) = (Height::decode(&mut reader)?, Hash::decode(&mut reader)?);
    let counters = Counters::decode(&mut reader)?;
    reader.finish()?;
    Ok(SnapshotHead {
        height,
        digest,
        counters,
    })
}

/// Big-endian index: keys ascend as references do.
pub(super) fn key_of(outpoint: &OutPoint) -> [u8; 35] {
    let mut key = [OUTPUT_PREFIX; 35];
    let (txid, index) = key.split_at_mut(33);
    if let Some((_, txid)) = txid.split_first_mut() {
        txid.copy_from_slice(outpoint.txid.as_bytes());
    }
    index.copy_from_slice(&outpoint.index.to_be_bytes());
    key
}

/// The key of a settled claim; its value is empty.
pub(super) fn claim_key(txid: &TxId) -> [u8; 33] {
    let mut key = [CLAIM_PREFIX; 33];
    if let Some((_, bytes)) = key.split_first_mut() {
        bytes.copy_from_slice(txid.as_bytes());
    }
    key
}

/// Reads a settled claim back.
pub(super) fn decode_claim(key: &[u8], value: &[u8]) -> Result<TxId, DecodeError> {
    let mut key = Reader::new(key);
    if key.u8()? != CLAIM_PREFIX {
        return Err(DecodeError::Value {
            what: "first byte of a key",
        });
    }
    let txid = TxId(key.array()?);
    key.finish()?;
    Reader::new(value).finish()?;
    Ok(txid)
}

/// Owner, amount and height of creation.
pub(super) fn value_of(output: &Output) -> [u8; 48] {
    let mut value = [0; 48];
    let (owner, rest) = value.split_at_mut(32);
    owner.copy_from_slice(output.owner.as_bytes());
    let (amount, created) = rest.split_at_mut(8);
    amount.copy_from_slice(&output.amount.0.to_le_bytes());
    created.copy_from_slice(&output.created.0.to_le_bytes());
    value
}

/// Reads an output back.
pub(super) fn decode_output(key: &[u8], value: &[u8]) -> Result<Output, DecodeError> {
    let mut key = Reader::new(key);
    if key.u8()? != OUTPUT_PREFIX {
        return Err(DecodeError::Value {
            what: "first byte of a key",
        });
    }
    let txid = TxId(key.array()?);
    let outpoint = OutPoint {
        txid,
        index: u16::from_be_bytes(key.array()?),
    };
    key.finish()?;
    let mut value = Reader::new(value);
    let output = Output {
        outpoint,
        owner: Owner(value.array()?),
        amount: Amount(value.u64()?),
        created: Height(value.u64()?),
    };
    value.finish()?;
    Ok(output)
}
