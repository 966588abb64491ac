//! A request in its canonical form, as far as a policy can look at it.

use std::net::{IpAddr, SocketAddr};

/// What a policy looks at.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// As the client sent it.
    pub host: String,
    pub path: String,
    /// Names in lower case, one line each.
    pub headers: Vec<(String, String)>,
    /// The URI in the peer's verified certificate.
    pub peer: Option<String>,
    pub direct: IpAddr,
    pub remote: IpAddr,
    pub local: IpAddr,
    /// The port of the listener.
    pub port: u16,
    pub sni: Option<String>,
    /// The payload of a verified token.
    pub claims: Option<serde_json::Value>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        match name {
            ":method" => Some(&self.method),
            ":authority" => Some(&self.host),
            name => self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| &**value),
        }
    }

    pub fn ask_proxy(&self, rbac: &proxy::authz::Rbac) -> bool {
        let headers: Vec<(&str, &str)> = self.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        let certificate = self
            .peer
            .as_ref()
            .map(|uri| proxy::authz::PeerCertificate { uris: vec![uri.clone()], ..Default::default() });
        let host = self.host.to_ascii_lowercase();
        let input = proxy::authz::Input {
            request: &proxy::route::Request {
                method: &self.method,
                scheme: "http",
                host: &host,
                path: &self.path,
                query: None,
                headers: &headers[..],
            },
            peer: SocketAddr::new(self.direct, 40_000),
            local: SocketAddr::new(self.local, self.port),
            remote: self.remote,
            server_name: self.sni.as_deref(),
            certificate: certificate.as_ref(),
        };
        rbac.check(&input) == proxy::authz::Verdict::Allowed
    }
}
