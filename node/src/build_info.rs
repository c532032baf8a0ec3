//! Version and source revision of this build; a load generator of another one refuses it.

/// Version of this package.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Source revision, empty unless the build was told (`SHARDBENCH_GIT_SHA`).
const GIT_SHA: &str = match option_env!("SHARDBENCH_GIT_SHA") {
    Some(sha) => sha,
    None => "",
};

/// Bytes of `BUILD`.
const LEN: usize = if GIT_SHA.is_empty() {
    VERSION.len()
} else {
    VERSION.len() + 1 + GIT_SHA.len()
};

const BYTES: [u8; LEN] = {
    let mut bytes = [b'+'; LEN];
    let mut at = 0;
    while at < LEN {
        if at < VERSION.len() {
            bytes[at] = VERSION.as_bytes()[at];
        } else if at > VERSION.len() {
            bytes[at] = GIT_SHA.as_bytes()[at - VERSION.len() - 1];
        }
        at += 1;
    }
    bytes
};

/// `version`, or `version+revision` where the build was told its revision.
pub(crate) const BUILD: &str = match std::str::from_utf8(&BYTES) {
    Ok(build) => build,
    Err(_) => VERSION,
};

#[cfg(test)]
mod tests {
    use super::{BUILD, GIT_SHA, VERSION};

    #[test]
    fn version_and_revision() {
        let expected = if GIT_SHA.is_empty() {
            VERSION.to_owned()
        } else {
            format!("{VERSION}+{GIT_SHA}")
        };
        assert_eq!(BUILD, expected);
    }
}
