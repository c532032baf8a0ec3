//! Reading Rust source by lines. rustfmt runs before tidy, so indentation tells where an item ends.

/// A numbered line (from 1).
pub(crate) type Line<'a> = (usize, &'a str);

/// Whether every line of this file is test code.
pub(crate) fn is_test_file(path: &str) -> bool {
    let in_tests = path.contains("/tests/") || path.starts_with("tests/it/");
    in_tests || path.ends_with("/tests.rs") || path.contains("/benches/")
}

/// The lines that are not under `#[cfg(test)]`.
pub(crate) fn without_tests(text: &str) -> Vec<Line<'_>> {
    let mut kept = Vec::new();
    let mut lines = (1..).zip(text.lines()).peekable();
    while let Some((number, line)) = lines.next() {
        if !is_test_attribute(line.trim_start()) {
            kept.push((number, line));
            continue;
        }
        let indent = indentation(line);
        // Further attributes of the same item, then the item itself, to the `;` or `}` at its indentation.
        while lines
            .next_if(|(_, next)| next.trim_start().starts_with("#["))
            .is_some()
        {}
        for (_, line) in lines.by_ref() {
            let own_level = indentation(line) == indent && !line.trim().is_empty();
            if own_level && (line.ends_with(';') || line.ends_with('}') || line.ends_with(',')) {
                break;
            }
        }
    }
    kept
}

fn is_test_attribute(line: &str) -> bool {
    line.starts_with("#[cfg(test)]") || line.starts_with("#[cfg(all(test")
}

/// Number of leading spaces.
pub(crate) fn indentation(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// The part of a line before a `//` comment. A `//` after a colon is taken as an address inside a string.
pub(crate) fn code(line: &str) -> &str {
    let mut from = 0;
    while let Some(at) = line[from..].find("//").map(|at| at + from) {
        if !line[..at].ends_with(':') {
            return &line[..at];
        }
        from = at + 2;
    }
    line
}

/// Whether `text` holds `word` with no letter, digit or underscore on either side.
pub(crate) fn has_word(text: &str, word: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].chars().next_back().is_some_and(inside)
            && !text[at + word.len()..].chars().next().is_some_and(inside)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str) -> Vec<usize> {
        without_tests(text).iter().map(|(number, _)| *number).collect()
    }

    #[test]
    fn test_items_are_left_out_and_nothing_else() {
        let module =
            "fn a() {}\n\n#[cfg(test)]\n#[allow(x)]\nmod tests {\n    fn b() {\n    }\n}\n\nfn c() {}\n";
        assert_eq!(numbers(module), [1, 2, 9, 10]);
        assert_eq!(numbers("#[cfg(test)]\nmod tests;\nfn a() {}\n"), [3]);
        assert_eq!(numbers("#[cfg(test)]\nuse a::{\n    b,\n};\nfn a() {}\n"), [5]);
        assert_eq!(
            numbers("impl A {\n    #[cfg(test)]\n    fn a() {\n    }\n    fn b() {}\n}\n"),
            [1, 5, 6]
        );
        assert_eq!(numbers("#[cfg(not(test))]\nfn a() {}\n"), [1, 2]);
    }

    #[test]
    fn comments_are_cut_and_addresses_kept() {
        assert_eq!(code("let a = 1; // f64"), "let a = 1; ");
        assert_eq!(code("    /// std::fs"), "    ");
        assert_eq!(code("\"https://x\" // y"), "\"https://x\" ");
    }

    #[test]
    fn words_have_edges() {
        assert!(has_word("as f64;", "f64"));
        assert!(!has_word("leaf64", "f64"));
        assert!(!has_word("f64_bits", "f64"));
        assert!(has_word("buf64 f64", "f64"));
    }

    #[test]
    fn test_files_are_known_by_place() {
        assert!(is_test_file("node/io/store/tests/crash.rs"));
        assert!(is_test_file("tests/it/main.rs"));
        assert!(is_test_file("node/core/types/src/transaction/tests.rs"));
        assert!(!is_test_file("tests/src/world.rs"));
        assert!(!is_test_file("node/core/types/src/block.rs"));
    }
}
