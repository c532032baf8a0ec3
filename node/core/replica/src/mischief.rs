//! An author that cheats on purpose, for a local network that is to be seen catching it.
//!
//! It signs with its own key what no honest author would: everything else of the validator stays as it is. Only the
//! embedded network of one process can be told to hold such an author.

use std::collections::BTreeSet;

use bytes::Bytes;
use crypto::hash::{self, Xof, author_header_hash};
use types::block::SignedAuthorHeader;
use types::message::{AuthorBlock, PeerMessage};
use types::transaction::{Input, Output, TxDraft};
use types::{Amount, Hash, Height, MemberIndex, OutPoint, Owner, TxId};

use crate::event::Effect;
use crate::replica::Replica;

/// Final height before which nobody cheats: there is to be something that is paid before something is stolen.
const FROM: Height = Height(20);
const PPM: u64 = 1_000_000;

/// How an author cheats; rates are parts per million, 0 for never.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mischief {
    /// Of transactions: a coin of somebody else is spent beside them under a wrong signature.
    pub forge_ppm: u32,
    /// Of blocks: two are signed for one position.
    pub equivocate_ppm: u32,
    /// Of blocks: only the header is shown, and the body is not given away.
    pub withhold_ppm: u32,
    /// Of blocks: they are sent when they may no longer be included.
    pub late_ppm: u32,
    /// Coins that it may steal, of owners of its own group.
    pub victims: Vec<(OutPoint, Owner, Amount)>,
    /// Coins of owners of other groups, for blocks with transactions that are not its own to take.
    pub strangers: Vec<(OutPoint, Owner, Amount)>,
    /// Of blocks: they hold a spend of a stranger.
    pub wrong_group_ppm: u32,
}

/// A cheat at work.
#[derive(Debug)]
pub(crate) struct Cheat {
    plan: Mischief,
    random: Xof,
    withheld: BTreeSet<Hash>,
    late: Vec<(Height, AuthorBlock)>,
}

impl Cheat {
    pub(crate) fn new(plan: Mischief, seed: &[u8; 32]) -> Self {
        Self {
            plan,
            random: Xof::new(&Hash(*seed)),
            withheld: BTreeSet::new(),
            late: Vec::new(),
        }
    }

    fn strikes(&mut self, ppm: u32) -> bool {
        self.random.uniform(PPM) < u64::from(ppm)
    }

    /// Spends of coins of others for a block that would have so many transactions.
    fn thefts(&mut self, txs: usize, loot: Owner) -> Vec<(TxId, Bytes)> {
        let mut coins = Vec::new();
        for _ in 0..txs {
            if self.strikes(self.plan.forge_ppm) {
                coins.extend(self.plan.victims.pop());
            }
        }
        if self.strikes(self.plan.wrong_group_ppm) {
            coins.extend(self.plan.strangers.pop());
        }
        coins.into_iter().map(|coin| theft(coin, loot)).collect()
    }
}

/// Spends a coin to `loot`, an owner of the same shard, with a signature that is none.
fn theft((outpoint, owner, amount): (OutPoint, Owner, Amount), loot: Owner) -> (TxId, Bytes) {
    let mut to = loot;
    // The shard of an owner is in its first bytes.
    to.0[..8].copy_from_slice(&owner.0[..8]);
    let draft = TxDraft {
        owners: vec![owner],
        inputs: vec![Input { outpoint, owner: 0 }],
        outputs: vec![Output { owner: to, amount }],
        ..TxDraft::default()
    };
    let mut bytes = Vec::new();
    draft.encode_body(&mut bytes);
    let txid = hash::txid(&bytes);
    bytes.extend_from_slice(&[0x51; 64]);
    (txid, bytes.into())
}

impl Replica {
    /// What a cheat puts beside its clients' transactions.
    pub(crate) fn plant_thefts(&mut self) {
        if self.chain.final_height() < FROM {
            return;
        }
        let loot = Owner(self.key.public());
        let waiting = self.author.waiting();
        if let Some(cheat) = &mut self.cheat {
            for (txid, bytes) in cheat.thefts(waiting, loot) {
                self.author.plant(txid, bytes);
            }
        }
    }

    /// Sends a cheat's block in its own way; false when it is sent as it should be.
    pub(crate) fn sends_otherwise(&mut self, block: &AuthorBlock) -> bool {
        if self.chain.final_height() < FROM {
            return false;
        }
        let (voters, height) = (self.committee.voters, self.chain.final_height());
        let Some(cheat) = &mut self.cheat else {
            return false;
        };
        let plan = cheat.plan.clone();
        if cheat.strikes(plan.equivocate_ppm) {
            let other = self.other_of(block);
            for member in (0..voters).map(MemberIndex) {
                let shown = if member.0 < voters / 2 { block } else { &other };
                let message = PeerMessage::AuthorBlock(shown.clone());
                self.effect(Effect::Send {
                    to: member,
                    message,
                    after: None,
                });
            }
            return true;
        }
        if cheat.strikes(plan.withhold_ppm) {
            cheat.withheld.insert(author_header_hash(&block.header.header));
            self.effect(Effect::Broadcast {
                message: PeerMessage::AuthorHeader(block.header.clone()),
                after: None,
            });
            return true;
        }
        if cheat.strikes(plan.late_ppm) {
            let lag = self.config.epoch.policy.lag;
            cheat.late.push((Height(height.0 + lag), block.clone()));
            return true;
        }
        false
    }

    /// The same position and content, signed once more for another time.
    fn other_of(&self, block: &AuthorBlock) -> AuthorBlock {
        let mut header = block.header.header.clone();
        header.timestamp ^= 1;
        let signature = crypto::cosign::sign_author_header(&self.key, &self.context, &header);
        AuthorBlock {
            header: SignedAuthorHeader { header, signature },
            body: block.body.clone(),
        }
    }

    /// Whether a cheat keeps this body to itself.
    pub(crate) fn withholds(&self, hash: &Hash) -> bool {
        self.cheat
            .as_ref()
            .is_some_and(|cheat| cheat.withheld.contains(hash))
    }

    /// Sends what is too late by now.
    pub(crate) fn send_late(&mut self) {
        let height = self.chain.final_height();
        let Some(cheat) = &mut self.cheat else { return };
        let due: Vec<_> = cheat.late.extract_if(.., |(at, _)| *at <= height).collect();
        for (_, block) in due {
            self.effect(Effect::Broadcast {
                message: PeerMessage::AuthorBlock(block),
                after: None,
            });
        }
    }
}
