//! A scenario: who exists twice, who leads, and what each round does; written in one line.

use std::fmt;
use std::str::FromStr;

/// Most voters of a scenario.
const VOTERS_MAX: u16 = 16;
/// Most rounds of a scenario.
const ROUNDS_MAX: usize = 32;

/// A kind of message that is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lost {
    /// Nothing.
    #[default]
    Nothing,
    /// Proposals.
    Proposals,
    /// Prepare certificates: who forms one is alone with its tip.
    Tips,
    /// Commit votes: everyone has the tip, nothing is final.
    CommitVotes,
    /// Commit certificates, also inside answers: a block is final for its leader alone.
    Commits,
    /// View changes.
    ViewChanges,
    /// Openings of views.
    Openings,
}

impl Lost {
    /// Every kind with its name.
    const NAMES: [(Self, &'static str); 7] = [
        (Self::Nothing, "nothing"),
        (Self::Proposals, "proposals"),
        (Self::Tips, "tips"),
        (Self::CommitVotes, "commit-votes"),
        (Self::Commits, "commits"),
        (Self::ViewChanges, "view-changes"),
        (Self::Openings, "openings"),
    ];

    fn name(self) -> &'static str {
        let of_kind = |(kind, name): &(Self, &'static str)| (*kind == self).then_some(*name);
        Self::NAMES.iter().find_map(of_kind).unwrap_or_default()
    }

    fn of_name(text: &str) -> Option<Self> {
        let named = |(kind, name): &(Self, &'static str)| (*name == text).then_some(*kind);
        Self::NAMES.iter().find_map(named)
    }
}

/// One round. Sets of instances are bit masks, bit `i` for instance `i`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// Group of each instance; only instances of one group talk.
    pub groups: Vec<u8>,
    /// Whose timers run out when the round begins.
    pub expired: u32,
    /// Blocks that each leader proposes at most, all at once.
    pub proposals: u8,
    /// Kind of message that does not arrive ...
    pub lost: Lost,
    /// ... at these instances.
    pub deaf: u32,
    /// Any message is lost with this chance, in thousandths.
    pub loss: u16,
    /// Messages delivered in the round before nobody hears anything more of it; 0 for no such end.
    pub cut: u16,
    /// Instances that crash and come back from their log when the round begins.
    pub restarted: u32,
}

/// A scenario. It is the whole input of a run: the same scenario is the same run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Identities, 4 to 16.
    pub voters: u16,
    /// How many of them exist twice: the last ones.
    pub twins: u16,
    /// Leaders of the views, in turn.
    pub leaders: Vec<u16>,
    /// 0 delivers messages in the order in which they were sent; else the seed of another order, and of losses.
    pub order: u64,
    /// Whether messages between groups wait until the groups meet; else they are lost.
    pub held: bool,
    /// The script.
    pub rounds: Vec<Round>,
}

impl Scenario {
    /// Running machines: identities, and second copies after them.
    #[must_use]
    pub const fn instances(&self) -> u16 {
        self.voters + self.twins
    }

    /// Identity of an instance.
    #[must_use]
    pub const fn identity(&self, instance: u16) -> u16 {
        if instance < self.voters {
            instance
        } else {
            instance - self.twins
        }
    }

    /// Whether an identity exists twice.
    #[must_use]
    pub const fn is_twin(&self, identity: u16) -> bool {
        identity + self.twins >= self.voters
    }

    /// Whether no more identities exist twice than the protocol promises to bear.
    #[must_use]
    pub const fn is_tolerated(&self) -> bool {
        self.twins <= (self.voters - 1) / 3
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let leaders: Vec<String> = self.leaders.iter().map(u16::to_string).collect();
        write!(
            formatter,
            "voters={} twins={} leaders={} order={} held={}",
            self.voters,
            self.twins,
            leaders.join(","),
            self.order,
            u8::from(self.held)
        )?;
        for round in &self.rounds {
            let groups: Vec<String> = round.groups.iter().map(u8::to_string).collect();
            write!(
                formatter,
                " round={}:{:x}:{}:{}:{:x}:{}:{}:{:x}",
                groups.concat(),
                round.expired,
                round.proposals,
                round.lost.name(),
                round.deaf,
                round.loss,
                round.cut,
                round.restarted
            )?;
        }
        Ok(())
    }
}

/// A line that is no scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioError(String);

impl fmt::Display for ScenarioError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "scenario: {}; accepted is voters=4..16 twins=0..voters leaders=0,1,.. order=N held=0|1 \
             round=GROUPS:EXPIRED:PROPOSALS:LOST:DEAF:LOSS:CUT:RESTARTED ..",
            self.0
        )
    }
}

impl std::error::Error for ScenarioError {}

fn number<T: FromStr>(what: &str, text: &str) -> Result<T, ScenarioError> {
    text.parse()
        .map_err(|_| ScenarioError(format!("{what} is {text:?}, a number is expected")))
}

fn mask(what: &str, text: &str) -> Result<u32, ScenarioError> {
    u32::from_str_radix(text, 16)
        .map_err(|_| ScenarioError(format!("{what} is {text:?}, a hexadecimal mask is expected")))
}

impl FromStr for Round {
    type Err = ScenarioError;

    fn from_str(text: &str) -> Result<Self, ScenarioError> {
        let parts: Vec<&str> = text.split(':').collect();
        let [groups, expired, proposals, lost, deaf, loss, cut, restarted] = parts[..] else {
            return Err(ScenarioError(format!(
                "round {text:?} has {} parts of 8",
                parts.len()
            )));
        };
        let group = |digit: char| {
            digit
                .to_digit(10)
                .map(|digit| digit as u8)
                .ok_or_else(|| ScenarioError(format!("group {digit:?} is no digit")))
        };
        Ok(Self {
            groups: groups.chars().map(group).collect::<Result<_, _>>()?,
            expired: mask("expired", expired)?,
            proposals: number("proposals", proposals)?,
            lost: Lost::of_name(lost)
                .ok_or_else(|| ScenarioError(format!("{lost:?} is no kind of message that can be lost")))?,
            deaf: mask("deaf", deaf)?,
            loss: number("loss", loss)?,
            cut: number("cut", cut)?,
            restarted: mask("restarted", restarted)?,
        })
    }
}

impl FromStr for Scenario {
    type Err = ScenarioError;

    fn from_str(text: &str) -> Result<Self, ScenarioError> {
        let mut scenario = Self {
            voters: 4,
            twins: 1,
            leaders: vec![0],
            order: 0,
            held: false,
            rounds: Vec::new(),
        };
        for word in text.split_whitespace() {
            let (name, value) = word
                .split_once('=')
                .ok_or_else(|| ScenarioError(format!("{word:?} has no =")))?;
            match name {
                "voters" => scenario.voters = number(name, value)?,
                "twins" => scenario.twins = number(name, value)?,
                "leaders" => {
                    let leaders = value.split(',').map(|leader| number(name, leader));
                    scenario.leaders = leaders.collect::<Result<_, _>>()?;
                }
                "order" => scenario.order = number(name, value)?,
                "held" => scenario.held = number::<u8>(name, value)? != 0,
                "round" => scenario.rounds.push(value.parse()?),
                _ => return Err(ScenarioError(format!("{name:?} is unknown"))),
            }
        }
        scenario.validate()?;
        Ok(scenario)
    }
}

impl Scenario {
    fn validate(&self) -> Result<(), ScenarioError> {
        let fail = |what: String| Err(ScenarioError(what));
        if !(4..=VOTERS_MAX).contains(&self.voters) || self.twins > self.voters {
            return fail(format!("{} voters with {} twins", self.voters, self.twins));
        }
        if let Some(leader) = self.leaders.iter().find(|leader| **leader >= self.voters) {
            return fail(format!("leader {leader} of {} voters", self.voters));
        }
        if self.rounds.len() > ROUNDS_MAX {
            return fail(format!("{} rounds, at most {ROUNDS_MAX}", self.rounds.len()));
        }
        let instances = usize::from(self.instances());
        match self.rounds.iter().find(|round| round.groups.len() != instances) {
            Some(round) => fail(format!(
                "groups of {} instances in a round, of {instances} expected",
                round.groups.len()
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let line = "voters=4 twins=1 leaders=3,0,1,2 order=77 held=1 \
                    round=00110:1f:2:tips:1f:0:0:0 round=01010:f:1:nothing:0:250:17:4";
        let scenario: Scenario = line.parse().expect("a scenario");
        assert_eq!(scenario.rounds[0].lost, Lost::Tips);
        assert_eq!((scenario.rounds[1].loss, scenario.rounds[1].cut), (250, 17));
        assert_eq!(scenario.to_string(), line);
    }

    #[test]
    fn what_is_no_scenario_is_named() {
        for (line, part) in [
            ("voters=3", "3 voters with 1 twins"),
            ("voters=4 leaders=4", "leader 4 of 4"),
            ("round=0011:1f:2:tips:1f:0:0:0", "of 5 expected"),
            ("round=00111:1f:2:tipps:1f:0:0:0", "tipps"),
            ("round=00111:1f", "2 parts of 8"),
            ("rounds=1", "unknown"),
            ("voters", "no ="),
            ("held=x", "a number"),
        ] {
            let refused = line.parse::<Scenario>().expect_err(line).to_string();
            assert!(refused.contains(part), "{line}: {refused}");
        }
    }
}
