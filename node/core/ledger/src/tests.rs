//! Tests of the whole ledger: single rules, heights, and random blocks against a naive model.

mod blocks;
mod heights;
mod model;
mod orders;
#[cfg(feature = "planted-bugs")]
mod planted;
mod random;
mod rules;
