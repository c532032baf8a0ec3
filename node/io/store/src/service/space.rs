//! Free space of the filesystem: a state with two edges, so that it does not flutter.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::{FreeSpace, StoreEvent};

/// Space is looked at this often, also when nothing is written: others fill the disk too.
const INTERVAL: Duration = Duration::from_secs(1);

/// Whether space is low.
#[derive(Debug)]
pub(super) struct Space {
    directory: PathBuf,
    probe: FreeSpace,
    reserve: u64,
    low: bool,
    looked: Option<Instant>,
}

impl Space {
    pub(super) const fn new(directory: PathBuf, probe: FreeSpace, reserve: u64) -> Self {
        Self {
            directory,
            probe,
            reserve,
            low: false,
            looked: None,
        }
    }

    /// True when it is time to look again.
    pub(super) fn is_due(&self) -> bool {
        self.looked.is_none_or(|looked| looked.elapsed() >= INTERVAL)
    }

    /// Looks; says what has changed. It is low below the reserve, and well again above five quarters of it.
    pub(super) fn look(&mut self) -> Option<StoreEvent> {
        self.looked = Some(Instant::now());
        // Where the system does not say, writing will.
        let free = (self.probe)(&self.directory).ok()?;
        let reserve = self.reserve;
        if !self.low && free < reserve {
            self.low = true;
            return Some(StoreEvent::LowSpace { free, reserve });
        }
        if self.low && free > reserve.saturating_add(reserve / 4) {
            self.low = false;
            return Some(StoreEvent::SpaceReturned { free });
        }
        None
    }
}
