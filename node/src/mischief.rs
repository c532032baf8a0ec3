//! Believable authors that cheat, for a local network that is to be seen catching them.

use std::str::FromStr;

use crypto::evidence::is_home;
use crypto::hash::allocation_outpoint;
use files::NetworkGenesis;
use replica::Mischief;
use types::MemberIndex;
use types::genesis::Committee;

/// What is accepted.
const ACCEPTED: &str =
    "KIND or KIND=RATE separated by commas; kinds are forge, equivocate, wrong-group, withhold, late";
/// Of transactions, where no rate is given.
const FORGE: f64 = 0.01;
/// Of blocks, where no rate is given.
const BLOCKS: f64 = 0.02;
/// One account in so many, the last ones, is left alone by payments so that what is stolen from it is nobody's payment.
const VICTIMS: u32 = 16;

/// Rates of the ways to cheat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Profile(Mischief);

impl FromStr for Profile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut plan = Mischief::default();
        for part in text.split(',') {
            let (kind, rate) = part
                .split_once('=')
                .map_or((part, None), |(kind, rate)| (kind, Some(rate)));
            let (place, preset) = match kind {
                "forge" => (&mut plan.forge_ppm, FORGE),
                "equivocate" => (&mut plan.equivocate_ppm, BLOCKS),
                "wrong-group" => (&mut plan.wrong_group_ppm, BLOCKS),
                "withhold" => (&mut plan.withhold_ppm, BLOCKS),
                "late" => (&mut plan.late_ppm, BLOCKS),
                _ => return Err(format!("{part:?} is no way to cheat, accepted is {ACCEPTED}")),
            };
            let rate = match rate {
                None => preset,
                Some(text) => text
                    .parse()
                    .ok()
                    .filter(|rate| *rate > 0.0 && *rate <= 1.0)
                    .ok_or_else(|| format!("the rate {text:?} of {kind}, accepted is above 0 up to 1"))?,
            };
            *place = (rate * 1e6) as u32;
        }
        Ok(Self(plan))
    }
}

impl Profile {
    /// The plan of one member: that of a seated candidate, with the coins that it may steal; `None` for all others.
    pub(crate) fn of(
        &self,
        network: &NetworkGenesis,
        committee: &Committee,
        member: MemberIndex,
    ) -> Option<Mischief> {
        let seats = usize::from(network.genesis.policy.seats());
        let group = committee
            .candidates
            .iter()
            .take(seats)
            .position(|seated| *seated == member)? as u16;
        let accounts = network.genesis.funding.accounts;
        let spared = accounts.div_ceil(VICTIMS).min(accounts.saturating_sub(1));
        let first = accounts.saturating_sub(spared);
        let mut plan = self.0.clone();
        let named = network.allocations.iter().enumerate();
        for (index, allocation) in named.take(accounts as usize).skip(first as usize) {
            let outpoint = allocation_outpoint(&network.genesis.name, index as u64);
            let coin = (outpoint, allocation.owner, allocation.amount);
            if is_home(committee, &network.epoch, group, &allocation.owner) {
                plan.victims.push(coin);
            } else if crypto::placement::shard_of(&allocation.owner, network.genesis.shards)
                == committee.shard
            {
                plan.strangers.push(coin);
            }
        }
        Some(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::Profile;

    #[test]
    fn profiles_are_read_and_mistakes_named() {
        let Profile(plan) = "forge=0.5,late".parse().expect("a profile");
        assert_eq!(
            (plan.forge_ppm, plan.late_ppm, plan.withhold_ppm),
            (500_000, 20_000, 0)
        );
        for (text, words) in [
            ("steal", "no way to cheat"),
            ("forge=2", "up to 1"),
            ("forge=", "up to 1"),
        ] {
            let error = text.parse::<Profile>().expect_err(text);
            assert!(error.contains(words), "{error}");
        }
    }
}
