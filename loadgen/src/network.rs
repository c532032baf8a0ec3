//! Connections to the nodes of a network: who serves what, at which address, under which key.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use files::Host;
use rpc::{AnswerReceiver, ConnectError, Connection, RequestSender};
use tokio::time::timeout;
use transport::ClientEndpoint;
use types::client::{Answer, CLIENT_PROTOCOL_VERSION, Hello, NodeInfo, Request, Role, Topology};
use types::genesis::{EpochConfig, Genesis};
use types::limits::TAGS_IN_FLIGHT_MAX;
use types::{MemberIndex, ShardId, ValidatorId};

use crate::hosts::NodeList;

/// Design number of `pob` in greetings.
const DESIGN_POB: u8 = 0;
/// Design number of `pbft` in greetings.
const DESIGN_PBFT: u8 = 1;
/// Longest wait for the answer to a question.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// One validator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Number.
    pub validator: ValidatorId,
    /// Key that its certificate must hold.
    pub key: [u8; 32],
    /// Shard that it serves.
    pub shard: ShardId,
    /// Its place in the committee.
    pub member: MemberIndex,
    /// Address for clients.
    pub address: SocketAddr,
}

/// Why a network cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// No socket.
    #[error("no UDP socket: {0}")]
    Socket(#[from] transport::BindError),
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The node did not answer.
    #[error("node {address} did not answer {question}: {reason}")]
    Silent {
        /// Node.
        address: SocketAddr,
        /// What was asked.
        question: &'static str,
        /// How it failed.
        reason: String,
    },
    /// A key of the hosts file is not one of the genesis.
    #[error("node {address}: key {} is not one of this genesis", hex::encode(key))]
    ForeignKey {
        /// Node.
        address: SocketAddr,
        /// Key in the file.
        key: [u8; 32],
    },
    /// An address at which no validator of this genesis answers.
    #[error("node {0}: no validator of this genesis answers there")]
    Unknown(SocketAddr),
    /// Validators without an address.
    #[error("validators {0} have no address: name all nodes in --nodes")]
    Missing(String),
}

/// The greeting of a client of this network.
#[must_use]
pub const fn greeting(epoch: &EpochConfig) -> Hello {
    Hello {
        genesis: epoch.genesis_hash,
        id: [0; 32],
        protocol_version: CLIENT_PROTOCOL_VERSION,
        role: Role::Client,
        design: if epoch.policy.leagues.is_some() {
            DESIGN_POB
        } else {
            DESIGN_PBFT
        },
        epoch: epoch.epoch,
        in_flight_max: TAGS_IN_FLIGHT_MAX,
    }
}

/// A socket that reaches this address.
///
/// # Errors
/// `Socket`.
pub fn endpoint_for(address: SocketAddr) -> Result<ClientEndpoint, NetworkError> {
    let local: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    Ok(ClientEndpoint::bind(SocketAddr::new(local, 0))?)
}

/// A connection for questions, one at a time.
#[derive(Debug)]
pub struct Control {
    /// Node.
    pub target: Target,
    /// Questions.
    pub sender: RequestSender,
    /// Answers.
    pub answers: AnswerReceiver,
    /// Keeps the socket open.
    _endpoint: ClientEndpoint,
}

impl Control {
    /// Connects to a validator.
    ///
    /// # Errors
    /// `Socket` or `Connect`.
    pub async fn connect(target: Target, hello: &Hello) -> Result<Self, NetworkError> {
        let endpoint = endpoint_for(target.address)?;
        let (sender, answers) =
            Connection::connect(&endpoint, target.address, target.key, hello.clone()).await?;
        Ok(Self {
            target,
            sender,
            answers,
            _endpoint: endpoint,
        })
    }

    async fn ask<T>(
        &mut self,
        question: Request,
        name: &'static str,
        pick: impl Fn(Answer) -> Option<T>,
    ) -> Result<T, NetworkError> {
        let address = self.target.address;
        let silent = |reason: String| NetworkError::Silent {
            address,
            question: name,
            reason,
        };
        let answer = async {
            self.sender
                .send(question)
                .await
                .map_err(|error| silent(error.to_string()))?;
            loop {
                match self.answers.recv().await {
                    Ok(Some(received)) => {
                        if let Some(answer) = pick(received.answer) {
                            return Ok(answer);
                        }
                    }
                    Ok(None) => return Err(silent("the node shut down".to_owned())),
                    Err(error) => return Err(silent(error.to_string())),
                }
            }
        };
        timeout(ANSWER_DEADLINE, answer)
            .await
            .map_err(|_| silent(format!("nothing within {} s", ANSWER_DEADLINE.as_secs())))?
    }

    /// What the node runs on and what it has counted.
    ///
    /// # Errors
    /// `Silent`.
    pub async fn info(&mut self) -> Result<NodeInfo, NetworkError> {
        self.ask(Request::Info, "Info", |answer| match answer {
            Answer::Info(info) => Some(*info),
            _ => None,
        })
        .await
    }

    /// Addresses, modes and heights as the node knows them.
    ///
    /// # Errors
    /// `Silent`.
    pub async fn topology(&mut self) -> Result<Topology, NetworkError> {
        self.ask(Request::Topology, "Topology", |answer| match answer {
            Answer::Topology(topology) => Some(topology),
            _ => None,
        })
        .await
    }
}

/// All validators of a genesis with these addresses, by key.
///
/// # Errors
/// `Missing` names those without one.
pub fn targets_of(
    genesis: &Genesis,
    epoch: &EpochConfig,
    addresses: &BTreeMap<[u8; 32], SocketAddr>,
) -> Result<Vec<Target>, NetworkError> {
    let mut targets = Vec::with_capacity(genesis.validators.len());
    let mut missing = Vec::new();
    for committee in &epoch.committees {
        for (member, (validator, key)) in (0_u16..).zip(&committee.members) {
            match addresses.get(key) {
                Some(address) => targets.push(Target {
                    validator: *validator,
                    key: *key,
                    shard: committee.shard,
                    member: MemberIndex(member),
                    address: *address,
                }),
                None => missing.push(validator.to_string()),
            }
        }
    }
    if !missing.is_empty() {
        return Err(NetworkError::Missing(missing.join(", ")));
    }
    targets.sort_by_key(|target| target.validator);
    Ok(targets)
}

/// Matches nodes to validators: by the keys of the hosts file; for bare addresses by what the first node that
/// answers says, and by trying keys for what is left. Every connection is pinned to a key of the genesis.
///
/// # Errors
/// Names the address or the validators that do not match.
pub async fn find_targets(
    genesis: &Genesis,
    epoch: &EpochConfig,
    list: &NodeList,
) -> Result<Vec<Target>, NetworkError> {
    let mut addresses: BTreeMap<[u8; 32], SocketAddr> = BTreeMap::new();
    let mut bare: Vec<SocketAddr> = Vec::new();
    for Host { address, key } in &list.nodes {
        match key {
            Some(key) if !genesis.validators.contains(key) => {
                return Err(NetworkError::ForeignKey {
                    address: *address,
                    key: *key,
                });
            }
            Some(key) => {
                addresses.insert(*key, *address);
            }
            None => bare.push(*address),
        }
    }
    let hello = greeting(epoch);
    for address in bare {
        if addresses.values().any(|known| *known == address) {
            continue;
        }
        let mut control = try_keys(genesis, &addresses, address, &hello).await?;
        addresses.insert(control.target.key, address);
        if addresses.len() < genesis.validators.len() {
            // A node that does not say it costs only the keys that are tried instead.
            if let Ok(topology) = control.topology().await {
                for (key, address) in advertised(&topology, genesis) {
                    addresses.entry(key).or_insert(address);
                }
            }
        }
    }
    targets_of(genesis, epoch, &addresses)
}

/// Addresses that a node advertises, of validators of this genesis.
fn advertised(topology: &Topology, genesis: &Genesis) -> Vec<([u8; 32], SocketAddr)> {
    let keys: BTreeSet<&[u8; 32]> = genesis.validators.iter().collect();
    topology
        .validators
        .iter()
        .filter(|validator| validator.port > 0 && keys.contains(&validator.key))
        .map(|validator| {
            let ip = Ipv6Addr::from(validator.ip);
            let ip = ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4);
            (validator.key, SocketAddr::new(ip, validator.port))
        })
        .filter(|(_, address)| !address.ip().is_unspecified())
        .collect()
}

/// The key under which this address answers; a wrong one fails the handshake at once.
async fn try_keys(
    genesis: &Genesis,
    known: &BTreeMap<[u8; 32], SocketAddr>,
    address: SocketAddr,
    hello: &Hello,
) -> Result<Control, NetworkError> {
    for key in genesis.validators.iter().filter(|key| !known.contains_key(*key)) {
        let target = Target {
            validator: ValidatorId(0),
            key: *key,
            shard: ShardId(0),
            member: MemberIndex(0),
            address,
        };
        match Control::connect(target, hello).await {
            Ok(control) => return Ok(control),
            Err(error) if is_hopeless(&error) => return Err(error),
            Err(_) => {}
        }
    }
    Err(NetworkError::Unknown(address))
}

/// Errors that another key does not change.
fn is_hopeless(error: &NetworkError) -> bool {
    match error {
        NetworkError::Connect(ConnectError::Transport { source, .. }) => {
            matches!(
                source,
                transport::ConnectError::Deadline { .. } | transport::ConnectError::Address(_)
            )
        }
        NetworkError::Connect(_) => true,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::SocketAddr;

    use types::client::{Topology, ValidatorAddress};
    use types::genesis::{FundingRule, Genesis};
    use types::policy::Policy;
    use types::{Amount, Epoch, Hash, ShardId, ValidatorId};

    use super::{NetworkError, advertised, targets_of};

    fn genesis() -> Genesis {
        Genesis {
            name: "targets".into(),
            policy: Policy::lan(),
            shards: 2,
            randomness: Hash([3; 32]),
            validators: (1..=8).map(|id| [id; 32]).collect(),
            voting_keys: Vec::new(),
            bonds: vec![0; 8],
            funding: FundingRule {
                seed: 1,
                accounts: 1,
                amount: Amount(1),
            },
            allocations: 1,
            allocations_hash: Hash([4; 32]),
        }
    }

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn every_validator_has_its_place_or_is_named_as_missing() {
        let genesis = genesis();
        let epoch = crypto::placement::epoch_config(&genesis);
        let mut addresses: BTreeMap<[u8; 32], SocketAddr> = (1..=8)
            .map(|id| ([id; 32], address(4000 + u16::from(id))))
            .collect();
        let targets = targets_of(&genesis, &epoch, &addresses).expect("all");
        assert_eq!(targets.len(), 8);
        for target in &targets {
            let committee = &epoch.committees[usize::from(target.shard.0)];
            assert_eq!(committee.key(target.member), Some(&target.key));
            assert_eq!(genesis.validators[usize::from(target.validator.0)], target.key);
        }
        addresses.remove(&[3; 32]);
        let error = targets_of(&genesis, &epoch, &addresses).expect_err("one is missing");
        assert!(
            matches!(&error, NetworkError::Missing(ids) if ids == "2"),
            "{error}"
        );
    }

    #[test]
    fn only_usable_addresses_of_known_keys_are_taken() {
        let validator = |key: u8, ip: [u8; 16], port| ValidatorAddress {
            id: ValidatorId(0),
            key: [key; 32],
            shard: ShardId(0),
            role: 0,
            group: 0,
            ip,
            port,
        };
        let mapped = std::net::Ipv4Addr::LOCALHOST.to_ipv6_mapped().octets();
        let topology = Topology {
            epoch: Epoch(0),
            shards: Vec::new(),
            validators: vec![
                validator(1, mapped, 4001),
                validator(2, mapped, 0),
                validator(3, [0; 16], 4003),
                validator(99, mapped, 4099),
            ],
        };
        assert_eq!(advertised(&topology, &genesis()), [([1; 32], address(4001))]);
    }
}
