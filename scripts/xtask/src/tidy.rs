//! Rules that the compiler and clippy do not know. Each is one function from the tree to findings, tested against a
//! planted violation here and against the real tree below.

mod dependencies;
mod edges;
mod hygiene;
mod leftovers;
mod licences;
mod links;
mod manifests;
mod names;
mod purity;
mod shell;
mod size;
mod source;
mod tree;

use std::fmt;
use std::path::Path;

use anyhow::Result;

use tree::Tree;

/// What a rule found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Path from the root.
    pub(crate) path: String,
    /// Line from 1; 0 = the whole file.
    pub(crate) line: usize,
    /// What is wrong and what is accepted.
    pub(crate) message: String,
}

/// Builds a finding; `line` 0 = the whole file.
pub(crate) fn found(path: &str, line: usize, message: impl Into<String>) -> Finding {
    Finding {
        path: path.to_owned(),
        line,
        message: message.into(),
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.message),
            line => write!(f, "{}:{line}: {}", self.path, self.message),
        }
    }
}

type Rule = fn(&Tree) -> Vec<Finding>;

/// Rules over the files, in the order of the report.
const RULES: &[(&str, Rule)] = &[
    ("dependencies between our crates", edges::allowed),
    ("purity of node/core", purity::core_is_pure),
    ("node/core/clippy.toml", purity::clippy_guards_core),
    ("manifests inherit", manifests::inherited),
    ("dependencies declared once", manifests::declared_once),
    ("file and function caps", size::caps),
    ("leftovers", leftovers::none),
    ("names", names::telling),
    ("file sizes and line ends", hygiene::files),
    ("places", hygiene::places),
    ("shell scripts", shell::strict),
    ("links", links::lead_somewhere),
];

/// All findings of one run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Failures, rule by rule.
    pub(crate) failures: Vec<(&'static str, Vec<Finding>)>,
    /// Above the advised size, below the cap.
    pub(crate) advice: Vec<Finding>,
    /// Rules that ran.
    pub(crate) rules: usize,
    /// Files looked at.
    pub(crate) files: usize,
}

/// Runs every rule over the repository at `root`.
pub(crate) fn run(root: &Path) -> Result<Report> {
    let tree = Tree::load(root)?;
    let packages = dependencies::resolved(root)?;
    let mut results: Vec<_> = RULES.iter().map(|(name, rule)| (*name, rule(&tree))).collect();
    results.push(("licences", dependencies::licences(&packages)));
    results.push(("minimum versions", dependencies::versions(&packages)));
    let rules = results.len();
    results.retain(|(_, findings)| !findings.is_empty());
    Ok(Report {
        failures: results,
        advice: size::advice(&tree),
        rules,
        files: tree.files.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
    }

    #[test]
    fn the_real_tree_is_tidy() {
        let report = run(root()).unwrap();
        let lines: Vec<String> = report
            .failures
            .iter()
            .flat_map(|(rule, findings)| findings.iter().map(move |finding| format!("{rule}: {finding}")))
            .collect();
        assert!(
            lines.is_empty(),
            "{} findings:\n{}",
            lines.len(),
            lines.join("\n")
        );
    }

    #[test]
    fn the_real_tree_is_really_read() {
        let tree = Tree::load(root()).unwrap();
        for path in [
            "Cargo.toml",
            "node/core/clippy.toml",
            "scripts/xtask/src/tidy.rs",
            ".ci/run",
        ] {
            assert!(
                tree.get(path).is_some_and(|file| !file.text().is_empty()),
                "{path}"
            );
        }
        let packages = dependencies::resolved(root()).unwrap();
        assert!(packages.iter().any(|package| package.name == "rocksdb"));
        assert!(packages.iter().any(|package| package.name == "types"));
    }

    #[test]
    fn findings_name_their_place() {
        assert_eq!(found("a.rs", 3, "wrong").to_string(), "a.rs:3: wrong");
        assert_eq!(found("a.rs", 0, "wrong").to_string(), "a.rs: wrong");
    }
}
