//! A member that signs author blocks with invalid content: no honest author would, so only this shows that every
//! voter excludes what breaks a rule.

use bytes::Bytes;
use crypto::{body, cosign};
use types::block::{AuthorHeader, BLOCK_VERSION, BlockSeq, GROUP_ONE_LEAGUE, SignedAuthorHeader};
use types::message::{AuthorBlock, PeerMessage};
use types::{Amount, Hash, MemberIndex, ShardId, Time, TxId};

use crate::clients::{Draft, sign};
use crate::invariants::model::Model;
use crate::rng::SimRng;
use crate::setup::Setup;

/// The lying author.
#[derive(Debug)]
pub struct Rogue {
    me: MemberIndex,
    next: BlockSeq,
    last: Hash,
}

impl Rogue {
    /// A liar at the start of its chain.
    #[must_use]
    pub const fn new(me: MemberIndex, genesis: Hash) -> Self {
        Self {
            me,
            next: BlockSeq(0),
            last: genesis,
        }
    }

    /// Who lies.
    #[must_use]
    pub const fn member(&self) -> MemberIndex {
        self.me
    }

    /// Next lie: messages with their receivers.
    pub fn act(
        &mut self,
        rng: &mut SimRng,
        setup: &Setup,
        model: &Model,
        now: Time,
    ) -> Vec<(MemberIndex, PeerMessage)> {
        let (next, last) = model.cursor(GROUP_ONE_LEAGUE + self.me.0);
        if next > self.next || rng.chance(100) {
            (self.next, self.last) = (next, last);
        }
        let Some(block) = self.block(rng, setup, model, now) else {
            return Vec::new();
        };
        // Two blocks at one position, each to some of the members.
        let second = if rng.chance(200) {
            self.block(rng, setup, model, now)
        } else {
            None
        };
        let first_hash = crypto::hash::author_header_hash(&block.header.header);
        (self.next, self.last) = (self.next.next(), first_hash);
        let members = setup.keys.len() as u16;
        (0..members)
            .map(MemberIndex)
            .map(|to| {
                let block = match &second {
                    Some(second) if rng.chance(500) => second,
                    _ => &block,
                };
                (to, PeerMessage::AuthorBlock(block.clone()))
            })
            .filter(|(to, _)| *to != self.me)
            .collect()
    }

    fn block(&self, rng: &mut SimRng, setup: &Setup, model: &Model, now: Time) -> Option<AuthorBlock> {
        let count = rng.between(1, 4);
        let mut txs: Vec<(TxId, Bytes)> = (0..count).filter_map(|_| lie(rng, setup, model)).collect();
        if let (Some(first), true) = (txs.first().cloned(), rng.chance(200)) {
            txs.push(first);
        }
        if txs.is_empty() {
            return None;
        }
        let (body, tx_root) = body::build(&txs);
        let (validator, _) = setup.epoch.committees[0].members[usize::from(self.me.0)];
        let header = AuthorHeader {
            version: BLOCK_VERSION,
            shard: ShardId(0),
            epoch: setup.epoch.epoch,
            term: 0,
            group: GROUP_ONE_LEAGUE + self.me.0,
            seq: self.next,
            prev: self.last,
            tx_root: if rng.chance(30) { Hash::default() } else { tx_root },
            tx_count: body.len() as u32,
            body_bytes: body.bytes().len() as u32,
            base_height: model.height(),
            value: 0,
            author: validator,
            timestamp: now.0,
        };
        let signature =
            cosign::sign_author_header(&setup.keys[usize::from(self.me.0)], &setup.context, &header);
        Some(AuthorBlock {
            header: SignedAuthorHeader { header, signature },
            body: body.bytes().clone(),
        })
    }
}

/// One transaction that breaks a rule, or spends what others spend too.
fn lie(rng: &mut SimRng, setup: &Setup, model: &Model) -> Option<(TxId, Bytes)> {
    let coin = model.random_coin(rng)?;
    let to = rng.below(setup.accounts.len() as u64) as usize;
    let mut draft = Draft {
        coins: vec![coin],
        outputs: vec![(to, coin.1.amount)],
        fee: Amount(0),
    };
    match rng.below(6) {
        0 => draft.outputs[0].1 = Amount(coin.1.amount.0 + 1 + rng.below(500)),
        1 => draft.outputs.push((to, Amount(7))),
        2 => draft.coins[0].0.txid.0[rng.below(32) as usize] ^= 1,
        3 => {
            let (txid, bytes) = sign(setup, &draft)?;
            let mut bytes = bytes.to_vec();
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
            }
            return Some((txid, Bytes::from(bytes)));
        }
        4 if coin.1.amount.0 > 1 => draft.outputs[0].1 = Amount(coin.1.amount.0 - 1),
        // Valid by itself, and racing with the owner's own spend.
        _ => {}
    }
    sign(setup, &draft)
}
