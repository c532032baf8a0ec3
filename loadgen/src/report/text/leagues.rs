//! Lines about the two leagues: what the network promises, what was caught, where the money is.

use super::super::Report;
use super::{Style, duration, line, red, thousands};

pub(super) fn security(report: &Report, out: &mut String) {
    let Some(security) = &report.security else { return };
    let sizing = &security.sizing;
    let mut parts = vec![format!(
        "a shard of {} fails with probability {} at {} % faulty",
        sizing.setup.validators,
        probability(sizing.failure.shard),
        f64::from(sizing.setup.faulty_ppm) / 1e4,
    )];
    if let Some(sampling) = &sizing.sampling {
        parts.push(format!(
            "a forgery passes with {}",
            probability(sampling.forgery_passes)
        ));
    }
    if let Some(deterrence) = &sizing.deterrence
        && let (Some(from), Some(margin)) = (deterrence.full_from, deterrence.margin)
    {
        parts.push(format!(
            "all voters check from {}, {margin:.1} x the largest value",
            thousands(from)
        ));
    }
    if let Some(margin) = security.exposure_margin {
        parts.push(format!("bond {margin:.1} x the exposed value"));
    }
    if let (Some(wanted), Some(limit)) = (security.bond_for_rate, &security.bond_limit) {
        parts.push(format!(
            "the requested rate asks for a bond of {}, {limit}",
            thousands(wanted)
        ));
    }
    line(out, "security", &parts.join("   "));
}

fn probability(value: f64) -> String {
    if value >= 0.001 {
        format!("{value:.3}")
    } else {
        format!("{value:.1e}")
    }
}

pub(super) fn faults(report: &Report, style: Style, out: &mut String) {
    let Some(faults) = report.faults.as_ref().filter(|faults| !faults.is_quiet()) else {
        return;
    };
    let mut parts = Vec::new();
    parts.extend(
        faults
            .byzantine
            .iter()
            .map(|profiles| format!("told to {profiles}")),
    );
    let caught: Vec<String> = faults
        .caught
        .iter()
        .map(|(kind, count)| format!("{kind} {}", thousands(*count)))
        .collect();
    let seconds = |seconds: f64| duration((seconds * 1e9) as u64);
    let after = faults
        .detection_mean_s
        .zip(faults.detection_max_s)
        .map_or(String::new(), |(mean, max)| {
            format!(", after {} on average, {} at most", seconds(mean), seconds(max))
        });
    parts.push(if caught.is_empty() {
        "caught nothing".to_owned()
    } else {
        format!("caught {}{after}", caught.join(", "))
    });
    if !faults.slashed.is_empty() {
        let slashed: Vec<String> = faults.slashed.iter().map(|id| format!("#{id}")).collect();
        parts.push(format!(
            "slashed {}, bonds {}",
            slashed.join(", "),
            thousands(faults.bonds_lost)
        ));
    }
    if faults.mode_switches > 0 {
        parts.push(format!(
            "{} heights by one league: {}",
            faults.heights_in_fallback,
            faults.changes()
        ));
    }
    line(out, "faults", &parts.join("   "));
    if faults.forged_final + faults.claims > 0 {
        let text = format!(
            "{} became final, {} claimed: {}",
            thousands(faults.forged_final),
            thousands(faults.claims),
            faults.borne_by().unwrap_or_else(|| "nothing was paid".to_owned())
        );
        let is_covered = faults.claims >= faults.forged_final && faults.unpaid == 0;
        line(
            out,
            "forgeries",
            &if is_covered { text } else { red(&text, style) },
        );
    }
}

pub(super) fn money(report: &Report, style: Style, out: &mut String) {
    if report.money.is_empty() {
        return;
    }
    let explained = report.money.values().filter(|money| money.is_explained()).count();
    let total = report.money.len();
    let sum = |of: fn(&super::super::MoneySection) -> u64| {
        let sum = report.money.values().map(of).fold(0, u64::saturating_add);
        thousands(sum)
    };
    let text = format!(
        "explained to the last unit in {explained}/{total} shards: outputs {}, fees {}, bonds {}, pool {}, rewards {}",
        sum(|money| money.value),
        sum(|money| money.fees),
        sum(|money| money.bonds),
        sum(|money| money.pool),
        sum(|money| money.rewards),
    );
    line(
        out,
        "money",
        &if explained == total {
            text
        } else {
            red(&text, style)
        },
    );
}
