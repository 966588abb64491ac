//! The wire: Envoy's protobuf types, the few protos beside them, and resources as encoded bytes
