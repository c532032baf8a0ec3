//! Equal verdicts: a signature is good or bad by itself, whatever was verified together with it and by whom.

use std::collections::BTreeMap;

use crypto::keys::Scheme;
use replica::CheckedBody;
use types::block::SignedAuthorHeader;
use types::{Hash, MemberIndex};

use super::{Checked, Violation};
use crate::setup::Setup;

/// Bad signatures of each body, by lone checks.
#[derive(Debug, Default)]
pub struct Verdicts {
    alone: BTreeMap<Hash, Vec<u32>>,
}

impl Verdicts {
    /// A node has checked every signature of a body that is the one of its header.
    ///
    /// # Errors
    /// When lone checks say something else.
    pub fn on_checked(
        &mut self,
        setup: &Setup,
        (member, hash): (MemberIndex, Hash),
        header: &SignedAuthorHeader,
        checked: &CheckedBody,
    ) -> Checked {
        // Simulated signatures have no batches.
        if setup.scheme == Scheme::Simulated {
            return Ok(());
        }
        let alone = self.alone.entry(hash).or_insert_with(|| {
            let lone = setup.check_alone(header, checked.body.bytes());
            lone.map(|lone| lone.bad_signatures).unwrap_or_default()
        });
        if *alone == checked.bad_signatures {
            return Ok(());
        }
        let detail = format!(
            "member {member} finds bad signatures at {:?} of {hash}, lone checks at {alone:?}",
            checked.bad_signatures
        );
        Err(Violation::new("equal verdicts", detail))
    }
}
