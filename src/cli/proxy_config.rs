//! `windlass proxy-config`

use clap::Args;

/// Shows what a proxy has.
#[derive(Args)]
pub struct ProxyConfig {}

impl ProxyConfig {
    pub fn main(self) -> anyhow::Result<()> {
        Ok(())
    }
}
