//! Opening a log: every record is checked, and a bad one is either a torn tail or damage (`ios` 20.6 (1)).

use std::path::{Path, PathBuf};

use types::Sequence;
use types::record::LogRecord;

use super::frame::{FRAME_BYTES, Found, Step};
use super::index::{Index, Position};
use super::segment::{self, HEADER_BYTES, Opened, Segment, Segments};
use crate::error::OpenError;
use crate::identity::Identity;

/// A tail that was never durable and is cut away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// File in which it begins.
    pub path: PathBuf,
    /// Offset in that file, bytes.
    pub offset: u64,
    /// Bytes cut away, in this file and later ones.
    pub bytes: u64,
}

/// What a directory holds; nothing has been changed yet.
#[derive(Debug, Default)]
pub(super) struct Examined {
    pub(super) segments: Segments,
    pub(super) index: Index,
    pub(super) last_sequence: Option<Sequence>,
    pub(super) torn: Option<TornTail>,
    /// Files behind the torn tail, ascending.
    pub(super) remove: Vec<PathBuf>,
}

/// Reads everything and decides; changes nothing.
pub(super) fn examine(directory: &Path, identity: &Identity, writable: bool) -> Result<Examined, OpenError> {
    let mut files = Vec::new();
    for (base, path) in segment::list(directory)? {
        let opened = segment::open(&path, base, identity, writable)?;
        files.push((base, path, opened));
    }
    let mut examined = Examined::default();
    let mut files = files.into_iter().peekable();
    while let Some((base, path, opened)) = files.next() {
        let segment = match opened {
            Opened::Whole(segment) => segment,
            // The process ended between creating the last file and writing its header: no record was in it.
            Opened::Unborn if files.peek().is_none() => {
                examined.remove.push(path);
                break;
            }
            Opened::Unborn | Opened::Headless => {
                return Err(damaged(&path, 0, "its header is not whole"));
            }
        };
        let end = examined.segments.last_key_value().map(|(_, last)| last.end());
        let bad = match end {
            Some(end) if end < base => Some(end),
            Some(end) if end > base => {
                return Err(damaged(&path, 0, "it begins inside the file before it"));
            }
            _ => None,
        };
        if let Some(bad) = bad {
            // The file before ends at a whole record, but too early: bytes behind that are missing.
            let mut later = vec![segment];
            for (_, path, opened) in files {
                later.push(whole(&path, opened)?);
            }
            return examined.cut(bad, None, later);
        }
        if let Some(bad) = examined.walk(segment)? {
            let mut later = Vec::new();
            for (_, path, opened) in files {
                later.push(whole(&path, opened)?);
            }
            return examined.cut(bad, Some(bad), later);
        }
    }
    Ok(examined)
}

fn whole(path: &Path, opened: Opened) -> Result<Segment, OpenError> {
    match opened {
        Opened::Whole(segment) => Ok(segment),
        Opened::Unborn | Opened::Headless => Err(damaged(path, 0, "its header is not whole")),
    }
}

impl Examined {
    /// Checks and notes the records of one segment; the offset of the first bad one, if any.
    fn walk(&mut self, segment: Segment) -> Result<Option<u64>, OpenError> {
        let (base, path, mut reader) = (segment.header.base, segment.path.clone(), segment.reader());
        self.segments.insert(base, segment);
        loop {
            match reader.step().map_err(OpenError::io("read", &path))? {
                Step::End => return Ok(None),
                Step::Bad(offset) => return Ok(Some(offset)),
                Step::Record(found) => self.note(&path, base, &found)?,
            }
        }
    }

    fn note(&mut self, path: &Path, base: u64, found: &Found) -> Result<(), OpenError> {
        let record = LogRecord::decode_payload(found.frame.kind, &found.payload).map_err(|error| {
            damaged(
                path,
                found.offset - base,
                &format!("a record of kind {}: {error}", found.frame.kind),
            )
        })?;
        let position = Position {
            offset: found.offset,
            len: found.frame.len,
        };
        self.index.note(&mut self.segments, position, &record);
        self.last_sequence = self.last_sequence.max(Some(found.frame.seq));
        Ok(())
    }

    /// Cuts at `at`, unless something behind it says that the log was durable beyond. `resume` is the bad record
    /// in the last walked segment, behind which whole records may stand.
    fn cut(mut self, at: u64, resume: Option<u64>, later: Vec<Segment>) -> Result<Self, OpenError> {
        let Some((base, path)) = self
            .segments
            .last_key_value()
            .map(|(base, last)| (*base, last.path.clone()))
        else {
            return Ok(self);
        };
        let durable = || {
            damaged(
                &path,
                at - base,
                "a record is not whole, though the log was durable beyond it",
            )
        };
        if let (Some(bad), Some((_, last))) = (resume, self.segments.last_key_value()) {
            let behind = bad - base + 1;
            if last
                .reader_at(behind)
                .claims_beyond(at)
                .map_err(OpenError::io("read", &path))?
            {
                return Err(durable());
            }
        }
        for segment in &later {
            let claims = segment.reader_at(HEADER_BYTES).claims_beyond(at);
            if segment.header.synced > at || claims.map_err(OpenError::io("read", &segment.path))? {
                return Err(durable());
            }
        }
        let mut bytes = later.iter().map(|segment| segment.len).sum();
        if let Some((_, last)) = self.segments.iter_mut().next_back() {
            bytes += last.end() - at;
            last.len = at - base;
        }
        self.torn = (bytes > 0).then(|| TornTail {
            path,
            offset: at - base,
            bytes,
        });
        self.remove.extend(later.into_iter().map(|segment| segment.path));
        Ok(self)
    }
}

pub(super) fn damaged(path: &Path, offset: u64, reason: &str) -> OpenError {
    OpenError::Damaged {
        path: path.to_path_buf(),
        offset,
        reason: reason.into(),
    }
}

const _: () = assert!(FRAME_BYTES == 25, "the format that version 1 states");
