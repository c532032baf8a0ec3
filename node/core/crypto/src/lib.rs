//! Hash contexts, Merkle trees, keys, batch signature verification, certificates and placement.
//!
//! Invariant: every function is pure; what must be unpredictable (the coefficients of a batch) comes from a seed
//! that the caller gives. One node's verdict on any bytes equals every other node's, alone or in a batch of any
//! size (`ios` 1.5).

pub mod bls;
pub mod body;
pub mod cosign;
pub mod evidence;
pub mod hash;
pub mod keys;
pub mod league;
pub mod merkle;
pub mod placement;
pub mod sampling;
pub mod verify;

mod context;
mod equation;
