use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};
use types::{Amount, Hash, ShardId};

use super::{Believability, Caps, Record, Reviews, believability, candidate_seed, draw, seat_seed};

const CAPS: Caps = Caps {
    bond_min: Amount(10),
    bond: Amount(1_000),
    servi: 200,
    contributions: 50,
};

fn bonded(bond: u64) -> Record {
    Record {
        bond: Amount(bond),
        ..Record::default()
    }
}

fn scores<const N: usize>(ppm: [u32; N]) -> Vec<Believability> {
    ppm.map(Believability::from_ppm).to_vec()
}

fn seed(number: u32) -> Hash {
    Hash(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

/// Sum of the squared deviations from what is expected, each over what is expected.
fn chi_square(cells: impl IntoIterator<Item = (f64, f64)>) -> f64 {
    cells
        .into_iter()
        .map(|(counted, expected)| (counted - expected).powi(2) / expected)
        .sum()
}

#[test]
fn believability_is_known() {
    let best = Reviews {
        count: u32::MAX,
        stars: 5 * u64::from(u32::MAX),
    };
    let worst = Reviews {
        count: u32::MAX,
        stars: 0,
    };
    let all = Record {
        bond: Amount(u64::MAX),
        servi: u64::MAX,
        contributions: u64::MAX,
        ..Record::default()
    };
    for (record, ppm) in [
        // Without reviews the factor is 0.8; a bond alone counts half.
        (bonded(1_000), 400_000),
        (bonded(1_001), 400_000),
        (bonded(250), 100_000),
        (bonded(10), 4_000),
        (bonded(9), 0),
        (Record::default(), 0),
        (all, 800_000),
        (
            Record {
                reviews: worst,
                ..all
            },
            500_000,
        ),
        (Record { barred: true, ..all }, 0),
        (
            Record {
                servi: 100,
                ..bonded(10)
            },
            4_000 + 120_000,
        ),
        (
            Record {
                contributions: 5,
                ..bonded(10)
            },
            4_000 + 16_000,
        ),
        (
            Record {
                reviews: Reviews { count: 10, stars: 50 },
                ..bonded(1_000)
            },
            450_000,
        ),
    ] {
        assert_eq!(believability(&record, &CAPS).ppm(), ppm, "{record:?}");
    }
    // Four thousand million best reviews still weigh against ten at 0.6: just below the whole.
    let nearly = believability(&Record { reviews: best, ..all }, &CAPS);
    assert_eq!(nearly.ppm(), 999_999);
    assert_eq!(Believability::from_ppm(u32::MAX), Believability::MAX);
}

#[test]
fn a_factor_without_cap_counts_nothing() {
    let record = Record {
        servi: 7,
        contributions: 7,
        ..bonded(7)
    };
    assert_eq!(believability(&record, &Caps::default()), Believability(0));
    let caps = Caps {
        bond: Amount(7),
        ..Caps::default()
    };
    assert_eq!(believability(&record, &caps).ppm(), 400_000);
}

#[test]
fn the_mean_of_reviews_starts_at_the_prior_and_stays_inside() {
    let mean = |count, stars| Reviews { count, stars }.mean_ppm();
    assert_eq!(mean(0, 0), 600_000);
    assert_eq!(mean(10, 50), 800_000);
    assert_eq!(mean(10, 10), 300_000);
    // Three stars are a half.
    assert_eq!(mean(1, 3), (6_000_000 + 500_000) / 11);
    assert_eq!(mean(0, 99), 600_000);
    assert_eq!(mean(10, 99), 800_000);
}

proptest! {
    #[test]
    fn splitting_an_identity_gains_nothing_below_the_caps(
        parts in prop::collection::vec((0..100_000_u64, 0..40_000_u64, 0..9_000_u64), 1..10),
        count in 0..1_000_u32, stars in any::<u16>(),
    ) {
        let caps = Caps { bond_min: Amount(1), bond: Amount(1_000_000), servi: 400_000, contributions: 90_000 };
        let reviews = Reviews { count, stars: stars.into() };
        let record = |(bond, servi, contributions)| Record {
            bond: Amount(bond), servi, contributions, reviews, barred: false,
        };
        let whole = parts.iter().fold((0, 0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1, sum.2 + part.2));
        let apart: u64 = parts.iter().map(|part| u64::from(believability(&record(*part), &caps).ppm())).sum();
        prop_assert!(apart <= believability(&record(whole), &caps).ppm().into());
    }

    #[test]
    fn more_of_anything_is_never_believed_less(
        bond in any::<u64>(), servi in any::<u64>(), contributions in any::<u64>(), count in any::<u32>(),
        stars in any::<u64>(), more in any::<u64>(),
    ) {
        let record = Record {
            bond: Amount(bond), servi, contributions, reviews: Reviews { count, stars }, barred: false,
        };
        let score = believability(&record, &CAPS);
        prop_assert!(score <= Believability::MAX);
        for better in [
            Record { bond: Amount(bond.saturating_add(more)), ..record },
            Record { servi: servi.saturating_add(more), ..record },
            Record { contributions: contributions.saturating_add(more), ..record },
            Record { reviews: Reviews { count, stars: stars.saturating_add(more) }, ..record },
        ] {
            prop_assert!(believability(&better, &CAPS) >= score);
        }
        prop_assert_eq!(believability(&Record { barred: true, ..record }, &CAPS), Believability(0));
    }

    #[test]
    fn a_draw_takes_each_eligible_at_most_once_and_all_when_they_are_few(
        ppm in prop::collection::vec(0..200_000_u32, 0..40), minimum in 0..200_000_u32, count in 0..50_usize, number in any::<u32>(),
    ) {
        let scores: Vec<_> = ppm.iter().copied().map(Believability::from_ppm).collect();
        let eligible = ppm.iter().filter(|ppm| **ppm >= minimum && **ppm > 0).count();
        let minimum = Believability::from_ppm(minimum);
        let drawn = draw(&seed(number), &scores, minimum, count);
        prop_assert_eq!(drawn.len(), count.min(eligible));
        prop_assert!(drawn.iter().all(|at| scores[usize::from(*at)] >= minimum && scores[usize::from(*at)].0 > 0));
        prop_assert_eq!(drawn.iter().collect::<BTreeSet<_>>().len(), drawn.len());
        // Asking for fewer changes nothing in what is drawn first.
        prop_assert_eq!(&drawn[..count.min(eligible) / 2], draw(&seed(number), &scores, minimum, count.min(eligible) / 2));
    }
}

#[test]
fn draws_and_their_seeds_are_pinned() {
    let ten = scores([
        1_000_000, 1, 500_000, 400_000, 0, 400_000, 50_000, 49_999, 400_000, 123_456,
    ]);
    let minimum = Believability::from_ppm(50_000);
    assert_eq!(draw(&Hash([7; 32]), &ten, minimum, 16), DRAWN);
    assert_eq!(draw(&Hash([8; 32]), &scores([70_000; 12]), minimum, 12), EQUAL);
    let (first, other) = (Hash([3; 32]), Hash([4; 32]));
    let derived = |input: &[u8]| Hash(blake3::derive_key("shardbench v1 league", input));
    assert_eq!(
        candidate_seed(&first, ShardId(0x0102)),
        derived(&[&[3; 32][..], &[2, 1], b"cand"].concat())
    );
    assert_eq!(
        seat_seed(&first, ShardId(0x0102), 5),
        derived(&[&[3; 32][..], &[2, 1], b"term", &[5, 0, 0, 0]].concat())
    );
    let seeds = [
        candidate_seed(&first, ShardId(0)),
        candidate_seed(&first, ShardId(1)),
        candidate_seed(&other, ShardId(0)),
        seat_seed(&first, ShardId(0), 0),
        seat_seed(&first, ShardId(0), 1),
    ];
    assert_eq!(seeds.iter().map(|seed| seed.0).collect::<BTreeSet<_>>().len(), 5);
}

#[test]
fn frequencies_follow_the_scores() {
    const DRAWS: u32 = 40_000;
    let weights = [400_000, 0, 50_000, 120_000, 400_000, 49_999, 230_000];
    let scores = scores(weights);
    let minimum = Believability::from_ppm(50_000);
    let mut pairs: BTreeMap<(u16, u16), f64> = BTreeMap::new();
    for number in 0..DRAWS {
        let drawn = draw(&seed(number), &scores, minimum, 2);
        *pairs.entry((drawn[0], drawn[1])).or_default() += 1.0;
    }
    let eligible = [0, 2, 3, 4, 6_u16];
    let weight = |at: u16| f64::from(weights[usize::from(at)]);
    let total: f64 = eligible.iter().map(|at| weight(*at)).sum();
    let mut cells = Vec::new();
    for first in eligible {
        for second in eligible.into_iter().filter(|second| *second != first) {
            let probability = weight(first) / total * weight(second) / (total - weight(first));
            let counted = pairs.remove(&(first, second)).unwrap_or_default();
            cells.push((counted, f64::from(DRAWS) * probability));
        }
    }
    assert!(pairs.is_empty(), "drawn without being eligible: {pairs:?}");
    // 20 ordered pairs, 19 degrees of freedom, p = 0.001.
    let found = chi_square(cells.iter().copied());
    assert!(found < 43.8, "{found}: {cells:?}");
}

#[test]
fn the_smallest_scores_are_weighed_to_the_unit() {
    let counts = (0..6_000).fold([0.0; 4], |mut counts, number| {
        let drawn = draw(&seed(number), &scores([1, 0, 2, 3]), Believability(0), 1);
        counts[usize::from(drawn[0])] += 1.0;
        counts
    });
    let expected = [(counts[0], 1_000.0), (counts[2], 2_000.0), (counts[3], 3_000.0)];
    // Two degrees of freedom, p = 0.001.
    assert!(counts[1] < 1.0 && chi_square(expected) < 13.8, "{counts:?}");
}

#[test]
fn nobody_is_drawn_who_is_not_believed() {
    for number in 0..2_000 {
        // Even with a minimum of 0.
        let drawn = draw(&seed(number), &scores([0, 1, 0, 2, 0]), Believability(0), 5);
        assert_eq!(drawn.iter().collect::<BTreeSet<_>>(), BTreeSet::from([&1, &3]));
    }
    assert!(draw(&seed(1), &scores([0; 8]), Believability(0), 8).is_empty());
    assert!(draw(&seed(1), &[], Believability(0), 1).is_empty());
}

const EQUAL: [u16; 12] = [0, 6, 3, 1, 5, 9, 10, 7, 11, 4, 8, 2];
const DRAWN: [u16; 7] = [8, 2, 5, 0, 3, 9, 6];
