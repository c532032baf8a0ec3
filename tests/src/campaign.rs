//! Many seeds, on all threads; sums, and the first failure with the line that repeats it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use types::time::Duration;

use crate::faults::{Fault, Options};
use crate::invariants::Violation;
use crate::planted::PlantedFault;
use crate::report::Report;
use crate::{record, world};

/// Which rules runs follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Design {
    /// One league for ever.
    Pbft,
    /// Two leagues, of so many seats and candidates when they are given, else drawn by seed.
    Pob(Option<(u16, u16)>),
}

/// Which runs to make.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// First seed.
    pub from: u64,
    /// Seeds, for each size of the committee or in all.
    pub seeds: u64,
    /// Rules.
    pub design: Design,
    /// Numbers of voters.
    pub validators: Vec<u16>,
    /// Whether a seed runs with one of those numbers, in turn, and not with each.
    pub in_turn: bool,
    /// Length of the phase with faults.
    pub safety: Duration,
    /// A rule to leave out.
    pub planted: Option<PlantedFault>,
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
    /// Heights of all runs; the counters of single runs, summed. The trace is none of a sum.
    pub total: Report,
    /// Whether the runs had two leagues.
    pub two_leagues: bool,
}

impl Summary {
    fn add(&mut self, report: &Report) {
        self.runs += 1;
        self.total.add(report);
    }

    /// What is counted, by name; times in milliseconds.
    #[must_use]
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        let total = &self.total;
        let mut counters = vec![
            ("seeds", self.runs),
            ("events", total.events),
            (
                "simulated_ms",
                u64::try_from(total.simulated.as_millis()).unwrap_or(u64::MAX),
            ),
            ("heights", total.height),
            ("view_changes", total.view_changes),
            ("recoveries", total.recoveries),
            ("recoveries_from_kill", total.recoveries_from_kill),
            ("recoveries_with_loss", total.recoveries_with_loss),
            ("records_lost", total.records_lost),
            ("torn_tails", total.torn_tails),
            ("records_cut_behind", total.records_cut_behind),
            ("caught_up_by_blocks", total.caught_up),
            ("liars_replaced", total.liars_replaced),
            ("resets", total.resets),
            ("pipelined_heights", total.pipelined),
            ("excluded", total.excluded),
            ("hot_timers", total.hot_timers),
            ("submitted", total.seen.submitted),
            ("final", total.seen.finals),
            ("double_spends_refused", total.seen.double_spends),
        ];
        let mut faults: Vec<Fault> = Fault::all().collect();
        if self.two_leagues {
            counters.extend(total.league.counters());
            faults.extend(Fault::of_leagues());
        }
        counters.extend(
            faults
                .into_iter()
                .map(|fault| (fault.name(), total.faults.of(fault))),
        );
        counters
    }

    /// One line of JSON.
    #[must_use]
    pub fn json(&self) -> String {
        let mut line: serde_json::Map<_, _> = self
            .counters()
            .into_iter()
            .map(|(name, count)| (name.to_owned(), count.into()))
            .collect();
        let hours = self.total.simulated.as_secs_f64() / 3600.0;
        line.insert("simulated_hours".into(), hours.into());
        serde_json::Value::Object(line).to_string()
    }

    /// States that a campaign must have been in, else it proves nothing; names the first that it was not in.
    ///
    /// # Errors
    /// The name of what never happened.
    pub fn check_not_vacuous(&self) -> Result<(), &'static str> {
        // A timer that is due again at once should not happen; nor should a theft that the bond does not cover, for
        // which `v_full` is there: the ledger's own tests hold what is left unpaid.
        let never =
            |(name, count): &(&'static str, u64)| *count == 0 && !["hot_timers", "unpaid"].contains(name);
        match self.counters().into_iter().find(never) {
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
        let runs = self.runs();
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
        let mut summary = Summary {
            two_leagues: matches!(self.design, Design::Pob(_)),
            ..Summary::default()
        };
        let reports = reports.into_inner().expect("all threads ended");
        reports.values().for_each(|report| summary.add(report));
        if self.planted.is_none() {
            let part = match self.design {
                Design::Pbft => "simulator",
                Design::Pob(_) => "simulator of two leagues",
            };
            record::append(part, &summary.counters());
        }
        Ok(summary)
    }

    /// Runs one seed.
    ///
    /// # Errors
    /// The failure.
    pub fn run_one(&self, seed: u64, validators: u16) -> Result<Report, Box<Failure>> {
        let options = self.options(seed, validators);
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

    /// Seeds with numbers of voters.
    #[must_use]
    pub fn runs(&self) -> Vec<(u64, u16)> {
        let seeds = self.from..self.from + self.seeds;
        if self.in_turn {
            let size = |seed: u64| {
                let at = (seed - self.from) as usize % self.validators.len().max(1);
                self.validators.get(at).copied()
            };
            return seeds.filter_map(|seed| Some((seed, size(seed)?))).collect();
        }
        seeds
            .flat_map(|seed| self.validators.iter().map(move |validators| (seed, *validators)))
            .collect()
    }

    /// What a seed stands for.
    #[must_use]
    pub fn options(&self, seed: u64, validators: u16) -> Options {
        let planted = self.planted.map(|fault| fault.planted);
        match self.design {
            Design::Pbft => Options::of_seed(seed, validators, self.safety, planted),
            Design::Pob(sizes) => Options::of_league_seed(seed, validators, sizes, self.safety, planted),
        }
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
            .map_or(String::new(), |fault| format!(" --planted {}", fault.name));
        let design = match self.design {
            Design::Pbft => String::new(),
            Design::Pob(None) => " --design pob".into(),
            Design::Pob(Some((seats, candidates))) => {
                format!(" --design pob --believable {seats} --candidates {candidates}")
            }
        };
        format!("{features} {seed}{design} --validators {validators} --seconds {seconds}{planted}")
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
