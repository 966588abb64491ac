//! Answers of our own to calls of gRPC: a head alone, with the status of the call in place of HTTP's, as Envoy does it.

use crate::head::Reply;
use std::fmt::Write;

/// Makes an answer one to a call. What the route or a filter says of the status stays.
pub(super) fn answer(reply: &mut Reply, code: u16, text: &[u8]) {
    reply.fields.set("content-type", b"application/grpc");
    if !reply.fields.contains("grpc-status") {
        reply.fields.append("grpc-status", status(code).as_bytes());
    }
    if !text.is_empty() {
        reply.fields.set("grpc-message", message(text).as_bytes());
    }
}

/// The status of a call for a code of HTTP (gRPC's `http-grpc-status-mapping`).
fn status(code: u16) -> &'static str {
    match code {
        400 => "13",                   // INTERNAL
        401 => "16",                   // UNAUTHENTICATED
        403 => "7",                    // PERMISSION_DENIED
        404 => "12",                   // UNIMPLEMENTED
        429 | 502 | 503 | 504 => "14", // UNAVAILABLE
        _ => "2",                      // UNKNOWN
    }
}

/// A text as `grpc-message`: what isn't visible ASCII is escaped, and so are `%` and `~`.
fn message(text: &[u8]) -> String {
    let mut message = String::with_capacity(text.len());
    for &byte in text {
        match byte {
            b' '..=b'}' if byte != b'%' => message.push(byte.into()),
            // Writing to a String can't fail.
            _ => drop(write!(message, "%{byte:02X}")),
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_escaped() {
        assert_eq!(message("100% ~ é\n{x}".as_bytes()), "100%25 %7E %C3%A9%0A{x}");
    }

    #[test]
    fn what_is_said_already_stays() {
        let mut reply = Reply::default();
        reply.fields.append("grpc-status", b"5");
        reply.fields.append("content-type", b"text/plain");
        answer(&mut reply, 503, b"");
        let fields: Vec<_> = reply.fields.iter().collect();
        assert_eq!(fields, [("grpc-status", &b"5"[..]), ("content-type", b"application/grpc")]);
    }
}
