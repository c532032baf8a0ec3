//! Checks what nodes call final: the certificate of each block once, and every path of every note.

use std::collections::BTreeMap;

use crypto::cosign::{Verifier, verify_commit_proof};
use crypto::hash::{author_header_hash, final_header_hash};
use crypto::keys::Scheme;
use crypto::merkle;
use types::client::{FinalNote, NoteEntry};
use types::genesis::EpochConfig;
use types::{Hash, Height, ShardId};

/// Why a note proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// The header is of another shard than the node that sent it.
    #[error("a note of shard {found} came from a node of shard {expected}")]
    Shard {
        /// In the header.
        found: ShardId,
        /// Of the node.
        expected: ShardId,
    },
    /// The certificate does not make the header final.
    #[error("height {height} of shard {shard}: {reason}")]
    Proof {
        /// Shard.
        shard: ShardId,
        /// Height.
        height: Height,
        /// What is wrong.
        reason: String,
    },
    /// Two certified headers at one height.
    #[error("shard {shard} has two certified blocks at height {height}: {first} and {second}")]
    Fork {
        /// Shard.
        shard: ShardId,
        /// Height.
        height: Height,
        /// Seen first.
        first: Hash,
        /// Seen now.
        second: Hash,
    },
    /// An entry whose parts do not belong together.
    #[error("height {height} of shard {shard}: {what}")]
    Entry {
        /// Shard.
        shard: ShardId,
        /// Height.
        height: Height,
        /// What is wrong.
        what: &'static str,
    },
}

/// Checks notes; remembers the blocks whose certificate was checked.
#[derive(Debug)]
pub struct NoteChecker<'a> {
    epoch: &'a EpochConfig,
    /// By shard.
    verifiers: Vec<Verifier>,
    known: BTreeMap<(ShardId, Height), Hash>,
    certificates: u64,
}

impl<'a> NoteChecker<'a> {
    /// Starts with no block known.
    #[must_use]
    pub fn new(epoch: &'a EpochConfig) -> Self {
        let committees = epoch.committees.iter().cloned();
        Self {
            epoch,
            verifiers: committees
                .map(|committee| Verifier::new(Scheme::Ed25519, committee))
                .collect(),
            known: BTreeMap::new(),
            certificates: 0,
        }
    }

    /// Certificates that were verified.
    #[must_use]
    pub const fn certificates(&self) -> u64 {
        self.certificates
    }

    /// Checks one note of a node of `shard`; gives the hash of its header.
    ///
    /// # Errors
    /// The first thing that proves nothing.
    pub fn check(&mut self, shard: ShardId, note: &FinalNote) -> Result<Hash, NoteError> {
        let header = &note.header;
        if header.shard != shard {
            return Err(NoteError::Shard {
                found: header.shard,
                expected: shard,
            });
        }
        let (height, hash) = (header.height, final_header_hash(header));
        match self.known.get(&(shard, height)) {
            Some(known) if *known == hash => {}
            known => {
                let known = known.copied();
                self.prove(shard, note)?;
                if let Some(first) = known {
                    return Err(NoteError::Fork {
                        shard,
                        height,
                        first,
                        second: hash,
                    });
                }
                self.known.insert((shard, height), hash);
            }
        }
        note.entries.iter().try_for_each(|entry| {
            check_entry(note, entry).map_err(|what| NoteError::Entry { shard, height, what })
        })?;
        Ok(hash)
    }

    fn prove(&mut self, shard: ShardId, note: &FinalNote) -> Result<(), NoteError> {
        let fail = |reason: String| NoteError::Proof {
            shard,
            height: note.header.height,
            reason,
        };
        let verifier = self
            .verifiers
            .get(usize::from(shard.0))
            .ok_or_else(|| fail("there is no such shard".to_owned()))?;
        let context = self.epoch.signing_context(verifier.committee());
        self.certificates += 1;
        verify_commit_proof(&context, verifier, &note.header, &note.proof)
            .map_err(|error| fail(error.to_string()))
    }
}

fn check_entry(note: &FinalNote, entry: &NoteEntry) -> Result<(), &'static str> {
    let (reference, author) = (&entry.reference, &entry.author.header);
    if author_header_hash(author) != reference.hash || author.tx_count != reference.tx_count {
        return Err("an author header is not the one that its reference names");
    }
    if !merkle::verify(
        &note.header.refs_root,
        &merkle::ref_leaf(reference),
        &entry.reference_path,
    ) {
        return Err("a reference is not under refs_root");
    }
    let excluded = merkle::excluded_leaf(&entry.excluded);
    if entry.excluded_path.index != entry.reference_path.index
        || !merkle::verify(&note.header.excluded_root, &excluded, &entry.excluded_path)
    {
        return Err("an excluded bitmap is not under excluded_root beside its reference");
    }
    for at in &entry.tags {
        let bit = entry
            .excluded
            .get(usize::from(at.position / 8))
            .is_some_and(|byte| byte >> (at.position % 8) & 1 == 1);
        if u32::from(at.position) >= reference.tx_count {
            return Err("a tag stands behind the last transaction of its block");
        }
        if bit {
            return Err("a tag is called final whose transaction is excluded");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
