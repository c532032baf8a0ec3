//! Admission between ingress threads and the replica: lock-free, bounded in transactions and in batches.
//!
//! Many verification workers push batches, the replica's thread pops them. What does not fit is handed back, so
//! that ingress answers `Busy` (`limits::INTAKE_TXS_MAX`, `limits::ADMISSION_RING_BATCHES_MAX`). The conflict
//! index and the choice of transactions belong to the replica, not to this ring.
//!
//! Invariant: the transactions inside never exceed the bound, and the credit of every popped or refused batch
//! returns; `tests` check it under every interleaving of two producers and a consumer (loom).

mod credit;

use crossbeam::queue::ArrayQueue;

pub use credit::Credit;

/// A bounded multi-producer ring of batches.
#[derive(Debug)]
pub struct AdmissionRing<T> {
    queue: ArrayQueue<Vec<T>>,
    credit: Credit,
}

impl<T> AdmissionRing<T> {
    /// A ring of at most `batches` batches that hold at most `items` items together.
    ///
    /// # Panics
    /// When `batches` is zero.
    #[must_use]
    pub fn new(batches: usize, items: usize) -> Self {
        Self {
            queue: ArrayQueue::new(batches),
            credit: Credit::new(items),
        }
    }

    /// Puts a batch in, or hands it back when either bound would be exceeded.
    ///
    /// # Errors
    /// The batch, unchanged.
    pub fn push(&self, batch: Vec<T>) -> Result<(), Vec<T>> {
        let items = batch.len();
        if items == 0 {
            return Ok(());
        }
        if !self.credit.take(items) {
            return Err(batch);
        }
        self.queue
            .push(batch)
            .inspect_err(|_| self.credit.give_back(items))
    }

    /// Takes the oldest batch out.
    pub fn pop(&self) -> Option<Vec<T>> {
        let batch = self.queue.pop()?;
        self.credit.give_back(batch.len());
        Some(batch)
    }

    /// Items inside, at this moment.
    #[must_use]
    pub fn len(&self) -> usize {
        self.credit.taken()
    }

    /// Whether nothing is inside.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::AdmissionRing;

    #[test]
    fn both_bounds_hand_the_batch_back_and_leave_the_ring_as_it_was() {
        let ring = AdmissionRing::new(2, 5);
        assert_eq!(ring.push(vec![1, 2, 3]), Ok(()));
        assert_eq!(
            ring.push(vec![4, 5, 6]),
            Err(vec![4, 5, 6]),
            "six items exceed five"
        );
        assert_eq!(ring.len(), 3);
        assert_eq!(ring.push(vec![7]), Ok(()));
        assert_eq!(ring.push(vec![8]), Err(vec![8]), "a third batch exceeds two");
        assert_eq!(ring.len(), 4);
        assert_eq!(
            (ring.pop(), ring.pop(), ring.pop()),
            (Some(vec![1, 2, 3]), Some(vec![7]), None)
        );
        assert!(ring.is_empty());
        assert_eq!(ring.push(vec![1, 2, 3, 4, 5]), Ok(()), "all credit came back");
    }

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "the ring is for threads, so its test needs some"
    )]
    fn threads_lose_and_duplicate_nothing() {
        let ring = AdmissionRing::new(8, 64);
        let popped = std::thread::scope(|scope| {
            for producer in 0..2_u32 {
                let ring = &ring;
                scope.spawn(move || {
                    for number in 0..5_000_u32 {
                        let mut batch = vec![producer << 16 | number; 3];
                        while let Err(back) = ring.push(batch) {
                            batch = back;
                            std::thread::yield_now();
                        }
                    }
                });
            }
            let mut popped = Vec::new();
            while popped.len() < 30_000 {
                popped.extend(ring.pop().unwrap_or_default());
                assert!(ring.len() <= 64);
            }
            popped
        });
        let mut sorted = popped;
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), 10_000);
    }
}
