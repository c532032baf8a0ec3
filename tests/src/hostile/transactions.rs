//! Transactions that decode and lead nowhere.

use crypto::hash;
use crypto::keys::SecretKey;
use files::NetworkGenesis;
use types::transaction::{Input, Output, TxDraft};
use types::{Amount, OutPoint, Owner, Signature, TxId};

use crate::rng::SimRng;

/// Makes the transactions of one attacker.
pub(super) struct Forger<'a> {
    network: &'a NetworkGenesis,
    rng: SimRng,
    key: SecretKey,
}

impl<'a> Forger<'a> {
    pub(super) fn new(network: &'a NetworkGenesis, seed: u64, attacker: u64) -> Self {
        let mut rng = SimRng::new(seed, attacker);
        let key = SecretKey::from_seed(bytes(&mut rng));
        Self { network, rng, key }
    }

    /// Draws below 1.
    pub(super) fn share(&mut self) -> f64 {
        self.rng.below(1 << 32) as f64 / (1_u64 << 32) as f64
    }

    /// Spends a coin of the genesis, all of it, with a signature of nobody.
    pub(super) fn bad(&mut self) -> Vec<u8> {
        let allocations = &self.network.allocations;
        let position = self.rng.below(allocations.len() as u64);
        let outpoint = hash::allocation_outpoint(&self.network.genesis.name, position);
        let (owner, amount) = allocations
            .get(position as usize)
            .map_or((Owner([0; 32]), Amount(1)), |coin| (coin.owner, coin.amount));
        let mut body = self.body(owner, outpoint, amount);
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&bytes(&mut self.rng));
        // A canonical scalar: only the equation can tell that the signature is bad.
        signature[32..63].copy_from_slice(&bytes(&mut self.rng)[..31]);
        // A point that decodes: the owner's own key as R.
        signature[..32].copy_from_slice(&owner.0);
        body.extend_from_slice(&Signature(signature).0);
        body
    }

    /// Rightly signed; the coin never exists.
    pub(super) fn good(&mut self) -> Vec<u8> {
        let outpoint = OutPoint {
            txid: TxId(bytes(&mut self.rng)),
            index: 0,
        };
        let mut body = self.body(Owner(self.key.public()), outpoint, Amount(1_000_000));
        let message = hash::sighash(&self.network.epoch.genesis_hash, &hash::txid(&body));
        body.extend_from_slice(&self.key.sign(&message).0);
        body
    }

    fn body(&mut self, owner: Owner, outpoint: OutPoint, amount: Amount) -> Vec<u8> {
        let fee = self.network.genesis.policy.fee_min;
        let draft = TxDraft {
            fee: Amount(fee),
            nonce: self.rng.bits() as u32,
            owners: vec![owner],
            inputs: vec![Input { outpoint, owner: 0 }],
            outputs: vec![Output {
                owner,
                amount: Amount(amount.0.saturating_sub(fee).max(1)),
            }],
            ..TxDraft::default()
        };
        let mut body = Vec::with_capacity(300);
        draft.encode_body(&mut body);
        body
    }
}

fn bytes(rng: &mut SimRng) -> [u8; 32] {
    let mut out = [0; 32];
    for part in out.chunks_mut(8) {
        part.copy_from_slice(&rng.bits().to_le_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use crypto::body::push_jobs;
    use crypto::verify::verify_one;
    use types::Hash;
    use types::genesis::{Allocation, FundingRule, Genesis};
    use types::policy::Policy;
    use types::transaction::TxView;

    use super::*;

    fn network() -> NetworkGenesis {
        let owner = Owner(SecretKey::from_seed([7; 32]).public());
        let amount = Amount(5);
        let mut validators: Vec<_> = (0..4_u8)
            .map(|n| SecretKey::from_seed([n; 32]).public())
            .collect();
        validators.sort_unstable();
        let genesis = Genesis {
            name: "attacked".into(),
            policy: Policy::simulated(),
            shards: 1,
            randomness: Hash([1; 32]),
            validators,
            voting_keys: Vec::new(),
            bonds: vec![0; 4],
            funding: FundingRule {
                seed: 1,
                accounts: 1,
                amount,
            },
            allocations: 1,
            allocations_hash: Hash::default(),
        };
        let epoch = crypto::placement::epoch_config(&genesis);
        NetworkGenesis {
            hash: epoch.genesis_hash,
            epoch,
            genesis,
            allocations: vec![Allocation { owner, amount }],
        }
    }

    #[test]
    fn all_decode_and_only_the_bad_ones_fail_the_equation() {
        let network = network();
        let mut forger = Forger::new(&network, 1, 2);
        for _ in 0..20 {
            for (tx, right) in [(forger.bad(), false), (forger.good(), true)] {
                let view = TxView::decode(&tx).expect("canonical");
                let mut jobs = Vec::new();
                push_jobs(
                    &hash::txid(view.body()),
                    &view,
                    &network.epoch.genesis_hash,
                    &mut jobs,
                );
                assert_eq!(jobs.len(), 1);
                assert_eq!(
                    verify_one(&jobs[0].key, &jobs[0].message, &jobs[0].signature),
                    right
                );
            }
        }
    }
}
