//! Client half: one connection to one node, a sender for requests and a receiver for answers.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::timeout;
use transport::{ClientEndpoint, ClientReceiver, ClientSender, CloseCode, DisconnectReason, Frame};
use types::Epoch;
use types::client::{Answer, Hello, Request};
use types::codec::{DecodeError, Encode as _};

use crate::envelope::{self, HELLO_KIND};
use crate::hello::{Mismatch, check_node};

/// How long a client waits for the node's `Hello`.
const HELLO_DEADLINE: Duration = Duration::from_secs(5);

/// Why no connection came about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// No QUIC connection to a node with the pinned key.
    #[error("node {address}: {source}")]
    Transport {
        /// Of the node.
        address: SocketAddr,
        /// What failed.
        source: transport::ConnectError,
    },
    /// Another network, version or design; the message names both sides.
    #[error("node {address}: {mismatch}")]
    Mismatch {
        /// Of the node.
        address: SocketAddr,
        /// What differs.
        mismatch: Mismatch,
    },
    /// The node closed the connection, or sent something else instead of a greeting.
    #[error("node {address} did not greet: {reason}")]
    NoGreeting {
        /// Of the node.
        address: SocketAddr,
        /// What it said or sent.
        reason: String,
    },
    /// No greeting in time.
    #[error("node {address} did not greet within {seconds} s")]
    Deadline {
        /// Of the node.
        address: SocketAddr,
        /// The time given, seconds.
        seconds: u64,
    },
}

/// Why a request was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The connection has ended; [`AnswerReceiver::recv`] says why.
    #[error("the connection to the node has ended")]
    Closed,
    /// The payload does not fit one frame and was not sent.
    #[error("a payload of {bytes} bytes does not fit one frame, at most {max} are accepted")]
    TooLarge {
        /// Bytes of the payload.
        bytes: usize,
        /// Bytes of the largest payload.
        max: usize,
    },
    /// Only of `try_send_frame`: the queue towards the node is full, the frame was not queued.
    #[error("the queue towards the node is full")]
    Full,
}

impl From<transport::SendError> for SendError {
    fn from(error: transport::SendError) -> Self {
        match error {
            transport::SendError::Full => Self::Full,
            transport::SendError::TooLarge { bytes, max } => Self::TooLarge { bytes, max },
            transport::SendError::Closed | transport::SendError::UnknownPeer(_) => Self::Closed,
        }
    }
}

/// Why there are no more answers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiveError {
    /// The connection ended with an error, or the node gave a reason.
    #[error("the connection to the node ended: {0}")]
    Disconnected(DisconnectReason),
    /// The node sent a frame that is no answer; the connection is closed.
    #[error("the node sent a frame of type {kind:#04x} that cannot be read: {source}")]
    Malformed {
        /// Type byte.
        kind: u8,
        /// What was wrong.
        source: DecodeError,
    },
    /// The node sent a frame with a wrong envelope, or a second greeting; the connection is closed.
    #[error("the node broke the protocol: {0}")]
    Protocol(String),
}

/// An answer and when it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The answer; bodies in it are slices of the received frame.
    pub answer: Answer,
    /// Right after the frame was read and before it was decoded.
    pub at: Instant,
    /// Bytes of the frame, envelope included.
    pub frame_bytes: usize,
}

/// The client half of the client protocol.
#[derive(Debug)]
pub struct Connection;

impl Connection {
    /// Connects to the node at `address` that holds `server_key`, and greets. `hello` is the client's greeting:
    /// role client, zero id; genesis, protocol version, design and epoch of its own network.
    ///
    /// # Errors
    /// See [`ConnectError`]; each names the address.
    pub async fn connect(
        endpoint: &ClientEndpoint,
        address: SocketAddr,
        server_key: [u8; 32],
        hello: Hello,
    ) -> Result<(RequestSender, AnswerReceiver), ConnectError> {
        let connection = endpoint
            .connect(address, server_key)
            .await
            .map_err(|source| ConnectError::Transport { address, source })?;
        let (link, mut frames) = connection.split();
        let node = match timeout(HELLO_DEADLINE, greet(&link, &mut frames, &hello)).await {
            Ok(Ok(node)) => node,
            Ok(Err(reason)) => {
                // The first close of a connection counts, so this does not hide the node's own reason.
                link.close(CloseCode::Application, &reason);
                return Err(ConnectError::NoGreeting { address, reason });
            }
            Err(_) => {
                let seconds = HELLO_DEADLINE.as_secs();
                link.close(CloseCode::SetupDeadline, "no Hello in time");
                return Err(ConnectError::Deadline { address, seconds });
            }
        };
        if let Err(mismatch) = check_node(&hello, &node, server_key) {
            link.close(CloseCode::Application, &mismatch.to_string());
            return Err(ConnectError::Mismatch { address, mismatch });
        }
        let sender = RequestSender {
            link: link.clone(),
            epoch: hello.epoch,
            in_flight_max: node.in_flight_max,
        };
        let receiver = AnswerReceiver { frames, link, node };
        Ok((sender, receiver))
    }
}

/// Says Hello and reads the node's; the text of an error says what came instead.
async fn greet(link: &ClientSender, frames: &mut ClientReceiver, hello: &Hello) -> Result<Hello, String> {
    let payload = Bytes::from(hello.to_bytes());
    // A link that is closed already says why on the receiving side.
    let _ = link.send(envelope::frame(HELLO_KIND, hello.epoch, payload)).await;
    let frame = match frames.recv().await {
        Ok(Some(frame)) => frame,
        Ok(None) => return Err("it ended the stream".to_owned()),
        Err(reason) => return Err(reason.to_string()),
    };
    match decode(&frame, hello.epoch) {
        Ok(Answer::Hello(node)) => Ok(node),
        Ok(_) => Err(format!("its first frame is of type {:#04x}", frame.kind)),
        Err(error) => Err(error.to_string()),
    }
}

fn decode(frame: &Frame, epoch: Epoch) -> Result<Answer, ReceiveError> {
    envelope::check(frame, epoch).map_err(|error| ReceiveError::Protocol(error.to_string()))?;
    let kind = frame.kind;
    Answer::decode_payload(kind, &frame.payload).map_err(|source| ReceiveError::Malformed { kind, source })
}

/// Sends requests, in order. Clones share one queue (1024 frames, 2 MiB), which is written in large pieces.
///
/// The connection ends when all senders and the receiver are dropped; frames still queued then may be lost.
#[derive(Clone, Debug)]
pub struct RequestSender {
    link: ClientSender,
    epoch: Epoch,
    in_flight_max: u32,
}

impl RequestSender {
    /// Queues a request; waits while the queue is full.
    ///
    /// # Errors
    /// Never `Full`. A cancelled call queued nothing.
    pub async fn send(&self, request: Request) -> Result<(), SendError> {
        let payload = Bytes::from(request.encode_payload());
        self.send_frame(request.kind(), payload).await
    }

    /// Queues a frame whose payload was encoded before (`types::client::encode_submit`); waits while the queue
    /// is full. Payloads above 4 KiB are not copied.
    ///
    /// # Errors
    /// Never `Full`. A cancelled call queued nothing.
    pub async fn send_frame(&self, kind: u8, payload: Bytes) -> Result<(), SendError> {
        let frame = envelope::frame(kind, self.epoch, payload);
        Ok(self.link.send(frame).await?)
    }

    /// The same without waiting; may be called from any thread, also outside the runtime.
    ///
    /// # Errors
    /// `Full` when there is no room; nothing was queued.
    pub fn try_send_frame(&self, kind: u8, payload: Bytes) -> Result<(), SendError> {
        let frame = envelope::frame(kind, self.epoch, payload);
        Ok(self.link.try_send(frame)?)
    }

    /// Tags that the node lets be in flight on this connection; beyond, it answers `Busy`.
    #[must_use]
    pub const fn in_flight_max(&self) -> u32 {
        self.in_flight_max
    }

    /// Smoothed round-trip time to the node.
    #[must_use]
    pub fn rtt(&self) -> Duration {
        self.link.rtt()
    }

    /// Ends the connection at once: what is queued is lost, and the receiver ends too.
    pub fn close(&self) {
        self.link.close(CloseCode::Shutdown, "the client is done");
    }
}

/// Receives answers, in the order in which the node gave them.
#[derive(Debug)]
pub struct AnswerReceiver {
    frames: ClientReceiver,
    link: ClientSender,
    node: Hello,
}

impl AnswerReceiver {
    /// The next answer; `None` after the node shut down or this side closed the connection.
    /// What is not read waits in the node, which disconnects a client that does not read.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// After one the connection is closed; see [`ReceiveError`].
    pub async fn recv(&mut self) -> Result<Option<Received>, ReceiveError> {
        let frame = match self.frames.recv().await {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(None),
            Err(reason) if is_orderly(&reason) => return Ok(None),
            Err(reason) => return Err(ReceiveError::Disconnected(reason)),
        };
        let at = Instant::now();
        let answer = match decode(&frame, self.node.epoch) {
            Ok(Answer::Hello(_)) => Err(ReceiveError::Protocol("it greeted twice".to_owned())),
            other => other,
        };
        match answer {
            Ok(answer) => Ok(Some(Received {
                answer,
                at,
                frame_bytes: frame.wire_bytes(),
            })),
            Err(error) => {
                self.link.close(CloseCode::Application, &error.to_string());
                Err(error)
            }
        }
    }

    /// The node's greeting.
    #[must_use]
    pub const fn node(&self) -> &Hello {
        &self.node
    }
}

/// Whether a connection ended because one of the sides was done.
fn is_orderly(reason: &DisconnectReason) -> bool {
    let shutdown = CloseCode::Shutdown as u64;
    matches!(reason, DisconnectReason::Local)
        || matches!(reason, DisconnectReason::ByPeer { code, .. } if *code == shutdown)
}
