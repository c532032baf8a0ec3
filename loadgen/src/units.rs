//! Values with units as they are written on the command line: rates, stages, durations, ranges, shares.

use std::fmt;
use std::time::Duration;

use crate::usage::UsageError;

/// What `--tps` accepts.
pub const RATE_ACCEPTED: &str =
    "transactions per second such as 5000, 100k or 1.5M, or A:B for a linear ramp";
/// What a duration flag accepts.
pub const DURATION_ACCEPTED: &str = "a duration with its unit such as 500ms, 20s or 2m";
/// Fastest rate that can be asked for: one transaction per nanosecond has no meaning.
const RATE_MAX_MILLI: u64 = 100_000_000_000;

/// A rate in thousandths of a transaction per second: exact, so that a schedule is rational.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate {
    /// Thousandths of a transaction per second.
    pub milli: u64,
}

impl Rate {
    /// Transactions per second.
    #[must_use]
    pub fn per_second(self) -> f64 {
        self.milli as f64 / 1000.0
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.milli.is_multiple_of(1000) {
            write!(formatter, "{}", self.milli / 1000)
        } else {
            write!(formatter, "{}.{:03}", self.milli / 1000, self.milli % 1000)
        }
    }
}

/// One piece of a load profile: a rate, or a linear ramp between two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ramp {
    /// Rate at its start.
    pub from: Rate,
    /// Rate at its end; equal to `from` for a constant rate.
    pub to: Rate,
}

impl Ramp {
    /// True when the rate does not change.
    #[must_use]
    pub fn is_constant(self) -> bool {
        self.from == self.to
    }
}

impl fmt::Display for Ramp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_constant() {
            self.from.fmt(formatter)
        } else {
            write!(formatter, "{}:{}", self.from, self.to)
        }
    }
}

/// A whole number in decimal with an optional fraction, and a suffix `k`, `M` or `G`; in thousandths.
fn parse_milli(text: &str) -> Option<u64> {
    let (digits, exponent) = match text.char_indices().last()? {
        (at, 'k' | 'K') => (text.get(..at)?, 3),
        (at, 'M' | 'm') => (text.get(..at)?, 6),
        (at, 'G' | 'g') => (text.get(..at)?, 9),
        _ => (text, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    if whole.is_empty() || !all_digits(whole) || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let places = exponent + 3;
    if fraction.len() > places {
        return None;
    }
    let whole: u64 = whole.replace('_', "").parse().ok()?;
    let padded = format!("{fraction:0<places$}");
    let fraction: u64 = if padded.is_empty() {
        0
    } else {
        padded.parse().ok()?
    };
    whole
        .checked_mul(10_u64.checked_pow(u32::try_from(places).ok()?)?)?
        .checked_add(fraction)
}

/// Parses a rate above zero.
///
/// # Errors
/// Names the flag and what is accepted.
pub fn parse_rate(flag: &str, text: &str) -> Result<Rate, UsageError> {
    let fail = |problem: &str| UsageError::new(flag, text, problem, RATE_ACCEPTED);
    let milli = parse_milli(text).ok_or_else(|| fail("not a rate"))?;
    match milli {
        0 => Err(fail("a rate of zero sends nothing")),
        1..=RATE_MAX_MILLI => Ok(Rate { milli }),
        _ => Err(fail("a rate above 100M per second cannot be paced")),
    }
}

/// Parses `RATE` or `A:B`.
///
/// # Errors
/// As [`parse_rate`].
pub fn parse_ramp(flag: &str, text: &str) -> Result<Ramp, UsageError> {
    let (from, to) = text.split_once(':').unwrap_or((text, text));
    Ok(Ramp {
        from: parse_rate(flag, from).map_err(|error| whole(error, text))?,
        to: parse_rate(flag, to).map_err(|error| whole(error, text))?,
    })
}

fn whole(mut error: UsageError, text: &str) -> UsageError {
    text.clone_into(&mut error.value);
    error
}

/// Parses `RATE@DUR,..` as in `20k@30s,50k:100k@1m`.
///
/// # Errors
/// Names the stage that is not one.
pub fn parse_stages(flag: &str, text: &str) -> Result<Vec<(Ramp, Duration)>, UsageError> {
    let accepted = "RATE@DURATION separated by commas, such as 20k@30s,50k:100k@1m";
    text.split(',')
        .map(|stage| {
            let (rate, duration) = stage
                .split_once('@')
                .ok_or_else(|| UsageError::new(flag, stage, "a stage has a rate and a duration", accepted))?;
            let duration = parse_duration(flag, duration)?;
            if duration.is_zero() {
                return Err(UsageError::new(flag, stage, "an empty stage", accepted));
            }
            Ok((parse_ramp(flag, rate)?, duration))
        })
        .collect()
}

/// Parses a duration with its unit, at most a week.
///
/// # Errors
/// Names the flag and what is accepted.
pub fn parse_duration(flag: &str, text: &str) -> Result<Duration, UsageError> {
    let fail = |problem: &str| UsageError::new(flag, text, problem, DURATION_ACCEPTED);
    let duration = match text {
        "0" => Duration::ZERO,
        _ => humantime::parse_duration(text).map_err(|_| fail("not a duration"))?,
    };
    if duration > Duration::from_secs(7 * 24 * 3600) {
        return Err(fail("longer than a week"));
    }
    Ok(duration)
}

/// A duration as this program writes it back: parses to the same value.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string().replace(' ', "")
}

/// Parses a whole number with optional `k`, `M`, `G`.
///
/// # Errors
/// Names the flag and the bounds.
pub fn parse_count(flag: &str, text: &str, min: u64, max: u64) -> Result<u64, UsageError> {
    let accepted = format!("a whole number from {min} to {max}, also as 10k or 1M");
    let fail = |problem: &str| UsageError::new(flag, text, problem, &accepted);
    let milli = parse_milli(text).ok_or_else(|| fail("not a whole number"))?;
    if !milli.is_multiple_of(1000) {
        return Err(fail("not a whole number"));
    }
    let count = milli / 1000;
    if (min..=max).contains(&count) {
        Ok(count)
    } else {
        Err(fail("out of bounds"))
    }
}

/// Parses `N` or `A-B`.
///
/// # Errors
/// Names the flag and the bounds.
pub fn parse_range(flag: &str, text: &str, min: u64, max: u64) -> Result<(u64, u64), UsageError> {
    let accepted = format!("N or A-B with {min} <= A <= B <= {max}");
    let fail = |problem: &str| UsageError::new(flag, text, problem, &accepted);
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let parse = |part: &str| part.parse::<u64>().map_err(|_| fail("not a range of counts"));
    let (low, high) = (parse(low)?, parse(high)?);
    if low < min || high > max || low > high {
        return Err(fail("out of bounds"));
    }
    Ok((low, high))
}

/// Parses one word of a list; anything else is answered with the nearest.
///
/// # Errors
/// Names the flag and the words.
pub fn parse_word<T: Copy>(flag: &str, text: &str, words: &[(&str, T)]) -> Result<T, UsageError> {
    let spellings: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    words
        .iter()
        .find(|(word, _)| *word == text)
        .map(|(_, value)| *value)
        .ok_or_else(|| UsageError::new(flag, text, "unknown value", &spellings.join(", ")).near(&spellings))
}

/// What shares accept.
pub const SHARE_ACCEPTED: &str =
    "a share from 0 to 1 with at most six decimals such as 0.25, or a percentage such as 25%";

/// Parses a share, `0.25` or `25%`, to parts per million, exactly.
///
/// # Errors
/// Names the flag and what is accepted.
pub fn parse_share(flag: &str, text: &str) -> Result<u32, UsageError> {
    let fail = || UsageError::new(flag, text, "not a share", SHARE_ACCEPTED);
    let (number, unit) = match text.strip_suffix('%') {
        Some(percent) => (percent, 1e4),
        None => (text, 1e6),
    };
    let parts = unit * number.trim().parse::<f64>().map_err(|_| fail())?;
    // Not a number is in no range.
    if !(0.0..=1e6).contains(&parts) || (parts - parts.round()).abs() > 1e-6 {
        return Err(fail());
    }
    Ok(parts.round() as u32)
}

/// Parts per million as a share: parses to the same value.
#[must_use]
pub fn show_share(ppm: u32) -> String {
    format!("{}", f64::from(ppm) / 1e6)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        Rate, parse_count, parse_duration, parse_ramp, parse_range, parse_rate, parse_stages, parse_word,
        show_duration,
    };

    #[test]
    fn rates_are_exact() {
        for (text, milli) in [
            ("5000", 5_000_000),
            ("100k", 100_000_000),
            ("1.5M", 1_500_000_000),
            ("0.5", 500),
            ("2.0005k", 2_000_500),
            ("10_000", 10_000_000),
        ] {
            assert_eq!(parse_rate("--tps", text), Ok(Rate { milli }), "{text}");
        }
        for text in ["abc", "", "k", "-5", "1.5.5", "0", "1e3", "0.0001", "100G", "５"] {
            let error = parse_rate("--tps", text).expect_err(text).to_string();
            assert!(error.starts_with("--tps"), "{error}");
            assert!(error.contains("1.5M"), "{error}");
        }
    }

    #[test]
    fn ramps_and_stages() {
        let ramp = parse_ramp("--tps", "1k:2k").expect("ramp");
        assert_eq!((ramp.from.milli, ramp.to.milli), (1_000_000, 2_000_000));
        assert_eq!(ramp.to_string(), "1000:2000");
        assert!(parse_ramp("--tps", "1k:x").is_err());
        let stages = parse_stages("--stages", "20k@30s,50k:100k@1m").expect("stages");
        assert_eq!(stages.len(), 2);
        assert_eq!(stages[1].1, Duration::from_secs(60));
        for text in ["20k", "20k@", "20k@0s", "20k@30s,", "@3s"] {
            assert!(parse_stages("--stages", text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_counts_ranges_words() {
        let duration = parse_duration("--drain", "1m 30s").expect("duration");
        assert_eq!(parse_duration("--drain", &show_duration(duration)), Ok(duration));
        assert_eq!(parse_duration("--drain", "0"), Ok(Duration::ZERO));
        for text in ["20", "x", "-1s", "3weeks"] {
            assert!(parse_duration("--drain", text).is_err(), "{text}");
        }
        assert_eq!(parse_count("--accounts", "1M", 1, 2_000_000), Ok(1_000_000));
        for text in ["0", "3M", "1.5", "x"] {
            assert!(parse_count("--accounts", text, 1, 2_000_000).is_err(), "{text}");
        }
        assert_eq!(parse_range("--inputs", "1-4", 1, 64), Ok((1, 4)));
        assert_eq!(parse_range("--inputs", "2", 1, 64), Ok((2, 2)));
        for text in ["0", "4-1", "1-65", "x", ""] {
            assert!(parse_range("--inputs", text, 1, 64).is_err(), "{text}");
        }
        let error = parse_word("--arrival", "posson", &[("uniform", 0), ("poisson", 1)]);
        assert!(
            error
                .expect_err("unknown")
                .to_string()
                .contains("did you mean 'poisson'")
        );
    }

    #[test]
    fn shares_are_exact_and_come_back() {
        for (text, ppm) in [
            ("0", 0),
            ("1", 1_000_000),
            ("0.25", 250_000),
            ("25%", 250_000),
            ("0.1 %", 1000),
            ("0.000001", 1),
        ] {
            assert_eq!(super::parse_share("--x", text), Ok(ppm), "{text}");
            assert_eq!(super::parse_share("--x", &super::show_share(ppm)), Ok(ppm));
        }
        for text in ["", "x", "-0.1", "1.1", "101%", "0.0000001", "nan", "inf", "%"] {
            let error = super::parse_share("--x", text).expect_err(text).to_string();
            assert!(error.starts_with("--x") && error.contains("0 to 1"), "{error}");
        }
    }
}
