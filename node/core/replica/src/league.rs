//! What the final chain says of the two leagues: who authors which group, how far each chain of author blocks is
//! included, who is banned, which mode holds (`ios` 7, 10).
//!
//! Invariant: a league is a function of the headers, references and records of its chain alone, never of bodies or of
//! what one validator has seen. So it can be computed again from the log, and every voter computes the same.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use types::block::{Block, BlockSeq, GROUP_ONE_LEAGUE, MODE_ONE_LEAGUE, MODE_TWO_LEAGUES};
use types::block_record::Record;
use types::evidence::{Evidence, TxFault};
use types::genesis::Committee;
use types::policy::{Leagues, Policy};
use types::transaction::TxView;
use types::{Hash, Height, MemberIndex, OutPoint, TxId};

use crate::pool::Cursor;

/// Heights over which authors and candidates have to show themselves (`ios` 10.2, 10.3).
pub(crate) const WATCHED: u64 = 16;
/// Heights between two switches of the mode at least (`ios` 10.2).
const BETWEEN_SWITCHES: u64 = 64;
/// Heights without an included block after which an author counts as silent (`ios` 7.12a).
const SILENT: u64 = 8;

/// Position of a group among all of a shard: the seats, then one for each voter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GroupIndex(pub(crate) u16);

/// The groups of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Groups {
    seats: u16,
    voters: u16,
}

impl Groups {
    pub(crate) fn new(committee: &Committee, policy: &Policy) -> Self {
        Self {
            seats: policy.seats(),
            voters: committee.voters,
        }
    }

    /// Those of one league, for tests.
    #[cfg(test)]
    pub(crate) const fn of_voters(voters: u16) -> Self {
        Self { seats: 0, voters }
    }

    pub(crate) const fn count(self) -> usize {
        (self.seats + self.voters) as usize
    }

    pub(crate) const fn seats(self) -> u16 {
        self.seats
    }

    /// The index of a group number as headers carry it.
    pub(crate) fn index(self, group: u16) -> Option<GroupIndex> {
        match group.checked_sub(GROUP_ONE_LEAGUE) {
            None if group < self.seats => Some(GroupIndex(group)),
            Some(voter) if voter < self.voters => Some(GroupIndex(self.seats + voter)),
            _ => None,
        }
    }

    /// The group number as headers carry it.
    pub(crate) const fn number(self, index: GroupIndex) -> u16 {
        if index.0 < self.seats {
            index.0
        } else {
            GROUP_ONE_LEAGUE + (index.0 - self.seats)
        }
    }

    pub(crate) const fn is_seat(self, index: GroupIndex) -> bool {
        index.0 < self.seats
    }

    /// The groups that author in a mode.
    pub(crate) fn of_mode(self, mode: u8) -> impl Iterator<Item = GroupIndex> {
        let range = if mode == MODE_TWO_LEAGUES {
            0..self.seats
        } else {
            self.seats..self.seats + self.voters
        };
        range.map(GroupIndex)
    }

    pub(crate) fn all(self) -> impl Iterator<Item = GroupIndex> {
        (0..self.seats + self.voters).map(GroupIndex)
    }
}

/// A transaction of the slow lane that waits for its height (`ios` 7.9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SlowIntent {
    /// Height that announced it.
    pub(crate) height: Height,
    pub(crate) txid: TxId,
    pub(crate) bytes: Vec<u8>,
    /// What it bars.
    pub(crate) inputs: Vec<OutPoint>,
}

/// What one height showed of the leagues.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Shown {
    /// Seats with a block, one bit each.
    seats: u64,
    /// Candidates that reported.
    ready: Vec<MemberIndex>,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct League {
    groups: Groups,
    /// Candidates in the order of the draw.
    candidates: Arc<[MemberIndex]>,
    height: Height,
    cursors: Vec<Cursor>,
    /// Who authors each seat; none when nobody is left.
    authors: Vec<Option<MemberIndex>>,
    /// Of each seat, the last height that included a block of it or that gave it to its author.
    last_shown: Vec<Height>,
    banned: BTreeSet<MemberIndex>,
    mode: u8,
    /// A decided switch: the mode, the height that decided it, the first height of the new mode.
    switch: Option<(u8, Height, Height)>,
    last_switch: Height,
    shown: VecDeque<Shown>,
    slow: VecDeque<Arc<SlowIntent>>,
    /// Slow transactions that were executed not long ago: what they barred is still judged.
    executed: VecDeque<Arc<SlowIntent>>,
    /// Positions in author blocks that were found forged after they were final.
    claimed: Arc<BTreeSet<(Hash, u32)>>,
    #[cfg(feature = "planted-bugs")]
    planted: Option<crate::replica::Planted>,
}

impl League {
    pub(crate) fn genesis(committee: &Committee, policy: &Policy, genesis_hash: Hash) -> Self {
        let groups = Groups::new(committee, policy);
        let start = Cursor {
            next: BlockSeq(0),
            last: genesis_hash,
        };
        let seats = usize::from(groups.seats);
        Self {
            groups,
            candidates: committee.candidates.clone().into(),
            height: Height(0),
            cursors: vec![start; groups.count()],
            authors: (0..seats)
                .map(|seat| committee.candidates.get(seat).copied())
                .collect(),
            last_shown: vec![Height(0); seats],
            banned: BTreeSet::new(),
            mode: if policy.leagues.is_some() {
                MODE_TWO_LEAGUES
            } else {
                MODE_ONE_LEAGUE
            },
            switch: None,
            last_switch: Height(0),
            shown: VecDeque::new(),
            slow: VecDeque::new(),
            executed: VecDeque::new(),
            claimed: Arc::default(),
            #[cfg(feature = "planted-bugs")]
            planted: None,
        }
    }

    #[cfg(feature = "planted-bugs")]
    pub(crate) const fn with_fault(mut self, planted: Option<crate::replica::Planted>) -> Self {
        self.planted = planted;
        self
    }

    pub(crate) const fn groups(&self) -> Groups {
        self.groups
    }

    /// Mode of this height.
    pub(crate) const fn mode(&self) -> u8 {
        self.mode
    }

    /// Mode of the next height.
    pub(crate) fn next_mode(&self) -> u8 {
        match self.switch {
            Some((mode, _, from)) if self.height.next() >= from => mode,
            _ => self.mode,
        }
    }

    /// Groups that author at this height.
    pub(crate) fn active(&self) -> impl Iterator<Item = GroupIndex> + use<> {
        self.groups.of_mode(self.mode)
    }

    /// Groups that author at the next height.
    pub(crate) fn next_active(&self) -> impl Iterator<Item = GroupIndex> + use<> {
        self.groups.of_mode(self.next_mode())
    }

    pub(crate) fn cursor(&self, index: GroupIndex) -> Cursor {
        self.cursors[usize::from(index.0)]
    }

    pub(crate) fn set_cursor(&mut self, index: GroupIndex, cursor: Cursor) {
        self.cursors[usize::from(index.0)] = cursor;
    }

    /// Who authors a group: the holder of the seat, or the voter itself.
    pub(crate) fn author(&self, index: GroupIndex) -> Option<MemberIndex> {
        if self.groups.is_seat(index) {
            self.authors.get(usize::from(index.0)).copied().flatten()
        } else {
            Some(MemberIndex(index.0 - self.groups.seats))
        }
    }

    /// The group that a member authors at the next height.
    pub(crate) fn group_of(&self, member: MemberIndex) -> Option<GroupIndex> {
        self.next_active()
            .find(|index| self.author(*index) == Some(member))
    }

    pub(crate) fn is_banned(&self, member: MemberIndex) -> bool {
        self.banned.contains(&member)
    }

    pub(crate) fn is_claimed(&self, block: &Hash, position: u32) -> bool {
        self.claimed.contains(&(*block, position))
    }

    pub(crate) fn slow(&self) -> impl Iterator<Item = &SlowIntent> {
        self.slow.iter().map(|intent| &**intent)
    }

    /// Slow transactions that the next height executes, in the order of their announcement.
    pub(crate) fn due_slow(&self, policy: &Leagues) -> impl Iterator<Item = &SlowIntent> {
        let height = self.height.next();
        self.slow()
            .filter(move |intent| intent.height.0 + policy.slow_heights == height.0)
    }

    /// The slow transaction that bars an input for author blocks of this base.
    pub(crate) fn bar_on(&self, input: &OutPoint, base: Height) -> Option<&SlowIntent> {
        self.slow()
            .find(|intent| base >= intent.height && intent.inputs.contains(input))
    }

    /// Whether an input was barred for author blocks of this base, maybe by a slow transaction that was executed since.
    pub(crate) fn was_barred(&self, policy: &Leagues, input: &OutPoint, base: Height, txid: &TxId) -> bool {
        let intents = self.slow.iter().chain(&self.executed);
        let mut bars = intents.filter(|intent| intent.inputs.contains(input) && intent.txid != *txid);
        bars.any(|intent| (intent.height.0..intent.height.0 + policy.slow_heights).contains(&base.0))
    }

    /// Highest base that a block may have at the next height: before a switch to one league takes effect, only blocks
    /// that did not know of it still come in (`ios` 10.2).
    pub(crate) fn base_max(&self) -> Height {
        match self.switch {
            Some((MODE_ONE_LEAGUE, decided, _)) if self.mode == MODE_TWO_LEAGUES => decided,
            _ => self.height,
        }
    }

    /// Whether a block with this height as its base can be included: not after one league was decided.
    pub(crate) fn takes_blocks(&self) -> bool {
        self.base_max() >= self.height
    }

    pub(crate) const fn is_switching(&self) -> bool {
        self.switch.is_some()
    }

    /// Whether the heights before the next one are far enough from genesis and from the last switch to be judged.
    fn is_settled(&self) -> bool {
        let next = self.height.0 + 1;
        let first_watched = next.saturating_sub(WATCHED);
        self.switch.is_none()
            && first_watched >= BETWEEN_SWITCHES.max(self.last_switch.0 + WATCHED)
            && next >= self.last_switch.0 + BETWEEN_SWITCHES
    }

    /// Whether the next height must or may switch, and to which mode (`ios` 10.2, 10.3).
    pub(crate) fn due_switch(&self, policy: &Leagues) -> Option<u8> {
        if self.switch.is_some() {
            return None;
        }
        let unslashed = self.candidates.iter().filter(|member| !self.is_banned(**member));
        let enough = unslashed.count() >= usize::from(policy.seats_min);
        match self.mode {
            MODE_TWO_LEAGUES if !enough => Some(MODE_ONE_LEAGUE),
            MODE_TWO_LEAGUES => {
                let dead = self.live_seats() < u32::from(policy.seats_min);
                (self.is_settled() && dead).then_some(MODE_ONE_LEAGUE)
            }
            _ => {
                let ready = self.ready().len() >= usize::from(policy.seats_min);
                (self.is_settled() && ready).then_some(MODE_TWO_LEAGUES)
            }
        }
    }

    /// Seats of which the watched heights included a block.
    pub(crate) fn live_seats(&self) -> u32 {
        self.shown
            .iter()
            .fold(0, |seats, shown| seats | shown.seats)
            .count_ones()
    }

    /// Whether no seat showed itself in the last height: then heights are made at full pace, so that the network soon
    /// knows whether it needs the other mode.
    pub(crate) fn is_quiet(&self) -> bool {
        self.mode == MODE_TWO_LEAGUES && self.shown.back().is_some_and(|shown| shown.seats == 0)
    }

    /// Unslashed candidates that reported in the watched heights, in the order of the draw.
    fn ready(&self) -> Vec<MemberIndex> {
        let reported = |member: &MemberIndex| self.shown.iter().any(|shown| shown.ready.contains(member));
        let members = self.candidates.iter().copied();
        members
            .filter(|member| !self.is_banned(*member) && reported(member))
            .collect()
    }

    /// Whether a candidate's report is in one of the last `heights`.
    pub(crate) fn reported_lately(&self, member: MemberIndex, heights: usize) -> bool {
        let mut last = self.shown.iter().rev().take(heights);
        last.any(|shown| shown.ready.contains(&member))
    }

    /// Whether a seat's author has shown nothing for long enough to be replaced.
    pub(crate) fn is_silent(&self, index: GroupIndex) -> bool {
        #[cfg(feature = "planted-bugs")]
        if self.planted == Some(crate::replica::Planted::StandInWithoutSilence) {
            return self.mode == MODE_TWO_LEAGUES;
        }
        self.mode == MODE_TWO_LEAGUES
            && self
                .last_shown
                .get(usize::from(index.0))
                .is_some_and(|last| last.0 + SILENT <= self.height.0)
    }

    /// The next unseated candidate in the order of the draw that may take a group.
    pub(crate) fn stand_in(&self) -> Option<MemberIndex> {
        let seated = |member: &MemberIndex| self.authors.contains(&Some(*member));
        let mut free = self.candidates.iter().copied();
        free.find(|member| !self.is_banned(*member) && !seated(member))
    }

    /// The league in which the next block is judged: a switch that takes effect, and its evidence, come first.
    #[must_use]
    pub(crate) fn begin(&self, records: &[Record], committee: &Committee) -> Self {
        let mut league = self.clone();
        league.height = self.height.next();
        league.enter_mode();
        for record in records {
            if let Record::Evidence(evidence) = record {
                league.take_evidence(evidence, self, committee);
            }
        }
        league
    }

    fn enter_mode(&mut self) {
        let Some((mode, _, from)) = self.switch else {
            return;
        };
        if self.height < from {
            return;
        }
        if mode == MODE_TWO_LEAGUES {
            let mut ready = self.ready().into_iter();
            for (author, last) in self.authors.iter_mut().zip(&mut self.last_shown) {
                *author = ready.next();
                *last = self.height;
            }
        }
        self.mode = mode;
        self.switch = None;
        self.last_switch = self.height;
    }

    /// Evidence against a member that `parent` has not banned bans it, and is no claim yet.
    fn take_evidence(&mut self, evidence: &Evidence, parent: &Self, committee: &Committee) {
        let Some(accused) = accused(evidence, committee) else {
            return;
        };
        if let Evidence::Transaction(evidence) = evidence
            && evidence.fault == TxFault::Signature
            && parent.is_banned(accused)
        {
            let hash = crypto::hash::author_header_hash(&evidence.header.header);
            Arc::make_mut(&mut self.claimed).insert((hash, evidence.path.index));
        }
        if !self.banned.insert(accused) {
            return;
        }
        #[cfg(feature = "planted-bugs")]
        if self.planted == Some(crate::replica::Planted::SlashWithoutBan) {
            return;
        }
        for seat in 0..self.authors.len() {
            if self.authors[seat] == Some(accused) {
                self.authors[seat] = None;
                self.authors[seat] = self.stand_in();
                self.last_shown[seat] = self.height;
            }
        }
    }

    /// The league after the block whose `begin` this is.
    #[must_use]
    pub(crate) fn finish(mut self, block: &Block, policy: &Policy) -> Self {
        let mut shown = Shown::default();
        for reference in &block.refs {
            let Some(index) = self.groups.index(reference.group) else {
                continue;
            };
            self.cursors[usize::from(index.0)] = Cursor {
                next: reference.seq.next(),
                last: reference.hash,
            };
            if self.groups.is_seat(index) {
                shown.seats |= 1 << index.0;
                self.last_shown[usize::from(index.0)] = self.height;
            }
        }
        if let Some(leagues) = &policy.leagues {
            let (height, heights) = (self.height.0, leagues.slow_heights);
            while let Some(intent) = self
                .slow
                .pop_front_if(|intent| intent.height.0 + heights == height)
            {
                self.executed.push_back(intent);
            }
            let kept = heights + policy.memory() + policy.window;
            while self
                .executed
                .pop_front_if(|intent| intent.height.0 + kept < height)
                .is_some()
            {}
        }
        for record in &block.records {
            self.take_record(record, policy, &mut shown);
        }
        self.shown.push_back(shown);
        if self.shown.len() as u64 > WATCHED {
            self.shown.pop_front();
        }
        self
    }

    fn take_record(&mut self, record: &Record, policy: &Policy, shown: &mut Shown) {
        match record {
            Record::Evidence(_) => {}
            Record::Reset(reset) => {
                if let Some(index) = self.groups.index(reset.group) {
                    self.cursors[usize::from(index.0)].next = BlockSeq::start_of(reset.run.saturating_add(1));
                }
            }
            Record::StandIn(stand_in) => {
                if let Some(author) = self.authors.get_mut(usize::from(stand_in.group)) {
                    *author = Some(stand_in.member);
                    self.last_shown[usize::from(stand_in.group)] = self.height;
                }
            }
            Record::ModeSwitch(mode) => {
                let heights = if *mode == MODE_ONE_LEAGUE {
                    policy.lag
                } else {
                    policy.window
                };
                self.switch = Some((*mode, self.height, Height(self.height.0 + heights + 1)));
            }
            Record::AuthorReady(ready) => shown.ready.push(ready.member),
            Record::SlowIntent(bytes) => {
                if let Ok(view) = TxView::decode(bytes) {
                    self.slow.push_back(Arc::new(SlowIntent {
                        height: self.height,
                        txid: crypto::hash::txid(view.body()),
                        inputs: view.inputs().map(|input| input.outpoint).collect(),
                        bytes: bytes.clone(),
                    }));
                }
            }
        }
    }

    /// The league after a block, without any judgement: for blocks that are final.
    #[must_use]
    pub(crate) fn after(&self, block: &Block, committee: &Committee, policy: &Policy) -> Self {
        self.begin(&block.records, committee).finish(block, policy)
    }
}

/// The member that evidence speaks of.
pub(crate) fn accused(evidence: &Evidence, committee: &Committee) -> Option<MemberIndex> {
    match evidence.author() {
        Some(author) => committee.member_of(author),
        None => evidence.voter().filter(|voter| committee.is_voter(*voter)),
    }
}
