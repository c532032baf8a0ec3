use super::VerifyPool;
use crate::driver::inbox::Inbox;
use files::QueueBounds;
use std::sync::Arc;
use std::time::Duration;
use types::Hash;

#[test]
fn a_worker_that_panics_stops_the_validators_with_a_reason() {
    let pool = VerifyPool::start(1, [0; 32]).expect("threads");
    let inboxes: Vec<_> = (0..2)
        .map(|_| Arc::new(Inbox::new(4, &QueueBounds::default()).0))
        .collect();
    for inbox in &inboxes {
        pool.lane(Hash([0; 32]), Arc::clone(inbox), 1, Duration::ZERO);
        assert_eq!(inbox.failure(), None);
    }
    let shared = Arc::clone(&pool);
    let worker = std::thread::spawn(move || shared.guard(|| panic!("planted by the test")));
    assert!(worker.join().is_ok(), "the panic ends in the guard");
    for inbox in &inboxes {
        assert!(inbox.is_stopped());
        assert_eq!(inbox.failure(), Some("a verification worker panicked".to_owned()));
    }
    pool.stop();
}
