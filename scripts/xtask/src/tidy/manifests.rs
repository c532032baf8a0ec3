//! The manifests of the workspace, parsed; every crate inherits what the root states once.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::tree::Tree;
use super::{Finding, found};

/// One crate of the workspace.
#[derive(Debug)]
pub(crate) struct Manifest {
    /// Path of the manifest from the root.
    pub(crate) path: String,
    /// Package name.
    pub(crate) name: String,
    /// Parsed file.
    pub(crate) table: Table,
}

/// All manifests, or what could not be read.
#[derive(Debug, Default)]
pub(crate) struct Manifests {
    /// The root manifest.
    pub(crate) root: Table,
    /// Members in the order of the root's list.
    pub(crate) members: Vec<Manifest>,
    /// Members named by the root that cannot be read.
    pub(crate) broken: Vec<Finding>,
}

impl Manifests {
    /// Reads the root manifest and those of its members.
    pub(crate) fn of(tree: &Tree) -> Self {
        let mut manifests = Self::default();
        match parse(tree, "Cargo.toml") {
            Ok(root) => manifests.root = root,
            Err(finding) => manifests.broken.push(finding),
        }
        let members = manifests
            .root
            .get("workspace")
            .and_then(|table| table.get("members"));
        let members: Vec<String> = members
            .and_then(Value::as_array)
            .map(|list| {
                list.iter()
                    .filter_map(Value::as_str)
                    .map(|path| format!("{path}/Cargo.toml"))
                    .collect()
            })
            .unwrap_or_default();
        for path in members {
            match parse(tree, &path) {
                Ok(table) => {
                    let name = table.get("package").and_then(|package| package.get("name"));
                    let name = name.and_then(Value::as_str).unwrap_or_default().to_owned();
                    manifests.members.push(Manifest { path, name, table });
                }
                Err(finding) => manifests.broken.push(finding),
            }
        }
        manifests
    }

    /// Names under which our own crates are declared in `[workspace.dependencies]`.
    pub(crate) fn is_ours(&self, name: &str) -> bool {
        self.members.iter().any(|member| member.name == name)
    }
}

impl Manifest {
    /// Names in `[dependencies]` (or another `section`), also those under `[target.*]`, with their values.
    pub(crate) fn dependencies(&self, section: &str) -> BTreeMap<&str, &Value> {
        let targets = self.table.get("target").and_then(Value::as_table);
        let targets = targets
            .into_iter()
            .flatten()
            .filter_map(|(_, target)| target.as_table());
        std::iter::once(&self.table)
            .chain(targets)
            .filter_map(|table| table.get(section).and_then(Value::as_table))
            .flatten()
            .map(|(name, value)| (name.as_str(), value))
            .collect()
    }
}

fn parse(tree: &Tree, path: &str) -> Result<Table, Finding> {
    let Some(file) = tree.get(path) else {
        return Err(found(path, 0, "the manifest is missing"));
    };
    file.text()
        .parse()
        .map_err(|error: toml::de::Error| found(path, 0, format!("not TOML: {}", error.message())))
}

/// Sections that may name dependencies.
pub(crate) const SECTIONS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

/// Keys that a crate takes from `[workspace.package]`.
const INHERITED: [&str; 5] = ["version", "edition", "rust-version", "license", "publish"];

/// Every crate inherits lints, licence, edition and versions; nothing switches the lints off again.
pub(crate) fn inherited(tree: &Tree) -> Vec<Finding> {
    let manifests = Manifests::of(tree);
    let mut findings = Vec::new();
    for Manifest { path, name, table } in &manifests.members {
        if name.is_empty() {
            findings.push(found(path, 0, "no package name"));
        }
        if !inherits(table.get("lints")) {
            findings.push(found(
                path,
                0,
                "add `[lints]` with `workspace = true`: lints are not inherited by themselves",
            ));
        }
        let package = table.get("package");
        for key in INHERITED {
            if !inherits(package.and_then(|package| package.get(key))) {
                findings.push(found(path, 0, format!("write `{key}.workspace = true`")));
            }
        }
        if package.and_then(|package| package.get("description")).is_none() {
            findings.push(found(
                path,
                0,
                "add a `description`: one line that says what the crate is for",
            ));
        }
        if table.contains_key("profile") {
            findings.push(found(
                path,
                0,
                "profiles belong in the root manifest: there is one for everything",
            ));
        }
    }
    findings.extend(manifests.broken);
    findings
}

/// Every dependency is declared once, in `[workspace.dependencies]`: versions and features cannot differ between
/// crates, so RocksDB cannot be compiled twice.
pub(crate) fn declared_once(tree: &Tree) -> Vec<Finding> {
    let manifests = Manifests::of(tree);
    let mut findings = Vec::new();
    for member in &manifests.members {
        for section in SECTIONS {
            for (name, value) in member.dependencies(section) {
                if !inherits(Some(value)) {
                    let message = format!(
                        "{name}: write `{name}.workspace = true` and declare it in the root manifest"
                    );
                    findings.push(found(&member.path, 0, message));
                }
                let features = value
                    .get("features")
                    .and_then(Value::as_array)
                    .is_some_and(|list| !list.is_empty());
                // Our own `planted-bugs` is the one feature that a crate chooses.
                if features && !manifests.is_ours(name) {
                    findings.push(found(
                        &member.path,
                        0,
                        format!("{name}: move its features to the root manifest"),
                    ));
                }
            }
        }
    }
    findings
}

fn inherits(value: Option<&Value>) -> bool {
    value
        .and_then(|value| value.get("workspace"))
        .and_then(Value::as_bool)
        == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "[workspace]\nmembers = [\"a\"]\n";
    const GOOD: &str = "[package]\nname = \"a\"\nversion.workspace = true\nedition.workspace = true\n\
        rust-version.workspace = true\nlicense.workspace = true\npublish.workspace = true\ndescription = \"x\"\n\
        [dependencies]\nbytes.workspace = true\n[target.'cfg(loom)'.dev-dependencies]\nloom.workspace = true\n\
        [lints]\nworkspace = true\n";

    fn check(rule: fn(&Tree) -> Vec<Finding>, manifest: &str) -> Vec<String> {
        let tree = Tree::planted(&[("Cargo.toml", ROOT), ("a/Cargo.toml", manifest)]);
        rule(&tree).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn a_good_manifest_passes() {
        assert_eq!(check(inherited, GOOD), Vec::<String>::new());
        assert_eq!(check(declared_once, GOOD), Vec::<String>::new());
    }

    #[test]
    fn each_missing_key_is_named() {
        for key in INHERITED {
            let messages = check(
                inherited,
                &GOOD.replace(&format!("\n{key}.workspace = true\n"), "\n"),
            );
            assert_eq!(messages, [format!("write `{key}.workspace = true`")]);
        }
        assert_eq!(
            check(inherited, &GOOD.replace("[lints]\nworkspace = true\n", "")).len(),
            1
        );
        assert_eq!(
            check(
                inherited,
                &GOOD.replace("[lints]\nworkspace = true\n", "[lints.rust]\na = \"allow\"\n")
            )
            .len(),
            1
        );
        assert_eq!(
            check(inherited, &GOOD.replace("description = \"x\"\n", "")).len(),
            1
        );
        assert_eq!(
            check(inherited, &format!("{GOOD}[profile.release]\nopt-level = 1\n")).len(),
            1
        );
    }

    #[test]
    fn own_versions_and_features_are_refused() {
        assert_eq!(
            check(
                declared_once,
                &GOOD.replace("bytes.workspace = true", "bytes = \"1\"")
            )
            .len(),
            1
        );
        let features = "bytes = { workspace = true, features = [\"serde\"] }";
        assert_eq!(
            check(declared_once, &GOOD.replace("bytes.workspace = true", features)).len(),
            1
        );
        assert_eq!(
            check(
                declared_once,
                &GOOD.replace("loom.workspace = true", "loom = \"0.7\"")
            )
            .len(),
            1
        );
        let own = "a = { workspace = true, features = [\"planted-bugs\"] }";
        assert_eq!(
            check(declared_once, &GOOD.replace("bytes.workspace = true", own)),
            Vec::<String>::new()
        );
    }

    #[test]
    fn unreadable_manifests_are_found() {
        assert_eq!(inherited(&Tree::planted(&[("Cargo.toml", ROOT)])).len(), 1);
        assert_eq!(inherited(&Tree::planted(&[])).len(), 1);
        assert_eq!(check(inherited, "[package\n").len(), 1);
    }
}
