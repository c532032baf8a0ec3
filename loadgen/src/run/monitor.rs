//! Looks at the run while it goes on: the progress line, and `--abort-on`.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Setting;
use super::plan::Plan;
use crate::accounting::Tallies;
use crate::config::AbortRule;
use crate::recording::live_quantile;
use crate::report::text::{duration, thousands};
use crate::slo::{Metric, Statistic};
use crate::worker::Shared;

/// Pause between figures.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Figures of the last second.
#[derive(Clone, Debug, Default, PartialEq)]
struct Second {
    scheduled: f64,
    sent: f64,
    finalised: f64,
    rejected: f64,
    before: Vec<u64>,
    after: Vec<u64>,
}

impl Second {
    /// Value of a metric, if anything happened that it is about.
    fn value(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::Tps => Some(self.finalised),
            Metric::TpsShare => (self.scheduled > 0.0).then(|| self.finalised / self.scheduled),
            Metric::Errors => {
                let answered = self.finalised + self.rejected;
                (answered > 0.0).then(|| self.rejected / answered)
            }
            Metric::Latency(_, Statistic::Quantile(quantile)) => {
                live_quantile(&self.before, &self.after, f64::from(quantile) / 1e5).map(|value| value as f64)
            }
            Metric::Latency(_, Statistic::Mean | Statistic::Max) => None,
        }
    }
}

/// Watches one run.
pub(crate) struct Monitor<'a> {
    setting: &'a Setting<'a>,
    shared: &'a Shared,
    window_end_s: f64,
    tallies: Tallies,
    live: Vec<u64>,
    looked: Instant,
    /// Since when the rule of `--abort-on` holds.
    held_since: Option<Instant>,
    aborted: Option<String>,
}

impl<'a> Monitor<'a> {
    pub(crate) fn new(setting: &'a Setting<'a>, plan: &Plan, shared: &'a Shared) -> Self {
        Self {
            setting,
            shared,
            window_end_s: plan.window_end_ns as f64 / 1e9,
            tallies: Tallies::default(),
            live: shared.recording.live().snapshot(),
            looked: Instant::now(),
            held_since: None,
            aborted: None,
        }
    }

    /// The rule that ended the run.
    pub(crate) fn abort_reason(&self) -> Option<&str> {
        self.aborted.as_deref()
    }

    /// Called often; does something once a second.
    pub(crate) fn look(&mut self) {
        let elapsed = self.looked.elapsed();
        if elapsed < LOOK_INTERVAL {
            return;
        }
        self.looked = Instant::now();
        let tallies = self.shared.recording.tallies();
        let after = self.shared.recording.live().snapshot();
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / elapsed.as_secs_f64();
        let second = Second {
            scheduled: rate(tallies.due, self.tallies.due),
            sent: rate(tallies.sent, self.tallies.sent),
            finalised: rate(tallies.finalised, self.tallies.finalised),
            rejected: rate(tallies.rejected, self.tallies.rejected),
            before: std::mem::replace(&mut self.live, after.clone()),
            after,
        };
        self.tallies = tallies;
        self.setting.progress.tick(|| self.line(&second));
        if let Some(rule) = &self.setting.config.output.abort_on {
            self.judge(rule, &second);
        }
    }

    fn line(&self, second: &Second) -> String {
        let at = self.shared.start.elapsed().as_secs_f64();
        let quantile = |quantile| {
            live_quantile(&second.before, &second.after, quantile).map_or_else(|| "-".to_owned(), duration)
        };
        let whole = |value: f64| thousands(value.round() as u64);
        format!(
            "{at:.0} of {:.0} s  scheduled {}/s  sent {}/s  final {}/s  refused {}/s  in flight {}  p50 {}  p99 {}",
            self.window_end_s,
            whole(second.scheduled),
            whole(second.sent),
            whole(second.finalised),
            whole(second.rejected),
            thousands(self.shared.recording.in_flight()),
            quantile(0.5),
            quantile(0.99),
        )
    }

    fn judge(&mut self, rule: &AbortRule, second: &Second) {
        if !rule.objective.is_met(second.value(rule.objective.metric)) {
            self.held_since = None;
            return;
        }
        let since = *self
            .held_since
            .get_or_insert_with(|| self.looked - LOOK_INTERVAL.min(rule.hold));
        if since.elapsed() >= rule.hold && self.aborted.is_none() {
            self.aborted = Some(rule.objective.text.clone());
            self.setting.interrupt.stop_flag().store(true, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Second;
    use crate::slo::Objective;

    fn value(second: &Second, expression: &str) -> Option<f64> {
        second.value(
            Objective::parse("--abort-on", expression)
                .expect("expression")
                .metric,
        )
    }

    #[test]
    fn metrics_of_a_second() {
        let second = Second {
            scheduled: 1000.0,
            sent: 900.0,
            finalised: 750.0,
            rejected: 250.0,
            before: vec![0; 512],
            after: vec![0; 512],
        };
        assert_eq!(value(&second, "tps<1"), Some(750.0));
        assert_eq!(value(&second, "tps<90%"), Some(0.75));
        assert_eq!(value(&second, "errors>5%"), Some(0.25));
        assert_eq!(value(&second, "p99>1s"), None, "nothing became final in it");
        assert_eq!(value(&Second::default(), "errors>5%"), None);
        assert_eq!(value(&Second::default(), "tps<90%"), None);
        let mut busy = second;
        busy.after[200] = 5;
        assert!(value(&busy, "p99>1s").is_some_and(|value| value > 0.0));
    }
}
