//! When every transaction is meant to leave, fixed before the run: absolute times, exact for constant rates.
//!
//! Invariant: the same profile, arrival kind and seed give the same times on every machine; nothing here reads
//! a clock, and only operations whose rounding IEEE 754 fixes are used.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

use crate::units::{Ramp, Rate};

/// How gaps between transactions are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Equal gaps.
    Uniform,
    /// Exponential gaps.
    Poisson,
}

/// One piece of the profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Rate.
    pub ramp: Ramp,
    /// Its length, nanoseconds, above zero.
    pub length_ns: u64,
}

/// The offered load over time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    stages: Vec<Stage>,
}

/// Work (in transactions) is counted in steps of 2^-32, so that exponential gaps add up without rounding.
const UNIT: u32 = 32;
const NANOS_MILLI: u128 = 1_000_000_000_000;

impl Profile {
    /// A profile of these pieces, one after the other; empty pieces are dropped.
    #[must_use]
    pub fn new(pieces: &[(Ramp, Duration)]) -> Self {
        let stages = pieces
            .iter()
            .map(|(ramp, length)| Stage {
                ramp: *ramp,
                length_ns: u64::try_from(length.as_nanos()).unwrap_or(u64::MAX),
            })
            .filter(|stage| stage.length_ns > 0)
            .collect();
        Self { stages }
    }

    /// The same rate throughout?
    #[must_use]
    pub fn is_constant(&self) -> bool {
        self.stages.iter().all(|stage| stage.ramp.is_constant())
            && self.stages.windows(2).all(|pair| pair[0].ramp == pair[1].ramp)
    }

    /// Length of the whole profile, nanoseconds.
    #[must_use]
    pub fn length_ns(&self) -> u64 {
        self.stages
            .iter()
            .map(|stage| stage.length_ns)
            .fold(0, u64::saturating_add)
    }

    /// Transactions that the profile asks for on average.
    #[must_use]
    pub fn expected(&self) -> f64 {
        self.stages.iter().map(|stage| work(stage) as f64).sum::<f64>() / (1_u64 << UNIT) as f64
    }

    /// Highest rate of the profile.
    #[must_use]
    pub fn peak(&self) -> Rate {
        self.stages
            .iter()
            .flat_map(|stage| [stage.ramp.from, stage.ramp.to])
            .max()
            .unwrap_or_default()
    }

    /// Intended times, nanoseconds from the start of the run, never falling; at most `count_max` of them.
    #[must_use]
    pub fn times(&self, arrival: Arrival, seed: u64, count_max: usize) -> Vec<u64> {
        let mut gaps = Gaps::new(arrival, seed);
        let mut times = Vec::with_capacity((self.expected() as usize).min(count_max));
        let (mut stage_work, mut stage_start) = (0_u128, 0_u64);
        let mut position = gaps.first();
        for stage in &self.stages {
            let end = stage_work + work(stage);
            while position < end && times.len() < count_max {
                times.push(stage_start + offset_ns(stage, position - stage_work));
                position += gaps.next();
            }
            stage_work = end;
            stage_start = stage_start.saturating_add(stage.length_ns);
        }
        times
    }
}

/// Transactions of a stage, in steps of 2^-32: the mean of its two rates times its length.
fn work(stage: &Stage) -> u128 {
    let rates = u128::from(stage.ramp.from.milli) + u128::from(stage.ramp.to.milli);
    ((rates * u128::from(stage.length_ns)) << (UNIT - 1)) / NANOS_MILLI
}

/// When, inside the stage, this much of its work is due.
fn offset_ns(stage: &Stage, done: u128) -> u64 {
    let (from, to) = (stage.ramp.from.milli, stage.ramp.to.milli);
    let offset = if from == to {
        ((done * NANOS_MILLI) / u128::from(from.max(1))) >> UNIT
    } else {
        // from*t + (to-from)*t^2/(2T) = done, solved for t in the form that does not cancel for small slopes.
        let rate = |milli: u64| milli as f64 / 1e12;
        let (start, slope) = (rate(from), (rate(to) - rate(from)) / stage.length_ns as f64);
        let done = done as f64 / (1_u64 << UNIT) as f64;
        let root = (start * start + 2.0 * slope * done).max(0.0).sqrt();
        (2.0 * done / (start + root)) as u128
    };
    u64::try_from(offset).unwrap_or(u64::MAX).min(stage.length_ns - 1)
}

/// Gaps in work, steps of 2^-32 of a transaction.
struct Gaps {
    arrival: Arrival,
    random: ChaCha8Rng,
}

impl Gaps {
    fn new(arrival: Arrival, seed: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(b"arrivals");
        Self {
            arrival,
            random: ChaCha8Rng::from_seed(key),
        }
    }

    fn first(&mut self) -> u128 {
        match self.arrival {
            Arrival::Uniform => 0,
            Arrival::Poisson => self.next(),
        }
    }

    fn next(&mut self) -> u128 {
        match self.arrival {
            Arrival::Uniform => 1 << UNIT,
            Arrival::Poisson => {
                // (0, 1]: 53 bits, so that the logarithm exists.
                let unit = ((self.random.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
                (-logarithm(unit) * (1_u64 << UNIT) as f64) as u128
            }
        }
    }
}

/// Natural logarithm of `(0, 1]` from operations that round alike everywhere (the platform's `ln` need not).
fn logarithm(value: f64) -> f64 {
    let bits = value.to_bits();
    let mut exponent = ((bits >> 52) & 0x7ff) as i64 - 1023;
    let mut mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa /= 2.0;
        exponent += 1;
    }
    // ln m = 2 atanh((m-1)/(m+1)); |z| < 0.172, so z^25 is below 1e-19.
    let z = (mantissa - 1.0) / (mantissa + 1.0);
    let square = z * z;
    let (mut term, mut sum) = (z, z);
    for odd in (3..=23).step_by(2) {
        term *= square;
        sum += term / f64::from(odd);
    }
    2.0 * sum + exponent as f64 * std::f64::consts::LN_2
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::{ProptestConfig, prop_assert, proptest};

    use super::{Arrival, Profile, logarithm};
    use crate::units::{Ramp, Rate};

    fn piece(from: u64, to: u64, milliseconds: u64) -> (Ramp, Duration) {
        let rate = |per_second: u64| Rate {
            milli: per_second * 1000,
        };
        let ramp = Ramp {
            from: rate(from),
            to: rate(to),
        };
        (ramp, Duration::from_millis(milliseconds))
    }

    #[test]
    fn uniform_times_are_the_exact_fractions() {
        let times = Profile::new(&[piece(3, 3, 2000)]).times(Arrival::Uniform, 1, usize::MAX);
        let exact: Vec<u64> = (0..6).map(|k| k * 1_000_000_000 / 3).collect();
        assert_eq!(times, exact);
        let limited = Profile::new(&[piece(3, 3, 2000)]).times(Arrival::Uniform, 1, 4);
        assert_eq!(limited, exact[..4]);
    }

    #[test]
    fn poisson_times_are_seeded_and_have_the_rate() {
        let profile = Profile::new(&[piece(50_000, 50_000, 2000)]);
        let times = profile.times(Arrival::Poisson, 7, usize::MAX);
        assert_eq!(times, profile.times(Arrival::Poisson, 7, usize::MAX));
        assert_ne!(times, profile.times(Arrival::Poisson, 8, usize::MAX));
        // 100,000 expected, standard deviation 316.
        assert!((98_500..101_500).contains(&times.len()), "{}", times.len());
        let gaps: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!(
            (0.97..1.03).contains(&(variance.sqrt() / mean)),
            "exponential gaps: sd = mean"
        );
    }

    #[test]
    fn ramps_have_the_area_under_the_line() {
        let profile = Profile::new(&[piece(1000, 3000, 4000), piece(500, 500, 1000)]);
        let times = profile.times(Arrival::Uniform, 1, usize::MAX);
        assert_eq!(times.len(), 8000 + 500);
        let half = times.iter().filter(|time| **time < 2_000_000_000).count();
        assert!((2999..=3001).contains(&half), "2 s at 1000 to 2000: {half}");
        assert!(!profile.is_constant());
        assert_eq!(profile.peak().milli, 3_000_000);
        let down = Profile::new(&[piece(3000, 1000, 4000)]);
        assert_eq!(down.times(Arrival::Uniform, 1, usize::MAX).len(), 8000);
    }

    #[test]
    fn the_logarithm_is_the_logarithm() {
        for step in 1..=10_000 {
            let value = f64::from(step) / 10_000.0;
            assert!((logarithm(value) - value.ln()).abs() < 1e-13, "{value}");
        }
        assert!((logarithm(f64::powi(2.0, -53)) + 36.736_800_569_677_1).abs() < 1e-9);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn times_never_fall_and_stay_inside(
            pieces in proptest::collection::vec((1_u64..5000, 1_u64..5000, 1_u64..400), 1..5),
            seed: u64,
            poisson: bool,
        ) {
            let pieces: Vec<_> = pieces.into_iter().map(|(from, to, length)| piece(from, to, length)).collect();
            let profile = Profile::new(&pieces);
            let arrival = if poisson { Arrival::Poisson } else { Arrival::Uniform };
            let times = profile.times(arrival, seed, usize::MAX);
            prop_assert!(times.windows(2).all(|pair| pair[0] <= pair[1]));
            prop_assert!(times.iter().all(|time| *time < profile.length_ns()));
            if !poisson {
                prop_assert!((times.len() as f64 - profile.expected()).abs() <= 1.0 + pieces.len() as f64 / 2.0);
            }
        }
    }
}
