//! Round trips, torn tails, damage, foreign files, cutting.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crypto::hash::final_header_hash;
use types::record::LogRecord;
use types::{Hash, Height, Sequence};

use super::frame::Step;
use super::recovery::examine;
use super::segment::HEADER_BYTES;
use super::{BlockLog, LogOptions, RECORD_BYTES_MAX};
use crate::error::{AppendError, OpenError};
use crate::identity::{Identity, IdentityError};
use crate::samples::{
    IDENTITY, author_block, block, committed, hash_of, height, new_view, promise, proposal, tip, vote,
};
use crate::{Durability, FORMAT_VERSION, Fault, FaultyDisk};

type Records = Vec<(Sequence, LogRecord)>;

fn small() -> LogOptions {
    LogOptions {
        segment_bytes: 4096,
        ..LogOptions::default()
    }
}

fn open(path: &Path, options: LogOptions) -> BlockLog {
    BlockLog::open(path, IDENTITY, options).expect("a sound log")
}

fn replay(log: &BlockLog) -> Records {
    log.replay().collect::<Result<_, _>>().expect("readable")
}

fn files(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(path)
        .expect("directory")
        .map(|entry| entry.expect("entry").path())
        .map(|path| (path.clone(), fs::read(path).expect("file")))
        .collect();
    files.sort();
    files
}

fn last_file(path: &Path) -> (PathBuf, Vec<u8>) {
    files(path).pop().expect("a segment")
}

/// Flips one bit of a file in place: rewriting it would wait for the disk each time.
fn flip(file: &Path, whole: &[u8], bit: usize) {
    write_byte(file, bit / 8, whole[bit / 8] ^ (1 << (bit % 8)));
}

fn restore(file: &Path, whole: &[u8], bit: usize) {
    write_byte(file, bit / 8, whole[bit / 8]);
}

fn write_byte(file: &Path, place: usize, byte: u8) {
    let file = fs::OpenOptions::new().write(true).open(file).expect("file");
    file.write_all_at(&[byte], place as u64).expect("written");
}

/// Records as `examine` finds them, or the error.
fn examined(path: &Path) -> Result<(usize, Records), OpenError> {
    let found = examine(path, &IDENTITY, true)?;
    let mut records = Vec::new();
    for segment in found.segments.values() {
        let mut reader = segment.reader();
        while let Step::Record(found) = reader.step().expect("readable") {
            let record = LogRecord::decode_payload(found.frame.kind, &found.payload).expect("decodes");
            records.push((found.frame.seq, record));
        }
    }
    Ok((found.torn.map_or(0, |torn| torn.bytes as usize), records))
}

#[test]
fn every_kind_is_read_back_in_order_over_several_segments() {
    let directory = tempfile::tempdir().expect("directory");
    let mut log = open(directory.path(), small());
    let mut written = Records::new();
    for number in 1..=20 {
        let mut records = height(number, 700);
        records.extend([tip(number, 0), promise(1), new_view(1)]);
        log.append(&records, Sequence(number)).expect("appended");
        written.extend(records.into_iter().map(|record| (Sequence(number), record)));
    }
    assert_eq!(replay(&log), written);
    assert!(files(directory.path()).len() > 5, "several segments");
    drop(log);

    let mut log = open(directory.path(), small());
    assert_eq!(replay(&log), written);
    assert_eq!((log.last_sequence(), log.torn()), (Some(Sequence(20)), None));
    log.append(&[vote(21)], Sequence(21)).expect("appended");
    written.push((Sequence(21), vote(21)));
    drop(log);
    assert_eq!(replay(&open(directory.path(), small())), written);
}

#[test]
fn a_fetched_block_is_read_back() {
    let directory = tempfile::tempdir().expect("directory");
    let mut log = open(directory.path(), small());
    let fetched = block(3, &[&author_block(1, 0, 10)]);
    log.append(&[LogRecord::Block(Box::new(fetched.clone()))], Sequence(1))
        .expect("appended");
    drop(log);
    let log = open(directory.path(), small());
    let hash = final_header_hash(&fetched.header);
    assert_eq!(log.read_block(&hash).expect("readable"), Some(fetched));
}

#[test]
fn refused_records_leave_the_log_as_it_was() {
    let directory = tempfile::tempdir().expect("directory");
    let mut log = open(directory.path(), LogOptions::default());
    log.append(&[vote(1)], Sequence(5)).expect("appended");
    let before = files(directory.path());
    for seq in [4, 5] {
        let error = log.append(&[vote(2)], Sequence(seq)).expect_err("not above");
        assert!(
            matches!(
                error,
                AppendError::SequenceOrder {
                    last: Sequence(5),
                    ..
                }
            ),
            "{error}"
        );
    }
    let (one, two) = ([vote(2)], [vote(3)]);
    let error = log
        .append_group(&[(Sequence(7), &one), (Sequence(6), &two)])
        .expect_err("falls");
    assert!(
        matches!(
            error,
            AppendError::SequenceOrder {
                given: Sequence(6),
                last: Sequence(7)
            }
        ),
        "{error}"
    );
    let large = LogRecord::AuthorBlock(author_block(1, 0, RECORD_BYTES_MAX));
    let error = log.append(&[vote(2), large], Sequence(6)).expect_err("too large");
    assert!(
        matches!(error, AppendError::RecordSize { kind: 1, .. }),
        "{error}"
    );
    assert_eq!(files(directory.path()), before);
    log.append(&[vote(2)], Sequence(6)).expect("goes on");
    assert_eq!(replay(&log), [(Sequence(5), vote(1)), (Sequence(6), vote(2))]);
}

/// A log whose last three records are `tail`, each appended after a sync when `synced`.
fn with_tail(path: &Path, synced: bool) -> (Records, usize) {
    let mut log = open(path, LogOptions::default());
    let mut written = Records::new();
    let records = [
        vote(1),
        promise(1),
        vote(2),
        tip(2, 0),
        LogRecord::AuthorBlock(author_block(1, 1, 90)),
        vote(3),
    ];
    let mut start = 0;
    for (number, record) in (1..).zip(records) {
        if number == 4 {
            log.sync().expect("synced");
            start = log.bytes() as usize;
        }
        log.append(std::slice::from_ref(&record), Sequence(number))
            .expect("appended");
        if synced {
            log.sync().expect("synced");
        }
        written.push((Sequence(number), record));
    }
    (written, start)
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_to_a_prefix() {
    let directory = tempfile::tempdir().expect("directory");
    let (written, start) = with_tail(directory.path(), true);
    let (file, whole) = last_file(directory.path());
    for len in start..whole.len() {
        for zeros in [0, 1, 25, 4096] {
            let mut torn = whole[..len].to_vec();
            torn.resize(len + zeros, 0);
            fs::write(&file, &torn).expect("written");
            let (cut, found) = examined(directory.path()).expect("a torn tail");
            assert!(
                found.len() >= 3 && found.len() < written.len(),
                "{} records at {len}",
                found.len()
            );
            assert_eq!(found, written[..found.len()], "at {len} with {zeros} zeros");
            assert_eq!(
                cut > 0,
                len + zeros > start && torn.len() > len_of(&found, &written, &whole, start)
            );
        }
    }
}

/// Bytes of the file up to the last of `found`.
fn len_of(found: &Records, written: &Records, whole: &[u8], start: usize) -> usize {
    let mut place = start;
    for _ in 3..found.len() {
        place += 25 + u32::from_le_bytes(whole[place..place + 4].try_into().expect("4 bytes")) as usize;
    }
    assert!(place <= whole.len() && found.len() <= written.len());
    place
}

#[test]
fn a_flipped_bit_in_the_tail_is_a_torn_tail_or_damage_never_another_record() {
    for synced in [true, false] {
        let directory = tempfile::tempdir().expect("directory");
        let (written, start) = with_tail(directory.path(), synced);
        let (file, whole) = last_file(directory.path());
        let (mut cut, mut refused) = (0, 0);
        for bit in start * 8..whole.len() * 8 {
            flip(&file, &whole, bit);
            match examined(directory.path()) {
                Ok((bytes, found)) => {
                    assert!(
                        bytes > 0 && found.len() >= 3 && found.len() < written.len(),
                        "bit {bit}"
                    );
                    assert_eq!(found, written[..found.len()], "bit {bit}");
                    cut += 1;
                }
                Err(OpenError::Damaged { path, offset, .. }) => {
                    assert!(
                        path == file && offset >= start as u64 && offset <= bit as u64 / 8,
                        "bit {bit}"
                    );
                    refused += 1;
                }
                Err(error) => panic!("bit {bit}: {error}"),
            }
            restore(&file, &whole, bit);
        }
        // Without a sync between them nothing says that the records were durable; with one, all but the last are.
        assert!(cut > 0 && (refused > 0) == synced, "{cut} cut, {refused} refused");
    }
}

#[test]
fn a_hole_below_what_was_durable_is_damage_and_changes_nothing() {
    let directory = tempfile::tempdir().expect("directory");
    let mut log = open(directory.path(), LogOptions::default());
    for number in 1..=6 {
        log.append(&height(number, 5000), Sequence(number))
            .expect("appended");
        log.sync().expect("synced");
    }
    drop(log);
    let (file, mut bytes) = last_file(directory.path());
    bytes[9000..9600].fill(0);
    fs::write(&file, &bytes).expect("written");
    let error = BlockLog::open(directory.path(), IDENTITY, LogOptions::default()).expect_err("a hole");
    assert!(
        matches!(&error, OpenError::Damaged { path, .. } if *path == file),
        "{error}"
    );
    assert!(error.to_string().contains("must not vote again"), "{error}");
    assert_eq!(last_file(directory.path()), (file, bytes));
}

#[test]
fn a_hole_in_a_group_that_was_never_durable_cuts_the_group() {
    let directory = tempfile::tempdir().expect("directory");
    let mut log = open(directory.path(), LogOptions::default());
    log.append(&height(1, 100), Sequence(1)).expect("appended");
    log.sync().expect("synced");
    let start = log.bytes() as usize;
    log.append(&height(2, 5000), Sequence(2)).expect("appended");
    drop(log);
    let (file, mut bytes) = last_file(directory.path());
    bytes[start + 100..start + 4096].fill(0);
    fs::write(&file, &bytes).expect("written");
    let mut log = open(directory.path(), LogOptions::default());
    assert_eq!(replay(&log).len(), 4);
    let torn = log.torn().expect("torn");
    assert_eq!(
        (torn.path.as_path(), torn.offset as usize),
        (file.as_path(), start)
    );
    assert_eq!(torn.bytes as usize, bytes.len() - start);
    assert_eq!(last_file(directory.path()).1.len(), start);
    log.append(&[vote(2)], Sequence(2)).expect("goes on");
    assert_eq!(replay(&log).len(), 5);
}

/// Six heights over several segments, sealed with or without a sync.
fn several(path: &Path, durability: Durability) -> Records {
    let options = LogOptions {
        durability,
        ..small()
    };
    let mut log = open(path, options);
    for number in 1..=6 {
        log.append(&height(number, 2000), Sequence(number))
            .expect("appended");
    }
    replay(&log)
}

#[test]
fn a_segment_that_lost_its_end_is_damage_when_it_was_sealed_durable() {
    let directory = tempfile::tempdir().expect("directory");
    several(directory.path(), Durability::Fsync);
    let (file, bytes) = files(directory.path()).remove(1);
    for len in [bytes.len() - 1, bytes.len() - 300, HEADER_BYTES as usize] {
        fs::write(&file, &bytes[..len]).expect("written");
        let error = BlockLog::open(directory.path(), IDENTITY, small()).expect_err("lost");
        assert!(
            matches!(&error, OpenError::Damaged { path, .. } if *path == file),
            "{len}: {error}"
        );
    }
    fs::remove_file(&file).expect("removed");
    let error = BlockLog::open(directory.path(), IDENTITY, small()).expect_err("lost");
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
}

#[test]
fn a_segment_that_lost_its_end_is_cut_with_all_behind_it_when_nothing_was_durable() {
    let directory = tempfile::tempdir().expect("directory");
    let written = several(directory.path(), Durability::Async);
    let all = files(directory.path());
    fs::write(&all[1].0, &all[1].1[..all[1].1.len() - 300]).expect("written");
    let log = open(directory.path(), small());
    let found = replay(&log);
    assert!(found.len() > 4 && found.len() < written.len());
    assert_eq!(found, written[..found.len()]);
    assert_eq!(files(directory.path()).len(), 2);
    drop(log);
    assert_eq!(open(directory.path(), small()).torn(), None, "cut once");
}

#[test]
fn a_segment_that_was_never_begun_is_removed() {
    for bytes in [&b""[..], b"shard", &[0; HEADER_BYTES as usize]] {
        let directory = tempfile::tempdir().expect("directory");
        let written = several(directory.path(), Durability::Fsync);
        let end: usize = files(directory.path()).iter().map(|(_, bytes)| bytes.len()).sum();
        let unborn = directory.path().join(format!("{end:020}.log"));
        fs::write(&unborn, bytes).expect("written");
        let log = open(directory.path(), small());
        assert!(!unborn.exists());
        assert_eq!(replay(&log), written);
    }
}

#[test]
fn a_header_with_records_behind_it_must_be_whole() {
    let directory = tempfile::tempdir().expect("directory");
    with_tail(directory.path(), true);
    let (file, whole) = last_file(directory.path());
    for bit in 0..HEADER_BYTES as usize * 8 {
        flip(&file, &whole, bit);
        match examined(directory.path()) {
            Err(OpenError::Damaged { .. } | OpenError::Identity(IdentityError::Version { .. })) => {}
            other => panic!("bit {bit}: {other:?}"),
        }
        restore(&file, &whole, bit);
    }
}

#[test]
fn foreign_logs_are_refused_unchanged_and_both_sides_named() {
    let directory = tempfile::tempdir().expect("directory");
    with_tail(directory.path(), true);
    let before = files(directory.path());
    let options = LogOptions::default();
    let genesis = Identity {
        genesis: Hash([0xc2; 32]),
        ..IDENTITY
    };
    let error = BlockLog::open(directory.path(), genesis, options)
        .expect_err("foreign")
        .to_string();
    assert!(
        error.contains(&"a1".repeat(32)) && error.contains(&"c2".repeat(32)),
        "{error}"
    );
    let validator = Identity {
        validator: [0xd3; 32],
        ..IDENTITY
    };
    let error = BlockLog::open(directory.path(), validator, options)
        .expect_err("foreign")
        .to_string();
    assert!(
        error.contains(&"0b".repeat(32)) && error.contains(&"d3".repeat(32)),
        "{error}"
    );
    assert_eq!(files(directory.path()), before);

    let (file, mut bytes) = last_file(directory.path());
    bytes[8] = 9;
    fs::write(&file, &bytes).expect("written");
    let error = BlockLog::open(directory.path(), IDENTITY, options)
        .expect_err("version")
        .to_string();
    assert!(
        error.contains("version 9") && error.contains(&format!("version {FORMAT_VERSION}")),
        "{error}"
    );
    assert_eq!(last_file(directory.path()).1, bytes);
}

#[test]
fn a_log_that_was_there_before_may_not_be_empty() {
    let directory = tempfile::tempdir().expect("directory");
    let options = LogOptions {
        existing: true,
        ..LogOptions::default()
    };
    let error = BlockLog::open(directory.path(), IDENTITY, options).expect_err("gone");
    assert!(matches!(error, OpenError::LogMissing { .. }), "{error}");
    assert_eq!(files(directory.path()), []);
}

#[test]
fn blocks_and_bodies_are_found_by_height_and_hash_also_after_reopening() {
    let directory = tempfile::tempdir().expect("directory");
    let mut log = open(directory.path(), small());
    for number in 1..=30 {
        log.append(&height(number, 500), Sequence(number))
            .expect("appended");
    }
    for _ in 0..2 {
        assert_eq!(log.committed_range(), Some((Height(1), Height(30))));
        for number in 1..=30 {
            let body = author_block(number, number - 1, 500);
            let expected = committed(number, &[&body]);
            assert_eq!(
                log.read_committed(Height(number)).expect("readable"),
                Some(expected)
            );
            assert_eq!(log.read_body(&hash_of(&body)).expect("readable"), Some(body));
            let LogRecord::Proposal(expected) = proposal(number) else {
                panic!("a proposal")
            };
            let hash = final_header_hash(&expected.block.header);
            assert_eq!(log.read_block(&hash).expect("readable"), Some(expected.block));
        }
        assert_eq!(log.read_committed(Height(31)).expect("readable"), None);
        assert_eq!(log.read_body(&Hash([1; 32])).expect("readable"), None);
        assert_eq!(log.read_block(&Hash([1; 32])).expect("readable"), None);
        drop(log);
        log = open(directory.path(), small());
    }
}

#[test]
fn a_record_that_rots_while_the_log_is_open_is_not_served() {
    let directory = tempfile::tempdir().expect("directory");
    let mut log = open(directory.path(), LogOptions::default());
    log.append(&height(1, 500), Sequence(1)).expect("appended");
    let (file, mut bytes) = last_file(directory.path());
    bytes[HEADER_BYTES as usize + 300] ^= 4;
    fs::write(&file, &bytes).expect("written");
    let hash = hash_of(&author_block(1, 0, 500));
    let error = log.read_body(&hash).expect_err("rotten").to_string();
    assert!(
        error.contains("is damaged at byte 100: the checksum is wrong"),
        "{error}"
    );
    assert!(log.replay().next().expect("a first record").is_err());
}

#[test]
fn proposals_are_found_for_the_last_heights_only() {
    let directory = tempfile::tempdir().expect("directory");
    let mut log = open(directory.path(), LogOptions::default());
    let records: Vec<_> = (1..=1100).map(proposal).collect();
    log.append(&records, Sequence(1)).expect("appended");
    let found = |height| {
        let hash = final_header_hash(&block(height, &[]).header);
        log.read_block(&hash).expect("readable").is_some()
    };
    assert_eq!([1, 76, 77, 1100].map(found), [false, false, true, true]);
}

#[test]
fn cutting_removes_old_segments_and_keeps_promises_and_bodies_in_use() {
    let directory = tempfile::tempdir().expect("directory");
    let mut log = open(directory.path(), small());
    // In the first segment: standing promises, and a body that only height 12 refers to.
    let late = author_block(1000, 0, 100);
    log.append(&[promise(3), new_view(3), tip(1, 3), promise(2)], Sequence(1))
        .expect("appended");
    log.append(&[LogRecord::AuthorBlock(late.clone())], Sequence(2))
        .expect("appended");
    for number in 1..=20 {
        let mut records = height(number, 3000);
        if number == 12 {
            records.push(LogRecord::Committed(Box::new(committed(12, &[&late]))));
        }
        log.append(&records, Sequence(2 + number)).expect("appended");
    }
    let before = files(directory.path()).len() as u64;
    assert_eq!(
        log.cut_below(Height(12)).expect("cut").segments,
        0,
        "height 12 needs the first segment"
    );
    assert_eq!(
        log.read_body(&hash_of(&late)).expect("readable"),
        Some(late.clone())
    );

    let cut = log.cut_below(Height(15)).expect("cut");
    assert!(cut.segments > 3 && cut.bytes > 0, "{cut:?}");
    let left = files(directory.path());
    assert!(
        left.len() as u64 <= before + 1 - cut.segments,
        "carrying may begin one segment"
    );
    assert_eq!(
        left.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>(),
        log.bytes()
    );
    for _ in 0..2 {
        let records: Vec<_> = replay(&log).into_iter().map(|(_, record)| record).collect();
        for standing in [promise(3), new_view(3), tip(1, 3)] {
            assert_eq!(
                records.iter().filter(|record| **record == standing).count(),
                1,
                "{standing:?}"
            );
        }
        assert!(!records.contains(&promise(2)));
        assert_eq!(log.committed_range().map(|range| range.1), Some(Height(20)));
        for number in 15..=20 {
            assert!(
                log.read_committed(Height(number)).expect("readable").is_some(),
                "{number}"
            );
            let body = author_block(number, number - 1, 3000);
            assert_eq!(log.read_body(&hash_of(&body)).expect("readable"), Some(body));
        }
        assert_eq!(log.read_committed(Height(1)).expect("readable"), None);
        assert_eq!(log.read_body(&hash_of(&late)).expect("readable"), None);
        drop(log);
        log = open(directory.path(), small());
    }
    log.append(&[vote(21)], Sequence(30)).expect("goes on");
    assert_eq!(
        log.cut_below(Height(u64::MAX)).map(|cut| cut.segments > 0).ok(),
        Some(true)
    );
    assert_eq!(log.cut_below(Height(u64::MAX)).expect("nothing left").segments, 0);
    assert!(!replay(&log).is_empty(), "the active segment stays");
}

#[test]
fn a_log_is_open_once() {
    let directory = tempfile::tempdir().expect("directory");
    let log = open(directory.path(), LogOptions::default());
    let error = BlockLog::open(directory.path(), IDENTITY, LogOptions::default()).expect_err("open");
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    drop(log);
    open(directory.path(), LogOptions::default());
}

fn open_faulty(path: &Path, options: LogOptions) -> (BlockLog, Arc<FaultyDisk>) {
    let disk = Arc::new(FaultyDisk::default());
    let log =
        BlockLog::open_on(Arc::<FaultyDisk>::clone(&disk), path, IDENTITY, options).expect("a sound log");
    (log, disk)
}

/// A log that failed takes nothing more, asks the disk for nothing more and is read on.
fn assert_closed(log: &mut BlockLog, disk: &FaultyDisk) {
    disk.set(None);
    let calls = disk.calls();
    assert!(log.sync().is_err(), "though the disk is well again");
    let error = log.append(&[vote(2)], Sequence(99)).expect_err("closed");
    assert!(matches!(error, AppendError::Closed), "{error}");
    let error = log.cut_below(Height(u64::MAX)).expect_err("closed");
    assert!(matches!(error, AppendError::Closed), "{error}");
    assert_eq!(disk.calls(), calls, "asked once, never again");
    assert!(log.read_committed(Height(1)).expect("readable").is_some());
}

#[test]
fn a_failed_sync_is_never_tried_again() {
    for error in [io::ErrorKind::Other, io::ErrorKind::StorageFull] {
        let directory = tempfile::tempdir().expect("directory");
        let (mut log, disk) = open_faulty(directory.path(), LogOptions::default());
        log.append(&height(1, 10), Sequence(1)).expect("appended");
        disk.set(Some(Fault::Sync(error)));
        let before = disk.calls().syncs;
        let words = log.sync().expect_err("refused").to_string();
        assert!(words.contains("the node must stop"), "{words}");
        assert_eq!(disk.calls().syncs, before + 1);
        assert_closed(&mut log, &disk);
        drop(log);
        assert_eq!(replay(&open(directory.path(), LogOptions::default())).len(), 4);
    }
}

#[test]
fn a_failed_write_closes_the_log_and_leaves_nothing_of_the_group() {
    let lengths = [0, 1, 24, 25, 60, 200];
    for (room, error) in lengths.into_iter().zip(
        [io::ErrorKind::StorageFull, io::ErrorKind::Other]
            .into_iter()
            .cycle(),
    ) {
        let directory = tempfile::tempdir().expect("directory");
        let (mut log, disk) = open_faulty(directory.path(), LogOptions::default());
        log.append(&height(1, 10), Sequence(1)).expect("appended");
        let before = files(directory.path());
        disk.set(Some(Fault::Append { room, error }));
        let refused = log.append(&height(2, 90), Sequence(2)).expect_err("not written");
        assert!(
            matches!(&refused, AppendError::Io { source, .. } if source.kind() == error),
            "{refused}"
        );
        assert_closed(&mut log, &disk);
        assert_eq!(
            files(directory.path()),
            before,
            "{room} bytes were written and taken back"
        );
        assert_eq!(log.last_sequence(), Some(Sequence(1)));
    }
}

#[test]
fn a_failed_write_that_cannot_be_taken_back_is_a_torn_tail_later() {
    let directory = tempfile::tempdir().expect("directory");
    let (mut log, disk) = open_faulty(directory.path(), LogOptions::default());
    log.append(&height(1, 10), Sequence(1)).expect("appended");
    let whole = log.bytes();
    let (room, error) = (60, io::ErrorKind::StorageFull);
    disk.set(Some(Fault::AppendForGood { room, error }));
    log.append(&height(2, 90), Sequence(2)).expect_err("not written");
    assert_closed(&mut log, &disk);
    drop(log);
    let mut log = open(directory.path(), LogOptions::default());
    let torn = log.torn().expect("torn");
    assert_eq!((torn.offset, torn.bytes), (whole, 60));
    assert_eq!(replay(&log).len(), 4);
    log.append(&height(2, 90), Sequence(2)).expect("goes on");
    assert_eq!(replay(&log).len(), 8);
}

#[test]
fn short_writes_are_no_failure() {
    for room in [1, 3, 25, 26] {
        let directory = tempfile::tempdir().expect("directory");
        let (mut log, disk) = open_faulty(directory.path(), small());
        disk.set(Some(Fault::Short(room)));
        let mut written = Records::new();
        for number in 1..=3 {
            let records = height(number, 2000);
            log.append(&records, Sequence(number)).expect("appended");
            written.extend(records.into_iter().map(|record| (Sequence(number), record)));
        }
        assert!(disk.calls().appends > 6000 / room as u64);
        assert_eq!(replay(&log), written);
        drop(log);
        assert_eq!(replay(&open(directory.path(), small())), written);
    }
}

#[test]
fn a_segment_that_cannot_be_begun_closes_the_log() {
    let error = io::ErrorKind::StorageFull;
    for fault in [
        Fault::Create(error),
        Fault::Append { room: 0, error },
        Fault::Append { room: 70, error },
        Fault::SyncDirectory(error),
    ] {
        let directory = tempfile::tempdir().expect("directory");
        let (mut log, disk) = open_faulty(directory.path(), small());
        log.append(&height(1, 4000), Sequence(1)).expect("appended");
        disk.set(Some(fault));
        log.append(&height(2, 10), Sequence(2)).expect_err("no segment");
        assert_closed(&mut log, &disk);
        drop(log);
        let mut log = open(directory.path(), small());
        assert_eq!((replay(&log).len(), log.torn()), (4, None), "{fault:?}");
        log.append(&height(2, 10), Sequence(2)).expect("goes on");
    }
}

#[test]
fn a_segment_that_cannot_be_removed_closes_the_log() {
    for fault in [
        Fault::Remove(io::ErrorKind::Other),
        Fault::SyncDirectory(io::ErrorKind::Other),
    ] {
        let directory = tempfile::tempdir().expect("directory");
        let (mut log, disk) = open_faulty(directory.path(), small());
        for number in 1..=9 {
            log.append(&height(number, 4000), Sequence(number))
                .expect("appended");
        }
        disk.set(Some(fault));
        log.cut_below(Height(8)).expect_err("refused");
        disk.set(None);
        let calls = disk.calls();
        assert!(log.append(&[vote(9)], Sequence(99)).is_err() && log.sync().is_err());
        assert_eq!(disk.calls(), calls, "asked once, never again");
        drop(log);
        let log = open(directory.path(), small());
        assert_eq!(log.committed_range().map(|range| range.1), Some(Height(9)));
    }
}

#[test]
fn every_segment_is_made_durable_when_the_log_is_opened() {
    let directory = tempfile::tempdir().expect("directory");
    several(directory.path(), Durability::Async);
    let count = files(directory.path()).len() as u64;
    let (_log, disk) = open_faulty(directory.path(), small());
    assert!(
        count > 3 && disk.calls().syncs == count,
        "{count} segments, {:?}",
        disk.calls()
    );
}

#[test]
fn opening_for_reading_alone_finds_the_same_and_changes_nothing() {
    // A torn tail, and a segment that was never begun.
    for torn in [300, 0] {
        let directory = tempfile::tempdir().expect("directory");
        let written = several(directory.path(), Durability::Fsync);
        if torn > 0 {
            let (last, mut bytes) = last_file(directory.path());
            bytes.resize(bytes.len() + torn, 7);
            fs::write(&last, &bytes).expect("written");
        } else {
            let end: usize = files(directory.path()).iter().map(|(_, bytes)| bytes.len()).sum();
            fs::write(directory.path().join(format!("{end:020}.log")), b"shard").expect("written");
        }
        let before = files(directory.path());

        let mut log = BlockLog::open_read_only(directory.path(), IDENTITY).expect("sound");
        assert_eq!(replay(&log), written);
        assert_eq!(log.torn().map_or(0, |torn| torn.bytes), torn as u64);
        assert!(log.read_committed(Height(6)).expect("readable").is_some());
        assert!(log.append(&[vote(7)], Sequence(7)).is_err() && log.sync().is_err());
        assert!(log.cut_below(Height(5)).is_err());
        let error = BlockLog::open_read_only(directory.path(), IDENTITY).expect_err("held");
        assert!(matches!(error, OpenError::InUse { .. }), "{error}");
        drop(log);
        assert!(BlockLog::open_read_only(&directory.path().join("none"), IDENTITY).is_err());
        assert_eq!(files(directory.path()), before);
    }
}
