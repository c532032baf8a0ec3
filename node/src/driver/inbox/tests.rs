use bytes::Bytes;
use types::message::{Fetch, PeerMessage};
use types::{ConnectionId, Height, Tag, TxId};

use super::*;

const MEMBERS: usize = 4;

fn inbox(bounds: &QueueBounds) -> (Inbox, InboxReceivers) {
    Inbox::new(MEMBERS, bounds)
}

fn message(from: u16) -> Event {
    Event::Peer {
        from: MemberIndex(from),
        message: PeerMessage::Fetch(Fetch::Committed {
            from: Height(1),
            count: 1,
        }),
    }
}

async fn control(inbox: &Inbox, from: u16) {
    inbox
        .control(MemberIndex(from), message(from), HeldBytes::default())
        .await;
}

async fn bulk(inbox: &Inbox, from: u16) {
    inbox
        .bulk(MemberIndex(from), message(from), HeldBytes::default())
        .await;
}

fn admission() -> Admission {
    Admission {
        connection: ConnectionId(1),
        tag: Tag(1),
        txid: TxId([0; 32]),
        bytes: Bytes::new(),
    }
}

fn sender(event: &Event) -> Option<u16> {
    match event {
        Event::Peer { from, .. } => Some(from.0),
        _ => None,
    }
}

/// Everything that waits, in the order in which it is served.
fn drain(inbox: &Inbox, receivers: &mut InboxReceivers) -> Vec<Event> {
    std::iter::from_fn(|| receivers.next(inbox)).collect()
}

fn place(events: &[Event], what: impl Fn(&Event) -> bool) -> usize {
    events.iter().position(what).expect("it is served")
}

#[tokio::test]
async fn a_member_that_floods_delays_everyone_else_by_a_few_events() {
    let (inbox, mut receivers) = inbox(&QueueBounds::default());
    // As much as one member can have waiting, on both lanes.
    for _ in 0..QueueBounds::default().peer_events {
        control(&inbox, 1).await;
        bulk(&inbox, 1).await;
    }
    control(&inbox, 2).await;
    bulk(&inbox, 3).await;
    inbox.body_checked(Hash([7; 32]), BodyVerdict::Foreign);
    assert!(inbox.admit(vec![admission()]).is_empty());
    inbox.query(Event::StateAsked(ConnectionId(5))).await;
    let events = drain(&inbox, &mut receivers);
    assert_eq!(
        events.len(),
        2 * QueueBounds::default().peer_events + 5,
        "nothing is lost"
    );
    // Members take turns; each source behind the control lanes comes first in one of twelve events.
    assert!(place(&events, |event| sender(event) == Some(2)) <= 2);
    let bound = OTHERS_EVERY as usize * OTHERS.len() * 2;
    assert!(place(&events, |event| sender(event) == Some(3)) <= bound);
    assert!(place(&events, |event| matches!(event, Event::BodyChecked { .. })) <= bound);
    assert!(place(&events, |event| matches!(event, Event::Admitted(_))) <= bound);
    assert!(place(&events, |event| matches!(event, Event::StateAsked(_))) <= bound);
}

#[tokio::test]
async fn a_member_whose_queue_is_full_waits_alone() {
    let bounds = QueueBounds {
        peer_events: 1,
        ..QueueBounds::default()
    };
    let (inbox, mut receivers) = inbox(&bounds);
    control(&inbox, 1).await;
    let full = control(&inbox, 1);
    tokio::pin!(full);
    tokio::select! {
        biased;
        () = &mut full => panic!("a second event found room in a queue of one"),
        () = std::future::ready(()) => {}
    }
    // The same member's other lane and every other member have room.
    bulk(&inbox, 1).await;
    control(&inbox, 2).await;
    bulk(&inbox, 2).await;
    let first = receivers.next(&inbox).expect("waits");
    assert_eq!(sender(&first), Some(1));
    full.await;
    assert_eq!(drain(&inbox, &mut receivers).len(), 4);
}

#[tokio::test]
async fn without_a_flood_consensus_comes_first() {
    let (inbox, mut receivers) = inbox(&QueueBounds::default());
    assert!(inbox.admit(vec![admission()]).is_empty());
    inbox.body_checked(Hash([7; 32]), BodyVerdict::Foreign);
    control(&inbox, 1).await;
    control(&inbox, 3).await;
    let events = drain(&inbox, &mut receivers);
    assert_eq!((sender(&events[0]), sender(&events[1])), (Some(1), Some(3)));
    assert!(matches!(events[2], Event::BodyChecked { .. }));
    assert!(matches!(events[3], Event::Admitted(_)));
}

#[test]
fn a_batch_larger_than_the_ring_is_taken_in_parts_and_the_rest_given_back() {
    let bounds = QueueBounds {
        intake_txs: 3,
        admission_batches: 2,
        ..QueueBounds::default()
    };
    let (inbox, mut receivers) = inbox(&bounds);
    let refused = inbox.admit((0..7).map(|_| admission()).collect());
    assert_eq!(refused.len(), 4, "three fit");
    let taken: usize = drain(&inbox, &mut receivers)
        .iter()
        .map(|event| match event {
            Event::Admitted(batch) => batch.len(),
            _ => 0,
        })
        .sum();
    assert_eq!(taken, 3);
}

#[test]
fn what_finds_no_room_in_the_slow_lane_is_given_back_and_the_other_lane_is_free() {
    let (inbox, mut receivers) = inbox(&QueueBounds::default());
    let refused = inbox.admit_slow(vec![admission(); SLOW_TXS_MAX + 5]);
    assert_eq!(refused.len(), 5);
    assert!(inbox.admit(vec![admission(); SLOW_TXS_MAX]).is_empty());
    let events = drain(&inbox, &mut receivers);
    let slow = place(&events, |event| matches!(event, Event::SlowAdmitted(_)));
    let fast = place(&events, |event| matches!(event, Event::Admitted(_)));
    assert!(fast < slow, "authors come first");
    assert!(matches!(&events[slow], Event::SlowAdmitted(all) if all.len() == SLOW_TXS_MAX));
}
