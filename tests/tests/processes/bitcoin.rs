//! Replay of real blocks, where some are at hand.

use std::path::{Path, PathBuf};

use crate::programs::{Folder, assert_sound, loadgen, report};

/// Folder of `block*.raw` files; tests that need it are skipped without.
fn blocks() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/bitcoin");
    std::env::var_os("SHARDBENCH_BITCOIN_BLOCKS")
        .map(PathBuf::from)
        .or(Some(beside))
        .filter(|folder| folder.is_dir())
}

#[test]
fn a_real_block_replays_with_every_mapped_transaction_final() {
    let Some(block) = blocks()
        .map(|folder| folder.join("block300025.raw"))
        .filter(|block| block.exists())
    else {
        println!(
            "skipped: no real block at hand; set SHARDBENCH_BITCOIN_BLOCKS to a folder with block300025.raw"
        );
        return;
    };
    let folder = Folder::new("bitcoin");
    let import = loadgen(
        &folder,
        &[
            "import",
            "--bitcoin",
            &block.to_string_lossy(),
            "-o",
            "block.trace",
        ],
    );
    assert_eq!(
        import.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&import.stderr)
    );
    let output = loadgen(
        &folder,
        &[
            "--tps",
            "200",
            "--workload",
            "bitcoin:block.trace",
            "-o",
            "r.json",
        ],
    );
    let report = report(&folder.join("r.json"));
    assert_sound(&report, &output);
    assert_eq!(
        report["counts"]["final"], report["counts"]["scheduled"],
        "every mapped transaction is final"
    );
}
