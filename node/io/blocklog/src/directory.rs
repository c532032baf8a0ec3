//! Directories: made durable and held by one process.

use std::fs::{self, File, TryLockError};
use std::path::Path;

use crate::error::{OpenError, SyncFailed};

/// Creates a directory where it is missing and makes its name durable.
///
/// # Errors
/// `Io`, `Sync`.
pub fn create(path: &Path) -> Result<(), OpenError> {
    if !path.is_dir() {
        fs::create_dir_all(path).map_err(OpenError::io("create the directory", path))?;
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync(parent)?;
        }
    }
    Ok(())
}

/// Makes names created in or removed from a directory durable.
///
/// # Errors
/// `SyncFailed`.
pub fn sync(path: &Path) -> Result<(), SyncFailed> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|source| SyncFailed {
            path: path.to_path_buf(),
            source,
        })
}

/// Holds a directory until the returned file is dropped; the lock ends with the process, however that ends.
///
/// # Errors
/// `InUse`, `Io`.
pub fn hold(path: &Path) -> Result<File, OpenError> {
    let directory = File::open(path).map_err(OpenError::io("open the directory", path))?;
    match directory.try_lock() {
        Ok(()) => Ok(directory),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse {
            path: path.to_path_buf(),
        }),
        Err(TryLockError::Error(source)) => Err(OpenError::io("lock the directory", path)(source)),
    }
}

#[cfg(test)]
mod tests {
    use super::{create, hold};

    #[test]
    fn a_directory_is_held_once() {
        let directory = tempfile::tempdir().expect("directory");
        let nested = directory.path().join("a/b");
        create(&nested).expect("created");
        let held = hold(&nested).expect("held");
        let error = hold(&nested).expect_err("held already");
        assert!(
            error.to_string().contains("is in use by another process"),
            "{error}"
        );
        drop(held);
        hold(&nested).expect("free again");
    }
}
