//! `node/core` knows no clock, socket, disk, thread, entropy or float, and keeps no state outside its machines.
//! Clippy enforces most of it through node/core/clippy.toml; this rule covers what clippy cannot name, and the
//! file itself.

use toml::Table;

use super::source::{code, has_word, is_test_file, without_tests};
use super::tree::Tree;
use super::{Finding, found};

const CORE: &str = "node/core/";
const CLIPPY: &str = "node/core/clippy.toml";

/// Text that no pure crate holds outside its tests.
const PATHS: &[(&str, &str)] = &[
    ("std::time::Instant", "take `now: Time` as an argument"),
    ("SystemTime", "take `now: Time` as an argument"),
    ("std::fs", "return an effect"),
    ("std::net", "return an effect"),
    ("std::thread", "return an effect"),
    ("std::env", "take it as an argument"),
    ("tokio", "return an effect"),
    ("RandomState", "key the hasher from the node's seed"),
];

const WORDS: &[(&str, &str)] = &[
    ("f32", "floats round differently between machines: use integers"),
    ("f64", "floats round differently between machines: use integers"),
    ("println!", "return a metric"),
    ("print!", "return a metric"),
    ("eprintln!", "return a metric"),
    ("eprint!", "return a metric"),
    (
        "thread_local!",
        "keep it in the machine: validators of one process share nothing",
    ),
];

const SHARED: &[&str] = &["Mutex", "RwLock", "OnceLock", "LazyLock", "Atomic"];

/// What clippy must refuse in core.
const BANNED_BY_CLIPPY: &[&str] = &[
    "std::time::Instant::now",
    "std::time::SystemTime::now",
    "std::thread::spawn",
    "std::thread::sleep",
    "std::collections::HashMap",
    "std::collections::HashSet",
    "std::hash::RandomState",
    "std::env::var",
    "std::fs::read",
    "std::fs::write",
    "std::net::TcpStream",
    "std::net::UdpSocket",
];

/// Sources of core hold nothing impure.
pub(crate) fn core_is_pure(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let sources = tree
        .rust()
        .filter(|file| file.path.starts_with(CORE) && !is_test_file(&file.path));
    for file in sources {
        for (number, line) in without_tests(file.text()) {
            let line = code(line);
            let paths = PATHS.iter().filter(|(text, _)| line.contains(text));
            let words = WORDS.iter().filter(|(text, _)| has_word(line, text));
            for (text, instead) in paths.chain(words) {
                findings.push(found(
                    &file.path,
                    number,
                    format!("{text} in a pure crate: {instead}"),
                ));
            }
            if let Some(shared) = shared_static(line) {
                let message =
                    format!("static {shared} in a pure crate: validators of one process share nothing");
                findings.push(found(&file.path, number, message));
            }
        }
    }
    findings
}

/// The shared cell that a `static` item on this line declares.
fn shared_static(line: &str) -> Option<&'static str> {
    let item = line.trim_start();
    let item = if item.starts_with("pub") {
        item.split_once(' ')?.1
    } else {
        item
    };
    let declared = item.strip_prefix("static ")?;
    SHARED.iter().find(|cell| declared.contains(*cell)).copied()
}

/// node/core/clippy.toml exists, bans the list above, gives a reason each, and repeats the root's keys.
pub(crate) fn clippy_guards_core(tree: &Tree) -> Vec<Finding> {
    let parse = |path: &str| tree.get(path).and_then(|file| file.text().parse::<Table>().ok());
    let Some(core) = parse(CLIPPY) else {
        return vec![found(
            CLIPPY,
            0,
            "missing or not TOML: without it clippy does not guard the pure crates",
        )];
    };
    let mut findings = Vec::new();
    let entries = ["disallowed-types", "disallowed-methods"]
        .into_iter()
        .filter_map(|key| core.get(key)?.as_array());
    let entries: Vec<_> = entries.flatten().collect();
    for path in BANNED_BY_CLIPPY {
        if !entries
            .iter()
            .any(|entry| entry.get("path").and_then(|value| value.as_str()) == Some(path))
        {
            findings.push(found(CLIPPY, 0, format!("{path} is not disallowed")));
        }
    }
    for entry in entries.iter().filter(|entry| entry.get("reason").is_none()) {
        findings.push(found(
            CLIPPY,
            0,
            format!("{entry}: give a reason that names the replacement"),
        ));
    }
    for (key, value) in &parse(".clippy.toml").unwrap_or_default() {
        if core.get(key) != Some(value) {
            findings.push(found(
                CLIPPY,
                0,
                format!("repeat `{key} = {value}` of .clippy.toml: clippy does not merge"),
            ));
        }
    }
    // A clippy.toml nearer to a crate would hide this one.
    let nearer = tree.files.iter().filter(|file| {
        file.path.starts_with(CORE)
            && file.path != CLIPPY
            && file.name().trim_start_matches('.') == "clippy.toml"
    });
    findings.extend(nearer.map(|file| {
        found(
            &file.path,
            0,
            format!("hides {CLIPPY} from this crate: remove it"),
        )
    }));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_core(text: &str) -> usize {
        core_is_pure(&Tree::planted(&[("node/core/ledger/src/apply.rs", text)])).len()
    }

    #[test]
    fn each_impurity_is_found() {
        for line in [
            "use std::time::Instant;",
            "let now = SystemTime::now();",
            "std::fs::read(path)",
            "use std::net::SocketAddr;",
            "std::thread::spawn(run);",
            "std::env::var(name)",
            "use tokio::sync::mpsc;",
            "let share = 1 as f64;",
            "fn rate() -> f32 {",
            "    println!(\"x\");",
            "thread_local! {",
            "static CACHE: Mutex<u64> = Mutex::new(0);",
            "pub static SEEN: LazyLock<u64> = LazyLock::new(make);",
            "static COUNT: AtomicU64 = AtomicU64::new(0);",
            "pub(crate) static TABLE: OnceLock<&'static str> = OnceLock::new();",
            "    static mut LAST: RwLock<u64> = RwLock::new(0);",
        ] {
            assert_eq!(in_core(line), 1, "{line}");
        }
    }

    #[test]
    fn what_only_looks_impure_passes() {
        for line in [
            "// std::fs is not used here",
            "/// as f64 would round",
            "let leaf32 = leaf(32);",
            "fn of(cell: &'static Mutex<u64>) {}",
            "static TABLE: [u64; 2] = [1, 2];",
            "use std::time::Duration;",
            "ring: AtomicU64,",
        ] {
            assert_eq!(in_core(line), 0, "{line}");
        }
        assert_eq!(in_core("#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n"), 0);
        let elsewhere = [
            ("node/io/store/src/lib.rs", "use std::fs;\n"),
            ("node/core/a/src/tests.rs", "use std::fs;\n"),
        ];
        assert!(core_is_pure(&Tree::planted(&elsewhere)).is_empty());
    }

    fn clippy_file(leave_out: &str) -> String {
        let entry = |path: &&str| format!("{{ path = {path:?}, reason = \"x\" }},\n");
        let paths: String = BANNED_BY_CLIPPY
            .iter()
            .filter(|path| **path != leave_out)
            .map(entry)
            .collect();
        format!("limit = 7\ndisallowed-methods = [\n{paths}]\n")
    }

    fn guard(core: &str) -> usize {
        clippy_guards_core(&Tree::planted(&[(".clippy.toml", "limit = 7\n"), (CLIPPY, core)])).len()
    }

    #[test]
    fn the_clippy_file_is_checked() {
        assert_eq!(guard(&clippy_file("")), 0);
        for path in BANNED_BY_CLIPPY {
            assert_eq!(guard(&clippy_file(path)), 1, "{path}");
        }
        assert_eq!(guard(&clippy_file("").replacen(", reason = \"x\"", "", 1)), 1);
        assert_eq!(guard(&clippy_file("").replace("limit = 7", "limit = 8")), 1);
        assert_eq!(guard("not toml ["), 1);
        assert_eq!(clippy_guards_core(&Tree::planted(&[])).len(), 1);
        let nearer = [
            (CLIPPY, &*clippy_file("")),
            ("node/core/types/.clippy.toml", "limit = 7\n"),
        ];
        assert_eq!(clippy_guards_core(&Tree::planted(&nearer)).len(), 1);
    }
}
