//! Two leagues: a seat, four voters that sample, and what becomes of an author that cheats.

use crypto::cosign;
use types::block::{AuthorHeader, BLOCK_VERSION, BlockSeq, MODE_ONE_LEAGUE, MODE_TWO_LEAGUES};
use types::message::{AuthorBlock, PeerMessage};
use types::policy::Leagues;

use super::*;

const BOND: u64 = 1_000;
/// The candidate that holds the one seat, behind four voters.
const AUTHOR: u16 = 4;

fn policy(change: impl FnOnce(&mut Leagues)) -> Policy {
    let mut policy = Policy::simulated().with_leagues();
    let leagues = policy.leagues.as_mut().expect("two leagues");
    leagues.bond_cap = BOND;
    change(leagues);
    policy
}

/// Four voters and the candidates, all started.
fn net(members: u8, policy: Policy) -> Net {
    let mut net = Net::of(members, policy, BOND);
    (0..u16::from(members)).for_each(|member| net.start(member, false));
    net.run();
    net
}

fn receipts(net: &Net) -> Vec<u32> {
    let tags = net.answers.iter().flat_map(|(_, _, answer)| match answer {
        Answer::Receipts(receipts) => receipts.tags.iter().map(|tag| tag.tag.0).collect(),
        _ => Vec::new(),
    });
    tags.collect()
}

fn replica(net: &Net, member: u16) -> &Replica {
    net.replicas[usize::from(member)].as_ref().expect("runs")
}

/// The author itself does not run: its key signs what no honest author would.
struct Cheat {
    next: BlockSeq,
    prev: Hash,
}

impl Cheat {
    fn new(net: &Net) -> Self {
        Self {
            next: BlockSeq(0),
            prev: net.epoch.genesis_hash,
        }
    }

    fn block(&self, net: &Net, txs: &[(TxId, Bytes)], base: u64) -> AuthorBlock {
        self.block_for(&net.context(), net, txs, base)
    }

    /// A block whose signature is bound to this context.
    fn block_for(
        &self,
        context: &SigningContext,
        net: &Net,
        txs: &[(TxId, Bytes)],
        base: u64,
    ) -> AuthorBlock {
        let (body, tx_root) = crypto::body::build(txs);
        let (validator, _) = net.epoch.committees[0].members[usize::from(AUTHOR)];
        let header = AuthorHeader {
            version: BLOCK_VERSION,
            shard: ShardId(0),
            epoch: net.epoch.epoch,
            term: 0,
            group: 0,
            seq: self.next,
            prev: self.prev,
            tx_root,
            tx_count: body.len() as u32,
            body_bytes: body.bytes().len() as u32,
            base_height: Height(base),
            value: 0,
            author: validator,
            timestamp: 0,
        };
        let signature = cosign::sign_author_header(&net.key(AUTHOR), context, &header);
        AuthorBlock {
            header: SignedAuthorHeader { header, signature },
            body: body.bytes().clone(),
        }
    }

    /// Shows a block to the voters `to`.
    fn show(net: &mut Net, block: &AuthorBlock, to: impl Iterator<Item = u16>) {
        for to in to {
            let message = PeerMessage::AuthorBlock(block.clone());
            let from = MemberIndex(AUTHOR);
            net.queue
                .push_back((MemberIndex(to), Event::Peer { from, message }));
        }
        net.run();
    }

    fn send(&mut self, net: &mut Net, txs: &[(TxId, Bytes)]) -> AuthorBlock {
        let base = net.heights().into_iter().min().unwrap_or_default();
        let block = self.block(net, txs, base);
        self.prev = hash::author_header_hash(&block.header.header);
        self.next = self.next.next();
        Self::show(net, &block, 0..4);
        block
    }
}

/// The output that pays the first victim of a forgery.
fn paid_to(forged: &TxId) -> OutPoint {
    OutPoint {
        txid: *forged,
        index: types::limits::COMPENSATION_INDEX,
    }
}

/// A payment of an account's coin whose signature is not its owner's.
fn forged(net: &Net, account: u64, to: u64) -> (TxId, Bytes) {
    let (txid, bytes) = net.pay(&[(net.coin(account), account, AMOUNT.0)], to);
    let mut bytes = bytes.to_vec();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    (txid, bytes.into())
}

fn conserved(net: &Net) {
    for replica in net.replicas.iter().flatten() {
        replica.ledger().check_conservation().expect("conservation");
    }
}

fn counters(net: &Net, member: u16) -> types::Counters {
    replica(net, member).ledger().totals().counters
}

#[test]
fn a_payment_gets_a_receipt_and_is_final_afterwards_on_every_member() {
    let mut net = net(5, policy(|_| {}));
    let payment = net.pay(&[(net.coin(0), 0, 100)], 1);
    net.submit(AUTHOR, 7, payment);
    net.pass(Duration::from_millis(8));
    assert_eq!(receipts(&net), [7], "after the cut interval");
    assert!(net.finals().is_empty(), "before the challenge wait is over");
    net.pass(Duration::from_millis(200));
    assert_eq!(net.finals(), [7]);
    let digests: Vec<_> = net
        .replicas
        .iter()
        .flatten()
        .map(|replica| (replica.final_height(), replica.ledger().final_digest()))
        .collect();
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]), "{digests:?}");
    assert!(net.heights()[0] > 0);
    conserved(&net);
}

#[test]
fn a_voter_sends_clients_to_the_author_and_a_child_may_follow_its_parent_at_once() {
    let mut net = net(5, policy(|_| {}));
    let parent = net.pay(&[(net.coin(0), 0, 100)], 1);
    let output = OutPoint {
        txid: parent.0,
        index: 0,
    };
    let child = net.pay(&[(output, 1, 50)], 2);
    net.submit(0, 1, parent.clone());
    assert_eq!(net.rejects(), [(1, Reject::WrongGroup)]);
    net.submit(AUTHOR, 2, parent);
    net.submit(AUTHOR, 3, child);
    net.pass(Duration::from_millis(300));
    assert_eq!((receipts(&net), net.finals()), (vec![2, 3], vec![2, 3]));
}

#[test]
fn an_idle_network_stays_in_two_leagues() {
    let mut net = net(5, policy(|_| {}));
    net.pass(Duration::from_secs(30));
    assert!(net.heights()[0] > 100, "{:?}", net.heights());
    assert_eq!(replica(&net, 0).mode(), MODE_TWO_LEAGUES);
    assert_eq!(replica(&net, 0).view().0.0, 0, "and in its first view");
}

#[test]
fn a_header_signed_for_another_network_epoch_or_shard_is_refused_and_accuses_nobody() {
    let mut net = net(5, policy(|_| {}));
    net.replicas[usize::from(AUTHOR)] = None;
    net.pass(Duration::from_millis(50));
    let cheat = Cheat::new(&net);
    let payments = [1, 2].map(|to| [net.pay(&[(net.coin(0), 0, 100)], to)]);
    let context = net.context();
    let elsewhere = [
        SigningContext {
            genesis_hash: Hash([9; 32]),
            ..context
        },
        SigningContext {
            epoch: types::Epoch(1),
            ..context
        },
        SigningContext {
            shard: ShardId(1),
            ..context
        },
    ];
    let deliver = |net: &mut Net, message: PeerMessage| {
        let from = MemberIndex(AUTHOR);
        net.queue
            .push_back((MemberIndex(0), Event::Peer { from, message }));
        let before = replica(net, 0).counters().refused;
        net.run();
        replica(net, 0).counters().refused - before
    };
    let has_nothing = |net: &Net| {
        let here = replica(net, 0);
        here.pool.at(crate::league::GroupIndex(0), BlockSeq(0)).is_none()
            && here.wanted.is_empty()
            && here.accusations.is_empty()
            && here.banned().is_empty()
    };
    let proof = |blocks: &[AuthorBlock; 2]| {
        let two = crypto::evidence::of_headers(&blocks[0].header, &blocks[1].header);
        let two = types::evidence::Evidence::Headers(Box::new(two.expect("of one place")));
        PeerMessage::FraudProof(Box::new(two))
    };
    for other in elsewhere {
        let blocks = payments
            .each_ref()
            .map(|txs| cheat.block_for(&other, &net, txs, 0));
        let header = blocks[0].header.clone();
        assert_eq!(deliver(&mut net, PeerMessage::AuthorBlock(blocks[0].clone())), 1);
        assert_eq!(deliver(&mut net, PeerMessage::AuthorHeader(header.clone())), 1);
        deliver(&mut net, PeerMessage::Nack(header));
        assert_eq!(deliver(&mut net, proof(&blocks)), 1);
        assert!(has_nothing(&net), "{other:?}");
    }
    // Signed for this network the same blocks are taken, and are evidence.
    let blocks = payments.each_ref().map(|txs| cheat.block(&net, txs, 0));
    assert_eq!(deliver(&mut net, PeerMessage::AuthorBlock(blocks[0].clone())), 0);
    assert!(!has_nothing(&net));
    assert_eq!(deliver(&mut net, proof(&blocks)), 0);
    net.pass(Duration::from_secs(1));
    assert_eq!(replica(&net, 0).banned(), [MemberIndex(AUTHOR)]);
}

#[test]
fn a_forgery_that_is_sampled_costs_the_author_its_bond_and_never_takes_effect() {
    let mut net = net(5, policy(|leagues| leagues.sampling_ppm = 1_000_000));
    net.replicas[usize::from(AUTHOR)] = None;
    let mut cheat = Cheat::new(&net);
    let theft = forged(&net, 0, 1);
    let good = net.pay(&[(net.coin(2), 2, 100)], 3);
    cheat.send(&mut net, &[theft, good]);
    net.pass(Duration::from_secs(2));
    for member in 0..4 {
        assert_eq!(replica(&net, member).banned(), [MemberIndex(AUTHOR)]);
        let counters = counters(&net, member);
        assert_eq!(
            (counters.bonds, counters.pool, counters.rewards),
            (4 * BOND, 950, 50)
        );
    }
    let here = replica(&net, 0).ledger();
    let height = here.final_height();
    assert!(
        matches!(here.lookup(&net.coin(0), height), ledger::Lookup::Unspent(_)),
        "the coin is where it was"
    );
    assert_eq!(
        replica(&net, 0).mode(),
        MODE_ONE_LEAGUE,
        "nobody is left to believe"
    );
    conserved(&net);
}

#[test]
fn a_forgery_that_nobody_sampled_is_paid_for_once_it_is_found() {
    let mut net = net(5, policy(|leagues| leagues.sampling_ppm = 0));
    net.replicas[usize::from(AUTHOR)] = None;
    let mut cheat = Cheat::new(&net);
    let theft = forged(&net, 0, 1);
    cheat.send(&mut net, std::slice::from_ref(&theft));
    net.pass(Duration::from_millis(200));
    let stolen = OutPoint {
        txid: theft.0,
        index: 0,
    };
    let lookup = |net: &Net, outpoint: &OutPoint| {
        let here = replica(net, 0).ledger();
        here.lookup(outpoint, here.final_height())
    };
    assert!(
        matches!(lookup(&net, &stolen), ledger::Lookup::Unspent(_)),
        "final"
    );
    // The next block is two for one position: now its author is banned and everything is looked at again.
    let block = cheat.block(&net, &[], net.heights()[0]);
    let other = Cheat {
        prev: cheat.prev,
        next: cheat.next,
    }
    .block(&net, &[net.pay(&[(net.coin(3), 3, 100)], 4)], net.heights()[0]);
    Cheat::show(&mut net, &block, 0..2);
    Cheat::show(&mut net, &other, 2..4);
    net.pass(Duration::from_secs(3));
    assert_eq!(replica(&net, 1).banned(), [MemberIndex(AUTHOR)]);
    let after = counters(&net, 1);
    // Half of the coin went back to its owner's account, and all of both outputs is seized: the pool pays nothing.
    assert_eq!(
        (after.bonds, after.pool, after.rewards, after.unpaid),
        (4 * BOND, 950, 50, 0)
    );
    assert!(
        !matches!(lookup(&net, &stolen), ledger::Lookup::Unspent(_)),
        "seized"
    );
    let ledger::Lookup::Unspent(paid) = lookup(&net, &paid_to(&theft.0)) else {
        panic!("the victim is not paid")
    };
    assert_eq!((paid.owner.0, paid.amount), (net.accounts[0].public(), AMOUNT));
    conserved(&net);
}

#[test]
fn a_forgery_that_gives_its_author_away_is_paid_for_when_it_is_old_enough() {
    use types::evidence::{Evidence, TxFault};

    let mut net = net(5, policy(|leagues| leagues.sampling_ppm = 0));
    net.replicas[usize::from(AUTHOR)] = None;
    let mut cheat = Cheat::new(&net);
    let theft = forged(&net, 0, 1);
    let block = cheat.send(&mut net, std::slice::from_ref(&theft));
    net.pass(Duration::from_millis(100));
    let shown = crypto::evidence::of_transaction(&block.header, &block.body, 0, TxFault::Signature);
    let evidence = Evidence::Transaction(Box::new(shown.expect("a transaction of the block")));
    let message = PeerMessage::FraudProof(Box::new(evidence));
    let from = MemberIndex(1);
    net.queue
        .push_back((MemberIndex(0), Event::Peer { from, message }));
    net.run();
    net.pass(Duration::from_millis(100));
    assert_eq!(replica(&net, 1).banned(), [MemberIndex(AUTHOR)]);
    let settled = |net: &Net| {
        replica(net, 1)
            .ledger()
            .lookup(&paid_to(&theft.0), replica(net, 1).final_height())
    };
    assert_eq!(settled(&net), ledger::Lookup::Missing, "too young");
    net.pass(Duration::from_secs(3));
    assert!(matches!(settled(&net), ledger::Lookup::Unspent(_)), "paid");
    conserved(&net);
}

#[test]
fn an_author_that_vouches_for_what_is_spent_is_banned_by_replay() {
    let mut net = net(5, policy(|leagues| leagues.sampling_ppm = 0));
    net.replicas[usize::from(AUTHOR)] = None;
    let mut cheat = Cheat::new(&net);
    let first = net.pay(&[(net.coin(0), 0, 100)], 1);
    cheat.send(&mut net, &[first]);
    net.pass(Duration::from_millis(200));
    let second = net.pay(&[(net.coin(0), 0, 100)], 2);
    cheat.send(&mut net, &[second]);
    net.pass(Duration::from_secs(2));
    assert_eq!(replica(&net, 0).banned(), [MemberIndex(AUTHOR)]);
    conserved(&net);
}

#[test]
fn a_dead_author_means_one_league_and_its_return_means_two() {
    let mut net = net(5, policy(|_| {}));
    net.pass(Duration::from_secs(3));
    net.replicas[usize::from(AUTHOR)] = None;
    net.pass(Duration::from_secs(4));
    assert_eq!(replica(&net, 0).mode(), MODE_ONE_LEAGUE, "{:?}", net.heights());
    let payment = net.pay(&[(net.coin(0), 0, 100)], 1);
    net.submit(1, 5, payment);
    net.pass(Duration::from_millis(500));
    assert_eq!(net.finals(), [5], "a voter takes it");
    net.restart(AUTHOR);
    let before = net.heights()[0];
    net.pass(Duration::from_secs(10));
    assert_eq!(
        replica(&net, 0).mode(),
        MODE_TWO_LEAGUES,
        "{before}: {:?}",
        net.heights()
    );
    let payment = net.pay(&[(net.coin(2), 2, 100)], 1);
    net.submit(AUTHOR, 6, payment);
    net.pass(Duration::from_millis(500));
    assert_eq!((receipts(&net), net.finals()), (vec![6], vec![5, 6]));
    conserved(&net);
}

#[test]
fn an_author_that_comes_back_when_one_league_is_decided_promises_nothing_that_it_cannot_keep() {
    let mut net = net(5, policy(|_| {}));
    net.pass(Duration::from_secs(3));
    net.replicas[usize::from(AUTHOR)] = None;
    let is_decided = |net: &Net| replica(net, 0).chain.final_league().is_switching();
    for _ in 0..2_000 {
        if is_decided(&net) {
            break;
        }
        net.pass(Duration::from_millis(5));
    }
    assert!(
        is_decided(&net),
        "the only author is dead, and no switch is decided"
    );
    net.restart(AUTHOR);
    let payment = net.pay(&[(net.coin(0), 0, 100)], 1);
    net.submit(AUTHOR, 5, payment.clone());
    let mut resets = 0;
    while is_decided(&net) {
        resets = replica(&net, 0).counters().resets;
        net.pass(Duration::from_millis(5));
    }
    assert_eq!(resets, 1, "the author could begin a run in time");
    assert_eq!(replica(&net, 0).mode(), MODE_ONE_LEAGUE);
    net.pass(Duration::from_millis(100));
    assert_eq!((receipts(&net), net.rejects()), (vec![], vec![(5, Reject::Busy)]));
    net.submit(1, 6, payment);
    net.pass(Duration::from_millis(500));
    assert_eq!(net.finals(), [6], "and a voter takes what it had to give back");
    conserved(&net);
}

#[test]
fn an_author_promises_nothing_once_one_league_is_decided() {
    let two_seats = |leagues: &mut Leagues| {
        leagues.seats = 2;
        leagues.candidates = 2;
        leagues.seats_min = 2;
    };
    let mut net = net(6, policy(two_seats));
    net.pass(Duration::from_secs(1));
    net.replicas[usize::from(AUTHOR + 1)] = None;
    let decided = |net: &Net| !replica(net, AUTHOR).chain.final_league().takes_blocks();
    for _ in 0..2_000 {
        if decided(&net) {
            break;
        }
        net.pass(Duration::from_millis(5));
    }
    assert!(
        decided(&net),
        "one author of two is dead, and no switch is decided"
    );
    let cut = replica(&net, AUTHOR).counters().blocks_cut;
    while replica(&net, AUTHOR).mode() == MODE_TWO_LEAGUES {
        net.pass(Duration::from_millis(5));
    }
    assert_eq!(
        replica(&net, AUTHOR).counters().blocks_cut,
        cut,
        "no block that can never count"
    );
    conserved(&net);
}

#[test]
fn one_silent_height_is_enough_for_the_next_ones_to_come_at_full_pace() {
    let policy = Policy {
        view_timeout_min: Duration::from_secs(2),
        ..policy(|_| {})
    };
    let (idle, interval) = (policy.idle_interval(), policy.block_interval);
    let mut net = net(5, policy);
    net.pass(Duration::from_secs(3));
    net.replicas[usize::from(AUTHOR)] = None;
    let before = net.heights()[0];
    net.pass(idle + idle);
    // One pause of an idle network, then the rest of the time without any.
    let paced = idle.as_nanos() / interval.as_nanos() / 2;
    let made = net.heights()[0] - before;
    assert!(
        u128::from(made) >= paced,
        "{made} heights, {paced} at half the pace"
    );
    assert_eq!(replica(&net, 0).view().0.0, 0, "no leader is blamed for it");
}

#[test]
fn nobody_is_accused_by_a_state_that_is_not_final_here() {
    use types::evidence::{Evidence, TxFault};

    let mut net = net(5, policy(|_| {}));
    net.replicas[usize::from(AUTHOR)] = None;
    let unknown = OutPoint {
        txid: TxId([7; 32]),
        index: 0,
    };
    // It spends what is made, for all that a voter can know, at a height that has not come.
    let txs = [net.pay(&[(unknown, 0, 100)], 1)];
    let ahead = net.heights()[0] + 5;
    let block = Cheat::new(&net).block(&net, &txs, ahead);
    Cheat::show(&mut net, &block, 0..4);
    let shown = crypto::evidence::of_transaction(&block.header, &block.body, 0, TxFault::State);
    let evidence = Evidence::Transaction(Box::new(shown.expect("a transaction of the block")));
    let before = replica(&net, 0).counters().refused;
    let message = PeerMessage::FraudProof(Box::new(evidence));
    let from = MemberIndex(1);
    net.queue
        .push_back((MemberIndex(0), Event::Peer { from, message }));
    net.run();
    let here = replica(&net, 0);
    assert_eq!(here.counters().refused, before + 1, "a base too far ahead");
    assert!(here.accusations.is_empty(), "nobody is accused");
    assert!(here.left_out().is_empty(), "and nobody in doubt");
}

#[test]
fn nobody_is_accused_of_a_spend_whose_parent_has_not_arrived() {
    use types::evidence::{Evidence, TxFault};

    let mut net = net(5, policy(|leagues| leagues.sampling_ppm = 0));
    net.replicas[usize::from(AUTHOR)] = None;
    let parent = net.pay(&[(net.coin(0), 0, 100)], 1);
    let output = OutPoint {
        txid: parent.0,
        index: 0,
    };
    let child = net.pay(&[(output, 1, 50)], 2);
    let mut author = Cheat::new(&net);
    let paid = OutPoint {
        txid: child.0,
        index: 0,
    };
    let first = author.block(&net, &[parent], 0);
    author.prev = hash::author_header_hash(&first.header.header);
    author.next = author.next.next();
    let second = author.block(&net, &[child], 0);
    // Voter 0 gets the second block and what looks like its fault before it can have the first.
    Cheat::show(&mut net, &second, 0..1);
    let shown = crypto::evidence::of_transaction(&second.header, &second.body, 0, TxFault::State);
    let evidence = Evidence::Transaction(Box::new(shown.expect("a transaction of the block")));
    let message = PeerMessage::FraudProof(Box::new(evidence));
    // A candidate, a voter once and again, and another voter: two voters are more than one may be lying.
    for (from, left_out) in [(AUTHOR, 0), (1, 0), (1, 0), (2, 1)] {
        let from = MemberIndex(from);
        let message = message.clone();
        net.queue
            .push_back((MemberIndex(0), Event::Peer { from, message }));
        net.run();
        assert_eq!(replica(&net, 0).left_out().len(), left_out, "after {from}");
    }
    assert!(replica(&net, 0).accusations.suspects().is_empty());
    Cheat::show(&mut net, &first, 0..4);
    Cheat::show(&mut net, &second, 1..4);
    net.pass(Duration::from_secs(1));
    assert!(replica(&net, 0).left_out().is_empty(), "and cleared");
    assert!(replica(&net, 0).banned().is_empty());
    let found = replica(&net, 0)
        .ledger()
        .lookup(&paid, replica(&net, 0).final_height());
    assert!(matches!(found, ledger::Lookup::Unspent(_)), "{found:?}");
    conserved(&net);
}

#[test]
fn a_silent_author_is_replaced_by_the_next_candidate() {
    let mut net = net(
        6,
        policy(|leagues| {
            leagues.candidates = 2;
        }),
    );
    let first = net.epoch.committees[0].candidates[0];
    let second = net.epoch.committees[0].candidates[1];
    net.pass(Duration::from_secs(1));
    net.replicas[usize::from(first.0)] = None;
    net.pass(Duration::from_secs(3));
    assert_eq!(replica(&net, 0).mode(), MODE_TWO_LEAGUES);
    let payment = net.pay(&[(net.coin(0), 0, 100)], 1);
    net.submit(second.0, 9, payment);
    net.pass(Duration::from_millis(500));
    assert_eq!((receipts(&net), net.finals()), (vec![9], vec![9]));
}

#[test]
fn a_leader_that_proposes_two_blocks_for_one_place_loses_its_bond() {
    use types::certificate::{Phase, Subject};
    use types::evidence::Evidence;

    let mut net = net(5, policy(|_| {}));
    net.pass(Duration::from_millis(200));
    let committee = &net.epoch.committees[0];
    let leader = committee.leader(types::View(0));
    let context = net.context();
    let vote = |hash: u8| {
        let subject = Subject {
            phase: Phase::Propose,
            height: Height(900),
            view: types::View(0),
            hash: Hash([hash; 32]),
        };
        types::message::Vote {
            subject,
            member: leader,
            signature: cosign::sign_subject(&net.key(leader.0), &context, &subject),
        }
    };
    let two = crypto::evidence::of_votes(&vote(1), &vote(2)).expect("they exclude each other");
    let message = PeerMessage::FraudProof(Box::new(Evidence::Votes(Box::new(two))));
    let other = MemberIndex((leader.0 + 1) % 4);
    let from = MemberIndex((leader.0 + 2) % 4);
    net.queue.push_back((other, Event::Peer { from, message }));
    net.run();
    net.pass(Duration::from_millis(300));
    for member in 0..5 {
        assert_eq!(replica(&net, member).banned(), [leader], "at member {member}");
        assert_eq!(counters(&net, member).pool, 950);
    }
    assert_eq!(
        replica(&net, 0).mode(),
        MODE_TWO_LEAGUES,
        "a voter's fault costs no seat"
    );
    conserved(&net);
}

#[test]
fn a_voter_of_a_large_committee_that_votes_for_two_blocks_loses_its_bond() {
    use types::certificate::{Phase, Subject};

    const VOTERS: u16 = 17;
    let mut net = net(VOTERS as u8 + 1, policy(|_| {}));
    net.pass(Duration::from_millis(200));
    let committee = &net.epoch.committees[0];
    assert!(committee.is_aggregated() && committee.candidates.len() == 1);
    let leader = committee.leader(types::View(0));
    let voter = (0..VOTERS).map(MemberIndex).find(|member| *member != leader);
    let voter = voter.expect("another");
    let vote = |hash: u8| {
        let subject = Subject {
            phase: Phase::Prepare,
            height: Height(replica(&net, leader.0).committed().0.0 + 8),
            view: types::View(0),
            hash: Hash([hash; 32]),
        };
        let secret = net.key(voter.0).voting();
        cosign::sign_partial(&secret, &net.context(), committee, voter, subject)
    };
    let votes = [vote(1), vote(2)];
    for vote in votes {
        let message = PeerMessage::Partial(vote);
        net.queue
            .push_back((leader, Event::Peer { from: voter, message }));
    }
    net.run();
    net.pass(Duration::from_millis(500));
    let bonds = BOND * u64::from(VOTERS);
    for member in 0..=VOTERS {
        assert_eq!(replica(&net, member).banned(), [voter], "at member {member}");
        let counters = counters(&net, member);
        assert_eq!(
            (counters.bonds, counters.pool, counters.rewards),
            (bonds, 950, 50)
        );
    }
    assert_eq!(replica(&net, 0).mode(), MODE_TWO_LEAGUES);
    conserved(&net);
}

#[test]
fn a_slow_transaction_is_refused_where_one_seat_serves_all_owners() {
    let mut net = net(5, policy(|_| {}));
    let (_, bytes) = net.pay(&[(net.coin(0), 0, 100)], 1);
    let from = MemberIndex(1);
    let message = PeerMessage::SlowIntent(bytes);
    let before = replica(&net, 0).counters().refused;
    net.queue
        .push_back((MemberIndex(0), Event::Peer { from, message }));
    net.run();
    let here = replica(&net, 0);
    assert_eq!(here.counters().refused, before + 1);
    assert!(here.slow.pending().next().is_none(), "nothing waits for a block");
}
