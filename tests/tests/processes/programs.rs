//! Finding and running the programs.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// No test waits longer for a program.
const DEADLINE: Duration = Duration::from_secs(180);

/// A program of this build.
pub(crate) fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    let built = test
        .parent()
        .and_then(Path::parent)
        .expect("target/release/deps/test")
        .join(name);
    assert!(
        built.exists(),
        "{} is missing: cargo build --release --workspace --bins",
        built.display()
    );
    built
}

/// A folder of its own for one test, removed at its end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("shardbench-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A child that ends with the test, by process id.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::piped()).spawn().expect("the program starts"))
    }

    /// SIGKILL, as a power button would.
    pub(crate) fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs `loadgen` to its end.
pub(crate) fn loadgen(folder: &Folder, arguments: &[&str]) -> Output {
    let mut command = Command::new(program("loadgen"));
    command
        .current_dir(folder.path())
        .args(arguments)
        .env("XDG_CACHE_HOME", folder.join("cache"));
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("loadgen starts");
    finish(child)
}

pub(crate) fn finish(mut child: Child) -> Output {
    let start = Instant::now();
    // Pipes are small; what the programs print here fits, and a reader thread would hide a hang.
    while start.elapsed() < DEADLINE {
        if child.try_wait().expect("a child can be waited for").is_some() {
            return child.wait_with_output().expect("its output");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let _ = child.kill();
    panic!("a program did not end within {DEADLINE:?}");
}

/// The report that a run wrote.
pub(crate) fn report(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("the report is JSON")
}

/// What every honest run shows, whatever the machine: balanced accounts, a clean audit, one check per validator.
pub(crate) fn assert_sound(report: &Value, output: &Output) {
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(report["counts"]["balanced"], true, "{text}");
    assert_eq!(report["audit"]["supply_conserved"], true, "{text}");
    assert_eq!(report["audit"]["double_spends"], 0, "{text}");
    assert_eq!(report["audit"]["replicas_agree"], true, "{text}");
    assert_eq!(report["audit"]["receipts_honoured"], 1.0, "{text}");
    assert_eq!(
        report["audit"]["final_txs_in_chain"], report["counts"]["final"],
        "{text}"
    );
    assert!(
        report["counts"]["final"].as_u64().is_some_and(|count| count > 0),
        "{text}"
    );
}
