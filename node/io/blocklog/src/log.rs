//! The block log: append-only segment files of checksummed records (`ios` 9.6, 20.6).

mod frame;
mod index;
mod recovery;
mod replay;
mod segment;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use types::block::{Block, CommittedBlock};
use types::message::AuthorBlock;
use types::record::LogRecord;
use types::{Hash, Height, Sequence};

pub use self::frame::RECORD_BYTES_MAX;
use self::frame::{FRAME_BYTES, Frame};
use self::index::{Index, Position};
use self::recovery::Examined;
pub use self::recovery::TornTail;
pub use self::replay::Replay;
use self::segment::{HEADER_BYTES, Segment, Segments};
use crate::disk::{self, Disk, SystemDisk, sync_directory, sync_file};
use crate::error::{AppendError, OpenError, ReadError, SyncFailed};
use crate::identity::Identity;
use crate::{Durability, directory};

/// How a log is kept.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// Bytes after which a new segment is begun. One group of records may exceed it.
    pub segment_bytes: u64,
    /// With `Async`, segments are begun without waiting for the disk.
    pub durability: Durability,
    /// The directory held a log before: an empty one is refused, its promises are lost.
    pub existing: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 256 << 20,
            durability: Durability::Fsync,
            existing: false,
        }
    }
}

/// What a cut removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Segments removed.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Append-only log of one validator in one directory.
///
/// `append` returns when the records are written (they survive the end of the process), `sync` when they are durable
/// (they survive power loss). After a failure of either, other than a refusal, the log takes no more records; reading
/// goes on.
#[derive(Debug)]
pub struct BlockLog {
    directory: PathBuf,
    identity: Identity,
    options: LogOptions,
    disk: Arc<dyn Disk>,
    segments: Segments,
    index: Index,
    last_sequence: Option<Sequence>,
    /// Offset in the log up to which everything is durable.
    synced: u64,
    /// Sealed segments that were not made durable when they were left (`Async`).
    unsynced: Vec<(PathBuf, Arc<File>)>,
    torn: Option<TornTail>,
    /// It failed, or was opened for reading alone.
    closed: bool,
    /// Lock on the directory, for the life of the log.
    _held: File,
}

impl BlockLog {
    /// Opens or creates the log of a directory: checks every record, cuts a torn tail, refuses a damaged log.
    ///
    /// # Errors
    /// `InUse`, `Identity`, `Damaged`, `LogMissing`, `Io`, `Sync`; files are changed only when the log is sound.
    pub fn open(path: &Path, identity: Identity, options: LogOptions) -> Result<Self, OpenError> {
        Self::open_on(Arc::new(SystemDisk), path, identity, options)
    }

    /// `open` on a disk that may fail.
    ///
    /// # Errors
    /// As `open`.
    pub fn open_on(
        disk: Arc<dyn Disk>,
        path: &Path,
        identity: Identity,
        options: LogOptions,
    ) -> Result<Self, OpenError> {
        directory::create(path)?;
        let held = directory::hold(path)?;
        let mut examined = recovery::examine(path, &identity, true)?;
        if examined.segments.is_empty() && options.existing {
            return Err(OpenError::LogMissing {
                path: path.to_path_buf(),
            });
        }
        // From the back, so that a second crash leaves what the same rule cuts again.
        for file in examined.remove.iter().rev() {
            disk.remove(file).map_err(OpenError::io("remove", file))?;
        }
        if examined.segments.is_empty() {
            let first = segment::create(&*disk, path, 0, 0, &identity)
                .map_err(OpenError::io("create a segment in", path))?;
            examined.segments.insert(0, first);
        }
        sync_directory(&*disk, path)?;
        let last = examined.segments.last_key_value().map(|(_, last)| last);
        if let Some(last) = last.filter(|_| examined.torn.is_some()) {
            disk.truncate(&last.path, &last.file, last.len)
                .map_err(OpenError::io("cut", &last.path))?;
        }
        // What was read may stand in the page cache only, in every segment when they were written with `Async`.
        for segment in examined.segments.values() {
            sync_file(&*disk, &segment.path, &segment.file)?;
        }
        let synced = last.map_or(0, Segment::end);
        Ok(Self {
            closed: false,
            disk,
            synced,
            options,
            ..Self::examined(path, identity, held, examined)
        })
    }

    /// Opens a log for reading alone: checks every record as `open` does and changes nothing. A torn tail is not
    /// read; `torn` says where it begins.
    ///
    /// # Errors
    /// `InUse`, `Identity`, `Damaged`, `Io`.
    pub fn open_read_only(path: &Path, identity: Identity) -> Result<Self, OpenError> {
        let held = directory::hold(path)?;
        let examined = recovery::examine(path, &identity, false)?;
        Ok(Self::examined(path, identity, held, examined))
    }

    /// What was found, as a log that takes nothing.
    fn examined(path: &Path, identity: Identity, held: File, examined: Examined) -> Self {
        Self {
            directory: path.to_path_buf(),
            identity,
            options: LogOptions::default(),
            disk: Arc::new(SystemDisk),
            segments: examined.segments,
            index: examined.index,
            last_sequence: examined.last_sequence,
            synced: 0,
            unsynced: Vec::new(),
            torn: examined.torn,
            closed: true,
            _held: held,
        }
    }

    /// Appends records under one sequence, which must be above the last one, and waits until they are written.
    ///
    /// # Errors
    /// `SequenceOrder` and `RecordSize` leave the log as it was; after the others it takes no more records.
    pub fn append(&mut self, records: &[LogRecord], seq: Sequence) -> Result<(), AppendError> {
        self.append_group(&[(seq, records)])
    }

    /// Appends several batches with one write, in order.
    ///
    /// # Errors
    /// As `append`; either all batches are appended or none.
    pub fn append_group(&mut self, batches: &[(Sequence, &[LogRecord])]) -> Result<(), AppendError> {
        let mut last = self.last_sequence;
        for (given, _) in batches {
            if let Some(last) = last.filter(|last| given <= last) {
                return Err(AppendError::SequenceOrder { given: *given, last });
            }
            last = Some(*given);
        }
        self.write(batches)?;
        self.last_sequence = last;
        Ok(())
    }

    fn write(&mut self, batches: &[(Sequence, &[LogRecord])]) -> Result<(), AppendError> {
        if self.closed {
            return Err(AppendError::Closed);
        }
        let mut encoded = Vec::new();
        let mut bytes = 0;
        for (seq, record) in batches
            .iter()
            .flat_map(|(seq, records)| records.iter().map(move |record| (*seq, record)))
        {
            let (head, body) = record.encode_payload();
            let body = body.unwrap_or_default();
            let len = head.len() + body.len();
            if len > RECORD_BYTES_MAX {
                return Err(AppendError::RecordSize {
                    kind: record.kind(),
                    bytes: len,
                    max: RECORD_BYTES_MAX,
                });
            }
            bytes += (FRAME_BYTES + len) as u64;
            encoded.push((seq, record, head, body));
        }
        if encoded.is_empty() {
            return Ok(());
        }
        self.make_room(bytes)?;
        let Some((_, active)) = self.segments.last_key_value() else {
            return Err(AppendError::Closed);
        };
        let (salt, mut offset) = (active.header.salt, active.end());
        let mut frames = Vec::with_capacity(encoded.len());
        let mut positions = Vec::with_capacity(encoded.len());
        for (seq, record, head, body) in &encoded {
            let len = (head.len() + body.len()) as u32;
            let frame = Frame {
                len,
                kind: record.kind(),
                seq: *seq,
                synced: self.synced,
            };
            frames.push(frame.encode(salt, offset, head, body));
            positions.push(Position { offset, len });
            offset += (FRAME_BYTES + len as usize) as u64;
        }
        let parts = encoded.iter().zip(&frames);
        self.write_parts(parts.flat_map(|((_, _, head, body), frame)| [&frame[..], head, body]))?;
        if let Some((_, active)) = self.segments.iter_mut().next_back() {
            active.len += bytes;
        }
        for (position, (_, record, _, _)) in positions.into_iter().zip(&encoded) {
            self.index.note(&mut self.segments, position, record);
        }
        Ok(())
    }

    /// Writes to the end of the active segment; a failure closes the log.
    fn write_parts<'a>(&mut self, parts: impl Iterator<Item = &'a [u8]>) -> Result<(), AppendError> {
        let Some((_, active)) = self.segments.last_key_value() else {
            return Err(AppendError::Closed);
        };
        let mut slices: Vec<_> = parts.filter(|part| !part.is_empty()).map(IoSlice::new).collect();
        let Err(source) = disk::append_all(&*self.disk, &active.path, &active.file, &mut slices) else {
            return Ok(());
        };
        let path = active.path.clone();
        // What was refused should not come back; where this fails too, opening the log decides what is whole.
        drop(self.disk.truncate(&path, &active.file, active.len));
        self.closed = true;
        Err(AppendError::Io { path, source })
    }

    /// Begins a new segment when `bytes` more would exceed the active one.
    fn make_room(&mut self, bytes: u64) -> Result<(), AppendError> {
        let Some((_, active)) = self.segments.last_key_value() else {
            return Err(AppendError::Closed);
        };
        if active.len == HEADER_BYTES || active.len + bytes <= self.options.segment_bytes {
            return Ok(());
        }
        let (base, sealed) = (active.end(), (active.path.clone(), Arc::clone(&active.file)));
        // Sealed before the next one exists: then a bad record in it can only be damage.
        if self.options.durability == Durability::Fsync {
            self.sync()?;
        }
        let next = match segment::create(&*self.disk, &self.directory, base, self.synced, &self.identity) {
            Ok(next) => next,
            Err(source) => {
                self.closed = true;
                let path = segment::path_of(&self.directory, base);
                return Err(AppendError::Io { path, source });
            }
        };
        self.segments.insert(base, next);
        if self.options.durability == Durability::Async {
            self.unsynced.push(sealed);
            return Ok(());
        }
        self.sync()?;
        let outcome = sync_directory(&*self.disk, &self.directory);
        Ok(self.close_on_error(outcome)?)
    }

    /// Makes everything appended durable.
    ///
    /// # Errors
    /// `SyncFailed`, after which the log takes no more records: never tried again, the process must end.
    pub fn sync(&mut self) -> Result<(), SyncFailed> {
        if self.closed {
            let source = io::Error::other("the log was closed by an earlier failure");
            return Err(SyncFailed {
                path: self.directory.clone(),
                source,
            });
        }
        let Some((_, active)) = self.segments.last_key_value() else {
            return Ok(());
        };
        let end = active.end();
        let sealed = self.unsynced.iter().map(|(path, file)| (path, file));
        let outcome = sealed
            .chain([(&active.path, &active.file)])
            .try_for_each(|(path, file)| sync_file(&*self.disk, path, file));
        self.close_on_error(outcome)?;
        self.unsynced.clear();
        self.synced = end;
        Ok(())
    }

    fn close_on_error(&mut self, outcome: Result<(), SyncFailed>) -> Result<(), SyncFailed> {
        self.closed |= outcome.is_err();
        outcome
    }

    /// Removes whole segments at the front of which no record matters at `height` or above. A body matters at the
    /// height of the final block that refers to it. Standing promises are carried to the end of the log first.
    ///
    /// # Errors
    /// As `append`, and `Io` when a file cannot be removed.
    pub fn cut_below(&mut self, height: Height) -> Result<Cut, AppendError> {
        if self.closed {
            return Err(AppendError::Closed);
        }
        let active = self.segments.last_key_value().map(|(base, _)| *base);
        let old = self
            .segments
            .iter()
            .take_while(|(base, segment)| Some(**base) != active && segment.height_max < height.0);
        let victims: Vec<u64> = old.map(|(base, _)| *base).collect();
        let Some(end) = victims
            .last()
            .and_then(|base| self.segments.get(base))
            .map(Segment::end)
        else {
            return Ok(Cut::default());
        };
        let carried = self.index.standing_below(end);
        if !carried.is_empty() {
            self.write(&[(self.last_sequence.unwrap_or_default(), &carried[..])])?;
        }
        self.sync()?;
        let mut cut = Cut::default();
        for base in victims {
            let Some(segment) = self.segments.remove(&base) else {
                continue;
            };
            if let Err(source) = self.disk.remove(&segment.path) {
                self.closed = true;
                return Err(AppendError::Io {
                    path: segment.path,
                    source,
                });
            }
            // One name after the other, or power loss could bring back a lower one and leave a hole behind it.
            let outcome = sync_directory(&*self.disk, &self.directory);
            self.close_on_error(outcome)?;
            cut.segments += 1;
            cut.bytes += segment.len;
        }
        self.index.cut_below(end);
        Ok(cut)
    }

    /// Every record from the oldest on, as the log stands now; reads a chunk at a time.
    #[must_use]
    pub fn replay(&self) -> Replay {
        let readers = self
            .segments
            .values()
            .map(|segment| (segment.path.clone(), segment.reader()));
        Replay {
            readers: readers.collect(),
        }
    }

    /// The final block of a height with its certificate.
    ///
    /// # Errors
    /// `ReadError` when it is there and cannot be read.
    pub fn read_committed(&self, height: Height) -> Result<Option<CommittedBlock>, ReadError> {
        Ok(match self.read(self.index.committed(height))? {
            Some(LogRecord::Committed(block)) => Some(*block),
            _ => None,
        })
    }

    /// The author block whose header has this hash.
    ///
    /// # Errors
    /// `ReadError` when it is there and cannot be read.
    pub fn read_body(&self, hash: &Hash) -> Result<Option<AuthorBlock>, ReadError> {
        Ok(match self.read(self.index.body(hash))? {
            Some(LogRecord::AuthorBlock(block)) => Some(block),
            _ => None,
        })
    }

    /// The block whose header has this hash, if it was proposed or fetched within the last heights; final or not.
    ///
    /// # Errors
    /// `ReadError` when it is there and cannot be read.
    pub fn read_block(&self, hash: &Hash) -> Result<Option<Block>, ReadError> {
        Ok(match self.read(self.index.block(hash))? {
            Some(LogRecord::Proposal(propose)) => Some(propose.block),
            Some(LogRecord::Block(block)) => Some(*block),
            _ => None,
        })
    }

    fn read(&self, position: Option<Position>) -> Result<Option<LogRecord>, ReadError> {
        let Some(Position { offset, len }) = position else {
            return Ok(None);
        };
        let Some(segment) = segment::holding(&self.segments, offset) else {
            return Ok(None);
        };
        let (path, place) = (segment.path.clone(), offset - segment.header.base);
        let mut bytes = vec![0; FRAME_BYTES + len as usize];
        if let Err(source) = segment.file.read_exact_at(&mut bytes, place) {
            return Err(ReadError::Io { path, source });
        }
        let bytes = Bytes::from(bytes);
        let Some((frame, _)) = Frame::check(&bytes, segment.header.salt, offset) else {
            return Err(ReadError::Damaged {
                path,
                offset: place,
                reason: "the checksum is wrong".into(),
            });
        };
        LogRecord::decode_payload(frame.kind, &bytes.slice(FRAME_BYTES..))
            .map(Some)
            .map_err(|error| ReadError::Damaged {
                path,
                offset: place,
                reason: error.to_string(),
            })
    }

    /// True when nothing was ever cut from the front: genesis and this log give the state again.
    #[must_use]
    pub fn is_from_genesis(&self) -> bool {
        self.segments.contains_key(&0)
    }

    /// Last sequence in the log; the next one must be above it.
    #[must_use]
    pub const fn last_sequence(&self) -> Option<Sequence> {
        self.last_sequence
    }

    /// Lowest and highest final block held.
    #[must_use]
    pub fn committed_range(&self) -> Option<(Height, Height)> {
        self.index.committed_range()
    }

    /// True when something was written that is not durable yet.
    #[must_use]
    pub fn is_unsynced(&self) -> bool {
        self.segments
            .last_key_value()
            .is_some_and(|(_, active)| active.end() > self.synced)
    }

    /// Bytes of all segments.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.len).sum()
    }

    /// The tail that was cut when the log was opened.
    #[must_use]
    pub const fn torn(&self) -> Option<&TornTail> {
        self.torn.as_ref()
    }
}
