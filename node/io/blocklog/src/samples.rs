//! Records of every kind with made-up content, for tests of the log and of what uses it.

use bytes::Bytes;
use crypto::hash::author_header_hash;
use types::block::{
    AuthorHeader, Block, BlockRef, BlockSeq, CommitProof, CommittedBlock, FinalHeader, GROUP_ONE_LEAGUE,
    SignedAuthorHeader,
};
use types::certificate::{Certificate, Phase, Signatures, Subject};
use types::codec::Decode;
use types::message::{AuthorBlock, Certified, NewView, Propose, Vote};
use types::record::LogRecord;
use types::{Hash, Height, MemberIndex, Signature, View};

use crate::identity::Identity;

/// Owner of the directories that tests make.
pub const IDENTITY: Identity = Identity {
    genesis: Hash([0xa1; 32]),
    validator: [0x0b; 32],
};

fn subject(phase: Phase, height: u64, view: u32) -> Subject {
    Subject {
        phase,
        height: Height(height),
        view: View(view),
        hash: Hash([height as u8; 32]),
    }
}

fn certificate(view: u32) -> Certificate {
    let signatures = [0, 1, 3].map(|member| (MemberIndex(member), Signature([view as u8; 64])));
    Certificate {
        view: View(view),
        committee: 4,
        signatures: Signatures::List(signatures.to_vec()),
    }
}

/// A vote at a height.
pub fn vote(height: u64) -> LogRecord {
    let subject = subject(Phase::Prepare, height, 0);
    LogRecord::Vote(Vote {
        subject,
        member: MemberIndex(2),
        signature: Signature([height as u8; 64]),
    })
}

/// A prepare certificate held at a height, of a view.
pub fn tip(height: u64, view: u32) -> LogRecord {
    LogRecord::Tip(Certified {
        subject: subject(Phase::Prepare, height, view),
        certificate: certificate(view),
    })
}

/// A promise to vote in no lower view.
pub fn promise(view: u32) -> LogRecord {
    LogRecord::Promise(View(view))
}

/// The opening of a view.
pub fn new_view(view: u32) -> LogRecord {
    let signature = Signature([3; 64]);
    LogRecord::NewView(Box::new(NewView {
        view: View(view),
        view_changes: Vec::new(),
        signature,
    }))
}

/// An author block with a body of `bytes` bytes; `number` makes it unlike others.
pub fn author_block(number: u64, base_height: u64, bytes: usize) -> AuthorBlock {
    let mut header = AuthorHeader::from_bytes(&[0; 183 - 64]).expect("119 bytes");
    header.seq = BlockSeq(number);
    header.base_height = Height(base_height);
    header.body_bytes = bytes as u32;
    let signature = Signature([7; 64]);
    let body = (0..bytes)
        .map(|at| (at as u64 * 31 + number) as u8)
        .collect::<Vec<_>>();
    AuthorBlock {
        header: SignedAuthorHeader { header, signature },
        body: Bytes::from(body),
    }
}

/// Hash by which the log finds an author block.
pub fn hash_of(block: &AuthorBlock) -> Hash {
    author_header_hash(&block.header.header)
}

/// A block of a height that refers to these author blocks.
pub fn block(height: u64, bodies: &[&AuthorBlock]) -> Block {
    let mut header = FinalHeader::from_bytes(&[0; 364]).expect("364 bytes");
    header.height = Height(height);
    let refs = bodies.iter().map(|body| BlockRef {
        group: GROUP_ONE_LEAGUE,
        seq: body.header.header.seq,
        hash: hash_of(body),
        tx_count: 0,
    });
    let refs: Vec<_> = refs.collect();
    Block {
        header,
        excluded: vec![Vec::new(); refs.len()],
        refs,
        records: Vec::new(),
    }
}

/// A proposal of a height without references.
pub fn proposal(height: u64) -> LogRecord {
    LogRecord::Proposal(Propose {
        view: View(0),
        block: block(height, &[]),
        signature: Signature([9; 64]),
    })
}

/// A final block of a height that refers to these author blocks.
pub fn committed(height: u64, bodies: &[&AuthorBlock]) -> CommittedBlock {
    let proof = CommitProof {
        height: Height(height),
        hash: Hash([height as u8; 32]),
        descendants: Vec::new(),
        certificate: certificate(0),
    };
    CommittedBlock {
        block: block(height, bodies),
        proof,
    }
}

/// The records of one height: a body of `bytes` bytes, its proposal, the vote and the final block.
pub fn height(height: u64, bytes: usize) -> Vec<LogRecord> {
    let body = author_block(height, height.saturating_sub(1), bytes);
    let committed = committed(height, &[&body]);
    vec![
        LogRecord::AuthorBlock(body),
        proposal(height),
        vote(height),
        LogRecord::Committed(Box::new(committed)),
    ]
}
