//! Many seeds, on all threads; sums, and the first failure with the line that repeats it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use replica::Planted;
use types::time::Duration;

use crate::faults::Options;
use crate::invariants::Violation;
use crate::report::Report;
use crate::world;

/// Which runs to make.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// First seed.
    pub from: u64,
    /// Seeds for each size of the committee.
    pub seeds: u64,
    /// Sizes of the committee.
    pub validators: Vec<u16>,
    /// Length of the phase with faults.
    pub safety: Duration,
    /// A rule to leave out, with its name.
    pub planted: Option<(&'static str, Planted)>,
    /// Threads; results do not depend on them.
    pub threads: usize,
}

/// A run that broke an invariant.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What was broken.
    pub violation: Violation,
    /// What the seed stands for.
    pub options: Options,
    /// The run until then.
    pub report: Report,
    /// Line that repeats it.
    pub reproduce: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            violation,
            options,
            report,
            reproduce,
        } = self;
        write!(
            formatter,
            "{violation}\n{options:#?}\n{report:?}\nREPRODUCE: {reproduce}"
        )
    }
}

/// Sums over the runs that held.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Runs that held.
    pub runs: u64,
    /// Events.
    pub events: u64,
    /// Simulated time.
    pub simulated: Duration,
    /// Final heights.
    pub heights: u64,
    /// View changes.
    pub view_changes: u64,
    /// Restarts from a disk.
    pub recoveries: u64,
    /// Resets of runs that became final.
    pub resets: u64,
    /// Heights that were in flight beside another, summed over proposals.
    pub pipelined: u64,
    /// Transactions excluded.
    pub excluded: u64,
    /// Timers due again at once.
    pub hot_timers: u64,
    /// Transactions submitted, final, refused as double spends.
    pub submitted: u64,
    /// Final tags.
    pub finals: u64,
    /// Refused double spends.
    pub double_spends: u64,
}

impl Summary {
    fn add(&mut self, report: &Report) {
        self.runs += 1;
        self.events += report.events;
        self.simulated += report.simulated;
        self.heights += report.height;
        self.view_changes += report.view_changes;
        self.recoveries += report.recoveries;
        self.resets += report.resets;
        self.pipelined += report.pipelined;
        self.excluded += report.excluded;
        self.hot_timers += report.hot_timers;
        self.submitted += report.seen.submitted;
        self.finals += report.seen.finals;
        self.double_spends += report.seen.double_spends;
    }

    /// One line of JSON.
    #[must_use]
    pub fn json(&self) -> String {
        let hours = self.simulated.as_secs_f64() / 3600.0;
        let fields = [
            ("seeds", self.runs),
            ("events", self.events),
            ("heights", self.heights),
            ("view_changes", self.view_changes),
            ("recoveries", self.recoveries),
            ("resets", self.resets),
            ("pipelined_heights", self.pipelined),
            ("excluded", self.excluded),
            ("hot_timers", self.hot_timers),
            ("submitted", self.submitted),
            ("final", self.finals),
            ("double_spends_refused", self.double_spends),
        ];
        let fields: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("\"{name}\":{value}"))
            .collect();
        format!("{{{},\"simulated_hours\":{hours:.4}}}", fields.join(","))
    }

    /// States that a campaign must have been in, else it proves nothing; names the first that it was not in.
    ///
    /// # Errors
    /// The name of what never happened.
    pub fn check_not_vacuous(&self) -> Result<(), &'static str> {
        let happened = [
            ("a view change", self.view_changes),
            ("a restart from a disk", self.recoveries),
            ("a reset of a run", self.resets),
            ("two heights in flight", self.pipelined),
            ("an excluded transaction", self.excluded),
            ("a final transaction", self.finals),
            ("a refused double spend", self.double_spends),
        ];
        match happened.iter().find(|(_, count)| *count == 0) {
            Some((what, _)) => Err(what),
            None => Ok(()),
        }
    }
}

impl Campaign {
    /// Runs all seeds; ends early at a failure.
    ///
    /// # Errors
    /// The failure of the lowest seed among those that ran.
    ///
    /// # Panics
    /// When a run panics, with the line that repeats it printed before.
    pub fn run(&self) -> Result<Summary, Box<Failure>> {
        let runs: Vec<(u64, u16)> = (self.from..self.from + self.seeds)
            .flat_map(|seed| self.validators.iter().map(move |validators| (seed, *validators)))
            .collect();
        let next = AtomicU64::new(0);
        let reports: Mutex<BTreeMap<u64, Report>> = Mutex::default();
        let failures: Mutex<BTreeMap<u64, Box<Failure>>> = Mutex::default();
        std::thread::scope(|scope| {
            for _ in 0..self.threads.max(1) {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let Some((seed, validators)) = runs.get(number as usize) else {
                            return;
                        };
                        match self.run_one(*seed, *validators) {
                            Ok(report) => {
                                reports.lock().expect("no run panics here").insert(number, report);
                            }
                            Err(failure) => {
                                failures
                                    .lock()
                                    .expect("no run panics here")
                                    .insert(number, failure);
                                next.store(u64::MAX / 2, Ordering::Relaxed);
                            }
                        }
                    }
                });
            }
        });
        let mut failures = failures.into_inner().expect("all threads ended");
        if let Some((_, failure)) = failures.pop_first() {
            return Err(failure);
        }
        let mut summary = Summary::default();
        let reports = reports.into_inner().expect("all threads ended");
        reports.values().for_each(|report| summary.add(report));
        Ok(summary)
    }

    /// Runs one seed.
    ///
    /// # Errors
    /// The failure.
    pub fn run_one(&self, seed: u64, validators: u16) -> Result<Report, Box<Failure>> {
        let options = Options::of_seed(
            seed,
            validators,
            self.safety,
            self.planted.map(|(_, planted)| planted),
        );
        let told = Told(self.reproduce(seed, validators));
        let result = world::run(&options);
        let reproduce = told.0.clone();
        result.map_err(|broken| {
            let (violation, report) = *broken;
            Box::new(Failure {
                violation,
                options,
                report,
                reproduce,
            })
        })
    }

    fn reproduce(&self, seed: u64, validators: u16) -> String {
        let seconds = self.safety.as_secs_f64();
        let features = if self.planted.is_some() {
            "cargo run --release -p simulator --bin sim --features planted-bugs --"
        } else {
            "cargo sim"
        };
        let planted = self
            .planted
            .map_or(String::new(), |(name, _)| format!(" --planted {name}"));
        format!("{features} {seed} --validators {validators} --seconds {seconds}{planted}")
    }
}

/// Says which run it was when a run panics.
struct Told(String);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("REPRODUCE: {}", self.0);
        }
    }
}
