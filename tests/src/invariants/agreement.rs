//! Agreement: one block per height over all nodes and all their lives. A height that was final once stays as it is,
//! also across restarts, because nothing is ever forgotten here.

use std::collections::BTreeMap;

use types::{Hash, Height, MemberIndex};

use super::{Checked, Violation};

/// First final block seen at each height.
#[derive(Debug, Default)]
pub struct Agreement {
    heights: BTreeMap<Height, (Hash, MemberIndex)>,
}

impl Agreement {
    /// A node holds a block for final.
    ///
    /// # Errors
    /// When another block was final at that height anywhere.
    pub fn on_final(&mut self, member: MemberIndex, height: Height, hash: Hash) -> Checked {
        let (first, by) = *self.heights.entry(height).or_insert((hash, member));
        if first == hash {
            return Ok(());
        }
        let detail =
            format!("at height {height} member {by} holds {first} for final, member {member} {hash}");
        Err(Violation::new("agreement", detail))
    }

    /// Highest height final anywhere.
    #[must_use]
    pub fn highest(&self) -> Height {
        self.heights
            .last_key_value()
            .map_or(Height(0), |(height, _)| *height)
    }
}
