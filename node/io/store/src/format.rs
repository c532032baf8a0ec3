//! The `FORMAT` file of a data directory.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use blocklog::{FORMAT_VERSION, Identity, directory};
use types::Hash;

use crate::error::OpenError;

/// First line of `FORMAT`.
const TITLE: &str = "shardbench data directory";
/// Name of the format file.
const FORMAT: &str = "FORMAT";

/// Reads `FORMAT` and compares it. False when there is none: the directory was never in use.
pub(crate) fn check(directory: &Path, identity: &Identity) -> Result<bool, OpenError> {
    let path = directory.join(FORMAT);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(blocklog::OpenError::io("read", &path)(error).into()),
    };
    let bad = |reason| OpenError::Format {
        path: path.clone(),
        reason,
    };
    let mut lines = text.lines();
    if lines.next() != Some(TITLE) {
        return Err(bad("its first line is not 'shardbench data directory'"));
    }
    let mut field = |name: &str| {
        lines
            .next()
            .and_then(|line| line.strip_prefix(name))
            .map(str::trim)
    };
    let version = field("format ").and_then(|text| text.parse().ok());
    let version = version.ok_or_else(|| bad("its second line is not 'format' and a number"))?;
    let genesis = field("genesis ").and_then(hash_from_hex);
    let validator = field("validator ").and_then(hash_from_hex);
    // Another version may write other lines: its number is what to say then.
    let (Some(genesis), Some(Hash(validator))) = (genesis, validator) else {
        identity.check(&path, version, *identity)?;
        return Err(bad("genesis or validator is not 64 hexadecimal digits"));
    };
    identity.check(&path, version, Identity { genesis, validator })?;
    Ok(true)
}

/// Writes `FORMAT` so that it is there whole or not at all.
pub(crate) fn write(directory: &Path, identity: &Identity) -> Result<(), OpenError> {
    let (path, draft) = (directory.join(FORMAT), directory.join("FORMAT.new"));
    let text = format!(
        "{TITLE}\nformat {FORMAT_VERSION}\ngenesis {}\nvalidator {}\n",
        identity.genesis,
        Hash(identity.validator)
    );
    File::create(&draft)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&draft, &path))
        .map_err(blocklog::OpenError::io("write", &path))?;
    Ok(directory::sync(directory).map_err(blocklog::OpenError::from)?)
}

fn hash_from_hex(text: &str) -> Option<Hash> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(Hash(bytes))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use types::Hash;

    use blocklog::{Identity, IdentityError};

    use super::{check, write};
    use crate::error::OpenError;

    const IDENTITY: Identity = Identity {
        genesis: Hash([0xa1; 32]),
        validator: [0x0b; 32],
    };

    #[test]
    fn format_is_read_back_and_foreign_ones_are_refused_unchanged() {
        let directory = tempfile::tempdir().expect("directory");
        assert!(!check(directory.path(), &IDENTITY).expect("none yet"));
        write(directory.path(), &IDENTITY).expect("written");
        assert!(check(directory.path(), &IDENTITY).expect("ours"));

        let text = fs::read_to_string(directory.path().join("FORMAT")).expect("text");
        let other = Identity {
            genesis: Hash([2; 32]),
            ..IDENTITY
        };
        let error = check(directory.path(), &other).expect_err("foreign genesis");
        assert!(matches!(
            error,
            OpenError::Identity(IdentityError::Genesis { .. })
        ));
        let words = error.to_string();
        assert!(
            words.contains(&"a1".repeat(32)) && words.contains(&"02".repeat(32)),
            "{words}"
        );
        let other = Identity {
            validator: [3; 32],
            ..IDENTITY
        };
        let error = check(directory.path(), &other).expect_err("foreign validator");
        assert!(matches!(
            error,
            OpenError::Identity(IdentityError::Validator { .. })
        ));
        assert_eq!(
            fs::read_to_string(directory.path().join("FORMAT")).expect("text"),
            text
        );
    }

    #[test]
    fn other_versions_and_other_texts_are_refused() {
        let directory = tempfile::tempdir().expect("directory");
        let file = directory.path().join("FORMAT");
        fs::write(&file, "shardbench data directory\nformat 7\nshape round\n").expect("written");
        let error = check(directory.path(), &IDENTITY).expect_err("version 7");
        let expected = OpenError::Identity(IdentityError::Version {
            path: file.clone(),
            found: 7,
            accepted: 1,
        });
        assert_eq!(error.to_string(), expected.to_string());
        for text in [
            "",
            "hello",
            "shardbench data directory\nformat x\n",
            "shardbench data directory\nformat 1\n",
        ] {
            fs::write(&file, text).expect("written");
            let error = check(directory.path(), &IDENTITY).expect_err("not a format");
            assert!(matches!(error, OpenError::Format { .. }), "{error}");
        }
    }
}
