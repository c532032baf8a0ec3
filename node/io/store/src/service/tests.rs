//! Group commit, order of events, writing behind, reads, refusals.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use blocklog::samples::{IDENTITY, author_block, committed, hash_of, height, vote};
use blocklog::{Durability, FORMAT_VERSION, Identity};
use types::record::LogRecord;
use types::{Amount, Counters, Hash, Height, OutPoint, Owner, Sequence, TxId};

use super::{CommittedRead, Opened, Store, StoreEvent, StoreHandle, StoreOptions};
use crate::changes::{Output, StateChanges};
use crate::error::OpenError;

const PATIENCE: Duration = Duration::from_secs(60);

fn open(path: &Path, options: StoreOptions) -> Opened {
    Store::open(path, IDENTITY, options).expect("a sound data directory")
}

/// A new data directory whose genesis has no outputs.
fn begun(path: &Path, options: StoreOptions) -> Opened {
    let mut opened = open(path, options);
    opened.begin_state(&StateChanges::default()).expect("begun");
    opened
}

fn start(opened: Opened) -> (Store, mpsc::Receiver<StoreEvent>) {
    let (sender, events) = mpsc::channel();
    let store = opened
        .start(Box::new(move |event| drop(sender.send(event))))
        .expect("started");
    (store, events)
}

/// Events up to and including the one that reports `seq` durable.
fn until_durable(events: &mpsc::Receiver<StoreEvent>, seq: u64) -> Vec<StoreEvent> {
    let mut seen = Vec::new();
    loop {
        let event = events.recv_timeout(PATIENCE).expect("an event");
        seen.push(event.clone());
        assert!(
            matches!(event, StoreEvent::Written(_) | StoreEvent::Durable(_)),
            "{event:?}"
        );
        if event == StoreEvent::Durable(Sequence(seq)) {
            return seen;
        }
    }
}

fn output(id: u64, created: u64) -> Output {
    let mut txid = [0; 32];
    txid[..8].copy_from_slice(&id.to_be_bytes());
    let outpoint = OutPoint {
        txid: TxId(txid),
        index: 0,
    };
    Output {
        outpoint,
        owner: Owner([1; 32]),
        amount: Amount(id),
        created: Height(created),
    }
}

fn ids(opened: &Opened) -> Vec<u64> {
    let snapshot = opened.state().load().expect("readable").expect("not empty");
    snapshot.outputs.iter().map(|output| output.amount.0).collect()
}

mod faults;
mod rebuilding;
mod space;

#[test]
fn many_persists_share_a_few_fsyncs_and_events_keep_their_order() {
    let directory = tempfile::tempdir().expect("directory");
    let (store, events) = start(open(directory.path(), StoreOptions::default()));
    let handle = store.handle();
    // The first waits for its reply on the store's thread until all others are in the queue.
    let (release, held) = mpsc::channel::<()>();
    handle
        .read_body(Hash([0; 32]), move |_| {
            assert!(held.recv_timeout(PATIENCE).is_err(), "released by dropping")
        })
        .expect("running");
    for number in 1..=1000 {
        handle
            .persist(Sequence(number), vec![vote(number)], true)
            .expect("running");
    }
    assert!(handle.stats().queue_depth > 0);
    drop(release);
    let (mut written, mut durable) = (0, 0);
    for event in until_durable(&events, 1000) {
        match event {
            StoreEvent::Written(Sequence(seq)) => {
                assert!(seq > written, "{seq} after {written}");
                written = seq;
            }
            StoreEvent::Durable(Sequence(seq)) => {
                assert!(
                    seq > durable && seq <= written,
                    "{seq} durable, {written} written"
                );
                durable = seq;
            }
            other => panic!("{other:?}"),
        }
    }
    let stats = handle.stats();
    assert_eq!(
        (stats.persists, stats.records, stats.durability),
        (1000, 1000, Durability::Fsync)
    );
    assert!((1..=3).contains(&stats.fsyncs), "{} fsyncs", stats.fsyncs);
    assert!(stats.log_bytes > 1000 * 25);
    store.close().expect("closed well");
    let opened = open(directory.path(), StoreOptions::default());
    let found: Vec<_> = opened
        .log()
        .replay()
        .map(|entry| entry.expect("readable").0.0)
        .collect();
    assert_eq!(found, (1..=1000).collect::<Vec<_>>());
}

#[test]
fn records_that_nobody_waits_for_become_durable_when_it_is_quiet() {
    let directory = tempfile::tempdir().expect("directory");
    let (store, events) = start(open(directory.path(), StoreOptions::default()));
    store
        .handle()
        .persist(Sequence(1), vec![vote(1)], false)
        .expect("running");
    let (written, durable) = (StoreEvent::Written(Sequence(1)), StoreEvent::Durable(Sequence(1)));
    assert_eq!(until_durable(&events, 1), [written, durable]);
    assert_eq!(store.handle().stats().fsyncs, 1);
}

#[test]
fn async_reports_durable_after_writing_and_never_syncs() {
    let directory = tempfile::tempdir().expect("directory");
    let options = StoreOptions {
        durability: Durability::Async,
        ..StoreOptions::default()
    };
    let (store, events) = start(open(directory.path(), options));
    for number in 1..=20 {
        store
            .handle()
            .persist(Sequence(number), vec![vote(number)], true)
            .expect("running");
    }
    until_durable(&events, 20);
    let stats = store.handle().stats();
    assert_eq!((stats.fsyncs, stats.durability.name()), (0, "async"));
    drop(store);
    assert_eq!(open(directory.path(), options).log().replay().count(), 20);
}

#[test]
fn state_is_written_behind_and_what_is_spent_meanwhile_never_reaches_it() {
    let directory = tempfile::tempdir().expect("directory");
    let (store, _events) = start(begun(directory.path(), StoreOptions::default()));
    let handle = store.handle();
    let (release, held) = mpsc::channel::<()>();
    handle
        .read_body(Hash([0; 32]), move |_| {
            assert!(held.recv_timeout(PATIENCE).is_err(), "released by dropping")
        })
        .expect("running");
    for height in 1..=200_u64 {
        let changes = StateChanges {
            height: Height(height),
            digest: Hash([height as u8; 32]),
            counters: Counters {
                fees: height,
                ..Counters::default()
            },
            claimed: Vec::new(),
            created: vec![output(2 * height, height), output(2 * height + 1, height)],
            // Each height spends the odd output of the one before.
            spent: (height > 1)
                .then(|| output(2 * height - 1, 0).outpoint)
                .into_iter()
                .collect(),
        };
        handle.write_state(changes).expect("running");
    }
    drop(release);
    store.close().expect("closed well");
    let stats = handle.stats();
    assert_eq!((stats.state_height, stats.outputs_annihilated), (200, 199));
    assert_eq!((stats.state_writes, stats.outputs_written), (1, 201));
    let opened = open(directory.path(), StoreOptions::default());
    let mut expected: Vec<_> = (1..=200).map(|height| 2 * height).collect();
    expected.push(401);
    assert_eq!(ids(&opened), expected);
}

#[test]
fn state_is_written_without_being_asked_to_close() {
    let directory = tempfile::tempdir().expect("directory");
    let (store, _events) = start(begun(directory.path(), StoreOptions::default()));
    let handle = store.handle();
    let changes = StateChanges {
        height: Height(1),
        created: vec![output(1, 1)],
        ..StateChanges::default()
    };
    handle.write_state(changes).expect("running");
    while handle.stats().state_height == 0 {
        std::thread::yield_now();
    }
    assert_eq!(handle.stats().outputs_written, 1);
}

#[test]
fn heights_that_do_not_rise_are_a_failure_and_nothing_of_them_is_written() {
    let directory = tempfile::tempdir().expect("directory");
    let (store, events) = start(begun(directory.path(), StoreOptions::default()));
    let changes = |id| StateChanges {
        height: Height(4),
        created: vec![output(id, 4)],
        ..StateChanges::default()
    };
    store.handle().write_state(changes(1)).expect("running");
    while store.handle().stats().state_height == 0 {
        std::thread::yield_now();
    }
    store.handle().write_state(changes(2)).expect("running");
    let event = events.recv_timeout(PATIENCE).expect("an event");
    let StoreEvent::Failed(reason) = event else {
        panic!("{event:?}")
    };
    assert_eq!(
        reason,
        "changes up to height 4 do not follow height 4, which the state holds"
    );
    assert_refuses_all(&store.handle(), &reason);
    assert_eq!(store.close().expect_err("failed").reason, reason);
    assert!(events.try_recv().is_err(), "said once");
    let opened = open(directory.path(), StoreOptions::default());
    assert_eq!((opened.log().replay().count(), ids(&opened)), (0, vec![1]));
}

#[test]
fn a_state_that_has_not_begun_takes_no_changes() {
    let directory = tempfile::tempdir().expect("directory");
    let (store, events) = start(open(directory.path(), StoreOptions::default()));
    let changes = StateChanges {
        height: Height(1),
        ..StateChanges::default()
    };
    store.handle().write_state(changes).expect("running");
    let event = events.recv_timeout(PATIENCE).expect("an event");
    assert!(
        matches!(&event, StoreEvent::Failed(reason) if reason.contains("outputs of genesis")),
        "{event:?}"
    );
    drop(store);
    let mut opened = open(directory.path(), StoreOptions::default());
    assert_eq!(opened.state().head(), None);
    let genesis = StateChanges {
        created: vec![output(5, 0)],
        ..StateChanges::default()
    };
    opened.begin_state(&genesis).expect("begun");
    assert_eq!(ids(&opened), [5]);
    let opened = opened.reset_state().expect("empty");
    assert_eq!(opened.state().head(), None);
}

fn ask(store: &Store, read: CommittedRead) -> Vec<(u64, usize)> {
    let (sender, answer) = mpsc::channel();
    store
        .handle()
        .read_committed(read, move |found| drop(sender.send(found)))
        .expect("running");
    let found = answer
        .recv_timeout(PATIENCE)
        .expect("an answer")
        .expect("readable");
    found
        .iter()
        .map(|(block, bodies)| (block.block.header.height.0, bodies.len()))
        .collect()
}

#[test]
fn final_blocks_are_served_within_count_and_bytes() {
    let directory = tempfile::tempdir().expect("directory");
    let (store, _events) = start(open(directory.path(), StoreOptions::default()));
    for number in 1..=9 {
        store
            .handle()
            .persist(Sequence(number), height(number, 10_000), false)
            .expect("running");
    }
    // Height 10 refers to a body that is not held.
    let missing = committed(10, &[&author_block(99, 0, 5)]);
    store
        .handle()
        .persist(Sequence(10), vec![LogRecord::Committed(Box::new(missing))], true)
        .expect("running");
    let read = CommittedRead {
        from: Height(2),
        count: 3,
        bytes_max: 1 << 20,
        bodies: true,
    };
    assert_eq!(ask(&store, read), [(2, 1), (3, 1), (4, 1)]);
    assert_eq!(
        ask(
            &store,
            CommittedRead {
                bytes_max: 25_000,
                ..read
            }
        ),
        [(2, 1), (3, 1)]
    );
    assert_eq!(ask(&store, CommittedRead { bytes_max: 0, ..read }), [(2, 1)]);
    assert_eq!(
        ask(
            &store,
            CommittedRead {
                bytes_max: 4_000,
                bodies: false,
                ..read
            }
        ),
        [(2, 0), (3, 0)]
    );
    assert_eq!(
        ask(
            &store,
            CommittedRead {
                from: Height(9),
                count: 9,
                ..read
            }
        ),
        [(9, 1)]
    );
    assert_eq!(
        ask(
            &store,
            CommittedRead {
                from: Height(9),
                count: 9,
                bodies: false,
                ..read
            }
        ),
        [(9, 0), (10, 0)]
    );
    assert_eq!(
        ask(
            &store,
            CommittedRead {
                from: Height(11),
                ..read
            }
        ),
        []
    );
    assert_eq!(
        ask(
            &store,
            CommittedRead {
                from: Height(u64::MAX),
                ..read
            }
        ),
        []
    );

    let body = author_block(3, 2, 10_000);
    let (sender, answer) = mpsc::channel();
    store
        .handle()
        .read_body(hash_of(&body), move |found| drop(sender.send(found)))
        .expect("running");
    assert_eq!(
        answer
            .recv_timeout(PATIENCE)
            .expect("an answer")
            .expect("readable"),
        Some(body)
    );
}

#[test]
fn the_log_is_never_cut_above_the_state_on_disk() {
    let directory = tempfile::tempdir().expect("directory");
    let options = StoreOptions {
        segment_bytes: 8 << 10,
        ..StoreOptions::default()
    };
    let (store, events) = start(begun(directory.path(), options));
    let handle = store.handle();
    // One group is never split over segments: wait for each.
    for number in 1..=20 {
        handle
            .persist(Sequence(number), height(number, 3000), true)
            .expect("running");
        until_durable(&events, number);
    }
    let lowest = || {
        let read = CommittedRead {
            from: Height(1),
            count: 1,
            bytes_max: 0,
            bodies: false,
        };
        ask(&store, read).is_empty()
    };
    handle.cut_below(Height(18)).expect("running");
    assert!(!lowest(), "the state is of genesis, everything is needed");
    handle
        .write_state(StateChanges {
            height: Height(10),
            ..StateChanges::default()
        })
        .expect("running");
    while !lowest() {
        handle.cut_below(Height(18)).expect("running");
        assert_eq!(events.try_recv(), Err(mpsc::TryRecvError::Empty));
    }
    let read = CommittedRead {
        from: Height(11),
        count: 20,
        bytes_max: 1 << 20,
        bodies: true,
    };
    assert_eq!(ask(&store, read).len(), 10, "above the state everything is there");
}

/// A handle of a failed store refuses every command, in the words of the failure.
fn assert_refuses_all(handle: &StoreHandle, reason: &str) {
    let read = CommittedRead {
        from: Height(1),
        count: 1,
        bytes_max: 0,
        bodies: false,
    };
    let never = |_: &str| panic!("answered after the failure");
    let outcomes = [
        handle.persist(Sequence(u64::MAX), vec![vote(1)], true),
        handle.write_state(StateChanges::default()),
        handle.cut_below(Height(1)),
        handle.read_committed(read, move |_| never("blocks")),
        handle.read_body(Hash([0; 32]), move |_| never("body")),
        handle.read_block(Hash([0; 32]), move |_| never("block")),
    ];
    for outcome in outcomes {
        assert_eq!(outcome.expect_err("refused").reason, reason);
    }
}

#[test]
fn a_sequence_that_does_not_rise_is_a_failure() {
    let directory = tempfile::tempdir().expect("directory");
    let (store, events) = start(open(directory.path(), StoreOptions::default()));
    store
        .handle()
        .persist(Sequence(7), vec![vote(1)], true)
        .expect("running");
    until_durable(&events, 7);
    store
        .handle()
        .persist(Sequence(7), vec![vote(2)], true)
        .expect("running");
    let event = events.recv_timeout(PATIENCE).expect("an event");
    assert_eq!(
        event,
        StoreEvent::Failed("sequence 7 is not above 7, the last one in the log".into())
    );
    assert!(store.close().is_err());
    assert_eq!(
        open(directory.path(), StoreOptions::default())
            .log()
            .replay()
            .count(),
        1
    );
}

#[test]
fn a_data_directory_is_used_by_one_and_a_handle_outlives_its_store_in_words() {
    let directory = tempfile::tempdir().expect("directory");
    let opened = open(directory.path(), StoreOptions::default());
    let error = Store::open(directory.path(), IDENTITY, StoreOptions::default()).expect_err("in use");
    assert!(
        matches!(error, OpenError::Log(blocklog::OpenError::InUse { .. })),
        "{error}"
    );
    let (store, _events) = start(opened);
    let error = Store::open(directory.path(), IDENTITY, StoreOptions::default()).expect_err("in use");
    assert!(
        error.to_string().contains("is in use by another process"),
        "{error}"
    );
    let handle = store.handle();
    store.close().expect("closed well");
    let error = handle.persist(Sequence(1), Vec::new(), true).expect_err("closed");
    assert_eq!(error.to_string(), "the store has stopped: its thread has ended");
    open(directory.path(), StoreOptions::default());
}

#[test]
fn foreign_and_beheaded_data_directories_are_refused() {
    let directory = tempfile::tempdir().expect("directory");
    drop(open(directory.path(), StoreOptions::default()));
    let text = fs::read_to_string(directory.path().join("FORMAT")).expect("text");
    assert!(
        text.contains(&format!("format {FORMAT_VERSION}\n")) && text.contains(&"a1".repeat(32)),
        "{text}"
    );
    let other = Identity {
        genesis: Hash([0xc2; 32]),
        ..IDENTITY
    };
    let error = Store::open(directory.path(), other, StoreOptions::default()).expect_err("foreign");
    assert!(matches!(error, OpenError::Identity(_)), "{error}");
    drop(open(directory.path(), StoreOptions::default()));

    // Without `FORMAT` the files themselves still say whose they are.
    fs::remove_file(directory.path().join("FORMAT")).expect("removed");
    let error = Store::open(directory.path(), other, StoreOptions::default()).expect_err("foreign");
    assert!(
        matches!(error, OpenError::Log(blocklog::OpenError::Identity(_))),
        "{error}"
    );
    assert!(!directory.path().join("FORMAT").exists());
    drop(open(directory.path(), StoreOptions::default()));

    fs::remove_dir_all(directory.path().join("log")).expect("removed");
    let error = Store::open(directory.path(), IDENTITY, StoreOptions::default()).expect_err("beheaded");
    assert!(
        matches!(error, OpenError::Log(blocklog::OpenError::LogMissing { .. })),
        "{error}"
    );
}

#[test]
fn a_directory_that_cannot_be_written_is_said_in_words() {
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("file");
    fs::write(&file, "text").expect("written");
    let error = Store::open(&file.join("data"), IDENTITY, StoreOptions::default()).expect_err("below a file");
    assert!(
        error
            .to_string()
            .starts_with(&format!("cannot create the directory {}", file.display())),
        "{error}"
    );

    let sealed = directory.path().join("sealed");
    fs::create_dir(&sealed).expect("created");
    fs::set_permissions(&sealed, fs::Permissions::from_mode(0o555)).expect("sealed");
    let outcome = Store::open(&sealed, IDENTITY, StoreOptions::default());
    // A privileged user may write everywhere; everybody else is refused, and nothing was begun.
    match fs::write(sealed.join("probe"), "") {
        Ok(()) => drop(outcome.expect("permitted")),
        Err(_) => {
            let error = outcome.expect_err("refused").to_string();
            assert!(error.ends_with("permission denied"), "{error}");
            assert_eq!(fs::read_dir(&sealed).expect("readable").count(), 0);
        }
    }
}
