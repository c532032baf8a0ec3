//! One binary for all tests of the simulator.

mod corpora;
mod exploration;
mod planted;
mod seeds;
