//! Bad input: exit 2, one helpful line, nothing started.

use std::process::{Command, Stdio};

use crate::programs::{Folder, loadgen, program};

#[test]
fn every_bad_flag_exits_2_and_is_named() {
    let folder = Folder::new("usage");
    let cases: [(&[&str], &str); 8] = [
        (&["--tps", "abc"], "abc"),
        (&["--tps", "100", "--shards", "3"], "3"),
        (&["--tps", "100", "--slo", "nonsense"], "nonsense"),
        (&["--tps", "100", "--protocol", "records"], "pbft"),
        (&["--tps", "100", "--cross-shard", "natural"], "natural"),
        (&["--tps", "100", "--validators", "3"], "3"),
        (
            &["--tps", "100", "--workload", "bitcoin:missing.trace"],
            "missing.trace",
        ),
        (&["--tps", "100", "--nodes", "@missing.hosts"], "missing.hosts"),
    ];
    for (arguments, named) in cases {
        let output = loadgen(&folder, arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(named), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty(), "{arguments:?} has no result");
    }
}

#[test]
fn a_corrupt_trace_and_a_truncated_configuration_are_refused_by_name() {
    let folder = Folder::new("corrupt");
    std::fs::write(folder.join("bad.trace"), b"not a trace").expect("written");
    let output = loadgen(&folder, &["--tps", "100", "--workload", "bitcoin:bad.trace"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("bad.trace"));
    std::fs::write(folder.join("validator.toml"), "genesis = \"gen").expect("written");
    let node = Command::new(program("shardbench-node"))
        .arg("run")
        .arg("--config")
        .arg(folder.join("validator.toml"))
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    assert_eq!(node.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&node.stderr).contains("validator.toml"));
}
