//! What translation reads: `resolve` fills these tables.

use engine::Table;
use model::{
    Authentication, Authorizer, CertificateKey, Cluster, Endpoints, KeyPair, Listener, ListenerKey, ObjectKey, Policy,
    Stream, StreamKey, Trust, TrustKey, VirtualHost, VirtualHostKey,
};
use std::sync::Arc;

/// The tables of model values that Envoy resources are made from.
///
/// Only what may be programmed stands in them: what is refused has a status and no row. A cluster, its endpoints and a
/// certificate stand once, whatever the number of gateways; who uses them is said by membership.
#[derive(Clone, Copy)]
pub struct Inputs {
    /// The Gateways to program. A row here gives a scope its authorization filters, even without listeners.
    pub gateways: Table<ObjectKey, ()>,
    /// Listeners, one row each. Listeners of one Gateway and port have the same protocol, but for HTTPS beside TLS, and
    /// UDP beside anything.
    pub listeners: Table<ListenerKey, Listener>,
    /// Virtual hosts, one row each.
    pub virtual_hosts: Table<VirtualHostKey, VirtualHost>,
    /// Streams, one row each. A TCP or UDP listener always has one.
    pub streams: Table<StreamKey, Stream>,
    /// Clusters by name.
    pub clusters: Table<Arc<str>, Cluster>,
    /// Endpoints by the name of their cluster. No row: none known yet, which is sent as an empty set.
    pub endpoints: Table<Arc<str>, Endpoints>,
    /// Which Gateway's proxies need which cluster; any number of rows.
    pub gateway_clusters: Table<(ObjectKey, Arc<str>), ()>,
    /// Certificates.
    pub certificates: Table<CertificateKey, KeyPair>,
    /// Sets of authorities; any number of equal rows.
    pub trust: Table<TrustKey, Trust>,
    /// The certificate that a Gateway shows to backends; at most one row.
    pub backend_certificates: Table<ObjectKey, CertificateKey>,
    /// All policies that apply to a Gateway; any number of rows.
    pub policies: Table<ObjectKey, Policy>,
    /// Whom a Gateway asks about what its CUSTOM policies match; at most one row.
    pub authorizers: Table<ObjectKey, Authorizer>,
    /// All RequestAuthentications that apply to a Gateway; any number of rows.
    pub authentications: Table<ObjectKey, Authentication>,
}
