//! The wire: Envoy's protobuf types, the few protos beside them, and resources as encoded bytes.

pub mod assemble;
mod resource;

pub use envoy_types::pb as envoy;
pub use resource::{Resource, ResourceKey, Scope, TypeUrl};

/// Aggregated discovery with opaque resources, both ends.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod ads {
    tonic::include_proto!("envoy.service.discovery.v3");
}

/// Istio's certificate service, both ends.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod istio_ca {
    tonic::include_proto!("istio.v1.auth");
}
