//! Clients: transfers, chains, conflicts, copies, resubmission; and what they were answered.

mod answers;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use crypto::hash;
use ledger::Utxo;
use replica::Admission;
use types::block::MODE_TWO_LEAGUES;
use types::transaction::{Input, Output, TxDraft, TxView};
use types::{Amount, ConnectionId, MemberIndex, OutPoint, Owner, Tag, TxId};

pub use self::answers::Promised;
use crate::invariants::model::Model;
use crate::rng::SimRng;
use crate::setup::Setup;
use crate::torsion;

/// A transfer before it is signed.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Coins spent.
    pub coins: Vec<(OutPoint, Utxo)>,
    /// Receiving accounts and amounts.
    pub outputs: Vec<(usize, Amount)>,
    /// Fee.
    pub fee: Amount,
}

/// Signs a draft with the keys of its owners; none when an owner is no account.
#[must_use]
pub fn sign(setup: &Setup, draft: &Draft) -> Option<(TxId, Bytes)> {
    let owners: BTreeSet<Owner> = draft.coins.iter().map(|(_, utxo)| utxo.owner).collect();
    let owners: Vec<Owner> = owners.into_iter().collect();
    let mut inputs: Vec<Input> = draft
        .coins
        .iter()
        .map(|(outpoint, utxo)| Input {
            outpoint: *outpoint,
            owner: owners.iter().position(|owner| *owner == utxo.owner).unwrap_or(0) as u8,
        })
        .collect();
    inputs.sort_unstable_by_key(|input| input.outpoint);
    inputs.dedup_by_key(|input| input.outpoint);
    let outputs = draft.outputs.iter().filter_map(|(account, amount)| {
        Some(Output {
            owner: Owner(setup.accounts.get(*account)?.public()),
            amount: *amount,
        })
    });
    let body = TxDraft {
        fee: draft.fee,
        owners: owners.clone(),
        inputs,
        outputs: outputs.collect(),
        ..TxDraft::default()
    };
    let mut bytes = Vec::new();
    body.encode_body(&mut bytes);
    let txid = hash::txid(&bytes);
    let message = hash::sighash(&setup.epoch.genesis_hash, &txid);
    let with_torsion = u64::from(txid.0[0]) << 8 | u64::from(txid.0[1]);
    let with_torsion = with_torsion % 1000 < setup.torsion;
    for owner in &owners {
        let account = setup.accounts.iter().position(|key| key.public() == owner.0)?;
        let signature = if with_torsion {
            torsion::sign(setup.seeds.get(account)?, &message)
        } else {
            setup.accounts.get(account)?.sign(&message)
        };
        bytes.extend_from_slice(&signature.0);
    }
    Some((txid, Bytes::from(bytes)))
}

/// How a transaction is handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// To who authors.
    Fast,
    /// Of the lane that every voter checks.
    Slow,
}

/// A transaction on its way into a node.
#[derive(Debug)]
pub struct Handed {
    /// Who takes it.
    pub to: MemberIndex,
    /// As what.
    pub lane: Lane,
    /// The transaction.
    pub admission: Admission,
}

/// What clients saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Transactions handed to a node.
    pub submitted: u64,
    /// Tags answered final.
    pub finals: u64,
    /// Tags refused, any reason.
    pub refused: u64,
    /// Tags refused because another transaction spends the input.
    pub double_spends: u64,
    /// Tags whose connection broke before an answer.
    pub lost: u64,
}

#[derive(Debug)]
struct Connection {
    node: MemberIndex,
    next_tag: u32,
}

/// All clients.
#[derive(Debug, Default)]
pub struct Clients {
    connections: BTreeMap<ConnectionId, Connection>,
    next_connection: u64,
    pending: BTreeMap<(ConnectionId, Tag), TxId>,
    /// Transactions whose fate is unknown since their connection broke.
    lost: Vec<(TxId, Bytes)>,
    sent: BTreeMap<TxId, Bytes>,
    /// Coins that a transaction under way spends.
    reserved: BTreeSet<OutPoint>,
    /// Actions that go to the slow lane, of 1000.
    slow: u64,
    /// Counts.
    pub seen: Seen,
}

/// Transactions remembered for copies.
const SENT_MAX: usize = 256;
/// Tags in flight beyond which clients pause.
const PENDING_MAX: usize = 512;

impl Clients {
    /// Clients that use the slow lane so often, of 1000.
    #[must_use]
    pub fn new(slow: u64) -> Self {
        Self {
            slow,
            ..Self::default()
        }
    }

    /// Transactions for one node, or for several; `up` are nodes that run and take clients.
    pub fn act(&mut self, rng: &mut SimRng, setup: &Setup, model: &Model, up: &[MemberIndex]) -> Vec<Handed> {
        if self.pending.len() >= PENDING_MAX {
            return Vec::new();
        }
        let Some(node) = rng.pick(up).copied() else {
            return Vec::new();
        };
        let batch = match rng.below(100) {
            0..10 if !self.lost.is_empty() => {
                let at = rng.below(self.lost.len() as u64) as usize;
                vec![self.lost.swap_remove(at)]
            }
            0..20 => self.copy(rng),
            20..40 => self.conflict(rng, setup, model),
            40..60 => self.chain(rng, setup, model),
            _ => self.transfer(rng, setup, model).into_iter().collect(),
        };
        if batch.is_empty() {
            return Vec::new();
        }
        let split = batch.len() > 1 && rng.chance(300);
        let mut out = Vec::new();
        for (position, tx) in batch.into_iter().enumerate() {
            let to = if split && position % 2 == 1 {
                rng.pick(up).copied().unwrap_or(node)
            } else {
                node
            };
            let Some((to, lane)) = self.route(rng, (setup, model), up, to, &tx.1) else {
                continue;
            };
            let admission = self.submit(rng, setup, to, tx);
            out.extend(admission.map(|admission| Handed { to, lane, admission }));
        }
        out
    }

    /// Where a transaction goes: with two leagues to the author of its owner's group, seldom elsewhere. Without an
    /// author that runs it waits for better times, or takes the slow lane.
    fn route(
        &self,
        rng: &mut SimRng,
        (setup, model): (&Setup, &Model),
        up: &[MemberIndex],
        any: MemberIndex,
        bytes: &Bytes,
    ) -> Option<(MemberIndex, Lane)> {
        if model.mode() != MODE_TWO_LEAGUES {
            return Some((any, Lane::Fast));
        }
        let view = TxView::decode(bytes).ok()?;
        let groups: BTreeSet<u16> = view
            .owners()
            .map(|owner| setup.group_of(&owner, model.groups()))
            .collect();
        let author = groups.first().and_then(|group| model.author(*group));
        let author = author.filter(|author| up.contains(author));
        let alone = author.is_none() || groups.len() > 1;
        let slow = if alone { 3 * self.slow } else { self.slow };
        if rng.chance(slow) {
            return Some((any, Lane::Slow));
        }
        match author {
            Some(author) if !rng.chance(30) => Some((author, Lane::Fast)),
            _ => rng.chance(100).then_some((any, Lane::Fast)),
        }
    }

    fn copy(&self, rng: &mut SimRng) -> Vec<(TxId, Bytes)> {
        let at = rng.below(self.sent.len() as u64) as usize;
        self.sent
            .iter()
            .nth(at)
            .map(|(txid, bytes)| (*txid, bytes.clone()))
            .into_iter()
            .collect()
    }

    /// Two spends of one coin.
    fn conflict(&mut self, rng: &mut SimRng, setup: &Setup, model: &Model) -> Vec<(TxId, Bytes)> {
        let Some(coin) = model.random_coin(rng) else {
            return Vec::new();
        };
        let accounts = setup.accounts.len() as u64;
        let pay = |to: u64| {
            let draft = Draft {
                coins: vec![coin],
                outputs: vec![(to as usize, coin.1.amount)],
                fee: Amount(0),
            };
            sign(setup, &draft)
        };
        let first = rng.below(accounts);
        [pay(first), pay((first + 1) % accounts)]
            .into_iter()
            .flatten()
            .collect()
    }

    fn transfer(&mut self, rng: &mut SimRng, setup: &Setup, model: &Model) -> Option<(TxId, Bytes)> {
        let mut coins = Vec::new();
        let merge = model.coin_count() > 4 * setup.accounts.len();
        for _ in 0..if merge { 4 } else { 1 } {
            let coin = model.random_coin(rng)?;
            if self.reserved.insert(coin.0) {
                coins.push(coin);
            }
        }
        self.pay(rng, setup, coins).map(|(tx, _)| tx)
    }

    #[expect(clippy::type_complexity, reason = "a transaction and the coins that it makes")]
    fn pay(
        &self,
        rng: &mut SimRng,
        setup: &Setup,
        coins: Vec<(OutPoint, Utxo)>,
    ) -> Option<((TxId, Bytes), Vec<(OutPoint, Utxo)>)> {
        let sum: u64 = coins.iter().map(|(_, utxo)| utxo.amount.0).sum();
        if sum < 4 {
            return None;
        }
        let fee = rng.below(2);
        let first = rng.between(1, sum - fee);
        let accounts = setup.accounts.len() as u64;
        let mut outputs = vec![(rng.below(accounts) as usize, Amount(first))];
        if sum - fee > first {
            outputs.push((rng.below(accounts) as usize, Amount(sum - fee - first)));
        }
        let draft = Draft {
            coins,
            outputs: outputs.clone(),
            fee: Amount(fee),
        };
        let tx = sign(setup, &draft)?;
        let made = outputs.iter().enumerate().map(|(index, (account, amount))| {
            let outpoint = OutPoint {
                txid: tx.0,
                index: index as u16,
            };
            let utxo = Utxo {
                owner: Owner(setup.accounts[*account].public()),
                amount: *amount,
                created: types::Height(0),
            };
            (outpoint, utxo)
        });
        let made = made.collect();
        Some((tx, made))
    }

    /// A parent with its descendants, in any order.
    fn chain(&mut self, rng: &mut SimRng, setup: &Setup, model: &Model) -> Vec<(TxId, Bytes)> {
        let mut txs = Vec::new();
        let Some(coin) = model.random_coin(rng) else {
            return txs;
        };
        if !self.reserved.insert(coin.0) {
            return txs;
        }
        let mut coins = vec![coin];
        for _ in 0..rng.between(2, 4) {
            let Some((tx, made)) = self.pay(rng, setup, coins.clone()) else {
                break;
            };
            txs.push(tx);
            coins = made.into_iter().take(1).collect();
        }
        if rng.chance(500) {
            txs.reverse();
        }
        txs
    }

    /// Hands one transaction to a node as its ingress would: decoded, with its signatures verified.
    fn submit(
        &mut self,
        rng: &mut SimRng,
        setup: &Setup,
        node: MemberIndex,
        (txid, bytes): (TxId, Bytes),
    ) -> Option<Admission> {
        let view = TxView::decode(&bytes).ok()?;
        let mut jobs = Vec::new();
        crypto::body::push_jobs(&txid, &view, &setup.epoch.genesis_hash, &mut jobs);
        if !setup.verifier().verify(&jobs).is_good() {
            return None;
        }
        let open: Vec<ConnectionId> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.node == node)
            .map(|(id, _)| *id)
            .collect();
        let connection = match rng.pick(&open) {
            Some(connection) if open.len() > 1 || rng.chance(900) => *connection,
            _ => self.connect(node),
        };
        let held = self.connections.get_mut(&connection)?;
        let tag = Tag(held.next_tag);
        held.next_tag += 1;
        self.pending.insert((connection, tag), txid);
        self.seen.submitted += 1;
        self.sent.insert(txid, bytes.clone());
        if self.sent.len() > SENT_MAX {
            self.sent.pop_first();
        }
        Some(Admission {
            connection,
            tag,
            txid,
            bytes,
        })
    }

    fn connect(&mut self, node: MemberIndex) -> ConnectionId {
        self.next_connection += 1;
        let id = ConnectionId(self.next_connection);
        self.connections.insert(id, Connection { node, next_tag: 1 });
        id
    }

    /// A client goes away on its own; the node is told.
    pub fn hang_up(&mut self, rng: &mut SimRng, up: &[MemberIndex]) -> Option<(MemberIndex, ConnectionId)> {
        let ids: Vec<ConnectionId> = self.connections.keys().copied().collect();
        let id = *rng.pick(&ids)?;
        let node = self.connections.get(&id)?.node;
        up.contains(&node).then(|| {
            self.forget(|connection| connection == id);
            (node, id)
        })
    }

    /// A node is gone: its connections break, and what they wait for stays unknown.
    pub fn on_node_down(&mut self, node: MemberIndex) {
        let gone: BTreeSet<ConnectionId> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.node == node)
            .map(|(id, _)| *id)
            .collect();
        self.forget(|connection| gone.contains(&connection));
    }

    fn forget(&mut self, is_gone: impl Fn(ConnectionId) -> bool) {
        self.connections.retain(|id, _| !is_gone(*id));
        let broken: Vec<_> = self.pending.extract_if(.., |(id, _), _| is_gone(*id)).collect();
        for (_, txid) in broken {
            self.seen.lost += 1;
            if let Some(bytes) = self.sent.get(&txid) {
                self.lost.push((txid, bytes.clone()));
            }
        }
        // Coins under way may be free again.
        self.reserved.clear();
    }

    /// Tags that wait for an answer.
    #[must_use]
    pub fn waiting(&self) -> Vec<(ConnectionId, Tag, TxId, Option<MemberIndex>)> {
        self.pending
            .iter()
            .map(|((connection, tag), txid)| {
                let node = self.connections.get(connection).map(|held| held.node);
                (*connection, *tag, *txid, node)
            })
            .collect()
    }
}
