//! Seeded faults: each is a rule left out, and each must be caught by the simulator.

/// A rule that is left out on purpose, to prove that the tests would notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlantedBug {
    /// A certificate is formed from one vote less than a quorum, and believed.
    QuorumOffByOne,
    /// A new leader puts every uncommitted height to the vote again, not the base alone (`ios` 9.11).
    RevoteEveryHeight,
    /// Tips at or below the highest committed height are dropped before the highest view is sought (`ios` 9.11).
    TipsFilteredByHeight,
    /// A block at or below the base's height may be voted (`ios` 9.11).
    VoteBelowBase,
    /// A second opening of the same view is accepted (`ios` 9.11).
    SecondNewView,
    /// A prepare certificate of a lower view is answered with a commit vote.
    StaleCertificate,
    /// A leader counts those who stand in two sums of votes twice.
    PartialCountedTwice,
    /// A block counts as final, and its clients are told so, when it is prepared.
    ReceiptBeforeCertified,
}

impl PlantedBug {
    /// Every fault.
    pub const ALL: [Self; 8] = [
        Self::QuorumOffByOne,
        Self::RevoteEveryHeight,
        Self::TipsFilteredByHeight,
        Self::VoteBelowBase,
        Self::SecondNewView,
        Self::StaleCertificate,
        Self::PartialCountedTwice,
        Self::ReceiptBeforeCertified,
    ];
}
