//! Letting connections in: bounded handshakes with a deadline, and a count of those refused by reason.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quinn::{ConnectionError, Incoming};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::close::{CloseCode, ConnectError, close};
use crate::limits::{ACCEPTED_QUEUE, HANDSHAKES_BEFORE_RETRY, HANDSHAKES_MAX};

/// Connections that were not let in since the endpoint started, by reason.
/// None of them reached the owner of the endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefusalCounts {
    /// A validator's port was dialled without a certificate, or with one of a signature scheme not accepted.
    pub no_certificate: u64,
    /// The certificate's key is not in the list.
    pub unknown_key: u64,
    /// The certificate holds no Ed25519 key, or its holder did not sign with it.
    pub wrong_key_type: u64,
    /// The other side speaks another protocol, or another version of it.
    pub no_common_protocol: u64,
    /// The other side broke off, for instance because this side's key is not the one it wanted.
    pub broken_off: u64,
    /// The handshake and the lanes were not done in time.
    pub deadline: u64,
    /// The lanes were opened wrongly.
    pub bad_lanes: u64,
    /// There was no room: too many handshakes or too many connections.
    pub no_room: u64,
    /// Anything else that is wrong with a handshake.
    pub other: u64,
    /// Strangers asked to prove their address first because many handshakes were under way; no refusals.
    pub retried: u64,
}

impl RefusalCounts {
    /// All refusals together; `retried` is none of them.
    pub fn total(&self) -> u64 {
        self.no_certificate
            + self.unknown_key
            + self.wrong_key_type
            + self.no_common_protocol
            + self.broken_off
            + self.deadline
            + self.bad_lanes
            + self.no_room
            + self.other
    }
}

/// The living counters behind [`RefusalCounts`].
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    no_certificate: AtomicU64,
    unknown_key: AtomicU64,
    wrong_key_type: AtomicU64,
    no_common_protocol: AtomicU64,
    broken_off: AtomicU64,
    deadline: AtomicU64,
    bad_lanes: AtomicU64,
    no_room: AtomicU64,
    other: AtomicU64,
    retried: AtomicU64,
}

impl Refusals {
    pub(crate) fn counts(&self) -> RefusalCounts {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RefusalCounts {
            no_certificate: load(&self.no_certificate),
            unknown_key: load(&self.unknown_key),
            wrong_key_type: load(&self.wrong_key_type),
            no_common_protocol: load(&self.no_common_protocol),
            broken_off: load(&self.broken_off),
            deadline: load(&self.deadline),
            bad_lanes: load(&self.bad_lanes),
            no_room: load(&self.no_room),
            other: load(&self.other),
            retried: load(&self.retried),
        }
    }

    fn count(&self, refusal: &Refusal) {
        let counter = match refusal {
            Refusal::Deadline => &self.deadline,
            Refusal::NoRoom => &self.no_room,
            Refusal::Setup(ConnectError::BadLanes(_)) => &self.bad_lanes,
            Refusal::Setup(_) => &self.broken_off,
            Refusal::Handshake(error) => self.handshake_counter(error),
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// TLS alerts (RFC 8446, 6) as this side's verifier raises them; a QUIC error carries them in its low byte.
    fn handshake_counter(&self, error: &ConnectionError) -> &AtomicU64 {
        let ConnectionError::TransportError(error) = error else {
            return match error {
                ConnectionError::TimedOut => &self.deadline,
                ConnectionError::CidsExhausted => &self.no_room,
                _ => &self.broken_off,
            };
        };
        match u64::from(error.code) {
            CERTIFICATE_REQUIRED => &self.no_certificate,
            ACCESS_DENIED => &self.unknown_key,
            CERTIFICATE_UNKNOWN | BAD_CERTIFICATE | DECRYPT_ERROR => &self.wrong_key_type,
            NO_APPLICATION_PROTOCOL => &self.no_common_protocol,
            _ => &self.other,
        }
    }
}

const BAD_CERTIFICATE: u64 = 0x100 + 42;
const CERTIFICATE_UNKNOWN: u64 = 0x100 + 46;
const ACCESS_DENIED: u64 = 0x100 + 49;
const DECRYPT_ERROR: u64 = 0x100 + 51;
const CERTIFICATE_REQUIRED: u64 = 0x100 + 116;
const NO_APPLICATION_PROTOCOL: u64 = 0x100 + 120;

/// Why one connection is not let in.
#[derive(Debug)]
pub(crate) enum Refusal {
    Handshake(ConnectionError),
    Setup(ConnectError),
    Deadline,
    NoRoom,
}

/// Starts the accepting task of `endpoint`; `setup` opens the lanes of a connection whose handshake is
/// done, and both together may take `deadline`.
///
/// What comes out of the channel passed everything; the task ends with the endpoint or with the receiver.
pub(crate) fn spawn_acceptor<T, S, F>(
    endpoint: quinn::Endpoint,
    refusals: Arc<Refusals>,
    deadline: Duration,
    setup: S,
) -> mpsc::Receiver<T>
where
    T: Send + 'static,
    S: Fn(quinn::Connection) -> F + Clone + Send + 'static,
    F: Future<Output = Result<T, Refusal>> + Send,
{
    let (accepted, receiver) = mpsc::channel(ACCEPTED_QUEUE);
    tokio::spawn(async move {
        let mut handshakes = JoinSet::new();
        loop {
            let incoming = tokio::select! {
                incoming = endpoint.accept() => incoming,
                Some(_) = handshakes.join_next() => continue,
                () = accepted.closed() => None,
            };
            let Some(incoming) = incoming else { break };
            if handshakes.len() >= HANDSHAKES_MAX {
                refusals.count(&Refusal::NoRoom);
                incoming.refuse();
            } else if handshakes.len() >= HANDSHAKES_BEFORE_RETRY && !incoming.remote_address_validated() {
                // Refused only when validated already, which was just excluded.
                let _ = incoming.retry();
                refusals.retried.fetch_add(1, Ordering::Relaxed);
            } else {
                let (accepted, refusals, setup) = (accepted.clone(), Arc::clone(&refusals), setup.clone());
                handshakes.spawn(async move {
                    let address = incoming.remote_address();
                    match admit(incoming, deadline, setup).await {
                        // The owner is gone: the connection goes with it.
                        Ok(connection) => drop(accepted.send(connection).await),
                        Err(refusal) => {
                            tracing::debug!(%address, ?refusal, "connection refused");
                            refusals.count(&refusal);
                        }
                    }
                });
            }
        }
    });
    receiver
}

/// One handshake and the opening of its lanes, within the deadline.
async fn admit<T, S, F>(incoming: Incoming, deadline: Duration, setup: S) -> Result<T, Refusal>
where
    S: Fn(quinn::Connection) -> F,
    F: Future<Output = Result<T, Refusal>>,
{
    let until = Instant::now() + deadline;
    let handshake = async { incoming.accept()?.await };
    let connection = timeout_at(until, handshake)
        .await
        .map_err(|_| Refusal::Deadline)?
        .map_err(Refusal::Handshake)?;
    match timeout_at(until, setup(connection.clone())).await {
        Ok(result) => result,
        Err(_) => {
            close(
                &connection,
                CloseCode::SetupDeadline,
                "lanes were not opened in time",
            );
            Err(Refusal::Deadline)
        }
    }
}
