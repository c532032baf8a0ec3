//! Round trips, exact prefixes, foreign states.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use blocklog::samples::IDENTITY;
use blocklog::{Identity, IdentityError};
use types::{Amount, Counters, Hash, Height, OutPoint, Owner, TxId};

use super::{Snapshot, StateOptions, StateStore};
use crate::changes::{Output, StateChanges};
use crate::error::{OpenError, StateError};

fn open(path: &Path, options: StateOptions) -> StateStore {
    StateStore::open(path, IDENTITY, options).expect("a sound state")
}

/// An empty state that begins with the outputs of genesis.
fn begun(path: &Path, options: StateOptions) -> StateStore {
    let mut state = open(path, options);
    state.begin(&changes(0)).expect("begun");
    state
}

fn output(id: u64, created: u64) -> Output {
    let mut txid = [0; 32];
    txid[..8].copy_from_slice(&id.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    let outpoint = OutPoint {
        txid: TxId(txid),
        index: (id % 300) as u16,
    };
    Output {
        outpoint,
        owner: Owner([id as u8; 32]),
        amount: Amount(id + 1),
        created: Height(created),
    }
}

fn counters(height: u64) -> Counters {
    Counters {
        fees: height * 3,
        bonds: 100 - height,
        pool: height + 1,
        rewards: height + 2,
        unpaid: height + 3,
    }
}

/// Height `h` creates outputs `100h..100h+100` and spends half of those of the height before.
fn changes(height: u64) -> StateChanges {
    let spent = (height * 100).saturating_sub(100)..(height * 100).saturating_sub(50);
    StateChanges {
        height: Height(height),
        digest: Hash([height as u8; 32]),
        counters: counters(height),
        claimed: vec![TxId([height as u8; 32])],
        created: (height * 100..height * 100 + 100)
            .map(|id| output(id, height))
            .collect(),
        spent: spent.map(|id| output(id, height - 1).outpoint).collect(),
    }
}

fn expected(height: u64) -> Option<Snapshot> {
    let mut outputs = BTreeMap::new();
    let mut all_claimed = Vec::new();
    for changes in (0..=height).map(changes) {
        all_claimed.extend(changes.claimed);
        outputs.extend(
            changes
                .created
                .into_iter()
                .map(|output| (output.outpoint, output)),
        );
        outputs.retain(|outpoint, _| !changes.spent.contains(outpoint));
    }
    let StateChanges {
        height,
        digest,
        counters,
        ..
    } = changes(height);
    Some(Snapshot {
        height,
        digest,
        counters,
        claimed: all_claimed,
        outputs: outputs.into_values().collect(),
    })
}

/// What a process leaves that is killed now.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("directory");
    for entry in fs::read_dir(from).expect("directory") {
        let entry = entry.expect("entry");
        // A file that is deleted meanwhile is one that no reader needs.
        drop(fs::copy(entry.path(), to.join(entry.file_name())));
    }
}

#[test]
fn what_is_written_is_loaded_also_after_reopening() {
    let directory = tempfile::tempdir().expect("directory");
    let mut state = open(directory.path(), StateOptions::default());
    assert_eq!(
        (state.load().expect("readable"), state.head(), state.flushed()),
        (None, None, None)
    );
    state.begin(&changes(0)).expect("begun");
    for height in 1..=30 {
        state.write(&changes(height)).expect("written");
        assert_eq!(state.load().expect("readable"), expected(height));
    }
    state.flush().expect("flushed");
    assert_eq!(state.flushed(), Some(Height(30)));
    drop(state);
    let state = open(directory.path(), StateOptions::default());
    assert_eq!(state.load().expect("readable"), expected(30));
    assert_eq!(state.flushed(), Some(Height(30)));
}

#[test]
fn a_state_begins_once_with_genesis_and_nothing_is_written_before() {
    let directory = tempfile::tempdir().expect("directory");
    let mut state = open(directory.path(), StateOptions::default());
    let error = state.write(&changes(1)).expect_err("no genesis");
    assert!(
        matches!(error, StateError::NotBegun { given: Height(1), .. }),
        "{error}"
    );
    let error = state.begin(&changes(1)).expect_err("not genesis");
    assert!(
        matches!(error, StateError::BegunBefore { given: Height(1), .. }),
        "{error}"
    );
    assert_eq!(state.load().expect("readable"), None);
    state.begin(&changes(0)).expect("begun");
    let error = state.begin(&changes(0)).expect_err("again");
    assert!(matches!(error, StateError::BegunBefore { .. }), "{error}");
    assert_eq!(
        (state.load().expect("readable"), state.flushed()),
        (expected(0), Some(Height(0)))
    );
}

#[test]
fn a_state_that_is_thrown_away_begins_anew_also_after_a_crash_in_between() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("state");
    let mut state = begun(&path, StateOptions::default());
    (1..=5).for_each(|height| state.write(&changes(height)).expect("written"));
    let mut state = state.reset().expect("empty");
    assert_eq!(state.load().expect("readable"), None);
    state.begin(&changes(0)).expect("begun");
    (1..=3).for_each(|height| state.write(&changes(height)).expect("written"));
    assert_eq!(state.load().expect("readable"), expected(3));
    drop(state);
    fs::rename(&path, directory.path().join("state.old")).expect("as far as the crash came");
    assert_eq!(open(&path, StateOptions::default()).head(), None);
    assert_eq!(fs::read_dir(directory.path()).expect("directory").count(), 1);
}

#[test]
fn heights_rise_and_a_refusal_changes_nothing() {
    let directory = tempfile::tempdir().expect("directory");
    let mut state = begun(directory.path(), StateOptions::default());
    (1..=3).for_each(|height| state.write(&changes(height)).expect("written"));
    for height in [2, 3] {
        let error = state.write(&changes(height)).expect_err("not above");
        assert!(
            matches!(error, StateError::HeightOrder { held: Height(3), .. }),
            "{error}"
        );
    }
    assert_eq!(state.load().expect("readable"), expected(3));
}

#[test]
fn a_kill_at_any_time_leaves_the_exact_state_of_some_height() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("state");
    let options = StateOptions {
        write_buffer_bytes: 64 << 10,
    };
    let mut state = begun(&path, options);
    let (mut last, mut between) = (0, 0);
    for height in 1..=60 {
        state.write(&changes(height)).expect("written");
        if height % 4 == 0 {
            let killed = directory.path().join(format!("killed-{height}"));
            copy(&path, &killed);
            let left = open(&killed, options).load().expect("readable");
            let found = left.as_ref().map_or(0, |snapshot| snapshot.height.0);
            assert!(
                found <= height && found >= last,
                "{found} at {height} after {last}"
            );
            assert_eq!(left, expected(found));
            between += u64::from(found > 0 && found < height);
            last = found;
        }
    }
    assert!(between > 0, "some kill fell between two flushes");
    state.flush().expect("flushed");
    let killed = directory.path().join("killed-at-end");
    copy(&path, &killed);
    assert_eq!(open(&killed, options).load().expect("readable"), expected(60));
}

#[test]
fn a_flush_in_the_background_is_noted_when_it_ended() {
    let directory = tempfile::tempdir().expect("directory");
    let mut state = begun(directory.path(), StateOptions::default());
    state.begin_flush().expect("nothing to flush");
    assert_eq!(state.flushed(), Some(Height(0)));
    state.write(&changes(1)).expect("written");
    while state.flushed() != Some(Height(1)) {
        state.begin_flush().expect("flushing");
        std::thread::yield_now();
    }
    let killed = directory.path().join("killed");
    copy(directory.path(), &killed);
    assert_eq!(
        open(&killed, StateOptions::default()).load().expect("readable"),
        expected(1)
    );
}

#[test]
fn foreign_states_are_refused_and_both_sides_named() {
    let directory = tempfile::tempdir().expect("directory");
    let mut state = begun(directory.path(), StateOptions::default());
    state.write(&changes(1)).expect("written");
    drop(state);
    let genesis = Identity {
        genesis: Hash([0xc2; 32]),
        ..IDENTITY
    };
    let error = StateStore::open(directory.path(), genesis, StateOptions::default()).expect_err("foreign");
    assert!(
        matches!(error, OpenError::Identity(IdentityError::Genesis { .. })),
        "{error}"
    );
    let words = error.to_string();
    assert!(
        words.contains(&"a1".repeat(32)) && words.contains(&"c2".repeat(32)),
        "{words}"
    );
    let validator = Identity {
        validator: [0xd3; 32],
        ..IDENTITY
    };
    let error = StateStore::open(directory.path(), validator, StateOptions::default()).expect_err("foreign");
    assert!(
        matches!(error, OpenError::Identity(IdentityError::Validator { .. })),
        "{error}"
    );
    assert_eq!(
        open(directory.path(), StateOptions::default())
            .load()
            .expect("readable"),
        expected(1)
    );
}

#[test]
fn other_versions_and_states_without_owner_are_refused() {
    let directory = tempfile::tempdir().expect("directory");
    let state = open(directory.path(), StateOptions::default());
    let mut value = 7_u32.to_le_bytes().to_vec();
    value.extend_from_slice(&[0; 64]);
    state
        .db
        .put_opt(super::IDENTITY_KEY, value, &super::without_wal())
        .expect("put");
    drop(state);
    let error = StateStore::open(directory.path(), IDENTITY, StateOptions::default()).expect_err("version 7");
    assert!(
        matches!(
            &error,
            OpenError::Identity(IdentityError::Version { found: 7, .. })
        ),
        "{error}"
    );

    let directory = tempfile::tempdir().expect("directory");
    let mut state = begun(directory.path(), StateOptions::default());
    state.write(&changes(1)).expect("written");
    state
        .db
        .put_opt([super::OUTPUT_PREFIX, 9], [1], &super::without_wal())
        .expect("put");
    let error = state.load().expect_err("not an output");
    assert!(matches!(error, StateError::Damaged { .. }), "{error}");
    state
        .db
        .delete_opt(super::IDENTITY_KEY, &super::without_wal())
        .expect("deleted");
    drop(state);
    let error = StateStore::open(directory.path(), IDENTITY, StateOptions::default()).expect_err("no owner");
    assert!(
        matches!(error, OpenError::State(StateError::Damaged { .. })),
        "{error}"
    );
}

#[test]
fn a_state_is_open_once() {
    let directory = tempfile::tempdir().expect("directory");
    let state = open(directory.path(), StateOptions::default());
    let error = StateStore::open(directory.path(), IDENTITY, StateOptions::default()).expect_err("open");
    assert!(
        error.to_string().contains("is in use by another process"),
        "{error}"
    );
    drop(state);
    open(directory.path(), StateOptions::default());
}
