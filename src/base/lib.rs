//! What every process needs: logs, metrics, readiness, drain, named tasks.
//!
//! A process is a [`tasks::Tasks`] group: every task in it has a name, and ends when the group drains. It is ready
//! when every barrier of its [`ready::Readiness`] has been passed.

pub mod drain;
pub mod log;
pub mod metrics;
pub mod ready;
pub mod tasks;
