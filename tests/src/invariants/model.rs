//! No double spend, equal digests: the final chain replayed by an independent, naive ledger.
//!
//! It knows one rule: a transaction takes effect when its signatures are right, all its inputs are unspent at its
//! place in the chain and belong to its owners, and value is conserved. Exclusions, state changes and digests of
//! all nodes are compared with it. Of believable authors it takes the signatures as they are, as the voters do, and
//! remembers which of them are forged: who is robbed must be paid when the author is found out.

mod money;
mod seats;
mod views;

use std::collections::{BTreeMap, BTreeSet};

use crypto::{hash, merkle};
use ledger::{StateChanges, Utxo};
use types::block::{Block, BlockRef, BlockSeq, Body, GROUP_ONE_LEAGUE, MODE_TWO_LEAGUES};
use types::block_record::Record;
use types::evidence::{Evidence, TxFault};
use types::message::AuthorBlock;
use types::transaction::TxView;
use types::{Hash, Height, MemberIndex, OutPoint, TxId};

use self::money::{Delta, Forgery, Money};
pub use self::seats::accused;
use self::seats::{Lively, Seats};
use self::views::Views;
use super::{Checked, Violation};
use crate::league::LeagueSeen;
use crate::rng::SimRng;
use crate::setup::Setup;

/// A forged transaction in the final chain.
#[derive(Debug)]
struct Theft {
    forgery: Forgery,
    author: MemberIndex,
    height: Height,
}

/// A slow transaction that waits for its height.
#[derive(Debug)]
struct Slow {
    txid: TxId,
    bytes: Vec<u8>,
}

/// What became of a final author block.
#[derive(Debug)]
struct Included {
    excluded: Vec<u8>,
    txids: Vec<TxId>,
}

/// What a height did to promises of authors.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Author blocks that were included.
    pub included: Vec<Hash>,
    /// Groups and their runs that ended.
    pub ended: Vec<(u16, u16)>,
    /// Groups that were given to another author.
    pub handed: Vec<u16>,
    /// The height.
    pub height: Height,
    /// Whether the mode changed.
    pub switched: bool,
}

/// The naive ledger of the final chain.
#[derive(Debug)]
pub struct Model {
    height: Height,
    money: Money,
    seats: Seats,
    views: Views,
    applied: BTreeMap<TxId, Height>,
    bodies: BTreeMap<Hash, AuthorBlock>,
    included: BTreeMap<Hash, Included>,
    deltas: BTreeMap<Height, Delta>,
    slow: BTreeMap<Height, Vec<Slow>>,
    thefts: Vec<Theft>,
    /// When members were banned.
    bans: BTreeMap<MemberIndex, Height>,
    /// What happened of two leagues.
    pub seen: LeagueSeen,
}

impl Model {
    /// The state of genesis.
    #[must_use]
    pub fn new(setup: &Setup) -> Self {
        Self {
            height: Height(0),
            money: Money::new(&setup.context.genesis_hash, &setup.coins, setup.bonds),
            seats: Seats::new(setup),
            views: Views::default(),
            applied: BTreeMap::new(),
            bodies: BTreeMap::new(),
            included: BTreeMap::new(),
            deltas: BTreeMap::new(),
            slow: BTreeMap::new(),
            thefts: Vec::new(),
            bans: BTreeMap::new(),
            seen: LeagueSeen::default(),
        }
    }

    /// Highest height replayed.
    #[must_use]
    pub const fn height(&self) -> Height {
        self.height
    }

    /// Mode of that height.
    #[must_use]
    pub const fn mode(&self) -> u8 {
        self.seats.mode()
    }

    /// Whether a change of the mode is decided and not there yet.
    #[must_use]
    pub const fn is_switching(&self) -> bool {
        self.seats.is_switching()
    }

    /// Who authors a group.
    #[must_use]
    pub fn author(&self, group: u16) -> Option<MemberIndex> {
        self.seats.author(group)
    }

    /// Groups of two leagues; none with one.
    #[must_use]
    pub fn groups(&self) -> u16 {
        self.seats.groups()
    }

    /// Candidates that nothing was proven against.
    #[must_use]
    pub fn unslashed(&self) -> Vec<MemberIndex> {
        self.seats.unslashed().collect()
    }

    /// Whether a member was found to have cheated.
    #[must_use]
    pub fn is_banned(&self, member: MemberIndex) -> bool {
        self.bans.contains_key(&member)
    }

    /// Coins unspent at that height.
    #[must_use]
    pub fn coin_count(&self) -> usize {
        self.money.utxos.len()
    }

    /// Any of them.
    #[must_use]
    pub fn random_coin(&self, rng: &mut SimRng) -> Option<(OutPoint, Utxo)> {
        let at = rng.below(self.money.utxos.len() as u64) as usize;
        let mut coins = self.money.utxos.iter().skip(at);
        coins.next().map(|(outpoint, utxo)| (*outpoint, *utxo))
    }

    /// A coin that the slow lane bars for author blocks on a base, and that nothing has spent yet.
    #[must_use]
    pub fn barred_coin(&self, rng: &mut SimRng, base: Height) -> Option<(OutPoint, Utxo)> {
        let barred: Vec<OutPoint> = self.views.barred(base).collect();
        let outpoint = rng.pick(&barred)?;
        Some((*outpoint, *self.money.utxos.get(outpoint)?))
    }

    /// Height at which a transaction took effect.
    #[must_use]
    pub fn applied_at(&self, txid: &TxId) -> Option<Height> {
        self.applied.get(txid).copied()
    }

    /// Transaction at a position of an included author block.
    #[must_use]
    pub fn txid_at(&self, author_block: &Hash, position: usize) -> Option<TxId> {
        self.included.get(author_block)?.txids.get(position).copied()
    }

    /// Whether a transaction of an included author block took no effect.
    #[must_use]
    pub fn is_excluded(&self, author_block: &Hash, position: usize) -> bool {
        let included = self.included.get(author_block);
        included.is_some_and(|included| bit(&included.excluded, position))
    }

    /// Next position of a group's chain of author blocks, and the hash of the last one included.
    #[must_use]
    pub fn cursor(&self, group: u16) -> (BlockSeq, Hash) {
        self.seats.cursor(group)
    }

    /// An author block that a node has on record.
    pub fn on_author_block(&mut self, block: &AuthorBlock) {
        let hash = hash::author_header_hash(&block.header.header);
        self.bodies.entry(hash).or_insert_with(|| block.clone());
    }

    /// Any author block on record.
    #[must_use]
    pub fn random_block(&self, rng: &mut SimRng) -> Option<&AuthorBlock> {
        let at = rng.below(self.bodies.len() as u64) as usize;
        self.bodies.values().nth(at)
    }

    /// Thefts by authors that were found out since, and that no claim names yet, with the height of the ban.
    pub fn owed(&self) -> impl Iterator<Item = (TxId, Height)> + '_ {
        self.thefts.iter().filter_map(|theft| {
            let banned = *self.bans.get(&theft.author)?;
            let paid = self.money.claimed.contains(&theft.forgery.txid);
            (!paid).then_some((theft.forgery.txid, banned.max(theft.height)))
        })
    }

    /// Slow transactions that wait, and inputs that they bar.
    #[must_use]
    pub fn slow_open(&self) -> (usize, usize) {
        (self.slow.values().map(Vec::len).sum(), self.views.bars())
    }

    /// A block is final somewhere. None when its height was replayed before.
    ///
    /// # Errors
    /// When it skips a height, nobody has its bodies on record, it excludes other transactions than the rules do, or it
    /// decides what does not follow from the blocks before it.
    pub fn on_final(&mut self, setup: &Setup, block: &Block) -> Result<Option<Outcome>, Violation> {
        let header = &block.header;
        if header.height <= self.height {
            return Ok(None);
        }
        if header.height != self.height.next() {
            let detail = format!("height {} is final before {}", header.height, self.height.next());
            return Err(Violation::new("order of heights", detail));
        }
        self.money.begin();
        let before = self.seats.lively(header.height);
        let mut outcome = Outcome {
            switched: self.seats.enter(header.height),
            height: header.height,
            ..Outcome::default()
        };
        if header.mode != self.seats.mode() {
            let detail = format!("height {} says mode {}", header.height, header.mode);
            return Err(Violation::new("switch with cause", detail));
        }
        self.take_evidence(setup, block)?;
        self.take_refs(setup, block)?;
        outcome.included = block.refs.iter().map(|reference| reference.hash).collect();
        self.run_slow(header.height);
        self.take_records(setup, block, &before, &mut outcome)?;
        self.height = header.height;
        self.seen.believable_heights += u64::from(header.mode == MODE_TWO_LEAGUES);
        let delta = self.money.finish(header.height);
        let digest = delta.digest;
        self.deltas.insert(header.height, delta);
        if digest != header.state_digest {
            let detail = format!(
                "height {} certifies digest {}, the rules give {digest}",
                header.height, header.state_digest
            );
            return Err(Violation::new("equal digests", detail));
        }
        Ok(Some(outcome))
    }

    /// Evidence: bonds go, and the defrauded are paid.
    fn take_evidence(&mut self, setup: &Setup, block: &Block) -> Checked {
        let (committee, height) = (setup.committee(), block.header.height);
        let mut claims = Vec::new();
        for record in &block.records {
            let Record::Evidence(evidence) = record else {
                continue;
            };
            let Some(member) = accused(committee, evidence) else {
                let detail = format!("height {height} accuses nobody: {evidence:?}");
                return Err(Violation::new("no honest slashed", detail));
            };
            if setup.honest.contains(&member) {
                let detail = format!("height {height} slashes member {member}: {evidence:?}");
                return Err(Violation::new("no honest slashed", detail));
            }
            let banned_before = self.bans.get(&member).is_some_and(|at| *at < height);
            if self.seats.ban(member, height) {
                self.bans.insert(member, height);
                self.seen.slashes += 1;
                let bond = committee.bonds.get(usize::from(member.0));
                self.money.slash(bond.copied().unwrap_or_default());
            }
            if let Evidence::Transaction(evidence) = evidence
                && evidence.fault == TxFault::Signature
                && banned_before
            {
                let hash = hash::author_header_hash(&evidence.header.header);
                claims.push((hash, evidence.path.index as usize));
            }
        }
        for (hash, position) in claims {
            let txid = self.txid_at(&hash, position);
            let applied = txid.filter(|_| !self.is_excluded(&hash, position));
            let theft = self
                .thefts
                .iter()
                .find(|theft| applied == Some(theft.forgery.txid));
            let Some(theft) = theft.filter(|theft| is_settled(theft.height, height)) else {
                continue;
            };
            let again = self.money.claimed.contains(&theft.forgery.txid);
            let settled = self.money.settle(&theft.forgery, height);
            self.seen.claims += u64::from(!again);
            self.seen.seized += settled.seized;
            self.seen.paid += settled.paid;
            self.seen.unpaid += settled.unpaid;
        }
        Ok(())
    }

    fn take_refs(&mut self, setup: &Setup, block: &Block) -> Checked {
        let (committee, height) = (setup.committee(), block.header.height);
        let mut bitmaps = Vec::with_capacity(block.refs.len());
        for reference in &block.refs {
            let held = self.bodies.get(&reference.hash);
            let checked = held.and_then(|held| setup.check_alone(&held.header, &held.body));
            let (Some(held), Some(checked)) = (held, checked) else {
                let detail = format!("nobody has body {} of height {height} on record", reference.hash);
                return Err(Violation::new("final means durable", detail));
            };
            let header = held.header.header.clone();
            let bad: BTreeSet<u32> = checked.bad_signatures.iter().copied().collect();
            self.seats
                .include(committee, reference, (header.author, header.prev), height)?;
            let author = self.seats.author(reference.group).unwrap_or_default();
            let excluded = if reference.group < GROUP_ONE_LEAGUE {
                self.believe(
                    setup,
                    reference,
                    (author, header.base_height),
                    &checked.body,
                    &bad,
                    height,
                )?
            } else {
                self.replay(&checked.body, &bad, height)
            };
            let included = Included {
                excluded: excluded.clone(),
                txids: checked.body.entries().iter().map(|entry| entry.txid).collect(),
            };
            self.included.insert(reference.hash, included);
            bitmaps.push(excluded);
        }
        if merkle::excluded_root(&bitmaps) == block.header.excluded_root && bitmaps == block.excluded {
            return Ok(());
        }
        let detail = format!("height {height} excludes other transactions than the rules do");
        Err(Violation::new("no double spend", detail))
    }

    /// Bitmap of the excluded transactions of a body that every voter checked whole, empty when there are none.
    fn replay(&mut self, body: &Body, bad: &BTreeSet<u32>, height: Height) -> Vec<u8> {
        let mut bitmap = Vec::new();
        for (position, (txid, tx)) in body.txs().enumerate() {
            if bad.contains(&(position as u32)) || !self.money.is_payable(&tx) {
                exclude(&mut bitmap, position, body.len());
                self.views.exclude(txid);
                continue;
            }
            self.money.pay(txid, &tx, height);
            self.applied.insert(txid, height);
        }
        bitmap
    }

    /// The same for a believable author: signatures are believed, and what fails was right by the author's own view.
    fn believe(
        &mut self,
        setup: &Setup,
        reference: &BlockRef,
        (author, base): (MemberIndex, Height),
        body: &Body,
        bad: &BTreeSet<u32>,
        height: Height,
    ) -> Result<Vec<u8>, Violation> {
        let mut bitmap = Vec::new();
        for (position, (txid, tx)) in body.txs().enumerate() {
            let applies = self.money.is_payable(&tx);
            let duplicate = self.applied.contains_key(&txid);
            let fault = self
                .views
                .judge(&self.money, (author, base), (txid, &tx), applies || duplicate);
            if let Some(fault) = fault {
                let detail = format!(
                    "height {height}: {txid} at position {position} of {} by member {author} on base {base}: {fault}",
                    reference.hash
                );
                return Err(Violation::new("no fault of state is final", detail));
            }
            if !applies {
                exclude(&mut bitmap, position, body.len());
                if !duplicate {
                    self.views.exclude(txid);
                }
                continue;
            }
            if bad.contains(&(position as u32)) {
                self.seen.forged_final += 1;
                self.thefts.push(Theft {
                    forgery: forgery(setup, txid, &tx),
                    author,
                    height,
                });
            }
            self.money.pay(txid, &tx, height);
            self.applied.insert(txid, height);
            self.seen.believable_txs += 1;
        }
        Ok(bitmap)
    }

    /// Slow transactions whose height has come: their bars end, and they take effect when they still can.
    fn run_slow(&mut self, height: Height) {
        for slow in self.slow.remove(&height).unwrap_or_default() {
            self.views.unbar(&slow.txid);
            let Ok(tx) = TxView::decode(&slow.bytes) else {
                continue;
            };
            if self.money.is_payable(&tx) {
                self.money.pay(slow.txid, &tx, height);
                self.applied.insert(slow.txid, height);
                self.seen.slow_executed += 1;
            } else {
                self.seen.slow_failed += 1;
            }
        }
    }

    fn take_records(
        &mut self,
        setup: &Setup,
        block: &Block,
        before: &Lively,
        outcome: &mut Outcome,
    ) -> Checked {
        let height = block.header.height;
        for record in &block.records {
            match record {
                Record::StandIn(stand_in) => {
                    self.seen.stand_ins += 1;
                    outcome.handed.push(stand_in.group);
                }
                Record::ModeSwitch(MODE_TWO_LEAGUES) => self.seen.returns += 1,
                Record::ModeSwitch(_) => self.seen.fallbacks += 1,
                Record::SlowIntent(bytes) => self.announce(setup, bytes, height)?,
                Record::Evidence(_) | Record::Reset(_) | Record::AuthorReady(_) => {}
            }
        }
        outcome.ended = self.seats.take_records(block, before)?;
        Ok(())
    }

    /// Every voter has checked a slow transaction: its signatures, and that nothing bars its inputs.
    fn announce(&mut self, setup: &Setup, bytes: &[u8], height: Height) -> Checked {
        let fail = |what: &str| {
            let detail = format!("height {height} announces a slow transaction {what}");
            Err(Violation::new("slow lane by the rules", detail))
        };
        let Some(slow_heights) = setup
            .epoch
            .policy
            .leagues
            .as_ref()
            .map(|leagues| leagues.slow_heights)
        else {
            return fail("with one league");
        };
        let Ok(tx) = TxView::decode(bytes) else {
            return fail("that is none");
        };
        let txid = hash::txid(tx.body());
        let mut jobs = Vec::new();
        crypto::body::push_jobs(&txid, &tx, &setup.epoch.genesis_hash, &mut jobs);
        if !setup.verifier().verify(&jobs).is_good() {
            return fail("with a bad signature");
        }
        for input in tx.inputs() {
            if self.views.bar(input.outpoint, height, txid).is_some() {
                return fail("whose input another one bars");
            }
        }
        let slow = Slow {
            txid,
            bytes: bytes.to_vec(),
        };
        let due = Height(height.0 + slow_heights);
        self.slow.entry(due).or_default().push(slow);
        Ok(())
    }

    /// A node writes the changes of a height.
    ///
    /// # Errors
    /// When they are not the model's, or the digest is not the one that the final block certifies.
    pub fn on_state(&self, member: MemberIndex, changes: &StateChanges) -> Checked {
        let height = changes.height;
        let Some(delta) = self.deltas.get(&height) else {
            let detail = format!("member {member} writes the state of height {height}, which is not final");
            return Err(Violation::new("equal states", detail));
        };
        if delta.digest != changes.digest {
            let detail = format!("member {member} has digest {} at height {height}", changes.digest);
            return Err(Violation::new("equal digests", detail));
        }
        if delta.counters != changes.counters {
            let detail = format!(
                "member {member} counts {:?} at height {height}, the rules give {:?}",
                changes.counters, delta.counters
            );
            return Err(Violation::new("equal states", detail));
        }
        let (mut created, mut spent) = (changes.created.clone(), changes.spent.clone());
        let mut claimed = changes.claimed.clone();
        created.sort_unstable_by_key(|(outpoint, _)| *outpoint);
        spent.sort_unstable();
        claimed.sort_unstable();
        if created != delta.created || spent != delta.spent || claimed != delta.claimed {
            let detail =
                format!("member {member} changes other outputs at height {height} than the rules do");
            return Err(Violation::new("no double spend", detail));
        }
        Ok(())
    }

    /// What the final chain knows of a transaction that evidence speaks of: for reports of violations.
    #[must_use]
    pub fn history(&self, evidence: &Evidence) -> String {
        let Evidence::Transaction(claimed) = evidence else {
            return String::new();
        };
        let bytes = [&claimed.body[..], &claimed.signatures].concat();
        let Ok(tx) = TxView::decode(&bytes) else {
            return "it does not decode".into();
        };
        let txid = hash::txid(tx.body());
        let inputs: Vec<String> = tx
            .inputs()
            .map(|input| {
                let (outpoint, known) = (input.outpoint, self.money.known(&input.outpoint));
                format!("{}:{} {known:?}", outpoint.txid, outpoint.index)
            })
            .collect();
        let applied = self.applied.get(&txid);
        format!(
            "final height {}, {txid} took effect at {applied:?}, inputs {inputs:?}",
            self.height
        )
    }
}

/// A claim counts when the forgery lies so far below that every voter has it for final.
const fn is_settled(forged: Height, claimed: Height) -> bool {
    forged.0 + types::limits::WINDOW_MAX + 1 < claimed.0
}

/// Who is robbed by a transaction with bad signatures, and of how much: its value is shared by the number of inputs,
/// and the first robbed owner bears what rounding leaves.
fn forgery(setup: &Setup, txid: TxId, tx: &TxView<'_>) -> Forgery {
    let mut jobs = Vec::new();
    crypto::body::push_jobs(&txid, tx, &setup.epoch.genesis_hash, &mut jobs);
    let bad: BTreeSet<u32> = setup.verifier().verify(&jobs).bad.iter().copied().collect();
    let inputs = tx.input_count() as u128;
    let value = money::value_of(tx);
    let of_owner = |number: usize| {
        tx.inputs()
            .filter(|input| usize::from(input.owner) == number)
            .count() as u128
    };
    let mut victims: Vec<_> = tx
        .owners()
        .enumerate()
        .filter(|(number, _)| bad.contains(&(*number as u32)))
        .map(|(number, owner)| {
            (
                owner,
                (value * of_owner(number) / inputs) as u64,
                of_owner(number),
            )
        })
        .collect();
    let all: u128 = victims.iter().map(|(_, _, own)| own).sum();
    let shared: u64 = victims.iter().map(|(_, loss, _)| loss).sum();
    if let Some((_, loss, _)) = victims.first_mut() {
        *loss += (value * all / inputs) as u64 - shared;
    }
    Forgery {
        txid,
        outputs: tx.output_count() as u16,
        victims: victims
            .into_iter()
            .map(|(owner, loss, _)| (owner, loss))
            .collect(),
    }
}

fn exclude(bitmap: &mut Vec<u8>, position: usize, len: usize) {
    if bitmap.is_empty() {
        bitmap.resize(len.div_ceil(8), 0);
    }
    bitmap[position / 8] |= 1 << (position % 8);
}

fn bit(bitmap: &[u8], position: usize) -> bool {
    bitmap.get(position / 8).copied().unwrap_or(0) >> (position % 8) & 1 == 1
}
