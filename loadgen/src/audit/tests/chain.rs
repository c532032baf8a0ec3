//! Makes chains: by honest validators, or by a whole committee that deviates as told.

use std::collections::HashMap;

use bytes::Bytes;
use crypto::cosign::{sign_author_header, sign_subject};
use crypto::hash::{author_header_hash, final_header_hash, sighash, txid};
use crypto::keys::SecretKey;
use crypto::merkle::{EMPTY, excluded_root, records_root, refs_root};
use types::block::{
    AuthorHeader, BLOCK_VERSION, Block, BlockRef, BlockSeq, Body, CommitProof, CommittedBlock, FinalHeader,
    GROUP_ONE_LEAGUE, MODE_ONE_LEAGUE, MODE_TWO_LEAGUES, SignedAuthorHeader,
};
use types::block_record::Record;
use types::certificate::{Certificate, Phase, Signatures, Subject};
use types::client::{BlockItem, StateInfo};
use types::codec::Decode as _;
use types::genesis::{Committee, SigningContext};
use types::message::AuthorBlock;
use types::transaction::{Input, Output, TxDraft};
use types::{Amount, Hash, Height, MemberIndex, OutPoint, ShardId, Signature, TxId, ValidatorId, View};

use crate::audit::league::League;
use crate::audit::model::{Model, Run, Told};
use crate::workload::sample::Sample;

/// A transaction with its id.
#[derive(Clone)]
pub(crate) struct Tx {
    pub(crate) txid: TxId,
    pub(crate) bytes: Bytes,
}

impl Tx {
    /// Spends one output of an account; amounts go to accounts.
    pub(crate) fn pay(sample: &Sample, from: (OutPoint, u32), to: &[(u32, u64)], fee: u64) -> Self {
        let owner = |account| sample.accounts.owner(account).expect("an account");
        let draft = TxDraft {
            fee: Amount(fee),
            owners: vec![owner(from.1)],
            inputs: vec![Input {
                outpoint: from.0,
                owner: 0,
            }],
            outputs: to
                .iter()
                .map(|(account, amount)| Output {
                    owner: owner(*account),
                    amount: Amount(*amount),
                })
                .collect(),
            ..TxDraft::default()
        };
        let mut bytes = Vec::new();
        draft.encode_body(&mut bytes);
        let txid = txid(&bytes);
        let message = sighash(&sample.epoch.genesis_hash, &txid);
        let signature = sample.accounts.sign(from.1, &message).expect("an account");
        bytes.extend_from_slice(&signature.0);
        Self {
            txid,
            bytes: bytes.into(),
        }
    }

    /// The same with a signature that is not valid.
    pub(super) fn forged(&self) -> Self {
        let mut bytes = self.bytes.to_vec();
        // The low byte of s: still canonical.
        let at = bytes.len() - 32;
        bytes[at] ^= 1;
        Self {
            txid: self.txid,
            bytes: bytes.into(),
        }
    }

    pub(crate) const fn output(&self, index: u16) -> OutPoint {
        OutPoint {
            txid: self.txid,
            index,
        }
    }
}

/// One shard's chain in the making.
pub(crate) struct Chain<'a> {
    sample: &'a Sample,
    shard: usize,
    pub(super) model: Model,
    league: League,
    /// Records of the next block.
    pub(super) records: Vec<Record>,
    tip: (Height, Hash),
    /// By member: next number and hash of the block before it.
    authors: Vec<(BlockSeq, Hash)>,
    /// Blocks with their bodies, from height 1.
    pub(crate) blocks: Vec<(CommittedBlock, Vec<AuthorBlock>)>,
}

impl<'a> Chain<'a> {
    pub(crate) fn new(sample: &'a Sample, shard: usize) -> Self {
        let genesis_hash = sample.epoch.genesis_hash;
        let id = ShardId(shard as u16);
        Self {
            model: Model::new(&sample.genesis, &sample.epoch, id, &sample.allocations),
            tip: (Height(0), genesis_hash),
            league: League::new(&sample.epoch, &sample.epoch.committees[shard]),
            records: Vec::new(),
            authors: vec![
                (BlockSeq::start_of(0), genesis_hash);
                sample.epoch.committees[shard].members.len()
            ],
            blocks: Vec::new(),
            sample,
            shard,
        }
    }

    fn committee(&self) -> &'a Committee {
        &self.sample.epoch.committees[self.shard]
    }

    fn context(&self) -> SigningContext {
        self.sample.epoch.signing_context(self.committee())
    }

    fn key(&self, member: usize) -> &'a SecretKey {
        let (id, _) = self.committee().members[member];
        &self.sample.keys[usize::from(id.0)]
    }

    /// Validators of the shard.
    pub(super) fn validators(&self) -> Vec<ValidatorId> {
        self.committee().members.iter().map(|(id, _)| *id).collect()
    }

    /// Seats are those of the genesis; voters have groups of their own.
    fn group(&self, member: usize) -> u16 {
        let committee = self.committee();
        let is_own = |candidate: &MemberIndex| usize::from(candidate.0) == member;
        match committee.candidates.iter().position(is_own) {
            Some(seat) => seat as u16,
            None => GROUP_ONE_LEAGUE + member as u16,
        }
    }

    fn author(&mut self, member: usize, txs: &[Tx]) -> (AuthorBlock, BlockRef, Body) {
        let list: Vec<(TxId, Bytes)> = txs.iter().map(|tx| (tx.txid, tx.bytes.clone())).collect();
        let (body, tx_root) = crypto::body::build(&list);
        let (seq, prev) = self.authors[member];
        let header = AuthorHeader {
            version: BLOCK_VERSION,
            shard: ShardId(self.shard as u16),
            epoch: self.sample.epoch.epoch,
            term: 0,
            group: self.group(member),
            seq,
            prev,
            tx_root,
            tx_count: txs.len() as u32,
            body_bytes: body.bytes().len() as u32,
            base_height: self.tip.0,
            value: 0,
            author: self.committee().members[member].0,
            timestamp: 1,
        };
        let hash = author_header_hash(&header);
        self.authors[member] = (seq.next(), hash);
        let reference = BlockRef {
            group: header.group,
            seq,
            hash,
            tx_count: header.tx_count,
        };
        let signature = sign_author_header(self.key(member), &self.context(), &header);
        let header = SignedAuthorHeader { header, signature };
        (
            AuthorBlock {
                header,
                body: body.bytes().clone(),
            },
            reference,
            body,
        )
    }

    /// Appends a block as honest validators would.
    pub(crate) fn honest(&mut self, batches: &[(usize, &[Tx])]) {
        self.append(batches, &Told::default());
    }

    /// Appends a block of a committee that treats transactions as told.
    pub(super) fn append(&mut self, batches: &[(usize, &[Tx])], told: &Told) {
        self.append_spoilt(batches, told, |_| {});
    }

    /// Appends a block of a committee whose ledger changes what a block does.
    pub(super) fn append_spoilt(
        &mut self,
        batches: &[(usize, &[Tx])],
        told: &Told,
        spoil: impl FnOnce(&mut Run),
    ) {
        let parts = batches.iter().map(|(member, txs)| self.author(*member, txs));
        let parts = parts.collect();
        self.append_parts(parts, told, spoil);
    }

    /// Appends the author blocks of a height once more.
    pub(super) fn repeat(&mut self, height: usize) {
        let (committed, blocks) = &self.blocks[height - 1];
        let refs = committed.block.refs.clone();
        let part = |(block, reference): (&AuthorBlock, BlockRef)| {
            let body = crypto::body::decode(&block.header.header, block.body.clone()).expect("a body");
            (block.clone(), reference, body)
        };
        let parts = blocks.iter().zip(refs).map(part).collect();
        self.append_parts(parts, &Told::default(), |_| {});
    }

    fn append_parts(
        &mut self,
        parts: Vec<(AuthorBlock, BlockRef, Body)>,
        told: &Told,
        spoil: impl FnOnce(&mut Run),
    ) {
        let (mut blocks, mut refs, mut bodies) = (Vec::new(), Vec::new(), Vec::new());
        for (block, reference, body) in parts {
            blocks.push(block);
            refs.push(reference);
            bodies.push(body);
        }
        let height = self.tip.0.next();
        let mode = if self.sample.epoch.policy.leagues.is_some() {
            MODE_TWO_LEAGUES
        } else {
            MODE_ONE_LEAGUE
        };
        let records = std::mem::take(&mut self.records);
        let mut header = FinalHeader::from_bytes(&[0; 364]).expect("a header");
        header.mode = mode;
        let mut block = Block {
            header,
            excluded: vec![Vec::new(); refs.len()],
            refs: refs.clone(),
            records,
        };
        let (reactions, _) = self.league.begin(&block, &self.sample.epoch, self.committee());
        let told = &Told {
            reactions,
            bad_signatures: told.bad_signatures.clone(),
            overruled: told.overruled.clone(),
        };
        let mut run = self.model.run(height, &bodies, told);
        spoil(&mut run);
        let digest = self.model.digest_after(height, &run);
        let excluded = run.bitmaps();
        let header = FinalHeader {
            version: BLOCK_VERSION,
            mode,
            shard: ShardId(self.shard as u16),
            epoch: self.sample.epoch.epoch,
            term: 0,
            height,
            view: View(0),
            prev: self.tip.1,
            refs_root: refs_root(&refs),
            excluded_root: excluded_root(&run.bitmaps()),
            slow_root: EMPTY,
            inbox_root: EMPTY,
            outbox_root: EMPTY,
            evidence_root: records_root(&block.records),
            tx_count: refs.iter().map(|reference| reference.tx_count).sum(),
            state_digest: digest,
            committee_hash: self.committee().hash,
            beacon_height: Height(0),
            beacon_hash: Hash::default(),
            timestamp: height.0,
        };
        self.model.commit(height, run);
        self.model.digest = digest;
        self.tip = (height, final_header_hash(&header));
        let proof = self.proof(&header);
        (block.header, block.excluded) = (header, excluded);
        self.league.finish(&block);
        self.blocks.push((CommittedBlock { block, proof }, blocks));
    }

    /// A quorum's commit over a header.
    pub(super) fn proof(&self, header: &FinalHeader) -> CommitProof {
        let context = self.context();
        let hash = final_header_hash(header);
        let subject = Subject {
            phase: Phase::Commit,
            height: header.height,
            view: View(0),
            hash,
        };
        let sign = |member: usize| -> (MemberIndex, Signature) {
            (
                MemberIndex(member as u16),
                sign_subject(self.key(member), &context, &subject),
            )
        };
        CommitProof {
            height: header.height,
            hash,
            descendants: Vec::new(),
            certificate: Certificate {
                view: View(0),
                committee: 4,
                signatures: Signatures::List([0, 1, 3].map(sign).to_vec()),
            },
        }
    }

    /// Changes the newest header and has the whole committee sign it.
    pub(super) fn rewrite(&mut self, change: impl FnOnce(&mut FinalHeader)) {
        let (mut committed, bodies) = self.blocks.pop().expect("a block");
        change(&mut committed.block.header);
        committed.proof = self.proof(&committed.block.header);
        self.tip.1 = committed.proof.hash;
        self.blocks.push((committed, bodies));
    }

    /// What a validator with this chain says of its state.
    pub(super) fn state(&self) -> StateInfo {
        StateInfo {
            height: self.tip.0,
            digest: self.model.digest,
            outputs: self.model.live().len() as u64,
            value: Amount(self.model.value as u64),
            fees: Amount(self.model.counters.fees),
            bonds: Amount(self.model.counters.bonds),
            pool: Amount(self.model.counters.pool),
            rewards: Amount(self.model.counters.rewards),
            unpaid: Amount(self.model.counters.unpaid),
        }
    }

    /// What a validator with this chain answers.
    pub(crate) fn items(&self) -> Vec<BlockItem> {
        let mut items = Vec::new();
        for (block, bodies) in &self.blocks {
            items.push(BlockItem::Block(Box::new(block.clone())));
            items.extend(bodies.iter().cloned().map(BlockItem::Body));
        }
        items
    }
}

/// Every funded coin by account.
pub(crate) fn coins(sample: &Sample) -> HashMap<u32, OutPoint> {
    let wallet = sample.wallet();
    wallet
        .coins()
        .iter()
        .map(|coin| (coin.account, coin.outpoint))
        .collect()
}

/// A transaction's place when it is the `position`th of the first reference.
pub(super) fn told(applied: &[(usize, bool)]) -> Told {
    Told {
        overruled: applied
            .iter()
            .map(|(position, applied)| ((0, *position), *applied))
            .collect(),
        ..Told::default()
    }
}
