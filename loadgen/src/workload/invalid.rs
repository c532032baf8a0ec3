//! Transactions that break a rule on purpose: which rules, and how many of each.

use types::Reject;

use crate::units::{SHARE_ACCEPTED, parse_share};
use crate::usage::UsageError;

/// A rule that is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidKind {
    /// The signature is not one of the owner.
    Signature,
    /// The input does not exist.
    Missing,
    /// The outputs are one more than the inputs.
    Value,
    /// The last byte is cut off.
    Encoding,
}

impl InvalidKind {
    /// All, in the order of the shares.
    pub const ALL: [Self; 4] = [Self::Signature, Self::Missing, Self::Value, Self::Encoding];

    /// The word of `--invalid`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Signature => "sig",
            Self::Missing => "missing",
            Self::Value => "value",
            Self::Encoding => "encoding",
        }
    }

    /// Reason with which an honest node refuses it.
    #[must_use]
    pub const fn reason(self) -> Reject {
        match self {
            Self::Signature => Reject::BadSignature,
            Self::Missing => Reject::InputMissing,
            Self::Value => Reject::ValueMismatch,
            Self::Encoding => Reject::Encoding,
        }
    }
}

/// Shares of all transactions by the rule that they break, parts per million.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InvalidShares([u32; InvalidKind::ALL.len()]);

impl InvalidShares {
    /// Parses `none`, a share that all kinds have together, or `KIND=SHARE,..`.
    ///
    /// # Errors
    /// Names the flag, the part that cannot be used, and what is accepted.
    pub fn parse(flag: &str, text: &str) -> Result<Self, UsageError> {
        let words = InvalidKind::ALL.map(InvalidKind::name);
        let accepted = format!("none, {SHARE_ACCEPTED}, or KIND=SHARE,.. of {}", words.join(", "));
        let mut shares = Self::default();
        if text == "none" {
            return Ok(shares);
        }
        if !text.contains('=') {
            let mut left = parse_share(flag, text).map_err(|mut error| {
                error.accepted = accepted.clone();
                error
            })?;
            for (share, kinds) in shares.0.iter_mut().zip((1..=InvalidKind::ALL.len() as u32).rev()) {
                *share = left / kinds;
                left -= *share;
            }
            return Ok(shares);
        }
        for part in text.split(',') {
            let fail = |problem: &str| UsageError::new(flag, part, problem, &accepted);
            let (word, share) = part.split_once('=').ok_or_else(|| fail("not KIND=SHARE"))?;
            let place = words.iter().position(|known| *known == word);
            let place = place.ok_or_else(|| fail("unknown kind").near(&words))?;
            if shares.0[place] > 0 {
                return Err(fail("named twice"));
            }
            shares.0[place] = parse_share(flag, share)?;
        }
        if shares.total_ppm() > 1_000_000 {
            return Err(UsageError::new(flag, text, "more than all", &accepted));
        }
        Ok(shares)
    }

    /// All kinds together, parts per million.
    #[must_use]
    pub fn total_ppm(&self) -> u32 {
        self.0.iter().fold(0, |sum, share| sum.saturating_add(*share))
    }

    /// The kind at a draw from `0..1_000_000`; `None` above all shares.
    pub(super) fn at(&self, drawn: u64) -> Option<InvalidKind> {
        let mut end = 0;
        let pairs = InvalidKind::ALL.iter().zip(self.0);
        pairs
            .map(|(kind, share)| {
                end += u64::from(share);
                (*kind, end)
            })
            .find(|(_, end)| drawn < *end)
            .map(|(kind, _)| kind)
    }
}

#[cfg(test)]
mod tests {
    use super::{InvalidKind, InvalidShares};

    #[test]
    fn shares_are_split_or_named() {
        let parse = |text| InvalidShares::parse("--invalid", text);
        assert_eq!(parse("none"), Ok(InvalidShares::default()));
        assert_eq!(parse("0"), Ok(InvalidShares::default()));
        let even = parse("0.1").expect("a share");
        assert_eq!((even.total_ppm(), even.0), (100_000, [25_000; 4]));
        assert_eq!(
            parse("0.000005").expect("a share").total_ppm(),
            5,
            "no part is lost"
        );
        let named = parse("value=0.2,sig=1%").expect("kinds");
        assert_eq!(named.0, [10_000, 0, 200_000, 0]);
        for (text, words) in [
            ("sig", "not a share"),
            ("sgi=0.1", "did you mean 'sig'"),
            ("sig=2", "not a share"),
            ("sig=0.1,sig=0.2", "named twice"),
            ("sig=0.6,value=0.6", "more than all"),
            ("1.5", "KIND=SHARE"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.starts_with("--invalid") && error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_draw_falls_into_the_share_of_its_kind() {
        let shares = InvalidShares::parse("--invalid", "sig=0.1,encoding=0.2").expect("kinds");
        for (drawn, kind) in [
            (0, Some(InvalidKind::Signature)),
            (99_999, Some(InvalidKind::Signature)),
            (100_000, Some(InvalidKind::Encoding)),
            (299_999, Some(InvalidKind::Encoding)),
            (300_000, None),
        ] {
            assert_eq!(shares.at(drawn), kind, "{drawn}");
        }
    }
}
