//! Frames over real links: order, bounds, and what happens to malformed ones.

use super::{endpoint, identities, keys, loopback, numbered, within};
use crate::{
    CloseCode, DisconnectReason, FrameError, Lane, PeerConfig, PeerConnection, PeerEndpoint, SendError,
};

/// A link from the first identity to the second, and the endpoints that keep it alive.
async fn link(dialer_max: usize, listener_max: usize) -> (PeerConnection, PeerConnection, [PeerEndpoint; 2]) {
    let all = identities(2);
    let bind = |identity, frame_bytes_max| {
        let config = PeerConfig {
            frame_bytes_max,
            ..PeerConfig::new(loopback(), keys(&all))
        };
        PeerEndpoint::bind(identity, config).expect("free port")
    };
    let (dialer, mut listener) = (bind(&all[0], dialer_max), bind(&all[1], listener_max));
    let address = listener.local_addr();
    let (dialled, accepted) =
        within(async { tokio::join!(dialer.connect(1, address), listener.accept()) }).await;
    (
        dialled.expect("let in"),
        accepted.expect("connection"),
        [dialer, listener],
    )
}

#[tokio::test]
async fn many_small_frames_arrive_in_order() {
    let (dialled, accepted, _endpoints) = link(1000, 1000).await;
    let (sender, ..) = dialled.split();
    let (_link, mut control, _bulk) = accepted.split();
    let sending = async {
        for number in 0..20_000 {
            while sender
                .try_send(Lane::Control, numbered(number, number as usize % 300))
                .is_err()
            {
                tokio::task::yield_now().await;
            }
        }
    };
    let receiving = async {
        for number in 0..20_000 {
            let frame = control.recv().await.expect("frame");
            assert_eq!(frame, numbered(number, number as usize % 300));
        }
    };
    within(async { tokio::join!(sending, receiving) }).await;
}

#[tokio::test]
async fn an_oversized_frame_closes_the_link_with_a_named_reason() {
    let (dialled, accepted, _endpoints) = link(5000, 1000).await;
    let (sender, ..) = dialled.split();
    let (_link, mut control, _bulk) = accepted.split();
    sender.try_send(Lane::Control, numbered(1, 1000)).expect("room");
    sender.try_send(Lane::Control, numbered(2, 1001)).expect("room");
    assert_eq!(within(control.recv()).await, Ok(numbered(1, 1000)));
    let error = FrameError::TooLarge {
        bytes: 1001,
        max: 1000,
    };
    assert_eq!(
        within(control.recv()).await,
        Err(DisconnectReason::BadFrame(error))
    );
    let DisconnectReason::ByPeer { code, text } = within(sender.closed()).await else {
        panic!("the sender is told");
    };
    assert_eq!(CloseCode::from_wire(code), Some(CloseCode::FrameTooLarge));
    assert!(text.contains("1001") && text.contains("1000"), "{text}");
    assert_eq!(
        within(control.recv()).await,
        Err(DisconnectReason::Local),
        "nothing follows"
    );
}

#[tokio::test]
async fn an_oversized_frame_is_not_even_queued_by_its_sender() {
    let (dialled, _accepted, _endpoints) = link(1000, 1000).await;
    let (sender, ..) = dialled.split();
    let refused = sender.try_send(Lane::Bulk, numbered(1, 1001));
    assert_eq!(
        refused,
        Err(SendError::TooLarge {
            bytes: 1001,
            max: 1000
        })
    );
}

#[tokio::test]
async fn control_passes_a_bulk_lane_that_nobody_reads() {
    let (dialled, accepted, _endpoints) = link(1 << 20, 1 << 20).await;
    let (sender, ..) = dialled.split();
    let (_link, mut control, mut bulk) = accepted.split();
    let mut queued = 0;
    // Full only for good: the writer moves frames on until the windows are full too.
    let mut refused = 0;
    while refused < 50 {
        match sender.try_send(Lane::Bulk, numbered(queued, 1 << 20)) {
            Ok(()) => (queued, refused) = (queued + 1, 0),
            Err(error) => {
                assert_eq!(error, SendError::Full);
                refused += 1;
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        }
    }
    assert!(
        queued < 60,
        "about 32 MiB of queue and 8 MiB of windows, not {queued} MiB"
    );
    for number in 0..100 {
        sender
            .try_send(Lane::Control, numbered(number, 10_000))
            .expect("room");
        assert_eq!(within(control.recv()).await, Ok(numbered(number, 10_000)));
    }
    for number in 0..queued {
        let frame = within(bulk.recv()).await.expect("frame");
        assert_eq!((frame.epoch, frame.payload.len()), (number, 1 << 20));
    }
}

#[tokio::test]
async fn a_link_that_ended_says_so_to_senders_and_readers() {
    let all = identities(2);
    let (dialled, accepted, [dialer, listener]) = link(1000, 1000).await;
    let (sender, mut control, _bulk) = dialled.split();
    drop(accepted);
    within(listener.shutdown()).await;
    let reason = within(control.recv()).await.expect_err("ended");
    assert!(
        matches!(
            reason,
            DisconnectReason::ByPeer { .. } | DisconnectReason::Failed(_)
        ),
        "{reason}"
    );
    within(async {
        while sender.try_send(Lane::Control, numbered(1, 1)) != Err(SendError::Closed) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(dialer.traffic().sent_bytes > 0);
    let other = endpoint(&all[1], &keys(&all));
    assert_eq!(other.traffic().sent_bytes, 0);
}
