//! The pacer over a clock that jumps and a sink that refuses on demand: order, parents, shedding, balance.

use std::cell::{Cell, RefCell};
use std::sync::atomic::AtomicBool;

use super::{Clock, NO_PARENT, Pacing, Refusal, Route, Rules, Sink, Source, Submission, pace};
use crate::accounting::Sending;
use crate::config::Overload;
use crate::recording::Recording;

const MILLISECOND: u64 = 1_000_000;

struct JumpClock(Cell<u64>);

impl Clock for JumpClock {
    fn now_ns(&self) -> u64 {
        self.0.get()
    }

    fn sleep_until(&self, at_ns: u64) {
        self.0.set(self.0.get().max(at_ns));
    }
}

type Refuse = Box<dyn FnMut(usize) -> Option<Refusal>>;

struct FakeSink {
    /// Connection and transactions of each frame.
    frames: RefCell<Vec<(usize, Vec<u32>)>>,
    refuse: RefCell<Refuse>,
}

impl FakeSink {
    fn new(refuse: impl FnMut(usize) -> Option<Refusal> + 'static) -> Self {
        Self {
            frames: RefCell::default(),
            refuse: RefCell::new(Box::new(refuse)),
        }
    }
}

impl Sink for FakeSink {
    fn try_send(
        &self,
        connection: usize,
        submission: Submission<'_>,
        mark: &dyn Fn(bool),
    ) -> Result<(), Refusal> {
        mark(true);
        if let Some(refusal) = (self.refuse.borrow_mut())(connection) {
            mark(false);
            return Err(refusal);
        }
        assert_eq!(submission.indices.len(), submission.txs.len());
        self.frames
            .borrow_mut()
            .push((connection, submission.indices.to_vec()));
        Ok(())
    }
}

struct FakeSource {
    times: Vec<u64>,
    routes: Vec<Route>,
    /// Everything goes to the last connection from this version on.
    version: Cell<u64>,
}

impl FakeSource {
    /// `count` transactions, a millisecond apart, over `connections` in turn.
    fn new(count: u32, connections: u32) -> Self {
        Self {
            times: (0..u64::from(count)).map(|at| at * MILLISECOND).collect(),
            routes: (0..count)
                .map(|at| Route {
                    connection: at % connections,
                    parent: NO_PARENT,
                })
                .collect(),
            version: Cell::new(0),
        }
    }
}

impl Source for FakeSource {
    fn times(&self) -> &[u64] {
        &self.times
    }

    fn route(&self, index: u32) -> Route {
        let route = self.routes[index as usize];
        match self.version.get() {
            0 => route,
            _ => Route {
                connection: 1,
                ..route
            },
        }
    }

    fn version(&self) -> u64 {
        self.version.get()
    }

    fn bytes(&self, _: u32) -> &[u8] {
        &[7; 200]
    }
}

fn rules(connections: usize) -> Rules {
    Rules {
        connections,
        batch: 1,
        quantum_ns: 0,
        in_flight_max: 1_000_000,
        overload: Overload::Queue,
        deadline_ns: 1000 * MILLISECOND,
    }
}

struct Ran {
    pacing: Pacing,
    recording: Recording,
    frames: Vec<(usize, Vec<u32>)>,
}

fn run(source: &FakeSource, rules: &Rules, refuse: impl FnMut(usize) -> Option<Refusal> + 'static) -> Ran {
    run_steered(source, rules, refuse, u64::MAX)
}

/// The same; routes change at this time.
struct SteeredClock<'a>(JumpClock, &'a FakeSource, u64);

impl Clock for SteeredClock<'_> {
    fn now_ns(&self) -> u64 {
        self.0.now_ns()
    }

    fn sleep_until(&self, at_ns: u64) {
        self.0.sleep_until(at_ns);
        self.1.version.set(u64::from(self.now_ns() >= self.2));
    }
}

fn run_steered(
    source: &FakeSource,
    rules: &Rules,
    refuse: impl FnMut(usize) -> Option<Refusal> + 'static,
    at_ns: u64,
) -> Ran {
    let clock = SteeredClock(JumpClock(Cell::new(0)), source, at_ns);
    let recording = Recording::new(source.times.len());
    let sink = FakeSink::new(refuse);
    let pacing = pace(source, &sink, &clock, &recording, rules, &AtomicBool::new(false));
    let tallies = recording.tallies();
    assert_eq!(tallies.due, u64::from(pacing.due));
    assert_eq!(tallies.due, tallies.sent + tallies.shed, "balanced");
    for index in 0..pacing.due {
        let sending = recording.sending(index).expect("decided");
        if let Sending::At(at) = sending {
            assert!(at >= source.times[index as usize], "never early");
        }
    }
    Ran {
        pacing,
        recording,
        frames: sink.frames.into_inner(),
    }
}

#[test]
fn everything_leaves_at_its_time_when_there_is_room() {
    let source = FakeSource::new(100, 3);
    let ran = run(&source, &rules(3), |_| None);
    assert_eq!(
        ran.pacing,
        Pacing {
            due: 100,
            ..Pacing::default()
        }
    );
    for index in 0..100_u32 {
        assert_eq!(
            ran.recording.sending(index),
            Some(Sending::At(source.times[index as usize]))
        );
    }
    assert_eq!(ran.frames.len(), 100);
}

#[test]
fn a_quantum_or_a_batch_gathers_frames() {
    let source = FakeSource::new(100, 2);
    let slow = Rules {
        quantum_ns: 10 * MILLISECOND,
        ..rules(2)
    };
    let ran = run(&source, &slow, |_| None);
    assert!(ran.frames.len() <= 22, "{}", ran.frames.len());
    let batch = Rules { batch: 8, ..rules(2) };
    let ran = run(&source, &batch, |_| None);
    assert!(
        ran.frames.iter().rev().skip(2).all(|frame| frame.1.len() == 8),
        "{:?}",
        ran.frames
    );
    assert_eq!(ran.frames.iter().map(|frame| frame.1.len()).sum::<usize>(), 100);
}

#[test]
fn a_full_connection_waits_alone() {
    let source = FakeSource::new(100, 2);
    let mut refusals = 40;
    let ran = run(&source, &rules(2), move |connection| {
        (connection == 0 && refusals > 0).then(|| {
            refusals -= 1;
            Refusal::Full
        })
    });
    assert_eq!(ran.pacing.back_pressure, 40);
    assert_eq!(ran.recording.tallies().sent, 100);
    assert_eq!(
        ran.recording.sending(1),
        Some(Sending::At(MILLISECOND)),
        "the other one is in time"
    );
    assert!(matches!(ran.recording.sending(0), Some(Sending::At(at)) if at >= 20 * MILLISECOND));
    let sent: Vec<u32> = ran
        .frames
        .iter()
        .filter(|frame| frame.0 == 0)
        .flat_map(|frame| frame.1.clone())
        .collect();
    assert!(sent.windows(2).all(|pair| pair[0] < pair[1]), "in their order");
}

#[test]
fn what_waits_for_a_node_leaves_for_another_when_the_routes_change() {
    let source = FakeSource::new(100, 2);
    let refuse = |connection| (connection == 0).then_some(Refusal::Full);
    let ran = run_steered(&source, &rules(2), refuse, 60 * MILLISECOND);
    assert_eq!(
        (ran.recording.tallies().sent, ran.recording.tallies().shed),
        (100, 0)
    );
    assert!(ran.frames.iter().all(|frame| frame.0 == 1));
    assert!(matches!(ran.recording.sending(0), Some(Sending::At(at)) if at >= 60 * MILLISECOND));
    let after: Vec<u32> = ran.frames.iter().flat_map(|frame| frame.1.clone()).collect();
    let moved: Vec<u32> = after.iter().copied().filter(|index| index % 2 == 0).collect();
    assert!(moved.is_sorted(), "in the order of the schedule");
}

#[test]
fn a_connection_that_is_never_free_sheds_after_the_deadline() {
    let ran = run(&FakeSource::new(100, 2), &rules(2), |connection| {
        (connection == 0).then_some(Refusal::Full)
    });
    assert_eq!(
        (ran.recording.tallies().sent, ran.recording.tallies().shed),
        (50, 50)
    );
    let ended = run(&FakeSource::new(100, 2), &rules(2), |connection| {
        (connection == 1).then_some(Refusal::Closed)
    });
    assert_eq!((ended.recording.tallies().shed, ended.pacing.closed), (50, 1));
}

#[test]
fn overload_modes() {
    let refuse = |connection| (connection == 0).then_some(Refusal::Full);
    let shed = Rules {
        overload: Overload::Shed,
        ..rules(2)
    };
    let ran = run(&FakeSource::new(100, 2), &shed, refuse);
    assert_eq!((ran.recording.tallies().shed, ran.pacing.back_pressure), (50, 50));
    let stop = Rules {
        overload: Overload::Stop,
        ..rules(2)
    };
    let ran = run(&FakeSource::new(100, 2), &stop, refuse);
    assert!(ran.pacing.stopped && ran.pacing.due < 100, "{:?}", ran.pacing);
}

#[test]
fn the_in_flight_limit_holds() {
    let cap = Rules {
        in_flight_max: 10,
        overload: Overload::Shed,
        ..rules(1)
    };
    let ran = run(&FakeSource::new(100, 1), &cap, |_| None);
    assert_eq!(
        (ran.recording.tallies().sent, ran.pacing.cap_hits),
        (10, 90),
        "nothing is answered here"
    );
}

#[test]
fn a_child_never_leaves_before_its_parent_and_is_shed_with_it() {
    let mut source = FakeSource::new(6, 2);
    // 1 waits for 0 on the other connection, 3 for 1 on its own, 5 for 2.
    source.routes[1].parent = 0;
    source.routes[3].parent = 1;
    source.routes[5].parent = 2;
    let mut refusals = 30;
    let ran = run(&source, &rules(2), move |connection| {
        (connection == 0 && refusals > 0).then(|| {
            refusals -= 1;
            Refusal::Full
        })
    });
    let at = |index| match ran.recording.sending(index) {
        Some(Sending::At(at)) => at,
        other => panic!("{index}: {other:?}"),
    };
    assert!(at(1) >= at(0) && at(3) >= at(1) && at(5) >= at(2));
    assert!(at(0) >= 15 * MILLISECOND, "the parent had to wait");
    let never = run(&source, &rules(2), |connection| {
        (connection == 0).then_some(Refusal::Closed)
    });
    assert_eq!(never.recording.tallies().shed, 6, "children of shed parents");
}

#[test]
fn a_stop_sheds_what_is_due_and_forgets_the_rest() {
    let source = FakeSource::new(100, 1);
    let (clock, recording) = (JumpClock(Cell::new(10 * MILLISECOND)), Recording::new(100));
    let pacing = pace(
        &source,
        &FakeSink::new(|_| None),
        &clock,
        &recording,
        &rules(1),
        &AtomicBool::new(true),
    );
    assert_eq!((pacing.due, recording.tallies().shed), (11, 11));
    assert_eq!(recording.sending(11), None);
}
