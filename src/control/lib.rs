//! The control plane: sources, engine, serve, status.
//!
//! [`Control::start`] puts the rooms together: files or a cluster are read into an inbox, one thread owns the engine and publishes
//! what follows, the ports serve it, and what the proxies answer becomes part of the statuses.

pub mod admin;
pub mod cluster;
mod graph;
mod metrics;
mod objects;
mod pipeline;
mod scopes;
mod serve;
pub mod serving;
pub mod source;
mod start;
mod status;

pub use graph::{Effects, Graph};
pub use metrics::{Metrics, VERSION};
pub use objects::Objects;
pub use pipeline::{Pipeline, Sinks};
pub use scopes::{Account, Accounts};
pub use start::{Control, Options, Source, StartError};
pub use status::{Board, Client, Refused};
