//! What must hold of a directory that a crash left: recovery gives a prefix with all that was durable, or refuses
//! and changes nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use blocklog::samples::{IDENTITY, vote};
use blocklog::{BlockLog, LogOptions, OpenError};
use types::Sequence;
use types::record::LogRecord;

use super::media::{Image, Recorder};

pub(crate) type Entry = (Sequence, LogRecord);

/// Bytes of a segment's header: a file without records is at most this long.
const HEADER_BYTES: usize = 100;

pub(crate) const OPTIONS: LogOptions = LogOptions {
    segment_bytes: 6 << 10,
    durability: blocklog::Durability::Fsync,
    existing: false,
};

/// A directory in which images are laid out, in memory where the system has such a place.
pub(crate) struct Scratch {
    folder: tempfile::TempDir,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        };
        Self {
            folder: folder.expect("a folder"),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    pub(crate) fn lay_out(&self, image: &Image) {
        let path = self.path();
        if path.exists() {
            fs::remove_dir_all(&path).expect("removed");
        }
        fs::create_dir(&path).expect("created");
        for (name, bytes) in image {
            fs::write(path.join(name), bytes).expect("written");
        }
    }

    pub(crate) fn image(&self) -> Image {
        let entries = fs::read_dir(self.path()).expect("a directory");
        entries
            .map(|entry| {
                let entry = entry.expect("an entry");
                let name = entry.file_name().to_string_lossy().into_owned();
                (name, fs::read(entry.path()).expect("a file"))
            })
            .collect()
    }

    /// Opens the real log; syncs are left out, the images say what they achieve.
    pub(crate) fn open(&self) -> Result<BlockLog, OpenError> {
        self.open_on(Arc::new(Recorder::default()))
    }

    pub(crate) fn open_on(&self, recorder: Arc<Recorder>) -> Result<BlockLog, OpenError> {
        BlockLog::open_on(recorder, &self.path(), IDENTITY, OPTIONS)
    }
}

pub(crate) fn entries(log: &BlockLog) -> Vec<Entry> {
    log.replay().collect::<Result<_, _>>().expect("readable")
}

/// What the log was given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given<'a> {
    /// Every record, from the first on.
    pub(crate) handed: &'a [Entry],
    /// So many of them were durable.
    pub(crate) durable: usize,
    /// So many at the front are gone, or may be gone again.
    pub(crate) cut_before: usize,
    /// At most so many at the front were cut.
    pub(crate) cut: usize,
    /// And if they were, so many records are there, counted with them: what was carried to the end.
    pub(crate) carried: usize,
}

impl<'a> Given<'a> {
    /// Records of a log that was never cut.
    pub(crate) const fn all(handed: &'a [Entry], durable: usize) -> Self {
        Self {
            handed,
            durable,
            cut_before: 0,
            cut: 0,
            carried: 0,
        }
    }
}

/// Recovers an image and returns how many of the records handed over are there, counted with those that were cut.
pub(crate) fn assert_recovers(scratch: &Scratch, image: &Image, given: Given<'_>, point: &str) -> usize {
    scratch.lay_out(image);
    let log = scratch
        .open()
        .unwrap_or_else(|error| panic!("{point}: refused: {error}"));
    let found = entries(&log);
    let cut = (0..=given.cut.min(given.handed.len()))
        .rev()
        .find(|cut| given.handed[*cut..].starts_with(&found))
        .unwrap_or_else(|| panic!("{point}: {} records are no prefix: {found:?}", found.len()));
    let count = cut + found.len();
    assert!(
        count >= given.durable,
        "{point}: {count} records, {} were durable",
        given.durable
    );
    assert!(
        cut <= given.cut_before || count >= given.carried,
        "{point}: cut before what had to stay was durable"
    );
    let torn = log.torn().map_or(0, |torn| torn.bytes as usize);
    drop(log);
    let recovered = scratch.image();
    assert_cut(image, &recovered, torn, point);

    let log = scratch.open().expect("recovered already");
    assert_eq!(log.torn(), None, "{point}: cut once");
    assert_eq!(entries(&log), found, "{point}: the second time");
    drop(log);
    assert_eq!(scratch.image(), recovered, "{point}: nothing to be done twice");

    let mut log = scratch.open().expect("recovered already");
    let next = Sequence(log.last_sequence().map_or(1, |last| last.0 + 1));
    let mut expected = found;
    // The second does not fit the segment of the first, wherever that ends.
    for (number, record) in (next.0..).zip([vote(1), large()]) {
        log.append(std::slice::from_ref(&record), Sequence(number))
            .expect("goes on");
        expected.push((Sequence(number), record));
    }
    log.sync().expect("synced");
    drop(log);
    let log = scratch.open().expect("appended");
    assert_eq!(
        (entries(&log), log.torn()),
        (expected, None),
        "{point}: appended to"
    );
    count
}

fn large() -> LogRecord {
    LogRecord::AuthorBlock(blocklog::samples::author_block(
        1 << 40,
        0,
        OPTIONS.segment_bytes as usize,
    ))
}

/// Files are cut at their ends alone, and the report names the bytes.
fn assert_cut(image: &Image, recovered: &Image, torn: usize, point: &str) {
    let (mut cut, mut headers) = (0, 0);
    for (name, before) in image {
        let after = recovered.get(name).map_or(&[][..], Vec::as_slice);
        // The first segment is begun again when not even its header was there.
        if before.len() > HEADER_BYTES || before.starts_with(after) {
            assert!(before.starts_with(after), "{point}: {name} was changed");
            let lost = before.len() - after.len();
            if before.len() <= HEADER_BYTES {
                headers += lost;
            } else {
                cut += lost;
            }
        }
    }
    assert!(
        (cut..=cut + headers).contains(&torn),
        "{point}: {torn} bytes said to be cut, {cut} were, besides {headers} of headers alone"
    );
}

/// The disk is damaged: said so, with what follows for the validator, and not a byte is touched.
pub(crate) fn assert_refused(scratch: &Scratch, image: &Image, point: &str) {
    scratch.lay_out(image);
    match scratch.open() {
        Err(error @ OpenError::Damaged { .. }) => {
            let words = error.to_string();
            assert!(
                words.contains("is damaged") && words.contains("must not vote again"),
                "{point}: {words}"
            );
        }
        Err(error) => panic!("{point}: {error}"),
        Ok(log) => panic!("{point}: accepted with {} records", entries(&log).len()),
    }
    assert_eq!(&scratch.image(), image, "{point}: changed though refused");
}
