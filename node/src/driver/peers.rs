//! Links to other members: greetings, decoding, and delivery to the replica's inbox.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use replica::Event;
use tokio::sync::mpsc;
use transport::{Arrival, Frame, Lane, MeshSender, PeerEvent, PeerEvents};
use types::MemberIndex;
use types::client::Hello;
use types::codec::{Decode, Encode};
use types::message::PeerMessage;

use super::Place;
use super::inbox::Inbox;

/// Type byte of the greeting.
const HELLO: u8 = 0x01;

/// One other member, whom only its own task waits for.
pub(crate) struct Peer {
    pub(crate) place: Place,
    pub(crate) member: MemberIndex,
    /// Its number in the network.
    pub(crate) id: u16,
    pub(crate) mesh: MeshSender,
    pub(crate) hello: Hello,
    pub(crate) inbox: Arc<Inbox>,
}

impl Peer {
    /// Greets the member whenever it links, and hands on its messages once it greeted correctly.
    pub(crate) async fn run(self, events: PeerEvents) {
        let greeted = AtomicBool::new(false);
        tokio::join!(
            self.run_control(events.control, &greeted),
            self.run_bulk(events.bulk, &greeted)
        );
    }

    async fn run_control(&self, mut arrivals: mpsc::Receiver<Arrival>, greeted: &AtomicBool) {
        // Only the first greeting of a link is looked at: more could only fill the log.
        let mut heard = false;
        while let Some(Arrival { event, held }) = arrivals.recv().await {
            match event {
                PeerEvent::Connected => {
                    greeted.store(false, Ordering::Relaxed);
                    heard = false;
                    self.greet().await;
                }
                PeerEvent::Disconnected(reason) => {
                    greeted.store(false, Ordering::Relaxed);
                    tracing::debug!(peer = self.id, %reason, "link lost");
                }
                PeerEvent::Frame(frame) if frame.kind == HELLO => {
                    if !std::mem::replace(&mut heard, true) && self.is_welcome(&frame) {
                        greeted.store(true, Ordering::Relaxed);
                        let event = Event::PeerConnected(self.member);
                        self.inbox.control(self.member, event, held).await;
                    }
                }
                PeerEvent::Frame(frame) => {
                    if greeted.load(Ordering::Relaxed)
                        && let Some(event) = self.decode(&frame)
                    {
                        self.inbox.control(self.member, event, held).await;
                    }
                }
            }
        }
    }

    async fn run_bulk(&self, mut arrivals: mpsc::Receiver<Arrival>, greeted: &AtomicBool) {
        while let Some(Arrival { event, held }) = arrivals.recv().await {
            if let PeerEvent::Frame(frame) = event
                && greeted.load(Ordering::Relaxed)
                && let Some(event) = self.decode(&frame)
            {
                self.inbox.bulk(self.member, event, held).await;
            }
        }
    }

    async fn greet(&self) {
        let payload = Bytes::from(self.hello.to_bytes());
        let frame = Frame {
            kind: HELLO,
            version: 1,
            epoch: self.hello.epoch.0,
            shard: self.place.shard.0,
            payload,
        };
        // `Connected` precedes the link by a moment.
        for _ in 0..50 {
            if self.mesh.send(self.id, Lane::Control, frame.clone()).is_ok() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    }

    /// Compares greetings; a mismatch is said with both sides.
    fn is_welcome(&self, frame: &Frame) -> bool {
        let (mine, from) = (&self.hello, self.id);
        let Ok(theirs) = Hello::from_bytes(&frame.payload) else {
            tracing::warn!(peer = from, "a greeting that is none");
            return false;
        };
        if self.place.committee.key(self.member) != Some(&theirs.id) {
            tracing::warn!(peer = from, "validator {from} greets with the id of another one");
            return false;
        }
        let same = theirs.genesis == mine.genesis
            && theirs.protocol_version == mine.protocol_version
            && theirs.design == mine.design;
        if !same {
            tracing::warn!(
                peer = from,
                "validator {from} runs genesis {}, protocol {}, design {}; this node runs genesis {}, protocol {}, design {}",
                theirs.genesis,
                theirs.protocol_version,
                theirs.design,
                mine.genesis,
                mine.protocol_version,
                mine.design,
            );
        }
        same
    }

    /// The event that a frame of this shard stands for.
    fn decode(&self, frame: &Frame) -> Option<Event> {
        if frame.shard != self.place.shard.0 {
            return None;
        }
        match PeerMessage::decode_payload(frame.kind, &frame.payload) {
            Ok(message) => Some(Event::Peer {
                from: self.member,
                message,
            }),
            Err(error) => {
                tracing::debug!(peer = self.id, kind = frame.kind, %error, "a message that does not decode");
                None
            }
        }
    }
}
