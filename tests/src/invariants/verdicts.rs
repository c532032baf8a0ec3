//! Equal verdicts: a signature is good or bad by itself, whatever was verified together with it and by whom.

use std::collections::BTreeMap;

use crypto::keys::Scheme;
use replica::{CheckedBody, SignatureChecks};
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
    /// A node has checked a body that is the one of its header.
    ///
    /// # Errors
    /// When lone checks say something else.
    pub fn on_checked(
        &mut self,
        setup: &Setup,
        (member, hash): (MemberIndex, Hash),
        header: &SignedAuthorHeader,
        checks: &SignatureChecks,
        checked: &CheckedBody,
    ) -> Checked {
        // Simulated signatures have no batches, and one league checks them all.
        if setup.scheme == Scheme::Simulated && *checks == SignatureChecks::All {
            return Ok(());
        }
        let alone = self.alone.entry(hash).or_insert_with(|| {
            let lone = setup.check_alone(header, checked.body.bytes());
            lone.map(|lone| lone.bad_signatures).unwrap_or_default()
        });
        let asked = setup.asked(&header.header, &checked.body, checks);
        let mut expected = alone.clone();
        expected.retain(|position| asked.binary_search(position).is_ok());
        if expected == checked.bad_signatures {
            return Ok(());
        }
        let detail = format!(
            "member {member} finds bad signatures at {:?} of {hash}, lone checks of {asked:?} at {expected:?}",
            checked.bad_signatures
        );
        Err(Violation::new("equal verdicts", detail))
    }
}
