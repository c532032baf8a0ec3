//! A counter that never exceeds its bound, whatever the interleaving.

#[cfg(loom)]
use loom::sync::atomic::{AtomicUsize, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicUsize, Ordering};

/// Credit for a bounded number of items.
#[derive(Debug)]
pub struct Credit {
    taken: AtomicUsize,
    bound: usize,
}

impl Credit {
    /// Nothing taken of `bound`.
    #[must_use]
    pub fn new(bound: usize) -> Self {
        Self {
            taken: AtomicUsize::new(0),
            bound,
        }
    }

    /// Takes credit for `items`, all or nothing.
    pub fn take(&self, items: usize) -> bool {
        let grow = |taken: usize| taken.checked_add(items).filter(|sum| *sum <= self.bound);
        // The ring's own push and pop order the items; the counter only has to be exact.
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, grow)
            .is_ok()
    }

    /// Gives credit back.
    pub fn give_back(&self, items: usize) {
        let before = self.taken.fetch_sub(items, Ordering::Relaxed);
        debug_assert!(before >= items, "credit was taken before it is given back");
    }

    /// Credit taken at this moment.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

#[cfg(all(test, loom))]
mod tests {
    use loom::sync::Arc;

    use super::Credit;

    #[test]
    fn the_bound_holds_under_every_interleaving() {
        loom::model(|| {
            let credit = Arc::new(Credit::new(3));
            let taker = |credit: Arc<Credit>| {
                loom::thread::spawn(move || {
                    if credit.take(2) {
                        assert!(credit.taken() <= 3);
                        credit.give_back(2);
                    }
                })
            };
            let threads = [taker(Arc::clone(&credit)), taker(Arc::clone(&credit))];
            let mine = credit.take(1);
            assert!(credit.taken() <= 3);
            for thread in threads {
                thread.join().expect("no thread panics");
            }
            assert_eq!(credit.taken(), usize::from(mine));
        });
    }
}
