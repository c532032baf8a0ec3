//! Liveness: after the heal everything submitted is decided and all honest nodes go on together, within a bound.

use types::block::MODE_TWO_LEAGUES;
use types::{Height, MemberIndex};

use super::model::Model;
use super::{Checked, Violation};
use crate::clients::Clients;
use crate::faults::Options;
use crate::node::Node;
use crate::setup::Setup;

/// Voters that check an exposed author's block again (`ios` 7.8).
const RECHECKED_BY: usize = 5;

/// Heights that every honest node must gain after the heal.
const GAIN: u64 = 5;

/// Whether nothing is left to wait for.
#[must_use]
pub fn is_done(options: &Options, nodes: &[Node], clients: &Clients, at_heal: Height) -> bool {
    let goal = Height(at_heal.0 + GAIN);
    let reached = |node: &Node| {
        node.replica
            .as_ref()
            .is_some_and(|replica| replica.final_height() >= goal)
    };
    let mut honest = nodes.iter().filter(|node| !options.liars.contains(&node.me));
    honest.all(reached) && clients.waiting().is_empty()
}

/// Whether what two leagues owe is done: every theft by an author that was found out is claimed, every slow
/// transaction is executed and bars nothing, and with honest candidates enough the fast path is back.
///
/// # Errors
/// What is left.
pub fn is_settled(options: &Options, setup: &Setup, model: &Model) -> Checked {
    let Some(leagues) = &options.leagues else {
        return Ok(());
    };
    // Each block is checked again by this many voters: with as many liars it may be by none but them.
    let overlap = usize::from(options.validators).min(RECHECKED_BY);
    if options.lying_voters().count() < overlap
        && let Some((txid, since)) = model.owed().next()
    {
        let detail = format!("{txid} is forged, its author banned, at {since}, and nobody claims it");
        return Err(Violation::new("thefts compensated", detail));
    }
    if model.slow_open() != (0, 0) {
        let (waiting, bars) = model.slow_open();
        let detail = format!("{waiting} slow transactions wait, {bars} inputs are barred");
        return Err(Violation::new("every bar ends", detail));
    }
    let believable = model.unslashed();
    let enough = believable.len() >= usize::from(leagues.seats_min)
        && believable.iter().all(|member| setup.honest.contains(member));
    if enough && (model.mode() != MODE_TWO_LEAGUES || model.is_switching()) {
        let detail = format!("mode {} though {believable:?} are there", model.mode());
        return Err(Violation::new("fast path returns", detail));
    }
    Ok(())
}

/// The bound is over.
///
/// # Errors
/// Says which tags and which nodes are left behind.
pub fn check(options: &Options, nodes: &[Node], clients: &Clients, at_heal: Height) -> Checked {
    if is_done(options, nodes, clients, at_heal) {
        return Ok(());
    }
    let heights: Vec<String> = nodes
        .iter()
        .map(|node| {
            let state = node.replica.as_ref().map(|replica| {
                let (view, open) = replica.view();
                let committed = replica.committed().0;
                let votes = replica.is_signing();
                format!(
                    "final {} committed {committed} view {view} open {open} votes {votes}",
                    replica.final_height()
                )
            });
            format!("{}: {}", node.me, state.unwrap_or_else(|| "down".into()))
        })
        .collect();
    let waiting = clients.waiting();
    let first: Vec<String> = waiting
        .iter()
        .take(5)
        .map(|(connection, tag, txid, node)| {
            format!(
                "{connection}/{tag} {txid} at {}",
                node.unwrap_or(MemberIndex(u16::MAX))
            )
        })
        .collect();
    let detail = format!(
        "{} tags wait ({}), height at the heal {at_heal}, nodes [{}]",
        waiting.len(),
        first.join(", "),
        heights.join("; ")
    );
    Err(Violation::new("liveness", detail))
}
