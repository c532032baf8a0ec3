//! Frame of one record: `len u32, crc u32, kind u8, seq u64, synced u64`, then the payload (`ios` 20.6).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use types::Sequence;
use types::limits::PEER_FRAME_BYTES_MAX;

/// Bytes of a frame before its payload.
pub(super) const FRAME_BYTES: usize = 25;
/// Payload of the largest record: whatever is recorded also travels in one frame between validators.
pub const RECORD_BYTES_MAX: usize = PEER_FRAME_BYTES_MAX;
/// Kinds are small; a quick sieve while searching for records behind a bad one.
const KIND_MAX: u8 = 31;
/// Bytes read from a segment at once.
const CHUNK_BYTES: usize = 256 << 10;

/// Head of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) len: u32,
    pub(super) kind: u8,
    pub(super) seq: Sequence,
    /// Offset in the log that was known durable when the record was written.
    pub(super) synced: u64,
}

impl Frame {
    /// The frame's bytes.
    ///
    /// The checksum also covers the length, the record's offset in the log and the segment's salt. So a block of the
    /// disk that shows up at another place is refused, and a client cannot place bytes inside a body that look like
    /// a record: it does not know the salt.
    pub(super) fn encode(&self, salt: u32, offset: u64, head: &[u8], body: &[u8]) -> [u8; FRAME_BYTES] {
        let mut bytes = [0; FRAME_BYTES];
        let (len, rest) = bytes.split_at_mut(4);
        len.copy_from_slice(&self.len.to_le_bytes());
        let (crc, rest) = rest.split_at_mut(4);
        let (kind, rest) = rest.split_at_mut(1);
        kind.copy_from_slice(&[self.kind]);
        let (seq, synced) = rest.split_at_mut(8);
        seq.copy_from_slice(&self.seq.0.to_le_bytes());
        synced.copy_from_slice(&self.synced.to_le_bytes());
        let mut hasher = self.hasher(salt, offset);
        hasher.update(head);
        hasher.update(body);
        crc.copy_from_slice(&hasher.finalize().to_le_bytes());
        bytes
    }

    fn hasher(&self, salt: u32, offset: u64) -> crc32fast::Hasher {
        let mut hasher = crc32fast::Hasher::new_with_initial(salt);
        hasher.update(&offset.to_le_bytes());
        hasher.update(&self.len.to_le_bytes());
        hasher.update(&[self.kind]);
        hasher.update(&self.seq.0.to_le_bytes());
        hasher.update(&self.synced.to_le_bytes());
        hasher
    }

    /// Reads a frame at an offset of the log; `None` where no record can start. The checksum comes second.
    fn parse(bytes: &[u8], offset: u64) -> Option<(Self, u32)> {
        let (len, rest) = bytes.split_first_chunk::<4>()?;
        let (crc, rest) = rest.split_first_chunk::<4>()?;
        let (kind, rest) = rest.split_first()?;
        let (seq, rest) = rest.split_first_chunk::<8>()?;
        let (synced, _) = rest.split_first_chunk::<8>()?;
        let frame = Self {
            len: u32::from_le_bytes(*len),
            kind: *kind,
            seq: Sequence(u64::from_le_bytes(*seq)),
            synced: u64::from_le_bytes(*synced),
        };
        let possible = frame.len as usize <= RECORD_BYTES_MAX
            && (1..=KIND_MAX).contains(&frame.kind)
            && frame.synced <= offset;
        possible.then(|| (frame, u32::from_le_bytes(*crc)))
    }

    /// Reads a whole record, checksum included, at the front of `bytes`.
    pub(super) fn check(bytes: &[u8], salt: u32, offset: u64) -> Option<(Self, &[u8])> {
        let (frame, crc) = Self::parse(bytes, offset)?;
        let payload = bytes.get(FRAME_BYTES..FRAME_BYTES + frame.len as usize)?;
        let mut hasher = frame.hasher(salt, offset);
        hasher.update(payload);
        (hasher.finalize() == crc).then_some((frame, payload))
    }
}

/// A record as it was found.
#[derive(Debug)]
pub(super) struct Found {
    /// Offset of the frame in the log.
    pub(super) offset: u64,
    pub(super) frame: Frame,
    pub(super) payload: Bytes,
}

/// What stands at the reader's place.
#[derive(Debug)]
pub(super) enum Step {
    Record(Found),
    End,
    /// No record; offset in the log.
    Bad(u64),
}

/// Walks one segment with positioned reads, a chunk at a time.
#[derive(Debug)]
pub(super) struct FrameReader {
    file: Arc<File>,
    salt: u32,
    /// Offset of the file's first byte in the log.
    base: u64,
    /// Place in the file, and where its records end.
    place: u64,
    end: u64,
    chunk: Vec<u8>,
    chunk_start: u64,
}

impl FrameReader {
    /// Starts at `place` of a file that ends at `end`.
    pub(super) const fn new(file: Arc<File>, salt: u32, base: u64, place: u64, end: u64) -> Self {
        Self {
            file,
            salt,
            base,
            place,
            end,
            chunk: Vec::new(),
            chunk_start: 0,
        }
    }

    /// Offset of the file's first byte in the log.
    pub(super) const fn base(&self) -> u64 {
        self.base
    }

    /// The record at the reader's place; moves behind it.
    pub(super) fn step(&mut self) -> io::Result<Step> {
        if self.place >= self.end {
            return Ok(Step::End);
        }
        let (place, offset, salt) = (self.place, self.base + self.place, self.salt);
        let Some((frame, _)) = Frame::parse(self.window(place, FRAME_BYTES)?, offset) else {
            return Ok(Step::Bad(offset));
        };
        let bytes = self.window(place, FRAME_BYTES + frame.len as usize)?;
        let Some((frame, payload)) = Frame::check(bytes, salt, offset) else {
            return Ok(Step::Bad(offset));
        };
        let payload = Bytes::copy_from_slice(payload);
        self.place += (FRAME_BYTES + payload.len()) as u64;
        Ok(Step::Record(Found {
            offset,
            frame,
            payload,
        }))
    }

    /// True when a whole record at or behind `place` says that the log was durable beyond `offset`. Tries every
    /// byte, because behind a bad record the place of the next one is not known.
    pub(super) fn claims_beyond(&mut self, offset: u64) -> io::Result<bool> {
        while self.place < self.end {
            let (place, salt, base) = (self.place, self.salt, self.base);
            let window = self.window(place, CHUNK_BYTES + FRAME_BYTES + RECORD_BYTES_MAX)?;
            let starts = window.len().min(CHUNK_BYTES);
            for start in 0..starts {
                let (rest, at) = (
                    window.get(start..).unwrap_or_default(),
                    base + place + start as u64,
                );
                // The claim before the checksum: bytes that a client chose to look like heads of records, one at
                // every place, would otherwise cost a checksum of a whole record each.
                let claims = Frame::parse(rest, at).is_some_and(|(frame, _)| frame.synced > offset);
                if claims && Frame::check(rest, salt, at).is_some() {
                    return Ok(true);
                }
            }
            self.place += starts as u64;
        }
        Ok(false)
    }

    /// Up to `len` bytes at a place of the file, fewer at its end.
    fn window(&mut self, place: u64, len: usize) -> io::Result<&[u8]> {
        let len = len.min(usize::try_from(self.end - place).unwrap_or(usize::MAX));
        let held = place
            .checked_sub(self.chunk_start)
            .map_or(usize::MAX, |skip| skip as usize);
        if held.checked_add(len).is_none_or(|end| end > self.chunk.len()) {
            let want = len
                .max(CHUNK_BYTES)
                .min(usize::try_from(self.end - place).unwrap_or(usize::MAX));
            self.chunk.resize(want, 0);
            self.chunk_start = place;
            self.file.read_exact_at(&mut self.chunk, place)?;
            return Ok(self.chunk.get(..len).unwrap_or_default());
        }
        Ok(self.chunk.get(held..held + len).unwrap_or_default())
    }
}
