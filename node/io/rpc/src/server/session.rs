//! One client from its greeting to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use transport::{
    ClientConnection, ClientReceiver, ClientSender, CloseCode, DisconnectReason, Frame, FrameError,
};
use types::ConnectionId;
use types::client::{Answer, Hello, Request};
use types::codec::{Decode as _, Encode as _};

use super::{ServerEvent, Shared, Slot};
use crate::counters::Refusal;
use crate::envelope::{self, HELLO_KIND};
use crate::hello::check_client;
use crate::tags::{Admission, InFlight, TagOrder};

/// How long a refused client may take to read this node's greeting, so that it can name both sides too.
const FAREWELL: Duration = Duration::from_secs(1);

/// Why a session ends; the client reads `text` when it is at fault.
struct End {
    refusal: Option<Refusal>,
    text: String,
}

impl End {
    fn refused(refusal: Refusal, text: impl ToString) -> Self {
        Self {
            refusal: Some(refusal),
            text: text.to_string(),
        }
    }

    fn orderly(text: impl ToString) -> Self {
        Self {
            refusal: None,
            text: text.to_string(),
        }
    }
}

/// Serves one connection until it ends.
pub(super) async fn run(connection: ClientConnection, shared: Arc<Shared>) {
    let (link, mut frames) = connection.split();
    let greeted = timeout(shared.limits.hello_deadline, greet(&link, &mut frames, &shared));
    let greeted = greeted.await.unwrap_or_else(|_| {
        let deadline = shared.limits.hello_deadline;
        let text = format!("no complete Hello within {deadline:?}");
        Err(End::refused(Refusal::HelloLate, text))
    });
    if let Err(end) = greeted {
        if let Some(Refusal::HelloMismatch) = end.refusal {
            // The client closes as soon as it has read this node's greeting; if not, it is told.
            let _ = timeout(FAREWELL, link.closed()).await;
        }
        finish(&link, &shared, &end);
        return;
    }
    let id = ConnectionId(shared.opened.fetch_add(1, Ordering::Relaxed));
    let slot = Arc::new(Slot {
        link: link.clone(),
        in_flight: InFlight::default(),
        closed_here: AtomicBool::new(false),
    });
    // Before the event, so that the owner can answer as soon as it hears of the client.
    shared.insert(id, Arc::clone(&slot));
    let end = serve(id, &slot, &mut frames, &shared).await;
    shared.remove(id);
    finish(&link, &shared, &end);
    // An error means that the owner has gone.
    let _ = shared.events.send(ServerEvent::Closed(id)).await;
}

fn finish(link: &ClientSender, shared: &Shared, end: &End) {
    tracing::debug!(address = %link.remote_addr(), reason = end.text, "a client's session ended");
    if let Some(refusal) = end.refusal {
        shared.counters.refuse(refusal);
    }
    // Of a connection that was closed already, the first reason stays.
    link.close(CloseCode::Application, &end.text);
}

/// Reads the client's Hello, says this node's, and compares.
async fn greet(link: &ClientSender, frames: &mut ClientReceiver, shared: &Shared) -> Result<(), End> {
    let frame = match frames.recv().await {
        Ok(Some(frame)) => frame,
        Ok(None) => return Err(End::orderly("the client ended before its Hello")),
        Err(reason) => return Err(end_of(reason)),
    };
    shared.count_in(&frame);
    check_envelope(&frame, shared)?;
    if frame.kind != HELLO_KIND {
        return Err(End::refused(
            Refusal::HelloMissing,
            format!(
                "the first frame is of type {:#04x}, a Hello (0x01) is accepted",
                frame.kind
            ),
        ));
    }
    let client = Hello::from_bytes(&frame.payload)
        .map_err(|error| End::refused(Refusal::Malformed, format!("Hello: {error}")))?;
    let own = Bytes::from(shared.hello.to_bytes());
    let own = envelope::frame(HELLO_KIND, shared.hello.epoch, own);
    let bytes = own.wire_bytes() as u64;
    link.send(own)
        .await
        .map_err(|_| End::orderly("the client left before the greeting"))?;
    shared.counters.bytes_out.fetch_add(bytes, Ordering::Relaxed);
    check_client(&client, &shared.hello).map_err(|mismatch| End::refused(Refusal::HelloMismatch, mismatch))
}

/// Reads requests until the client ends or breaks a rule.
async fn serve(id: ConnectionId, slot: &Slot, frames: &mut ClientReceiver, shared: &Shared) -> End {
    if shared.events.send(ServerEvent::Opened(id)).await.is_err() {
        return End::orderly("the node stops");
    }
    let mut tags = TagOrder::new(shared.limits.tags_in_flight_max);
    loop {
        let frame = match frames.recv().await {
            Ok(Some(frame)) => frame,
            // No more requests; answers are still owed.
            Ok(None) => return end_while_served(slot.link.closed().await, slot, shared),
            Err(reason) => return end_while_served(reason, slot, shared),
        };
        shared.count_in(&frame);
        let request = match judge(&frame, slot, &mut tags, shared).await {
            Ok(Some(request)) => request,
            Ok(None) => continue,
            Err(end) => return end,
        };
        let event = ServerEvent::Request {
            connection: id,
            request,
        };
        if shared.events.send(event).await.is_err() {
            return End::orderly("the node stops");
        }
    }
}

/// Checks one frame; `None` means that it was answered here.
async fn judge(
    frame: &Frame,
    slot: &Slot,
    tags: &mut TagOrder,
    shared: &Shared,
) -> Result<Option<Request>, End> {
    check_envelope(frame, shared)?;
    let request = Request::decode_payload(frame.kind, &frame.payload).map_err(|error| {
        let text = format!("frame of type {:#04x}: {error}", frame.kind);
        End::refused(Refusal::Malformed, text)
    })?;
    match &request {
        Request::Hello(_) => Err(End::refused(Refusal::HelloTwice, "a second Hello")),
        Request::Submit { first_tag, txs } | Request::SubmitSlow { first_tag, txs } => {
            let admission = tags
                .admit(*first_tag, txs.len(), &slot.in_flight)
                .map_err(|error| End::refused(Refusal::Tags, error))?;
            if admission == Admission::Taken {
                return Ok(Some(request));
            }
            let count = txs.len() as u16;
            shared
                .counters
                .busy_tags
                .fetch_add(u64::from(count), Ordering::Relaxed);
            let busy = Answer::Busy {
                first_tag: *first_tag,
                count,
                retry_ms: shared.limits.busy_retry_ms,
            };
            // Waits for room: a client that sends faster than it reads is slowed down, not disconnected.
            let frame = envelope::frame(busy.kind(), shared.hello.epoch, busy.encode_payload().into());
            if shared.send(slot, frame).await.is_err() {
                return Err(end_while_served(slot.link.closed().await, slot, shared));
            }
            Ok(None)
        }
        Request::Topology | Request::Status(_) | Request::Blocks { .. } | Request::State | Request::Info => {
            Ok(Some(request))
        }
    }
}

fn check_envelope(frame: &Frame, shared: &Shared) -> Result<(), End> {
    envelope::check(frame, shared.hello.epoch).map_err(|error| End::refused(Refusal::Envelope, error))
}

/// What the end of a connection says about the client.
fn end_of(reason: DisconnectReason) -> End {
    let refusal = match &reason {
        DisconnectReason::BadFrame(FrameError::TooLarge { .. }) => Some(Refusal::Oversized),
        DisconnectReason::BadFrame(FrameError::Truncated { .. }) => Some(Refusal::Truncated),
        DisconnectReason::BadFrame(FrameError::Stalled { .. }) => Some(Refusal::Stalled),
        // Nothing that the client sent was wrong.
        _ => None,
    };
    End {
        refusal,
        text: reason.to_string(),
    }
}

/// The same for a client that was served: a close on this side that is not accounted for is that of a client
/// which took nothing for the link's deadline, or which stopped the stream of answers.
fn end_while_served(reason: DisconnectReason, slot: &Slot, shared: &Shared) -> End {
    let mut end = end_of(reason.clone());
    if reason == DisconnectReason::Local
        && !shared.stopping.load(Ordering::Relaxed)
        && !slot.closed_here.swap(true, Ordering::Relaxed)
    {
        end.refusal = Some(Refusal::SlowReader);
    }
    end
}
