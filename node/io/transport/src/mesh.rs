//! All links of a validator: one per pair, kept alive, each with event queues of its own.

use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::accept::{RefusalCounts, Refusals};
use crate::close::{CloseCode, ConnectError, DisconnectReason};
use crate::frame::Frame;
use crate::lane::SendError;
use crate::limits::{BULK_INBOX_BYTES, CONTROL_INBOX_BYTES, REDIAL_MAX, REDIAL_MIN};
use crate::peer::{Dialer, Lane, LaneReader, PeerConnection, PeerEndpoint, PeerLink, PeerParts, ValidatorId};
use crate::traffic::Traffic;

/// A mesh could not be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MeshError {
    /// A configured validator has no address.
    #[error("validator {0} has no address")]
    NoAddress(ValidatorId),
}

/// What happens on the link to one validator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerEvent {
    /// The link is up; frames can be sent.
    Connected,
    /// The link is down, and what was queued on it is lost; it is being restored.
    Disconnected(DisconnectReason),
    /// A frame arrived.
    Frame(Frame),
}

/// An event on its way to its owner.
#[derive(Debug)]
pub struct Arrival {
    /// The event.
    pub event: PeerEvent,
    /// Keeps the event's bytes in its sender's budget.
    pub held: HeldBytes,
}

/// A share of what may wait of one validator's lane, in bytes; dropping it lets the next frames in.
///
/// An owner that queues an event further keeps this beside it, so that all its queues share the one bound.
#[derive(Debug, Default)]
pub struct HeldBytes {
    _permit: Option<OwnedSemaphorePermit>,
}

/// What arrives from one validator, for one owner.
///
/// `control` brings [`PeerEvent::Connected`], [`PeerEvent::Disconnected`] and the frames of the control lane in
/// order, `bulk` the frames of the bulk lane in order; between the two there is no order.
/// Nothing of one validator ever waits behind another one's. A slow owner slows the sender down: at most
/// 8 MiB of control and 16 MiB of bulk frames wait for it, those included whose [`HeldBytes`] it keeps.
/// Both end when the mesh does.
#[derive(Debug)]
pub struct PeerEvents {
    /// The validator whose key the link proved.
    pub id: ValidatorId,
    /// Control lane and the state of the link.
    pub control: mpsc::Receiver<Arrival>,
    /// Bulk lane.
    pub bulk: mpsc::Receiver<Arrival>,
}

/// The links of a validator to all others; they end when it is dropped.
#[derive(Debug)]
pub struct PeerMesh {
    sender: MeshSender,
    /// Ends the tasks when dropped.
    tasks: JoinSet<()>,
}

/// Sends to any validator; a clone is the same mesh.
#[derive(Clone, Debug)]
pub struct MeshSender(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    dialer: Dialer,
    refusals: Arc<Refusals>,
    links: BTreeMap<ValidatorId, Mutex<Option<PeerLink>>>,
}

impl PeerMesh {
    /// Starts to link `endpoint` with every configured validator, at the address given for it; the events
    /// are in the order of the validators.
    pub fn start(
        endpoint: PeerEndpoint,
        addresses: &BTreeMap<ValidatorId, SocketAddr>,
    ) -> Result<(Self, Vec<PeerEvents>), MeshError> {
        let PeerParts {
            dialer,
            accepted,
            refusals,
            own_key,
            events_max,
        } = endpoint.into_parts();
        let mut targets = Vec::new();
        for (id, key) in dialer.targets() {
            targets.push((id, key, *addresses.get(&id).ok_or(MeshError::NoAddress(id))?));
        }
        let links = targets.iter().map(|(id, ..)| (*id, Mutex::new(None))).collect();
        let shared = Arc::new(Shared {
            dialer,
            refusals,
            links,
        });
        let mut tasks = JoinSet::new();
        let mut inbound = BTreeMap::new();
        let mut events = Vec::with_capacity(targets.len());
        for (id, key, address) in targets {
            let (control_in, control) = mpsc::channel(events_max);
            let (bulk_in, bulk) = mpsc::channel(events_max);
            events.push(PeerEvents { id, control, bulk });
            let peer = Peer {
                id,
                shared: Arc::clone(&shared),
                control: Inbox::new(control_in, CONTROL_INBOX_BYTES),
                bulk: Inbox::new(bulk_in, BULK_INBOX_BYTES),
            };
            if own_key < key {
                tasks.spawn(peer.keep_dialling(address));
            } else {
                // One connection may wait while the one before it is taken down.
                let (arrived, arrivals) = mpsc::channel(1);
                inbound.insert(id, arrived);
                tasks.spawn(peer.keep_accepting(arrivals));
            }
        }
        tasks.spawn(distribute(accepted, inbound));
        let mesh = Self {
            sender: MeshSender(shared),
            tasks,
        };
        Ok((mesh, events))
    }

    /// Queues `frame` for validator `to`, or tells at once why not.
    pub fn send(&self, to: ValidatorId, lane: Lane, frame: Frame) -> Result<(), SendError> {
        self.sender.send(to, lane, frame)
    }

    /// A handle for other threads.
    pub fn sender(&self) -> MeshSender {
        self.sender.clone()
    }

    /// Closes all links and waits at most 3 s for the other sides to take note.
    ///
    /// The port is free once the last [`MeshSender`] is dropped too.
    pub async fn shutdown(mut self) {
        self.sender.0.dialer.close();
        self.tasks.shutdown().await;
        self.sender.0.dialer.shutdown().await;
    }
}

impl Drop for PeerMesh {
    fn drop(&mut self) {
        self.sender.0.dialer.close();
    }
}

impl MeshSender {
    /// Queues `frame` for validator `to`, or tells at once why not.
    ///
    /// Without a link the answer is [`SendError::Closed`].
    pub fn send(&self, to: ValidatorId, lane: Lane, frame: Frame) -> Result<(), SendError> {
        let link = self.0.links.get(&to).ok_or(SendError::UnknownPeer(to))?;
        match &*lock(link) {
            Some(link) => link.try_send(lane, frame),
            None => Err(SendError::Closed),
        }
    }

    /// The validators with a link, in order.
    pub fn connected(&self) -> Vec<ValidatorId> {
        let up = self.0.links.iter().filter(|(_, link)| lock(link).is_some());
        up.map(|(id, _)| *id).collect()
    }

    /// Bytes of all links since the start, ended ones included.
    pub fn traffic(&self) -> Traffic {
        self.0.dialer.traffic()
    }

    /// Connections that were not let in.
    pub fn refusals(&self) -> RefusalCounts {
        self.0.refusals.counts()
    }
}

/// The way of one validator's frames of one lane to the owner.
#[derive(Clone)]
struct Inbox {
    events: mpsc::Sender<Arrival>,
    free_bytes: Arc<Semaphore>,
}

impl Inbox {
    fn new(events: mpsc::Sender<Arrival>, bytes: usize) -> Self {
        Self {
            events,
            free_bytes: Arc::new(Semaphore::new(bytes)),
        }
    }

    /// Moves frames until the lane ends; while the owner is slow it stops reading.
    async fn fill(&self, reader: &mut LaneReader) -> DisconnectReason {
        loop {
            let frame = match reader.recv().await {
                Ok(frame) => frame,
                Err(reason) => return reason,
            };
            let bytes = frame.wire_bytes() as u32;
            let Ok(permit) = Arc::clone(&self.free_bytes).acquire_many_owned(bytes).await else {
                return DisconnectReason::Local;
            };
            let arrival = Arrival {
                event: PeerEvent::Frame(frame),
                held: HeldBytes {
                    _permit: Some(permit),
                },
            };
            if self.events.send(arrival).await.is_err() {
                return DisconnectReason::Local;
            }
        }
    }

    async fn announce(&self, event: PeerEvent) {
        // The owner is gone: there is nobody to tell.
        let held = HeldBytes::default();
        let _ = self.events.send(Arrival { event, held }).await;
    }
}

/// One other validator, as its task sees it.
struct Peer {
    id: ValidatorId,
    shared: Arc<Shared>,
    control: Inbox,
    bulk: Inbox,
}

impl Peer {
    async fn keep_dialling(self, address: SocketAddr) {
        let mut pause = REDIAL_MIN;
        let mut last_error: Option<ConnectError> = None;
        loop {
            match self.shared.dialer.connect(self.id, address).await {
                Ok(connection) => {
                    last_error = None;
                    let since = Instant::now();
                    self.serve(connection, pending()).await;
                    if since.elapsed() > REDIAL_MAX {
                        pause = REDIAL_MIN;
                    }
                }
                Err(error) => {
                    // The same answer every two seconds is said once.
                    if last_error.as_ref() != Some(&error) {
                        tracing::warn!(validator = self.id, %address, %error, "validator not reached, trying on");
                    }
                    last_error = Some(error);
                }
            }
            sleep(jittered(pause)).await;
            pause = (pause * 2).min(REDIAL_MAX);
        }
    }

    async fn keep_accepting(self, mut arrivals: mpsc::Receiver<PeerConnection>) {
        let mut next = arrivals.recv().await;
        while let Some(connection) = next {
            next = match self.serve(connection, arrivals.recv()).await {
                // The other side dials anew only when it holds the old link for dead, so the newer one stays.
                Some(newer) => Some(newer),
                None => arrivals.recv().await,
            };
        }
    }

    /// Runs one link to its end; answers the connection that replaced it, if one did.
    async fn serve(
        &self,
        connection: PeerConnection,
        newer: impl Future<Output = Option<PeerConnection>>,
    ) -> Option<PeerConnection> {
        let (link, mut control, mut bulk) = connection.split();
        self.control.announce(PeerEvent::Connected).await;
        self.set_link(Some(link.clone()));
        tracing::debug!(validator = self.id, "linked");
        let mut replacement = None;
        let reason = tokio::select! {
            reason = link.closed() => reason,
            reason = self.control.fill(&mut control) => reason,
            reason = self.bulk.fill(&mut bulk) => reason,
            Some(connection) = newer => {
                replacement = Some(connection);
                DisconnectReason::Replaced
            }
        };
        self.set_link(None);
        match &reason {
            DisconnectReason::Replaced => link.close(CloseCode::Replaced, "a newer connection took over"),
            // Closed already, with its own code; a second close changes nothing.
            _ => link.close(CloseCode::Shutdown, "link ended"),
        }
        tracing::info!(validator = self.id, %reason, "link ended");
        self.control.announce(PeerEvent::Disconnected(reason)).await;
        replacement
    }

    fn set_link(&self, link: Option<PeerLink>) {
        if let Some(place) = self.shared.links.get(&self.id) {
            *lock(place) = link;
        }
    }
}

/// Brings accepted connections to the tasks of their validators.
async fn distribute(
    mut accepted: mpsc::Receiver<PeerConnection>,
    inbound: BTreeMap<ValidatorId, mpsc::Sender<PeerConnection>>,
) {
    while let Some(connection) = accepted.recv().await {
        let link = connection.link();
        let refused = match inbound.get(&connection.id()) {
            Some(arrived) => arrived.try_send(connection).is_err(),
            None => true,
        };
        if refused {
            link.close(CloseCode::NoRoom, "another connection is being taken in");
        }
    }
}

/// Between half of `pause` and all of it, so that validators restarted together do not dial in step.
fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(0u8) % 1024;
    pause / 2 + (pause / 2).mul_f64(random as f64 / 1024.0)
}

fn lock(link: &Mutex<Option<PeerLink>>) -> std::sync::MutexGuard<'_, Option<PeerLink>> {
    // The value is replaced in one statement, so a panic elsewhere leaves it whole.
    link.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_half_of_the_pause() {
        for _ in 0..1000 {
            let pause = jittered(REDIAL_MAX);
            assert!(pause >= REDIAL_MAX / 2 && pause <= REDIAL_MAX, "{pause:?}");
        }
    }
}
