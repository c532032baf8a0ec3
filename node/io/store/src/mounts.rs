//! What a path lies on: free space and the name of its filesystem.

use std::io;
use std::path::{Path, PathBuf};

/// Bytes that an unprivileged process may still write on the filesystem of `path`.
///
/// # Errors
/// Those of `statvfs`.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Name of the filesystem of `path`, such as `ext4`, `overlay` or `tmpfs`; `unknown` where the system does not
/// list its mounts in `/proc/mounts`. Reports name it: an fsync on `tmpfs` costs nothing and promises nothing.
#[must_use]
pub fn filesystem_name(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    std::fs::read_to_string("/proc/mounts")
        .ok()
        .and_then(|mounts| name_in(&mounts, &path))
        .unwrap_or_else(|| "unknown".into())
}

/// The longest mount point above `path`; of equal ones the last, which covers the others.
fn name_in(mounts: &str, path: &Path) -> Option<String> {
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let point = PathBuf::from(unescape(fields.next()?));
            let name = fields.next()?;
            path.starts_with(&point)
                .then(|| (point.components().count(), name))
        })
        .max_by_key(|(depth, _)| *depth)
        .map(|(_, name)| name.to_owned())
}

/// `/proc/mounts` writes blanks and backslashes of a path as three octal digits.
fn unescape(field: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(field.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{filesystem_name, free_bytes, name_in};

    const MOUNTS: &str = "/dev/a / ext4 rw 0 0\nproc /proc proc rw 0 0\nnone /data tmpfs rw 0 0\n\
                          /dev/b /data xfs rw 0 0\n/dev/c /my\\040disk btrfs rw 0 0\n";

    #[test]
    fn the_deepest_and_last_mount_names_the_filesystem() {
        for (path, name) in [
            ("/home/x", "ext4"),
            ("/data/y", "xfs"),
            ("/database", "ext4"),
            ("/my disk/z", "btrfs"),
            ("/", "ext4"),
        ] {
            assert_eq!(name_in(MOUNTS, Path::new(path)).as_deref(), Some(name), "{path}");
        }
        assert_eq!(name_in("", Path::new("/")), None);
    }

    #[test]
    fn this_machine_answers() {
        let directory = tempfile::tempdir().expect("directory");
        assert!(free_bytes(directory.path()).expect("statvfs") > 0);
        assert!(free_bytes(&directory.path().join("missing")).is_err());
        assert!(!filesystem_name(directory.path()).is_empty());
    }
}
