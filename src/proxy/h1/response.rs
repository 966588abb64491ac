//! The head of a response.

use super::{Framing, Length, Refusal, Scan, request::refusal};
use crate::head::Reply;
use std::mem::MaybeUninit;

/// Bytes and fields of a backend's head; more is a backend gone wrong.
const MOST_BYTES: usize = 60 << 10;
const MOST_FIELDS: usize = 256;

/// What the data path must know about a response, beside its head.
#[derive(Clone, Copy, Debug)]
pub struct Response {
    /// Bytes of the head.
    pub consumed: usize,
    /// How the body is delimited.
    pub length: Length,
    /// Whether the backend keeps the connection.
    pub keep_alive: bool,
}

/// Reads a response's head into `reply`. `None`: more bytes are needed. `to_head`: the request was HEAD.
///
/// # Errors
/// If the head is malformed, ambiguous or too large.
pub fn parse(input: &[u8], scan: &mut Scan, to_head: bool, reply: &mut Reply) -> Result<Option<Response>, Refusal> {
    let Some(end) = scan.end(input, MOST_BYTES)? else { return Ok(None) };
    let mut fields = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let parsed =
        config.parse_response_with_uninit_headers(&mut response, &input[..end], &mut fields).map_err(refusal)?;
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
        let known = reply.fields.push_field(field.name.as_bytes(), field.value);
        framing.see(known, field.value)?;
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
