//! Files of secret keys: 32 bytes as 64 hexadecimal digits, readable by their owner alone.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crypto::keys::SecretKey;
use zeroize::Zeroizing;

/// Bytes read of a key file: digits and a line end; more is no key.
const FILE_BYTES_MAX: u64 = 128;
/// Keys of one call: every validator of the largest network.
const KEYS_MAX: u16 = types::limits::VALIDATORS_MAX as u16;

/// Why a key file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyFileError {
    /// It cannot be read.
    #[error("the key file {path} cannot be read: {source}")]
    Read {
        /// File.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// Its content is no key. The content is not repeated: it may be most of a secret.
    #[error(
        "{path} is not a key file: accepted are 64 hexadecimal digits, as `shardbench-node keys` writes them"
    )]
    Content {
        /// File.
        path: PathBuf,
    },
    /// Others may read or change it, so it may be known to them already.
    #[error(
        "the key file {path} has mode {mode:03o}, accepted is one that its owner alone may use: chmod 600 {path}; if others had access, make a new key"
    )]
    Exposed {
        /// File.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is there already.
    #[error("{path} exists already and is not overwritten; choose another directory or remove it")]
    Exists {
        /// File.
        path: PathBuf,
    },
    /// It cannot be written.
    #[error("{path} cannot be written: {source}")]
    Write {
        /// File or directory.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// A number of keys out of bounds.
    #[error("--count is {0}, accepted is 1 to {KEYS_MAX}")]
    Count(u16),
    /// No entropy.
    #[error("the operating system gives no random numbers")]
    Entropy,
}

/// Secret seed of an id key. `Debug` does not show it and its memory is cleared when it is dropped.
#[derive(Clone)]
pub(crate) struct KeySeed(Zeroizing<[u8; 32]>);

impl KeySeed {
    /// A new one from the operating system's entropy.
    ///
    /// # Errors
    /// `Entropy`.
    pub(crate) fn generate() -> Result<Self, KeyFileError> {
        let mut seed = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(&mut *seed).map_err(|_| KeyFileError::Entropy)?;
        Ok(Self(seed))
    }

    /// One that the caller derived.
    pub(crate) fn of(seed: [u8; 32]) -> Self {
        Self(Zeroizing::new(seed))
    }

    /// The seed itself.
    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The public key, which names the validator.
    pub(crate) fn public(&self) -> [u8; 32] {
        SecretKey::from_seed(*self.0).public()
    }
}

impl fmt::Debug for KeySeed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("KeySeed(..)")
    }
}

/// Reads a key file that its owner alone may use.
///
/// # Errors
/// `Read`, `Exposed` or `Content`.
pub(crate) fn read_key(path: &Path) -> Result<KeySeed, KeyFileError> {
    let read_error = |source| KeyFileError::Read {
        path: path.into(),
        source,
    };
    let content_error = || KeyFileError::Content { path: path.into() };
    let mut file = std::fs::File::open(path).map_err(read_error)?;
    // Of the open file: what the name stands for may be exchanged.
    let mode = file.metadata().map_err(read_error)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Exposed {
            path: path.into(),
            mode,
        });
    }
    // As large as it may grow, so that no copy of the secret is left behind by growing.
    let mut text = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX as usize));
    io::Read::read_to_end(&mut io::Read::take(&mut file, FILE_BYTES_MAX), &mut text).map_err(read_error)?;
    let mut seed = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.trim_ascii(), &mut *seed).map_err(|_| content_error())?;
    Ok(KeySeed(seed))
}

/// Writes a key file that only its owner may read.
///
/// # Errors
/// `Exists` or `Write`.
pub(crate) fn write_key(path: &Path, seed: &KeySeed) -> Result<(), KeyFileError> {
    let mut text = Zeroizing::new([0; 65]);
    text[64] = b'\n';
    // 64 places for 32 bytes: this cannot fail.
    let _ = hex::encode_to_slice(seed.expose(), &mut text[..64]);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(&*text).and_then(|()| file.sync_all()));
    written.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => KeyFileError::Exists { path: path.into() },
        _ => KeyFileError::Write {
            path: path.into(),
            source,
        },
    })
}

/// Name of the key file of a number.
pub(crate) fn key_file_name(number: usize) -> String {
    format!("{number:03}.key")
}

/// Writes new keys `000.key`, `001.key`, .. into a directory; what it wrote, with the public keys.
///
/// # Errors
/// Nothing is written when one of the files is there already.
pub(crate) fn create(dir: &Path, count: u16) -> Result<Vec<(PathBuf, [u8; 32])>, KeyFileError> {
    if count == 0 || count > KEYS_MAX {
        return Err(KeyFileError::Count(count));
    }
    let paths: Vec<_> = (0..usize::from(count))
        .map(|number| dir.join(key_file_name(number)))
        .collect();
    if let Some(path) = paths.iter().find(|path| path.symlink_metadata().is_ok()) {
        return Err(KeyFileError::Exists { path: path.clone() });
    }
    std::fs::create_dir_all(dir).map_err(|source| KeyFileError::Write {
        path: dir.into(),
        source,
    })?;
    let write = |path: PathBuf| {
        let seed = KeySeed::generate()?;
        write_key(&path, &seed)?;
        Ok((path, seed.public()))
    };
    paths.into_iter().map(write).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::{KeyFileError, KeySeed, create, read_key, write_key};

    fn write_private(path: &Path, content: impl AsRef<[u8]>) {
        fs::write(path, content).expect("written");
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("changed");
    }

    #[test]
    fn keys_are_written_for_their_owner_alone_and_read_back() {
        let folder = tempfile::tempdir().expect("folder");
        let dir = folder.path().join("deep/keys");
        let keys = create(&dir, 3).expect("created");
        assert_eq!(keys.len(), 3);
        for (path, public) in &keys {
            assert_eq!(read_key(path).expect("read").public(), *public);
            assert_eq!(
                fs::metadata(path).expect("metadata").permissions().mode() & 0o777,
                0o600
            );
        }
        assert!(keys[0].1 != keys[1].1 && keys[1].1 != keys[2].1, "each its own");
        assert!(keys[2].0.ends_with("002.key"));
    }

    #[test]
    fn a_file_that_is_there_stays_and_nothing_else_is_written() {
        let folder = tempfile::tempdir().expect("folder");
        let there = folder.path().join("001.key");
        fs::write(&there, "precious").expect("written");
        let error = create(folder.path(), 2).expect_err("there");
        assert!(
            matches!(error, KeyFileError::Exists { .. }) && error.to_string().contains("001.key"),
            "{error}"
        );
        let seed = KeySeed::generate().expect("entropy");
        assert!(matches!(
            write_key(&there, &seed),
            Err(KeyFileError::Exists { .. })
        ));
        assert_eq!(fs::read_to_string(&there).expect("read"), "precious");
        assert!(!folder.path().join("000.key").exists());
    }

    #[test]
    fn counts_out_of_bounds_and_places_that_are_no_folder_are_refused() {
        let folder = tempfile::tempdir().expect("folder");
        for count in [0, 1025] {
            let error = create(folder.path(), count).expect_err("count").to_string();
            assert!(
                error.contains(&count.to_string()) && error.contains("1 to 1024"),
                "{error}"
            );
        }
        let file = folder.path().join("file");
        fs::write(&file, "").expect("written");
        assert!(matches!(create(&file, 1), Err(KeyFileError::Write { .. })));
    }

    #[test]
    fn what_is_no_key_is_refused_without_repeating_it() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("a.key");
        let error = read_key(&path).expect_err("missing");
        assert!(
            matches!(error, KeyFileError::Read { .. }) && error.to_string().contains("a.key"),
            "{error}"
        );
        let good = "5a".repeat(32);
        for text in [
            String::new(),
            good[..62].to_owned(),
            format!("{good}5a"),
            good.replace("5a", "zz"),
            good.repeat(9),
        ] {
            write_private(&path, &text);
            let error = read_key(&path).expect_err("no key");
            assert!(matches!(error, KeyFileError::Content { .. }), "{error}");
            assert!(
                error.to_string().contains("64 hexadecimal digits") && !error.to_string().contains("5a5a"),
                "{error}"
            );
        }
        write_private(&path, [0xff; 64]);
        assert!(matches!(read_key(&path), Err(KeyFileError::Content { .. })));
        for text in [
            good.clone(),
            format!("{good}\n"),
            format!("{}\r\n", good.to_uppercase()),
        ] {
            write_private(&path, text);
            assert_eq!(read_key(&path).expect("read").expose(), &[0x5a; 32]);
        }
    }

    #[test]
    fn a_key_that_others_may_use_is_refused_with_the_way_out() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("a.key");
        let seed = KeySeed::generate().expect("entropy");
        write_key(&path, &seed).expect("written");
        for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o644, 0o777] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("changed");
            let error = read_key(&path).expect_err("exposed");
            assert!(matches!(error, KeyFileError::Exposed { .. }), "{mode:o}: {error}");
            let said = error.to_string();
            let parts = ["a.key", "chmod 600", &format!("{mode:o}")];
            assert!(parts.iter().all(|part| said.contains(part)), "{said}");
        }
        for mode in [0o600, 0o400] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("changed");
            assert_eq!(read_key(&path).expect("read").expose(), seed.expose());
        }
    }

    #[test]
    fn debug_shows_nothing_secret() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("a.key");
        write_private(&path, "5a".repeat(32));
        assert_eq!(format!("{:?}", read_key(&path).expect("read")), "KeySeed(..)");
    }
}
