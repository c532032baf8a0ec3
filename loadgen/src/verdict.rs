//! Whether the numbers may be used: a pure function over what was measured.
//!
//! Every check names the status that it gives when it fails; the worst one decides.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Status of a run, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Status {
    /// The numbers are what the system does at this load.
    #[serde(rename = "VALID")]
    Valid,
    /// The system had not settled.
    #[serde(rename = "UNSTEADY")]
    Unsteady,
    /// Offered above capacity; the generator kept up.
    #[serde(rename = "SATURATED")]
    Saturated,
    /// The generator did not do what was asked.
    #[serde(rename = "GENERATOR-LIMITED")]
    GeneratorLimited,
    /// The numbers mean nothing.
    #[serde(rename = "INVALID")]
    Invalid,
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Valid => "VALID",
            Self::Unsteady => "UNSTEADY",
            Self::Saturated => "SATURATED",
            Self::GeneratorLimited => "GENERATOR-LIMITED",
            Self::Invalid => "INVALID",
        })
    }
}

/// One check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// Name.
    pub name: String,
    /// What was measured; absent when the check was skipped or has no number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// What is accepted, in the same unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
    /// Unit of both.
    pub unit: String,
    /// Passed or skipped.
    pub ok: bool,
    /// Status of the run when it fails.
    pub status: Status,
    /// Why it was skipped, when it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
    /// What happened and what to do, when it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

/// First half of the window against the second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Halves {
    /// Transactions that became final per second in each half.
    pub tps: [f64; 2],
    /// Median final latency of each half, nanoseconds.
    pub p50_ns: [f64; 2],
    /// Half width of the confidence interval of these medians over the median.
    pub p50_ci: f64,
    /// Final transactions of the smaller half.
    pub count: u64,
    /// Seconds of one half.
    pub length_s: f64,
}

/// What the verdict is about. `None` = could not be read on this machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// The sums that do not agree, if any.
    pub imbalance: Option<String>,
    /// Answers that repeated or contradicted another.
    pub contradictions: u64,
    /// Notes whose certificate or paths did not verify.
    pub notes_refused: u64,
    /// Transactions that break a rule on purpose and became final.
    pub invalid_final: u64,
    /// Pairs over the same coins of which not exactly one became final though both were answered; `None` without pairs.
    pub conflicts_undecided: Option<u64>,
    /// What the audit found; `None` when it was not made.
    pub audit: Option<AuditEvidence>,
    /// Latencies above an hour.
    pub clamped: u64,
    /// The transactions that were sent are the ones that were prepared.
    pub digest_unchanged: bool,
    /// Share of the window's transactions that left before its end.
    pub sent_ratio: f64,
    /// Lag, nanoseconds.
    pub lag_p99_ns: u64,
    /// Lag, nanoseconds.
    pub lag_p999_ns: u64,
    /// Median final latency, nanoseconds.
    pub final_p50_ns: u64,
    /// Tightest latency objective, nanoseconds.
    pub tightest_slo_ns: Option<u64>,
    /// Times that the client's own cap on transactions in flight held something back.
    pub cap_hits: u64,
    /// Times that a connection had no room: the node or the network did not take what was sent.
    pub back_pressure: u64,
    /// Datagrams that this host dropped while sending or receiving.
    pub udp_drops: Option<u64>,
    /// Share of time that the busiest core of this host was busy.
    pub busiest_core: Option<f64>,
    /// Share of the window's sent transactions that became final.
    pub final_ratio: f64,
    /// Share of the window's sent transactions that were refused with `Busy`.
    pub busy_share: f64,
    /// Growth of the number in flight over the window, per second and as a share of the scheduled rate.
    pub backlog_growth: f64,
    /// Halves of the window.
    pub halves: Halves,
    /// Mean number in flight, and rate times mean service latency, over final transactions.
    pub little: [f64; 2],
    /// Mean service latency, seconds.
    pub mean_latency_s: f64,
    /// Length of the window, seconds.
    pub window_s: f64,
    /// Share of time taken by other virtual machines.
    pub steal: Option<f64>,
    /// Periods in which the control group was throttled.
    pub throttled: Option<u64>,
    /// Generator and nodes share this host.
    pub shared_host: bool,
    /// The workload ends by itself.
    pub is_trace: bool,
    /// The rate is not constant.
    pub is_ramp: bool,
    /// The run ended early.
    pub interrupted: bool,
}

/// What the audit says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEvidence {
    /// Number of findings, 0 = clean.
    pub findings: u64,
    /// The first of them.
    pub first: Option<String>,
    /// Final transactions as the client counted them.
    pub final_at_client: u64,
    /// The same as the chains hold them.
    pub final_in_chain: u64,
}

/// Status of the run, all checks, and labels for the headline.
#[must_use]
pub fn judge(evidence: &Evidence) -> (Status, Vec<Check>, Vec<String>) {
    let mut checks = Vec::new();
    exact(evidence, &mut checks);
    generator(evidence, &mut checks);
    saturation(evidence, &mut checks);
    steadiness(evidence, &mut checks);
    let status = checks
        .iter()
        .filter(|check| !check.ok)
        .map(|check| check.status)
        .max()
        .unwrap_or(Status::Valid);
    (status, checks, labels(evidence))
}

const SHARED_BUSY_LABEL: f64 = 0.9;
const SHARED_STEAL_LIMIT: f64 = 0.05;
const STEAL_LIMIT: f64 = 0.01;

fn labels(evidence: &Evidence) -> Vec<String> {
    let mut labels = Vec::new();
    if evidence.shared_host {
        labels.push("generator and nodes share this host".to_owned());
        if let Some(busy) = evidence.busiest_core.filter(|busy| *busy > SHARED_BUSY_LABEL) {
            labels.push(format!("busiest core {:.0} % busy", busy * 100.0));
        }
        let steal = evidence
            .steal
            .filter(|steal| (STEAL_LIMIT..SHARED_STEAL_LIMIT).contains(steal));
        if let Some(steal) = steal {
            labels.push(format!(
                "{:.1} % of the CPU time stolen by other machines",
                steal * 100.0
            ));
        }
    }
    labels
}

/// A check with a number that must not exceed its limit.
fn at_most(
    name: &str,
    unit: &str,
    status: Status,
    value: f64,
    limit: f64,
    cause: impl FnOnce() -> String,
) -> Check {
    bounded(name, unit, status, [value, limit], value <= limit, cause)
}

/// A check with a number that must reach its limit.
fn at_least(
    name: &str,
    unit: &str,
    status: Status,
    value: f64,
    limit: f64,
    cause: impl FnOnce() -> String,
) -> Check {
    bounded(name, unit, status, [value, limit], value >= limit, cause)
}

fn bounded(
    name: &str,
    unit: &str,
    status: Status,
    [value, limit]: [f64; 2],
    ok: bool,
    cause: impl FnOnce() -> String,
) -> Check {
    Check {
        name: name.to_owned(),
        value: value.is_finite().then_some(value),
        limit: Some(limit),
        unit: unit.to_owned(),
        ok,
        status,
        skipped: None,
        cause: (!ok).then(cause),
    }
}

fn skipped(name: &str, unit: &str, status: Status, why: &str) -> Check {
    Check {
        name: name.to_owned(),
        value: None,
        limit: None,
        unit: unit.to_owned(),
        ok: true,
        status,
        skipped: Some(why.to_owned()),
        cause: None,
    }
}

fn exact(evidence: &Evidence, checks: &mut Vec<Check>) {
    let none = |name: &str, value: u64, cause: &dyn Fn() -> String| {
        at_most(name, "count", Status::Invalid, value as f64, 0.0, cause)
    };
    checks.push(none(
        "accounting_balanced",
        u64::from(evidence.imbalance.is_some()),
        &|| {
            format!(
                "{}: transactions were miscounted; keep this report and report the fault",
                evidence.imbalance.as_deref().unwrap_or_default()
            )
        },
    ));
    checks.push(none("answers_contradictory", evidence.contradictions, &|| {
        "a node answered a transaction twice, or one that was never sent; inspect the node".to_owned()
    }));
    checks.push(none("notes_refused", evidence.notes_refused, &|| {
        "a node's certificates or optimistic receipts do not hold; they are forged or its genesis differs"
            .to_owned()
    }));
    checks.push(none("invalid_final", evidence.invalid_final, &|| {
        "transactions that break a rule became final; read the rule in --invalid and report the fault"
            .to_owned()
    }));
    if let Some(undecided) = evidence.conflicts_undecided {
        checks.push(none("conflicts_undecided", undecided, &|| {
            "of two transactions over the same coins both or none became final; report the fault".to_owned()
        }));
    }
    checks.push(none("histogram_clamps", evidence.clamped, &|| {
        "latencies above an hour were clamped; shorten --drain".to_owned()
    }));
    checks.push(none(
        "workload_digest_changed",
        u64::from(!evidence.digest_unchanged),
        &|| {
            "the prepared transactions changed in memory during the run; check the memory of this machine"
                .to_owned()
        },
    ));
    match &evidence.audit {
        None if evidence.interrupted => {
            checks.push(skipped("audit_findings", "count", Status::Invalid, "interrupted"));
        }
        None => checks.push(none("audit_findings", 1, &|| {
            "the audit could not be made; see the error above".to_owned()
        })),
        Some(audit) => {
            checks.push(none("audit_findings", audit.findings, &|| {
                format!(
                    "{}; read audit.findings in the report",
                    audit.first.as_deref().unwrap_or("the chains are wrong")
                )
            }));
            let apart = audit.final_at_client.abs_diff(audit.final_in_chain);
            checks.push(none("final_against_chains", apart, &|| {
                format!(
                    "the client counted {} final transactions, the chains hold {}; receipts were lost or forged",
                    audit.final_at_client, audit.final_in_chain
                )
            }));
        }
    }
}

fn generator(evidence: &Evidence, checks: &mut Vec<Check>) {
    let status = Status::GeneratorLimited;
    if evidence.is_trace {
        checks.push(skipped("sent_ratio", "share", status, "trace"));
    } else {
        checks.push(at_least("sent_ratio", "share", status, evidence.sent_ratio, 0.995, || {
            let cause = if evidence.back_pressure > 0 {
                "connections had no room: the nodes did not take transactions as fast as they were offered"
            } else {
                "the generator fell behind its schedule"
            };
            format!("{cause}; lower --tps, or give the generator cores of its own")
        }));
    }
    checks.push(lag(evidence));
    checks.push(at_most(
        "in_flight_cap_hits",
        "count",
        status,
        evidence.cap_hits as f64,
        0.0,
        || "--max-in-flight held transactions back; raise it, or lower --tps".to_owned(),
    ));
    checks.push(match evidence.udp_drops {
        None => skipped("udp_drops", "count", status, "not readable on this system"),
        Some(drops) if evidence.shared_host => {
            let mut check = skipped("udp_drops", "count", status, "nodes on this host: drops cannot be told apart");
            check.value = Some(drops as f64);
            check
        }
        Some(drops) => at_most("udp_drops", "count", status, drops as f64, 0.0, || {
            "this host dropped datagrams; raise net.core.rmem_max and net.core.wmem_max (see `loadgen doctor`)".to_owned()
        }),
    });
    checks.push(match evidence.busiest_core {
        None => skipped("busiest_core", "share", status, "not readable on this system"),
        Some(_) if evidence.shared_host => {
            skipped("busiest_core", "share", status, "nodes on this host: a label")
        }
        Some(busy) => at_most("busiest_core", "share", status, busy, 0.9, || {
            "a core of the generator had no time left; use more cores, or lower --tps".to_owned()
        }),
    });
}

/// Lag is inside every response, so beside the nodes it is measured against the response itself.
fn lag(evidence: &Evidence) -> Check {
    let status = Status::GeneratorLimited;
    let cause = || "the generator sent late; give it a core of its own, or lower --tps".to_owned();
    if evidence.shared_host {
        let limit = (evidence.final_p50_ns as f64 * 0.05).max(2e6);
        at_most("lag_p99", "ns", status, evidence.lag_p99_ns as f64, limit, cause)
    } else {
        let limit = evidence
            .tightest_slo_ns
            .map_or(0.0, |slo| slo as f64 * 0.01)
            .max(1e6);
        at_most(
            "lag_p99_9",
            "ns",
            status,
            evidence.lag_p999_ns as f64,
            limit,
            cause,
        )
    }
}

fn saturation(evidence: &Evidence, checks: &mut Vec<Check>) {
    let status = Status::Saturated;
    checks.push(at_least("final_ratio", "share", status, evidence.final_ratio, 0.99, || {
        "transactions were sent that did not become final; lower --tps, or lengthen --drain if they were only slow"
            .to_owned()
    }));
    checks.push(at_most(
        "busy_share",
        "share",
        status,
        evidence.busy_share,
        0.01,
        || "nodes had no room for what was offered; lower --tps".to_owned(),
    ));
    if evidence.is_trace || evidence.is_ramp || evidence.interrupted {
        let why = if evidence.is_trace {
            "trace"
        } else if evidence.is_ramp {
            "ramp"
        } else {
            "interrupted"
        };
        checks.push(skipped(
            "backlog_growth",
            "share of the rate per second",
            status,
            why,
        ));
        return;
    }
    // One block more or less in flight tilts the fitted line of a short window.
    let limit = (0.05 / evidence.window_s.max(0.1)).max(0.01);
    checks.push(at_most(
        "backlog_growth",
        "share of the rate per second",
        status,
        evidence.backlog_growth,
        limit,
        || "more was sent than became final, all through the window; lower --tps".to_owned(),
    ));
}

fn steadiness(evidence: &Evidence, checks: &mut Vec<Check>) {
    let status = Status::Unsteady;
    let why = match evidence {
        Evidence { is_trace: true, .. } => Some("trace"),
        Evidence { is_ramp: true, .. } => Some("ramp"),
        Evidence {
            interrupted: true, ..
        } => Some("interrupted"),
        _ => None,
    };
    if let Some(why) = why {
        for name in ["tps_halves", "p50_halves", "little"] {
            checks.push(skipped(name, "relative difference", status, why));
        }
    } else {
        halves(&evidence.halves, checks);
        checks.push(little(evidence));
    }
    checks.push(match evidence.steal {
        None => skipped("steal", "share", status, "not readable on this system"),
        Some(steal) => {
            let limit = if evidence.shared_host {
                SHARED_STEAL_LIMIT
            } else {
                STEAL_LIMIT
            };
            at_most("steal", "share", status, steal, limit, || {
                "other virtual machines took CPU time; run again on a quiet machine".to_owned()
            })
        }
    });
    checks.push(match evidence.throttled {
        None => skipped("throttled", "count", status, "not readable on this system"),
        Some(periods) => at_most("throttled", "count", status, periods as f64, 0.0, || {
            "the control group's CPU quota held this program back; raise the quota".to_owned()
        }),
    });
}

fn halves(halves: &Halves, checks: &mut Vec<Check>) {
    let status = Status::Unsteady;
    let apart = |[first, second]: [f64; 2]| (first - second).abs() / ((first + second) / 2.0).max(1e-9);
    // Arrival noise (three standard deviations) and one or two blocks at the edges explain this much.
    let noise = 3.0 * (2.0 / halves.count.max(1) as f64).sqrt() + 0.3 / halves.length_s.max(1e-3);
    checks.push(at_most(
        "tps_halves",
        "relative difference",
        status,
        apart(halves.tps),
        noise.max(0.05),
        || "throughput of the two halves of the window differs; lengthen --warmup and --duration".to_owned(),
    ));
    checks.push(at_most(
        "p50_halves",
        "relative difference",
        status,
        apart(halves.p50_ns),
        halves.p50_ci.max(0.10),
        || "latency of the two halves of the window differs; lengthen --warmup and --duration".to_owned(),
    ));
}

fn little(evidence: &Evidence) -> Check {
    let status = Status::Unsteady;
    if evidence.mean_latency_s <= 0.0 {
        return skipped("little", "relative difference", status, "nothing became final");
    }
    if evidence.window_s < 20.0 * evidence.mean_latency_s {
        return skipped(
            "little",
            "relative difference",
            status,
            "window shorter than 20 mean latencies",
        );
    }
    let [in_flight, product] = evidence.little;
    let apart = (in_flight - product).abs() / product.max(1e-9);
    at_most("little", "relative difference", status, apart, 0.05, || {
        "number in flight is not rate times latency: the system had not settled; lengthen --warmup".to_owned()
    })
}

#[cfg(test)]
mod tests;
