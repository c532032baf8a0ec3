//! Kill and power loss after every system call of random runs, and of the recoveries that follow.

use std::sync::Arc;

use simulator::rng::SimRng;

use super::check::{Given, Scratch, assert_recovers};
use super::media::{Image, Media, Recorder, Step};
use super::{Workload, random_record};

/// Random runs.
const RUNS: u64 = 8;
/// Images of power loss after each system call; one of a kill besides.
const IMAGES: u64 = 5;
/// One image of so many is recovered again under power loss.
const NESTED: u64 = 16;

/// Groups of records of all kinds, some of them synced, over several segments, now and then cut at the front.
fn run(scratch: &Scratch, rng: &mut SimRng) -> Workload {
    let mut workload = Workload::new(scratch);
    let mut number = 0;
    for _ in 0..30 {
        let records: Vec<_> = (0..rng.between(1, 4))
            .map(|_| {
                number += 1;
                random_record(rng, number)
            })
            .collect();
        workload.append(&records);
        if rng.chance(400) {
            workload.sync();
        }
        if rng.chance(150) {
            workload.cut_below(rng.below(number));
        }
    }
    workload
}

#[test]
fn after_power_loss_at_any_system_call_all_that_was_durable_is_there_and_nothing_is_invented() {
    let (mut points, mut nested, mut lost, mut torn, mut cuts) = (0, 0, 0, 0, 0);
    let (making, scratch) = (Scratch::new(), Scratch::new());
    for seed in 0..RUNS {
        let mut rng = SimRng::new(seed, 77);
        let (handed, steps) = run(&making, &mut rng).finish();
        let mut media = Media::default();
        let mut given = Given::all(&[], 0);
        for (at, step) in steps.iter().enumerate() {
            media.apply(step);
            match step {
                Step::Handed(count) => given.handed = &handed[..*count],
                Step::Durable(count) => given.durable = *count,
                Step::CutTo(count) => {
                    given.cut_before = given.cut;
                    given.cut = *count;
                    given.carried = given.handed.len();
                    cuts += 1;
                }
                _ => {}
            }
            let mut images = vec![media.killed()];
            images.extend((0..IMAGES).map(|_| media.power_lost(&mut rng)));
            for (number, image) in images.iter().enumerate() {
                let point = format!("run {seed}, step {at} ({}), image {number}", name_of(step));
                let count = assert_recovers(&scratch, image, given, &point);
                points += 1;
                lost += u64::from(count < given.handed.len());
                torn += u64::from(count > given.durable && count < given.handed.len());
                if points % NESTED == 0 {
                    nested += interrupted(&scratch, image, count, given, &mut rng, &point);
                }
            }
        }
    }
    println!("{points} points, {nested} of recoveries, {lost} lost something, {torn} a part, {cuts} cuts");
    assert!(points >= 5_000 && nested >= 3_000 && lost > points / 10 && torn > 100 && cuts > 5);
    simulator::record::append("crash points", &[("points", points + nested)]);
}

/// Recovers an image and loses power after each system call of the recovery, at whose end all `count` records found
/// are durable.
fn interrupted(
    scratch: &Scratch,
    image: &Image,
    count: usize,
    given: Given<'_>,
    rng: &mut SimRng,
    point: &str,
) -> u64 {
    scratch.lay_out(image);
    let recorder = Arc::new(Recorder::default());
    drop(scratch.open_on(Arc::clone(&recorder)).expect("recovers"));
    let mut media = Media::of(image);
    let mut points = 0;
    for (at, step) in recorder.steps(Vec::new()).iter().enumerate() {
        media.apply(step);
        for image in [media.killed(), media.power_lost(rng), media.power_lost(rng)] {
            let point = format!("{point}, recovery step {at} ({})", name_of(step));
            assert_recovers(scratch, &image, given, &point);
            points += 1;
        }
    }
    let recovered = Given {
        durable: count,
        ..given
    };
    assert_recovers(scratch, &media.power_lost(rng), recovered, point);
    points + 1
}

const fn name_of(step: &Step) -> &'static str {
    match step {
        Step::Create(_) => "create",
        Step::Append(..) => "append",
        Step::Sync(_) => "sync",
        Step::SyncNames => "sync of names",
        Step::Truncate(..) => "truncate",
        Step::Remove(_) => "remove",
        Step::Handed(_) => "handed",
        Step::Durable(_) => "durable",
        Step::CutTo(_) => "cut",
    }
}
