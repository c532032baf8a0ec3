//! Changes of the state by final blocks, and several of them as one.

use std::collections::HashMap;

use types::{Amount, Counters, Hash, Height, OutPoint, Owner, TxId};

use crate::state::SnapshotHead;

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
    /// Counters at that height.
    pub counters: Counters,
    /// Transactions whose claims these blocks settled.
    pub claimed: Vec<TxId>,
    /// Outputs created and not spent by these blocks.
    pub created: Vec<Output>,
    /// Outputs of earlier blocks that these blocks spend.
    pub spent: Vec<OutPoint>,
}

impl StateChanges {
    /// Where they lead.
    pub(crate) const fn head(&self) -> SnapshotHead {
        SnapshotHead {
            height: self.height,
            digest: self.digest,
            counters: self.counters,
        }
    }
}

/// Changes that wait to be written. What is created and spent while they wait never reaches the disk.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    head: Option<SnapshotHead>,
    claimed: Vec<TxId>,
    created: HashMap<OutPoint, Output>,
    spent: Vec<OutPoint>,
    annihilated: u64,
}

impl Pending {
    /// Adds the changes of the next blocks.
    pub(crate) fn merge(&mut self, changes: StateChanges) {
        self.head = Some(changes.head());
        self.claimed.extend(changes.claimed);
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
        self.head.map(|head| head.height)
    }

    /// Outputs to be created or deleted, and settled claims.
    pub(crate) fn len(&self) -> usize {
        self.created.len() + self.spent.len() + self.claimed.len()
    }

    /// Takes everything: the changes, and how many outputs were created and spent while they waited.
    pub(crate) fn take(&mut self) -> Option<(StateChanges, u64)> {
        let head = self.head.take()?;
        let changes = StateChanges {
            height: head.height,
            digest: head.digest,
            counters: head.counters,
            claimed: std::mem::take(&mut self.claimed),
            created: self.created.drain().map(|(_, output)| output).collect(),
            spent: std::mem::take(&mut self.spent),
        };
        Some((changes, std::mem::take(&mut self.annihilated)))
    }
}

#[cfg(test)]
mod tests {
    use types::{Amount, Counters, Hash, Height, OutPoint, Owner, TxId};

    use super::{Output, Pending, StateChanges};

    const COUNTERS: Counters = Counters {
        fees: 7,
        bonds: 8,
        pool: 9,
        rewards: 10,
        unpaid: 11,
    };

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
            claimed: vec![TxId([1; 32])],
            ..StateChanges::default()
        });
        pending.merge(StateChanges {
            height: Height(5),
            digest: Hash([5; 32]),
            counters: COUNTERS,
            claimed: vec![TxId([2; 32])],
            created: vec![output(4)],
            spent: vec![output(2).outpoint],
        });
        assert_eq!((pending.height(), pending.len()), (Some(Height(5)), 5));
        let (mut changes, annihilated) = pending.take().expect("something waits");
        changes.created.sort();
        let expected = StateChanges {
            height: Height(5),
            digest: Hash([5; 32]),
            counters: COUNTERS,
            claimed: vec![TxId([1; 32]), TxId([2; 32])],
            created: vec![output(1), output(4)],
            spent: vec![output(9).outpoint],
        };
        assert_eq!((changes, annihilated), (expected, 2));
        assert_eq!((pending.take(), pending.len(), pending.height()), (None, 0, None));
    }
}
