//! What two sides must agree on before anything else is said.

// What judges bytes of clients has nothing to panic with.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

use types::Hash;
use types::client::{Hello, Role};

/// Why two sides do not talk; every message names both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Two networks.
    #[error("the client belongs to genesis {client}, the node to genesis {node}")]
    Genesis {
        /// Of the client.
        client: Hash,
        /// Of the node.
        node: Hash,
    },
    /// Two versions of the client protocol.
    #[error("the client speaks version {client} of the client protocol, the node version {node}")]
    Version {
        /// Of the client.
        client: u16,
        /// Of the node.
        node: u16,
    },
    /// Two ledger designs.
    #[error("the client asks for design {}, the node runs {}", design_name(*client), design_name(*node))]
    Design {
        /// Of the client.
        client: u8,
        /// Of the node.
        node: u8,
    },
    /// The connecting side is no client, or a client that states an id.
    #[error("the connecting side must greet as a client with a zero id, it greeted as {stated:?}")]
    ClientRole {
        /// What it said.
        stated: Role,
    },
    /// The answering side is no validator, or not the one whose key the connection is pinned to.
    #[error("the client expects validator {}, the node greeted as {stated:?} {}", Hash(*expected), Hash(*id))]
    NodeRole {
        /// Key that the client pinned.
        expected: [u8; 32],
        /// What the node said.
        stated: Role,
        /// Id that the node stated.
        id: [u8; 32],
    },
}

/// Name of a ledger design as the command lines spell it.
const fn design_name(design: u8) -> &'static str {
    match design {
        0 => "pob",
        1 => "pbft",
        2 => "records",
        3 => "constellation",
        _ => "an unknown design",
    }
}

/// Both sides make the same comparison, so that each can say what is wrong.
pub(crate) fn agree(client: &Hello, node: &Hello) -> Result<(), Mismatch> {
    if client.protocol_version != node.protocol_version {
        return Err(Mismatch::Version {
            client: client.protocol_version,
            node: node.protocol_version,
        });
    }
    if client.genesis != node.genesis {
        return Err(Mismatch::Genesis {
            client: client.genesis,
            node: node.genesis,
        });
    }
    if client.design != node.design {
        return Err(Mismatch::Design {
            client: client.design,
            node: node.design,
        });
    }
    Ok(())
}

/// The server's check of a client's greeting.
pub(crate) fn check_client(client: &Hello, node: &Hello) -> Result<(), Mismatch> {
    agree(client, node)?;
    if client.role != Role::Client || client.id != [0; 32] {
        return Err(Mismatch::ClientRole { stated: client.role });
    }
    Ok(())
}

/// The client's check of a node's greeting; `expected` is the key that TLS pinned.
pub(crate) fn check_node(client: &Hello, node: &Hello, expected: [u8; 32]) -> Result<(), Mismatch> {
    agree(client, node)?;
    if node.role != Role::Validator || node.id != expected {
        return Err(Mismatch::NodeRole {
            expected,
            stated: node.role,
            id: node.id,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use types::client::{CLIENT_PROTOCOL_VERSION, Hello, Role};
    use types::{Epoch, Hash};

    use super::{Mismatch, check_client, check_node};

    fn pair() -> (Hello, Hello) {
        let node = Hello {
            genesis: Hash([1; 32]),
            id: [7; 32],
            protocol_version: CLIENT_PROTOCOL_VERSION,
            role: Role::Validator,
            design: 1,
            epoch: Epoch(0),
            in_flight_max: 10,
        };
        let client = Hello {
            id: [0; 32],
            role: Role::Client,
            ..node.clone()
        };
        (client, node)
    }

    #[test]
    fn equal_networks_agree() {
        let (client, node) = pair();
        assert_eq!(check_client(&client, &node), Ok(()));
        assert_eq!(check_node(&client, &node, [7; 32]), Ok(()));
    }

    #[test]
    fn every_difference_is_named_with_both_sides() {
        let (mut client, node) = pair();
        client.genesis = Hash([2; 32]);
        let text = check_client(&client, &node).unwrap_err().to_string();
        assert!(text.contains(&Hash([2; 32]).to_string()), "{text}");
        assert!(text.contains(&Hash([1; 32]).to_string()), "{text}");

        let (mut client, node) = pair();
        client.protocol_version = CLIENT_PROTOCOL_VERSION + 1;
        let text = check_node(&client, &node, [7; 32]).unwrap_err().to_string();
        for version in [CLIENT_PROTOCOL_VERSION, CLIENT_PROTOCOL_VERSION + 1] {
            assert!(text.contains(&format!("version {version}")), "{text}");
        }

        let (mut client, node) = pair();
        client.design = 0;
        let text = check_client(&client, &node).unwrap_err().to_string();
        assert!(text.contains("pob") && text.contains("pbft"), "{text}");
    }

    #[test]
    fn roles_and_ids_are_checked() {
        let (mut client, node) = pair();
        client.role = Role::Validator;
        assert_eq!(
            check_client(&client, &node),
            Err(Mismatch::ClientRole {
                stated: Role::Validator
            })
        );
        let (mut client, node) = pair();
        client.id = [3; 32];
        assert!(check_client(&client, &node).is_err());
        let (client, node) = pair();
        assert_eq!(
            check_node(&client, &node, [8; 32]),
            Err(Mismatch::NodeRole {
                expected: [8; 32],
                stated: Role::Validator,
                id: [7; 32]
            })
        );
    }
}
