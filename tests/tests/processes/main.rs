//! Real processes, sockets and files: `loadgen` and `shardbench-node` as a user starts them.
//!
//! The programs are taken from beside the test binary; `scripts/test` builds them first. Nothing here asserts a
//! time: a slow machine gives another verdict, never another account or audit.

mod network;
mod observer;
mod programs;

mod bitcoin;
mod disks;
mod embedded;
mod fallback;
mod four_nodes;
mod hostile;
mod kill_loop;
mod leader;
mod leagues;
mod lying;
mod secrets;
mod usage;
