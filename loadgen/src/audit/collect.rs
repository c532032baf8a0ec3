//! Puts a stream of block items together: a block, then one body for each of its references.

use types::block::CommittedBlock;
use types::client::BlockItem;
use types::message::AuthorBlock;

/// A final block with all its bodies, not yet checked.
#[derive(Debug)]
pub(super) struct Complete {
    pub(super) committed: Box<CommittedBlock>,
    pub(super) bodies: Vec<AuthorBlock>,
}

/// An item out of place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// Bodies of a block are missing.
    Missing { height: u64, reference: usize },
    /// A body that no block asked for.
    Surplus,
}

#[derive(Debug, Default)]
pub(super) struct Collector {
    open: Option<Complete>,
}

impl Collector {
    pub(super) fn push(&mut self, item: BlockItem) -> Result<Option<Complete>, Gap> {
        match item {
            BlockItem::Block(committed) => {
                self.finish()?;
                self.open = Some(Complete {
                    committed,
                    bodies: Vec::new(),
                });
            }
            BlockItem::Body(body) => {
                let open = self.open.as_mut().ok_or(Gap::Surplus)?;
                open.bodies.push(body);
            }
        }
        let is_complete = self
            .open
            .as_ref()
            .is_some_and(|open| open.bodies.len() == open.committed.block.refs.len());
        Ok(if is_complete { self.open.take() } else { None })
    }

    /// Ends the stream, or begins the next block.
    pub(super) fn finish(&mut self) -> Result<(), Gap> {
        match self.open.take() {
            None => Ok(()),
            Some(open) => Err(Gap::Missing {
                height: open.committed.block.header.height.0,
                reference: open.bodies.len(),
            }),
        }
    }
}
