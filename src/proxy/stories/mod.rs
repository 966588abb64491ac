//! The data plane as a whole, with real sockets on loopback: configuration in Envoy's words, clients and backends that
//! say exactly which bytes they send.

mod authz;
mod backend;
mod change;
mod client;
mod config;
mod exchange;
mod http2;
mod tls;
