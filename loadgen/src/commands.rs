//! The small commands: `show` and `doctor`.

use std::fmt::Write as _;

use crate::cli::{DoctorArgs, ShowArgs};
use crate::config::Format;
use crate::doctor::{Level, Needs, Readings, examine};
use crate::embedded::{DataDir, EmbeddedError, cache_folder};
use crate::report::show::render;
use crate::report::text::Style;
use crate::report::{Report, ReportError};
use crate::units::parse_word;
use crate::usage::UsageError;

/// Why a report is not shown.
#[derive(Debug, thiserror::Error)]
pub enum ShowError {
    /// Another form.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// No report.
    #[error(transparent)]
    Report(#[from] ReportError),
}

/// `loadgen show`.
///
/// # Errors
/// Names the file or the form.
pub fn show(args: &ShowArgs, color: bool) -> Result<String, ShowError> {
    let forms = [
        ("text", Format::Text),
        ("json", Format::Json),
        ("md", Format::Markdown),
    ];
    let format = parse_word("--format", &args.format, &forms)?;
    let report = Report::read(&args.report)?;
    let style = Style {
        color,
        hide_checks: false,
    };
    Ok(render(&report, Some(&args.report), format, style))
}

/// `loadgen doctor`: what it found, and whether a run with the default network could not work.
///
/// # Errors
/// A data directory that cannot be made.
pub fn doctor(args: &DoctorArgs) -> Result<(String, bool), EmbeddedError> {
    const DEFAULT_VALIDATORS: u64 = 8;
    let parent = args.data_dir.clone().unwrap_or_else(cache_folder);
    let data = DataDir::create(Some(&parent), &format!("doctor-{}", std::process::id()))?;
    let readings = Readings::take(Some(data.path()));
    let needs = Needs {
        files: 512 + 64 * DEFAULT_VALIDATORS,
        memory_bytes: 1 << 30,
        disk_bytes: 1 << 30,
    };
    data.remove();
    let findings = examine(&readings, &needs);
    let mut out = format!(
        "{} -- {} -- data in {}\n",
        readings.machine.kernel,
        readings.machine.cpu_model,
        parent.display()
    );
    for finding in &findings {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{finding}");
    }
    Ok((out, findings.iter().any(|finding| finding.level == Level::Fatal)))
}

#[cfg(test)]
mod tests {
    use super::{doctor, show};
    use crate::cli::{DoctorArgs, ShowArgs};
    use crate::report::tests::report;

    #[test]
    fn a_report_is_shown_in_each_form_and_anything_else_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("r.json");
        report().write(&path).expect("write");
        let args = |format: &str| ShowArgs {
            report: path.clone(),
            format: format.to_owned(),
        };
        assert!(
            show(&args("text"), false)
                .expect("text")
                .starts_with("-- result --")
        );
        assert!(show(&args("md"), false).expect("md").contains("| verdict |"));
        let json = show(&args("json"), false).expect("json");
        assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
        assert!(
            show(&args("xml"), false)
                .expect_err("form")
                .to_string()
                .contains("--format")
        );
        std::fs::write(&path, "{").expect("spoil");
        assert!(
            show(&args("text"), false)
                .expect_err("spoilt")
                .to_string()
                .contains("r.json")
        );
    }

    #[test]
    fn the_doctor_leaves_nothing_behind() {
        let folder = tempfile::tempdir().expect("folder");
        let args = DoctorArgs {
            data_dir: Some(folder.path().to_owned()),
        };
        let (text, _) = doctor(&args).expect("doctor");
        assert!(
            text.contains("open files") && text.contains("fsync takes"),
            "{text}"
        );
        assert_eq!(std::fs::read_dir(folder.path()).expect("folder").count(), 0);
    }
}
