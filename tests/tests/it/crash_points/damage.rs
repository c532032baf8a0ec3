//! Bytes lost in the middle, below what later records know durable: the disk is damaged and the log says so.

use simulator::rng::SimRng;

use super::check::{Scratch, assert_refused};
use super::{Workload, random_record};

/// Random holes.
const HOLES: u64 = 1_500;
/// Bytes of a segment's header.
const HEADER_BYTES: u64 = 100;

#[test]
fn a_hole_below_what_was_durable_is_refused_and_no_byte_is_changed() {
    let scratch = Scratch::new();
    let mut rng = SimRng::new(3, 80);
    let mut workload = Workload::new(&scratch);
    for number in 1..60 {
        workload.append(&[random_record(&mut rng, number)]);
    }
    workload.sync();
    // One more, that knows all before it durable.
    workload.append(&[random_record(&mut rng, 60)]);
    let image = scratch.image();
    let names: Vec<_> = image.keys().cloned().collect();
    assert!(names.len() > 3, "several segments");
    let whole: Vec<_> = workload.finish().0;
    let (head, body) = whole.last().expect("a record").1.encode_payload();
    let last_record = 25 + head.len() + body.map_or(0, |body| body.len());

    let mut points = 0;
    for hole in 0..HOLES {
        let name = rng.pick(&names).expect("a segment");
        let mut damaged = image.clone();
        let bytes = damaged.get_mut(name).expect("a segment");
        let is_last = Some(name) == names.last();
        let end = bytes.len() as u64 - if is_last { last_record as u64 } else { 0 };
        if end == HEADER_BYTES {
            continue;
        }
        let start = rng.between(HEADER_BYTES, end - 1);
        let what = match rng.below(if is_last { 2 } else { 4 }) {
            // Sealed segments may also lose their end, or everything.
            2 => {
                bytes.truncate(start as usize);
                "cut"
            }
            3 => {
                drop(damaged.remove(name));
                if Some(name) == names.first() {
                    // What is cut at the front in good order looks the same.
                    continue;
                }
                "gone"
            }
            kind => {
                let len = rng.between(1, 4096).min(end - start);
                let range = start as usize..(start + len) as usize;
                let before = bytes[range.clone()].to_vec();
                bytes[range.clone()].fill_with(|| if kind == 0 { 0 } else { rng.bits() as u8 });
                if bytes[range] == before[..] {
                    continue;
                }
                "overwritten"
            }
        };
        assert_refused(
            &scratch,
            &damaged,
            &format!("hole {hole}: {name} {what} at {start}"),
        );
        points += 1;
    }
    println!("{points} points");
    assert!(points > HOLES * 8 / 10, "{points}");
    simulator::record::append("crash points", &[("points", points)]);
}
