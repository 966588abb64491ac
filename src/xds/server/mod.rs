//! Aggregated discovery as a gRPC service.

mod clients;
mod limits;
mod metrics;
mod requests;
mod stream;

pub use clients::{Client, TypeState};
pub use limits::Limits;

use crate::{Observe, Publisher};
use clients::Clients;
use metrics::Metrics;
use proto::ads::{DeltaDiscoveryRequest, DiscoveryRequest, Node};
use proto::{Scope, TypeUrl};
use std::{convert::Infallible, future::Future, pin::Pin};
use std::{sync::Arc, task::Context, task::Poll, time::Duration};
use tonic::{Status, body::Body, codegen::Service, server::NamedService, transport::Server};

/// Who is at the other end, proven by its certificate or token: a SPIFFE id. Put into a request's extensions by whoever
/// owns the transport; absent on a plaintext port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerIdentity(pub Arc<str>);

/// Decides what a client may see.
pub trait Authorize: Send + Sync + 'static {
    /// The scope of a client that says to be `node`, and is proven to be `peer` if that is given. Called once a stream.
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

/// `envoy.service.discovery.v3.AggregatedDiscoveryService`: add it to a [`Server`], such as that of [`transport`].
///
/// A response's bytes are framed around the shared bytes of its resources and go to HTTP/2 as they are; a stream is
/// read and written by its connection's own task, and only while the client takes what it is sent.
#[derive(Clone)]
pub struct Ads(Arc<Shared>);

struct Shared {
    publisher: Publisher,
    authorize: Box<dyn Authorize>,
    observe: Box<dyn Observe>,
    limits: Limits,
    metrics: Metrics,
    clients: Clients,
    drainer: base::drain::Drainer,
}

impl Ads {
    /// A service that serves what is published.
    pub fn new(
        publisher: Publisher,
        authorize: impl Authorize,
        observe: impl Observe,
        limits: Limits,
        metrics: &base::metrics::Metrics,
    ) -> Self {
        Self(Arc::new(Shared {
            publisher,
            authorize: Box::new(authorize),
            observe: Box::new(observe),
            limits,
            metrics: Metrics::new(metrics),
            clients: Clients::default(),
            drainer: base::drain::channel().0,
        }))
    }

    /// Ends every stream, now and from now on, so that clients go to another server and this one can end in order.
    pub fn end(&self) {
        self.0.drainer.drain();
    }

    /// The streams that are open, by their order of connecting.
    pub fn clients(&self) -> Vec<Client> {
        self.0.clients.list()
    }
}

/// A server with Istio's transport settings (CONTRACTS 1.1): keepalive every 30 s, dead after 10 s; connections end
/// after 30 min, so that clients spread over replicas; at most 100,000 streams.
pub fn transport() -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .max_connection_age(Duration::from_secs(30 * 60))
        .max_concurrent_streams(100_000)
        .tcp_nodelay(true)
}

impl NamedService for Ads {
    const NAME: &'static str = "envoy.service.discovery.v3.AggregatedDiscoveryService";
}

impl Service<http::Request<Body>> for Ads {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let shared = self.0.clone();
        Box::pin(async move {
            Ok(match request.uri().path().rsplit('/').next() {
                Some("DeltaAggregatedResources") => stream::open::<DeltaDiscoveryRequest>(shared, request).await,
                Some("StreamAggregatedResources") => stream::open::<DiscoveryRequest>(shared, request).await,
                _ => Status::unimplemented("aggregated discovery has no such method").into_http(),
            })
        })
    }
}

/// The short names of types, as metrics and people know them.
pub fn short_name(type_url: TypeUrl) -> &'static str {
    match type_url {
        TypeUrl::Cluster => "cds",
        TypeUrl::Endpoints => "eds",
        TypeUrl::Secret => "sds",
        TypeUrl::Listener => "lds",
        TypeUrl::Extension => "ecds",
        TypeUrl::Route => "rds",
        TypeUrl::VirtualHost => "vhds",
    }
}
