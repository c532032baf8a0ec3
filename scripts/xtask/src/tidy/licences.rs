//! Licences of dependencies: SPDX expressions over a list of what we accept.

/// Accepted without further ado (SPDX identifiers).
const ACCEPTED: &[&str] = &[
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Zlib",
];

/// Exceptions that only widen what a licence allows.
const EXCEPTIONS: &[&str] = &["LLVM-exception"];

/// Whether an SPDX expression can be met by accepted licences alone. `AND` binds tighter than `OR`; the old `/`
/// means `OR`. Anything that is not an expression is refused.
pub(crate) fn accepted(expression: &str) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut parser = Parser {
        words: spaced.split_whitespace().collect(),
        at: 0,
    };
    parser.any() == Some(true) && parser.at == parser.words.len()
}

struct Parser<'a> {
    words: Vec<&'a str>,
    at: usize,
}

impl<'a> Parser<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let word = self.words.get(self.at).copied();
        self.at += 1;
        word
    }

    fn skip(&mut self, word: &str) -> bool {
        let here = self
            .words
            .get(self.at)
            .is_some_and(|next| next.eq_ignore_ascii_case(word));
        self.at += usize::from(here);
        here
    }

    /// One alternative suffices, but all are read: a broken tail makes the whole expression broken.
    fn any(&mut self) -> Option<bool> {
        let mut met = self.all()?;
        while self.skip("OR") {
            met |= self.all()?;
        }
        Some(met)
    }

    fn all(&mut self) -> Option<bool> {
        let mut met = self.one()?;
        while self.skip("AND") {
            met &= self.one()?;
        }
        Some(met)
    }

    fn one(&mut self) -> Option<bool> {
        if self.skip("(") {
            let met = self.any()?;
            return self.skip(")").then_some(met);
        }
        let licence = self
            .next()
            .filter(|word| !["AND", "OR", "WITH", ")"].contains(word))?;
        let met = ACCEPTED.contains(&licence);
        if self.skip("WITH") {
            Some(met && EXCEPTIONS.contains(&self.next()?))
        } else {
            Some(met)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_that_can_be_met() {
        for expression in [
            "MIT",
            "MIT OR Apache-2.0",
            "MIT/Apache-2.0",
            "GPL-3.0 OR MIT",
            "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "ISC AND (Apache-2.0 OR ISC)",
            "GPL-2.0 AND GPL-3.0 OR Zlib",
        ] {
            assert!(accepted(expression), "{expression}");
        }
    }

    #[test]
    fn expressions_that_cannot() {
        for expression in [
            "",
            "GPL-3.0-only",
            "MIT AND GPL-3.0",
            "MIT AND (GPL-2.0 OR AGPL-3.0)",
            "(MIT OR Apache-2.0) AND OpenSSL",
            "Apache-2.0 WITH Commons-Clause",
            "mit license",
            "MIT OR",
            "(MIT",
            "MIT)",
            "OR MIT",
            "MIT Apache-2.0",
            "Apache-2.0 WITH",
        ] {
            assert!(!accepted(expression), "{expression}");
        }
    }
}
