//! Version and source revision of this build; nodes of another one are refused.

/// Version of this package.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Source revision, when the build was told (`SHARDBENCH_GIT_SHA`).
pub const GIT_SHA: Option<&str> = option_env!("SHARDBENCH_GIT_SHA");

/// `version` or `version+revision`: what nodes state as their build.
#[must_use]
pub fn build() -> String {
    match GIT_SHA {
        Some(sha) if !sha.is_empty() => format!("{VERSION}+{sha}"),
        _ => VERSION.to_owned(),
    }
}
