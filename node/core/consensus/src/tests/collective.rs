//! Committees with aggregates: machines with links of one delay, disks and checks that take no time.

use std::collections::{BTreeMap, BTreeSet};

use crypto::hash::{committee_hash, final_header_hash};
use crypto::keys::{Scheme, SecretKey};
use crypto::{cosign, merkle, placement};
use types::block::{BLOCK_VERSION, Block, FinalHeader, MODE_ONE_LEAGUE};
use types::certificate::{Partial, Phase, Signers, Subject};
use types::evidence::Evidence;
use types::genesis::{Committee, SigningContext};
use types::message::{Collect, PeerMessage, Trace, Vote};
use types::policy::Policy;
use types::record::LogRecord;
use types::time::Duration;
use types::{Epoch, Hash, Height, MemberIndex, ShardId, Signature, Time, ValidatorId, View};

use crate::tree::Tree;
use crate::{CheckVerdict, Outgoing, Output, Pbft, PbftConfig, Target};

const VOTERS: u16 = 20;
const RANDOMNESS: Hash = Hash([3; 32]);
/// A quarter of the simulated policy's bound of 5 ms.
const HOP: Duration = Duration::from_micros(1_250);

/// What becomes of a message: it arrives as it is, changed, or not at all.
type Wire = Box<dyn Fn(MemberIndex, MemberIndex, PeerMessage) -> Option<PeerMessage>>;

struct Net {
    committee: Committee,
    context: SigningContext,
    keys: Vec<SecretKey>,
    machines: Vec<Pbft>,
    now: Time,
    under_way: BTreeMap<(Time, u64), (MemberIndex, MemberIndex, PeerMessage)>,
    count: u64,
    wire: Wire,
    /// By member: heights with the time at which they became final there.
    finals: Vec<BTreeMap<Height, Time>>,
    logs: Vec<Vec<LogRecord>>,
    /// By member: voters that it saw vote twice.
    shown: Vec<Vec<Evidence>>,
    /// Messages that arrived, by receiver and kind of message.
    arrived: BTreeMap<(MemberIndex, u8), u64>,
}

impl Net {
    fn new(scheme: Scheme) -> Self {
        let keys: Vec<_> = (0..VOTERS)
            .map(|id| SecretKey::of_scheme(scheme, [id as u8 + 1; 32]))
            .collect();
        let members: Vec<_> = (0..VOTERS)
            .map(ValidatorId)
            .zip(keys.iter().map(SecretKey::public))
            .collect();
        let committee = Committee {
            shard: ShardId(0),
            hash: committee_hash(Epoch(0), ShardId(0), &members, VOTERS),
            voting_keys: keys.iter().map(|key| key.voting().public()).collect(),
            voters: VOTERS,
            candidates: Vec::new(),
            bonds: vec![0; members.len()],
            members,
            leaders: (0..VOTERS).map(MemberIndex).collect(),
        };
        let context = SigningContext {
            genesis_hash: Hash([9; 32]),
            epoch: Epoch(0),
            shard: ShardId(0),
            committee_hash: committee.hash,
        };
        let machine = |me: u16| {
            let config = PbftConfig {
                context,
                committee: committee.clone(),
                me: MemberIndex(me),
                scheme,
                randomness: RANDOMNESS,
                policy: Policy::simulated(),
                planted: None,
            };
            Pbft::new(config, keys[usize::from(me)].clone(), Time(0))
        };
        Self {
            machines: (0..VOTERS).map(machine).collect(),
            committee,
            context,
            keys,
            now: Time(0),
            under_way: BTreeMap::new(),
            count: 0,
            wire: Box::new(|_, _, message| Some(message)),
            finals: vec![BTreeMap::new(); usize::from(VOTERS)],
            logs: vec![Vec::new(); usize::from(VOTERS)],
            shown: vec![Vec::new(); usize::from(VOTERS)],
            arrived: BTreeMap::new(),
        }
    }

    fn tree(&self, window: u64) -> Tree {
        let drawn = placement::tree_order(&RANDOMNESS, ShardId(0), View(0), window, VOTERS);
        Tree::new(self.committee.leader(View(0)), &drawn)
    }

    fn machine(&mut self, member: MemberIndex) -> &mut Pbft {
        &mut self.machines[usize::from(member.0)]
    }

    fn leader(&mut self) -> &mut Pbft {
        let leader = self.committee.leader(View(0));
        self.machine(leader)
    }

    /// The leader of view 0 proposes an empty block.
    fn propose(&mut self) -> (Height, Hash) {
        let committee_hash = self.committee.hash;
        let now = self.now;
        let slot = self.leader().slot().expect("an open slot");
        let header = FinalHeader {
            version: BLOCK_VERSION,
            mode: MODE_ONE_LEAGUE,
            shard: ShardId(0),
            epoch: Epoch(0),
            term: 0,
            height: slot.height,
            view: slot.view,
            prev: slot.parent,
            refs_root: merkle::EMPTY,
            excluded_root: merkle::EMPTY,
            slow_root: merkle::EMPTY,
            inbox_root: merkle::EMPTY,
            outbox_root: merkle::EMPTY,
            evidence_root: merkle::EMPTY,
            tx_count: 0,
            state_digest: Hash::default(),
            committee_hash,
            beacon_height: Height(0),
            beacon_hash: Hash::default(),
            timestamp: slot.height.0,
        };
        let hash = final_header_hash(&header);
        let block = Block {
            header,
            refs: Vec::new(),
            excluded: Vec::new(),
            records: Vec::new(),
        };
        self.leader().propose(now, block);
        self.drain(self.committee.leader(View(0)));
        (slot.height, hash)
    }

    fn drain(&mut self, me: MemberIndex) {
        let now = self.now;
        while let Some(output) = self.machine(me).poll_output() {
            match output {
                Output::Persist { records, then } => {
                    self.logs[usize::from(me.0)].extend(records);
                    then.into_iter().for_each(|outgoing| self.leave(me, outgoing));
                }
                Output::Send(outgoing) => self.leave(me, outgoing),
                Output::Check { hash, .. } => self.machine(me).handle_checked(now, hash, CheckVerdict::Valid),
                Output::Committed { block, .. } => {
                    self.finals[usize::from(me.0)].insert(block.header.height, now);
                }
                Output::Equivocation(evidence) => self.shown[usize::from(me.0)].push(evidence),
                Output::ViewEntered(_) => {}
                Output::Conflict(certified) => panic!("two chains: {certified:?}"),
            }
        }
    }

    fn leave(&mut self, from: MemberIndex, Outgoing { to, message }: Outgoing) {
        match to {
            Target::Member(to) => self.send(from, to, message),
            Target::Others => {
                for to in (0..VOTERS).map(MemberIndex).filter(|to| *to != from) {
                    self.send(from, to, message.clone());
                }
            }
        }
    }

    fn send(&mut self, from: MemberIndex, to: MemberIndex, message: PeerMessage) {
        if from == to {
            return self.deliver(from, to, message);
        }
        if let Some(message) = (self.wire)(from, to, message) {
            self.count += 1;
            self.under_way
                .insert((self.now + HOP, self.count), (from, to, message));
        }
    }

    fn deliver(&mut self, from: MemberIndex, to: MemberIndex, message: PeerMessage) {
        let now = self.now;
        *self.arrived.entry((to, message.kind())).or_default() += 1;
        let machine = self.machine(to);
        match message {
            PeerMessage::Propose(propose) => machine.handle_propose(now, from, propose),
            PeerMessage::Partial(partial) => machine.handle_partial(now, from, partial),
            PeerMessage::Collect(collect) => machine.handle_collect(from, collect),
            PeerMessage::Vote(vote) => machine.handle_vote(now, from, vote),
            PeerMessage::Certified(certified) => machine.handle_certified(now, certified),
            PeerMessage::Suspect(view) => machine.handle_suspect(now, from, view),
            PeerMessage::ViewChange(change) => machine.handle_view_change(now, from, *change),
            PeerMessage::NewView(opening) => machine.handle_new_view(now, *opening),
            _ => {}
        }
        self.drain(to);
    }

    /// Carries out what is due until `end`.
    fn run(&mut self, end: Time) {
        loop {
            let message = self.under_way.keys().next().map(|(at, _)| *at);
            let timer = self.machines.iter().map(Pbft::poll_timeout).min();
            let next = message.into_iter().chain(timer).min().expect("timers never end");
            if next > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
            if message == Some(next) {
                let (_, (from, to, message)) = self.under_way.pop_first().expect("there is one");
                self.deliver(from, to, message);
                continue;
            }
            let now = self.now;
            for member in (0..VOTERS).map(MemberIndex) {
                if self.machine(member).poll_timeout() <= now {
                    self.machine(member).handle_timeout(now);
                    self.drain(member);
                }
            }
        }
    }

    /// Proposes one height; how long it took until the leader held it final, if it did before the view was given up.
    fn height(&mut self) -> Option<Duration> {
        let (start, timeout) = (self.now, Policy::simulated().view_timeout());
        let (height, _) = self.propose();
        self.run(start + timeout / 2);
        let leader = self.committee.leader(View(0));
        let done = self.finals[usize::from(leader.0)].get(&height)?;
        Some(done.since(start))
    }

    fn without(dead: BTreeSet<MemberIndex>) -> Wire {
        Box::new(move |from, _, message| (!dead.contains(&from)).then_some(message))
    }

    fn partials_at(&self, member: MemberIndex) -> u64 {
        self.arrived.get(&(member, 0x3b)).copied().unwrap_or_default()
    }

    fn own(&self, member: MemberIndex, subject: Subject) -> Partial {
        let secret = self.keys[usize::from(member.0)].voting();
        cosign::sign_partial(&secret, &self.context, &self.committee, member, subject)
    }
}

/// Hops of a height up and down the tree: proposal; leaf, sub-leader and certificate of either phase, the last of which
/// the leader need not wait for.
const HOPS: u32 = 6;

#[test]
fn a_height_takes_six_hops_and_the_leader_hears_from_its_sub_leaders_alone() {
    for scheme in [Scheme::Simulated, Scheme::Ed25519] {
        let mut net = Net::new(scheme);
        assert_eq!(net.height(), Some(HOPS * HOP), "{scheme:?}");
        let leader = net.committee.leader(View(0));
        // Its own votes and one sum of each of five branches, in either phase.
        assert_eq!(net.partials_at(leader), 2 * (1 + 5), "{scheme:?}");
        let signers: Vec<usize> = net
            .logs
            .iter()
            .flatten()
            .filter_map(|record| match record {
                LogRecord::Committed(committed) => Some(committed.proof.certificate.signers().len()),
                _ => None,
            })
            .collect();
        assert_eq!(signers.len(), usize::from(VOTERS), "final at every voter");
        assert!(signers.iter().all(|signers| *signers >= net.committee.quorum()));
    }
}

#[test]
fn a_leaf_that_is_silent_costs_the_wait_of_its_sub_leader_at_most() {
    let mut net = Net::new(Scheme::Simulated);
    let tree = net.tree(0);
    // One leaf of each branch: no branch is complete.
    let leaf = |(top, members): &(MemberIndex, Signers)| members.iter().find(|member| member != top);
    net.wire = Net::without(tree.branches().iter().filter_map(leaf).collect());
    let delay = Policy::simulated().shard_delay;
    let took = net.height().expect("fifteen are a quorum");
    // A branch waits from its own sub-leader's vote, which takes no hop, where a leaf's takes one.
    assert_eq!(took, HOPS * HOP + 2 * (delay - HOP));
}

#[test]
fn dead_sub_leaders_cost_less_than_two_delay_bounds_a_phase_and_then_nothing() {
    let mut net = Net::new(Scheme::Simulated);
    let tree = net.tree(0);
    let delay = Policy::simulated().shard_delay;
    // Four of five branches hang on dead sub-leaders: without their leaves there is no quorum.
    let dead: BTreeSet<_> = tree.branches().iter().take(4).map(|(top, _)| *top).collect();
    net.wire = Net::without(dead);
    let first = net.height().expect("the leaves are asked");
    assert!(first > HOPS * HOP, "they were needed");
    assert!(first < HOPS * HOP + 2 * delay, "{first:?}");
    // Four silent branches are more than two: a star until the next reshuffle, one hop less in either phase.
    for _ in 2..16 {
        let next = net.height().expect("a star");
        assert_eq!(next, (HOPS - 2) * HOP);
    }
    // In the next window the same members are not the sub-leaders of the same leaves.
    assert!(net.height().is_some_and(|took| took < HOPS * HOP + 2 * delay));
}

#[test]
fn one_dead_sub_leader_whose_branch_is_not_needed_costs_nothing() {
    for branch in 0..5 {
        let mut net = Net::new(Scheme::Simulated);
        let (top, _) = net.tree(0).branches()[branch];
        net.wire = Net::without(BTreeSet::from([top]));
        assert_eq!(net.height(), Some(HOPS * HOP));
    }
}

/// Sub-leaders that spoil what they send up; their own votes are right when they are alone.
fn spoiled(liars: BTreeSet<MemberIndex>) -> Wire {
    Box::new(move |from, _, mut message| {
        if let PeerMessage::Partial(partial) = &mut message
            && liars.contains(&from)
            && partial.signers.len() > 1
        {
            partial.signature.0[5] ^= 1;
        }
        Some(message)
    })
}

#[test]
fn a_sub_leader_with_wrong_sums_is_found_and_passed_over_for_sixteen_heights() {
    for scheme in [Scheme::Simulated, Scheme::Ed25519] {
        let mut net = Net::new(scheme);
        let liars: BTreeSet<_> = net
            .tree(0)
            .branches()
            .iter()
            .take(4)
            .map(|(top, _)| *top)
            .collect();
        net.wire = spoiled(liars.clone());
        // Every sum but one is wrong: found by single checks, and the branches are asked at once.
        let first = net.height().expect("their branches vote past them");
        // The first phase costs a question and its answer, perhaps twice; the second goes past them already.
        assert!(
            first > HOPS * HOP && first <= (HOPS + 2) * HOP,
            "{scheme:?}: {first:?}"
        );
        let leader = net.committee.leader(View(0));
        let refused = net.leader().counters().refused;
        assert_eq!(refused, 4);
        // Passed over from then on: nothing wrong is even taken, and nobody waits.
        for height in 2..=16 {
            assert_eq!(net.height(), Some((HOPS - 2) * HOP), "height {height}");
            assert_eq!(net.leader().counters().refused, refused);
        }
        // Trusted again after sixteen heights, they lie again.
        let before = net.partials_at(leader);
        for _ in 17..=33 {
            assert!(net.height().is_some());
        }
        assert!(net.partials_at(leader) > before);
        if liars.iter().any(|liar| net.tree(2).branch(*liar).is_some()) {
            assert!(net.leader().counters().refused > refused, "{scheme:?}");
        }
    }
}

#[test]
fn a_wrong_vote_of_a_leaf_does_not_spoil_its_branch() {
    for scheme in [Scheme::Simulated, Scheme::Ed25519] {
        let mut net = Net::new(scheme);
        let tree = net.tree(0);
        let leaf = |(top, members): &(MemberIndex, Signers)| members.iter().find(|member| member != top);
        let liars: BTreeSet<_> = tree.branches().iter().filter_map(leaf).collect();
        assert_eq!(liars.len(), 5);
        let of = liars.clone();
        net.wire = Box::new(move |from, _, mut message| {
            if let PeerMessage::Partial(partial) = &mut message
                && of.contains(&from)
            {
                partial.signature.0[5] ^= 1;
            }
            Some(message)
        });
        assert_eq!(net.height(), Some(HOPS * HOP), "{scheme:?}");
        assert_eq!(
            net.leader().counters().refused,
            0,
            "no sub-leader is blamed for its leaf"
        );
        for (top, _) in tree.branches() {
            assert_eq!(
                net.machine(*top).counters().refused,
                2,
                "once in the sum, then alone"
            );
        }
    }
}

#[test]
fn what_is_no_vote_of_the_sender_or_its_branch_is_refused() {
    let mut net = Net::new(Scheme::Simulated);
    net.wire = Box::new(|_, _, message| matches!(message, PeerMessage::Propose(_)).then_some(message));
    let (height, hash) = net.propose();
    net.run(Time(0) + 2 * HOP);
    let leader = net.committee.leader(View(0));
    let tree = net.tree(0);
    let [(top, branch), (other, _), ..] = *tree.branches() else {
        panic!("five branches");
    };
    let leaf = branch.iter().find(|member| *member != top).expect("a leaf");
    let subject = Subject {
        phase: Phase::Prepare,
        height,
        view: View(0),
        hash,
    };
    let good = net.own(leaf, subject);
    let refused = |net: &mut Net, to: MemberIndex, from: MemberIndex, partial: &Partial| {
        let before = net.machine(to).counters().refused;
        let now = net.now;
        net.machine(to).handle_partial(now, from, partial.clone());
        net.machine(to).counters().refused == before + 1
    };
    // Another's vote, another branch's sub-leader, a leaf that sums up, a stranger's hash, a phase that is none.
    assert!(refused(&mut net, leader, other, &good));
    assert!(refused(&mut net, other, leaf, &good));
    let of_top = net.own(top, subject);
    assert!(refused(&mut net, leaf, top, &of_top));
    let wider = Partial {
        signers: branch,
        ..good.clone()
    };
    assert!(refused(&mut net, leader, leaf, &wider));
    assert!(refused(&mut net, top, leaf, &wider));
    for wrong in [
        Subject {
            hash: Hash([1; 32]),
            ..subject
        },
        Subject {
            phase: Phase::Propose,
            ..subject
        },
        Subject {
            height: Height(1_000),
            ..subject
        },
    ] {
        let partial = net.own(leaf, wrong);
        assert!(refused(&mut net, leader, leaf, &partial), "{wrong:?}");
    }
    let empty = Partial {
        signers: Signers::default(),
        ..good.clone()
    };
    assert!(refused(&mut net, leader, leaf, &empty));
    let resized = Partial {
        committee: 21,
        ..good.clone()
    };
    assert!(refused(&mut net, leader, leaf, &resized));
    // A list's vote is none here.
    let before = net.machine(leader).counters().refused;
    let vote = Vote {
        subject,
        member: leaf,
        signature: Signature::default(),
    };
    net.machine(leader).handle_vote(Time(1), leaf, vote);
    assert_eq!(net.machine(leader).counters().refused, before + 1);
    // The right one is taken, at either place, and once.
    for to in [leader, top] {
        assert!(!refused(&mut net, to, leaf, &good));
        assert!(!refused(&mut net, to, leaf, &good));
    }
    // Only the leader asks for votes past the tree, and for heights that are near.
    let collect = Collect {
        view: View(0),
        from: height,
        until: height,
    };
    for (from, wrong) in [
        (other, collect),
        (
            leader,
            Collect {
                until: Height(u64::MAX),
                ..collect
            },
        ),
        (
            leader,
            Collect {
                from: Height(1_000),
                until: Height(1_001),
                ..collect
            },
        ),
    ] {
        let before = net.machine(leaf).counters().refused;
        net.machine(leaf).handle_collect(from, wrong);
        assert_eq!(net.machine(leaf).counters().refused, before + 1, "{wrong:?}");
    }
}

#[test]
fn a_restart_brings_votes_back_and_everybody_keeps_a_trace_of_each_signer() {
    let mut net = Net::new(Scheme::Simulated);
    let (height, hash) = net.propose();
    net.run(Time(0) + 3 * HOP);
    let voter = MemberIndex(7);
    let votes: Vec<_> = net.logs[7]
        .iter()
        .filter(|record| matches!(record, LogRecord::Partial(_)))
        .collect();
    assert_eq!(votes.len(), 1);
    let config = net.machine(voter).config.clone();
    let mut again = Pbft::new(config, net.keys[7].clone(), net.now);
    net.logs[7].iter().for_each(|record| again.replay(record));
    again.resume(net.now);
    assert_eq!(again.prepared.get(&(View(0), height)), Some(&hash));
    // On disk, so it may be said again, straight to the leader.
    again.handle_connected();
    let mut said = Vec::new();
    while let Some(output) = again.poll_output() {
        if let Output::Persist { then, .. } = output {
            said.extend(then);
        }
    }
    let vote = said.iter().find_map(|outgoing| match &outgoing.message {
        PeerMessage::Partial(partial) => Some((outgoing.to, partial.subject, partial.signers)),
        _ => None,
    });
    let (to, subject, signers) = vote.expect("its vote");
    assert_eq!(
        (to, subject.hash),
        (Target::Member(net.committee.leader(View(0))), hash)
    );
    assert_eq!(signers, Signers::of(voter));
    // All who signed the certificate left a trace at everybody.
    net.run(Time(0) + 12 * HOP);
    let verifier = net.machine(voter).verifier().clone();
    let certificate = net.machine(voter).commit_certificate.clone().expect("committed");
    for signer in certificate.certificate.signers().iter() {
        let Some(Trace::Partial(partial)) = net.machine(voter).trace_of(signer).cloned() else {
            panic!("no trace of {signer}");
        };
        assert!(partial.signers.contains(signer));
        assert!(cosign::verify_partial(&net.context, &verifier, &partial));
    }
}

#[test]
fn a_view_change_of_a_large_committee_goes_on_from_its_certificates() {
    let mut net = Net::new(Scheme::Simulated);
    assert!(net.height().is_some());
    let gone = net.committee.leader(View(0));
    net.wire = Net::without(BTreeSet::from([gone]));
    net.run(net.now + 8 * Policy::simulated().view_timeout());
    let views: BTreeSet<View> = (0..VOTERS)
        .map(MemberIndex)
        .filter(|member| *member != gone)
        .map(|member| net.machine(member).view())
        .collect();
    assert!(views.iter().all(|view| *view > View(0)), "{views:?}");
    let next = net.committee.leader(*views.last().expect("one"));
    assert!(net.machine(next).is_active());
    assert_eq!(net.machine(next).committed().0, Height(1));
}

#[test]
fn a_leaf_that_votes_for_two_blocks_is_shown_once_and_by_whoever_heard_both() {
    for scheme in [Scheme::Simulated, Scheme::Ed25519] {
        let mut net = Net::new(scheme);
        let leader = net.committee.leader(View(0));
        let (top, members) = net.tree(0).branches()[0];
        let leaf = members.iter().find(|member| *member != top).expect("a leaf");
        let (height, hash) = net.propose();
        let subject = |phase, hash| Subject {
            phase,
            height,
            view: View(0),
            hash,
        };
        for phase in [Phase::Prepare, Phase::Commit] {
            let honest = net.own(leaf, subject(phase, hash));
            let other = net.own(leaf, subject(phase, Hash([7; 32])));
            let third = net.own(leaf, subject(phase, Hash([8; 32])));
            let two = crypto::evidence::of_partials(&honest, &other).expect("two hashes");
            let two = Evidence::Partials(Box::new(two));
            // The sub-leader hears all, the leader first of a block that it did not propose.
            for (to, votes) in [
                (top, [&honest, &honest, &other, &third]),
                (leader, [&other, &other, &honest, &third]),
            ] {
                let before = net.shown[usize::from(to.0)].len();
                for vote in votes {
                    net.deliver(leaf, to, PeerMessage::Partial(vote.clone()));
                }
                assert_eq!(
                    net.shown[usize::from(to.0)][before..],
                    *std::slice::from_ref(&two)
                );
            }
            // One signature that is not its sender's shows nothing, nor does what another member passes on.
            let (witness, members) = net.tree(0).branches()[1];
            let mut leaves = members.iter().filter(|member| *member != witness);
            for forged_first in [false, true] {
                let leaf = leaves.next().expect("another leaf");
                let right = net.own(leaf, subject(phase, hash));
                let mut forged = right.clone();
                forged.subject.hash = Hash([7; 32]);
                let votes = if forged_first {
                    [forged, right]
                } else {
                    [right, forged]
                };
                for vote in votes {
                    net.deliver(leaf, witness, PeerMessage::Partial(vote));
                }
                for vote in [&other, &honest] {
                    net.deliver(leaf, witness, PeerMessage::Partial(vote.clone()));
                }
            }
            let (other_witness, members) = net.tree(0).branches()[2];
            let messenger = members.iter().find(|member| *member != other_witness);
            for vote in [&other, &honest] {
                let message = PeerMessage::Partial(vote.clone());
                net.deliver(messenger.expect("a leaf"), other_witness, message);
            }
            for witness in [witness, other_witness] {
                assert!(net.shown[usize::from(witness.0)].is_empty());
            }
        }
        let shown: usize = net.shown.iter().map(Vec::len).sum();
        assert_eq!(shown, 4, "sub-leader and leader, either phase");
        // The height becomes final all the same, and what was heard is forgotten with it.
        net.run(Time(0) + Policy::simulated().view_timeout() / 2);
        assert!(net.finals[usize::from(leader.0)].contains_key(&height));
        for member in (0..VOTERS).map(MemberIndex) {
            let machine = net.machine(member);
            assert_eq!(machine.firsts_held(), 0, "at member {member}");
        }
    }
}
