//! The policy: protocol parameters that are equal everywhere, part of genesis (`ios` 0.10).

use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::limits::{BATCH_BYTES_MAX, BATCH_TXS_MAX, CANDIDATES_MAX, WINDOW_MAX};
use crate::time::Duration;

/// Parameters of the two leagues: who is believed, how much is sampled, how long a fault may be shown (`ios` 0.10, 7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leagues {
    /// `n_b`, seats for believable authors in each shard.
    pub seats: u16,
    /// `n_c`, candidates for those seats; they are outside the vote.
    pub candidates: u16,
    /// `n_b_min`, live authors below which one league takes over (`ios` 10.2).
    pub seats_min: u16,
    /// `p`, probability with which a voter checks the signatures of a transaction, parts per million.
    pub sampling_ppm: u32,
    /// `T_ch`, how long a voter holds a body before it votes for it.
    pub challenge_wait: Duration,
    /// `T_opt`, longest wait of an admitted transaction before its author cuts a block.
    pub cut_interval: Duration,
    /// `T_hb`, after which an author with nothing to cut sends an empty block.
    pub heartbeat: Duration,
    /// `SLOW`, heights from the announcement of a slow transaction to its execution.
    pub slow_heights: u64,
    /// `B_min`, believability below which nobody is drawn, `0..=1_000_000`.
    pub believability_min: u32,
    /// `S_min`, bond below which nobody is drawn.
    pub bond_min: u64,
    /// `S_cap`, bond above which believability does not grow.
    pub bond_cap: u64,
    /// Heights within which the transactions of a slashed author are checked again.
    pub recheck_heights: u64,
}

/// Parameters of the ordering protocol and of authors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// `D_s`, delay bound inside a shard.
    pub shard_delay: Duration,
    /// `T_block`, interval between proposals.
    pub block_interval: Duration,
    /// `W`, heights in flight above the committed one, `1..=16`.
    pub window: u64,
    /// `T_v_min`, floor of the view timer.
    pub view_timeout_min: Duration,
    /// Longest wait of an admitted transaction before its author cuts a block in mode 1 (`T_block`/2).
    pub cut_interval: Duration,
    /// `T_park`, longest wait for a missing input.
    pub park_timeout: Duration,
    /// Largest lag, in heights, of a block's base behind the height that includes it (`LAG`).
    pub lag: u64,
    /// Transactions of one author block, at most 4096.
    pub batch_txs_max: u32,
    /// Bytes of one author block's body, at most 1 MiB - 4 KiB.
    pub batch_bytes_max: u32,
    /// Transactions of one final block.
    pub block_txs_max: u32,
    /// Furthest expiry ahead, in epochs (`EXP_MAX`).
    pub expiry_ahead_max: u32,
    /// Smallest fee of a transaction.
    pub fee_min: u64,
    /// Two leagues (`pob`); none is mode 1 held on (`pbft`).
    pub leagues: Option<Leagues>,
}

/// A policy that cannot run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("policy: {what} is {value}, accepted is {accepted}")]
pub struct PolicyError {
    /// The parameter.
    pub what: &'static str,
    /// Its value.
    pub value: String,
    /// What is accepted.
    pub accepted: &'static str,
}

impl Policy {
    /// Embedded networks and single-site testnets.
    #[must_use]
    pub const fn lan() -> Self {
        Self {
            shard_delay: Duration::from_millis(20),
            block_interval: Duration::from_millis(100),
            window: 4,
            view_timeout_min: Duration::from_secs(2),
            cut_interval: Duration::from_millis(50),
            park_timeout: Duration::from_secs(2),
            lag: 21,
            batch_txs_max: BATCH_TXS_MAX as u32,
            batch_bytes_max: BATCH_BYTES_MAX as u32,
            block_txs_max: 65_536,
            expiry_ahead_max: 4,
            fee_min: 0,
            leagues: None,
        }
    }

    /// Validators in several sites.
    #[must_use]
    pub const fn wan() -> Self {
        Self {
            shard_delay: Duration::from_millis(200),
            block_interval: Duration::from_millis(250),
            cut_interval: Duration::from_millis(125),
            park_timeout: Duration::from_secs(10),
            ..Self::lan()
        }
    }

    /// Simulated networks.
    #[must_use]
    pub const fn simulated() -> Self {
        Self {
            shard_delay: Duration::from_millis(5),
            block_interval: Duration::from_millis(20),
            view_timeout_min: Duration::ZERO,
            cut_interval: Duration::from_millis(5),
            park_timeout: Duration::from_secs(1),
            ..Self::lan()
        }
    }

    /// The same policy with two leagues: one seat and one candidate, `p` of a quarter.
    ///
    /// Intervals follow the policy's own: `T_ch` is `2 D_s`, `T_opt` a fifth of `T_block` and at most 20 ms, `T_hb` four
    /// blocks; `SLOW` is `LAG + 4` (`ios` 0.10).
    #[must_use]
    pub fn with_leagues(mut self) -> Self {
        let fifth = self.block_interval.checked_div(5).unwrap_or_default();
        self.leagues = Some(Leagues {
            seats: 1,
            candidates: 1,
            seats_min: 1,
            sampling_ppm: 250_000,
            challenge_wait: self.shard_delay.saturating_mul(2),
            cut_interval: fifth.clamp(Duration::from_millis(1), Duration::from_millis(20)),
            heartbeat: self.block_interval.saturating_mul(4),
            slow_heights: self.lag.saturating_add(4),
            believability_min: 50_000,
            bond_min: 1,
            bond_cap: 1_000_000_000_000,
            recheck_heights: 256,
        });
        self
    }

    /// `T_ch`, nothing with one league.
    #[must_use]
    pub fn challenge_wait(&self) -> Duration {
        self.leagues
            .as_ref()
            .map_or(Duration::ZERO, |leagues| leagues.challenge_wait)
    }

    /// `n_c`, 0 with one league.
    #[must_use]
    pub fn candidates(&self) -> u16 {
        self.leagues.as_ref().map_or(0, |leagues| leagues.candidates)
    }

    /// `n_b`, 0 with one league.
    #[must_use]
    pub fn seats(&self) -> u16 {
        self.leagues.as_ref().map_or(0, |leagues| leagues.seats)
    }

    /// `T_v`, the view timer before any doubling (`ios` 9.7).
    #[must_use]
    pub fn view_timeout(&self) -> Duration {
        self.shard_delay
            .saturating_mul(4)
            .saturating_add(self.challenge_wait())
            .saturating_add(self.block_interval)
            .max(self.view_timeout_min)
    }

    /// Heights for which what was included and what was spent is remembered, so that every voter judges an author block
    /// by the same past: no base reaches further back than the lag, and the window is what may be in flight above.
    #[must_use]
    pub const fn memory(&self) -> u64 {
        self.lag.saturating_add(self.window).saturating_add(8)
    }

    /// `T_idle`, the longest pause between proposals (`ios` 0.10).
    #[must_use]
    pub fn idle_interval(&self) -> Duration {
        let half = self.view_timeout().checked_div(2).unwrap_or_default();
        half.max(self.block_interval)
    }

    /// Refuses what cannot run.
    ///
    /// # Errors
    /// Names the first parameter outside its bounds.
    pub fn validate(&self) -> Result<(), PolicyError> {
        let fail = |what, value: String, accepted| {
            Err(PolicyError {
                what,
                value,
                accepted,
            })
        };
        let second = Duration::from_secs(60);
        for (what, value) in [
            ("shard_delay", self.shard_delay),
            ("block_interval", self.block_interval),
            ("cut_interval", self.cut_interval),
            ("park_timeout", self.park_timeout),
        ] {
            if value < Duration::from_millis(1) || value > second {
                return fail(what, format!("{value:?}"), "1 ms to 60 s");
            }
        }
        if self.window == 0 || self.window > WINDOW_MAX {
            return fail("window", self.window.to_string(), "1 to 16 heights");
        }
        if self.lag < self.window.saturating_add(4) || self.lag > 4096 {
            return fail("lag", self.lag.to_string(), "window + 4 to 4096 heights");
        }
        if self.batch_txs_max == 0 || self.batch_txs_max as usize > BATCH_TXS_MAX {
            return fail("batch_txs_max", self.batch_txs_max.to_string(), "1 to 4096");
        }
        if (self.batch_bytes_max as usize) < 8192 || self.batch_bytes_max as usize > BATCH_BYTES_MAX {
            return fail(
                "batch_bytes_max",
                self.batch_bytes_max.to_string(),
                "8192 to 1044480",
            );
        }
        if self.block_txs_max < self.batch_txs_max || self.block_txs_max > 65_536 {
            return fail(
                "block_txs_max",
                self.block_txs_max.to_string(),
                "batch_txs_max to 65536",
            );
        }
        self.leagues
            .as_ref()
            .map_or(Ok(()), |leagues| leagues.validate(self))
    }
}

impl Leagues {
    fn validate(&self, policy: &Policy) -> Result<(), PolicyError> {
        let fail = |what, value: String, accepted| {
            Err(PolicyError {
                what,
                value,
                accepted,
            })
        };
        if self.seats == 0 || self.seats > self.candidates || usize::from(self.candidates) > CANDIDATES_MAX {
            return fail(
                "seats",
                self.seats.to_string(),
                "1 to candidates, which are at most 64",
            );
        }
        if self.seats_min == 0 || self.seats_min > self.seats {
            return fail("seats_min", self.seats_min.to_string(), "1 to seats");
        }
        if self.sampling_ppm > 1_000_000 {
            return fail("sampling_ppm", self.sampling_ppm.to_string(), "0 to 1000000");
        }
        if self.believability_min > 1_000_000 {
            return fail(
                "believability_min",
                self.believability_min.to_string(),
                "0 to 1000000",
            );
        }
        for (what, value) in [
            ("challenge_wait", self.challenge_wait),
            ("leagues.cut_interval", self.cut_interval),
            ("heartbeat", self.heartbeat),
        ] {
            if value < Duration::from_millis(1) || value > Duration::from_secs(60) {
                return fail(what, format!("{value:?}"), "1 ms to 60 s");
            }
        }
        if self.slow_heights <= policy.lag || self.slow_heights > 8192 {
            return fail(
                "slow_heights",
                self.slow_heights.to_string(),
                "lag + 1 to 8192 heights",
            );
        }
        if self.bond_min == 0 || self.bond_min > self.bond_cap {
            return fail("bond_min", self.bond_min.to_string(), "1 to bond_cap");
        }
        if self.recheck_heights == 0 || self.recheck_heights > 20_000 {
            return fail(
                "recheck_heights",
                self.recheck_heights.to_string(),
                "1 to 20000 heights",
            );
        }
        Ok(())
    }
}

impl Encode for Leagues {
    fn encode(&self, out: &mut Vec<u8>) {
        for count in [self.seats, self.candidates, self.seats_min] {
            count.encode(out);
        }
        self.sampling_ppm.encode(out);
        for duration in [self.challenge_wait, self.cut_interval, self.heartbeat] {
            encode_duration(duration, out);
        }
        self.slow_heights.encode(out);
        self.believability_min.encode(out);
        for value in [self.bond_min, self.bond_cap, self.recheck_heights] {
            value.encode(out);
        }
    }
}

impl Decode for Leagues {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (seats, candidates, seats_min) = (reader.u16()?, reader.u16()?, reader.u16()?);
        let sampling_ppm = reader.u32()?;
        let mut duration = || reader.u64().map(Duration::from_nanos);
        let (challenge_wait, cut_interval, heartbeat) = (duration()?, duration()?, duration()?);
        Ok(Self {
            seats,
            candidates,
            seats_min,
            sampling_ppm,
            challenge_wait,
            cut_interval,
            heartbeat,
            slow_heights: reader.u64()?,
            believability_min: reader.u32()?,
            bond_min: reader.u64()?,
            bond_cap: reader.u64()?,
            recheck_heights: reader.u64()?,
        })
    }
}

fn encode_duration(duration: Duration, out: &mut Vec<u8>) {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).encode(out);
}

impl Encode for Policy {
    fn encode(&self, out: &mut Vec<u8>) {
        for duration in [
            self.shard_delay,
            self.block_interval,
            self.view_timeout_min,
            self.cut_interval,
            self.park_timeout,
        ] {
            encode_duration(duration, out);
        }
        self.window.encode(out);
        self.lag.encode(out);
        for value in [
            self.batch_txs_max,
            self.batch_bytes_max,
            self.block_txs_max,
            self.expiry_ahead_max,
        ] {
            value.encode(out);
        }
        self.fee_min.encode(out);
        self.leagues.encode(out);
    }
}

impl Decode for Policy {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut duration = || reader.u64().map(Duration::from_nanos);
        let (shard_delay, block_interval, view_timeout_min) = (duration()?, duration()?, duration()?);
        let (cut_interval, park_timeout) = (duration()?, duration()?);
        Ok(Self {
            shard_delay,
            block_interval,
            view_timeout_min,
            cut_interval,
            park_timeout,
            window: reader.u64()?,
            lag: reader.u64()?,
            batch_txs_max: reader.u32()?,
            batch_bytes_max: reader.u32()?,
            block_txs_max: reader.u32()?,
            expiry_ahead_max: reader.u32()?,
            fee_min: reader.u64()?,
            leagues: Option::<Leagues>::decode(reader)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Policy;
    use crate::codec::{Decode, Encode};

    #[test]
    fn presets_are_valid_and_round_trip() {
        let presets = [Policy::lan(), Policy::wan(), Policy::simulated()];
        for policy in presets
            .clone()
            .into_iter()
            .chain(presets.map(Policy::with_leagues))
        {
            policy.validate().expect("a preset is valid");
            assert_eq!(Policy::from_bytes(&policy.to_bytes()), Ok(policy));
        }
    }

    #[test]
    fn a_window_of_zero_is_refused_by_name() {
        let policy = Policy {
            window: 0,
            ..Policy::lan()
        };
        assert_eq!(policy.validate().unwrap_err().what, "window");
    }
}
