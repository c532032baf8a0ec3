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
    Load::start(folder, arguments).finish()
}

/// A `loadgen` that runs beside what the test does; ends with the test.
pub(crate) struct Load(Option<Child>);

impl Load {
    pub(crate) fn start(folder: &Folder, arguments: &[&str]) -> Self {
        Self(Some(spawn(folder, arguments)))
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        let child = self.0.as_mut().expect("not finished");
        child.try_wait().expect("a child can be waited for").is_none()
    }

    /// Waits for its end.
    pub(crate) fn finish(mut self) -> Output {
        finish(self.0.take().expect("finished once"))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn spawn(folder: &Folder, arguments: &[&str]) -> Child {
    let mut command = Command::new(program("loadgen"));
    command
        .current_dir(folder.path())
        .args(arguments)
        .env("XDG_CACHE_HOME", folder.join("cache"));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("loadgen starts")
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

/// What every honest run shows, whatever the machine: balanced accounts, a clean audit, one check per validator, and
/// every transaction answered that the chains hold.
pub(crate) fn assert_sound(report: &Value, output: &Output) {
    assert_survived(report, output);
    assert_eq!(report["audit"]["unanswered_txs_in_chain"], 0, "{report:#}");
}

/// The same for a run under which validators died: what became final while nobody could say so is found in the chains.
/// Returns its report.
pub(crate) fn survived(folder: &Folder, out: &str, output: &Output) -> Value {
    let path = folder.join(out);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(path.exists(), "no report after {:?}: {said}", output.status);
    let report = report(&path);
    assert_survived(&report, output);
    report
}

fn assert_survived(report: &Value, output: &Output) {
    let text = format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        matches!(output.status.code(), Some(0 | 4)),
        "{:?}: {text}",
        output.status
    );
    assert_ne!(report["verdict"]["status"], "INVALID", "{text}");
    assert_eq!(report["counts"]["balanced"], true, "{text}");
    let audit = &report["audit"];
    assert_eq!(audit["supply_conserved"], true, "{text}");
    assert_eq!(audit["double_spends"], 0, "{text}");
    assert_eq!(audit["replicas_agree"], true, "{text}");
    assert_eq!(audit["receipts_honoured"], 1.0, "{text}");
    let count = |value: &Value| value.as_u64().expect("a count");
    let finals = count(&report["counts"]["final"]);
    assert_eq!(
        count(&audit["final_txs_in_chain"]),
        finals + count(&audit["unanswered_txs_in_chain"]),
        "{text}"
    );
    assert!(finals > 0, "{text}");
}
