//! Schedules that forked one of the near misses of the view change (`ios` 9.11), one function each. With the rules
//! as they are every one of them must hold; with its fault planted each must fork.

use consensus::PlantedBug;
use types::Hash;
use types::block::Block;
use types::certificate::{Phase, Subject};
use types::message::{Certified, PeerMessage};
use types::{Height, View};

use super::cluster::{Cluster, LIAR};
use crate::invariants::{Checked, Violation};

fn subject(phase: Phase, view: u32, (hash, block): &(Hash, Block)) -> Subject {
    Subject {
        phase,
        height: block.header.height,
        view: View(view),
        hash: *hash,
    }
}

/// A voter may refuse what a schedule wants of it: then there is nothing to send, and the schedule goes on.
fn send(cluster: &mut Cluster, to: &[u16], message: Option<PeerMessage>) -> Checked {
    let Some(message) = message else { return Ok(()) };
    to.iter()
        .try_for_each(|to| cluster.deliver(LIAR, *to, message.clone()))
}

fn propose(cluster: &mut Cluster, view: u32, block: &(Hash, Block), to: &[u16]) -> Checked {
    let message = cluster.proposal(view, &block.1);
    send(cluster, to, Some(message))
}

fn certify(
    cluster: &mut Cluster,
    phase: Phase,
    view: u32,
    block: &(Hash, Block),
    to: &[u16],
) -> Result<Option<Certified>, Violation> {
    let certified = cluster.certificate(subject(phase, view, block));
    send(cluster, to, certified.clone().map(PeerMessage::Certified))?;
    Ok(certified)
}

/// Votes of both phases for a block; the commit certificate goes to `to`.
fn commit(cluster: &mut Cluster, view: u32, block: &(Hash, Block), voters: &[u16], to: &[u16]) -> Checked {
    certify(cluster, Phase::Prepare, view, block, voters)?;
    certify(cluster, Phase::Commit, view, block, to).map(drop)
}

fn give_up(cluster: &mut Cluster, members: &[u16]) -> Checked {
    members.iter().try_for_each(|member| cluster.give_up(*member))
}

/// The schedule did what it is for: this voter holds that height for final.
fn reached(cluster: &Cluster, member: u16, height: u64) -> Checked {
    if cluster.committed(member).0 >= Height(height) {
        return Ok(());
    }
    let detail = format!("member {member} should hold height {height} for final by now");
    Err(Violation::new("schedule", detail))
}

/// A chain of blocks on genesis in view 0, proposed to everyone; nothing is certified.
fn chain(cluster: &mut Cluster, heights: u64) -> Result<Vec<(Hash, Block)>, Violation> {
    let mut prev = cluster.genesis();
    let mut blocks = Vec::new();
    for height in 1..=heights {
        let block = cluster.block(height, 0, prev, height);
        prev = block.0;
        propose(cluster, 0, &block, &[0, 1, 2])?;
        blocks.push(block);
    }
    Ok(blocks)
}

/// Three heights in flight, the last of them committed by one voter; view change; only the first height is put to
/// the vote again and gets a certificate; second view change.
///
/// # Errors
/// A fork.
pub fn three_in_flight(planted: Option<PlantedBug>) -> Checked {
    let mut cluster = Cluster::new(&[LIAR], planted);
    let blocks = chain(&mut cluster, 3)?;
    for block in &blocks {
        certify(&mut cluster, Phase::Prepare, 0, block, &[0, 1, 2])?;
    }
    certify(&mut cluster, Phase::Commit, 0, &blocks[2], &[0])?;
    reached(&cluster, 0, 3)?;

    give_up(&mut cluster, &[1, 2])?;
    let own = cluster.lie(1, None, None);
    let opening = cluster.opening(1, &[1, 2], own);
    send(&mut cluster, &[1, 2], opening)?;
    propose(&mut cluster, 1, &blocks[0], &[1, 2])?;
    certify(&mut cluster, Phase::Prepare, 1, &blocks[0], &[1, 2])?;

    give_up(&mut cluster, &[1, 2])?;
    let own = cluster.lie(2, None, None);
    let opening = cluster.opening(2, &[1, 2], own);
    send(&mut cluster, &[1, 2], opening)?;
    propose(&mut cluster, 2, &blocks[0], &[1, 2])?;
    let other = cluster.block(2, 2, blocks[0].0, 22);
    propose(&mut cluster, 2, &other, &[1, 2])?;
    commit(&mut cluster, 2, &other, &[1, 2], &[1, 2])?;

    // The chain that is right can go on: the base is the block that one voter holds for final.
    propose(&mut cluster, 2, &blocks[2], &[1, 2])?;
    commit(&mut cluster, 2, &blocks[2], &[1, 2], &[1, 2])?;
    reached(&cluster, 1, 3)
}

/// A tip of an old view at a great height, kept back by the liar, against a commit of a newer view at a low height.
///
/// # Errors
/// A fork.
pub fn old_high_tip(planted: Option<PlantedBug>) -> Checked {
    let mut cluster = Cluster::new(&[LIAR], planted);
    let old = chain(&mut cluster, 3)?;
    let tip = certify(&mut cluster, Phase::Prepare, 0, &old[2], &[])?;

    give_up(&mut cluster, &[0, 1, 2])?;
    let own = cluster.lie(1, None, None);
    let opening = cluster.opening(1, &[0, 1], own);
    send(&mut cluster, &[0, 1], opening)?;
    let genesis = cluster.genesis();
    let new = cluster.block(1, 1, genesis, 11);
    propose(&mut cluster, 1, &new, &[0, 1])?;
    commit(&mut cluster, 1, &new, &[0, 1], &[0])?;
    reached(&cluster, 0, 1)?;

    // The one who was away holds view 1 open for nobody; all meet in view 2.
    give_up(&mut cluster, &[0, 1])?;
    let asks: Vec<_> = cluster.bag.drain(..).collect();
    for ask in asks.into_iter().filter(|ask| ask.to.0 == 2) {
        if matches!(&ask.message, PeerMessage::ViewChange(change) if change.new_view == View(2)) {
            cluster.deliver(ask.from, 2, ask.message)?;
        }
    }
    let own = cluster.lie(2, tip, None);
    let opening = cluster.opening(2, &[0, 2], own);
    send(&mut cluster, &[1, 2], opening)?;
    propose(&mut cluster, 2, &old[2], &[1, 2])?;
    commit(&mut cluster, 2, &old[2], &[1, 2], &[1, 2])
}

/// A block at or below the base's height is put to the vote beside what one voter holds for final.
///
/// # Errors
/// A fork.
pub fn below_the_base(planted: Option<PlantedBug>) -> Checked {
    let mut cluster = Cluster::new(&[LIAR], planted);
    let blocks = chain(&mut cluster, 2)?;
    certify(&mut cluster, Phase::Prepare, 0, &blocks[0], &[0, 1, 2])?;
    commit(&mut cluster, 0, &blocks[1], &[0, 1, 2], &[0])?;
    reached(&cluster, 0, 2)?;

    give_up(&mut cluster, &[1, 2])?;
    let own = cluster.lie(1, None, None);
    let opening = cluster.opening(1, &[1, 2], own);
    send(&mut cluster, &[1, 2], opening)?;
    let genesis = cluster.genesis();
    let beside = cluster.block(1, 1, genesis, 11);
    propose(&mut cluster, 1, &beside, &[1, 2])?;
    commit(&mut cluster, 1, &beside, &[1, 2], &[1, 2])?;
    propose(&mut cluster, 1, &blocks[1], &[1, 2])?;
    commit(&mut cluster, 1, &blocks[1], &[1, 2], &[1, 2])?;
    reached(&cluster, 1, 2)
}

/// Two openings of one view: one on genesis, in which two heights become final for one voter, and one on a tip that
/// the liar kept back. With `restart`, voters crash between the two.
fn two_openings(planted: Option<PlantedBug>, restart: bool) -> Checked {
    let mut cluster = Cluster::new(&[LIAR], planted);
    let old = chain(&mut cluster, 3)?;
    let tip = certify(&mut cluster, Phase::Prepare, 0, &old[2], &[])?;

    give_up(&mut cluster, &[0, 1, 2])?;
    let own = cluster.lie(1, None, None);
    let first = cluster.opening(1, &[1, 2], own);
    send(&mut cluster, &[0, 1, 2], first)?;
    let genesis = cluster.genesis();
    let one = cluster.block(1, 1, genesis, 11);
    let two = cluster.block(2, 1, one.0, 12);
    propose(&mut cluster, 1, &one, &[0, 1, 2])?;
    propose(&mut cluster, 1, &two, &[0, 1, 2])?;
    certify(&mut cluster, Phase::Prepare, 1, &one, &[1, 2])?;
    commit(&mut cluster, 1, &two, &[1, 2], &[0])?;
    reached(&cluster, 0, 2)?;

    if restart {
        cluster.restart(1)?;
        cluster.restart(2)?;
    }
    let own = cluster.lie(1, tip, None);
    let second = cluster.opening(1, &[1, 2], own);
    send(&mut cluster, &[1, 2], second)?;
    propose(&mut cluster, 1, &old[2], &[1, 2])?;
    commit(&mut cluster, 1, &old[2], &[1, 2], &[1, 2])?;
    // What is right can still become final for the others.
    certify(&mut cluster, Phase::Commit, 1, &two, &[1, 2])?;
    reached(&cluster, 1, 2)
}

/// A second opening of a view reaches voters that accepted a first.
///
/// # Errors
/// A fork.
pub fn second_opening(planted: Option<PlantedBug>) -> Checked {
    two_openings(planted, false)
}

/// The same, with a restart of the voters between the two openings.
///
/// # Errors
/// A fork.
pub fn restart_between_openings(planted: Option<PlantedBug>) -> Checked {
    two_openings(planted, true)
}

/// Two openings of one view to different followers, on different bases; each gets the proposals of its base.
///
/// # Errors
/// A fork.
pub fn openings_to_different_followers(planted: Option<PlantedBug>) -> Checked {
    let mut cluster = Cluster::new(&[LIAR], planted);
    let old = chain(&mut cluster, 3)?;
    let tip = certify(&mut cluster, Phase::Prepare, 0, &old[2], &[])?;

    give_up(&mut cluster, &[0, 1, 2])?;
    let (without, with) = (cluster.lie(1, None, None), cluster.lie(1, tip, None));
    let (first, second) = (
        cluster.opening(1, &[0, 1], without),
        cluster.opening(1, &[1, 2], with),
    );
    send(&mut cluster, &[0, 1], first.clone())?;
    send(&mut cluster, &[2], second.clone())?;
    let genesis = cluster.genesis();
    let one = cluster.block(1, 1, genesis, 11);
    let two = cluster.block(2, 1, one.0, 12);
    propose(&mut cluster, 1, &one, &[0, 1, 2])?;
    propose(&mut cluster, 1, &two, &[0, 1, 2])?;
    propose(&mut cluster, 1, &old[2], &[0, 1, 2])?;
    commit(&mut cluster, 1, &old[2], &[0, 1, 2], &[0, 1, 2])?;
    certify(&mut cluster, Phase::Prepare, 1, &one, &[0, 1])?;
    commit(&mut cluster, 1, &two, &[0, 1], &[0])?;
    reached(&cluster, 0, 2)?;
    // Each now gets the opening of the other.
    send(&mut cluster, &[1], second)?;
    send(&mut cluster, &[2], first)?;
    propose(&mut cluster, 1, &old[2], &[1, 2])?;
    commit(&mut cluster, 1, &old[2], &[1, 2], &[1, 2])
}
