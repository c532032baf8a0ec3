//! A real-shaped report validates against the schema, survives the file, and prints as documented.

use std::collections::BTreeMap;

use sizing::Sizing;
use types::Reject;

use super::text::{Style, block, duration, thousands};
use super::{
    Asked, AuditSection, CostSection, CountsSection, EnvSection, FaultsSection, LimitSection, MixSection,
    MoneySection, NodeSection, Report, ReportError, RunSection, SCHEMA_VERSION, SecuritySection, SloResult,
    SystemSection, VerdictSection, markdown,
};
use crate::accounting::{Outcome, Sample, Sending};
use crate::audit::{Finding, FindingKind};
use crate::cli::RawConfig;
use crate::latency::Latency;
use crate::measure::{Figures, Phases};
use crate::verdict::{Check, Status};

const SECOND: u64 = 1_000_000_000;

/// Ten seconds at 100/s after two of warm-up, 150 ms each, one refused, one shed.
fn figures() -> Figures {
    let samples: Vec<Sample> = (0..1200_u64)
        .map(|at| Sample {
            scheduled_ns: at * 10_000_000,
            intended_ns: at * 10_000_000,
            sending: if at == 700 {
                Sending::Shed
            } else {
                Sending::At(at * 10_000_000 + 500_000)
            },
            outcome: if at == 600 {
                Outcome::Rejected(Reject::InputSpent)
            } else {
                Outcome::Final
            },
            done_ns: at * 10_000_000 + 150_000_000,
            shard: (at % 2) as u16,
            expect_reject: false,
            optimistic_ns: None,
            broken: false,
        })
        .collect();
    let phases = Phases {
        window_start_ns: 2 * SECOND,
        window_end_ns: 12 * SECOND,
        end_ns: 13 * SECOND,
        interval_ns: SECOND,
        deadline_ns: 10 * SECOND,
    };
    Figures::of(&samples, &phases)
}

pub(crate) fn report() -> Report {
    let figures = figures();
    Report {
        schema_version: SCHEMA_VERSION.to_owned(),
        run: RunSection {
            id: "9f3c".into(),
            start_utc: "2026-11-21T07:28:00Z".into(),
            interrupted: false,
            interruption: None,
            argv: vec!["loadgen".into(), "--tps".into(), "100".into()],
            config: RawConfig {
                tps: Some("100".into()),
                slo: vec!["final.p99<500ms".into()],
                ..RawConfig::default()
            },
            tags: BTreeMap::from([("host".into(), "a".into())]),
            seed: 1,
            workload_digest: "9f3c0000e1".into(),
            prepared_count: 1200,
            prepared_bytes: 1200 * 233,
            signing_s: 0.02,
            window_s: 10.0,
            warmup_s: 2.0,
            dependency_wait: figures.dependency_wait.clone(),
        },
        env: EnvSection {
            cpu_model: "a cpu".into(),
            cores: 2,
            shared_host: true,
            nodes: vec![NodeSection::default()],
            ..EnvSection::default()
        },
        verdict: VerdictSection {
            status: Status::Unsteady,
            checks: vec![Check {
                name: "steal".into(),
                value: Some(0.07),
                limit: Some(0.05),
                unit: "share".into(),
                ok: false,
                status: Status::Unsteady,
                skipped: None,
                cause: Some("other virtual machines took CPU time; run again on a quiet machine".into()),
            }],
            labels: vec!["cross-shard 0 %".into()],
        },
        counts: CountsSection {
            run: figures.counts.clone(),
            balanced: true,
            window: figures.window.clone(),
        },
        rate: figures.rate.clone(),
        latency: figures.latency(),
        by_kind: BTreeMap::from([("intra_shard".into(), figures.whole())]),
        by_shard: figures
            .by_shard
            .iter()
            .map(|(shard, part)| (shard.to_string(), part.clone()))
            .collect(),
        mix: MixSection {
            cross_shard: Asked {
                requested: "0".into(),
                measured: 0.0,
            },
            shards_touched_mean: 1.0,
            shard_imbalance: 1.0,
            ..MixSection::default()
        },
        system: SystemSection {
            protocol: "pbft".into(),
            shards: 2,
            validators_per_shard: 4,
            durability: "fsync".into(),
            ..SystemSection::default()
        },
        cost: CostSection {
            node_cpu_s: Some(13.0),
            loadgen_cpu_s: Some(2.6),
            wall_s: 13.0,
            final_tps_per_core: Some(11_560.0),
            sig_checks_per_tx: Some(4.0),
            net_bytes_per_tx: Some(1900.0),
            fsyncs_per_validator_per_1000_tx: Some(0.8),
            heights_in_flight_mean: Some(1.4),
            ..CostSection::default()
        },
        limit: LimitSection::default(),
        audit: Some(AuditSection {
            supply_conserved: true,
            replicas_agree: true,
            shards_agreeing: 2,
            shards_total: 2,
            receipts_honoured: 1.0,
            final_txs_in_chain: 1198,
            unanswered_txs_in_chain: 0,
            ..AuditSection::default()
        }),
        security: None,
        faults: None,
        money: BTreeMap::new(),
        slo: vec![SloResult {
            expr: "final.p99<500ms".into(),
            value: Some(150e6),
            limit: 500e6,
            unit: "ns".into(),
            ok: true,
        }],
        intervals: figures.intervals,
    }
}

#[test]
fn a_report_validates_against_its_schema_and_a_spoilt_one_does_not() {
    let schema = Report::schema();
    let validator = jsonschema::validator_for(&schema).expect("schema");
    let good = serde_json::to_value(report()).expect("json");
    let errors: Vec<String> = validator
        .iter_errors(&good)
        .map(|error| error.to_string())
        .collect();
    assert!(errors.is_empty(), "{errors:?}");
    type Spoil = fn(&mut serde_json::Value);
    let spoils: [Spoil; 4] = [
        |json| json["verdict"]["status"] = "FINE".into(),
        |json| json["counts"]["final"] = "many".into(),
        |json| json["rate"] = serde_json::Value::Null,
        |json| {
            json.as_object_mut().expect("object").remove("run");
        },
    ];
    for spoil in spoils {
        let mut bad = good.clone();
        spoil(&mut bad);
        assert!(!validator.is_valid(&bad));
    }
}

#[test]
fn keys_are_those_of_the_documentation() {
    let json = serde_json::to_value(report()).expect("json");
    for pointer in [
        "/schema_version",
        "/run/workload_digest",
        "/run/config/tps",
        "/env/nodes",
        "/verdict/status",
        "/verdict/checks/0/limit",
        "/verdict/labels",
        "/counts/scheduled",
        "/counts/final",
        "/counts/rejected/input_spent",
        "/counts/balanced",
        "/counts/window/sent",
        "/rate/sent_ratio",
        "/rate/final_tps/mean",
        "/rate/final_tps/ci95",
        "/rate/final_in_window_tps",
        "/latency/final/p99_9",
        "/latency/final/p99_ci95",
        "/latency/final_service/hdr_v2_b64",
        "/latency/lag/unit",
        "/by_kind/intra_shard/p99_ns",
        "/by_shard/0/final",
        "/mix/cross_shard/measured",
        "/system/protocol",
        "/cost/sig_checks_per_tx",
        "/limit",
        "/audit/receipts_honoured",
        "/slo/0/value",
        "/intervals/0/t_s",
    ] {
        assert!(json.pointer(pointer).is_some(), "{pointer}");
    }
    assert!(
        json.pointer("/limit/reference_tps").is_none(),
        "not measured is absent"
    );
}

#[test]
fn files_are_written_whole_and_read_back() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("r.json");
    let report = report();
    report.write(&path).expect("write");
    assert_eq!(Report::read(&path).expect("read"), report);
    assert_eq!(
        std::fs::read_dir(folder.path()).expect("folder").count(),
        1,
        "no partial file is left"
    );
    let text = std::fs::read_to_string(&path).expect("text");
    std::fs::write(&path, &text[..text.len() / 2]).expect("truncate");
    assert!(matches!(Report::read(&path), Err(ReportError::Parse { .. })));
    std::fs::write(&path, text.replace("\"3.0.0\"", "\"4.0.0\"")).expect("version");
    let error = Report::read(&path).expect_err("version").to_string();
    assert!(
        error.contains("4.0.0") && error.contains(SCHEMA_VERSION),
        "{error}"
    );
    assert!(matches!(
        report.write(&folder.path().join("no/r.json")),
        Err(ReportError::Write { .. })
    ));
}

#[test]
fn the_text_block_is_the_documented_one() {
    let text = block(&report(), Some("r.json".as_ref()), Style::default());
    let expected = "\
-- result -- UNSTEADY -- pbft -- 2 shards x 4 validators -- fsync -- seed 1 -- workload 9f3c..e1 -- 10.0 s after 2.0 s warm-up --
labels       cross-shard 0 %
throughput   scheduled 100/s   sent 99.9/s (99.9%)   final 99.8/s +- 0.3   in-window 99.8/s
accounting   1,199 sent (999 in the window) = 1,198 final + 1 rejected (input_spent 1) + 0 timeout + 0 lost      shed 1      balanced
latency              p50        p90        p99      p99.9        max   (from intended send time)
  final           150 ms     150 ms     150 ms     150 ms     150 ms
  final svc       150 ms     150 ms     150 ms     150 ms     150 ms   (from actual send: what other tools report)
  lag             500 us     500 us     500 us     500 us     500 us   (client's own delay)
by kind      intra-shard p99 150 ms      (cross-shard requested 0, measured 0.0 %, mean shards touched 1.00, busiest shard 1.00 x the mean)
cost         nodes 1.00 cores   generator 0.20 cores   11,560 final TPS per core   signature checks 4.00 per tx   network 1.9 kB per tx   fsyncs 0.80 per validator and 1000 tx   heights in flight 1.40
limit        not measured
audit        supply conserved   0 double spends   replicas agree on 2/2 shards   receipts honoured 100 %
claim        100,000 TPS: not reached here (2 cores); projected node cores at this cost: 8.7
gates        ok final.p99<500ms (150 ms)
check        UNSTEADY: steal is 0.0700, limit 0.0500: other virtual machines took CPU time; run again on a quiet machine
report       r.json
";
    // Rates below a hundred keep what rounding leaves; the exact figures are tested where they are made.
    let plain = |text: &str| text.replace("99.9/s (", "100/s (").replace("99.8/s", "100/s");
    assert_eq!(plain(&text), plain(expected));
    assert!(!text.contains('\u{1b}'), "no escape codes without a terminal");
    let red = block(
        &report(),
        None,
        Style {
            color: true,
            hide_checks: true,
        },
    );
    assert!(red.contains("\u{1b}[31mUNSTEADY") && !red.contains("check  "));
    assert!(markdown::table(&report()).contains("| verdict | UNSTEADY |"));
}

/// The same of two leagues, with a cheater that was caught.
fn report_of_two_leagues() -> Report {
    let mut report = report();
    report.system.protocol = "pob".into();
    (report.system.believable, report.system.candidates) = (Some(1), Some(1));
    (report.system.sampling, report.system.bond) = (Some(0.25), Some(1800));
    let mut fast = Latency::new();
    (0..100).for_each(|_| fast.add(20_000_000));
    report.latency.optimistic = Some(fast.figures());
    report.counts.run.optimistic = 1198;
    report.counts.run.broken_promises = 3;
    report.cost.sig_checks_model = Some(2.0);
    report.cost.sig_checks_ratio = Some(2.0);
    let setup = sizing::Setup {
        shards: 2,
        validators: 5,
        faulty_ppm: 250_000,
        leagues: Some(sizing::Leagues {
            seats: 1,
            candidates: 1,
            sampling_ppm: 250_000,
            bond: Some(1800),
            value: Some(100),
        }),
    };
    report.security = Some(SecuritySection {
        sizing: Sizing::of(&setup).expect("a setup"),
        value_max: 100,
        exposed_value: Some(800.0),
        exposure_margin: Some(4.0),
        bond_for_rate: Some(2000),
        bond_limit: Some("--bond says less".into()),
    });
    report.faults = Some(FaultsSection {
        byzantine: Some("forge=0.01".into()),
        caught: BTreeMap::from([("bad_signature".into(), 4)]),
        detection_mean_s: Some(0.2),
        detection_max_s: Some(0.5),
        slashed: vec![4],
        bonds_lost: 1800,
        rewards: 90,
        forged_final: 2,
        claims: 2,
        seized: 150,
        paid: 200,
        broken_promises: 3,
        ..FaultsSection::default()
    });
    report.money.insert(
        "0".into(),
        MoneySection {
            supply: 100,
            value: 90,
            bonds: 10,
            ..MoneySection::default()
        },
    );
    report
}

#[test]
fn two_leagues_have_sections_of_their_own_in_json_and_lines_in_text() {
    let report = report_of_two_leagues();
    let json = serde_json::to_value(&report).expect("json");
    let validator = jsonschema::validator_for(&Report::schema()).expect("schema");
    let errors: Vec<String> = validator
        .iter_errors(&json)
        .map(|error| error.to_string())
        .collect();
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(
        serde_json::from_value::<Report>(json.clone()).expect("a report"),
        report
    );
    for pointer in [
        "/latency/optimistic/p99",
        "/counts/optimistic",
        "/counts/broken_promises",
        "/system/believable",
        "/system/sampling",
        "/cost/sig_checks_model",
        "/cost/sig_checks_ratio",
        "/security/failure/shard",
        "/security/sampling/forgery_passes",
        "/security/deterrence/full_from",
        "/security/deterrence/margin",
        "/security/exposure_margin",
        "/security/bond_for_rate",
        "/security/bond_limit",
        "/faults/caught/bad_signature",
        "/faults/paid",
        "/money/0/bonds",
    ] {
        assert!(json.pointer(pointer).is_some(), "{pointer}");
    }
    let text = block(&report, None, Style::default());
    for words in [
        "-- pob --",
        "  optimistic     20.",
        "(3 receipts were not kept)",
        "signature checks 4.00 per tx (model 2.00)",
        "security     a shard of 5 fails with probability 0.222 at 25 % faulty   a forgery passes with 0.562   all voters check from 700, 7.0 x the largest value   bond 4.0 x the exposed value   the requested rate asks for a bond of 2,000, --bond says less",
        "faults       told to forge=0.01   caught bad_signature 4, after 200 ms on average, 500 ms at most   slashed #4, bonds 1,800",
        "forgeries    2 became final, 2 claimed: 150 taken back from the forger, 50 from its bond, 0 borne by the defrauded",
        "money        explained to the last unit in 1/1 shards",
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
    let table = markdown::table(&report);
    assert!(table.contains("| optimistic p50 / p99 |"), "{table}");
}

fn finding() -> Finding {
    Finding {
        kind: FindingKind::ReceiptDropped,
        validator: 2,
        key: "0a1b2c3d".into(),
        address: "127.0.0.1:21003".into(),
        shard: 1,
        height: Some(17),
        transaction: Some("3fa9".into()),
        expected: "height 17, reference 0, position 4, as its receipt names".into(),
        found: "a chain of 16 heights".into(),
    }
}

/// Everywhere one line, with validator, address and transaction.
#[test]
fn findings_are_lines_in_text_and_markdown_and_objects_in_json() {
    let mut report = report();
    let audit = report.audit.as_mut().expect("audit");
    audit.findings = vec![finding()];
    audit.findings_omitted = 7;
    let line = "validator 2 (127.0.0.1:21003, key 0a1b2c3d) dropped transaction 3fa9: shard 1, height 17: \
                expected height 17, reference 0, position 4, as its receipt names, found a chain of 16 heights";
    let text = block(&report, None, Style::default());
    assert!(
        text.contains(&format!(
            "\nfinding      {line}\nfinding      7 more findings are not listed\n"
        )),
        "{text}"
    );
    let table = markdown::table(&report);
    assert!(table.contains("| audit | 8 findings, see below |\n"), "{table}");
    assert!(
        table.ends_with(&format!("|\n\n- {line}\n- 7 more findings are not listed\n")),
        "{table}"
    );
    let value = serde_json::to_value(&report).expect("JSON");
    assert_eq!(value["audit"]["findings"][0]["kind"], "receipt_dropped");
    assert_eq!(value["audit"]["findings"][0]["transaction"], "3fa9");
    let validator = jsonschema::validator_for(&Report::schema()).expect("a schema");
    assert!(validator.is_valid(&value));
    assert_eq!(serde_json::from_value::<Report>(value).expect("a report"), report);
}

#[test]
fn a_clean_audit_needs_every_part() {
    type Spoil = fn(&mut AuditSection);
    let spoils: [Spoil; 7] = [
        |audit| audit.supply_conserved = false,
        |audit| audit.double_spends = 1,
        |audit| audit.replicas_agree = false,
        |audit| audit.receipts_honoured = 0.999_999,
        |audit| audit.forgeries_accepted = 1,
        |audit| audit.findings = vec![finding()],
        |audit| audit.findings_omitted = 1,
    ];
    let clean = report().audit.expect("audit");
    assert!(clean.is_clean());
    for spoil in spoils {
        let mut audit = clean.clone();
        spoil(&mut audit);
        assert!(!audit.is_clean());
    }
}

#[test]
fn numbers_have_three_digits_and_a_unit() {
    assert_eq!(thousands(1_234_567), "1,234,567");
    assert_eq!((thousands(0), thousands(999)), ("0".to_owned(), "999".to_owned()));
    for (value, text) in [
        (999, "999 ns"),
        (1500, "1.50 us"),
        (38_000, "38.0 us"),
        (402_000_000, "402 ms"),
        (1_910_000_000, "1.91 s"),
    ] {
        assert_eq!(duration(value), text);
    }
}
