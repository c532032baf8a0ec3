//! Deterministic simulator over the real replica: virtual time, a faulty network, faulty disks, crashing nodes,
//! clients, and invariants that are checked after every event.
//!
//! ```text
//!  options (from the seed) ─▶ World ─▶ nodes: Replica + Disk + Clock  ─▶ invariants, one file each
//!                               │      network: delay, loss, copies, partitions, flapping links
//!                               │      nemesis: kills, losses of power, freezes, slow nodes, wrong clocks
//!                               ├────  clients: transfers, conflicts, copies
//!                               ├────  liars: members, at most f, that equivocate, withhold, vote twice, ...
//!                               └────  cheats: candidates that forge, believed by voters who sample (two leagues)
//!  explore: consensus machines alone against one lying leader, random and scripted schedules
//!  twins: consensus machines alone, some identities running twice, all short scripts and many long ones
//! ```
//!
//! A run is safety phase (faults), then heal, then liveness phase (everything admitted must be decided).
//!
//! Invariant: a run is a function of its options; nothing sleeps, reads a clock or asks for entropy. The one exception
//! is [`hostile`], which attacks real networks and shares only the random numbers with the rest.

pub mod byzantine;
pub mod campaign;
pub mod clients;
pub mod clock;
pub mod disk;
pub mod explore;
pub mod faults;
pub mod hostile;
pub mod invariants;
pub mod league;
pub mod network;
pub mod node;
pub mod planted;
mod queue;
pub mod record;
pub mod report;
pub mod rng;
pub mod rogue;
pub mod setup;
mod torsion;
pub mod twins;
pub mod world;
