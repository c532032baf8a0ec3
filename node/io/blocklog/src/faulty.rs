//! A disk that fails on demand, for tests of the log and of what uses it.

use std::fs::File;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::disk::{Disk, SystemDisk};

/// What fails next. It goes on failing until another fault, or none, is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Making a file durable fails, and nothing says what reached the disk.
    Sync(io::ErrorKind),
    /// Making a directory durable fails.
    SyncDirectory(io::ErrorKind),
    /// Appending fails after this many more bytes were written.
    Append {
        /// Bytes that are still written.
        room: usize,
        /// What is said then.
        error: io::ErrorKind,
    },
    /// Appending fails as above, and what was written cannot be cut away.
    AppendForGood {
        /// Bytes that are still written.
        room: usize,
        /// What is said then.
        error: io::ErrorKind,
    },
    /// Appending writes this many bytes at a time: not a failure at all.
    Short(usize),
    /// A file cannot be created.
    Create(io::ErrorKind),
    /// A file cannot be removed.
    Remove(io::ErrorKind),
}

/// Calls since the disk was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// Appends, short ones included.
    pub appends: u64,
    /// Syncs of files.
    pub syncs: u64,
    /// Syncs of directories.
    pub directory_syncs: u64,
}

/// The operating system's files, with failures planted between it and the log.
#[derive(Debug, Default)]
pub struct FaultyDisk {
    state: Mutex<(Option<Fault>, Calls)>,
}

impl FaultyDisk {
    /// Sets what fails from now on.
    pub fn set(&self, fault: Option<Fault>) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0 = fault;
    }

    /// Calls so far.
    #[must_use]
    pub fn calls(&self) -> Calls {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    fn ask(&self, count: impl FnOnce(&mut Calls)) -> Option<Fault> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        count(&mut state.1);
        state.0
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        match self.ask(|_| ()) {
            Some(Fault::Create(error)) => Err(error.into()),
            _ => SystemDisk.create(path),
        }
    }

    fn append(&self, path: &Path, file: &File, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let at_most = |room: usize| {
            let bytes: Vec<u8> = parts
                .iter()
                .flat_map(|part| part.iter().copied())
                .take(room)
                .collect();
            SystemDisk.append(path, file, &[IoSlice::new(&bytes)])
        };
        let fault = self.ask(|calls| calls.appends += 1);
        match fault {
            Some(Fault::Append { room: 0, error } | Fault::AppendForGood { room: 0, error }) => {
                Err(error.into())
            }
            Some(Fault::Append { room, error }) => {
                let written = at_most(room)?;
                let room = room - written;
                self.set(Some(Fault::Append { room, error }));
                Ok(written)
            }
            Some(Fault::AppendForGood { room, error }) => {
                let written = at_most(room)?;
                let room = room - written;
                self.set(Some(Fault::AppendForGood { room, error }));
                Ok(written)
            }
            Some(Fault::Short(room)) => at_most(room),
            _ => SystemDisk.append(path, file, parts),
        }
    }

    fn sync(&self, path: &Path, file: &File) -> io::Result<()> {
        match self.ask(|calls| calls.syncs += 1) {
            Some(Fault::Sync(error)) => Err(error.into()),
            _ => SystemDisk.sync(path, file),
        }
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        match self.ask(|calls| calls.directory_syncs += 1) {
            Some(Fault::SyncDirectory(error)) => Err(error.into()),
            _ => SystemDisk.sync_directory(path),
        }
    }

    fn truncate(&self, path: &Path, file: &File, len: u64) -> io::Result<()> {
        match self.ask(|_| ()) {
            Some(Fault::AppendForGood { error, .. }) => Err(error.into()),
            _ => SystemDisk.truncate(path, file, len),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match self.ask(|_| ()) {
            Some(Fault::Remove(error)) => Err(error.into()),
            _ => SystemDisk.remove(path),
        }
    }
}
