//! All scenarios of a plan, on all threads; sums, and the first failure with the line that repeats it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use consensus::PlantedBug;

use super::plan::Plan;
use super::scenario::Scenario;
use super::watch::Seen;
use crate::invariants::Violation;

/// Numbers that a thread takes at once.
const CHUNK: u64 = 64;

/// Which scenarios to run.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// The scenarios.
    pub plan: Plan,
    /// A rule to leave out.
    pub planted: Option<PlantedBug>,
    /// Whether to end at the first failure; else failures are counted.
    pub first_only: bool,
    /// Threads; results do not depend on them, except for how many scenarios ran when one failed first.
    pub threads: usize,
}

/// A scenario that broke an invariant.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The scenario.
    pub scenario: Scenario,
    /// The rule that was left out.
    pub planted: Option<PlantedBug>,
    /// What was broken.
    pub violation: Violation,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(formatter, "{}", self.violation)?;
        write!(
            formatter,
            "REPRODUCE: {}",
            reproduce(&self.scenario, self.planted)
        )
    }
}

fn reproduce(scenario: &Scenario, planted: Option<PlantedBug>) -> String {
    let command = "cargo run --release --package simulator --bin twins";
    match planted {
        Some(bug) => {
            format!("{command} --features planted-bugs -- --planted {bug:?} --scenario '{scenario}'")
        }
        None => format!("{command} -- --scenario '{scenario}'"),
    }
}

/// What a campaign did.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Sums over the scenarios that held.
    pub seen: Seen,
    /// Scenarios that failed, by invariant.
    pub failed: BTreeMap<&'static str, u64>,
    /// The failure with the lowest number among those that ran.
    pub first: Option<(u64, Failure)>,
}

impl Outcome {
    /// Sums, when nothing failed.
    ///
    /// # Errors
    /// The first failure.
    pub fn into_result(self) -> Result<Seen, Box<Failure>> {
        match self.first {
            Some((_, failure)) => Err(Box::new(failure)),
            None => Ok(self.seen),
        }
    }

    fn add(&mut self, other: Self) {
        self.seen.add(&other.seen);
        for (invariant, count) in other.failed {
            *self.failed.entry(invariant).or_default() += count;
        }
        let lowest = |first: &Option<(u64, Failure)>| first.as_ref().map_or(u64::MAX, |(number, _)| *number);
        if lowest(&other.first) < lowest(&self.first) {
            self.first = other.first;
        }
    }
}

impl Campaign {
    /// A campaign over a plan with the rules as they are.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Self {
            plan,
            planted: None,
            first_only: true,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }

    /// Runs the scenarios.
    ///
    /// # Panics
    /// When a scenario panics, with the line that repeats it printed before.
    #[must_use]
    pub fn run(&self) -> Outcome {
        let next = AtomicU64::new(0);
        let total: Mutex<Outcome> = Mutex::default();
        let of_number = self.plan.scenarios();
        let numbers = self.plan.numbers();
        std::thread::scope(|scope| {
            for _ in 0..self.threads.max(1) {
                scope.spawn(|| {
                    let mut outcome = Outcome::default();
                    loop {
                        let from = next.fetch_add(CHUNK, Ordering::Relaxed);
                        if from >= numbers {
                            break;
                        }
                        for number in from..numbers.min(from + CHUNK) {
                            if let Some(scenario) = of_number(number) {
                                self.run_one(number, scenario, &mut outcome);
                            }
                        }
                        if self.first_only && outcome.first.is_some() {
                            next.store(numbers, Ordering::Relaxed);
                        }
                    }
                    total.lock().expect("no scenario panics here").add(outcome);
                });
            }
        });
        total.into_inner().expect("all threads ended")
    }

    fn run_one(&self, number: u64, scenario: Scenario, outcome: &mut Outcome) {
        let told = Told {
            scenario: &scenario,
            planted: self.planted,
        };
        let result = super::run(told.scenario, told.planted);
        drop(told);
        match result {
            Ok(seen) => outcome.seen.add(&seen),
            Err(violation) => {
                *outcome.failed.entry(violation.invariant).or_default() += 1;
                outcome.first.get_or_insert((
                    number,
                    Failure {
                        scenario,
                        planted: self.planted,
                        violation,
                    },
                ));
            }
        }
    }
}

/// Says which scenario it was when one panics.
struct Told<'a> {
    scenario: &'a Scenario,
    planted: Option<PlantedBug>,
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("REPRODUCE: {}", reproduce(self.scenario, self.planted));
        }
    }
}
