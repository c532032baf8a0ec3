//! Messages to other members: framed once, held back until their record is durable.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use transport::{Frame, MeshSender, SendError};
use types::message::{Lane, PeerMessage};
use types::{Epoch, MemberIndex, Sequence};

use super::Place;

/// Layout version of frames between validators.
const FRAME_VERSION: u8 = 1;

/// The lane of a message on the wire.
pub(crate) const fn wire_lane(lane: Lane) -> transport::Lane {
    match lane {
        Lane::Control => transport::Lane::Control,
        Lane::Bulk => transport::Lane::Bulk,
    }
}

/// Frames a message.
pub(crate) fn frame(place: &Place, message: &PeerMessage) -> Frame {
    let (head, body) = message.encode_payload();
    let payload = match body {
        None => Bytes::from(head),
        Some(body) => {
            let mut joined = BytesMut::with_capacity(head.len() + body.len());
            joined.put_slice(&head);
            joined.put_slice(&body);
            joined.freeze()
        }
    };
    Frame {
        kind: message.kind(),
        version: FRAME_VERSION,
        epoch: Epoch(0).0,
        shard: place.shard.0,
        payload,
    }
}

/// Sends to members of one committee.
pub(crate) struct Outbox {
    place: Place,
    mesh: MeshSender,
    /// Receivers, lane and frame, by the record that must be durable first.
    held: BTreeMap<Sequence, Vec<(Vec<u16>, transport::Lane, Frame)>>,
    durable: Sequence,
}

impl Outbox {
    pub(crate) fn new(place: Place, mesh: MeshSender) -> Self {
        Self {
            place,
            mesh,
            held: BTreeMap::new(),
            durable: Sequence(0),
        }
    }

    /// Sends to one member once `after` is durable.
    pub(crate) fn send(&mut self, to: MemberIndex, message: &PeerMessage, after: Option<Sequence>) {
        let to = self
            .place
            .committee
            .members
            .get(usize::from(to.0))
            .map(|(id, _)| id.0);
        self.put(to.into_iter().collect(), message, after);
    }

    /// Sends to all other members once `after` is durable.
    pub(crate) fn broadcast(&mut self, message: &PeerMessage, after: Option<Sequence>) {
        let me = self.place.member;
        let members = self.place.committee.members.iter().enumerate();
        let others = members
            .filter(|(member, _)| *member != usize::from(me.0))
            .map(|(_, (id, _))| id.0)
            .collect();
        self.put(others, message, after);
    }

    fn put(&mut self, to: Vec<u16>, message: &PeerMessage, after: Option<Sequence>) {
        let lane = wire_lane(message.lane());
        let frame = frame(&self.place, message);
        match after {
            Some(seq) if seq > self.durable => self.held.entry(seq).or_default().push((to, lane, frame)),
            _ => self.release(&to, lane, &frame),
        }
    }

    fn release(&self, to: &[u16], lane: transport::Lane, frame: &Frame) {
        for id in to {
            match self.mesh.send(*id, lane, frame.clone()) {
                // A member without a link gets what it lacks when it is back.
                Ok(()) | Err(SendError::Closed) => {}
                // A full lane: the member asks again.
                Err(error) => tracing::debug!(peer = *id, %error, "a frame was not queued"),
            }
        }
    }

    /// Lets go what waited for records up to `durable`.
    pub(crate) fn on_durable(&mut self, durable: Sequence) {
        self.durable = self.durable.max(durable);
        while let Some(first) = self.held.first_entry() {
            if *first.key() > self.durable {
                break;
            }
            for (to, lane, frame) in first.remove() {
                self.release(&to, lane, &frame);
            }
        }
    }
}
