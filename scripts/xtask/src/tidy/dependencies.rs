//! Other people's crates: licences, and versions below which a known hole is open.

use std::path::Path;

use anyhow::{Context, Result};
use cargo_metadata::semver::Version;
use cargo_metadata::{Metadata, MetadataCommand};

use super::licences::accepted;
use super::{Finding, found};

/// Versions below which remote peers can end or stall a process.
const MINIMUM: &[(&str, Version)] = &[
    ("quinn-proto", Version::new(0, 11, 19)),
    ("rustls", Version::new(0, 23, 46)),
    ("rustls-webpki", Version::new(0, 103, 16)),
];

/// Crates whose licence is not on the list but was read and found permissive: name and what its manifest states.
/// A changed statement is a finding again.
const READ: &[(&str, &str)] = &[
    // MIT, plus: a modified copy may not be passed off as the author's.
    ("hex_lit", "MITNFA"),
];

/// One resolved crate.
#[derive(Debug, Clone)]
pub(crate) struct Package {
    /// Name in the registry.
    pub(crate) name: String,
    /// Resolved version.
    pub(crate) version: Version,
    /// SPDX expression of its manifest.
    pub(crate) licence: Option<String>,
}

/// What Cargo.lock resolves to for this system, ours included.
pub(crate) fn resolved(root: &Path) -> Result<Vec<Package>> {
    // Without the filter cargo would fetch the crates of every other system too.
    let host = host().context("asking rustc for this system's name")?;
    let options = ["--locked", "--filter-platform", &host].map(str::to_owned);
    let metadata: Metadata = MetadataCommand::new()
        .current_dir(root)
        .other_options(options.to_vec())
        .exec()
        .context("reading the dependencies with `cargo metadata --locked`")?;
    let package = |package: cargo_metadata::Package| Package {
        name: package.name.to_string(),
        version: package.version,
        licence: package.license,
    };
    Ok(metadata.packages.into_iter().map(package).collect())
}

fn host() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = std::process::Command::new(rustc).arg("-vV").output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("`rustc -vV` names no host")?.to_owned())
}

/// Every crate may be shipped under our licence.
pub(crate) fn licences(packages: &[Package]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for Package {
        name,
        version,
        licence,
    } in packages
    {
        let read = |licence| READ.contains(&(name.as_str(), licence));
        if !licence
            .as_deref()
            .is_some_and(|licence| accepted(licence) || read(licence))
        {
            let licence = licence.as_deref().unwrap_or("none stated");
            findings.push(found(
                "Cargo.lock",
                0,
                format!("{name} {version}: licence not accepted: {licence}"),
            ));
        }
    }
    findings
}

/// Crates that face the network are at least as new as their last fix; the list names only what is in use.
pub(crate) fn versions(packages: &[Package]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, minimum) in MINIMUM {
        let mut present = packages.iter().filter(|package| package.name == *name).peekable();
        if present.peek().is_none() {
            findings.push(found(
                "Cargo.lock",
                0,
                format!("{name} is gone: take it off the list of minimum versions"),
            ));
        }
        for package in present.filter(|package| package.version < *minimum) {
            findings.push(found(
                "Cargo.lock",
                0,
                format!("{name} {}: at least {minimum}", package.version),
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str, licence: Option<&str>) -> Package {
        let version = Version::parse(version).unwrap();
        Package {
            name: name.into(),
            version,
            licence: licence.map(str::to_owned),
        }
    }

    #[test]
    fn licences_are_checked() {
        assert!(licences(&[package("a", "1.0.0", Some("MIT OR GPL-3.0"))]).is_empty());
        assert_eq!(licences(&[package("a", "1.0.0", Some("GPL-3.0"))]).len(), 1);
        assert_eq!(licences(&[package("a", "1.0.0", None)]).len(), 1);
        for (name, licence) in READ {
            assert!(licences(&[package(name, "1.0.0", Some(licence))]).is_empty());
            assert_eq!(licences(&[package(name, "1.0.0", Some("GPL-3.0"))]).len(), 1);
            assert_eq!(licences(&[package("a", "1.0.0", Some(licence))]).len(), 1);
        }
    }

    #[test]
    fn old_versions_are_found_even_beside_new_ones() {
        let mut packages: Vec<Package> = MINIMUM
            .iter()
            .map(|(name, version)| package(name, &version.to_string(), None))
            .collect();
        assert!(versions(&packages).is_empty());
        packages.push(package("quinn-proto", "0.11.18", None));
        assert_eq!(versions(&packages).len(), 1);
        packages.push(package("rustls-webpki", "0.103.16-alpha.1", None));
        assert_eq!(versions(&packages).len(), 2);
        packages.retain(|package| package.name != "rustls");
        assert_eq!(versions(&packages).len(), 3);
    }
}
