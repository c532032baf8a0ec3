//! The record of what a test run did: numbers that documents may cite.
//!
//! A campaign adds one line of JSON, `{"part": "...", "counter": n, ...}`, to the file that the environment variable
//! [`VARIABLE`] names; without it nothing is written. Counters of one part are summed by `cargo xtask record`.

use std::io::Write as _;

use serde_json::{Map, Value};

/// Names the file of the record.
pub const VARIABLE: &str = "SHARDBENCH_TEST_RECORD";

/// Adds what a campaign did, when a record is kept.
///
/// # Panics
/// When the file cannot be written: a record with holes would be cited as if it were whole.
pub fn append(part: &str, counters: &[(&str, u64)]) {
    let Some(path) = std::env::var_os(VARIABLE) else {
        return;
    };
    let mut line = Map::new();
    line.insert("part".into(), Value::from(part));
    for (name, count) in counters {
        line.insert((*name).into(), Value::from(*count));
    }
    let mut text = Value::Object(line).to_string();
    text.push('\n');
    let file = std::fs::OpenOptions::new().create(true).append(true).open(&path);
    // One write call: lines of several processes do not mix.
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .unwrap_or_else(|error| panic!("{VARIABLE}={}: {error}", path.display()));
}
