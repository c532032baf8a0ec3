//! Blocks, certificates and messages between validators.

use bytes::Bytes;
use crypto::cosign::{
    sign_author_header, sign_author_ready, sign_new_view, sign_propose, sign_reset_request, sign_subject,
    sign_view_change,
};
use crypto::hash::{author_header_hash, final_header_hash, records_root, txid};
use crypto::keys::Scheme;
use crypto::merkle::refs_root;
use crypto::{body, evidence};
use types::block::{
    AuthorHeader, BLOCK_VERSION, Block, BlockRef, BlockSeq, CommitProof, CommittedBlock, FinalHeader,
    GROUP_ONE_LEAGUE, MODE_ONE_LEAGUE, MODE_TWO_LEAGUES, SignedAuthorHeader,
};
use types::block_record::{AuthorReady, Record, ResetRequest, StandIn};
use types::certificate::{Phase, Subject};
use types::codec::Encode;
use types::evidence::{Evidence, TxFault};
use types::message::{AuthorBlock, Committed, Fetch, NewView, PeerMessage, Propose, Trace, ViewChange, Vote};
use types::record::{LogRecord, Standing};
use types::transaction::TxView;
use types::{Epoch, Hash, Height, MemberIndex, ShardId, Signature, ValidatorId, View};

use super::exchange::encoded;
use super::{Seed, Voters, choose, seed};

/// Inputs of the target `certificate`, for both schemes and both committees.
pub(super) fn certificates() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (bits, scheme, size, name) in [
        (0, Scheme::Simulated, 4, "sim-4"),
        (1, Scheme::Ed25519, 4, "ed25519-4"),
        (2, Scheme::Simulated, 7, "sim-7"),
        (3, Scheme::Ed25519, 7, "ed25519-7"),
    ] {
        let voters = Voters::new(scheme, size);
        let quorum: Vec<u16> = (1..u16::from(size)).collect();
        let mut add = |what: u8, kind: &str, value: Vec<u8>| {
            let name = format!("{kind}-{name}");
            seeds.push(seed("certificate", name, choose(bits | what << 2, &value)));
        };
        add(0, "quorum", voters.certify(SUBJECT, &quorum).to_bytes());
        add(0, "few", voters.certify(SUBJECT, &[0, 2]).to_bytes());
        add(1, "proof", committed(&voters, 0).to_bytes());
        add(1, "descendants", committed(&voters, 2).to_bytes());
        add(2, "view-change", view_change(&voters, 1).to_bytes());
        add(3, "new-view", new_view(&voters).to_bytes());
    }
    seeds
}

/// Inputs of the target `peer`: each message and each record.
pub(super) fn peer() -> Vec<Seed> {
    let voters = Voters::new(Scheme::Simulated, 4);
    let vote = Vote {
        subject: SUBJECT,
        member: MemberIndex(1),
        signature: sign_subject(&voters.keys[1], &voters.context, &SUBJECT),
    };
    let header = author_block(&voters, 20).header;
    let proofs = proofs(&voters).map(|(name, evidence)| (name, PeerMessage::FraudProof(Box::new(evidence))));
    let messages =
        messages(&voters, &vote)
            .into_iter()
            .chain(proofs)
            .chain(traces(&voters, vote.clone(), header));
    let messages = messages.map(|(name, message)| {
        seed(
            "peer",
            format!("message-{name}"),
            framed(message.kind(), message.encode_payload()),
        )
    });
    let records = records(&voters, vote).into_iter().map(|(name, record)| {
        seed(
            "peer",
            format!("record-{name}"),
            framed(record.kind(), record.encode_payload()),
        )
    });
    // The largest count that is accepted and no transaction behind it: no room may be made on its word.
    let mut lie = author_block(&voters, 0);
    lie.body = Bytes::from_static(&[0, 16, 0, 0, 1]);
    let lie = PeerMessage::AuthorBlock(lie);
    let lie = seed("peer", "count-body", framed(lie.kind(), lie.encode_payload()));
    messages.chain(records).chain([lie]).collect()
}

fn proposed(voters: &Voters) -> Propose {
    let block = block(voters, 5, Hash([8; 32]));
    Propose {
        view: View(2),
        signature: sign_propose(&voters.keys[2], &voters.context, View(2), &block.header),
        block,
    }
}

fn messages(voters: &Voters, vote: &Vote) -> Vec<(&'static str, PeerMessage)> {
    let propose = proposed(voters);
    let many = author_block(voters, 20);
    vec![
        ("author-block", PeerMessage::AuthorBlock(author_block(voters, 2))),
        ("author-block-many", PeerMessage::AuthorBlock(many.clone())),
        ("heartbeat", PeerMessage::AuthorBlock(author_block(voters, 0))),
        ("reset", PeerMessage::ResetRequest(reset(voters))),
        ("propose", PeerMessage::Propose(propose.clone())),
        ("vote", PeerMessage::Vote(vote.clone())),
        (
            "certified",
            PeerMessage::Certified(voters.certify(SUBJECT, &[0, 1, 2])),
        ),
        (
            "view-change",
            PeerMessage::ViewChange(Box::new(view_change(voters, 0))),
        ),
        ("new-view", PeerMessage::NewView(Box::new(new_view(voters)))),
        (
            "fetch-committed",
            PeerMessage::Fetch(Fetch::Committed {
                from: Height(3),
                count: 16,
            }),
        ),
        (
            "fetch-block",
            PeerMessage::Fetch(Fetch::Block { hash: Hash([1; 32]) }),
        ),
        (
            "fetch-body",
            PeerMessage::Fetch(Fetch::Body { hash: Hash([2; 32]) }),
        ),
        (
            "blocks",
            PeerMessage::Blocks(vec![committed(voters, 0), committed(voters, 1)]),
        ),
        ("nack", PeerMessage::Nack(many.header.clone())),
        ("author-header", PeerMessage::AuthorHeader(many.header.clone())),
        (
            "slow-intent",
            PeerMessage::SlowIntent(encoded(3, 1, 1, 2, 0).into()),
        ),
        ("author-ready", PeerMessage::AuthorReady(ready(voters))),
        ("propose-records", PeerMessage::Propose(decided(voters))),
        ("block", PeerMessage::Block(Box::new(propose.block))),
    ]
}

fn records(voters: &Voters, vote: Vote) -> Vec<(&'static str, LogRecord)> {
    let propose = proposed(voters);
    vec![
        ("author-block", LogRecord::AuthorBlock(author_block(voters, 1))),
        ("proposal", LogRecord::Proposal(propose.clone())),
        ("vote", LogRecord::Vote(vote)),
        ("tip", LogRecord::Tip(voters.certify(SUBJECT, &[0, 1, 2]))),
        ("committed", LogRecord::Committed(Box::new(committed(voters, 1)))),
        ("new-view", LogRecord::NewView(Box::new(new_view(voters)))),
        ("promise", LogRecord::Promise(View(7))),
        ("block", LogRecord::Block(Box::new(propose.block))),
        ("voter", LogRecord::Standing(Standing::Voter)),
        ("barred", LogRecord::Standing(Standing::Barred)),
    ]
}

/// Every kind of evidence, in the canonical form; only the kinds that need no committee of two leagues would be judged.
fn proofs(voters: &Voters) -> [(&'static str, Evidence); 4] {
    let block = author_block(voters, 3);
    let of_tx = evidence::of_transaction(&block.header, &block.body, 1, TxFault::Signature);
    let other = author_block(voters, 4);
    let of_headers = evidence::of_headers(&block.header, &other.header);
    let vote = |hash| {
        let subject = Subject { hash, ..SUBJECT };
        Vote {
            subject,
            member: MemberIndex(1),
            signature: sign_subject(&voters.keys[1], &voters.context, &subject),
        }
    };
    // Certificates of more than 16 voters are aggregates.
    let many = Voters::new(Scheme::Simulated, 17);
    let partial = |hash| many.partial(Subject { hash, ..SUBJECT }, &[16]);
    let of_partials = evidence::of_partials(&partial(Hash([3; 32])), &partial(Hash([4; 32])));
    let of_votes = evidence::of_votes(&vote(Hash([3; 32])), &vote(Hash([4; 32])));
    [
        (
            "proof-transaction",
            Evidence::Transaction(Box::new(of_tx.expect("three transactions"))),
        ),
        (
            "proof-headers",
            Evidence::Headers(Box::new(of_headers.expect("two blocks of one position"))),
        ),
        (
            "proof-votes",
            Evidence::Votes(Box::new(of_votes.expect("two votes of one phase"))),
        ),
        (
            "proof-partials",
            Evidence::Partials(Box::new(of_partials.expect("two votes of one phase"))),
        ),
    ]
}

fn ready(voters: &Voters) -> AuthorReady {
    let mut ready = AuthorReady {
        member: MemberIndex(3),
        height: Height(9),
        signature: Signature([0; 64]),
    };
    ready.signature = sign_author_ready(&voters.keys[3], &voters.context, &ready);
    ready
}

/// A proposal of two leagues whose block holds a record of each kind, in order.
fn decided(voters: &Voters) -> Propose {
    let mut proposed = block(voters, 6, Hash([8; 32]));
    proposed.header.mode = MODE_TWO_LEAGUES;
    let [(_, of_tx), _, (_, of_votes), (_, of_partials)] = proofs(voters);
    proposed.records = vec![
        Record::Evidence(of_tx),
        Record::Evidence(of_votes),
        Record::Evidence(of_partials),
        Record::Reset(reset(voters)),
        Record::StandIn(StandIn {
            group: 0,
            member: MemberIndex(3),
        }),
        Record::ModeSwitch(MODE_ONE_LEAGUE),
        Record::AuthorReady(ready(voters)),
        Record::SlowIntent(encoded(4, 1, 1, 1, 0)),
    ];
    proposed.records.sort_by_cached_key(Record::order);
    proposed.header.evidence_root = records_root(&proposed.records);
    Propose {
        view: View(2),
        signature: sign_propose(&voters.keys[2], &voters.context, View(2), &proposed.header),
        block: proposed,
    }
}

/// What is asked and said about a validator that starts with an empty disk, and a suspicion.
fn traces(voters: &Voters, vote: Vote, header: SignedAuthorHeader) -> Vec<(&'static str, PeerMessage)> {
    vec![
        ("fetch-trace", PeerMessage::Fetch(Fetch::Trace)),
        ("no-trace", PeerMessage::Trace(None)),
        (
            "trace-vote",
            PeerMessage::Trace(Some(Box::new(Trace::Vote(vote)))),
        ),
        (
            "trace-view-change",
            PeerMessage::Trace(Some(Box::new(Trace::ViewChange(Box::new(view_change(
                voters, 0,
            )))))),
        ),
        (
            "trace-author-block",
            PeerMessage::Trace(Some(Box::new(Trace::AuthorBlock(header)))),
        ),
        ("suspect", PeerMessage::Suspect(View(3))),
    ]
}

fn framed(kind: u8, (head, body): (Vec<u8>, Option<Bytes>)) -> Vec<u8> {
    choose(kind, &[&head[..], &body.unwrap_or_default()].concat())
}

const SUBJECT: Subject = Subject {
    phase: Phase::Commit,
    height: Height(5),
    view: View(2),
    hash: Hash([3; 32]),
};

/// An author block with so many transactions.
pub(super) fn author_block(voters: &Voters, txs: u64) -> AuthorBlock {
    let txs: Vec<_> = (0..txs)
        .map(|number| {
            let bytes = encoded(number, 1, 1 + (number % 3) as u8, 2, 3);
            let view = TxView::decode(&bytes).expect("canonical");
            (txid(view.body()), Bytes::from(bytes.clone()))
        })
        .collect();
    let (body, tx_root) = body::build(&txs);
    let header = AuthorHeader {
        version: BLOCK_VERSION,
        shard: ShardId(1),
        epoch: Epoch(0),
        term: 0,
        group: GROUP_ONE_LEAGUE + 1,
        seq: BlockSeq::start_of(1).next(),
        prev: Hash([4; 32]),
        tx_root,
        tx_count: txs.len() as u32,
        body_bytes: body.bytes().len() as u32,
        base_height: Height(4),
        value: 77,
        author: ValidatorId(1),
        timestamp: 1_700_000_000_000_000_000,
    };
    AuthorBlock {
        header: SignedAuthorHeader {
            signature: sign_author_header(&voters.keys[1], &voters.context, &header),
            header,
        },
        body: body.bytes().clone(),
    }
}

fn reset(voters: &Voters) -> ResetRequest {
    let mut request = ResetRequest {
        group: GROUP_ONE_LEAGUE,
        run: 3,
        boot_nonce: 99,
        signature: Signature::default(),
    };
    request.signature = sign_reset_request(&voters.keys[0], &voters.context, &request);
    request
}

pub(super) fn block(voters: &Voters, height: u64, prev: Hash) -> Block {
    let author = author_block(voters, 2).header.header;
    let refs = vec![BlockRef {
        group: author.group,
        seq: author.seq,
        hash: author_header_hash(&author),
        tx_count: author.tx_count,
    }];
    let records = vec![Record::Reset(reset(voters))];
    let excluded = vec![Vec::new(); refs.len()];
    Block {
        header: FinalHeader {
            version: BLOCK_VERSION,
            mode: MODE_ONE_LEAGUE,
            shard: ShardId(1),
            epoch: Epoch(0),
            term: 0,
            height: Height(height),
            view: View(2),
            prev,
            refs_root: refs_root(&refs),
            excluded_root: crypto::merkle::EMPTY,
            slow_root: crypto::merkle::EMPTY,
            inbox_root: crypto::merkle::EMPTY,
            outbox_root: crypto::merkle::EMPTY,
            evidence_root: records_root(&records),
            tx_count: 2,
            state_digest: Hash([6; 32]),
            committee_hash: voters.committee.hash,
            beacon_height: Height(0),
            beacon_hash: Hash::default(),
            timestamp: 1_700_000_000_000_000_000,
        },
        refs,
        excluded,
        records,
    }
}

/// A final block whose certificate is over the block so many heights above it.
pub(super) fn committed(voters: &Voters, above: u64) -> CommittedBlock {
    let block = block(voters, 5, Hash([8; 32]));
    let mut descendants: Vec<FinalHeader> = Vec::new();
    for height in 6..6 + above {
        let last = descendants.last().unwrap_or(&block.header);
        descendants.push(self::block(voters, height, final_header_hash(last)).header);
    }
    let last = descendants.last().unwrap_or(&block.header);
    let subject = Subject {
        phase: Phase::Commit,
        height: last.height,
        view: View(2),
        hash: final_header_hash(last),
    };
    CommittedBlock {
        proof: CommitProof {
            height: subject.height,
            hash: subject.hash,
            certificate: voters
                .certify(subject, &[0, 1, 2, 3, 4][..voters.committee.quorum()])
                .certificate,
            descendants,
        },
        block,
    }
}

fn view_change(voters: &Voters, member: u16) -> ViewChange {
    let quorum = &[0, 1, 2, 3, 4][..voters.committee.quorum()];
    let prepared = Subject {
        phase: Phase::Prepare,
        ..SUBJECT
    };
    let tip = voters.certify(prepared, quorum);
    let proof = voters.certify(SUBJECT, quorum);
    let mut change = ViewChange {
        new_view: View(3),
        committed: Committed {
            height: if member == 0 { Height(0) } else { SUBJECT.height },
            hash: SUBJECT.hash,
            proof: (member > 0).then_some(proof),
        },
        tip: (member != 1).then_some(tip),
        member: MemberIndex(member),
        signature: Signature::default(),
    };
    change.signature = sign_view_change(&voters.keys[usize::from(member)], &voters.context, &change);
    change
}

fn new_view(voters: &Voters) -> NewView {
    let mut opening = NewView {
        view: View(3),
        view_changes: (0..3).map(|member| view_change(voters, member)).collect(),
        signature: Signature::default(),
    };
    opening.signature = sign_new_view(&voters.keys[3], &voters.context, &opening);
    opening
}
