//! Receipts: what a client was told is final can be proven from the note alone, and is in the chain.

use crypto::{cosign, hash, merkle};
use types::client::{FinalNote, NoteEntry};
use types::{Hash, MemberIndex, Tag, TxId};

use super::model::Model;
use super::{Checked, Violation};
use crate::faults::Options;
use crate::node::Node;
use crate::setup::Setup;

/// Checks a note as a client does, and against the chain.
///
/// # Errors
/// Names what is not proven or not so.
pub fn check(setup: &Setup, model: &Model, note: &FinalNote, tags: &[(Tag, TxId)]) -> Checked {
    let fail = |what: &str| {
        let detail = format!("height {}: {what}", note.header.height);
        Err(Violation::new("receipts honoured", detail))
    };
    let proven = cosign::verify_commit_proof(&setup.context, &setup.certificates, &note.header, &note.proof);
    if let Err(error) = proven {
        return fail(&format!("the proof is none: {error}"));
    }
    for entry in &note.entries {
        let leaf = merkle::ref_leaf(&entry.reference);
        if !merkle::verify(&note.header.refs_root, &leaf, &entry.reference_path) {
            return fail("the path of a reference does not lead to its root");
        }
        let leaf = merkle::excluded_leaf(&entry.excluded);
        if !merkle::verify(&note.header.excluded_root, &leaf, &entry.excluded_path)
            || entry.excluded_path.index != entry.reference_path.index
        {
            return fail("the path of a bitmap does not lead to its root");
        }
        if hash::author_header_hash(&entry.author.header) != entry.reference.hash {
            return fail("the author header is not the one referred to");
        }
        check_tags(model, note, entry, tags)?;
    }
    for entry in &note.slow {
        let leaf = merkle::slow_leaf(&entry.txid, entry.code);
        if !merkle::verify(&note.header.slow_root, &leaf, &entry.path) {
            return fail("the path of a slow transaction does not lead to its root");
        }
        let known = tags.iter().find(|(tag, _)| *tag == entry.tag);
        if known.is_some_and(|(_, txid)| *txid != entry.txid) {
            return fail("a slow transaction is another one than was sent");
        }
        let applied = model.applied_at(&entry.txid);
        // What took effect on the fast path before is told as spent.
        let took_effect = applied == Some(note.header.height);
        if entry.code == 0 && !took_effect {
            return fail(&format!(
                "slow transaction {} has code {} and took effect at {applied:?}",
                entry.txid, entry.code
            ));
        }
    }
    Ok(())
}

/// A client is told that a block is final: so many honest members have it on disk, with its bodies, that no loss of
/// power takes it back and some of them are in every later quorum.
///
/// # Errors
/// When they are fewer than a quorum without the liars.
pub fn check_durable(options: &Options, setup: &Setup, nodes: &[Node], hash: &Hash) -> Checked {
    let needed = setup.committee().quorum() - options.lying_voters().count();
    let holds = |member: &MemberIndex| {
        nodes
            .get(usize::from(member.0))
            .is_some_and(|node| node.disk.missing_of(hash).is_none())
    };
    let held = options.honest_voters().filter(holds).count();
    if held >= needed {
        return Ok(());
    }
    let detail = format!("{held} honest members have {hash} on disk, needed are {needed}");
    Err(Violation::new("final means durable", detail))
}

fn check_tags(model: &Model, note: &FinalNote, entry: &NoteEntry, tags: &[(Tag, TxId)]) -> Checked {
    let fail = |what: String| Err(Violation::new("receipts honoured", what));
    for at in &entry.tags {
        let Some((_, txid)) = tags.iter().find(|(tag, _)| *tag == at.tag) else {
            continue;
        };
        let position = usize::from(at.position);
        if model.txid_at(&entry.reference.hash, position) != Some(*txid) {
            return fail(format!(
                "{txid} is not at position {position} of the block of its note"
            ));
        }
        let bit = entry.excluded.get(position / 8).copied().unwrap_or(0) >> (position % 8) & 1;
        if bit == 1 {
            return fail(format!("{txid} is called final and is excluded"));
        }
        if model.applied_at(txid) != Some(note.header.height) {
            return fail(format!(
                "{txid} is called final at {} and is not",
                note.header.height
            ));
        }
    }
    Ok(())
}
