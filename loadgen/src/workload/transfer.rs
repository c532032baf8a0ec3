//! Transfers inside a shard: coins are used again once they have settled, so that a run never dries up.

use std::collections::{HashMap, VecDeque};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use types::transaction::Output;
use types::{Amount, MemberIndex, OutPoint, Owner, ShardId, TxId};

use super::graph::{Payment, Spend};
use super::{Graph, InvalidKind, InvalidShares, Network, WorkloadSpec};
use crate::arena::{ArenaError, Expect};
use crate::wallet::Wallet;

const OWNERS_MAX: usize = types::limits::OWNERS_MAX;

/// A number of inputs or outputs: fixed, or drawn evenly from a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Smallest.
    pub min: u8,
    /// Largest.
    pub max: u8,
}

impl Span {
    /// Always `count`.
    #[must_use]
    pub const fn exactly(count: u8) -> Self {
        Self {
            min: count,
            max: count,
        }
    }

    /// Middle of the range.
    #[must_use]
    pub fn mean(&self) -> f64 {
        f64::from(u16::from(self.min) + u16::from(self.max)) / 2.0
    }
}

/// Shape of generated transfers. Fees are 0.
///
/// The first coin decides the payer; further inputs are its own coins where it has some, else coins of other owners
/// of the shard. The last output is change to the payer when there is more than one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferShape {
    /// Inputs, 1 to 64. Fewer are taken when fewer coins have settled.
    pub inputs: Span,
    /// Outputs, 1 to 64. Fewer are made of a sum that is smaller than their number.
    pub outputs: Span,
    /// Amount of each payment; `None` pays equal parts. Less is paid where the coins hold less.
    pub amount: Option<Amount>,
    /// Transactions that spend each the change of the one before, at least 1. Above 1 every transaction has change.
    pub chain_depth: u32,
    /// Shares of transactions that break a rule on purpose.
    pub invalid: InvalidShares,
    /// Share of transactions that spend the coins of the one before them in their shard again, parts per million up
    /// to half a million. What both of such a pair pay is not spent again: who wins is not known.
    pub conflicts_ppm: u32,
}

impl Default for TransferShape {
    fn default() -> Self {
        Self {
            inputs: Span::exactly(1),
            outputs: Span::exactly(2),
            amount: None,
            chain_depth: 1,
            invalid: InvalidShares::default(),
            conflicts_ppm: 0,
        }
    }
}

impl TransferShape {
    /// Refuses what cannot be built.
    ///
    /// # Errors
    /// Names the flag and what is accepted.
    pub fn validate(&self) -> Result<(), ArenaError> {
        let fits = |span: Span| (1..=64).contains(&span.min) && (span.min..=64).contains(&span.max);
        if !fits(self.inputs) {
            return Err(ArenaError::Shape("--inputs accepts N or A-B within 1 to 64"));
        }
        if !fits(self.outputs) {
            return Err(ArenaError::Shape("--outputs accepts N or A-B within 1 to 64"));
        }
        if self.amount == Some(Amount(0)) {
            return Err(ArenaError::Shape("--amount accepts 1 and more"));
        }
        if self.chain_depth == 0 {
            return Err(ArenaError::Shape("--chain-depth accepts 1 and more"));
        }
        if self.chain_depth > 1 && self.outputs.min < 2 {
            return Err(ArenaError::Shape(
                "--chain-depth above 1 needs --outputs of at least 2: the chain follows the change",
            ));
        }
        Ok(())
    }
}

/// Where a coin comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    /// Coin of the wallet, by position.
    Wallet(u32),
    /// Output of a transaction of this graph.
    Made { tx: u32, index: u16 },
}

#[derive(Clone, Copy, Debug)]
struct Coin {
    origin: Origin,
    account: u32,
    amount: u64,
    is_spent: bool,
}

impl Coin {
    const fn creator(&self) -> Option<u32> {
        match self.origin {
            Origin::Wallet(_) => None,
            Origin::Made { tx, .. } => Some(tx),
        }
    }
}

/// Coins of one shard by position in the list of all, oldest first.
#[derive(Debug, Default)]
struct Purse {
    payments: VecDeque<u32>,
    /// Change goes back to the author of its own payment, which takes a spend of it at once.
    changes: VecDeque<u32>,
    /// The change that an unfinished chain spends next, and how many transactions it still has.
    chain: Option<(u32, u32)>,
    /// A transaction whose coins the next one spends again.
    doubled: Option<Doubled>,
}

/// The first of two transactions that spend the same coins.
#[derive(Debug)]
struct Doubled {
    position: u32,
    coins: Vec<u32>,
}

struct Writer<'a> {
    shape: &'a TransferShape,
    spec: &'a WorkloadSpec<'a>,
    network: Network<'a>,
    wallet: &'a Wallet,
    random: ChaCha8Rng,
    coins: Vec<Coin>,
    purses: Vec<Purse>,
    /// Unspent coins by account; kept only when transactions have several inputs.
    by_account: HashMap<u32, Vec<u32>>,
    graph: Graph,
}

pub(super) fn write(
    shape: &TransferShape,
    spec: &WorkloadSpec<'_>,
    network: Network<'_>,
    wallet: &Wallet,
) -> Result<Graph, ArenaError> {
    shape.validate()?;
    let shards = network.accounts.shards();
    for shard in (0..shards).map(ShardId) {
        let accounts = network.accounts.of_shard(shard).len();
        if accounts < 2 {
            return Err(ArenaError::Accounts { shard, accounts });
        }
    }
    let count = spec.intended_ns.len();
    let (inputs, outputs) = (shape.inputs.mean(), shape.outputs.mean());
    let bytes = count as f64 * (22.0 + 131.0 * inputs + 40.0 * outputs);
    let mut writer = Writer {
        shape,
        spec,
        network,
        wallet,
        random: ChaCha8Rng::seed_from_u64(spec.seed),
        coins: Vec::with_capacity(wallet.coins().len() + count * usize::from(shape.outputs.max)),
        purses: (0..shards).map(|_| Purse::default()).collect(),
        by_account: HashMap::new(),
        graph: Graph::with_capacity(count, bytes as usize),
    };
    writer.fill();
    for position in 0..count as u32 {
        writer.write_one(position)?;
    }
    Ok(writer.graph)
}

impl Writer<'_> {
    /// Evenly from `0..bound`; 0 for a bound of 0.
    fn draw(&mut self, bound: u64) -> u64 {
        ((u128::from(self.random.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    fn draw_span(&mut self, span: Span) -> usize {
        let width = u64::from(span.max.saturating_sub(span.min)) + 1;
        if width == 1 {
            return usize::from(span.min);
        }
        usize::from(span.min) + self.draw(width) as usize
    }

    /// Takes the wallet's coins in an order drawn from the seed.
    fn fill(&mut self) {
        let mut order: Vec<u32> = (0..self.wallet.coins().len() as u32).collect();
        for last in (1..order.len()).rev() {
            let other = self.draw(last as u64 + 1) as usize;
            order.swap(last, other);
        }
        for position in order {
            let coin = self.wallet.coins()[position as usize];
            self.add(
                Coin {
                    origin: Origin::Wallet(position),
                    account: coin.account,
                    amount: coin.amount.0,
                    is_spent: false,
                },
                false,
            );
        }
    }

    fn add(&mut self, coin: Coin, is_change: bool) -> u32 {
        let position = self.coins.len() as u32;
        let shard = self.network.accounts.shard(coin.account).unwrap_or_default();
        let purse = &mut self.purses[usize::from(shard.0)];
        if is_change {
            purse.changes.push_back(position);
        } else {
            purse.payments.push_back(position);
        }
        if self.shape.inputs.max > 1 {
            self.by_account.entry(coin.account).or_default().push(position);
        }
        self.coins.push(coin);
        position
    }

    /// True when the creator's intended send lies the settle time or more before that of `position`.
    fn is_settled(&self, coin: u32, position: u32) -> bool {
        let Some(creator) = self.coins[coin as usize].creator() else {
            return true;
        };
        let sent = self.spec.intended_ns[creator as usize];
        sent.saturating_add(self.spec.settle_ns) <= self.spec.intended_ns[position as usize]
    }

    /// The oldest settled coin of a shard; without one the oldest change, and without that the oldest payment where
    /// `or_unsettled` allows it.
    fn take(&mut self, shard: usize, position: u32, or_unsettled: bool) -> Option<u32> {
        let purse = &mut self.purses[shard];
        for queue in [&mut purse.payments, &mut purse.changes] {
            while queue
                .front()
                .is_some_and(|coin| self.coins[*coin as usize].is_spent)
            {
                queue.pop_front();
            }
        }
        let (payment, change) = (purse.payments.front().copied(), purse.changes.front().copied());
        let settled = [payment, change]
            .into_iter()
            .flatten()
            .filter(|coin| self.is_settled(*coin, position))
            .min_by_key(|coin| (self.coins[*coin as usize].creator(), *coin));
        let unsettled = change.or(payment).filter(|_| or_unsettled);
        let taken = settled.or(unsettled)?;
        self.coins[taken as usize].is_spent = true;
        Some(taken)
    }

    /// An unspent coin of the same account that is settled, or whose creator went to the same member.
    fn take_own(&mut self, first: u32, position: u32) -> Option<u32> {
        let account = self.coins[first as usize].account;
        let member = self.member_of_creator(first);
        let list = self.by_account.get(&account)?;
        let taken = *list.iter().find(|coin| {
            !self.coins[**coin as usize].is_spent
                && (self.is_settled(**coin, position)
                    || (member.is_some() && member == self.member_of_creator(**coin)))
        })?;
        self.coins[taken as usize].is_spent = true;
        Some(taken)
    }

    fn member_of_creator(&self, coin: u32) -> Option<MemberIndex> {
        let creator = self.coins[coin as usize].creator()?;
        self.graph.entry(creator).map(|entry| entry.member)
    }

    fn write_one(&mut self, position: u32) -> Result<(), ArenaError> {
        let shard = position as usize % self.purses.len();
        if let Some(first) = self.purses[shard].doubled.take() {
            self.double(shard, position, &first);
            return Ok(());
        }
        if let Some(kind) = self.draw_invalid()
            && self.spoil(shard, position, kind)
        {
            return Ok(());
        }
        if self.draw_conflict(position)
            && let Some(coin) = self.take(shard, position, false)
        {
            let coins = self.gather(shard, position, coin);
            let twin = Expect::OneOf(position + self.purses.len() as u32);
            self.pay(shard, position, &coins, 1, twin);
            self.purses[shard].doubled = Some(Doubled { position, coins });
            return Ok(());
        }
        let chain = self.purses[shard].chain.take();
        let (first, left) = match chain {
            Some((coin, left)) => {
                self.coins[coin as usize].is_spent = true;
                (coin, left)
            }
            None => {
                let coin = self.take(shard, position, true).ok_or(ArenaError::OutOfCoins {
                    shard: ShardId(shard as u16),
                    position,
                })?;
                (coin, self.shape.chain_depth)
            }
        };
        let coins = self.gather(shard, position, first);
        self.pay(shard, position, &coins, left, Expect::Final);
        Ok(())
    }

    fn draw_invalid(&mut self) -> Option<InvalidKind> {
        if self.shape.invalid.total_ppm() == 0 {
            return None;
        }
        let drawn = self.draw(1_000_000);
        self.shape.invalid.at(drawn)
    }

    /// Whether a fresh transaction gets a second one: such that seconds have their share of all.
    fn draw_conflict(&mut self, position: u32) -> bool {
        let share = u64::from(self.shape.conflicts_ppm);
        let has_room = (position as usize) + self.purses.len() < self.spec.intended_ns.len();
        share > 0 && has_room && self.draw(1_000_000 - share) < share
    }

    /// Further coins for a transaction whose first one is taken.
    fn gather(&mut self, shard: usize, position: u32, first: u32) -> Vec<u32> {
        let mut taken = vec![first];
        let wanted = self.draw_span(self.shape.inputs);
        let mut accounts = vec![self.coins[first as usize].account];
        while taken.len() < wanted {
            let own = self.take_own(first, position);
            let next = own.or_else(|| {
                let has_room = accounts.len() < OWNERS_MAX;
                has_room.then(|| self.take(shard, position, false)).flatten()
            });
            let Some(next) = next else { break };
            let account = self.coins[next as usize].account;
            if !accounts.contains(&account) {
                accounts.push(account);
            }
            taken.push(next);
        }
        self.forget(&taken);
        taken
    }

    /// Writes a transaction that breaks a rule. It takes no coin away; false when there is none to name.
    fn spoil(&mut self, shard: usize, position: u32, kind: InvalidKind) -> bool {
        let purse = &self.purses[shard];
        let coin = [purse.payments.front(), purse.changes.front()]
            .into_iter()
            .flatten()
            .copied()
            .find(|coin| !self.coins[*coin as usize].is_spent && self.is_settled(*coin, position));
        let Some(coin) = coin else { return false };
        let (account, amount) = (
            self.coins[coin as usize].account,
            self.coins[coin as usize].amount,
        );
        let mut spend = self.spend(coin);
        let mut paid = amount;
        match kind {
            InvalidKind::Missing => {
                let mut bytes = [0; 32];
                self.random.fill_bytes(&mut bytes);
                spend.outpoint.txid = TxId(bytes);
            }
            InvalidKind::Value => paid = amount.saturating_add(1),
            InvalidKind::Signature | InvalidKind::Encoding => {}
        }
        let payee = self.draw_payee(shard, account);
        let mut payment = Payment {
            spends: vec![spend],
            outputs: vec![Output {
                owner: self.owner(payee),
                amount: Amount(paid),
            }],
            expect: Expect::Rejected(kind.reason()),
            // Two that name the same coin and payee are two transactions still.
            memo: position.to_le_bytes().to_vec(),
            ..Payment::default()
        };
        self.graph.push(&mut payment, self.network.epoch);
        true
    }

    /// Spends the coins of an earlier transaction again, in mode 1 at the next voter.
    fn double(&mut self, shard: usize, position: u32, first: &Doubled) {
        let voters = self
            .network
            .epoch
            .committees
            .get(shard)
            .map_or(1, |committee| committee.size());
        let member = self.graph.entry(first.position).map(|entry| entry.member);
        self.pay(shard, position, &first.coins, 1, Expect::OneOf(first.position));
        if let (Some(member), Some(entry)) = (member, self.graph.entries.last_mut()) {
            entry.member = MemberIndex((member.0 + 1) % voters.max(1) as u16);
        }
    }

    /// Drops spent coins from the index by account.
    fn forget(&mut self, taken: &[u32]) {
        if self.shape.inputs.max == 1 {
            return;
        }
        for coin in taken {
            let account = self.coins[*coin as usize].account;
            if let Some(list) = self.by_account.get_mut(&account) {
                list.retain(|kept| kept != coin);
            }
        }
    }

    fn pay(&mut self, shard: usize, position: u32, taken: &[u32], chain_left: u32, expect: Expect) {
        let payer = self.coins[taken[0] as usize].account;
        let sum: u64 = taken.iter().map(|coin| self.coins[*coin as usize].amount).sum();
        let count = (self.draw_span(self.shape.outputs) as u64).clamp(1, sum);
        let mut receipts = Vec::with_capacity(count as usize);
        let payments = if count == 1 { 1 } else { count - 1 };
        // Every payment of the same size, at least 1 left for the change.
        let most = if count == 1 { sum } else { (sum - 1) / payments };
        let each = match self.shape.amount {
            _ if count == 1 => sum,
            Some(amount) => amount.0.min(most),
            None => (sum / count).clamp(1, most),
        };
        for _ in 0..payments {
            receipts.push((self.draw_payee(shard, payer), each));
        }
        if count > 1 {
            receipts.push((payer, sum - each * payments));
        }
        let mut payment = Payment {
            spends: taken.iter().map(|coin| self.spend(*coin)).collect(),
            outputs: receipts
                .iter()
                .map(|(account, amount)| Output {
                    owner: self.owner(*account),
                    amount: Amount(*amount),
                })
                .collect(),
            parent: taken
                .iter()
                .filter_map(|coin| self.coins[*coin as usize].creator())
                .max(),
            // What has not settled is known to the author that took its creator.
            member: taken
                .iter()
                .find(|coin| !self.is_settled(**coin, position))
                .and_then(|coin| self.member_of_creator(*coin)),
            memo: match expect {
                // The second of a pair may draw the same payees.
                Expect::OneOf(other) if other < position => position.to_le_bytes().to_vec(),
                _ => Vec::new(),
            },
            expect,
            ..Payment::default()
        };
        self.graph.push(&mut payment, self.network.epoch);
        if expect != Expect::Final {
            return;
        }
        for (index, (account, amount)) in (0_u16..).zip(&receipts) {
            let coin = Coin {
                origin: Origin::Made { tx: position, index },
                account: *account,
                amount: *amount,
                is_spent: false,
            };
            let is_change = u64::from(index) == payments;
            let made = self.add(coin, is_change);
            if is_change && chain_left > 1 {
                self.purses[shard].chain = Some((made, chain_left - 1));
            }
        }
    }

    /// An account of the shard that is not the payer; there are at least two.
    fn draw_payee(&mut self, shard: usize, payer: u32) -> u32 {
        let accounts = self.network.accounts;
        let list = accounts.of_shard(ShardId(shard as u16));
        let drawn = self.draw(list.len() as u64) as usize;
        if list[drawn] == payer {
            list[(drawn + 1) % list.len()]
        } else {
            list[drawn]
        }
    }

    fn owner(&self, account: u32) -> Owner {
        self.network.accounts.owner(account).unwrap_or_default()
    }

    fn spend(&self, coin: u32) -> Spend {
        let coin = &self.coins[coin as usize];
        let outpoint = match coin.origin {
            Origin::Wallet(position) => self.wallet.coins()[position as usize].outpoint,
            Origin::Made { tx, index } => OutPoint {
                txid: self.graph.entries[tx as usize].txid,
                index,
            },
        };
        Spend {
            outpoint,
            owner: self.owner(coin.account),
        }
    }
}
