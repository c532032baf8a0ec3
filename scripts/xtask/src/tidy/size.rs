//! Caps on files and functions. Tests are exempt.

use super::source::{Line, indentation, is_test_file, without_tests};
use super::tree::Tree;
use super::{Finding, found};

/// No file is longer (lines, tests not counted).
const FILE_LINES_MAX: usize = 800;
/// Longer files are named as advice (lines, tests not counted).
const FILE_LINES_ADVISED: usize = 500;
/// No function is longer, from `fn` to its closing brace (lines).
const FUNCTION_LINES_MAX: usize = 100;
/// Longer functions are named as advice (lines).
const FUNCTION_LINES_ADVISED: usize = 70;

/// Files and functions stay under the hard caps.
pub(crate) fn caps(tree: &Tree) -> Vec<Finding> {
    longer_than(tree, FILE_LINES_MAX, FUNCTION_LINES_MAX)
}

/// Files and functions above what docs/style.md asks for: worth a look, not a failure.
pub(crate) fn advice(tree: &Tree) -> Vec<Finding> {
    longer_than(tree, FILE_LINES_ADVISED, FUNCTION_LINES_ADVISED)
}

fn longer_than(tree: &Tree, file_lines_max: usize, function_lines_max: usize) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust().filter(|file| !is_test_file(&file.path)) {
        let lines = without_tests(file.text());
        if lines.len() > file_lines_max {
            let message = format!("{} lines without tests, at most {file_lines_max}", lines.len());
            findings.push(found(&file.path, 0, message));
        }
        for function in functions(&lines)
            .into_iter()
            .filter(|function| function.lines > function_lines_max)
        {
            let message = format!(
                "fn {}: {} lines, at most {function_lines_max}",
                function.name, function.lines
            );
            findings.push(found(&file.path, function.at, message));
        }
    }
    findings
}

struct Function<'a> {
    name: &'a str,
    at: usize,
    lines: usize,
}

/// Functions with a body of their own lines, by rustfmt's indentation: the closing brace stands under `fn`.
fn functions<'a>(lines: &[Line<'a>]) -> Vec<Function<'a>> {
    let mut functions = Vec::new();
    for (index, (number, line)) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let end = line.trim_end();
        if end.ends_with(';') || end.ends_with('}') {
            continue;
        }
        let indent = indentation(line);
        let last = lines[index + 1..].iter().find(|(_, line)| {
            let own_level = indentation(line) == indent;
            own_level && (line[indent..].starts_with('}') || line.trim_end().ends_with(';'))
        });
        if let Some((last, _)) = last {
            functions.push(Function {
                name,
                at: *number,
                lines: last - number + 1,
            });
        }
    }
    functions
}

/// The name in a line that starts a function.
fn function_name(line: &str) -> Option<&str> {
    let mut words = line.trim_start();
    loop {
        if let Some(rest) = words.strip_prefix("fn ") {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
            return Some(&rest[..end]).filter(|name| !name.is_empty());
        }
        let qualifier = ["pub ", "const ", "async ", "unsafe ", "extern \"C\" "];
        words = match qualifier.iter().find_map(|word| words.strip_prefix(word)) {
            Some(rest) => rest,
            None => words.strip_prefix("pub(")?.split_once(") ")?.1,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(signature: &str, lines: usize) -> String {
        format!("{signature} {{\n{}}}\n", "    step();\n".repeat(lines - 2))
    }

    fn check(path: &str, text: &str) -> Vec<String> {
        caps(&Tree::planted(&[(path, text)]))
            .into_iter()
            .map(|finding| finding.message)
            .collect()
    }

    #[test]
    fn functions_at_the_cap_pass_and_above_fail() {
        for signature in [
            "fn a()",
            "pub fn a<T>(t: T)",
            "pub(crate) const fn a()",
            "async fn a()",
        ] {
            assert_eq!(
                check("a/src/lib.rs", &function(signature, FUNCTION_LINES_MAX)),
                [""; 0]
            );
            let over = check("a/src/lib.rs", &function(signature, FUNCTION_LINES_MAX + 1));
            assert_eq!(over, ["fn a: 101 lines, at most 100"], "{signature}");
        }
    }

    #[test]
    fn a_long_signature_counts_and_neighbours_do_not() {
        let text = format!(
            "fn a(\n    b: u64,\n) -> u64 {{\n{}}}\n\nfn c() {{}}\n",
            "    step();\n".repeat(97)
        );
        assert_eq!(check("a/src/lib.rs", &text), ["fn a: 101 lines, at most 100"]);
        let declarations = "    fn a(&self) -> u64;\n    fn b(\n        c: u64,\n    ) -> u64;\n";
        let text = format!("trait T {{\n{}}}\n", declarations.repeat(60));
        assert_eq!(check("a/src/lib.rs", &text), [""; 0]);
    }

    #[test]
    fn tests_are_exempt() {
        let long = function("    fn a()", 150).replace("\n}", "\n    }");
        assert_eq!(
            check("a/src/lib.rs", &format!("#[cfg(test)]\nmod tests {{\n{long}}}\n")),
            [""; 0]
        );
        assert_eq!(check("a/tests/net.rs", &function("fn a()", 150)), [""; 0]);
        assert_eq!(check("a/src/b/tests.rs", &"// x\n".repeat(900)), [""; 0]);
    }

    #[test]
    fn files_at_the_cap_pass_and_above_fail() {
        let text = "const A: u64 = 1;\n".repeat(FILE_LINES_MAX);
        assert_eq!(check("a/src/lib.rs", &text), [""; 0]);
        let tests = "#[cfg(test)]\nmod tests {\n}\n";
        assert_eq!(check("a/src/lib.rs", &format!("{text}{tests}")), [""; 0]);
        assert_eq!(check("a/src/lib.rs", &format!("{text}// one more\n")).len(), 1);
        assert_eq!(advice(&Tree::planted(&[("a.rs", &text)])).len(), 1);
    }
}
