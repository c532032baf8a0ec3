//! What is asked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::limits::{VALIDATORS_MAX, VOTERS_MIN};

/// A network, as far as its promises hang on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Setup {
    /// `m`, shards.
    pub shards: u32,
    /// `n`, members of each shard, voters and candidates.
    pub validators: u32,
    /// `alpha`, share of faulty validators in the network, parts per million.
    pub faulty_ppm: u32,
    /// Two leagues (`pob`); absent for one (`pbft`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leagues: Option<Leagues>,
}

/// Two leagues.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Leagues {
    /// `n_b`, seats of believable authors in each shard.
    pub seats: u32,
    /// `n_c`, candidates for them in each shard.
    pub candidates: u32,
    /// `p`, probability with which a voter checks the signatures of a transaction, parts per million.
    pub sampling_ppm: u32,
    /// `S`, bond of an author, units of the ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bond: Option<u64>,
    /// `v`, what one forged transaction steals, units of the ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<u64>,
}

/// A setup that no network can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is {value}, accepted is {accepted}")]
pub struct SetupError {
    /// The parameter.
    pub what: &'static str,
    /// Its value.
    pub value: u64,
    /// What is accepted.
    pub accepted: String,
}

impl Setup {
    /// Refuses what no network can have.
    ///
    /// # Errors
    /// Names the first parameter outside its bounds.
    pub fn validate(&self) -> Result<(), SetupError> {
        within("shards", self.shards, 1, VALIDATORS_MAX / VOTERS_MIN)?;
        within(
            "validators",
            self.validators,
            VOTERS_MIN,
            VALIDATORS_MAX / self.shards,
        )?;
        within("alpha, in parts per million,", self.faulty_ppm, 0, 1_000_000)?;
        let Some(leagues) = &self.leagues else {
            return Ok(());
        };
        within("candidates", leagues.candidates, 1, self.validators - VOTERS_MIN)?;
        within("believable", leagues.seats, 1, leagues.candidates)?;
        within(
            "sampling, in parts per million,",
            leagues.sampling_ppm,
            0,
            1_000_000,
        )
    }
}

fn within(what: &'static str, value: u32, least: u32, most: u32) -> Result<(), SetupError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    let accepted = if least > most {
        format!("none: with these others it would be {least} to {most}")
    } else {
        format!("{least} to {most}")
    };
    Err(SetupError {
        what,
        value: value.into(),
        accepted,
    })
}
