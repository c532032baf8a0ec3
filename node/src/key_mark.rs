//! The mark beside a key file: for which networks the key has signed.
//!
//! A data directory that is lost takes promises with it, and a key that goes on signing without them can vote twice.
//! The mark outlives the directory where it lies with the key on another disk; a validator that finds it beside an
//! empty directory signs nothing in that network's epoch. It cannot tell an older copy of a directory that was put
//! back in place from the directory itself: never do that.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use types::Hash;

/// Networks of one mark, 65 bytes each: far more than a key is used for.
const MARK_BYTES_MAX: u64 = 64 << 10;

/// Why a mark cannot be read or written. Without it the validator does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyMarkError {
    /// A file operation failed.
    #[error("the mark of the key, {path}, cannot be {what}: {source}")]
    Io {
        /// File.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Cause.
        source: io::Error,
    },
    /// It is longer than a mark can be.
    #[error(
        "{path} is no mark of a key: accepted is one genesis hash per line, {MARK_BYTES_MAX} bytes in all"
    )]
    Content {
        /// File.
        path: PathBuf,
    },
}

/// The mark beside a key file.
#[derive(Clone, Debug)]
pub(crate) struct KeyMark {
    path: PathBuf,
}

impl KeyMark {
    /// The mark of a key file; it may not exist yet.
    pub(crate) fn beside(key_file: &Path) -> Self {
        let mut name = key_file.as_os_str().to_owned();
        name.push(".used");
        Self { path: name.into() }
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn error(&self, what: &'static str) -> impl FnOnce(io::Error) -> KeyMarkError {
        let path = self.path.clone();
        move |source| KeyMarkError::Io { path, what, source }
    }

    /// Whether the key was used in this network.
    ///
    /// # Errors
    /// When the file is there and cannot be read, or is no mark.
    pub(crate) fn names(&self, genesis: &Hash) -> Result<bool, KeyMarkError> {
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened.map_err(self.error("read"))?,
        };
        let mut text = String::new();
        let read = io::Read::read_to_string(&mut io::Read::take(file, MARK_BYTES_MAX + 1), &mut text);
        if read.map_err(self.error("read"))? as u64 > MARK_BYTES_MAX {
            return Err(KeyMarkError::Content {
                path: self.path.clone(),
            });
        }
        Ok(text.lines().any(|line| line == hex::encode(genesis.0)))
    }

    /// Puts the network on the mark, durably. Call before the key signs anything for it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn set(&self, genesis: &Hash) -> Result<(), KeyMarkError> {
        if self.names(genesis)? {
            return Ok(());
        }
        let line = format!("{}\n", hex::encode(genesis.0));
        let file = OpenOptions::new().create(true).append(true).open(&self.path);
        file.and_then(|mut file| file.write_all(line.as_bytes()).and_then(|()| file.sync_all()))
            .map_err(self.error("written"))?;
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(self.error("made durable"))
    }
}

#[cfg(test)]
mod tests {
    use types::Hash;

    use super::{KeyMark, MARK_BYTES_MAX};

    #[test]
    fn a_mark_names_the_networks_that_were_put_on_it_and_no_other() {
        let folder = tempfile::tempdir().expect("folder");
        let mark = KeyMark::beside(&folder.path().join("000.key"));
        assert!(mark.path().ends_with("000.key.used"));
        let (one, other) = (Hash([1; 32]), Hash([2; 32]));
        assert!(!mark.names(&one).expect("no mark yet"));
        mark.set(&one).expect("written");
        mark.set(&one).expect("written once");
        assert!(mark.names(&one).expect("read"));
        assert!(!mark.names(&other).expect("read"));
        mark.set(&other).expect("written");
        let text = std::fs::read_to_string(mark.path()).expect("text");
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn what_cannot_be_a_mark_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().expect("folder");
        let mark = KeyMark::beside(&folder.path().join("000.key"));
        std::fs::write(mark.path(), vec![b'x'; MARK_BYTES_MAX as usize + 1]).expect("written");
        let error = mark.set(&Hash([1; 32])).expect_err("too long").to_string();
        assert!(error.contains("000.key.used"), "{error}");
        let length = std::fs::metadata(mark.path()).expect("there").len();
        assert_eq!(length, MARK_BYTES_MAX + 1);
        std::fs::remove_file(mark.path()).expect("removed");
        std::fs::create_dir(mark.path()).expect("a folder in its place");
        assert!(mark.names(&Hash([1; 32])).is_err());
    }
}
