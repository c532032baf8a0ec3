//! Relative links in Markdown lead somewhere.

use super::tree::Tree;
use super::{Finding, found};

/// Every relative link of every `.md` file names a file or folder of the repository.
pub(crate) fn lead_somewhere(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.ends_with(".md")) {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut fenced = false;
        for (number, line) in (1..).zip(file.text().lines()) {
            if line.trim_start().starts_with("```") {
                fenced = !fenced;
            }
            if fenced {
                continue;
            }
            for target in targets(line).filter(|target| !is_elsewhere(target)) {
                let path = target.split_once('#').map_or(target, |(path, _)| path);
                if !resolve(folder, path).is_some_and(|path| tree.exists(&path)) {
                    findings.push(found(&file.path, number, format!("dead link: {target}")));
                }
            }
        }
    }
    findings
}

/// What stands between `](` and `)`, or after `]: ` at the start of a definition, outside code spans.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let outside_code = line.split('`').step_by(2);
    let inline = outside_code.flat_map(|part| {
        part.match_indices("](")
            .filter_map(move |(at, _)| Some(part[at + 2..].split_once(')')?.0))
    });
    let definition = line
        .trim_start()
        .starts_with('[')
        .then(|| line.split_once("]: "))
        .flatten();
    let definition = definition.map(|(_, target)| target);
    inline
        .chain(definition)
        .filter_map(|target| target.split_whitespace().next())
}

fn is_elsewhere(target: &str) -> bool {
    target.starts_with('#') || target.contains("://") || target.starts_with("mailto:")
}

/// `path` seen from `folder`; `None` when it leaves the repository.
fn resolve(folder: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            _ => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str) -> usize {
        let files = [
            ("docs/a.md", line),
            ("docs/b.md", "x\n"),
            ("LICENSE", "x\n"),
            ("node/src/main.rs", "\n"),
        ];
        lead_somewhere(&Tree::planted(&files)).len()
    }

    #[test]
    fn live_links_pass() {
        for line in [
            "[b](b.md) and [licence](../LICENSE#top)\n",
            "[node](../node/) [root](..) [own](#part) ![p](./b.md \"title\")\n",
            "[site](https://example.org/x.md) [mail](mailto:a@example.org)\n",
            "[ref]: b.md\n",
            "`[not](a-link.md)`\n",
            "```\n[not](a-link.md)\n```\n",
        ] {
            assert_eq!(check(line), 0, "{line}");
        }
    }

    #[test]
    fn dead_links_are_found() {
        for line in [
            "[b](c.md)\n",
            "[up](../../LICENSE)\n",
            "x `code` [b](../docs/c.md#b)\n",
            "[ref]: c.md\n",
            "[n](../nod)\n",
        ] {
            assert_eq!(check(line), 1, "{line}");
        }
        assert_eq!(check("[b](b.md) [c](c.md) [d](d.md)\n"), 2);
    }
}
