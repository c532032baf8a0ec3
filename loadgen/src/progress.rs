//! What stderr shows while something takes its time: a bar on a terminal, a line every ten seconds elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::config::Progress as Form;

/// Pause between lines without a terminal.
const LINE_PAUSE: Duration = Duration::from_secs(10);
/// Pause between updates elsewhere.
const TICK_PAUSE: Duration = Duration::from_millis(500);

/// Writes progress to stderr.
#[derive(Debug)]
pub struct Progress {
    sink: Sink,
    last: Mutex<Option<Instant>>,
}

#[derive(Debug)]
enum Sink {
    Bar(ProgressBar),
    Line,
    Json,
    Off,
}

impl Progress {
    /// The form that was asked for; `auto` looks for a terminal.
    #[must_use]
    pub fn new(form: Form) -> Self {
        let sink = match form {
            Form::Auto if std::io::stderr().is_terminal() => Sink::Bar(bar()),
            Form::Auto | Form::Line => Sink::Line,
            Form::Json => Sink::Json,
            Form::Off => Sink::Off,
        };
        Self {
            sink,
            last: Mutex::new(None),
        }
    }

    /// Something that is told once.
    pub fn note(&self, text: &str) {
        match &self.sink {
            Sink::Bar(bar) => bar.println(text),
            Sink::Line => write_line(text),
            Sink::Json => write_line(&json("note", text)),
            Sink::Off => {}
        }
    }

    /// How far something is; told as often as the form allows.
    pub fn tick(&self, text: impl FnOnce() -> String) {
        let pause = match &self.sink {
            Sink::Bar(_) | Sink::Json => TICK_PAUSE,
            Sink::Line => LINE_PAUSE,
            Sink::Off => return,
        };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| last.elapsed() < pause) {
            return;
        }
        *last = Some(Instant::now());
        drop(last);
        match &self.sink {
            Sink::Bar(bar) => {
                bar.set_message(text());
                bar.tick();
            }
            Sink::Line => write_line(&text()),
            Sink::Json => write_line(&json("progress", &text())),
            Sink::Off => {}
        }
    }

    /// A callback that tells how many of how many are done.
    pub fn counting(&self, what: &'static str) -> impl Fn(u64, u64) + Sync {
        move |done, total| {
            self.tick(|| {
                let percent = done * 100 / total.max(1);
                format!("{what} {percent} % ({done} of {total})")
            });
        }
    }

    /// Takes a bar away, so that the result stands alone.
    pub fn clear(&self) {
        if let Sink::Bar(bar) = &self.sink {
            bar.finish_and_clear();
        }
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    match ProgressStyle::with_template("{spinner} {elapsed_precise} {msg}") {
        Ok(style) => bar.with_style(style),
        // The template is a constant; without it the default shows the same message.
        Err(_) => bar,
    }
}

fn write_line(text: &str) {
    // A closed stderr must not end a run.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

fn json(kind: &str, text: &str) -> String {
    serde_json::json!({ kind: text }).to_string()
}
