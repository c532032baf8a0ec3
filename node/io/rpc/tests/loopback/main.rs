//! The client protocol over loopback: both halves, and clients that break every rule.

mod fixture;
mod greeting;
mod raw;
mod refusals;
mod requests;
mod slow;
