use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crypto::keys::SecretKey;
use crypto::sampling::Sampling;
use crypto::{body, hash};
use files::QueueBounds;
use replica::{BodyVerdict, Event, SignatureChecks};
use types::block::SignedAuthorHeader;
use types::codec::Decode;
use types::message::AuthorBlock;
use types::transaction::{Input, Output, TxDraft};
use types::{Amount, ConnectionId, Hash, OutPoint, Owner, Tag, TxId};

use super::{BodyJob, RecheckJob, VerifyLane, VerifyPool, Way};
use crate::driver::inbox::{Inbox, InboxReceivers};

const GENESIS: Hash = Hash([3; 32]);
const TXS: u32 = 32;

/// Payments of one signature each; that of the second is forged.
fn txs() -> Vec<(TxId, Bytes)> {
    let payment = |number: u8| {
        let key = SecretKey::from_seed([number; 32]);
        let draft = TxDraft {
            owners: vec![Owner(key.public())],
            inputs: vec![Input {
                outpoint: OutPoint {
                    txid: TxId([number; 32]),
                    index: 0,
                },
                owner: 0,
            }],
            outputs: vec![Output {
                owner: Owner([1; 32]),
                amount: Amount(5),
            }],
            ..TxDraft::default()
        };
        let mut bytes = Vec::new();
        draft.encode_body(&mut bytes);
        let txid = hash::txid(&bytes);
        // A signature that decodes, of something else.
        let genesis = if number == 1 { Hash([4; 32]) } else { GENESIS };
        let signature = key.sign(&hash::sighash(&genesis, &txid));
        bytes.extend_from_slice(&signature.0);
        (txid, Bytes::from(bytes))
    };
    (0..TXS as u8).map(payment).collect()
}

fn block() -> AuthorBlock {
    let (built, root) = body::build(&txs());
    let mut header = SignedAuthorHeader::from_bytes(&[0; 183]).expect("183 bytes");
    header.header.tx_root = root;
    header.header.tx_count = TXS;
    header.header.body_bytes = built.bytes().len() as u32;
    AuthorBlock {
        header,
        body: built.bytes().clone(),
    }
}

/// A pool of one worker with one validator.
struct Fixture {
    pool: Arc<VerifyPool>,
    lane: Arc<VerifyLane>,
    inbox: Arc<Inbox>,
    receivers: InboxReceivers,
}

impl Fixture {
    fn new() -> Self {
        let pool = VerifyPool::start(1, [0; 32]).expect("threads");
        let (inbox, receivers) = Inbox::new(4, &QueueBounds::default());
        let inbox = Arc::new(inbox);
        let lane = pool.lane(GENESIS, Arc::clone(&inbox), 1000, Duration::ZERO);
        Self {
            pool,
            lane,
            inbox,
            receivers,
        }
    }

    /// The next event, waited for at most a minute.
    fn event(&mut self) -> Event {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(event) = self.receivers.next(&self.inbox) {
                return event;
            }
            assert!(Instant::now() < until, "no event within a minute");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Checks of clients' transactions, of bodies and of final blocks.
    fn checks(&self) -> [u64; 3] {
        let checks = &self.lane.checks;
        [&checks.intake, &checks.sampled, &checks.recheck].map(|count| count.load(Ordering::Relaxed))
    }
}

#[test]
fn the_sample_of_a_body_is_verified_and_counted() {
    let mut fixture = Fixture::new();
    let AuthorBlock { header, body } = block();
    let hash = hash::author_header_hash(&header.header);
    let sampling = |probability_ppm| Sampling {
        secret: SecretKey::from_seed([9; 32]).sampling_secret(),
        probability_ppm,
        full_from: u64::MAX,
    };
    let sample = sampling(250_000).positions(&hash, vec![5; TXS as usize]);
    assert!((1..TXS as usize).contains(&sample.len()), "{sample:?}");
    let forged = sample.contains(&1);
    let job = |checks| BodyJob {
        hash,
        header: Box::new(header.clone()),
        bytes: body.clone(),
        checks,
    };
    fixture
        .pool
        .check_body(&fixture.lane, job(SignatureChecks::Sampled(sampling(250_000))));
    let Event::BodyChecked {
        verdict: BodyVerdict::Checked(checked),
        ..
    } = fixture.event()
    else {
        panic!("a verdict")
    };
    assert_eq!(checked.bad_signatures, if forged { vec![1] } else { vec![] });
    // A batch with a bad one is looked at twice.
    let times = if forged { 2 } else { 1 };
    assert_eq!(fixture.checks(), [0, times * sample.len() as u64, 0]);
    fixture
        .pool
        .check_body(&fixture.lane, job(SignatureChecks::Skipped));
    assert!(matches!(fixture.event(), Event::BodyChecked { .. }));
    assert_eq!(fixture.checks(), [0, times * sample.len() as u64, 0]);
    fixture.pool.stop();
}

#[test]
fn a_final_block_is_checked_whole_and_its_forgery_proven() {
    let mut fixture = Fixture::new();
    let block = block();
    let hash = hash::author_header_hash(&block.header.header);
    fixture.pool.recheck(&fixture.lane, RecheckJob { hash, block });
    let Event::Rechecked { hash: found, forged } = fixture.event() else {
        panic!("a verdict")
    };
    assert_eq!(found, hash);
    let positions: Vec<_> = forged.iter().map(|proof| proof.path.index).collect();
    assert_eq!(positions, [1]);
    assert_eq!(fixture.checks(), [0, 0, 2 * u64::from(TXS)]);
    fixture.pool.stop();
}

#[test]
fn verified_transactions_go_the_way_that_their_client_chose() {
    let mut fixture = Fixture::new();
    let all: Vec<_> = txs().into_iter().map(|(_, bytes)| bytes).collect();
    let expected: Vec<_> = txs()
        .into_iter()
        .map(|(txid, _)| txid)
        .enumerate()
        .filter(|(position, _)| *position != 1)
        .map(|(_, txid)| txid)
        .collect();
    for (connection, way) in [(1, Way::Author), (2, Way::Slow)] {
        let taken = fixture
            .pool
            .submit(&fixture.lane, ConnectionId(connection), Tag(0), way, all.clone());
        assert!(taken);
        let admissions = match (way, fixture.event()) {
            (Way::Author, Event::Admitted(admissions)) | (Way::Slow, Event::SlowAdmitted(admissions)) => {
                admissions
            }
            (_, event) => panic!("{way:?}: {event:?}"),
        };
        let txids: Vec<_> = admissions.iter().map(|admission| admission.txid).collect();
        assert_eq!(txids, expected, "the forged one was refused");
        assert!(admissions.iter().all(|one| one.connection.0 == connection));
    }
    assert_eq!(fixture.lane.refused.load(Ordering::Relaxed), 2);
    fixture.pool.stop();
}

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
