//! The head of a request.

use super::{
    Framing, Length, Refusal, Scan,
    lines::{self, Stop},
    tokens,
};
use crate::head::{Head, Known, Normalize, Version};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    let read = || read(input, limits, head).map(|request| (request.consumed, request));
    let verdict = scan.read(input, limits.bytes, read);
    if verdict == Err(Refusal::TooLarge) {
        head.clear();
    }
    verdict
}

fn read(input: &[u8], limits: &Limits, head: &mut Head) -> Result<Request, Stop> {
    let line = first_line(input)?;
    let minor = line.minor;
    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    let fields = head.fields_mut();
    let end = lines::note(input, line.end, limits.fields.min(MOST_FIELDS), fields).inspect_err(|_| fields.clear())?;
    let block = &input[line.end..end];
    let mut framing = Framing::default();
    let (mut host, mut expects_continue, mut wrong) = (None, false, None);
    fields.bring(block, |known, value, at| {
        match known {
            Known::Host if host.is_some() => {
                wrong.get_or_insert(Refusal::Host);
            }
            Known::Host => host = Some(&block[at]),
            Known::Expect => expects_continue |= value.eq_ignore_ascii_case(b"100-continue"),
            known => {
                if let Err(refusal) = framing.see(known, value) {
                    wrong.get_or_insert(refusal);
                }
            }
        }
        known != Known::Host
    });
    if let Some(wrong) = wrong {
        return Err(wrong.into());
    }
    start(head, version, line.method, line.target, host, &limits.normalize)?;
    if minor == 0 {
        if !limits.http10 {
            return Err(Refusal::Version.into());
        }
        if framing.chunked {
            return Err(Refusal::Length.into());
        }
    }
    let length = if framing.chunked { Length::Chunked } else { Length::Exact(framing.length.unwrap_or(0)) };
    let keep_alive = !framing.close && (minor == 1 || framing.keep_alive);
    let upgrade = framing.upgrade && minor == 1 && head.fields().get_known(Known::Upgrade).is_some();
    Ok(Request { consumed: end, length, keep_alive, expects_continue, upgrade })
}

struct FirstLine<'i> {
    method: &'i str,
    target: &'i str,
    minor: u8,
    end: usize,
}

/// The request line; an empty line before it is passed over.
fn first_line(input: &[u8]) -> Result<FirstLine<'_>, Stop> {
    let text = |range| std::str::from_utf8(&input[range]).map_err(|_| Refusal::FirstLine);
    let start = if input.starts_with(b"\r\n") { 2 } else { 0 };
    let method = start..lines::token_end(input, start);
    let target = method.end + 1..lines::visible_end::<b'!'>(input, input.len().min(method.end + 1));
    for part in [&method, &target] {
        if lines::byte(input, part.end)? != b' ' || part.is_empty() {
            return Err(Refusal::FirstLine.into());
        }
    }
    let (target, version) = (text(target.clone())?, target.end + 1);
    let minor = match input.get(version..version + 8).ok_or(Stop::More)? {
        b"HTTP/1.0" => 0,
        b"HTTP/1.1" => 1,
        _ => return Err(Refusal::FirstLine.into()),
    };
    if lines::byte(input, version + 8)? != b'\r' {
        return Err(Refusal::FirstLine.into());
    }
    let end = lines::line_feed(input, version + 9, Refusal::FirstLine)?;
    Ok(FirstLine { method: text(method)?, target, minor, end })
}

/// The request line and the host: origin form, absolute form (its host wins, RFC 9112 3.2.2), `*`, or an authority.
pub(super) fn start(
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

/// Whether `Upgrade` names that protocol.
pub(crate) fn upgrades_to(head: &Head, protocol: &str) -> bool {
    let value = head.fields().get_known(Known::Upgrade);
    value.is_some_and(|value| tokens(value).any(|token| token.eq_ignore_ascii_case(protocol.as_bytes())))
}
