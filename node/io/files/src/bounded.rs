//! Reading no more of a file than any of its kind holds.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// Why a file was not read whole.
#[derive(Debug)]
pub(crate) enum BoundedError {
    /// The file system.
    Io(io::Error),
    /// It has more bytes than `max`.
    Size,
}

/// The whole file, of at most `max` bytes.
pub(crate) fn read(path: &Path, max: u64) -> Result<Vec<u8>, BoundedError> {
    let file = File::open(path).map_err(BoundedError::Io)?;
    let mut bytes = Vec::new();
    file.take(max.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(BoundedError::Io)?;
    if bytes.len() as u64 > max {
        return Err(BoundedError::Size);
    }
    Ok(bytes)
}

/// The whole file as text; other bytes than UTF-8 are an error of the kind `InvalidData`, as they are to
/// [`std::fs::read_to_string`].
pub(crate) fn read_text(path: &Path, max: u64) -> Result<String, BoundedError> {
    String::from_utf8(read(path, max)?).map_err(|_| {
        let problem = "stream did not contain valid UTF-8";
        BoundedError::Io(io::Error::new(io::ErrorKind::InvalidData, problem))
    })
}

#[cfg(test)]
mod tests {
    use super::{BoundedError, read, read_text};

    #[test]
    fn a_file_at_its_bound_is_read_and_one_byte_more_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("file");
        std::fs::write(&path, [7; 10]).expect("written");
        assert_eq!(read(&path, 10).expect("read"), [7; 10]);
        assert!(matches!(read(&path, 9), Err(BoundedError::Size)));
        std::fs::write(&path, [0xff]).expect("written");
        assert!(matches!(read_text(&path, 9), Err(BoundedError::Io(_))));
        assert!(matches!(
            read(&folder.path().join("none"), 9),
            Err(BoundedError::Io(_))
        ));
    }
}
