//! `loadgen` command line.

use std::io::IsTerminal as _;

use clap::{CommandFactory as _, Parser as _};
use loadgen::calibrate::{CalibrateConfig, calibrate};
use loadgen::cli::{Cli, Command};
use loadgen::report::show::emit;
use loadgen::run::{EXIT_FAILED, EXIT_OK, EXIT_USAGE};

fn main() {
    std::process::exit(match dispatch() {
        Ok(code) => code,
        Err((code, message)) => {
            eprintln!("loadgen: {message}");
            code
        }
    });
}

type Failure = (i32, String);

fn dispatch() -> Result<i32, Failure> {
    let cli = Cli::parse();
    let argv: Vec<String> = std::env::args().collect();
    let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let usage = |error: &dyn std::fmt::Display| (EXIT_USAGE, error.to_string());
    let run = |args: &loadgen::cli::RunArgs| {
        loadgen::run::run(args, &argv, color).map_err(|error| (error.exit_code(), error.to_string()))
    };
    match cli.command {
        None => return run(&cli.run),
        Some(Command::Run(args)) => return run(&args),
        Some(Command::Show(args)) => {
            emit(&loadgen::commands::show(&args, color).map_err(|error| usage(&error))?);
        }
        Some(Command::Schema) => emit(&format!("{:#}\n", loadgen::report::Report::schema())),
        Some(Command::Doctor(args)) => {
            let (text, is_fatal) = loadgen::commands::doctor(&args).map_err(|error| usage(&error))?;
            emit(&text);
            return Ok(if is_fatal { EXIT_USAGE } else { EXIT_OK });
        }
        Some(Command::Import(args)) => {
            let counts =
                loadgen::import::import_file(&args.bitcoin, &args.out).map_err(|error| usage(&error))?;
            emit(&format!("{}\n", counts.to_string().trim_end()));
        }
        Some(Command::Calibrate(args)) => {
            let config = CalibrateConfig::resolve(&args).map_err(|error| usage(&error))?;
            let ceiling = calibrate(&config).map_err(|error| (EXIT_FAILED, error.to_string()))?;
            emit(&ceiling.to_string());
        }
        Some(Command::Completions(args)) => {
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut Cli::command(), "loadgen", &mut script);
            emit(&String::from_utf8_lossy(&script));
        }
    }
    Ok(EXIT_OK)
}
