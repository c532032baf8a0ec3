//! Prints a report in the form that was asked for.

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
