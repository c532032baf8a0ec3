//! Names say what a thing is. A file called after nothing in particular collects everything.

use super::source::code;
use super::tree::Tree;
use super::{Finding, found};

const BANNED: &[&str] = &["utils", "util", "common", "helper", "helpers", "manager"];

/// No file, folder or module is named by a word that says nothing.
pub(crate) fn telling(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        for part in file.path.split('/') {
            let stem = part
                .split_once('.')
                .map_or(part, |(stem, _)| if stem.is_empty() { part } else { stem });
            if let Some(word) = banned(stem) {
                findings.push(found(
                    &file.path,
                    0,
                    format!("{word} says nothing: name it by what it does"),
                ));
            }
        }
        if file.is_rust() {
            for (number, line) in (1..).zip(file.text().lines()) {
                if let Some(word) = inline_module(code(line)).and_then(banned) {
                    findings.push(found(
                        &file.path,
                        number,
                        format!("mod {word} says nothing: name it by what it does"),
                    ));
                }
            }
        }
    }
    findings
}

fn banned(name: &str) -> Option<&'static str> {
    BANNED
        .iter()
        .find(|word| name.split(['_', '-']).any(|part| part == **word))
        .copied()
}

/// The name of a module with a body on this line; `mod name;` is found by its file.
fn inline_module(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = line.strip_prefix("pub ").unwrap_or(line);
    let line = if line.starts_with("pub(") {
        line.split_once(") ")?.1
    } else {
        line
    };
    line.strip_prefix("mod ")?.strip_suffix('{').map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str) -> usize {
        telling(&Tree::planted(&[(path, text)])).len()
    }

    #[test]
    fn each_banned_name_is_found() {
        for word in BANNED {
            assert_eq!(check(&format!("a/src/{word}.rs"), ""), 1, "{word}");
            assert_eq!(check(&format!("a/{word}/b.rs"), ""), 1, "{word}");
            assert_eq!(check(&format!("a/src/net_{word}.rs"), ""), 1, "{word}");
            assert_eq!(
                check("a/src/lib.rs", &format!("pub(crate) mod {word} {{\n}}\n")),
                1,
                "{word}"
            );
        }
    }

    #[test]
    fn other_names_pass() {
        assert_eq!(check("a/src/committee.rs", "mod utilisation {\n}\n"), 0);
        assert_eq!(check(".github/x.yml", ""), 0);
    }
}
