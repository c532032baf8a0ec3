//! Faults: found or told, passed on, put before the voters, and what follows when they are final (`ios` 7.7, 7.8).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use consensus::Slot;
use crypto::evidence;
use crypto::hash::{author_header_hash, recheck_rank};
use types::block::{Block, SignedAuthorHeader};
use types::block_record::Record;
use types::codec::Encode;
use types::evidence::{Evidence, FaultKind, TxEvidence, TxFault};
use types::genesis::Committee;
use types::message::PeerMessage;
use types::{Hash, Height, MemberIndex, View};

use crate::event::Effect;
use crate::league::{League, accused};
use crate::replica::Replica;

/// Forged final transactions that wait to be claimed; blocks with more are checked once more when there is room.
const CLAIMS_MAX: usize = 4096;
/// Evidence of one block.
const PER_BLOCK_MAX: usize = 32;
/// Bytes of it, which leaves room for the other records.
const PER_BLOCK_BYTES_MAX: usize = 64 << 10;
/// Final blocks being checked again at one time.
const RECHECKS_MAX: usize = 4;
/// Voters that check each final block of a slashed author again (`ios` 7.8).
const OVERLAP: usize = 5;

/// What is known of faults and not final yet.
#[derive(Debug, Default)]
pub(crate) struct Accusations {
    /// The first evidence against each member.
    by_member: BTreeMap<MemberIndex, Evidence>,
    /// View in which this voter first proposed a fault of state.
    proposed: BTreeMap<MemberIndex, View>,
    /// Faults of states that this voter cannot judge, as it remembers too little or lacks a block before: by author and
    /// by the voter that showed it. Of more than `f` voters one is honest and has replayed it; then the author is not
    /// convicted here, but neither proposed nor missed, until this voter can judge, or nobody can any more.
    doubtful: BTreeMap<MemberIndex, BTreeMap<MemberIndex, Evidence>>,
    /// Members that showed a fault of state which replay did not bear out: who is honest shows what it has replayed.
    liars: BTreeSet<MemberIndex>,
    /// Forged transactions of final blocks.
    claims: BTreeMap<(Hash, u32), Evidence>,
    /// Final blocks of slashed authors that this voter has to check again.
    rechecks: VecDeque<Hash>,
    rechecking: usize,
    /// Blocks in which more was found than there was room for.
    deferred: BTreeSet<Hash>,
}

impl Accusations {
    /// Members that a fault was shown of.
    pub(crate) fn suspects(&self) -> BTreeSet<MemberIndex> {
        self.by_member.keys().copied().collect()
    }

    /// Remembers when faults of state were proposed.
    pub(crate) fn note_proposed(&mut self, records: &[Record], view: View, committee: &Committee) {
        for record in records {
            if let Record::Evidence(evidence) = record
                && evidence.kind() == FaultKind::State
                && let Some(member) = accused(evidence, committee)
            {
                self.proposed.entry(member).or_insert(view);
            }
        }
    }

    pub(crate) fn is_suspect(&self, member: MemberIndex) -> bool {
        self.by_member.contains_key(&member)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_member.is_empty() && self.claims.is_empty()
    }
}

impl Replica {
    /// Takes up a fault that was judged, and passes it on when it is news.
    pub(crate) fn accuse(&mut self, evidence: Evidence) {
        let Some(member) = accused(&evidence, &self.committee) else {
            return;
        };
        let mut news = false;
        if let Evidence::Transaction(forged) = &evidence
            && forged.fault == TxFault::Signature
        {
            let hash = author_header_hash(&forged.header.header);
            let place = (hash, forged.path.index);
            let open = self.chain.archive.is_applied(&hash, place.1)
                && !self.chain.final_league().is_claimed(&hash, place.1);
            let has_room = self.accusations.claims.len() < CLAIMS_MAX;
            if open && !has_room && self.committee.is_voter(self.config.me) {
                self.accusations.deferred.insert(hash);
            }
            if open && has_room && !self.accusations.claims.contains_key(&place) {
                self.accusations.claims.insert(place, evidence.clone());
                news = true;
            }
        }
        let banned = self.chain.final_league().is_banned(member);
        if !banned && self.is_news_of(member, &evidence) {
            self.count_fault(evidence.kind());
            self.accusations.proposed.remove(&member);
            self.accusations.by_member.insert(member, evidence.clone());
            news = true;
        }
        if news {
            self.effect(Effect::Broadcast {
                message: PeerMessage::FraudProof(Box::new(evidence)),
                after: None,
            });
        }
    }

    /// A voter signed two things that exclude each other; with one league nothing is at stake for it.
    pub(crate) fn accuse_voter(&mut self, evidence: Evidence) {
        if self.leagues().is_some() {
            self.accuse(evidence);
        }
    }

    fn count_fault(&mut self, kind: FaultKind) {
        let place = FaultKind::ALL.iter().position(|other| *other == kind);
        if let Some(count) = place.and_then(|place| self.counters.faults.0.get_mut(place)) {
            *count += 1;
        }
    }

    /// A member shows a fault of another.
    pub(crate) fn handle_fraud_proof(&mut self, from: MemberIndex, evidence: Evidence) {
        let Some(member) = accused(&evidence, &self.committee) else {
            self.counters.refused += 1;
            return;
        };
        let is_news = self.is_news_of(member, &evidence) && !self.chain.final_league().is_banned(member);
        if is_news || self.is_open_claim(&evidence) {
            self.weigh(from, member, evidence);
        }
    }

    /// Whether nothing is known of a member that weighs as much: what all can judge outweighs a fault of state.
    fn is_news_of(&self, member: MemberIndex, evidence: &Evidence) -> bool {
        let held = self.accusations.by_member.get(&member).map(Evidence::kind);
        held.is_none_or(|held| held == FaultKind::State && evidence.kind() != FaultKind::State)
    }

    fn weigh(&mut self, from: MemberIndex, member: MemberIndex, evidence: Evidence) {
        let is_state = evidence.kind() == FaultKind::State;
        if is_state && self.accusations.liars.contains(&from) {
            self.counters.refused += 1;
            return;
        }
        match self.is_proven(&evidence) {
            Some(true) => self.accuse(evidence),
            None if self.is_recent(&evidence) && self.committee.is_voter(from) => {
                let doubts = self.accusations.doubtful.entry(member).or_default();
                doubts.insert(from, evidence);
            }
            verdict => {
                self.counters.refused += 1;
                if is_state && verdict == Some(false) {
                    self.accusations.liars.insert(from);
                }
            }
        }
    }

    /// Members whose blocks a proposal leaves out, and whose blocks nobody here misses: suspects, and who is in doubt.
    pub(crate) fn left_out(&self) -> BTreeSet<MemberIndex> {
        let members = self.accusations.doubtful.keys().copied();
        let doubtful = members.filter(|member| self.is_left_out(*member));
        self.accusations.suspects().into_iter().chain(doubtful).collect()
    }

    pub(crate) fn is_left_out(&self, member: MemberIndex) -> bool {
        let doubts = self.accusations.doubtful.get(&member).map_or(0, BTreeMap::len);
        self.accusations.is_suspect(member) || doubts > self.committee.faulty_max()
    }

    /// Whether replay bears out all evidence of a block on the tip; `None` while this voter cannot say. Its leader shows
    /// the faults by it: what holds is taken up here, whatever becomes of the block.
    pub(crate) fn bears_out(&mut self, block: &Block) -> Option<bool> {
        let leader = self.committee.leader(block.header.view);
        let mut all = Some(true);
        for record in &block.records {
            let Record::Evidence(evidence) = record else {
                continue;
            };
            match self.is_proven(evidence) {
                Some(true) => {}
                Some(false) => return Some(false),
                None => all = None,
            }
            self.handle_fraud_proof(leader, evidence.clone());
        }
        all
    }

    /// What this voter knows goes to a member again: the link may have lost it when it broke.
    pub(crate) fn send_accusations(&mut self, to: MemberIndex) {
        let known: Vec<Evidence> = self.accusations.by_member.values().cloned().collect();
        for evidence in known {
            self.effect(Effect::Send {
                to,
                message: PeerMessage::FraudProof(Box::new(evidence)),
                after: None,
            });
        }
    }

    /// Whether some voter may still judge a fault of state.
    fn is_recent(&self, evidence: &Evidence) -> bool {
        let Evidence::Transaction(shown) = evidence else {
            return true;
        };
        let (base, policy) = (shown.header.header.base_height.0, &self.config.epoch.policy);
        let height = self.chain.final_height().0;
        let reaches = base.saturating_add(policy.memory()) >= height && base <= height + policy.window;
        shown.fault != TxFault::State || reaches
    }

    fn is_open_claim(&self, evidence: &Evidence) -> bool {
        let Evidence::Transaction(forged) = evidence else {
            return false;
        };
        let hash = author_header_hash(&forged.header.header);
        forged.fault == TxFault::Signature
            && self.chain.archive.is_applied(&hash, forged.path.index)
            && !self.accusations.claims.contains_key(&(hash, forged.path.index))
    }

    /// Whether evidence shows a fault; `None` when it hangs on a state that is not at hand here.
    pub(crate) fn is_proven(&self, evidence: &Evidence) -> Option<bool> {
        let (scheme, epoch) = (self.config.scheme, &self.config.epoch);
        if evidence::verify(scheme, &self.context, &self.committee, epoch, evidence).is_err() {
            return Some(false);
        }
        match evidence {
            #[cfg(feature = "planted-bugs")]
            Evidence::Transaction(_)
                if self.config.planted == Some(crate::replica::Planted::EvidenceBelieved) =>
            {
                Some(true)
            }
            Evidence::Transaction(claimed) if claimed.fault == TxFault::State => {
                let hash = author_header_hash(&claimed.header.header);
                self.breaks_state(&hash, claimed.path.index, self.chain.tip_league())
            }
            _ => Some(true),
        }
    }

    /// Shows a fault of a transaction that is held here.
    pub(crate) fn accuse_of_transaction(&mut self, hash: &Hash, position: u32, fault: TxFault) {
        let Some(held) = self.pool.lately(hash) else {
            return;
        };
        let Some(checked) = held.ready() else { return };
        let shown = evidence::of_transaction(&held.header, checked.body.bytes(), position, fault);
        self.pool.set_faulty(hash);
        if let Some(shown) = shown {
            self.accuse(Evidence::Transaction(Box::new(shown)));
        }
    }

    /// Two headers of one position, if this one contradicts what is held.
    pub(crate) fn look_for_equivocation(&mut self, header: &SignedAuthorHeader) {
        let Some(index) = self.groups().index(header.header.group) else {
            return;
        };
        if !self.groups().is_seat(index) {
            return;
        }
        let other = self.pool.lately_at(index, header.header.seq);
        let two = other.and_then(|other| evidence::of_headers(&other.header, header));
        if let Some(two) = two {
            self.accuse(Evidence::Headers(Box::new(two)));
        }
    }

    /// Evidence for the next block on a parent. Voters who cannot judge what hangs on a state, as after a restart, could
    /// stop every view: so it goes in only while it can be judged, and in no view after the one in which this voter
    /// proposed it first. By then it is known to all, and its author left out by who cannot judge.
    pub(crate) fn choose_evidence(&self, parent: &League, slot: &Slot) -> Vec<Record> {
        let height = slot.height;
        let judged = |member: &MemberIndex, evidence: &Evidence| {
            let proposed = self.accusations.proposed.get(member);
            evidence.kind() != FaultKind::State
                || proposed.is_none_or(|view| *view == slot.view) && self.is_proven(evidence) == Some(true)
        };
        let against = self.accusations.by_member.iter();
        let against =
            against.filter(|(member, evidence)| !parent.is_banned(**member) && judged(member, evidence));
        let claims = self.accusations.claims.values().filter(|evidence| {
            matches!(evidence, Evidence::Transaction(forged) if self.is_due_claim(forged, parent, height))
        });
        let mut bytes = 0;
        let mut records: Vec<Record> = against
            .map(|(_, evidence)| evidence)
            .chain(claims)
            .map(|evidence| Record::Evidence(evidence.clone()))
            .take(PER_BLOCK_MAX)
            .take_while(|record| {
                bytes += record.to_bytes().len();
                bytes <= PER_BLOCK_BYTES_MAX
            })
            .collect();
        records.sort_by_cached_key(Record::order);
        records.dedup();
        records
    }

    /// Whether a forged transaction of an author that `parent` has banned may be claimed by the block of `height` on it.
    pub(crate) fn is_due_claim(&self, forged: &TxEvidence, parent: &League, height: Height) -> bool {
        let hash = author_header_hash(&forged.header.header);
        let author = self.committee.member_of(forged.header.header.author);
        author.is_some_and(|author| parent.is_banned(author))
            && self.chain.archive.is_claimable(forged, height)
            && !parent.is_claimed(&hash, forged.path.index)
    }

    /// Judges once more what could not be judged, and forgets what nobody can judge any more.
    pub(crate) fn judge_again(&mut self) {
        for (member, doubts) in std::mem::take(&mut self.accusations.doubtful) {
            for (from, evidence) in doubts {
                if self.is_news_of(member, &evidence) && !self.chain.final_league().is_banned(member) {
                    self.weigh(from, member, evidence);
                }
            }
        }
        let mut accusations = std::mem::take(&mut self.accusations);
        accusations
            .by_member
            .retain(|_, evidence| self.is_recent(evidence));
        let known = &accusations.by_member;
        accusations
            .proposed
            .retain(|member, _| known.contains_key(member));
        self.accusations = accusations;
    }

    /// What a final block's evidence asks of this voter: faults that are settled are forgotten, and the final blocks of
    /// a banned author are checked again.
    pub(crate) fn on_final_evidence(&mut self, block: &Block, before: &League) {
        for record in &block.records {
            let Record::Evidence(evidence) = record else {
                continue;
            };
            if let Evidence::Transaction(forged) = evidence {
                let hash = author_header_hash(&forged.header.header);
                self.accusations.claims.remove(&(hash, forged.path.index));
            }
            let Some(member) = accused(evidence, &self.committee) else {
                continue;
            };
            if before.is_banned(member) {
                continue;
            }
            let known = self.accusations.by_member.remove(&member);
            self.counters.slashed += 1;
            // The transaction that gave its author away may be final itself.
            for evidence in known.into_iter().chain([evidence.clone()]) {
                self.accuse_again(evidence);
            }
            self.queue_rechecks(member);
        }
        if self.accusations.claims.len() < CLAIMS_MAX / 2 && !self.accusations.deferred.is_empty() {
            let deferred = std::mem::take(&mut self.accusations.deferred);
            self.accusations.rechecks.extend(deferred);
            self.go_on_rechecking();
        }
    }

    fn accuse_again(&mut self, evidence: Evidence) {
        if self.is_open_claim(&evidence) {
            self.accuse(evidence);
        }
    }

    /// Final blocks of a banned author are checked again in full, each by some of the voters.
    pub(crate) fn queue_rechecks(&mut self, author: MemberIndex) {
        if !self.committee.is_voter(self.config.me) {
            return;
        }
        let me = self.config.me;
        let mine = |hash: &&Hash| {
            let mut ranks: Vec<(Hash, MemberIndex)> = (0..self.committee.voters)
                .map(MemberIndex)
                .filter_map(|member| {
                    let (id, _) = self.committee.members.get(usize::from(member.0))?;
                    Some((recheck_rank(hash, *id), member))
                })
                .collect();
            ranks.sort_unstable();
            ranks.iter().take(OVERLAP).any(|(_, member)| *member == me)
        };
        let hashes: Vec<Hash> = self.chain.archive.of(author).filter(mine).copied().collect();
        self.accusations.rechecks.extend(hashes);
        self.go_on_rechecking();
    }

    fn go_on_rechecking(&mut self) {
        while self.accusations.rechecking < RECHECKS_MAX
            && let Some(hash) = self.accusations.rechecks.pop_front()
        {
            self.accusations.rechecking += 1;
            self.counters.rechecked += 1;
            self.effect(Effect::Recheck { hash });
        }
    }

    /// A final block of a slashed author was checked again.
    pub(crate) fn handle_rechecked(&mut self, forged: Vec<TxEvidence>) {
        self.accusations.rechecking = self.accusations.rechecking.saturating_sub(1);
        for forged in forged {
            self.accuse(Evidence::Transaction(Box::new(forged)));
        }
        self.go_on_rechecking();
    }
}
