//! The result as a table for a page or a pull request.

use std::fmt::Write as _;

use super::text::{duration, thousands};
use super::{AuditSection, Report};

/// Two columns: what and how much.
#[must_use]
pub fn table(report: &Report) -> String {
    let (system, rate, counts) = (&report.system, &report.rate, &report.counts.run);
    let latency = &report.latency.finalised;
    let mut rows = vec![
        ("verdict", report.verdict.status.to_string()),
        (
            "system",
            format!(
                "{}, {} x {} validators, {}",
                system.protocol, system.shards, system.validators_per_shard, system.durability
            ),
        ),
        ("scheduled", format!("{:.1}/s", rate.scheduled_tps)),
        (
            "sent",
            format!("{:.1}/s ({:.2} %)", rate.sent_tps, rate.sent_ratio * 100.0),
        ),
        ("final", format!("{:.1}/s", rate.final_tps.mean)),
        (
            "final in the window",
            format!("{:.1}/s", rate.final_in_window_tps),
        ),
        (
            "final latency p50 / p99 / p99.9",
            format!(
                "{} / {} / {}",
                duration(latency.p50),
                duration(latency.p99),
                duration(latency.p99_9)
            ),
        ),
        (
            "sent = final + rejected + expired + timeout + lost",
            format!(
                "{} = {} + {} + {} + {} + {}",
                thousands(counts.sent),
                thousands(counts.finalised),
                thousands(counts.rejected_total()),
                thousands(counts.expired),
                thousands(counts.timeout),
                thousands(counts.lost)
            ),
        ),
    ];
    if let Some(optimistic) = &report.latency.optimistic {
        let text = format!("{} / {}", duration(optimistic.p50), duration(optimistic.p99));
        rows.push(("optimistic p50 / p99", text));
    }
    if let Some(audit) = &report.audit {
        rows.push((
            "audit",
            if audit.is_clean() {
                "clean".to_owned()
            } else {
                format!(
                    "{} findings, see below",
                    audit.findings.len() as u64 + audit.findings_omitted
                )
            },
        ));
    }
    if let Some(checks) = report.cost.sig_checks_per_tx {
        rows.push(("signature checks per transaction", format!("{checks:.2}")));
    }
    if let Some(tps) = report.cost.final_tps_per_core {
        rows.push(("final TPS per node core", format!("{tps:.0}")));
    }
    for gate in &report.slo {
        let ok = if gate.ok { "met" } else { "breached" };
        rows.push(("objective", format!("`{}` {ok}", gate.expr)));
    }
    if !report.verdict.labels.is_empty() {
        rows.push(("labels", report.verdict.labels.join("; ")));
    }
    rows.push((
        "machine",
        format!("{}, {} cores", report.env.cpu_model, report.env.cores),
    ));
    let mut out = String::from("| | |\n|---|---|\n");
    for (name, value) in rows {
        let _ = writeln!(out, "| {name} | {} |", value.replace('|', "\\|"));
    }
    let findings = report.audit.iter().flat_map(AuditSection::lines);
    for (number, finding) in findings.enumerate() {
        let _ = writeln!(out, "{}- {finding}", if number == 0 { "\n" } else { "" });
    }
    out
}
