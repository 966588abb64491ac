//! `windlass completion`

use clap::{Args, Command};
use clap_complete::{Shell, generate};

/// Prints the script that completes `windlass` in a shell.
///
/// bash: `source <(windlass completion bash)`; zsh: `windlass completion zsh > "${fpath[1]}/_windlass"`; fish:
/// `windlass completion fish > ~/.config/fish/completions/windlass.fish`.
#[derive(Args)]
pub struct Completion {
    /// The shell.
    shell: Shell,
}

impl Completion {
    pub fn main(self, mut command: Command) -> anyhow::Result<()> {
        let mut script = Vec::new();
        generate(self.shell, &mut command, "windlass", &mut script);
        crate::output::print(&String::from_utf8_lossy(&script))
    }
}
