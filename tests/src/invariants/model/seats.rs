//! Who may author, by the final chain alone: seats, bans, silence, the mode. Each record of a final block must follow
//! from the blocks before it (`ios` 7.8, 7.12a, 10).

use std::collections::{BTreeMap, BTreeSet};

use types::block::{Block, BlockRef, BlockSeq, GROUP_ONE_LEAGUE, MODE_ONE_LEAGUE, MODE_TWO_LEAGUES};
use types::block_record::{Record, StandIn};
use types::evidence::Evidence;
use types::genesis::Committee;
use types::{Hash, Height, MemberIndex, ValidatorId};

use crate::invariants::{Checked, Violation};
use crate::league::{LIVELY_HEIGHTS, SWITCH_HEIGHTS};
use crate::setup::Setup;

/// Heights of silence after which a seat may be given away.
const SILENT_HEIGHTS: u64 = 8;

/// A switch that was decided: to which mode, and the first height of it.
#[derive(Clone, Copy, Debug)]
struct Switch {
    mode: u8,
    from: Height,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Seats {
    genesis: Hash,
    candidates: Vec<MemberIndex>,
    voters: u16,
    seats_min: u16,
    lag: u64,
    window: u64,
    mode: u8,
    switch: Option<Switch>,
    /// First heights of the modes that were switched to.
    switched: Height,
    authors: Vec<Option<MemberIndex>>,
    pub(super) banned: BTreeSet<MemberIndex>,
    /// Of each seat, the last height with a block of it, or that gave it away.
    shown: Vec<Height>,
    /// Of each seat, the last height with a block of it.
    lively: Vec<Option<Height>>,
    /// Of each candidate, the last height that held its report.
    ready: BTreeMap<MemberIndex, Height>,
    cursors: BTreeMap<u16, (BlockSeq, Hash)>,
}

impl Seats {
    pub(super) fn new(setup: &Setup) -> Self {
        let committee = setup.committee();
        let policy = &setup.epoch.policy;
        let leagues = policy.leagues.as_ref();
        let seats = usize::from(policy.seats());
        Self {
            genesis: setup.context.genesis_hash,
            candidates: committee.candidates.clone(),
            voters: committee.voters,
            seats_min: leagues.map_or(0, |leagues| leagues.seats_min),
            lag: policy.lag,
            window: policy.window,
            mode: if seats > 0 {
                MODE_TWO_LEAGUES
            } else {
                MODE_ONE_LEAGUE
            },
            switch: None,
            switched: Height(0),
            authors: (0..seats)
                .map(|seat| committee.candidates.get(seat).copied())
                .collect(),
            banned: BTreeSet::new(),
            shown: vec![Height(0); seats],
            lively: vec![None; seats],
            ready: BTreeMap::new(),
            cursors: BTreeMap::new(),
        }
    }

    pub(super) const fn mode(&self) -> u8 {
        self.mode
    }

    pub(super) const fn is_switching(&self) -> bool {
        self.switch.is_some()
    }

    /// Groups that author in two leagues.
    pub(super) fn groups(&self) -> u16 {
        self.authors.len() as u16
    }

    pub(super) fn author(&self, group: u16) -> Option<MemberIndex> {
        match group.checked_sub(GROUP_ONE_LEAGUE) {
            Some(member) => (member < self.voters).then_some(MemberIndex(member)),
            None => self.authors.get(usize::from(group)).copied().flatten(),
        }
    }

    /// Next position of a group's chain of author blocks, and the hash of the last one included.
    pub(super) fn cursor(&self, group: u16) -> (BlockSeq, Hash) {
        let start = (BlockSeq(0), self.genesis);
        self.cursors.get(&group).copied().unwrap_or(start)
    }

    /// Unslashed candidates.
    pub(super) fn unslashed(&self) -> impl Iterator<Item = MemberIndex> + '_ {
        let banned = |member: &MemberIndex| self.banned.contains(member);
        self.candidates
            .iter()
            .copied()
            .filter(move |member| !banned(member))
    }

    fn free(&self) -> impl Iterator<Item = MemberIndex> + '_ {
        self.unslashed()
            .filter(|member| !self.authors.contains(&Some(*member)))
    }

    /// What takes effect before anything of a block: a switch of the mode. True when one did.
    pub(super) fn enter(&mut self, height: Height) -> bool {
        let Some(switch) = self.switch.filter(|switch| height >= switch.from) else {
            return false;
        };
        if switch.mode == MODE_TWO_LEAGUES {
            let mut ready = self.ready(height).into_iter();
            for seat in 0..self.authors.len() {
                self.authors[seat] = ready.next();
                self.shown[seat] = height;
            }
        }
        self.mode = switch.mode;
        self.switch = None;
        self.switched = height;
        true
    }

    /// Unslashed candidates that reported in the heights watched before this one, in the order of the draw.
    fn ready(&self, height: Height) -> Vec<MemberIndex> {
        let reported = |member: &MemberIndex| {
            let at = self.ready.get(member);
            at.is_some_and(|at| at.0 + LIVELY_HEIGHTS >= height.0)
        };
        self.unslashed().filter(reported).collect()
    }

    /// A member is found to have cheated; its seat goes to the next candidate that has none. True the first time.
    pub(super) fn ban(&mut self, member: MemberIndex, height: Height) -> bool {
        if !self.banned.insert(member) {
            return false;
        }
        for seat in 0..self.authors.len() {
            if self.authors[seat] == Some(member) {
                self.authors[seat] = None;
                let next = self.free().next();
                self.authors[seat] = next;
                self.shown[seat] = height;
            }
        }
        true
    }

    /// A reference stands where its group's chain has come to, and is by the author of that group.
    pub(super) fn include(
        &mut self,
        committee: &Committee,
        reference: &BlockRef,
        (author, prev): (ValidatorId, Hash),
        height: Height,
    ) -> Checked {
        let group = reference.group;
        let believable = group < GROUP_ONE_LEAGUE;
        let fail = |what: &str| {
            let detail = format!("height {height}, group {group}, {:?}: {what}", reference.seq);
            Err(Violation::new("authors by the rules", detail))
        };
        if believable != (self.mode == MODE_TWO_LEAGUES) {
            return fail("the group does not author in this mode");
        }
        let member = committee.member_of(author);
        if member.is_none() || member != self.author(group) {
            return fail("the group is another member's");
        }
        if self.cursor(group) != (reference.seq, prev) {
            return fail("the block does not follow the last one of its group");
        }
        self.cursors.insert(group, (reference.seq.next(), reference.hash));
        if believable {
            self.shown[usize::from(group)] = height;
            self.lively[usize::from(group)] = Some(height);
        }
        Ok(())
    }

    /// Records after the references; evidence came before them. Returns the runs that end.
    pub(super) fn take_records(
        &mut self,
        block: &Block,
        before: &Lively,
    ) -> Result<Vec<(u16, u16)>, Violation> {
        let height = block.header.height;
        let mut ended = Vec::new();
        for record in &block.records {
            match record {
                Record::Evidence(_) | Record::SlowIntent(_) => {}
                Record::Reset(reset) => {
                    let (next, last) = self.cursor(reset.group);
                    if next.run() != reset.run {
                        let detail =
                            format!("height {height} ends run {} of group {}", reset.run, reset.group);
                        return Err(Violation::new("authors by the rules", detail));
                    }
                    ended.push((reset.group, reset.run));
                    let fresh = BlockSeq::start_of(reset.run + 1);
                    self.cursors.insert(reset.group, (fresh, last));
                }
                Record::StandIn(stand_in) => self.stand_in(stand_in, height, before)?,
                Record::ModeSwitch(mode) => self.decide(*mode, height, before)?,
                Record::AuthorReady(ready) => {
                    self.ready.insert(ready.member, height);
                }
            }
        }
        Ok(ended)
    }

    fn stand_in(&mut self, stand_in: &StandIn, height: Height, before: &Lively) -> Checked {
        let seat = usize::from(stand_in.group);
        let silent = before
            .shown
            .get(seat)
            .is_some_and(|shown| shown.0 + SILENT_HEIGHTS <= height.0);
        let free = self.free().any(|member| member == stand_in.member);
        // As after a return with fewer candidates than seats.
        let vacant = self.authors.get(seat).is_some_and(Option::is_none);
        if !(silent || vacant) || !free || self.mode != MODE_TWO_LEAGUES {
            let detail = format!(
                "height {height}: member {} gets group {}; silent {silent}, vacant {vacant}, free {free}",
                stand_in.member, stand_in.group
            );
            return Err(Violation::new("stand-in with cause", detail));
        }
        self.authors[seat] = Some(stand_in.member);
        self.shown[seat] = height;
        Ok(())
    }

    fn decide(&mut self, mode: u8, height: Height, before: &Lively) -> Checked {
        let rested =
            height.0 >= self.switched.0 + SWITCH_HEIGHTS && height.0 >= SWITCH_HEIGHTS + LIVELY_HEIGHTS;
        let few = self.unslashed().count() < usize::from(self.seats_min);
        let cause = match mode {
            MODE_ONE_LEAGUE => few || rested && before.lively < usize::from(self.seats_min),
            _ => rested && self.ready(height).len() >= usize::from(self.seats_min),
        };
        if !cause || mode == self.mode || self.switch.is_some() {
            let detail = format!(
                "height {height} decides mode {mode} in mode {}, {} lively seats, {} candidates, {} ready, last switch \
                 at {}",
                self.mode,
                before.lively,
                self.unslashed().count(),
                self.ready(height).len(),
                self.switched
            );
            return Err(Violation::new("switch with cause", detail));
        }
        let from = if mode == MODE_ONE_LEAGUE {
            height.0 + self.lag + 1
        } else {
            height.0 + self.window + 1
        };
        self.switch = Some(Switch {
            mode,
            from: Height(from),
        });
        Ok(())
    }

    /// What the chain shows before a height.
    pub(super) fn lively(&self, height: Height) -> Lively {
        let recent = |at: &&Option<Height>| at.is_some_and(|at| at.0 + LIVELY_HEIGHTS >= height.0);
        Lively {
            shown: self.shown.clone(),
            lively: self.lively.iter().filter(recent).count(),
        }
    }
}

/// What the heights before a block show of the authors.
#[derive(Debug)]
pub(super) struct Lively {
    shown: Vec<Height>,
    lively: usize,
}

/// The member that evidence speaks of.
#[must_use]
pub fn accused(committee: &Committee, evidence: &Evidence) -> Option<MemberIndex> {
    match evidence {
        Evidence::Votes(votes) => Some(votes.first.member),
        Evidence::Transaction(_) | Evidence::Headers(_) => committee.member_of(evidence.author()?),
    }
}
