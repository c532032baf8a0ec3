//! A state that is damaged or gone: genesis and the log give the same again, or it is refused; it is never wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use blocklog::samples::{IDENTITY, height};
use types::{Counters, Hash, Height, Sequence};

use super::super::{Opened, Store, StoreOptions};
use super::output;
use crate::changes::{Output, StateChanges};
use crate::error::{OpenError, StateError};

/// Final heights of the log.
const HEIGHTS: u64 = 24;

fn options() -> StoreOptions {
    StoreOptions {
        segment_bytes: 4 << 10,
        ..StoreOptions::default()
    }
}

/// Each height creates 40 outputs and spends 20 of the height before. Height 0 is genesis.
fn changes(height: u64) -> StateChanges {
    let spent = (height * 100).saturating_sub(100)..(height * 100).saturating_sub(80);
    StateChanges {
        height: Height(height),
        digest: Hash([height as u8; 32]),
        counters: Counters {
            fees: height,
            ..Counters::default()
        },
        claimed: Vec::new(),
        created: (0..40).map(|id| output(height * 100 + id, height)).collect(),
        spent: spent.map(|id| output(id, height - 1).outpoint).collect(),
    }
}

fn expected(height: u64) -> Vec<Output> {
    let mut outputs = BTreeMap::new();
    for changes in (0..=height).map(changes) {
        outputs.extend(changes.created.iter().map(|output| (output.outpoint, *output)));
        outputs.retain(|outpoint, _| !changes.spent.contains(outpoint));
    }
    outputs.into_values().collect()
}

/// In memory where the system has such a place: RocksDB waits for the disk often.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    folder.expect("a folder")
}

/// A data directory whose state was written out in several files; its log may be cut at the front.
fn make(path: &Path, cut: bool) {
    let mut opened = Store::open(path, IDENTITY, options()).expect("a new one");
    opened.begin_state(&changes(0)).expect("begun");
    for number in 1..=HEIGHTS {
        opened
            .log
            .append(&height(number, 300), Sequence(number))
            .expect("appended");
        opened.state.write(&changes(number)).expect("written");
        if number % 5 == 0 {
            opened.state.flush().expect("flushed");
        }
    }
    opened.log.sync().expect("synced");
    opened.state.flush().expect("flushed");
    if cut {
        assert!(opened.log.cut_below(Height(12)).expect("cut").segments > 0);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("created");
    for entry in fs::read_dir(from).expect("readable") {
        let path = entry.expect("an entry").path();
        let to = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).expect("copied");
        }
    }
}

/// What happened to a file of the state.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Removed,
    Cut(usize),
    Flipped(usize),
}

fn damages(name: &Path, len: usize, bits: usize) -> Vec<Damage> {
    let mut damages = vec![Damage::Removed];
    if len > 0 {
        damages.extend(
            BTreeSet::from([0, len / 3, len / 2, len - 1])
                .into_iter()
                .map(Damage::Cut),
        );
        // Spread over the file; another place in each, so that every part is met somewhere.
        let offset = name.as_os_str().len();
        let place = |bit| (bit * len * 8 / bits + offset) % (len * 8);
        damages.extend((0..bits).map(place).map(Damage::Flipped));
    }
    damages
}

fn apply(damage: Damage, path: &Path) {
    let mut bytes = fs::read(path).expect("readable");
    match damage {
        Damage::Removed => return fs::remove_file(path).expect("removed"),
        Damage::Cut(len) => bytes.truncate(len),
        Damage::Flipped(bit) => bytes[bit / 8] ^= 1 << (bit % 8),
    }
    fs::write(path, bytes).expect("written");
}

/// Reads the state as a restart does and replays the log over it. Returns the height that the state was at, `None`
/// when it had to begin with genesis.
fn restart(opened: Opened, point: &str) -> Result<Option<u64>, OpenError> {
    let mut opened = match opened.state().load() {
        Ok(_) => opened,
        Err(_) => opened.reset_state()?,
    };
    let found = opened.state().load().expect("readable");
    if let Some(found) = &found {
        assert!(
            found.outputs == expected(found.height.0) && found.digest == changes(found.height.0).digest,
            "{point}: a wrong state of height {}",
            found.height
        );
    } else {
        opened.begin_state(&changes(0))?;
    }
    let from = found.as_ref().map_or(0, |found| found.height.0);
    for number in from + 1..=HEIGHTS {
        let block = opened.log().read_committed(Height(number)).expect("readable");
        assert!(block.is_some(), "{point}: the log has no height {number}");
        opened.state.write(&changes(number)).expect("written");
    }
    let whole = opened.state().load().expect("readable").expect("begun");
    assert!(
        whole.outputs == expected(HEIGHTS),
        "{point}: another state than before the damage"
    );
    Ok(found.map(|found| found.height.0))
}

/// Every damage of every file of a state, `bits` flipped bits in each among them: how many restarts found it as it was, or at an earlier height, how many
/// began with genesis, and the words of those that were refused.
fn campaign(cut: bool, bits: usize) -> (usize, usize, Vec<String>) {
    let folder = folder();
    let whole = folder.path().join("whole");
    make(&whole, cut);
    let files: Vec<PathBuf> = fs::read_dir(whole.join("state"))
        .expect("readable")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    let tables = files
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end == "sst"))
        .count();
    assert!(tables > 1, "{tables} tables");
    let (mut kept, mut begun, mut refused) = (0, 0, Vec::new());
    for file in files {
        let name = file.file_name().map(PathBuf::from).expect("a name");
        let len = fs::metadata(&file).expect("a file").len() as usize;
        for damage in damages(&name, len, bits) {
            let point = format!("{} {damage:?}", name.display());
            let path = folder.path().join("damaged");
            copy(&whole, &path);
            apply(damage, &path.join("state").join(&name));
            let outcome = Store::open(&path, IDENTITY, options()).and_then(|opened| restart(opened, &point));
            match outcome {
                Ok(Some(_)) => kept += 1,
                Ok(None) => begun += 1,
                Err(error) => refused.push(error.to_string()),
            }
            fs::remove_dir_all(&path).expect("removed");
        }
    }
    (kept, begun, refused)
}

#[test]
fn a_state_damaged_anywhere_is_rebuilt_from_genesis_and_the_log() {
    let (kept, begun, refused) = campaign(false, 16);
    println!("{kept} were read, {begun} rebuilt, refused: {refused:#?}");
    // Bits that nothing depends on, in the text files of RocksDB, leave the state as it was.
    assert!(kept > 0 && begun > kept / 4, "{kept} were read, {begun} rebuilt");
    assert_eq!(refused, [""; 0]);
}

#[test]
fn a_state_damaged_anywhere_is_refused_when_the_log_was_cut() {
    let (kept, begun, refused) = campaign(true, 4);
    assert_eq!(begun, 0, "genesis does not join the log");
    assert!(kept > 0 && !refused.is_empty(), "{kept} were read");
    for words in refused {
        assert!(words.contains("the state in "), "{words}");
    }
}

#[test]
fn a_state_that_is_gone_is_rebuilt_or_refused() {
    for cut in [false, true] {
        let folder = folder();
        let path = folder.path().join("data");
        make(&path, cut);
        fs::remove_dir_all(path.join("state")).expect("removed");
        let outcome = Store::open(&path, IDENTITY, options()).and_then(|opened| restart(opened, "gone"));
        match outcome {
            Ok(found) => assert!(!cut && found.is_none()),
            Err(OpenError::State(StateError::Underivable { .. })) => assert!(cut),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_state_older_than_the_log_is_refused_and_stays() {
    let folder = folder();
    let (path, old) = (folder.path().join("data"), folder.path().join("old"));
    make(&path, true);
    // The state of another day: sound, and of a height that the log no longer continues.
    let mut opened = Store::open(&old, IDENTITY, options()).expect("a new one");
    opened.begin_state(&changes(0)).expect("begun");
    opened.state.write(&changes(1)).expect("written");
    opened.state.flush().expect("flushed");
    drop(opened);
    fs::remove_dir_all(path.join("state")).expect("removed");
    fs::rename(old.join("state"), path.join("state")).expect("moved");
    for _ in 0..2 {
        let error = Store::open(&path, IDENTITY, options()).expect_err("a gap");
        assert!(
            error
                .to_string()
                .contains("the block log was cut and no longer joins it"),
            "{error}"
        );
    }
}

#[test]
fn a_cut_log_does_not_let_the_state_be_thrown_away() {
    let folder = folder();
    make(folder.path(), true);
    let opened = Store::open(folder.path(), IDENTITY, options()).expect("sound");
    let error = opened.reset_state().expect_err("not derivable");
    assert!(
        matches!(error, OpenError::State(StateError::Underivable { .. })),
        "{error}"
    );
    let opened = Store::open(folder.path(), IDENTITY, options()).expect("as before");
    assert_eq!(restart(opened, "as before").expect("sound"), Some(HEIGHTS));
}
