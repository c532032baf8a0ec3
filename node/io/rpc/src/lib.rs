//! Client protocol of all designs (`ios` 14.2): server half, client half.
//!
//! One QUIC connection, one bidirectional stream, opened by the client; both sides say `Hello` first. Requests
//! and answers are frames with the 12 byte envelope, at most 1 MiB each, transactions and receipts in batches.
//!
//! Invariant: what one client can make a node hold is bounded: tags in flight by [`Limits`], answers that wait,
//! their bytes and the time that a write may take by the link. Whoever exceeds a bound is answered `Busy` or
//! disconnected with a reason that names it, and counted; nobody else notices.

mod client;
mod counters;
mod envelope;
mod hello;
mod limits;
mod server;
mod tags;

pub use client::{
    AnswerReceiver, ConnectError, Connection, ReceiveError, Received, RequestSender, SendError,
};
pub use counters::{Counters, Refusal};
pub use hello::Mismatch;
pub use limits::Limits;
pub use server::{AnswerError, Server, ServerEvent, ServerHandle};
