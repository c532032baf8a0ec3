//! What is wrong with a TOML file, on one line.

/// The message of the parser with the line that it speaks of.
pub(crate) fn toml_problem(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().lines().collect::<Vec<_>>().join(", ");
    match error.span() {
        // A key that is not there has no line.
        Some(span) if !message.starts_with("missing field") => {
            let before = text.get(..span.start).unwrap_or(text);
            let line = before.matches('\n').count().saturating_add(1);
            format!("line {line}: {message}")
        }
        _ => message,
    }
}
