//! The head of a response.

use super::{
    Framing, Length, Refusal, Scan,
    lines::{self, Stop},
};
use crate::head::Reply;

/// Bytes and fields of a backend's head; more is a backend gone wrong.
const MOST_BYTES: usize = 60 << 10;
const MOST_FIELDS: usize = 256;

/// What the data path must know about a response, beside its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    scan.read(input, MOST_BYTES, || {
        let response = read(input, to_head, reply);
        if response.is_err() {
            reply.fields.clear();
        }
        response.map(|response| (response.consumed, response))
    })
}

fn read(input: &[u8], to_head: bool, reply: &mut Reply) -> Result<Response, Stop> {
    let (status, minor, start) = first_line(input)?;
    let end = lines::note(input, start, MOST_FIELDS, &mut reply.fields)?;
    if status < 100 {
        return Err(Refusal::FirstLine.into());
    }
    reply.status = status;
    let (mut framing, mut wrong) = (Framing::default(), None);
    reply.fields.bring(&input[start..end], |known, value, _| {
        if let Err(refusal) = framing.see(known, value) {
            wrong.get_or_insert(refusal);
        }
        true
    });
    if let Some(wrong) = wrong {
        return Err(wrong.into());
    }
    let bodyless = to_head || status < 200 || status == 204 || status == 304;
    let length = match (bodyless, framing.chunked, framing.length) {
        (true, ..) => Length::Exact(0),
        (_, true, _) => Length::Chunked,
        (_, _, Some(length)) => Length::Exact(length),
        _ => Length::Close,
    };
    let keep_alive = !framing.close && (minor == 1 || framing.keep_alive) && length != Length::Close;
    Ok(Response { consumed: end, length, keep_alive })
}

/// The status line: code, minor version, and where it ends. An empty line before it is passed over; the reason may be
/// left out (RFC 9112 4).
fn first_line(input: &[u8]) -> Result<(u16, u8, usize), Stop> {
    let start = if input.starts_with(b"\r\n") { 2 } else { 0 };
    let line: &[u8; 12] = input[start..].first_chunk().ok_or(Stop::More)?;
    let (minor, digits) = match line {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ (b'0' | b'1'), b' ', digits @ ..] => (minor - b'0', digits),
        _ => return Err(Refusal::FirstLine.into()),
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::FirstLine.into());
    }
    let status = digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
    let mut at = start + line.len();
    if lines::byte(input, at)? == b' ' {
        at = lines::text_end(input, at);
    }
    if lines::byte(input, at)? != b'\r' {
        return Err(Refusal::FirstLine.into());
    }
    Ok((status, minor, lines::line_feed(input, at + 1, Refusal::FirstLine)?))
}
