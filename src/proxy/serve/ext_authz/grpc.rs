//! A service that speaks gRPC: `envoy.service.auth.v3.Authorization/Check`.

// `append` of a header is deprecated and still what services say.
#![allow(deprecated)]

use super::{Changes, Denial, MOST_ANSWER, Name, Seen, Verdict, failure, has, is_ours};
use crate::{
    config::{AppendAction, Cluster, ExtAuthz},
    head::{Fields, Head, Normalize, Version},
    route::Request,
    serve::{
        call::{Body, Called, call},
        exchange::Exchange,
    },
};
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use proto::envoy::{
    envoy::{
        config::core::v3::{
            Address, HeaderValueOption, SocketAddress, address, header_value_option::HeaderAppendAction,
            socket_address::PortSpecifier,
        },
        service::auth::v3::{
            AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse,
            attribute_context::{HttpRequest, Peer, Request as CheckedRequest, TlsSession},
            check_response::HttpResponse,
        },
    },
    google::protobuf::Timestamp,
};
use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{SystemTime, UNIX_EPOCH},
};

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

pub(super) async fn ask(
    authz: &ExtAuthz,
    authority: &Name,
    cluster: &Cluster,
    x: &Exchange<'_>,
    body: Option<Seen>,
) -> Result<Verdict, String> {
    let mut head = Head::default();
    let started = head.start(Version::Http2, "POST", CHECK, authority, &Normalize::default());
    started.map_err(|error| error.to_string())?;
    let timeout = format!("{}m", authz.timeout.as_millis().clamp(1, 99_999_999));
    for (name, value) in [("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", &*timeout)] {
        head.fields_mut().append(name, value.as_bytes());
    }
    let question = CheckRequest { attributes: Some(attributes(authz, x, body)) };
    let answer = call(x.worker, cluster, &head, framed(&question), Body::Keep(MOST_ANSWER)).await.map_err(failure)?;
    verdict(read(answer)?)
}

/// A message as gRPC frames it.
fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(length + 5);
    bytes.put_u8(0);
    // Bounded by what is kept of a body and by the size of heads.
    bytes.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    // A `BytesMut` has room for all that is put into it.
    message.encode_raw(&mut bytes);
    bytes.freeze()
}

fn read(answer: Called) -> Result<CheckResponse, String> {
    let status = answer.trailers.as_ref().and_then(|trailers| trailers.get("grpc-status")).map(|code| code.as_bytes());
    match (answer.status, status.or_else(|| answer.fields.get("grpc-status"))) {
        (200, Some(b"0")) => {}
        (200, Some(code)) => return Err(format!("it answered grpc-status {}", String::from_utf8_lossy(code))),
        (200, None) => return Err("its answer has no grpc-status".into()),
        (status, _) => return Err(format!("it answered {status}")),
    }
    let message = match answer.body.split_at_checked(5) {
        Some(([0, length @ ..], message)) if length == (message.len() as u32).to_be_bytes() => message,
        _ => return Err("its answer is not one gRPC message".into()),
    };
    CheckResponse::decode(message).map_err(|error| format!("its answer is not readable: {error}"))
}

fn attributes(authz: &ExtAuthz, x: &Exchange<'_>, body: Option<Seen>) -> AttributeContext {
    let (head, conn) = (&*x.head, &x.link.conn);
    let seen = |name: &str| {
        authz.allowed_headers.as_deref().is_none_or(|list| has(list, name)) && !has(&authz.disallowed_headers, name)
    };
    let mut headers = HashMap::new();
    let request = Request::from(head);
    let pseudo = [":authority", ":method", ":path", ":scheme"];
    for name in pseudo.into_iter().chain(head.fields().iter().map(|(name, _)| name)) {
        if seen(name)
            && !headers.contains_key(name)
            && let Some(value) = request.header(name)
        {
            let value = if name == ":authority" { head.authority().to_owned() } else { value.into_owned() };
            headers.insert(name.to_owned(), value);
        }
    }
    if let Some(seen) = &body {
        headers.insert("x-envoy-auth-partial-body".into(), seen.partial.to_string());
    }
    let size = head.fields().get("content-length").and_then(|length| std::str::from_utf8(length).ok()?.parse().ok());
    let raw = authz.body.is_some_and(|body| body.raw);
    let body = body.map(|seen| seen.bytes).unwrap_or_default();
    let (body, raw_body) = match raw {
        true => (String::new(), body),
        false => (String::from_utf8_lossy(&body).into_owned(), Vec::new()),
    };
    let http = HttpRequest {
        id: text(head.fields().get("x-request-id").unwrap_or_default()),
        method: head.method().into(),
        headers,
        path: head.target().into(),
        host: head.authority().into(),
        scheme: head.scheme().into(),
        size: size.unwrap_or(-1),
        protocol: head.version().as_str().into(),
        body,
        raw_body,
        ..Default::default()
    };
    let principal = conn.certificate.as_deref().and_then(|names| names.uris.first().or(names.dns.first()));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let time = Timestamp { seconds: now.as_secs() as i64, nanos: now.subsec_nanos() as i32 };
    AttributeContext {
        source: Some(Peer {
            address: Some(address(conn.remote)),
            principal: principal.cloned().unwrap_or_default(),
            ..Default::default()
        }),
        destination: Some(Peer { address: Some(address(conn.local)), ..Default::default() }),
        request: Some(CheckedRequest { time: Some(time), http: Some(http) }),
        tls_session: conn.sni.as_ref().map(|sni| TlsSession { sni: sni.to_string() }),
        ..Default::default()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn address(of: SocketAddr) -> Address {
    let socket = SocketAddress {
        address: of.ip().to_string(),
        port_specifier: Some(PortSpecifier::PortValue(of.port().into())),
        ..Default::default()
    };
    Address { address: Some(address::Address::SocketAddress(socket)) }
}

fn verdict(answer: CheckResponse) -> Result<Verdict, String> {
    let code = answer.status.map_or(0, |status| status.code);
    match (code, answer.http_response) {
        (0, None) => Ok(Verdict::Allowed(Changes::default())),
        (0, Some(HttpResponse::OkResponse(ok))) => Ok(Verdict::Allowed(changes(ok)?)),
        (0, Some(_)) => Err("it answered OK together with a denial".into()),
        (_, Some(HttpResponse::DeniedResponse(denied))) => denial(denied).map(Verdict::Denied),
        (_, Some(HttpResponse::ErrorResponse(_))) => Err(format!("it answered with an error, code {code}")),
        (_, _) => denial(DeniedHttpResponse::default()).map(Verdict::Denied),
    }
}

fn changes(ok: OkHttpResponse) -> Result<Changes, String> {
    if !ok.query_parameters_to_set.is_empty() || !ok.query_parameters_to_remove.is_empty() {
        return Err("it wants query parameters changed, which this proxy doesn't do".into());
    }
    let mut changes = Changes {
        remove: ok.headers_to_remove.into_iter().map(|name| name.to_ascii_lowercase()).collect(),
        ..Default::default()
    };
    changes.remove.retain(|name| !is_ours(name));
    for option in ok.headers {
        let append = option.append.is_some_and(|append| append.value);
        let Some((name, value)) = field(option)? else { continue };
        if append { changes.append.push((name, value)) } else { changes.set.push((name, value)) }
    }
    for option in ok.response_headers_to_add {
        let action = action(&option);
        if let Some((name, value)) = field(option)? {
            changes.response.push((action, name, value));
        }
    }
    Ok(changes)
}

fn denial(denied: DeniedHttpResponse) -> Result<Denial, String> {
    let status = denied.status.map_or(403, |status| status.code);
    let status = u16::try_from(status).ok().filter(|status| (200..=599).contains(status)).unwrap_or(403);
    let mut fields = Fields::default();
    for option in denied.headers {
        let action = action(&option);
        if let Some((name, value)) = field(option)? {
            super::write(action, &name, &value, &mut fields);
        }
    }
    Ok(Denial { status, fields, body: denied.body.into_bytes() })
}

fn action(option: &HeaderValueOption) -> AppendAction {
    match (option.append.map(|append| append.value), HeaderAppendAction::try_from(option.append_action)) {
        (Some(true), _) => AppendAction::Append,
        (Some(false), _) => AppendAction::Overwrite,
        (None, Ok(HeaderAppendAction::AddIfAbsent)) => AppendAction::IfAbsent,
        (None, Ok(HeaderAppendAction::OverwriteIfExistsOrAdd)) => AppendAction::Overwrite,
        (None, Ok(HeaderAppendAction::OverwriteIfExists)) => AppendAction::OverwriteIfPresent,
        (None, _) => AppendAction::Append,
    }
}

/// A field that a service writes; none if it is not its business.
fn field(option: HeaderValueOption) -> Result<Option<(String, Vec<u8>)>, String> {
    let header = option.header.unwrap_or_default();
    let name = header.key.to_ascii_lowercase();
    let value = if header.raw_value.is_empty() { header.value.into_bytes() } else { header.raw_value };
    if is_ours(&name) {
        return Ok(None);
    }
    match (http::HeaderName::from_bytes(name.as_bytes()), http::HeaderValue::from_bytes(&value)) {
        (Ok(_), Ok(_)) => Ok(Some((name, value))),
        _ => Err(format!("{name:?} is no header")),
    }
}
