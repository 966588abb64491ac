//! The data plane: configuration in, traffic through.
//!
//! ```text
//! control plane -> xds::client -> config::Store: parse at the door -> Arc<Config> swapped whole
//!                                       | refused: NACK by resource name and field path
//!                                       v
//! accept -> identify -> canonicalise -> authorize -> route -> pick -> connect -> copy -> log, count
//! ```

pub mod authz;
pub mod certs;
pub mod config;
pub mod filter;
pub mod h1;
pub mod head;
mod io;
pub mod log;
mod message;
pub mod metrics;
pub mod plane;
pub mod route;
mod serve;
mod tls;
mod upstream;
mod worker;

pub use worker::Observer;
