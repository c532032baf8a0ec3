//! One validator: a replica's thread between sockets, store and verification.
//!
//! ```text
//!  mesh ─▶ peers task ──▶ ┌───────┐                ┌─▶ mesh (held until durable)
//!  clients ─▶ ingress ─▶  │ Inbox │ ─▶ replica ─▶  ├─▶ store thread ─▶ durable
//!        └▶ verify pool ▶ └───────┘    thread      ├─▶ verify pool ─▶ bodies
//!  store ─▶ durable ─────▶                         └─▶ clients
//! ```

pub(crate) mod inbox;
mod outbox;
mod peers;
mod replica_thread;
mod restart;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::Context;
use files::{NetworkGenesis, QueueBounds};
use rpc::{Limits, Server, ServerHandle};
use store::{Durability, Store, StoreEvent, StoreOptions};
use transport::{ClientConfig, ClientListener, Identity, PeerConfig, PeerEndpoint, PeerMesh};
use types::client::{CLIENT_PROTOCOL_VERSION, Hello, Role};
use types::genesis::Committee;
use types::message::PEER_PROTOCOL_VERSION;
use types::policy::Policy;
use types::time::Duration;
use types::{Epoch, MemberIndex, ShardId, ValidatorId};

use crate::clock::Clock;
use crate::ingress::Ingress;
use crate::key_mark::KeyMark;
use crate::keys::KeySeed;
use crate::verify_pool::VerifyPool;
use inbox::Inbox;
use peers::Peer;
pub(crate) use replica_thread::{SharedCounters, Shown};
pub(crate) use restart::random;

/// Design numbers of `pob` and `pbft` in the hello (`ios` 14.2).
const DESIGN_POB: u8 = 0;
const DESIGN_PBFT: u8 = 1;

const _: () = assert!(
    files::limits::RESERVE_MIB_DEFAULT << 20 == store::RESERVE_BYTES,
    "a configuration's default is the store's"
);

/// What one validator is told at its start.
pub(crate) struct ValidatorConfig {
    /// Index in the id-sorted list.
    pub(crate) id: ValidatorId,
    /// Secret seed of its id key.
    pub(crate) key: KeySeed,
    /// The mark beside its key file, where it outlives the data.
    pub(crate) key_mark: Option<KeyMark>,
    /// Where its data lies.
    pub(crate) data_dir: PathBuf,
    /// UDP address for validators.
    pub(crate) listen_peers: SocketAddr,
    /// UDP address for clients.
    pub(crate) listen_clients: SocketAddr,
    /// What durable means.
    pub(crate) durability: Durability,
    /// Round-trip time that links are shaped to; zero for none.
    pub(crate) rtt: Duration,
    /// Free space below which the validator suspends, bytes.
    pub(crate) reserve_bytes: u64,
    /// Threads that apply blocks; 1 applies on the replica's thread.
    pub(crate) apply_threads: usize,
    /// Bounds of its queues.
    pub(crate) queues: QueueBounds,
}

/// A validator whose ports are open and whose state is loaded, not yet linked.
pub(crate) struct Prepared {
    config: ValidatorConfig,
    place: Place,
    endpoint: PeerEndpoint,
    listener: ClientListener,
    opened: store::Opened,
}

/// Where a validator stands in its epoch.
#[derive(Clone)]
pub(crate) struct Place {
    /// Shard.
    pub(crate) shard: ShardId,
    /// Position in the committee.
    pub(crate) member: MemberIndex,
    /// The committee.
    pub(crate) committee: Committee,
}

impl Place {
    /// The member with this number in the network.
    fn member_of(&self, id: u16) -> Option<MemberIndex> {
        let position = self
            .committee
            .members
            .iter()
            .position(|(other, _)| other.0 == id)?;
        Some(MemberIndex(position as u16))
    }
}

/// Finds the committee of a validator.
pub(crate) fn place_of(network: &NetworkGenesis, id: ValidatorId) -> Option<Place> {
    network.epoch.committees.iter().find_map(|committee| {
        let member = committee.members.iter().position(|(other, _)| *other == id)?;
        Some(Place {
            shard: committee.shard,
            member: MemberIndex(member as u16),
            committee: committee.clone(),
        })
    })
}

impl Prepared {
    /// Opens ports and data directory. Nothing runs yet; an error leaves nothing behind.
    pub(crate) fn new(network: &NetworkGenesis, config: ValidatorConfig) -> anyhow::Result<Self> {
        let place = place_of(network, config.id)
            .with_context(|| format!("validator {} is in no committee", config.id))?;
        let identity = Identity::from_seed(config.key.expose())?;
        let keys: BTreeMap<u16, [u8; 32]> = place
            .committee
            .members
            .iter()
            .map(|(id, key)| (id.0, *key))
            .collect();
        let queues = &config.queues;
        let peer_config = PeerConfig {
            one_way_delay: config.rtt / 2,
            queue_frames: queues.peer_frames,
            events_max: queues.peer_events,
            ..PeerConfig::new(config.listen_peers, keys)
        };
        let endpoint =
            PeerEndpoint::bind(&identity, peer_config).context("the port for validators cannot be opened")?;
        let client_config = ClientConfig {
            queue_frames: queues.client_frames,
            ..ClientConfig::new(config.listen_clients)
        };
        let listener = ClientListener::bind(&identity, &client_config)
            .context("the port for clients cannot be opened")?;
        let owner = store::Identity {
            genesis: network.hash,
            validator: identity.public_key(),
        };
        let options = StoreOptions {
            durability: config.durability,
            commands_max: queues.persist,
            reserve_bytes: config.reserve_bytes,
            ..StoreOptions::default()
        };
        let opened = Store::open(&config.data_dir, owner, options)
            .with_context(|| format!("the data directory {} cannot be used", config.data_dir.display()))?;
        Ok(Self {
            config,
            place,
            endpoint,
            listener,
            opened,
        })
    }

    /// Address for validators, with the real port.
    pub(crate) fn peer_address(&self) -> SocketAddr {
        self.endpoint.local_addr()
    }

    /// Address for clients, with the real port.
    pub(crate) fn client_address(&self) -> SocketAddr {
        self.listener.local_addr()
    }

    /// Position in the network.
    pub(crate) const fn place(&self) -> &Place {
        &self.place
    }

    /// Replays the log, links to the committee and serves clients.
    pub(crate) fn start(
        self,
        shared: &Shared,
        addresses: &BTreeMap<u16, SocketAddr>,
    ) -> anyhow::Result<Validator> {
        let Self {
            config,
            place,
            endpoint,
            listener,
            opened,
        } = self;
        let network = &shared.network;
        let queues = config.queues;
        let (inbox, receivers) = Inbox::new(place.committee.members.len(), &queues);
        let inbox = Arc::new(inbox);
        let policy = &network.genesis.policy;
        let patience = shortest_cut(policy) / 8;
        let lane = shared
            .pool
            .lane(network.hash, Arc::clone(&inbox), queues.intake_txs, patience);
        let restarted = restart::restore(network, &place, &config, opened, shared.clock)?;
        let store = start_store(restarted.opened, &inbox)?;
        let (mesh, mesh_events) = PeerMesh::start(endpoint, &others(&place, addresses, config.id))?;
        let hello = greeting(network, &place);
        let peer_hello = Hello {
            protocol_version: PEER_PROTOCOL_VERSION,
            ..hello.clone()
        };
        for events in mesh_events {
            let Some(member) = place.member_of(events.id) else {
                continue;
            };
            let peer = Peer {
                place: place.clone(),
                member,
                id: events.id,
                mesh: mesh.sender(),
                hello: peer_hello.clone(),
                inbox: Arc::clone(&inbox),
            };
            watch(&inbox, "a task of a member", peer.run(events));
        }
        let (client_events, client_requests) = tokio::sync::mpsc::channel(queues.client_requests);
        let clients = Server::start(listener, hello, Limits::default(), client_events);
        lane.set_clients(clients.clone());
        let counters = Arc::new(SharedCounters::of(&restarted.replica));
        let ingress = Ingress {
            id: config.id,
            place: place.clone(),
            inbox: Arc::clone(&inbox),
            pool: Arc::clone(&shared.pool),
            lane: Arc::clone(&lane),
            store: store.handle(),
            clients: clients.clone(),
            mesh: mesh.sender(),
            counters: Arc::clone(&counters),
            seats: policy.seats(),
            topology: Arc::clone(&shared.topology),
            process: shared.process,
            filesystem: store::filesystem_name(&config.data_dir),
        };
        watch(&inbox, "the ingress task", ingress.run(client_requests));
        let thread = replica_thread::spawn(replica_thread::Parts {
            replica: restarted.replica,
            inbox: Arc::clone(&inbox),
            receivers,
            clock: shared.clock,
            place,
            store: store.handle(),
            pool: Arc::clone(&shared.pool),
            lane: Arc::clone(&lane),
            mesh: mesh.sender(),
            clients: clients.clone(),
            counters,
            apply_threads: config.apply_threads,
            key_mark: config.key_mark.map(|mark| (mark, network.hash)),
            verify_jobs: queues.verify_jobs,
        })?;
        Ok(Validator {
            id: config.id,
            inbox,
            store: Some(store),
            mesh: Some(mesh),
            clients,
            thread: Some(thread),
        })
    }
}

/// What the validator says of itself to clients, and with another version to members.
fn greeting(network: &NetworkGenesis, place: &Place) -> Hello {
    Hello {
        genesis: network.hash,
        id: place.committee.key(place.member).copied().unwrap_or_default(),
        protocol_version: CLIENT_PROTOCOL_VERSION,
        role: Role::Validator,
        design: match network.genesis.policy.leagues {
            Some(_) => DESIGN_POB,
            None => DESIGN_PBFT,
        },
        epoch: Epoch(0),
        in_flight_max: 0,
    }
}

/// The shortest time after which an author cuts a block, in either mode.
fn shortest_cut(policy: &Policy) -> Duration {
    let leagues = policy.leagues.as_ref().map(|leagues| leagues.cut_interval);
    leagues.map_or(policy.cut_interval, |cut| cut.min(policy.cut_interval))
}

fn others(
    place: &Place,
    addresses: &BTreeMap<u16, SocketAddr>,
    me: ValidatorId,
) -> BTreeMap<u16, SocketAddr> {
    let members = place
        .committee
        .members
        .iter()
        .map(|(id, _)| id.0)
        .filter(|id| *id != me.0);
    members
        .filter_map(|id| addresses.get(&id).map(|address| (id, *address)))
        .collect()
}

/// Runs a task whose panic stops the validator: without it the validator would only seem to serve.
fn watch(inbox: &Arc<Inbox>, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
    let inbox = Arc::clone(inbox);
    tokio::spawn(async move {
        // A task that is cancelled ends with the runtime.
        if let Err(error) = tokio::spawn(task).await
            && error.is_panic()
        {
            inbox.fail(format!("{name} panicked"));
        }
    });
}

fn start_store(opened: store::Opened, inbox: &Arc<Inbox>) -> anyhow::Result<Store> {
    let inbox = Arc::clone(inbox);
    let on_event = move |event| match event {
        StoreEvent::Written(_) => {}
        StoreEvent::Durable(seq) => inbox.durable(seq),
        StoreEvent::LowSpace { free, reserve } => {
            tracing::warn!(
                free,
                reserve,
                "the disk is nearly full: nothing is admitted or voted until there is room"
            );
            inbox.space(true);
        }
        StoreEvent::SpaceReturned { free } => {
            // As loud as the warning that it ends.
            tracing::warn!(free, "the disk has room again: going on");
            inbox.space(false);
        }
        StoreEvent::Failed(reason) => inbox.fail(reason),
    };
    Ok(opened.start(Box::new(on_event))?)
}

/// What validators of one process share: inputs, never results.
pub(crate) struct Shared {
    /// Genesis and epoch.
    pub(crate) network: Arc<NetworkGenesis>,
    /// Clock.
    pub(crate) clock: Clock,
    /// Verification threads.
    pub(crate) pool: Arc<VerifyPool>,
    /// Addresses for clients, by validator.
    pub(crate) topology: Arc<BTreeMap<u16, SocketAddr>>,
    /// Random number of the process.
    pub(crate) process: u64,
}

/// A running validator.
pub(crate) struct Validator {
    /// Index in the id-sorted list.
    pub(crate) id: ValidatorId,
    inbox: Arc<Inbox>,
    store: Option<Store>,
    mesh: Option<PeerMesh>,
    clients: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl Validator {
    /// Why it stopped by itself, if it did.
    pub(crate) fn failure(&self) -> Option<String> {
        self.inbox.failure()
    }

    /// Members with a link, oneself not counted.
    pub(crate) fn links(&self) -> usize {
        self.mesh
            .as_ref()
            .map_or(0, |mesh| mesh.sender().connected().len())
    }

    /// Stops: no more clients, the replica's thread ends, what was given to the store becomes durable.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.clients.shutdown().await;
        self.inbox.stop();
        if let Some(thread) = self.thread.take() {
            let ended = tokio::task::spawn_blocking(move || thread.join()).await?;
            anyhow::ensure!(ended.is_ok(), "the thread of validator {} panicked", self.id);
        }
        if let Some(mesh) = self.mesh.take() {
            mesh.shutdown().await;
        }
        if let Some(store) = self.store.take() {
            tokio::task::spawn_blocking(move || store.close()).await??;
        }
        Ok(())
    }
}
