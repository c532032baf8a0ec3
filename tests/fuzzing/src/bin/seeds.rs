//! Writes the first inputs of all targets: `fuzz-seeds DIR` makes `DIR/<target>/seed-<name>`.

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(dir), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: fuzz-seeds DIR");
        return ExitCode::from(2);
    };
    let dir = PathBuf::from(dir);
    for seed in fuzzing::seeds::all() {
        let folder = dir.join(seed.target);
        let path = folder.join(format!("seed-{}", seed.name));
        let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, &seed.bytes));
        if let Err(error) = written {
            eprintln!("{} cannot be written: {error}", path.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
