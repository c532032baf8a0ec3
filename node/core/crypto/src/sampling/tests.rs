use proptest::prelude::{any, prop_assert, proptest};
use types::{Amount, Hash};

use super::{PPM, Sampling, bond_against, full_from, survival};
use crate::keys::SecretKey;

const QUARTER: u32 = 250_000;

fn sampling(seed: u8, probability_ppm: u32, full_from: u64) -> Sampling {
    Sampling {
        secret: SecretKey::simulated([seed; 32]).sampling_secret(),
        probability_ppm,
        full_from,
    }
}

fn block(number: u32) -> Hash {
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
fn a_position_is_sampled_by_its_own_eight_bytes_of_the_stream() {
    let sampling = sampling(1, QUARTER, u64::MAX);
    let mut input = sampling.secret.bytes().to_vec();
    input.extend([9; 32]);
    let seed = blake3::derive_key("shardbench v1 sample", &input);
    let mut stream = blake3::Hasher::new().update(&seed).finalize_xof();
    let expected: Vec<u32> = (0..1000)
        .filter(|position| {
            let mut bytes = [0; 8];
            stream.set_position(8 * u64::from(*position));
            stream.fill(&mut bytes);
            u64::from_le_bytes(bytes) < 1 << 62
        })
        .collect();
    assert_eq!(sampling.positions(&Hash([9; 32]), [0; 1000]), expected);
    assert!((150..350).contains(&expected.len()), "{}", expected.len());
}

#[test]
fn values_decide_from_their_bound_on_and_shift_no_draw() {
    let sampling = sampling(1, QUARTER, 100);
    let small = sampling.positions(&Hash([9; 32]), [99; 64]);
    let mut values = [99; 64];
    let forced: Vec<u32> = (0..64)
        .filter(|position| !small.contains(position))
        .take(3)
        .collect();
    (values[forced[0] as usize], values[forced[2] as usize]) = (100, u64::MAX);
    let mut expected = small.clone();
    expected.extend([forced[0], forced[2]]);
    expected.sort_unstable();
    assert_eq!(sampling.positions(&Hash([9; 32]), values), expected);
}

#[test]
fn nothing_and_everything() {
    let all: Vec<u32> = (0..500).collect();
    let none: Vec<u32> = Vec::new();
    for (probability_ppm, bound, value, expected) in [
        (0, u64::MAX, 5, &none),
        (PPM, u64::MAX, 0, &all),
        (u32::MAX, u64::MAX, 0, &all),
        // An author without a bond is never taken at its word.
        (0, 0, 0, &all),
        (1, 0, 0, &all),
    ] {
        let found = sampling(1, probability_ppm, bound).positions(&Hash([2; 32]), [value; 500]);
        assert_eq!(found, *expected, "{probability_ppm} {bound}");
    }
    assert!(sampling(1, QUARTER, 0).positions(&Hash([2; 32]), []).is_empty());
}

#[test]
fn samples_have_their_share_everywhere_and_are_independent_of_one_another() {
    const BLOCKS: u32 = 4_000;
    const TXS: usize = 64;
    let (first, second) = (sampling(1, QUARTER, u64::MAX), sampling(2, QUARTER, u64::MAX));
    let mut by_position = [0.0; TXS];
    // Neither, first, second, both; and of neighbours in one sample.
    let (mut pairs, mut neighbours) = ([0.0; 4], [0.0; 4]);
    for number in 0..BLOCKS {
        let marks = [&first, &second].map(|sampling| {
            let mut marks = [0; TXS];
            let found = sampling.positions(&block(number), [1; TXS]);
            found.iter().for_each(|position| marks[*position as usize] = 1);
            marks
        });
        for position in 0..TXS {
            by_position[position] += f64::from(marks[0][position]);
            pairs[(marks[0][position] + 2 * marks[1][position]) as usize] += 1.0;
        }
        for position in (0..TXS).step_by(2) {
            neighbours[(marks[0][position] + 2 * marks[0][position + 1]) as usize] += 1.0;
        }
    }
    let (blocks, sampled, left) = (f64::from(BLOCKS), 0.25, 0.75);
    let share = chi_square(
        by_position
            .iter()
            .flat_map(|count| [(*count, blocks * sampled), (blocks - count, blocks * left)]),
    );
    // 64 degrees of freedom, p = 0.001.
    assert!(share < 104.7, "{share}");
    let shares = [left * left, sampled * left, left * sampled, sampled * sampled];
    for (counts, total) in [(pairs, blocks * 64.0), (neighbours, blocks * 32.0)] {
        let found = chi_square(counts.into_iter().zip(shares.map(|share| share * total)));
        // Three degrees of freedom, p = 0.001.
        assert!(found < 16.3, "{found}: {counts:?}");
    }
}

#[test]
fn another_block_or_secret_is_another_sample() {
    let sample = |seed, number| sampling(seed, QUARTER, u64::MAX).positions(&block(number), [1; 256]);
    assert_eq!(sample(1, 1), sample(1, 1));
    assert_ne!(sample(1, 1), sample(1, 2));
    assert_ne!(sample(1, 1), sample(2, 1));
}

#[test]
fn survival_is_the_table_of_the_rules() {
    let part = |ppm, honest| survival(ppm, honest) as f64 / 2_f64.powi(64);
    for (ppm, honest, expected) in [
        (50_000, 11, 0.569),
        (50_000, 33, 0.184),
        (50_000, 66, 0.034),
        (50_000, 18, 0.397),
        (100_000, 11, 0.314),
        (100_000, 18, 0.150),
        (100_000, 33, 0.031),
        (100_000, 66, 9.6e-4),
        (200_000, 11, 0.086),
        (200_000, 18, 0.018),
        (200_000, 33, 6.3e-4),
        (250_000, 3, 0.42),
    ] {
        let found = part(ppm, honest);
        let tolerance = if expected < 0.01 { 1e-5 } else { 2e-3 };
        assert!((found - expected).abs() < tolerance, "{ppm} {honest}: {found}");
    }
    assert_eq!(survival(QUARTER, 2), 9 << 60, "(3/4)^2, exactly");
    assert_eq!(survival(0, 5), 1 << 64);
    assert_eq!(survival(QUARTER, 0), 1 << 64);
    assert_eq!((survival(PPM, 1), survival(u32::MAX, 9)), (0, 0));
    assert_eq!(survival(999_999, 1_000), 1, "rounded up, never to nothing");
}

#[test]
fn the_bound_is_known_and_its_edges_too() {
    let bond = Amount(1_000_000);
    // S (1 - U) / (2 U) with U = 9/16: S * 7 / 18.
    assert_eq!(full_from(bond, QUARTER, 2), 388_888);
    assert_eq!(full_from(Amount(18), QUARTER, 2), 7);
    assert_eq!(full_from(bond, 0, 2), u64::MAX);
    assert_eq!(full_from(bond, PPM, 2), u64::MAX);
    assert_eq!(full_from(Amount(u64::MAX), 900_000, 40), u64::MAX);
    assert_eq!(full_from(Amount(0), QUARTER, 2), 0);
    assert_eq!(full_from(bond, QUARTER, 0), 0, "nobody honest: nothing deters");
    assert_eq!(bond_against(Amount(388_887), QUARTER, 2), Some(Amount(999_998)));
    assert_eq!(bond_against(Amount(0), QUARTER, 2), Some(Amount(3)));
    assert_eq!(bond_against(Amount(5), 0, 2), None);
    assert_eq!(bond_against(Amount(5), QUARTER, 0), None);
    assert_eq!(bond_against(Amount(u64::MAX), 1, 2), None);
    assert_eq!(bond_against(Amount(u64::MAX), PPM, 2), Some(Amount(0)));
}

proptest! {
    #[test]
    fn no_number_of_forgeries_below_the_bound_pays(
        bond in 1_000..1_u64 << 50, ppm in 1_000..PPM, honest in 2..40_u32,
    ) {
        let value = full_from(Amount(bond), ppm, honest) as f64;
        let each = survival(ppm, honest) as f64 / 2_f64.powi(64);
        for forgeries in 1..200 {
            let all_pass = each.powi(forgeries);
            let gain = all_pass * f64::from(forgeries) * value - (1.0 - all_pass) * bond as f64;
            prop_assert!(gain < 0.0, "{forgeries}: {gain}");
        }
    }

    #[test]
    fn a_bond_is_the_smallest_under_which_a_value_is_sampled(
        value in 0..1_u64 << 40, ppm in 1_000..PPM, honest in 1..40_u32,
    ) {
        let bond = bond_against(Amount(value), ppm, honest).expect("a bond for such values").0;
        prop_assert!(full_from(Amount(bond), ppm, honest) > value);
        prop_assert!(bond == 0 || full_from(Amount(bond - 1), ppm, honest) <= value);
    }

    #[test]
    fn nothing_overflows(bond in any::<u64>(), ppm in any::<u32>(), honest in 0..2_000_u32) {
        let value = full_from(Amount(bond), ppm, honest);
        prop_assert!(full_from(Amount(bond.saturating_add(1)), ppm, honest) >= value);
        let _ = bond_against(Amount(bond), ppm, honest);
    }
}
