//! Bytes of the part of a log that is not durable, what a loss of power leaves of them, and how they are read back.
//!
//! Frames are those of the real log in all that matters here: length, checksum over place and content, and the
//! place up to which everything was durable when the record was written (`ios` 20.6).

use bytes::Bytes;
use types::Sequence;
use types::record::LogRecord;

use crate::rng::SimRng;

/// What a disk writes at once or not at all.
const SECTOR: usize = 512;
/// Bytes of a frame before its payload: length, checksum, kind, sequence, watermark.
const FRAME: usize = 25;

/// A record with the count of records that were durable when it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) seq: Sequence,
    pub(super) record: LogRecord,
    pub(super) synced: u64,
}

/// How a run's disks lose what was not synchronised; drawn for each loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tear {
    /// Bytes reached the disk in order, up to some byte.
    InOrder,
    /// Sectors reached the disk in any order: of each the new content is there or nothing is.
    AnyOrder,
}

/// What was read from the damaged part of a log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Read {
    /// Whole records before the first bad one.
    pub(super) records: Vec<Written>,
    /// Whether something of the first bad record is there.
    pub(super) torn: bool,
    /// Whole records behind it.
    pub(super) behind: u64,
}

/// Frames of records that begin at place `base` of the log.
pub(super) fn write(base: u64, records: &[Written]) -> Vec<u8> {
    let mut image = Vec::new();
    for written in records {
        let (mut payload, body) = written.record.encode_payload();
        payload.extend_from_slice(&body.unwrap_or_default());
        let mut covered = Vec::with_capacity(FRAME + payload.len());
        covered.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        covered.push(written.record.kind());
        covered.extend_from_slice(&written.seq.0.to_le_bytes());
        covered.extend_from_slice(&written.synced.to_le_bytes());
        covered.extend_from_slice(&payload);
        let checksum = checksum(base, image.len(), &covered);
        image.extend_from_slice(&checksum.to_le_bytes());
        image.extend_from_slice(&covered);
    }
    image
}

/// Covers the place too: bytes that show up elsewhere are no record.
fn checksum(base: u64, offset: usize, covered: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&base.to_le_bytes());
    hasher.update(&(offset as u64).to_le_bytes());
    hasher.update(covered);
    hasher.finalize()
}

/// Takes bytes away as a loss of power does.
pub(super) fn tear(rng: &mut SimRng, image: &mut Vec<u8>, tear: Tear) {
    match tear {
        Tear::InOrder => image.truncate(rng.below(image.len() as u64 + 1) as usize),
        Tear::AnyOrder => {
            let lost = rng.between(50, 700);
            // The tail rarely begins where a sector does; its first sector holds durable bytes too.
            let mut at = 0;
            let mut end = rng.below(SECTOR as u64) as usize;
            while at < image.len() {
                if rng.chance(lost) {
                    let end = end.min(image.len());
                    image[at..end].fill(0);
                }
                (at, end) = (end, end + SECTOR);
            }
        }
    }
}

/// Reads records until the first bad one, from record `base` of the log on; everything behind is a torn tail.
///
/// # Errors
/// When a whole record behind the bad one says that the log was durable beyond it: damage, not a torn tail.
pub(super) fn read(base: u64, image: &[u8]) -> Result<Read, String> {
    let mut records = Vec::new();
    let mut offset = 0;
    while let Some((written, len)) = record(base, offset, image)? {
        records.push(written);
        offset += len;
    }
    let bad = base + records.len() as u64;
    let rest = image.get(offset..).unwrap_or_default();
    let torn = rest.iter().any(|byte| *byte != 0);
    let mut behind = 0;
    let mut at = offset + 1;
    while at < image.len() {
        let Some((found, len)) = record(base, at, image)? else {
            at += 1;
            continue;
        };
        if found.synced > bad {
            return Err(format!(
                "record {bad} is not whole, though {} were durable when a later one was written",
                found.synced
            ));
        }
        behind += 1;
        at += len;
    }
    Ok(Read {
        records,
        torn,
        behind,
    })
}

/// The record at an offset, with the bytes that it takes; none where no whole record stands.
fn record(base: u64, offset: usize, image: &[u8]) -> Result<Option<(Written, usize)>, String> {
    let bytes = image.get(offset..).unwrap_or_default();
    let Some((frame, rest)) = bytes.split_at_checked(FRAME) else {
        return Ok(None);
    };
    let number = |range: std::ops::Range<usize>| {
        let mut bytes = [0; 8];
        bytes[..range.len()].copy_from_slice(&frame[range]);
        u64::from_le_bytes(bytes)
    };
    let (stated, len, kind) = (number(0..4), number(4..8) as usize, frame[8]);
    let Some(payload) = rest.get(..len).filter(|_| kind != 0) else {
        return Ok(None);
    };
    if u64::from(checksum(base, offset, &bytes[4..FRAME + len])) != stated {
        return Ok(None);
    }
    let record = LogRecord::decode_payload(kind, &Bytes::copy_from_slice(payload))
        .map_err(|error| format!("a whole record of kind {kind} does not decode: {error}"))?;
    let written = Written {
        seq: Sequence(number(9..17)),
        record,
        synced: number(17..25),
    };
    Ok(Some((written, FRAME + len)))
}

#[cfg(test)]
mod tests {
    use types::record::LogRecord;
    use types::{Sequence, View};

    use super::{FRAME, Tear, Written, read, tear, write};
    use crate::rng::SimRng;

    fn promises(count: u32, synced: u64) -> Vec<Written> {
        let promise = |view| Written {
            seq: Sequence(u64::from(view)),
            record: LogRecord::Promise(View(view)),
            synced,
        };
        (1..=count).map(promise).collect()
    }

    #[test]
    fn what_was_written_is_read() {
        let records = promises(5, 3);
        let found = read(3, &write(3, &records)).expect("nothing is damaged");
        assert_eq!((found.records, found.torn, found.behind), (records, false, 0));
    }

    #[test]
    fn a_cut_at_every_byte_leaves_the_whole_records_before_it() {
        let image = write(0, &promises(3, 0));
        let one = image.len() / 3;
        for end in 0..image.len() {
            let found = read(0, &image[..end]).expect("a torn tail is no damage");
            assert_eq!(found.records, promises((end / one) as u32, 0), "{end} bytes");
        }
    }

    #[test]
    fn a_record_behind_a_lost_one_is_cut_unless_it_says_that_more_was_durable() {
        let one = FRAME + 4;
        let mut image = write(7, &promises(3, 7));
        image[one..2 * one].fill(0);
        let found = read(7, &image).expect("a hole in what was not durable is no damage");
        assert_eq!((found.records, found.behind), (promises(1, 7), 1));
        let mut records = promises(3, 7);
        records[2].synced = 9;
        let mut image = write(7, &records);
        image[one..2 * one].fill(0);
        read(7, &image).expect_err("the second record was durable");
    }

    #[test]
    fn tearing_in_any_order_makes_holes() {
        let mut rng = SimRng::new(1, 0);
        let image = write(0, &promises(400, 0));
        let behind = (0..20).filter(|_| {
            let mut torn = image.clone();
            tear(&mut rng, &mut torn, Tear::AnyOrder);
            read(0, &torn).expect("nothing was durable").behind > 0
        });
        assert!(behind.count() > 10, "records behind a hole must be common");
    }
}
