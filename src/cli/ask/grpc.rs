//! Calls of gRPC: answers have a status of their own, whatever HTTP's code is.

use proxy::rehearsal::Answer;

/// The status of a call, if the proxy itself has answered one.
pub fn status(answer: &Answer) -> Option<u16> {
    let (_, text) = answer.headers.iter().find(|(name, _)| name == "grpc-status")?;
    text.parse().ok()
}

/// The code that the answer has to a request that is no call.
pub fn code(answer: &Answer) -> u16 {
    match status(answer) {
        None => answer.status,
        Some(2) if answer.headers.iter().any(|(name, _)| name == "location") => 302,
        Some(2) => 500,
        Some(7) => 403,
        Some(12) => 404,
        Some(14) => 503,
        Some(16) => 401,
        Some(_) => 400,
    }
}

/// A status as people read it.
pub fn text(status: u16) -> String {
    let name = match status {
        2 => " UNKNOWN",
        7 => " PERMISSION_DENIED",
        12 => " UNIMPLEMENTED",
        13 => " INTERNAL",
        14 => " UNAVAILABLE",
        16 => " UNAUTHENTICATED",
        _ => "",
    };
    format!("grpc-status {status}{name}")
}
