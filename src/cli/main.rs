//! The `windlass` command: a list of subcommands, each of which owns its flags.
//!
//! Exit codes: 0 success, 1 it could not be done (why is on standard error), 2 the command line is wrong. Commands that
//! answer a question (`analyze`, `diff`, `why`, `simulate`, `precheck`) have 0 for yes, 1 for no, 2 if it could not be answered.

mod analyze;
mod ask;
mod charts;
mod cluster;
mod completion;
mod condition;
mod control_plane;
mod diff;
mod envoy_bootstrap;
mod fetch;
mod flags;
mod http;
mod install;
mod live;
mod offline;
mod output;
mod path;
mod precheck;
mod progress;
mod proxy_config;
mod proxy_status;
mod run;
mod service;
mod simulate;
mod uninstall;
mod version;
mod why;
mod xds;

use clap::{CommandFactory, Parser, Subcommand};
use std::process::ExitCode;
use tikv_jemallocator::Jemalloc;

// What is deleted goes back to the system: glibc would keep it.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Windlass: an Envoy-compatible control plane with its own proxy, for Gateway API and Istio's policies.
#[derive(Parser)]
#[command(name = "windlass", version = control::VERSION, max_term_width = 110)]
#[command(
    after_help = "Exit codes: 0 success; 1 it could not be done, why is on standard error; 2 the command line is wrong.\n\
    Logs go to standard error; RUST_LOG=debug shows more."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Run),
    Analyze(analyze::Analyze),
    Why(why::Why),
    Simulate(simulate::Simulate),
    Diff(diff::Diff),
    Xds(xds::Xds),
    EnvoyBootstrap(envoy_bootstrap::EnvoyBootstrap),
    #[command(visible_alias = "ps")]
    ProxyStatus(proxy_status::ProxyStatus),
    #[command(visible_alias = "pc")]
    ProxyConfig(proxy_config::ProxyConfig),
    Precheck(precheck::Precheck),
    Install(install::Install),
    Uninstall(uninstall::Uninstall),
    Completion(completion::Completion),
    Version(version::Version),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Run(command) => command.main(),
        Command::Xds(command) => command.main(),
        Command::EnvoyBootstrap(command) => command.main(),
        Command::ProxyStatus(command) => command.main(),
        Command::ProxyConfig(command) => command.main(),
        Command::Install(command) => command.main(),
        Command::Uninstall(command) => command.main(),
        Command::Completion(command) => command.main(Cli::command()),
        Command::Version(command) => command.main(),
        Command::Precheck(command) => return answered(command.main()),
        Command::Analyze(command) => return answered(command.main()),
        Command::Why(command) => return answered(command.main()),
        Command::Simulate(command) => return answered(command.main()),
        Command::Diff(command) => return answered(command.main()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("windlass: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The code of a command that answers a question: what it says, or 2 if it couldn't be answered.
fn answered(done: anyhow::Result<ExitCode>) -> ExitCode {
    done.unwrap_or_else(|error| {
        eprintln!("windlass: {error:#}");
        ExitCode::from(2)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_is_no_loopback_address_is_refused() {
        for (flag, address, fine) in [
            ("--admin", "127.0.0.1:0", true),
            ("--admin", "[::1]:0", true),
            ("--admin", "0.0.0.0:15014", false),
            ("--plaintext", "192.0.2.1:15010", false),
            ("--plaintext", "localhost", false),
        ] {
            let parsed = Cli::try_parse_from(["windlass", "xds", "dir", flag, address]);
            assert_eq!(parsed.is_ok(), fine, "{flag} {address}");
        }
    }
}
