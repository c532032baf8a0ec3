//! Open-loop load generator: measures from the intended send time, balances its accounts, gives a verdict.

pub mod accounting;
pub mod arena;
pub mod audit;
pub mod cli;
pub mod config;
pub mod genesis_file;
pub mod hosts;
pub mod import;
pub mod latency;
pub mod measure;
pub mod notes;
pub mod ownership;
pub mod pacer;
pub mod recording;
pub mod report;
pub mod schedule;
pub mod slo;
pub mod units;
pub mod usage;
pub mod verdict;
pub mod wallet;
pub mod worker;
pub mod workload;
