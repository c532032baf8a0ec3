//! Nothing half-done is committed.

use super::source::has_word;
use super::tree::Tree;
use super::{Finding, found};

/// Marks in any text file. Split, so that this file does not hold them.
const MARKS: &[&str] = &[concat!("FIX", "ME"), concat!("TO", "DO"), concat!("XX", "X")];

/// Marks in Rust source only.
const CALLS: &[&str] = &[
    concat!("db", "g!"),
    concat!("to", "do!"),
    concat!("unimple", "mented!"),
    concat!("#[ig", "nore"),
    concat!("#[should", "_panic"),
];

/// No unfinished marks, debugging output, switched-off tests, or tests that pass by any panic.
pub(crate) fn none(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        for (number, line) in (1..).zip(file.text().lines()) {
            let marks = MARKS.iter().filter(|mark| has_word(line, mark));
            let calls = CALLS
                .iter()
                .filter(|call| file.is_rust() && line.contains(**call));
            for left in marks.chain(calls) {
                findings.push(found(&file.path, number, format!("left over: {left}")));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_leftover_is_found() {
        for left in MARKS.iter().chain(CALLS) {
            let text = format!("// before {left} after\n");
            assert_eq!(
                none(&Tree::planted(&[("a/src/lib.rs", &text)])).len(),
                1,
                "{left}"
            );
        }
        assert_eq!(
            none(&Tree::planted(&[(
                "docs/a.md",
                &format!("{}: later\n", MARKS[0])
            )]))
            .len(),
            1
        );
    }

    #[test]
    fn words_that_hold_a_mark_pass() {
        let text = format!("let {}s = mktemp; // {}X\n", MARKS[1], MARKS[2]);
        assert!(none(&Tree::planted(&[("a/src/lib.rs", &text)])).is_empty());
    }
}
