//! What this host lacks for a load, with the way out: run before every load, and as `loadgen doctor`.

use std::fmt;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::Instant;

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::host::{Machine, free_bytes};

/// Fsync faster than this is not one: nothing reached a disk.
pub const FREE_FSYNC_NS: u64 = 50_000;
/// What the endpoints ask for, each.
const SOCKET_BUFFER_BYTES: u64 = 8 << 20;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Fine,
    /// The run works; its numbers may be worse or need a label.
    Warning,
    /// The run cannot work.
    Fatal,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad.
    pub level: Level,
    /// What was found.
    pub what: String,
    /// The way out, empty when nothing is to be done.
    pub advice: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.level {
            Level::Fine => "ok     ",
            Level::Warning => "warning",
            Level::Fatal => "fatal  ",
        };
        write!(formatter, "{mark} {}", self.what)?;
        if self.advice.is_empty() {
            Ok(())
        } else {
            write!(formatter, ": {}", self.advice)
        }
    }
}

/// What a run asks of the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Open files.
    pub files: u64,
    /// Memory of this program, bytes.
    pub memory_bytes: u64,
    /// Disk for the data of a local network, bytes; 0 = none.
    pub disk_bytes: u64,
}

/// What the host has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readings {
    /// The machine.
    pub machine: Machine,
    /// Open files that this process may have; `None` = no limit.
    pub files: Option<u64>,
    /// Free disk at the data directory, bytes.
    pub free_bytes: Option<u64>,
    /// Median of the fsyncs tried there, nanoseconds.
    pub fsync_p50_ns: Option<u64>,
}

impl Readings {
    /// Reads the host; raises the limit of open files as far as it may.
    #[must_use]
    pub fn take(data_dir: Option<&Path>) -> Self {
        Self {
            machine: Machine::read(),
            files: raise_files(),
            free_bytes: data_dir.and_then(free_bytes),
            fsync_p50_ns: data_dir.and_then(fsync_p50_ns),
        }
    }
}

/// Raises the soft limit of open files to the hard one and returns what holds then.
fn raise_files() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let mut wanted = limit;
    wanted.current = wanted.maximum;
    match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => wanted.current,
        Err(_) => limit.current,
    }
}

/// Median of twenty writes of 4 KiB, each made durable.
fn fsync_p50_ns(folder: &Path) -> Option<u64> {
    const TRIES: usize = 20;
    let path = folder.join(format!(".fsync-{}", std::process::id()));
    let mut file = std::fs::File::create(&path).ok()?;
    let mut times = Vec::with_capacity(TRIES);
    for _ in 0..TRIES {
        let written = file
            .seek(SeekFrom::Start(0))
            .and_then(|_| file.write_all(&[0x5a; 4096]));
        let start = Instant::now();
        if written.and_then(|()| file.sync_data()).is_err() {
            break;
        }
        times.push(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    // The file has no further use; a folder that refuses its removal shows it again next time.
    let _ = std::fs::remove_file(&path);
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

/// Judges a host against what a run asks of it. Pure.
#[must_use]
pub fn examine(readings: &Readings, needs: &Needs) -> Vec<Finding> {
    let machine = &readings.machine;
    let mut findings = vec![files(readings.files, needs.files)];
    findings.extend(
        machine
            .available_bytes
            .map(|available| memory(available, needs.memory_bytes)),
    );
    for (name, limit) in [
        ("rmem_max", machine.socket_receive_max),
        ("wmem_max", machine.socket_send_max),
    ] {
        findings.extend(limit.map(|limit| socket_buffer(name, limit)));
    }
    findings.extend(readings.free_bytes.map(|free| disk(free, needs.disk_bytes)));
    findings.extend(readings.fsync_p50_ns.map(fsync));
    findings.push(cores(machine.cores));
    if let Some(governor) = &machine.governor {
        let level = if governor == "performance" {
            Level::Fine
        } else {
            Level::Warning
        };
        let advice = if level == Level::Fine {
            ""
        } else {
            "sudo cpupower frequency-set -g performance"
        };
        findings.push(finding(level, format!("frequency governor {governor}"), advice));
    }
    findings
}

fn finding(level: Level, what: String, advice: &str) -> Finding {
    Finding {
        level,
        what,
        advice: advice.to_owned(),
    }
}

fn files(limit: Option<u64>, needed: u64) -> Finding {
    match limit {
        Some(limit) if limit < needed => finding(
            Level::Fatal,
            format!("{limit} open files allowed, {needed} needed"),
            &format!("ulimit -n {needed}"),
        ),
        Some(limit) => finding(Level::Fine, format!("{limit} open files allowed"), ""),
        None => finding(Level::Fine, "open files without limit".to_owned(), ""),
    }
}

fn memory(available: u64, needed: u64) -> Finding {
    let what = format!(
        "{} MiB of memory available, about {} MiB needed here",
        available >> 20,
        needed >> 20
    );
    if needed > available {
        finding(Level::Fatal, what, "shorten --duration or lower --tps")
    } else if needed > available / 2 {
        finding(
            Level::Warning,
            what,
            "the nodes need memory too; shorten --duration or lower --tps",
        )
    } else {
        finding(Level::Fine, what, "")
    }
}

fn socket_buffer(name: &str, limit: u64) -> Finding {
    let what = format!("net.core.{name} {} KiB", limit >> 10);
    if limit < SOCKET_BUFFER_BYTES {
        let advice = format!("bursts may be dropped; sudo sysctl -w net.core.{name}={SOCKET_BUFFER_BYTES}");
        finding(Level::Warning, what, &advice)
    } else {
        finding(Level::Fine, what, "")
    }
}

fn disk(free: u64, needed: u64) -> Finding {
    let what = format!(
        "{} MiB of disk free, about {} MiB needed",
        free >> 20,
        needed >> 20
    );
    if free < needed {
        finding(
            Level::Fatal,
            what,
            "free some, or name another place with --data-dir",
        )
    } else {
        finding(Level::Fine, what, "")
    }
}

fn fsync(p50_ns: u64) -> Finding {
    let what = format!("fsync takes {} us (median)", p50_ns / 1000);
    if p50_ns < FREE_FSYNC_NS {
        finding(
            Level::Warning,
            what,
            "nothing reaches a disk here, the result is labelled; name a disk with --data-dir",
        )
    } else if p50_ns > 20_000_000 {
        finding(Level::Warning, what, "a slow disk; votes wait for it")
    } else {
        finding(Level::Fine, what, "")
    }
}

fn cores(cores: usize) -> Finding {
    let level = if cores < 2 { Level::Warning } else { Level::Fine };
    let advice = if cores < 2 {
        "generator and nodes take turns; expect lag"
    } else {
        ""
    };
    finding(level, format!("{cores} processors"), advice)
}

#[cfg(test)]
mod tests {
    use super::{FREE_FSYNC_NS, Level, Machine, Needs, Readings, examine};

    fn good() -> Readings {
        Readings {
            machine: Machine {
                cores: 4,
                available_bytes: Some(8 << 30),
                governor: Some("performance".into()),
                socket_receive_max: Some(8 << 20),
                socket_send_max: Some(8 << 20),
                ..Machine::default()
            },
            files: Some(4096),
            free_bytes: Some(100 << 30),
            fsync_p50_ns: Some(500_000),
        }
    }

    const NEEDS: Needs = Needs {
        files: 512,
        memory_bytes: 1 << 30,
        disk_bytes: 1 << 30,
    };

    fn worst(readings: &Readings) -> Level {
        let findings = examine(readings, &NEEDS);
        for finding in &findings {
            assert_eq!(
                finding.level == Level::Fine,
                finding.advice.is_empty(),
                "{finding}"
            );
        }
        findings
            .iter()
            .map(|finding| finding.level)
            .max()
            .expect("findings")
    }

    #[test]
    fn a_good_host_is_fine_and_each_lack_is_found() {
        assert_eq!(worst(&good()), Level::Fine);
        type Spoil = fn(&mut Readings);
        let cases: [(Level, Spoil); 10] = [
            (Level::Fatal, |host| host.files = Some(511)),
            (Level::Fatal, |host| host.machine.available_bytes = Some(1 << 29)),
            (Level::Warning, |host| {
                host.machine.available_bytes = Some(3 << 29)
            }),
            (Level::Warning, |host| {
                host.machine.socket_receive_max = Some(212_992)
            }),
            (Level::Warning, |host| {
                host.machine.socket_send_max = Some(212_992)
            }),
            (Level::Fatal, |host| host.free_bytes = Some(1 << 20)),
            (Level::Warning, |host| host.fsync_p50_ns = Some(FREE_FSYNC_NS - 1)),
            (Level::Warning, |host| host.fsync_p50_ns = Some(30_000_000)),
            (Level::Warning, |host| host.machine.cores = 1),
            (Level::Warning, |host| {
                host.machine.governor = Some("powersave".into())
            }),
        ];
        for (number, (level, spoil)) in cases.iter().enumerate() {
            let mut host = good();
            spoil(&mut host);
            assert_eq!(worst(&host), *level, "case {number}");
        }
    }

    #[test]
    fn this_host_can_be_read_and_nothing_is_left_behind() {
        let folder = tempfile::tempdir().expect("folder");
        let readings = Readings::take(Some(folder.path()));
        assert!(readings.fsync_p50_ns.is_some() && readings.free_bytes.is_some());
        assert_eq!(std::fs::read_dir(folder.path()).expect("folder").count(), 0);
    }
}
