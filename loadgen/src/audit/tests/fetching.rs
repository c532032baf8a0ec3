//! A chain over a real connection, in pieces, with answers in between that belong to no question.

use std::net::SocketAddr;
use std::time::Duration;

use rpc::{AnswerReceiver, Connection, Limits, RequestSender, Server, ServerEvent, ServerHandle};
use tokio::sync::mpsc;
use transport::{ClientConfig, ClientEndpoint, ClientListener, Identity};
use types::client::{Answer, BlockItem, CLIENT_PROTOCOL_VERSION, Hello, Request, Role, StateInfo};
use types::{Epoch, Hash, Height};

use super::chain::Chain;
use super::{FULL, audit, payment, read};
use crate::audit::fetch::{FetchError, fetch_chain, fetch_state};
use crate::audit::{Progress, Receipts};
use crate::workload::sample::Sample;

const PATIENCE: Duration = Duration::from_secs(20);

fn hello(role: Role, id: [u8; 32]) -> Hello {
    Hello {
        genesis: Hash([1; 32]),
        id,
        protocol_version: CLIENT_PROTOCOL_VERSION,
        role,
        design: 1,
        epoch: Epoch(0),
        in_flight_max: 0,
    }
}

/// A node that answers requests for blocks with what `blocks` says, two items to a frame.
async fn node(
    mut blocks: impl FnMut(Height, u16) -> Vec<BlockItem> + Send + 'static,
) -> (ClientEndpoint, RequestSender, AnswerReceiver) {
    serve(|server, mut events| async move {
        while let Some(event) = events.recv().await {
            let ServerEvent::Request { connection, request } = event else {
                continue;
            };
            let mut answers = vec![Answer::Reject(Vec::new())];
            match request {
                Request::State => answers.push(Answer::State(StateInfo {
                    height: Height(20),
                    ..StateInfo::default()
                })),
                Request::Blocks { from, count } => {
                    let items = blocks(from, count);
                    for items in items.chunks(2) {
                        let items = items.to_vec();
                        answers.push(Answer::Blocks { items, last: false });
                    }
                    let (items, last) = (Vec::new(), true);
                    answers.push(Answer::Blocks { items, last });
                }
                other => panic!("not asked by the audit: {other:?}"),
            }
            for answer in answers {
                // The client may be gone by now.
                let _ = server.send(connection, &answer);
            }
        }
    })
    .await
}

/// A node that answers every question with the same answer, again and again, until the client is gone.
async fn babbler(answer: Answer) -> (ClientEndpoint, RequestSender, AnswerReceiver) {
    serve(|server, mut events| async move {
        while let Some(event) = events.recv().await {
            if let ServerEvent::Request { connection, .. } = event {
                while server.send_when_room(connection, &answer).await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
    })
    .await
}

async fn serve<F: Future<Output = ()> + Send + 'static>(
    node: impl FnOnce(ServerHandle, mpsc::Receiver<ServerEvent>) -> F,
) -> (ClientEndpoint, RequestSender, AnswerReceiver) {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let identity = Identity::from_seed(&[42; 32]).expect("a key");
    let listener = ClientListener::bind(&identity, &ClientConfig::new(loopback)).expect("a free port");
    let (address, key) = (listener.local_addr(), identity.public_key());
    let (sender, events) = mpsc::channel(64);
    let server = Server::start(listener, hello(Role::Validator, key), Limits::default(), sender);
    tokio::spawn(node(server, events));
    let endpoint = ClientEndpoint::bind(loopback).expect("a free port");
    let (sender, answers) = Connection::connect(&endpoint, address, key, hello(Role::Client, [0; 32]))
        .await
        .expect("a node");
    (endpoint, sender, answers)
}

/// Items of the heights from `from` on, at most `count` heights.
fn part(items: &[BlockItem], from: Height, count: u16) -> Vec<BlockItem> {
    let mut height = 0;
    let within = |item: &&BlockItem| {
        if let BlockItem::Block(block) = item {
            height = block.block.header.height.0;
        }
        (from.0..from.0 + u64::from(count)).contains(&height)
    };
    items.iter().filter(within).cloned().collect()
}

#[tokio::test]
async fn a_fetched_chain_is_what_the_node_has() {
    let sample = Sample::new(1, 20);
    let mut chain = Chain::new(&sample, 0);
    for height in 0..20 {
        chain.honest(&[(0, &[payment(&sample, height % 18)]), (1, &[])]);
    }
    let items = chain.items();
    let served = items.clone();
    let mut asked = 0;
    let (_endpoint, sender, mut answers) = node(move |from, count| {
        asked += 1;
        // The last heights are not final yet when they are first asked for.
        let count = if asked < 4 { count.min(9) } else { count };
        if asked == 3 {
            Vec::new()
        } else {
            part(&served, from, count)
        }
    })
    .await;
    let state = fetch_state(&sender, &mut answers, PATIENCE)
        .await
        .expect("a state");
    let mut fetched = Vec::new();
    let shown = fetch_chain(
        &sender,
        &mut answers,
        (Height(0), state.height),
        PATIENCE,
        &mut |item| {
            fetched.push(item);
            Progress::Wanted
        },
    )
    .await
    .expect("a chain");
    assert_eq!((shown, fetched == items), (Height(20), true));
    let mut rest = Vec::new();
    let heights = (Height(17), state.height);
    let shown = fetch_chain(&sender, &mut answers, heights, PATIENCE, &mut |item| {
        rest.push(item);
        Progress::Wanted
    })
    .await;
    assert_eq!(shown.expect("the rest"), Height(20));
    assert!(
        rest == part(&items, Height(18), 3),
        "what was read before is not read again"
    );
    let mut audit = audit(&sample, Receipts::default(), FULL);
    read(&mut audit, chain.validators()[0], fetched);
    assert_eq!(audit.unspent().expect("an honest chain").len(), 20);
}

#[tokio::test]
async fn a_node_that_has_no_more_is_given_up() {
    let (_endpoint, sender, mut answers) = node(|_, _| Vec::new()).await;
    let patience = Duration::from_millis(200);
    let error = fetch_chain(
        &sender,
        &mut answers,
        (Height(0), Height(3)),
        patience,
        &mut |_| Progress::Wanted,
    )
    .await
    .expect_err("nothing comes");
    assert!(
        matches!(
            error,
            FetchError::Stuck {
                shown: Height(0),
                wanted: Height(3),
                ..
            }
        ),
        "{error}"
    );
}

/// What is not the answer, and answers that go nowhere, do not prolong the wait.
#[tokio::test]
async fn a_node_that_talks_without_an_answer_is_given_up() {
    let patience = Duration::from_millis(300);
    let nothing = || Answer::Blocks {
        items: Vec::new(),
        last: false,
    };
    for answer in [nothing(), Answer::Reject(Vec::new())] {
        let (_endpoint, sender, mut answers) = babbler(answer.clone()).await;
        let mut sink = |_| Progress::Wanted;
        let chain = fetch_chain(&sender, &mut answers, (Height(0), Height(3)), patience, &mut sink);
        let chain = tokio::time::timeout(PATIENCE, chain).await.expect("it ends");
        assert!(matches!(chain, Err(FetchError::Stuck { .. })), "{chain:?}");
        let (_endpoint, sender, mut answers) = babbler(answer).await;
        let state = tokio::time::timeout(PATIENCE, fetch_state(&sender, &mut answers, patience));
        let state = state.await.expect("it ends");
        assert!(matches!(state, Err(FetchError::Stuck { .. })), "{state:?}");
    }
}

/// A chain that cannot be judged any further is not fetched any further.
#[tokio::test]
async fn a_broken_chain_is_not_read_to_its_end() {
    let sample = Sample::new(1, 20);
    let mut chain = Chain::new(&sample, 0);
    (0..3).for_each(|_| chain.honest(&[]));
    let items = chain.items();
    let (_endpoint, sender, mut answers) = node(move |_, _| items.clone()).await;
    let mut audit = audit(&sample, Receipts::default(), FULL);
    audit.begin(chain.validators()[0]).expect("of this network");
    // The node shows heights 1 to 3 for ever and claims many more.
    let until = Height(u64::MAX);
    let fetched = fetch_chain(&sender, &mut answers, (Height(0), until), PATIENCE, &mut |item| {
        audit.push(item)
    })
    .await;
    assert_eq!(fetched.expect("no wait"), Height(3));
    let fault = audit.unspent().expect_err("heights repeat").to_string();
    assert!(fault.contains("expected height 4, found height 1"), "{fault}");
}
