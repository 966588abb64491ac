//! `windlass precheck`: whether Windlass can be installed in a cluster, and what would be in its way.

mod checks;

use crate::{
    cluster::Flags,
    output::{self, Format, Paint},
};
pub use checks::check;
use clap::Args;
use serde::Serialize;
use std::{fmt::Write, process::ExitCode};

/// Says whether Windlass can be installed in a cluster: its version, your rights, Gateway API's kinds, and what is in the way.
///
/// Nothing is written.
#[derive(Args)]
#[command(after_help = "Exit codes: 0 nothing is in the way; 1 something is; 2 the cluster can't be asked.")]
pub struct Precheck {
    #[command(flatten)]
    cluster: Flags,
    /// Print for machines.
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// All is well.
    Ok,
    /// It can be installed, and something will be missing or other than expected.
    Warning,
    /// It can't be installed.
    Error,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    level: Level,
    what: &'static str,
    message: String,
}

impl Check {
    /// The outcome of looking at something.
    pub fn new(level: Level, what: &'static str, message: impl Into<String>) -> Self {
        Self { level, what, message: message.into() }
    }
}

impl Precheck {
    pub fn main(self) -> anyhow::Result<ExitCode> {
        let (runtime, cluster) = self.cluster.open()?;
        let checks = runtime.block_on(check(&cluster))?;
        output::print(&match self.output {
            Some(format) => output::text(format, &checks)?,
            None => text(&checks, Paint::stdout()),
        })?;
        Ok(if is_in_the_way(&checks) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// Whether something keeps Windlass from being installed.
pub fn is_in_the_way(checks: &[Check]) -> bool {
    checks.iter().any(|check| check.level == Level::Error)
}

/// A line for each check.
pub fn text(checks: &[Check], paint: Paint) -> String {
    let mut text = String::new();
    for check in checks {
        let level = match check.level {
            Level::Ok => paint.bold(32, "ok"),
            Level::Warning => paint.bold(33, "warning"),
            Level::Error => paint.bold(31, "error"),
        };
        // Writing to a String can't fail.
        let _ = writeln!(text, "{level}: {}: {}", check.what, check.message);
    }
    text
}
