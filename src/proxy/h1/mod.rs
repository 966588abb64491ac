//! HTTP/1.1, both ends, as state machines without I/O: bytes in, heads and pieces of bodies out, and back.
//!
//! Strict on purpose: whatever two parsers could read differently is refused. A refused request is answered with
//! the code in [`Refusal`] and its connection is closed.

mod body;
mod lines;
mod request;
mod response;
mod scan;
mod write;

pub use body::{BodyError, Decoder, Step};
pub(crate) use request::upgrades_to;
pub use request::{Limits, Request, parse as parse_request};
pub use response::{Response, parse as parse_response};
pub use scan::Scan;
pub(crate) use write::{Connection, chunk_end, chunk_start, reply_head, request_head};

use crate::head::{Fields, HeadError, Known};

/// How a body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// So many bytes; zero is no body.
    Exact(u64),
    /// In chunks.
    Chunked,
    /// Until the connection closes; responses only.
    Close,
}

impl Length {
    /// Whether there is no body.
    pub fn is_empty(self) -> bool {
        self == Length::Exact(0)
    }
}

/// Why a head is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A line that doesn't end with CR LF.
    #[error("a line ends without CR LF")]
    BareLineFeed,
    /// The request or status line is none.
    #[error("the first line is malformed")]
    FirstLine,
    /// A name or a value that may not be: controls, space before the colon, folded lines, escapes.
    #[error("a header field is malformed")]
    Field,
    /// The head is larger than it may be.
    #[error("the head is too large")]
    TooLarge,
    /// More fields than there may be.
    #[error("too many header fields")]
    TooMany,
    /// Content-Length is no number, is there twice, or stands beside Transfer-Encoding.
    #[error("the length of the body is ambiguous")]
    Length,
    /// A transfer coding other than chunked.
    #[error("the transfer coding is not supported")]
    Coding,
    /// No Host, several, or one that is none.
    #[error("the Host is missing or malformed")]
    Host,
    /// The path has no canonical form, or an escaped slash that is not allowed.
    #[error("the path is malformed")]
    Path,
    /// Not refused: the client is sent to this path.
    #[error("the path is not canonical")]
    Redirect(Box<str>),
    /// `Connection` names a field that it may not.
    #[error("Connection names a field that it may not")]
    Connection,
    /// It took too long.
    #[error("the head did not arrive in time")]
    Timeout,
    /// A version that we don't speak, HTTP/1.0 where it isn't allowed.
    #[error("the version is not supported")]
    Version,
}

impl From<HeadError> for Refusal {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::Host => Refusal::Host,
            HeadError::Method => Refusal::FirstLine,
            HeadError::Redirect(path) => Refusal::Redirect(path),
            HeadError::Path | HeadError::EscapedSlash => Refusal::Path,
        }
    }
}

impl Refusal {
    /// The code to answer with.
    pub fn status(&self) -> u16 {
        match self {
            Refusal::TooLarge | Refusal::TooMany => 431,
            Refusal::Timeout => 408,
            Refusal::Coding => 501,
            Refusal::Version => 426,
            Refusal::Redirect(_) => 307,
            _ => 400,
        }
    }
}

/// What the framing fields of a head say.
#[derive(Clone, Copy, Debug, Default)]
struct Framing {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    upgrade: bool,
}

impl Framing {
    /// Takes note of one field.
    fn see(&mut self, known: Known, value: &[u8]) -> Result<(), Refusal> {
        match known {
            Known::ContentLength => {
                let length = decimal(value).filter(|&length| length < 1 << 62);
                if self.length.is_some() || length.is_none() {
                    return Err(Refusal::Length);
                }
                self.length = length;
            }
            Known::TransferEncoding if self.chunked => return Err(Refusal::Length),
            Known::TransferEncoding if value.eq_ignore_ascii_case(b"chunked") => self.chunked = true,
            Known::TransferEncoding => return Err(Refusal::Coding),
            Known::Connection => {
                for token in tokens(value) {
                    self.close |= token.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
                    self.upgrade |= token.eq_ignore_ascii_case(b"upgrade");
                    if nominates_what_it_may_not(token) {
                        return Err(Refusal::Connection);
                    }
                }
            }
            _ => {}
        }
        if self.chunked && self.length.is_some() { Err(Refusal::Length) } else { Ok(()) }
    }
}

/// A number of digits alone.
fn decimal(digits: &[u8]) -> Option<u64> {
    let number = digits.iter().try_fold(0u64, |number, digit| {
        let digit = digit.checked_sub(b'0').filter(|&digit| digit < 10)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    });
    number.filter(|_| !digits.is_empty())
}

/// The elements of a comma-separated list, without the empty ones.
pub(crate) fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

/// As Envoy: a client may not have us drop what we say about it.
fn nominates_what_it_may_not(token: &[u8]) -> bool {
    token.starts_with(b":")
        || [&b"host"[..], b"content-length", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"]
            .iter()
            .any(|name| token.eq_ignore_ascii_case(name))
}

/// Removes hop-by-hop fields (RFC 9110 7.6.1) and those that `Connection` names. `upgrade` keeps what a change of
/// protocol needs. `te: trailers` stays, as gRPC wants it. What `also` names goes with them.
pub(crate) fn strip_hop_by_hop(fields: &mut Fields, upgrade: bool, also: impl Fn(Known) -> bool) {
    let named = fields.get_known(Known::Connection).is_some_and(|value| {
        tokens(value).any(|token| {
            ![&b"close"[..], b"keep-alive", b"upgrade", b"te"].iter().any(|own| token.eq_ignore_ascii_case(own))
        })
    });
    if named {
        strip_named(fields);
    }
    let mut trailers = false;
    fields.remove_if(|known, _, value| match known {
        Known::Connection
        | Known::KeepAlive
        | Known::ProxyConnection
        | Known::TransferEncoding
        | Known::Http2Settings => true,
        Known::Upgrade => !upgrade,
        Known::Te => {
            trailers |= tokens(value).any(|token| token.eq_ignore_ascii_case(b"trailers"));
            true
        }
        known => also(known),
    });
    if trailers {
        fields.append("te", b"trailers");
    }
}

/// The slow path: somebody names fields in `Connection`.
fn strip_named(fields: &mut Fields) {
    let names: Vec<String> = fields
        .values("connection")
        .flat_map(tokens)
        .filter_map(|token| std::str::from_utf8(token).ok().map(str::to_ascii_lowercase))
        .filter(|name| !matches!(name.as_str(), "upgrade" | "te"))
        .collect();
    fields.remove_if(|_, name, _| names.iter().any(|other| other.as_bytes() == name));
}

#[cfg(test)]
mod law;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;
