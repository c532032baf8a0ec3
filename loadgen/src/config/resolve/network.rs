//! The network of a run: one that runs already, or one to start here with its ledger design.

use std::path::{Path, PathBuf};
use std::time::Duration;

use types::limits::{CANDIDATES_MAX, SHARDS_MAX, VALIDATORS_MAX};

use super::{not_built, or};
use crate::byzantine::parse_profiles;
use crate::cli::RawConfig;
use crate::config::{Design, Leagues, LocalNetwork, Network, RemoteNetwork, WorkloadChoice};
use crate::hosts::parse_nodes;
use crate::units::{parse_count, parse_duration, parse_share, parse_word, show_duration};
use crate::usage::UsageError;

/// Fewest voters of a shard.
const VOTERS_MIN: u64 = 4;
/// Presets of `--policy`; anything else is a file.
const PRESETS: [&str; 2] = ["lan", "wan"];

pub(super) fn network(raw: &mut RawConfig, workload: &WorkloadChoice) -> Result<Network, UsageError> {
    if let Some(nodes) = &raw.nodes {
        let nodes = parse_nodes(nodes)?;
        let genesis = match (&raw.genesis, &nodes.file) {
            (Some(genesis), _) => PathBuf::from(genesis),
            (None, Some(file)) => file.with_file_name("genesis.toml"),
            (None, None) => {
                return Err(UsageError::new(
                    "--genesis",
                    "",
                    "missing",
                    "the genesis.toml of the network that --nodes names",
                ));
            }
        };
        if !genesis.is_file() {
            let shown = genesis.display().to_string();
            return Err(UsageError::new(
                "--genesis",
                &shown,
                "no such file",
                "the genesis.toml of the network that --nodes names",
            ));
        }
        raw.genesis = Some(genesis.display().to_string());
        return Ok(Network::Remote(RemoteNetwork { nodes, genesis }));
    }
    if let Some(genesis) = &raw.genesis {
        return Err(UsageError::new(
            "--genesis",
            genesis,
            "only used with --nodes",
            "--nodes @hosts beside it",
        ));
    }
    local(raw, matches!(workload, WorkloadChoice::Bitcoin(_))).map(Network::Local)
}

fn local(raw: &mut RawConfig, is_trace: bool) -> Result<LocalNetwork, UsageError> {
    let shards = shards(raw, is_trace)?;
    let policy = policy(raw)?;
    let design = design(raw, PRESETS.contains(&policy.as_str()))?;
    let validators = validators(raw, shards, &design)?;
    let byzantine = byzantine(raw, &design)?;
    let rtt = parse_duration("--rtt", or(&mut raw.rtt, "0"))?;
    if rtt > Duration::from_secs(10) {
        return Err(UsageError::new(
            "--rtt",
            &show_duration(rtt),
            "too long",
            "0 to 10s",
        ));
    }
    Ok(LocalNetwork {
        shards,
        validators,
        design,
        byzantine,
        durability: parse_word(
            "--durability",
            or(&mut raw.durability, "fsync"),
            &[("fsync", "fsync"), ("async", "async")],
        )?,
        data_dir: raw.data_dir.as_ref().map(PathBuf::from),
        policy,
        rtt,
        node_bin: raw.node_bin.as_ref().map(PathBuf::from),
    })
}

fn shards(raw: &mut RawConfig, is_trace: bool) -> Result<u16, UsageError> {
    let text = or(&mut raw.shards, if is_trace { "1" } else { "2" });
    let accepted = format!("a power of two from 1 to {SHARDS_MAX}");
    let shards = parse_count("--shards", text, 1, SHARDS_MAX as u64)
        .ok()
        .filter(|shards| shards.is_power_of_two())
        .ok_or_else(|| {
            let mut error = UsageError::new("--shards", text, "not a power of two", &accepted);
            let near = text
                .parse::<u64>()
                .ok()
                .filter(|near| (1..SHARDS_MAX as u64).contains(near));
            error.nearest = near.map(|near| near.next_power_of_two().to_string());
            error
        })?;
    if is_trace && shards != 1 {
        return Err(UsageError::new(
            "--shards",
            text,
            "a trace pays between any two of its owners",
            "--shards 1 with --workload bitcoin:FILE",
        ));
    }
    Ok(shards as u16)
}

/// A preset, or a file that the node program reads.
fn policy(raw: &mut RawConfig) -> Result<String, UsageError> {
    let text = or(&mut raw.policy, "lan");
    if PRESETS.contains(&text) || Path::new(text).is_file() {
        return Ok(text.to_owned());
    }
    Err(UsageError::new("--policy", text, "neither a preset nor a file", "lan, wan, FILE").near(&PRESETS))
}

/// The ledger design; what a preset leaves open is filled in, what a file says is left to it.
fn design(raw: &mut RawConfig, is_preset: bool) -> Result<Design, UsageError> {
    let protocol = or(&mut raw.protocol, "pob").to_owned();
    match protocol.as_str() {
        "pob" => {}
        "pbft" => return one_league(raw),
        "records" | "constellation" => return Err(not_built("--protocol", &protocol, "pob, pbft")),
        _ => parse_word("--protocol", &protocol, &[("pob", ()), ("pbft", ())])?,
    }
    if is_preset {
        let seats = or(&mut raw.believable, "1").to_owned();
        or(&mut raw.candidates, &seats);
        or(&mut raw.sampling, "0.25");
    }
    let most = CANDIDATES_MAX as u64;
    let count = |flag, text: &Option<String>, max| {
        let parse = |text: &String| parse_count(flag, text, 1, max).map(|count| count as u16);
        text.as_ref().map(parse).transpose()
    };
    let seats = count("--believable", &raw.believable, most)?;
    let candidates = count("--candidates", &raw.candidates, most)?;
    if let (Some(seats), Some(candidates)) = (seats, candidates)
        && seats > candidates
    {
        return Err(UsageError::new(
            "--candidates",
            &candidates.to_string(),
            &format!("fewer than the {seats} seats"),
            &format!("{seats} to {most}"),
        ));
    }
    let share = |text: &String| parse_share("--sampling", text);
    let bond = |text: &String| parse_count("--bond", text, 1, u64::MAX / 1000);
    Ok(Design::TwoLeagues(Leagues {
        seats,
        candidates,
        sampling_ppm: raw.sampling.as_ref().map(share).transpose()?,
        bond: raw.bond.as_ref().map(bond).transpose()?,
    }))
}

/// With one league nothing may be asked of the other.
fn one_league(raw: &RawConfig) -> Result<Design, UsageError> {
    let foreign = [
        ("--believable", &raw.believable),
        ("--candidates", &raw.candidates),
        ("--sampling", &raw.sampling),
        ("--bond", &raw.bond),
        ("--byzantine", &raw.byzantine),
    ];
    for (flag, value) in foreign {
        if let Some(value) = value {
            return Err(UsageError::new(
                flag,
                value,
                "says something of believable authors, and pbft has none",
                "--protocol pob with it",
            ));
        }
    }
    if let Some(slo) = raw
        .slo
        .iter()
        .find(|slo| slo.trim_start().starts_with("optimistic"))
    {
        return Err(UsageError::new(
            "--slo",
            slo,
            "pbft has no optimistic receipts",
            "--protocol pob with it, or final.p99<500ms",
        ));
    }
    Ok(Design::OneLeague)
}

fn validators(raw: &mut RawConfig, shards: u16, design: &Design) -> Result<u16, UsageError> {
    let candidates = match design {
        Design::OneLeague => 0,
        Design::TwoLeagues(leagues) => u64::from(leagues.candidates.or(leagues.seats).unwrap_or(1)),
    };
    // As many as the rules of a genesis accept is for the node program to say: it has them.
    let most = VALIDATORS_MAX as u64 / u64::from(shards);
    let default = (VOTERS_MIN + candidates).max(5).to_string();
    let text = or(&mut raw.validators, &default).to_owned();
    let least = VOTERS_MIN + candidates;
    parse_count("--validators", &text, least, most)
        .map(|count| count as u16)
        .map_err(|mut error| {
            error.accepted = if least > most {
                format!("fewer --shards: {shards} have room for {most} validators each")
            } else {
                format!("{least} to {most}: {VOTERS_MIN} voters and {candidates} candidates at least")
            };
            error
        })
}

fn byzantine(raw: &RawConfig, design: &Design) -> Result<Option<String>, UsageError> {
    let Some(text) = &raw.byzantine else {
        return Ok(None);
    };
    debug_assert!(
        matches!(design, Design::TwoLeagues(_)),
        "one league refuses the flag"
    );
    parse_profiles("--byzantine", text)?;
    Ok(Some(text.clone()))
}
