//! The offline commands against the built program. One case a file: what it is for, the commands, the files that they
//! read, and below the mark what they print.
//!
//! `cargo test --workspace --test cli [NAME PART..]` runs the cases; `UPDATE=1` writes what comes out into the files: then
//! read the difference before it is committed.

mod case;
mod conformance;

use case::Case;
use similar::TextDiff;
use std::{path::Path, process::ExitCode};
use tests::place::program;

fn main() -> ExitCode {
    let parts: Vec<String> = std::env::args().skip(1).filter(|part| !part.starts_with("--")).collect();
    let update = std::env::var_os("UPDATE").is_some();
    let windlass = match program("windlass") {
        Ok(windlass) => windlass,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::FAILURE;
        }
    };
    let (mut passed, mut failed) = (0, 0);
    for file in case::files(&parts) {
        match check(&windlass, &file, update) {
            Ok(()) => passed += 1,
            Err(why) => {
                failed += 1;
                println!("FAILED {}\n{why}", file.display());
            }
        }
    }
    match std::env::var_os("WINDLASS_CONFORMANCE") {
        Some(suite) if parts.is_empty() => match check_conformance(&windlass, Path::new(&suite), update) {
            Ok(()) => passed += 1,
            Err(why) => {
                failed += 1;
                println!("FAILED conformance.txt\n{why}");
            }
        },
        Some(_) => {}
        None => println!("cli: WINDLASS_CONFORMANCE is not set: the conformance suite's manifests were not looked at"),
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {word}. {passed} passed; {failed} failed");
    if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn check(windlass: &Path, file: &Path, update: bool) -> Result<(), String> {
    let case = Case::read(file)?;
    let seen = case.run(windlass)?;
    if seen == case.expected {
        return Ok(());
    }
    if update {
        return case.write(file, &seen);
    }
    let diff = TextDiff::from_lines(&case.expected, &seen);
    Err(diff.unified_diff().context_radius(3).header("expected", "seen (UPDATE=1 writes it)").to_string())
}

fn check_conformance(windlass: &Path, suite: &Path, update: bool) -> Result<(), String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("cli/conformance.txt");
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    let seen = conformance::findings(windlass, suite)?;
    if seen == expected {
        return Ok(());
    }
    if update {
        return std::fs::write(&file, seen).map_err(|why| why.to_string());
    }
    let diff = TextDiff::from_lines(&expected, &seen);
    Err(diff.unified_diff().context_radius(0).header("expected", "seen (UPDATE=1 writes it)").to_string())
}
