//! What the log asks the operating system for: one place where a test can make it fail.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::path::Path;

use crate::error::SyncFailed;

/// Every change that a log makes to its files. Each call is one system call, so that a test may fail, shorten or
/// count it; the logic above is the same with any disk.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Creates a file that does not exist, for reading and appending.
    ///
    /// # Errors
    /// Those of `open`.
    fn create(&self, path: &Path) -> io::Result<File>;

    /// Appends parts to a file; returns how many bytes were written, which may be fewer than all.
    ///
    /// # Errors
    /// Those of `writev`.
    fn append(&self, path: &Path, file: &File, parts: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Makes the bytes of a file durable.
    ///
    /// # Errors
    /// Those of `fdatasync`.
    fn sync(&self, path: &Path, file: &File) -> io::Result<()>;

    /// Makes names created in or removed from a directory durable.
    ///
    /// # Errors
    /// Those of `fsync`.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;

    /// Cuts a file.
    ///
    /// # Errors
    /// Those of `ftruncate`.
    fn truncate(&self, path: &Path, file: &File, len: u64) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// Those of `unlink`.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The operating system itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemDisk;

impl Disk for SystemDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .append(true)
            .create_new(true)
            .open(path)
    }

    fn append(&self, _path: &Path, mut file: &File, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        file.write_vectored(parts)
    }

    fn sync(&self, _path: &Path, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn truncate(&self, _path: &Path, file: &File, len: u64) -> io::Result<()> {
        file.set_len(len)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }
}

/// Appends all parts, however few bytes a call takes.
pub(crate) fn append_all(
    disk: &dyn Disk,
    path: &Path,
    file: &File,
    mut parts: &mut [IoSlice<'_>],
) -> io::Result<()> {
    while !parts.is_empty() {
        match disk.append(path, file, parts) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut parts, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Makes a file durable; the error names it.
pub(crate) fn sync_file(disk: &dyn Disk, path: &Path, file: &File) -> Result<(), SyncFailed> {
    disk.sync(path, file).map_err(|source| SyncFailed {
        path: path.to_path_buf(),
        source,
    })
}

/// Makes the names in a directory durable; the error names it.
pub(crate) fn sync_directory(disk: &dyn Disk, path: &Path) -> Result<(), SyncFailed> {
    disk.sync_directory(path).map_err(|source| SyncFailed {
        path: path.to_path_buf(),
        source,
    })
}
