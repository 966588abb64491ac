//! Aggregated discovery as a gRPC service.

use crate::{Observe, Publisher};
use proto::{Scope, ads::Node};
use std::{sync::Arc, task::Context, task::Poll};
use tonic::{Status, body::Body, server::NamedService};

/// Who is at the other end, proven by its certificate or token: a SPIFFE id. Put into a request's extensions by whoever
/// owns the transport; absent on a plaintext port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerIdentity(pub Arc<str>);

/// Decides what a client may see.
pub trait Authorize: Send + Sync + 'static {
    /// The scope of a client that says to be `node`, and is proven to be `peer` if that is given.
    ///
    /// # Errors
    /// The gRPC status to refuse the stream with.
    fn scope(&self, peer: Option<&str>, node: &Node) -> Result<Scope, Status>;
}

impl<F: Fn(Option<&str>, &Node) -> Result<Scope, Status> + Send + Sync + 'static> Authorize for F {
    fn scope(&self, peer: Option<&str>, node: &Node) -> Result<Scope, Status> {
        self(peer, node)
    }
}

/// `envoy.service.discovery.v3.AggregatedDiscoveryService`: add it to a [`tonic::transport::Server`].
#[derive(Clone)]
pub struct Ads(Arc<Shared>);

struct Shared {
    publisher: Publisher,
    authorize: Box<dyn Authorize>,
    observe: Box<dyn Observe>,
}

impl Ads {
    /// A service that serves what is published.
    pub fn new(publisher: Publisher, authorize: impl Authorize, observe: impl Observe) -> Self {
        Self(Arc::new(Shared { publisher, authorize: Box::new(authorize), observe: Box::new(observe) }))
    }
}

impl NamedService for Ads {
    const NAME: &'static str = "envoy.service.discovery.v3.AggregatedDiscoveryService";
}

impl tonic::codegen::Service<http::Request<Body>> for Ads {
    type Response = http::Response<Body>;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<Body>) -> Self::Future {
        let _ = (&self.0.publisher, &self.0.authorize, &self.0.observe);
        std::future::ready(Ok(Status::unimplemented("not yet").into_http()))
    }
}
