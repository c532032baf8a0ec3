//! A run from its settings to its exit code: doctor, network, arena, connections, load, drain, audit, verdict, report.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use files::GenesisFileError;

use crate::arena::ArenaError;
use crate::audit::AuditError;
use crate::cli::RunArgs;
use crate::config::{Config, Format, Validity, merge_file};
use crate::doctor::{Finding, Level};
use crate::embedded::EmbeddedError;
use crate::import::TraceError;
use crate::interrupt::Interrupt;
use crate::network::NetworkError;
use crate::progress::Progress;
use crate::report::text::Style;
use crate::report::{Report, ReportError, show};
use crate::usage::UsageError;
use crate::verdict::Status;
use crate::wallet::WalletError;

mod audit;
mod cost;
mod doubts;
mod judge;
mod leagues;
mod load;
mod monitor;
mod plan;
mod prepare;
mod routes;
mod steer;
mod traffic;

/// Exit code of a run that did what was asked.
pub const EXIT_OK: i32 = 0;
/// Exit code of a run that could not be carried out.
pub const EXIT_FAILED: i32 = 1;
/// Exit code of a mistake in flags, files or configuration.
pub const EXIT_USAGE: i32 = 2;
/// Exit code of a missed objective.
pub const EXIT_BREACHED: i32 = 3;
/// Exit code of a run whose numbers may not be used.
pub const EXIT_NOT_VALID: i32 = 4;

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A flag or a key.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// This host cannot carry the run.
    #[error("{0}")]
    Host(Finding),
    /// The workload cannot be built.
    #[error(transparent)]
    Arena(#[from] ArenaError),
    /// The trace cannot be read.
    #[error("--workload bitcoin:{}: {source}", path.display())]
    Trace {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: TraceError,
    },
    /// Nothing to spend.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// The genesis cannot be read.
    #[error(transparent)]
    Genesis(#[from] GenesisFileError),
    /// The local network failed.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    /// The network cannot be reached.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The audit cannot start.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The report cannot be kept.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// The operating system refuses something.
    #[error("{what}: {source}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// Cause.
        source: std::io::Error,
    },
}

impl RunError {
    /// Exit code: 2 for what the user gave, 1 for what failed.
    #[must_use]
    pub const fn exit_code(&self) -> i32 {
        match self {
            Self::Usage(_)
            | Self::Host(_)
            | Self::Arena(_)
            | Self::Trace { .. }
            | Self::Wallet(_)
            | Self::Genesis(_) => EXIT_USAGE,
            Self::Embedded(error) => match error {
                EmbeddedError::NoBinary { .. }
                | EmbeddedError::Build { .. }
                | EmbeddedError::Folder { .. } => EXIT_USAGE,
                _ => EXIT_FAILED,
            },
            Self::Network(_) | Self::Audit(_) | Self::Report(_) | Self::System { .. } => EXIT_FAILED,
        }
    }
}

/// What every part of a run needs to know.
pub(crate) struct Setting<'a> {
    pub(crate) config: &'a Config,
    pub(crate) progress: &'a Progress,
    pub(crate) interrupt: &'a Interrupt,
    pub(crate) runtime: &'a tokio::runtime::Runtime,
    /// Short name of this run.
    pub(crate) id: &'a str,
}

/// Carries out `loadgen run`; returns the exit code. `color` says that stdout takes colours.
///
/// # Errors
/// Whatever ends the run without a result; see [`RunError::exit_code`].
pub fn run(args: &RunArgs, argv: &[String], color: bool) -> Result<i32, RunError> {
    let raw = match &args.file {
        Some(file) => merge_file(&args.values, file)?,
        None => args.values.clone(),
    };
    let config = Config::resolve(&raw, random())?;
    if args.dry_run {
        show::emit(&prepare::describe(&config)?);
        return Ok(EXIT_OK);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.client.threads)
        .thread_name("connections")
        .enable_all()
        .build()
        .map_err(|source| RunError::System {
            what: "threads for connections",
            source,
        })?;
    let interrupt = Interrupt::watch(&runtime).map_err(|source| RunError::System {
        what: "handlers for signals",
        source,
    })?;
    let progress = Progress::new(config.output.progress);
    let id = format!("{:04x}", random() & 0xffff);
    let setting = Setting {
        config: &config,
        progress: &progress,
        interrupt: &interrupt,
        runtime: &runtime,
        id: &id,
    };
    let result = measure(&setting, argv, color);
    progress.clear();
    // Connections that are still open end with their sockets.
    runtime.shutdown_background();
    result
}

fn measure(setting: &Setting<'_>, argv: &[String], color: bool) -> Result<i32, RunError> {
    let mut prepared = prepare::prepare(setting)?;
    let started = SystemTime::now();
    let loaded = match load::load(setting, &mut prepared) {
        Ok(loaded) => loaded,
        Err(error) => {
            // The first error is the one that is told.
            let _ = prepare::tear_down(prepared, setting, false);
            return Err(error);
        }
    };
    let audited = if setting.interrupt.code().is_some() || loaded.child_error.is_some() {
        None
    } else {
        Some(audit::audit(setting, &prepared, &loaded))
    };
    let report = judge::report(setting, &prepared, &loaded, audited.as_ref(), argv, started);
    let path = report_path(setting.config, started, setting.id);
    let kept = report.write(&path);
    let is_sound = report.verdict.status != Status::Invalid && kept.is_ok();
    let stopped = prepare::tear_down(prepared, setting, is_sound);
    setting.progress.clear();
    let style = Style {
        color,
        hide_checks: setting.config.output.validity == Validity::Off,
    };
    if setting.config.output.format != Format::Quiet {
        show::emit(&show::render(
            &report,
            Some(&path),
            setting.config.output.format,
            style,
        ));
    }
    kept?;
    if let Some(code) = setting.interrupt.code() {
        return Ok(code);
    }
    if let Some(error) = loaded.child_error {
        return Err(error.into());
    }
    if let Some(Err(error)) = audited {
        return Err(error);
    }
    stopped?;
    Ok(exit_code(&report, setting.config.output.validity))
}

/// 4 outranks 3: an objective that a spoilt run meets or misses says nothing.
fn exit_code(report: &Report, validity: Validity) -> i32 {
    if report.verdict.status != Status::Valid && validity == Validity::Strict {
        EXIT_NOT_VALID
    } else if report.slo.iter().any(|gate| !gate.ok) || report.run.interrupted {
        EXIT_BREACHED
    } else {
        EXIT_OK
    }
}

fn report_path(config: &Config, started: SystemTime, id: &str) -> PathBuf {
    config.output.out.clone().unwrap_or_else(|| {
        let time = humantime::format_rfc3339_seconds(started).to_string();
        let time: String = time
            .chars()
            .filter(|letter| !matches!(letter, '-' | ':'))
            .collect();
        Path::new(".").join(format!("loadgen-{time}-{id}.json"))
    })
}

/// A number from the operating system's entropy: names of runs and `--seed random`, nothing else.
fn random() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    std::hash::RandomState::new().build_hasher().finish()
}

/// Tells what the doctor found; the first fatal thing ends the run.
pub(crate) fn heed(findings: &[Finding], progress: &Progress) -> Result<Vec<String>, RunError> {
    if let Some(fatal) = findings.iter().find(|finding| finding.level == Level::Fatal) {
        return Err(RunError::Host(fatal.clone()));
    }
    let warnings: Vec<String> = findings
        .iter()
        .filter(|finding| finding.level == Level::Warning)
        .map(|finding| format!("{}: {}", finding.what, finding.advice))
        .collect();
    for warning in &warnings {
        progress.note(&format!("warning: {warning}"));
    }
    Ok(warnings)
}

#[cfg(test)]
mod tests {
    use super::{EXIT_BREACHED, EXIT_NOT_VALID, EXIT_OK, exit_code};
    use crate::config::Validity;
    use crate::report::tests::report;
    use crate::verdict::Status;

    #[test]
    fn a_run_that_is_not_valid_outranks_its_objectives() {
        let mut report = report();
        report.verdict.status = Status::Valid;
        assert_eq!(exit_code(&report, Validity::Strict), EXIT_OK);
        report.slo[0].ok = false;
        assert_eq!(exit_code(&report, Validity::Strict), EXIT_BREACHED);
        report.verdict.status = Status::Saturated;
        assert_eq!(exit_code(&report, Validity::Strict), EXIT_NOT_VALID);
        assert_eq!(exit_code(&report, Validity::Warn), EXIT_BREACHED);
        report.slo[0].ok = true;
        assert_eq!(exit_code(&report, Validity::Off), EXIT_OK);
    }
}
