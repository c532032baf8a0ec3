//! The policy: protocol parameters that are equal everywhere, part of genesis (`ios` 0.10).

use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::limits::{BATCH_BYTES_MAX, BATCH_TXS_MAX, WINDOW_MAX};
use crate::time::Duration;

/// Parameters of the ordering protocol and of batch authors.
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
    /// `T_opt`, longest wait of an admitted transaction before its author cuts a block (mode 1: `T_block`/2).
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

    /// `T_v`, the view timer before any doubling (`ios` 9.7; no challenge wait in mode 1).
    #[must_use]
    pub fn view_timeout(&self) -> Duration {
        self.shard_delay
            .saturating_mul(4)
            .saturating_add(self.block_interval)
            .max(self.view_timeout_min)
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
        Ok(())
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
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Policy;
    use crate::codec::{Decode, Encode};

    #[test]
    fn presets_are_valid_and_round_trip() {
        for policy in [Policy::lan(), Policy::wan(), Policy::simulated()] {
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
