//! Messages that break a rule: rightly signed where the liar's own signature is asked for, wrong in what they say.

use bytes::Bytes;
use types::certificate::{Phase, Signatures};
use types::evidence::Evidence;
use types::message::{Certified, Fetch, PeerMessage, Propose};
use types::{Hash, Height, MemberIndex, View};

use super::resign;
use crate::rng::SimRng;
use crate::setup::Setup;

/// A broken message in place of a right one.
pub(super) fn of(rng: &mut SimRng, setup: &Setup, from: MemberIndex, message: &PeerMessage) -> PeerMessage {
    let mut broken = message.clone();
    match &mut broken {
        PeerMessage::Propose(propose) => break_proposal(rng, setup, from, propose),
        PeerMessage::Vote(vote) => match rng.below(3) {
            0 => vote.signature.0[rng.below(64) as usize] ^= 1,
            1 => vote.member = MemberIndex(vote.member.0 ^ 1),
            _ => vote.subject.height = Height(u64::MAX),
        },
        PeerMessage::Partial(partial) => match rng.below(4) {
            0 | 1 => partial.signature.0[rng.below(48) as usize] ^= 1,
            2 => {
                let size = u64::from(partial.committee);
                partial.signers.insert(MemberIndex(rng.below(size) as u16));
            }
            _ => partial.subject.height = Height(u64::MAX),
        },
        PeerMessage::Collect(collect) => match rng.below(3) {
            0 => collect.until = Height(u64::MAX),
            1 => collect.view = collect.view.next(),
            _ => collect.from = Height(u64::MAX),
        },
        PeerMessage::Certified(certified) => break_certificate(rng, certified),
        PeerMessage::ViewChange(change) => match rng.below(4) {
            0 => change.new_view = View(u32::MAX),
            1 => change.committed.height = Height(change.committed.height.0 + 3),
            2 => change.member = MemberIndex(change.member.0 ^ 1),
            _ => match &mut change.tip {
                Some(tip) => break_certificate(rng, tip),
                None => change.signature.0[0] ^= 1,
            },
        },
        PeerMessage::NewView(opening) => match rng.below(3) {
            0 => {
                opening.view_changes.pop();
            }
            1 => opening.view = View(opening.view.0.saturating_add(1)),
            _ => opening.signature.0[1] ^= 1,
        },
        PeerMessage::AuthorBlock(block) => {
            let mut body = block.body.to_vec();
            match rng.below(3) {
                0 => block.header.signature.0[0] ^= 1,
                1 => block.header.header.group = u16::MAX,
                _ => {
                    let at = rng.below(body.len() as u64) as usize;
                    body[at] ^= 1 << rng.below(8);
                }
            }
            block.body = Bytes::from(body);
        }
        PeerMessage::AuthorHeader(header) => header.signature.0[0] ^= 1,
        PeerMessage::SlowIntent(tx) => *tx = Bytes::from(vec![0; tx.len()]),
        PeerMessage::FraudProof(evidence) => {
            if let Evidence::Transaction(evidence) = &mut **evidence {
                evidence.body.reverse();
            }
        }
        PeerMessage::AuthorReady(ready) => ready.height = Height(u64::MAX),
        PeerMessage::ResetRequest(request) => request.run = request.run.wrapping_add(1),
        PeerMessage::Fetch(fetch) => {
            *fetch = Fetch::Committed {
                from: Height(rng.below(3)),
                count: u16::MAX,
            };
        }
        PeerMessage::Blocks(blocks) => match rng.below(3) {
            0 => blocks.reverse(),
            1 => blocks.truncate(blocks.len() / 2),
            _ => {
                if let Some(last) = blocks.last_mut() {
                    last.block.header.state_digest = Hash::default();
                }
            }
        },
        PeerMessage::Block(block) => block.header.timestamp ^= 1,
        PeerMessage::Nack(header) => header.header.seq = header.header.seq.next(),
        PeerMessage::Suspect(view) => *view = View(u32::MAX),
        // It hides what it knows of one that lost its disk.
        PeerMessage::Trace(trace) => *trace = None,
    }
    broken
}

fn break_proposal(rng: &mut SimRng, setup: &Setup, from: MemberIndex, propose: &mut Propose) {
    let header = &mut propose.block.header;
    match rng.below(9) {
        0 => header.state_digest = Hash([7; 32]),
        1 => header.excluded_root = Hash([7; 32]),
        2 => header.refs_root = Hash([7; 32]),
        3 => header.timestamp = 0,
        4 => header.timestamp = u64::MAX,
        5 => header.prev = Hash([7; 32]),
        6 => header.height = Height(header.height.0.wrapping_add(1)),
        7 => propose.block.refs.reverse(),
        _ => {
            propose.block.refs.pop();
        }
    }
    resign(setup, from, propose);
}

fn break_certificate(rng: &mut SimRng, certified: &mut Certified) {
    match rng.below(5) {
        0 => match &mut certified.certificate.signatures {
            Signatures::List(list) => drop(list.pop()),
            Signatures::Aggregate { signers, .. } => {
                *signers = signers.iter().skip(1).collect();
            }
        },
        1 => certified.subject.hash = Hash([7; 32]),
        2 => {
            certified.subject.phase = match certified.subject.phase {
                Phase::Prepare => Phase::Commit,
                _ => Phase::Prepare,
            }
        }
        3 => match &mut certified.certificate.signatures {
            Signatures::List(list) => {
                if let (Some(first), Some(last)) = (list.first().copied(), list.last_mut()) {
                    *last = first;
                }
            }
            Signatures::Aggregate { signature, .. } => signature.0[7] ^= 1,
        },
        _ => {
            let view = View(certified.subject.view.0.saturating_add(1));
            certified.subject.view = view;
            certified.certificate.view = view;
        }
    }
}
