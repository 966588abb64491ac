//! Backends as one worker sees them: clusters with their endpoints, who is busy, and open connections.

mod cluster;
mod connect;
mod retries;
mod target;

pub(crate) use cluster::{Clusters, Group};
pub(crate) use connect::ConnectError;
pub(crate) use retries::{Retries, Retry};
pub(crate) use target::{Active, Connection, Target};
