//! Listeners and their filter chains.

use super::{HttpFilter, HttpManager, Name, PolicySource, ProxySource, StreamChain, UdpProxy};
use std::{collections::HashMap, net::SocketAddr, sync::Arc};

/// What a connection's first bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// A TLS ClientHello.
    Tls,
    /// Anything else (`raw_buffer`).
    Plain,
}

/// What a connection must be like for a filter chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainMatch {
    /// `a.test`, `*.a.test`; lower case; empty is any.
    pub server_names: Box<[Name]>,
    /// TLS or not; none is any.
    pub transport: Option<Transport>,
}

/// Versions of TLS that we speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsVersion {
    /// 1.2
    Tls12,
    /// 1.3
    Tls13,
}

impl TlsVersion {
    /// The versions between two, as rustls wants them.
    pub fn range(min: Self, max: Self) -> Vec<&'static rustls::SupportedProtocolVersion> {
        let all = [(Self::Tls13, &rustls::version::TLS13), (Self::Tls12, &rustls::version::TLS12)];
        all.into_iter().filter(|(version, _)| (min..=max).contains(version)).map(|(_, version)| version).collect()
    }
}

/// How TLS ends here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tls {
    /// SDS names of the certificates; never empty.
    pub certificates: Box<[Name]>,
    /// In our order of preference.
    pub alpn: Box<[Box<[u8]>]>,
    /// The lowest version.
    pub min: TlsVersion,
    /// The highest version.
    pub max: TlsVersion,
    /// SDS name of the roots that vouch for clients; none asks for no client certificate.
    pub client_roots: Option<Name>,
    /// A client without certificate is refused.
    pub require_client_certificate: bool,
    /// A client is let in with a certificate that nobody vouches for, and is nobody.
    pub accept_untrusted: bool,
}

/// What serves a connection.
#[derive(Clone, Debug)]
pub struct FilterChain {
    /// Its name.
    pub name: Name,
    /// Which connections.
    pub matches: ChainMatch,
    /// TLS, if it ends here.
    pub tls: Option<Tls>,
    /// What it speaks.
    pub serves: Serves,
}

/// What serves the connections of a chain.
#[derive(Clone, Debug)]
pub enum Serves {
    /// Requests.
    Http(Arc<HttpManager>),
    /// Bytes.
    Stream(Arc<StreamChain>),
}

impl FilterChain {
    /// The connection manager, if it speaks HTTP.
    pub fn http(&self) -> Option<&HttpManager> {
        match &self.serves {
            Serves::Http(http) => Some(http),
            Serves::Stream(_) => None,
        }
    }

    /// The policies that it names.
    pub fn policies(&self) -> impl Iterator<Item = &Name> {
        let (http, stream) = match &self.serves {
            Serves::Http(http) => (Some(http), None),
            Serves::Stream(stream) => (None, Some(stream)),
        };
        let of_http = http.into_iter().flat_map(|http| &http.filters).filter_map(|filter| match filter {
            HttpFilter::Named(name) => Some(name),
            _ => None,
        });
        let of_stream = stream.into_iter().flat_map(|stream| &stream.policies).filter_map(|source| match source {
            PolicySource::Named(name) => Some(name),
            PolicySource::Inline(_) => None,
        });
        of_http.chain(of_stream)
    }

    /// The proxy of a stream that it names.
    pub fn proxy(&self) -> Option<&Name> {
        match &self.serves {
            Serves::Stream(stream) => match &stream.proxy {
                ProxySource::Named(name) => Some(name),
                ProxySource::Inline(_) => None,
            },
            Serves::Http(_) => None,
        }
    }
}

/// One address to accept connections on.
#[derive(Debug)]
pub struct Listener {
    /// Its name.
    pub name: Name,
    /// Where.
    pub address: SocketAddr,
    /// For datagrams; then there are no chains.
    pub udp: Option<UdpProxy>,
    /// Bytes that may wait in one connection's buffers.
    pub buffer_limit: usize,
    /// How long a client may take to show what it speaks; none is without limit.
    pub inspect_timeout: Option<std::time::Duration>,
    /// Whether a connection starts with a PROXY header; one without is refused.
    pub proxy_protocol: bool,
    /// In the order of the resource.
    pub chains: Box<[Arc<FilterChain>]>,
    /// For connections that no chain matches; none closes them.
    pub default_chain: Option<Arc<FilterChain>>,
    index: HashMap<(Option<Name>, Option<Transport>), Arc<FilterChain>, rustc_hash::FxBuildHasher>,
    by_name: bool,
    by_transport: bool,
}

impl Listener {
    /// A listener. Two chains with the same match are an error: the text names both.
    pub fn new(
        name: Name,
        address: SocketAddr,
        buffer_limit: usize,
        inspect_timeout: Option<std::time::Duration>,
        chains: Vec<Arc<FilterChain>>,
        default_chain: Option<Arc<FilterChain>>,
    ) -> Result<Self, String> {
        let mut index: HashMap<_, Arc<FilterChain>, _> = HashMap::default();
        let (mut by_name, mut by_transport) = (false, false);
        for chain in &chains {
            let transport = chain.matches.transport;
            by_transport |= transport.is_some();
            by_name |= !chain.matches.server_names.is_empty();
            let any = [None];
            let names: Vec<Option<Name>> = chain.matches.server_names.iter().cloned().map(Some).collect();
            for server_name in if names.is_empty() { &any[..] } else { &names } {
                if let Some(other) = index.insert((server_name.clone(), transport), chain.clone()) {
                    return Err(format!("chains {:?} and {:?} match the same connections", other.name, chain.name));
                }
            }
        }
        Ok(Self {
            name,
            address,
            udp: None,
            buffer_limit,
            inspect_timeout,
            proxy_protocol: false,
            chains: chains.into(),
            default_chain,
            index,
            by_name,
            by_transport,
        })
    }

    /// A listener for datagrams.
    pub fn datagrams(name: Name, address: SocketAddr, udp: UdpProxy) -> Self {
        Self {
            name,
            address,
            udp: Some(udp),
            buffer_limit: 0,
            inspect_timeout: None,
            proxy_protocol: false,
            chains: Box::default(),
            default_chain: None,
            index: HashMap::default(),
            by_name: false,
            by_transport: false,
        }
    }

    /// Whether the first bytes of a connection decide its chain, so that they must be looked at before it is chosen.
    pub fn inspects(&self) -> bool {
        self.by_name || self.by_transport
    }

    /// Whether a chain serves a connection without looking at it: it is in clear text, and the only one.
    pub fn is_plain(&self, chain: &FilterChain) -> bool {
        !self.inspects() && chain.tls.is_none()
    }

    /// Whether TLS of some connections goes on to the backend: then a ClientHello is only looked at.
    pub fn passes_tls(&self) -> bool {
        let mut chains = self.chains.iter().chain(&self.default_chain);
        chains.any(|chain| chain.tls.is_none() && chain.http().is_none() && self.inspects())
    }

    /// The chain for a connection: by server name (exact, then the longest wildcard, then any), then by transport, as
    /// Envoy decides. `server_name` is lower case.
    pub fn chain(&self, server_name: Option<&str>, transport: Transport) -> Option<&Arc<FilterChain>> {
        let by_transport = |server_name: Option<Name>| {
            let specific = self.index.get(&(server_name.clone(), Some(transport)));
            specific.or_else(|| self.index.get(&(server_name, None)))
        };
        if let Some(sni) = server_name.filter(|_| self.by_name) {
            if let Some(chain) = by_transport(Some(sni.into())) {
                return Some(chain);
            }
            for (dot, _) in sni.match_indices('.') {
                if let Some(chain) = by_transport(Some(format!("*{}", &sni[dot..]).into())) {
                    return Some(chain);
                }
            }
        }
        by_transport(None).or(self.default_chain.as_ref())
    }
}
