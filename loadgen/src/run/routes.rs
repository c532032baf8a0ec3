//! Which connection a transaction leaves on: steering names the node, the arena the connection among those to a node.

use std::collections::BTreeMap;
use std::sync::Arc;

use types::{MemberIndex, ShardId};

use crate::arena::Arena;
use crate::network::Target;
use crate::pacer::{NO_PARENT, Route, Source};
use crate::steering::Steering;

/// Connections by node, and where transactions stand among them.
#[derive(Debug)]
pub(crate) struct Routes {
    steering: Arc<Steering>,
    /// Number of each node among the targets.
    nodes: BTreeMap<(ShardId, MemberIndex), u32>,
    per_node: u32,
    /// By transaction: connection among those to its node, the one of its parent if it has one.
    lanes: Vec<u8>,
}

impl Routes {
    pub(crate) fn new(arena: &Arena, targets: &[Target], per_node: usize, steering: Arc<Steering>) -> Self {
        let nodes = (0..).zip(targets);
        let nodes = nodes.map(|(node, target)| ((target.shard, target.member), node));
        let mut lanes: Vec<u8> = Vec::with_capacity(arena.entries.len());
        for (position, entry) in arena.entries.iter().enumerate() {
            let of_parent = entry
                .parent
                .and_then(|parent| lanes.get(parent as usize).copied());
            // Shards take turns too, so that each shard's transactions spread over all of a node's connections.
            let turn = position / steering.shards().max(1);
            lanes.push(of_parent.unwrap_or((turn % per_node.max(1)) as u8));
        }
        Self {
            steering,
            nodes: nodes.collect(),
            per_node: per_node as u32,
            lanes,
        }
    }

    /// The steering that names the nodes.
    pub(crate) fn steering(&self) -> &Steering {
        &self.steering
    }

    /// Number of the first connection to a member, if there is such a node.
    pub(crate) fn first_connection(&self, shard: ShardId, member: MemberIndex) -> Option<u32> {
        let node = self.nodes.get(&(shard, member))?;
        Some(node * self.per_node)
    }

    /// Connections to one node.
    pub(crate) const fn per_node(&self) -> u32 {
        self.per_node
    }

    /// The connection of a transaction at the moment.
    pub(crate) fn connection(&self, arena: &Arena, index: u32) -> u32 {
        let (Some(entry), Some(lane)) = (arena.entries.get(index as usize), self.lanes.get(index as usize))
        else {
            return u32::MAX;
        };
        let first = self.first_connection(entry.shard, self.steering.member(entry));
        first.map_or(u32::MAX, |first| first + u32::from(*lane))
    }
}

/// The arena as the pacer sees it.
pub(crate) struct ArenaSource<'a> {
    pub(crate) arena: &'a Arena,
    pub(crate) times: &'a [u64],
    pub(crate) routes: &'a Routes,
}

impl Source for ArenaSource<'_> {
    fn times(&self) -> &[u64] {
        self.times
    }

    fn route(&self, index: u32) -> Route {
        let entry = self.arena.entries.get(index as usize);
        Route {
            connection: self.routes.connection(self.arena, index),
            parent: entry.and_then(|entry| entry.parent).unwrap_or(NO_PARENT),
        }
    }

    fn bytes(&self, index: u32) -> &[u8] {
        self.arena.tx(index)
    }

    fn version(&self) -> u64 {
        self.routes.steering.version()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use types::client::{ShardStatus, Topology};
    use types::genesis::EpochConfig;
    use types::{Epoch, Height, MemberIndex, ShardId, TxId};

    use super::{ArenaSource, Routes};
    use crate::arena::{Arena, ArenaEntry, Expect, SigningCost};
    use crate::network::Target;
    use crate::pacer::{NO_PARENT, Source as _};
    use crate::steering::Steering;
    use crate::workload::sample::Sample;

    fn arena(entries: &[(u16, Option<u32>)]) -> Arena {
        let entry = |(member, parent): &(u16, Option<u32>)| ArenaEntry {
            offset: 0,
            len: 0,
            txid: TxId::default(),
            shard: ShardId(0),
            group: 0,
            member: MemberIndex(*member),
            parent: *parent,
            expect: Expect::Final,
        };
        Arena {
            bytes: Vec::new(),
            entries: entries.iter().map(entry).collect(),
            digest: [0; 32],
            signing: SigningCost::default(),
            mix: Default::default(),
        }
    }

    fn targets(epoch: &EpochConfig) -> Vec<Target> {
        let members = (0..).zip(&epoch.committees[0].members);
        members
            .map(|(member, (validator, key))| Target {
                validator: *validator,
                key: *key,
                shard: ShardId(0),
                member: MemberIndex(member),
                address: SocketAddr::from(([127, 0, 0, 1], 4000 + member)),
            })
            .collect()
    }

    #[test]
    fn in_one_league_transactions_go_to_their_voter_and_children_share_their_parents_connection() {
        let sample = Sample::new(1, 4);
        let arena = arena(&[
            (0, None),
            (0, None),
            (1, None),
            (0, Some(0)),
            (1, Some(0)),
            (1, Some(2)),
        ]);
        let steering = Arc::new(Steering::new(&sample.epoch));
        let routes = Routes::new(&arena, &targets(&sample.epoch), 2, steering);
        let source = ArenaSource {
            arena: &arena,
            times: &[],
            routes: &routes,
        };
        let connections: Vec<u32> = (0..6).map(|index| source.route(index).connection).collect();
        assert_eq!(connections, [0, 1, 2, 0, 2, 2]);
        assert_eq!((source.route(0).parent, source.route(5).parent), (NO_PARENT, 2));
    }

    #[test]
    fn in_two_leagues_the_author_is_asked_until_the_mode_changes() {
        let sample = Sample::two_leagues(1, 4, |_| {});
        let arena = arena(&[(0, None), (3, Some(0))]);
        let steering = Arc::new(Steering::new(&sample.epoch));
        let routes = Routes::new(&arena, &targets(&sample.epoch), 1, Arc::clone(&steering));
        let source = ArenaSource {
            arena: &arena,
            times: &[],
            routes: &routes,
        };
        let author = u32::from(sample.epoch.committees[0].candidates[0].0);
        assert_eq!(
            (source.route(0).connection, source.route(1).connection),
            (author, author)
        );
        let version = source.version();
        let one_league = Topology {
            epoch: Epoch(0),
            shards: vec![ShardStatus {
                members: 5,
                mode: 1,
                height: Height(9),
            }],
            validators: Vec::new(),
        };
        assert!(steering.learn(&sample.epoch.committees[0], &one_league));
        assert_eq!((source.route(0).connection, source.route(1).connection), (0, 3));
        assert!(source.version() > version, "what waits is routed anew");
    }
}
