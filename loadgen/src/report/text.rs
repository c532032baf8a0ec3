//! The text block of a result: what a person reads on stdout.

use std::fmt::Write as _;
use std::path::Path;

use super::{LatencyFigures, Report, SloResult};
use crate::verdict::Status;

mod leagues;

/// Red, only where the reader's terminal takes it.
const RED: &str = "\u{1b}[31m";
const PLAIN: &str = "\u{1b}[0m";

/// How the block is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Labels and failures in red: only on a terminal.
    pub color: bool,
    /// Leave failed checks out (`--validity off`).
    pub hide_checks: bool,
}

/// The block; `path` is where the report was written.
#[must_use]
pub fn block(report: &Report, path: Option<&Path>, style: Style) -> String {
    let mut out = String::new();
    head(report, style, &mut out);
    rates(report, &mut out);
    accounting(report, &mut out);
    latency(report, &mut out);
    kinds(report, &mut out);
    cost(report, &mut out);
    limit(report, &mut out);
    audit(report, style, &mut out);
    leagues::security(report, &mut out);
    leagues::faults(report, style, &mut out);
    leagues::money(report, style, &mut out);
    claim(report, &mut out);
    gates(report, style, &mut out);
    if !style.hide_checks {
        checks(report, style, &mut out);
    }
    if let Some(path) = path {
        line(&mut out, "report", &path.display().to_string());
    }
    out
}

fn line(out: &mut String, name: &str, text: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{name:<13}{text}");
}

fn red(text: &str, style: Style) -> String {
    if style.color {
        format!("{RED}{text}{PLAIN}")
    } else {
        text.to_owned()
    }
}

fn head(report: &Report, style: Style, out: &mut String) {
    let (system, run) = (&report.system, &report.run);
    let status = report.verdict.status.to_string();
    let status = match report.verdict.status {
        Status::Valid => status,
        _ => red(&status, style),
    };
    let digest = &run.workload_digest;
    let short = match (digest.get(..4), digest.get(digest.len().saturating_sub(2)..)) {
        (Some(start), Some(end)) => format!("{start}..{end}"),
        _ => digest.clone(),
    };
    let _ = writeln!(
        out,
        "-- result -- {status} -- {} -- {} shard{} x {} validators -- {} -- seed {} -- workload {short} -- {:.1} s after {:.1} s warm-up --",
        system.protocol,
        system.shards,
        if system.shards == 1 { "" } else { "s" },
        system.validators_per_shard,
        system.durability,
        run.seed,
        run.window_s,
        run.warmup_s,
    );
    if !report.verdict.labels.is_empty() {
        line(out, "labels", &red(&report.verdict.labels.join("; "), style));
    }
    if let Some(why) = &run.interruption {
        line(out, "interrupted", &red(why, style));
    }
}

fn rates(report: &Report, out: &mut String) {
    let rate = &report.rate;
    let interval = rate
        .final_tps
        .ci95
        .map_or(String::new(), |ci95| format!(" +- {}", whole(ci95)));
    line(
        out,
        "throughput",
        &format!(
            "scheduled {}/s   sent {}/s ({:.1}%)   final {}/s{interval}   in-window {}/s",
            whole(rate.scheduled_tps),
            whole(rate.sent_tps),
            rate.sent_ratio * 100.0,
            whole(rate.final_tps.mean),
            whole(rate.final_in_window_tps),
        ),
    );
}

fn accounting(report: &Report, out: &mut String) {
    let (counts, window) = (&report.counts.run, &report.counts.window);
    let reasons: Vec<String> = counts
        .rejected
        .iter()
        .map(|(reason, count)| format!("{reason} {}", thousands(*count)))
        .collect();
    let reasons = if reasons.is_empty() {
        String::new()
    } else {
        format!(" ({})", reasons.join(", "))
    };
    let optional = |name: &str, count: u64| {
        if count == 0 {
            String::new()
        } else {
            format!(" + {} {name}", thousands(count))
        }
    };
    let late = if counts.late == 0 {
        String::new()
    } else {
        format!("      late {}", thousands(counts.late))
    };
    line(
        out,
        "accounting",
        &format!(
            "{} sent ({} in the window) = {} final + {} rejected{reasons}{} + {} timeout + {} lost      shed {}{late}      {}",
            thousands(counts.sent),
            thousands(window.sent),
            thousands(counts.finalised),
            thousands(counts.rejected_total()),
            optional("expired", counts.expired),
            thousands(counts.timeout),
            thousands(counts.lost),
            thousands(counts.shed),
            if report.counts.balanced {
                "balanced"
            } else {
                "NOT BALANCED"
            },
        ),
    );
}

fn latency(report: &Report, out: &mut String) {
    line(
        out,
        "latency",
        "        p50        p90        p99      p99.9        max   (from intended send time)",
    );
    let latency = &report.latency;
    if let Some(optimistic) = &latency.optimistic {
        let broken = match report.counts.run.broken_promises {
            0 => "   (receipt by a bonded author)".to_owned(),
            broken => format!("   ({} receipts were not kept)", thousands(broken)),
        };
        let _ = writeln!(out, "  {:<11}{}{broken}", "optimistic", quantiles(optimistic));
    }
    for (name, figures, note) in [
        ("final", &latency.finalised, ""),
        (
            "final svc",
            &latency.final_service,
            "   (from actual send: what other tools report)",
        ),
        ("lag", &latency.lag, "   (client's own delay)"),
    ] {
        let _ = writeln!(out, "  {name:<11}{}{note}", quantiles(figures));
    }
    let wait = &report.run.dependency_wait;
    if wait.count > 0 {
        line(
            out,
            "dependency",
            &format!(
                "{} transactions waited for their parent's send, mean {}, longest {} (not in the latency)",
                thousands(wait.count),
                duration(wait.mean_ns),
                duration(wait.max_ns)
            ),
        );
    }
}

fn quantiles(figures: &LatencyFigures) -> String {
    if figures.count == 0 {
        return "nothing measured".to_owned();
    }
    [figures.p50, figures.p90, figures.p99, figures.p99_9, figures.max]
        .iter()
        .map(|value| format!("{:>11}", duration(*value)))
        .collect()
}

fn kinds(report: &Report, out: &mut String) {
    let mix = &report.mix;
    let parts: Vec<String> = report
        .by_kind
        .iter()
        .map(|(kind, part)| format!("{} p99 {}", kind.replace('_', "-"), duration(part.p99_ns)))
        .collect();
    line(
        out,
        "by kind",
        &format!(
            "{}      (cross-shard requested {}, measured {:.1} %, mean shards touched {:.2}, busiest shard {:.2} x the mean)",
            parts.join("      "),
            mix.cross_shard.requested,
            mix.cross_shard.measured * 100.0,
            mix.shards_touched_mean,
            mix.shard_imbalance,
        ),
    );
}

fn cost(report: &Report, out: &mut String) {
    let cost = &report.cost;
    let wall = cost.wall_s.max(1e-9);
    let cores =
        |name: &str, value: Option<f64>| value.map(|seconds| format!("{name} {:.2} cores", seconds / wall));
    let parts: Vec<String> = [
        cores("nodes", cost.node_cpu_s),
        cores("generator", cost.loadgen_cpu_s),
        cost.final_tps_per_core
            .map(|tps| format!("{} final TPS per core", whole(tps))),
        cost.sig_checks_per_tx.map(|checks| {
            format!(
                "signature checks {checks:.2} per tx{}",
                model(cost.sig_checks_model)
            )
        }),
        cost.net_bytes_per_tx
            .map(|bytes| format!("network {:.1} kB per tx", bytes / 1000.0)),
        cost.net_bytes_ratio
            .map(|ratio| format!("received {ratio:.2} x the model")),
        cost.fsyncs_per_validator_per_1000_tx
            .map(|fsyncs| format!("fsyncs {fsyncs:.2} per validator and 1000 tx")),
        cost.heights_in_flight_mean
            .map(|heights| format!("heights in flight {heights:.2}")),
        cost.view_changes
            .filter(|count| *count > 0)
            .map(|count| format!("view changes {count}")),
        cost.rss_bytes.map(|bytes| format!("memory {} MiB", bytes >> 20)),
    ]
    .into_iter()
    .flatten()
    .collect();
    line(out, "cost", &parts.join("   "));
}

fn model(value: Option<f64>) -> String {
    value.map_or(String::new(), |value| format!(" (model {value:.2})"))
}

fn limit(report: &Report, out: &mut String) {
    let limit = &report.limit;
    let text = match (limit.reference_tps, limit.reached) {
        (Some(reference), Some(reached)) => format!(
            "signatures alone, best library, all cores: {}/s   reached {:.0} %",
            whole(reference),
            reached * 100.0
        ),
        _ => "not measured".to_owned(),
    };
    line(out, "limit", &text);
}

fn audit(report: &Report, style: Style, out: &mut String) {
    let Some(audit) = &report.audit else {
        line(out, "audit", &red("not made", style));
        return;
    };
    let text = format!(
        "supply {}   {} double spends   replicas agree on {}/{} shards   receipts honoured {}",
        if audit.supply_conserved {
            "conserved"
        } else {
            "NOT CONSERVED"
        },
        audit.double_spends,
        audit.shards_agreeing,
        audit.shards_total,
        percent(audit.receipts_honoured),
    );
    line(
        out,
        "audit",
        &if audit.is_clean() { text } else { red(&text, style) },
    );
    for finding in audit.lines() {
        line(out, "finding", &red(&finding, style));
    }
}

/// 100 % only when it is all of them.
fn percent(share: f64) -> String {
    if share >= 1.0 {
        "100 %".to_owned()
    } else {
        format!("{:.3} %", (share * 100.0).min(99.999))
    }
}

fn claim(report: &Report, out: &mut String) {
    const CLAIM_TPS: f64 = 100_000.0;
    let reached = report.rate.final_in_window_tps;
    let text = if reached >= CLAIM_TPS && report.verdict.status == Status::Valid {
        format!("100,000 TPS: reached here, {}/s", whole(reached))
    } else {
        let projected = report
            .cost
            .final_tps_per_core
            .filter(|tps| *tps > 0.0)
            .map_or(String::new(), |tps| {
                format!("; projected node cores at this cost: {:.1}", CLAIM_TPS / tps)
            });
        format!(
            "100,000 TPS: not reached here ({} cores){projected}",
            report.env.cores
        )
    };
    line(out, "claim", &text);
}

fn gates(report: &Report, style: Style, out: &mut String) {
    if report.slo.is_empty() {
        return;
    }
    let parts: Vec<String> = report
        .slo
        .iter()
        .map(|gate| {
            let value = gate
                .value
                .map_or("nothing measured".to_owned(), |value| gate_value(gate, value));
            if gate.ok {
                format!("ok {} ({value})", gate.expr)
            } else {
                red(&format!("BREACHED {} ({value})", gate.expr), style)
            }
        })
        .collect();
    line(out, "gates", &parts.join("    "));
}

fn gate_value(gate: &SloResult, value: f64) -> String {
    match gate.unit.as_str() {
        "ns" => duration(value as u64),
        "share" => format!("{:.3} %", value * 100.0),
        _ => format!("{}/s", whole(value)),
    }
}

fn checks(report: &Report, style: Style, out: &mut String) {
    for check in report.verdict.checks.iter().filter(|check| !check.ok) {
        let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| figure(value, &check.unit));
        let text = format!(
            "{}: {} is {}, limit {}: {}",
            check.status,
            check.name,
            number(check.value),
            number(check.limit),
            check.cause.as_deref().unwrap_or_default()
        );
        line(out, "check", &red(&text, style));
    }
}

fn figure(value: f64, unit: &str) -> String {
    match unit {
        "ns" => duration(value as u64),
        "count" => thousands(value as u64),
        _ => format!("{value:.4}"),
    }
}

/// `1234567` as `1,234,567`.
#[must_use]
pub fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A rate or count rounded to a whole number, with one decimal below ten.
fn whole(value: f64) -> String {
    if value.abs() < 10.0 {
        format!("{value:.1}")
    } else {
        thousands(value.round() as u64)
    }
}

/// Nanoseconds with three digits and a unit.
#[must_use]
pub fn duration(nanoseconds: u64) -> String {
    let value = nanoseconds as f64;
    let (scaled, unit) = match nanoseconds {
        0..1_000 => return format!("{nanoseconds} ns"),
        1_000..1_000_000 => (value / 1e3, "us"),
        1_000_000..1_000_000_000 => (value / 1e6, "ms"),
        _ => (value / 1e9, "s"),
    };
    let places = if scaled < 10.0 {
        2
    } else if scaled < 100.0 {
        1
    } else {
        0
    };
    format!("{scaled:.places$} {unit}")
}
