//! Which crate may use which: the table of docs/architecture.md. Protocol crates do not know one another, nothing
//! in core names an edge, and only `node` knows both.

use super::manifests::{Manifest, Manifests};
use super::tree::Tree;
use super::{Finding, found};

/// A crate and what it may use.
struct Edge {
    name: &'static str,
    /// Folder of the crate.
    at: &'static str,
    /// In `[dependencies]`.
    normal: &'static [&'static str],
    /// In `[dev-dependencies]`, besides `normal`.
    dev: &'static [&'static str],
}

const fn edge(
    name: &'static str,
    at: &'static str,
    normal: &'static [&'static str],
    dev: &'static [&'static str],
) -> Edge {
    Edge {
        name,
        at,
        normal,
        dev,
    }
}

/// The simulator runs the core; its attacks on real networks are those of clients.
const CORE_AND_CLIENTS: &[&str] = &[
    "consensus",
    "crypto",
    "files",
    "ledger",
    "loadgen",
    "mempool",
    "replica",
    "rpc",
    "transport",
    "types",
];
const CORE_AND_EDGES: &[&str] = &[
    "blocklog",
    "consensus",
    "crypto",
    "files",
    "ledger",
    "mempool",
    "replica",
    "rpc",
    "store",
    "transport",
    "types",
];

const EDGES: &[Edge] = &[
    edge("types", "node/core/types", &[], &[]),
    edge("crypto", "node/core/crypto", &["types"], &[]),
    edge("ledger", "node/core/ledger", &["crypto", "types"], &[]),
    edge("mempool", "node/core/mempool", &["crypto", "types"], &[]),
    edge("consensus", "node/core/consensus", &["crypto", "types"], &[]),
    edge(
        "replica",
        "node/core/replica",
        &["consensus", "crypto", "ledger", "mempool", "types"],
        &[],
    ),
    edge("blocklog", "node/io/blocklog", &["crypto", "types"], &[]),
    edge("store", "node/io/store", &["blocklog", "types"], &[]),
    edge("files", "node/io/files", &["crypto", "types"], &[]),
    edge("transport", "node/io/transport", &["crypto", "types"], &[]),
    edge("rpc", "node/io/rpc", &["crypto", "transport", "types"], &[]),
    edge("sizing", "node/sizing", &["crypto", "types"], &[]),
    edge(
        "node",
        "node",
        &[
            "crypto",
            "files",
            "mempool",
            "replica",
            "rpc",
            "sizing",
            "store",
            "transport",
            "types",
        ],
        &[],
    ),
    edge(
        "loadgen",
        "loadgen",
        &["crypto", "files", "rpc", "sizing", "transport", "types"],
        &[],
    ),
    edge(
        "fuzzing",
        "tests/fuzzing",
        &["blocklog", "crypto", "files", "transport", "types"],
        &[],
    ),
    edge("simulator", "tests", CORE_AND_CLIENTS, &["blocklog", "fuzzing"]),
    edge("bench", "bench", &["loadgen", "simulator"], CORE_AND_EDGES),
    edge("xtask", "scripts/xtask", &[], &[]),
];

/// Crates that bring a clock, a socket, a disk, entropy or a runtime with them: no core crate depends on one.
const NOT_IN_CORE: &[&str] = &[
    "async-std",
    "chrono",
    "getrandom",
    "libc",
    "mio",
    "quinn",
    "quinn-proto",
    "rand",
    "rocksdb",
    "rustls",
    "smol",
    "socket2",
    "time",
    "tokio",
    "tracing",
    "tracing-subscriber",
];

/// Third-party crates with one home.
const ONE_HOME: &[(&str, &str)] = &[
    ("quinn", "transport"),
    ("rcgen", "transport"),
    ("rocksdb", "store"),
    ("rustls", "transport"),
];

/// Dependencies between our crates are those of the table, and the table lists every crate at its place.
pub(crate) fn allowed(tree: &Tree) -> Vec<Finding> {
    let manifests = Manifests::of(tree);
    let mut findings = Vec::new();
    for member in &manifests.members {
        let Some(edge) = EDGES.iter().find(|edge| edge.name == member.name) else {
            let message = format!(
                "crate {} is not in the table of allowed dependencies (tidy/edges.rs)",
                member.name
            );
            findings.push(found(&member.path, 0, message));
            continue;
        };
        let place = format!("{}/Cargo.toml", edge.at);
        if member.path != place {
            findings.push(found(
                &member.path,
                0,
                format!("crate {} belongs in {}", member.name, edge.at),
            ));
        }
        check_edges(&manifests, member, edge, &mut findings);
        check_third_party(member, &mut findings);
    }
    findings
}

fn check_edges(manifests: &Manifests, member: &Manifest, edge: &Edge, findings: &mut Vec<Finding>) {
    for (section, allowed) in [
        ("dependencies", vec![edge.normal]),
        ("dev-dependencies", vec![edge.normal, edge.dev]),
        ("build-dependencies", vec![]),
    ] {
        let allowed = allowed.concat();
        for (name, _) in member.dependencies(section) {
            if manifests.is_ours(name) && name != member.name && !allowed.contains(&name) {
                let list = if allowed.is_empty() {
                    "none of ours".to_owned()
                } else {
                    allowed.join(", ")
                };
                let message = format!(
                    "{} may not use {name} in [{section}]; allowed: {list}",
                    member.name
                );
                findings.push(found(&member.path, 0, message));
            }
        }
    }
}

fn check_third_party(member: &Manifest, findings: &mut Vec<Finding>) {
    for (name, _) in member.dependencies("dependencies") {
        if member.path.starts_with("node/core/") && NOT_IN_CORE.contains(&name) {
            findings.push(found(
                &member.path,
                0,
                format!("{} is pure and may not use {name}", member.name),
            ));
        }
        for (library, home) in ONE_HOME {
            if name == *library && member.name != *home {
                findings.push(found(
                    &member.path,
                    0,
                    format!("{name} is used through crate {home} only"),
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole table as manifests, with `extra` appended to the manifest of `name`.
    fn planted(name: &str, extra: &str) -> Vec<String> {
        let members: Vec<String> = EDGES.iter().map(|edge| format!("{:?}", edge.at)).collect();
        let mut files = vec![(
            "Cargo.toml".to_owned(),
            format!("[workspace]\nmembers = [{}]\n", members.join(",")),
        )];
        for edge in EDGES {
            let mut text = format!("[package]\nname = {:?}\n", edge.name);
            if edge.name == name {
                text.push_str(extra);
            }
            files.push((format!("{}/Cargo.toml", edge.at), text));
        }
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
            .collect();
        allowed(&Tree::planted(&files))
            .into_iter()
            .map(|finding| finding.message)
            .collect()
    }

    #[test]
    fn the_table_names_only_its_own_crates() {
        for edge in EDGES {
            for name in edge.normal.iter().chain(edge.dev) {
                assert!(
                    EDGES.iter().any(|other| other.name == *name),
                    "{name} of {}",
                    edge.name
                );
            }
        }
    }

    #[test]
    fn the_table_has_no_cycle() {
        // A crate may use only crates whose own uses are already placed.
        let mut placed: Vec<&str> = Vec::new();
        while placed.len() < EDGES.len() {
            let ready = |edge: &&Edge| {
                !placed.contains(&edge.name) && edge.normal.iter().all(|name| placed.contains(name))
            };
            let next = EDGES.iter().find(ready).expect("a cycle in the table");
            placed.push(next.name);
        }
    }

    #[test]
    fn allowed_edges_pass() {
        assert_eq!(
            planted(
                "node",
                "[dependencies]\nreplica.workspace = true\nstore.workspace = true\n"
            ),
            [""; 0]
        );
        assert_eq!(
            planted("bench", "[dev-dependencies]\nstore.workspace = true\n"),
            [""; 0]
        );
        assert_eq!(
            planted("store", "[dependencies]\nrocksdb.workspace = true\n"),
            [""; 0]
        );
    }

    #[test]
    fn each_kind_of_forbidden_edge_is_found() {
        let cases = [
            ("types", "[dependencies]\ncrypto.workspace = true\n"),
            ("consensus", "[dependencies]\nledger.workspace = true\n"),
            ("replica", "[dependencies]\nstore.workspace = true\n"),
            ("store", "[dependencies]\ntransport.workspace = true\n"),
            ("loadgen", "[dependencies]\nledger.workspace = true\n"),
            ("simulator", "[dev-dependencies]\nnode.workspace = true\n"),
            ("bench", "[dependencies]\nstore.workspace = true\n"),
            ("node", "[build-dependencies]\ntypes.workspace = true\n"),
            (
                "ledger",
                "[target.'cfg(unix)'.dependencies]\nreplica.workspace = true\n",
            ),
            ("consensus", "[dependencies]\ntokio.workspace = true\n"),
            ("node", "[dependencies]\nrocksdb.workspace = true\n"),
        ];
        for (name, extra) in cases {
            assert_eq!(planted(name, extra).len(), 1, "{name}: {extra}");
        }
    }

    #[test]
    fn unknown_and_misplaced_crates_are_found() {
        let root = "[workspace]\nmembers = [\"extra\"]\n";
        for (name, part) in [
            ("extra", "not in the table"),
            ("types", "belongs in node/core/types"),
        ] {
            let manifest = format!("[package]\nname = {name:?}\n");
            let findings = allowed(&Tree::planted(&[
                ("Cargo.toml", root),
                ("extra/Cargo.toml", &manifest),
            ]));
            assert_eq!(findings.len(), 1);
            assert!(findings[0].message.contains(part), "{}", findings[0].message);
        }
    }
}
