//! `shardbench-node`: one validator, or a whole local test network.
fn main() {}
