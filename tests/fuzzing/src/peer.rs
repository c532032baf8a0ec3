//! Messages between validators and records of the block log: one value has one encoding, and a body that is accepted
//! holds what its header says.

use bytes::Bytes;
use crypto::body::{self, BodyError};
use types::message::{AuthorBlock, PeerMessage};
use types::record::LogRecord;
use types::transaction::TxView;

use crate::memory::in_proportion;

/// The first byte is the type: below 0x20 of a record, else of a message; the rest is its payload.
pub(crate) fn check(input: &[u8]) {
    let Some((kind, payload)) = input.split_first() else {
        return;
    };
    let payload = Bytes::copy_from_slice(payload);
    if *kind < 0x20 {
        check_record(*kind, &payload);
    } else {
        check_message(*kind, &payload);
    }
}

fn check_message(kind: u8, payload: &Bytes) {
    let decode = || PeerMessage::decode_payload(kind, payload);
    let Ok(message) = in_proportion(payload.len(), 16, decode) else {
        return;
    };
    assert_eq!(message.kind(), kind);
    let again = joined(message.encode_payload());
    if let PeerMessage::Fetch(_) = message {
        // A question may ask for more than is answered; what is read from it then is written as it was read.
        assert_eq!(PeerMessage::decode_payload(kind, &again).as_ref(), Ok(&message));
    } else {
        assert_eq!(again, payload);
    }
    if let PeerMessage::AuthorBlock(block) = message {
        check_body(block);
    }
}

fn check_record(kind: u8, payload: &Bytes) {
    let decode = || LogRecord::decode_payload(kind, payload);
    if let Ok(record) = in_proportion(payload.len(), 16, decode) {
        assert_eq!(record.kind(), kind);
        assert_eq!(joined(record.encode_payload()), payload);
    }
}

fn joined((head, body): (Vec<u8>, Option<Bytes>)) -> Bytes {
    match body {
        None => head.into(),
        Some(body) => [&head[..], &body[..]].concat().into(),
    }
}

/// The body under its header, and under one that was made to fit it, so that decoding comes to its end.
fn check_body(AuthorBlock { header, body }: AuthorBlock) {
    let mut header = header.header;
    if body::decode(&header, body.clone()).is_ok() {
        check_accepted(&header, &body);
        return;
    }
    header.body_bytes = body.len() as u32;
    if let Some(count) = body.first_chunk::<4>() {
        header.tx_count = u32::from_le_bytes(*count);
    }
    let decode = || body::decode(&header, body.clone());
    if let Err(BodyError::Root { found, .. }) = in_proportion(body.len(), 16, decode) {
        header.tx_root = found;
        match body::decode(&header, body.clone()) {
            // What its author has no right to include, and answers for: told with the first place of it.
            Err(BodyError::Rule { position, .. }) => assert!(position < header.tx_count),
            Err(BodyError::Duplicate(_)) => {}
            _ => check_accepted(&header, &body),
        }
    }
}

fn check_accepted(header: &types::block::AuthorHeader, bytes: &Bytes) {
    let body = body::decode(header, bytes.clone()).expect("accepted before, or of the root that was found");
    assert_eq!(body.len(), header.tx_count as usize);
    let mut again = header.tx_count.to_le_bytes().to_vec();
    let mut ids = Vec::new();
    let mut signatures = 0;
    for (txid, view) in body.txs() {
        let decoded = TxView::decode(view.bytes()).expect("each was decoded");
        assert_eq!(crypto::hash::txid(decoded.body()), txid);
        again.extend_from_slice(view.bytes());
        signatures += decoded.owner_count();
        ids.push(txid);
    }
    assert_eq!(again, bytes[..]);
    ids.sort_unstable();
    assert!(
        ids.windows(2).all(|pair| pair[0] < pair[1]),
        "no transaction twice"
    );
    let (jobs, positions) = body::signature_jobs(&body, 0..header.tx_count, &types::Hash::default());
    assert_eq!((jobs.len(), positions.len()), (signatures, signatures));
    let pairs: Vec<_> = body
        .txs()
        .map(|(txid, view)| (txid, Bytes::copy_from_slice(view.bytes())))
        .collect();
    assert_eq!(
        body::build(&pairs),
        (body, header.tx_root),
        "an author would cut the same body"
    );
}
