//! Where transactions go at the moment: to the author of their group while a shard has two leagues, to the voter that
//! the owner's draw names while it has one (`ios` 14.2).
//!
//! Invariant: genesis says who is a voter or a candidate; a node's word moves the seats among candidates and sets the
//! mode of its own shard, nothing else. A lie costs latency, never money.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use types::block::{MODE_ONE_LEAGUE, MODE_TWO_LEAGUES};
use types::client::Topology;
use types::genesis::{Committee, EpochConfig};
use types::{MemberIndex, ShardId};

use crate::arena::ArenaEntry;

/// Role of a candidate in a topology.
const ROLE_CANDIDATE: u8 = 1;

/// Targets by shard; read for every transaction, changed rarely.
#[derive(Debug)]
pub struct Steering {
    shards: Vec<Targets>,
    version: AtomicU64,
}

#[derive(Debug)]
struct Targets {
    mode: AtomicU8,
    /// Member that authors each group.
    authors: Vec<AtomicU16>,
}

impl Steering {
    /// As the genesis has it: two leagues in mode 0 with the candidates in the order of their draw, one league in
    /// mode 1.
    #[must_use]
    pub fn new(epoch: &EpochConfig) -> Self {
        let seats = usize::from(epoch.policy.seats());
        let targets = |committee: &Committee| Targets {
            mode: AtomicU8::new(if seats > 0 {
                MODE_TWO_LEAGUES
            } else {
                MODE_ONE_LEAGUE
            }),
            authors: committee
                .candidates
                .iter()
                .take(seats)
                .map(|member| AtomicU16::new(member.0))
                .collect(),
        };
        Self {
            shards: epoch.committees.iter().map(targets).collect(),
            version: AtomicU64::new(0),
        }
    }

    /// Number of shards.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Rises whenever a target changes.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Mode of a shard as far as is known here.
    #[must_use]
    pub fn mode(&self, shard: ShardId) -> u8 {
        let targets = self.shards.get(usize::from(shard.0));
        targets.map_or(MODE_ONE_LEAGUE, |targets| targets.mode.load(Ordering::Acquire))
    }

    /// Member that a transaction is sent to.
    #[must_use]
    pub fn member(&self, entry: &ArenaEntry) -> MemberIndex {
        let author = || {
            let targets = self.shards.get(usize::from(entry.shard.0))?;
            let author = targets.authors.get(usize::from(entry.group))?;
            Some(MemberIndex(author.load(Ordering::Acquire)))
        };
        match self.mode(entry.shard) {
            MODE_TWO_LEAGUES => author().unwrap_or(entry.member),
            _ => entry.member,
        }
    }

    /// Members that author the groups of a shard.
    #[must_use]
    pub fn authors(&self, shard: ShardId) -> Vec<MemberIndex> {
        let targets = self.shards.get(usize::from(shard.0));
        let authors = targets.map_or(&[][..], |targets| &targets.authors);
        authors
            .iter()
            .map(|author| MemberIndex(author.load(Ordering::Acquire)))
            .collect()
    }

    /// Takes what a node of a shard says about its shard, the only one that it speaks of; true when a target changed.
    pub fn learn(&self, committee: &Committee, topology: &Topology) -> bool {
        let number = usize::from(committee.shard.0);
        let (Some(targets), Some(status)) = (self.shards.get(number), topology.shards.first()) else {
            return false;
        };
        if targets.authors.is_empty() {
            return false;
        }
        let mode = if status.mode == MODE_TWO_LEAGUES {
            MODE_TWO_LEAGUES
        } else {
            MODE_ONE_LEAGUE
        };
        let mut changed = targets.mode.swap(mode, Ordering::AcqRel) != mode;
        for told in &topology.validators {
            let member = committee.member_of(told.id).filter(|member| {
                let is_candidate = told.role == ROLE_CANDIDATE && !committee.is_voter(*member);
                is_candidate && committee.key(*member) == Some(&told.key)
            });
            let (Some(member), Some(author)) = (member, targets.authors.get(usize::from(told.group))) else {
                continue;
            };
            changed |= author.swap(member.0, Ordering::AcqRel) != member.0;
        }
        if changed {
            self.version.fetch_add(1, Ordering::AcqRel);
        }
        changed
    }
}

/// Transactions that were sent more than once, each with the connection of its last copy: what the one before says of
/// them counts no more.
#[derive(Debug, Default)]
pub struct Moves {
    any: AtomicBool,
    places: Mutex<HashMap<u32, u32>>,
}

impl Moves {
    fn places(&self) -> std::sync::MutexGuard<'_, HashMap<u32, u32>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a transaction was sent again, on this connection.
    pub fn add(&self, index: u32, connection: u32) {
        self.places().insert(index, connection);
        self.any.store(true, Ordering::Release);
    }

    /// Notes that it was not sent again after all; `before` is where it was.
    pub fn restore(&self, index: u32, before: Option<u32>) {
        match before {
            Some(connection) => self.places().insert(index, connection),
            None => self.places().remove(&index),
        };
    }

    /// The connection of the last copy of a transaction; `None` when there is only one.
    #[must_use]
    pub fn place(&self, index: u32) -> Option<u32> {
        let any = self.any.load(Ordering::Acquire);
        any.then(|| self.places().get(&index).copied()).flatten()
    }

    /// Whether what a connection says of a transaction counts.
    #[must_use]
    pub fn is_with(&self, index: u32, connection: u32) -> bool {
        self.place(index).is_none_or(|place| place == connection)
    }

    /// Transactions that were sent more than once.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.places().len() as u64
    }
}

#[cfg(test)]
mod tests {
    use types::client::{ShardStatus, Topology, ValidatorAddress};
    use types::{Epoch, Height, MemberIndex, ShardId, TxId};

    use super::{Moves, Steering};
    use crate::arena::{ArenaEntry, Expect};
    use crate::workload::sample::Sample;

    fn entry(group: u16) -> ArenaEntry {
        ArenaEntry {
            offset: 0,
            len: 0,
            txid: TxId::default(),
            shard: ShardId(0),
            group,
            member: MemberIndex(2),
            parent: None,
            expect: Expect::Final,
        }
    }

    fn topology(sample: &Sample, mode: u8, groups: &[(u16, u16)]) -> Topology {
        let committee = &sample.epoch.committees[0];
        let address = |(member, group): &(u16, u16)| {
            let (id, key) = committee.members[usize::from(*member)];
            ValidatorAddress {
                id,
                key,
                shard: ShardId(0),
                role: u8::from(usize::from(*member) >= committee.size()),
                group: *group,
                ip: [0; 16],
                port: 1,
            }
        };
        Topology {
            epoch: Epoch(0),
            shards: vec![ShardStatus {
                members: committee.members.len() as u16,
                mode,
                height: Height(3),
            }],
            validators: groups.iter().map(address).collect(),
        }
    }

    #[test]
    fn mode_and_seats_follow_what_nodes_say_and_genesis_allows() {
        let sample = Sample::two_leagues(1, 4, |leagues| {
            leagues.seats = 2;
            leagues.candidates = 3;
        });
        let committee = &sample.epoch.committees[0];
        let steering = Steering::new(&sample.epoch);
        let drawn = committee.candidates.clone();
        assert_eq!(steering.member(&entry(0)), drawn[0]);
        assert_eq!(steering.member(&entry(1)), drawn[1]);
        assert_eq!(steering.authors(ShardId(0)), drawn[..2]);

        assert!(steering.learn(committee, &topology(&sample, 1, &[])));
        assert_eq!(steering.member(&entry(1)), MemberIndex(2), "the voter of mode 1");
        assert_eq!((steering.mode(ShardId(0)), steering.version()), (1, 1));

        let stand_in = topology(&sample, 0, &[(drawn[2].0, 1)]);
        assert!(steering.learn(committee, &stand_in));
        assert!(!steering.learn(committee, &stand_in), "nothing new");
        assert_eq!(steering.member(&entry(1)), drawn[2]);
        assert_eq!(steering.member(&entry(0)), drawn[0]);

        // A voter cannot take a seat, nor anybody a group that does not exist, nor a foreign key a place.
        let mut foreign = topology(&sample, 0, &[(drawn[0].0, 1)]);
        foreign.validators[0].key = [0; 32];
        for lie in [
            topology(&sample, 0, &[(0, 0)]),
            topology(&sample, 0, &[(drawn[0].0, 7)]),
            foreign,
        ] {
            assert!(!steering.learn(committee, &lie));
        }
    }

    #[test]
    fn a_node_speaks_of_its_own_shard() {
        let sample = Sample::two_leagues(2, 16, |_| {});
        let steering = Steering::new(&sample.epoch);
        // A node lists one shard, its own, whichever number that has.
        assert!(steering.learn(&sample.epoch.committees[1], &topology(&sample, 1, &[])));
        assert_eq!((steering.mode(ShardId(0)), steering.mode(ShardId(1))), (0, 1));
    }

    #[test]
    fn one_league_stays_one_whatever_nodes_say() {
        let sample = Sample::new(1, 4);
        let steering = Steering::new(&sample.epoch);
        assert!(!steering.learn(&sample.epoch.committees[0], &topology(&sample, 0, &[])));
        assert_eq!(steering.member(&entry(0)), MemberIndex(2));
        assert!(steering.authors(ShardId(0)).is_empty());
    }

    #[test]
    fn only_the_last_connection_speaks_of_what_was_moved() {
        let moves = Moves::default();
        assert!(moves.is_with(3, 0) && moves.is_with(3, 1));
        moves.add(3, 1);
        assert!(!moves.is_with(3, 0) && moves.is_with(3, 1) && moves.is_with(4, 0));
        assert_eq!(
            (moves.place(3), moves.place(4), moves.count()),
            (Some(1), None, 1)
        );
    }
}
