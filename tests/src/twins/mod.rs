//! Twins (Bano et al., "Twins: BFT Systems Made Robust"): a lying voter is made of honest parts. Some identities exist
//! twice, same key, honest code, separate states; a script says round by round who can talk to whom, who leads, what
//! is lost. Whatever an equivocating, forgetful or two-faced voter could say, one of its copies says in good faith.
//!
//! ```text
//!  Plan (exhaustive or sampled) ─▶ Scenario, one line of text ─▶ Run: consensus machines, groups, losses ─▶ Watch
//!  round: new groups, timers run out, leaders propose, deliver until quiet;   after the last: heal, new commits
//! ```
//!
//! With at most `f` identities twice nothing may break. With `f + 1` agreement may, and then an honest voter must say so.

mod campaign;
mod plan;
mod run;
mod scenario;
mod watch;

pub use campaign::{Campaign, Failure, Outcome};
pub use plan::Plan;
pub use run::run;
pub use scenario::{Lost, Round, Scenario, ScenarioError};
pub use watch::Seen;
