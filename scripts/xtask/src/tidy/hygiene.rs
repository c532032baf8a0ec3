//! What may be committed at all: size, line ends, and nothing that ties the repository to one machine.

use super::tree::{FILE_BYTES_MAX, Tree};
use super::{Finding, found};

/// Where Cargo.lock may say that a crate comes from.
const REGISTRY: &str = concat!("registry+https://github.com/rust-lang/crates", ".io-index");

/// Parts of package registries' and mirrors' host names. Split, so that this file does not hold them.
const HOSTS: &[&str] = &[
    concat!("crates", ".io"),
    concat!("pypi", ".org"),
    concat!("npmjs", ".org"),
    concat!("arti", "factory"),
    concat!("://nex", "us"),
    concat!("://regis", "try."),
    concat!("://mir", "ror."),
];

/// No file above 1 MiB; text ends with a newline and has no carriage returns.
pub(crate) fn files(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        if file.bytes > FILE_BYTES_MAX {
            findings.push(found(
                &file.path,
                0,
                format!("{} bytes, at most {FILE_BYTES_MAX}", file.bytes),
            ));
        }
        let text = file.text();
        if !text.is_empty() && !text.ends_with('\n') {
            findings.push(found(&file.path, 0, "no newline at the end"));
        }
        if text.contains('\r') {
            findings.push(found(
                &file.path,
                0,
                "carriage return: lines end with a newline alone",
            ));
        }
    }
    findings
}

/// No registry or mirror but the default one, no path of the machine that a file was written on.
pub(crate) fn places(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        let lock = file.name() == "Cargo.lock";
        for (number, line) in (1..).zip(file.text().lines()) {
            if lock {
                if line.starts_with("source = ") && !line.contains(REGISTRY) {
                    findings.push(found(
                        &file.path,
                        number,
                        "a crate from somewhere else than the default registry",
                    ));
                }
                continue;
            }
            if let Some(host) = HOSTS.iter().find(|host| line.contains(**host)) {
                findings.push(found(&file.path, number, format!("registry host name: {host}")));
            }
            if holds_machine_path(line) {
                findings.push(found(&file.path, number, "a path of one machine"));
            }
        }
        if file.path.starts_with(".cargo/") && file.text().lines().any(|line| line.starts_with("[source")) {
            findings.push(found(
                &file.path,
                0,
                "replaces the registry for everybody: put it in your own Cargo home",
            ));
        }
    }
    findings
}

/// An absolute path below the root folder `work`.
fn holds_machine_path(line: &str) -> bool {
    let starts_path =
        |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-}~*".contains(c));
    line.match_indices(concat!("/wo", "rk/"))
        .any(|(at, _)| starts_path(at))
}

#[cfg(test)]
mod tests {
    use super::super::tree::File;
    use super::*;

    #[test]
    fn sizes_and_line_ends() {
        let check = |text| files(&Tree::planted(&[("a.txt", text)])).len();
        assert_eq!(check("one\ntwo\n"), 0);
        assert_eq!(check(""), 0);
        assert_eq!(check("one\ntwo"), 1);
        assert_eq!(check("one\r\ntwo\n"), 1);
        let large = |bytes| Tree {
            files: vec![File {
                path: "a.raw".into(),
                bytes,
                text: None,
                executable: false,
            }],
        };
        assert!(files(&large(FILE_BYTES_MAX)).is_empty());
        assert_eq!(files(&large(FILE_BYTES_MAX + 1)).len(), 1);
    }

    #[test]
    fn hosts_and_paths() {
        let check = |path, text: &str| places(&Tree::planted(&[(path, text)])).len();
        for host in HOSTS {
            assert_eq!(check("docs/a.md", &format!("see https{host}/x\n")), 1, "{host}");
        }
        for line in [concat!("cd /wo", "rk/main\n"), concat!("\"/wo", "rk/x\"\n")] {
            assert_eq!(check("a.sh", line), 1, "{line}");
        }
        let elsewhere = concat!("frame/wo", "rk/a ~/wo", "rk/b https://example.org/c\n");
        assert_eq!(check("a.rs", elsewhere), 0);
    }

    #[test]
    fn sources() {
        let check = |path, text: &str| places(&Tree::planted(&[(path, text)])).len();
        assert_eq!(check("Cargo.lock", &format!("source = \"{REGISTRY}\"\n")), 0);
        assert_eq!(
            check("Cargo.lock", "source = \"registry+https://example.org/index\"\n"),
            1
        );
        assert_eq!(check("Cargo.lock", "source = \"git+https://example.org/x\"\n"), 1);
        assert_eq!(check(".cargo/config.toml", "[source.x]\n"), 1);
    }
}
