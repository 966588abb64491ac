//! The xDS protocol, both ends. It moves named, versioned bytes and knows neither Envoy's resources nor Kubernetes.
//!
//! ```text
//! publish -> Snapshot (by scope, immutable, persistent maps) -> Subscription (one a stream, no I/O) -> server
//!                                                                                                      |
//!                                                        Handler <- client <------ delta ADS ----------+
//! ```
//! A stream keeps no queue: what a client must still be told is the difference between the table that it was last
//! told and the newest one. Both are persistent maps that share what is equal, so the difference costs what changed.

pub mod client;
mod feedback;
mod publisher;
pub mod recorder;
mod routes;
pub mod server;
mod snapshot;

mod subscription;
mod wire;

pub use feedback::{Feedback, Observe, Outcome};
pub use publisher::{Publisher, View};
pub use snapshot::{Entry, Snapshot};
