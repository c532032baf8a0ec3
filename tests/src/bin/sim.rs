//! Runs simulator seeds.
fn main() {}
