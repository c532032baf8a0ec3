//! From the samples of a run to its figures: rates, latencies, intervals, steadiness. Pure.

use std::collections::BTreeMap;

use statrs::distribution::{ContinuousCDF as _, StudentsT};

use crate::accounting::{Counts, Outcome, Sample, Sending};
use crate::latency::Latency;
use crate::report::{DependencyWait, FinalRate, Interval, LatencySection, PartFigures, RateSection};
use crate::verdict::Halves;

/// When the parts of a run began and ended, nanoseconds from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phases {
    /// Start of the measured window: the length of the warm-up.
    pub window_start_ns: u64,
    /// End of the measured window.
    pub window_end_ns: u64,
    /// End of the drain.
    pub end_ns: u64,
    /// Length of an interval of the report.
    pub interval_ns: u64,
    /// Deadline of a transaction after its intended time.
    pub deadline_ns: u64,
}

impl Phases {
    fn window_s(&self) -> f64 {
        seconds(self.window_end_ns.saturating_sub(self.window_start_ns)).max(1e-9)
    }

    fn contains(&self, at_ns: u64) -> bool {
        (self.window_start_ns..self.window_end_ns).contains(&at_ns)
    }
}

/// All figures of a run.
#[derive(Clone, Debug)]
pub struct Figures {
    /// The whole run.
    pub counts: Counts,
    /// By intended time inside the window.
    pub window: Counts,
    /// Rates.
    pub rate: RateSection,
    /// From intended send to the first optimistic receipt.
    pub optimistic: Latency,
    /// From intended send to final.
    pub finalised: Latency,
    /// From actual send to final.
    pub service: Latency,
    /// From intended to actual send.
    pub lag: Latency,
    /// By shard.
    pub by_shard: BTreeMap<u16, PartFigures>,
    /// By interval.
    pub intervals: Vec<Interval>,
    /// Waits for parents.
    pub dependency_wait: DependencyWait,
    /// Halves of the window.
    pub halves: Halves,
    /// Growth of the number in flight, per second and as a share of the scheduled rate.
    pub backlog_growth: f64,
    /// Mean number in flight, and rate times mean latency.
    pub little: [f64; 2],
}

impl Figures {
    /// Figures of these samples.
    #[must_use]
    pub fn of(samples: &[Sample], phases: &Phases) -> Self {
        let in_window = || {
            samples
                .iter()
                .filter(|sample| phases.contains(sample.scheduled_ns))
        };
        let (mut finalised, mut service, mut lag) = (Latency::new(), Latency::new(), Latency::new());
        let mut optimistic = Latency::new();
        for sample in in_window() {
            let Sending::At(sent) = sample.sending else {
                continue;
            };
            lag.add(sent.saturating_sub(sample.intended_ns));
            if let Some(receipted) = sample.optimistic_ns {
                optimistic.add(receipted.saturating_sub(sample.intended_ns));
            }
            if sample.outcome == Outcome::Final {
                finalised.add(sample.done_ns.saturating_sub(sample.intended_ns));
                service.add(sample.done_ns.saturating_sub(sent));
            }
        }
        let intervals = intervals(samples, phases);
        let window = Counts::of(in_window(), phases.deadline_ns);
        let rate = rate(samples, phases, &window, &intervals);
        Self {
            counts: Counts::of(samples, phases.deadline_ns),
            backlog_growth: backlog_growth(samples, phases, rate.scheduled_tps),
            halves: halves(samples, phases),
            little: little(samples, phases),
            by_shard: by_shard(samples, phases),
            dependency_wait: dependency_wait(samples),
            window,
            rate,
            optimistic,
            finalised,
            service,
            lag,
            intervals,
        }
    }

    /// The `latency` section.
    #[must_use]
    pub fn latency(&self) -> LatencySection {
        LatencySection {
            optimistic: (self.optimistic.count() > 0).then(|| self.optimistic.figures()),
            finalised: self.finalised.figures(),
            final_service: self.service.figures(),
            lag: self.lag.figures(),
        }
    }

    /// The whole window as one part.
    #[must_use]
    pub fn whole(&self) -> PartFigures {
        PartFigures {
            scheduled: self.window.scheduled,
            sent: self.window.sent,
            finalised: self.window.finalised,
            final_tps: self.rate.final_tps.mean,
            p50_ns: self.finalised.quantile(0.5),
            p99_ns: self.finalised.quantile(0.99),
        }
    }

    /// Values that did not fit any of the histograms.
    #[must_use]
    pub fn clamped(&self) -> u64 {
        self.optimistic.clamped() + self.finalised.clamped() + self.service.clamped() + self.lag.clamped()
    }
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

fn rate(samples: &[Sample], phases: &Phases, window: &Counts, intervals: &[Interval]) -> RateSection {
    let length_s = phases.window_s();
    let sent_in_time = samples
        .iter()
        .filter(|sample| phases.contains(sample.scheduled_ns))
        .filter(|sample| matches!(sample.sending, Sending::At(at) if at < phases.window_end_ns))
        .count();
    let final_in_window = samples
        .iter()
        .filter(|sample| sample.outcome == Outcome::Final && phases.contains(sample.done_ns))
        .count();
    let whole: Vec<f64> = intervals
        .iter()
        .filter(|row| row.phase == "window" && row.length_s >= seconds(phases.interval_ns) * 0.999)
        .map(|row| row.finalised as f64 / row.length_s)
        .collect();
    RateSection {
        scheduled_tps: window.scheduled as f64 / length_s,
        sent_tps: sent_in_time as f64 / length_s,
        sent_ratio: sent_in_time as f64 / window.scheduled.max(1) as f64,
        final_tps: FinalRate {
            mean: window.finalised as f64 / length_s,
            ci95: half_width(&whole),
            min_interval: whole.iter().copied().reduce(f64::min),
        },
        final_in_window_tps: final_in_window as f64 / length_s,
    }
}

/// Half width of the 95 % confidence interval of a mean, by Student's t.
fn half_width(values: &[f64]) -> Option<f64> {
    let count = values.len() as f64;
    if values.len() < 3 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let quantile = StudentsT::new(0.0, 1.0, count - 1.0).ok()?.inverse_cdf(0.975);
    Some(quantile * (variance / count).sqrt())
}

fn intervals(samples: &[Sample], phases: &Phases) -> Vec<Interval> {
    let edges = edges(phases);
    let at = |time_ns: u64| edges.partition_point(|edge| *edge <= time_ns).checked_sub(1);
    let mut rows: Vec<Interval> = edges
        .windows(2)
        .map(|edge| Interval {
            t_s: seconds(edge[0]),
            length_s: seconds(edge[1] - edge[0]),
            phase: phase_of(phases, edge[0]).to_owned(),
            ..Interval::default()
        })
        .collect();
    let mut latencies: Vec<(usize, u64)> = Vec::new();
    let mut flow = vec![0_i64; rows.len()];
    let mut add = |time_ns: u64, change: i64, count: &mut dyn FnMut(&mut Interval)| {
        let place = at(time_ns).filter(|place| *place < rows.len());
        if let Some((place, row)) = place.and_then(|place| rows.get_mut(place).map(|row| (place, row))) {
            count(row);
            flow[place] += change;
        }
        place
    };
    for sample in samples {
        add(sample.scheduled_ns, 0, &mut |row| row.scheduled += 1);
        let Sending::At(sent) = sample.sending else {
            continue;
        };
        add(sent, 1, &mut |row| row.sent += 1);
        match sample.outcome {
            Outcome::Final => {
                if let Some(place) = add(sample.done_ns, -1, &mut |row| row.finalised += 1) {
                    latencies.push((place, sample.done_ns.saturating_sub(sample.intended_ns)));
                }
            }
            Outcome::Rejected(_) => {
                add(sample.done_ns, -1, &mut |row| row.rejected += 1);
            }
            Outcome::Lost => {
                add(sample.done_ns, -1, &mut |_| {});
            }
            Outcome::Pending => {}
        }
    }
    let mut in_flight = 0;
    for (row, change) in rows.iter_mut().zip(flow) {
        in_flight += change;
        row.in_flight = u64::try_from(in_flight).unwrap_or(0);
    }
    latencies.sort_unstable();
    for part in latencies.chunk_by(|left, right| left.0 == right.0) {
        let rank = |quantile: f64| {
            let rank = (part.len() as f64 * quantile).ceil() as usize;
            part.get(rank.max(1) - 1).map(|(_, latency)| *latency)
        };
        if let Some(row) = part.first().and_then(|(place, _)| rows.get_mut(*place)) {
            (row.p50_ns, row.p99_ns) = (rank(0.5), rank(0.99));
        }
    }
    rows
}

/// Edges of the intervals: a phase never shares an interval with the next.
fn edges(phases: &Phases) -> Vec<u64> {
    let interval = phases.interval_ns.max(1_000_000);
    let mut edges = vec![0];
    for (from, to) in [
        (0, phases.window_start_ns),
        (phases.window_start_ns, phases.window_end_ns),
        (phases.window_end_ns, phases.end_ns),
    ] {
        let mut edge = from;
        while edge < to {
            edge = edge.saturating_add(interval).min(to);
            edges.push(edge);
        }
    }
    edges
}

fn phase_of(phases: &Phases, start_ns: u64) -> &'static str {
    if start_ns < phases.window_start_ns {
        "warmup"
    } else if start_ns < phases.window_end_ns {
        "window"
    } else {
        "drain"
    }
}

fn halves(samples: &[Sample], phases: &Phases) -> Halves {
    let middle = u64::midpoint(phases.window_start_ns, phases.window_end_ns);
    let length_s = phases.window_s() / 2.0;
    let mut latencies = [Latency::new(), Latency::new()];
    let mut counts = [0_u64; 2];
    for sample in samples.iter().filter(|sample| sample.outcome == Outcome::Final) {
        if phases.contains(sample.done_ns) {
            counts[usize::from(sample.done_ns >= middle)] += 1;
        }
        if phases.contains(sample.scheduled_ns) {
            let half = usize::from(sample.scheduled_ns >= middle);
            latencies[half].add(sample.done_ns.saturating_sub(sample.intended_ns));
        }
    }
    let p50 = latencies.each_ref().map(|latency| latency.quantile(0.5) as f64);
    let p50_ci = latencies
        .iter()
        .map(|latency| {
            let [low, high] = latency.interval(0.5);
            (high - low) as f64 / 2.0 / (latency.quantile(0.5) as f64).max(1.0)
        })
        .fold(0.0, f64::max);
    Halves {
        tps: counts.map(|count| count as f64 / length_s),
        p50_ns: p50,
        p50_ci,
        count: counts[0].min(counts[1]),
        length_s,
    }
}

/// Mean number in flight during the window, against rate times mean latency of what became final in it.
fn little(samples: &[Sample], phases: &Phases) -> [f64; 2] {
    let (mut held_ns, mut latency_ns, mut count) = (0.0, 0.0, 0_u64);
    for sample in samples.iter().filter(|sample| sample.outcome == Outcome::Final) {
        let Sending::At(sent) = sample.sending else {
            continue;
        };
        let from = sent.max(phases.window_start_ns);
        let to = sample.done_ns.min(phases.window_end_ns);
        held_ns += to.saturating_sub(from) as f64;
        if phases.contains(sample.done_ns) {
            latency_ns += sample.done_ns.saturating_sub(sent) as f64;
            count += 1;
        }
    }
    let window_s = phases.window_s();
    let mean_s = latency_ns / count.max(1) as f64 / 1e9;
    [held_ns / 1e9 / window_s, count as f64 / window_s * mean_s]
}

/// Slope of the least-squares line through the number in flight at a hundred and one points of the window.
fn backlog_growth(samples: &[Sample], phases: &Phases, scheduled_tps: f64) -> f64 {
    const STEPS: usize = 100;
    let step = (phases.window_end_ns.saturating_sub(phases.window_start_ns) / STEPS as u64).max(1);
    let mut flow = [0_i64; STEPS + 1];
    let mut add = |time_ns: u64, change: i64| {
        let place = time_ns.saturating_sub(phases.window_start_ns).div_ceil(step) as usize;
        if let Some(slot) = flow.get_mut(place) {
            *slot += change;
        }
    };
    for sample in samples {
        let Sending::At(sent) = sample.sending else {
            continue;
        };
        add(sent, 1);
        if sample.outcome != Outcome::Pending {
            add(sample.done_ns, -1);
        }
    }
    let mut level = 0;
    let levels = flow.map(|change| {
        level += change;
        level as f64
    });
    let mean = levels.iter().sum::<f64>() / levels.len() as f64;
    let middle = STEPS as f64 / 2.0;
    let (mut covariance, mut variance) = (0.0, 0.0);
    for (place, level) in levels.iter().enumerate() {
        let offset = place as f64 - middle;
        covariance += offset * (level - mean);
        variance += offset * offset;
    }
    covariance / variance / seconds(step) / scheduled_tps.max(1e-9)
}

fn by_shard(samples: &[Sample], phases: &Phases) -> BTreeMap<u16, PartFigures> {
    let mut parts: BTreeMap<u16, (PartFigures, Latency)> = BTreeMap::new();
    for sample in samples
        .iter()
        .filter(|sample| phases.contains(sample.scheduled_ns))
    {
        let (figures, latency) = parts.entry(sample.shard).or_default();
        figures.scheduled += 1;
        figures.sent += u64::from(sample.sending != Sending::Shed);
        if sample.outcome == Outcome::Final {
            figures.finalised += 1;
            latency.add(sample.done_ns.saturating_sub(sample.intended_ns));
        }
    }
    parts
        .into_iter()
        .map(|(shard, (mut figures, latency))| {
            figures.final_tps = figures.finalised as f64 / phases.window_s();
            figures.p50_ns = latency.quantile(0.5);
            figures.p99_ns = latency.quantile(0.99);
            (shard, figures)
        })
        .collect()
}

fn dependency_wait(samples: &[Sample]) -> DependencyWait {
    let shifts = samples
        .iter()
        .map(|sample| sample.intended_ns.saturating_sub(sample.scheduled_ns))
        .filter(|shift| *shift > 0);
    let (count, sum, max) = shifts.fold((0_u64, 0_u64, 0_u64), |(count, sum, max), shift| {
        (count + 1, sum.saturating_add(shift), max.max(shift))
    });
    DependencyWait {
        count,
        mean_ns: sum / count.max(1),
        max_ns: max,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};
    use types::Reject;

    use super::{Figures, Phases, half_width};
    use crate::accounting::{Outcome, Sample, Sending};

    const SECOND: u64 = 1_000_000_000;
    const MILLISECOND: u64 = 1_000_000;

    fn phases() -> Phases {
        Phases {
            window_start_ns: 2 * SECOND,
            window_end_ns: 12 * SECOND,
            end_ns: 14 * SECOND,
            interval_ns: SECOND,
            deadline_ns: SECOND,
        }
    }

    /// One transaction per millisecond for twelve seconds, 1 ms late, final 100 ms after its send.
    fn steady() -> Vec<Sample> {
        (0..12_000_u64)
            .map(|at| Sample {
                scheduled_ns: at * MILLISECOND,
                intended_ns: at * MILLISECOND,
                sending: Sending::At((at + 1) * MILLISECOND),
                outcome: Outcome::Final,
                done_ns: (at + 101) * MILLISECOND,
                shard: (at % 2) as u16,
                expect_reject: false,
                optimistic_ns: None,
                broken: false,
            })
            .collect()
    }

    fn near(value: f64, exact: f64) -> bool {
        (value - exact).abs() <= exact.abs() * 0.01 + 1e-9
    }

    #[test]
    fn a_steady_load_has_the_figures_that_it_was_made_with() {
        let figures = Figures::of(&steady(), &phases());
        assert_eq!(
            (figures.counts.finalised, figures.window.finalised),
            (12_000, 10_000)
        );
        assert!(near(figures.rate.scheduled_tps, 1000.0) && near(figures.rate.sent_tps, 1000.0));
        assert!(near(figures.rate.final_in_window_tps, 1000.0));
        assert!(near(figures.finalised.quantile(0.5) as f64, 101e6));
        assert!(near(figures.service.quantile(0.99) as f64, 100e6));
        assert!(near(figures.lag.max() as f64, 1e6));
        assert!(near(figures.little[0], 100.0) && near(figures.little[1], 100.0));
        assert!(figures.backlog_growth.abs() < 1e-3, "{}", figures.backlog_growth);
        assert!(near(figures.halves.tps[0], figures.halves.tps[1]));
        assert_eq!(figures.by_shard.len(), 2);
        assert_eq!(figures.by_shard[&0].finalised, 5000);
        let phases: Vec<&str> = figures.intervals.iter().map(|row| row.phase.as_str()).collect();
        assert_eq!(phases.iter().filter(|phase| **phase == "window").count(), 10);
        assert_eq!(figures.intervals[5].scheduled, 1000);
        assert_eq!(figures.intervals[5].in_flight, 100);
        assert_eq!(figures.intervals[5].p50_ns, Some(101_000_000));
        assert_eq!(figures.intervals.last().expect("drain").in_flight, 0);
        assert_eq!(figures.dependency_wait.count, 0);
    }

    #[test]
    fn a_system_at_half_the_rate_shows_a_growing_backlog() {
        let mut samples = steady();
        for (at, sample) in samples.iter_mut().enumerate() {
            sample.done_ns = (2 * at as u64 + 101) * MILLISECOND;
        }
        let figures = Figures::of(&samples, &phases());
        assert!(near(figures.backlog_growth, 0.5), "{}", figures.backlog_growth);
        assert!(near(figures.rate.final_in_window_tps, 500.0));
        assert!(
            near(figures.rate.final_tps.mean, 1000.0),
            "all become final in the end"
        );
    }

    #[test]
    fn what_is_sent_after_the_window_is_not_sent_in_time() {
        let mut samples = steady();
        for sample in samples.iter_mut().skip(11_000) {
            sample.sending = Sending::At(13 * SECOND);
            sample.outcome = Outcome::Rejected(Reject::Busy);
        }
        let figures = Figures::of(&samples, &phases());
        assert!(near(figures.rate.sent_ratio, 0.9));
        assert_eq!(figures.window.busy(), 1000);
        assert_eq!(figures.window.sent, 10_000);
    }

    #[test]
    fn waiting_for_a_parent_is_reported_and_not_in_the_latency() {
        let mut samples = steady();
        samples[5000].intended_ns += 7;
        samples[5001].intended_ns += 9;
        let figures = Figures::of(&samples, &phases());
        let wait = figures.dependency_wait;
        assert_eq!((wait.count, wait.mean_ns, wait.max_ns), (2, 8, 9));
    }

    #[test]
    fn the_interval_is_student_s() {
        let width = half_width(&[1.0, 2.0, 3.0]).expect("three values");
        assert!((width - 4.302_65 / 3.0_f64.sqrt()).abs() < 1e-3, "{width}");
        assert_eq!(half_width(&[1.0, 2.0]), None);
    }

    proptest! {
        #[test]
        fn intervals_add_up_to_the_run(
            raw in proptest::collection::vec((0_u64..14_000, 0_u64..3000, 0_u64..3000, 0_u8..4), 0..300),
        ) {
            let samples: Vec<Sample> = raw.iter().map(|(at, lag, latency, kind)| {
                let sent = (at + lag).min(13_999);
                Sample {
                    scheduled_ns: at * MILLISECOND,
                    intended_ns: at * MILLISECOND,
                    sending: if *kind == 3 { Sending::Shed } else { Sending::At(sent * MILLISECOND) },
                    outcome: [Outcome::Final, Outcome::Rejected(Reject::Busy), Outcome::Pending, Outcome::Pending][usize::from(*kind)],
                    done_ns: (sent + latency).min(13_999) * MILLISECOND,
                    shard: 0,
                    expect_reject: false,
                optimistic_ns: None,
                broken: false,
                }
            }).collect();
            let figures = Figures::of(&samples, &phases());
            let sum = |of: fn(&crate::report::Interval) -> u64| figures.intervals.iter().map(of).sum::<u64>();
            prop_assert_eq!(sum(|row| row.scheduled), figures.counts.scheduled);
            prop_assert_eq!(sum(|row| row.sent), figures.counts.sent);
            prop_assert_eq!(sum(|row| row.finalised), figures.counts.finalised);
            prop_assert_eq!(sum(|row| row.rejected), figures.counts.rejected_total());
            prop_assert_eq!(figures.intervals.last().expect("rows").in_flight, figures.counts.timeout);
            prop_assert!(figures.rate.sent_ratio <= 1.0);
        }
    }
}
