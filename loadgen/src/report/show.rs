//! Prints a report in the form that was asked for.

use std::io::Write as _;
use std::path::Path;

use super::text::Style;
use super::{Report, markdown, text};
use crate::config::Format;

/// What stdout gets.
#[must_use]
pub fn render(report: &Report, path: Option<&Path>, format: Format, style: Style) -> String {
    match format {
        Format::Text => text::block(report, path, style),
        Format::Markdown => markdown::table(report),
        Format::Json => match serde_json::to_string_pretty(report) {
            Ok(json) => json + "\n",
            // Keys are texts and numbers finite: nothing in a report can fail to be written.
            Err(error) => format!("{{\"error\": \"{error}\"}}\n"),
        },
        Format::Quiet => String::new(),
    }
}

/// Writes to stdout. A reader that has seen enough (`| head`) is no error.
pub fn emit(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}
