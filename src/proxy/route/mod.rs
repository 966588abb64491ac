//! Routing: from a canonical request to a route.

mod host;
mod index;
mod matcher;
mod rewrite;

pub use host::HostConflict;
pub use index::RouteIndex;
pub use rewrite::{location, rewrite_path};

use crate::config::{Forward, Route, RouteTable, VirtualHost, WeightedCluster};
use crate::head::{Fields, Head};
use std::sync::Arc;

/// The headers of a request, in whatever form the codec keeps them.
pub trait Headers {
    /// The values of all lines of a name in lower case, in order.
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]>;
}

impl Headers for http::HeaderMap {
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.get_all(name).iter().map(http::HeaderValue::as_bytes)
    }
}

impl Headers for Fields {
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        Fields::values(self, name)
    }
}

/// A list of lines; names in lower case.
impl Headers for [(&str, &str)] {
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |(key, _)| *key == name).map(|(_, value)| value.as_bytes())
    }
}

/// What the router and the policies look at: the one canonical form of a request.
pub struct Request<'a, H: ?Sized> {
    /// The method.
    pub method: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Canonical: lower case, port and trailing dot as configured.
    pub host: &'a str,
    /// Canonical, without query.
    pub path: &'a str,
    /// Without `?`.
    pub query: Option<&'a str>,
    /// The rest of the headers, without pseudo headers and `host`.
    pub headers: &'a H,
}

impl<'a> From<&'a Head> for Request<'a, Fields> {
    fn from(head: &'a Head) -> Self {
        Self {
            method: head.method(),
            scheme: head.scheme(),
            host: head.host(),
            path: head.path(),
            query: head.query(),
            headers: head.fields(),
        }
    }
}

/// Whether a request says that it is a call of gRPC, or an answer that it is one's: by the type of its content, which
/// may name a format behind a plus. Lines of that name count as one, joined by commas.
pub fn is_grpc<H: Headers + ?Sized>(headers: &H) -> bool {
    let mut lines = headers.values("content-type");
    match lines.next().and_then(|line| line.strip_prefix(b"application/grpc")) {
        Some([]) => lines.next().is_none(),
        Some([first, ..]) => *first == b'+',
        None => false,
    }
}

/// The route of a request.
#[derive(Clone, Copy, Debug)]
pub struct Selected<'a> {
    /// The virtual host.
    pub host: &'a Arc<VirtualHost>,
    /// The route.
    pub route: &'a Route,
}

impl RouteTable {
    /// The route of a request: the most specific virtual host, in it the first route that matches. None is 404.
    pub fn select<H: Headers + ?Sized>(&self, request: &Request<'_, H>) -> Option<Selected<'_>> {
        let host = self.virtual_host(request.host)?;
        Some(Selected { host, route: host.select(request)? })
    }
}

impl Forward {
    /// The cluster for a uniformly drawn number.
    pub fn pick(&self, random: u64) -> &WeightedCluster {
        match &*self.clusters {
            [only] => only,
            clusters => {
                let mut rest = random % self.total_weight;
                for cluster in clusters {
                    match rest.checked_sub(u64::from(cluster.weight)) {
                        None => return cluster,
                        Some(left) => rest = left,
                    }
                }
                // Not reached: the weights add up to the total.
                &clusters[0]
            }
        }
    }
}
