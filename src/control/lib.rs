//! The control plane: sources, engine, serve, status.
//!
//! [`Control::start`] puts the rooms together: files or a cluster are read into an inbox, one thread owns the engine and publishes
//! what follows, the ports serve it, and what the proxies answer becomes part of the statuses. In a cluster [`lead`] writes
//! those, and runs the proxies.

pub mod admin;
pub mod cluster;
pub mod deploy;
pub mod flags;
mod graph;
mod held;
mod identity;
pub mod lead;
mod lease;
mod metrics;
mod objects;
mod pace;
mod peers;
mod pipeline;
mod refused;
mod scopes;
mod serve;
pub mod serving;
pub mod source;
mod start;
mod status;
pub mod write;

pub use graph::{Effects, Graph};
pub use held::Wanted;
pub use metrics::{Metrics, VERSION};
pub use objects::Objects;
pub use pipeline::{Pipeline, Sinks};
pub use scopes::{Account, Accounts};
pub use start::{Control, Options, Source, StartError};
pub use status::{Board, Client, Refused};
