//! Logs: lowercase fragments with structured fields, to standard error. ERROR only if a person must come.

use std::io::IsTerminal;
use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people; colours only on a terminal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging for the process. `directives` are those of `RUST_LOG`, which wins if it is set: `info`,
/// `info,xds=debug`. A second call changes nothing.
pub fn init(format: Format, directives: &str) {
    // The h2 crate warns of what strangers do, each time: it is theirs to do, and must not fill the log.
    let quiet = || EnvFilter::new(format!("h2=error,{directives}"));
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| quiet());
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        Format::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    };
    // The error says that logging has been started already, as happens in tests.
    let _ = tracing_subscriber::registry().with(lines.with_filter(filter)).try_init();
}
