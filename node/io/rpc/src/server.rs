//! Server half: accepts clients, greets them, hands their requests on and their answers back.

mod session;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use transport::{ClientListener, ClientSender, CloseCode, Frame, RefusalCounts, SendError};
use types::ConnectionId;
use types::client::{Answer, Hello, Request};
use types::limits::CLIENT_FRAME_BYTES_MAX;

use crate::counters::{Counters, Refusal};
use crate::envelope;
use crate::limits::Limits;
use crate::tags::InFlight;

/// What the server tells its owner; the events of one connection come in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerEvent {
    /// A client greeted correctly; answers can be sent from now on.
    Opened(ConnectionId),
    /// A client asks. Tags of a submission rise strictly and are in flight until they are answered; its
    /// transactions are slices of the receive buffer (64 KiB and more), which each of them keeps alive.
    Request {
        /// Who asks.
        connection: ConnectionId,
        /// Never a `Hello`.
        request: Request,
    },
    /// The client is gone; nothing follows. Its answers may be dropped.
    Closed(ConnectionId),
}

/// Why an answer was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The client is gone.
    #[error("the client's connection has ended")]
    Gone,
    /// The client does not read; it has been disconnected and counted.
    #[error("the client does not read its answers and was disconnected")]
    Full,
    /// The answer does not fit one frame and was not sent; its tags are still in flight. A fault of the caller.
    #[error("an answer of {bytes} bytes does not fit one frame, at most {max} are accepted")]
    TooLarge {
        /// Bytes of its encoding.
        bytes: usize,
        /// Bytes of the largest payload.
        max: usize,
    },
}

/// The server half of the client protocol.
#[derive(Debug)]
pub struct Server;

impl Server {
    /// Serves the clients that `listener` lets in until [`ServerHandle::shutdown`]. `hello` is this node's
    /// greeting: role validator, its id key, genesis, design and epoch; its `in_flight_max` is set from `limits`.
    /// A full `events` queue makes the readers wait, and the clients by flow control of QUIC.
    ///
    /// Must be called inside a tokio runtime.
    #[must_use]
    pub fn start(
        listener: ClientListener,
        hello: Hello,
        limits: Limits,
        events: mpsc::Sender<ServerEvent>,
    ) -> ServerHandle {
        let (commands, received) = mpsc::channel(COMMANDS_MAX);
        let shared = Arc::new(Shared {
            hello: Hello {
                in_flight_max: limits.tags_in_flight_max,
                ..hello
            },
            limits,
            events,
            counters: Counters::default(),
            slots: RwLock::default(),
            opened: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
        });
        let task = tokio::spawn(accept(listener, Arc::clone(&shared), received));
        ServerHandle {
            shared,
            commands,
            task: Arc::new(Mutex::new(Some(task))),
        }
    }
}

/// Questions of handles to the accepting task that may wait.
const COMMANDS_MAX: usize = 16;

/// How long a shutdown waits for the owner to take the last events.
const SESSIONS_DEADLINE: Duration = Duration::from_secs(1);

/// What handles ask the accepting task, which owns the listener.
#[derive(Debug)]
enum Command {
    Refusals(oneshot::Sender<RefusalCounts>),
    Shutdown,
}

/// Lets clients in until it is told to shut down; then ends their connections and waits for their sessions.
async fn accept(mut listener: ClientListener, shared: Arc<Shared>, mut commands: mpsc::Receiver<Command>) {
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Refusals(answer)) => drop(answer.send(listener.refusals())),
                Some(Command::Shutdown) | None => break,
            },
            accepted = listener.accept() => match accepted {
                Some(connection) => {
                    sessions.spawn(session::run(connection, Arc::clone(&shared)));
                }
                None => break,
            },
            Some(ended) = sessions.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "the session of a client ended abnormally");
                }
            }
        }
    }
    shared.stopping.store(true, Ordering::Relaxed);
    listener.shutdown().await;
    // Sessions tell the owner that their client is gone; one that takes no events any more is not waited for.
    let ended = async { while sessions.join_next().await.is_some() {} };
    let _ = timeout(SESSIONS_DEADLINE, ended).await;
    sessions.shutdown().await;
    shared.clear();
}

/// Sends answers; clones are equal. When all are dropped the server shuts down.
#[derive(Clone, Debug)]
pub struct ServerHandle {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    task: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl ServerHandle {
    /// Queues an answer without waiting. The tags that it settles are no longer in flight.
    ///
    /// # Errors
    /// See [`AnswerError`]; after `Full` the client is disconnected and `ServerEvent::Closed` follows.
    pub fn send(&self, connection: ConnectionId, answer: &Answer) -> Result<(), AnswerError> {
        let slot = self.shared.slot(connection).ok_or(AnswerError::Gone)?;
        let frame = self.shared.frame(answer)?;
        slot.in_flight.settle(answer);
        self.shared.queue(&slot, frame)
    }

    /// Queues an answer as soon as there is room: for answers of many frames (`Blocks`), which would overrun
    /// the queue of a client that reads as fast as it can.
    ///
    /// # Errors
    /// Never `Full`: a client that does not read at all is disconnected by the transport, which gives `Gone`.
    pub async fn send_when_room(&self, connection: ConnectionId, answer: &Answer) -> Result<(), AnswerError> {
        let slot = self.shared.slot(connection).ok_or(AnswerError::Gone)?;
        let frame = self.shared.frame(answer)?;
        slot.in_flight.settle(answer);
        self.shared.send(&slot, frame).await
    }

    /// Disconnects a client, which reads `reason`; nothing happens when it is gone already.
    pub fn disconnect(&self, connection: ConnectionId, reason: &str) {
        if let Some(slot) = self.shared.slot(connection) {
            slot.closed_here.store(true, Ordering::Relaxed);
            slot.link.close(CloseCode::Application, reason);
        }
    }

    /// Clients that have greeted and are connected.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.slots().len()
    }

    /// What was counted since the start.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Connections that the listener did not let in, by reason; `None` after a shutdown.
    pub async fn refused_connections(&self) -> Option<RefusalCounts> {
        let (answer, counts) = oneshot::channel();
        self.commands.send(Command::Refusals(answer)).await.ok()?;
        counts.await.ok()
    }

    /// Lets nobody in any more, closes every connection and waits until the clients took note, at most some
    /// seconds. `Closed` of a connection that is open now is delivered if the events are still taken.
    pub async fn shutdown(&self) {
        // An error means that the accepting task has ended already.
        let _ = self.commands.send(Command::Shutdown).await;
        if let Some(task) = self.task.lock().await.take()
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the client server ended abnormally");
        }
    }
}

/// What the accept loop, the sessions and the handles share.
#[derive(Debug)]
struct Shared {
    hello: Hello,
    limits: Limits,
    events: mpsc::Sender<ServerEvent>,
    counters: Counters,
    slots: RwLock<BTreeMap<ConnectionId, Arc<Slot>>>,
    opened: AtomicU64,
    stopping: AtomicBool,
}

/// One greeted client as the handles see it.
#[derive(Debug)]
struct Slot {
    link: ClientSender,
    in_flight: InFlight,
    /// Set by whoever closes the connection on this side, so that the reason is counted once.
    closed_here: AtomicBool,
}

impl Shared {
    fn slots(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<ConnectionId, Arc<Slot>>> {
        // The map stays whole after a panic elsewhere: every change is one call.
        self.slots.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, connection: ConnectionId) -> Option<Arc<Slot>> {
        self.slots().get(&connection).cloned()
    }

    fn insert(&self, connection: ConnectionId, slot: Arc<Slot>) {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        slots.insert(connection, slot);
    }

    fn remove(&self, connection: ConnectionId) {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        slots.remove(&connection);
    }

    fn clear(&self) {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        slots.clear();
    }

    fn frame(&self, answer: &Answer) -> Result<Frame, AnswerError> {
        let payload = Bytes::from(answer.encode_payload());
        if payload.len() > CLIENT_FRAME_BYTES_MAX {
            return Err(AnswerError::TooLarge {
                bytes: payload.len(),
                max: CLIENT_FRAME_BYTES_MAX,
            });
        }
        Ok(envelope::frame(answer.kind(), self.hello.epoch, payload))
    }

    /// Queues without waiting; who has no room does not read and is disconnected.
    fn queue(&self, slot: &Slot, frame: Frame) -> Result<(), AnswerError> {
        let bytes = frame.wire_bytes() as u64;
        match slot.link.try_send(frame) {
            Ok(()) => {
                self.counters.bytes_out.fetch_add(bytes, Ordering::Relaxed);
                Ok(())
            }
            Err(SendError::Full) => {
                self.disconnect_slow(slot);
                Err(AnswerError::Full)
            }
            Err(SendError::TooLarge { bytes, max }) => Err(AnswerError::TooLarge { bytes, max }),
            Err(SendError::Closed | SendError::UnknownPeer(_)) => Err(Self::gone(slot)),
        }
    }

    /// Queues as soon as there is room; only fails when the client is gone.
    async fn send(&self, slot: &Slot, frame: Frame) -> Result<(), AnswerError> {
        let bytes = frame.wire_bytes() as u64;
        slot.link.send(frame).await.map_err(|_| Self::gone(slot))?;
        self.counters.bytes_out.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Nobody writes to the client any more. Its connection has ended, or the client stopped the stream of
    /// answers only: then this ends it, and the session counts it as a client that does not read.
    fn gone(slot: &Slot) -> AnswerError {
        let text = "the client does not read its answers: it stopped their stream";
        slot.link.close(CloseCode::Stalled, text);
        AnswerError::Gone
    }

    fn disconnect_slow(&self, slot: &Slot) {
        if !slot.closed_here.swap(true, Ordering::Relaxed) {
            self.counters.refuse(Refusal::SlowReader);
        }
        let text = "the client does not read its answers: their queue is full";
        slot.link.close(CloseCode::Stalled, text);
    }

    fn count_in(&self, frame: &Frame) {
        let bytes = frame.wire_bytes() as u64;
        self.counters.bytes_in.fetch_add(bytes, Ordering::Relaxed);
    }
}
