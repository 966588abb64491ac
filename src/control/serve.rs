//! The ports that proxies connect to: xDS and certificates over TLS, and xDS alone without.
//!
//! A client certificate is optional, for a proxy's first certificate is asked for with a token. Who is at the other end
//! is found out here and travels with each request; what he may see is decided in [`crate::scopes`].

mod authenticate;
mod connection;

use authenticate::Authenticate;
use base::tasks::Tasks;
use ca::{Ca, TokenVerifier};
use connection::Connections;
use std::sync::Arc;
use tokio::net::TcpListener;
use xds::server::{Ads, transport};

/// Serves xDS and certificates over TLS until the group drains.
pub fn secure(listener: TcpListener, ads: Ads, ca: Arc<Ca>, tokens: Arc<dyn TokenVerifier>, tasks: &Tasks) {
    let connections = Connections::over_tls(listener, ca.server_config(), tasks);
    let streams = ads.clone();
    let (ads, certificates) = (Authenticate::new(ads, tokens.clone()), ca.service(tokens));
    tasks.spawn("certificate authority", |mut drain| async move {
        tokio::select! {
            () = ca.run() => {}
            () = drain.drained() => {}
        }
    });
    tasks.spawn("xds over tls", |mut drain| async move {
        let server = transport().add_service(ads).add_service(certificates).serve_with_incoming(connections);
        tokio::select! {
            ended = server => report("xds over tls", ended),
            () = drain.drained() => streams.end(),
        }
    });
}

/// Serves xDS without TLS until the group drains.
pub fn plaintext(listener: TcpListener, ads: Ads, tasks: &Tasks) {
    let connections = Connections::plaintext(listener, tasks);
    tasks.spawn("xds in plaintext", |mut drain| async move {
        let server = transport().add_service(ads).serve_with_incoming(connections);
        tokio::select! {
            ended = server => report("xds in plaintext", ended),
            () = drain.drained() => {}
        }
    });
}

fn report(server: &str, ended: Result<(), tonic::transport::Error>) {
    if let Err(error) = ended {
        tracing::error!(%error, server, "a server ended");
    }
}
