//! What this machine says of itself: processors, memory, counters of the kernel. Everything optional: a system that
//! does not tell is reported as such, not as zero.

use std::path::Path;

/// Part and whole of a span of time, in ticks.
type Ticks = (u64, u64);

/// Counters at one moment; differences of two moments are what is reported.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counters {
    /// Of each processor: busy and all time, in ticks.
    pub cores: Vec<Ticks>,
    /// Time taken by other virtual machines and all time, in ticks.
    pub steal: Option<Ticks>,
    /// Periods in which the control group was throttled.
    pub throttled: Option<u64>,
    /// Datagrams dropped for want of buffers, both directions.
    pub udp_drops: Option<u64>,
    /// CPU time of this process, nanoseconds.
    pub own_cpu_ns: Option<u64>,
}

impl Counters {
    /// Reads them now.
    #[must_use]
    pub fn read() -> Self {
        let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let (cores, steal) = parse_stat(&stat);
        let throttled = std::fs::read_to_string("/sys/fs/cgroup/cpu.stat")
            .ok()
            .and_then(|text| parse_key(&text, "nr_throttled"));
        let udp_drops = std::fs::read_to_string("/proc/net/snmp")
            .ok()
            .and_then(|text| parse_snmp(&text));
        let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let own_cpu_ns = u64::try_from(cpu.tv_sec)
            .ok()
            .zip(u64::try_from(cpu.tv_nsec).ok())
            .map(|(seconds, nanoseconds)| seconds * 1_000_000_000 + nanoseconds);
        Self {
            cores,
            steal,
            throttled,
            udp_drops,
            own_cpu_ns,
        }
    }

    /// Share of the time since `earlier` that the busiest processor was busy.
    #[must_use]
    pub fn busiest_core_since(&self, earlier: &Self) -> Option<f64> {
        if self.cores.len() != earlier.cores.len() {
            return None;
        }
        self.cores
            .iter()
            .zip(&earlier.cores)
            .filter_map(|(now, before)| share(*now, *before))
            .reduce(f64::max)
    }

    /// Share of the time since `earlier` taken by other virtual machines.
    #[must_use]
    pub fn steal_since(&self, earlier: &Self) -> Option<f64> {
        share(self.steal?, earlier.steal?)
    }
}

fn share(now: Ticks, before: Ticks) -> Option<f64> {
    let all = now.1.checked_sub(before.1).filter(|all| *all > 0)?;
    Some(now.0.saturating_sub(before.0) as f64 / all as f64)
}

/// Busy and total ticks by processor, and steal and total of all.
fn parse_stat(text: &str) -> (Vec<Ticks>, Option<Ticks>) {
    let (mut cores, mut steal) = (Vec::new(), None);
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some(name) = words.next().filter(|name| name.starts_with("cpu")) else {
            continue;
        };
        // user nice system idle iowait irq softirq steal; guest time is inside user.
        let ticks: Vec<u64> = words.take(8).map_while(|word| word.parse().ok()).collect();
        let total: u64 = ticks.iter().sum();
        let at = |position: usize| ticks.get(position).copied().unwrap_or(0);
        if name == "cpu" {
            steal = (ticks.len() == 8).then(|| (at(7), total));
        } else {
            cores.push((total - at(3) - at(4), total));
        }
    }
    (cores, steal)
}

fn parse_key(text: &str, key: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
}

/// `RcvbufErrors` plus `SndbufErrors` of the two `Udp:` lines.
fn parse_snmp(text: &str) -> Option<u64> {
    let mut lines = text.lines().filter(|line| line.starts_with("Udp:"));
    let names = lines.next()?.split_whitespace();
    let values = lines.next()?.split_whitespace();
    let mut drops = None;
    for (name, value) in names.zip(values) {
        if matches!(name, "RcvbufErrors" | "SndbufErrors") {
            drops = Some(drops.unwrap_or(0) + value.parse::<u64>().ok()?);
        }
    }
    drops
}

/// What does not change during a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Kernel and its release.
    pub kernel: String,
    /// CPU model.
    pub cpu_model: String,
    /// Logical processors that this process may use.
    pub cores: usize,
    /// Physical memory, bytes.
    pub memory_bytes: Option<u64>,
    /// Memory that can be had without swapping, bytes.
    pub available_bytes: Option<u64>,
    /// CPU features that matter for signatures and hashes.
    pub features: Vec<String>,
    /// Frequency governor.
    pub governor: Option<String>,
    /// Largest socket receive buffer that may be asked for, bytes.
    pub socket_receive_max: Option<u64>,
    /// Largest socket send buffer that may be asked for, bytes.
    pub socket_send_max: Option<u64>,
}

impl Machine {
    /// Reads it.
    #[must_use]
    pub fn read() -> Self {
        let number = |path: &str| read_line(path).and_then(|text| text.parse().ok());
        let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kilobytes = |key: &str| {
            let text = memory.lines().find_map(|line| line.strip_prefix(key))?;
            let number: u64 = text.trim().trim_end_matches("kB").trim().parse().ok()?;
            Some(number * 1024)
        };
        let release = read_line("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            kernel: format!("{} {release}", std::env::consts::OS)
                .trim_end()
                .to_owned(),
            cpu_model: cpu_model().unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: kilobytes("MemTotal:"),
            available_bytes: kilobytes("MemAvailable:"),
            features: features(),
            governor: read_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            socket_receive_max: number("/proc/sys/net/core/rmem_max"),
            socket_send_max: number("/proc/sys/net/core/wmem_max"),
        }
    }
}

fn read_line(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().next().map(|line| line.trim().to_owned())
}

fn cpu_model() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, model)| model.trim().to_owned())
}

fn features() -> Vec<String> {
    #[cfg(target_arch = "x86_64")]
    let found = [
        ("sha", std::arch::is_x86_feature_detected!("sha")),
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
        ("avx512ifma", std::arch::is_x86_feature_detected!("avx512ifma")),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let found: [(&str, bool); 0] = [];
    found
        .iter()
        .filter(|(_, has)| *has)
        .map(|(name, _)| (*name).to_owned())
        .collect()
}

/// Resident memory of this process, bytes.
#[must_use]
pub fn own_memory_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Free space for an unprivileged user at a path, bytes.
#[must_use]
pub fn free_bytes(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some(stat.f_bavail * stat.f_frsize)
}

#[cfg(test)]
mod tests {
    use super::{Counters, Machine, parse_key, parse_snmp, parse_stat};

    #[test]
    fn kernel_tables_are_read_as_they_are_written() {
        let stat = "cpu  100 0 50 800 10 0 5 35 0 0\ncpu0 60 0 20 400 5 0 5 10 0 0\ncpu1 40 0 30 400 5 0 0 25 0 0\nintr 1\n";
        let (cores, steal) = parse_stat(stat);
        assert_eq!(cores, [(95, 500), (95, 500)]);
        assert_eq!(steal, Some((35, 1000)));
        assert_eq!(parse_stat(""), (Vec::new(), None));
        let snmp = "Ip: a\nIp: 1\nUdp: InDatagrams NoPorts RcvbufErrors SndbufErrors\nUdp: 9 9 3 4\n";
        assert_eq!(parse_snmp(snmp), Some(7));
        assert_eq!(parse_snmp("Udp: InDatagrams\nUdp: 1\n"), None);
        assert_eq!(
            parse_key("nr_periods 5\nnr_throttled 2\n", "nr_throttled"),
            Some(2)
        );
    }

    #[test]
    fn shares_are_differences() {
        let before = Counters {
            cores: vec![(10, 100), (50, 100)],
            steal: Some((1, 100)),
            ..Counters::default()
        };
        let after = Counters {
            cores: vec![(100, 200), (60, 200)],
            steal: Some((3, 300)),
            ..Counters::default()
        };
        assert_eq!(after.busiest_core_since(&before), Some(0.9));
        assert_eq!(after.steal_since(&before), Some(0.01));
        assert_eq!(before.steal_since(&before), None, "no time has passed");
    }

    #[test]
    fn this_machine_can_be_read() {
        assert!(Machine::read().cores >= 1);
        assert!(Counters::read().own_cpu_ns.is_some());
    }
}
