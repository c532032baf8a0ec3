//! Who owns what: distinct scripts, rebuilt from the input where the output is not in the block.

use std::collections::HashMap;

use bitcoin::hashes::Hash as _;
use bitcoin::script::Instruction;
use bitcoin::{OutPoint, PubkeyHash, Script, ScriptBuf, ScriptHash, TxIn, WPubkeyHash, WScriptHash};

/// What makes two outputs belong to one owner.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Identity {
    Script(ScriptBuf),
    /// An output of an earlier block whose script cannot be told.
    Output(OutPoint),
}

/// Numbers owners in order of appearance and folds them on demand.
#[derive(Debug, Default)]
pub(super) struct Owners {
    numbers: HashMap<Identity, u32>,
    /// By number: itself, or the owner that it was folded into.
    roots: Vec<u32>,
    pub(super) folded: u64,
    pub(super) unknown: u64,
}

impl Owners {
    pub(super) fn of_script(&mut self, script: &Script) -> u32 {
        self.number(Identity::Script(script.to_owned()))
    }

    /// Owner of an output of an earlier block, from the input that spends it.
    pub(super) fn of_spend(&mut self, input: &TxIn) -> u32 {
        match spent_script(input) {
            Some(script) => self.number(Identity::Script(script)),
            None => {
                self.unknown += 1;
                self.number(Identity::Output(input.previous_output))
            }
        }
    }

    fn number(&mut self, identity: Identity) -> u32 {
        let next = self.roots.len() as u32;
        let number = *self.numbers.entry(identity).or_insert(next);
        if number == next {
            self.roots.push(next);
        }
        number
    }

    /// The owner that `owner` was folded into, itself when it was not.
    pub(super) fn root(&self, mut owner: u32) -> u32 {
        while let Some(parent) = self.roots.get(owner as usize).filter(|root| **root != owner) {
            owner = *parent;
        }
        owner
    }

    /// Makes all of `owners` beyond the first `max` distinct ones equal to the last of these.
    pub(super) fn fold(&mut self, owners: impl Iterator<Item = u32>, max: usize) {
        let mut distinct = Vec::with_capacity(max);
        for owner in owners {
            let root = self.root(owner);
            if distinct.contains(&root) {
                continue;
            }
            if distinct.len() < max {
                distinct.push(root);
            } else if let (Some(last), Some(slot)) = (distinct.last(), self.roots.get_mut(root as usize)) {
                *slot = *last;
                self.folded += 1;
            }
        }
    }
}

/// The `scriptPubKey` that an input satisfies, as far as the input tells.
fn spent_script(input: &TxIn) -> Option<ScriptBuf> {
    let is_key = |bytes: &[u8]| matches!((bytes.len(), bytes.first()), (33, Some(2 | 3)) | (65, Some(4)));
    let pushes = pushes(&input.script_sig)?;
    if let Some(last) = pushes.last() {
        if pushes.len() == 2 && input.witness.is_empty() && is_key(last) {
            return Some(ScriptBuf::new_p2pkh(&PubkeyHash::hash(last)));
        }
        // One push without witness is a bare signature (pay to public key): the key is not in the block.
        let is_script = pushes.len() > 1 || !input.witness.is_empty();
        return is_script.then(|| ScriptBuf::new_p2sh(&ScriptHash::hash(last)));
    }
    let items = input.witness.len();
    let last = input.witness.last()?;
    if items == 2 && last.len() == 33 && is_key(last) {
        return Some(ScriptBuf::new_p2wpkh(&WPubkeyHash::hash(last)));
    }
    // A taproot spend ends in a signature, an annex (0x50) or a control block: its output key is not shown.
    let is_control_block = last.len() >= 33
        && (last.len() - 33).is_multiple_of(32)
        && last.first().is_some_and(|byte| byte & 0xfe >= 0xc0);
    if items == 1 || is_control_block || last.first() == Some(&0x50) {
        return None;
    }
    Some(ScriptBuf::new_p2wsh(&WScriptHash::hash(last)))
}

fn pushes(script: &Script) -> Option<Vec<&[u8]>> {
    let mut pushes = Vec::new();
    for instruction in script.instructions() {
        match instruction.ok()? {
            Instruction::PushBytes(bytes) => pushes.push(bytes.as_bytes()),
            // Small numbers (OP_1..) are pushes too, but never the last one of a standard script.
            Instruction::Op(_) => pushes.push(&[]),
        }
    }
    Some(pushes)
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash as _;
    use bitcoin::script::{Builder, PushBytesBuf};
    use bitcoin::{
        OutPoint, PubkeyHash, ScriptBuf, ScriptHash, Sequence, TxIn, WPubkeyHash, WScriptHash, Witness,
    };

    use super::{Owners, spent_script};

    fn input(pushes: &[&[u8]], witness: &[&[u8]]) -> TxIn {
        let mut script = Builder::new();
        for push in pushes {
            script = script.push_slice(PushBytesBuf::try_from(push.to_vec()).expect("short"));
        }
        TxIn {
            previous_output: OutPoint::null(),
            script_sig: script.into_script(),
            sequence: Sequence::MAX,
            witness: Witness::from_slice(witness),
        }
    }

    #[test]
    fn scripts_are_rebuilt_where_the_input_tells_them() {
        let (signature, key, redeem) = ([7_u8; 71], [2_u8; 33], [0x51_u8; 40]);
        let cases: [(TxIn, Option<ScriptBuf>); 8] = [
            (
                input(&[&signature, &key], &[]),
                Some(ScriptBuf::new_p2pkh(&PubkeyHash::hash(&key))),
            ),
            (
                input(&[&signature, &redeem], &[]),
                Some(ScriptBuf::new_p2sh(&ScriptHash::hash(&redeem))),
            ),
            (
                input(&[&redeem[..22]], &[&signature, &key]),
                Some(ScriptBuf::new_p2sh(&ScriptHash::hash(&redeem[..22]))),
            ),
            (
                input(&[], &[&signature, &key]),
                Some(ScriptBuf::new_p2wpkh(&WPubkeyHash::hash(&key))),
            ),
            (
                input(&[], &[&[], &signature, &redeem]),
                Some(ScriptBuf::new_p2wsh(&WScriptHash::hash(&redeem))),
            ),
            (input(&[], &[&[1; 64]]), None),
            (input(&[], &[&[1; 64], &redeem, &[0xc0; 33]]), None),
            (input(&[&signature], &[]), None),
        ];
        for (position, (input, script)) in cases.iter().enumerate() {
            assert_eq!(&spent_script(input), script, "case {position}");
        }
    }

    #[test]
    fn folding_keeps_the_first_owners_apart_and_is_transitive() {
        let mut owners = Owners::default();
        let numbers: Vec<u32> = (0..5)
            .map(|byte| owners.of_script(&ScriptBuf::from_bytes(vec![byte])))
            .collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4]);
        owners.fold([0, 1, 2, 3].into_iter(), 2);
        assert_eq!(
            (0..5).map(|owner| owners.root(owner)).collect::<Vec<_>>(),
            [0, 1, 1, 1, 4]
        );
        owners.fold([4, 3, 0].into_iter(), 1);
        assert_eq!(
            (0..5).map(|owner| owners.root(owner)).collect::<Vec<_>>(),
            [4, 4, 4, 4, 4]
        );
        assert_eq!(owners.folded, 4);
    }
}
