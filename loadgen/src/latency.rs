//! Latency distributions: HDR histograms over nanoseconds, their figures and confidence intervals.

use base64::Engine as _;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer as _, V2Serializer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statrs::distribution::{Binomial, DiscreteCDF as _};

/// Largest value that is told apart: one hour. Above, a value is clamped and the run is not valid.
const VALUE_MAX_NS: u64 = 3_600_000_000_000;
const SIGNIFICANT_DIGITS: u8 = 3;

/// A distribution of durations, nanoseconds, three significant digits.
#[derive(Clone, Debug)]
pub struct Latency {
    histogram: Histogram<u64>,
    clamped: u64,
}

/// Figures of one distribution (all nanoseconds).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LatencyFigures {
    /// Always `ns`.
    pub unit: String,
    /// Values.
    pub count: u64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Median.
    pub p50: u64,
    /// 90 % are at or below.
    pub p90: u64,
    /// 99 % are at or below.
    pub p99: u64,
    /// 99.9 % are at or below.
    pub p99_9: u64,
    /// 99.99 % are at or below.
    pub p99_99: u64,
    /// Largest.
    pub max: u64,
    /// 95 % confidence interval of p99 by order statistics, which assumes independent values.
    pub p99_ci95: [u64; 2],
    /// HdrHistogram V2 encoding in base64.
    pub hdr_v2_b64: String,
}

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

impl Latency {
    /// An empty distribution.
    ///
    /// # Panics
    /// Never: the bounds are constants that the histogram accepts.
    #[must_use]
    pub fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, VALUE_MAX_NS, SIGNIFICANT_DIGITS)
            .expect("constant bounds are valid");
        Self {
            histogram,
            clamped: 0,
        }
    }

    /// Adds a value; above an hour it is clamped and counted.
    pub fn add(&mut self, nanoseconds: u64) {
        if nanoseconds > VALUE_MAX_NS {
            self.clamped += 1;
        }
        self.histogram.saturating_record(nanoseconds.max(1));
    }

    /// Values that did not fit.
    #[must_use]
    pub const fn clamped(&self) -> u64 {
        self.clamped
    }

    /// Number of values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// Mean, nanoseconds; 0 when empty.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.histogram.mean()
    }

    /// Largest value, nanoseconds.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.histogram.max()
    }

    /// Value at a quantile `0..=1`, nanoseconds; 0 when empty.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> u64 {
        self.histogram.value_at_quantile(quantile)
    }

    /// 95 % confidence interval of a quantile: the values at the binomial ranks of 2.5 % and 97.5 %.
    #[must_use]
    pub fn interval(&self, quantile: f64) -> [u64; 2] {
        let count = self.count();
        let Some(binomial) = Binomial::new(quantile, count).ok().filter(|_| count > 0) else {
            return [0, 0];
        };
        let at = |probability: f64, shift: u64| {
            let rank = (binomial.inverse_cdf(probability) + shift).clamp(1, count);
            self.quantile(rank as f64 / count as f64)
        };
        [at(0.025, 0), at(0.975, 1)]
    }

    /// All figures.
    #[must_use]
    pub fn figures(&self) -> LatencyFigures {
        LatencyFigures {
            unit: "ns".to_owned(),
            count: self.count(),
            mean: self.mean(),
            p50: self.quantile(0.5),
            p90: self.quantile(0.9),
            p99: self.quantile(0.99),
            p99_9: self.quantile(0.999),
            p99_99: self.quantile(0.9999),
            max: self.max(),
            p99_ci95: self.interval(0.99),
            hdr_v2_b64: self.encode(),
        }
    }

    fn encode(&self) -> String {
        let mut bytes = Vec::new();
        match V2Serializer::new().serialize(&self.histogram, &mut bytes) {
            Ok(_) => base64::engine::general_purpose::STANDARD.encode(bytes),
            // A vector takes every byte; an empty text is what a reader sees as "not kept".
            Err(_) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use hdrhistogram::Histogram;
    use hdrhistogram::serialization::Deserializer;

    use super::{Latency, VALUE_MAX_NS};

    #[test]
    fn figures_and_blob_say_the_same() {
        let mut latency = Latency::new();
        (1..=10_000_u64).for_each(|value| latency.add(value * 1000));
        let figures = latency.figures();
        assert_eq!(figures.count, 10_000);
        let near = |value: u64, exact: f64| (value as f64 - exact).abs() <= exact * 0.001;
        assert!(near(figures.p50, 5e6) && near(figures.p99, 9.9e6) && near(figures.max, 1e7));
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(&figures.hdr_v2_b64)
            .expect("base64");
        let back: Histogram<u64> = Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .expect("histogram");
        assert_eq!(back.len(), 10_000);
        assert_eq!(back.value_at_quantile(0.99), figures.p99);
    }

    #[test]
    fn the_interval_has_the_binomial_width() {
        let mut latency = Latency::new();
        (1..=100_000_u64).for_each(|value| latency.add(value * 1000));
        let [low, high] = latency.interval(0.99);
        // Rank 99,000 with a standard deviation of 31.5: 98,938 to 99,062.
        assert!((98_800_000..=99_000_000).contains(&low), "{low}");
        assert!((99_000_000..=99_200_000).contains(&high), "{high}");
        assert_eq!(Latency::new().interval(0.99), [0, 0]);
        let mut one = Latency::new();
        one.add(5);
        assert_eq!(one.interval(0.99), [5, 5]);
    }

    #[test]
    fn clamps_are_counted() {
        let mut latency = Latency::new();
        latency.add(VALUE_MAX_NS);
        assert_eq!(latency.clamped(), 0);
        latency.add(VALUE_MAX_NS + 1);
        assert_eq!((latency.clamped(), latency.count()), (1, 2));
    }
}
