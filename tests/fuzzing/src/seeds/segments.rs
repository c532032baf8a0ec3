//! Segments of the block log, whole and broken.

use blocklog::samples;
use types::record::LogRecord;

use super::{Seed, choose, seed};
use crate::blocklog::{list, segment};

/// Inputs of the target `blocklog`.
pub(super) fn logs() -> Vec<Seed> {
    let listed = |record: &LogRecord| {
        let (head, body) = record.encode_payload();
        (record.kind(), [&head[..], &body.unwrap_or_default()].concat())
    };
    let mut records: Vec<_> = samples::height(3, 40).iter().map(listed).collect();
    records.extend(
        [samples::tip(3, 1), samples::promise(2), samples::new_view(2)]
            .iter()
            .map(listed),
    );
    let with = |at: usize, bits: u8| {
        let mut changed = records.clone();
        changed[at].0 |= bits;
        changed
    };
    let raw = segment(&records);
    let file = |name: &str, bytes: &[u8]| seed("blocklog", format!("file-{name}"), choose(0, bytes));
    let made = |name: &str, records: &[(u8, Vec<u8>)]| {
        seed("blocklog", format!("records-{name}"), choose(1, &list(records)))
    };
    let mut flipped = raw.clone();
    flipped[200] ^= 1;
    // A bad record, then one that says that everything before it was durable.
    let mut durable = with(2, 0x80);
    durable[4].0 |= 0x20;
    vec![
        file("whole", &raw),
        file("torn", &raw[..raw.len() - 3]),
        file("header", &raw[..100]),
        file("unborn", &raw[..60]),
        file("flipped", &flipped),
        made("whole", &records),
        made("torn", &with(6, 0x80)),
        made("segments", &with(3, 0x40)),
        made("bad-between", &with(2, 0x80)),
        made("bad-before-segment", &{
            let mut changed = with(2, 0x80);
            changed[3].0 |= 0x40;
            changed
        }),
        made("bad-but-durable", &durable),
        made("unknown-kind", &with(1, 0x10)),
    ]
}
