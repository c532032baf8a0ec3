//! Seeded faults that the simulator must catch. Without the feature nothing of them is compiled.

/// A fault.
#[cfg(feature = "planted-bugs")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlantedBug {
    /// Two transactions of one block that spend the same output both take effect.
    ForgottenClaim,
    /// Outputs may be worth more than inputs.
    SkippedConservation,
    /// Second and later outputs of a transaction are left out of the digest.
    DigestSkipsOutput,
}

/// The fault of a ledger, if any.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fault {
    #[cfg(feature = "planted-bugs")]
    pub(crate) bug: Option<PlantedBug>,
}

#[cfg(feature = "planted-bugs")]
impl Fault {
    pub(crate) fn forgets_claims(self) -> bool {
        self.bug == Some(PlantedBug::ForgottenClaim)
    }

    pub(crate) fn skips_conservation(self) -> bool {
        self.bug == Some(PlantedBug::SkippedConservation)
    }

    pub(crate) fn skips_output(self, index: u16) -> bool {
        self.bug == Some(PlantedBug::DigestSkipsOutput) && index > 0
    }
}

#[cfg(not(feature = "planted-bugs"))]
impl Fault {
    pub(crate) const fn forgets_claims(self) -> bool {
        false
    }

    pub(crate) const fn skips_conservation(self) -> bool {
        false
    }

    pub(crate) const fn skips_output(self, _index: u16) -> bool {
        false
    }
}
