//! Hash of an outpoint inside its partition.

use types::OutPoint;

/// A keyed hash of the txid's bytes 8 to 23 and of the index.
///
/// A txid is random as it comes, but whoever sends transactions may try many and keep those that share bits. So
/// the position in the table must not be computable by a sender: both halves are masked with secrets of this
/// process before they are multiplied, and the two halves of the 128-bit product are folded. To make two txids
/// collide without knowing the secrets, a sender would have to find txids that agree in all 128 bits read.
/// Neither hashes nor the order of a table ever leave the process.
#[derive(Clone, Copy)]
pub(crate) struct KeyHash {
    secrets: [u64; 2],
}

impl KeyHash {
    pub(crate) fn new(seed: [u8; 16]) -> Self {
        let seed = u128::from_le_bytes(seed);
        // Constants, so that a seed of zeros is no special case.
        Self {
            secrets: [
                seed as u64 ^ 0x9e37_79b9_7f4a_7c15,
                (seed >> 64) as u64 ^ 0xd1b5_4a32_d192_ed03,
            ],
        }
    }

    /// 32 bits: 25 choose the bucket of the largest table, 7 are what the table compares first.
    pub(crate) fn tag(&self, outpoint: &OutPoint) -> u32 {
        let [left, right] = [8, 16].map(|start| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&outpoint.txid.0[start..start + 8]);
            u64::from_le_bytes(bytes)
        });
        let index = u64::from(outpoint.index).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let product =
            u128::from(left ^ self.secrets[0]) * u128::from((right ^ self.secrets[1]).wrapping_add(index));
        let folded = (product as u64) ^ ((product >> 64) as u64);
        (folded ^ (folded >> 32)) as u32
    }
}

/// The 64 bits that a table wants, from a tag: it takes the bucket from the low end and compares the high end.
pub(crate) const fn spread(tag: u32) -> u64 {
    tag as u64 | (tag as u64) << 32
}

#[cfg(test)]
mod tests {
    use super::KeyHash;
    use types::{OutPoint, TxId};

    fn grinded(count: u32) -> impl Iterator<Item = OutPoint> {
        // Everything equal but 32 bits: what a sender could grind at great cost.
        (0..count).map(|number| {
            let mut txid = [7; 32];
            txid[8..12].copy_from_slice(&number.to_le_bytes());
            OutPoint {
                txid: TxId(txid),
                index: 0,
            }
        })
    }

    #[test]
    fn txids_that_agree_in_most_bits_spread_over_the_buckets() {
        let hash = KeyHash::new([3; 16]);
        let mut buckets = [0_u32; 256];
        for outpoint in grinded(256 * 64) {
            buckets[(hash.tag(&outpoint) & 0xff) as usize] += 1;
        }
        // 64 expected; 8 standard deviations either side.
        assert!(
            buckets.iter().all(|count| (1..=128).contains(count)),
            "{buckets:?}"
        );
    }

    #[test]
    fn another_seed_and_another_index_give_another_tag() {
        let one = OutPoint {
            txid: TxId([7; 32]),
            index: 0,
        };
        let two = OutPoint { index: 1, ..one };
        let hash = KeyHash::new([3; 16]);
        assert_ne!(hash.tag(&one), hash.tag(&two));
        assert_ne!(hash.tag(&one), KeyHash::new([4; 16]).tag(&one));
        assert_ne!(KeyHash::new([0; 16]).tag(&one), KeyHash::new([0; 16]).tag(&two));
    }
}
