//! The one transaction format of all designs (`ios` 1.4), decoded without copying.

use crate::codec::Encode;
use crate::ids::{Amount, OutPoint, Owner, Signature, TxId};
use crate::limits::{INPUTS_MAX, MEMO_BYTES_MAX, OUTPUTS_MAX, OWNERS_MAX};
use crate::reject::Reject;

/// Format version that this build reads and writes.
pub const TX_VERSION: u8 = 1;
/// Kind 0: a transfer; the only kind open in the first version.
pub const KIND_TRANSFER: u8 = 0;

const HEAD_BYTES: usize = 20;
const INPUT_BYTES: usize = 35;
const OUTPUT_BYTES: usize = 40;
const OWNER_BYTES: usize = 32;
const SIGNATURE_BYTES: usize = 64;

/// One input: the output that it spends and the position of its owner in the owners list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Input {
    /// The output spent.
    pub outpoint: OutPoint,
    /// Position in the owners list.
    pub owner: u8,
}

/// One output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Output {
    /// Who may spend it.
    pub owner: Owner,
    /// Its value, above zero.
    pub amount: Amount,
}

/// A canonical transaction over borrowed bytes: encoding, version, limits, order, use of owners and the sum of
/// the outputs are checked; signatures, expiry, state and value are not.
///
/// Cost of decoding: one pass over the header, owners, inputs and outputs; nothing is allocated.
#[derive(Clone, Copy, Debug)]
pub struct TxView<'a> {
    bytes: &'a [u8],
    owners: usize,
    inputs: usize,
    outputs: usize,
    memo: usize,
}

impl<'a> TxView<'a> {
    /// Decodes exactly one transaction.
    ///
    /// # Errors
    /// Codes 1 to 5, 8 and 20 of `ios` 1.9.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Reject> {
        let (view, rest) = Self::decode_prefix(bytes)?;
        if rest.is_empty() {
            Ok(view)
        } else {
            Err(Reject::Encoding)
        }
    }

    /// Decodes the transaction at the front and returns what follows it.
    ///
    /// # Errors
    /// As [`TxView::decode`].
    pub fn decode_prefix(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Reject> {
        let head = bytes.get(..HEAD_BYTES).ok_or(Reject::Encoding)?;
        if head[0] != TX_VERSION {
            return Err(Reject::Version);
        }
        let (owners, inputs, outputs) = (usize::from(head[2]), usize::from(head[3]), usize::from(head[4]));
        let counts_fit = (1..=OWNERS_MAX).contains(&owners)
            && (1..=INPUTS_MAX).contains(&inputs)
            && (1..=OUTPUTS_MAX).contains(&outputs)
            && owners <= inputs;
        if !counts_fit {
            return Err(Reject::Limits);
        }
        let memo_at = HEAD_BYTES + owners * OWNER_BYTES + inputs * INPUT_BYTES + outputs * OUTPUT_BYTES;
        let memo = bytes.get(memo_at..memo_at + 2).ok_or(Reject::Encoding)?;
        let memo = usize::from(u16::from_le_bytes([memo[0], memo[1]]));
        if memo > MEMO_BYTES_MAX {
            return Err(Reject::Limits);
        }
        let len = memo_at + 2 + memo + owners * SIGNATURE_BYTES;
        let (bytes, rest) = bytes.split_at_checked(len).ok_or(Reject::Encoding)?;
        let view = Self {
            bytes,
            owners,
            inputs,
            outputs,
            memo,
        };
        view.check()?;
        Ok((view, rest))
    }

    /// A view over bytes that [`TxView::decode`] accepted before; skips the checks of order and use.
    ///
    /// # Errors
    /// `Encoding` when the lengths do not fit, so that a mistake of the caller cannot read out of bounds.
    pub fn decode_checked_before(bytes: &'a [u8]) -> Result<Self, Reject> {
        let head = bytes.get(..HEAD_BYTES).ok_or(Reject::Encoding)?;
        let (owners, inputs, outputs) = (usize::from(head[2]), usize::from(head[3]), usize::from(head[4]));
        let fixed = HEAD_BYTES
            + 2
            + owners * (OWNER_BYTES + SIGNATURE_BYTES)
            + inputs * INPUT_BYTES
            + outputs * OUTPUT_BYTES;
        let memo = bytes.len().checked_sub(fixed).ok_or(Reject::Encoding)?;
        Ok(Self {
            bytes,
            owners,
            inputs,
            outputs,
            memo,
        })
    }

    fn check(&self) -> Result<(), Reject> {
        if !self
            .owners()
            .zip(self.owners().skip(1))
            .all(|(left, right)| left < right)
        {
            return Err(Reject::Unsorted);
        }
        if !self
            .inputs()
            .zip(self.inputs().skip(1))
            .all(|(left, right)| left.outpoint < right.outpoint)
        {
            return Err(Reject::Unsorted);
        }
        let mut used = 0_u32;
        for input in self.inputs() {
            if usize::from(input.owner) >= self.owners {
                return Err(Reject::Limits);
            }
            used |= 1 << input.owner;
        }
        if used != (1_u32 << self.owners) - 1 {
            return Err(Reject::OwnerUnused);
        }
        let mut sum = self.fee();
        for output in self.outputs() {
            if output.amount.0 == 0 {
                return Err(Reject::Limits);
            }
            sum = sum.checked_add(output.amount).ok_or(Reject::Overflow)?;
        }
        if self.kind() != KIND_TRANSFER {
            return Err(Reject::KindClosed);
        }
        Ok(())
    }

    /// All bytes, signatures included.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The bytes that the txid covers: everything before the signatures.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        &self.bytes[..self.bytes.len() - self.owners * SIGNATURE_BYTES]
    }

    /// Kind byte.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        self.bytes[1]
    }

    /// Last epoch in which the transaction may be included.
    #[must_use]
    pub fn expiry_epoch(&self) -> u32 {
        u32::from_le_bytes(array(&self.bytes[5..9]))
    }

    /// Fee, paid by the difference between inputs and outputs.
    #[must_use]
    pub fn fee(&self) -> Amount {
        Amount(u64::from_le_bytes(array(&self.bytes[9..17])))
    }

    /// Number of distinct owners, which is the number of signatures.
    #[must_use]
    pub const fn owner_count(&self) -> usize {
        self.owners
    }

    /// Number of inputs.
    #[must_use]
    pub const fn input_count(&self) -> usize {
        self.inputs
    }

    /// Number of outputs.
    #[must_use]
    pub const fn output_count(&self) -> usize {
        self.outputs
    }

    /// Owners, strictly ascending.
    pub fn owners(&self) -> impl ExactSizeIterator<Item = Owner> + Clone + use<'a> {
        self.field(HEAD_BYTES, self.owners, OWNER_BYTES)
            .map(|bytes| Owner(array(bytes)))
    }

    /// The owner at a position of the owners list.
    #[must_use]
    pub fn owner(&self, position: u8) -> Option<Owner> {
        self.owners().nth(usize::from(position))
    }

    /// Inputs, strictly ascending by outpoint.
    pub fn inputs(&self) -> impl ExactSizeIterator<Item = Input> + Clone + use<'a> {
        self.field(HEAD_BYTES + self.owners * OWNER_BYTES, self.inputs, INPUT_BYTES)
            .map(|bytes| Input {
                outpoint: OutPoint {
                    txid: TxId(array(&bytes[..32])),
                    index: u16::from_le_bytes(array(&bytes[32..34])),
                },
                owner: bytes[34],
            })
    }

    /// Outputs in order.
    pub fn outputs(&self) -> impl ExactSizeIterator<Item = Output> + Clone + use<'a> {
        let start = HEAD_BYTES + self.owners * OWNER_BYTES + self.inputs * INPUT_BYTES;
        self.field(start, self.outputs, OUTPUT_BYTES).map(|bytes| Output {
            owner: Owner(array(&bytes[..32])),
            amount: Amount(u64::from_le_bytes(array(&bytes[32..]))),
        })
    }

    /// The opaque memo.
    #[must_use]
    pub fn memo(&self) -> &'a [u8] {
        let body = self.body();
        &body[body.len() - self.memo..]
    }

    /// Signatures, in the order of the owners.
    pub fn signatures(&self) -> impl ExactSizeIterator<Item = Signature> + Clone + use<'a> {
        let start = self.bytes.len() - self.owners * SIGNATURE_BYTES;
        self.field(start, self.owners, SIGNATURE_BYTES)
            .map(|bytes| Signature(array(bytes)))
    }

    fn field(&self, start: usize, count: usize, size: usize) -> std::slice::ChunksExact<'a, u8> {
        self.bytes[start..start + count * size].chunks_exact(size)
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(bytes);
    out
}

/// A transaction to be written: what a wallet fills in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxDraft {
    /// Last epoch of inclusion.
    pub expiry_epoch: u32,
    /// Fee.
    pub fee: Amount,
    /// Free bits, so that a client can issue the same payment anew; only the low 24 are used.
    pub nonce: u32,
    /// Distinct owners of the inputs; sorted by `encode_body`'s caller.
    pub owners: Vec<Owner>,
    /// Inputs, sorted by outpoint.
    pub inputs: Vec<Input>,
    /// Outputs.
    pub outputs: Vec<Output>,
    /// Opaque bytes.
    pub memo: Vec<u8>,
}

impl TxDraft {
    /// Appends the bytes before the signatures; the caller appends one signature per owner, in order.
    ///
    /// The draft is written as it stands, also when it breaks a rule: decoding is what checks.
    pub fn encode_body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[TX_VERSION, KIND_TRANSFER]);
        out.extend_from_slice(&[
            self.owners.len() as u8,
            self.inputs.len() as u8,
            self.outputs.len() as u8,
        ]);
        self.expiry_epoch.encode(out);
        self.fee.encode(out);
        out.extend_from_slice(&self.nonce.to_le_bytes()[..3]);
        self.owners.iter().for_each(|owner| owner.encode(out));
        for input in &self.inputs {
            input.outpoint.encode(out);
            input.owner.encode(out);
        }
        for output in &self.outputs {
            output.owner.encode(out);
            output.amount.encode(out);
        }
        (self.memo.len() as u16).encode(out);
        out.extend_from_slice(&self.memo);
    }
}

#[cfg(test)]
mod tests;
