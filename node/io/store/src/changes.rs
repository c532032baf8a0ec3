//! Changes of the state by final blocks, and several of them as one.

use std::collections::HashMap;

use types::{Amount, Hash, Height, OutPoint, Owner};

/// An unspent output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Output {
    /// Its reference.
    pub outpoint: OutPoint,
    /// Who may spend it.
    pub owner: Owner,
    /// Amount.
    pub amount: Amount,
    /// Height of the block that created it.
    pub created: Height,
}

/// Net changes of one or more consecutive final blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateChanges {
    /// Height after them.
    pub height: Height,
    /// Effects digest at that height (`ios` 0.6).
    pub digest: Hash,
    /// Fees of all blocks up to that height.
    pub fees_total: u64,
    /// Outputs created and not spent by these blocks.
    pub created: Vec<Output>,
    /// Outputs of earlier blocks that these blocks spend.
    pub spent: Vec<OutPoint>,
}

/// Changes that wait to be written. What is created and spent while they wait never reaches the disk.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    head: Option<(Height, Hash, u64)>,
    created: HashMap<OutPoint, Output>,
    spent: Vec<OutPoint>,
    annihilated: u64,
}

impl Pending {
    /// Adds the changes of the next blocks.
    pub(crate) fn merge(&mut self, changes: StateChanges) {
        self.head = Some((changes.height, changes.digest, changes.fees_total));
        self.created.extend(
            changes
                .created
                .into_iter()
                .map(|output| (output.outpoint, output)),
        );
        for outpoint in changes.spent {
            if self.created.remove(&outpoint).is_some() {
                self.annihilated += 1;
            } else {
                self.spent.push(outpoint);
            }
        }
    }

    /// Height after the changes that wait.
    pub(crate) fn height(&self) -> Option<Height> {
        self.head.map(|(height, _, _)| height)
    }

    /// Outputs to be created or deleted.
    pub(crate) fn len(&self) -> usize {
        self.created.len() + self.spent.len()
    }

    /// Takes everything: the changes, and how many outputs were created and spent while they waited.
    pub(crate) fn take(&mut self) -> Option<(StateChanges, u64)> {
        let (height, digest, fees_total) = self.head.take()?;
        let changes = StateChanges {
            height,
            digest,
            fees_total,
            created: self.created.drain().map(|(_, output)| output).collect(),
            spent: std::mem::take(&mut self.spent),
        };
        Some((changes, std::mem::take(&mut self.annihilated)))
    }
}

#[cfg(test)]
mod tests {
    use types::{Amount, Hash, Height, OutPoint, Owner, TxId};

    use super::{Output, Pending, StateChanges};

    fn output(id: u8) -> Output {
        let outpoint = OutPoint {
            txid: TxId([id; 32]),
            index: 1,
        };
        Output {
            outpoint,
            owner: Owner([id; 32]),
            amount: Amount(u64::from(id)),
            created: Height(1),
        }
    }

    #[test]
    fn what_is_created_and_spent_while_waiting_is_in_neither_list() {
        let mut pending = Pending::default();
        assert_eq!(pending.take(), None);
        pending.merge(StateChanges {
            height: Height(4),
            created: vec![output(1), output(2), output(3)],
            spent: vec![output(9).outpoint, output(3).outpoint],
            ..StateChanges::default()
        });
        pending.merge(StateChanges {
            height: Height(5),
            digest: Hash([5; 32]),
            fees_total: 7,
            created: vec![output(4)],
            spent: vec![output(2).outpoint],
        });
        assert_eq!((pending.height(), pending.len()), (Some(Height(5)), 3));
        let (mut changes, annihilated) = pending.take().expect("something waits");
        changes.created.sort();
        let expected = StateChanges {
            height: Height(5),
            digest: Hash([5; 32]),
            fees_total: 7,
            created: vec![output(1), output(4)],
            spent: vec![output(9).outpoint],
        };
        assert_eq!((changes, annihilated), (expected, 2));
        assert_eq!((pending.take(), pending.len(), pending.height()), (None, 0, None));
    }
}
