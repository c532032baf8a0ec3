//! The block log: append-only segment files of checksummed records (`ios` 9.6, 20.6).

mod frame;
mod index;
mod recovery;
mod segment;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use types::block::{Block, CommittedBlock};
use types::message::AuthorBlock;
use types::record::LogRecord;
use types::{Hash, Height, Sequence};

pub use self::frame::RECORD_BYTES_MAX;
use self::frame::{FRAME_BYTES, Frame, FrameReader, Step};
use self::index::{Index, Position};
pub use self::recovery::TornTail;
use self::segment::{HEADER_BYTES, Segment, Segments};
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
    segments: Segments,
    index: Index,
    last_sequence: Option<Sequence>,
    /// Offset in the log up to which everything is durable.
    synced: u64,
    /// Sealed segments that were not made durable when they were left (`Async`).
    unsynced: Vec<(PathBuf, Arc<File>)>,
    torn: Option<TornTail>,
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
        directory::create(path)?;
        let held = directory::hold(path)?;
        let mut examined = recovery::examine(path, &identity)?;
        if examined.segments.is_empty() && options.existing {
            return Err(OpenError::LogMissing {
                path: path.to_path_buf(),
            });
        }
        // From the back, so that a second crash leaves what the same rule cuts again.
        for file in examined.remove.iter().rev() {
            fs::remove_file(file).map_err(OpenError::io("remove", file))?;
        }
        if examined.segments.is_empty() {
            let first =
                segment::create(path, 0, 0, &identity).map_err(OpenError::io("create a segment in", path))?;
            examined.segments.insert(0, first);
        }
        directory::sync(path)?;
        let mut synced = 0;
        if let Some((_, last)) = examined.segments.last_key_value() {
            if examined.torn.is_some() {
                last.file
                    .set_len(last.len)
                    .map_err(OpenError::io("cut", &last.path))?;
            }
            // What was read may stand in the page cache only.
            sync_file(&last.path, &last.file)?;
            synced = last.end();
        }
        Ok(Self {
            directory: path.to_path_buf(),
            identity,
            options,
            segments: examined.segments,
            index: examined.index,
            last_sequence: examined.last_sequence,
            synced,
            unsynced: Vec::new(),
            torn: examined.torn,
            closed: false,
            _held: held,
        })
    }

    /// Appends records under one sequence, which must be above the last one, and waits until they are written.
    ///
    /// # Errors
    /// `SequenceOrder`, `RecordSize` and `NoSpace` leave the log as it was; after the others it takes no more records.
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

    /// Writes to the end of the active segment; on failure takes back what was written, or closes the log.
    fn write_parts<'a>(&mut self, parts: impl Iterator<Item = &'a [u8]>) -> Result<(), AppendError> {
        let Some((_, active)) = self.segments.last_key_value() else {
            return Err(AppendError::Closed);
        };
        let mut slices: Vec<_> = parts.filter(|part| !part.is_empty()).map(IoSlice::new).collect();
        let Err(source) = write_all_vectored(&active.file, &mut slices) else {
            return Ok(());
        };
        let path = active.path.clone();
        let restored = active.file.set_len(active.len).is_ok();
        if restored && source.kind() == io::ErrorKind::StorageFull {
            return Err(AppendError::NoSpace { path });
        }
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
        let next = match segment::create(&self.directory, base, self.synced, &self.identity) {
            Ok(next) => next,
            Err(source) => {
                let path = segment::path_of(&self.directory, base);
                if source.kind() == io::ErrorKind::StorageFull {
                    return Err(AppendError::NoSpace { path });
                }
                self.closed = true;
                return Err(AppendError::Io { path, source });
            }
        };
        self.segments.insert(base, next);
        if self.options.durability == Durability::Async {
            self.unsynced.push(sealed);
            return Ok(());
        }
        self.sync()?;
        Ok(self.close_on_error(directory::sync(&self.directory))?)
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
            .try_for_each(|(path, file)| sync_file(path, file));
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
            if let Err(source) = fs::remove_file(&segment.path) {
                self.closed = true;
                return Err(AppendError::Io {
                    path: segment.path,
                    source,
                });
            }
            cut.segments += 1;
            cut.bytes += segment.len;
        }
        self.index.cut_below(end);
        self.close_on_error(directory::sync(&self.directory))?;
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

    /// From now on the disk refuses to make the active segment durable; returns what to put back.
    #[cfg(test)]
    pub(crate) fn break_sync(&mut self) -> Option<Arc<File>> {
        let (_, active) = self.segments.iter_mut().next_back()?;
        let broken = File::open("/dev/null").ok()?;
        Some(std::mem::replace(&mut active.file, Arc::new(broken)))
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

/// Records in the order in which they were written.
#[derive(Debug)]
pub struct Replay {
    readers: VecDeque<(PathBuf, FrameReader)>,
}

impl Iterator for Replay {
    type Item = Result<(Sequence, LogRecord), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (path, reader) = self.readers.front_mut()?;
            let base = reader.base();
            let damaged = |path: &Path, at, reason| ReadError::Damaged {
                path: path.into(),
                offset: at - base,
                reason,
            };
            let error = match reader.step() {
                Ok(Step::End) => {
                    self.readers.pop_front();
                    continue;
                }
                Ok(Step::Record(found)) => {
                    match LogRecord::decode_payload(found.frame.kind, &found.payload) {
                        Ok(record) => return Some(Ok((found.frame.seq, record))),
                        Err(error) => damaged(path, found.offset, error.to_string()),
                    }
                }
                Ok(Step::Bad(offset)) => damaged(path, offset, "it changed after it was checked".into()),
                Err(source) => ReadError::Io {
                    path: path.clone(),
                    source,
                },
            };
            self.readers.clear();
            return Some(Err(error));
        }
    }
}

fn sync_file(path: &Path, file: &File) -> Result<(), SyncFailed> {
    file.sync_data().map_err(|source| SyncFailed {
        path: path.to_path_buf(),
        source,
    })
}

fn write_all_vectored(mut file: &File, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    while !slices.is_empty() {
        match file.write_vectored(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
