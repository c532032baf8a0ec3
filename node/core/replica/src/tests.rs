//! Four replicas on a perfect network: every rule once, by hand. Faults are the simulator's.

mod leagues;
mod survival;

use std::collections::VecDeque;

use bytes::Bytes;
use crypto::keys::{Scheme, SecretKey};
use crypto::verify::BatchVerifier;
use crypto::{hash, placement};
use ledger::{Inline, Ledger, LedgerConfig};
use types::block::SignedAuthorHeader;
use types::certificate::is_aggregated;
use types::client::Answer;
use types::genesis::{EpochConfig, FundingRule, Genesis, SigningContext};
use types::policy::Policy;
use types::record::LogRecord;
use types::time::Duration;
use types::transaction::{Input, Output, TxDraft};
use types::{
    Amount, ConnectionId, Hash, Height, MemberIndex, OutPoint, Owner, Reject, Sequence, ShardId, Tag, Time,
    TxId,
};

use crate::{Admission, BodyVerdict, Effect, Event, Recovery, Replica, ReplicaConfig, SignatureChecks};

const ACCOUNTS: u64 = 8;
const AMOUNT: Amount = Amount(100);

struct Net {
    genesis: Genesis,
    epoch: EpochConfig,
    keys: Vec<SecretKey>,
    accounts: Vec<SecretKey>,
    replicas: Vec<Option<Replica>>,
    logs: Vec<Vec<(Sequence, LogRecord)>>,
    queue: VecDeque<(MemberIndex, Event)>,
    answers: Vec<(MemberIndex, ConnectionId, Answer)>,
    now: Time,
    /// This member sees no author block and is told of none.
    deaf_to_work: Option<MemberIndex>,
    /// This member loses the next author block.
    first_body_lost: Option<MemberIndex>,
    /// This member's log is known to lack records when it restarts.
    disk_lost: Option<u16>,
    /// Nothing reaches this member or comes from it.
    cut_off: Option<MemberIndex>,
}

impl Net {
    fn new() -> Self {
        let mut net = Self::stopped();
        (0..4).for_each(|member| net.start(member, false));
        net.run();
        net
    }

    /// Starts a member with an empty disk.
    fn start(&mut self, member: u16, disk_lost: bool) {
        let at = usize::from(member);
        self.logs[at].clear();
        let config = ReplicaConfig {
            disk_lost,
            ..self.config(member, 1)
        };
        self.replicas[at] = Some(Replica::new(config, self.key(member), self.ledger(), self.now));
        self.drain(MemberIndex(member));
    }

    fn stopped() -> Self {
        Self::of(4, Policy::simulated(), 0)
    }

    /// `members` of one shard that have not started, each with a bond.
    fn of(members: u8, policy: Policy, bond: u64) -> Self {
        let mut keys: Vec<_> = (0..members)
            .map(|id| SecretKey::simulated([id + 1; 32]))
            .collect();
        keys.sort_by_key(SecretKey::public);
        let accounts: Vec<_> = (0..ACCOUNTS)
            .map(|index| SecretKey::simulated(crypto::keys::account_seed(1, index)))
            .collect();
        let voting_keys = if is_aggregated(usize::from(members).saturating_sub(policy.candidates().into())) {
            keys.iter().map(|key| key.voting().voting_key()).collect()
        } else {
            Vec::new()
        };
        let genesis = Genesis {
            name: "unit".into(),
            policy,
            shards: 1,
            randomness: Hash([7; 32]),
            validators: keys.iter().map(SecretKey::public).collect(),
            voting_keys,
            bonds: vec![bond; keys.len()],
            funding: FundingRule {
                seed: 1,
                accounts: ACCOUNTS as u32,
                amount: AMOUNT,
            },
            allocations: ACCOUNTS as u32,
            allocations_hash: Hash::default(),
        };
        let epoch = placement::epoch_config(&genesis);
        Self {
            genesis,
            epoch,
            keys,
            accounts,
            replicas: (0..members).map(|_| None).collect(),
            logs: vec![Vec::new(); members.into()],
            queue: VecDeque::new(),
            answers: Vec::new(),
            now: Time(1_000),
            deaf_to_work: None,
            first_body_lost: None,
            disk_lost: None,
            cut_off: None,
        }
    }

    fn config(&self, member: u16, boot_nonce: u64) -> ReplicaConfig {
        let (epoch, me) = (self.epoch.clone(), MemberIndex(member));
        ReplicaConfig {
            epoch,
            shard: ShardId(0),
            me,
            scheme: Scheme::Simulated,
            boot_nonce,
            disk_lost: self.disk_lost == Some(member),
            planted: None,
            mischief: None,
        }
    }

    fn context(&self) -> SigningContext {
        self.epoch.signing_context(&self.epoch.committees[0])
    }

    fn key(&self, member: u16) -> SecretKey {
        let (validator, _) = self.epoch.committees[0].members[usize::from(member)];
        self.keys[usize::from(validator.0)].clone()
    }

    fn ledger(&self) -> Ledger {
        let config = LedgerConfig {
            shard: ShardId(0),
            shards: 1,
            genesis_hash: self.epoch.genesis_hash,
            keep_spent: 40,
            fee_min: 0,
            expiry_ahead_max: 4,
            hash_seed: [3; 16],
        };
        let outputs = (0..ACCOUNTS).map(|index| {
            (
                self.coin(index),
                Owner(self.accounts[index as usize].public()),
                AMOUNT,
            )
        });
        let bonds = self.epoch.committees[0].bonds.iter().sum();
        Ledger::new(config, outputs, bonds).expect("genesis")
    }

    fn coin(&self, index: u64) -> OutPoint {
        hash::allocation_outpoint(&self.genesis.name, index)
    }

    fn drain(&mut self, member: MemberIndex) {
        let at = usize::from(member.0);
        let Some(replica) = &mut self.replicas[at] else {
            return;
        };
        let others: Vec<_> = (0..self.logs.len() as u16)
            .map(MemberIndex)
            .filter(|other| *other != member)
            .collect();
        while let Some(effect) = replica.poll_effect() {
            match effect {
                Effect::Send { to, message, .. } => self.queue.push_back((
                    to,
                    Event::Peer {
                        from: member,
                        message,
                    },
                )),
                Effect::Broadcast { message, .. } => {
                    for to in &others {
                        self.queue.push_back((
                            *to,
                            Event::Peer {
                                from: member,
                                message: message.clone(),
                            },
                        ));
                    }
                }
                Effect::CheckBody {
                    hash,
                    header,
                    bytes,
                    checks,
                } => {
                    let verdict = check_body(&self.epoch.genesis_hash, &header, &bytes, &checks);
                    self.queue
                        .push_back((member, Event::BodyChecked { hash, verdict }));
                }
                Effect::Recheck { hash } => {
                    let block = self.logs[at].iter().find_map(|(_, record)| match record {
                        LogRecord::AuthorBlock(block)
                            if hash::author_header_hash(&block.header.header) == hash =>
                        {
                            Some(block)
                        }
                        _ => None,
                    });
                    let block = block.expect("a final block is on the log");
                    let mut verifier = BatchVerifier::new([1; 32], Scheme::Simulated);
                    let genesis = &self.epoch.genesis_hash;
                    let (header, body) = (&block.header, &block.body);
                    let recheck = crate::body_check::recheck_body;
                    let (forged, _) = recheck(&mut verifier, genesis, header, body, usize::MAX);
                    self.queue.push_back((member, Event::Rechecked { hash, forged }));
                }
                Effect::Persist { seq, records, sync } => {
                    self.logs[at].extend(records.into_iter().map(|record| (seq, record)));
                    if sync {
                        self.queue.push_back((member, Event::Durable(seq)));
                    }
                }
                Effect::Answer { connection, answer } => self.answers.push((member, connection, answer)),
                Effect::ServeBlocks { to, from, .. } => {
                    let blocks = self.logs[at].iter().filter_map(|(_, record)| match record {
                        LogRecord::Committed(block) if block.block.header.height >= from => {
                            Some((**block).clone())
                        }
                        _ => None,
                    });
                    let message = types::message::PeerMessage::Blocks(blocks.take(16).collect());
                    self.queue.push_back((
                        to,
                        Event::Peer {
                            from: member,
                            message,
                        },
                    ));
                }
                Effect::ServeBody { to, hash: wanted } => {
                    let found = self.logs[at].iter().find_map(|(_, record)| match record {
                        LogRecord::AuthorBlock(block)
                            if hash::author_header_hash(&block.header.header) == wanted =>
                        {
                            Some(block.clone())
                        }
                        _ => None,
                    });
                    found.into_iter().for_each(|block| {
                        let message = types::message::PeerMessage::AuthorBlock(block);
                        self.queue.push_back((
                            to,
                            Event::Peer {
                                from: member,
                                message,
                            },
                        ));
                    });
                }
                Effect::WriteState(_) => {}
                Effect::Halt(reason) => panic!("{member} halts: {reason}"),
            }
        }
    }

    fn run(&mut self) {
        while let Some((to, event)) = self.queue.pop_front() {
            if self.is_lost(to, &event) {
                continue;
            }
            if let Some(replica) = &mut self.replicas[usize::from(to.0)] {
                replica.handle_event(self.now, event, &Inline);
                self.drain(to);
            }
        }
    }

    fn is_lost(&mut self, to: MemberIndex, event: &Event) -> bool {
        use types::message::PeerMessage;
        let Event::Peer { from, message } = event else {
            return false;
        };
        if self.cut_off.is_some_and(|member| member == to || member == *from) {
            return true;
        }
        let body = matches!(message, PeerMessage::AuthorBlock(_));
        if body && self.first_body_lost == Some(to) {
            self.first_body_lost = None;
            return true;
        }
        self.deaf_to_work == Some(to) && (body || matches!(message, PeerMessage::Nack(_)))
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now = self.now + Duration::from_millis(1);
            for member in 0..self.logs.len() as u16 {
                if let Some(replica) = &mut self.replicas[usize::from(member)]
                    && self.now >= replica.poll_timeout()
                {
                    replica.handle_timeout(self.now, &Inline);
                    self.drain(MemberIndex(member));
                }
            }
            self.run();
        }
    }

    fn pay(&self, coins: &[(OutPoint, u64, u64)], to: u64) -> (TxId, Bytes) {
        let mut owners: Vec<Owner> = coins
            .iter()
            .map(|(_, account, _)| Owner(self.accounts[*account as usize].public()))
            .collect();
        owners.sort();
        owners.dedup();
        let mut inputs: Vec<Input> = coins
            .iter()
            .map(|(outpoint, account, _)| {
                let owner = Owner(self.accounts[*account as usize].public());
                let position = owners.iter().position(|other| *other == owner).expect("listed");
                Input {
                    outpoint: *outpoint,
                    owner: position as u8,
                }
            })
            .collect();
        inputs.sort_by_key(|input| input.outpoint);
        let sum: u64 = coins.iter().map(|(_, _, amount)| amount).sum();
        let outputs = vec![
            Output {
                owner: Owner(self.accounts[to as usize].public()),
                amount: Amount(sum / 2),
            },
            Output {
                owner: owners[0],
                amount: Amount(sum - sum / 2),
            },
        ];
        let draft = TxDraft {
            owners,
            inputs,
            outputs,
            ..TxDraft::default()
        };
        let mut bytes = Vec::new();
        draft.encode_body(&mut bytes);
        let txid = hash::txid(&bytes);
        let sighash = hash::sighash(&self.epoch.genesis_hash, &txid);
        for owner in &draft.owners {
            let key = self
                .accounts
                .iter()
                .find(|key| key.public() == owner.0)
                .expect("known");
            bytes.extend_from_slice(&key.sign(&sighash).0);
        }
        (txid, Bytes::from(bytes))
    }

    fn submit(&mut self, member: u16, tag: u32, (txid, bytes): (TxId, Bytes)) {
        let admission = Admission {
            connection: ConnectionId(1),
            tag: Tag(tag),
            txid,
            bytes,
        };
        self.queue
            .push_back((MemberIndex(member), Event::Admitted(vec![admission])));
        self.run();
    }

    fn finals(&self) -> Vec<u32> {
        let mut tags: Vec<u32> = self
            .answers
            .iter()
            .filter_map(|(_, _, answer)| match answer {
                Answer::Final(note) => Some(
                    note.entries
                        .iter()
                        .flat_map(|entry| entry.tags.iter().map(|tag| tag.tag.0)),
                ),
                _ => None,
            })
            .flatten()
            .collect();
        tags.sort_unstable();
        tags
    }

    fn rejects(&self) -> Vec<(u32, Reject)> {
        self.answers
            .iter()
            .filter_map(|(_, _, answer)| match answer {
                Answer::Reject(refused) => {
                    Some(refused.iter().map(|refused| (refused.tag.0, refused.reason)))
                }
                _ => None,
            })
            .flatten()
            .collect()
    }

    fn restart(&mut self, member: u16) {
        let mut recovery = Recovery::new(self.config(member, 2), self.key(member), self.ledger(), self.now);
        let genesis = self.epoch.genesis_hash;
        let mut check = |header: &_, bytes: &Bytes, checks: &_| check_body(&genesis, header, bytes, checks);
        let mut last = Sequence(0);
        for (seq, record) in self.logs[usize::from(member)].clone() {
            last = seq;
            recovery
                .replay(self.now, record, &mut check, &Inline)
                .expect("replay");
        }
        let replica = recovery
            .finish(self.now, last, &mut check, &Inline)
            .expect("finish");
        self.replicas[usize::from(member)] = Some(replica);
        self.drain(MemberIndex(member));
        self.run();
    }

    fn heights(&self) -> Vec<u64> {
        self.replicas
            .iter()
            .flatten()
            .map(|replica| replica.final_height().0)
            .collect()
    }
}

fn check_body(
    genesis: &Hash,
    header: &SignedAuthorHeader,
    bytes: &Bytes,
    checks: &SignatureChecks,
) -> BodyVerdict {
    let mut verifier = BatchVerifier::new([1; 32], Scheme::Simulated);
    crate::body_check::check_body(&mut verifier, genesis, header, bytes.clone(), checks, usize::MAX).0
}

#[test]
fn a_payment_becomes_final_on_every_replica_with_equal_digests() {
    let mut net = Net::new();
    let payment = net.pay(&[(net.coin(0), 0, 100)], 1);
    net.submit(0, 1, payment);
    net.pass(Duration::from_millis(200));
    assert_eq!(net.finals(), [1]);
    assert_eq!(net.rejects(), []);
    let digests: Vec<_> = net
        .replicas
        .iter()
        .flatten()
        .map(|replica| replica.ledger().final_digest())
        .collect();
    assert!(
        digests.windows(2).all(|pair| pair[0] == pair[1]),
        "{:?}",
        net.heights()
    );
    let totals = net.replicas[2].as_ref().expect("runs").ledger().totals();
    assert_eq!(totals.value, u128::from(ACCOUNTS * AMOUNT.0));
}

#[test]
fn a_chain_of_dependants_is_final_in_one_go_whatever_the_order_of_arrival() {
    let mut net = Net::new();
    let first = net.pay(&[(net.coin(0), 0, 100)], 1);
    let change = OutPoint {
        txid: first.0,
        index: 1,
    };
    let second = net.pay(&[(change, 0, 50)], 2);
    let third = net.pay(
        &[(
            OutPoint {
                txid: second.0,
                index: 1,
            },
            0,
            25,
        )],
        3,
    );
    net.submit(0, 3, third);
    net.submit(0, 2, second);
    net.submit(0, 1, first);
    net.pass(Duration::from_millis(200));
    assert_eq!(net.finals(), [1, 2, 3]);
}

#[test]
fn two_spends_of_one_coin_at_two_authors_give_one_final_and_one_reject() {
    let mut net = Net::new();
    let one = net.pay(&[(net.coin(0), 0, 100)], 1);
    let other = net.pay(&[(net.coin(0), 0, 100)], 2);
    net.submit(0, 1, one.clone());
    net.submit(1, 2, other.clone());
    net.submit(0, 3, other);
    assert_eq!(
        net.rejects(),
        [(3, Reject::InputSpent)],
        "the same author sees it at once"
    );
    net.pass(Duration::from_millis(200));
    assert_eq!(net.finals().len(), 1);
    assert_eq!(net.rejects().len(), 2);
    net.submit(2, 4, one);
    assert!(net.rejects().contains(&(4, Reject::InputSpent)));
}

#[test]
fn a_missing_input_times_out_and_its_child_is_refused_with_it() {
    let mut net = Net::new();
    let nowhere = OutPoint {
        txid: TxId([9; 32]),
        index: 0,
    };
    let orphan = net.pay(&[(nowhere, 0, 10)], 1);
    net.submit(0, 1, orphan);
    net.pass(Duration::from_millis(1_200));
    assert_eq!(net.rejects(), [(1, Reject::InputMissing)]);
}

#[test]
fn a_dead_leader_is_replaced_and_nothing_is_lost() {
    let mut net = Net::new();
    let leader = net.epoch.committees[0].leaders[0];
    net.replicas[usize::from(leader.0)] = None;
    let author = (0..4).find(|member| *member != leader.0).expect("another");
    let payment = net.pay(&[(net.coin(0), 0, 100)], 1);
    net.submit(author, 1, payment);
    net.pass(Duration::from_millis(1_500));
    assert_eq!(net.finals(), [1]);
}

#[test]
fn a_restarted_replica_replays_its_log_gets_a_new_run_and_takes_transactions_again() {
    let mut net = Net::new();
    let first = net.pay(&[(net.coin(0), 0, 100)], 1);
    net.submit(3, 1, first);
    net.pass(Duration::from_millis(200));
    let height = net.replicas[3].as_ref().expect("runs").final_height();
    net.restart(3);
    assert_eq!(net.replicas[3].as_ref().expect("runs").final_height(), height);
    let second = net.pay(&[(net.coin(1), 1, 100)], 2);
    net.submit(3, 2, second);
    net.pass(Duration::from_millis(1_500));
    assert_eq!(net.finals(), [1, 2]);
    assert_eq!(net.replicas[0].as_ref().expect("runs").counters().resets, 1);
    assert!(
        net.replicas
            .iter()
            .flatten()
            .all(|replica| replica.final_height() > Height(0))
    );
}

#[test]
fn a_replica_that_was_away_catches_up() {
    let mut net = Net::new();
    let away = net.replicas[2].take();
    for round in 0..4 {
        let payment = net.pay(&[(net.coin(round), round, 100)], 5);
        net.submit(0, round as u32, payment);
        net.pass(Duration::from_millis(300));
    }
    let ahead = net.heights();
    net.replicas[2] = away;
    net.pass(Duration::from_millis(1_500));
    assert!(
        net.heights()[2] >= ahead[0],
        "{:?} after {ahead:?}",
        net.heights()
    );
}

/// Its own block, which nobody else has, is no reason to leave a view in which the others make progress: alone in the
/// next one it would not vote again before the others leave theirs.
#[test]
fn a_restarted_replica_does_not_blame_the_leader_for_what_was_left_out_while_it_was_away() {
    let mut net = Net::new();
    let away = (0..4)
        .rev()
        .find(|member| *member != net.epoch.committees[0].leaders[0].0);
    let away = away.expect("a follower");
    net.pass(Duration::from_millis(200));
    let others: Vec<_> = (0..4)
        .map(|member| {
            (member != away)
                .then(|| net.replicas[usize::from(member)].take())
                .flatten()
        })
        .collect();
    let payment = net.pay(&[(net.coin(0), 0, 100)], 1);
    net.submit(away, 1, payment);
    net.pass(Duration::from_millis(50));
    let cut = net.replicas[usize::from(away)].take().expect("runs");
    assert_eq!(cut.counters().cut, 1, "it has a block that nobody else has");
    for (replica, other) in net.replicas.iter_mut().zip(others) {
        *replica = other;
    }
    let before = net.heights()[0];
    net.pass(Duration::from_millis(3_000));
    assert!(
        net.heights()[0] > before + net.genesis.policy.lag,
        "{:?}",
        net.heights()
    );
    let view = |net: &Net, member: u16| net.replicas[usize::from(member)].as_ref().expect("runs").view();
    let witness = (0..4).find(|member| *member != away).expect("another");
    let of_others = view(&net, witness);
    net.restart(away);
    net.pass(Duration::from_millis(1_500));
    let replica = net.replicas[usize::from(away)].as_ref().expect("runs");
    assert!(replica.final_height().0 > before + net.genesis.policy.lag);
    assert_eq!(view(&net, away), of_others);
    assert_eq!(view(&net, witness), of_others);
}

#[test]
fn an_idle_network_stays_in_its_view_and_goes_on_proposing() {
    // A leader once lost sight of its parent when that was final, and every second height cost a view change.
    let mut net = Net::new();
    net.pass(Duration::from_millis(2_000));
    assert!(
        net.heights().iter().all(|height| *height >= 20),
        "{:?}",
        net.heights()
    );
    assert!(
        net.replicas
            .iter()
            .flatten()
            .all(|replica| replica.view().0.0 == 0)
    );
}

#[test]
fn wrong_bytes_under_an_honest_header_do_not_displace_the_right_body() {
    // Any member can relay a signed header with other bytes; the voter once refused the right body for ever.
    let mut net = Net::new();
    let payment = net.pay(&[(net.coin(0), 0, 100)], 1);
    let admission = Admission {
        connection: ConnectionId(1),
        tag: Tag(1),
        txid: payment.0,
        bytes: payment.1,
    };
    let author = net.replicas[0].as_mut().expect("runs");
    author.handle_event(net.now, Event::Admitted(vec![admission]), &Inline);
    net.now = net.now + Duration::from_millis(6);
    author.handle_timeout(net.now, &Inline);
    let mut sent = Vec::new();
    while let Some(effect) = author.poll_effect() {
        if let Effect::Broadcast {
            message: types::message::PeerMessage::AuthorBlock(block),
            ..
        } = effect
        {
            sent.push(block);
        }
    }
    let right = sent.pop().expect("a block was cut");
    let mut wrong = right.clone();
    wrong.body = Bytes::from(vec![0xff; right.body.len()]);
    for block in [wrong, right] {
        let message = types::message::PeerMessage::AuthorBlock(block);
        for to in 1..4 {
            net.queue.push_back((
                MemberIndex(to),
                Event::Peer {
                    from: MemberIndex(3),
                    message: message.clone(),
                },
            ));
        }
        net.run();
    }
    net.pass(Duration::from_millis(200));
    assert_eq!(net.finals(), [1]);
    assert!(
        net.replicas
            .iter()
            .flatten()
            .all(|replica| replica.view().0.0 == 0)
    );
}

#[test]
fn a_proposal_that_skips_a_height_or_lives_in_the_future_gets_no_vote_and_harms_nobody() {
    let mut net = Net::new();
    net.pass(Duration::from_millis(50));
    let leader = net.epoch.committees[0].leaders[0];
    let key = net.key(leader.0);
    let context = net.context();
    let voter = (0..4).find(|member| *member != leader.0).expect("another");
    net.replicas[usize::from(leader.0)] = None;
    let (height, hash) = net.replicas[usize::from(voter)]
        .as_ref()
        .expect("runs")
        .committed();
    let votes_before = net.logs[usize::from(voter)]
        .iter()
        .filter(|(_, record)| matches!(record, LogRecord::Vote(_)))
        .count();
    let sample = net.logs[usize::from(voter)]
        .iter()
        .find_map(|(_, record)| match record {
            LogRecord::Proposal(propose) => Some(propose.block.clone()),
            _ => None,
        });
    let sample = sample.expect("a proposal was voted");
    for (skip, timestamp) in [(2, net.now.0 + 1), (1, u64::MAX)] {
        let mut block = sample.clone();
        (block.header.height, block.header.prev, block.header.timestamp) =
            (Height(height.0 + skip), hash, timestamp);
        let signature = crypto::cosign::sign_propose(&key, &context, types::View(0), &block.header);
        let message = types::message::PeerMessage::Propose(types::message::Propose {
            view: types::View(0),
            block,
            signature,
        });
        net.queue.push_back((
            MemberIndex(voter),
            Event::Peer {
                from: leader,
                message,
            },
        ));
        net.run();
    }
    let votes = net.logs[usize::from(voter)]
        .iter()
        .filter(|(_, record)| matches!(record, LogRecord::Vote(_)))
        .count();
    assert_eq!(votes, votes_before);
    let payment = net.pay(&[(net.coin(0), 0, 100)], 1);
    net.submit(voter, 1, payment);
    net.pass(Duration::from_millis(2_000));
    assert_eq!(net.finals(), [1], "the others go on in another view");
}
