//! The data plane: configuration in, traffic through.
//!
//! ```text
//! control plane -> xds::client -> config::Store: parse at the door -> Arc<Config> swapped whole
//!                                       | refused: NACK by resource name and field path
//!                                       v
//! accept -> identify -> canonicalise -> authorize -> route -> pick -> connect -> copy -> log, count
//! ```

mod admin;
pub mod authz;
pub mod certs;
pub mod config;
mod door;
pub mod envoy;
pub mod filter;
pub mod h1;
pub mod head;
mod io;
pub mod jwt;
pub mod log;
mod message;
pub mod metrics;
mod observe;
pub mod plane;
pub mod proxy_protocol;
pub mod rehearsal;
pub mod route;
mod run;
mod serve;
#[cfg(test)]
mod stories;
mod stream;
mod tls;
mod upstream;
mod worker;

pub use run::{Addresses, Control, Options, Proxy, StartError};
pub use worker::Observer;
