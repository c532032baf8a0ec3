//! Hash contexts `"shardbench v1 <tag>"` with their keys worked out in advance (`ios` 0.6).
//!
//! Deriving a context's key costs one compression per call; as constants they cost nothing, and a test derives
//! every one of them again.

use blake3::Hasher;
use blake3::hazmat::HasherExt;
use types::Hash;

/// One context: its tag and the key that BLAKE3 derives from the context string.
pub(crate) struct Context {
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "read by the test that derives the key again")
    )]
    tag: &'static str,
    key: [u8; 32],
}

impl Context {
    const fn new(tag: &'static str, key: &str) -> Self {
        let digits = key.as_bytes();
        assert!(digits.len() == 64, "a context key has 32 bytes");
        let mut bytes = [0; 32];
        let mut at = 0;
        while at < bytes.len() {
            bytes[at] = nibble(digits[2 * at]) << 4 | nibble(digits[2 * at + 1]);
            at += 1;
        }
        Self { tag, key: bytes }
    }

    /// A hasher that takes the input in parts.
    pub(crate) fn hasher(&self) -> Hasher {
        Hasher::new_from_context_key(&self.key)
    }

    /// `H_tag` of the concatenated parts.
    pub(crate) fn digest(&self, parts: &[&[u8]]) -> Hash {
        let mut hasher = self.hasher();
        for part in parts {
            hasher.update(part);
        }
        Hash(hasher.finalize().into())
    }
}

const fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => panic!("a context key is written in lower-case hexadecimal digits"),
    }
}

/// Transaction ids.
pub(crate) const TX: Context = Context::new(
    "tx",
    "c6548ce956c67585b5a6c3cc2cb61e308d7b98d563fe9753db794b3748a38a7a",
);
/// What an owner signs.
pub(crate) const SIGHASH: Context = Context::new(
    "sighash",
    "28af4c555605442f79fbddfe4a6038dd8d2420241ddfcc9747f190959cae0bc6",
);
/// Member of an owner.
pub(crate) const GROUP: Context = Context::new(
    "group",
    "d24d3a57ade6403412343729a0bf776db8c284ae0ca04f99ef6ac12f35138eba",
);
/// Author headers.
pub(crate) const OPT: Context = Context::new(
    "opt",
    "94d1d816e99a79467123e984f199fd32b0076270141492280151779e2c45659d",
);
/// Final headers.
pub(crate) const FINAL: Context = Context::new(
    "final",
    "5db752e88e847a36952e2708deeaa7f2d28d5ef5d2baef8b233beaf23b126de2",
);
/// Leaves of Merkle trees.
pub(crate) const LEAF: Context = Context::new(
    "leaf",
    "f3609dc975b498612af6368db71fc79f5fb0620bf55f471ffbbed80e1eb3ab1d",
);
/// Inner nodes and roots of Merkle trees.
pub(crate) const NODE: Context = Context::new(
    "node",
    "d9d60330db457c398860e24d4cd5571dcad5ffcefc69a9bca91f26a144ab98e9",
);
/// Effects digests.
pub(crate) const EFFECTS: Context = Context::new(
    "effects",
    "f45c2166a7718bb756c8ae661fb9b0d6ae6b17ddff7ed0ccb05c2c6435bf355e",
);
/// Committees.
pub(crate) const COMMITTEE: Context = Context::new(
    "committee",
    "3f6e89fc146bd52cb165bc5e3dbf71fa84e6cfaaf53ee7acb8d910327421d85e",
);
/// Permutations.
pub(crate) const PERM: Context = Context::new(
    "perm",
    "29a436aed853f3fb5c363f7d21e39bffeb82ded2cf522897a67687a650c855bb",
);
/// View changes without their signature.
pub(crate) const VIEW_CHANGE: Context = Context::new(
    "viewchange",
    "f1600ba03b07336d11e3e0e45b0fc3c087288e60cf7f5c65d9e095829f775d60",
);
/// Openings of views without their signature.
pub(crate) const NEW_VIEW: Context = Context::new(
    "newview",
    "19ad97750bc4b3f68b3ef83421bb923fa1882b3b23bad8bb145b7ebcbeb3bc14",
);
/// Reset requests without their signature.
pub(crate) const RESET: Context = Context::new(
    "reset",
    "ee2f613e3a5a30345b50e5d3e22ba4d88b8ce3fd154b4989727109beb8065947",
);
/// Who checks a final block again.
pub(crate) const EVIDENCE: Context = Context::new(
    "evidence",
    "540b2270c7a45e24fec6506fde43738d29d1d49c5b5f06a770e2b939545bdcfa",
);
/// Reports of candidates without their signature.
pub(crate) const READY: Context = Context::new(
    "ready",
    "15be825f527ec124907e31a0172cafe62f34ff5dbd866b3fbbdcedf73635956c",
);
/// Hashes that are signed, bound to their network, epoch and committee.
pub(crate) const BOUND: Context = Context::new(
    "bound",
    "d375d1f2cec66ec24f6eb865bc596333a87aa48a33083545828e66974b158ec0",
);
/// Seeds of workload accounts.
pub(crate) const ACCOUNT: Context = Context::new(
    "account",
    "3d241a3f1fe419a90e75087417a75603e518bb21863e4aa19896414da9333e9a",
);
/// Public keys of simulated signers.
pub(crate) const SIMULATED: Context = Context::new(
    "simulated",
    "85c25afe111c2dd6e7f4d7783b45d1c9f347509f306a33695d9be35ced643dd5",
);
/// Material of voting keys.
pub(crate) const VOTING: Context = Context::new(
    "voting",
    "ffe74b9cb0af16e0afd20caee7882c451a9174ad245006ce30ce67ac5f085c2d",
);
/// Coefficients of a batch of votes.
pub(crate) const BATCH: Context = Context::new(
    "batch",
    "428c51e91802a84480c7b32d92c02a28e2d35964f57051d33ee3af314cb73975",
);
/// Draws of candidates and seats.
pub(crate) const LEAGUE: Context = Context::new(
    "league",
    "ef2b9718fc75e3e450ddd27bc34fe5096688ab4c6a84ddd8a195c375e3fde937",
);
/// Samples of a validator.
pub(crate) const SAMPLE: Context = Context::new(
    "sample",
    "87f232078c4d739ea0d532f84167962e39b526638cd3a6c1b9abec920ad4cb19",
);
/// Secrets that samples are drawn with.
pub(crate) const SAMPLE_SECRET: Context = Context::new(
    "samplesecret",
    "66cb6f36ba621ca2debb258713973f149c54b645ed018d31978cd793971772b4",
);

#[cfg(test)]
mod tests {
    use super::Context;

    const ALL: [Context; 23] = [
        super::TX,
        super::SIGHASH,
        super::GROUP,
        super::OPT,
        super::FINAL,
        super::LEAF,
        super::NODE,
        super::EFFECTS,
        super::COMMITTEE,
        super::PERM,
        super::VIEW_CHANGE,
        super::NEW_VIEW,
        super::RESET,
        super::READY,
        super::BOUND,
        super::EVIDENCE,
        super::ACCOUNT,
        super::SIMULATED,
        super::VOTING,
        super::BATCH,
        super::LEAGUE,
        super::SAMPLE,
        super::SAMPLE_SECRET,
    ];

    #[test]
    fn every_key_is_the_one_that_its_context_string_derives() {
        for context in ALL {
            let name = format!("shardbench v1 {}", context.tag);
            assert_eq!(
                context.key,
                blake3::hazmat::hash_derive_key_context(&name),
                "{name}"
            );
            assert_eq!(
                context.digest(&[b"ab", b"", b"c"]).0,
                blake3::derive_key(&name, b"abc"),
                "{name}"
            );
        }
    }

    #[test]
    fn no_two_contexts_are_equal() {
        let keys: std::collections::BTreeSet<_> = ALL.iter().map(|context| context.key).collect();
        assert_eq!(keys.len(), ALL.len());
    }
}
