//! The head of a request.

use super::{
    Fields,
    canonical::{Normalize, is_authority},
    fields::{LARGE, Span},
};
use std::net::IpAddr;

/// The version that the client speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Version {
    Http10,
    #[default]
    Http11,
    Http2,
}

impl Version {
    /// As it stands in an access log: `HTTP/1.1`.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
            Version::Http2 => "HTTP/2",
        }
    }
}

/// Why a request's target or host is refused, with 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// The path leaves the root, or doesn't start with a slash.
    #[error("the path has no canonical form")]
    Path,
    /// A small letter in the method: methods have case, and who denies `DELETE` doesn't mean to let `delete` pass to a
    /// server that makes no difference.
    #[error("the method has small letters")]
    Method,
    /// A character that may not stand in a host.
    #[error("the host is not a host")]
    Host,
    /// An escaped slash where the configuration refuses it.
    #[error("the path has an escaped slash")]
    EscapedSlash,
    /// An escaped slash where the configuration sends the client to the unescaped path.
    #[error("the path has an escaped slash, see {0}")]
    Redirect(Box<str>),
}

/// The head of a request in its canonical form. `host` is not among the fields: see [`Head::authority`].
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// Method, targets, hosts: visible ASCII, or what the client sent in its place.
    line: String,
    fields: Fields,
    version: Version,
    method: Span,
    /// The target as the client sent it.
    sent: Span,
    /// Path and query as forwarded; the path is canonical.
    target: Span,
    /// How much of `target` is the path.
    path_len: usize,
    authority: Span,
    sent_authority: Span,
    host: Span,
    https: bool,
    client: Option<IpAddr>,
}

impl Head {
    /// The method, case-sensitive.
    pub fn method(&self) -> &str {
        &self.line[self.method.range()]
    }

    /// The version that the client speaks.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The canonical host, for comparing: lower case, without port and trailing dot. May be empty in HTTP/1.0.
    pub fn host(&self) -> &str {
        &self.line[self.host.range()]
    }

    /// What is forwarded as `Host`: as the client wrote it, less the port if the configuration strips it.
    pub fn authority(&self) -> &str {
        &self.line[self.authority.range()]
    }

    /// The canonical path, without query.
    pub fn path(&self) -> &str {
        &self.line[self.target.part(0, self.path_len).range()]
    }

    /// What follows the first `?`, if there is one.
    pub fn query(&self) -> Option<&str> {
        self.target().get(self.path_len + 1..)
    }

    /// Path and query as forwarded.
    pub fn target(&self) -> &str {
        &self.line[self.target.range()]
    }

    /// Path and query as the client sent them.
    pub fn sent_target(&self) -> &str {
        &self.line[self.sent.range()]
    }

    /// The host as the client sent it.
    pub fn sent_authority(&self) -> &str {
        &self.line[self.sent_authority.range()]
    }

    /// `http` or `https`: how the client came.
    pub fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }

    /// The client's address after trusted `x-forwarded-for` hops; none before the data path has looked.
    pub fn client(&self) -> Option<IpAddr> {
        self.client
    }

    /// The values of all fields of that name, which is in lower case.
    pub fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.fields.values(name)
    }

    /// The fields.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// The fields, to edit. `host` is edited by [`Head::set_authority`] alone.
    pub fn fields_mut(&mut self) -> &mut Fields {
        &mut self.fields
    }

    /// Replaces path and query; the path ends at the first `?`. Bytes that may not stand in a target are escaped.
    pub fn set_target(&mut self, target: &str) {
        self.target = self.push(target);
        self.path_len = target.find('?').unwrap_or(target.len());
    }

    /// Replaces the host that is forwarded, and with it the canonical host.
    pub fn set_authority(&mut self, authority: &str) {
        self.authority = self.push(authority);
        // Most clients write it in lower case already.
        let lower = !authority.bytes().any(|byte| byte.is_ascii_uppercase());
        self.host = if lower { self.authority } else { self.push(&authority.to_ascii_lowercase()) };
    }

    /// Says what the client's address is after trusted hops, and how it came.
    pub fn set_client(&mut self, client: IpAddr, https: bool) {
        (self.client, self.https) = (Some(client), https);
    }

    /// Starts over with a new request line; the fields follow by [`Head::fields_mut`]. All texts are visible ASCII.
    ///
    /// # Errors
    /// If target or authority have no canonical form; the head is then good for logging only.
    pub fn start(
        &mut self,
        version: Version,
        method: &str,
        target: &str,
        host: &str,
        normalize: &Normalize,
    ) -> Result<(), HeadError> {
        self.version = version;
        self.method = self.push(method);
        self.set_target(target);
        self.sent = self.target;
        self.set_authority(host);
        self.sent_authority = self.authority;
        if method.bytes().any(|byte| byte.is_ascii_lowercase()) {
            return Err(HeadError::Method);
        }
        if !is_authority(host) {
            return Err(HeadError::Host);
        }
        if !target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err(HeadError::Path);
        }
        let stripped = normalize.authority(host);
        if stripped.len() != host.len() {
            self.set_authority(&stripped);
        }
        // `OPTIONS *` and CONNECT have no path; no route matches what stands in its place.
        if !(target == "*" && method == "OPTIONS") && method != "CONNECT" {
            let (path, query) = target.split_at(self.path_len);
            if !path.starts_with('/') {
                return Err(HeadError::Path);
            }
            if let Some(path) = normalize.path(path)? {
                self.path_len = path.len();
                let start = self.line.len();
                self.line.push_str(&path);
                self.line.push_str(query);
                self.target = Span::new(start, self.line.len());
            }
        }
        Ok(())
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        let (mut line, mut fields) = (std::mem::take(&mut self.line), std::mem::take(&mut self.fields));
        fields.clear();
        line.clear();
        line.shrink_to(LARGE);
        *self = Self { line, fields, ..Self::default() };
    }

    fn push(&mut self, text: &str) -> Span {
        let start = self.line.len();
        self.line.push_str(text);
        Span::new(start, self.line.len())
    }
}
