//! What must hold in every run, one file each; checked after every event.

pub mod agreement;
pub mod conservation;
pub mod liveness;
pub mod model;
pub mod promises;
pub mod queues;
pub mod receipts;
pub mod sampling;
pub mod verdicts;
pub mod votes;

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Name of the invariant.
    pub invariant: &'static str,
    /// What was seen.
    pub detail: String,
}

impl Violation {
    /// A violation.
    #[must_use]
    pub fn new(invariant: &'static str, detail: impl Into<String>) -> Self {
        Self {
            invariant,
            detail: detail.into(),
        }
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.invariant, self.detail)
    }
}

/// Result of a check.
pub type Checked = Result<(), Violation>;
