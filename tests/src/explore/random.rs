//! Random schedules: any message, timeout, restart or lie next; a few heights, a few views.

use consensus::PlantedBug;
use types::certificate::{Phase, Subject};
use types::message::{Certified, PeerMessage};
use types::{MemberIndex, View};

use super::cluster::{Cluster, LIAR};
use crate::invariants::{Checked, Violation};
use crate::rng::SimRng;

/// Heights above which nothing is proposed.
const HEIGHTS: u64 = 3;
/// Views above which nobody gives up.
const VIEWS: u32 = 3;
/// Steps of one schedule.
const STEPS: u64 = 160;

/// What schedules reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Explored {
    /// Schedules.
    pub schedules: u64,
    /// Those in which some voter committed a height.
    pub committed: u64,
    /// Those in which voters committed in more than one view.
    pub view_changed: u64,
}

/// Runs schedules of seeds from `from` on.
///
/// # Errors
/// The seed of the first schedule that forks, with what was seen.
pub fn explore(from: u64, count: u64, planted: Option<PlantedBug>) -> Result<Explored, (u64, Violation)> {
    let mut explored = Explored::default();
    for seed in from..from + count {
        let cluster = schedule(seed, planted).map_err(|violation| (seed, violation))?;
        explored.schedules += 1;
        explored.committed += u64::from((0..LIAR.0).any(|member| cluster.committed(member).0.0 > 0));
        let late = cluster
            .voters
            .iter()
            .any(|voter| voter.machine.view() > View(0) && voter.machine.is_active());
        explored.view_changed += u64::from(late);
    }
    Ok(explored)
}

fn schedule(seed: u64, planted: Option<PlantedBug>) -> Result<Cluster, Violation> {
    let mut rng = SimRng::new(seed, 2);
    let leaders: Vec<MemberIndex> = (0..=VIEWS)
        .map(|_| {
            if rng.chance(600) {
                LIAR
            } else {
                MemberIndex(rng.below(LIAR.0.into()) as u16)
            }
        })
        .collect();
    let mut cluster = Cluster::new(&leaders, planted);
    for _ in 0..STEPS {
        step(&mut rng, &mut cluster)?;
    }
    Ok(cluster)
}

fn step(rng: &mut SimRng, cluster: &mut Cluster) -> Checked {
    let member = rng.below(LIAR.0.into()) as u16;
    match rng.below(100) {
        0..35 => deliver(rng, cluster),
        35..40 => {
            let at = rng.below(cluster.bag.len() as u64) as usize;
            if at < cluster.bag.len() {
                cluster.bag.swap_remove(at);
            }
            Ok(())
        }
        40..45 if cluster.voters[usize::from(member)].machine.view().0 < VIEWS => cluster.give_up(member),
        45..48 if cluster.voters[usize::from(member)].machine.view().0 < VIEWS => cluster.time_out(member),
        48..50 => cluster.restart(member),
        50..60 => {
            let salt = rng.between(1, 1_000_000);
            cluster.propose_honestly(member, HEIGHTS, salt).map(drop)
        }
        60..72 => propose(rng, cluster),
        72..88 => certify(rng, cluster),
        88..92 => vote(rng, cluster),
        92..97 => open(rng, cluster),
        _ => ask(rng, cluster),
    }
}

fn deliver(rng: &mut SimRng, cluster: &mut Cluster) -> Checked {
    let at = rng.below(cluster.bag.len() as u64) as usize;
    if at >= cluster.bag.len() {
        return Ok(());
    }
    let envelope = if rng.chance(50) {
        cluster.bag[at].clone()
    } else {
        cluster.bag.swap_remove(at)
    };
    cluster.deliver(envelope.from, envelope.to.0, envelope.message)
}

fn some(rng: &mut SimRng) -> Vec<u16> {
    let all = rng.chance(500);
    (0..LIAR.0).filter(|_| all || rng.chance(500)).collect()
}

fn to_some(rng: &mut SimRng, cluster: &mut Cluster, message: &PeerMessage) -> Checked {
    some(rng)
        .into_iter()
        .try_for_each(|to| cluster.deliver(LIAR, to, message.clone()))
}

/// View of a random honest voter: where lies have an effect.
fn view(rng: &mut SimRng, cluster: &Cluster) -> View {
    let at = rng.below(LIAR.0.into()) as usize;
    cluster.voters[at].machine.view()
}

/// A new block on any block, or any block again.
fn propose(rng: &mut SimRng, cluster: &mut Cluster) -> Checked {
    let view = view(rng, cluster);
    if cluster.leader(view) != LIAR {
        return Ok(());
    }
    let known: Vec<_> = cluster
        .blocks
        .iter()
        .map(|(hash, block)| (*hash, block.clone()))
        .collect();
    let block = if rng.chance(400) {
        rng.pick(&known).map(|(_, block)| block.clone())
    } else {
        let parent = if rng.chance(250) { None } else { rng.pick(&known) };
        let (hash, height) = parent.map_or((cluster.genesis(), 0), |(hash, block)| {
            (*hash, block.header.height.0)
        });
        let salt = rng.between(1, 3);
        (height < HEIGHTS).then(|| cluster.block(height + 1, view.0, hash, salt).1)
    };
    let Some(block) = block else { return Ok(()) };
    let message = cluster.proposal(view.0, &block);
    to_some(rng, cluster, &message)
}

/// A certificate that the liar can make or knows, to some.
fn certify(rng: &mut SimRng, cluster: &mut Cluster) -> Checked {
    let made: Vec<Certified> = cluster
        .voted()
        .into_iter()
        .filter_map(|subject| cluster.certificate(subject))
        .collect();
    made.iter().for_each(|certified| cluster.keep(certified.clone()));
    let known = cluster.certificates.clone();
    let Some(certified) = rng.pick(&known) else {
        return Ok(());
    };
    to_some(rng, cluster, &PeerMessage::Certified(certified.clone()))
}

/// A vote for any block, in any phase, to an honest leader.
fn vote(rng: &mut SimRng, cluster: &mut Cluster) -> Checked {
    let view = view(rng, cluster);
    let leader = cluster.leader(view);
    let known: Vec<_> = cluster
        .blocks
        .iter()
        .map(|(hash, block)| (*hash, block.header.height))
        .collect();
    let Some((hash, height)) = rng.pick(&known).copied() else {
        return Ok(());
    };
    let phase = if rng.chance(500) {
        Phase::Prepare
    } else {
        Phase::Commit
    };
    let subject = Subject {
        phase,
        height,
        view,
        hash,
    };
    let vote = cluster.vote(subject);
    cluster.deliver(LIAR, leader.0, PeerMessage::Vote(vote))
}

/// Any known certificate of a phase below a view, or none.
fn certificate(rng: &mut SimRng, cluster: &Cluster, phase: Phase, below: View) -> Option<Certified> {
    let of_phase: Vec<_> = cluster
        .certificates
        .iter()
        .filter(|certified| certified.subject.phase == phase && certified.subject.view < below)
        .collect();
    if rng.chance(300) {
        return None;
    }
    rng.pick(&of_phase).map(|certified| (*certified).clone())
}

/// An opening of a view that the liar leads, of any two honest view changes and a lie of its own.
fn open(rng: &mut SimRng, cluster: &mut Cluster) -> Checked {
    let view = view(rng, cluster);
    if cluster.leader(view) != LIAR {
        return Ok(());
    }
    let honest: Vec<u16> = cluster
        .view_changes
        .get(&view)
        .map(|changes| changes.keys().map(|member| member.0).collect())
        .unwrap_or_default();
    if honest.len() < 2 {
        return Ok(());
    }
    let skip = rng.below(honest.len() as u64) as usize;
    let two: Vec<u16> = honest
        .iter()
        .enumerate()
        .filter(|(at, _)| honest.len() == 2 || *at != skip)
        .map(|(_, member)| *member)
        .collect();
    let tip = certificate(rng, cluster, Phase::Prepare, view);
    let committed = certificate(rng, cluster, Phase::Commit, view);
    let own = cluster.lie(view.0, tip, committed);
    let Some(message) = cluster.opening(view.0, &two, own) else {
        return Ok(());
    };
    to_some(rng, cluster, &message)
}

/// A view change of the liar, with a stale tip.
fn ask(rng: &mut SimRng, cluster: &mut Cluster) -> Checked {
    let view = View((view(rng, cluster).0 + rng.below(2) as u32).min(VIEWS));
    if view == View(0) {
        return Ok(());
    }
    let tip = certificate(rng, cluster, Phase::Prepare, view);
    let committed = certificate(rng, cluster, Phase::Commit, view);
    let change = cluster.lie(view.0, tip, committed);
    to_some(rng, cluster, &PeerMessage::ViewChange(Box::new(change)))
}
