//! A request as people write it, and as bytes on a connection.

use anyhow::{Context, bail, ensure};
use proxy::{authz::PeerCertificate, rehearsal::Question};
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A request and who sends it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Request {
    /// GET if there is none, POST for a call of gRPC.
    pub method: Option<String>,
    /// `http://host[:port]/path?query`, passed on as it is written.
    pub url: String,
    /// In order; a name may come twice.
    pub headers: Headers,
    /// It is a call of gRPC: it says so in `content-type`.
    pub grpc: bool,
    /// The body.
    pub body: String,
    /// The client's identity, `<namespace>/<service account>`.
    pub from: Option<String>,
    /// The client's address.
    pub from_ip: Option<IpAddr>,
    /// The address that it connects to.
    pub to_ip: Option<IpAddr>,
    /// The server name of the TLS handshake, if it is not the host; empty is none.
    pub sni: Option<String>,
    /// The Gateway, `<namespace>/<name>`; any if there is none.
    pub gateway: Option<String>,
    /// HTTP/1.1 as it is on the wire, in place of method, path, headers and body. Latin-1.
    pub raw: Option<String>,
}

/// Lines of headers: a map, or a list of pairs.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Headers {
    /// `[[name, value], ..]`
    List(Vec<(String, String)>),
    /// `{name: value}`
    Map(std::collections::BTreeMap<String, String>),
}

impl Default for Headers {
    fn default() -> Self {
        Headers::List(Vec::new())
    }
}

impl Headers {
    fn lines(&self) -> Vec<(&str, &str)> {
        match self {
            Headers::List(list) => list.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
            Headers::Map(map) => map.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
        }
    }
}

/// A stranger's address (RFC 5737), unless the request says another.
const STRANGER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// The parts of a URL; nothing of it is decoded.
pub struct Url<'a> {
    pub tls: bool,
    pub authority: &'a str,
    pub host: &'a str,
    pub port: u16,
    pub target: &'a str,
}

impl<'a> Url<'a> {
    fn parse(text: &'a str) -> anyhow::Result<Self> {
        let (tls, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => bail!("wanted http://host/path or https://host/path, saw {text:?}"),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let target = if target.is_empty() { "/" } else { target };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                (host, port.parse().with_context(|| format!("wanted a port from 1 to 65535, saw {port:?}"))?)
            }
            _ => (authority, if tls { 443 } else { 80 }),
        };
        Ok(Self { tls, authority, host, port, target })
    }
}

impl Request {
    /// The method.
    pub fn method(&self) -> &str {
        self.method.as_deref().unwrap_or(if self.grpc { "POST" } else { "GET" })
    }

    /// As the data path gets it.
    ///
    /// # Errors
    /// If something of it is not what it is to be.
    pub fn question(&self) -> anyhow::Result<Question> {
        let url = Url::parse(&self.url)?;
        let name = url.host.trim_end_matches('.').to_ascii_lowercase();
        // An address is never a server name (RFC 6066 3).
        let is_address = name.starts_with('[') || name.parse::<IpAddr>().is_ok();
        let own = if is_address { String::new() } else { name };
        let server_name = url.tls.then(|| self.sni.as_ref().map_or(own, |sni| sni.to_ascii_lowercase()));
        let certificate = self.from.as_deref().map(identity).transpose()?;
        Ok(Question {
            port: url.port,
            server_name,
            peer: SocketAddr::new(self.from_ip.unwrap_or(STRANGER.into()), 40_000),
            local: self.to_ip.unwrap_or(Ipv4Addr::LOCALHOST.into()),
            certificate,
            request: match &self.raw {
                Some(raw) => latin1(raw),
                None => self.bytes(&url)?,
            }
            .into(),
        })
    }

    fn bytes(&self, url: &Url<'_>) -> anyhow::Result<Vec<u8>> {
        let method = self.method();
        ensure!(!method.is_empty() && !method.contains([' ', '\r', '\n']), "wanted a method, saw {method:?}");
        ensure!(!url.target.contains([' ', '\r', '\n']), "wanted no blanks in a URL, saw {:?}: write %20", self.url);
        let mut text = format!("{method} {} HTTP/1.1\r\n", url.target);
        let lines = self.headers.lines();
        let has = |wanted: &str| lines.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
        if !has("host") {
            text += &format!("host: {}\r\n", url.authority);
        }
        if self.grpc && !has("content-type") {
            text += "content-type: application/grpc\r\nte: trailers\r\n";
        }
        for (name, value) in &lines {
            ensure!(
                !name.contains(['\r', '\n', ':']) && !value.contains(['\r', '\n']),
                "wanted one line, saw header {name:?}"
            );
            text += &format!("{name}: {value}\r\n");
        }
        let body = latin1(&self.body);
        if !body.is_empty() && !has("content-length") && !has("transfer-encoding") {
            text += &format!("content-length: {}\r\n", body.len());
        }
        Ok([latin1(&text), b"\r\n".to_vec(), body].concat())
    }
}

/// What a workload's certificate says.
fn identity(account: &str) -> anyhow::Result<PeerCertificate> {
    let parts = account.split_once('/').filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty());
    let (namespace, name) = parts.with_context(|| format!("wanted <namespace>/<service account>, saw {account:?}"))?;
    let uri = format!("spiffe://cluster.local/ns/{namespace}/sa/{name}");
    Ok(PeerCertificate { uris: vec![uri], ..PeerCertificate::default() })
}

/// Characters below 256 are bytes; others are in UTF-8.
fn latin1(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.chars() {
        match u8::try_from(character) {
            Ok(byte) => bytes.push(byte),
            Err(_) => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_stays_as_it_is_written() {
        let request = Request { url: "https://A.Test:8443//x/%2e%2E?q#f".into(), ..Request::default() };
        let question = request.question().unwrap();
        assert_eq!((question.port, question.server_name.as_deref()), (8443, Some("a.test")));
        assert_eq!(&question.request[..], b"GET //x/%2e%2E?q#f HTTP/1.1\r\nhost: A.Test:8443\r\n\r\n");
        let no_name = Request { url: "https://[::1]".into(), ..Request::default() };
        assert_eq!(no_name.question().unwrap().server_name.as_deref(), Some(""));
    }

    #[test]
    fn what_is_no_request_says_why() {
        for (url, from, wanted) in [
            ("a.test/x", None, "wanted http://"),
            ("http://a:b/", None, "wanted a port"),
            ("http://a/x y", None, "no blanks"),
            ("http://a/", Some("x"), "<namespace>/<service account>"),
        ] {
            let request = Request { url: url.into(), from: from.map(str::to_owned), ..Request::default() };
            let error = request.question().unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }
}
