//! From what was recorded to the report: samples, figures, verdict, labels.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::RunError;
use super::Setting;
use super::cost::{Work, cost};
use super::leagues;
use super::load::Loaded;
use super::plan::nanoseconds;
use super::prepare::Prepared;
use crate::accounting::{Outcome, Sample, Sending};
use crate::arena::{Arena, Expect};
use crate::audit::AuditOutcome;
use crate::config::{Config, Network, WorkloadChoice};
use crate::doctor::FREE_FSYNC_NS;
use crate::latency::Latency;
use crate::measure::{Figures, Phases};
use crate::report::{
    Asked, AuditSection, CountsSection, EnvSection, LimitSection, MixSection, NodeSection, Report,
    RunSection, SCHEMA_VERSION, SloResult, SystemSection, VerdictSection,
};
use crate::slo::{Distribution, Metric, Objective, Statistic};
use crate::verdict::{AuditEvidence, Evidence, judge};

/// Connections that broke, and what became final without a certificate for the client.
fn break_labels(loaded: &Loaded, audit: Option<&AuditOutcome>) -> Vec<String> {
    let mut labels = Vec::new();
    if let Some(first) = &loaded.first_break {
        labels.push(format!("connections broke {} times; {first}", loaded.breaks));
    }
    if let Some(unseen) = audit
        .map(|audit| audit.open_txs_in_chain)
        .filter(|unseen| *unseen > 0)
    {
        labels.push(format!(
            "{unseen} transactions without an answer are final in the chains"
        ));
    }
    labels
}

type Audited = Result<AuditOutcome, RunError>;

/// Builds the whole report.
pub(crate) fn report(
    setting: &Setting<'_>,
    prepared: &Prepared,
    loaded: &Loaded,
    audited: Option<&Audited>,
    argv: &[String],
    started: SystemTime,
) -> Report {
    let config = setting.config;
    let samples = samples(prepared, loaded);
    let phases = phases(config, prepared, loaded, &samples);
    let figures = Figures::of(&samples, &phases);
    let audit = audited.and_then(|audited| audited.as_ref().ok());
    let imbalance = figures
        .counts
        .check_against(&loaded.shared.recording.tallies())
        .err();
    let evidence = Evidence {
        imbalance: imbalance.map(|imbalance| imbalance.to_string()),
        ..evidence(config, prepared, loaded, audited, &figures, &phases)
    };
    let (status, checks, mut labels) = judge(&evidence);
    labels.extend(system_labels(config, loaded));
    if let Some(silent) = loaded.silent.first() {
        labels.push(format!(
            "{} nodes did not tell their counters at the end, so that costs are too low; the first: {silent}",
            loaded.silent.len()
        ));
    }
    if let Some(note) = loaded.checked.refusals.first() {
        let (validator, reason) = (note.validator, &note.reason);
        labels.push(format!("a note of validator {validator} was refused: {reason}"));
    }
    labels.extend(break_labels(loaded, audit));
    labels.extend(leagues::promise_labels(loaded, &figures));
    Report {
        schema_version: SCHEMA_VERSION.to_owned(),
        run: run_section(setting, prepared, loaded, &figures, &phases, argv, started),
        env: env_section(config, prepared, loaded),
        verdict: VerdictSection {
            status,
            checks,
            labels,
        },
        counts: CountsSection {
            balanced: evidence.imbalance.is_none(),
            run: figures.counts.clone(),
            window: figures.window.clone(),
        },
        latency: figures.latency(),
        by_kind: BTreeMap::from([("intra_shard".to_owned(), figures.whole())]),
        by_shard: figures
            .by_shard
            .iter()
            .map(|(shard, part)| (shard.to_string(), part.clone()))
            .collect(),
        mix: mix_section(config, prepared, &figures),
        system: system_section(config, prepared, loaded),
        cost: cost_section(prepared, loaded, &figures, audit),
        limit: LimitSection::default(),
        audit: audit.map(audit_section),
        security: leagues::security(config, prepared, &figures),
        faults: audit.and_then(|audit| leagues::faults(config, prepared, loaded, &figures, audit)),
        money: audit.map(leagues::money).unwrap_or_default(),
        slo: config
            .output
            .slo
            .iter()
            .map(|objective| slo_result(objective, &figures))
            .collect(),
        rate: figures.rate,
        intervals: figures.intervals,
    }
}

/// One sample for each transaction whose time had come.
fn samples(prepared: &Prepared, loaded: &Loaded) -> Vec<Sample> {
    let (recording, times) = (&loaded.shared.recording, &loaded.shared.times);
    let due = loaded.pacing.due as usize;
    let entries = prepared.arena.entries.iter().zip(times).take(due);
    (0_u32..)
        .zip(entries)
        .map(|(index, (entry, scheduled))| {
            let (outcome, done_ns) = recording.outcome(index);
            let parent = entry.parent.and_then(|parent| recording.sending(parent));
            let intended_ns = match parent {
                Some(Sending::At(at)) => at.max(*scheduled),
                _ => *scheduled,
            };
            Sample {
                scheduled_ns: *scheduled,
                intended_ns,
                sending: recording.sending(index).unwrap_or(Sending::Shed),
                outcome,
                done_ns,
                shard: entry.shard.0,
                expect_reject: match entry.expect {
                    Expect::Final => false,
                    Expect::Rejected(_) => true,
                    Expect::OneOf(other) => recording.outcome(other).0 == Outcome::Final,
                },
                optimistic_ns: recording.optimistic(index),
                broken: loaded
                    .checked
                    .kept
                    .broken
                    .get(index as usize)
                    .copied()
                    .unwrap_or_default(),
            }
        })
        .collect()
}

/// The window ends where an interrupted run ended; that of a trace ends with its last answer.
fn phases(config: &Config, prepared: &Prepared, loaded: &Loaded, samples: &[Sample]) -> Phases {
    let plan = &prepared.plan;
    let mut end = plan.window_end_ns;
    if loaded.interruption.is_some() {
        end = end.min(loaded.end_ns);
    } else if is_trace(config) {
        let last = samples
            .iter()
            .filter(|sample| sample.outcome == Outcome::Final)
            .map(|sample| sample.done_ns);
        end = last.max().map_or(end, |last| end.max(last + 1));
    }
    Phases {
        window_start_ns: plan.window_start_ns.min(end),
        window_end_ns: end,
        end_ns: loaded.end_ns.max(end),
        interval_ns: nanoseconds(config.output.interval),
        deadline_ns: nanoseconds(config.load.deadline),
    }
}

const fn is_trace(config: &Config) -> bool {
    matches!(config.workload, WorkloadChoice::Bitcoin(_))
}

fn evidence(
    config: &Config,
    prepared: &Prepared,
    loaded: &Loaded,
    audited: Option<&Audited>,
    figures: &Figures,
    phases: &Phases,
) -> Evidence {
    let [before, after] = &loaded.counters;
    let sent = figures
        .window
        .sent
        .saturating_sub(figures.window.expected_rejects)
        .max(1) as f64;
    let difference = |now: Option<u64>, earlier: Option<u64>| {
        now.zip(earlier).map(|(now, earlier)| now.saturating_sub(earlier))
    };
    Evidence {
        imbalance: None,
        contradictions: loaded.shared.recording.contradictions(),
        notes_refused: loaded.checked.refused,
        invalid_final: leagues::invalid_final(prepared, loaded),
        conflicts_undecided: leagues::conflicts_undecided(prepared, loaded),
        audit: audited
            .and_then(|audited| audited.as_ref().ok())
            .map(|audit| audit_evidence(audit, figures)),
        clamped: figures.clamped(),
        digest_unchanged: digest(&prepared.arena, &loaded.shared.times) == prepared.arena.digest,
        sent_ratio: figures.rate.sent_ratio,
        lag_p99_ns: figures.lag.quantile(0.99),
        lag_p999_ns: figures.lag.quantile(0.999),
        final_p50_ns: figures.finalised.quantile(0.5),
        tightest_slo_ns: config
            .output
            .slo
            .iter()
            .filter_map(Objective::latency_limit)
            .min()
            .map(nanoseconds),
        cap_hits: loaded.pacing.cap_hits,
        back_pressure: loaded.pacing.back_pressure,
        udp_drops: difference(after.udp_drops, before.udp_drops),
        busiest_core: after.busiest_core_since(before),
        final_ratio: figures.window.finalised as f64 / sent,
        busy_share: figures.window.busy() as f64 / sent,
        backlog_growth: figures.backlog_growth,
        halves: figures.halves,
        little: figures.little,
        mean_latency_s: figures.service.mean() / 1e9,
        window_s: (phases.window_end_ns - phases.window_start_ns) as f64 / 1e9,
        steal: after.steal_since(before),
        throttled: difference(after.throttled, before.throttled),
        shared_host: is_shared(config, prepared),
        is_trace: is_trace(config),
        is_ramp: prepared.plan.is_ramp,
        interrupted: loaded.interruption.is_some(),
    }
}

/// Nodes of this host's own addresses share its processors.
fn is_shared(config: &Config, prepared: &Prepared) -> bool {
    config.is_local()
        || prepared
            .targets
            .iter()
            .any(|target| target.address.ip().is_loopback())
}

/// The digest of what was sent, computed again: `arena` states the one of what was prepared.
fn digest(arena: &Arena, times: &[u64]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&arena.bytes);
    for time in times {
        hasher.update(&time.to_le_bytes());
    }
    hasher.finalize().into()
}

fn audit_evidence(audit: &AuditOutcome, figures: &Figures) -> AuditEvidence {
    let faults = audit.findings.len() as u64 + audit.findings_omitted;
    AuditEvidence {
        // A flag without words is a finding too.
        findings: if audit.is_clean() { faults } else { faults.max(1) },
        first: audit.findings.first().map(ToString::to_string),
        final_at_client: figures.counts.finalised,
        final_in_chain: audit.final_txs_in_chain.saturating_sub(audit.open_txs_in_chain),
    }
}

fn audit_section(audit: &AuditOutcome) -> AuditSection {
    let (agreeing, total) = audit.replicas_agree;
    AuditSection {
        supply_conserved: audit.supply_conserved,
        double_spends: audit.double_spends,
        replicas_agree: agreeing == total,
        shards_agreeing: agreeing as u64,
        shards_total: total as u64,
        receipts_honoured: audit.receipts_honoured,
        forgeries_accepted: audit.forgeries_accepted,
        final_txs_in_chain: audit.final_txs_in_chain,
        unanswered_txs_in_chain: audit.open_txs_in_chain,
        findings: audit.findings.clone(),
        findings_omitted: audit.findings_omitted,
    }
}

/// What a reader of the headline must know about the system that was measured.
fn system_labels(config: &Config, loaded: &Loaded) -> Vec<String> {
    let infos = &loaded.infos[1];
    let mut labels = vec!["cross-shard 0 %".to_owned()];
    let local_async = matches!(&config.network, Network::Local(local) if local.durability == "async");
    if local_async || infos.iter().any(|info| info.durability == "async") {
        labels.push("durability async: a final transaction may be lost with the power".to_owned());
    }
    let is_free = |info: &&types::client::NodeInfo| {
        let memory_file =
            matches!(info.filesystem.as_str(), "tmpfs" | "ramfs") || info.filesystem.contains("overlay");
        memory_file || (info.fsync_p50_ns > 0 && info.fsync_p50_ns < FREE_FSYNC_NS)
    };
    if let Some(info) = infos
        .iter()
        .filter(|info| info.durability != "async")
        .find(is_free)
    {
        labels.push(format!(
            "fsync is free here ({}, median {} us)",
            info.filesystem,
            info.fsync_p50_ns / 1000
        ));
    }
    if let Some(info) = infos.iter().find(|info| info.backend != info.backend_best) {
        labels.push(format!(
            "signatures by {}, this machine allows {}",
            info.backend, info.backend_best
        ));
    }
    labels
}

fn run_section(
    setting: &Setting<'_>,
    prepared: &Prepared,
    loaded: &Loaded,
    figures: &Figures,
    phases: &Phases,
    argv: &[String],
    started: SystemTime,
) -> RunSection {
    let (config, arena) = (setting.config, &prepared.arena);
    RunSection {
        id: setting.id.to_owned(),
        start_utc: humantime::format_rfc3339_seconds(started).to_string(),
        interrupted: loaded.interruption.is_some(),
        interruption: loaded.interruption.clone(),
        argv: argv.to_vec(),
        config: config.resolved.clone(),
        tags: config.output.tags.clone(),
        seed: config.load.seed,
        workload_digest: hex::encode(arena.digest),
        prepared_count: arena.entries.len() as u64,
        prepared_bytes: arena.bytes.len() as u64,
        signing_s: arena.signing.wall.as_secs_f64(),
        window_s: (phases.window_end_ns - phases.window_start_ns) as f64 / 1e9,
        warmup_s: phases.window_start_ns as f64 / 1e9,
        dependency_wait: figures.dependency_wait.clone(),
    }
}

fn env_section(config: &Config, prepared: &Prepared, loaded: &Loaded) -> EnvSection {
    let machine = &prepared.readings.machine;
    let nodes = prepared
        .targets
        .iter()
        .zip(&loaded.infos[1])
        .map(|(target, info)| NodeSection {
            validator: target.validator.0,
            shard: target.shard.0,
            address: target.address.to_string(),
            build: info.build.clone(),
            backend: info.backend.clone(),
            backend_best: info.backend_best.clone(),
            fs: info.filesystem.clone(),
            durability: info.durability.clone(),
            fsync_p50_ns: info.fsync_p50_ns,
        });
    EnvSection {
        versions: BTreeMap::from([("loadgen".to_owned(), crate::build_info::build())]),
        git_sha: crate::build_info::GIT_SHA.map(str::to_owned),
        kernel: machine.kernel.clone(),
        cpu_model: machine.cpu_model.clone(),
        cores: machine.cores as u64,
        memory_bytes: machine.memory_bytes,
        features: machine.features.clone(),
        governor: machine.governor.clone(),
        shared_host: is_shared(config, prepared),
        warnings: prepared.warnings.clone(),
        nodes: nodes.collect(),
    }
}

fn mix_section(config: &Config, prepared: &Prepared, figures: &Figures) -> MixSection {
    let resolved = &config.resolved;
    let asked = |requested: &Option<String>, measured| Asked {
        requested: requested.clone().unwrap_or_default(),
        measured,
    };
    let scheduled: Vec<f64> = figures
        .by_shard
        .values()
        .map(|part| part.scheduled as f64)
        .collect();
    let shards = f64::from(prepared.network.genesis.shards);
    let mean = scheduled.iter().sum::<f64>() / shards;
    let busiest = scheduled.iter().copied().fold(0.0, f64::max);
    let share = |count: u64| count as f64 / prepared.arena.entries.len().max(1) as f64;
    let rate = if resolved.stages.is_some() {
        &resolved.stages
    } else {
        &resolved.tps
    };
    MixSection {
        rate: asked(rate, figures.rate.sent_tps),
        cross_shard: asked(&resolved.cross_shard, 0.0),
        shards_touched_mean: 1.0,
        conflicts: asked(&resolved.conflicts, share(prepared.arena.mix.conflicts)),
        invalid: asked(&resolved.invalid, share(prepared.arena.mix.invalid)),
        shard_imbalance: if mean > 0.0 { busiest / mean } else { 1.0 },
        tx_bytes_mean: prepared.arena.bytes.len() as f64 / prepared.arena.entries.len().max(1) as f64,
    }
}

fn system_section(config: &Config, prepared: &Prepared, loaded: &Loaded) -> SystemSection {
    let genesis = &prepared.network.genesis;
    let rtt = match &config.network {
        Network::Local(local) => local.rtt.as_secs_f64() * 1000.0,
        Network::Remote(_) => 0.0,
    };
    let durability = match &config.network {
        Network::Local(local) => local.durability.to_owned(),
        Network::Remote(_) => loaded.infos[1]
            .first()
            .map_or_else(String::new, |info| info.durability.clone()),
    };
    let two = genesis.policy.leagues.as_ref();
    SystemSection {
        protocol: if two.is_some() { "pob" } else { "pbft" }.to_owned(),
        believable: two.map(|two| two.seats),
        candidates: two.map(|two| two.candidates),
        sampling: two.map(|two| f64::from(two.sampling_ppm) / 1e6),
        bond: two.and_then(|_| leagues::smallest_bond(&prepared.network.epoch)),
        shards: genesis.shards,
        validators_per_shard: (genesis.validators.len() / usize::from(genesis.shards.max(1))) as u16,
        durability,
        added_rtt_ms: rtt,
        genesis: prepared.network.epoch.genesis_hash.to_string(),
        network: genesis.name.clone(),
    }
}

fn cost_section(
    prepared: &Prepared,
    loaded: &Loaded,
    figures: &Figures,
    audit: Option<&AuditOutcome>,
) -> crate::report::CostSection {
    let shards: Vec<u16> = prepared.targets.iter().map(|target| target.shard.0).collect();
    let mut by_shard: BTreeMap<u16, u64> = BTreeMap::new();
    let recording = &loaded.shared.recording;
    for (index, entry) in (0_u32..).zip(&prepared.arena.entries) {
        if recording.outcome(index).0 == Outcome::Final {
            *by_shard.entry(entry.shard.0).or_default() += 1;
        }
    }
    let work = Work {
        finalised: figures.counts.finalised,
        by_shard,
        in_blocks: audit.map_or(figures.counts.finalised, |audit| audit.final_txs_in_chain),
        wall_s: loaded.end_ns as f64 / 1e9,
    };
    let [before, after] = &loaded.infos;
    let mut section = cost(before, after, &shards, &loaded.counters, &work);
    section.loadgen_rss_bytes = loaded.own_memory;
    if let Some(model) = audit.and_then(|audit| leagues::cost_model(prepared, audit)) {
        let over = |measured: Option<f64>, model: f64| measured.map(|measured| measured / model);
        section.sig_checks_model = Some(model.sig_checks());
        section.sig_checks_ratio = over(section.sig_checks_per_tx, model.sig_checks());
        section.net_bytes_model = Some(model.bytes_received());
        section.net_bytes_ratio = over(section.net_bytes_received_per_tx, model.bytes_received());
    }
    section
}

fn slo_result(objective: &Objective, figures: &Figures) -> SloResult {
    let value = slo_value(objective.metric, figures);
    SloResult {
        expr: objective.text.clone(),
        value,
        limit: objective.limit,
        unit: match objective.metric {
            Metric::Latency(..) => "ns",
            Metric::Errors | Metric::TpsShare => "share",
            Metric::Tps => "1/s",
        }
        .to_owned(),
        ok: objective.is_met(value),
    }
}

fn slo_value(metric: Metric, figures: &Figures) -> Option<f64> {
    match metric {
        Metric::Latency(distribution, statistic) => {
            let latency = match distribution {
                Distribution::Optimistic => &figures.optimistic,
                Distribution::Final => &figures.finalised,
                Distribution::FinalService => &figures.service,
                Distribution::Lag => &figures.lag,
            };
            (latency.count() > 0).then(|| statistic_of(latency, statistic))
        }
        Metric::Errors => (figures.window.sent > 0).then(|| figures.window.errors()),
        Metric::Tps => Some(figures.rate.final_tps.mean),
        Metric::TpsShare => (figures.window.scheduled > 0)
            .then(|| figures.window.finalised as f64 / figures.window.scheduled as f64),
    }
}

fn statistic_of(latency: &Latency, statistic: Statistic) -> f64 {
    match statistic {
        Statistic::Mean => latency.mean(),
        Statistic::Max => latency.max() as f64,
        Statistic::Quantile(quantile) => latency.quantile(f64::from(quantile) / 1e5) as f64,
    }
}
