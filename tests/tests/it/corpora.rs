//! Every input that fuzzing kept, through the functions that the fuzz engine calls: without the engine and at once.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use fuzzing::{TARGETS, seeds};
use simulator::record;

/// Bytes of all inputs together: they are cloned with the repository.
const CORPORA_BYTES_MAX: u64 = 300 << 10;

fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpora")
}

/// Names of a folder's entries, in order.
fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("entry").file_name();
    let mut names: Vec<_> = entries
        .map(|entry| name(entry).into_string().expect("a name in UTF-8"))
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn every_kept_input_holds_what_its_target_asserts() {
    let targets: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(entries(&corpora()), targets, "a folder of inputs for each target");
    let mut broken = Vec::new();
    let mut count = 0;
    for target in TARGETS {
        let folder = corpora().join(target.name);
        let inputs = entries(&folder);
        assert!(inputs.len() >= 5, "{} has only {inputs:?}", target.name);
        for name in inputs {
            let path = folder.join(name);
            let input = fs::read(&path).expect("an input");
            count += 1;
            // The message of the panic is on stderr, before this list.
            if catch_unwind(AssertUnwindSafe(|| (target.check)(&input))).is_err() {
                broken.push(path);
            }
        }
        // No bytes are an input too, and the first that the engine tries.
        (target.check)(&[]);
    }
    record::append("corpora", &[("inputs", count)]);
    assert!(broken.is_empty(), "inputs that break a property: {broken:#?}");
}

#[test]
fn first_inputs_are_those_of_todays_encoders() {
    let mut expected: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
    for seed in seeds::all() {
        let path = corpora().join(seed.target).join(format!("seed-{}", seed.name));
        assert!(expected.insert(path, seed.bytes).is_none(), "{} twice", seed.name);
    }
    let is_seed = |name: &String| name.starts_with("seed-");
    let kept = TARGETS.iter().flat_map(|target| {
        let folder = corpora().join(target.name);
        let names = entries(&folder).into_iter().filter(is_seed);
        names.map(move |name| folder.join(name)).collect::<Vec<_>>()
    });
    let kept: BTreeMap<PathBuf, Vec<u8>> = kept
        .map(|path| (path.clone(), fs::read(&path).expect("an input")))
        .collect();
    assert!(
        kept == expected,
        "write them again: cargo run --release --package fuzzing --bin fuzz-seeds tests/fuzz/corpora"
    );
}

#[test]
fn inputs_stay_small() {
    let sizes = TARGETS.iter().flat_map(|target| {
        let folder = corpora().join(target.name);
        entries(&folder).into_iter().map(move |name| folder.join(name))
    });
    let bytes: u64 = sizes
        .map(|path| fs::metadata(path).expect("an input").len())
        .sum();
    assert!(
        bytes <= CORPORA_BYTES_MAX,
        "{bytes} bytes, at most {CORPORA_BYTES_MAX}"
    );
}
