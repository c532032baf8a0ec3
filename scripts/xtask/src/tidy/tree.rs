//! The files that tidy looks at: what git tracks or would add, or the whole folder where git is absent.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

/// Inputs of the fuzz programs: bytes, also where they happen to be text.
const CORPORA: &str = "tests/fuzz/corpora/";
/// Files above this are not read: their size alone is a finding (bytes).
pub(crate) const FILE_BYTES_MAX: u64 = 1 << 20;

/// One file of the repository.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// Path from the root, with `/` on every system.
    pub(crate) path: String,
    /// Size on disk (bytes).
    pub(crate) bytes: u64,
    /// Content; `None` when binary, above [`FILE_BYTES_MAX`] or an input of a fuzz program.
    pub(crate) text: Option<String>,
    /// Some execute bit is set (always true where the system has none).
    pub(crate) executable: bool,
}

impl File {
    /// Last component of the path.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Whether this is Rust source.
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// The text, empty for a binary.
    pub(crate) fn text(&self) -> &str {
        self.text.as_deref().unwrap_or("")
    }
}

/// All files, in path order.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// In path order.
    pub(crate) files: Vec<File>,
}

impl Tree {
    /// Reads the repository at `root`.
    pub(crate) fn load(root: &Path) -> Result<Self> {
        let paths = match listed_by_git(root) {
            Some(paths) => paths,
            None => {
                let mut paths = BTreeSet::new();
                walk(root, "", &mut paths)?;
                paths
            }
        };
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            // Listed but deleted in the working tree: nothing to check.
            let Ok(metadata) = fs::metadata(root.join(&path)) else {
                continue;
            };
            if metadata.is_file() {
                files.push(read(root, path, &metadata)?);
            }
        }
        Ok(Self { files })
    }

    /// The file at `path`.
    pub(crate) fn get(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Whether `path` is a file or a folder that holds one.
    pub(crate) fn exists(&self, path: &str) -> bool {
        let folder = format!("{path}/");
        path.is_empty()
            || self
                .files
                .iter()
                .any(|file| file.path == path || file.path.starts_with(&folder))
    }

    /// Rust sources.
    pub(crate) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.is_rust())
    }

    /// A tree made of text, for planting violations.
    #[cfg(test)]
    pub(crate) fn planted(files: &[(&str, &str)]) -> Self {
        let mut files: Vec<File> = files
            .iter()
            .map(|(path, text)| File {
                path: (*path).to_owned(),
                bytes: text.len() as u64,
                text: Some((*text).to_owned()),
                executable: true,
            })
            .collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Self { files }
    }
}

/// Tracked and untracked-but-not-ignored paths; `None` without git or outside a repository.
fn listed_by_git(root: &Path) -> Option<BTreeSet<String>> {
    // Without its own .git the folder may lie inside someone else's repository: then git would list that one's view.
    if !root.join(".git").exists() {
        return None;
    }
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let paths = output
        .stdout
        .split(|byte| *byte == 0)
        .filter(|path| !path.is_empty());
    Some(
        paths
            .map(|path| String::from_utf8_lossy(path).into_owned())
            .collect(),
    )
}

fn walk(root: &Path, folder: &str, paths: &mut BTreeSet<String>) -> Result<()> {
    let at = root.join(folder);
    for entry in fs::read_dir(&at).with_context(|| format!("listing {}", at.display()))? {
        let entry = entry.with_context(|| format!("listing {}", at.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() {
            name.clone()
        } else {
            format!("{folder}/{name}")
        };
        // file_type does not follow links, so a cycle cannot trap the walk.
        if !entry
            .file_type()
            .with_context(|| format!("reading {path}"))?
            .is_dir()
        {
            paths.insert(path);
        } else if name != ".git" && name != "target" {
            walk(root, &path, paths)?;
        }
    }
    Ok(())
}

fn read(root: &Path, path: String, metadata: &fs::Metadata) -> Result<File> {
    let text = if metadata.len() > FILE_BYTES_MAX || path.starts_with(CORPORA) {
        None
    } else {
        let content = fs::read(root.join(&path)).with_context(|| format!("reading {path}"))?;
        let binary = content.contains(&0);
        String::from_utf8(content).ok().filter(|_| !binary)
    };
    Ok(File {
        path,
        bytes: metadata.len(),
        text,
        executable: executable(metadata),
    })
}

#[cfg(unix)]
fn executable(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o111 != 0
}

#[cfg(not(unix))]
fn executable(_: &fs::Metadata) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plant(root: &Path) {
        fs::create_dir_all(root.join("src/deep")).unwrap();
        fs::create_dir_all(root.join("target")).unwrap();
        fs::write(root.join("src/deep/a.rs"), "fn a() {}\n").unwrap();
        fs::write(root.join("data.bin"), [1u8, 0, 2]).unwrap();
        fs::write(root.join("large.txt"), vec![b'x'; FILE_BYTES_MAX as usize + 1]).unwrap();
        fs::write(root.join("target/built"), "x").unwrap();
        fs::write(root.join(".gitignore"), "/target\n").unwrap();
    }

    fn paths(tree: &Tree) -> Vec<&str> {
        tree.files.iter().map(|file| file.path.as_str()).collect()
    }

    #[test]
    fn walks_a_folder_without_git() {
        let folder = tempfile::tempdir().unwrap();
        plant(folder.path());
        let tree = Tree::load(folder.path()).unwrap();
        assert_eq!(
            paths(&tree),
            [".gitignore", "data.bin", "large.txt", "src/deep/a.rs"]
        );
        assert_eq!(tree.get("src/deep/a.rs").unwrap().text(), "fn a() {}\n");
        assert!(tree.get("data.bin").unwrap().text.is_none());
        assert!(tree.get("large.txt").unwrap().text.is_none());
        assert!(tree.exists("src/deep"));
        assert!(!tree.exists("src/dee"));
    }

    #[test]
    fn asks_git_where_there_is_one() {
        let folder = tempfile::tempdir().unwrap();
        plant(folder.path());
        let git = |arguments: &[&str]| {
            Command::new("git")
                .args(arguments)
                .current_dir(folder.path())
                .output()
        };
        let Ok(output) = git(&["init", "--quiet"]) else {
            eprintln!("skipped: no git on this machine");
            return;
        };
        assert!(output.status.success());
        git(&["add", "data.bin"]).unwrap();
        let listed = listed_by_git(folder.path()).unwrap();
        assert_eq!(
            Vec::from_iter(&listed),
            [".gitignore", "data.bin", "large.txt", "src/deep/a.rs"]
        );
        // Deleted in the working tree, still in the index.
        fs::remove_file(folder.path().join("data.bin")).unwrap();
        assert_eq!(
            paths(&Tree::load(folder.path()).unwrap()),
            [".gitignore", "large.txt", "src/deep/a.rs"]
        );
    }
}
