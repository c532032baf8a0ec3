//! Which scenarios: all of a small space, or a sample of a large one. Every scenario has a number in its plan.

use super::scenario::{Lost, Round, Scenario};
use crate::rng::SimRng;

/// A numbered set of scenarios.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Every scenario of four voters, one of them twice, in three rounds: all divisions into groups, all orders of
    /// leaders, all losses below; up to an exchange of the two copies and of honest voters as leaders.
    Exhaustive {
        /// Most groups of a round, 1 to 5.
        groups: u8,
        /// What may be lost in each of the rounds.
        losses: Vec<[Lost; 3]>,
        /// Blocks that a leader may propose in each of the rounds.
        proposals: [u8; 3],
    },
    /// Scenarios drawn from seeds, of 2 to 8 rounds.
    Sampled {
        /// Identities.
        voters: u16,
        /// How many of them exist twice.
        twins: u16,
        /// First seed.
        from: u64,
        /// Seeds.
        count: u64,
    },
}

/// Voters of exhaustive plans.
const VOTERS: u16 = 4;
/// Instances of exhaustive plans.
const INSTANCES: usize = 5;
/// The identity that exists twice in exhaustive plans; its copies are the instances 3 and 4.
const TWIN: u16 = 3;
/// All instances.
const EVERYONE: u32 = u32::MAX;

impl Plan {
    /// All divisions into at most two groups, with four combinations of losses: tips that one voter holds back, and
    /// commits that one voter alone knows of, are what view changes go wrong on.
    #[must_use]
    pub fn short() -> Self {
        let losses = vec![
            [Lost::Nothing; 3],
            [Lost::Tips, Lost::Commits, Lost::Nothing],
            [Lost::Commits, Lost::Nothing, Lost::Nothing],
            [Lost::CommitVotes, Lost::Tips, Lost::Nothing],
        ];
        Self::Exhaustive {
            groups: 2,
            losses,
            proposals: [2, 1, 1],
        }
    }

    /// The same with every combination of losses.
    #[must_use]
    pub fn every_loss() -> Self {
        let kinds = [Lost::Nothing, Lost::Tips, Lost::CommitVotes, Lost::Commits];
        let mut losses = Vec::new();
        for first in kinds {
            for second in kinds {
                losses.extend(kinds.map(|third| [first, second, third]));
            }
        }
        Self::Exhaustive {
            groups: 2,
            losses,
            proposals: [2, 1, 1],
        }
    }

    /// Every division into groups, nothing lost within one.
    #[must_use]
    pub fn every_division() -> Self {
        Self::Exhaustive {
            groups: INSTANCES as u8,
            losses: vec![[Lost::Nothing; 3]],
            proposals: [2, 1, 1],
        }
    }

    /// The plans of a default test run with at most `f` twins, with what each is.
    #[must_use]
    pub fn every_tolerated() -> Vec<(&'static str, Self)> {
        vec![
            ("4 voters, 1 twice, exhaustive", Self::short()),
            ("4 voters, 1 twice, sampled", Self::samples(4, 1, 0, 40_000)),
            ("7 voters, 2 twice, sampled", Self::samples(7, 2, 0, 10_000)),
        ]
    }

    /// The plans of a default test run with `f + 1` twins, with what each is.
    #[must_use]
    pub fn every_excessive() -> Vec<(&'static str, Self)> {
        vec![
            ("4 voters, 2 twice, sampled", Self::samples(4, 2, 0, 10_000)),
            ("7 voters, 3 twice, sampled", Self::samples(7, 3, 0, 3_000)),
        ]
    }

    /// The plans of a long run: over five million scenarios.
    #[must_use]
    pub fn every_long(from: u64) -> Vec<(&'static str, Self)> {
        vec![
            ("4 voters, 1 twice, every loss", Self::every_loss()),
            ("4 voters, 1 twice, every division", Self::every_division()),
            ("4 voters, 1 twice, sampled", Self::samples(4, 1, from, 1_500_000)),
            ("7 voters, 2 twice, sampled", Self::samples(7, 2, from, 500_000)),
            ("4 voters, 2 twice, sampled", Self::samples(4, 2, from, 200_000)),
        ]
    }

    const fn samples(voters: u16, twins: u16, from: u64, count: u64) -> Self {
        Self::Sampled {
            voters,
            twins,
            from,
            count,
        }
    }

    /// Numbers of scenarios are below this; not every number has one.
    #[must_use]
    pub fn numbers(&self) -> u64 {
        match self {
            Self::Exhaustive { groups, losses, .. } => {
                let divisions = divisions(*groups).len() as u64;
                leaders().len() as u64 * losses.len() as u64 * divisions.pow(3)
            }
            Self::Sampled { count, .. } => *count,
        }
    }

    /// Scenarios in the order of their numbers; `None` for those that equal another up to an exchange of the copies.
    pub fn scenarios(&self) -> impl Fn(u64) -> Option<Scenario> + Sync + '_ {
        let (divisions, leaders) = match self {
            Self::Exhaustive { groups, .. } => (divisions(*groups), leaders()),
            Self::Sampled { .. } => (Vec::new(), Vec::new()),
        };
        move |number| match self {
            Self::Exhaustive {
                losses, proposals, ..
            } => exhaustive(number, &divisions, &leaders, losses, proposals),
            Self::Sampled {
                voters, twins, from, ..
            } => Some(sampled(*voters, *twins, from + number)),
        }
    }
}

/// Divisions of the instances into at most `most` groups. Group numbers appear in ascending order, so that every
/// division is there once.
fn divisions(most: u8) -> Vec<Vec<u8>> {
    let mut divisions: Vec<Vec<u8>> = vec![Vec::new()];
    for _ in 0..INSTANCES {
        let longer = divisions.iter().flat_map(|division| {
            let used = division.iter().max().map_or(0, |last| last + 1);
            (0..=used.min(most - 1)).map(|group| [division.as_slice(), &[group]].concat())
        });
        divisions = longer.collect();
    }
    divisions
}

/// Leaders of three views, up to an exchange of honest voters: honest ones appear in ascending order.
fn leaders() -> Vec<[u16; 3]> {
    let mut orders = Vec::new();
    for first in [0, TWIN] {
        for second in [0, 1, TWIN] {
            for third in [0, 1, 2, TWIN] {
                let mut next = 0;
                let ascending = [first, second, third].into_iter().all(|leader| {
                    let known = leader == TWIN || leader <= next;
                    next += u16::from(leader == next);
                    known
                });
                if ascending {
                    orders.push([first, second, third]);
                }
            }
        }
    }
    orders
}

fn exhaustive(
    number: u64,
    divisions: &[Vec<u8>],
    leaders: &[[u16; 3]],
    losses: &[[Lost; 3]],
    proposals: &[u8; 3],
) -> Option<Scenario> {
    let mut rest = number;
    let mut digit = |base: usize| {
        let digit = (rest % base as u64) as usize;
        rest /= base as u64;
        digit
    };
    let script: [&Vec<u8>; 3] = [(); 3].map(|()| &divisions[digit(divisions.len())]);
    let leaders = leaders[digit(leaders.len())];
    let losses = losses[digit(losses.len())];
    // The copies are exchangeable: where they are first apart, the first one is in the lower group.
    let apart = script
        .iter()
        .map(|groups| (groups[3], groups[4]))
        .find(|(first, second)| first != second);
    if apart.is_some_and(|(first, second)| first > second) {
        return None;
    }
    let rounds = (0..3).map(|at| Round {
        groups: script[at].clone(),
        expired: EVERYONE,
        proposals: proposals[at],
        lost: losses[at],
        deaf: EVERYONE,
        loss: 0,
        cut: 0,
        restarted: 0,
    });
    Some(Scenario {
        voters: VOTERS,
        twins: 1,
        leaders: with_everyone(leaders.to_vec(), VOTERS),
        order: 0,
        held: false,
        rounds: rounds.collect(),
    })
}

/// After the script everyone leads in turn.
fn with_everyone(mut leaders: Vec<u16>, voters: u16) -> Vec<u16> {
    leaders.extend(0..voters);
    leaders
}

fn sampled(voters: u16, twins: u16, seed: u64) -> Scenario {
    let mut rng = SimRng::new(seed, 4);
    let narrow = rng.chance(400);
    let rounds = if narrow {
        rng.between(3, 4)
    } else {
        rng.between(2, 8)
    };
    let leader = |rng: &mut SimRng| {
        let (twin, any) = (rng.below(twins.into()), rng.below(voters.into()));
        if twins > 0 && rng.chance(500) {
            voters - 1 - twin as u16
        } else {
            any as u16
        }
    };
    let leaders = (0..rounds).map(|_| leader(&mut rng)).collect();
    let mut scenario = Scenario {
        voters,
        twins,
        leaders: with_everyone(leaders, voters),
        order: if rng.chance(500) {
            0
        } else {
            rng.between(1, 1 << 32)
        },
        held: rng.chance(300),
        rounds: Vec::new(),
    };
    scenario.rounds = (0..rounds as usize)
        .map(|number| {
            if narrow {
                narrow_round(&mut rng, &scenario, number)
            } else {
                round(&mut rng, &scenario)
            }
        })
        .collect();
    scenario
}

fn round(rng: &mut SimRng, scenario: &Scenario) -> Round {
    let instances = scenario.instances();
    let some = |rng: &mut SimRng| rng.bits() as u32 & ((1_u64 << instances) - 1) as u32;
    let lost = *rng
        .pick(&[
            Lost::Nothing,
            Lost::Nothing,
            Lost::Nothing,
            Lost::Proposals,
            Lost::Tips,
            Lost::Tips,
            Lost::CommitVotes,
            Lost::Commits,
            Lost::Commits,
            Lost::ViewChanges,
            Lost::Openings,
        ])
        .unwrap_or(&Lost::Nothing);
    Round {
        groups: groups(rng, scenario),
        expired: match rng.below(10) {
            0 => 0,
            1 => some(rng),
            _ => EVERYONE,
        },
        proposals: rng.between(1, 3) as u8,
        lost,
        deaf: match rng.below(10) {
            0..4 => EVERYONE,
            4..7 => EVERYONE ^ (1 << rng.below(instances.into())),
            _ => some(rng),
        },
        loss: *rng.pick(&[0, 0, 0, 0, 50, 200]).unwrap_or(&0),
        cut: if rng.chance(300) {
            rng.between(1, u64::from(12 * scenario.voters)) as u16
        } else {
            0
        },
        restarted: if rng.chance(150) {
            1 << rng.below(instances.into())
        } else {
            0
        },
    }
}

/// A round of the shape on which view changes go wrong: several heights in flight, a certificate that its leader alone
/// knows, and the next view without that leader.
fn narrow_round(rng: &mut SimRng, scenario: &Scenario, number: usize) -> Round {
    let mut groups = vec![0; usize::from(scenario.instances())];
    if number > 0 && rng.chance(600) {
        groups[usize::from(scenario.leaders[number - 1])] = 1;
    }
    if rng.chance(300) {
        groups[rng.below(scenario.instances().into()) as usize] = 1;
    }
    let lost = [Lost::Nothing, Lost::Tips, Lost::Commits, Lost::Commits];
    Round {
        groups,
        expired: EVERYONE,
        proposals: rng.between(1, 3) as u8,
        lost: *rng.pick(&lost).unwrap_or(&Lost::Nothing),
        deaf: EVERYONE,
        loss: 0,
        cut: if rng.chance(300) {
            rng.between(10, u64::from(12 * scenario.voters)) as u16
        } else {
            0
        },
        restarted: 0,
    }
}

/// Groups of which one is a quorum, as a rule: without it little happens in a round.
fn groups(rng: &mut SimRng, scenario: &Scenario) -> Vec<u8> {
    let quorum = usize::from(scenario.voters - (scenario.voters - 1) / 3);
    let mut groups = Vec::new();
    for _ in 0..8 {
        let count = *rng.pick(&[1, 2, 2, 2, 3]).unwrap_or(&2);
        let away = rng.between(100, 500);
        groups = (0..scenario.instances())
            .map(|_| {
                if count > 1 && rng.chance(away) {
                    rng.between(1, count - 1) as u8
                } else {
                    0
                }
            })
            .collect();
        let first: std::collections::BTreeSet<u16> = (0..scenario.instances())
            .filter(|instance| groups[usize::from(*instance)] == 0)
            .map(|instance| scenario.identity(instance))
            .collect();
        if first.len() >= quorum {
            break;
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn divisions_are_counted_as_the_books_do() {
        // Sums of Stirling numbers of the second kind for 5 things; the last is the Bell number.
        let counts: Vec<_> = (1..=5).map(|most| divisions(most).len()).collect();
        assert_eq!(counts, [1, 16, 41, 51, 52]);
    }

    #[test]
    fn leaders_are_counted_up_to_an_exchange_of_honest_voters() {
        assert_eq!(leaders().len(), 15);
        assert_eq!(leaders().into_iter().collect::<BTreeSet<_>>().len(), 15);
    }

    #[test]
    fn every_scenario_of_an_exhaustive_plan_is_another() {
        let plan = Plan::Exhaustive {
            groups: 2,
            losses: vec![[Lost::Nothing; 3]],
            proposals: [1, 1, 1],
        };
        let of_number = plan.scenarios();
        let all: Vec<String> = (0..plan.numbers())
            .filter_map(&of_number)
            .map(|scenario| scenario.to_string())
            .collect();
        // Of 16^3 scripts the 8^3 with the copies never apart are their own mirror images.
        assert_eq!(all.len(), 15 * (8 * 8 * 8 + (16 * 16 * 16 - 8 * 8 * 8) / 2));
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    }

    #[test]
    fn a_sampled_scenario_is_read_as_it_is_written() {
        for seed in 0..200 {
            let scenario = sampled(7, 2, seed);
            assert_eq!(scenario.to_string().parse(), Ok(scenario));
        }
    }
}
