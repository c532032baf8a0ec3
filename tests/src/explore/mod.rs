//! Consensus machines alone against one lying leader: contents are always right, disks always durable, and every
//! message goes where the schedule says. Four voters, one of them the liar, whose key the schedule holds.

mod cluster;
mod random;
pub mod schedules;
pub(crate) mod voter;

pub use cluster::{Cluster, LIAR};
pub use random::{Explored, explore};
