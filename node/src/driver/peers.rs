//! Links to other members: greetings, decoding, and delivery to the replica's inbox.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use replica::Event;
use transport::{Frame, Lane, MeshEvents, MeshSender, PeerEvent};
use types::MemberIndex;
use types::client::Hello;
use types::codec::{Decode, Encode};
use types::message::PeerMessage;

use super::Place;
use super::inbox::Inbox;

/// Type byte of the greeting.
const HELLO: u8 = 0x01;

/// Greets every member that links, and hands on the messages of those that greeted correctly.
pub(crate) async fn run(
    place: Place,
    mut events: MeshEvents,
    mesh: MeshSender,
    hello: Hello,
    inbox: Arc<Inbox>,
) {
    let members: BTreeMap<u16, MemberIndex> = (0..)
        .map(MemberIndex)
        .zip(&place.committee.members)
        .map(|(member, (id, _))| (id.0, member))
        .collect();
    let mut greeted = BTreeSet::new();
    while let Some(event) = events.recv().await {
        match event {
            PeerEvent::Connected(id) => {
                greeted.remove(&id);
                greet(&place, &mesh, &hello, id).await;
            }
            PeerEvent::Disconnected(id, reason) => {
                greeted.remove(&id);
                tracing::debug!(peer = id, %reason, "link lost");
            }
            PeerEvent::Frame { from, lane, frame } => {
                let Some(member) = members.get(&from).copied() else {
                    continue;
                };
                if frame.kind == HELLO {
                    if is_welcome(&hello, from, &frame) && greeted.insert(from) {
                        inbox.control(Event::PeerConnected(member)).await;
                    }
                } else if greeted.contains(&from) && frame.shard == place.shard.0 {
                    deliver(&inbox, member, lane, &frame).await;
                }
            }
        }
    }
}

async fn greet(place: &Place, mesh: &MeshSender, hello: &Hello, to: u16) {
    let payload = Bytes::from(hello.to_bytes());
    let frame = Frame {
        kind: HELLO,
        version: 1,
        epoch: hello.epoch.0,
        shard: place.shard.0,
        payload,
    };
    // `Connected` precedes the link by a moment.
    for _ in 0..50 {
        if mesh.send(to, Lane::Control, frame.clone()).is_ok() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
}

/// Compares greetings; a mismatch is said with both sides.
fn is_welcome(mine: &Hello, from: u16, frame: &Frame) -> bool {
    let Ok(theirs) = Hello::from_bytes(&frame.payload) else {
        tracing::warn!(peer = from, "a greeting that is none");
        return false;
    };
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

async fn deliver(inbox: &Inbox, from: MemberIndex, lane: Lane, frame: &Frame) {
    match PeerMessage::decode_payload(frame.kind, &frame.payload) {
        Ok(message) => {
            let event = Event::Peer { from, message };
            match lane {
                Lane::Control => inbox.control(event).await,
                Lane::Bulk => inbox.bulk(event).await,
            }
        }
        Err(error) => {
            tracing::debug!(peer = from.0, kind = frame.kind, %error, "a message that does not decode")
        }
    }
}
