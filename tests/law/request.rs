//! A request in its canonical form, as far as a policy can look at it.

use std::net::{IpAddr, SocketAddr};

/// What a policy looks at.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// As the client sent it.
    pub host: String,
    pub path: String,
    /// Lines, their names in lower case.
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
    /// The lines of a header.
    pub fn lines(&self, name: &str) -> Vec<&str> {
        match name {
            ":method" => vec![&self.method],
            ":authority" => vec![&self.host],
            name => self.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| &**value).collect(),
        }
    }

    /// Whether windlass-proxy lets the request pass, and what the shadow rules note.
    pub fn ask_proxy(&self, rbac: &proxy::authz::Rbac) -> (bool, Option<(String, bool)>) {
        let headers: Vec<(&str, &str)> = self.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        let certificate = self.peer.as_ref().map(|uri| proxy::authz::PeerCertificate {
            verified: true,
            uris: vec![uri.clone()],
            ..Default::default()
        });
        let mut metadata = proxy::authz::Metadata::default();
        if let Some(claims) = self.claims.as_ref().and_then(serde_json::Value::as_object) {
            metadata.add_claims("payload", claims);
        }
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
            metadata: &metadata,
        };
        let note = rbac.shadow(&input).map(|note| (note.prefix.to_string(), note.allowed));
        (rbac.check(&input) == proxy::authz::Verdict::Allowed, note)
    }
}
