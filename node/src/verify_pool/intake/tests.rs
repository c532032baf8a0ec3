use types::block::SignedAuthorHeader;
use types::codec::Decode;

use super::*;

const PATIENCE: Duration = Duration::from_millis(10);
const FLOODER: ConnectionId = ConnectionId(1);
const HONEST: ConnectionId = ConnectionId(2);

fn intake(txs_max: usize) -> (Intake, Instant) {
    (Intake::new(txs_max, PATIENCE), Instant::now())
}

fn txs(count: usize) -> Vec<Bytes> {
    vec![Bytes::from_static(b"tx"); count]
}

fn trust(intake: &mut Intake, connections: &[ConnectionId]) {
    for connection in connections {
        intake.judge(*connection, TRUST_AFTER_TXS, false);
    }
}

fn body(group: u16) -> BodyJob {
    let mut signed = SignedAuthorHeader::from_bytes(&[0; 183]).expect("183 bytes");
    signed.header.group = group;
    BodyJob {
        hash: Hash([0; 32]),
        header: Box::new(signed),
        bytes: Bytes::new(),
        checks: SignatureChecks::All,
    }
}

/// Who is served with how much, piece of work by piece of work, long after everything is due.
fn drain(intake: &mut Intake, now: Instant) -> Vec<Vec<(ConnectionId, usize)>> {
    let late = now + 2 * PATIENCE;
    let sizes = |piece: &Submission| (piece.connection, piece.txs.len());
    std::iter::from_fn(|| match intake.take(late).ok()? {
        Work::Body(_) | Work::Recheck(_) => Some(Vec::new()),
        Work::Batch(pieces) => Some(pieces.iter().map(sizes).collect()),
        Work::Suspect(piece) => Some(vec![sizes(&piece)]),
    })
    .collect()
}

#[test]
fn a_client_cannot_take_the_room_of_the_others() {
    let (mut intake, now) = intake(1000);
    let mut taken = 0;
    while intake.push(FLOODER, Tag(taken), Way::Author, txs(10), now) {
        taken += 10;
    }
    assert_eq!(taken, 500, "half for the first one");
    let mut others = Vec::new();
    for other in 2..6 {
        let mut taken = 0;
        while intake.push(ConnectionId(other), Tag(taken), Way::Author, txs(10), now) {
            taken += 10;
        }
        others.push(taken);
    }
    assert!(others.iter().all(|taken| *taken >= 10), "{others:?}");
    assert!(intake.txs <= 1000);
    drain(&mut intake, now);
    assert_eq!((intake.txs, intake.waiting.len()), (0, 0), "all room is back");
}

#[test]
fn an_empty_queue_takes_a_submission_of_any_size_and_then_no_more() {
    let (mut intake, now) = intake(1);
    assert!(intake.push(FLOODER, Tag(0), Way::Author, txs(100), now));
    assert!(!intake.push(HONEST, Tag(0), Way::Author, txs(1), now));
    drain(&mut intake, now);
    assert!(intake.push(HONEST, Tag(0), Way::Author, txs(1), now));
}

#[test]
fn clients_with_trust_share_a_batch_in_turns_and_tags_follow_the_cuts() {
    let (mut intake, now) = intake(100_000);
    trust(&mut intake, &[FLOODER, HONEST]);
    assert!(intake.push(FLOODER, Tag(0), Way::Author, txs(4096), now));
    assert!(intake.push(HONEST, Tag(7), Way::Author, txs(100), now));
    let Ok(Work::Batch(batch)) = intake.take(now) else {
        panic!("a batch is full")
    };
    let honest: usize = batch
        .iter()
        .filter(|piece| piece.connection == HONEST)
        .map(|piece| piece.txs.len())
        .sum();
    assert_eq!(honest, 100, "it did not wait for the 4096 before it");
    let total: usize = batch.iter().map(|piece| piece.txs.len()).sum();
    assert_eq!(total, VERIFY_BATCH_MAX);
    for connection in [FLOODER, HONEST] {
        let mut next = if connection == HONEST { 7 } else { 0 };
        for piece in batch.iter().filter(|piece| piece.connection == connection) {
            assert_eq!(piece.first_tag, Tag(next));
            next += piece.txs.len() as u32;
        }
    }
}

#[test]
fn who_has_no_trust_yet_is_verified_apart() {
    let (mut intake, now) = intake(100_000);
    trust(&mut intake, &[HONEST]);
    assert!(intake.push(HONEST, Tag(0), Way::Author, txs(10), now));
    assert!(intake.push(ConnectionId(9), Tag(0), Way::Author, txs(100), now));
    assert!(intake.push(HONEST, Tag(10), Way::Author, txs(10), now));
    let served = drain(&mut intake, now);
    assert!(
        served
            .iter()
            .all(|batch| batch.iter().all(|piece| piece.0 == HONEST) || batch.len() == 1),
        "{served:?}"
    );
    let apart: Vec<_> = served
        .iter()
        .flatten()
        .filter(|piece| piece.0 != HONEST)
        .map(|piece| piece.1)
        .collect();
    assert_eq!(apart, [TURN_TXS_MAX, 100 - TURN_TXS_MAX]);
}

#[test]
fn a_sender_of_bad_signatures_gets_a_small_share_while_others_wait() {
    let (mut intake, now) = intake(100_000);
    trust(&mut intake, &[FLOODER, HONEST]);
    assert!(intake.push(FLOODER, Tag(0), Way::Author, txs(2000), now));
    intake.judge(FLOODER, 0, true);
    assert!(
        !intake.push(FLOODER, Tag(2000), Way::Author, txs(1), now),
        "no more than its bound waits"
    );
    for number in 0..20 {
        assert!(intake.push(HONEST, Tag(number * 1024), Way::Author, txs(1024), now));
    }
    let served = drain(&mut intake, now);
    let last_honest = served
        .iter()
        .rposition(|pieces| pieces.iter().any(|piece| piece.0 == HONEST))
        .expect("served");
    let suspect_units = served[..last_honest]
        .iter()
        .filter(|pieces| pieces.iter().any(|piece| piece.0 == FLOODER))
        .count();
    assert!(
        suspect_units <= last_honest / SUSPECT_EVERY as usize + 1,
        "{suspect_units}"
    );
    assert!(suspect_units > 0, "it is not starved either");
    for pieces in served
        .iter()
        .filter(|pieces| pieces.iter().any(|piece| piece.0 == FLOODER))
    {
        assert!(pieces.len() == 1 && pieces[0].1 <= TURN_TXS_MAX, "{pieces:?}");
    }
    assert_eq!((intake.txs, intake.suspect_txs), (0, 0));
}

#[test]
fn a_suspect_proves_itself_by_as_many_good_ones_as_a_newcomer() {
    let (mut intake, now) = intake(100_000);
    intake.judge(FLOODER, 0, true);
    intake.judge(FLOODER, TRUST_AFTER_TXS - 1, false);
    assert!(intake.standing(FLOODER).suspect);
    assert!(intake.push(FLOODER, Tag(0), Way::Author, txs(5), now));
    intake.judge(FLOODER, 1, false);
    assert!(!intake.standing(FLOODER).suspect);
    assert!(
        matches!(intake.take(now + PATIENCE), Ok(Work::Batch(_))),
        "what waited of it moves back"
    );
    assert_eq!(intake.suspect_txs, 0);
}

#[test]
fn bodies_do_not_starve_clients_and_authors_take_turns() {
    let (mut intake, now) = intake(1000);
    assert!(intake.push(HONEST, Tag(0), Way::Author, txs(1), now));
    for _ in 0..100 {
        intake.push_body(body(1));
    }
    intake.push_body(body(2));
    let late = now + PATIENCE;
    let mut groups = Vec::new();
    let mut client_at = None;
    for unit in 0..102 {
        match intake.take(late).expect("work is due") {
            Work::Body(job) => groups.push(job.header.header.group),
            Work::Batch(_) => client_at = Some(unit),
            Work::Suspect(_) | Work::Recheck(_) => panic!("nobody is suspected"),
        }
    }
    assert_eq!(groups[..3], [1, 2, 1]);
    assert_eq!(client_at, Some(BODIES_RUN_MAX as usize));
}

#[test]
fn a_batch_waits_for_company_no_longer_than_its_patience() {
    let (mut intake, now) = intake(10_000);
    assert!(matches!(intake.take(now), Err(None)));
    assert!(intake.push(HONEST, Tag(0), Way::Author, txs(1), now));
    assert!(matches!(intake.take(now), Err(Some(due)) if due == now + PATIENCE));
    assert!(intake.push(FLOODER, Tag(0), Way::Author, txs(VERIFY_BATCH_MAX), now));
    assert!(
        matches!(intake.take(now), Ok(Work::Batch(_))),
        "enough for a full one"
    );
    assert!(matches!(intake.take(now + PATIENCE), Ok(Work::Batch(_))));
}

#[test]
fn standings_are_bounded_and_go_with_their_clients() {
    let (mut intake, _) = intake(10);
    for client in 0..STANDINGS_MAX as u64 + 100 {
        intake.judge(ConnectionId(client), 0, true);
    }
    assert_eq!(intake.standings.len(), STANDINGS_MAX);
    intake.forget(ConnectionId(STANDINGS_MAX as u64));
    assert_eq!(intake.standings.len(), STANDINGS_MAX - 1);
}

fn recheck(number: u8) -> RecheckJob {
    RecheckJob {
        hash: Hash([number; 32]),
        block: AuthorBlock {
            header: SignedAuthorHeader::from_bytes(&[0; 183]).expect("183 bytes"),
            body: Bytes::new(),
        },
    }
}

#[test]
fn final_blocks_are_checked_again_behind_all_else_and_not_never() {
    let (mut intake, now) = intake(1000);
    (1..=4).for_each(|number| intake.push_recheck(recheck(number)));
    (0..40).for_each(|_| intake.push_body(body(1)));
    let mut rechecks = Vec::new();
    for unit in 0..44 {
        if let Work::Recheck(job) = intake.take(now).expect("work is due") {
            rechecks.push((unit, job.hash.0[0]));
        }
    }
    let every = RECHECK_EVERY as usize;
    // Two in their turn among forty bodies, the others when there is nothing else.
    assert_eq!(rechecks, [(every - 1, 1), (2 * every - 1, 2), (42, 3), (43, 4)]);
    assert!(matches!(intake.take(now), Err(None)));
    // One that comes to an idle validator waits for nobody, and a client that is not due yet does not hold it up.
    assert!(intake.push(HONEST, Tag(0), Way::Author, txs(1), now));
    intake.push_recheck(recheck(5));
    assert!(matches!(intake.take(now), Ok(Work::Recheck(_))));
    assert!(matches!(intake.take(now), Err(Some(due)) if due == now + PATIENCE));
}

#[test]
fn pieces_of_a_submission_keep_their_way() {
    let (mut intake, now) = intake(1000);
    assert!(intake.push(HONEST, Tag(0), Way::Slow, txs(100), now));
    assert!(intake.push(HONEST, Tag(100), Way::Author, txs(1), now));
    let late = now + PATIENCE;
    let mut ways = Vec::new();
    while let Ok(Work::Batch(pieces)) = intake.take(late) {
        ways.extend(pieces.iter().map(|piece| (piece.way, piece.first_tag.0)));
    }
    assert_eq!(ways, [(Way::Slow, 0), (Way::Slow, 64), (Way::Author, 100)]);
}
