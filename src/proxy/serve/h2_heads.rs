//! Heads of HTTP/2, to and from our own.

use crate::head::{Fields, Head, Known, Reply};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, response};

/// A request's head for HTTP/2.
///
/// # Errors
/// If a part of it can't be said in HTTP/2; the text says which.
pub(super) fn request(head: &Head) -> Result<Request<()>, String> {
    let uri = Uri::builder()
        .scheme(head.scheme())
        .authority(head.authority())
        .path_and_query(head.target())
        .build()
        .map_err(|error| format!("the target can't be sent: {error}"))?;
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(head.method().as_bytes()).map_err(|error| error.to_string())?;
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = map(head.fields());
    Ok(request)
}

/// A response's head for HTTP/2.
pub(super) fn response(reply: &Reply) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::BAD_GATEWAY);
    *response.version_mut() = Version::HTTP_2;
    *response.headers_mut() = map(&reply.fields);
    response
}

/// A response's head from HTTP/2.
pub(super) fn reply(parts: &response::Parts, reply: &mut Reply) {
    reply.status = parts.status.as_u16();
    for (name, value) in &parts.headers {
        reply.fields.append(name.as_str(), value.as_bytes());
    }
}

/// Without the fields that HTTP/2 has no use for.
fn map(fields: &Fields) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(fields.len());
    for (known, name, value) in fields.known() {
        if matches!(
            known,
            Known::Connection | Known::KeepAlive | Known::ProxyConnection | Known::TransferEncoding | Known::Upgrade
        ) {
            continue;
        }
        // Both were checked when they were read; what http refuses on top of that is left out.
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            map.append(name, value);
        }
    }
    map
}
