//! The steps of `cargo xtask check` and `cargo xtask fix`: what is run, and how its output is kept short.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::tidy;

/// Lines of a failed step that are shown from its start; the first error is the one to read.
const LINES_HEAD_MAX: usize = 200;
/// Lines of a failed step that are shown from its end.
const LINES_TAIL_MAX: usize = 20;
/// A step that says nothing for this long gets a line that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// One step of the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    /// rustfmt finds nothing to change
    Fmt,
    /// Clippy finds nothing, warnings count
    Clippy,
    /// The rules of this repository
    Tidy,
    /// The documentation builds without a warning
    Docs,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Fmt => "fmt",
            Self::Clippy => "clippy",
            Self::Tidy => "tidy",
            Self::Docs => "docs",
        }
    }
}

/// Runs `steps` in order, all of them even when one fails, and returns the names of those that failed.
pub(crate) fn check(root: &Path, steps: &[Step]) -> Result<Vec<&'static str>> {
    let mut failed = Vec::new();
    for step in steps {
        let started = Instant::now();
        println!("== {}", step.name());
        let passed = match step {
            Step::Fmt => cargo(root, &["fmt", "--all", "--check"], &[])?,
            Step::Clippy => clippy(root)?,
            Step::Tidy => tidy(root)?,
            // --release: the same build scripts as every other build, so RocksDB is not compiled again.
            Step::Docs => cargo(
                root,
                &["doc", "--no-deps", "--workspace", "--release", "--locked"],
                &[("RUSTDOCFLAGS", "-Dwarnings")],
            )?,
        };
        println!(
            "== {}: {} in {:.1} s",
            step.name(),
            if passed { "ok" } else { "FAILED" },
            started.elapsed().as_secs_f64()
        );
        if !passed {
            failed.push(step.name());
        }
    }
    Ok(failed)
}

/// Lets rustfmt and clippy edit the working tree.
pub(crate) fn fix(root: &Path) -> Result<Vec<&'static str>> {
    let mut failed = Vec::new();
    println!("== clippy --fix");
    let clippy = [
        "clippy",
        "--fix",
        "--allow-dirty",
        "--allow-staged",
        "--workspace",
        "--all-targets",
        "--release",
    ];
    if !cargo(root, &clippy, &[])? {
        failed.push("clippy --fix");
    }
    println!("== fmt");
    if !cargo(root, &["fmt", "--all"], &[])? {
        failed.push("fmt");
    }
    Ok(failed)
}

fn clippy(root: &Path) -> Result<bool> {
    let whole = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--release",
        "--locked",
        "--",
        "-Dwarnings",
    ];
    // The planted bugs are code too. This selection holds no RocksDB, so its features cannot make it compile twice.
    let package = [
        "clippy",
        "--package",
        "simulator",
        "--features",
        "planted-bugs",
        "--all-targets",
    ];
    let planted = [&package[..], &["--release", "--locked", "--", "-Dwarnings"]].concat();
    let whole = cargo(root, &whole, &[])?;
    Ok(cargo(root, &planted, &[])? && whole)
}

fn tidy(root: &Path) -> Result<bool> {
    let report = tidy::run(root)?;
    for (rule, findings) in &report.failures {
        println!("{rule}: {} findings", findings.len());
        for finding in findings.iter().take(LINES_HEAD_MAX) {
            println!("  {finding}");
        }
    }
    for finding in &report.advice {
        println!("advice: {finding}");
    }
    println!(
        "{} rules over {} files, {} failed",
        report.rules,
        report.files,
        report.failures.len()
    );
    Ok(report.failures.is_empty())
}

/// Runs cargo; prints its output only if it fails, then at most [`LINES_HEAD_MAX`] + [`LINES_TAIL_MAX`] lines.
fn cargo(root: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Result<bool> {
    println!("   cargo {}", arguments.join(" "));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(arguments)
        .current_dir(root)
        .envs(variables.iter().copied());
    // What cargo told this program about itself is not for the next cargo.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") || text == "CARGO_BIN_NAME" {
            command.env_remove(&name);
        }
    }
    run(command)
}

fn run(mut command: Command) -> Result<bool> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .with_context(|| format!("starting {:?}", command.get_program()))?;
    let (sender, lines) = mpsc::channel();
    let readers = [
        child.stdout.take().map(|pipe| forward(pipe, sender.clone())),
        child.stderr.take().map(|pipe| forward(pipe, sender)),
    ];
    let started = Instant::now();
    let mut output = Output::default();
    let mut latest = String::new();
    let mut silent_since = started;
    loop {
        match lines.recv_timeout(HEARTBEAT.saturating_sub(silent_since.elapsed())) {
            Ok(line) if is_progress(&line) => latest = line.trim().to_owned(),
            Ok(line) => output.push(line),
            Err(RecvTimeoutError::Timeout) => {
                println!("   {} s, {latest}", started.elapsed().as_secs());
                silent_since = Instant::now();
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    for reader in readers.into_iter().flatten() {
        // A reader ends when its pipe does; it has nothing to return.
        let _ = reader.join();
    }
    let passed = child.wait().context("waiting for cargo")?.success();
    if !passed {
        output.print();
    }
    Ok(passed)
}

fn forward(pipe: impl Read + Send + 'static, lines: Sender<String>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            if lines.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                break;
            }
        }
    })
}

/// Cargo's own status lines, which say nothing about a failure.
fn is_progress(line: &str) -> bool {
    let verbs = [
        "Compiling",
        "Checking",
        "Documenting",
        "Finished",
        "Fresh",
        "Blocking",
        "Downloaded",
        "Downloading",
    ];
    line.starts_with(' ') && verbs.iter().any(|verb| line.trim_start().starts_with(verb))
}

/// The first and the last lines of a long output.
#[derive(Debug, Default)]
struct Output {
    head: Vec<String>,
    tail: VecDeque<String>,
    left_out: usize,
}

impl Output {
    fn push(&mut self, line: String) {
        if self.head.len() < LINES_HEAD_MAX {
            self.head.push(line);
            return;
        }
        self.tail.push_back(line);
        if self.tail.len() > LINES_TAIL_MAX {
            self.tail.pop_front();
            self.left_out += 1;
        }
    }

    fn print(&self) {
        self.head.iter().for_each(|line| println!("{line}"));
        if self.left_out > 0 {
            println!("   ... {} more lines ...", self.left_out);
        }
        self.tail.iter().for_each(|line| println!("{line}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_bounded_and_keeps_both_ends() {
        let mut output = Output::default();
        for line in 0..1_000 {
            output.push(line.to_string());
        }
        assert_eq!(output.head.len(), LINES_HEAD_MAX);
        assert_eq!(output.tail.len(), LINES_TAIL_MAX);
        assert_eq!(output.left_out, 1_000 - LINES_HEAD_MAX - LINES_TAIL_MAX);
        assert_eq!(output.head[0], "0");
        assert_eq!(output.tail.back().map(String::as_str), Some("999"));
    }

    #[test]
    fn progress_is_told_from_diagnostics() {
        assert!(is_progress("   Compiling types v0.1.0"));
        assert!(is_progress("    Checking types v0.1.0"));
        assert!(!is_progress("error: Checking"));
        assert!(!is_progress("Compiling as text of a diagnostic"));
    }

    #[test]
    fn a_failing_command_fails_the_step() {
        let shell = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            run(command).unwrap()
        };
        assert!(shell("echo out; echo err >&2"));
        assert!(!shell("echo out; exit 3"));
        assert!(run(Command::new("/no/such/program")).is_err());
    }
}
