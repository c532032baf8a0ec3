//! Liveness: after the heal everything submitted is decided and all honest nodes go on together, within a bound.

use types::{Height, MemberIndex};

use super::{Checked, Violation};
use crate::clients::Clients;
use crate::faults::Options;
use crate::node::Node;

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
