//! Hosts: the nodes of a running network, one `ADDRESS:PORT KEY` a line; `#` starts a comment.

use std::collections::BTreeSet;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};

use crate::bounded::{self, BoundedError};
use crate::limits::{HOSTS_FILE_BYTES_MAX, HOSTS_MAX};

/// Name of the hosts file in a network's directory.
pub const HOSTS_FILE: &str = "hosts";

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Address for clients.
    pub address: SocketAddr,
    /// Its validator key, where it is known.
    pub key: Option<[u8; 32]>,
}

/// Why there is no list of nodes.
#[derive(Debug, thiserror::Error)]
pub enum HostsError {
    /// The file cannot be read, or is larger than any that is accepted.
    #[error("{path} cannot be read: {source}")]
    Read {
        /// File.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// An entry that is no node.
    #[error("{entry}: {problem}; accepted: {}", accepted.unwrap_or(ACCEPTED))]
    Entry {
        /// The entry without its comment.
        entry: String,
        /// What is wrong with it.
        problem: &'static str,
        /// What is accepted, when that is not simply an entry.
        accepted: Option<&'static str>,
    },
    /// The list as a whole.
    #[error("{problem}; accepted: {}", accepted.unwrap_or(ACCEPTED))]
    List {
        /// What is wrong with it.
        problem: &'static str,
        /// What is accepted, when that is not simply a list of entries.
        accepted: Option<&'static str>,
    },
}

const ACCEPTED: &str = "ADDRESS:PORT, or ADDRESS:PORT KEY with the key in hexadecimal";

/// Reads a hosts file; names in it may ask the network.
///
/// # Errors
/// As [`parse`], and `Read`.
pub fn read(path: &Path) -> Result<Vec<Host>, HostsError> {
    let text = bounded::read_text(path, HOSTS_FILE_BYTES_MAX).map_err(|error| HostsError::Read {
        path: path.into(),
        source: match error {
            BoundedError::Io(source) => source,
            BoundedError::Size => {
                let problem = format!("more than {HOSTS_FILE_BYTES_MAX} bytes, which no hosts file has");
                io::Error::new(io::ErrorKind::FileTooLarge, problem)
            }
        },
    })?;
    parse(&text, lookup)
}

/// The nodes of a hosts file's text; empty lines are skipped. `resolve` turns `ADDRESS:PORT` into an address:
/// [`lookup`] where names may be asked for.
///
/// # Errors
/// Names the first line that is no node, and a list without or with too many of them.
pub fn parse(text: &str, resolve: impl Fn(&str) -> Option<SocketAddr>) -> Result<Vec<Host>, HostsError> {
    let lines = text.lines().map(without_comment);
    parse_entries(lines.filter(|line| !line.is_empty()), resolve)
}

/// The nodes of a list: entries as a line of the file, none of them empty.
///
/// # Errors
/// As [`parse`].
pub fn parse_entries<'a>(
    entries: impl Iterator<Item = &'a str>,
    resolve: impl Fn(&str) -> Option<SocketAddr>,
) -> Result<Vec<Host>, HostsError> {
    let mut hosts = Vec::new();
    let mut addresses = BTreeSet::new();
    for entry in entries {
        let entry = without_comment(entry);
        let host = parse_host(entry, &resolve)?;
        if !addresses.insert(host.address) {
            return Err(HostsError::Entry {
                entry: entry.to_owned(),
                problem: "this address stands there twice",
                accepted: Some("each node once"),
            });
        }
        if hosts.len() == HOSTS_MAX {
            return Err(HostsError::List {
                problem: "too many nodes",
                accepted: Some("at most 1024 nodes"),
            });
        }
        hosts.push(host);
    }
    if hosts.is_empty() {
        return Err(HostsError::List {
            problem: "no node",
            accepted: None,
        });
    }
    Ok(hosts)
}

/// One line of a hosts file, with its end.
#[must_use]
pub fn line(address: SocketAddr, key: &[u8; 32]) -> String {
    format!("{address} {}\n", hex::encode(key))
}

/// The first address that the system knows for `ADDRESS:PORT`; a name may ask the network.
#[must_use]
pub fn lookup(text: &str) -> Option<SocketAddr> {
    text.to_socket_addrs().ok()?.next()
}

fn without_comment(entry: &str) -> &str {
    entry.split('#').next().unwrap_or_default().trim()
}

fn parse_host(entry: &str, resolve: impl Fn(&str) -> Option<SocketAddr>) -> Result<Host, HostsError> {
    let fail = |problem| HostsError::Entry {
        entry: entry.to_owned(),
        problem,
        accepted: None,
    };
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
    let address = resolve(address).ok_or_else(|| fail("not an address"))?;
    Ok(Host { address, key })
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::{HOSTS_MAX, Host, line, lookup, parse};

    #[test]
    fn what_is_written_is_read_and_comments_are_not() {
        let address: SocketAddr = "[::1]:21001".parse().expect("address");
        let text = format!(
            "# a network\n\n{}127.0.0.1:4001 # bare\n",
            line(address, &[0xab; 32])
        );
        let hosts = parse(&text, lookup).expect("hosts");
        assert_eq!(
            hosts[0],
            Host {
                address,
                key: Some([0xab; 32])
            }
        );
        assert_eq!((hosts.len(), hosts[1].key), (2, None));
    }

    #[test]
    fn what_is_no_node_is_named() {
        let twice = "127.0.0.1:1\n127.0.0.1:1 # again";
        for (text, words) in [
            ("# nothing\n", "no node"),
            ("nowhere", "nowhere: not an address"),
            ("127.0.0.1", "127.0.0.1: not an address"),
            ("127.0.0.1:1 zz", "127.0.0.1:1 zz: the key is not 64 hexadecimal"),
            ("127.0.0.1:1 ab cd", "127.0.0.1:1 ab cd: more than"),
            (twice, "127.0.0.1:1: this address stands there twice"),
        ] {
            let error = parse(text, |text| text.parse().ok()).expect_err(text);
            let found = error.to_string();
            assert!(found.starts_with(words) && found.contains("accepted"), "{found}");
        }
    }

    #[test]
    fn a_list_longer_than_any_network_is_refused() {
        let many =
            |count: usize| -> String { (1..=count).map(|port| format!("127.0.0.1:{port}\n")).collect() };
        let read = |count| parse(&many(count), |text| text.parse().ok());
        assert_eq!(read(HOSTS_MAX).expect("hosts").len(), HOSTS_MAX);
        let error = read(HOSTS_MAX + 1).expect_err("too many");
        assert!(error.to_string().contains(&HOSTS_MAX.to_string()), "{error}");
    }
}
