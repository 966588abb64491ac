//! `windlass run`

use clap::Args;

/// Runs everything.
#[derive(Args)]
pub struct Run {}

impl Run {
    pub fn main(self) -> anyhow::Result<()> {
        Ok(())
    }
}
