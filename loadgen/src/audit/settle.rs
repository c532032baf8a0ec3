//! Finds out what a block did: the rules, then signatures, then which transactions the chain treats otherwise.

use crypto::body::push_jobs;
use crypto::keys::Scheme;
use crypto::merkle::excluded_root;
use crypto::verify::{BatchVerifier, SignatureJob};
use types::block::Body;
use types::limits::VERIFY_BATCH_MAX;
use types::{Hash, Height, TxId};

use super::league::Reactions;
use super::model::{Breach, Model, Place, Run, Told};

/// Transactions that the search for a deviating bit runs through the model in one block.
const SEARCH_TXS_MAX: usize = 4_000_000;

/// Checks signatures, all of them or a seeded sample.
#[derive(Debug)]
pub(super) struct Signatures {
    genesis: Hash,
    verifier: BatchVerifier,
    /// Per million; a million checks all.
    sample_ppm: u32,
    seed: [u8; 32],
    pub(super) checked: u64,
}

impl Signatures {
    pub(super) fn new(genesis: Hash, seed: [u8; 32], sample_ppm: u32) -> Self {
        Self {
            genesis,
            verifier: BatchVerifier::new(seed, Scheme::Ed25519),
            sample_ppm,
            seed,
            checked: 0,
        }
    }

    pub(super) const fn is_full(&self) -> bool {
        self.sample_ppm >= 1_000_000
    }

    /// Whether a transaction belongs to the sample; who does not know the seed cannot tell.
    fn is_sampled(&self, txid: &TxId) -> bool {
        let hash = blake3::keyed_hash(&self.seed, &txid.0);
        let [a, b, c, d, ..] = *hash.as_bytes();
        let drawn = u64::from(u32::from_le_bytes([a, b, c, d]));
        drawn * 1_000_000 < u64::from(self.sample_ppm) << 32
    }

    /// Places among `candidates` with a signature that is not valid.
    fn bad(&mut self, bodies: &[Body], candidates: impl Iterator<Item = Place>) -> Vec<Place> {
        let mut bad = Vec::new();
        let (mut jobs, mut places): (Vec<SignatureJob>, Vec<Place>) = (Vec::new(), Vec::new());
        for (reference, position) in candidates {
            let body = &bodies[reference];
            push_jobs(
                &body.entries()[position].txid,
                &body.tx(position),
                &self.genesis,
                &mut jobs,
            );
            places.resize(jobs.len(), (reference, position));
            if jobs.len() >= VERIFY_BATCH_MAX {
                self.check(&mut jobs, &mut places, &mut bad);
            }
        }
        self.check(&mut jobs, &mut places, &mut bad);
        bad.dedup();
        bad
    }

    fn check(&mut self, jobs: &mut Vec<SignatureJob>, places: &mut Vec<Place>, bad: &mut Vec<Place>) {
        self.checked += jobs.len() as u64;
        let verdict = self.verifier.verify(jobs);
        bad.extend(verdict.bad.iter().filter_map(|job| places.get(*job as usize)));
        jobs.clear();
        places.clear();
    }
}

/// One way in which a chain does not follow from its transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deviation {
    /// It applied what breaks a rule.
    Applied(Place, Breach),
    /// It excluded what breaks none.
    Excluded(Place),
    /// Its excluded bits cannot be explained by one transaction.
    Bits,
}

/// What a block did, and how that deviates from the rules.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) run: Run,
    pub(super) deviations: Vec<Deviation>,
    /// Applied transactions of believable authors with a signature that is not valid: the samples of all voters missed
    /// them, and a claim has to follow.
    pub(super) forged: Vec<Place>,
}

/// What a block is settled by.
pub(super) struct Order<'a> {
    pub(super) height: Height,
    pub(super) bodies: &'a [Body],
    /// By reference: whether voters only sample its signatures.
    pub(super) sampled: Vec<bool>,
    /// `excluded_root` of the header.
    pub(super) expected: Hash,
    pub(super) reactions: Reactions,
}

/// Runs a block so that its excluded bits become those of the header, if that is possible at all.
pub(super) fn settle(model: &Model, order: Order<'_>, signatures: &mut Signatures) -> Settled {
    let Order {
        height,
        bodies,
        sampled,
        expected,
        reactions,
    } = order;
    let mut told = Told {
        reactions,
        ..Told::default()
    };
    let is_sampled = |place: &Place| sampled.get(place.0).copied().unwrap_or_default();
    let mut forged = Vec::new();
    // A bad signature excludes only where every voter checks every signature.
    let mut look = |told: &mut Told, signatures: &mut Signatures| {
        let (seats, others) = signatures
            .bad(bodies, all(bodies))
            .into_iter()
            .partition::<Vec<Place>, _>(is_sampled);
        forged = seats;
        told.bad_signatures = others.into_iter().collect();
    };
    if signatures.is_full() {
        look(&mut told, signatures);
    }
    let mut run = model.run(height, bodies, &told);
    if !is(&run, expected) && !signatures.is_full() {
        // Bits that the state does not explain: signatures that are not valid may.
        look(&mut told, signatures);
        run = model.run(height, bodies, &told);
    }
    let mut deviations = Vec::new();
    if !is(&run, expected) {
        let (found, explained) = search(model, height, bodies, expected, run, &mut told);
        run = found;
        deviations = explained;
    } else if told.bad_signatures.is_empty() && forged.is_empty() && !signatures.is_full() {
        let drawn: Vec<Place> = run
            .places(true)
            .into_iter()
            .filter(|(reference, position)| {
                signatures.is_sampled(&bodies[*reference].entries()[*position].txid)
            })
            .collect();
        let bad = signatures.bad(bodies, drawn.into_iter());
        let (seats, others): (Vec<Place>, Vec<Place>) = bad.into_iter().partition(is_sampled);
        forged = seats;
        deviations.extend(
            others
                .into_iter()
                .map(|place| Deviation::Applied(place, Breach::Signature)),
        );
    }
    forged.retain(|(reference, position)| run.applied[*reference][*position]);
    Settled {
        run,
        deviations,
        forged,
    }
}

fn all(bodies: &[Body]) -> impl Iterator<Item = Place> {
    bodies
        .iter()
        .enumerate()
        .flat_map(|(reference, body)| (0..body.len()).map(move |position| (reference, position)))
}

fn is(run: &Run, expected: Hash) -> bool {
    excluded_root(&run.bitmaps()) == expected
}

/// Looks for the transactions whose bit deviates: first single ones that break a rule, then all of those, then single
/// ones that break none.
fn search(
    model: &Model,
    height: Height,
    bodies: &[Body],
    expected: Hash,
    honest: Run,
    told: &mut Told,
) -> (Run, Vec<Deviation>) {
    let total: usize = bodies.iter().map(Body::len).sum();
    let mut left = SEARCH_TXS_MAX / total.max(1);
    let excluded = honest.places(false);
    let singles = excluded.iter().map(|place| vec![(*place, true)]);
    let together = std::iter::once(excluded.iter().map(|place| (*place, true)).collect());
    let others = honest.places(true).into_iter().map(|place| vec![(place, false)]);
    for guess in singles.chain(together).chain(others) {
        if left == 0 {
            break;
        }
        left -= 1;
        told.overruled = guess.into_iter().collect();
        let run = model.run(height, bodies, told);
        if !is(&run, expected) {
            continue;
        }
        let mut deviations: Vec<Deviation> = told
            .overruled
            .iter()
            .filter_map(|(place, applied)| match (run.breach(*place), *applied) {
                (Some(breach), true) => Some(Deviation::Applied(*place, breach)),
                (None, false) => Some(Deviation::Excluded(*place)),
                _ => None,
            })
            .collect();
        deviations.sort_unstable_by_key(|deviation| match deviation {
            Deviation::Applied(place, _) | Deviation::Excluded(place) => *place,
            Deviation::Bits => (0, 0),
        });
        return (run, deviations);
    }
    told.overruled.clear();
    (honest, vec![Deviation::Bits])
}
