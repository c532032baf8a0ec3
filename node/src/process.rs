//! What the operating system says of this process.

/// Ticks of `/proc/self/stat` per second; 100 on every Linux that Rust supports.
const TICKS_PER_SECOND: u64 = 100;
/// Bytes of a page as `/proc/self/statm` counts them.
const PAGE_BYTES: u64 = 4096;

/// CPU time of all threads, user and system, nanoseconds; 0 where `/proc` does not exist.
pub(crate) fn cpu_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    cpu_ns_of(&stat)
}

fn cpu_ns_of(stat: &str) -> u64 {
    // The name in parentheses may hold spaces; utime and stime are fields 14 and 15.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    ticks * (1_000_000_000 / TICKS_PER_SECOND)
}

/// Resident memory, bytes; 0 where `/proc` does not exist.
pub(crate) fn memory_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm
        .split_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok())
        .unwrap_or(0)
        * PAGE_BYTES
}

#[cfg(test)]
mod tests {
    use super::cpu_ns_of;

    #[test]
    fn user_and_system_time_are_read_behind_a_name_with_spaces_and_parentheses() {
        let stat = "42 (a ) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0";
        assert_eq!(cpu_ns_of(stat), 3_000_000_000);
        assert_eq!(cpu_ns_of(""), 0);
    }
}
