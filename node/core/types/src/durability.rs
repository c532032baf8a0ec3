//! When something counts as durable.

/// What a durable sequence means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Durable is reported after `fdatasync`: it survives power loss.
    #[default]
    Fsync,
    /// Durable is reported after `write`: it survives the end of the process, not of the machine. For comparison
    /// only; a report that used it says so.
    Async,
}

impl Durability {
    /// Name as flags and reports spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fsync => "fsync",
            Self::Async => "async",
        }
    }
}
