//! The auditor's own account of the two leagues: who authors what in which mode, who is banned, which runs are open, and
//! what records do to money. From the chain alone; it shares nothing with the nodes but the rules (`ios` 7.8, 7.9, 10).

use std::collections::{BTreeSet, HashMap, VecDeque};

use crypto::evidence;
use crypto::hash::{author_header_hash, sighash, txid};
use crypto::keys::Scheme;
use crypto::verify::verify_one;
use types::block::{Block, GROUP_ONE_LEAGUE, MODE_ONE_LEAGUE, MODE_TWO_LEAGUES};
use types::block_record::Record;
use types::evidence::{Evidence, TxEvidence, TxFault};
use types::genesis::{Committee, EpochConfig, SigningContext};
use types::limits::WINDOW_MAX;
use types::policy::Leagues;
use types::transaction::TxView;
use types::{Hash, Height, MemberIndex, Owner, TxId};

/// Heights over which authors and candidates have to show themselves (`ios` 10.2, 10.3).
const WATCHED: u64 = 16;
/// Heights between two switches of the mode at least.
const BETWEEN_SWITCHES: u64 = 64;
/// Heights without a block after which an author counts as silent (`ios` 7.12a).
const SILENT: u64 = 8;
/// Heights for which a final author block can be claimed against, and those that must lie on it before.
const CLAIMABLE: u64 = 20_000;
const SETTLED: u64 = WINDOW_MAX + 1;

/// A forged transaction that is paid for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) txid: TxId,
    pub(super) outputs: u16,
    /// Who lost how much.
    pub(super) victims: Vec<(Owner, u64)>,
}

/// What a block does besides the transactions of its references.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reactions {
    /// Bonds that are lost, with whose they are.
    pub(super) slashes: Vec<(MemberIndex, u64)>,
    pub(super) claims: Vec<Claim>,
    /// Slow transactions that are executed.
    pub(super) slow: Vec<(TxId, Vec<u8>)>,
}

/// A final author block of a seat.
#[derive(Debug)]
struct Archived {
    height: Height,
    excluded: Vec<u8>,
}

/// What one height showed.
#[derive(Debug, Default)]
struct Shown {
    seats: BTreeSet<u16>,
    ready: Vec<MemberIndex>,
}

/// The leagues of one shard after a height.
#[derive(Debug)]
pub(super) struct League {
    policy: Option<Leagues>,
    lag: u64,
    window: u64,
    voters: u16,
    candidates: Vec<MemberIndex>,
    height: Height,
    mode: u8,
    authors: Vec<Option<MemberIndex>>,
    last_shown: Vec<Height>,
    banned: BTreeSet<MemberIndex>,
    /// A decided switch: the mode and its first height.
    switch: Option<(u8, Height)>,
    last_switch: Height,
    shown: VecDeque<Shown>,
    slow: VecDeque<(Height, TxId, Vec<u8>)>,
    archive: HashMap<Hash, Archived>,
}

impl League {
    pub(super) fn new(epoch: &EpochConfig, committee: &Committee) -> Self {
        let policy = epoch.policy.leagues.clone();
        let seats = usize::from(epoch.policy.seats());
        Self {
            mode: if policy.is_some() {
                MODE_TWO_LEAGUES
            } else {
                MODE_ONE_LEAGUE
            },
            policy,
            lag: epoch.policy.lag,
            window: epoch.policy.window,
            voters: committee.voters,
            authors: (0..seats)
                .map(|seat| committee.candidates.get(seat).copied())
                .collect(),
            candidates: committee.candidates.clone(),
            height: Height(0),
            last_shown: vec![Height(0); seats],
            banned: BTreeSet::new(),
            switch: None,
            last_switch: Height(0),
            shown: VecDeque::new(),
            slow: VecDeque::new(),
            archive: HashMap::new(),
        }
    }

    /// Who authors a group in the mode of this height; `None` when nobody does.
    fn author(&self, group: u16) -> Option<MemberIndex> {
        match group.checked_sub(GROUP_ONE_LEAGUE) {
            Some(voter) if self.mode == MODE_ONE_LEAGUE && voter < self.voters => Some(MemberIndex(voter)),
            None if self.mode == MODE_TWO_LEAGUES => *self.authors.get(usize::from(group))?,
            _ => None,
        }
    }

    fn stand_in(&self) -> Option<MemberIndex> {
        let is_free =
            |member: &&MemberIndex| !self.banned.contains(*member) && !self.authors.contains(&Some(**member));
        self.candidates.iter().find(is_free).copied()
    }

    fn ready(&self) -> Vec<MemberIndex> {
        let reported = |member: &MemberIndex| self.shown.iter().any(|shown| shown.ready.contains(member));
        let members = self.candidates.iter().copied();
        members
            .filter(|member| !self.banned.contains(member) && reported(member))
            .collect()
    }

    /// The mode that the block after this height has to switch to, if it may switch.
    fn due_switch(&self, policy: &Leagues) -> Option<u8> {
        if self.switch.is_some() {
            return None;
        }
        let least = usize::from(policy.seats_min);
        let next = self.height.0 + 1;
        let is_settled = next.saturating_sub(WATCHED) >= BETWEEN_SWITCHES.max(self.last_switch.0 + WATCHED)
            && next >= self.last_switch.0 + BETWEEN_SWITCHES;
        if self.mode == MODE_ONE_LEAGUE {
            return (is_settled && self.ready().len() >= least).then_some(MODE_TWO_LEAGUES);
        }
        let unbanned = self
            .candidates
            .iter()
            .filter(|member| !self.banned.contains(*member));
        let live: BTreeSet<u16> = self.shown.iter().flat_map(|shown| shown.seats.clone()).collect();
        let is_due = unbanned.count() < least || (is_settled && live.len() < least);
        is_due.then_some(MODE_ONE_LEAGUE)
    }

    /// Goes to the next height: mode and bans of its block. Gives what its records do, and what is wrong with them.
    pub(super) fn begin(
        &mut self,
        block: &Block,
        epoch: &EpochConfig,
        committee: &Committee,
    ) -> (Reactions, Vec<String>) {
        let mut wrong = Vec::new();
        let (due_switch, due_slow) = match &self.policy {
            Some(policy) => (self.due_switch(policy), policy.slow_heights),
            None => (None, 0),
        };
        self.height = self.height.next();
        self.enter_mode();
        if block.header.mode != self.mode {
            wrong.push(format!(
                "mode {}, where the chain says {}",
                block.header.mode, self.mode
            ));
        }
        let mut reactions = Reactions::default();
        while let Some((from, _, _)) = self.slow.front()
            && from.0 + due_slow <= self.height.0
        {
            let executed = self.slow.pop_front();
            reactions
                .slow
                .extend(executed.map(|(_, txid, bytes)| (txid, bytes)));
        }
        for record in &block.records {
            match record {
                Record::Evidence(evidence) => {
                    if let Err(problem) = self.accuse(evidence, epoch, committee, &mut reactions) {
                        wrong.push(problem);
                    }
                }
                Record::ModeSwitch(mode) if due_switch != Some(*mode) => {
                    wrong.push(format!("a switch to mode {mode} that is not due"));
                }
                Record::StandIn(stand_in) => {
                    let seat = usize::from(stand_in.group);
                    let is_vacant = self.authors.get(seat).is_some_and(Option::is_none);
                    let is_silent = self
                        .last_shown
                        .get(seat)
                        .is_some_and(|last| last.0 + SILENT <= self.height.0);
                    let is_due = self.mode == MODE_TWO_LEAGUES
                        && (is_vacant || is_silent)
                        && self.stand_in() == Some(stand_in.member);
                    if !is_due {
                        wrong.push(format!("a stand-in for group {} that is not due", stand_in.group));
                    }
                }
                _ => {}
            }
        }
        for reference in &block.refs {
            if self.author(reference.group).is_none() {
                wrong.push(format!(
                    "a block of group {:#06x}, which nobody authors in mode {}",
                    reference.group, self.mode
                ));
            }
        }
        (reactions, wrong)
    }

    fn enter_mode(&mut self) {
        let Some((mode, from)) = self.switch else { return };
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

    /// Judges evidence again; whoever it shows is banned and loses the bond once, what it proves forged is claimed.
    fn accuse(
        &mut self,
        evidence: &Evidence,
        epoch: &EpochConfig,
        committee: &Committee,
        reactions: &mut Reactions,
    ) -> Result<(), String> {
        let context = SigningContext {
            genesis_hash: epoch.genesis_hash,
            epoch: epoch.epoch,
            shard: committee.shard,
            committee_hash: committee.hash,
        };
        let accused = evidence::verify(Scheme::Ed25519, &context, committee, epoch, evidence)
            .map_err(|error| format!("evidence that proves nothing: {error}"))?
            .member;
        if self.banned.insert(accused) {
            let bond = committee.bonds.get(usize::from(accused.0)).copied();
            reactions.slashes.push((accused, bond.unwrap_or_default()));
            for seat in 0..self.authors.len() {
                if self.authors[seat] == Some(accused) {
                    self.authors[seat] = None;
                    self.authors[seat] = self.stand_in();
                    self.last_shown[seat] = self.height;
                }
            }
        }
        // What bans claims nothing yet.
        let banned_here = reactions.slashes.iter().any(|(member, _)| *member == accused);
        if let Evidence::Transaction(evidence) = evidence
            && !banned_here
            && self.is_claimable(evidence)
        {
            reactions.claims.extend(claim(evidence, &epoch.genesis_hash));
        }
        Ok(())
    }

    fn is_claimable(&self, evidence: &TxEvidence) -> bool {
        let (hash, position) = (author_header_hash(&evidence.header.header), evidence.path.index);
        let applied = |excluded: &[u8]| {
            let byte = excluded.get(position as usize / 8).copied().unwrap_or_default();
            byte >> (position % 8) & 1 == 0
        };
        evidence.fault == TxFault::Signature
            && self.archive.get(&hash).is_some_and(|block| {
                block.height.0 + SETTLED < self.height.0
                    && block.height.0 + CLAIMABLE >= self.height.0
                    && applied(&block.excluded)
            })
    }

    /// Whether the author of a block that this height refers to is the one of its group.
    pub(super) fn is_author(&self, group: u16, member: Option<MemberIndex>) -> bool {
        member.is_some() && self.author(group) == member
    }

    /// Takes what the block leaves behind.
    pub(super) fn finish(&mut self, block: &Block) {
        let mut shown = Shown::default();
        for (reference, excluded) in block.refs.iter().zip(&block.excluded) {
            if let Some(last) = self.last_shown.get_mut(usize::from(reference.group)) {
                *last = self.height;
                shown.seats.insert(reference.group);
                let archived = Archived {
                    height: self.height,
                    excluded: excluded.clone(),
                };
                self.archive.insert(reference.hash, archived);
            }
        }
        for record in &block.records {
            match record {
                Record::StandIn(stand_in) => {
                    let seat = usize::from(stand_in.group);
                    if let Some(author) = self.authors.get_mut(seat) {
                        *author = Some(stand_in.member);
                        self.last_shown[seat] = self.height;
                    }
                }
                Record::ModeSwitch(mode) => {
                    let heights = if *mode == MODE_ONE_LEAGUE {
                        self.lag
                    } else {
                        self.window
                    };
                    self.switch = Some((*mode, Height(self.height.0 + heights + 1)));
                }
                Record::AuthorReady(ready) => shown.ready.push(ready.member),
                Record::SlowIntent(bytes) => {
                    if let Ok(view) = TxView::decode(bytes) {
                        self.slow
                            .push_back((self.height, txid(view.body()), bytes.clone()));
                    }
                }
                Record::Evidence(_) | Record::Reset(_) => {}
            }
        }
        self.shown.push_back(shown);
        if self.shown.len() as u64 > WATCHED {
            self.shown.pop_front();
        }
    }
}

/// Who lost what by a forged transaction: its value is shared among the owners whose signatures are bad, by the inputs
/// that each has; the first of them bears the rounding (`ios` 7.8).
fn claim(evidence: &TxEvidence, genesis: &Hash) -> Option<Claim> {
    let bytes = [&evidence.body[..], &evidence.signatures].concat();
    let view = TxView::decode(&bytes).ok()?;
    let txid = txid(view.body());
    let message = sighash(genesis, &txid);
    let inputs = view.inputs().count().max(1) as u128;
    let outgoing: u128 = view.outputs().map(|output| u128::from(output.amount.0)).sum();
    let value = outgoing + u128::from(view.fee().0);
    let (mut victims, mut shared, mut robbed) = (Vec::new(), 0, 0);
    for (number, (owner, signature)) in view.owners().zip(view.signatures()).enumerate() {
        if verify_one(&owner.0, &message, &signature) {
            continue;
        }
        let own = view
            .inputs()
            .filter(|input| usize::from(input.owner) == number)
            .count() as u128;
        let loss = u64::try_from(value * own / inputs).unwrap_or(u64::MAX);
        robbed += own;
        shared += u128::from(loss);
        victims.push((owner, loss));
    }
    let rest = (value * robbed / inputs).saturating_sub(shared);
    let (_, first) = victims.first_mut()?;
    *first = first.saturating_add(u64::try_from(rest).unwrap_or_default());
    Some(Claim {
        txid,
        outputs: view.output_count() as u16,
        victims,
    })
}
