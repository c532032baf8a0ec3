//! Random blocks, roll-backs and finalizations: three ledgers with different seeds and executors against the model.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::{ProptestConfig, any, prop, proptest};
use types::{Amount, Height, OutPoint, Owner, Reject, TxId};

use super::blocks::{
    KEEP_SPENT, Terms, TestBlock, Threads, Tx, body, config, genesis_outpoint, owner, stranger,
};
use super::model::{Model, Outcome};
use crate::{Claim, ClaimOutcome, Exclusion, Executor, Inline, Ledger, Lookup, Slash, Snapshot, Utxo};

/// One transaction's random choices.
type Choice = (u8, u8, u8, u8);
/// One height's: its transactions, its slashes and claims, and what happens after it.
type Step = (Vec<Choice>, Vec<Choice>, u8, u8);

/// Bonds in force at the start.
const BONDS: u64 = 2_000;

/// What a generator of transactions knows.
struct Pool {
    /// Every output that some transaction would create.
    outputs: Vec<(OutPoint, Owner, u64)>,
    /// Those that are unspent if all goes well.
    live: Vec<(OutPoint, Owner, u64)>,
    txs: Vec<Tx>,
}

impl Pool {
    /// Mostly an output that is unspent, and then mostly a recent one, so that chains are common.
    fn pick(&self, choice: u8) -> (OutPoint, Owner, u64) {
        let choice = usize::from(choice);
        let from = if choice.is_multiple_of(8) || self.live.is_empty() {
            &self.outputs
        } else {
            &self.live
        };
        let span = if choice.is_multiple_of(3) {
            from.len()
        } else {
            from.len().min(9)
        };
        from[from.len() - 1 - (choice / 8) % span]
    }

    /// A transaction that is valid if its inputs are, or wrong in one way.
    fn make(&mut self, (flaw, first, second, split): Choice) -> Option<Tx> {
        if flaw == 1 && !self.txs.is_empty() {
            return Some(self.txs[usize::from(first) % self.txs.len()].clone());
        }
        let mut picked = vec![self.pick(first)];
        if second.is_multiple_of(3) {
            picked.push(self.pick(second / 3));
        }
        picked.sort_unstable();
        picked.dedup();
        match flaw {
            2 => picked[0].1 = owner(split % 8),
            3 => picked[0].0.txid = TxId([first; 32]),
            4 => picked[0].0.index = 7,
            _ => {}
        }
        let sum = picked
            .iter()
            .try_fold(0_u64, |sum, (_, _, amount)| sum.checked_add(*amount))?;
        let fee = if flaw == 5 { 0 } else { 1 + u64::from(split % 2) };
        let rest = sum.checked_sub(fee)?;
        let part = rest / (u64::from(split % 3) + 1);
        let mut outputs = vec![(owner(first % 8), part), (owner(second % 8), rest - part)];
        outputs.retain(|(_, amount)| *amount > 0);
        match flaw {
            6 => outputs.first_mut()?.1 += 1,
            7 => outputs.first_mut()?.0 = stranger(1),
            _ => {}
        }
        let terms = Terms {
            inputs: picked
                .iter()
                .map(|(outpoint, owner, _)| (*outpoint, *owner))
                .collect(),
            outputs,
            fee,
            expiry: if flaw == 8 { 5 } else { u32::from(split % 5) },
            nonce: u32::from(split),
        };
        let tx = terms.try_tx()?;
        let made = (0..)
            .zip(&terms.outputs)
            .map(|(index, (owner, amount))| (tx.output(index), *owner, *amount));
        self.outputs.extend(made.clone());
        self.txs.push(tx.clone());
        if flaw == 0 || flaw > 9 {
            self.live.retain(|output| !picked.contains(output));
            self.live.extend(made);
        }
        Some(tx)
    }

    /// A slash of what is in force at most, or a claim on a transaction, mostly a recent one: it took effect, or never
    /// did, or was claimed before.
    fn order(&mut self, (kind, first, second, loss): Choice, bonds: &mut u64, block: &mut TestBlock) {
        if kind.is_multiple_of(6) {
            let bond = (u64::from(loss) * 3).min(*bonds);
            *bonds -= bond;
            return block.slashes.push(Slash { bond });
        }
        let span = self.txs.len().min(if kind.is_multiple_of(3) { 200 } else { 12 });
        let Some(back) = usize::from(first).checked_rem(span) else {
            return;
        };
        let tx = &self.txs[self.txs.len() - 1 - back];
        let loss = match loss {
            255 => u64::MAX,
            loss => u64::from(loss) / 2,
        };
        let claim = Claim {
            txid: tx.id,
            output_count: tx.view().output_count() as u16,
            victims: (0..second % 4)
                .map(|number| (owner((second / 4 + number) % 8), loss / (u64::from(number) + 1)))
                .collect(),
        };
        for (index, (owner, loss)) in (0xC000..).zip(&claim.victims) {
            let made = (tx.output(index), *owner, *loss);
            self.outputs.push(made);
            self.live.push(made);
        }
        block.claims.push(claim);
    }

    /// Two batches and slow transactions; a flaw of 9 is a bad signature in a batch.
    fn block(&mut self, choices: &[Choice], orders: &[Choice], model: &Model) -> TestBlock {
        let live = model.outputs();
        let live = live
            .iter()
            .map(|(outpoint, utxo)| (*outpoint, utxo.owner, utxo.amount.0));
        self.live.clear();
        self.live.extend(live);
        let mut block = TestBlock::default();
        let mut bonds = model.counters.bonds;
        for order in orders {
            self.order(*order, &mut bonds, &mut block);
        }
        for third in choices.chunks(choices.len().div_ceil(3).max(1)) {
            let made: Vec<(u8, Tx)> = third
                .iter()
                .filter_map(|choice| Some((choice.0, self.make(*choice)?)))
                .collect();
            let bad = (0..)
                .zip(&made)
                .filter(|(_, (flaw, _))| *flaw == 9)
                .map(|(position, _)| position);
            let bad: Vec<u32> = bad.collect();
            let txs: Vec<Tx> = made.into_iter().map(|(_, tx)| tx).collect();
            if block.bodies.len() < 2 {
                block.bodies.push((body(&txs), bad));
            } else {
                block.slow = txs;
            }
        }
        block
    }
}

/// Three ledgers that must not differ, the model with a copy for each height above the final one, and a store that
/// sees net changes only.
struct World {
    ledgers: [Ledger; 3],
    models: Vec<Model>,
    blocks: Vec<TestBlock>,
    store: BTreeMap<OutPoint, Utxo>,
    claimed: BTreeSet<TxId>,
    pool: Pool,
}

const EXECUTORS: [&dyn Executor; 3] = [&Inline, &Threads(3), &Threads(1)];

impl World {
    fn new() -> Self {
        let amounts = (0..24_u64).map(|number| number * 7 + 1).chain([1 << 62]);
        let outputs: Vec<_> = (0..)
            .zip(amounts)
            .map(|(number, amount)| (genesis_outpoint(number), owner(number % 8), Amount(amount)))
            .collect();
        let make = |seed| Ledger::new(config(seed), outputs.iter().copied(), BONDS).expect("a valid genesis");
        let ledgers = [1, 2, 3].map(make);
        let store = ledgers[0].outputs().collect();
        let listed = outputs
            .iter()
            .map(|(outpoint, owner, amount)| (*outpoint, *owner, amount.0));
        Self {
            models: vec![Model::new(config(1).genesis_hash.0, &outputs, BONDS)],
            ledgers,
            blocks: Vec::new(),
            store,
            claimed: BTreeSet::new(),
            pool: Pool {
                outputs: listed.collect(),
                live: Vec::new(),
                txs: Vec::new(),
            },
        }
    }

    fn final_height(&self) -> u64 {
        self.models[0].height
    }

    fn apply(&mut self, choices: &[Choice], orders: &[Choice]) -> Outcome {
        let before = self.models.last().expect("never empty");
        let block = self.pool.block(choices, orders, before);
        let mut model = before.clone();
        let outcome = model.apply(&block);
        let txs: usize = block.bodies.iter().map(|(body, _)| body.len()).sum();
        let txs = txs + block.slow.len();
        let excluded: usize = outcome.batches.iter().map(|batch| batch.reasons.len()).sum();
        let excluded = excluded + outcome.slow.iter().flatten().count();
        for (ledger, executor) in self.ledgers.iter_mut().zip(EXECUTORS) {
            let applied = block.apply(ledger, Height(model.height), executor);
            let found = Outcome {
                batches: applied.batches,
                claims: applied.claims,
                slow: applied.slow,
            };
            assert_eq!(found, outcome);
            assert_eq!(applied.digest.0, model.digest);
            assert_eq!(applied.applied as usize, txs - excluded);
            assert_eq!(applied.fees, model.counters.fees - before.counters.fees);
        }
        self.models.push(model);
        self.blocks.push(block);
        outcome
    }

    fn roll_back(&mut self, heights: usize) {
        let kept = self.models.len().saturating_sub(heights).max(1);
        self.models.truncate(kept);
        self.blocks.truncate(kept - 1);
        let to = Height(self.models[kept - 1].height);
        self.ledgers.iter_mut().for_each(|ledger| ledger.roll_back(to));
    }

    fn finalize(&mut self, heights: usize) {
        let heights = heights.min(self.models.len() - 1);
        self.models.drain(..heights);
        self.blocks.drain(..heights);
        let height = self.final_height();
        self.models.iter_mut().for_each(|model| model.purge(height));
        let mut changes = self
            .ledgers
            .iter_mut()
            .map(|ledger| ledger.finalize(Height(height)));
        let first = changes.next().expect("three ledgers");
        assert!(changes.all(|other| other == first));
        assert_eq!(
            (first.digest.0, first.counters),
            (self.models[0].digest, self.models[0].counters)
        );
        for txid in first.claimed {
            assert!(self.claimed.insert(txid), "a claim is settled once");
        }
        for outpoint in &first.spent {
            assert!(
                self.store.remove(outpoint).is_some(),
                "only what the store has is gone"
            );
        }
        for (outpoint, utxo) in &first.created {
            assert!(
                self.store.insert(*outpoint, *utxo).is_none(),
                "only what is new is created"
            );
        }
    }

    fn check(&self) {
        let (base, tip) = (&self.models[0], self.models.last().expect("never empty"));
        let outputs = base.outputs();
        assert_eq!((&self.store, &self.claimed), (&outputs, &base.claimed));
        for ledger in &self.ledgers {
            assert_eq!(
                (ledger.height().0, ledger.final_height().0),
                (tip.height, base.height)
            );
            assert_eq!(ledger.digest().0, tip.digest);
            assert_eq!(ledger.totals(), base.totals());
            assert!(
                ledger
                    .outputs()
                    .eq(outputs.iter().map(|(outpoint, utxo)| (*outpoint, *utxo)))
            );
            ledger.check_conservation().expect("value neither comes nor goes");
            for height in base.height.saturating_sub(KEEP_SPENT)..=tip.height {
                for (outpoint, _, _) in &self.pool.outputs {
                    assert_eq!(
                        ledger.lookup(outpoint, Height(height)),
                        tip.lookup(outpoint, height)
                    );
                }
            }
        }
    }

    /// A ledger restored from the store and given the blocks above comes to the same digests.
    fn check_restart(&self) {
        let base = &self.models[0];
        let snapshot = Snapshot {
            height: Height(base.height),
            digest: types::Hash(base.digest),
            counters: base.counters,
            claimed: self.claimed.iter().copied().collect(),
            outputs: self
                .store
                .iter()
                .map(|(outpoint, utxo)| (*outpoint, *utxo))
                .collect(),
        };
        let mut restored = Ledger::restore(config(4), snapshot).expect("a valid snapshot");
        for (model, block) in self.models[1..].iter().zip(&self.blocks) {
            let applied = block.apply(&mut restored, Height(model.height), &Inline);
            assert_eq!(applied.digest.0, model.digest);
        }
        restored
            .check_conservation()
            .expect("value neither comes nor goes");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_ledger_is_the_model(
        steps in prop::collection::vec(
            (
                prop::collection::vec((0_u8..24, any::<u8>(), any::<u8>(), any::<u8>()), 0..30),
                prop::collection::vec((any::<u8>(), any::<u8>(), any::<u8>(), any::<u8>()), 0..4),
                0_u8..4,
                0_u8..5,
            ),
            1..12,
        ),
    ) {
        let steps: Vec<Step> = steps;
        let mut world = World::new();
        for (choices, orders, back, finals) in steps {
            world.apply(&choices, &orders);
            world.check();
            if back == 0 {
                world.roll_back(usize::from(finals));
            } else {
                world.finalize(usize::from(finals));
            }
            world.check();
        }
        world.check_restart();
    }
}

/// What a fixed walk through the same generator met: what it never makes, the comparison above would never test.
#[derive(Default)]
struct Met {
    batches: BTreeSet<&'static str>,
    slow: BTreeSet<&'static str>,
    claims: BTreeSet<&'static str>,
}

impl Met {
    fn note(&mut self, outcome: &Outcome, block: &TestBlock, model: &Model) {
        let name = |reason: &Exclusion| match reason {
            Exclusion::Reject(reject) => reject.name(),
            Exclusion::Duplicate => "duplicate",
        };
        for batch in &outcome.batches {
            self.batches
                .extend(batch.reasons.iter().map(|(_, reason)| name(reason)));
        }
        let slow = outcome.slow.iter();
        self.slow
            .extend(slow.map(|reason| reason.as_ref().map_or("applied", name)));
        for (claim, outcome) in block.claims.iter().zip(&outcome.claims) {
            let ClaimOutcome { seized, paid, unpaid } = *outcome;
            let mut note = |met, what| {
                if met {
                    self.claims.insert(what);
                }
            };
            note(seized > 0, "seized");
            note(seized > paid, "more seized than lost");
            note(paid > seized, "paid from the pool");
            note(unpaid > 0 && paid > 0, "paid in part");
            note(unpaid > 0 && paid == 0, "nothing to pay from");
            note(
                *outcome == ClaimOutcome::default() && claim.victims.iter().any(|(_, loss)| *loss > 0),
                "claimed before",
            );
            for index in 0xC000..0xC004 {
                let compensation = OutPoint {
                    txid: claim.txid,
                    index,
                };
                let now = model.lookup(&compensation, model.height);
                let spent = matches!(now, Lookup::Spent { at, .. } if at.0 == model.height);
                note(spent && paid > 0, "compensation spent in its block");
            }
        }
    }
}

#[test]
fn random_blocks_meet_every_outcome() {
    let mut world = World::new();
    let mut met = Met::default();
    let mut stream = blake3::Hasher::new().finalize_xof();
    for _ in 0..160 {
        let mut bytes = [0; 4 * 43];
        stream.fill(&mut bytes);
        let choices: Vec<Choice> = bytes
            .chunks_exact(4)
            .map(|four| (four[0] % 24, four[1], four[2], four[3]))
            .collect();
        let (orders, choices) = choices.split_at(3);
        let outcome = world.apply(choices, orders);
        let (block, model) = (world.blocks.last(), world.models.last());
        met.note(&outcome, block.expect("applied"), model.expect("applied"));
        world.finalize(1);
    }
    world.check();
    let of_state = [
        Reject::InputMissing,
        Reject::InputSpent,
        Reject::OwnerMismatch,
        Reject::ValueMismatch,
        Reject::ParentExcluded,
    ];
    let alone = [Reject::Expired, Reject::FeeLow, Reject::KindClosed];
    let both = of_state.iter().chain(&alone).map(|reject| reject.name());
    let both: BTreeSet<&str> = both.chain(["duplicate"]).collect();
    let and = |name| both.iter().copied().chain([name]).collect::<BTreeSet<&str>>();
    assert_eq!(met.batches, and(Reject::BadSignature.name()));
    assert_eq!(met.slow, and("applied"));
    let claims = [
        "seized",
        "more seized than lost",
        "paid from the pool",
        "paid in part",
        "nothing to pay from",
        "claimed before",
        "compensation spent in its block",
    ];
    assert_eq!(met.claims, claims.into());
    let counters = world.models[0].counters;
    assert!(
        world.models[0].height == 160 && counters.fees > 1000,
        "most transactions take effect"
    );
    assert!(
        counters.rewards > 0 && counters.bonds < BONDS,
        "bonds are slashed"
    );
}
