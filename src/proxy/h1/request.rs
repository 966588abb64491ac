//! The head of a request.

use super::{Framing, Length, Refusal, Scan, tokens};
use crate::head::{Head, Known, Normalize, Version};
use std::mem::MaybeUninit;

/// What a head may be like.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the whole head.
    pub bytes: usize,
    /// Count of fields, at most [`MOST_FIELDS`].
    pub fields: usize,
    /// Whether HTTP/1.0 is answered.
    pub http10: bool,
    /// The canonical form of path and host.
    pub normalize: Normalize,
}

/// The most fields that can be allowed.
const MOST_FIELDS: usize = 256;

/// What the data path must know about a request, beside its head.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Bytes of the head.
    pub consumed: usize,
    /// How the body is delimited.
    pub length: Length,
    /// Whether the client wants the connection kept.
    pub keep_alive: bool,
    /// The client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// The client wants another protocol (`Connection: upgrade`).
    pub upgrade: bool,
}

/// Reads a request's head into `head`. `None`: more bytes are needed. `input` starts with the head.
///
/// # Errors
/// If the head is malformed, ambiguous or too large. `head` has then whatever could be read, for the log.
pub fn parse(input: &[u8], scan: &mut Scan, limits: &Limits, head: &mut Head) -> Result<Option<Request>, Refusal> {
    let Some(end) = scan.end(input, limits.bytes)? else { return Ok(None) };
    let mut fields = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let fields = &mut fields[..limits.fields.min(MOST_FIELDS)];
    let mut request = httparse::Request::new(&mut []);
    let parsed = request.parse_with_uninit_headers(&input[..end], fields).map_err(refusal)?;
    if parsed != httparse::Status::Complete(end) {
        return Err(Refusal::Field);
    }
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Err(Refusal::FirstLine);
    };
    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    let mut framing = Framing::default();
    let (mut host, mut expects_continue) = (None, false);
    let fields = head.fields_mut();
    for field in request.headers.iter() {
        let known = fields.push_field(field.name.as_bytes(), field.value);
        match known {
            Known::Host if host.is_some() => return Err(Refusal::Host),
            Known::Host => {
                host = Some(field.value);
                fields.pop();
            }
            Known::Expect => expects_continue |= field.value.eq_ignore_ascii_case(b"100-continue"),
            known => framing.see(known, field.value)?,
        }
    }
    start(head, version, method, target, host, &limits.normalize)?;
    if minor == 0 {
        if !limits.http10 {
            return Err(Refusal::Version);
        }
        if framing.chunked {
            return Err(Refusal::Length);
        }
    }
    let length = if framing.chunked { Length::Chunked } else { Length::Exact(framing.length.unwrap_or(0)) };
    let keep_alive = !framing.close && (minor == 1 || framing.keep_alive);
    let upgrade = framing.upgrade && minor == 1 && head.fields().get_known(Known::Upgrade).is_some();
    Ok(Some(Request { consumed: end, length, keep_alive, expects_continue, upgrade }))
}

/// The request line and the host: origin form, absolute form (its host wins, RFC 9112 3.2.2), `*`, or an authority.
fn start(
    head: &mut Head,
    version: Version,
    method: &str,
    target: &str,
    host: Option<&[u8]>,
    normalize: &Normalize,
) -> Result<(), Refusal> {
    let host = match host {
        Some(host) => Some(std::str::from_utf8(host).map_err(|_| Refusal::Host)?),
        None => None,
    };
    let absolute = ["http://", "https://"]
        .iter()
        .find(|scheme| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
        .map(|scheme| &target[scheme.len()..]);
    let (authority, target) = match absolute {
        Some(rest) => {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            let path = &rest[end..];
            (Some(&rest[..end]), if path.is_empty() { "/" } else { path })
        }
        None => (host, target),
    };
    let authority = match authority {
        Some("") if version == Version::Http11 => return Err(Refusal::Host),
        None if version == Version::Http11 => return Err(Refusal::Host),
        authority => authority.unwrap_or_default(),
    };
    Ok(head.start(version, method, target, authority, normalize)?)
}

pub(super) fn refusal(error: httparse::Error) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => Refusal::TooMany,
        httparse::Error::HeaderName | httparse::Error::HeaderValue => Refusal::Field,
        _ => Refusal::FirstLine,
    }
}

/// Whether `Upgrade` names that protocol.
pub(crate) fn upgrades_to(head: &Head, protocol: &str) -> bool {
    let value = head.fields().get_known(Known::Upgrade);
    value.is_some_and(|value| tokens(value).any(|token| token.eq_ignore_ascii_case(protocol.as_bytes())))
}
