//! Checks of every setting, each naming its flag; defaults are written back, so that a report repeats its run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use types::limits::{INPUTS_MAX, OUTPUTS_MAX, SUBMIT_TXS_MAX};

use super::{
    ACCOUNT_AMOUNT, AbortRule, Client, Config, Format, Load, Network, Output, Overload, Progress, Validity,
    WindowLength, WorkloadChoice,
};
use crate::cli::RawConfig;
use crate::schedule::Arrival;
use crate::slo::{Distribution, Metric, Objective, Statistic};
use crate::units::{
    DURATION_ACCEPTED, RATE_ACCEPTED, Ramp, parse_count, parse_duration, parse_ramp, parse_range,
    parse_share, parse_stages, parse_word, show_duration,
};
use crate::usage::UsageError;
use crate::workload::InvalidShares;

mod network;

pub(super) fn resolve(mut raw: RawConfig, random: u64) -> Result<Config, UsageError> {
    let workload = workload(&mut raw)?;
    let network = network::network(&mut raw, &workload)?;
    let load = load(&mut raw, &workload, random)?;
    let accounts = accounts(&mut raw, &network, &load, &workload)?;
    let client = client(&mut raw, &network)?;
    let output = output(&mut raw)?;
    Ok(Config {
        network,
        load,
        workload,
        accounts,
        client,
        output,
        resolved: raw,
    })
}

/// The value of a setting, after its default was filled in.
fn or<'a>(slot: &'a mut Option<String>, default: &str) -> &'a str {
    slot.get_or_insert_with(|| default.to_owned())
}

/// Every double spend needs a first spend.
const CONFLICTS_MAX_PPM: u32 = 500_000;
/// Most that may be spoilt on purpose: coins come from what is not.
const SPOILT_MAX_PPM: u32 = 900_000;

fn not_built(flag: &str, value: &str, exists: &str) -> UsageError {
    UsageError::new(flag, value, "not built yet", exists)
}

fn load(raw: &mut RawConfig, workload: &WorkloadChoice, random: u64) -> Result<Load, UsageError> {
    let is_trace = matches!(workload, WorkloadChoice::Bitcoin(_));
    let (pieces, window) = pieces(raw, is_trace)?;
    let warmup = if is_trace { "0" } else { "10s" };
    let warmup = parse_duration("--warmup", or(&mut raw.warmup, warmup))?;
    if is_trace && !warmup.is_zero() {
        return Err(UsageError::new(
            "--warmup",
            &show_duration(warmup),
            "a trace has none",
            "0",
        ));
    }
    let drain = parse_duration("--drain", or(&mut raw.drain, "10s"))?;
    let deadline = parse_duration("--deadline", or(&mut raw.deadline, "10s"))?;
    if deadline.is_zero() {
        return Err(UsageError::new(
            "--deadline",
            "0",
            "everything would be late",
            "1ms and more",
        ));
    }
    let peak = pieces
        .iter()
        .map(|(ramp, _)| ramp.from.max(ramp.to))
        .max()
        .unwrap_or_default();
    let in_flight = ((peak.per_second() * deadline.as_secs_f64()) as u64).max(1000);
    let in_flight = or(&mut raw.max_in_flight, &in_flight.to_string()).to_owned();
    let seed = match or(&mut raw.seed, "1") {
        "random" => random,
        text => text.parse().map_err(|_| {
            UsageError::new(
                "--seed",
                text,
                "not a seed",
                "a whole number below 2^64, or random",
            )
            .near(&["random"])
        })?,
    };
    raw.seed = Some(seed.to_string());
    Ok(Load {
        pieces,
        window,
        warmup,
        drain,
        arrival: parse_word(
            "--arrival",
            or(&mut raw.arrival, "poisson"),
            &[("poisson", Arrival::Poisson), ("uniform", Arrival::Uniform)],
        )?,
        overload: parse_word(
            "--overload",
            or(&mut raw.overload, "queue"),
            &[
                ("queue", Overload::Queue),
                ("shed", Overload::Shed),
                ("stop", Overload::Stop),
            ],
        )?,
        deadline,
        in_flight_max: parse_count("--max-in-flight", &in_flight, 1, u64::from(u32::MAX))?,
        seed,
    })
}

fn pieces(raw: &mut RawConfig, is_trace: bool) -> Result<(Vec<(Ramp, Duration)>, WindowLength), UsageError> {
    if let Some(stages) = &raw.stages {
        for (flag, value) in [("--tps", &raw.tps), ("--duration", &raw.duration)] {
            if let Some(value) = value {
                return Err(UsageError::new(
                    flag,
                    value,
                    "stages have their own",
                    "either --stages, or --tps and --duration",
                ));
            }
        }
        let pieces = parse_stages("--stages", stages)?;
        if is_trace {
            return Err(UsageError::new(
                "--stages",
                stages,
                "a trace has one rate",
                "--tps with --workload bitcoin:FILE",
            ));
        }
        let length = pieces.iter().map(|(_, length)| *length).sum();
        return Ok((pieces, WindowLength::Time(length)));
    }
    let Some(tps) = &raw.tps else {
        return Err(UsageError::new("--tps", "", "missing", RATE_ACCEPTED));
    };
    let ramp = parse_ramp("--tps", tps)?;
    if is_trace {
        if let Some(duration) = &raw.duration {
            return Err(UsageError::new(
                "--duration",
                duration,
                "a trace ends by itself",
                "--workload bitcoin:FILE without --duration",
            ));
        }
        if !ramp.is_constant() {
            return Err(UsageError::new(
                "--tps",
                tps,
                "a trace has one rate",
                "a rate without a ramp",
            ));
        }
        return Ok((vec![(ramp, Duration::ZERO)], WindowLength::Count(0)));
    }
    let text = or(&mut raw.duration, "60s").to_owned();
    if text != "0" && text.bytes().all(|byte| byte.is_ascii_digit()) {
        if !ramp.is_constant() {
            return Err(UsageError::new(
                "--duration",
                &text,
                "a count needs a constant rate",
                DURATION_ACCEPTED,
            ));
        }
        let count = parse_count("--duration", &text, 1, u64::from(u32::MAX) / 2)?;
        return Ok((vec![(ramp, Duration::ZERO)], WindowLength::Count(count)));
    }
    let length = parse_duration("--duration", &text)?;
    if length < Duration::from_millis(100) {
        return Err(UsageError::new(
            "--duration",
            &text,
            "too short to measure",
            "100ms and more, or a number of transactions",
        ));
    }
    Ok((vec![(ramp, length)], WindowLength::Time(length)))
}

fn workload(raw: &mut RawConfig) -> Result<WorkloadChoice, UsageError> {
    let text = or(&mut raw.cross_shard, "0").to_owned();
    if text.parse() != Ok(0.0_f64) {
        return Err(not_built("--cross-shard", &text, "0"));
    }
    raw.cross_shard = Some("0".to_owned());
    let invalid = InvalidShares::parse("--invalid", or(&mut raw.invalid, "none"))?;
    let conflicts = or(&mut raw.conflicts, "0").to_owned();
    let conflicts_ppm = parse_share("--conflicts", &conflicts)?;
    if conflicts_ppm > CONFLICTS_MAX_PPM {
        return Err(UsageError::new(
            "--conflicts",
            &conflicts,
            "every double spend needs a first spend",
            "0 to 0.5",
        ));
    }
    if invalid.total_ppm() + conflicts_ppm > SPOILT_MAX_PPM {
        return Err(UsageError::new(
            "--invalid",
            raw.invalid.as_deref().unwrap_or_default(),
            "nothing valid would be left beside --conflicts",
            "shares that with --conflicts add up to 0.9 or less",
        ));
    }
    let text = or(&mut raw.workload, "transfer").to_owned();
    if let Some(file) = text.strip_prefix("bitcoin:") {
        if !Path::new(file).is_file() {
            return Err(UsageError::new(
                "--workload",
                &text,
                "no such file",
                "bitcoin:FILE with a file made by `loadgen import`",
            ));
        }
        for (flag, value, is_asked) in [
            ("--invalid", &raw.invalid, invalid.total_ppm() > 0),
            ("--conflicts", &raw.conflicts, conflicts_ppm > 0),
        ] {
            if is_asked {
                let value = value.as_deref().unwrap_or_default();
                return Err(UsageError::new(
                    flag,
                    value,
                    "a trace is replayed as it is",
                    "--workload transfer with it",
                ));
            }
        }
        return Ok(WorkloadChoice::Bitcoin(PathBuf::from(file)));
    }
    match text.as_str() {
        "transfer" => {}
        "fanout" | "hotspot" => {
            return Err(not_built("--workload", &text, "transfer, bitcoin:FILE"));
        }
        _ => {
            return Err(
                UsageError::new("--workload", &text, "unknown workload", "transfer, bitcoin:FILE")
                    .near(&["transfer", "bitcoin:"]),
            );
        }
    }
    let range = |flag, text: &str, max: usize| {
        let (low, high) = parse_range(flag, text, 1, max as u64)?;
        Ok::<_, UsageError>((low as u8, high as u8))
    };
    let inputs = range("--inputs", or(&mut raw.inputs, "1"), INPUTS_MAX)?;
    let outputs = range("--outputs", or(&mut raw.outputs, "2"), OUTPUTS_MAX)?;
    let chain_depth = parse_count("--chain-depth", or(&mut raw.chain_depth, "1"), 1, 1_000_000)? as u32;
    if chain_depth > 1 && outputs.0 < 2 {
        let shown = chain_depth.to_string();
        return Err(UsageError::new(
            "--chain-depth",
            &shown,
            "the chain follows the change",
            "1, or --outputs of at least 2",
        ));
    }
    let amount = match &raw.amount {
        None => None,
        Some(text) => Some(parse_count("--amount", text, 1, ACCOUNT_AMOUNT)?),
    };
    Ok(WorkloadChoice::Transfer {
        inputs,
        outputs,
        amount,
        chain_depth,
        invalid,
        conflicts_ppm,
    })
}

/// Accounts of a local network: enough coins for what is in flight and settling.
fn accounts(
    raw: &mut RawConfig,
    network: &Network,
    load: &Load,
    workload: &WorkloadChoice,
) -> Result<u32, UsageError> {
    const ACCOUNTS_MAX: u64 = 10_000_000;
    let (inputs, conflicts_ppm) = match workload {
        WorkloadChoice::Transfer {
            inputs,
            conflicts_ppm,
            ..
        } => (u64::from(inputs.1), *conflicts_ppm),
        WorkloadChoice::Bitcoin(_) => return Ok(0),
    };
    if matches!(network, Network::Remote(_)) && raw.accounts.is_none() {
        return Ok(0);
    }
    let peak = load
        .pieces
        .iter()
        .map(|(ramp, _)| ramp.from.max(ramp.to))
        .max()
        .unwrap_or_default();
    let wanted = ((peak.per_second() * 6.0) as u64).saturating_mul(inputs);
    // Whose coins are spent twice are not used again.
    let length = load.warmup + load.pieces.iter().map(|(_, length)| *length).sum::<Duration>();
    let counted = match load.window {
        WindowLength::Count(count) => count as f64,
        WindowLength::Time(_) => 0.0,
    };
    let doubled = (peak.per_second() * length.as_secs_f64() + counted) * f64::from(conflicts_ppm) / 1e6;
    let wanted = wanted.saturating_add((doubled * 1.2) as u64 * inputs);
    let default = wanted.clamp(10_000, 1_000_000);
    let text = or(&mut raw.accounts, &default.to_string());
    parse_count("--accounts", text, 16, ACCOUNTS_MAX).map(|accounts| accounts as u32)
}

fn client(raw: &mut RawConfig, network: &Network) -> Result<Client, UsageError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let connections = parse_count("--connections", or(&mut raw.connections, "1"), 1, 64)?;
    let batch = parse_count("--batch", or(&mut raw.batch, "1"), 1, SUBMIT_TXS_MAX as u64)?;
    let threads = (cores / 2).clamp(1, 8).to_string();
    let threads = parse_count("--threads", or(&mut raw.threads, &threads), 1, 64)?;
    // Beside the nodes a wake-up for each transaction costs them more than the lag costs the figures.
    let quantum = if matches!(network, Network::Local(_)) {
        "1ms"
    } else {
        "0"
    };
    let text = or(&mut raw.pace_quantum, quantum);
    let pace_quantum = parse_duration("--pace-quantum", text)?;
    if pace_quantum > Duration::from_millis(100) {
        return Err(UsageError::new("--pace-quantum", text, "too long", "0 to 100ms"));
    }
    Ok(Client {
        connections: connections as u16,
        batch: batch as u16,
        threads: threads as usize,
        pace_quantum,
    })
}

fn output(raw: &mut RawConfig) -> Result<Output, UsageError> {
    let slo = raw
        .slo
        .iter()
        .map(|text| Objective::parse("--slo", text))
        .collect::<Result<_, _>>()?;
    let abort_on = raw.abort_on.as_deref().map(abort_rule).transpose()?;
    let text = or(&mut raw.interval, "1s");
    let interval = parse_duration("--interval", text)?;
    if !(Duration::from_millis(100)..=Duration::from_secs(3600)).contains(&interval) {
        return Err(UsageError::new(
            "--interval",
            text,
            "out of bounds",
            "100ms to 1h",
        ));
    }
    Ok(Output {
        slo,
        abort_on,
        validity: parse_word(
            "--validity",
            or(&mut raw.validity, "strict"),
            &[
                ("strict", Validity::Strict),
                ("warn", Validity::Warn),
                ("off", Validity::Off),
            ],
        )?,
        out: out_file(raw.out.as_deref())?,
        format: parse_word(
            "--format",
            or(&mut raw.format, "text"),
            &[
                ("text", Format::Text),
                ("json", Format::Json),
                ("md", Format::Markdown),
                ("quiet", Format::Quiet),
            ],
        )?,
        progress: parse_word(
            "--progress",
            or(&mut raw.progress, "auto"),
            &[
                ("auto", Progress::Auto),
                ("line", Progress::Line),
                ("json", Progress::Json),
                ("off", Progress::Off),
            ],
        )?,
        interval,
        tags: tags(&raw.tag)?,
    })
}

/// A report that cannot be written must be known before the run.
fn out_file(out: Option<&str>) -> Result<Option<PathBuf>, UsageError> {
    let Some(text) = out else { return Ok(None) };
    let path = Path::new(text);
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if path.is_dir() || !folder.is_dir() {
        return Err(UsageError::new(
            "--out",
            text,
            "not a file in a folder that exists",
            "a file name such as r.json",
        ));
    }
    Ok(Some(path.to_owned()))
}

fn abort_rule(text: &str) -> Result<AbortRule, UsageError> {
    let flag = "--abort-on";
    let (expression, hold) = match text.rsplit_once('@') {
        Some((expression, hold)) => (expression, parse_duration(flag, hold)?),
        None => (text, Duration::from_secs(5)),
    };
    let objective = Objective::parse(flag, expression)?;
    let is_live = match objective.metric {
        Metric::Errors | Metric::Tps | Metric::TpsShare => true,
        Metric::Latency(Distribution::Final, Statistic::Quantile(quantile)) => quantile <= 99_000,
        Metric::Latency(..) => false,
    };
    if !is_live {
        return Err(UsageError::new(
            flag,
            text,
            "not known while the run goes on",
            "p50, p90, p95, p99, errors or tps",
        ));
    }
    Ok(AbortRule { objective, hold })
}

fn tags(texts: &[String]) -> Result<BTreeMap<String, String>, UsageError> {
    texts
        .iter()
        .map(|text| match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
            _ => Err(UsageError::new("--tag", text, "not a pair", "key=value")),
        })
        .collect()
}
