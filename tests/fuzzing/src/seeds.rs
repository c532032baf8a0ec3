//! First inputs: what the real encoders write, so that the engine starts from accepted bytes.

mod chain;
mod exchange;
mod network;
mod segments;
mod text;

pub(crate) use network::{Voters, genesis};

/// An input with the target that it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed {
    /// Target.
    pub target: &'static str,
    /// Name of its file.
    pub name: String,
    /// Bytes.
    pub bytes: Vec<u8>,
}

/// All seeds; the same at every call.
#[must_use]
pub fn all() -> Vec<Seed> {
    [
        chain::certificates(),
        chain::peer(),
        exchange::transactions(),
        exchange::clients(),
        exchange::frames(),
        segments::logs(),
        text::files(),
    ]
    .concat()
}

fn seed(target: &'static str, name: impl Into<String>, bytes: Vec<u8>) -> Seed {
    Seed {
        target,
        name: name.into(),
        bytes,
    }
}

/// Bytes with a choice before them.
fn choose(choice: u8, bytes: &[u8]) -> Vec<u8> {
    [&[choice], bytes].concat()
}
