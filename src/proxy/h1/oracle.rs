//! Heads read another way, in passes of their own and with httparse: what the one pass is held to.

use super::{Framing, Length, Limits, Refusal, Request, Response, Scan, request::start};
use crate::head::{Head, Known, Reply, Version};

const MOST_FIELDS: usize = 256;
const MOST_RESPONSE: usize = 60 << 10;

/// As [`super::parse_request`].
pub(super) fn request(input: &[u8], limits: &Limits, head: &mut Head) -> Result<Option<Request>, Refusal> {
    let Some(end) = Scan::default().end(input, limits.bytes)? else { return Ok(None) };
    let mut fields = vec![httparse::EMPTY_HEADER; limits.fields.min(MOST_FIELDS)];
    let mut request = httparse::Request::new(&mut fields);
    let parsed = request.parse(&input[..end]).map_err(refusal)?;
    assert_eq!(parsed, httparse::Status::Complete(end));
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Err(Refusal::FirstLine);
    };
    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    let mut framing = Framing::default();
    let (mut host, mut expects_continue) = (None, false);
    let fields = head.fields_mut();
    for field in request.headers.iter() {
        let known = Known::of(field.name.to_ascii_lowercase().as_bytes());
        match known {
            Known::Host if host.is_some() => return Err(Refusal::Host),
            Known::Host => host = Some(field.value),
            Known::Expect => expects_continue |= field.value.eq_ignore_ascii_case(b"100-continue"),
            known => framing.see(known, field.value)?,
        }
        if known != Known::Host {
            fields.append(field.name, field.value);
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

/// As [`super::parse_response`].
pub(super) fn response(input: &[u8], to_head: bool, reply: &mut Reply) -> Result<Option<Response>, Refusal> {
    let Some(end) = Scan::default().end(input, MOST_RESPONSE)? else { return Ok(None) };
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let parsed = response.parse(&input[..end]).map_err(refusal)?;
    let (httparse::Status::Complete(consumed), Some(status), Some(minor)) = (parsed, response.code, response.version)
    else {
        return Err(Refusal::FirstLine);
    };
    if consumed != end || status < 100 {
        return Err(Refusal::FirstLine);
    }
    reply.status = status;
    let mut framing = Framing::default();
    for field in response.headers.iter() {
        let known = Known::of(field.name.to_ascii_lowercase().as_bytes());
        framing.see(known, field.value)?;
        reply.fields.append(field.name, field.value);
    }
    let bodyless = to_head || status < 200 || status == 204 || status == 304;
    let length = match (bodyless, framing.chunked, framing.length) {
        (true, ..) => Length::Exact(0),
        (_, true, _) => Length::Chunked,
        (_, _, Some(length)) => Length::Exact(length),
        _ => Length::Close,
    };
    let keep_alive = !framing.close && (minor == 1 || framing.keep_alive) && length != Length::Close;
    Ok(Some(Response { consumed: end, length, keep_alive }))
}

fn refusal(error: httparse::Error) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => Refusal::TooMany,
        httparse::Error::HeaderName | httparse::Error::HeaderValue => Refusal::Field,
        _ => Refusal::FirstLine,
    }
}
