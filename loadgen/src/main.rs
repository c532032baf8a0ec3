//! `loadgen` command line.
fn main() {}
