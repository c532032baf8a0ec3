//! Real endpoints on loopback; refusals are asserted on the side that must refuse.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::{Frame, Identity, PeerConfig, PeerEndpoint, PublicKey, ValidatorId};

mod abuse;
mod clients;
mod drained;
mod frames;
mod handshake;
mod identities;
mod links;
mod rogue;

/// Ends a test that hangs; generous, because the machine may be busy.
async fn within<F: Future>(what: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), what)
        .await
        .expect("the awaited thing happened")
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Identities in the order of their keys, so that the first dials the second.
fn identities(count: u8) -> Vec<Identity> {
    let mut all: Vec<Identity> = (1..=count)
        .map(|n| Identity::from_seed(&[n; 32]).expect("valid seed"))
        .collect();
    all.sort_by_key(Identity::public_key);
    all
}

fn keys(identities: &[Identity]) -> BTreeMap<ValidatorId, PublicKey> {
    (0..).zip(identities.iter().map(Identity::public_key)).collect()
}

fn endpoint(identity: &Identity, keys: &BTreeMap<ValidatorId, PublicKey>) -> PeerEndpoint {
    PeerEndpoint::bind(identity, PeerConfig::new(loopback(), keys.clone())).expect("free port")
}

/// A frame whose epoch is its number.
fn numbered(number: u32, bytes: usize) -> Frame {
    Frame {
        kind: 7,
        version: 1,
        epoch: number,
        shard: 3,
        payload: Bytes::from(vec![number as u8; bytes]),
    }
}
