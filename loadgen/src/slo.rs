//! Service level objectives: `final.p99<500ms`, `errors<0.1%`, `tps>=99%`.

use std::fmt;
use std::time::Duration;

use crate::units::parse_rate;
use crate::usage::UsageError;

/// What `--slo` and `--abort-on` accept.
pub const ACCEPTED: &str = "METRIC<LIMIT or METRIC>=LIMIT such as 'final.p99<500ms', 'errors<0.1%', 'tps>=99%' or 'tps>=5000'; \
     metrics are optimistic, final, final_service or lag with .mean .p50 .p90 .p99 .p99.9 .p99.99 .max, then errors and tps";

/// A latency distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Distribution {
    /// First optimistic receipt, from the intended send time.
    Optimistic,
    /// Final, from the intended send time.
    Final,
    /// Final, from the actual send time.
    FinalService,
    /// Actual send time minus the intended one.
    Lag,
}

/// A figure of a distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Statistic {
    /// Arithmetic mean.
    Mean,
    /// Quantile in hundred-thousandths: 99,900 is p99.9.
    Quantile(u32),
    /// Largest.
    Max,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Nanoseconds.
    Latency(Distribution, Statistic),
    /// Share of sent transactions that were not final, without rejections that were asked for.
    Errors,
    /// Final transactions of the window per second, absolute.
    Tps,
    /// Final transactions of the window as a share of the scheduled ones.
    TpsShare,
}

/// How it is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Below,
    /// `<=`
    AtMost,
    /// `>`
    Above,
    /// `>=`
    AtLeast,
}

/// One objective.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    /// As it was written.
    pub text: String,
    /// What is compared.
    pub metric: Metric,
    /// How.
    pub comparison: Comparison,
    /// With what: nanoseconds, a share (0.001 for 0.1 %) or a rate.
    pub limit: f64,
}

impl Objective {
    /// Parses one expression.
    ///
    /// # Errors
    /// Names the flag, the expression, what is accepted and the nearest metric.
    pub fn parse(flag: &str, text: &str) -> Result<Self, UsageError> {
        let fail = |problem: &str| UsageError::new(flag, text, problem, ACCEPTED);
        let at = text.find(['<', '>']).ok_or_else(|| fail("no comparison"))?;
        let (name, rest) = text.split_at(at);
        let (comparison, limit) = [
            ("<=", Comparison::AtMost),
            (">=", Comparison::AtLeast),
            ("<", Comparison::Below),
            (">", Comparison::Above),
        ]
        .iter()
        .find_map(|(sign, comparison)| rest.strip_prefix(sign).map(|rest| (*comparison, rest.trim())))
        .ok_or_else(|| fail("no comparison"))?;
        let name = name.trim();
        let (metric, limit) = match name {
            "errors" => (
                Metric::Errors,
                share(limit).ok_or_else(|| fail("errors are compared with a percentage"))?,
            ),
            "tps" => match share(limit) {
                Some(limit) => (Metric::TpsShare, limit),
                None => (
                    Metric::Tps,
                    parse_rate(flag, limit)
                        .map_err(|_| fail("tps is compared with a percentage or a rate"))?
                        .per_second(),
                ),
            },
            _ => {
                let (distribution, statistic) = latency(name).map_err(|problem| {
                    let mut error = fail(problem);
                    error.nearest = crate::usage::nearest(name, METRICS).map(str::to_owned);
                    error
                })?;
                let limit = humantime::parse_duration(limit)
                    .map_err(|_| fail("a latency is compared with a duration such as 500ms"))?;
                (Metric::Latency(distribution, statistic), limit.as_nanos() as f64)
            }
        };
        Ok(Self {
            text: text.to_owned(),
            metric,
            comparison,
            limit,
        })
    }

    /// True when the objective is met; a figure that was not measured never meets one.
    #[must_use]
    pub fn is_met(&self, value: Option<f64>) -> bool {
        value.is_some_and(|value| match self.comparison {
            Comparison::Below => value < self.limit,
            Comparison::AtMost => value <= self.limit,
            Comparison::Above => value > self.limit,
            Comparison::AtLeast => value >= self.limit,
        })
    }

    /// Limit of an upper bound on a latency, for the lag rule.
    #[must_use]
    pub fn latency_limit(&self) -> Option<Duration> {
        let is_upper = matches!(self.comparison, Comparison::Below | Comparison::AtMost);
        match self.metric {
            Metric::Latency(
                Distribution::Optimistic | Distribution::Final | Distribution::FinalService,
                _,
            ) if is_upper => Some(Duration::from_nanos(self.limit as u64)),
            _ => None,
        }
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

const METRICS: &[&str] = &[
    "final.p50",
    "final.p90",
    "final.p99",
    "final.p99.9",
    "final.p99.99",
    "final.max",
    "final.mean",
    "optimistic.p50",
    "optimistic.p99",
    "final_service.p99",
    "lag.p99",
    "errors",
    "tps",
];

fn latency(name: &str) -> Result<(Distribution, Statistic), &'static str> {
    let (distribution, statistic) = name.split_once('.').unwrap_or(("final", name));
    let (distribution, statistic) = match distribution {
        // `p99.9` alone splits at its own point.
        "p99" => ("final", name),
        _ => (distribution, statistic),
    };
    let distribution = match distribution {
        "final" => Distribution::Final,
        "final_service" => Distribution::FinalService,
        "lag" => Distribution::Lag,
        "optimistic" => Distribution::Optimistic,
        _ => return Err("unknown metric"),
    };
    let statistic = match statistic {
        "mean" => Statistic::Mean,
        "max" => Statistic::Max,
        "p50" => Statistic::Quantile(50_000),
        "p90" => Statistic::Quantile(90_000),
        "p95" => Statistic::Quantile(95_000),
        "p99" => Statistic::Quantile(99_000),
        "p99.9" => Statistic::Quantile(99_900),
        "p99.99" => Statistic::Quantile(99_990),
        _ => return Err("unknown metric"),
    };
    Ok((distribution, statistic))
}

/// `0.1%` as 0.001.
fn share(text: &str) -> Option<f64> {
    let percent: f64 = text.strip_suffix('%')?.trim().parse().ok()?;
    (percent.is_finite() && percent >= 0.0).then_some(percent / 100.0)
}

#[cfg(test)]
mod tests {
    use super::{Comparison, Distribution, Metric, Objective, Statistic};

    #[test]
    fn the_documented_forms_parse() {
        let cases = [
            (
                "final.p99<500ms",
                Metric::Latency(Distribution::Final, Statistic::Quantile(99_000)),
                Comparison::Below,
                5e8,
            ),
            (
                "optimistic.p99<50ms",
                Metric::Latency(Distribution::Optimistic, Statistic::Quantile(99_000)),
                Comparison::Below,
                5e7,
            ),
            (
                "p99<50ms",
                Metric::Latency(Distribution::Final, Statistic::Quantile(99_000)),
                Comparison::Below,
                5e7,
            ),
            (
                "p99.9 <= 2s",
                Metric::Latency(Distribution::Final, Statistic::Quantile(99_900)),
                Comparison::AtMost,
                2e9,
            ),
            (
                "final_service.max<1s",
                Metric::Latency(Distribution::FinalService, Statistic::Max),
                Comparison::Below,
                1e9,
            ),
            (
                "lag.mean<1us",
                Metric::Latency(Distribution::Lag, Statistic::Mean),
                Comparison::Below,
                1e3,
            ),
            ("errors<0.1%", Metric::Errors, Comparison::Below, 0.001),
            ("tps>=99%", Metric::TpsShare, Comparison::AtLeast, 0.99),
            ("tps>5k", Metric::Tps, Comparison::Above, 5000.0),
        ];
        for (text, metric, comparison, limit) in cases {
            let objective = Objective::parse("--slo", text).expect(text);
            assert_eq!(
                (objective.metric, objective.comparison),
                (metric, comparison),
                "{text}"
            );
            assert!((objective.limit - limit).abs() < limit * 1e-12, "{text}");
        }
    }

    #[test]
    fn nonsense_is_one_line_that_helps() {
        for text in [
            "nonsense",
            "final.p98<1s",
            "final.p99<5",
            "errors<5",
            "tps>=x",
            "final.p99=1s",
            "<1s",
            "",
            "optimistic.p98<50ms",
            "errors<-1%",
            "errors<nan%",
        ] {
            let error = Objective::parse("--slo", text).expect_err(text).to_string();
            assert!(
                error.starts_with("--slo") && error.contains("final.p99<500ms"),
                "{error}"
            );
            assert!(!error.contains('\n'), "{error}");
        }
        let near = Objective::parse("--slo", "finl.p99<1s")
            .expect_err("typo")
            .to_string();
        assert!(near.contains("did you mean 'final.p99'"), "{near}");
    }

    #[test]
    fn comparisons_hold_at_the_edge_and_without_a_value() {
        let met = |text: &str, value| Objective::parse("--slo", text).expect(text).is_met(value);
        assert!(!met("p99<1us", Some(1000.0)) && met("p99<=1us", Some(1000.0)));
        assert!(!met("tps>5", Some(5.0)) && met("tps>=5", Some(5.0)));
        assert!(!met("p99<1us", None) && !met("tps>=5", None));
    }
}
