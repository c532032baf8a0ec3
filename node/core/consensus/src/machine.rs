//! The machine: its state, its inputs and its outputs.

use std::collections::{BTreeMap, VecDeque};

use crypto::cosign::Verifier;
use crypto::keys::{Scheme, SecretKey};
use types::block::{Block, CommitProof, FinalHeader};
use types::certificate::{Phase, Subject};
use types::evidence::Evidence;
use types::genesis::{Committee, SigningContext};
use types::limits::FETCH_BLOCKS_MAX;
use types::message::{Certified, Fetch, NewView, PeerMessage, Propose, Tip, Trace, ViewChange, Vote};
use types::policy::Policy;
use types::record::LogRecord;
use types::time::Duration;
use types::{Hash, Height, MemberIndex, Signature, Time, View};

use crate::blocks::BlockTree;
use crate::collecting::Collecting;
use crate::planted::PlantedBug;

/// What a voter is and believes in.
#[derive(Clone, Debug)]
pub struct PbftConfig {
    /// Fixed part of all signed strings.
    pub context: SigningContext,
    /// Voters.
    pub committee: Committee,
    /// Own position among them.
    pub me: MemberIndex,
    /// Signature scheme of the id keys.
    pub scheme: Scheme,
    /// Randomness of the epoch, which arranges the trees of large committees.
    pub randomness: Hash,
    /// Parameters.
    pub policy: Policy,
    /// A rule to leave out; always `None` outside the simulator.
    pub planted: Option<PlantedBug>,
}

/// Receiver of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Every other voter.
    Others,
    /// One voter, which may be oneself.
    Member(MemberIndex),
}

/// A message with its receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Receiver.
    pub to: Target,
    /// Message.
    pub message: PeerMessage,
}

/// What the machine wants done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Write the records, and let the messages go when they are durable.
    Persist {
        /// In order.
        records: Vec<LogRecord>,
        /// Messages that wait for them.
        then: Vec<Outgoing>,
    },
    /// Send at once: nothing in it promises anything that is not durable.
    Send(Outgoing),
    /// Check the content of a block whose parent is committed or was checked; answer by `handle_checked`.
    Check {
        /// Header hash.
        hash: Hash,
        /// The block.
        block: Box<Block>,
        /// True for blocks that a prepare certificate vouches for: they are applied, not judged (`ios` 9.7).
        certified: bool,
    },
    /// A block is final. Heights come in order, without gaps.
    Committed {
        /// Header hash.
        hash: Hash,
        /// The block.
        block: Box<Block>,
        /// Why.
        proof: Box<CommitProof>,
    },
    /// The view changed; a leader may propose, checks of the old view are void.
    ViewEntered(View),
    /// A voter signed two things that exclude each other (F7, `ios` 7.7).
    Equivocation(Evidence),
    /// Two certificates contradict each other: more voters than `f` are faulty. The owner must stop.
    Conflict(Box<Certified>),
}

/// Verdict on the content of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckVerdict {
    /// All roots and the digest are right.
    Valid,
    /// Something in it is wrong; it gets no vote.
    Invalid,
}

/// Where the leader may propose next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Height.
    pub height: Height,
    /// View.
    pub view: View,
    /// Hash of the parent.
    pub parent: Hash,
    /// Header of the parent while it is not committed here.
    pub parent_header: Option<FinalHeader>,
    /// Heights in flight above the committed one, this one included.
    pub in_flight: u64,
}

/// One voter's PBFT machine.
///
/// Call order: any `handle_*` or `propose`, then `poll_output` until `None`, then sleep until `poll_timeout`.
/// Handlers are idempotent: a message delivered twice changes nothing the second time.
#[derive(Debug)]
pub struct Pbft {
    pub(crate) config: PbftConfig,
    pub(crate) key: SecretKey,
    /// The committee with its voting keys decoded.
    pub(crate) verifier: Verifier,
    /// What voters of a committee with aggregates hold besides; none where certificates are lists.
    pub(crate) collecting: Option<Collecting>,
    /// Aggregates that were found right, the latest last: many messages carry the same one, and checking takes long.
    pub(crate) known: VecDeque<Certified>,
    /// Current view: every vote and promise made is of this view or a lower one.
    pub(crate) view: View,
    /// Whether the opening of the current view was accepted (view 0 needs none).
    pub(crate) active: bool,
    /// Accepted opening of the current view; kept to hand it on.
    pub(crate) opening: Option<NewView>,
    /// base(view): what the current view builds on.
    pub(crate) base: (Height, Hash),
    pub(crate) blocks: BlockTree,
    /// Highest directly certified committed block, with its certificate.
    pub(crate) commit_certificate: Option<Certified>,
    /// Highest commit certificate whose chain is not complete here yet.
    pub(crate) commit_pending: Option<Certified>,
    /// Prepare certificate with the highest (view, height) ever held.
    pub(crate) tip: Option<Tip>,
    /// First proposal of each (view, height).
    pub(crate) proposals: BTreeMap<(View, Height), Propose>,
    /// Own prepare votes.
    pub(crate) prepared: BTreeMap<(View, Height), Hash>,
    /// Own commit votes.
    pub(crate) committed_votes: BTreeMap<(View, Height), Hash>,
    /// Prepare certificates by (view, height), above the committed height.
    pub(crate) prepare_certificates: BTreeMap<(View, Height), Certified>,
    /// As leader: votes received.
    pub(crate) votes: BTreeMap<Subject, BTreeMap<MemberIndex, Signature>>,
    /// Latest view change of each voter.
    pub(crate) view_changes: BTreeMap<MemberIndex, ViewChange>,
    /// Signs nothing: no vote, proposal or promise. Everything else goes on.
    pub(crate) silent: bool,
    /// Latest signature seen of each voter, for one that lost its disk.
    pub(crate) traces: BTreeMap<MemberIndex, Trace>,
    /// Blocks asked for by hash, with the height that each must have: a chain of made-up ancestors ends soon.
    pub(crate) fetching: BTreeMap<Hash, Height>,
    /// The current view, while this voter would leave it.
    pub(crate) suspecting: bool,
    /// Views that others would leave, and when they said so.
    pub(crate) suspects: BTreeMap<MemberIndex, (View, Time)>,
    /// Highest height that a peer handed over as final instead of its certificate being collected here.
    pub(crate) adopted: Height,
    /// Questions for final blocks so far; the next one goes to another voter.
    pub(crate) asked: usize,
    /// Highest height that this leader proposed in the current view.
    pub(crate) proposed: Height,
    pub(crate) timer: Timer,
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) counters: Counters,
}

/// Deadlines and the growth of the view timeout (`ios` 9.7).
#[derive(Debug)]
pub(crate) struct Timer {
    /// Timeout before any doubling.
    pub(crate) start: Duration,
    /// Current timeout.
    pub(crate) timeout: Duration,
    /// When the current view is given up; none while too few view changes are held.
    pub(crate) give_up: Option<Time>,
    /// When unanswered messages are sent again.
    pub(crate) resend: Time,
    /// Commits since the timeout was last halved.
    pub(crate) commits_since_halving: u32,
}

/// What the machine counts since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// View changes taken part in.
    pub view_changes: u64,
    /// Messages refused: wrong signer, bad signature, outside the window.
    pub refused: u64,
}

/// The timeout is halved at most once per this many commits (`ios` 9.7).
const COMMITS_PER_HALVING: u32 = 64;

impl Pbft {
    /// A voter at genesis. After a restart, feed `replay` next, then `resume`.
    #[must_use]
    pub fn new(config: PbftConfig, key: SecretKey, now: Time) -> Self {
        let start = config.policy.view_timeout();
        let genesis = config.context.genesis_hash;
        let aggregated = config.committee.is_aggregated();
        Self {
            verifier: Verifier::new(config.scheme, config.committee.clone()),
            collecting: aggregated.then(|| Collecting::new(key.voting())),
            known: VecDeque::new(),
            key,
            view: View(0),
            active: true,
            opening: None,
            base: (Height(0), genesis),
            blocks: BlockTree::new(genesis),
            commit_certificate: None,
            commit_pending: None,
            tip: None,
            proposals: BTreeMap::new(),
            prepared: BTreeMap::new(),
            committed_votes: BTreeMap::new(),
            prepare_certificates: BTreeMap::new(),
            votes: BTreeMap::new(),
            view_changes: BTreeMap::new(),
            silent: false,
            traces: BTreeMap::new(),
            fetching: BTreeMap::new(),
            suspecting: false,
            suspects: BTreeMap::new(),
            adopted: Height(0),
            asked: 0,
            proposed: Height(0),
            timer: Timer {
                start,
                timeout: start,
                give_up: Some(now + start),
                resend: now + start / 2,
                commits_since_halving: 0,
            },
            outputs: VecDeque::new(),
            counters: Counters::default(),
            config,
        }
    }

    /// Next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When `handle_timeout` is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Time {
        let due = self.collecting.as_ref().and_then(Collecting::poll_timeout);
        let timers = [self.timer.give_up, due].into_iter().flatten();
        timers.fold(self.timer.resend, Time::min)
    }

    /// Current view.
    #[must_use]
    pub const fn view(&self) -> View {
        self.view
    }

    /// Whether the current view is open for votes.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        self.active
    }

    /// Highest committed height and its hash.
    #[must_use]
    pub const fn committed(&self) -> (Height, Hash) {
        self.blocks.committed()
    }

    /// Highest height that this voter took from a peer because it was behind: it saw nothing of how the blocks up to
    /// there came about.
    #[must_use]
    pub const fn adopted(&self) -> Height {
        self.adopted
    }

    /// Whether this voter leads the current view.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.config.committee.leader(self.view) == self.config.me
    }

    /// Counters since the start.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// The voters.
    #[must_use]
    pub const fn committee(&self) -> &Committee {
        &self.config.committee
    }

    /// The voters with their voting keys decoded.
    #[must_use]
    pub const fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// The uncommitted blocks that the current view builds on, as far as they are held, from its base downwards.
    pub fn base_chain(&self) -> impl Iterator<Item = &Block> {
        let (_, base) = self.base;
        let mut at = self.blocks.get(&base);
        std::iter::from_fn(move || {
            let held = at?;
            at = self.blocks.get(&held.block.header.prev);
            Some(&held.block)
        })
    }

    /// A block that is held above the committed height.
    #[must_use]
    pub fn block(&self, hash: &Hash) -> Option<&Block> {
        self.blocks.get(hash).map(|held| &held.block)
    }

    /// Whether this voter signs nothing from now on.
    pub const fn set_silent(&mut self, silent: bool) {
        self.silent = silent;
    }

    /// Latest signature of a voter that was seen here, alone or in a certificate.
    #[must_use]
    pub fn trace_of(&self, member: MemberIndex) -> Option<&Trace> {
        self.traces.get(&member)
    }

    /// Goes on after a time in which nothing was handled: timers start anew, and what may be lacking is asked for.
    pub fn resume_after_pause(&mut self, now: Time) {
        if self.timer.give_up.is_some() {
            self.on_progress(now);
        }
        self.resend();
        self.repropose_base();
        self.progress(now);
    }

    /// Gives up a view that shows no progress, and sends again what nobody answered.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.timer.give_up.is_some_and(|give_up| now >= give_up) {
            self.suspect(now);
        }
        self.handle_due(now);
        if now >= self.timer.resend {
            self.timer.resend = now + self.timer.start;
            self.resend();
        }
    }

    /// Whether it is another voter's turn to propose: the view is open, led by somebody else, and its window has room.
    #[must_use]
    pub fn waits_for_leader(&self) -> bool {
        let (committed, _) = self.committed();
        let last = (self.view, Height(committed.0 + self.config.policy.window));
        self.active && !self.silent && !self.is_leader() && !self.proposals.contains_key(&last)
    }

    /// Sends what a peer that has just connected may lack.
    pub fn handle_connected(&mut self) {
        self.resend();
    }

    pub(crate) fn quorum(&self) -> usize {
        let quorum = self.config.committee.quorum();
        if self.is_planted(PlantedBug::QuorumOffByOne) {
            quorum - 1
        } else {
            quorum
        }
    }

    pub(crate) fn is_planted(&self, bug: PlantedBug) -> bool {
        cfg!(any(test, feature = "planted-bugs")) && self.config.planted == Some(bug)
    }

    pub(crate) fn send(&mut self, to: Target, message: PeerMessage) {
        self.outputs.push_back(Output::Send(Outgoing { to, message }));
    }

    pub(crate) fn persist(&mut self, records: Vec<LogRecord>, then: Vec<Outgoing>) {
        self.outputs.push_back(Output::Persist { records, then });
    }

    pub(crate) fn refuse(&mut self) {
        self.counters.refused += 1;
    }

    /// Restarts the timers after a commit or an accepted opening (`ios` 9.7).
    pub(crate) fn on_progress(&mut self, now: Time) {
        self.suspecting = false;
        self.timer.give_up = Some(now + self.timer.timeout);
        self.timer.resend = now + self.timer.start;
    }

    pub(crate) fn on_commits(&mut self, count: u32) {
        self.timer.commits_since_halving += count;
        if self.timer.commits_since_halving >= COMMITS_PER_HALVING {
            self.timer.commits_since_halving = 0;
            self.timer.timeout = (self.timer.timeout / 2).max(self.timer.start);
        }
    }

    /// Own votes, proposals and certificates above the committed height go out once more, and a question for
    /// newer final blocks: links lose what was in flight when they broke. Everything waits for the records
    /// written so far, since some of it may not be durable yet.
    fn resend(&mut self) {
        let mut then = Vec::new();
        let mut others = |message| {
            then.push(Outgoing {
                to: Target::Others,
                message,
            })
        };
        if self.suspecting {
            others(PeerMessage::Suspect(self.view));
        }
        if !self.active && !self.silent {
            let change = self.view_changes.get(&self.config.me).cloned();
            change
                .into_iter()
                .for_each(|change| others(PeerMessage::ViewChange(Box::new(change))));
        } else if self.is_leader() && !self.silent {
            self.opening
                .clone()
                .into_iter()
                .for_each(|opening| others(PeerMessage::NewView(Box::new(opening))));
            let in_view = |view: View| (view, Height(0))..(view.next(), Height(0));
            let proposals = self
                .proposals
                .range(in_view(self.view))
                .map(|(_, propose)| propose.clone());
            proposals.map(PeerMessage::Propose).for_each(&mut others);
            let certificates = self
                .prepare_certificates
                .range(in_view(self.view))
                .map(|(_, certified)| certified.clone());
            certificates
                .chain(self.commit_certificate.clone())
                .map(PeerMessage::Certified)
                .for_each(&mut others);
        }
        let leader = Target::Member(self.config.committee.leader(self.view));
        for subject in self.own_votes() {
            // Past the tree: what was lost may have been lost there.
            let message = match self.own_partial(subject) {
                Some(partial) => PeerMessage::Partial(partial),
                None => PeerMessage::Vote(self.sign_vote(subject)),
            };
            then.push(Outgoing { to: leader, message });
        }
        if let Some(certified) = &self.commit_certificate
            && !(self.active && self.is_leader())
        {
            then.push(Outgoing {
                to: leader,
                message: PeerMessage::Certified(certified.clone()),
            });
        }
        let missing: Vec<_> = self.fetching.keys().copied().collect();
        for hash in missing {
            then.push(Outgoing {
                to: Target::Others,
                message: PeerMessage::Fetch(Fetch::Block { hash }),
            });
        }
        then.push(self.ask_for_blocks());
        self.outputs.push_back(Output::Persist {
            records: Vec::new(),
            then,
        });
    }

    /// Asks one voter, another each time, for final blocks above the committed one.
    pub(crate) fn ask_for_blocks(&mut self) -> Outgoing {
        let (height, _) = self.committed();
        self.asked += 1;
        let size = self.config.committee.size();
        let step = 1 + self.asked % size.saturating_sub(1).max(1);
        let to = MemberIndex(((usize::from(self.config.me.0) + step) % size) as u16);
        let ask = Fetch::Committed {
            from: height.next(),
            count: FETCH_BLOCKS_MAX,
        };
        Outgoing {
            to: Target::Member(to),
            message: PeerMessage::Fetch(ask),
        }
    }

    /// Subjects of the votes made in the current view above the committed height.
    pub(crate) fn own_votes(&self) -> Vec<Subject> {
        if !self.active || self.silent {
            return Vec::new();
        }
        let (committed, _) = self.committed();
        let of = |votes: &BTreeMap<(View, Height), Hash>, phase| -> Vec<Subject> {
            let open = votes.range((self.view, committed.next())..(self.view.next(), Height(0)));
            open.map(|((view, height), hash)| Subject {
                phase,
                height: *height,
                view: *view,
                hash: *hash,
            })
            .collect()
        };
        [
            of(&self.prepared, Phase::Prepare),
            of(&self.committed_votes, Phase::Commit),
        ]
        .concat()
    }

    pub(crate) fn sign_vote(&self, subject: Subject) -> Vote {
        let signature = crypto::cosign::sign_subject(&self.key, &self.config.context, &subject);
        Vote {
            subject,
            member: self.config.me,
            signature,
        }
    }
}
