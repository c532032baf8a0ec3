//! One shard of `shardbench-node run` processes, four voters and perhaps candidates, that can be killed, paused and started again one by one.

use std::fs::File;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::programs::{Folder, Load, Running, program};

/// Validators of the shard: `f` is 1, a quorum 3.
pub(crate) const VALIDATORS: usize = 4;
/// Most candidates beside them, where there are two leagues.
const CANDIDATES_MAX: u16 = 4;
/// No wait of these tests is longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);
/// Pause between two looks at something that is waited for.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// Two cores carry one network at a time: the next test waits for the one before.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs where the range of handed-out ports does not reach: 12,000 to 19,999, two for each validator of a network.
const PORTS_FROM: u16 = 12_000;
const PORTS_OF_ONE: u16 = 2 * (VALIDATORS as u16 + CANDIDATES_MAX);
const PORT_SETS: u16 = 500;
static NEXT_PORTS: AtomicU16 = AtomicU16::new(0);

/// Waits until `look` gives something; fails with `what` after [`PATIENCE`].
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(LOOK_PAUSE);
    }
}

/// Ports that nobody listens on now; another process may still take one before the validators do.
fn free_ports() -> u16 {
    let own = (std::process::id() % u32::from(PORT_SETS)) as u16;
    for _ in 0..PORT_SETS {
        let set = (own + NEXT_PORTS.fetch_add(1, Ordering::Relaxed)) % PORT_SETS;
        let base = PORTS_FROM + set * PORTS_OF_ONE;
        if (base..base + PORTS_OF_ONE).all(|port| UdpSocket::bind(("127.0.0.1", port)).is_ok()) {
            return base;
        }
    }
    panic!("no {PORTS_OF_ONE} free UDP ports in a row from {PORTS_FROM} upward");
}

/// The network. Its validators end with it.
pub(crate) struct Network {
    pub(crate) folder: Folder,
    nodes: Vec<Option<Running>>,
    _turn: MutexGuard<'static, ()>,
}

impl Network {
    /// Creates a genesis with 4000 accounts; nothing runs yet.
    pub(crate) fn new(name: &str) -> Self {
        Self::with_accounts(name, 4_000)
    }

    /// Creates a genesis with accounts of seed 1.
    pub(crate) fn with_accounts(name: &str, accounts: u32) -> Self {
        Self::made(
            name,
            accounts,
            &["--validators", "4", "--protocol", "pbft"],
            VALIDATORS,
        )
    }

    /// Four voters and this many candidates, the first of whom in the order of the draw holds the one seat.
    pub(crate) fn of_two_leagues(name: &str, candidates: u16) -> Self {
        assert!(
            candidates <= CANDIDATES_MAX,
            "ports for {CANDIDATES_MAX} candidates"
        );
        let validators = VALIDATORS + usize::from(candidates);
        let [validators_text, candidates] = [validators.to_string(), candidates.to_string()];
        let size = [
            "--validators",
            &validators_text,
            "--candidates",
            &candidates,
            "--protocol",
            "pob",
        ];
        Self::made(name, 4_000, &size, validators)
    }

    fn made(name: &str, accounts: u32, size: &[&str], validators: usize) -> Self {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = Folder::new(name);
        let made = Command::new(program("shardbench-node"))
            .args(["genesis", "--shards", "1", "--seed", "1"])
            .args(size)
            .args(["--accounts", &accounts.to_string(), "--amount", "1000000"])
            .args(["--base-port", &free_ports().to_string(), "--name", name, "--out"])
            .arg(folder.join("net"))
            .output()
            .expect("shardbench-node starts");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self {
            folder,
            nodes: (0..validators).map(|_| None).collect(),
            _turn: turn,
        }
    }

    pub(crate) fn config(&self, validator: usize) -> PathBuf {
        self.folder
            .join("net")
            .join(format!("validator-{validator:03}.toml"))
    }

    /// Where a validator keeps log and state.
    pub(crate) fn data(&self, validator: usize) -> PathBuf {
        self.folder.join("net/data").join(format!("{validator:03}"))
    }

    fn log_path(&self, validator: usize) -> PathBuf {
        self.folder.join(&format!("node-{validator}.log"))
    }

    /// What a validator has written to its standard error since the network was made.
    pub(crate) fn said(&self, validator: usize) -> String {
        std::fs::read_to_string(self.log_path(validator)).unwrap_or_default()
    }

    /// The command that runs a validator, its words going to its log.
    pub(crate) fn run(&self, validator: usize, program_and_arguments: &[&str]) -> Command {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path(validator))
            .expect("a log");
        let node = program("shardbench-node");
        let mut command = match program_and_arguments {
            [] => Command::new(node),
            [around, arguments @ ..] => {
                let mut command = Command::new(around);
                command.args(arguments).arg(node);
                command
            }
        };
        command
            .args(["run", "--config"])
            .arg(self.config(validator))
            .stdout(Stdio::null())
            .stderr(log);
        command
    }

    pub(crate) fn start(&mut self, validator: usize) {
        let command = self.run(validator, &[]);
        self.start_as(validator, command);
    }

    /// Starts a validator by a command of `run`, changed by the caller.
    pub(crate) fn start_as(&mut self, validator: usize, mut command: Command) {
        assert!(self.nodes[validator].is_none(), "validator {validator} runs");
        self.nodes[validator] = Some(Running::start(&mut command));
    }

    pub(crate) fn start_all(&mut self) {
        for validator in 0..self.nodes.len() {
            if self.nodes[validator].is_none() {
                self.start(validator);
            }
        }
    }

    /// SIGKILL, then waits for the end of the process.
    pub(crate) fn kill(&mut self, validator: usize) {
        self.nodes[validator].take().expect("a running validator").kill();
    }

    /// SIGKILL to all before any is waited for: as near to one instant as signals come.
    pub(crate) fn kill_all(&mut self) {
        for node in self.nodes.iter_mut().flatten() {
            let _ = node.0.kill();
        }
        self.nodes.iter_mut().for_each(|node| *node = None);
    }

    pub(crate) fn process(&self, validator: usize) -> u32 {
        self.nodes[validator]
            .as_ref()
            .expect("a running validator")
            .0
            .id()
    }

    fn signal(&self, validator: usize, signal: Signal) {
        let process = i32::try_from(self.process(validator)).expect("a process id");
        kill_process(Pid::from_raw(process).expect("not zero"), signal).expect("a signal to an own child");
    }

    /// SIGSTOP.
    pub(crate) fn pause(&self, validator: usize) {
        self.signal(validator, Signal::STOP);
    }

    /// SIGCONT.
    pub(crate) fn resume(&self, validator: usize) {
        self.signal(validator, Signal::CONT);
    }

    /// How a validator ended by itself, if it has.
    pub(crate) fn ended(&mut self, validator: usize) -> Option<ExitStatus> {
        let node = self.nodes[validator].as_mut()?;
        let status = node.0.try_wait().expect("a child can be waited for")?;
        self.nodes[validator] = None;
        Some(status)
    }

    /// Starts a load on this network beside the test.
    pub(crate) fn load(&self, tps: u32, seconds: u32, out: &str) -> Load {
        let (tps, duration) = (tps.to_string(), format!("{seconds}s"));
        Load::start(
            &self.folder,
            &[
                "--nodes",
                "@net/hosts",
                "--tps",
                &tps,
                "--duration",
                &duration,
                "--warmup",
                "1s",
                "--deadline",
                "60s",
                "--drain",
                "60s",
                "-o",
                out,
            ],
        )
    }
}

/// Last file of a folder, by name, among those whose name ends so.
pub(crate) fn newest(folder: &Path, suffix: &str) -> PathBuf {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.to_string_lossy().ends_with(suffix))
        .collect();
    files.sort();
    files
        .pop()
        .unwrap_or_else(|| panic!("no *{suffix} in {}", folder.display()))
}
