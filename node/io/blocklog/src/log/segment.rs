//! One file of the log and its header.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use types::Hash;
use types::codec::{DecodeError, Encode, Reader};

use super::frame::FrameReader;
use crate::disk::{self, Disk};
use crate::error::OpenError;
use crate::identity::{FORMAT_VERSION, Identity};

/// First bytes of every segment.
const MAGIC: [u8; 8] = *b"shardlog";
/// Bytes of a header: magic, version u32, genesis, validator, base u64, synced u64, salt u32, crc u32.
pub(super) const HEADER_BYTES: u64 = 100;

/// Header of a segment, its identity apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Offset of the file's first byte in the log.
    pub(super) base: u64,
    /// Offset in the log that was durable when the segment was begun.
    pub(super) synced: u64,
    /// Start value of the checksums of its records; not guessable from outside.
    pub(super) salt: u32,
}

impl Header {
    fn encode(&self, identity: &Identity) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES as usize);
        bytes.extend_from_slice(&MAGIC);
        FORMAT_VERSION.encode(&mut bytes);
        identity.genesis.encode(&mut bytes);
        bytes.extend_from_slice(&identity.validator);
        self.base.encode(&mut bytes);
        self.synced.encode(&mut bytes);
        self.salt.encode(&mut bytes);
        crc32fast::hash(&bytes).encode(&mut bytes);
        bytes
    }

    /// Reads a header. `Ok(None)` when it is not whole; an error when it is, and belongs to something else.
    fn read(path: &Path, bytes: &[u8], identity: &Identity) -> Result<Option<Self>, OpenError> {
        let Ok((version, found, header, crc)) = Self::fields(bytes) else {
            return Ok(None);
        };
        let sound = crc32fast::hash(bytes.get(..96).unwrap_or_default()) == crc;
        // Another version may have another layout: its number is said before its checksum is asked for. Versions
        // begin at 1; a 0 was never written.
        if !bytes.starts_with(&MAGIC) || ([0, FORMAT_VERSION].contains(&version) && !sound) {
            return Ok(None);
        }
        identity.check(path, version, found)?;
        Ok(Some(header))
    }

    fn fields(bytes: &[u8]) -> Result<(u32, Identity, Self, u32), DecodeError> {
        let mut reader = Reader::new(bytes);
        reader.bytes(MAGIC.len())?;
        let version = reader.u32()?;
        let identity = Identity {
            genesis: Hash(reader.array()?),
            validator: reader.array()?,
        };
        let header = Self {
            base: reader.u64()?,
            synced: reader.u64()?,
            salt: reader.u32()?,
        };
        Ok((version, identity, header, reader.u32()?))
    }
}

/// One file of the log.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) file: Arc<File>,
    pub(super) header: Header,
    /// Bytes of the file that hold whole records, header included.
    pub(super) len: u64,
    /// The log may be cut below this height only when the segment stays.
    pub(super) height_max: u64,
}

impl Segment {
    /// Offset in the log behind the last record.
    pub(super) const fn end(&self) -> u64 {
        self.header.base + self.len
    }

    /// Reads from the first record on.
    pub(super) fn reader(&self) -> FrameReader {
        self.reader_at(HEADER_BYTES)
    }

    /// Reads from a place of the file on.
    pub(super) fn reader_at(&self, place: u64) -> FrameReader {
        FrameReader::new(
            Arc::clone(&self.file),
            self.header.salt,
            self.header.base,
            place,
            self.len,
        )
    }
}

/// Segments by the offset of their first byte.
pub(super) type Segments = BTreeMap<u64, Segment>;

/// The segment that holds an offset of the log.
pub(super) fn holding(segments: &Segments, offset: u64) -> Option<&Segment> {
    segments.range(..=offset).next_back().map(|(_, segment)| segment)
}

/// Name of the segment that begins at an offset of the log.
pub(super) fn path_of(directory: &Path, base: u64) -> PathBuf {
    directory.join(format!("{base:020}.log"))
}

/// Segment files of a directory, by the offset that their names state.
pub(super) fn list(directory: &Path) -> Result<BTreeMap<u64, PathBuf>, OpenError> {
    let mut found = BTreeMap::new();
    let entries = std::fs::read_dir(directory).map_err(OpenError::io("list", directory))?;
    for entry in entries {
        let entry = entry.map_err(OpenError::io("list", directory))?;
        let name = entry.file_name();
        let digits = name.to_str().and_then(|name| name.strip_suffix(".log"));
        if let Some(base) = digits
            .filter(|digits| digits.len() == 20)
            .and_then(|digits| digits.parse().ok())
        {
            found.insert(base, entry.path());
        }
    }
    Ok(found)
}

/// A file that a name points to.
#[derive(Debug)]
pub(super) enum Opened {
    Whole(Segment),
    /// Its header was never written, and nothing stands behind it.
    Unborn,
    /// Its header is wrong, and something stands behind it or it is not the one that the name states.
    Headless,
}

/// Opens a segment file and checks its header.
pub(super) fn open(path: &Path, base: u64, identity: &Identity, writable: bool) -> Result<Opened, OpenError> {
    let read = OpenError::io("read", path);
    let file = OpenOptions::new()
        .read(true)
        .append(writable)
        .open(path)
        .map_err(OpenError::io("open", path))?;
    let len = file.metadata().map_err(OpenError::io("read", path))?.len();
    let mut bytes = vec![0; len.min(HEADER_BYTES) as usize];
    file.read_exact_at(&mut bytes, 0).map_err(read)?;
    match Header::read(path, &bytes, identity)? {
        // A forged base near the end of the number range would leave no offsets for the records.
        Some(header) if header.base == base && base.checked_add(len).is_some() => {
            let path = path.to_path_buf();
            Ok(Opened::Whole(Segment {
                path,
                file: Arc::new(file),
                header,
                len,
                height_max: 0,
            }))
        }
        None if len <= HEADER_BYTES => Ok(Opened::Unborn),
        _ => Ok(Opened::Headless),
    }
}

/// Creates a segment; its header is written, not yet durable.
pub(super) fn create(
    disk: &dyn Disk,
    directory: &Path,
    base: u64,
    synced: u64,
    identity: &Identity,
) -> io::Result<Segment> {
    let path = path_of(directory, base);
    let file = disk.create(&path)?;
    // Keys of `RandomState` come from the operating system; the salt needs no more than not to be known outside.
    let salt = RandomState::new().hash_one(base) as u32;
    let header = Header { base, synced, salt };
    let encoded = header.encode(identity);
    if let Err(error) = disk::append_all(disk, &path, &file, &mut [IoSlice::new(&encoded)]) {
        drop(disk.remove(&path));
        return Err(error);
    }
    Ok(Segment {
        path,
        file: Arc::new(file),
        header,
        len: HEADER_BYTES,
        height_max: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::{Opened, create, open};
    use crate::disk::SystemDisk;
    use crate::samples::IDENTITY;

    #[test]
    fn a_forged_base_that_leaves_no_room_for_offsets_is_no_header() {
        let directory = tempfile::tempdir().expect("directory");
        for (base, whole) in [(0, true), (u64::MAX - 1, false)] {
            let made = create(&SystemDisk, directory.path(), base, base, &IDENTITY).expect("created");
            let opened = open(&made.path, base, &IDENTITY, true).expect("readable");
            assert_eq!(matches!(opened, Opened::Whole(_)), whole, "{base}");
        }
    }
}
