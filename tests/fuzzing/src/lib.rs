//! What fuzzing asserts of every decoder, as functions of bytes: the fuzz engine in `tests/fuzz` calls them with inputs
//! that it searches for, the test `corpora` with every input that was ever kept.
//!
//! A target panics when a property does not hold, also when a decoder held memory out of proportion to its input. The
//! first byte of an input may choose what the rest is taken for.
//!
//! Programs with this crate count their allocations: it is for tests alone.
//!
//! Invariant: a target is a function of its bytes: no clock and no entropy; of files, only the segments that the target
//! `blocklog` writes into a directory of its own.

mod blocklog;
mod certificate;
mod client;
mod files;
mod frame;
mod memory;
mod peer;
mod reference;
pub mod seeds;
mod transaction;

/// One thing to fuzz.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Name: of the folder of its inputs and of its program.
    pub name: &'static str,
    /// Checks one input.
    pub check: fn(&[u8]),
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target {
        name: "blocklog",
        check: blocklog::check,
    },
    Target {
        name: "certificate",
        check: certificate::check,
    },
    Target {
        name: "client",
        check: client::check,
    },
    Target {
        name: "files",
        check: files::check,
    },
    Target {
        name: "frame",
        check: frame::check,
    },
    Target {
        name: "peer",
        check: peer::check,
    },
    Target {
        name: "transaction",
        check: transaction::check,
    },
];

/// Checks one input of the target of this name.
///
/// # Panics
/// When a property does not hold, and when there is no such target.
pub fn check(target: &str, input: &[u8]) {
    let target = TARGETS.iter().find(|known| known.name == target);
    (target.expect("a target of the list").check)(input);
}
