//! Where the nodes of a running network are: `--nodes ADDR,..` or a hosts file.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};

use crate::usage::UsageError;

const ACCEPTED: &str = "ADDRESS:PORT separated by commas, or @FILE with one `ADDRESS:PORT KEY` a line";

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Address for clients.
    pub address: SocketAddr,
    /// Its validator key, where it is known.
    pub key: Option<[u8; 32]>,
}

/// Nodes of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeList {
    /// In the order given.
    pub nodes: Vec<Node>,
    /// File that they came from.
    pub file: Option<PathBuf>,
}

/// Parses `--nodes`.
///
/// # Errors
/// Names the entry or the line that is no node.
pub fn parse_nodes(text: &str) -> Result<NodeList, UsageError> {
    let (entries, file) = match text.strip_prefix('@') {
        Some(file) => {
            let path = Path::new(file);
            let content = std::fs::read_to_string(path).map_err(|error| {
                UsageError::new("--nodes", text, &format!("cannot be read ({error})"), ACCEPTED)
            })?;
            (
                content.lines().map(str::to_owned).collect(),
                Some(path.to_owned()),
            )
        }
        None => (text.split(',').map(str::to_owned).collect::<Vec<_>>(), None),
    };
    let mut nodes: Vec<Node> = Vec::new();
    for entry in &entries {
        let entry = entry.split('#').next().unwrap_or_default().trim();
        if entry.is_empty() && file.is_some() {
            continue;
        }
        let node = parse_node(entry)?;
        if nodes.iter().any(|other| other.address == node.address) {
            return Err(UsageError::new(
                "--nodes",
                entry,
                "this address stands there twice",
                "each node once",
            ));
        }
        nodes.push(node);
    }
    if nodes.is_empty() {
        return Err(UsageError::new("--nodes", text, "no node", ACCEPTED));
    }
    Ok(NodeList { nodes, file })
}

fn parse_node(entry: &str) -> Result<Node, UsageError> {
    let fail = |problem: &str| UsageError::new("--nodes", entry, problem, ACCEPTED);
    let mut words = entry.split_whitespace();
    let (address, key) = (words.next().unwrap_or_default(), words.next());
    if words.next().is_some() {
        return Err(fail("more than an address and a key"));
    }
    let key = match key {
        None => None,
        Some(text) => {
            let mut key = [0; 32];
            hex::decode_to_slice(text, &mut key).map_err(|_| fail("the key is not 64 hexadecimal digits"))?;
            Some(key)
        }
    };
    let address = address
        .to_socket_addrs()
        .ok()
        .and_then(|mut addresses| addresses.next())
        .ok_or_else(|| fail("not an address"))?;
    Ok(Node { address, key })
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
