//! What clients ask: transactions go to the verification pool, questions to the replica, the store or counters.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use replica::Event;
use rpc::{ServerEvent, ServerHandle};
use store::{CommittedRead, StoreHandle};
use tokio::sync::{Semaphore, mpsc, oneshot};
use transport::MeshSender;
use types::block::CommittedBlock;
use types::client::{
    Answer, BlockItem, GROUP_NONE, NodeInfo, Refused, Request, ShardStatus, Topology, ValidatorAddress,
};
use types::codec::Encode;
use types::genesis::Committee;
use types::limits::CLIENT_FRAME_BYTES_MAX;
use types::message::AuthorBlock;
use types::{Amount, ConnectionId, Epoch, Height, MemberIndex, Reject, Tag, ValidatorId};

use crate::driver::inbox::Inbox;
use crate::driver::{Place, SharedCounters, Shown};
use crate::process;
use crate::verify_pool::{BUSY_RETRY_MS, VerifyLane, VerifyPool, Way};

/// Final blocks of one answer.
const BLOCKS_MAX: u16 = 1024;
/// Reads of the store for clients at the same time; more wait.
const READS_MAX: usize = 4;
/// Bytes of bodies that one read of the store brings; a client that is slow to take them keeps as much in memory.
const READ_BYTES: usize = 1 << 20;
/// Questions for blocks of one client that wait behind the one being answered; with more it is disconnected.
const BLOCK_QUESTIONS_MAX: usize = 4;

/// One validator's ingress.
pub(crate) struct Ingress {
    pub(crate) id: ValidatorId,
    pub(crate) place: Place,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) pool: Arc<VerifyPool>,
    pub(crate) lane: Arc<VerifyLane>,
    pub(crate) store: StoreHandle,
    pub(crate) clients: ServerHandle,
    pub(crate) mesh: MeshSender,
    pub(crate) counters: Arc<SharedCounters>,
    /// Seats of the shard; with several there is a slow lane (`ios` 20.3).
    pub(crate) seats: u16,
    pub(crate) topology: Arc<BTreeMap<u16, SocketAddr>>,
    pub(crate) process: u64,
    pub(crate) filesystem: String,
}

impl Ingress {
    /// Serves until the server ends.
    pub(crate) async fn run(self, mut events: mpsc::Receiver<ServerEvent>) {
        let reads = Arc::new(Semaphore::new(READS_MAX));
        let mut block_readers = BTreeMap::new();
        while let Some(event) = events.recv().await {
            match event {
                ServerEvent::Opened(_) => {}
                ServerEvent::Closed(connection) => {
                    block_readers.remove(&connection);
                    self.lane.forget(connection);
                    self.inbox.query(Event::ClientClosed(connection)).await;
                }
                ServerEvent::Request {
                    connection,
                    request: Request::Blocks { from, count },
                } => {
                    let reader = block_readers
                        .entry(connection)
                        .or_insert_with(|| self.block_reader(connection, &reads));
                    if reader.try_send((from, count.min(BLOCKS_MAX))).is_err() {
                        let most = BLOCK_QUESTIONS_MAX;
                        let reason = format!("more than {most} questions for blocks wait for an answer");
                        self.clients.disconnect(connection, &reason);
                    }
                }
                ServerEvent::Request { connection, request } => self.answer(connection, request).await,
            }
        }
    }

    /// Starts the task that answers a client's questions for blocks, one after the other. It ends with its sender.
    fn block_reader(&self, connection: ConnectionId, reads: &Arc<Semaphore>) -> mpsc::Sender<(Height, u16)> {
        let (ask, mut asked) = mpsc::channel(BLOCK_QUESTIONS_MAX);
        let (store, clients, reads) = (self.store.clone(), self.clients.clone(), Arc::clone(reads));
        tokio::spawn(async move {
            while let Some((from, count)) = asked.recv().await {
                serve_blocks(&store, &clients, &reads, connection, from, count).await;
            }
        });
        ask
    }

    async fn answer(&self, connection: ConnectionId, request: Request) {
        match request {
            Request::Submit { first_tag, txs } => self.submit(connection, first_tag, Way::Author, txs),
            Request::SubmitSlow { first_tag, txs } if self.seats > 1 => {
                self.submit(connection, first_tag, Way::Slow, txs);
            }
            Request::SubmitSlow { first_tag, txs } => {
                let refused = (first_tag.0..).zip(&txs).map(|(tag, _)| Refused {
                    tag: Tag(tag),
                    reason: Reject::KindClosed,
                });
                self.send(connection, &Answer::Reject(refused.collect()));
            }
            Request::Topology => self.send(connection, &Answer::Topology(self.topology())),
            Request::Info => self.send(connection, &Answer::Info(Box::new(self.info()))),
            Request::State => self.inbox.query(Event::StateAsked(connection)).await,
            Request::Status(txids) => self.inbox.query(Event::StatusAsked { connection, txids }).await,
            Request::Blocks { .. } | Request::Hello(_) => {}
        }
    }

    fn submit(&self, connection: ConnectionId, first_tag: Tag, way: Way, txs: Vec<Bytes>) {
        let count = txs.len() as u16;
        if !self.pool.submit(&self.lane, connection, first_tag, way, txs) {
            self.send(
                connection,
                &Answer::Busy {
                    first_tag,
                    count,
                    retry_ms: BUSY_RETRY_MS,
                },
            );
        }
    }

    fn send(&self, connection: ConnectionId, answer: &Answer) {
        if let Err(error) = self.clients.send(connection, answer) {
            tracing::debug!(connection = connection.0, %error, "an answer found no client");
        }
    }

    fn topology(&self) -> Topology {
        let height = Height(self.counters.height.load(Ordering::Relaxed));
        let committee = &self.place.committee;
        let Shown { mode, authors, .. } = self.counters.shown();
        let shards = vec![ShardStatus {
            members: committee.members.len() as u16,
            mode,
            height,
        }];
        Topology {
            epoch: Epoch(0),
            shards,
            validators: members(committee, &authors, &self.topology),
        }
    }

    fn info(&self) -> NodeInfo {
        let backend = crypto::verify::backend();
        let stats = self.store.stats();
        let traffic = self.mesh.traffic();
        let clients = self.clients.counters();
        let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let counted = self.counters.shown().counters;
        let checks = &self.lane.checks;
        let [checks_intake, checks_sampled, checks_recheck] =
            [&checks.intake, &checks.sampled, &checks.recheck].map(read);
        NodeInfo {
            validator: self.id,
            process: self.process,
            backend: backend.name.into(),
            backend_best: backend.best_here.into(),
            filesystem: self.filesystem.clone(),
            durability: stats.durability.name().into(),
            build: crate::BUILD.into(),
            fsync_p50_ns: stats.fsync_us_p50 * 1000,
            fsyncs: stats.fsyncs,
            signature_checks: checks_intake + checks_sampled + checks_recheck,
            checks_intake,
            checks_sampled,
            checks_recheck,
            bytes_sent: traffic.sent_bytes + clients.bytes_out(),
            bytes_received: traffic.received_bytes + clients.bytes_in(),
            cpu_ns: process::cpu_ns(),
            memory_bytes: process::memory_bytes(),
            heights_in_flight_sum: counted.heights_in_flight_sum,
            proposals: counted.proposals,
            view_changes: counted.view_changes,
            refused: counted.refused + read(&self.lane.refused) + clients.refused_total(),
            blocks_cut: counted.blocks_cut,
            faults: counted.faults,
            slashed: counted.slashed,
            claims: counted.claims,
            claims_seized: Amount(counted.claims_seized),
            claims_paid: Amount(counted.claims_paid),
            claims_unpaid: Amount(counted.claims_unpaid),
            fallback_entries: counted.fallback_entries,
            fallback_exits: counted.fallback_exits,
        }
    }
}

/// All members of a committee with what they author now. A client has to know the author also where its address is
/// not known here: address and port are zero then.
fn members(
    committee: &Committee,
    authors: &[(u16, MemberIndex)],
    addresses: &BTreeMap<u16, SocketAddr>,
) -> Vec<ValidatorAddress> {
    let members = (0..).map(MemberIndex).zip(&committee.members);
    let member = |(member, (id, key)): (MemberIndex, &(ValidatorId, [u8; 32]))| {
        let address = addresses.get(&id.0);
        let ip = address.map(|address| match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        });
        let authored = authors.iter().find(|(_, author)| *author == member);
        ValidatorAddress {
            id: *id,
            key: *key,
            shard: committee.shard,
            role: u8::from(!committee.is_voter(member)),
            group: authored.map_or(GROUP_NONE, |(group, _)| *group),
            ip: ip.unwrap_or_default(),
            port: address.map_or(0, SocketAddr::port),
        }
    };
    members.map(member).collect()
}

/// Reads final blocks with their bodies and sends them in frames, the last one marked.
async fn serve_blocks(
    store: &StoreHandle,
    clients: &ServerHandle,
    reads: &Semaphore,
    connection: ConnectionId,
    from: Height,
    count: u16,
) {
    let mut next = from;
    let mut left = count;
    let mut frame = FrameOfItems::default();
    while left > 0 {
        let (reply, answer) = oneshot::channel();
        let read = CommittedRead {
            from: next,
            count: left,
            bytes_max: READ_BYTES,
            bodies: true,
        };
        let blocks = {
            // Held while the store reads and not while the client does: a slow one must not keep the others waiting.
            let _permit = reads.acquire().await;
            let asked = store.read_committed(read, move |blocks| drop(reply.send(blocks)));
            match (asked, answer.await) {
                (Ok(()), Ok(Ok(blocks))) => blocks,
                _ => break,
            }
        };
        if blocks.is_empty() {
            break;
        }
        for (block, bodies) in blocks {
            next = block.block.header.height.next();
            left -= 1;
            for item in items(block, bodies) {
                if let Some(full) = frame.push(item)
                    && clients
                        .send_when_room(
                            connection,
                            &Answer::Blocks {
                                items: full,
                                last: false,
                            },
                        )
                        .await
                        .is_err()
                {
                    return;
                }
            }
        }
    }
    let _ = clients
        .send_when_room(
            connection,
            &Answer::Blocks {
                items: frame.items,
                last: true,
            },
        )
        .await;
}

fn items(block: CommittedBlock, bodies: Vec<AuthorBlock>) -> impl Iterator<Item = BlockItem> {
    std::iter::once(BlockItem::Block(Box::new(block))).chain(bodies.into_iter().map(BlockItem::Body))
}

/// Items that fill one frame.
#[derive(Default)]
struct FrameOfItems {
    items: Vec<BlockItem>,
    bytes: usize,
}

impl FrameOfItems {
    /// Adds an item; gives the earlier ones when it does not fit beside them.
    fn push(&mut self, item: BlockItem) -> Option<Vec<BlockItem>> {
        let bytes = 8 + match &item {
            BlockItem::Block(block) => block.to_bytes().len(),
            BlockItem::Body(block) => 183 + 4 + block.body.len(),
        };
        let full = self.bytes + bytes > CLIENT_FRAME_BYTES_MAX - 64;
        let out = full
            .then(|| std::mem::take(&mut self.items))
            .filter(|items| !items.is_empty());
        self.bytes = if full { bytes } else { self.bytes + bytes };
        self.items.push(item);
        out
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::{Ipv4Addr, SocketAddr};

    use bytes::Bytes;
    use types::client::{Answer, BlockItem, GROUP_NONE};
    use types::codec::Decode;
    use types::genesis::Committee;
    use types::limits::{BATCH_BYTES_MAX, CLIENT_FRAME_BYTES_MAX};
    use types::message::AuthorBlock;
    use types::{Hash, MemberIndex, ShardId, ValidatorId};

    use super::{FrameOfItems, members};

    /// A validator of a network on several machines knows no client address but its own.
    #[test]
    fn clients_are_told_who_authors_also_where_the_address_is_not_known() {
        let committee = Committee {
            shard: ShardId(1),
            members: (10..15).map(|id| (ValidatorId(id), [id as u8; 32])).collect(),
            voters: 4,
            candidates: vec![MemberIndex(4)],
            bonds: Vec::new(),
            voting_keys: Vec::new(),
            leaders: Vec::new(),
            hash: Hash::default(),
        };
        let own = SocketAddr::from(([127, 0, 0, 1], 4001));
        let told = members(&committee, &[(0, MemberIndex(4))], &BTreeMap::from([(11, own)]));
        let shown: Vec<_> = told
            .iter()
            .map(|told| (told.id.0, told.role, told.group, told.port))
            .collect();
        let voter = |id, port| (id, 0, GROUP_NONE, port);
        let expected = [
            voter(10, 0),
            voter(11, 4001),
            voter(12, 0),
            voter(13, 0),
            (14, 1, 0, 0),
        ];
        assert_eq!(shown, expected);
        assert_eq!(told[1].ip, Ipv4Addr::LOCALHOST.to_ipv6_mapped().octets());
        assert_eq!((told[4].ip, told[4].key), ([0; 16], [14; 32]));
    }

    #[test]
    fn every_frame_of_blocks_fits_also_with_the_largest_bodies() {
        let header = types::block::SignedAuthorHeader::from_bytes(&[0; 183]).expect("183 bytes");
        let mut frame = FrameOfItems::default();
        let mut frames = Vec::new();
        for body in [10, BATCH_BYTES_MAX, BATCH_BYTES_MAX, 300_000, 700_000, 80_000] {
            let body = Bytes::from(vec![0; body]);
            frames.extend(frame.push(BlockItem::Body(AuthorBlock {
                header: header.clone(),
                body,
            })));
        }
        frames.push(frame.items);
        assert_eq!(frames.iter().map(Vec::len).sum::<usize>(), 6, "nothing is lost");
        for items in frames {
            let payload = Answer::Blocks { items, last: false }.encode_payload();
            assert!(payload.len() <= CLIENT_FRAME_BYTES_MAX, "{}", payload.len());
        }
    }
}
