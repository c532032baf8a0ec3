//! The policy of a new network: a preset, or a file with the parameters that differ from `lan`; those of two leagues
//! stand in its table `[leagues]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use types::policy::{Leagues, Policy, PolicyError};

use crate::bounded::{self, BoundedError};
use crate::limits::{POLICY_FILE_BYTES_MAX, VIEW_TIMEOUT_MIN_MAX};
use crate::problem::toml_problem;

/// Why a policy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyFileError {
    /// Neither a preset nor a file.
    #[error("--policy {name} cannot be read: {source}; accepted is lan, wan or a TOML file")]
    Read {
        /// As given.
        name: String,
        /// Cause.
        source: std::io::Error,
    },
    /// A file larger than any that is accepted.
    #[error("the policy file {path} has more than {max} bytes, which no file of its kind has")]
    Size {
        /// File.
        path: PathBuf,
        /// Accepted, bytes.
        max: u64,
    },
    /// Not a file of policy parameters.
    #[error("the policy file {path}: {problem}")]
    Shape {
        /// File.
        path: PathBuf,
        /// What is wrong, with line and column.
        problem: String,
    },
    /// A parameter that is not a duration.
    #[error("the policy file {path}: {key} is {value:?}, accepted is a duration such as 50ms or 2s")]
    Duration {
        /// File.
        path: PathBuf,
        /// Parameter.
        key: &'static str,
        /// Its value.
        value: String,
    },
    /// A probability that is none.
    #[error("the policy file {path}: leagues.sampling is {value}, accepted is {SHARE_WORDS}")]
    Share {
        /// File.
        path: PathBuf,
        /// Its value.
        value: f64,
    },
    /// A floor of the view timer out of bounds.
    #[error("the policy file {path}: view_timeout_min is {value:?}, accepted is 0s to 1h")]
    ViewTimeout {
        /// File.
        path: PathBuf,
        /// Its value.
        value: Duration,
    },
    /// A parameter out of its bounds.
    #[error("the policy file {path}: {source}")]
    Bounds {
        /// File.
        path: PathBuf,
        /// Cause.
        source: PolicyError,
    },
}

/// What is accepted as a share.
pub const SHARE_WORDS: &str = "a share from 0 to 1 with at most six decimals, such as 0.25";

/// A share as parts per million, exactly; `None` when it is no share of [`SHARE_WORDS`].
#[must_use]
pub fn parts_per_million(share: f64) -> Option<u32> {
    let parts = 1e6 * share;
    // Not a number is in no range.
    let exact = (0.0..=1e6).contains(&parts) && (parts - parts.round()).abs() <= 1e-6;
    exact.then_some(parts.round() as u32)
}

/// The file: every key may be missing and is then that of `lan`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawPolicy {
    shard_delay: Option<String>,
    block_interval: Option<String>,
    window: Option<u64>,
    view_timeout_min: Option<String>,
    cut_interval: Option<String>,
    park_timeout: Option<String>,
    lag: Option<u64>,
    batch_txs_max: Option<u32>,
    batch_bytes_max: Option<u32>,
    block_txs_max: Option<u32>,
    expiry_ahead_max: Option<u32>,
    fee_min: Option<u64>,
    leagues: RawLeagues,
}

/// Two leagues: a key that is missing is what [`Policy::with_leagues`] makes of the rest of the file.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawLeagues {
    seats: Option<u16>,
    candidates: Option<u16>,
    seats_min: Option<u16>,
    sampling: Option<f64>,
    challenge_wait: Option<String>,
    cut_interval: Option<String>,
    heartbeat: Option<String>,
    slow_heights: Option<u64>,
    believability_min: Option<u32>,
    bond_min: Option<u64>,
    bond_cap: Option<u64>,
    recheck_heights: Option<u64>,
}

/// The policy that `--policy` names: `lan`, `wan` or a file. It has the parameters of two leagues; for one league they are
/// to be left out.
///
/// # Errors
/// Names the file, the parameter and what is accepted.
pub fn read_policy(name: &str) -> Result<Policy, PolicyFileError> {
    match name {
        "lan" => Ok(Policy::lan().with_leagues()),
        "wan" => Ok(Policy::wan().with_leagues()),
        file => {
            let read_error = |error| match error {
                BoundedError::Io(source) => PolicyFileError::Read {
                    name: file.into(),
                    source,
                },
                BoundedError::Size => PolicyFileError::Size {
                    path: file.into(),
                    max: POLICY_FILE_BYTES_MAX,
                },
            };
            let path = Path::new(file);
            parse(
                path,
                &bounded::read_text(path, POLICY_FILE_BYTES_MAX).map_err(read_error)?,
            )
        }
    }
}

/// The policy of a file's text; `path` is for errors alone.
///
/// # Errors
/// Names the file, the parameter and what is accepted.
pub fn parse(path: &Path, text: &str) -> Result<Policy, PolicyFileError> {
    let raw: RawPolicy = toml::from_str(text).map_err(|error| PolicyFileError::Shape {
        path: path.into(),
        problem: toml_problem(text, &error),
    })?;
    let duration = |key, value, preset| duration(path, key, value, preset);
    let lan = Policy::lan();
    let policy = Policy {
        shard_delay: duration("shard_delay", raw.shard_delay, lan.shard_delay)?,
        block_interval: duration("block_interval", raw.block_interval, lan.block_interval)?,
        window: raw.window.unwrap_or(lan.window),
        view_timeout_min: duration("view_timeout_min", raw.view_timeout_min, lan.view_timeout_min)?,
        cut_interval: duration("cut_interval", raw.cut_interval, lan.cut_interval)?,
        park_timeout: duration("park_timeout", raw.park_timeout, lan.park_timeout)?,
        lag: raw.lag.unwrap_or(lan.lag),
        batch_txs_max: raw.batch_txs_max.unwrap_or(lan.batch_txs_max),
        batch_bytes_max: raw.batch_bytes_max.unwrap_or(lan.batch_bytes_max),
        block_txs_max: raw.block_txs_max.unwrap_or(lan.block_txs_max),
        expiry_ahead_max: raw.expiry_ahead_max.unwrap_or(lan.expiry_ahead_max),
        fee_min: raw.fee_min.unwrap_or(lan.fee_min),
        leagues: None,
    };
    let policy = leagues(path, policy, raw.leagues)?;
    if policy.view_timeout_min > VIEW_TIMEOUT_MIN_MAX {
        return Err(PolicyFileError::ViewTimeout {
            path: path.into(),
            value: policy.view_timeout_min,
        });
    }
    policy.validate().map_err(|source| PolicyFileError::Bounds {
        path: path.into(),
        source,
    })?;
    Ok(policy)
}

fn duration(
    path: &Path,
    key: &'static str,
    value: Option<String>,
    preset: Duration,
) -> Result<Duration, PolicyFileError> {
    match value {
        None => Ok(preset),
        Some(value) => humantime::parse_duration(&value).map_err(|_| PolicyFileError::Duration {
            path: path.into(),
            key,
            value,
        }),
    }
}

/// The policy with the table of two leagues; a file that names seats alone has as many candidates.
fn leagues(path: &Path, policy: Policy, raw: RawLeagues) -> Result<Policy, PolicyFileError> {
    let mut policy = policy.with_leagues();
    let Some(preset) = policy.leagues.take() else {
        return Ok(policy);
    };
    let duration = |key, value, preset| duration(path, key, value, preset);
    let sampling_ppm = match raw.sampling {
        None => preset.sampling_ppm,
        Some(value) => parts_per_million(value).ok_or_else(|| PolicyFileError::Share {
            path: path.into(),
            value,
        })?,
    };
    let seats = raw.seats.unwrap_or(preset.seats);
    policy.leagues = Some(Leagues {
        seats,
        candidates: raw.candidates.unwrap_or(seats),
        seats_min: raw.seats_min.unwrap_or(preset.seats_min),
        sampling_ppm,
        challenge_wait: duration(
            "leagues.challenge_wait",
            raw.challenge_wait,
            preset.challenge_wait,
        )?,
        cut_interval: duration("leagues.cut_interval", raw.cut_interval, preset.cut_interval)?,
        heartbeat: duration("leagues.heartbeat", raw.heartbeat, preset.heartbeat)?,
        slow_heights: raw.slow_heights.unwrap_or(preset.slow_heights),
        believability_min: raw.believability_min.unwrap_or(preset.believability_min),
        bond_min: raw.bond_min.unwrap_or(preset.bond_min),
        bond_cap: raw.bond_cap.unwrap_or(preset.bond_cap),
        recheck_heights: raw.recheck_heights.unwrap_or(preset.recheck_heights),
    });
    Ok(policy)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use types::policy::{Leagues, Policy};

    use super::{PolicyFileError, parse, read_policy};

    #[test]
    fn presets_and_files_are_read() {
        assert_eq!(read_policy("lan").expect("lan"), Policy::lan().with_leagues());
        assert_eq!(read_policy("wan").expect("wan"), Policy::wan().with_leagues());
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("policy.toml");
        std::fs::write(&path, "block_interval = \"1s 500ms\"\nwindow = 8\nfee_min = 3\n").expect("written");
        let read = read_policy(&path.display().to_string()).expect("file");
        let expected = Policy {
            block_interval: Duration::from_millis(1500),
            window: 8,
            fee_min: 3,
            ..Policy::lan()
        };
        assert_eq!(read, expected.with_leagues());
    }

    #[test]
    fn every_key_is_taken() {
        let text = "shard_delay='1ms'\nblock_interval='2ms'\nwindow=3\nview_timeout_min='4ms'\ncut_interval='5ms'\n\
                    park_timeout='6ms'\nlag=7\nbatch_txs_max=8\nbatch_bytes_max=9000\nblock_txs_max=10\n\
                    expiry_ahead_max=11\nfee_min=12\n[leagues]\nseats=2\ncandidates=3\nseats_min=2\n\
                    sampling=0.5\nchallenge_wait='13ms'\ncut_interval='14ms'\nheartbeat='15ms'\n\
                    slow_heights=16\nbelievability_min=17\nbond_min=18\nbond_cap=19\nrecheck_heights=20\n";
        let millis = Duration::from_millis;
        let expected = Policy {
            shard_delay: millis(1),
            block_interval: millis(2),
            window: 3,
            view_timeout_min: millis(4),
            cut_interval: millis(5),
            park_timeout: millis(6),
            lag: 7,
            batch_txs_max: 8,
            batch_bytes_max: 9000,
            block_txs_max: 10,
            expiry_ahead_max: 11,
            fee_min: 12,
            leagues: Some(Leagues {
                seats: 2,
                candidates: 3,
                seats_min: 2,
                sampling_ppm: 500_000,
                challenge_wait: millis(13),
                cut_interval: millis(14),
                heartbeat: millis(15),
                slow_heights: 16,
                believability_min: 17,
                bond_min: 18,
                bond_cap: 19,
                recheck_heights: 20,
            }),
        };
        assert_eq!(parse(Path::new("p.toml"), text).expect("policy"), expected);
    }

    #[test]
    fn seats_alone_bring_as_many_candidates_and_whole_shares_are_shares() {
        let text = "[leagues]\nseats = 3\nsampling = 1";
        let leagues = parse(Path::new("p.toml"), text).expect("policy").leagues;
        let leagues = leagues.expect("two leagues");
        assert_eq!(
            (leagues.seats, leagues.candidates, leagues.sampling_ppm),
            (3, 3, 1_000_000)
        );
    }

    #[test]
    fn every_mistake_names_the_file_and_what_is_accepted() {
        let error = |text: &str| parse(Path::new("p.toml"), text).expect_err("wrong");
        for (text, words) in [
            ("windw = 3", "windw"),
            ("window = ", "line 1"),
            ("window = \"four\"", "line 1"),
            ("cut_interval = \"fast\"", "50ms"),
            ("cut_interval = 50", "line 1"),
            ("window = 17", "1 to 16"),
            ("cut_interval = \"61s\"", "60 s"),
            ("view_timeout_min = \"2h\"", "1h"),
            ("[leagues]\nsampling = 1.1", "0 to 1"),
            ("[leagues]\nsampling = 0.0000001", "six decimals"),
            ("[leagues]\nsampling = nan", "0 to 1"),
            ("[leagues]\nseat = 1", "seat"),
            ("[leagues]\nseats = 2\ncandidates = 1", "1 to candidates"),
            ("[leagues]\nheartbeat = \"often\"", "leagues.heartbeat"),
            ("[leagues]\nslow_heights = 21", "lag + 1"),
            ("[leagues]\nbond_min = 0", "1 to bond_cap"),
        ] {
            let words_found = error(text).to_string();
            assert!(
                words_found.contains(words) && words_found.contains("p.toml"),
                "{words_found}"
            );
        }
        assert!(matches!(error("windw = 3"), PolicyFileError::Shape { .. }));
        assert!(matches!(error("lag = 0"), PolicyFileError::Bounds { .. }));
        let missing = read_policy("fast").expect_err("no file");
        assert!(
            missing.to_string().contains("lan, wan or a TOML file"),
            "{missing}"
        );
    }
}
