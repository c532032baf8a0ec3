//! Messages of other members: author blocks, fetches, resets; ordering's own go to `pbft`.

use crypto::{cosign, hash};
use types::block::AuthorHeader;
use types::block_record::ResetRequest;
use types::limits::BATCH_BYTES_MAX;
use types::message::{AuthorBlock, Fetch, PeerMessage};
use types::record::LogRecord;
use types::{Hash, MemberIndex, Time};

use crate::content::{author_of, fetch_pause};
use crate::event::{BodyVerdict, Effect, SignatureChecks};
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
            PeerMessage::AuthorHeader(_)
            | PeerMessage::SlowIntent(_)
            | PeerMessage::FraudProof(_)
            | PeerMessage::AuthorReady(_) => self.counters.refused += 1,
        }
    }

    /// A voter holds an author block that proposals omit: the leader fetches it.
    fn handle_nack(&mut self, now: Time, from: MemberIndex, header: &types::block::SignedAuthorHeader) {
        let hash = hash::author_header_hash(&header.header);
        let room = self.wanted.len() < WANTED_UNREFERENCED_MAX;
        if !room || !self.is_authentic(header) || self.pool.get(&hash).is_some() {
            return;
        }
        if let Some(author) = author_of(header.header.group, self.committee.size()) {
            self.make_room_at(author, header.header.seq);
        }
        self.want(now, hash, from, None);
    }

    /// An author that signs two blocks for one position could leave the leader with one that fits nowhere, and a voter
    /// with one that it insists on (`ios` 9.8): what fits nowhere goes.
    fn make_room_at(&mut self, author: MemberIndex, seq: types::block::BlockSeq) {
        let Some(cursor) = self.chain.tip_cursors().get(usize::from(author.0)).copied() else {
            return;
        };
        let height = self.chain.tip_height().next();
        let Some((squatter, held)) = self.pool.at(author, seq) else {
            return;
        };
        let header = &held.header.header;
        let fits = header.prev == cursor.last && self.rules().is_includable(header.base_height, height);
        if cursor.next == seq && held.ready().is_some() && !fits {
            let squatter = *squatter;
            self.pool.forget(author, &squatter);
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

    pub(crate) fn is_authentic(&self, signed: &types::block::SignedAuthorHeader) -> bool {
        let header = &signed.header;
        let Some(member) = author_of(header.group, self.committee.size()) else {
            return false;
        };
        let Some((validator, key)) = self.committee.members.get(usize::from(member.0)) else {
            return false;
        };
        header.version == types::block::BLOCK_VERSION
            && header.shard == self.context.shard
            && header.epoch == self.context.epoch
            && header.author == *validator
            && header.tx_count as usize <= self.config.epoch.policy.batch_txs_max as usize
            && header.body_bytes as usize <= BATCH_BYTES_MAX
            && cosign::verify_author_header(self.config.scheme, key, signed)
    }

    pub(crate) fn handle_author_block(&mut self, now: Time, block: AuthorBlock) {
        let header = &block.header.header;
        let hash = hash::author_header_hash(header);
        let wanted = self.wanted.get(&hash).copied();
        let referred = wanted
            .and_then(|wanted| wanted.place)
            .is_some_and(|place| place == (header.group, header.seq));
        let Some(author) = author_of(header.group, self.committee.size()) else {
            self.counters.refused += 1;
            return;
        };
        let final_next = self
            .chain
            .final_cursors()
            .get(usize::from(author.0))
            .map_or(header.seq, |cursor| cursor.next);
        if self.pool.get(&hash).is_some()
            || (header.seq < final_next && !referred)
            || author == self.config.me && wanted.is_none()
        {
            return;
        }
        if header.body_bytes as usize != block.body.len() || !self.is_authentic(&block.header) {
            self.counters.refused += 1;
            return;
        }
        let bytes = block.body.clone();
        let boxed = Box::new(header.clone());
        self.want_predecessor(now, author, &boxed);
        self.wanted.remove(&hash);
        if self
            .pool
            .insert(author, hash, block.header, bytes.len(), referred)
        {
            self.effect(Effect::CheckBody {
                hash,
                header: boxed,
                bytes,
                checks: SignatureChecks::All,
            });
        }
    }

    /// Own blocks that are not final go out once more: the link may have lost them when it broke.
    pub(crate) fn send_own_blocks(&mut self, to: MemberIndex) {
        let me = self.config.me;
        if to == me {
            return;
        }
        let Some(cursor) = self.chain.final_cursors().get(usize::from(me.0)).copied() else {
            return;
        };
        let mut next = cursor.next;
        let mut blocks = Vec::new();
        while let Some((_, held)) = self.pool.at(me, next)
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
    fn want_predecessor(&mut self, now: Time, author: MemberIndex, header: &AuthorHeader) {
        let Some(cursor) = self.chain.final_cursors().get(usize::from(author.0)) else {
            return;
        };
        let gap = header.seq > cursor.next && header.seq.number() > 0 && header.prev != cursor.last;
        if gap && self.pool.get(&header.prev).is_none() && self.wanted.len() < WANTED_UNREFERENCED_MAX {
            self.want(now, header.prev, author, None);
        }
    }

    pub(crate) fn handle_body_checked(&mut self, now: Time, hash: Hash, verdict: BodyVerdict) {
        let BodyVerdict::Checked(checked) = verdict else {
            self.counters.refused += 1;
            let group = self.pool.get(&hash).map(|held| held.header.header.group);
            if let Some(author) = group.and_then(|group| author_of(group, self.committee.size())) {
                self.pool.forget(author, &hash);
            }
            return;
        };
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
    }

    pub(crate) fn handle_reset_request(&mut self, request: ResetRequest) {
        if self.rules().is_due(&request, self.chain.final_cursors()) {
            self.resets.insert(request.group, request);
        }
    }

    /// Asks for a new run of this author's blocks where it needs one, again and again until it is final.
    pub(crate) fn request_reset(&mut self, now: Time) {
        if !self.is_voter() || self.next_reset_request.is_some_and(|at| now < at) {
            return;
        }
        let me = usize::from(self.config.me.0);
        let Some(cursor) = self.chain.final_cursors().get(me).copied() else {
            return;
        };
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
        if let Some(wanted) = self.wanted.get_mut(&hash) {
            wanted.place = wanted.place.or(place);
            return;
        }
        // What final blocks need comes before what a proposal only claims to need.
        let room = if self.chain.waiting.is_empty() {
            WANTED_MAX
        } else {
            2 * WANTED_MAX
        };
        if self.wanted.len() >= room {
            return;
        }
        let to = if from == self.config.me {
            self.after(from)
        } else {
            from
        };
        self.wanted.insert(
            hash,
            Wanted {
                place,
                next: to,
                at: now,
                asked: 0,
            },
        );
        self.ask_for(now, hash);
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
        let size = self.committee.size() as u16;
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
