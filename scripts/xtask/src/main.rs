//! `cargo xtask check`: the read-only gate. `cargo xtask fix`: what can be repaired by a program.
//! `cargo xtask record`: what a test run did, as one file that documents may cite.

mod gate;
mod record;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};

use gate::Step;

/// The gate of this repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run the read-only gate: all steps, or those named
    Check {
        /// Steps to run, in this order
        steps: Vec<Step>,
    },
    /// Let clippy and rustfmt edit the working tree
    Fix,
    /// Sum the lines that test campaigns wrote, add commit and machine, write JSON and print a table
    Record {
        /// File named by SHARDBENCH_TEST_RECORD while the tests ran
        lines: PathBuf,
        /// JSON file to write
        out: PathBuf,
        /// PART:COUNTER:MIN, repeatable: fail when this counter is missing or below MIN (at least 1)
        #[arg(long = "expect", value_name = "PART:COUNTER:MIN", value_parser = record::parse_expectation)]
        expected: Vec<record::Expectation>,
    },
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(failed) if failed.is_empty() => {
            println!("all steps passed");
            ExitCode::SUCCESS
        }
        Ok(failed) => {
            println!("FAILED: {}", failed.join(", "));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<Vec<&'static str>> {
    let root = root()?;
    match &arguments.command {
        Task::Check { steps } if steps.is_empty() => gate::check(&root, Step::value_variants()),
        Task::Check { steps } => gate::check(&root, steps),
        Task::Fix => gate::fix(&root),
        Task::Record { lines, out, expected } => {
            record::record(&root, lines, out, expected).map(|()| Vec::new())
        }
    }
}

/// Two folders above this crate's manifest.
fn root() -> Result<PathBuf> {
    // `cargo run` says where the checkout is now; the built-in path serves a binary started by hand.
    let manifest =
        std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let root = Path::new(&manifest).join("../..");
    root.canonicalize()
        .with_context(|| format!("finding the repository at {}", root.display()))
}
