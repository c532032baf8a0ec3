//! Messages of other members: author blocks, fetches, resets; ordering's own go to `pbft`.

use crypto::sampling::{Sampling, full_from};
use crypto::{cosign, evidence, hash};
use types::block::{AuthorHeader, SignedAuthorHeader};
use types::block_record::ResetRequest;
use types::evidence::{Evidence, TxFault};
use types::limits::BATCH_BYTES_MAX;
use types::message::{AuthorBlock, Fetch, PeerMessage};
use types::record::LogRecord;
use types::{Amount, Hash, MemberIndex, Owner, Time};

use crate::content::fetch_pause;
use crate::event::{BodyVerdict, Effect, SignatureChecks};
use crate::league::GroupIndex;
use crate::replica::{Replica, Wanted};

/// Final blocks that wait for bodies beyond which no more are taken from a peer.
const WAITING_MAX: usize = 64;
/// Bodies asked for at one time; twice as many while final blocks wait for some.
const WANTED_MAX: usize = 256;
/// Of these, bodies that no proposal refers to: predecessors and what a `Nack` names. The rest stays free for
/// proposals, whatever headers a faulty author signs.
const WANTED_UNREFERENCED_MAX: usize = 64;
/// Questions for one body before it is given up.
const QUESTIONS_MAX: u32 = 16;

impl Replica {
    pub(crate) fn handle_peer(&mut self, now: Time, from: MemberIndex, message: PeerMessage) {
        match message {
            PeerMessage::AuthorBlock(block) => self.handle_author_block(now, block),
            PeerMessage::ResetRequest(request) => self.handle_reset_request(request),
            PeerMessage::Propose(propose) => self.pbft.handle_propose(now, from, propose),
            PeerMessage::Vote(vote) => self.pbft.handle_vote(now, from, vote),
            PeerMessage::Partial(partial) => self.pbft.handle_partial(now, from, partial),
            PeerMessage::Collect(collect) => self.pbft.handle_collect(from, collect),
            PeerMessage::Certified(certified) => self.pbft.handle_certified(now, certified),
            PeerMessage::ViewChange(change) => self.pbft.handle_view_change(now, from, *change),
            PeerMessage::Suspect(view) => self.pbft.handle_suspect(now, from, view),
            PeerMessage::NewView(opening) => self.pbft.handle_new_view(now, *opening),
            PeerMessage::Fetch(fetch) => self.serve(from, fetch),
            PeerMessage::Blocks(blocks) => {
                if self.chain.waiting.len() < WAITING_MAX {
                    self.pbft.handle_blocks(now, from, blocks);
                }
            }
            PeerMessage::Block(block) => self.pbft.handle_block(now, *block),
            PeerMessage::Trace(trace) => self.handle_trace(from, trace.map(|trace| *trace)),
            PeerMessage::Nack(header) => self.handle_nack(now, from, &header),
            PeerMessage::AuthorHeader(header) => self.handle_author_header(now, from, &header),
            PeerMessage::SlowIntent(bytes) => self.handle_slow_intent(&bytes),
            PeerMessage::FraudProof(evidence) => self.handle_fraud_proof(from, *evidence),
            PeerMessage::AuthorReady(ready) => self.handle_author_ready(ready),
        }
    }

    /// A voter holds an author block that proposals omit: the leader fetches it.
    fn handle_nack(&mut self, now: Time, from: MemberIndex, header: &SignedAuthorHeader) {
        let hash = hash::author_header_hash(&header.header);
        let room = self.wanted.len() < WANTED_UNREFERENCED_MAX;
        if !room || !self.is_authentic(header) || self.pool.get(&hash).is_some() {
            return;
        }
        if let Some(index) = self.groups().index(header.header.group) {
            self.make_room_at(index, header.header.seq);
        }
        self.want(now, hash, from, None);
    }

    /// A voter has the body of this header: so shall every voter, and an author that signs two is found out (`ios` 7.4).
    fn handle_author_header(&mut self, now: Time, from: MemberIndex, header: &SignedAuthorHeader) {
        let hash = hash::author_header_hash(&header.header);
        let Some(index) = self.groups().index(header.header.group) else {
            self.counters.refused += 1;
            return;
        };
        let old = header.header.seq < self.chain.final_league().cursor(index).next;
        if self.pool.lately(&hash).is_some() || old && self.pool.lately_at(index, header.header.seq).is_none()
        {
            return;
        }
        if !self.is_authentic(header) {
            self.counters.refused += 1;
            return;
        }
        self.look_for_equivocation(header);
        if !old && self.wanted.len() < WANTED_UNREFERENCED_MAX && !self.wanted.contains_key(&hash) {
            // A header is smaller than its body and overtakes it: mostly the author's own copy is on its way.
            self.note_wanted(hash, from, None, now + self.config.epoch.policy.shard_delay);
        }
    }

    /// An author that signs two blocks for one position could leave the leader with one that fits nowhere, and a voter
    /// with one that it insists on (`ios` 9.8): what fits nowhere goes.
    fn make_room_at(&mut self, index: GroupIndex, seq: types::block::BlockSeq) {
        let cursor = self.chain.tip_league().cursor(index);
        let height = self.chain.tip_height().next();
        let Some((squatter, held)) = self.pool.at(index, seq) else {
            return;
        };
        let header = &held.header.header;
        let fits = header.prev == cursor.last && self.rules().is_includable(header.base_height, height);
        if cursor.next == seq && held.ready().is_some() && !fits {
            let squatter = *squatter;
            self.pool.forget(index, &squatter);
        }
    }

    pub(crate) fn serve(&mut self, to: MemberIndex, fetch: Fetch) {
        match fetch {
            Fetch::Trace => self.serve_trace(to),
            Fetch::Committed { from, count } => {
                if from <= self.pbft.committed().0 {
                    self.effect(Effect::ServeBlocks { to, from, count });
                }
            }
            Fetch::Block { hash } => {
                if let Some(block) = self.pbft.block(&hash) {
                    let message = PeerMessage::Block(Box::new(block.clone()));
                    self.effect(Effect::Send {
                        to,
                        message,
                        after: None,
                    });
                }
            }
            Fetch::Body { hash } if self.withholds(&hash) => {}
            Fetch::Body { hash } => match self.pool.get(&hash) {
                Some(held) if held.ready().is_some() => {
                    let header = held.header.clone();
                    let body = self
                        .pool
                        .body(&hash)
                        .map(|body| body.bytes().clone())
                        .unwrap_or_default();
                    let message = PeerMessage::AuthorBlock(AuthorBlock { header, body });
                    self.effect(Effect::Send {
                        to,
                        message,
                        after: None,
                    });
                }
                _ => self.effect(Effect::ServeBody { to, hash }),
            },
        }
    }

    pub(crate) fn is_authentic(&self, signed: &SignedAuthorHeader) -> bool {
        let header = &signed.header;
        let Some(index) = self.groups().index(header.group) else {
            return false;
        };
        let Some(member) = self.committee.member_of(header.author) else {
            return false;
        };
        // Who holds a seat changes with the chain; that a block is its holder's is judged where it is included.
        let may_author = if self.groups().is_seat(index) {
            !self.committee.is_voter(member)
        } else {
            self.chain.final_league().author(index) == Some(member)
        };
        let Some(key) = self.committee.key(member).filter(|_| may_author) else {
            return false;
        };
        header.version == types::block::BLOCK_VERSION
            && header.shard == self.context.shard
            && header.epoch == self.context.epoch
            && header.term == 0
            && header.tx_count as usize <= self.config.epoch.policy.batch_txs_max as usize
            && header.body_bytes as usize <= BATCH_BYTES_MAX
            && cosign::verify_author_header(self.config.scheme, &self.context, key, signed)
    }

    pub(crate) fn handle_author_block(&mut self, now: Time, block: AuthorBlock) {
        let header = &block.header.header;
        let hash = hash::author_header_hash(header);
        let wanted = self.wanted.get(&hash).copied();
        let referred = wanted
            .and_then(|wanted| wanted.place)
            .is_some_and(|place| place == (header.group, header.seq));
        let Some(index) = self.groups().index(header.group) else {
            self.counters.refused += 1;
            return;
        };
        let final_next = self.chain.final_league().cursor(index).next;
        let own = self.committee.member_of(header.author) == Some(self.config.me);
        if self.pool.get(&hash).is_some() || (header.seq < final_next && !referred) || own && wanted.is_none()
        {
            return;
        }
        if header.body_bytes as usize != block.body.len() || !self.is_authentic(&block.header) {
            self.counters.refused += 1;
            return;
        }
        let author = self.committee.member_of(header.author).unwrap_or_default();
        let group_is_active = self
            .chain
            .final_league()
            .next_active()
            .any(|active| active == index);
        if !referred && (!group_is_active || self.chain.final_league().is_banned(author)) {
            return;
        }
        let bytes = block.body.clone();
        let signed = block.header;
        self.want_predecessor(now, author, index, &signed.header);
        self.wanted.remove(&hash);
        self.look_for_equivocation(&signed);
        let checks = self.checks_of(index, author);
        if self.pool.insert(now, index, hash, signed.clone(), referred) {
            if self.groups().is_seat(index) && self.committee.is_voter(self.config.me) {
                self.pass_on(signed.clone());
            }
            self.effect(Effect::CheckBody {
                hash,
                header: Box::new(signed),
                bytes,
                checks,
            });
        }
    }

    /// Shows a header to the other voters, so that no author shows a block to a quorum only (`ios` 7.4).
    fn pass_on(&mut self, header: SignedAuthorHeader) {
        for member in (0..self.committee.voters).map(MemberIndex) {
            if member != self.config.me {
                self.effect(Effect::Send {
                    to: member,
                    message: PeerMessage::AuthorHeader(header.clone()),
                    after: None,
                });
            }
        }
    }

    /// Which signatures of an author's block this member checks: all in one league, a private sample as a voter of two,
    /// none as a candidate, which has no vote to answer for.
    pub(crate) fn checks_of(&self, index: GroupIndex, author: MemberIndex) -> SignatureChecks {
        let Some(leagues) = self.leagues().filter(|_| self.groups().is_seat(index)) else {
            return SignatureChecks::All;
        };
        if !self.committee.is_voter(self.config.me) {
            return SignatureChecks::Skipped;
        }
        let bond = self
            .committee
            .bonds
            .get(usize::from(author.0))
            .copied()
            .unwrap_or_default();
        let honest = self.committee.quorum() - self.committee.faulty_max();
        let secret = self.key.sampling_secret();
        #[cfg(feature = "planted-bugs")]
        let secret = if self.config.planted == Some(crate::replica::Planted::PredictableSamples) {
            crypto::keys::SecretKey::from_seed([7; 32]).sampling_secret()
        } else {
            secret
        };
        SignatureChecks::Sampled(Sampling {
            secret,
            probability_ppm: leagues.sampling_ppm,
            full_from: full_from(Amount(bond), leagues.sampling_ppm, honest as u32),
        })
    }

    /// Own blocks that are not final go out once more: the link may have lost them when it broke.
    pub(crate) fn send_own_blocks(&mut self, to: MemberIndex) {
        let me = self.config.me;
        if to == me {
            return;
        }
        let Some(index) = self
            .author
            .role()
            .and_then(|role| self.groups().index(role.group))
        else {
            return;
        };
        let mut next = self.chain.final_league().cursor(index).next;
        let mut blocks = Vec::new();
        while let Some((_, held)) = self.pool.at(index, next)
            && let Some(checked) = held.ready()
        {
            blocks.push(AuthorBlock {
                header: held.header.clone(),
                body: checked.body.bytes().clone(),
            });
            next = next.next();
        }
        for block in blocks {
            self.effect(Effect::Send {
                to,
                message: PeerMessage::AuthorBlock(block),
                after: None,
            });
        }
    }

    /// The block before this one was lost on the way: its author is asked, before anybody misses it.
    fn want_predecessor(&mut self, now: Time, author: MemberIndex, index: GroupIndex, header: &AuthorHeader) {
        let cursor = self.chain.final_league().cursor(index);
        let gap = header.seq > cursor.next && header.seq.number() > 0 && header.prev != cursor.last;
        if gap && self.pool.get(&header.prev).is_none() && self.wanted.len() < WANTED_UNREFERENCED_MAX {
            self.want(now, header.prev, author, None);
        }
    }

    pub(crate) fn handle_body_checked(&mut self, now: Time, hash: Hash, verdict: BodyVerdict) {
        let group = self.pool.get(&hash).map(|held| held.header.header.group);
        let index = group.and_then(|group| self.groups().index(group));
        let seated = index.is_some_and(|index| self.groups().is_seat(index));
        let checked = match verdict {
            BodyVerdict::Checked(checked) => checked,
            BodyVerdict::Foreign | BodyVerdict::Faulty(_) => {
                self.counters.refused += 1;
                if let Some(index) = index {
                    self.pool.forget(index, &hash);
                }
                if let BodyVerdict::Faulty(evidence) = verdict
                    && seated
                {
                    self.accuse(Evidence::Transaction(evidence));
                }
                return;
            }
        };
        let forged = checked.bad_signatures.first().copied().filter(|_| seated);
        let body = checked.body.bytes().clone();
        if !self
            .pool
            .set_checked(now, self.chain.final_height(), &hash, checked)
        {
            return;
        }
        if let Some(held) = self.pool.get(&hash) {
            // On the log before any vote that refers to it: votes are later records (`ios` 9.6).
            let header = held.header.clone();
            self.persist(vec![LogRecord::AuthorBlock(AuthorBlock { header, body })], false);
        }
        if let Some(position) = forged {
            self.accuse_of_transaction(&hash, position, TxFault::Signature);
        } else if seated {
            self.look_for_strangers(&hash);
        }
    }

    /// An author may only take what owners of its group spend (F5).
    fn look_for_strangers(&mut self, hash: &Hash) {
        let stranger = self.pool.get(hash).and_then(|held| {
            let (group, epoch) = (held.header.header.group, &self.config.epoch);
            let home = |owner: Owner| evidence::is_home(&self.committee, epoch, group, &owner);
            let mut txs = (0..).zip(held.ready()?.body.txs());
            txs.find(|(_, (_, tx))| !tx.owners().all(home))
                .map(|(position, _)| position)
        });
        if let Some(position) = stranger {
            self.accuse_of_transaction(hash, position, TxFault::Group);
        }
    }

    pub(crate) fn handle_reset_request(&mut self, request: ResetRequest) {
        let league = self.chain.final_league();
        if self.rules().is_due(&request, league, league.next_mode()) {
            self.resets.insert(request.group, request);
        }
    }

    /// Asks for a new run of this author's blocks where it needs one, again and again until it is final.
    pub(crate) fn request_reset(&mut self, now: Time) {
        if !self.is_signing() || self.next_reset_request.is_some_and(|at| now < at) {
            return;
        }
        let Some(index) = self
            .author
            .role()
            .and_then(|role| self.groups().index(role.group))
        else {
            self.next_reset_request = None;
            return;
        };
        let cursor = self.chain.final_league().cursor(index);
        let request = self
            .author
            .reset_request(&self.key, cursor, self.chain.final_height());
        self.next_reset_request = request
            .as_ref()
            .map(|_| now + self.config.epoch.policy.view_timeout() / 2);
        if let Some(request) = request {
            self.resets.insert(request.group, request.clone());
            self.effect(Effect::Broadcast {
                message: PeerMessage::ResetRequest(request),
                after: None,
            });
        }
    }

    /// Asks for a body until it comes or too many asked; `place` is where a block refers to it.
    pub(crate) fn want(
        &mut self,
        now: Time,
        hash: Hash,
        from: MemberIndex,
        place: Option<(u16, types::block::BlockSeq)>,
    ) {
        let me = self.config.me;
        let known = self.wanted.get_mut(&hash).map(|wanted| {
            wanted.place = wanted.place.or(place);
            if wanted.asked == 0 && from != me {
                wanted.next = from;
            }
            wanted.asked
        });
        let is_new = known.is_none() && self.note_wanted(hash, from, place, now);
        if is_new || known == Some(0) {
            self.ask_for(now, hash);
        }
    }

    /// Notes a body to ask for from a time on, first `from` this member. False when there is no room.
    fn note_wanted(
        &mut self,
        hash: Hash,
        from: MemberIndex,
        place: Option<(u16, types::block::BlockSeq)>,
        at: Time,
    ) -> bool {
        // What final blocks need comes before what a proposal only claims to need.
        let room = if self.chain.waiting.is_empty() {
            WANTED_MAX
        } else {
            2 * WANTED_MAX
        };
        if self.wanted.len() >= room {
            return false;
        }
        let next = if from == self.config.me {
            self.after(from)
        } else {
            from
        };
        let wanted = Wanted {
            place,
            next,
            at,
            asked: 0,
        };
        self.wanted.insert(hash, wanted);
        true
    }

    fn ask_for(&mut self, now: Time, hash: Hash) {
        let at = now + fetch_pause(&self.config.epoch.policy);
        let Some(Wanted {
            place,
            next: to,
            asked,
            ..
        }) = self.wanted.get(&hash).copied()
        else {
            return;
        };
        if asked == QUESTIONS_MAX {
            // Whoever still needs it will want it anew.
            self.wanted.remove(&hash);
            return;
        }
        self.wanted.insert(
            hash,
            Wanted {
                place,
                next: self.after(to),
                at,
                asked: asked + 1,
            },
        );
        let message = PeerMessage::Fetch(Fetch::Body { hash });
        self.effect(Effect::Send {
            to,
            message,
            after: None,
        });
    }

    pub(crate) fn after(&self, member: MemberIndex) -> MemberIndex {
        let size = self.committee.members.len() as u16;
        let next = MemberIndex((member.0 + 1) % size);
        if next == self.config.me {
            MemberIndex((next.0 + 1) % size)
        } else {
            next
        }
    }

    pub(crate) fn ask_again(&mut self, now: Time) {
        let due: Vec<Hash> = self
            .wanted
            .iter()
            .filter(|(_, wanted)| now >= wanted.at)
            .map(|(hash, _)| *hash)
            .collect();
        due.into_iter().for_each(|hash| self.ask_for(now, hash));
    }
}
