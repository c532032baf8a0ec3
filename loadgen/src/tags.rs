//! Which transaction each tag of a connection stands for: written while the run goes on, because only the moment of
//! sending decides where a transaction goes.

use std::sync::{PoisonError, RwLock};

use types::Tag;

/// Tags of one connection, rising from 0; the position is the tag.
#[derive(Debug, Default)]
pub struct TagBook(RwLock<Vec<u32>>);

impl TagBook {
    /// Transaction of a tag, if the tag was given.
    #[must_use]
    pub fn index(&self, tag: Tag) -> Option<u32> {
        self.read(|tags| tags.get(tag.0 as usize).copied())
    }

    /// Reads all transactions in the order of their tags.
    pub fn read<T>(&self, with: impl FnOnce(&[u32]) -> T) -> T {
        with(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Gives the next tags to these transactions; the first of them.
    pub(crate) fn give(&self, indices: &[u32]) -> Tag {
        let mut tags = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let first = tags.len() as u32;
        tags.extend_from_slice(indices);
        Tag(first)
    }

    /// Takes the last tags back: they were not sent.
    pub(crate) fn revoke(&self, count: usize) {
        let mut tags = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let kept = tags.len().saturating_sub(count);
        tags.truncate(kept);
    }
}

#[cfg(test)]
mod tests {
    use types::Tag;

    use super::TagBook;

    #[test]
    fn tags_rise_without_gaps_and_those_of_a_refused_frame_are_given_again() {
        let book = TagBook::default();
        assert_eq!(book.give(&[7, 9]), Tag(0));
        assert_eq!(book.give(&[8]), Tag(2));
        assert_eq!((book.index(Tag(1)), book.index(Tag(3))), (Some(9), None));
        book.revoke(1);
        assert_eq!(book.index(Tag(2)), None);
        assert_eq!(book.give(&[5]), Tag(2));
        assert_eq!(book.read(<[u32]>::to_vec), [7, 9, 5]);
    }
}
