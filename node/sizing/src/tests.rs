use crypto::keys::SecretKey;
use crypto::sampling::Sampling;
use proptest::prelude::{prop_assert, proptest};
use types::Hash;

use super::{Leagues, Setup, Sizing};

fn setup(validators: u32, candidates: u32, sampling_ppm: u32) -> Setup {
    Setup {
        shards: 2,
        validators,
        faulty_ppm: 250_000,
        leagues: Some(Leagues {
            seats: 1,
            candidates,
            sampling_ppm,
            bond: None,
            value: None,
        }),
    }
}

fn with_amounts(bond: Option<u64>, value: Option<u64>, sampling_ppm: u32) -> Sizing {
    let mut setup = setup(5, 1, sampling_ppm);
    if let Some(leagues) = &mut setup.leagues {
        (leagues.bond, leagues.value) = (bond, value);
    }
    Sizing::of(&setup).expect("a setup")
}

#[test]
fn the_default_network_is_known() {
    let sizing = with_amounts(Some(1_800), Some(100), 250_000);
    assert_eq!(
        (
            sizing.voting.voters,
            sizing.voting.faulty_max,
            sizing.voting.quorum
        ),
        (4, 1, 3)
    );
    assert_eq!((sizing.failure.validators, sizing.failure.faulty), (10, 2));
    // Two faulty in one shard of five out of ten: 1 - 2 * (5/10 * 5/9).
    assert!((sizing.failure.shard - 2.0 / 9.0).abs() < 1e-12);
    assert!((sizing.failure.network_max - 4.0 / 9.0).abs() < 1e-12);
    assert!((sizing.checks_per_tx - 2.0).abs() < 1e-12);
    let sampling = sizing.sampling.expect("two leagues");
    assert_eq!((sampling.honest, sampling.honest_if_timely), (2, 3));
    assert!((sampling.forgery_passes - 0.5625).abs() < 1e-12);
    assert!((sampling.forgery_passes_if_timely - 0.421_875).abs() < 1e-12);
    assert!((sampling.break_even.expect("some are caught") - 9.0 / 7.0).abs() < 1e-12);
    assert!((sampling.forgeries_pass[1].probability - 0.5625 * 0.5625).abs() < 1e-12);
    let deterrence = sizing.deterrence.expect("bond and value");
    assert_eq!(deterrence.full_from, Some(700));
    assert!((deterrence.margin.expect("both") - 7.0).abs() < 1e-12);
    assert_eq!(deterrence.bond_break_even, Some(129));
    // 101 * 18 / 7, rounded up.
    assert_eq!(deterrence.bond_required, Some(260));
    let gain = deterrence.gain_expected.expect("both");
    assert!((gain - (56.25 - 787.5)).abs() < 1e-9, "{gain}");
}

#[test]
fn one_league_checks_everything_and_samples_nothing() {
    let sizing = Sizing::of(&Setup {
        leagues: None,
        ..setup(7, 1, 0)
    })
    .expect("a setup");
    assert_eq!((sizing.voting.voters, sizing.voting.faulty_max), (7, 2));
    assert!((sizing.checks_per_tx - 7.0).abs() < 1e-12);
    assert_eq!((sizing.sampling.clone(), sizing.deterrence), (None, None));
    let text = sizing.to_string();
    assert!(text.contains("one league checks everything"), "{text}");
    assert!(!text.contains("forgery"), "{text}");
}

#[test]
fn candidates_do_not_vote_so_that_fewer_faulty_members_break_a_shard() {
    let of = |candidates| {
        let sizing = Sizing::of(&setup(16, candidates, 250_000)).expect("a setup");
        (sizing.voting.faulty_max, sizing.failure.shard)
    };
    let ((few, unlikely), (fewer, likely)) = (of(1), of(4));
    assert_eq!((few, fewer), (4, 3));
    assert!(likely > unlikely);
}

#[test]
fn the_edges_of_sampling_are_told_apart() {
    let nothing = with_amounts(Some(100), Some(10), 0);
    let sampling = nothing.sampling.expect("two leagues");
    assert!((sampling.forgery_passes - 1.0).abs() < 1e-12);
    assert_eq!(sampling.break_even, None);
    let deterrence = nothing.deterrence.expect("bond and value");
    assert_eq!((deterrence.full_from, deterrence.bond_break_even), (None, None));
    assert_eq!(deterrence.bond_required, None);
    assert!((deterrence.gain_expected.expect("both") - 10.0).abs() < 1e-12);

    let everything = with_amounts(Some(100), Some(10), 1_000_000);
    assert!(everything.sampling.expect("two leagues").forgery_passes <= 0.0);
    let deterrence = everything.deterrence.expect("bond and value");
    assert_eq!((deterrence.full_from, deterrence.bond_required), (None, Some(0)));
    assert!((everything.checks_per_tx - 5.0).abs() < 1e-12);

    assert_eq!(with_amounts(None, None, 5).deterrence, None);
    let bond = with_amounts(Some(18), None, 250_000).deterrence.expect("a bond");
    assert_eq!(
        (bond.full_from, bond.margin, bond.bond_required),
        (Some(7), None, None)
    );
    let value = with_amounts(None, Some(0), 250_000).deterrence.expect("a value");
    assert_eq!((value.full_from, value.bond_required), (None, Some(3)));
}

#[test]
fn forgeries_pass_the_samplers_as_often_as_predicted() {
    const BLOCKS: u32 = 30_000;
    let sizing = Sizing::of(&setup(5, 1, 250_000)).expect("a setup");
    let predicted = sizing.sampling.expect("two leagues");
    let voters: Vec<Sampling> = (0..predicted.honest as u8)
        .map(|voter| Sampling {
            secret: SecretKey::simulated([voter; 32]).sampling_secret(),
            probability_ppm: 250_000,
            full_from: u64::MAX,
        })
        .collect();
    for passing in &predicted.forgeries_pass[..3] {
        // Forgeries are the first transactions of every block.
        let passes = |number: u32| {
            let block = Hash(core::array::from_fn(|at| number.to_le_bytes()[at % 4]));
            let caught = |voter: &Sampling| {
                !voter
                    .positions(&block, vec![1; passing.forgeries as usize])
                    .is_empty()
            };
            !voters.iter().any(caught)
        };
        let passed = f64::from((0..BLOCKS).map(|number| u32::from(passes(number))).sum::<u32>());
        let expected = f64::from(BLOCKS) * passing.probability;
        let deviation = (expected * (1.0 - passing.probability)).sqrt();
        assert!(
            (passed - expected).abs() < 3.0 * deviation,
            "{}: {passed} of {expected} by {deviation}",
            passing.forgeries
        );
    }
}

#[test]
fn every_parameter_outside_its_bounds_is_named() {
    let good = setup(5, 1, 250_000);
    good.validate().expect("valid");
    let leagues = |seats, candidates, sampling_ppm| Setup {
        leagues: Some(Leagues {
            seats,
            candidates,
            sampling_ppm,
            bond: None,
            value: None,
        }),
        ..good.clone()
    };
    for (setup, words) in [
        (
            Setup {
                shards: 0,
                ..good.clone()
            },
            "shards is 0, accepted is 1 to 250000",
        ),
        (
            Setup {
                shards: u32::MAX,
                ..good.clone()
            },
            "shards is 4294967295",
        ),
        (
            Setup {
                validators: 3,
                ..good.clone()
            },
            "validators is 3, accepted is 4 to 500000",
        ),
        (
            Setup {
                validators: 500_001,
                ..good.clone()
            },
            "validators is 500001",
        ),
        (
            Setup {
                faulty_ppm: 1_000_001,
                ..good.clone()
            },
            "alpha",
        ),
        (leagues(1, 2, 0), "candidates is 2, accepted is 1 to 1"),
        (leagues(1, 0, 0), "candidates is 0"),
        (leagues(0, 1, 0), "believable is 0, accepted is 1 to 1"),
        (leagues(2, 1, 0), "believable is 2"),
        (leagues(1, 1, 1_000_001), "sampling"),
        (
            Setup {
                validators: 4,
                ..leagues(1, 1, 0)
            },
            "candidates is 1, accepted is none",
        ),
    ] {
        let error = Sizing::of(&setup).expect_err(words).to_string();
        assert!(error.contains(words), "{words}: {error}");
    }
}

proptest! {
    #[test]
    fn figures_are_finite_and_come_back_from_json(
        shards in 1..9_u32, voters in 4..60_u32, seats in 1..5_u32, standing_by in 0..4_u32, faulty_ppm in 0..=1_000_000_u32,
        ppm in 0..=1_000_000_u32, bond in proptest::option::of(0..u64::MAX), value in proptest::option::of(0..u64::MAX),
    ) {
        let candidates = seats + standing_by;
        let setup = Setup {
            shards,
            validators: voters + candidates,
            faulty_ppm,
            leagues: Some(Leagues { seats, candidates, sampling_ppm: ppm, bond, value }),
        };
        let sizing = Sizing::of(&setup).expect("within bounds");
        let probability = |value: f64| (0.0..=1.0).contains(&value);
        prop_assert!(probability(sizing.failure.shard) && probability(sizing.failure.shard_unlimited));
        prop_assert!(probability(sizing.failure.network_max) && sizing.failure.network_max >= sizing.failure.shard);
        // A figure that is no number would be written as null and not be read again.
        let json = serde_json::to_string(&sizing).expect("encoded");
        serde_json::from_str::<Sizing>(&json).expect("decoded");
        prop_assert!(!sizing.to_string().contains("NaN"));
    }
}
