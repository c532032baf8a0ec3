//! `shardbench-node`: one validator, or a whole local test network.

mod build_info;
mod cli;
mod clock;
mod config;
mod driver;
mod fair_queue;
mod genesis_file;
mod ingress;
mod inspect;
mod key_mark;
mod keys;
mod process;
mod run;
mod sizing;
mod testnet;
mod verify_pool;

use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use build_info::BUILD;
use cli::{Cli, Command, KeysArgs};
use config::Config;
use genesis_file::Created;

// A validator that can be told to break its own rules is for the simulator alone.
const _: () = assert!(
    !replica::PLANTED,
    "the feature `planted-bugs` is for the simulator, not for a node"
);

/// Exit code of every error, as usage errors have it.
const EXIT_ERROR: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    log_to_stderr();
    match execute(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shardbench-node: {}", one_line(&error));
            ExitCode::from(EXIT_ERROR)
        }
    }
}

/// An error and its causes on one line; a cause that the words before it repeat already is left out.
fn one_line(error: &anyhow::Error) -> String {
    let mut words = String::new();
    for cause in error.chain() {
        let cause = cause
            .to_string()
            .lines()
            .map(str::trim)
            .collect::<Vec<_>>()
            .join(" ");
        if words.is_empty() {
            words = cause;
        } else if !words.contains(&cause) {
            words = format!("{words}: {cause}");
        }
    }
    words
}

fn execute(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Keys(args) => print(&new_keys(&args)?),
        Command::Genesis(options) => {
            let Created { hash, bond } = genesis_file::create(&options)?;
            let (out, count) = (
                options.out.display(),
                u32::from(options.shards) * u32::from(options.validators),
            );
            let bond = bond.map_or(String::new(), |bond| format!("{bond}\n"));
            print(&format!(
                "{out}: genesis {hash}, {count} validators in {} shards\n{bond}",
                options.shards
            ))
        }
        Command::Run(args) => run::run(Config::read(&args.config, &args.overrides())?),
        Command::Testnet(args) => testnet::testnet(args.options()),
        Command::Inspect(options) => print(&inspect::inspect(&options)?),
        Command::Sizing(options) => print(&sizing::sizing(&options)?),
        Command::Version => print(&version()),
    }
}

fn new_keys(args: &KeysArgs) -> Result<String, keys::KeyFileError> {
    let mut text = String::new();
    for (path, public) in keys::create(&args.out, args.count)? {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{} {}", path.display(), hex::encode(public));
    }
    Ok(text)
}

fn version() -> String {
    let backend = crypto::verify::backend();
    format!(
        "shardbench-node {BUILD}\nprotocol between validators {}, of clients {}\ngenesis format {}, data format {}\nsignatures {}\n",
        types::message::PEER_PROTOCOL_VERSION,
        types::client::CLIENT_PROTOCOL_VERSION,
        types::genesis::GENESIS_VERSION,
        store::FORMAT_VERSION,
        backend.name,
    )
}

/// Results go to standard output; a reader that has gone is an error and not a panic.
fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let stderr = std::io::stderr;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(stderr().is_terminal())
        .with_writer(stderr)
        .init();
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn an_error_is_one_line_that_says_each_cause_once() {
        let cause = std::io::Error::other("disk on\n  fire");
        let error = anyhow::Error::new(cause)
            .context("cannot write a")
            .context("not started");
        assert_eq!(one_line(&error), "not started: cannot write a: disk on fire");
        let repeated = crate::keys::read_key("/no/such.key".as_ref()).expect_err("missing");
        let words = repeated.to_string();
        assert_eq!(one_line(&repeated.into()), words);
    }
}
