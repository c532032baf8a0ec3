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
    /// What slashes and claims do to the counters is left out of the digest.
    DigestSkipsCounters,
    /// A claim that was settled before is paid once more.
    ClaimPaidTwice,
    /// Outputs that a claim seizes stay spendable.
    SeizedStaysSpendable,
    /// A slow transaction may spend what an earlier transaction of its block spent.
    SlowForgetsClaim,
}

/// The fault of a ledger, if any.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fault {
    #[cfg(feature = "planted-bugs")]
    pub(crate) bug: Option<PlantedBug>,
}

#[cfg(feature = "planted-bugs")]
impl Fault {
    pub(crate) fn forgets_claims(self, slow: bool) -> bool {
        self.bug == Some(PlantedBug::ForgottenClaim) || slow && self.bug == Some(PlantedBug::SlowForgetsClaim)
    }

    pub(crate) fn skips_conservation(self) -> bool {
        self.bug == Some(PlantedBug::SkippedConservation)
    }

    pub(crate) fn skips_output(self, index: u16) -> bool {
        self.bug == Some(PlantedBug::DigestSkipsOutput) && index > 0
    }

    pub(crate) fn skips_counters(self) -> bool {
        self.bug == Some(PlantedBug::DigestSkipsCounters)
    }

    pub(crate) fn settles_again(self) -> bool {
        self.bug == Some(PlantedBug::ClaimPaidTwice)
    }

    pub(crate) fn leaves_seized(self) -> bool {
        self.bug == Some(PlantedBug::SeizedStaysSpendable)
    }
}

#[cfg(not(feature = "planted-bugs"))]
impl Fault {
    pub(crate) const fn forgets_claims(self, _slow: bool) -> bool {
        false
    }

    pub(crate) const fn skips_conservation(self) -> bool {
        false
    }

    pub(crate) const fn skips_output(self, _index: u16) -> bool {
        false
    }

    pub(crate) const fn skips_counters(self) -> bool {
        false
    }

    pub(crate) const fn settles_again(self) -> bool {
        false
    }

    pub(crate) const fn leaves_seized(self) -> bool {
        false
    }
}
