//! Settings from a file: TOML with the keys of the command line, or the report of a run, which repeats it.

use std::path::Path;

use serde_json::{Map, Value};

use crate::cli::RawConfig;
use crate::usage::{UsageError, nearest};

/// Fills what the command line left open from a file.
///
/// # Errors
/// Names the file, and the key or the place that cannot be read.
pub fn merge_file(raw: &RawConfig, path: &Path) -> Result<RawConfig, UsageError> {
    let shown = path.display().to_string();
    let fail = |problem: &str| {
        UsageError::new(
            "--config",
            &shown,
            problem,
            "a TOML file with keys such as tps = \"5k\", or the report of a run",
        )
    };
    let text = std::fs::read_to_string(path).map_err(|error| fail(&format!("cannot be read ({error})")))?;
    let is_report = text.trim_start().starts_with('{');
    let entries = if is_report {
        let report: Value =
            serde_json::from_str(&text).map_err(|error| fail(&format!("not a whole report ({error})")))?;
        match report.pointer("/run/config") {
            Some(Value::Object(entries)) => entries.clone(),
            _ => return Err(fail("has no run.config")),
        }
    } else {
        let table: toml::Table = text
            .parse()
            .map_err(|error: toml::de::Error| fail(&first_line(&error.to_string())))?;
        match serde_json::to_value(table) {
            Ok(Value::Object(entries)) => entries,
            _ => return Err(fail("is not a table of settings")),
        }
    };
    let file = settings(entries, &shown)?;
    overlay(raw, file).map_err(|error| fail(&error.to_string()))
}

fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let reason = text.lines().last().unwrap_or_default();
    if line == reason {
        line.to_owned()
    } else {
        format!("{line}: {reason}")
    }
}

/// Keys as the settings have them, values as texts.
fn settings(entries: Map<String, Value>, file: &str) -> Result<Map<String, Value>, UsageError> {
    let keys = keys();
    let spellings: Vec<&str> = keys.iter().map(String::as_str).collect();
    let mut settings = Map::new();
    for (key, value) in entries {
        let name = key.replace('-', "_");
        let fail =
            |problem: &str, accepted: &str| UsageError::new(&format!("{file}: {key}"), "", problem, accepted);
        if !keys.contains(&name) {
            let mut error = fail("unknown key", "the long flags without their dashes");
            error.nearest = nearest(&name, &spellings).map(str::to_owned);
            return Err(error);
        }
        let scalar = |value: &Value| match value {
            Value::String(text) => Some(Value::String(text.clone())),
            Value::Number(number) => Some(Value::String(number.to_string())),
            _ => None,
        };
        let is_list = matches!(name.as_str(), "slo" | "tag");
        let text = match &value {
            Value::Array(items) if is_list => items
                .iter()
                .map(scalar)
                .collect::<Option<Vec<_>>>()
                .map(Value::Array),
            other if is_list => scalar(other).map(|text| Value::Array(vec![text])),
            other => scalar(other),
        };
        let text = text.ok_or_else(|| {
            fail(
                "not a value of a flag",
                "a text or a number, a list for slo and tag",
            )
        })?;
        settings.insert(name, text);
    }
    Ok(settings)
}

/// Every key that a setting can have.
fn keys() -> Vec<String> {
    let schema = schemars::schema_for!(RawConfig).to_value();
    match schema.get("properties") {
        Some(Value::Object(properties)) => properties.keys().cloned().collect(),
        _ => Vec::new(),
    }
}

/// The command line over the file.
fn overlay(raw: &RawConfig, mut file: Map<String, Value>) -> Result<RawConfig, serde_json::Error> {
    if let Value::Object(given) = serde_json::to_value(raw)? {
        // One or the other: a flag replaces its alternative in the file.
        for (flag, others) in [("stages", ["tps", "duration"]), ("tps", ["stages", "stages"])] {
            if given.contains_key(flag) {
                others.iter().for_each(|other| {
                    file.remove(*other);
                });
            }
        }
        file.extend(given);
    }
    serde_json::from_value(Value::Object(file))
}
