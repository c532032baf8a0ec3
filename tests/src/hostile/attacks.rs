//! What one attacker does on one connection after the other.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use loadgen::network::Target;
use rpc::{AnswerReceiver, Connection, RequestSender};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use transport::{ClientReceiver, ClientSender, DisconnectReason, Frame};
use types::client::{Answer, Request, encode_submit};
use types::codec::Encode;
use types::limits::SUBMIT_TXS_MAX;
use types::{Height, Tag};

use super::transactions::Forger;
use super::{Attack, Field};
use crate::rng::SimRng;

/// Type byte of a greeting.
const HELLO: u8 = 0x01;
/// Type byte of a submission.
const SUBMIT: u8 = 0x10;
/// Between two submissions at a rate.
const PACE: Duration = Duration::from_millis(20);
/// Between two questions of a client that does not read.
const ASK_EVERY: Duration = Duration::from_millis(10);
/// Before the next try after a node could not be reached.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a connection with garbage waits for its end, also beyond the time of the attack.
const VERDICT: Duration = Duration::from_secs(20);

/// Attacks with one connection at a time until the time is over.
pub(super) async fn attacker(field: Arc<Field>, number: usize) {
    let target = field.targets[number % field.targets.len()];
    let mut forger = Forger::new(&field.network, field.plan.seed, number as u64);
    let mut rng = SimRng::new(field.plan.seed, 1 << 32 | number as u64);
    let flood = match field.plan.attack {
        Attack::Flood => (0..SUBMIT_TXS_MAX).map(|_| forger.good()).collect(),
        _ => Vec::new(),
    };
    while Instant::now() < field.until {
        match field.plan.attack {
            Attack::BadSignatures => bad_signatures(&field, target, &mut forger).await,
            Attack::Flood => submit_all(&field, target, &flood).await,
            Attack::SlowReaders => ask_and_never_read(&field, target).await,
            Attack::Garbage => garbage(&field, target, &mut rng).await,
            Attack::HalfOpen => say_nothing(&field, target).await,
            Attack::Handshakes => shake_hands(&field, target).await,
        }
    }
}

async fn greeted(field: &Field, target: Target) -> Option<(RequestSender, AnswerReceiver)> {
    let connecting = Connection::connect(&field.endpoint, target.address, target.key, field.hello.clone());
    match timeout_at(field.until, connecting).await {
        Ok(Ok(connection)) => {
            field.tally.add("connected", 1);
            Some(connection)
        }
        Ok(Err(_)) => {
            field.tally.add("not_connected", 1);
            sleep(PAUSE).await;
            None
        }
        Err(_) => None,
    }
}

async fn bad_signatures(field: &Field, target: Target, forger: &mut Forger<'_>) {
    let Some((sender, mut answers)) = greeted(field, target).await else {
        return;
    };
    let share = f64::from(field.plan.rate) / field.plan.connections as f64;
    let (mut tag, mut owed, mut due) = (0_u32, 0.0, Instant::now());
    while due < field.until {
        tokio::select! {
            biased;
            answer = answers.recv() => match answer {
                Ok(Some(received)) => count(field, &received.answer),
                _ => {
                    field.tally.add("closed_by_node", 1);
                    return;
                }
            },
            () = sleep_until(due) => {
                due += PACE;
                owed += share * PACE.as_secs_f64();
                let txs: Vec<Vec<u8>> = (0..(owed as usize).min(SUBMIT_TXS_MAX))
                    .map(|_| if forger.share() < field.plan.bad_share {
                        field.tally.add("sent_bad", 1);
                        forger.bad()
                    } else {
                        forger.good()
                    })
                    .collect();
                owed -= txs.len() as f64;
                // A full queue towards the node is the node's back-pressure; the tags stay unused.
                if !txs.is_empty() && sender.try_send_frame(SUBMIT, submission(tag, &txs)).is_ok() {
                    field.tally.add("sent_txs", txs.len() as u64);
                    tag += txs.len() as u32;
                }
            }
        }
    }
}

async fn submit_all(field: &Field, target: Target, txs: &[Vec<u8>]) {
    let Some((sender, mut answers)) = greeted(field, target).await else {
        return;
    };
    let mut tag = 0_u32;
    let sending = async {
        while let Some(next) = tag.checked_add(txs.len() as u32) {
            if sender.send_frame(SUBMIT, submission(tag, txs)).await.is_err() {
                return;
            }
            field.tally.add("sent_txs", txs.len() as u64);
            tag = next;
        }
    };
    let receiving = async {
        while let Ok(Some(received)) = answers.recv().await {
            count(field, &received.answer);
        }
    };
    tokio::select! {
        () = sending => field.tally.add("closed_by_node", 1),
        () = receiving => field.tally.add("closed_by_node", 1),
        () = sleep_until(field.until) => {}
    }
}

fn submission(first_tag: u32, txs: &[Vec<u8>]) -> Bytes {
    let mut payload = Vec::new();
    encode_submit(Tag(first_tag), txs, &mut payload);
    Bytes::from(payload)
}

fn count(field: &Field, answer: &Answer) {
    match answer {
        Answer::Busy { count, .. } => field.tally.add("answered_busy", u64::from(*count)),
        Answer::Reject(refused) => {
            for one in refused {
                field.tally.add(&format!("answered_{}", one.reason.name()), 1);
            }
        }
        Answer::Final(_) => field.tally.add("answered_final_notes", 1),
        _ => field.tally.add("answered_otherwise", 1),
    }
}

async fn ask_and_never_read(field: &Field, target: Target) {
    let Some((sender, _unread)) = greeted(field, target).await else {
        return;
    };
    while Instant::now() < field.until {
        let request = Request::Blocks {
            from: Height(1),
            count: u16::MAX,
        };
        match timeout_at(field.until, sender.send(request)).await {
            Ok(Ok(())) => field.tally.add("sent_questions", 1),
            Ok(Err(_)) => {
                field.tally.add("closed_by_node", 1);
                return;
            }
            Err(_) => return,
        }
        sleep(ASK_EVERY).await;
    }
}

/// A bare connection, not greeted.
async fn bare(field: &Field, target: Target) -> Option<(ClientSender, ClientReceiver)> {
    let connecting = field.endpoint.connect(target.address, target.key);
    match timeout_at(field.until, connecting).await {
        Ok(Ok(connection)) => {
            field.tally.add("connected", 1);
            Some(connection.split())
        }
        Ok(Err(_)) => {
            field.tally.add("not_connected", 1);
            sleep(PAUSE).await;
            None
        }
        Err(_) => None,
    }
}

async fn say_nothing(field: &Field, target: Target) {
    let Some((link, _unread)) = bare(field, target).await else {
        return;
    };
    if timeout_at(field.until, link.closed()).await.is_ok() {
        field.tally.add("closed_by_node", 1);
    }
}

async fn shake_hands(field: &Field, target: Target) {
    if let Some((link, _unread)) = bare(field, target).await {
        link.close(transport::CloseCode::Shutdown, "a handshake was all");
    }
}

async fn garbage(field: &Field, target: Target, rng: &mut SimRng) {
    let Some((link, _unread)) = bare(field, target).await else {
        return;
    };
    for frame in bad_frames(field, rng) {
        if link.try_send(frame).is_ok() {
            field.tally.add("sent_frames", 1);
        }
    }
    match timeout_at(Instant::now() + VERDICT, link.closed()).await {
        Ok(DisconnectReason::ByPeer { .. }) => field.tally.add("closed_by_node", 1),
        Ok(_) => field.tally.add("closed_otherwise", 1),
        Err(_) => field.tally.add("not_closed", 1),
    }
}

/// One of the ways to be wrong, after a right greeting in all but the first.
fn bad_frames(field: &Field, rng: &mut SimRng) -> Vec<Frame> {
    let noise = |rng: &mut SimRng, most: u64| {
        let bytes = rng.below(most);
        Bytes::from((0..bytes).map(|_| rng.bits() as u8).collect::<Vec<_>>())
    };
    let frame = |kind, payload| Frame {
        kind,
        version: 1,
        epoch: field.hello.epoch.0,
        shard: 0,
        payload,
    };
    let hello = frame(HELLO, Bytes::from(field.hello.to_bytes()));
    match rng.below(6) {
        0 => vec![frame(HELLO, noise(rng, 200))],
        1 => vec![hello, frame(rng.bits() as u8 | 0x80, noise(rng, 2000))],
        2 => vec![
            hello,
            Frame {
                epoch: 77,
                ..frame(SUBMIT, noise(rng, 2000))
            },
        ],
        3 => vec![hello.clone(), hello],
        4 => vec![hello, frame(SUBMIT, noise(rng, 100_000))],
        // Announces more items than there are bytes.
        _ => vec![hello, frame(SUBMIT, Bytes::from_static(&[0xff; 16]))],
    }
}
