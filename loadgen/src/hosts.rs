//! Where the nodes of a running network are: `--nodes ADDR,..` or a hosts file.

use std::path::{Path, PathBuf};

use files::hosts::{lookup, parse_entries, read};
use files::{Host, HostsError};

use crate::usage::UsageError;

const ACCEPTED: &str = "ADDRESS:PORT separated by commas, or @FILE with one `ADDRESS:PORT KEY` a line";

/// Nodes of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeList {
    /// In the order given.
    pub nodes: Vec<Host>,
    /// File that they came from.
    pub file: Option<PathBuf>,
}

/// Parses `--nodes`.
///
/// # Errors
/// Names the entry or the line that is no node.
pub fn parse_nodes(text: &str) -> Result<NodeList, UsageError> {
    let file = text.strip_prefix('@').map(Path::new);
    let nodes = match file {
        Some(path) => read(path),
        None => parse_entries(text.split(','), lookup),
    };
    let nodes = nodes.map_err(|error| match error {
        HostsError::Read { source, .. } => {
            UsageError::new("--nodes", text, &format!("cannot be read ({source})"), ACCEPTED)
        }
        HostsError::Entry {
            entry,
            problem,
            accepted,
        } => UsageError::new("--nodes", &entry, problem, accepted.unwrap_or(ACCEPTED)),
        HostsError::List { problem, accepted } => {
            UsageError::new("--nodes", text, problem, accepted.unwrap_or(ACCEPTED))
        }
    })?;
    Ok(NodeList {
        nodes,
        file: file.map(Path::to_path_buf),
    })
}

#[cfg(test)]
mod tests {
    use super::parse_nodes;

    #[test]
    fn lists_and_files() {
        let list = parse_nodes("127.0.0.1:4000,127.0.0.1:4001").expect("list");
        assert_eq!(list.nodes.len(), 2);
        assert!(list.nodes[0].key.is_none() && list.file.is_none());
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("hosts");
        let key = "ab".repeat(32);
        std::fs::write(
            &path,
            format!("# shard 0\n127.0.0.1:4000 {key} # first\n\n127.0.0.1:4001\n"),
        )
        .expect("write");
        let list = parse_nodes(&format!("@{}", path.display())).expect("file");
        assert_eq!(list.nodes[0].key, Some([0xab; 32]));
        assert_eq!(list.nodes[1].key, None);
        assert_eq!(list.file, Some(path));
    }

    #[test]
    fn what_is_no_node_is_named() {
        for text in [
            "",
            "nowhere",
            "127.0.0.1",
            "127.0.0.1:4000 zz",
            "127.0.0.1:1,127.0.0.1:1",
            "127.0.0.1:1 ab cd",
            "@/no/such/file",
            "127.0.0.1:99999",
        ] {
            let error = parse_nodes(text).expect_err(text).to_string();
            assert!(error.starts_with("--nodes"), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
