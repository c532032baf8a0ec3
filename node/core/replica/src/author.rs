//! The author of one group: takes clients' transactions, cuts blocks of them, answers every tag once (`ios` 7.4, 10.3).
//!
//! In two leagues it is the holder of a seat, in one league every voter. It is closed until its run is known to be fresh:
//! from the start on an empty disk, or by a reset of its own.

use std::collections::BTreeMap;

use bytes::Bytes;
use crypto::keys::SecretKey;
use crypto::placement::group_of;
use crypto::{body, cosign, hash};
use ledger::{Ledger, Lookup};
use types::block::{AuthorHeader, BLOCK_VERSION, BlockSeq, Body, SignedAuthorHeader};
use types::block_record::ResetRequest;
use types::client::{Level, Receipts, TagAt, TxStatus};
use types::genesis::SigningContext;
use types::limits::INTAKE_TXS_MAX;
use types::policy::Policy;
use types::transaction::TxView;
use types::{
    Amount, ConnectionId, Hash, Height, OutPoint, Owner, Reject, Signature, Tag, Time, TxId, ValidatorId,
};

use crate::event::{Admission, status};
use crate::league::League;
use crate::parking::Parking;
use crate::pool::Cursor;

/// Bytes that an author may have unincluded; shared by the authors of the shard (`ios` 7.4).
const UNINCLUDED_BYTES: usize = 16 << 20;
const UNINCLUDED_BYTES_SHARED: usize = 48 << 20;
/// Transactions likewise.
const UNINCLUDED_TXS: usize = 65_536;
const UNINCLUDED_TXS_SHARED: usize = 196_608;

/// Where the answer for a transaction goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asker {
    pub(crate) connection: ConnectionId,
    pub(crate) tag: Tag,
    /// Own block that the transaction stands in, and where.
    place: Option<(BlockSeq, u16)>,
}

impl Asker {
    pub(crate) const fn new(connection: ConnectionId, tag: Tag) -> Self {
        Self {
            connection,
            tag,
            place: None,
        }
    }
}

/// What becomes of an admitted transaction.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// Waits for the next cut; its outputs can be spent by this author's next transactions.
    Taken,
    /// Waits for an input; these had to make room.
    Parked(Vec<Admission>),
    /// Taken before; the tag moved here, and the old asker is answered. The new one gets the receipt again, if there was
    /// one.
    Moved(Asker, Option<Receipts>),
    /// Refused.
    Refused(Reject),
}

/// An own block that is not final.
#[derive(Debug)]
struct OwnBlock {
    header: SignedAuthorHeader,
    body: Body,
}

/// One member's author.
#[derive(Debug)]
pub(crate) struct Author {
    policy: Policy,
    context: SigningContext,
    validator: ValidatorId,
    randomness: Hash,
    shards: u16,
    boot_nonce: u64,
    /// The group that it authors; none while it authors nothing.
    role: Option<Role>,
    /// When it last cut a block or took its role.
    last_cut: Time,
    /// Closed until the run is known to be fresh: after a restart it takes a reset of one's own.
    open: bool,
    /// Position and predecessor of the next cut.
    next: Cursor,
    intake: Vec<(TxId, Bytes)>,
    intake_bytes: usize,
    /// Final height in which all of the intake was found to hold.
    intake_height: Height,
    /// Since when the oldest in the intake waits.
    waiting_since: Option<Time>,
    unfinal: BTreeMap<BlockSeq, OwnBlock>,
    unfinal_txs: usize,
    unfinal_bytes: usize,
    /// Who asked for each transaction in the intake or in an unfinal block.
    askers: BTreeMap<TxId, Asker>,
    /// Inputs claimed by those transactions.
    claims: BTreeMap<OutPoint, TxId>,
    /// Outputs created by those transactions.
    created: BTreeMap<OutPoint, (Owner, Amount)>,
    pub(crate) parking: Parking,
}

/// What an author authors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Role {
    /// Group number as headers carry it.
    pub(crate) group: u16,
    /// Whether it holds a seat: then it gives receipts and shows itself also when it has nothing to cut.
    pub(crate) seated: bool,
    /// Authors of the shard, who share what may be unincluded.
    pub(crate) authors: usize,
}

/// What an author is told at its start.
#[derive(Debug)]
pub(crate) struct AuthorConfig {
    pub(crate) policy: Policy,
    pub(crate) context: SigningContext,
    pub(crate) validator: ValidatorId,
    pub(crate) randomness: Hash,
    pub(crate) shards: u16,
    pub(crate) boot_nonce: u64,
}

impl Author {
    pub(crate) fn new(config: AuthorConfig, role: Option<Role>, cursor: Cursor, now: Time) -> Self {
        Self {
            policy: config.policy,
            context: config.context,
            validator: config.validator,
            randomness: config.randomness,
            shards: config.shards,
            boot_nonce: config.boot_nonce,
            role,
            last_cut: now,
            open: false,
            next: cursor,
            intake: Vec::new(),
            intake_bytes: 0,
            intake_height: Height(0),
            waiting_since: None,
            unfinal: BTreeMap::new(),
            unfinal_txs: 0,
            unfinal_bytes: 0,
            askers: BTreeMap::new(),
            claims: BTreeMap::new(),
            created: BTreeMap::new(),
            parking: Parking::default(),
        }
    }

    /// Takes, parks or refuses one transaction whose signatures were verified.
    pub(crate) fn admit(
        &mut self,
        now: Time,
        admission: Admission,
        ledger: &Ledger,
        league: &League,
    ) -> Admitted {
        if self.role.is_none() {
            return Admitted::Refused(Reject::WrongGroup);
        }
        if let Some(asker) = self.askers.get_mut(&admission.txid) {
            let moved = *asker;
            asker.connection = admission.connection;
            asker.tag = admission.tag;
            return if moved == *asker {
                Admitted::Taken
            } else {
                Admitted::Moved(moved, self.receipt_again(&admission.txid))
            };
        }
        if self.intake.len() >= INTAKE_TXS_MAX {
            return Admitted::Refused(Reject::Busy);
        }
        let Ok(tx) = TxView::decode_checked_before(&admission.bytes) else {
            return Admitted::Refused(Reject::Encoding);
        };
        match self.check(&admission.txid, &tx, ledger, league) {
            Ok(()) => {}
            Err(Refusal::Missing(outpoint)) => {
                return Admitted::Parked(self.parking.park(now, admission, outpoint));
            }
            Err(Refusal::Rule(reject)) => return Admitted::Refused(reject),
        }
        for input in tx.inputs() {
            self.claims.insert(input.outpoint, admission.txid);
        }
        for (index, output) in tx.outputs().enumerate() {
            self.created.insert(
                OutPoint {
                    txid: admission.txid,
                    index: index as u16,
                },
                (output.owner, output.amount),
            );
        }
        self.askers
            .insert(admission.txid, Asker::new(admission.connection, admission.tag));
        self.intake_bytes += admission.bytes.len();
        self.waiting_since.get_or_insert(now);
        self.intake.push((admission.txid, admission.bytes));
        Admitted::Taken
    }

    /// Transactions that wait for the next cut.
    pub(crate) fn waiting(&self) -> usize {
        self.intake.len()
    }

    /// Puts a transaction that nobody asked for into the next cut, unless it would not look right.
    pub(crate) fn plant(&mut self, txid: TxId, bytes: Bytes) {
        let Ok(tx) = TxView::decode_checked_before(&bytes) else {
            return;
        };
        for input in tx.inputs() {
            self.claims.insert(input.outpoint, txid);
        }
        self.intake_bytes += bytes.len();
        self.intake.push((txid, bytes));
    }

    /// Rules 1.9 in this author's view: final state plus its own chain (`ios` 7.4).
    fn check(&self, txid: &TxId, tx: &TxView<'_>, ledger: &Ledger, league: &League) -> Result<(), Refusal> {
        let refuse = |reject| Err(Refusal::Rule(reject));
        if tx.expiry_epoch() > self.policy.expiry_ahead_max {
            return refuse(Reject::Expired);
        }
        if tx.fee().0 < self.policy.fee_min {
            return refuse(Reject::FeeLow);
        }
        let here = |owner: &Owner| crypto::placement::shard_of(owner, self.shards) == self.context.shard;
        if !tx.owners().all(|owner| here(&owner)) {
            return refuse(Reject::WrongShard);
        }
        if !tx.outputs().all(|output| here(&output.owner)) {
            return refuse(Reject::KindClosed);
        }
        if let Some(Role {
            group, seated: true, ..
        }) = self.role
        {
            let (shard, seats) = (self.context.shard, self.policy.seats());
            let home = |owner: &Owner| group_of(owner, &self.randomness, shard, seats) == group;
            if !tx.owners().all(|owner| home(&owner)) {
                return refuse(Reject::WrongGroup);
            }
        }
        let base = ledger.final_height();
        let mut sum = Amount(0);
        for input in tx.inputs() {
            if league
                .bar_on(&input.outpoint, base)
                .is_some_and(|intent| intent.txid != *txid)
            {
                return refuse(Reject::InputBarred);
            }
            if self
                .claims
                .get(&input.outpoint)
                .is_some_and(|claimed| claimed != txid)
            {
                return refuse(Reject::InputSpent);
            }
            let (owner, amount) = match self.created.get(&input.outpoint) {
                Some(created) => *created,
                None => match ledger.lookup(&input.outpoint, ledger.final_height()) {
                    Lookup::Unspent(utxo) => (utxo.owner, utxo.amount),
                    Lookup::Spent { .. } => return refuse(Reject::InputSpent),
                    Lookup::Missing => return Err(Refusal::Missing(input.outpoint)),
                },
            };
            if tx.owner(input.owner) != Some(owner) {
                return refuse(Reject::OwnerMismatch);
            }
            let Some(total) = sum.checked_add(amount) else {
                return refuse(Reject::Overflow);
            };
            sum = total;
        }
        let out = tx
            .outputs()
            .try_fold(tx.fee(), |total, output| total.checked_add(output.amount));
        if out == Some(sum) {
            Ok(())
        } else {
            refuse(Reject::ValueMismatch)
        }
    }

    /// Takes back what waits for the next cut and no longer holds in the final state that the cut will refer to: a seat
    /// answers with its bond for what it puts into a block (`ios` 7.4, F3). With who asked and why it is refused.
    pub(crate) fn drop_stale(
        &mut self,
        ledger: &Ledger,
        league: &League,
    ) -> Vec<(TxId, Option<Asker>, Reject)> {
        let height = ledger.final_height();
        if self.intake_height == height || self.role.is_none_or(|role| !role.seated) {
            return Vec::new();
        }
        self.intake_height = height;
        let mut dropped = Vec::new();
        for (txid, bytes) in std::mem::take(&mut self.intake) {
            let Ok(tx) = TxView::decode_checked_before(&bytes) else {
                continue;
            };
            let reason = match self.check(&txid, &tx, ledger, league) {
                Ok(()) => {
                    self.intake.push((txid, bytes));
                    continue;
                }
                // What was there and is not has been spent, or its parent was dropped just now.
                Err(Refusal::Missing(_)) => Reject::InputSpent,
                Err(Refusal::Rule(reason)) => reason,
            };
            self.claims.retain(|_, claimed| *claimed != txid);
            self.created.retain(|outpoint, _| outpoint.txid != txid);
            self.intake_bytes -= bytes.len();
            dropped.push((txid, self.askers.remove(&txid), reason));
        }
        if self.intake.is_empty() {
            self.waiting_since = None;
        }
        dropped
    }

    /// When the next cut is due.
    pub(crate) fn cut_due(&self) -> Option<Time> {
        let seat = self
            .role
            .filter(|role| role.seated)
            .and(self.policy.leagues.as_ref());
        let interval = seat.map_or(self.policy.cut_interval, |leagues| leagues.cut_interval);
        let full = self.waiting_since.map(|since| since + interval);
        let heartbeat = seat.map(|leagues| self.last_cut + leagues.heartbeat);
        [full, heartbeat].into_iter().flatten().min()
    }

    /// Whether a block may be cut now: something waits long enough or fills a block, and too much is not
    /// unincluded already (back-pressure of `ios` 7.4).
    pub(crate) fn may_cut(&self, now: Time, final_height: Height) -> bool {
        let full = self.intake.len() >= self.policy.batch_txs_max as usize
            || self.intake_bytes >= self.policy.batch_bytes_max as usize;
        let due = self.cut_due().is_some_and(|due| now >= due);
        let Some(role) = self.role.filter(|_| self.open && (full || due)) else {
            return false;
        };
        let authors = role.authors.max(1);
        let seat = self.policy.leagues.as_ref().filter(|_| role.seated);
        let interval = seat.map_or(self.policy.cut_interval, |leagues| leagues.cut_interval);
        let per_lag = self.policy.block_interval.as_nanos() / interval.as_nanos().max(1);
        let blocks_max = 2 * self.policy.lag as usize * (per_lag as usize).max(1);
        let aging = self.unfinal.first_key_value().is_some_and(|(_, oldest)| {
            oldest.header.header.base_height.0 + self.policy.lag <= final_height.0 + 4
        });
        self.unfinal.len() < blocks_max
            && self.unfinal_txs < UNINCLUDED_TXS.min(UNINCLUDED_TXS_SHARED / authors)
            && self.unfinal_bytes < UNINCLUDED_BYTES.min(UNINCLUDED_BYTES_SHARED / authors)
            && !aging
    }

    /// Cuts one block from the front of the intake.
    pub(crate) fn cut(
        &mut self,
        now: Time,
        key: &SecretKey,
        final_height: Height,
    ) -> (SignedAuthorHeader, Hash, Body) {
        let mut bytes = 4;
        let fits = |(_, tx): &&(TxId, Bytes)| {
            bytes += tx.len();
            bytes <= self.policy.batch_bytes_max as usize
        };
        let count = self
            .intake
            .iter()
            .take(self.policy.batch_txs_max as usize)
            .take_while(fits)
            .count();
        let txs: Vec<(TxId, Bytes)> = self.intake.drain(..count).collect();
        let (body, tx_root) = body::build(&txs);
        self.intake_bytes -= txs.iter().map(|(_, tx)| tx.len()).sum::<usize>();
        self.waiting_since = if self.intake.is_empty() { None } else { Some(now) };
        self.last_cut = now;
        for (position, (txid, _)) in (0..).zip(&txs) {
            if let Some(asker) = self.askers.get_mut(txid) {
                asker.place = Some((self.next.next, position));
            }
        }
        let value = body
            .txs()
            .flat_map(|(_, tx)| tx.outputs())
            .fold(0_u64, |sum, output| sum.saturating_add(output.amount.0));
        let header = AuthorHeader {
            version: BLOCK_VERSION,
            shard: self.context.shard,
            epoch: self.context.epoch,
            term: 0,
            group: self.role.map_or(u16::MAX, |role| role.group),
            seq: self.next.next,
            prev: self.next.last,
            tx_root,
            tx_count: body.len() as u32,
            body_bytes: body.bytes().len() as u32,
            base_height: final_height,
            value,
            author: self.validator,
            timestamp: now.0,
        };
        let hash = hash::author_header_hash(&header);
        let signature = cosign::sign_author_header(key, &self.context, &header);
        self.next = Cursor {
            next: self.next.next.next(),
            last: hash,
        };
        self.unfinal_txs += body.len();
        self.unfinal_bytes += body.bytes().len();
        let signed = SignedAuthorHeader { header, signature };
        self.unfinal.insert(
            signed.header.seq,
            OwnBlock {
                header: signed.clone(),
                body: body.clone(),
            },
        );
        (signed, hash, body)
    }

    /// Receipts for an own block, by connection (`ios` 14.2).
    pub(crate) fn receipts(&self, seq: BlockSeq) -> BTreeMap<ConnectionId, Receipts> {
        let mut receipts: BTreeMap<ConnectionId, Receipts> = BTreeMap::new();
        let Some(block) = self.unfinal.get(&seq) else {
            return receipts;
        };
        for (position, entry) in (0..).zip(block.body.entries()) {
            let Some(asker) = self.askers.get(&entry.txid) else {
                continue;
            };
            let of_connection = receipts.entry(asker.connection).or_insert_with(|| Receipts {
                author: block.header.clone(),
                tags: Vec::new(),
            });
            of_connection.tags.push(TagAt {
                tag: asker.tag,
                position,
            });
        }
        receipts
    }

    fn receipt_again(&self, txid: &TxId) -> Option<Receipts> {
        self.role.filter(|role| role.seated)?;
        let asker = self.askers.get(txid)?;
        let (seq, position) = asker.place?;
        let tag = asker.tag;
        Some(Receipts {
            author: self.unfinal.get(&seq)?.header.clone(),
            tags: vec![TagAt { tag, position }],
        })
    }

    /// Takes another role or none: what was taken in the old one is given back, with the reason for each asker.
    pub(crate) fn set_role(&mut self, now: Time, role: Option<Role>, cursor: Cursor) -> Vec<(Asker, Reject)> {
        if self.role == role {
            return Vec::new();
        }
        let parked = self.parking.drain();
        let parked = parked
            .into_iter()
            .map(|parked| (Asker::new(parked.connection, parked.tag), Reject::Busy));
        let taken = std::mem::take(&mut self.askers).into_values().map(|asker| {
            let reason = if asker.place.is_some() {
                Reject::Closed
            } else {
                Reject::Busy
            };
            (asker, reason)
        });
        let back = parked.chain(taken).collect();
        self.intake.clear();
        self.intake_bytes = 0;
        self.waiting_since = None;
        self.unfinal.clear();
        self.unfinal_txs = 0;
        self.unfinal_bytes = 0;
        self.claims.clear();
        self.created.clear();
        self.role = role;
        self.open = false;
        self.last_cut = now;
        self.next = cursor;
        back
    }

    pub(crate) const fn role(&self) -> Option<Role> {
        self.role
    }

    /// An own block is final: its transactions leave this author's view, and their askers are returned in order.
    pub(crate) fn on_final(&mut self, seq: BlockSeq) -> Vec<(TxId, Option<Asker>)> {
        let Some(block) = self.unfinal.remove(&seq) else {
            return Vec::new();
        };
        self.unfinal_txs -= block.body.len();
        self.unfinal_bytes -= block.body.bytes().len();
        let body = block.body;
        body.txs()
            .map(|(txid, tx)| (txid, self.release(&txid, &tx)))
            .collect()
    }

    fn release(&mut self, txid: &TxId, tx: &TxView<'_>) -> Option<Asker> {
        for input in tx.inputs() {
            if self.claims.get(&input.outpoint) == Some(txid) {
                self.claims.remove(&input.outpoint);
            }
        }
        for index in 0..tx.output_count() {
            self.created.remove(&OutPoint {
                txid: *txid,
                index: index as u16,
            });
        }
        self.askers.remove(txid)
    }

    /// A run ended: its unincluded blocks are void, and their transactions are cut anew when the reset is one's
    /// own; another run's reset (of an earlier life of this validator) leaves this author closed.
    pub(crate) fn on_reset(&mut self, now: Time, reset: &ResetRequest, cursor: Cursor) {
        let void = std::mem::take(&mut self.unfinal);
        let again: Vec<(TxId, Bytes)> = void
            .values()
            .flat_map(|block| {
                block
                    .body
                    .txs()
                    .map(|(txid, tx)| (txid, block.body.bytes().slice_ref(tx.bytes())))
                    .collect::<Vec<_>>()
            })
            .collect();
        self.unfinal_txs = 0;
        self.unfinal_bytes = 0;
        self.intake_bytes += again.iter().map(|(_, tx)| tx.len()).sum::<usize>();
        if !again.is_empty() {
            self.waiting_since.get_or_insert(now);
        }
        let newer = std::mem::replace(&mut self.intake, again);
        self.intake.extend(newer);
        for asker in self.askers.values_mut() {
            asker.place = None;
        }
        self.next = cursor;
        self.last_cut = now;
        self.open = reset.boot_nonce == self.boot_nonce;
    }

    /// Asks for a new run: after a restart, or when the oldest unincluded block has aged out.
    pub(crate) fn reset_request(
        &self,
        key: &SecretKey,
        cursor: Cursor,
        final_height: Height,
    ) -> Option<ResetRequest> {
        let aged = self.unfinal.first_key_value().is_some_and(|(_, oldest)| {
            oldest.header.header.base_height.0 + self.policy.lag <= final_height.0
        });
        let role = self.role?;
        if self.open && !aged {
            return None;
        }
        let mut request = ResetRequest {
            group: role.group,
            run: cursor.next.run(),
            boot_nonce: self.boot_nonce,
            signature: Signature::default(),
        };
        request.signature = cosign::sign_reset_request(key, &self.context, &request);
        Some(request)
    }

    /// The run is fresh: nothing was ever sent in it.
    pub(crate) fn open(&mut self) {
        self.open = true;
    }

    /// A client went away: nobody waits for its answers. Its transactions stay.
    pub(crate) fn on_closed(&mut self, connection: ConnectionId) {
        self.parking.forget(connection);
        self.askers
            .iter_mut()
            .filter(|(_, asker)| asker.connection == connection)
            .for_each(|(_, asker)| {
                asker.connection = ConnectionId(u64::MAX);
            });
    }

    /// How far a transaction is, as far as this author knows (`ios` 14.2, 16/17).
    pub(crate) fn status(&self, txid: &TxId, ledger: &Ledger) -> TxStatus {
        if self.askers.contains_key(txid) {
            return status(Level::Taken, Height(0), 0);
        }
        match ledger.lookup(
            &OutPoint {
                txid: *txid,
                index: 0,
            },
            ledger.final_height(),
        ) {
            Lookup::Unspent(utxo) => status(Level::Final, utxo.created, 0),
            // Created earlier: the height of its spender bounds it from above.
            Lookup::Spent { at, .. } => status(Level::Final, at, 0),
            Lookup::Missing => status(Level::Unknown, Height(0), 0),
        }
    }
}

enum Refusal {
    Missing(OutPoint),
    Rule(Reject),
}
