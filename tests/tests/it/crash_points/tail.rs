//! The end of the log, systematically: cut at every byte, every bit flipped, garbage of every length behind it,
//! lengths that lie, a next segment that was only begun.

use simulator::rng::SimRng;
use types::Sequence;
use types::record::LogRecord;

use super::check::{Entry, Given, Scratch, assert_recovers, assert_refused, entries};
use super::media::Image;
use super::{Workload, random_record};

/// A log whose last three records are small and stand in its last segment.
struct Ending {
    scratch: Scratch,
    image: Image,
    handed: Vec<Entry>,
    /// Name of the last segment, and where in it the last three records begin and end.
    name: String,
    bounds: [usize; 4],
}

impl Ending {
    /// With `synced` each of the three was durable before the next was written, and the last one too.
    fn new(seed: u64, synced: bool) -> Self {
        let scratch = Scratch::new();
        let mut rng = SimRng::new(seed, 78);
        let mut workload = Workload::new(&scratch);
        for number in 1..30 {
            workload.append(&[random_record(&mut rng, number)]);
        }
        workload.sync();
        let mut bounds = [0; 4];
        let mut name = String::new();
        for (number, bound) in (30..).zip(0..) {
            let (last, bytes) = scratch.image().pop_last().expect("a segment");
            if bound > 0 && last != name {
                // A segment was begun in between: once more, at its beginning.
                return Self::new(seed + 1000, synced);
            }
            (name, bounds[bound]) = (last, bytes.len());
            if bound == 3 {
                break;
            }
            workload.append(&[small_record(&mut rng, number)]);
            if synced {
                workload.sync();
            }
        }
        let (handed, _) = workload.finish();
        Self {
            image: scratch.image(),
            scratch,
            handed,
            name,
            bounds,
        }
    }

    fn last(&self) -> &[u8] {
        &self.image[&self.name]
    }

    /// The image with another last segment.
    fn with(&self, bytes: Vec<u8>) -> Image {
        let mut image = self.image.clone();
        image.insert(self.name.clone(), bytes);
        image
    }

    /// Recovers, and nothing but the last three records may be lost.
    fn assert_recovers(&self, image: &Image, point: &str) -> usize {
        let given = Given::all(&self.handed, self.handed.len() - 3);
        assert_recovers(&self.scratch, image, given, point) - given.durable
    }

    /// Which of the last three records a byte belongs to.
    fn record_at(&self, place: usize) -> usize {
        self.bounds[1..3].iter().filter(|bound| place >= **bound).count()
    }
}

fn small_record(rng: &mut SimRng, number: u64) -> LogRecord {
    loop {
        let record = random_record(rng, number);
        let (head, body) = record.encode_payload();
        if head.len() + body.map_or(0, |body| body.len()) <= 300 {
            return record;
        }
    }
}

fn record(points: u64, at_least: u64) {
    println!("{points} points");
    assert!(points >= at_least, "{points}");
    simulator::record::append("crash points", &[("points", points)]);
}

#[test]
fn a_log_cut_at_any_byte_of_its_last_three_records_keeps_the_whole_ones() {
    let mut points = 0;
    for seed in 0..4 {
        let ending = Ending::new(seed, seed % 2 == 0);
        for len in ending.bounds[0]..ending.bounds[3] {
            let kept = ending.assert_recovers(
                &ending.with(ending.last()[..len].to_vec()),
                &format!("cut at {len}"),
            );
            assert_eq!(kept, ending.record_at(len), "cut at {len}");
            points += 1;
        }
    }
    record(points, 1_000);
}

#[test]
fn a_bit_flipped_in_records_that_were_not_durable_cuts_them() {
    let mut points = 0;
    for seed in 0..2 {
        let ending = Ending::new(seed, false);
        for bit in ending.bounds[0] * 8..ending.bounds[3] * 8 {
            let mut bytes = ending.last().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let kept = ending.assert_recovers(&ending.with(bytes), &format!("bit {bit}"));
            assert_eq!(kept, ending.record_at(bit / 8), "bit {bit}");
            points += 1;
        }
    }
    record(points, 3_000);
}

#[test]
fn a_bit_flipped_in_a_record_that_a_later_one_knows_durable_is_refused() {
    let (mut points, mut refused) = (0, 0);
    for seed in 0..2 {
        let ending = Ending::new(seed, true);
        for bit in ending.bounds[0] * 8..ending.bounds[3] * 8 {
            let mut bytes = ending.last().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let (image, point) = (ending.with(bytes), format!("bit {bit}"));
            // Behind the last record nothing says that it was durable: no log can tell that from a torn tail.
            if ending.record_at(bit / 8) == 2 {
                assert_eq!(ending.assert_recovers(&image, &point), 2, "{point}");
            } else {
                assert_refused(&ending.scratch, &image, &point);
                refused += 1;
            }
            points += 1;
        }
    }
    assert!(refused > points / 4, "{refused} of {points}");
    record(points, 3_000);
}

#[test]
fn zeros_and_garbage_of_any_length_behind_the_end_are_cut() {
    let mut points = 0;
    let mut rng = SimRng::new(5, 79);
    for seed in 0..2 {
        let ending = Ending::new(seed, seed == 0);
        for len in (1..700).chain([4_095, 4_096, 4_097, 70_000]) {
            for kind in 0..4 {
                let tail = (0..len).map(|place| match kind {
                    0 => 0,
                    1 => 0xff,
                    2 => rng.bits() as u8,
                    // Old records, as a disk shows them that gives a freed block out again.
                    _ => ending.last()[100 + place % (ending.last().len() - 100)],
                });
                let bytes = ending.last().iter().copied().chain(tail).collect();
                let kept =
                    ending.assert_recovers(&ending.with(bytes), &format!("{len} bytes of kind {kind}"));
                assert_eq!(kept, 3);
                points += 1;
            }
        }
    }
    record(points, 5_000);
}

#[test]
fn a_length_that_lies_is_a_bad_record() {
    let mut points = 0;
    for seed in 0..8 {
        let ending = Ending::new(seed, seed % 2 == 0);
        for (number, start) in ending.bounds[..3].iter().copied().enumerate() {
            let len = u32::from_le_bytes(ending.last()[start..start + 4].try_into().expect("4 bytes"));
            let rest = (ending.bounds[3] - start) as u32;
            let lies = (0..40).chain([
                rest - 26,
                rest - 25,
                rest - 24,
                rest,
                1 << 16,
                1 << 20,
                (1 << 20) + 1,
            ]);
            let near = [-25, -1, 1, 25].map(|by| len.wrapping_add_signed(by));
            for lie in lies.chain(near).chain([u32::MAX, u32::MAX - 24]) {
                if lie == len {
                    continue;
                }
                let mut bytes = ending.last().to_vec();
                bytes[start..start + 4].copy_from_slice(&lie.to_le_bytes());
                let (image, point) = (ending.with(bytes), format!("length {lie} for {len}"));
                if seed % 2 == 0 && number < 2 {
                    assert_refused(&ending.scratch, &image, &point);
                } else {
                    assert_eq!(ending.assert_recovers(&image, &point), number, "{point}");
                }
                points += 1;
            }
        }
    }
    record(points, 1_000);
}

#[test]
fn a_segment_that_was_only_begun_is_as_if_it_were_not() {
    let ending = Ending::new(1, true);
    let base: usize = ending.image.values().map(Vec::len).sum();
    let name = format!("{base:020}.log");
    // The header that the log itself writes there.
    ending.scratch.lay_out(&ending.image);
    let mut log = ending.scratch.open().expect("sound");
    let large = blocklog::samples::author_block(1, 0, 8_000);
    let seq = Sequence(log.last_sequence().expect("a record").0 + 1);
    log.append(&[LogRecord::AuthorBlock(large)], seq)
        .expect("appended");
    drop(log);
    let header = ending.scratch.image()[&name][..100].to_vec();
    let mut points = 0;
    for len in 0..=100 {
        for zeros in [0, 1, 100 - len] {
            let mut bytes = header[..len].to_vec();
            bytes.resize((len + zeros).min(100), 0);
            let mut image = ending.image.clone();
            image.insert(name.clone(), bytes);
            assert_eq!(
                ending.assert_recovers(&image, &format!("{len} bytes of a header")),
                3
            );
            points += 1;
        }
    }
    record(points, 300);
}

#[test]
fn a_log_that_nothing_happened_to_is_found_whole() {
    let ending = Ending::new(2, true);
    assert_eq!(ending.assert_recovers(&ending.image, "as it was"), 3);
    assert_eq!(
        entries(&ending.scratch.open().expect("sound"))[..ending.handed.len()],
        ending.handed
    );
}
