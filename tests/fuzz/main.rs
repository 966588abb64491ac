//! Bounded fuzzing on stable Rust: every parser of a stranger's bytes, a fixed time each. No coverage feedback: the
//! seeds carry the depth, the mutations the breadth, and each target checks properties, not only the absence of panics.
//!
//! `FUZZ_SECONDS` (default 2) is the time of each target, `FUZZ_SEED` repeats a run, arguments choose targets by name.
//! An input that fails is written to `target/fuzz/` and named.

mod mutate;
mod resources;
mod streams;
mod targets;

use mutate::Mutator;
use std::{
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant, SystemTime},
};
use tests::process::Usage;

/// What a target's inputs, each bounded, may add to the process: more is growth without bound.
const MOST_GROWTH_MIB: f64 = 300.0;

/// One run over one input.
pub type Run = Box<dyn Fn(&[u8])>;

/// A parser with its properties; it panics if one does not hold.
pub struct Target {
    /// Its name and that of its directory of seeds.
    pub name: &'static str,
    /// Seeds that are made rather than kept.
    pub seeds: Vec<Vec<u8>>,
    /// One run.
    pub run: Run,
}

fn main() -> ExitCode {
    let seconds = env::var("FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2.0);
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |time| time.as_nanos() as u64);
    let seed = env::var("FUZZ_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(clock);
    let names: Vec<String> = env::args().skip(1).filter(|name| !name.starts_with('-')).collect();
    println!("FUZZ_SEED={seed}");
    let chosen = |name: &str| names.is_empty() || names.iter().any(|part| name.contains(part.as_str()));
    let targets: Vec<_> = targets::ALL.iter().filter(|(name, _)| chosen(name)).map(|(_, make)| make()).collect();
    // A panic is reported with its input below; its usual message would drown the table.
    std::panic::set_hook(Box::new(|_| {}));
    let (mut total, mut failed) = (0, false);
    for target in targets {
        match fuzz(&target, Duration::from_secs_f64(seconds), seed) {
            Ok(runs) => {
                println!("  {:12} {runs:>9} runs, {:.0}/s", target.name, runs as f64 / seconds);
                total += runs;
            }
            Err(why) => {
                println!("  {:12} FAILED: {why}", target.name);
                failed = true;
            }
        }
    }
    println!("fuzz: {total} runs");
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn fuzz(target: &Target, limit: Duration, seed: u64) -> Result<u64, String> {
    let mut seeds = target.seeds.clone();
    seeds.extend(files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target.name)));
    if seeds.is_empty() {
        return Err("it has no seeds".into());
    }
    let before = Usage::of(std::process::id()).resident;
    let (started, mut runs) = (Instant::now(), 0_u64);
    let mut mutator = Mutator::new(seed, &seeds);
    // Every seed as it is, then mutations until the time is up.
    while runs < seeds.len() as u64 || started.elapsed() < limit {
        let input = if runs < seeds.len() as u64 { seeds[runs as usize].clone() } else { mutator.next() };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.run)(&input))) {
            let why = panic.downcast_ref::<String>().cloned();
            let why = why.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default();
            return Err(format!("{why}\n    input: {}", keep(target.name, &input)));
        }
        runs += 1;
    }
    let growth = Usage::of(std::process::id()).resident - before;
    if growth > MOST_GROWTH_MIB { Err(format!("{growth:.0} MiB grew in {runs} runs")) } else { Ok(runs) }
}

fn keep(name: &str, input: &[u8]) -> String {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/fuzz");
    let file: PathBuf =
        directory.join(format!("{name}-{:x}", input.iter().fold(0_u64, |h, b| h.wrapping_mul(31) + u64::from(*b))));
    match fs::create_dir_all(&directory).and_then(|()| fs::write(&file, input)) {
        Ok(()) => file.display().to_string(),
        Err(error) => format!("{input:?} (not kept: {error})"),
    }
}

/// The files of a directory, in order; none if it isn't there.
pub fn files(directory: &Path) -> Vec<Vec<u8>> {
    let mut paths: Vec<_> = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().filter_map(|path| fs::read(path).ok()).collect()
}
