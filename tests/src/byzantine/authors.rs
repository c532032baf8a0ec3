//! Cheating candidates and leaders of two leagues. A candidate's replica runs as everybody's does and believes what it
//! is handed, so that forged transactions get into its blocks; what leaves it is spoiled here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use crypto::{body, cosign, hash, merkle};
use ledger::Utxo;
use types::block::{AuthorHeader, Block, MODE_TWO_LEAGUES, SignedAuthorHeader};
use types::block_record::{Record, StandIn};
use types::evidence::{Evidence, TwoHeaders, TwoVotes, TxFault};
use types::message::{AuthorBlock, PeerMessage, Propose, Vote};
use types::transaction::TxView;
use types::{Amount, Hash, Height, MemberIndex, Owner, TxId};

use super::resign;
use crate::clients::{Draft, sign};
use crate::faults::{Fault, Options, Tally};
use crate::invariants::model::Model;
use crate::league::{Cheat, LeagueOptions};
use crate::rng::SimRng;
use crate::setup::Setup;

/// Blocks and messages remembered.
const KEPT_MAX: usize = 256;

/// What a block is replaced by.
#[derive(Clone, Debug)]
enum Spoiled {
    /// It is as its author's replica made it.
    Not,
    /// Everybody gets this one.
    ForAll(AuthorBlock),
    /// Some get this one.
    ForSome(AuthorBlock),
    /// Some get the header alone.
    Withheld,
    /// It leaves later.
    Late,
}

/// A message with its sender and its receiver.
type Sent = (MemberIndex, MemberIndex, PeerMessage);

/// All candidates that lie, and the leaders that help them.
#[derive(Debug)]
pub struct Cheats {
    options: LeagueOptions,
    voters: u16,
    members: u16,
    liars: BTreeSet<MemberIndex>,
    spoiled: BTreeMap<Hash, Spoiled>,
    late: VecDeque<Sent>,
    mute: BTreeSet<MemberIndex>,
    /// Who gets the worse part.
    side: BTreeSet<MemberIndex>,
    /// Records without cause that leaders put into proposals, by what their replicas proposed.
    misled: BTreeMap<Hash, Record>,
    /// Honest votes seen.
    votes: VecDeque<Vote>,
    /// How often they cheated.
    pub told: Tally,
}

impl Cheats {
    /// The cheats of a run; none with one league.
    #[must_use]
    pub fn new(options: &Options) -> Option<Self> {
        Some(Self {
            options: options.leagues.clone()?,
            voters: options.validators,
            members: options.members(),
            liars: options.liars.clone(),
            spoiled: BTreeMap::new(),
            late: VecDeque::new(),
            mute: BTreeSet::new(),
            side: BTreeSet::new(),
            misled: BTreeMap::new(),
            votes: VecDeque::new(),
            told: Tally::default(),
        })
    }

    fn does(&self, cheat: Cheat) -> bool {
        self.options.cheats.contains(&cheat)
    }

    fn tell(&mut self, cheat: Cheat) {
        self.told.count(Fault::Cheat(cheat));
    }

    /// A message reaches a liar.
    pub fn hear(&mut self, message: &PeerMessage) {
        if let PeerMessage::Vote(vote) = message {
            self.votes.push_back(vote.clone());
            if self.votes.len() > KEPT_MAX {
                self.votes.pop_front();
            }
        }
    }

    /// A lying candidate's replica sends a message: what goes out in its place.
    pub fn speak(
        &mut self,
        rng: &mut SimRng,
        (setup, model): (&Setup, &Model),
        (from, to): (MemberIndex, MemberIndex),
        message: PeerMessage,
    ) -> Vec<PeerMessage> {
        if self.mute.contains(&from) {
            self.tell(Cheat::Mute);
            return Vec::new();
        }
        let PeerMessage::AuthorBlock(block) = message else {
            return vec![message];
        };
        let hash = hash::author_header_hash(&block.header.header);
        let (own, _) = setup.committee().members[usize::from(from.0)];
        if block.header.header.author != own {
            return vec![PeerMessage::AuthorBlock(block)];
        }
        if !self.spoiled.contains_key(&hash) {
            let spoiled = self.spoil(rng, setup, model, from, &block);
            self.spoiled.insert(hash, spoiled);
            while self.spoiled.len() > KEPT_MAX {
                self.spoiled.pop_first();
            }
        }
        let in_part = self.side.contains(&to);
        match self.spoiled.get(&hash).cloned() {
            Some(Spoiled::ForAll(other)) => vec![PeerMessage::AuthorBlock(other)],
            Some(Spoiled::ForSome(other)) if in_part => vec![PeerMessage::AuthorBlock(other)],
            Some(Spoiled::Withheld) if in_part => vec![PeerMessage::AuthorHeader(block.header)],
            Some(Spoiled::Late) if self.late.len() < KEPT_MAX => {
                self.late.push_back((from, to, PeerMessage::AuthorBlock(block)));
                Vec::new()
            }
            _ => vec![PeerMessage::AuthorBlock(block)],
        }
    }

    /// Decides once what becomes of a block.
    fn spoil(
        &mut self,
        rng: &mut SimRng,
        setup: &Setup,
        model: &Model,
        from: MemberIndex,
        block: &AuthorBlock,
    ) -> Spoiled {
        const WAYS: [Cheat; 7] = [
            Cheat::Encoding,
            Cheat::State,
            Cheat::TwoHeaders,
            Cheat::Group,
            Cheat::Withhold,
            Cheat::Late,
            Cheat::StaleBase,
        ];
        let ways: Vec<Cheat> = WAYS.into_iter().filter(|way| self.does(*way)).collect();
        let Some(way) = rng
            .pick(&ways)
            .copied()
            .filter(|_| rng.chance(self.options.spoiled))
        else {
            return Spoiled::Not;
        };
        let spoiled = match way {
            Cheat::Withhold => Some(Spoiled::Withheld),
            Cheat::Late => Some(Spoiled::Late),
            Cheat::TwoHeaders => {
                let mut header = block.header.header.clone();
                header.timestamp += 1;
                Some(Spoiled::ForSome(signed(setup, from, header, block.body.clone())))
            }
            Cheat::StaleBase => {
                let mut header = block.header.header.clone();
                header.base_height = Height(rng.below(header.base_height.0 + 1));
                Some(Spoiled::ForAll(signed(setup, from, header, block.body.clone())))
            }
            Cheat::Encoding => {
                let longer = self.with_fault(rng, setup, model, from, block, Cheat::State);
                longer
                    .and_then(|block| garbled(setup, from, &block))
                    .map(Spoiled::ForAll)
            }
            _ => self
                .with_fault(rng, setup, model, from, block, way)
                .map(Spoiled::ForAll),
        };
        if spoiled.is_some() {
            self.tell(way);
        }
        spoiled.unwrap_or(Spoiled::Not)
    }

    /// The block with one more transaction that breaks a rule of state, or of groups.
    fn with_fault(
        &self,
        rng: &mut SimRng,
        setup: &Setup,
        model: &Model,
        from: MemberIndex,
        block: &AuthorBlock,
        way: Cheat,
    ) -> Option<AuthorBlock> {
        let mut header = block.header.header.clone();
        let decoded = body::decode(&header, block.body.clone()).ok()?;
        let mut txs: Vec<(TxId, Bytes)> = decoded
            .txs()
            .map(|(txid, tx)| (txid, Bytes::copy_from_slice(tx.bytes())))
            .collect();
        let mut coin = model.random_coin(rng)?;
        if way == Cheat::Group {
            let strange = |coin: &Utxo| setup.group_of(&coin.owner, model.groups()) != header.group;
            let mut coins = (0..16).filter_map(|_| model.random_coin(rng));
            coin = coins.find(|(_, coin)| strange(coin))?;
        }
        let mut amount = coin.1.amount;
        let barred = model.barred_coin(rng, header.base_height);
        let barred = barred.filter(|(_, coin)| setup.group_of(&coin.owner, model.groups()) == header.group);
        if way == Cheat::Group {
            // Nothing but its owner is wrong.
        } else if let Some(barred) = barred {
            // Nothing but that the slow lane will spend it.
            coin = barred;
            amount = coin.1.amount;
        } else if rng.chance(500) {
            coin.0.txid.0[1] ^= 1;
        } else {
            amount = Amount(amount.0 + 1);
        }
        let draft = Draft {
            coins: vec![coin],
            outputs: vec![(rng.below(setup.accounts.len() as u64) as usize, amount)],
            fee: Amount(0),
        };
        let bad = sign(setup, &draft)?;
        if txs.iter().any(|(txid, _)| *txid == bad.0) {
            return None;
        }
        txs.push(bad);
        let (built, root) = body::build(&txs);
        header.tx_root = root;
        header.tx_count = built.len() as u32;
        header.body_bytes = built.bytes().len() as u32;
        Some(signed(setup, from, header, built.bytes().clone()))
    }

    /// What they say on their own; and who gets the worse part from now on.
    pub fn act(&mut self, rng: &mut SimRng, model: &Model) -> Vec<Sent> {
        if rng.chance(300) {
            let share = rng.between(200, 800);
            self.side = (0..self.members)
                .map(MemberIndex)
                .filter(|_| rng.chance(share))
                .collect();
        }
        let candidates: BTreeSet<_> = self
            .liars
            .iter()
            .copied()
            .filter(|liar| liar.0 >= self.voters)
            .collect();
        if self.does(Cheat::Mute) && rng.chance(if self.mute.is_empty() { 60 } else { 200 }) {
            let silent = self.mute.is_empty();
            self.mute = if silent { candidates } else { BTreeSet::new() };
        }
        let mut said = Vec::new();
        while rng.chance(700) {
            let at = rng.below(self.late.len() as u64) as usize;
            let Some(late) = self.late.remove(at) else { break };
            said.push(late);
        }
        if self.does(Cheat::FalseEvidence)
            && rng.chance(150)
            && let Some(evidence) = self.false_evidence(rng, model)
        {
            self.tell(Cheat::FalseEvidence);
            let liars: Vec<_> = self.liars.iter().copied().collect();
            let from = rng.pick(&liars).copied().unwrap_or_default();
            let receivers = (0..self.members).map(MemberIndex).filter(|to| *to != from);
            said.extend(receivers.map(|to| (from, to, PeerMessage::FraudProof(Box::new(evidence.clone())))));
        }
        said
    }

    /// A fault of which an honest member is accused, with a proof that proves nothing.
    fn false_evidence(&self, rng: &mut SimRng, model: &Model) -> Option<Evidence> {
        if rng.chance(150) {
            let first = rng
                .pick(&self.votes.iter().cloned().collect::<Vec<_>>())
                .cloned()?;
            let mut second = first.clone();
            second.subject.hash.0[0] ^= 1;
            let (first, second) = in_order(first, second, |vote| vote.subject.hash);
            return Some(Evidence::Votes(Box::new(TwoVotes { first, second })));
        }
        let block = model.random_block(rng)?;
        if rng.chance(150) {
            let first = block.header.clone();
            let mut second = first.clone();
            second.header.timestamp += 1;
            let (first, second) = in_order(first, second, |signed| hash::author_header_hash(&signed.header));
            return Some(Evidence::Headers(Box::new(TwoHeaders { first, second })));
        }
        let faults = [
            TxFault::Signature,
            TxFault::Encoding,
            TxFault::State,
            TxFault::Group,
        ];
        let fault = *rng.pick(&faults)?;
        let decoded = body::decode(&block.header.header, block.body.clone()).ok()?;
        let position = rng.below(decoded.len() as u64) as usize;
        let mut evidence =
            crypto::evidence::of_transaction(&block.header, &block.body, position as u32, fault)?;
        match rng.below(4) {
            0 => evidence.signatures[0] ^= 1,
            1 => evidence.body[30] ^= 1,
            _ => {}
        }
        Some(Evidence::Transaction(Box::new(evidence)))
    }

    /// A lying leader proposes: records without cause, or without those that are due.
    pub fn propose(
        &mut self,
        rng: &mut SimRng,
        (setup, model): (&Setup, &Model),
        from: MemberIndex,
        mut propose: Propose,
    ) -> Propose {
        if propose.view != propose.block.header.view {
            return propose;
        }
        let block = &mut propose.block;
        if self.does(Cheat::OmitEvidence) {
            let count = block.records.len();
            block
                .records
                .retain(|record| !matches!(record, Record::Evidence(_)));
            if block.records.len() < count {
                self.tell(Cheat::OmitEvidence);
                renew(setup, from, &mut propose);
                return propose;
            }
        }
        if self.does(Cheat::FalseRecord) {
            // All are told the same, else nobody would find enough voters.
            let hash = hash::final_header_hash(&block.header);
            if !self.misled.contains_key(&hash)
                && rng.chance(30)
                && let Some(record) = self.false_record(rng, model, block)
            {
                self.misled.insert(hash, record);
                while self.misled.len() > KEPT_MAX {
                    self.misled.pop_first();
                }
            }
            if let Some(record) = self.misled.get(&hash).cloned() {
                self.tell(Cheat::FalseRecord);
                block.records.push(record);
                block.records.sort_by_cached_key(Record::order);
                renew(setup, from, &mut propose);
            }
        }
        propose
    }

    fn false_record(&self, rng: &mut SimRng, model: &Model, block: &Block) -> Option<Record> {
        let record = match rng.below(4) {
            0 => Record::ModeSwitch(1 - block.header.mode),
            1 => Record::Evidence(self.false_evidence(rng, model)?),
            _ if model.groups() > 0 && block.header.mode == MODE_TWO_LEAGUES => Record::StandIn(StandIn {
                group: rng.below(model.groups().into()) as u16,
                member: MemberIndex(self.voters + rng.below(self.options.candidates.into()) as u16),
            }),
            _ => return None,
        };
        let order = record.order();
        (!block.records.iter().any(|other| other.order() == order)).then_some(record)
    }
}

/// A spend of one or two coins of owners in `of` whose signatures are wrong.
pub fn forged(
    rng: &mut SimRng,
    setup: &Setup,
    model: &Model,
    of: impl Fn(&Owner) -> bool,
) -> Option<(TxId, Bytes)> {
    let mut coins = Vec::new();
    for _ in 0..8 {
        let coin = model.random_coin(rng)?;
        if of(&coin.1.owner) && !coins.contains(&coin) {
            coins.push(coin);
        }
        if coins.len() == 2 || !coins.is_empty() && rng.chance(700) {
            break;
        }
    }
    let sum: u64 = coins.iter().map(|(_, utxo)| utxo.amount.0).sum();
    if sum == 0 {
        return None;
    }
    let accounts = setup.accounts.len() as u64;
    let draft = Draft {
        coins,
        outputs: vec![(rng.below(accounts) as usize, Amount(sum))],
        fee: Amount(0),
    };
    let (txid, bytes) = sign(setup, &draft)?;
    let mut bytes = bytes.to_vec();
    // The last owner's; with two owners the other one may be the thief.
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
    Some((txid, Bytes::from(bytes)))
}

fn in_order<T, K: Ord>(first: T, second: T, key: impl Fn(&T) -> K) -> (T, T) {
    if key(&first) <= key(&second) {
        (first, second)
    } else {
        (second, first)
    }
}

/// The block with a first transaction that breaks a rule of the format, under a root of its own.
fn garbled(setup: &Setup, from: MemberIndex, block: &AuthorBlock) -> Option<AuthorBlock> {
    let mut header = block.header.header.clone();
    let decoded = body::decode(&header, block.body.clone()).ok()?;
    let first = decoded.entries().first()?;
    let mut leaves = body::tx_leaves(&decoded);
    let mut bytes = block.body.to_vec();
    let start = first.offset as usize;
    let view = TxView::decode(&block.body[start..start + usize::from(first.len)]).ok()?;
    let unsigned = view.body().len();
    // Its first output is worth nothing: version, kind, counts, expiry, fee and nonce take 20 bytes (`ios` 1.4).
    let outputs = start + 20 + 32 * view.owner_count() + 35 * view.input_count();
    bytes[outputs + 32..outputs + 40].fill(0);
    let garbled = &bytes[start..start + usize::from(first.len)];
    let txid = hash::txid(&garbled[..unsigned]);
    leaves[0] = merkle::leaf(&[&txid.0[..], &garbled[unsigned..]].concat());
    header.tx_root = merkle::root(&leaves);
    Some(signed(setup, from, header, Bytes::from(bytes)))
}

fn signed(setup: &Setup, from: MemberIndex, header: AuthorHeader, body: Bytes) -> AuthorBlock {
    let signature = cosign::sign_author_header(&setup.keys[usize::from(from.0)], &header);
    AuthorBlock {
        header: SignedAuthorHeader { header, signature },
        body,
    }
}

fn renew(setup: &Setup, from: MemberIndex, propose: &mut Propose) {
    propose.block.header.evidence_root = merkle::records_root(&propose.block.records);
    resign(setup, from, propose);
}
