//! One binary for all tests of the simulator.

mod exploration;
mod planted;
mod seeds;
mod twins;
