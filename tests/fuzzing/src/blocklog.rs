//! Recovery of a block log from segment files of any content: what is opened is a prefix of what was written, the same
//! however often it is opened, and a refusal changes nothing.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ::blocklog::{BlockLog, FORMAT_VERSION, LogOptions, OpenError, samples};
use bytes::Bytes;
use tempfile::TempDir;
use types::record::LogRecord;

use crate::memory::in_proportion;

/// Bytes that recovery may hold for each byte of its files: records, their index, and a copy of each payload.
const FACTOR: u64 = 64;
/// Start value of the checksums that this target writes.
const SALT: u32 = 7;
/// Bits of a record's first byte beside its kind.
const BAD: u8 = 0x80;
const NEW_SEGMENT: u8 = 0x40;
const SYNCED: u8 = 0x20;
/// Bytes of a segment's header.
const HEADER_BYTES: u64 = 100;

thread_local! {
    static DIRECTORY: RefCell<Option<TempDir>> = const { RefCell::new(None) };
}

/// An even first byte: the rest is the first segment file as it stands. An odd one: the rest lists records (kind and
/// bits, length u16, payload) that are written with right checksums, or with wrong ones, into one or more segments.
pub(crate) fn check(input: &[u8]) {
    let Some((choice, content)) = input.split_first() else {
        return;
    };
    DIRECTORY.with_borrow_mut(|directory| {
        let directory = directory.get_or_insert_with(in_memory).path();
        for (path, _) in files(directory) {
            fs::remove_file(path).expect("removed");
        }
        if choice % 2 == 0 {
            fs::write(directory.join(format!("{:020}.log", 0)), content).expect("written");
            check_opening(directory, None);
        } else {
            let written = Written::of(content);
            for (base, bytes) in &written.segments {
                fs::write(directory.join(format!("{base:020}.log")), bytes).expect("written");
            }
            check_opening(directory, Some(written.expected()));
        }
    });
}

/// A directory in memory where the system has one: only the content matters here, not the disk.
fn in_memory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir());
    made.expect("a directory")
}

fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(directory).expect("the directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .map(|path| (path.clone(), fs::read(path).expect("a file")))
        .collect()
}

/// Records in order, with the kinds and bytes that they are written with again.
fn replay(log: &BlockLog) -> Vec<(u8, Vec<u8>)> {
    let records = log
        .replay()
        .map(|step| step.expect("checked when it was opened").1);
    records
        .map(|record| {
            let (head, body) = record.encode_payload();
            (record.kind(), [&head[..], &body.unwrap_or_default()].concat())
        })
        .collect()
}

/// What the log should be: its records and whether a tail is cut, or refused.
type Expected = Option<(Vec<(u8, Vec<u8>)>, bool)>;

fn check_opening(directory: &Path, expected: Option<Expected>) {
    let before = files(directory);
    let bytes = before.values().map(Vec::len).sum();
    let read_only = in_proportion(bytes, FACTOR, || {
        BlockLog::open_read_only(directory, samples::IDENTITY)
    });
    let found = read_only
        .as_ref()
        .ok()
        .map(|log| (replay(log), log.torn().is_some()));
    if let Some(expected) = expected {
        assert_eq!(found, expected, "{:?}", read_only.as_ref().err());
    }
    drop(read_only);
    assert_eq!(files(directory), before, "reading changes nothing");

    let open = || BlockLog::open(directory, samples::IDENTITY, LogOptions::default());
    let Some((records, _)) = found else {
        let error = open().expect_err("refused for reading alone");
        assert!(!matches!(error, OpenError::Io { .. }), "{error}");
        assert_eq!(files(directory), before, "a refusal changes nothing");
        return;
    };
    let log = open().expect("sound for reading alone");
    assert_eq!(replay(&log), records);
    drop(log);
    let log = open().expect("sound before");
    assert_eq!((replay(&log), log.torn().is_some()), (records, false), "cut once");
}

/// Segments that the target wrote, and what it knows of their records.
#[derive(Default)]
struct Written {
    segments: BTreeMap<u64, Vec<u8>>,
    records: Vec<Record>,
}

struct Record {
    offset: u64,
    kind: u8,
    payload: Vec<u8>,
    synced: u64,
    good: bool,
}

impl Written {
    fn of(mut list: &[u8]) -> Self {
        let mut written = Self::default();
        written.segments.insert(0, header(0));
        while let Some(([bits, l0, l1], rest)) = list.split_first_chunk() {
            let len = usize::from(u16::from_le_bytes([*l0, *l1])).min(rest.len());
            let (payload, rest) = rest.split_at(len);
            list = rest;
            written.push(*bits, payload);
        }
        written
    }

    fn push(&mut self, bits: u8, payload: &[u8]) {
        let (base, bytes) = self.segments.last_key_value().expect("the first one");
        let offset = base + bytes.len() as u64;
        // A segment of no record would be begun at its own end: the log never does that.
        let offset = if bits & NEW_SEGMENT != 0 && bytes.len() as u64 > HEADER_BYTES {
            self.segments.insert(offset, header(offset));
            offset + HEADER_BYTES
        } else {
            offset
        };
        let record = Record {
            offset,
            kind: bits & 0x1f,
            payload: payload.to_vec(),
            synced: if bits & SYNCED == 0 { 0 } else { offset },
            // No record has kind 0: that is what empty space of a file looks like.
            good: bits & BAD == 0 && bits & 0x1f > 0,
        };
        let mut checked = record.offset.to_le_bytes().to_vec();
        checked.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        checked.push(record.kind);
        checked.extend_from_slice(&(self.records.len() as u64).to_le_bytes());
        checked.extend_from_slice(&record.synced.to_le_bytes());
        let mut crc = crc32fast::Hasher::new_with_initial(SALT);
        crc.update(&checked);
        crc.update(payload);
        let crc = crc.finalize() ^ u32::from(!record.good);
        let mut file = self.segments.last_entry().expect("the first one");
        let bytes = file.get_mut();
        bytes.extend_from_slice(&checked[8..12]);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes.extend_from_slice(&checked[12..]);
        bytes.extend_from_slice(payload);
        self.records.push(record);
    }

    /// The rule of `ios` 20.6 (1): records up to the first bad one, unless a good one behind it says that the log was
    /// durable beyond it; and no record may be whole and yet hold nothing that is known.
    fn expected(&self) -> Expected {
        let bad = self.records.iter().position(|record| !record.good);
        let (whole, behind) = self.records.split_at(bad.unwrap_or(self.records.len()));
        let known = |record: &Record| {
            LogRecord::decode_payload(record.kind, &Bytes::copy_from_slice(&record.payload)).is_ok()
        };
        if !whole.iter().all(known) {
            return None;
        }
        if let Some(first) = behind.first()
            && behind
                .iter()
                .any(|later| later.good && later.synced > first.offset)
        {
            return None;
        }
        let records = whole.iter().map(|record| (record.kind, record.payload.clone()));
        Some((records.collect(), bad.is_some()))
    }
}

/// Header of a segment at an offset of the log: of the sample's owner, nothing durable.
fn header(base: u64) -> Vec<u8> {
    let mut bytes = b"shardlog".to_vec();
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&samples::IDENTITY.genesis.0);
    bytes.extend_from_slice(&samples::IDENTITY.validator);
    bytes.extend_from_slice(&base.to_le_bytes());
    bytes.extend_from_slice(&0_u64.to_le_bytes());
    bytes.extend_from_slice(&SALT.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

/// The first segment of a log with these records, as bits and payload.
pub(crate) fn segment(records: &[(u8, Vec<u8>)]) -> Vec<u8> {
    Written::of(&list(records))
        .segments
        .remove(&0)
        .unwrap_or_default()
}

/// Records as the list that an input with an odd first byte holds.
pub(crate) fn list(records: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (bits, payload) in records {
        out.push(*bits);
        out.extend_from_slice(&(payload.len() as u16).to_le_bytes());
        out.extend_from_slice(payload);
    }
    out
}
