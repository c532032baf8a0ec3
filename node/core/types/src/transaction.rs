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
    head: &'a [u8; HEAD_BYTES],
    owners: &'a [[u8; OWNER_BYTES]],
    inputs: &'a [[u8; INPUT_BYTES]],
    outputs: &'a [[u8; OUTPUT_BYTES]],
    memo: &'a [u8],
    signatures: &'a [[u8; SIGNATURE_BYTES]],
}

impl<'a> TxView<'a> {
    /// Decodes exactly one transaction.
    ///
    /// # Errors
    /// Codes 1 to 5, 8 and 20 of `ios` 1.9.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Reject> {
        let (view, rest) = Self::split(bytes)?;
        view.check()?;
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
        let (view, rest) = Self::split(bytes)?;
        view.check()?;
        Ok((view, rest))
    }

    /// Cuts the transaction at the front without holding it against the rules, and says the first rule that it breaks:
    /// whoever put it into a body may have to answer for it (`ios` 7.7, F2). Gives the view, the rule and what follows.
    ///
    /// # Errors
    /// `Version`, `Limits` or `Encoding`: where it ends cannot be told.
    pub fn cut_prefix(bytes: &'a [u8]) -> Result<(Self, Option<Reject>, &'a [u8]), Reject> {
        let (view, rest) = Self::split(bytes)?;
        Ok((view, view.check().err(), rest))
    }

    /// A view over bytes that [`TxView::decode`] accepted before; skips the checks of order and use.
    ///
    /// # Errors
    /// `Version`, `Limits` or `Encoding` when the lengths do not fit, so that a mistake of the caller cannot read out
    /// of bounds.
    #[inline]
    pub fn decode_checked_before(bytes: &'a [u8]) -> Result<Self, Reject> {
        match Self::split(bytes)? {
            (view, []) => Ok(view),
            _ => Err(Reject::Encoding),
        }
    }

    /// Cuts the fields; version, counts and lengths are checked, what the fields hold is not.
    // Inlined, here and below: a view is large to move and cheap to make.
    #[inline]
    fn split(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Reject> {
        let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>().ok_or(Reject::Encoding)?;
        let [version, _, owners, inputs, outputs, ..] = *head;
        if version != TX_VERSION {
            return Err(Reject::Version);
        }
        let (owners, inputs, outputs) = (usize::from(owners), usize::from(inputs), usize::from(outputs));
        let counts_fit = (1..=OWNERS_MAX).contains(&owners)
            && (1..=INPUTS_MAX).contains(&inputs)
            && (1..=OUTPUTS_MAX).contains(&outputs)
            && owners <= inputs;
        if !counts_fit {
            return Err(Reject::Limits);
        }
        let (signers, rest) = items(rest, owners).ok_or(Reject::Encoding)?;
        let (inputs, rest) = items(rest, inputs).ok_or(Reject::Encoding)?;
        let (outputs, rest) = items(rest, outputs).ok_or(Reject::Encoding)?;
        let (memo, rest) = rest.split_first_chunk::<2>().ok_or(Reject::Encoding)?;
        let memo = usize::from(u16::from_le_bytes(*memo));
        if memo > MEMO_BYTES_MAX {
            return Err(Reject::Limits);
        }
        let (memo, rest) = rest.split_at_checked(memo).ok_or(Reject::Encoding)?;
        let (signatures, rest) = items(rest, owners).ok_or(Reject::Encoding)?;
        let (bytes, rest) = bytes
            .split_at_checked(bytes.len().saturating_sub(rest.len()))
            .ok_or(Reject::Encoding)?;
        let view = Self {
            bytes,
            head,
            owners: signers,
            inputs,
            outputs,
            memo,
            signatures,
        };
        Ok((view, rest))
    }

    fn check(&self) -> Result<(), Reject> {
        if !self.owners.is_sorted_by(|left, right| left < right) {
            return Err(Reject::Unsorted);
        }
        if !self
            .inputs()
            .zip(self.inputs().skip(1))
            .all(|(left, right)| left.outpoint < right.outpoint)
        {
            return Err(Reject::Unsorted);
        }
        // A bit for each owner that an input refers to: owners are 16 at most.
        let mut used = 0_u32;
        for input in self.inputs() {
            if usize::from(input.owner) >= self.owners.len() {
                return Err(Reject::Limits);
            }
            used |= 1_u32.wrapping_shl(input.owner.into());
        }
        if used.count_ones() as usize != self.owners.len() {
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
    #[inline]
    pub fn body(&self) -> &'a [u8] {
        let signatures = self.signatures.as_flattened().len();
        let (body, _) = self
            .bytes
            .split_at_checked(self.bytes.len().saturating_sub(signatures))
            .unwrap_or_default();
        body
    }

    /// Kind byte.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        self.head[1]
    }

    /// Last epoch in which the transaction may be included.
    #[must_use]
    pub const fn expiry_epoch(&self) -> u32 {
        let [_, _, _, _, _, e0, e1, e2, e3, ..] = *self.head;
        u32::from_le_bytes([e0, e1, e2, e3])
    }

    /// Fee, paid by the difference between inputs and outputs.
    #[must_use]
    pub const fn fee(&self) -> Amount {
        let [.., f0, f1, f2, f3, f4, f5, f6, f7, _, _, _] = *self.head;
        Amount(u64::from_le_bytes([f0, f1, f2, f3, f4, f5, f6, f7]))
    }

    /// What it moves: outputs and fee, which are the sum of its inputs when its values add up.
    #[must_use]
    pub fn value(&self) -> Amount {
        let outputs = self.outputs().map(|output| output.amount.0);
        Amount(outputs.fold(self.fee().0, u64::saturating_add))
    }

    /// Free bits, 24 of them.
    #[must_use]
    pub const fn nonce(&self) -> u32 {
        let [.., n0, n1, n2] = *self.head;
        u32::from_le_bytes([n0, n1, n2, 0])
    }

    /// Number of distinct owners, which is the number of signatures.
    #[must_use]
    pub const fn owner_count(&self) -> usize {
        self.owners.len()
    }

    /// Number of inputs.
    #[must_use]
    pub const fn input_count(&self) -> usize {
        self.inputs.len()
    }

    /// Number of outputs.
    #[must_use]
    pub const fn output_count(&self) -> usize {
        self.outputs.len()
    }

    /// Owners, strictly ascending.
    #[inline]
    pub fn owners(&self) -> impl ExactSizeIterator<Item = Owner> + Clone + use<'a> {
        self.owners.iter().map(|owner| Owner(*owner))
    }

    /// The owner at a position of the owners list.
    #[must_use]
    pub fn owner(&self, position: u8) -> Option<Owner> {
        self.owners.get(usize::from(position)).map(|owner| Owner(*owner))
    }

    /// Inputs, strictly ascending by outpoint.
    #[inline]
    pub fn inputs(&self) -> impl ExactSizeIterator<Item = Input> + Clone + use<'a> {
        self.inputs.iter().map(|[txid @ .., low, high, owner]| Input {
            outpoint: OutPoint {
                txid: TxId(*txid),
                index: u16::from_le_bytes([*low, *high]),
            },
            owner: *owner,
        })
    }

    /// Outputs in order.
    #[inline]
    pub fn outputs(&self) -> impl ExactSizeIterator<Item = Output> + Clone + use<'a> {
        self.outputs
            .iter()
            .map(|[owner @ .., a0, a1, a2, a3, a4, a5, a6, a7]| Output {
                owner: Owner(*owner),
                amount: Amount(u64::from_le_bytes([*a0, *a1, *a2, *a3, *a4, *a5, *a6, *a7])),
            })
    }

    /// The opaque memo.
    #[must_use]
    pub const fn memo(&self) -> &'a [u8] {
        self.memo
    }

    /// Signatures, in the order of the owners.
    #[inline]
    pub fn signatures(&self) -> impl ExactSizeIterator<Item = Signature> + Clone + use<'a> {
        self.signatures.iter().map(|signature| Signature(*signature))
    }
}

/// The first `count` items of `N` bytes, and what follows them.
#[inline]
fn items<const N: usize>(bytes: &[u8], count: usize) -> Option<(&[[u8; N]], &[u8])> {
    let (taken, rest) = bytes.split_at_checked(count.checked_mul(N)?)?;
    let (items, _) = taken.as_chunks();
    Some((items, rest))
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
        let [n0, n1, n2, _] = self.nonce.to_le_bytes();
        out.extend_from_slice(&[n0, n1, n2]);
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
