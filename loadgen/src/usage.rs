//! Errors of the command line and of configuration files: one line that names the flag, the value, what is
//! accepted and the nearest right spelling.

use std::fmt;

/// A flag or configuration key with a value that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct UsageError {
    /// Flag with its dashes, or a file.
    pub flag: String,
    /// What was given.
    pub value: String,
    /// What is wrong with it.
    pub problem: String,
    /// What would be accepted.
    pub accepted: String,
    /// Nearest right spelling, where there is one.
    pub nearest: Option<String>,
}

impl UsageError {
    /// An error about one flag.
    #[must_use]
    pub fn new(flag: &str, value: &str, problem: &str, accepted: &str) -> Self {
        Self {
            flag: flag.to_owned(),
            value: value.to_owned(),
            problem: problem.to_owned(),
            accepted: accepted.to_owned(),
            nearest: None,
        }
    }

    /// Adds the nearest of the right spellings, if one is near enough.
    #[must_use]
    pub fn near(mut self, spellings: &[&str]) -> Self {
        self.nearest = nearest(&self.value, spellings).map(str::to_owned);
        self
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.flag)?;
        if !self.value.is_empty() {
            write!(formatter, " {}", self.value)?;
        }
        write!(formatter, ": {}", self.problem)?;
        if !self.accepted.is_empty() {
            write!(formatter, "; accepted: {}", self.accepted)?;
        }
        match &self.nearest {
            Some(nearest) => write!(formatter, "; did you mean '{nearest}'?"),
            None => Ok(()),
        }
    }
}

/// The spelling most like `value`, if they share more than half of their letters.
#[must_use]
pub fn nearest<'a>(value: &str, spellings: &[&'a str]) -> Option<&'a str> {
    let likeness = |spelling: &str| strsim::jaro_winkler(value, spelling);
    spellings
        .iter()
        .copied()
        .max_by(|left, right| likeness(left).total_cmp(&likeness(right)))
        .filter(|spelling| likeness(spelling) > 0.6)
}

#[cfg(test)]
mod tests {
    use super::{UsageError, nearest};

    #[test]
    fn names_flag_value_accepted_and_nearest() {
        let error = UsageError::new("--arrival", "posson", "unknown", "uniform, poisson")
            .near(&["uniform", "poisson"]);
        assert_eq!(
            error.to_string(),
            "--arrival posson: unknown; accepted: uniform, poisson; did you mean 'poisson'?"
        );
        assert_eq!(nearest("zzz", &["uniform", "poisson"]), None);
    }
}
