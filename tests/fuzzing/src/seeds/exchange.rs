//! Transactions, the client protocol and streams of frames.

use bytes::Bytes;
use crypto::keys::Scheme;
use crypto::merkle;
use types::client::{
    Answer, BlockItem, CLIENT_PROTOCOL_VERSION, FinalNote, Hello, Level, MerklePath, NodeInfo, NoteEntry,
    Receipts, Refused, Request, Role, ShardStatus, SlowEntry, StateInfo, TagAt, Topology, TxStatus,
    ValidatorAddress,
};
use types::codec::Encode as _;
use types::transaction::{Input, Output, TxDraft};
use types::{Amount, Epoch, Hash, Height, OutPoint, Owner, Reject, ShardId, Tag, TxId, ValidatorId};

use super::chain::{author_block, committed};
use super::{Seed, Voters, choose, seed};

/// A canonical transaction with so many owners, inputs, outputs and bytes of memo.
pub(super) fn encoded(number: u64, owners: u8, inputs: u8, outputs: u8, memo: u16) -> Vec<u8> {
    let mut id = [7; 32];
    id[..8].copy_from_slice(&number.to_le_bytes());
    let draft = TxDraft {
        expiry_epoch: 3,
        fee: Amount(number),
        nonce: 0x00ab_cdef,
        owners: (0..owners).map(|owner| Owner([owner; 32])).collect(),
        inputs: (0..inputs)
            .map(|index| Input {
                outpoint: OutPoint {
                    txid: TxId(id),
                    index: index.into(),
                },
                owner: index % owners,
            })
            .collect(),
        outputs: (0..outputs)
            .map(|output| Output {
                owner: Owner([output; 32]),
                amount: Amount(u64::from(output) + 1),
            })
            .collect(),
        memo: vec![b'm'; memo.into()],
    };
    let mut bytes = Vec::new();
    draft.encode_body(&mut bytes);
    (0..owners).for_each(|owner| bytes.extend_from_slice(&[owner; 64]));
    bytes
}

/// Inputs of the target `transaction`.
pub(super) fn transactions() -> Vec<Seed> {
    let tx = |name: &str, bytes| seed("transaction", name, bytes);
    let two = encoded(2, 2, 2, 2, 4);
    let broken = |name: &str, at: usize, value: u8| {
        let mut bytes = two.clone();
        bytes[at] = value;
        tx(name, bytes)
    };
    vec![
        tx("smallest", encoded(0, 1, 1, 1, 0)),
        tx("payment", encoded(1, 1, 1, 2, 0)),
        tx("two-owners", two.clone()),
        tx("many-inputs", encoded(3, 3, 20, 1, 7)),
        tx("many-outputs", encoded(4, 1, 1, 30, 0)),
        tx("memo", encoded(5, 1, 1, 1, 512)),
        tx("cut", two[..200].to_vec()),
        tx("trailing", [&two[..], &[0]].concat()),
        broken("version", 0, 2),
        broken("kind", 1, 1),
        broken("unsorted-owners", 20, 9),
        broken("owner-unused", 20 + 64 + 34, 1),
        broken("overflow", 9 + 7, 0xff),
        broken("no-such-owner", 20 + 64 + 34, 9),
    ]
}

/// Inputs of the target `client`: each request and each answer.
pub(super) fn clients() -> Vec<Seed> {
    let hello = Hello {
        genesis: Hash([1; 32]),
        id: [0; 32],
        protocol_version: CLIENT_PROTOCOL_VERSION,
        role: Role::Client,
        design: 1,
        epoch: Epoch(0),
        in_flight_max: 65_536,
    };
    let txs = [encoded(1, 1, 1, 2, 0), encoded(2, 2, 2, 2, 4)];
    let requests = [
        ("hello", Request::Hello(hello.clone())),
        ("topology", Request::Topology),
        (
            "submit-slow",
            Request::SubmitSlow {
                first_tag: Tag(6),
                txs: vec![Bytes::from(encoded(5, 2, 2, 1, 0))],
            },
        ),
        (
            "submit",
            Request::Submit {
                first_tag: Tag(7),
                txs: txs.map(Bytes::from).to_vec(),
            },
        ),
        ("status", Request::Status(vec![TxId([1; 32]), TxId([2; 32])])),
        (
            "blocks",
            Request::Blocks {
                from: Height(1),
                count: 16,
            },
        ),
        ("state", Request::State),
        ("info", Request::Info),
    ];
    let requests = requests.into_iter().map(|(name, request)| {
        let bytes = choose(request.kind(), &request.encode_payload());
        seed("client", format!("request-{name}"), bytes)
    });
    let answers = answers(hello).into_iter().map(|(name, answer)| {
        let bytes = choose(answer.kind(), &answer.encode_payload());
        seed("client", format!("answer-{name}"), bytes)
    });
    requests.chain(answers).chain(counts_that_lie()).collect()
}

/// The largest counts that are accepted, and next to nothing behind them: no room may be made on their word.
fn counts_that_lie() -> [Seed; 2] {
    let submission = [&[0x10], &7_u32.to_le_bytes()[..], &4096_u16.to_le_bytes()].concat();
    let note = note(&Voters::new(Scheme::Simulated, 4));
    let entries_at = 1 + note.header.to_bytes().len() + note.proof.to_bytes().len();
    let mut bytes = choose(0x13, &note.to_bytes());
    bytes[entries_at..entries_at + 4].copy_from_slice(&2048_u32.to_le_bytes());
    [
        seed("client", "count-submission", submission),
        seed("client", "count-note", bytes),
    ]
}

fn answers(hello: Hello) -> [(&'static str, Answer); 11] {
    let voters = Voters::new(Scheme::Simulated, 4);
    let topology = Topology {
        epoch: Epoch(0),
        shards: vec![ShardStatus {
            members: 4,
            mode: 1,
            height: Height(9),
        }],
        validators: vec![ValidatorAddress {
            id: ValidatorId(0),
            key: [3; 32],
            shard: ShardId(0),
            role: 0,
            group: 0x8000,
            ip: std::net::Ipv4Addr::LOCALHOST.to_ipv6_mapped().octets(),
            port: 21_001,
        }],
    };
    let info = NodeInfo {
        backend: "avx2".into(),
        durability: "fsync".into(),
        ..NodeInfo::default()
    };
    [
        ("hello", Answer::Hello(hello)),
        ("topology", Answer::Topology(topology)),
        (
            "reject",
            Answer::Reject(vec![Refused {
                tag: Tag(3),
                reason: Reject::InputSpent,
            }]),
        ),
        ("final", Answer::Final(Box::new(note(&voters)))),
        ("final-slow", Answer::Final(Box::new(slow_note(&voters)))),
        ("receipts", Answer::Receipts(Box::new(receipts(&voters)))),
        (
            "busy",
            Answer::Busy {
                first_tag: Tag(1),
                count: 2,
                retry_ms: 100,
            },
        ),
        (
            "status",
            Answer::Status(vec![TxStatus {
                level: Level::Final,
                height: Height(5),
                code: 0,
            }]),
        ),
        (
            "blocks",
            Answer::Blocks {
                items: vec![
                    BlockItem::Block(Box::new(committed(&voters, 0))),
                    BlockItem::Body(author_block(&voters, 2)),
                ],
                last: true,
            },
        ),
        ("state", Answer::State(StateInfo::default())),
        ("info", Answer::Info(Box::new(info))),
    ]
}

/// A note with proofs that hold.
fn note(voters: &Voters) -> FinalNote {
    let committed = committed(voters, 0);
    let leaves: Vec<_> = committed.block.refs.iter().map(merkle::ref_leaf).collect();
    FinalNote {
        slow: Vec::new(),
        header: committed.block.header,
        proof: committed.proof,
        entries: vec![NoteEntry {
            reference: committed.block.refs[0].clone(),
            reference_path: merkle::path(&leaves, 0).expect("the first leaf"),
            excluded: vec![1],
            excluded_path: MerklePath {
                index: 1,
                count: 3,
                siblings: vec![Hash([1; 32]), Hash([2; 32])],
            },
            author: author_block(voters, 2).header,
            tags: vec![TagAt {
                tag: Tag(4),
                position: 1,
            }],
        }],
    }
}

/// A note of a block that executed slow transactions of the client.
fn slow_note(voters: &Voters) -> FinalNote {
    let leaves = [
        merkle::slow_leaf(&TxId([1; 32]), 0),
        merkle::slow_leaf(&TxId([2; 32]), 12),
    ];
    let entry = |tag: u32, id: u8, code| SlowEntry {
        tag: Tag(tag),
        txid: TxId([id; 32]),
        code,
        path: merkle::path(&leaves, usize::from(id) - 1).expect("one of two leaves"),
    };
    FinalNote {
        slow: vec![entry(5, 1, 0), entry(6, 2, 12)],
        ..note(voters)
    }
}

fn receipts(voters: &Voters) -> Receipts {
    let tag = |tag, position| TagAt {
        tag: Tag(tag),
        position,
    };
    Receipts {
        author: author_block(voters, 3).header,
        tags: vec![tag(8, 0), tag(9, 2)],
    }
}

/// Inputs of the target `frame`.
pub(super) fn frames() -> Vec<Seed> {
    let frame = |kind: u8, payload: &[u8]| {
        let mut out = (payload.len() as u32).to_le_bytes().to_vec();
        out.extend_from_slice(&[kind, 1, 4, 3, 2, 1, 6, 5]);
        out.extend_from_slice(payload);
        out
    };
    let two = [frame(0x31, b"first"), frame(0x10, b"")].concat();
    let large = frame(0x21, &[7; 300]);
    let lie = [&u32::MAX.to_le_bytes()[..], &[1; 8]].concat();
    let stream = |name: &str, piece, bytes: &[u8]| seed("frame", name, choose(piece, bytes));
    vec![
        stream("two", 255, &two),
        stream("two-bytewise", 1, &two),
        stream("large-in-pieces", 13, &[&large[..], &two].concat()),
        stream("cut", 7, &large[..200]),
        stream("cut-envelope", 7, &two[..5]),
        stream("lie", 64, &[&two[..], &lie].concat()),
    ]
}
