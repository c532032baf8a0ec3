//! A queue in which senders take turns: one that sends much waits behind itself, not before the others.

use std::collections::{BTreeMap, VecDeque};

/// Items of each sender in order; senders with something waiting are served one item at a time, round robin.
///
/// It has no bound of its own: whoever fills it holds credits or counts.
#[derive(Debug)]
pub(crate) struct FairQueue<K, T> {
    /// Never an empty queue.
    waiting: BTreeMap<K, VecDeque<T>>,
    /// Every sender of `waiting` once; the first is next.
    turns: VecDeque<K>,
}

impl<K: Copy + Ord, T> Default for FairQueue<K, T> {
    fn default() -> Self {
        Self {
            waiting: BTreeMap::new(),
            turns: VecDeque::new(),
        }
    }
}

impl<K: Copy + Ord, T> FairQueue<K, T> {
    /// Adds an item behind those of its sender.
    pub(crate) fn push(&mut self, sender: K, item: T) {
        self.of(sender).push_back(item);
    }

    /// Puts an item back before those of its sender; the sender's next turn comes after the others'.
    pub(crate) fn push_front(&mut self, sender: K, item: T) {
        self.of(sender).push_front(item);
    }

    fn of(&mut self, sender: K) -> &mut VecDeque<T> {
        let turns = &mut self.turns;
        self.waiting.entry(sender).or_insert_with(|| {
            turns.push_back(sender);
            VecDeque::new()
        })
    }

    /// Whose turn it is.
    pub(crate) fn next_sender(&self) -> Option<K> {
        self.turns.front().copied()
    }

    /// Takes the oldest item of the sender whose turn it is.
    pub(crate) fn pop(&mut self) -> Option<(K, T)> {
        let sender = self.turns.pop_front()?;
        let queue = self.waiting.get_mut(&sender)?;
        let item = queue.pop_front()?;
        if queue.is_empty() {
            self.waiting.remove(&sender);
        } else {
            self.turns.push_back(sender);
        }
        Some((sender, item))
    }

    /// Takes out all that waits of one sender, oldest first.
    pub(crate) fn remove(&mut self, sender: K) -> VecDeque<T> {
        self.turns.retain(|other| *other != sender);
        self.waiting.remove(&sender).unwrap_or_default()
    }

    /// The oldest item of every sender.
    pub(crate) fn oldest(&self) -> impl Iterator<Item = &T> {
        self.waiting.values().filter_map(VecDeque::front)
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::FairQueue;

    #[test]
    fn a_sender_of_much_waits_behind_itself() {
        let mut queue = FairQueue::default();
        for number in 0..1000 {
            queue.push('f', number);
        }
        queue.push('a', 1);
        queue.push('b', 2);
        queue.push('a', 3);
        let served: Vec<_> = (0..6).filter_map(|_| queue.pop()).collect();
        assert_eq!(
            served,
            [('f', 0), ('a', 1), ('b', 2), ('f', 1), ('a', 3), ('f', 2)]
        );
    }

    #[test]
    fn what_is_put_back_comes_first_of_its_sender_and_after_the_others() {
        let mut queue = FairQueue::default();
        queue.push('a', 1);
        queue.push('a', 2);
        queue.push('b', 3);
        let (sender, item) = queue.pop().expect("three wait");
        queue.push_front(sender, item);
        assert_eq!(queue.next_sender(), Some('b'));
        let rest: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(rest, [('b', 3), ('a', 1), ('a', 2)]);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_removed_sender_leaves_no_turn_behind() {
        let mut queue = FairQueue::default();
        queue.push('a', 1);
        queue.push('b', 2);
        queue.push('a', 3);
        assert_eq!(queue.oldest().copied().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(queue.remove('a'), [1, 3]);
        assert_eq!(queue.pop(), Some(('b', 2)));
        assert_eq!(queue.pop(), None);
    }
}
