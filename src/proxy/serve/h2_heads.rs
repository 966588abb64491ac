//! Heads of HTTP/2, to and from our own.

use crate::{
    config::HttpManager,
    h1::Refusal,
    head::{Fields, Head, Known, Reply, Version},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{CONTENT_LENGTH, COOKIE, HOST},
    request::Parts as RequestParts,
    response,
    uri::{Authority, PathAndQuery},
};

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
    *request.version_mut() = http::Version::HTTP_2;
    *request.headers_mut() = map(head.fields());
    Ok(request)
}

/// A request's head from HTTP/2; gives the length of its body, if it says so.
///
/// # Errors
/// If it is no request that we serve.
pub(super) fn read_request(parts: &RequestParts, http: &HttpManager, head: &mut Head) -> Result<Option<u64>, Refusal> {
    if parts.headers.len() > http.max_headers {
        return Err(Refusal::TooMany);
    }
    let fields = head.fields_mut();
    for (name, value) in &parts.headers {
        if name != HOST && name != COOKIE {
            fields.append(name.as_str(), value.as_bytes());
        }
    }
    // Cookies may come one by one (RFC 9113 8.2.3); HTTP/1 knows one line.
    let cookies: Vec<&[u8]> = parts.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if !cookies.is_empty() {
        fields.append("cookie", &cookies.join(&b"; "[..]));
    }
    let host = parts.headers.get(HOST).map(|host| host.to_str().map_err(|_| Refusal::Host)).transpose()?;
    let authority = parts.uri.authority().map(Authority::as_str).or(host).ok_or(Refusal::Host)?;
    let target = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    head.start(Version::Http2, parts.method.as_str(), target, authority, &http.normalize)?;
    let lengths = parts.headers.get(CONTENT_LENGTH).map(|length| length.to_str().map_err(|_| Refusal::Length));
    lengths.transpose()?.map(|length| length.parse().map_err(|_| Refusal::Length)).transpose()
}

/// A response's head for HTTP/2.
pub(super) fn response(reply: &Reply) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::BAD_GATEWAY);
    *response.version_mut() = http::Version::HTTP_2;
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
