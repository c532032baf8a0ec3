//! Random blocks, roll-backs and finalizations: three ledgers with different seeds and executors against the model.

use std::collections::BTreeMap;

use proptest::prelude::{ProptestConfig, any, prop, proptest};
use types::{Amount, Height, OutPoint, Owner, TxId};

use super::blocks::{
    KEEP_SPENT, Terms, TestBlock, Threads, Tx, body, config, genesis_outpoint, owner, stranger,
};
use super::model::Model;
use crate::{BatchOutcome, Executor, Inline, Ledger, Snapshot, Utxo};

/// One transaction's random choices.
type Choice = (u8, u8, u8, u8);
/// One height's: its transactions, and what happens after it.
type Step = (Vec<Choice>, u8, u8);

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

    /// Two batches; a flaw of 9 is a bad signature.
    fn block(&mut self, choices: &[Choice], live: &BTreeMap<OutPoint, Utxo>) -> TestBlock {
        let live = live
            .iter()
            .map(|(outpoint, utxo)| (*outpoint, utxo.owner, utxo.amount.0));
        self.live.clear();
        self.live.extend(live);
        let mut bodies = Vec::new();
        for half in choices.chunks(choices.len().div_ceil(2).max(1)) {
            let made: Vec<(u8, Tx)> = half
                .iter()
                .filter_map(|choice| Some((choice.0, self.make(*choice)?)))
                .collect();
            let bad = (0..)
                .zip(&made)
                .filter(|(_, (flaw, _))| *flaw == 9)
                .map(|(position, _)| position);
            let bad: Vec<u32> = bad.collect();
            let txs: Vec<Tx> = made.into_iter().map(|(_, tx)| tx).collect();
            bodies.push((body(&txs), bad));
        }
        TestBlock { bodies }
    }
}

/// Three ledgers that must not differ, the model with a copy for each height above the final one, and a store that
/// sees net changes only.
struct World {
    ledgers: [Ledger; 3],
    models: Vec<Model>,
    blocks: Vec<TestBlock>,
    store: BTreeMap<OutPoint, Utxo>,
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
        let make = |seed| Ledger::new(config(seed), outputs.iter().copied()).expect("a valid genesis");
        let ledgers = [1, 2, 3].map(make);
        let store = ledgers[0].outputs().collect();
        let listed = outputs
            .iter()
            .map(|(outpoint, owner, amount)| (*outpoint, *owner, amount.0));
        Self {
            models: vec![Model::new(config(1).genesis_hash.0, &outputs)],
            ledgers,
            blocks: Vec::new(),
            store,
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

    fn apply(&mut self, choices: &[Choice]) -> Vec<BatchOutcome> {
        let live = self.models.last().expect("never empty").outputs();
        let block = self.pool.block(choices, &live);
        let mut model = self.models.last().expect("never empty").clone();
        let outcomes = model.apply(&block);
        for (ledger, executor) in self.ledgers.iter_mut().zip(EXECUTORS) {
            let applied = ledger.apply(Height(model.height), &BlockInput::new(&block.batches()), executor);
            assert_eq!(applied.batches, outcomes);
            assert_eq!(applied.digest.0, model.digest);
            let txs: usize = block.bodies.iter().map(|(body, _)| body.len()).sum();
            let excluded: usize = outcomes.iter().map(|outcome| outcome.reasons.len()).sum();
            assert_eq!(applied.applied as usize, txs - excluded);
            assert_eq!(
                applied.fees,
                model.fees - self.models.last().expect("never empty").fees
            );
        }
        self.models.push(model);
        self.blocks.push(block);
        outcomes
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
            (first.digest.0, first.fees_total),
            (self.models[0].digest, self.models[0].fees)
        );
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
        assert_eq!(self.store, outputs);
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
            fees: base.fees,
            outputs: self
                .store
                .iter()
                .map(|(outpoint, utxo)| (*outpoint, *utxo))
                .collect(),
        };
        let mut restored = Ledger::restore(config(4), snapshot).expect("a valid snapshot");
        for (model, block) in self.models[1..].iter().zip(&self.blocks) {
            let applied = restored.apply(Height(model.height), &BlockInput::new(&block.batches()), &Inline);
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
            (prop::collection::vec((0_u8..24, any::<u8>(), any::<u8>(), any::<u8>()), 0..24), 0_u8..4, 0_u8..5),
            1..12,
        ),
    ) {
        let steps: Vec<Step> = steps;
        let mut world = World::new();
        for (choices, back, finals) in steps {
            world.apply(&choices);
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

#[test]
fn random_blocks_meet_every_outcome() {
    use crate::Exclusion;
    use std::collections::BTreeSet;
    use types::Reject;

    // A fixed walk through the same generator: what it never makes, the comparison above would never test.
    let mut world = World::new();
    let mut seen = BTreeSet::new();
    let mut stream = blake3::Hasher::new().finalize_xof();
    for _ in 0..120 {
        let mut bytes = [0; 4 * 40];
        stream.fill(&mut bytes);
        let choices: Vec<Choice> = bytes
            .chunks_exact(4)
            .map(|four| (four[0] % 24, four[1], four[2], four[3]))
            .collect();
        for outcome in world.apply(&choices) {
            seen.extend(outcome.reasons.iter().map(|(_, reason)| match reason {
                Exclusion::Reject(reject) => reject.name(),
                Exclusion::Duplicate => "duplicate",
            }));
        }
        world.finalize(1);
    }
    world.check();
    let expected = [
        Reject::BadSignature,
        Reject::Expired,
        Reject::FeeLow,
        Reject::KindClosed,
        Reject::InputMissing,
        Reject::InputSpent,
        Reject::OwnerMismatch,
        Reject::ValueMismatch,
        Reject::ParentExcluded,
    ];
    let expected: BTreeSet<&str> = expected
        .iter()
        .map(|reject| reject.name())
        .chain(["duplicate"])
        .collect();
    assert_eq!(seen, expected);
    assert!(
        world.models[0].height == 120 && world.models[0].fees > 1000,
        "most transactions take effect"
    );
}
