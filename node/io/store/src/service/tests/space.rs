//! Low space: said once when it begins and once when it ends, and nothing is refused meanwhile.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::mpsc;

use blocklog::samples::{height, vote};
use types::{Height, Sequence};

use super::super::{CommittedRead, Store, StoreEvent, StoreOptions};
use super::{PATIENCE, ask, begun, open, start};
use crate::changes::StateChanges;

const RESERVE: u64 = 1000;

/// Free space as the test says it: the number in a file of the data directory.
fn told(directory: &Path) -> io::Result<u64> {
    let text = fs::read_to_string(directory.join("free"))?;
    text.parse().map_err(|_| io::ErrorKind::InvalidData.into())
}

fn tell(directory: &Path, free: u64) {
    fs::write(directory.join("draft"), free.to_string()).expect("written");
    fs::rename(directory.join("draft"), directory.join("free")).expect("renamed");
}

fn started(directory: &Path) -> (Store, mpsc::Receiver<StoreEvent>) {
    let options = StoreOptions {
        reserve_bytes: RESERVE,
        free_space: told,
        ..StoreOptions::default()
    };
    start(begun(directory, options))
}

/// The next event that is about space; everything else is `Written` and `Durable`.
fn next_about_space(events: &mpsc::Receiver<StoreEvent>) -> StoreEvent {
    loop {
        match events.recv_timeout(PATIENCE).expect("an event") {
            StoreEvent::Written(_) | StoreEvent::Durable(_) => {}
            event => return event,
        }
    }
}

/// Events up to the one that reports `seq` durable; those about space.
fn about_space_until(events: &mpsc::Receiver<StoreEvent>, seq: u64) -> Vec<StoreEvent> {
    let mut found = Vec::new();
    loop {
        match events.recv_timeout(PATIENCE).expect("an event") {
            StoreEvent::Durable(Sequence(durable)) if durable == seq => return found,
            StoreEvent::Written(_) | StoreEvent::Durable(_) => {}
            event => found.push(event),
        }
    }
}

#[test]
fn low_space_is_a_state_with_two_edges_in_which_everything_is_still_written_and_read() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path();
    tell(path, RESERVE);
    let (store, events) = started(path);
    let handle = store.handle();
    let persist = |seq: u64| {
        handle
            .persist(Sequence(seq), height(seq, 100), true)
            .expect("running");
        about_space_until(&events, seq)
    };
    assert_eq!(persist(1), [], "exactly the reserve is enough");

    tell(path, RESERVE - 1);
    let low = StoreEvent::LowSpace {
        free: RESERVE - 1,
        reserve: RESERVE,
    };
    assert_eq!(next_about_space(&events), low, "without anything being written");
    // Up and down between the edges, and to nothing: said once, and everything becomes durable.
    for (seq, free) in (2..).zip([RESERVE - 2, RESERVE, RESERVE + 250, 0, RESERVE - 1]) {
        tell(path, free);
        assert_eq!(persist(seq), [], "{free}");
    }
    let read = CommittedRead {
        from: Height(1),
        count: 9,
        bytes_max: 1 << 20,
        bodies: true,
    };
    assert_eq!(ask(&store, read).len(), 6);
    let changes = StateChanges {
        height: Height(6),
        ..StateChanges::default()
    };
    handle.write_state(changes).expect("running");
    while handle.stats().state_height != 6 {
        std::thread::yield_now();
    }

    tell(path, RESERVE + 251);
    let returned = StoreEvent::SpaceReturned { free: RESERVE + 251 };
    assert_eq!(next_about_space(&events), returned);
    for (seq, free) in (7..).zip([RESERVE, RESERVE + 1, u64::MAX]) {
        tell(path, free);
        assert_eq!(persist(seq), [], "{free}");
    }
    tell(path, 3);
    assert!(matches!(
        next_about_space(&events),
        StoreEvent::LowSpace { free: 3, .. }
    ));
    store.close().expect("no failure");
    let opened = open(path, StoreOptions::default());
    assert_eq!(opened.log().last_sequence(), Some(Sequence(9)));
    assert_eq!(opened.state().head().map(|head| head.height), Some(Height(6)));
}

#[test]
fn a_directory_that_is_low_from_the_start_says_so_before_anything_is_written() {
    let directory = tempfile::tempdir().expect("directory");
    tell(directory.path(), 5);
    let (store, events) = started(directory.path());
    let event = events.recv_timeout(PATIENCE).expect("an event");
    assert!(matches!(event, StoreEvent::LowSpace { free: 5, .. }), "{event:?}");
    store
        .handle()
        .persist(Sequence(1), vec![vote(1)], true)
        .expect("running");
    assert_eq!(about_space_until(&events, 1), []);
}

#[test]
fn a_system_that_does_not_tell_is_no_failure() {
    let directory = tempfile::tempdir().expect("directory");
    let (store, events) = started(directory.path());
    store
        .handle()
        .persist(Sequence(1), vec![vote(1)], true)
        .expect("running");
    assert_eq!(about_space_until(&events, 1), []);
    store.close().expect("no failure");
}
