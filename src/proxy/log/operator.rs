//! Envoy's command operators: `%NAME%`, `%NAME(ARGUMENT)%`, `%NAME(ARGUMENT):LENGTH%`. One that isn't known is an error:
//! a log that leaves out what it was asked for would lie.

use super::format::{Address, FormatError, Part, TextPart};
use crate::authz;
use std::sync::Arc;

/// A format's parts.
pub(super) fn parse(source: &str) -> Result<Box<[TextPart]>, FormatError> {
    let mut parts = Vec::new();
    let mut rest = source;
    let mut text = String::new();
    while let Some(start) = rest.find('%') {
        text.push_str(&rest[..start]);
        rest = &rest[start + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            text.push('%');
            rest = after;
            continue;
        }
        // The argument of an operator may hold a percent sign: `%START_TIME(%Y)%`.
        let end = match (rest.find('('), rest.find('%')) {
            (Some(open), Some(percent)) if open < percent => rest[open..]
                .find(")")
                .and_then(|close| rest[open + close..].find('%').map(|percent| open + close + percent)),
            (_, percent) => percent,
        };
        let Some(end) = end else {
            return Err(FormatError { operator: format!("%{rest}"), reason: "wanted a percent sign that ends it" });
        };
        if !text.is_empty() {
            parts.push(TextPart(Part::Text(std::mem::take(&mut text).into())));
        }
        parts.push(TextPart(operator(&rest[..end])?));
        rest = &rest[end + 1..];
    }
    text.push_str(rest);
    if !text.is_empty() || parts.is_empty() {
        parts.push(TextPart(Part::Text(text.into())));
    }
    Ok(parts.into())
}

fn operator(source: &str) -> Result<Part, FormatError> {
    let refuse = |reason| Err(FormatError { operator: format!("%{source}%"), reason });
    let (head, limit) = match source.rsplit_once(':') {
        Some((head, digits)) if head.ends_with(')') => match digits.parse() {
            Ok(limit) => (head, limit),
            Err(_) => return refuse("wanted a length after the colon"),
        },
        _ => (source, usize::MAX),
    };
    let (name, argument) = match head.split_once('(') {
        None => (head, None),
        Some((name, argument)) => match argument.strip_suffix(')') {
            Some(argument) => (name, Some(argument)),
            None => return refuse("wanted a closing bracket"),
        },
    };
    Ok(match (name, argument) {
        ("REQ" | "REQUEST_HEADER", Some(argument)) => request(argument, limit),
        ("RESP" | "RESPONSE_HEADER", Some(argument)) => {
            let (name, otherwise) = names(argument);
            Part::ResponseHeader { name, otherwise, limit }
        }
        ("DYNAMIC_METADATA", Some("windlass:denied")) => Part::Denied,
        ("DYNAMIC_METADATA", Some(argument)) => {
            let mut keys = argument.split(':');
            let filter = keys.next().unwrap_or_default();
            if ![authz::RBAC, authz::JWT].contains(&filter) {
                return refuse("no filter of this proxy writes such metadata");
            }
            Part::Metadata { filter: filter.into(), path: keys.map(Arc::from).collect() }
        }
        (_, Some(_)) => return refuse("this proxy doesn't know this operator with an argument"),
        ("START_TIME", None) => Part::StartTime,
        ("PROTOCOL", None) => Part::Protocol,
        ("RESPONSE_CODE", None) => Part::Status,
        ("RESPONSE_FLAGS", None) => Part::Flags,
        ("RESPONSE_CODE_DETAILS", None) => Part::Details,
        ("CONNECTION_TERMINATION_DETAILS", None) => Part::ConnectionDetails,
        ("UPSTREAM_TRANSPORT_FAILURE_REASON", None) => Part::UpstreamFailure,
        ("BYTES_RECEIVED", None) => Part::BytesReceived,
        ("BYTES_SENT", None) => Part::BytesSent,
        ("DURATION", None) => Part::Duration,
        ("REQUEST_DURATION", None) => Part::RequestDuration,
        ("RESPONSE_DURATION", None) => Part::ResponseDuration,
        ("UPSTREAM_HOST" | "UPSTREAM_REMOTE_ADDRESS", None) => Part::Upstream,
        ("UPSTREAM_LOCAL_ADDRESS", None) => Part::UpstreamLocal,
        ("UPSTREAM_CLUSTER" | "UPSTREAM_CLUSTER_RAW", None) => Part::Cluster,
        ("UPSTREAM_REQUEST_ATTEMPT_COUNT", None) => Part::Attempts,
        ("DOWNSTREAM_LOCAL_ADDRESS", None) => Part::Local(Address::Whole),
        ("DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", None) => Part::Local(Address::Ip),
        ("DOWNSTREAM_LOCAL_PORT", None) => Part::Local(Address::Port),
        ("DOWNSTREAM_REMOTE_ADDRESS", None) => Part::Remote(Address::Whole),
        ("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", None) => Part::Remote(Address::Ip),
        ("DOWNSTREAM_REMOTE_PORT", None) => Part::Remote(Address::Port),
        ("DOWNSTREAM_DIRECT_REMOTE_ADDRESS", None) => Part::Peer(Address::Whole),
        ("DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT", None) => Part::Peer(Address::Ip),
        ("REQUESTED_SERVER_NAME", None) => Part::ServerName,
        ("DOWNSTREAM_TLS_VERSION", None) => Part::TlsVersion,
        ("DOWNSTREAM_TLS_CIPHER", None) => Part::TlsCipher,
        ("DOWNSTREAM_PEER_URI_SAN", None) => Part::PeerUri,
        ("ROUTE_NAME", None) => Part::Route,
        ("VIRTUAL_HOST_NAME", None) => Part::VirtualHost,
        _ => return refuse("this proxy doesn't know this operator"),
    })
}

fn names(argument: &str) -> (Arc<str>, Option<Arc<str>>) {
    let lower = argument.to_ascii_lowercase();
    match lower.split_once('?') {
        None => (lower.into(), None),
        Some((name, otherwise)) => (name.into(), Some(otherwise.into())),
    }
}

fn request(argument: &str, limit: usize) -> Part {
    let (name, otherwise) = names(argument);
    match (&*name, otherwise.as_deref()) {
        (":method", _) if limit == usize::MAX => Part::Method,
        (":authority", _) if limit == usize::MAX => Part::Authority,
        (":scheme", _) if limit == usize::MAX => Part::Scheme,
        (":path", _) if limit == usize::MAX => Part::Path { original: false },
        ("x-envoy-original-path", Some(":path")) if limit == usize::MAX => Part::Path { original: true },
        _ => Part::RequestHeader { name, otherwise, limit },
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        authz::Explanation,
        log::{Flag, Flags, Format, Record},
    };
    use std::time::{Duration, SystemTime};

    fn render(format: &str, record: &Record<'_>) -> String {
        let mut out = String::new();
        Format::text(format).unwrap().render(record, &mut out);
        out
    }

    #[test]
    fn operators_are_rendered() {
        let headers = [("user-agent", "curl"), ("long", "0123456789")];
        let headers: http::HeaderMap = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect::<http::HeaderMap>();
        let record = Record {
            start: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_500)),
            duration: Duration::from_micros(2_900),
            method: Some("GET"),
            path: Some("/a?b"),
            rewritten_path: Some("/c?b"),
            request: Some(&headers),
            status: 503,
            flags: Flags::NONE.with(Flag::NoHealthyUpstream),
            upstream: Some("10.0.0.1:80".parse().unwrap()),
            remote: Some("[::1]:9".parse().unwrap()),
            ..Record::default()
        };
        for (format, wanted) in [
            ("%START_TIME%", "1970-01-01T00:00:01.500Z"),
            ("%RESPONSE_CODE% %RESPONSE_FLAGS% %DURATION%", "503 UH 2"),
            ("%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %REQ(:PATH)%", "/a?b /c?b"),
            ("%REQ(USER-AGENT)% %REQ(NONE)% %REQ(NONE?USER-AGENT)%", "curl - curl"),
            ("%REQ(LONG):4%", "0123"),
            ("100%% %RESP(NONE)%", "100% -"),
            ("%UPSTREAM_HOST% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "10.0.0.1:80 ::1"),
            ("", ""),
        ] {
            assert_eq!(render(format, &record), wanted, "{format}");
        }
        for bad in ["%", "%NOPE%", "%REQ(A%", "%REQ%", "%RESPONSE_CODE(x)%", "%REQ(A):x%", "%START_TIME(%Y)%"] {
            assert!(Format::text(bad).is_err(), "{bad}");
        }
        Format::text(Format::DEFAULT).unwrap();
    }

    #[test]
    fn a_denial_is_explained_once_and_ends_no_line() {
        let why = Explanation::missing("a\n\"b");
        let record = Record { denied: Some(&why), status: 403, ..Record::default() };
        let text = "the policies a\\n\\\"b have not been received";
        assert_eq!(render("%RESPONSE_CODE%\n", &record), format!("403 denied=\"{text}\"\n"));
        assert_eq!(render("\"%DYNAMIC_METADATA(windlass:denied)%\"\n", &record), format!("\"{text}\"\n"));
    }
}
