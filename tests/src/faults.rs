//! What a seed stands for: sizes, rates and faults, drawn once and printed in full when a run fails.

use std::collections::{BTreeMap, BTreeSet};

use crypto::keys::Scheme;
use replica::Planted;
use types::MemberIndex;
use types::time::Duration;

use crate::rng::SimRng;

/// A way for a member to lie. Members that lie are at most `f`; what holds for honest members holds whatever they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lie {
    /// Says nothing for a while.
    Silence,
    /// Keeps proposals, bodies and certificates from some.
    Withhold,
    /// Proposes two valid blocks at one height, each to some.
    Equivocate,
    /// Sends proposals with wrong roots, digests and times, certificates without a quorum, bodies that are none.
    Garbage,
    /// Votes for two blocks of one height, or commits what is not prepared.
    DoubleVote,
    /// Opens a view twice, from different view changes.
    SecondOpening,
    /// Conceals its tip and what it knows to be committed when it changes views.
    StaleViewChange,
    /// Sends old messages of its own and of others again.
    Replay,
    /// Signs author blocks with invalid transactions, and two at one position.
    InvalidBatches,
}

impl Lie {
    /// Every lie.
    pub const ALL: [Self; 9] = [
        Self::Silence,
        Self::Withhold,
        Self::Equivocate,
        Self::Garbage,
        Self::DoubleVote,
        Self::SecondOpening,
        Self::StaleViewChange,
        Self::Replay,
        Self::InvalidBatches,
    ];
}

/// Kinds of faults, as they are counted when they strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A process ends at once.
    Kill,
    /// Some machines lose power together.
    PowerLoss,
    /// All machines lose power at the same instant.
    Blackout,
    /// Links between two groups carry nothing.
    Partition,
    /// Links from one group to another carry nothing; those back do.
    OneWayPartition,
    /// One link comes and goes.
    Flap,
    /// Messages, checks and writes of one node take many times longer.
    SlowNode,
    /// Writes of one node take 100 ms.
    SlowDisk,
    /// A node does nothing for a while, and then goes on as if no time had passed.
    Freeze,
    /// A node starts with a clock that is wrong by up to an hour.
    WrongClock,
    /// A node starts with a clock that runs too fast or too slow.
    WrongRate,
    /// A message is lost.
    Loss,
    /// A message arrives late, behind others.
    Straggler,
    /// A member lies.
    Lie(Lie),
}

impl Fault {
    /// Kinds that are no lies.
    pub const BENIGN: [Self; 13] = [
        Self::Kill,
        Self::PowerLoss,
        Self::Blackout,
        Self::Partition,
        Self::OneWayPartition,
        Self::Flap,
        Self::SlowNode,
        Self::SlowDisk,
        Self::Freeze,
        Self::WrongClock,
        Self::WrongRate,
        Self::Loss,
        Self::Straggler,
    ];

    /// Every kind.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::BENIGN.into_iter().chain(Lie::ALL.map(Self::Lie))
    }

    /// Name in summaries.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::PowerLoss => "power_loss",
            Self::Blackout => "blackout",
            Self::Partition => "partition",
            Self::OneWayPartition => "one_way_partition",
            Self::Flap => "flap",
            Self::SlowNode => "slow_node",
            Self::SlowDisk => "slow_disk",
            Self::Freeze => "freeze",
            Self::WrongClock => "wrong_clock",
            Self::WrongRate => "wrong_rate",
            Self::Loss => "loss",
            Self::Straggler => "straggler",
            Self::Lie(Lie::Silence) => "lie_silence",
            Self::Lie(Lie::Withhold) => "lie_withhold",
            Self::Lie(Lie::Equivocate) => "lie_equivocate",
            Self::Lie(Lie::Garbage) => "lie_garbage",
            Self::Lie(Lie::DoubleVote) => "lie_double_vote",
            Self::Lie(Lie::SecondOpening) => "lie_second_opening",
            Self::Lie(Lie::StaleViewChange) => "lie_stale_view_change",
            Self::Lie(Lie::Replay) => "lie_replay",
            Self::Lie(Lie::InvalidBatches) => "lie_invalid_batches",
        }
    }
}

/// How often each kind of fault struck.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<Fault, u64>);

impl Tally {
    /// One more.
    pub fn count(&mut self, fault: Fault) {
        self.add(fault, 1);
    }

    /// So many more.
    pub fn add(&mut self, fault: Fault, times: u64) {
        *self.0.entry(fault).or_default() += times;
    }

    /// Adds another tally.
    pub fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(fault, times)| self.add(*fault, *times));
    }

    /// How often a kind struck.
    #[must_use]
    pub fn of(&self, fault: Fault) -> u64 {
        self.0.get(&fault).copied().unwrap_or(0)
    }
}

/// Everything that determines a run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Seed of all draws.
    pub seed: u64,
    /// Validators of the one shard, `4..=256`; above 16 certificates are aggregates.
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
    /// Transactions signed with a component of small order in `R`, of 1000; with Ed25519 only.
    pub torsion: u64,
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
    /// Mean pause between ends of a process; none without.
    pub kill_pause: Option<Duration>,
    /// Mean pause between losses of power; none without.
    pub power_pause: Option<Duration>,
    /// Losses of power that strike all machines at once, of 1000; the others strike each with one chance in two.
    pub blackouts: u64,
    /// Longest time that a node stays down: those of one loss of power come back at different times.
    pub down_max: Duration,
    /// Mean pause between partitions; none without partitions.
    pub partition_pause: Option<Duration>,
    /// Partitions that cut one direction only, of 1000.
    pub asymmetric: u64,
    /// Mean pause between the changes of a link that comes and goes; none without such links.
    pub flap_pause: Option<Duration>,
    /// Mean pause between freezes of a node; none without freezes.
    pub freeze_pause: Option<Duration>,
    /// A node whose messages, checks and writes take this many times longer.
    pub slow: Option<(u16, u64)>,
    /// A node whose synchronous writes take 100 ms.
    pub slow_disk: Option<u16>,
    /// Furthest that the clock of a starting node is off, either way.
    pub clock_off: Duration,
    /// Bounds of the rate of a starting node's clock, in thousandths.
    pub clock_rate: (u64, u64),
    /// Members that lie, at most `f`.
    pub liars: BTreeSet<MemberIndex>,
    /// How they lie.
    pub lies: BTreeSet<Lie>,
}

impl Options {
    /// Draws the options of a seed. One seed in fifty signs with Ed25519; each fault is absent in many seeds, so
    /// that one fault cannot hide what another would show.
    #[must_use]
    pub fn of_seed(seed: u64, validators: u16, safety: Duration, planted: Option<Planted>) -> Self {
        let mut rng = SimRng::new(seed, 1);
        let real = seed % 50 == 17;
        let fast = rng.chance(500);
        let mut pause = |chance, low, high| {
            let drawn = rng.micros(low, high);
            rng.chance(chance).then_some(drawn)
        };
        let kill_pause = pause(400, 200_000, 3_000_000);
        let power_pause = pause(400, 400_000, 4_000_000);
        let partition_pause = pause(400, 100_000, 1_500_000);
        let flap_pause = pause(250, 5_000, 200_000);
        let freeze_pause = pause(250, 100_000, 2_000_000);
        let (liars, lies) = lies(&mut rng, validators);
        let mut member = |chance| {
            let drawn = rng.below(validators.into()) as u16;
            rng.chance(chance).then_some(drawn)
        };
        let (slow, slow_disk) = (member(200), member(200));
        Self {
            seed,
            validators,
            safety: if real { safety / 6 } else { safety },
            liveness: Duration::from_secs(120),
            scheme: if real { Scheme::Ed25519 } else { Scheme::Simulated },
            planted,
            accounts: rng.between(4, 24),
            torsion: if real { rng.below(300) } else { 0 },
            start_micros: 20_000,
            client_pause: rng.micros(1_000, 40_000),
            hop_micros: if fast {
                (50, rng.between(300, 5_000))
            } else {
                (500, rng.between(5_000, 60_000))
            },
            loss: if rng.chance(400) { rng.below(200) } else { 0 },
            copies: rng.between(10, 300),
            stragglers: if rng.chance(400) { rng.below(100) } else { 0 },
            sync_micros: (50, rng.between(200, 8_000)),
            check_micros: (20, rng.between(100, 10_000)),
            kill_pause,
            power_pause,
            blackouts: rng.between(0, 1000),
            down_max: rng.micros(10_000, 1_000_000),
            partition_pause,
            asymmetric: if rng.chance(500) { 400 } else { 0 },
            flap_pause,
            freeze_pause,
            slow: slow.map(|node| (node, rng.between(10, 100))),
            slow_disk,
            clock_off: match rng.below(4) {
                0 => rng.micros(0, 100_000),
                1 => Duration::from_secs(rng.between(1, 3_600)),
                _ => Duration::ZERO,
            },
            clock_rate: if rng.chance(300) {
                (500, 2_000)
            } else {
                (1_000, 1_000)
            },
            liars,
            lies,
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
            kill_pause: None,
            power_pause: None,
            partition_pause: None,
            flap_pause: None,
            freeze_pause: None,
            slow: None,
            slow_disk: None,
            clock_off: Duration::ZERO,
            clock_rate: (1_000, 1_000),
            liars: BTreeSet::new(),
            lies: BTreeSet::new(),
            ..Self::of_seed(seed, validators, safety, None)
        }
    }

    /// Members that do not lie.
    pub fn honest(&self) -> impl Iterator<Item = MemberIndex> + '_ {
        (0..self.validators)
            .map(MemberIndex)
            .filter(|member| !self.liars.contains(member))
    }
}

/// Who lies, and how: nobody in every second run.
fn lies(rng: &mut SimRng, validators: u16) -> (BTreeSet<MemberIndex>, BTreeSet<Lie>) {
    let faulty_max = u64::from((validators - 1) / 3);
    let count = if rng.chance(500) {
        rng.between(1, faulty_max)
    } else {
        0
    };
    let mut liars = BTreeSet::new();
    while (liars.len() as u64) < count {
        liars.insert(MemberIndex(rng.below(validators.into()) as u16));
    }
    let mut lies: BTreeSet<Lie> = Lie::ALL.into_iter().filter(|_| rng.chance(350)).collect();
    if let (true, Some(lie)) = (lies.is_empty(), rng.pick(&Lie::ALL)) {
        lies.insert(*lie);
    }
    if liars.is_empty() {
        lies.clear();
    }
    (liars, lies)
}
