//! One binary for all tests of the simulator.

mod corpora;
mod crash_points;
mod exploration;
mod leagues;
mod planted;
mod seeds;
mod twins;
