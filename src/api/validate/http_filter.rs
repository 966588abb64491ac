//! Filters of HTTPRoute.

use super::{
    Check,
    gateway::local_reference,
    http_route::{backend_reference, is_path},
    name,
};
use crate::{
    ExternalAuthProtocol, HttpCorsFilter, HttpExternalAuthFilter, HttpHeader, HttpHeaderFilter, HttpPathModifier,
    HttpPathModifierType, HttpRequestMirrorFilter, HttpRequestRedirectFilter, HttpRouteFilter,
    HttpRouteFilterType as Type,
};

/// Rules of a list of filters.
pub fn list(check: &mut Check, filters: &[HttpRouteFilter]) {
    let count = |kind: Type| filters.iter().filter(|filter| filter.kind == kind).count();
    check.field("filters", |check| {
        for kind in [
            Type::Cors,
            Type::RequestHeaderModifier,
            Type::ResponseHeaderModifier,
            Type::RequestRedirect,
            Type::UrlRewrite,
        ] {
            let count = count(kind);
            check.hold(count <= 1, format!("wanted at most one filter of type {}, saw {count}", spelled(kind)));
        }
        let both = count(Type::RequestRedirect) > 0 && count(Type::UrlRewrite) > 0;
        check.hold(!both, "wanted RequestRedirect or URLRewrite, saw both");
    });
}

/// Rules of one filter.
pub fn filter(check: &mut Check, filter: &HttpRouteFilter) {
    for (kind, field, present) in [
        (Type::RequestHeaderModifier, "requestHeaderModifier", filter.request_header_modifier.is_some()),
        (Type::ResponseHeaderModifier, "responseHeaderModifier", filter.response_header_modifier.is_some()),
        (Type::RequestMirror, "requestMirror", filter.request_mirror.is_some()),
        (Type::RequestRedirect, "requestRedirect", filter.request_redirect.is_some()),
        (Type::UrlRewrite, "urlRewrite", filter.url_rewrite.is_some()),
        (Type::Cors, "cors", filter.cors.is_some()),
        (Type::ExternalAuth, "externalAuth", filter.external_auth.is_some()),
        (Type::ExtensionRef, "extensionRef", filter.extension_ref.is_some()),
    ] {
        let (wanted, seen) = (filter.kind == kind, spelled(filter.kind));
        check.hold(!wanted || present, format!("wanted {field} in a filter of type {seen}, it is missing"));
        check.hold(wanted || !present, format!("wanted no {field} in a filter of type {seen}"));
    }
    for (field, headers) in [
        ("requestHeaderModifier", &filter.request_header_modifier),
        ("responseHeaderModifier", &filter.response_header_modifier),
    ] {
        if let Some(headers) = headers {
            check.field(field, |check| header_filter(check, headers));
        }
    }
    if let Some(mirror) = &filter.request_mirror {
        check.field("requestMirror", |check| mirror_filter(check, mirror));
    }
    if let Some(redirect) = &filter.request_redirect {
        check.field("requestRedirect", |check| redirect_filter(check, redirect));
    }
    if let Some(rewrite) = &filter.url_rewrite {
        check.field("urlRewrite", |check| {
            check.maybe("hostname", rewrite.hostname.as_deref(), &name::PRECISE_HOSTNAME);
            path_modifier(check, rewrite.path.as_ref());
        });
    }
    if let Some(cors) = &filter.cors {
        check.field("cors", |check| cors_filter(check, cors));
    }
    if let Some(auth) = &filter.external_auth {
        check.field("externalAuth", |check| external_auth(check, auth));
    }
    if let Some(reference) = &filter.extension_ref {
        check.field("extensionRef", |check| local_reference(check, reference));
    }
}

/// Whether a filter replaces the prefix that matched.
pub fn replaces_prefix(filter: &HttpRouteFilter) -> bool {
    let redirect = filter.request_redirect.as_ref().and_then(|redirect| redirect.path.as_ref());
    let rewrite = filter.url_rewrite.as_ref().and_then(|rewrite| rewrite.path.as_ref());
    redirect.into_iter().chain(rewrite).any(|path| path.kind == HttpPathModifierType::ReplacePrefixMatch)
}

fn spelled(kind: Type) -> &'static str {
    match kind {
        Type::RequestHeaderModifier => "RequestHeaderModifier",
        Type::ResponseHeaderModifier => "ResponseHeaderModifier",
        Type::RequestMirror => "RequestMirror",
        Type::RequestRedirect => "RequestRedirect",
        Type::UrlRewrite => "URLRewrite",
        Type::Cors => "CORS",
        Type::ExternalAuth => "ExternalAuth",
        Type::ExtensionRef => "ExtensionRef",
    }
}

fn header_filter(check: &mut Check, filter: &HttpHeaderFilter) {
    let header = |check: &mut Check, header: &HttpHeader| {
        check.text("name", &header.name, &name::HEADER_NAME);
        check.text("value", &header.value, &name::HEADER_VALUE);
    };
    for (field, headers) in [("set", &filter.set), ("add", &filter.add)] {
        check.each(field, headers, 0..=16, header);
        check.unique(field, headers, "names of headers", |header| header.name.clone());
    }
    check.each("remove", &filter.remove, 0..=16, |check, header| check.value(header, &name::HEADER_NAME));
    check.unique("remove", &filter.remove, "names of headers", String::clone);
}

fn mirror_filter(check: &mut Check, mirror: &HttpRequestMirrorFilter) {
    check.field("backendRef", |check| backend_reference(check, &mirror.backend_ref));
    check.hold(mirror.percent.is_none() || mirror.fraction.is_none(), "wanted percent or fraction, saw both");
    if let Some(percent) = mirror.percent.filter(|percent| *percent > 100) {
        check.field("percent", |check| check.fail(format!("wanted 0 to 100, saw {percent}")));
    }
    if let Some(fraction) = mirror.fraction {
        let fits = fraction.denominator > 0 && fraction.numerator <= fraction.denominator;
        let message = "wanted a denominator above 0 and a numerator up to it";
        check.field("fraction", |check| check.hold(fits, message));
    }
}

fn redirect_filter(check: &mut Check, redirect: &HttpRequestRedirectFilter) {
    check.maybe("hostname", redirect.hostname.as_deref(), &name::PRECISE_HOSTNAME);
    check.port("port", redirect.port);
    let code = redirect.status_code;
    check.field("statusCode", |check| {
        check.hold([301, 302, 303, 307, 308].contains(&code), format!("wanted 301, 302, 303, 307 or 308, saw {code}"));
    });
    path_modifier(check, redirect.path.as_ref());
}

fn path_modifier(check: &mut Check, path: Option<&HttpPathModifier>) {
    let Some(path) = path else { return };
    check.field("path", |check| {
        for (kind, field, value) in [
            (HttpPathModifierType::ReplaceFullPath, "replaceFullPath", &path.replace_full_path),
            (HttpPathModifierType::ReplacePrefixMatch, "replacePrefixMatch", &path.replace_prefix_match),
        ] {
            check.maybe(field, value.as_deref(), &name::NEW_PATH);
            let wanted = path.kind == kind;
            check.hold(!wanted || value.is_some(), format!("wanted {field} with this type, it is missing"));
            check.hold(wanted || value.is_none(), format!("wanted no {field} with this type"));
        }
    });
}

fn cors_filter(check: &mut Check, cors: &HttpCorsFilter) {
    const METHODS: [&str; 10] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "*"];
    for (field, values, most) in [
        ("allowOrigins", &cors.allow_origins, 64),
        ("allowMethods", &cors.allow_methods, 9),
        ("allowHeaders", &cors.allow_headers, 64),
        ("exposeHeaders", &cors.expose_headers, 64),
    ] {
        check.each(field, values, 0..=most, |check, value| match field {
            "allowMethods" => {
                check.hold(METHODS.contains(&value.as_str()), format!("wanted a method or *, saw {value:?}"));
            }
            "allowOrigins" => {
                check.hold(is_origin(value), format!("wanted * or http(s)://<host>[:<port>], saw {value:?}"));
            }
            _ => check.value(value, &name::HEADER_NAME),
        });
        check.unique(field, values, "values", String::clone);
        let alone = field == "exposeHeaders" || values.len() <= 1 || !values.iter().any(|value| value == "*");
        check.field(field, |check| check.hold(alone, "wanted '*' or other values, saw both"));
    }
    check.field("maxAge", |check| check.hold(cors.max_age >= 1, "wanted at least 1, saw 0"));
}

fn external_auth(check: &mut Check, auth: &HttpExternalAuthFilter) {
    check.field("backendRef", |check| backend_reference(check, &auth.backend_ref));
    for (protocol, name, field, present) in [
        (ExternalAuthProtocol::Http, "HTTP", "http", auth.http.is_some()),
        (ExternalAuthProtocol::Grpc, "GRPC", "grpc", auth.grpc.is_some()),
    ] {
        let wanted = auth.protocol == protocol;
        check.hold(!wanted || present, format!("wanted {field} with protocol {name}, it is missing"));
        check.hold(wanted || !present, format!("wanted no {field} with another protocol than {name}"));
    }
    let mut headers = |config: &'static str, field: &str, names: &[String]| {
        check.field(config, |check| {
            check.each(field, names, 0..=64, |_, _| {});
            check.unique(field, names, "values", String::clone);
        });
    };
    if let Some(grpc) = &auth.grpc {
        headers("grpc", "allowedHeaders", &grpc.allowed_headers);
    }
    if let Some(http) = &auth.http {
        headers("http", "allowedHeaders", &http.allowed_headers);
        headers("http", "allowedResponseHeaders", &http.allowed_response_headers);
        check.field("http", |check| {
            check.field("path", |check| {
                let fits = http.path.is_empty() || (http.path.len() <= 1024 && is_path(&http.path));
                check.hold(fits, format!("wanted up to 1024 characters of a path (RFC 3986), saw {:?}", http.path));
            });
        });
    }
}

fn is_origin(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else { return text == "*" };
    let (host, port) = rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port)));
    let is_port = |port: &str| (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    let host = host.strip_prefix("*.").unwrap_or(host);
    let is_label =
        |label: &str| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    text.len() <= 253 && port.is_none_or(is_port) && (host == "*" || host.split('.').all(is_label))
}
