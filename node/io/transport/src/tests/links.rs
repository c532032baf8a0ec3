//! The mesh: links come up, come back, and keep order under an added delay.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::mpsc::error::TryRecvError;
use tokio::time::Instant;

use super::{endpoint, identities, keys, loopback, numbered, within};
use crate::limits::BULK_INBOX_BYTES;
use crate::{
    BindError, DisconnectReason, Frame, Identity, Lane, MeshError, PeerConfig, PeerEndpoint, PeerEvent,
    PeerEvents, PeerMesh, PublicKey, SendError, ValidatorId,
};

type Addresses = BTreeMap<ValidatorId, SocketAddr>;
type Events = Vec<PeerEvents>;
/// An event, and from whom on which lane it came.
type Seen = (ValidatorId, Lane, PeerEvent);

/// Meshes of all identities, linked or about to be.
fn meshes(all: &[Identity], delay: Duration) -> (Vec<(PeerMesh, Events)>, Addresses) {
    let bind = |identity| {
        let config = PeerConfig {
            one_way_delay: delay,
            ..PeerConfig::new(loopback(), keys(all))
        };
        PeerEndpoint::bind(identity, config).expect("free port")
    };
    let endpoints: Vec<PeerEndpoint> = all.iter().map(bind).collect();
    let addresses: Addresses = (0..)
        .zip(endpoints.iter().map(PeerEndpoint::local_addr))
        .collect();
    let start = |endpoint| PeerMesh::start(endpoint, &addresses).expect("all addresses");
    (endpoints.into_iter().map(start).collect(), addresses)
}

/// The next event of anyone, or `None` when the mesh has ended.
async fn any(events: &mut Events) -> Option<Seen> {
    loop {
        let mut open = false;
        for peer in events.iter_mut() {
            for (lane, queue) in [(Lane::Control, &mut peer.control), (Lane::Bulk, &mut peer.bulk)] {
                match queue.try_recv() {
                    Ok(arrival) => return Some((peer.id, lane, arrival.event)),
                    Err(error) => open |= error == TryRecvError::Empty,
                }
            }
        }
        if !open {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn next(events: &mut Events) -> Seen {
    within(any(events)).await.expect("the mesh runs")
}

fn up(id: ValidatorId) -> Seen {
    (id, Lane::Control, PeerEvent::Connected)
}

async fn disconnected(events: &mut Events, id: ValidatorId) -> DisconnectReason {
    match next(events).await {
        (from, _, PeerEvent::Disconnected(reason)) if from == id => reason,
        other => panic!("expected the end of the link to {id}, got {other:?}"),
    }
}

/// A stopped endpoint's socket closes a moment after its last task.
async fn bind_again(
    identity: &Identity,
    listen: SocketAddr,
    keys: BTreeMap<ValidatorId, PublicKey>,
) -> PeerEndpoint {
    within(async {
        loop {
            match PeerEndpoint::bind(identity, PeerConfig::new(listen, keys.clone())) {
                Ok(endpoint) => return endpoint,
                Err(BindError::InUse(_)) => tokio::time::sleep(Duration::from_millis(5)).await,
                Err(error) => panic!("{error}"),
            }
        }
    })
    .await
}

async fn exchange(meshes: &mut [(PeerMesh, Events)], from: usize, to: usize, frame: Frame) {
    let id = |index: usize| ValidatorId::try_from(index).expect("few");
    // The other side may have seen the link first.
    within(async {
        while meshes[from].0.send(id(to), Lane::Control, frame.clone()).is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let event = next(&mut meshes[to].1).await;
    assert_eq!(event, (id(from), Lane::Control, PeerEvent::Frame(frame)));
}

#[tokio::test]
async fn every_pair_gets_one_link_and_frames_name_their_sender() {
    let (mut meshes, _) = meshes(&identities(4), Duration::ZERO);
    for (mesh, events) in &mut meshes {
        let mut up = BTreeSet::new();
        for _ in 0..3 {
            let (id, Lane::Control, PeerEvent::Connected) = next(events).await else {
                panic!("links first")
            };
            up.insert(id);
        }
        assert_eq!(up.len(), 3);
        within(async {
            while mesh.sender().connected().len() < 3 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(mesh.sender().connected(), up.into_iter().collect::<Vec<_>>());
    }
    for from in 0..4u16 {
        for to in (0..4).filter(|to| *to != from) {
            let mesh = &meshes[usize::from(from)].0;
            mesh.send(to, Lane::Control, numbered(1, 200)).expect("room");
            mesh.send(to, Lane::Bulk, numbered(2, 200_000)).expect("room");
        }
    }
    for (own, (mesh, events)) in (0u16..).zip(&mut meshes) {
        let mut seen = BTreeSet::new();
        for _ in 0..6 {
            let (from, lane, PeerEvent::Frame(frame)) = next(events).await else {
                panic!("only frames")
            };
            let expected = if lane == Lane::Control {
                numbered(1, 200)
            } else {
                numbered(2, 200_000)
            };
            assert_eq!(frame, expected);
            assert!(from != own && seen.insert((from, lane)));
        }
        for peer in events {
            assert!(peer.control.try_recv().is_err() && peer.bulk.try_recv().is_err());
        }
        assert_eq!(mesh.sender().refusals().total(), 0);
        assert!(mesh.sender().traffic().sent_bytes > 600_000);
    }
}

#[tokio::test]
async fn sends_without_a_link_are_answered() {
    let all = identities(2);
    let (mut meshes, _) = meshes(&all[..1], Duration::ZERO);
    let (mesh, _events) = meshes.remove(0);
    assert_eq!(
        mesh.send(5, Lane::Control, numbered(1, 1)),
        Err(SendError::UnknownPeer(5))
    );

    let lonely = endpoint(&all[0], &keys(&all));
    assert_eq!(
        PeerMesh::start(lonely, &BTreeMap::new()).err(),
        Some(MeshError::NoAddress(1))
    );

    let lonely = endpoint(&all[0], &keys(&all));
    let nobody = endpoint(&all[1], &keys(&all)).local_addr();
    let (mesh, _events) = PeerMesh::start(lonely, &BTreeMap::from([(1, nobody)])).expect("addresses");
    assert_eq!(
        mesh.send(1, Lane::Control, numbered(1, 1)),
        Err(SendError::Closed)
    );
}

#[tokio::test]
async fn either_side_may_restart() {
    let all = identities(2);
    let (mut meshes, addresses) = meshes(&all, Duration::ZERO);
    for (events, other) in [(0, 1), (1, 0)] {
        assert_eq!(next(&mut meshes[events].1).await, up(other));
    }
    // First the validator that is dialled, then the one that dials.
    for (restarted, stays) in [(1u16, 0u16), (0, 1)] {
        let index = usize::from(restarted);
        let (mesh, mut events) = meshes.remove(index);
        let traffic = mesh.sender().traffic();
        within(mesh.shutdown()).await;
        while within(any(&mut events)).await.is_some() {}
        drop(events);
        let reason = disconnected(&mut meshes[0].1, restarted).await;
        assert!(
            matches!(reason, DisconnectReason::ByPeer { code: 0, .. }),
            "{reason}"
        );
        assert_eq!(
            meshes[0].0.send(restarted, Lane::Bulk, numbered(1, 1)),
            Err(SendError::Closed)
        );

        let again = bind_again(&all[index], addresses[&restarted], keys(&all)).await;
        meshes.insert(index, PeerMesh::start(again, &addresses).expect("addresses"));
        assert_eq!(next(&mut meshes[index].1).await, up(stays));
        assert_eq!(next(&mut meshes[usize::from(stays)].1).await, up(restarted));
        exchange(&mut meshes, 0, 1, numbered(10, 500)).await;
        exchange(&mut meshes, 1, 0, numbered(11, 500)).await;
        assert!(traffic.sent_bytes > 0);
    }
}

/// Runs a mesh in a runtime of its own and stops that at once, so that no close is sent: a killed process.
fn killed(identity: &Identity, listen: SocketAddr, all: &[Identity], addresses: &Addresses) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime");
    let mesh = runtime.block_on(async {
        let endpoint = bind_again(identity, listen, keys(all)).await;
        let (mesh, mut events) = PeerMesh::start(endpoint, addresses).expect("addresses");
        assert!(matches!(next(&mut events).await, (_, _, PeerEvent::Connected)));
        mesh
    });
    runtime.shutdown_background();
    // Nothing is left that could send the close of this drop; it only frees the port.
    drop(mesh);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_killed_validator_is_missed_when_it_is_back_and_not_after_the_idle_timeout() {
    let all = identities(2);
    for (victim, stays) in [(1usize, 0usize), (0, 1)] {
        let places: Vec<PeerEndpoint> = all
            .iter()
            .map(|identity| endpoint(identity, &keys(&all)))
            .collect();
        let addresses: Addresses = (0..).zip(places.iter().map(PeerEndpoint::local_addr)).collect();
        drop(places);
        let id = |index: usize| ValidatorId::try_from(index).expect("few");
        let (victim_address, stays_address) = (addresses[&id(victim)], addresses[&id(stays)]);

        let endpoint = bind_again(&all[stays], stays_address, keys(&all)).await;
        let (mesh, mut events) = PeerMesh::start(endpoint, &addresses).expect("addresses");
        let (doomed, others, doomed_addresses) = (all[victim].clone(), all.clone(), addresses.clone());
        tokio::task::spawn_blocking(move || killed(&doomed, victim_address, &others, &doomed_addresses))
            .await
            .expect("ran");
        assert_eq!(next(&mut events).await, up(id(victim)));

        let endpoint = bind_again(&all[victim], victim_address, keys(&all)).await;
        let (back, mut back_events) = PeerMesh::start(endpoint, &addresses).expect("addresses");
        let reason = disconnected(&mut events, id(victim)).await;
        if victim == 1 {
            // It does not dial, so only its reset can tell.
            assert_eq!(reason, DisconnectReason::Reset);
        } else {
            // Its reset and its new dial race.
            assert!(
                matches!(reason, DisconnectReason::Reset | DisconnectReason::Replaced),
                "{reason}"
            );
        }
        assert_eq!(next(&mut events).await, up(id(victim)));
        assert_eq!(next(&mut back_events).await, up(id(stays)));
        within(back.shutdown()).await;
        drop(mesh);
    }
}

#[tokio::test]
async fn an_added_delay_holds_every_frame_and_keeps_the_order() {
    let delay = Duration::from_millis(100);
    let (mut meshes, _) = meshes(&identities(2), delay);
    let (receiver, mut events) = meshes.remove(1);
    let (sender, mut sender_events) = meshes.remove(0);
    assert_eq!(next(&mut sender_events).await, up(1));
    assert_eq!(next(&mut events).await, up(0));
    let mut sent_at = Vec::new();
    within(async {
        for number in 0..500 {
            sent_at.push(Instant::now());
            while sender.send(1, Lane::Control, numbered(number, 1000)).is_err() {
                tokio::task::yield_now().await;
            }
            if number % 50 == 0 {
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
        }
    })
    .await;
    for (number, sent) in (0..).zip(sent_at) {
        let expected = (0, Lane::Control, PeerEvent::Frame(numbered(number, 1000)));
        assert_eq!(next(&mut events).await, expected);
        // A lower bound, which no load on the machine can break.
        assert!(sent.elapsed() >= delay);
    }
    drop(receiver);
}

#[tokio::test]
async fn a_slow_owner_stops_its_senders_and_loses_nothing() {
    let (mut meshes, _) = meshes(&identities(2), Duration::ZERO);
    let (_receiver, mut events) = meshes.remove(1);
    let (sender, mut sender_events) = meshes.remove(0);
    assert_eq!(next(&mut sender_events).await, up(1));
    assert_eq!(next(&mut events).await, up(0));
    let (mut queued, mut refused) = (0, 0);
    while refused < 50 {
        match sender.send(1, Lane::Bulk, numbered(queued, 1 << 20)) {
            Ok(()) => (queued, refused) = (queued + 1, 0),
            Err(_) => {
                refused += 1;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    }
    assert!(
        queued < 80,
        "queue, windows and inbox are bounded, but {queued} MiB were taken"
    );
    sender
        .send(1, Lane::Control, numbered(9, 9))
        .expect("the other lane has room");
    // Control overtakes what waits, wherever bulk is stuck.
    within(async {
        let mut bulk = 0;
        let mut control = false;
        while bulk < queued || !control {
            match next(&mut events).await {
                (0, Lane::Bulk, PeerEvent::Frame(frame)) => {
                    assert_eq!((frame.epoch, frame.payload.len()), (bulk, 1 << 20));
                    bulk += 1;
                }
                (0, Lane::Control, PeerEvent::Frame(frame)) => {
                    assert_eq!(frame, numbered(9, 9));
                    control = true;
                }
                other => panic!("unexpected {other:?}"),
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_flooding_validator_whom_nobody_reads_holds_up_nobody_else() {
    let (mut meshes, _) = meshes(&identities(3), Duration::ZERO);
    let (_receiver, mut events) = meshes.remove(2);
    for (mesh, _) in &meshes {
        within(async {
            while mesh.send(2, Lane::Control, numbered(0, 1)).is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    let (flooder, honest) = (&meshes[0].0, &meshes[1].0);
    let (mut queued, mut refused) = (0, 0);
    while refused < 50 {
        match flooder.send(2, Lane::Control, numbered(queued, 10)) {
            Ok(()) => (queued, refused) = (queued + 1, 0),
            Err(_) => {
                refused += 1;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    }
    // Nothing of the flooder is read; the honest one is heard on both lanes all the same.
    let of_honest = &mut events[1];
    assert_eq!(of_honest.id, 1);
    for lane in Lane::ALL {
        honest.send(2, lane, numbered(7, 100)).expect("room");
        let queue = match lane {
            Lane::Control => &mut of_honest.control,
            Lane::Bulk => &mut of_honest.bulk,
        };
        within(async {
            while queue.recv().await.expect("runs").event != PeerEvent::Frame(numbered(7, 100)) {}
        })
        .await;
    }
}

#[tokio::test]
async fn bytes_that_the_owner_still_holds_count_against_their_sender() {
    let (mut meshes, _) = meshes(&identities(2), Duration::ZERO);
    let (_receiver, mut events) = meshes.remove(1);
    let (sender, mut sender_events) = meshes.remove(0);
    assert_eq!(next(&mut sender_events).await, up(1));
    let sending = async {
        for number in 0..40 {
            while sender.send(1, Lane::Bulk, numbered(number, 1 << 20)).is_err() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    };
    let bulk = &mut events[0].bulk;
    let receiving = async {
        let mut kept = Vec::new();
        // One frame more than the budget never comes while all before it are held.
        while let Ok(Some(arrival)) = tokio::time::timeout(Duration::from_millis(300), bulk.recv()).await {
            kept.push(arrival);
        }
        assert!(
            kept.len() <= BULK_INBOX_BYTES / (1 << 20),
            "{} MiB are held",
            kept.len()
        );
        let mut received = kept.len();
        drop(kept);
        while received < 40 {
            bulk.recv().await.expect("runs");
            received += 1;
        }
    };
    within(async { tokio::join!(sending, receiving) }).await;
}
