//! A good run is VALID, and each check can fail on its own with the status of the table.

use super::{AuditEvidence, Evidence, Halves, Status, judge};

fn good() -> Evidence {
    Evidence {
        imbalance: None,
        contradictions: 0,
        notes_refused: 0,
        invalid_final: 0,
        conflicts_undecided: Some(0),
        audit: Some(AuditEvidence {
            findings: 0,
            first: None,
            final_at_client: 100,
            final_in_chain: 100,
        }),
        clamped: 0,
        digest_unchanged: true,
        sent_ratio: 1.0,
        lag_p99_ns: 500_000,
        lag_p999_ns: 900_000,
        final_p50_ns: 150_000_000,
        tightest_slo_ns: None,
        cap_hits: 0,
        back_pressure: 0,
        udp_drops: Some(0),
        busiest_core: Some(0.5),
        final_ratio: 1.0,
        busy_share: 0.0,
        backlog_growth: 0.001,
        halves: Halves {
            tps: [5000.0, 5010.0],
            p50_ns: [1.5e8, 1.52e8],
            p50_ci: 0.001,
            count: 50_000,
            length_s: 10.0,
        },
        little: [750.0, 751.0],
        mean_latency_s: 0.15,
        window_s: 20.0,
        steal: Some(0.0),
        throttled: Some(0),
        shared_host: false,
        is_trace: false,
        is_ramp: false,
        interrupted: false,
    }
}

fn failed(evidence: &Evidence) -> Vec<String> {
    let (_, checks, _) = judge(evidence);
    checks
        .into_iter()
        .filter(|check| !check.ok)
        .map(|check| {
            assert!(
                check.cause.is_some_and(|cause| cause.contains(';')),
                "cause; next step"
            );
            check.name
        })
        .collect()
}

#[test]
fn a_good_run_is_valid() {
    let (status, checks, labels) = judge(&good());
    assert_eq!(status, Status::Valid);
    assert!(checks.iter().all(|check| check.ok && check.cause.is_none()));
    assert!(labels.is_empty());
}

#[test]
fn each_check_fails_alone_with_its_own_status() {
    type Break = fn(&mut Evidence);
    let cases: [(&str, Status, Break); 20] = [
        ("accounting_balanced", Status::Invalid, |e| {
            e.imbalance = Some("sent: 1, 2".into())
        }),
        ("answers_contradictory", Status::Invalid, |e| e.contradictions = 1),
        ("notes_refused", Status::Invalid, |e| e.notes_refused = 1),
        ("histogram_clamps", Status::Invalid, |e| e.clamped = 1),
        ("workload_digest_changed", Status::Invalid, |e| {
            e.digest_unchanged = false
        }),
        ("audit_findings", Status::Invalid, |e| {
            e.audit.as_mut().expect("audit").findings = 2
        }),
        ("audit_findings", Status::Invalid, |e| e.audit = None),
        ("final_against_chains", Status::Invalid, |e| {
            e.audit.as_mut().expect("audit").final_in_chain = 99;
        }),
        ("sent_ratio", Status::GeneratorLimited, |e| e.sent_ratio = 0.994),
        ("lag_p99_9", Status::GeneratorLimited, |e| {
            e.lag_p999_ns = 1_000_001
        }),
        ("in_flight_cap_hits", Status::GeneratorLimited, |e| e.cap_hits = 1),
        ("udp_drops", Status::GeneratorLimited, |e| e.udp_drops = Some(1)),
        ("busiest_core", Status::GeneratorLimited, |e| {
            e.busiest_core = Some(0.91)
        }),
        ("final_ratio", Status::Saturated, |e| e.final_ratio = 0.989),
        ("busy_share", Status::Saturated, |e| e.busy_share = 0.011),
        ("backlog_growth", Status::Saturated, |e| e.backlog_growth = 0.02),
        ("tps_halves", Status::Unsteady, |e| {
            e.halves.tps = [5000.0, 4700.0]
        }),
        ("p50_halves", Status::Unsteady, |e| e.halves.p50_ns = [1e8, 1.2e8]),
        ("little", Status::Unsteady, |e| e.little = [750.0, 800.0]),
        ("throttled", Status::Unsteady, |e| e.throttled = Some(1)),
    ];
    for (name, status, spoil) in cases {
        let mut evidence = good();
        spoil(&mut evidence);
        assert_eq!(failed(&evidence), [name]);
        assert_eq!(judge(&evidence).0, status, "{name}");
    }
}

#[test]
fn the_worst_check_decides() {
    let mut evidence = good();
    evidence.steal = Some(0.02);
    assert_eq!(judge(&evidence).0, Status::Unsteady);
    evidence.busy_share = 0.5;
    assert_eq!(judge(&evidence).0, Status::Saturated);
    evidence.sent_ratio = 0.5;
    assert_eq!(judge(&evidence).0, Status::GeneratorLimited);
    evidence.contradictions = 1;
    assert_eq!(judge(&evidence).0, Status::Invalid);
}

#[test]
fn lag_follows_the_tightest_objective_on_hosts_of_its_own() {
    let mut evidence = good();
    evidence.lag_p999_ns = 4_000_000;
    evidence.tightest_slo_ns = Some(500_000_000);
    assert_eq!(judge(&evidence).0, Status::Valid, "1 % of 500 ms is 5 ms");
    evidence.tightest_slo_ns = Some(300_000_000);
    assert_eq!(failed(&evidence), ["lag_p99_9"]);
}

#[test]
fn beside_the_nodes_lag_is_relative_and_the_core_is_a_label() {
    let mut evidence = good();
    evidence.shared_host = true;
    evidence.lag_p999_ns = 100_000_000;
    evidence.lag_p99_ns = 7_000_000;
    evidence.busiest_core = Some(0.99);
    evidence.steal = Some(0.03);
    evidence.udp_drops = Some(3);
    let (status, _, labels) = judge(&evidence);
    assert_eq!(status, Status::Valid, "5 % of 150 ms is 7.5 ms");
    assert_eq!(labels.len(), 3, "{labels:?}");
    evidence.lag_p99_ns = 8_000_000;
    assert_eq!(failed(&evidence), ["lag_p99"]);
    evidence.lag_p99_ns = 0;
    evidence.steal = Some(0.06);
    assert_eq!(failed(&evidence), ["steal"]);
}

#[test]
fn traces_ramps_and_interrupted_runs_skip_what_they_cannot_meet() {
    type Mark = fn(&mut Evidence);
    let marks: [(&str, Mark); 3] = [
        ("trace", |e| e.is_trace = true),
        ("ramp", |e| e.is_ramp = true),
        ("interrupted", |e| {
            e.interrupted = true;
            e.audit = None;
        }),
    ];
    for (why, mark) in marks {
        let mut evidence = good();
        evidence.halves.tps = [1.0, 9.0];
        evidence.backlog_growth = 1.0;
        evidence.little = [1.0, 9.0];
        mark(&mut evidence);
        let (status, checks, _) = judge(&evidence);
        assert_eq!(status, Status::Valid, "{why}");
        let skipped = checks
            .iter()
            .filter(|check| check.skipped.as_deref() == Some(why));
        assert!(skipped.count() >= 4, "{why}");
    }
}

#[test]
fn little_needs_twenty_latencies() {
    let mut evidence = good();
    evidence.little = [1.0, 9.0];
    for unknown in [1.01, 0.0] {
        evidence.mean_latency_s = unknown;
        assert_eq!(judge(&evidence).0, Status::Valid);
    }
}
