//! The record of a test run: sums of what its campaigns counted, with the commit and the machine, so that documents
//! cite numbers that somebody measured. Campaigns write lines with `simulator::record::append`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};

/// Counters by part, then by name.
type Sums = BTreeMap<String, BTreeMap<String, u64>>;

/// A counter that must reach a minimum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expectation {
    part: String,
    counter: String,
    min: u64,
}

/// Parses `PART:COUNTER:MIN`.
///
/// # Errors
/// Says what is accepted.
pub(crate) fn parse_expectation(text: &str) -> Result<Expectation, String> {
    let accepted = "accepted is PART:COUNTER:MIN with MIN from 1 upward, such as 'kill loop:single:200'";
    let mut fields = text.rsplitn(3, ':');
    let (min, counter, part) = (fields.next(), fields.next(), fields.next());
    let (Some(min), Some(counter), Some(part)) = (min, counter, part) else {
        return Err(accepted.to_owned());
    };
    let min = min.parse().ok().filter(|min| *min > 0);
    match min {
        Some(min) if !counter.is_empty() && !part.is_empty() => Ok(Expectation {
            part: part.to_owned(),
            counter: counter.to_owned(),
            min,
        }),
        _ => Err(accepted.to_owned()),
    }
}

/// Sums `lines` into `out` and prints a table.
///
/// # Errors
/// When a line is no record or an expectation is not met; then nothing is written.
pub(crate) fn record(root: &Path, lines: &Path, out: &Path, expected: &[Expectation]) -> Result<()> {
    let text = fs::read_to_string(lines).with_context(|| format!("reading {}", lines.display()))?;
    let sums = sum(&text).with_context(|| format!("reading {}", lines.display()))?;
    print!("{}", table(&sums));
    let missed = missed(&sums, expected);
    if !missed.is_empty() {
        bail!(
            "the record does not hold what was expected: {}",
            missed.join("; ")
        );
    }
    let document = json!({
        "commit": commit(root),
        "date": humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        "machine": machine(),
        "rustc": first_line("rustc", &["--version"], root),
        "parts": sums,
    });
    let mut text = serde_json::to_string_pretty(&document).context("writing JSON")?;
    text.push('\n');
    fs::write(out, text).with_context(|| format!("writing {}", out.display()))?;
    println!("written to {}", out.display());
    Ok(())
}

/// Sums counters of equal part and name.
fn sum(text: &str) -> Result<Sums> {
    let mut sums = Sums::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        let entry: Map<String, Value> =
            serde_json::from_str(line).with_context(|| format!("line {number} is no JSON object"))?;
        let part = entry.get("part").and_then(Value::as_str);
        let part = part.with_context(|| format!("line {number} has no text under \"part\""))?;
        let counters = sums.entry(part.to_owned()).or_default();
        for (name, count) in entry.iter().filter(|(name, _)| *name != "part") {
            let count = count
                .as_u64()
                .with_context(|| format!("line {number}: {name} is {count}, accepted is a whole number"))?;
            let total = counters.entry(name.clone()).or_default();
            *total = total
                .checked_add(count)
                .with_context(|| format!("line {number}: the sum of {name} is above 2^64"))?;
        }
    }
    ensure!(!sums.is_empty(), "no campaign wrote a line");
    Ok(sums)
}

/// Expectations that the sums do not meet, in words.
fn missed(sums: &Sums, expected: &[Expectation]) -> Vec<String> {
    let value = |wanted: &Expectation| sums.get(&wanted.part)?.get(&wanted.counter).copied();
    let mut missed = Vec::new();
    for wanted in expected {
        let Expectation { part, counter, min } = wanted;
        match value(wanted) {
            None => missed.push(format!("{part}: no {counter}, at least {min} expected")),
            Some(found) if found < *min => {
                missed.push(format!("{part}: {found} {counter}, at least {min} expected"));
            }
            Some(_) => {}
        }
    }
    missed
}

fn table(sums: &Sums) -> String {
    let rows = sums
        .iter()
        .flat_map(|(part, counters)| counters.iter().map(move |(name, count)| (part, name, count)));
    let width = |lengths: &mut dyn Iterator<Item = usize>| lengths.max().unwrap_or(0);
    let parts = width(&mut rows.clone().map(|(part, ..)| part.len()));
    let names = width(&mut rows.clone().map(|(_, name, _)| name.len()));
    let mut out = String::new();
    for (part, name, count) in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{part:<parts$}  {name:<names$}  {count:>14}");
    }
    out
}

/// The commit, marked when the tree differs from it.
fn commit(root: &Path) -> Value {
    let Some(commit) = first_line("git", &["rev-parse", "HEAD"], root) else {
        return Value::Null;
    };
    let is_changed = first_line("git", &["status", "--porcelain"], root).is_some();
    Value::from(if is_changed {
        format!("{commit}, changed")
    } else {
        commit
    })
}

fn machine() -> Value {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_owned());
    json!({
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "cpu": model,
        "kernel": first_line("uname", &["-sr"], Path::new(".")),
    })
}

/// First line of what a program prints; none when it fails or prints nothing.
fn first_line(program: &str, arguments: &[&str], folder: &Path) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().next().filter(|line| !line.is_empty())?;
    output.status.success().then(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = "{\"part\":\"kill loop\",\"single\":6,\"whole\":1}\n\n{\"part\":\"kill loop\",\"single\":7}\n{\"part\":\"seeds\",\"runs\":3}\n";

    #[test]
    fn counters_of_a_part_are_added_and_expectations_compared() {
        let sums = sum(LINES).unwrap();
        assert_eq!(sums["kill loop"]["single"], 13);
        assert_eq!(sums["kill loop"]["whole"], 1);
        let met = ["kill loop:single:13", "seeds:runs:1"];
        let met: Vec<_> = met.iter().map(|text| parse_expectation(text).unwrap()).collect();
        assert!(missed(&sums, &met).is_empty());
        for text in ["kill loop:single:14", "kill loop:none:1", "absent:runs:1"] {
            let unmet = missed(&sums, &[parse_expectation(text).unwrap()]);
            assert_eq!(unmet.len(), 1, "{text}: {unmet:?}");
            assert!(unmet[0].contains("expected"), "{unmet:?}");
        }
    }

    #[test]
    fn a_counter_that_stayed_at_zero_is_missed() {
        let sums = sum("{\"part\":\"a\",\"n\":0}").unwrap();
        assert_eq!(missed(&sums, &[parse_expectation("a:n:1").unwrap()]).len(), 1);
        for text in ["a:n:0", "a:n", "a", "a::1", ":n:1", "a:n:x", ""] {
            assert!(
                parse_expectation(text).unwrap_err().contains("accepted"),
                "{text}"
            );
        }
        assert_eq!(
            parse_expectation("a:b:n:2").unwrap().part,
            "a:b",
            "a part may hold a colon"
        );
    }

    #[test]
    fn lines_that_are_no_record_are_refused_by_number() {
        for line in [
            "no json",
            "[1]",
            "{\"n\":1}",
            "{\"part\":\"a\",\"n\":1.5}",
            "{\"part\":\"a\",\"n\":-1}",
        ] {
            let error = format!(
                "{:#}",
                sum(&format!("{{\"part\":\"b\",\"n\":1}}\n{line}\n")).unwrap_err()
            );
            assert!(error.contains("line 2"), "{line}: {error}");
        }
        assert!(sum("\n").is_err(), "an empty record is no record");
    }

    #[test]
    fn the_file_holds_sums_and_where_they_were_measured_or_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let (lines, out) = (folder.path().join("lines"), folder.path().join("out.json"));
        fs::write(&lines, LINES).unwrap();
        let too_much = [parse_expectation("seeds:runs:4").unwrap()];
        let error = record(folder.path(), &lines, &out, &too_much).unwrap_err();
        assert!(error.to_string().contains("3 runs, at least 4"), "{error}");
        assert!(!out.exists());
        record(folder.path(), &lines, &out, &[]).unwrap();
        let document: Value = serde_json::from_str(&fs::read_to_string(&out).unwrap()).unwrap();
        assert_eq!(document["parts"]["kill loop"]["single"], 13);
        assert!(
            document["machine"]["cores"]
                .as_u64()
                .is_some_and(|cores| cores > 0)
        );
        assert!(document["date"].as_str().is_some_and(|date| date.ends_with('Z')));
    }
}
