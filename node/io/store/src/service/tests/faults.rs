//! A disk that fails: said at once and once, nothing durable afterwards, nothing asked of the disk again.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, mpsc};

use blocklog::samples::{IDENTITY, height, vote};
use blocklog::{Fault, FaultyDisk};
use types::{Height, Sequence};

use super::super::{Store, StoreEvent, StoreOptions};
use super::{PATIENCE, assert_refuses_all, begun, open, output, start, until_durable};
use crate::changes::StateChanges;

/// A store that has made height 1 durable, on a disk that may fail.
fn started(path: &Path, options: StoreOptions) -> (Store, mpsc::Receiver<StoreEvent>, Arc<FaultyDisk>) {
    let disk = Arc::new(FaultyDisk::default());
    let mut opened =
        Store::open_on(Arc::<FaultyDisk>::clone(&disk), path, IDENTITY, options).expect("opened");
    opened.begin_state(&StateChanges::default()).expect("begun");
    let (store, events) = start(opened);
    store
        .handle()
        .persist(Sequence(1), height(1, 100), true)
        .expect("running");
    until_durable(&events, 1);
    (store, events, disk)
}

/// Waits for the failure; before it at most `Written`.
fn until_failed(events: &mpsc::Receiver<StoreEvent>) -> String {
    loop {
        match events.recv_timeout(PATIENCE).expect("an event") {
            StoreEvent::Failed(reason) => return reason,
            StoreEvent::Written(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_disk_that_fails_is_said_at_once_and_nothing_is_durable_or_tried_again() {
    let (eio, enospc) = (ErrorKind::Other, ErrorKind::StorageFull);
    for fault in [
        Fault::Sync(eio),
        Fault::Sync(enospc),
        Fault::Append { room: 0, error: eio },
        Fault::Append { room: 40, error: eio },
        Fault::Append {
            room: 0,
            error: enospc,
        },
        Fault::Append {
            room: 40,
            error: enospc,
        },
        Fault::AppendForGood {
            room: 40,
            error: enospc,
        },
    ] {
        let directory = tempfile::tempdir().expect("directory");
        let (store, events, disk) = started(directory.path(), StoreOptions::default());
        let handle = store.handle();
        let before = disk.calls();
        disk.set(Some(fault));
        let changes = StateChanges {
            height: Height(1),
            created: vec![output(1, 1)],
            ..StateChanges::default()
        };
        // Whether the second finds the failure already is a matter of time; it must not be durable either way.
        handle.persist(Sequence(2), vec![vote(2)], true).expect("running");
        drop(handle.persist(Sequence(3), vec![vote(3)], true));
        drop(handle.write_state(changes));
        let reason = until_failed(&events);
        let failed_at = disk.calls();
        let syncs = u64::from(matches!(fault, Fault::Sync(_)));
        assert_eq!(failed_at.syncs - before.syncs, syncs, "{fault:?}");
        assert_refuses_all(&handle, &reason);

        // Well again: nobody asks.
        disk.set(None);
        assert_eq!(store.close().expect_err("failed").reason, reason);
        assert_eq!(disk.calls(), failed_at, "{fault:?}: asked again");
        let later: Vec<_> = events.iter().collect();
        assert_eq!(later, [], "{fault:?}: said once, and nothing after it");

        // What was durable is there, and the state is not ahead of it.
        let opened = open(directory.path(), StoreOptions::default());
        let records = opened.log().replay().count();
        assert!((4..=6).contains(&records), "{fault:?}: {records} records");
        assert_eq!(opened.state().head().map(|head| head.height), Some(Height(0)));
        if let Fault::AppendForGood { .. } = fault {
            assert_eq!(opened.log().torn().map(|torn| torn.bytes), Some(40));
        }
    }
}

#[test]
fn a_disk_that_fails_while_nobody_waits_is_said_too() {
    let directory = tempfile::tempdir().expect("directory");
    let (store, events, disk) = started(directory.path(), StoreOptions::default());
    disk.set(Some(Fault::Sync(ErrorKind::Other)));
    store
        .handle()
        .persist(Sequence(2), vec![vote(2)], false)
        .expect("running");
    let reason = until_failed(&events);
    assert!(
        reason.contains("what reached the disk is unknown, the node must stop"),
        "{reason}"
    );
    assert!(store.close().is_err());
}

#[test]
fn a_state_that_cannot_be_written_out_is_a_failure() {
    let directory = tempfile::tempdir().expect("directory");
    let mut options = StoreOptions::default();
    options.state.write_buffer_bytes = 64 << 10;
    let (store, events) = start(begun(directory.path(), options));
    let handle = store.handle();
    // New files cannot be made in a directory that is gone.
    std::fs::remove_dir_all(directory.path().join("state")).expect("removed");
    let mut last = 0;
    let reason = loop {
        last += 1;
        let changes = StateChanges {
            height: Height(last),
            created: (0..100).map(|id| output(last * 100 + id, last)).collect(),
            ..StateChanges::default()
        };
        if handle.write_state(changes).is_err() {
            break until_failed(&events);
        }
        // The thread refuses once a buffer could not be written out; how many fit before is its business.
        assert!(last < 20_000, "never said");
    };
    assert!(
        reason.starts_with("cannot write the state in") || reason.starts_with("cannot flush the state in"),
        "{reason}"
    );
    assert_refuses_all(&handle, &reason);
    assert_eq!(store.close().expect_err("failed").reason, reason);
    // The log gives the state again.
    let opened = open(directory.path(), options);
    assert_eq!(opened.state().head(), None);
}
