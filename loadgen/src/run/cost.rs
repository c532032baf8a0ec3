//! What a run cost, from the counters of nodes and hosts before and after. Pure.

use std::collections::BTreeMap;

use types::client::NodeInfo;

use crate::host::Counters;
use crate::report::CostSection;

/// What costs are divided by.
pub(crate) struct Work {
    /// Final transactions of the whole run.
    pub(crate) finalised: u64,
    /// The same by shard.
    pub(crate) by_shard: BTreeMap<u16, u64>,
    /// Transactions that entered blocks.
    pub(crate) in_blocks: u64,
    /// Wall time, seconds.
    pub(crate) wall_s: f64,
}

/// Costs between two readings; `shards` names the shard of each node, in the order of the readings.
pub(crate) fn cost(
    before: &[NodeInfo],
    after: &[NodeInfo],
    shards: &[u16],
    counters: &[Counters; 2],
    work: &Work,
) -> CostSection {
    let own_cpu = counters[1].own_cpu_ns.zip(counters[0].own_cpu_ns);
    let mut cost = CostSection {
        wall_s: work.wall_s,
        loadgen_cpu_s: own_cpu.map(|(after, before)| after.saturating_sub(before) as f64 / 1e9),
        ..CostSection::default()
    };
    // A node that started anew in between has counters of another process.
    let same = before.len() == after.len()
        && before
            .iter()
            .zip(after)
            .all(|(before, after)| before.process == after.process);
    if !same || after.is_empty() {
        return cost;
    }
    let sum = |of: fn(&NodeInfo) -> u64| -> u64 {
        let pairs = before.iter().zip(after);
        pairs
            .map(|(before, after)| of(after).saturating_sub(of(before)))
            .sum()
    };
    let per = |amount: u64, count: u64| (count > 0).then(|| amount as f64 / count as f64);
    let (cpu_ns, memory) = of_processes(before, after);
    cost.node_cpu_s = (cpu_ns > 0).then_some(cpu_ns as f64 / 1e9);
    cost.final_tps_per_core = per(work.finalised, 1)
        .zip(cost.node_cpu_s)
        .map(|(finalised, cpu_s)| finalised / cpu_s)
        .filter(|_| work.finalised > 0);
    cost.sig_checks_per_tx = per(sum(|info| info.signature_checks), work.in_blocks);
    cost.net_bytes_per_tx = per(sum(|info| info.bytes_sent), work.finalised);
    cost.net_bytes_received_per_tx = per(sum(|info| info.bytes_received), work.finalised);
    cost.heights_in_flight_mean = per(sum(|info| info.heights_in_flight_sum), sum(|info| info.proposals));
    cost.view_changes = Some(sum(|info| info.view_changes));
    cost.refused_messages = Some(sum(|info| info.refused));
    cost.rss_bytes = (memory > 0).then_some(memory);
    let fsyncs: Vec<f64> = before
        .iter()
        .zip(after)
        .zip(shards)
        .filter_map(|((before, after), shard)| {
            let of_shard = work.by_shard.get(shard).copied().unwrap_or(0);
            per(1000 * after.fsyncs.saturating_sub(before.fsyncs), of_shard)
        })
        .collect();
    if !fsyncs.is_empty() {
        cost.fsyncs_per_validator_per_1000_tx = Some(fsyncs.iter().sum::<f64>() / fsyncs.len() as f64);
    }
    cost
}

/// CPU time and memory of distinct processes: validators that share one state the same figures.
fn of_processes(before: &[NodeInfo], after: &[NodeInfo]) -> (u64, u64) {
    let mut first: BTreeMap<u64, u64> = BTreeMap::new();
    for info in before {
        let cpu = first.entry(info.process).or_insert(info.cpu_ns);
        *cpu = info.cpu_ns.min(*cpu);
    }
    let mut last: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for info in after {
        let entry = last.entry(info.process).or_default();
        *entry = (entry.0.max(info.cpu_ns), entry.1.max(info.memory_bytes));
    }
    last.iter()
        .fold((0, 0), |(cpu, memory), (process, (cpu_ns, bytes))| {
            let before = first.get(process).copied().unwrap_or(0);
            (cpu + cpu_ns.saturating_sub(before), memory + bytes)
        })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use types::client::NodeInfo;

    use super::{Work, cost};
    use crate::host::Counters;

    fn info(process: u64, scale: u64) -> NodeInfo {
        NodeInfo {
            process,
            fsyncs: 10 * scale,
            signature_checks: 1000 * scale,
            bytes_sent: 5000 * scale,
            cpu_ns: 1_000_000_000 * scale,
            memory_bytes: 1 << 20,
            heights_in_flight_sum: 30 * scale,
            proposals: 20 * scale,
            ..NodeInfo::default()
        }
    }

    fn work() -> Work {
        Work {
            finalised: 1000,
            by_shard: BTreeMap::from([(0, 500), (1, 500)]),
            in_blocks: 1000,
            wall_s: 2.0,
        }
    }

    #[test]
    fn differences_are_divided_and_shared_processes_counted_once() {
        let (before, after) = (vec![info(7, 1); 4], vec![info(7, 2); 4]);
        let counters = [Counters::default(), Counters::default()];
        let cost = cost(&before, &after, &[0, 0, 1, 1], &counters, &work());
        assert_eq!(cost.node_cpu_s, Some(1.0));
        assert_eq!(cost.final_tps_per_core, Some(1000.0));
        assert_eq!(cost.sig_checks_per_tx, Some(4.0));
        assert_eq!(cost.net_bytes_per_tx, Some(20.0));
        assert_eq!(cost.fsyncs_per_validator_per_1000_tx, Some(20.0));
        assert_eq!(cost.heights_in_flight_mean, Some(1.5));
        assert_eq!(cost.rss_bytes, Some(1 << 20));
        assert_eq!(cost.loadgen_cpu_s, None);
    }

    #[test]
    fn processes_of_their_own_add_up_and_a_restarted_one_tells_nothing() {
        let before: Vec<NodeInfo> = (0..4).map(|process| info(process, 1)).collect();
        let after: Vec<NodeInfo> = (0..4).map(|process| info(process, 2)).collect();
        let counters = [Counters::default(), Counters::default()];
        let four = cost(&before, &after, &[0; 4], &counters, &work());
        assert_eq!(four.node_cpu_s, Some(4.0));
        assert_eq!(four.rss_bytes, Some(4 << 20));
        let mut restarted = after;
        restarted[2].process = 99;
        let none = cost(&before, &restarted, &[0; 4], &counters, &work());
        assert_eq!((none.node_cpu_s, none.sig_checks_per_tx), (None, None));
    }
}
