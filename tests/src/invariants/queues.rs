//! Bounded queues: what a node makes of one event, and what it holds back for its disk, is bounded.

use super::{Checked, Violation};
use crate::node::Node;

/// Effects of one event.
pub const EFFECTS_MAX: usize = 20_000;
/// Messages that wait for a synchronous write.
pub const HELD_MAX: usize = 20_000;
/// Events of the whole world under way.
pub const EVENTS_MAX: usize = 400_000;

/// After an event of a node.
///
/// # Errors
/// Names the queue.
pub fn check(node: &Node, effects: usize, events: usize) -> Checked {
    let held: usize = node.held.values().map(Vec::len).sum();
    for (what, found, max) in [
        ("effects of one event", effects, EFFECTS_MAX),
        ("messages waiting for the disk", held, HELD_MAX),
        ("events under way", events, EVENTS_MAX),
    ] {
        if found > max {
            let detail = format!("member {}: {found} {what}, accepted are {max}", node.me);
            return Err(Violation::new("bounded queues", detail));
        }
    }
    Ok(())
}
