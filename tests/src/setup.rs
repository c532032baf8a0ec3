//! Genesis, keys and ledgers of a simulated network.

use std::collections::BTreeSet;

use bytes::Bytes;
use crypto::cosign::Verifier;
use crypto::keys::{Scheme, SecretKey, account_seed};
use crypto::verify::BatchVerifier;
use crypto::{hash, placement};
use ledger::{Ledger, LedgerConfig, Utxo};
use replica::body_check::{check_body, recheck_body};
use replica::{BodyVerdict, CheckedBody, Planted, ReplicaConfig, SignatureChecks};
use types::block::{AuthorHeader, Body, SignedAuthorHeader};
use types::certificate::is_aggregated;
use types::evidence::TxEvidence;
use types::genesis::{Committee, EpochConfig, FundingRule, Genesis, SigningContext};
use types::policy::Policy;
use types::transaction::TxView;
use types::{Amount, Hash, Height, MemberIndex, OutPoint, Owner, ShardId};

use crate::faults::Options;
use crate::league::LeagueOptions;

/// Value of each coin at genesis.
pub const COIN: Amount = Amount(1_000);

/// Bond of every validator of one league at genesis.
pub const BOND: u64 = 5_000;

/// What all nodes of a run share.
#[derive(Debug)]
pub struct Setup {
    /// Epoch with its one committee.
    pub epoch: EpochConfig,
    /// Bonds of all members at genesis.
    pub bonds: u64,
    /// Members that do not lie.
    pub honest: BTreeSet<MemberIndex>,
    /// Fixed part of signed strings.
    pub context: SigningContext,
    /// The committee with its voting keys decoded.
    pub certificates: Verifier,
    /// Keys of the members, by member.
    pub keys: Vec<SecretKey>,
    /// Keys of the accounts.
    pub accounts: Vec<SecretKey>,
    /// Coins at genesis, the one of account `i` at `i`.
    pub coins: Vec<(OutPoint, Utxo)>,
    /// How keys sign.
    pub scheme: Scheme,
    /// Seeds of the accounts' keys.
    pub seeds: Vec<[u8; 32]>,
    /// Transactions signed with a component of small order, of 1000.
    pub torsion: u64,
    planted: Option<Planted>,
}

impl Setup {
    /// Network of a run's options.
    ///
    /// # Panics
    /// When the options ask for a network that cannot exist: a mistake of the caller.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        let scheme = options.scheme;
        let mut keys: Vec<_> = (0..options.members())
            .map(|id| SecretKey::of_scheme(scheme, account_seed(!options.seed, id.into())))
            .collect();
        keys.sort_by_key(SecretKey::public);
        let seeds: Vec<_> = (0..options.accounts)
            .map(|index| account_seed(options.seed, index))
            .collect();
        let accounts: Vec<_> = seeds
            .iter()
            .map(|seed| SecretKey::of_scheme(scheme, *seed))
            .collect();
        let leagues = options.leagues.as_ref();
        let genesis = Genesis {
            name: "simulated".into(),
            policy: leagues.map_or_else(Policy::simulated, LeagueOptions::policy),
            shards: 1,
            randomness: Hash([options.seed as u8; 32]),
            validators: keys.iter().map(SecretKey::public).collect(),
            voting_keys: keys
                .iter()
                .filter(|_| is_aggregated(usize::from(options.validators)))
                .map(|key| key.voting().voting_key())
                .collect(),
            bonds: vec![leagues.map_or(BOND, |leagues| leagues.bond); keys.len()],
            funding: FundingRule {
                seed: options.seed,
                accounts: options.accounts as u32,
                amount: COIN,
            },
            allocations: options.accounts as u32,
            allocations_hash: Hash::default(),
        };
        genesis.validate().expect("the options describe a network");
        let epoch = placement::epoch_config(&genesis);
        let committee = &epoch.committees[0];
        let keys = committee
            .members
            .iter()
            .map(|(id, _)| keys[usize::from(id.0)].clone())
            .collect();
        let coins = (0..).zip(&accounts).map(|(index, key)| {
            let utxo = Utxo {
                owner: Owner(key.public()),
                amount: COIN,
                created: Height(0),
            };
            (hash::allocation_outpoint(&genesis.name, index), utxo)
        });
        Self {
            bonds: committee.bonds.iter().sum(),
            honest: (0..options.members())
                .map(MemberIndex)
                .filter(|member| !options.liars.contains(member))
                .collect(),
            context: SigningContext {
                genesis_hash: epoch.genesis_hash,
                epoch: epoch.epoch,
                shard: ShardId(0),
                committee_hash: committee.hash,
            },
            certificates: Verifier::new(scheme, committee.clone()),
            keys,
            coins: coins.collect(),
            accounts,
            scheme,
            seeds,
            torsion: options.torsion,
            planted: options.planted,
            epoch,
        }
    }

    /// Configuration of a node's life.
    #[must_use]
    pub fn config(&self, me: MemberIndex, boot_nonce: u64) -> ReplicaConfig {
        ReplicaConfig {
            epoch: self.epoch.clone(),
            shard: ShardId(0),
            me,
            scheme: self.scheme,
            boot_nonce,
            disk_lost: false,
            planted: self.planted,
            mischief: None,
        }
    }

    /// The ledger of a snapshot. `salt` places entries in its tables: nodes differ in it, so that nothing may
    /// depend on their order.
    ///
    /// # Panics
    /// When the snapshot contradicts itself: the disk lost its mind, which it never does.
    #[must_use]
    pub fn ledger(&self, snapshot: ledger::Snapshot, salt: u64) -> Ledger {
        let mut hash_seed = [0; 16];
        hash_seed[..8].copy_from_slice(&salt.to_le_bytes());
        let config = LedgerConfig {
            shard: ShardId(0),
            shards: 1,
            genesis_hash: self.epoch.genesis_hash,
            keep_spent: self.epoch.policy.memory(),
            fee_min: self.epoch.policy.fee_min,
            expiry_ahead_max: self.epoch.policy.expiry_ahead_max,
            hash_seed,
        };
        let ledger = if snapshot.height == Height(0) {
            let outputs = self
                .coins
                .iter()
                .map(|(outpoint, utxo)| (*outpoint, utxo.owner, utxo.amount));
            Ledger::new(config, outputs, self.bonds)
        } else {
            Ledger::restore(config, snapshot)
        };
        #[cfg_attr(
            not(feature = "planted-bugs"),
            expect(unused_mut, reason = "only planting changes it")
        )]
        let mut ledger = ledger.expect("the state of a disk is consistent");
        #[cfg(feature = "planted-bugs")]
        if let Some(Planted::Ledger(bug)) = self.planted {
            ledger.plant(bug);
        }
        ledger
    }

    /// The one committee.
    #[must_use]
    pub fn committee(&self) -> &Committee {
        &self.epoch.committees[0]
    }

    /// Group of an owner among `groups`.
    #[must_use]
    pub fn group_of(&self, owner: &Owner, groups: u16) -> u16 {
        placement::group_of(owner, &self.epoch.randomness, ShardId(0), groups)
    }

    /// Checks a body as a node's workers do, which verify at most `together` signatures at a time: where a batch ends
    /// hangs on the load of the moment, and nothing may hang on that.
    #[must_use]
    pub fn check_body(
        &self,
        header: &SignedAuthorHeader,
        bytes: &Bytes,
        checks: &SignatureChecks,
        together: usize,
    ) -> BodyVerdict {
        let (verifier, genesis) = (&mut self.verifier(), &self.epoch.genesis_hash);
        check_body(verifier, genesis, header, bytes.clone(), checks, together).0
    }

    /// Checks a final body again, all of it.
    #[must_use]
    pub fn recheck_body(
        &self,
        header: &SignedAuthorHeader,
        bytes: &Bytes,
        together: usize,
    ) -> Vec<TxEvidence> {
        let (verifier, genesis) = (&mut self.verifier(), &self.epoch.genesis_hash);
        recheck_body(verifier, genesis, header, bytes, together).0
    }

    /// The body with all bad signatures, each by a lone check; nothing when it is not the header's.
    #[must_use]
    pub fn check_alone(&self, header: &SignedAuthorHeader, bytes: &Bytes) -> Option<CheckedBody> {
        match self.check_body(header, bytes, &SignatureChecks::All, 1) {
            BodyVerdict::Checked(checked) => Some(checked),
            BodyVerdict::Foreign | BodyVerdict::Faulty(_) => None,
        }
    }

    /// Positions whose signatures are asked for, ascending.
    #[must_use]
    pub fn asked(&self, header: &AuthorHeader, body: &Body, checks: &SignatureChecks) -> Vec<u32> {
        match checks {
            SignatureChecks::All => (0..body.len() as u32).collect(),
            SignatureChecks::Skipped => Vec::new(),
            SignatureChecks::Sampled(sampling) => {
                let values = body.txs().map(|(_, tx)| moved(&tx));
                sampling.positions(&hash::author_header_hash(header), values)
            }
        }
    }

    /// A verifier as nodes have them.
    #[must_use]
    pub fn verifier(&self) -> BatchVerifier {
        #[cfg_attr(
            not(feature = "planted-bugs"),
            expect(unused_mut, reason = "only planting changes it")
        )]
        let mut verifier = BatchVerifier::new([1; 32], self.scheme);
        #[cfg(feature = "planted-bugs")]
        if self.planted == Some(Planted::BatchWithoutCofactor) {
            verifier.plant_without_cofactor();
        }
        verifier
    }
}

/// What a transaction moves: its outputs and its fee.
fn moved(tx: &TxView<'_>) -> u64 {
    let outputs = tx.outputs().map(|output| output.amount.0);
    outputs.fold(tx.fee().0, u64::saturating_add)
}
