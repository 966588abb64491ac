//! The ports that proxies connect to: xDS and certificates over TLS, and xDS alone without.
//!
//! A client certificate is optional, for a proxy's first certificate is asked for with a token. Who is at the other end
//! is found out here and travels with each request; what he may see is decided in [`crate::scopes`].

mod authenticate;
mod connection;

use crate::scopes::{Accounts, ByIdentity, ByMetadata};
use authenticate::Authenticate;
use base::tasks::Tasks;
use ca::{Ca, TokenVerifier};
use connection::Connections;
use std::{sync::Arc, time::Duration};
use tokio::net::TcpListener;
use tonic::transport::server::Server;
use xds::{Observe, Publisher, server::Ads};

/// Istio's habits: a dead peer is noticed within 40 seconds.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Streams of one connection at once; a proxy needs two.
const MAX_STREAMS: u32 = 1_000;

/// Serves xDS and certificates over TLS until the group drains.
pub fn secure(
    listener: TcpListener, ca: Arc<Ca>, tokens: Arc<dyn TokenVerifier>, accounts: Accounts, publisher: Publisher,
    observe: impl Observe, tasks: &Tasks,
) {
    let connections = Connections::over_tls(listener, ca.server_config(), tasks);
    let ads = Authenticate::new(Ads::new(publisher, ByIdentity(accounts), observe), tokens.clone());
    let certificates = ca.service(tokens);
    tasks.spawn("certificate authority", |mut drain| async move {
        tokio::select! {
            () = ca.run() => {}
            () = drain.drained() => {}
        }
    });
    tasks.spawn("xds over tls", |mut drain| async move {
        let server = server().add_service(ads).add_service(certificates).serve_with_incoming(connections);
        // Streams never end by themselves: there is nothing to wait for.
        tokio::select! {
            ended = server => report("xds over tls", ended),
            () = drain.drained() => {}
        }
    });
}

/// Serves xDS without TLS until the group drains.
pub fn plaintext(listener: TcpListener, publisher: Publisher, observe: impl Observe, tasks: &Tasks) {
    let connections = Connections::plaintext(listener, tasks);
    let ads = Ads::new(publisher, ByMetadata, observe);
    tasks.spawn("xds in plaintext", |mut drain| async move {
        let server = server().add_service(ads).serve_with_incoming(connections);
        tokio::select! {
            ended = server => report("xds in plaintext", ended),
            () = drain.drained() => {}
        }
    });
}

fn server() -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(MAX_STREAMS)
}

fn report(server: &str, ended: Result<(), tonic::transport::Error>) {
    if let Err(error) = ended {
        tracing::error!(%error, server, "a server ended");
    }
}
