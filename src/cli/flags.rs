//! Flags that several subcommands have.

use clap::{Args, ValueEnum};
use std::{net::IpAddr, path::PathBuf};

/// What access logs look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AccessLog {
    /// One line of text a request.
    Text,
    /// One JSON object a request.
    Json,
    /// None.
    Off,
}

/// Where gateways listen, and what they log.
#[derive(Args, Clone, Debug)]
pub struct Gateways {
    /// Address that the listeners of every Gateway bind; it stands for a LoadBalancer's address.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1")]
    pub bind: IpAddr,
    /// Added to every listener's port, so that nobody needs to be root: port 80 is served on 8080.
    #[arg(long, value_name = "N", default_value_t = 8000)]
    pub port_offset: u16,
    /// Access log of the gateways.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub access_log: AccessLog,
}

impl Gateways {
    /// As resolution wants it.
    pub fn resolve(&self) -> resolve::Settings {
        // Whoever binds every address doesn't say at which of them others reach it.
        let addresses = if self.bind.is_unspecified() { Vec::new() } else { vec![self.bind] };
        resolve::Settings { reach: resolve::Reach::At(addresses), ..resolve::Settings::default() }
    }

    /// As translation wants it.
    pub fn settings(&self) -> translate::Settings {
        let access_log = match self.access_log {
            AccessLog::Text => translate::AccessLog::Text,
            AccessLog::Json => translate::AccessLog::Json,
            AccessLog::Off => translate::AccessLog::Off,
        };
        translate::Settings { bind: self.bind, port_offset: self.port_offset, access_log }
    }
}

/// Where state is kept.
#[derive(Args, Clone, Debug)]
pub struct Data {
    /// Directory for what outlives a restart: the CA's root, the secret of bootstrap tokens, the proxies' last good
    /// configuration. Default: $XDG_STATE_HOME/windlass, or ~/.local/state/windlass.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl Data {
    /// The directory.
    ///
    /// # Errors
    /// If it isn't given, and there is no home to put it in.
    pub fn directory(&self) -> anyhow::Result<PathBuf> {
        if let Some(data) = &self.data {
            return Ok(data.clone());
        }
        let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state = variable("XDG_STATE_HOME").or_else(|| variable("HOME").map(|home| home.join(".local/state")));
        match state {
            Some(state) => Ok(state.join("windlass")),
            None => anyhow::bail!(
                "wanted a directory for state, but neither HOME nor XDG_STATE_HOME is set: give --data DIR"
            ),
        }
    }
}

/// How many threads compute large changes.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(8)
}
