//! Rules that can be left out on purpose, by the names that command lines use, and the invariants that show it.

use replica::Planted;

/// A planted fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlantedFault {
    /// Name.
    pub name: &'static str,
    /// The fault.
    pub planted: Planted,
    /// Size of the committee in which it shows.
    pub validators: u16,
    /// Whether only runs of two leagues show it.
    pub two_leagues: bool,
    /// Invariants of which a campaign must find one broken; empty when random runs are not expected to find it, and
    /// a written schedule does (`explore`).
    pub breaks: &'static [&'static str],
}

/// Every fault that can be planted in this build; none without the feature `planted-bugs`.
#[must_use]
pub fn planted_faults() -> Vec<PlantedFault> {
    #[cfg(feature = "planted-bugs")]
    {
        use replica::OrderingBug as Ordering;
        let fault = |name, planted, breaks| PlantedFault {
            name,
            planted,
            validators: 4,
            two_leagues: false,
            breaks,
        };
        let ordering = |name, bug, breaks| fault(name, Planted::Ordering(bug), breaks);
        let ledger = |name, bug, breaks| fault(name, Planted::Ledger(bug), breaks);
        let mut faults = vec![
            ordering("quorum-off-by-one", Ordering::QuorumOffByOne, QUORUM),
            ordering("revote-every-height", Ordering::RevoteEveryHeight, BASE),
            ordering("tips-filtered-by-height", Ordering::TipsFilteredByHeight, &[]),
            ordering("vote-below-base", Ordering::VoteBelowBase, BASE),
            ordering(
                "second-new-view",
                Ordering::SecondNewView,
                &["one opening per view"],
            ),
            ordering("stale-certificate", Ordering::StaleCertificate, &["promise kept"]),
            PlantedFault {
                validators: 20,
                ..ordering("partial-counted-twice", Ordering::PartialCountedTwice, QUORUM)
            },
            ordering(
                "receipt-before-certified",
                Ordering::ReceiptBeforeCertified,
                &["receipts honoured"],
            ),
            fault(
                "vote-before-durable",
                Planted::VoteBeforeDurable,
                &["vote before durable"],
            ),
            fault(
                "batch-without-cofactor",
                Planted::BatchWithoutCofactor,
                &["equal verdicts"],
            ),
            ledger(
                "forgotten-claim",
                ledger::PlantedBug::ForgottenClaim,
                &["no double spend"],
            ),
            ledger(
                "skipped-conservation",
                ledger::PlantedBug::SkippedConservation,
                &["no double spend"],
            ),
            ledger(
                "digest-skips-output",
                ledger::PlantedBug::DigestSkipsOutput,
                &["equal digests"],
            ),
        ];
        faults.extend(league_faults());
        faults
    }
    #[cfg(not(feature = "planted-bugs"))]
    Vec::new()
}

#[cfg(feature = "planted-bugs")]
const BASE: &[&str] = &["votes follow the base"];

/// Two quorums of one less than a quorum need not share an honest voter; and a client or a peer that counts rightly
/// takes no such certificate.
#[cfg(feature = "planted-bugs")]
const QUORUM: &[&str] = &["agreement", "receipts honoured", "final means durable"];

/// Those that only runs of two leagues show.
#[cfg(feature = "planted-bugs")]
fn league_faults() -> Vec<PlantedFault> {
    let league = |name, planted, breaks| PlantedFault {
        name,
        planted,
        validators: 4,
        two_leagues: true,
        breaks,
    };
    vec![
        league(
            "no-challenge-wait",
            Planted::NoChallengeWait,
            &["challenge window"],
        ),
        league(
            "faulty-voted-for",
            Planted::FaultyVotedFor,
            &["vote after sampling"],
        ),
        league(
            "evidence-believed",
            Planted::EvidenceBelieved,
            &["no honest accused", "no honest slashed"],
        ),
        league(
            "switch-without-cause",
            Planted::SwitchWithoutCause,
            &["switch with cause"],
        ),
        league(
            "receipt-before-durable",
            Planted::ReceiptBeforeDurable,
            &["receipt before durable"],
        ),
        league(
            "bars-ignored",
            Planted::BarsIgnored,
            &["no fault of state is final"],
        ),
        league(
            "slash-without-ban",
            Planted::SlashWithoutBan,
            &["authors by the rules", "stand-in with cause"],
        ),
        league("ban-without-slash", Planted::BanWithoutSlash, &["equal digests"]),
        league("claim-not-paid", Planted::ClaimNotPaid, &["equal digests"]),
        league(
            "stand-in-without-silence",
            Planted::StandInWithoutSilence,
            &["stand-in with cause"],
        ),
        league(
            "predictable-samples",
            Planted::PredictableSamples,
            &["private samples"],
        ),
        league(
            "digest-skips-counters",
            Planted::Ledger(ledger::PlantedBug::DigestSkipsCounters),
            &["equal digests"],
        ),
        league(
            "seized-stays-spendable",
            Planted::Ledger(ledger::PlantedBug::SeizedStaysSpendable),
            &["equal digests", "no double spend"],
        ),
        league(
            "slow-forgets-claim",
            Planted::Ledger(ledger::PlantedBug::SlowForgetsClaim),
            &["equal digests", "no double spend"],
        ),
    ]
}
