//! Shell scripts stop at the first error and can be run.

use super::tree::{File, Tree};
use super::{Finding, found};

/// Every script has a shell line, strict mode and the execute bit.
pub(crate) fn strict(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| is_script(file)) {
        if !file.text().lines().any(|line| line == "set -euo pipefail") {
            findings.push(found(&file.path, 0, "no line `set -euo pipefail`"));
        }
        if !file.text().starts_with("#!/usr/bin/env bash\n") {
            findings.push(found(
                &file.path,
                1,
                "the first line is `#!/usr/bin/env bash` in every script",
            ));
        }
        if !file.executable {
            findings.push(found(&file.path, 0, "not executable: chmod +x"));
        }
    }
    findings
}

fn is_script(file: &File) -> bool {
    let first = file.text().lines().next().unwrap_or("");
    file.path.ends_with(".sh") || first.starts_with("#!") && first.ends_with("sh")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "#!/usr/bin/env bash\n# What it does.\nset -euo pipefail\n";

    #[test]
    fn scripts_are_checked() {
        let check = |path, text: &str| strict(&Tree::planted(&[(path, text)])).len();
        assert_eq!(check("scripts/a", GOOD), 0);
        assert_eq!(check("scripts/a", &GOOD.replace("pipefail", "nounset")), 1);
        assert_eq!(
            check("scripts/a", &GOOD.replace("/usr/bin/env bash", "/bin/sh")),
            1
        );
        assert_eq!(check("scripts/a.sh", "set -euo pipefail\n"), 1);
        assert_eq!(check("docs/a.md", "text\n"), 0);
        assert_eq!(check("a/src/lib.rs", "#![forbid(unsafe_code)]\n"), 0);
    }

    #[test]
    fn the_execute_bit_is_needed() {
        let mut tree = Tree::planted(&[("scripts/a", GOOD)]);
        tree.files[0].executable = false;
        assert_eq!(strict(&tree).len(), 1);
    }
}
