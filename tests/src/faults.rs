//! What a seed stands for: sizes, rates and faults, drawn once and printed in full when a run fails.

use crypto::keys::Scheme;
use replica::Planted;
use types::time::Duration;

use crate::rng::SimRng;

/// A planted fault with the name that command lines use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlantedName {
    /// Name.
    pub name: &'static str,
    /// The fault.
    pub planted: Planted,
}

/// Every fault that can be planted in this build; none without the feature `planted-bugs`.
#[must_use]
pub fn planted_names() -> Vec<PlantedName> {
    #[cfg(feature = "planted-bugs")]
    {
        use replica::OrderingBug as Ordering;
        let ordering = |name, bug| PlantedName {
            name,
            planted: Planted::Ordering(bug),
        };
        let ledger = |name, bug| PlantedName {
            name,
            planted: Planted::Ledger(bug),
        };
        vec![
            ordering("quorum-off-by-one", Ordering::QuorumOffByOne),
            ordering("revote-every-height", Ordering::RevoteEveryHeight),
            ordering("tips-filtered-by-height", Ordering::TipsFilteredByHeight),
            ordering("vote-below-base", Ordering::VoteBelowBase),
            ordering("second-new-view", Ordering::SecondNewView),
            ledger("forgotten-claim", ledger::PlantedBug::ForgottenClaim),
            ledger("skipped-conservation", ledger::PlantedBug::SkippedConservation),
        ]
    }
    #[cfg(not(feature = "planted-bugs"))]
    Vec::new()
}

/// Everything that determines a run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Seed of all draws.
    pub seed: u64,
    /// Validators of the one shard, `4..=16`.
    pub validators: u16,
    /// Length of the phase with faults.
    pub safety: Duration,
    /// Longest time after the heal until everything is decided.
    pub liveness: Duration,
    /// How all keys sign.
    pub scheme: Scheme,
    /// A rule to leave out, at every node.
    pub planted: Option<Planted>,
    /// Accounts of the workload, one coin each at genesis.
    pub accounts: u64,
    /// Nodes start within this many microseconds; what was sent to one before is lost.
    pub start_micros: u64,
    /// Mean pause between client actions.
    pub client_pause: Duration,
    /// Bounds of one hop, in microseconds.
    pub hop_micros: (u64, u64),
    /// Messages lost, of 1000.
    pub loss: u64,
    /// Messages delivered twice, of 1000; never 0.
    pub copies: u64,
    /// Messages that take ten times as long, of 1000: they arrive behind later ones.
    pub stragglers: u64,
    /// Bounds of one synchronous write, in microseconds.
    pub sync_micros: (u64, u64),
    /// Bounds of one body check, in microseconds.
    pub check_micros: (u64, u64),
    /// Mean pause between crashes of a node; none without crashes.
    pub crash_pause: Option<Duration>,
    /// Longest time that a crashed node stays down.
    pub down_max: Duration,
    /// Crashes that take all nodes down at once, of 1000.
    pub power_loss: u64,
    /// Mean pause between partitions; none without partitions.
    pub partition_pause: Option<Duration>,
    /// Partitions that cut one direction only, of 1000.
    pub asymmetric: u64,
    /// A node whose messages and disk take this many times longer.
    pub slow: Option<(u16, u64)>,
    /// A member that signs author blocks with invalid content; its ordering is honest.
    pub rogue: Option<u16>,
}

impl Options {
    /// Draws the options of a seed. One seed in fifty signs with Ed25519; each fault is absent in some seeds, so
    /// that one fault cannot hide what another would show.
    #[must_use]
    pub fn of_seed(seed: u64, validators: u16, safety: Duration, planted: Option<Planted>) -> Self {
        let mut rng = SimRng::new(seed, 1);
        let real = seed % 50 == 17;
        let fast = rng.chance(500);
        let partitions = rng.chance(600);
        let crashes = rng.chance(600);
        Self {
            seed,
            validators,
            safety: if real { safety / 4 } else { safety },
            liveness: Duration::from_secs(60),
            scheme: if real { Scheme::Ed25519 } else { Scheme::Simulated },
            planted,
            accounts: rng.between(4, 24),
            start_micros: 20_000,
            client_pause: rng.micros(1_000, 40_000),
            hop_micros: if fast {
                (50, rng.between(300, 5_000))
            } else {
                (500, rng.between(5_000, 60_000))
            },
            loss: if rng.chance(500) { rng.below(200) } else { 0 },
            copies: rng.between(10, 300),
            stragglers: if rng.chance(500) { rng.below(100) } else { 0 },
            sync_micros: (50, rng.between(200, 8_000)),
            check_micros: (20, rng.between(100, 10_000)),
            crash_pause: crashes.then(|| rng.micros(200_000, 2_000_000)),
            down_max: rng.micros(10_000, 1_000_000),
            power_loss: if rng.chance(400) { 300 } else { 0 },
            partition_pause: partitions.then(|| rng.micros(100_000, 1_500_000)),
            asymmetric: if rng.chance(500) { 400 } else { 0 },
            slow: rng
                .chance(250)
                .then(|| (rng.below(validators.into()) as u16, rng.between(3, 30))),
            rogue: rng.chance(300).then(|| rng.below(validators.into()) as u16),
        }
    }

    /// Options of a network without faults: quick links, no loss, no crash. Copies stay.
    #[must_use]
    pub fn calm(seed: u64, validators: u16, safety: Duration) -> Self {
        Self {
            start_micros: 0,
            client_pause: Duration::from_millis(5),
            hop_micros: (200, 800),
            loss: 0,
            copies: 100,
            stragglers: 0,
            sync_micros: (100, 1_000),
            check_micros: (50, 500),
            crash_pause: None,
            partition_pause: None,
            slow: None,
            rogue: None,
            ..Self::of_seed(seed, validators, safety, None)
        }
    }
}
