//! The text of a configuration.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::genesis::GENESIS_FILE;
use crate::limits::{RESERVE_MIB_DEFAULT, RESERVE_MIB_MAX, RESERVE_MIB_MIN, THREADS_MAX};
use crate::queues::QueueBounds;

/// A configuration to be written.
#[derive(Clone, Debug)]
pub struct ConfigText<'a> {
    /// Number of the validator.
    pub validator: u16,
    /// Its public key.
    pub public: [u8; 32],
    /// Its key file, relative to the configuration.
    pub key: &'a str,
    /// Address for validators.
    pub listen_peers: SocketAddr,
    /// Address for clients.
    pub listen_clients: SocketAddr,
    /// Addresses of all validators.
    pub peers: &'a BTreeMap<u16, SocketAddr>,
}

impl ConfigText<'_> {
    /// The file, every key with a comment.
    #[must_use]
    pub fn render(&self) -> String {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let mut text = format!(
            "# Validator {id}, public key {public}.\n\
             # Start it with: shardbench-node run --config validator-{id:03}.toml\n\
             # Paths are relative to this file.\n\n\
             # Genesis of the network; allocations.bin must lie beside it.\n\
             genesis = {genesis}\n\
             # Secret key: 64 hexadecimal digits. Whoever has it can speak for this validator.\n\
             key = {key}\n\
             # Block log and state; created at the first start.\n\
             data_dir = \"data/{id:03}\"\n\
             # UDP address on which other validators are awaited. On a machine of its own: 0.0.0.0:PORT.\n\
             listen_peers = \"{peers}\"\n\
             # UDP address on which clients are awaited.\n\
             listen_clients = \"{clients}\"\n\
             # \"fsync\": votes leave after they would survive power loss. \"async\": for comparison only.\n\
             durability = \"fsync\"\n\
             # Threads that apply a block, 1 to {THREADS_MAX}.\n\
             apply_threads = 1\n\
             # Threads that check signatures, up to {THREADS_MAX}; 0 is one for each core.\n\
             verify_threads = 0\n\
             # Round trip that links to other validators are shaped to, up to 10s; 0s is what the network gives.\n\
             rtt = \"0s\"\n\
             # Free space, in MiB, below which nothing is voted or admitted until there is room again; {RESERVE_MIB_MIN} to {RESERVE_MIB_MAX}.\n\
             reserve_mib = {RESERVE_MIB_DEFAULT}\n\n\
             # Bounds of the queues between threads, each from 1 to the default that stands here. Lower ones refuse earlier.\n\
             # [queues]\n{queues}\n\
             # Where other validators are reached: number = \"IP:PORT\". The own committee is needed, others may be missing.\n\
             [peers]\n",
            queues = QueueBounds::default().as_comments(),
            id = self.validator,
            public = hex::encode(self.public),
            genesis = quoted(GENESIS_FILE),
            key = quoted(self.key),
            peers = self.listen_peers,
            clients = self.listen_clients,
        );
        for (id, address) in self.peers {
            text.push_str(&format!("{id} = \"{address}\"\n"));
        }
        text
    }
}
