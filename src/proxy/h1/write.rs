//! Heads and chunks out.

use super::Length;
use crate::head::{Head, Known, Reply};

/// Writes a request's head as HTTP/1.1. Its fields have no hop-by-hop ones left but those of an upgrade.
pub(crate) fn request_head(head: &Head, length: Length, upgrade: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(head.method().as_bytes());
    out.push(b' ');
    out.extend_from_slice(head.target().as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    out.extend_from_slice(head.authority().as_bytes());
    out.extend_from_slice(b"\r\n");
    head.fields().write(is_own, out);
    match length {
        Length::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        // Where a body is to be expected its absence is said (RFC 9110 8.6), if the client didn't.
        Length::Exact(0)
            if matches!(head.method(), "POST" | "PUT" | "PATCH")
                && head.fields().get_known(Known::ContentLength).is_none() =>
        {
            out.extend_from_slice(b"content-length: 0\r\n");
        }
        _ => {}
    }
    out.extend_from_slice(if upgrade { b"connection: upgrade\r\n\r\n" } else { b"\r\n" });
}

/// What `Connection` says in a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connection {
    /// Nothing.
    Silent,
    /// `keep-alive`, for HTTP/1.0 clients.
    KeepAlive,
    /// `close`
    Close,
    /// `upgrade`
    Upgrade,
}

/// Writes a response's head as HTTP/1.1.
pub(crate) fn reply_head(reply: &Reply, length: Length, connection: Connection, out: &mut Vec<u8>) {
    if reply.status == 200 {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    } else {
        status_line(reply.status, out);
    }
    reply.fields.write(is_own, out);
    if length == Length::Chunked {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    out.extend_from_slice(match connection {
        Connection::Silent => b"\r\n".as_slice(),
        Connection::KeepAlive => b"connection: keep-alive\r\n\r\n",
        Connection::Close => b"connection: close\r\n\r\n",
        Connection::Upgrade => b"connection: upgrade\r\n\r\n",
    });
}

fn status_line(status: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend([100, 10, 1].map(|unit| b'0' + (status / unit % 10) as u8));
    out.push(b' ');
    out.extend_from_slice(reason(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// What is said of the connection is written by us alone.
fn is_own(known: Known) -> bool {
    known == Known::TransferEncoding || known == Known::Connection
}

/// Writes what stands before a chunk's data.
pub(crate) fn chunk_start(length: usize, out: &mut Vec<u8>) {
    let digits = (usize::BITS - length.leading_zeros()).div_ceil(4).max(1);
    for digit in (0..digits).rev() {
        out.push(b"0123456789abcdef"[length >> (digit * 4) & 15]);
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the end of a chunked body.
pub(crate) fn chunk_end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n\r\n");
}

fn reason(status: u16) -> &'static str {
    http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Unknown")
}
