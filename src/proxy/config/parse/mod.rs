//! The door: Envoy's v3 messages become own types, or are refused with the field's path and a reason.
//!
//! Nothing is ignored in silence. Every message is taken apart with all its fields named (the compiler holds us to
//! it): a field is used, or has no effect in this proxy, or must be unset. Fields newer than our copy of Envoy's
//! protocol are noticed too, because they are missing when the message is measured again.

// Deprecated fields are still sent, and are named like all others.
#![allow(deprecated)]

mod access_log;
mod at;
mod cluster;
mod endpoint;
mod ext_authz;
mod filter;
mod forward;
mod headers;
mod http;
mod intern;
mod jwt;
mod listener;
mod matcher;
mod rbac;
mod re2;
mod route;
mod secret;
mod stream;
mod tls;

pub use at::Fault;
pub use intern::Context;

use super::{ClusterSpec, Endpoints, Listener, Name, RouteTable, Secret, Step, TcpProxy, VirtualHost};
use at::{At, decode};
use pb::extensions::filters::network::{rbac::v3::Rbac as RbacFilter, tcp_proxy::v3::TcpProxy as TcpProxyFilter};
use proto::{TypeUrl, envoy::envoy as pb};
use std::sync::Arc;

/// A resource in our own words, with the names of what it needs beside it.
pub enum Parsed {
    /// CDS.
    Cluster(ParsedCluster),
    /// EDS.
    Endpoints(Endpoints),
    /// SDS.
    Secret(Secret),
    /// LDS.
    Listener(Listener),
    /// ECDS: a step on requests, or a policy on connections.
    Extension(Step),
    /// ECDS: where the connections of a stream go.
    Proxy(TcpProxy),
    /// RDS; its virtual hosts come by VHDS if the flag is set.
    Routes(RouteTable, bool),
    /// VHDS.
    VirtualHost(Arc<VirtualHost>),
}

/// A cluster, with the endpoints that are written in it.
pub struct ParsedCluster {
    /// What it is.
    pub spec: ClusterSpec,
    /// Endpoints of a static cluster.
    pub endpoints: Option<Endpoints>,
}

/// Reads one resource. `name` is the name that the server gave it: it must be the name inside.
///
/// # Errors
/// The first field that can't be used, with its path.
pub fn parse(context: &Context, type_url: TypeUrl, name: &Name, body: &[u8]) -> Result<Parsed, Fault> {
    let at = &At::root(context);
    Ok(match type_url {
        TypeUrl::Cluster => Parsed::Cluster(cluster::cluster(at, name, decode(at, body)?)?),
        TypeUrl::Endpoints => Parsed::Endpoints(endpoint::endpoints(at, name, decode(at, body)?)?),
        TypeUrl::Secret => Parsed::Secret(secret::secret(at, name, decode(at, body)?)?),
        TypeUrl::Listener => Parsed::Listener(listener::listener(at, name, decode(at, body)?)?),
        TypeUrl::Extension => {
            let extension: pb::config::core::v3::TypedExtensionConfig = decode(at, body)?;
            at.same_name(name, &extension.name)?;
            let at = at.field("typed_config");
            let any = at.want("typed_config", extension.typed_config)?;
            match &*any.type_url {
                url if url == stream::url::<TcpProxyFilter>() => Parsed::Proxy(stream::proxy(&at, &any)?),
                url if url == stream::url::<RbacFilter>() => {
                    Parsed::Extension(Step::Rbac(Arc::new(rbac::network_filter(&at, &any)?)))
                }
                _ => Parsed::Extension(filter::step(&at, any)?),
            }
        }
        TypeUrl::Route => {
            let (table, vhds) = route::table(at, name, decode(at, body)?)?;
            Parsed::Routes(table, vhds)
        }
        TypeUrl::VirtualHost => Parsed::VirtualHost(route::virtual_host(at, decode(at, body)?, Some(name))?),
    })
}

#[cfg(test)]
mod tests;
