//! `windlass version`

use crate::output::{self, Format};
use clap::Args;

/// Prints the version.
#[derive(Args)]
pub struct Version {
    /// For machines.
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,
}

impl Version {
    pub fn main(self) -> anyhow::Result<()> {
        match self.output {
            None => output::print(&format!("windlass {}\n", control::VERSION)),
            Some(format) => output::print(&output::text(format, &serde_json::json!({"version": control::VERSION}))?),
        }
    }
}
