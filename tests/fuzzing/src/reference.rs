//! A slow decoder of transactions, written from the table of `ios` 1.4 and the codes of 1.9 alone: it copies every
//! field and names *all* rules that are broken, where the real one stops at the first.

use std::collections::{BTreeMap, BTreeSet};

use types::Reject;

/// Every field, copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Transaction {
    pub(crate) expiry_epoch: u32,
    pub(crate) fee: u64,
    pub(crate) nonce: [u8; 3],
    pub(crate) owners: Vec<Vec<u8>>,
    /// Outpoint as (id, index), and the position of the owner.
    pub(crate) inputs: Vec<((Vec<u8>, u16), u8)>,
    pub(crate) outputs: Vec<(Vec<u8>, u64)>,
    pub(crate) memo: Vec<u8>,
    pub(crate) signatures: Vec<Vec<u8>>,
}

/// Bytes that are taken one field at a time.
struct Fields<'a>(std::iter::Copied<std::slice::Iter<'a, u8>>);

impl Fields<'_> {
    fn bytes(&mut self, count: usize) -> Option<Vec<u8>> {
        let taken: Vec<u8> = self.0.by_ref().take(count).collect();
        (taken.len() == count).then_some(taken)
    }

    /// Little-endian.
    fn number(&mut self, bytes: usize) -> Option<u64> {
        let taken = self.bytes(bytes)?;
        Some(
            taken
                .iter()
                .rev()
                .fold(0, |number, byte| number << 8 | u64::from(*byte)),
        )
    }
}

/// The transaction, or every rule that it breaks as far as the bytes can be read.
pub(crate) fn decode(bytes: &[u8]) -> Result<Transaction, BTreeSet<Reject>> {
    let mut broken = BTreeSet::new();
    match fields(bytes, &mut broken) {
        Some(transaction) if broken.is_empty() => Ok(transaction),
        Some(_) => Err(broken),
        None => {
            broken.insert(Reject::Encoding);
            Err(broken)
        }
    }
}

fn fields(bytes: &[u8], broken: &mut BTreeSet<Reject>) -> Option<Transaction> {
    let mut fields = Fields(bytes.iter().copied());
    let mut rule = |holds: bool, reject: Reject| {
        if !holds {
            broken.insert(reject);
        }
    };
    let head = fields.bytes(5)?;
    rule(head[0] == 1, Reject::Version);
    rule(head[1] == 0, Reject::KindClosed);
    let (owners, inputs, outputs) = (head[2], head[3], head[4]);
    let counts = (1..=16).contains(&owners)
        && (1..=64).contains(&inputs)
        && (1..=64).contains(&outputs)
        && owners <= inputs;
    rule(counts, Reject::Limits);
    let mut tx = Transaction {
        expiry_epoch: fields.number(4)? as u32,
        fee: fields.number(8)?,
        ..Transaction::default()
    };
    for byte in &mut tx.nonce {
        *byte = fields.number(1)? as u8;
    }
    for _ in 0..owners {
        tx.owners.push(fields.bytes(32)?);
    }
    for _ in 0..inputs {
        let outpoint = (fields.bytes(32)?, fields.number(2)? as u16);
        tx.inputs.push((outpoint, fields.number(1)? as u8));
    }
    for _ in 0..outputs {
        tx.outputs.push((fields.bytes(32)?, fields.number(8)?));
    }
    let memo = fields.number(2)?;
    rule(memo <= 512, Reject::Limits);
    tx.memo = fields.bytes(memo as usize)?;
    for _ in 0..owners {
        tx.signatures.push(fields.bytes(64)?);
    }
    rule(fields.number(1).is_none(), Reject::Encoding);

    // Strictly ascending is the same as: in the order of a sorted set, and as many as in the set.
    let sorted: BTreeSet<_> = tx.owners.iter().collect();
    rule(sorted.into_iter().eq(&tx.owners), Reject::Unsorted);
    let sorted: BTreeMap<_, _> = tx
        .inputs
        .iter()
        .map(|(outpoint, owner)| (outpoint, owner))
        .collect();
    let in_order = tx.inputs.iter().map(|(outpoint, owner)| (outpoint, owner));
    rule(sorted.into_iter().eq(in_order), Reject::Unsorted);
    let used: BTreeSet<u8> = tx.inputs.iter().map(|(_, owner)| *owner).collect();
    rule(used.iter().all(|owner| *owner < owners), Reject::Limits);
    rule(
        (0..owners).all(|owner| used.contains(&owner)),
        Reject::OwnerUnused,
    );
    rule(tx.outputs.iter().all(|(_, amount)| *amount > 0), Reject::Limits);
    // 65 numbers below 2^64 cannot leave 128 bits.
    let spent: u128 = tx.outputs.iter().map(|(_, amount)| u128::from(*amount)).sum();
    rule(spent + u128::from(tx.fee) < 1 << 64, Reject::Overflow);
    Some(tx)
}
