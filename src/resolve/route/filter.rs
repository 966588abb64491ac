//! Filters of HTTPRoute rules and backends.

use super::{cors, matching::is_path, rule::Mistake};
use crate::status::quoted;
use api::{HttpPathModifierType, HttpRouteFilter, HttpRouteFilterType};
use model::{AuthProtocol, Cors, HeaderEdit, HeaderEdits, PathRewrite, Redirect, Rewrite};
use std::sync::Arc;

/// The filters of a rule or a backend.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Filters {
    pub(crate) request_headers: HeaderEdits,
    pub(crate) response_headers: HeaderEdits,
    pub(crate) rewrite: Option<Rewrite>,
    /// Its port as written.
    pub(crate) redirect: Option<Box<Redirect>>,
    pub(crate) mirrors: Vec<MirrorRef>,
    pub(crate) cors: Option<Arc<Cors>>,
    pub(crate) auth: Option<Box<AuthRef>>,
    /// The Host, set as if it were any header.
    host: Option<Arc<str>>,
}

/// A service that decides about requests, before its reference is followed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AuthRef {
    /// Index of the filter.
    pub(crate) index: usize,
    pub(crate) reference: api::BackendObjectReference,
    pub(crate) protocol: AuthProtocol,
    pub(crate) body: Option<u32>,
}

/// A mirror, before its reference is followed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MirrorRef {
    /// Index of the filter.
    pub(crate) index: usize,
    pub(crate) reference: api::BackendObjectReference,
    pub(crate) per_million: u32,
}

/// Reads a list of filters. A mistake's text goes on from `filters`.
pub(super) fn parse(written: &[HttpRouteFilter]) -> Result<Filters, Mistake> {
    let mut filters = Filters::default();
    let mut seen = Vec::new();
    for (index, filter) in written.iter().enumerate() {
        let at = |wrong: Mistake| Mistake { what: format!("[{index}].{}", wrong.what), ..wrong };
        if filter.kind != HttpRouteFilterType::RequestMirror && seen.contains(&filter.kind) {
            return Err(Mistake { reason: "IncompatibleFilters", what: format!("[{index}].type: given twice") });
        }
        seen.push(filter.kind);
        add(&mut filters, index, filter).map_err(at)?;
    }
    if filters.redirect.is_some() && filters.rewrite.is_some() {
        let what = ": RequestRedirect and URLRewrite exclude each other";
        return Err(Mistake { reason: "IncompatibleFilters", what: what.into() });
    }
    match (filters.host.take(), &mut filters.rewrite) {
        (None, _) => {}
        (Some(host), None) => filters.rewrite = Some(Rewrite { host: Some(host), path: None }),
        (Some(host), Some(rewrite)) => match &rewrite.host {
            Some(other) if *other != host => {
                let what =
                    format!(": a URLRewrite makes the Host {other}, and a RequestHeaderModifier makes it {host}");
                return Err(Mistake { reason: "IncompatibleFilters", what });
            }
            _ => rewrite.host = Some(host),
        },
    }
    Ok(filters)
}

fn add(filters: &mut Filters, index: usize, filter: &HttpRouteFilter) -> Result<(), Mistake> {
    match filter.kind {
        HttpRouteFilterType::RequestHeaderModifier => {
            let edits = filter.request_header_modifier.as_ref().ok_or_else(|| missing("requestHeaderModifier"))?;
            let (host, edits) = host(edits).map_err(|wrong| within("requestHeaderModifier", wrong))?;
            filters.host = host;
            filters.request_headers = header_edits(&edits).map_err(|wrong| within("requestHeaderModifier", wrong))?;
        }
        HttpRouteFilterType::ResponseHeaderModifier => {
            let edits = filter.response_header_modifier.as_ref().ok_or_else(|| missing("responseHeaderModifier"))?;
            filters.response_headers = header_edits(edits).map_err(|wrong| within("responseHeaderModifier", wrong))?;
        }
        HttpRouteFilterType::RequestMirror => {
            let mirror = filter.request_mirror.as_ref().ok_or_else(|| missing("requestMirror"))?;
            let per_million = share(mirror).map_err(|wrong| within("requestMirror", wrong))?;
            filters.mirrors.push(MirrorRef { index, reference: mirror.backend_ref.clone(), per_million });
        }
        HttpRouteFilterType::RequestRedirect => {
            let written = filter.request_redirect.as_ref().ok_or_else(|| missing("requestRedirect"))?;
            filters.redirect = Some(Box::new(redirect(written).map_err(|wrong| within("requestRedirect", wrong))?));
        }
        HttpRouteFilterType::UrlRewrite => {
            let written = filter.url_rewrite.as_ref().ok_or_else(|| missing("urlRewrite"))?;
            let path = written.path.as_ref().map(path).transpose().map_err(|wrong| within("urlRewrite.path", wrong))?;
            filters.rewrite = Some(Rewrite { host: written.hostname.as_deref().map(Arc::from), path });
        }
        HttpRouteFilterType::Cors => {
            let written = filter.cors.as_ref().ok_or_else(|| missing("cors"))?;
            filters.cors = Some(Arc::new(cors::parse(written).map_err(|wrong| within("cors", wrong))?));
        }
        HttpRouteFilterType::ExternalAuth => {
            let written = filter.external_auth.as_ref().ok_or_else(|| missing("externalAuth"))?;
            filters.auth = Some(Box::new(auth(index, written).map_err(|wrong| within("externalAuth", wrong))?));
        }
        HttpRouteFilterType::ExtensionRef => return Err(Mistake::value("type: ExtensionRef is not supported")),
    }
    Ok(())
}

fn missing(field: &str) -> Mistake {
    Mistake::value(format!("{field}: missing, the type asks for it"))
}

fn within(field: &str, wrong: Mistake) -> Mistake {
    Mistake { what: format!("{field}.{}", wrong.what), ..wrong }
}

/// A Host that is set is taken out: in HTTP it is no header like others, and Envoy refuses to edit it as one.
fn host(written: &api::HttpHeaderFilter) -> Result<(Option<Arc<str>>, api::HttpHeaderFilter), Mistake> {
    let mut rest = written.clone();
    rest.set.retain(|header| !header.name.eq_ignore_ascii_case("host"));
    let mut set = written.set.iter().enumerate().filter(|(_, header)| header.name.eq_ignore_ascii_case("host"));
    let Some((index, header)) = set.next() else { return Ok((None, rest)) };
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:[]%".contains(&byte);
    if header.value.is_empty() || !header.value.bytes().all(is_host) {
        let what = format!("set[{index}].value: wanted a host, perhaps with a port, saw {}", quoted(&header.value));
        return Err(Mistake::value(what));
    }
    Ok((Some((*header.value).into()), rest))
}

fn auth(index: usize, written: &api::HttpExternalAuthFilter) -> Result<AuthRef, Mistake> {
    let names = |field: &str, names: &[String]| -> Result<Vec<Arc<str>>, Mistake> {
        let wanted = |name: &String| format!("{field}: wanted names of headers, saw {}", quoted(name));
        match names.iter().find(|name| !is_token(name)) {
            Some(wrong) => Err(Mistake::value(wanted(wrong))),
            None => Ok(names.iter().map(|name| name.to_ascii_lowercase().into()).collect()),
        }
    };
    let protocol = match written.protocol {
        api::ExternalAuthProtocol::Grpc => {
            let grpc = written.grpc.clone().unwrap_or_default();
            AuthProtocol::Grpc(names("grpc.allowedHeaders", &grpc.allowed_headers)?)
        }
        api::ExternalAuthProtocol::Http => {
            let http = written.http.clone().unwrap_or_default();
            let path = match &*http.path {
                "" => "".into(),
                path if path.starts_with('/') => path.trim_end_matches('/').into(),
                path => format!("/{}", path.trim_end_matches('/')).into(),
            };
            if !http.path.is_empty() && !is_path(&format!("/{}", http.path)) {
                let what = format!("http.path: wanted a path without ? and #, saw {}", quoted(&http.path));
                return Err(Mistake::value(what));
            }
            AuthProtocol::Http {
                path,
                request_headers: names("http.allowedHeaders", &http.allowed_headers)?,
                response_headers: names("http.allowedResponseHeaders", &http.allowed_response_headers)?,
            }
        }
    };
    let body = written.forward_body.map(|body| u32::from(body.max_size)).filter(|most| *most > 0);
    Ok(AuthRef { index, reference: written.backend_ref.clone(), protocol, body })
}

fn header_edits(written: &api::HttpHeaderFilter) -> Result<HeaderEdits, Mistake> {
    let edits = |field: &str, headers: &[api::HttpHeader]| -> Result<Vec<HeaderEdit>, Mistake> {
        let mut edits: Vec<HeaderEdit> = Vec::with_capacity(headers.len());
        for (index, header) in headers.iter().enumerate() {
            check_name(&header.name).map_err(|what| Mistake::value(format!("{field}[{index}].name: {what}")))?;
            if header.value.bytes().any(|byte| (byte < b' ' && byte != b'\t') || byte == 0x7f) {
                return Err(Mistake::value(format!("{field}[{index}].value: has a control character")));
            }
            // Of several with one name the first counts (Gateway API `HTTPHeader.name`).
            if edits.iter().all(|known| !known.name.eq_ignore_ascii_case(&header.name)) {
                edits.push(HeaderEdit { name: (*header.name).into(), value: (*header.value).into() });
            }
        }
        Ok(edits)
    };
    for (index, name) in written.remove.iter().enumerate() {
        check_name(name).map_err(|what| Mistake::value(format!("remove[{index}]: {what}")))?;
    }
    let mut remove: Vec<Arc<str>> = written.remove.iter().map(|name| (**name).into()).collect();
    remove.dedup();
    Ok(HeaderEdits { set: edits("set", &written.set)?, add: edits("add", &written.add)?, remove })
}

/// Whether a text can be the name of a header or a cookie (RFC 9110 5.6.2).
pub(crate) fn is_token(text: &str) -> bool {
    let of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(of_token)
}

/// A request has one Host: it can be set, not added to and not removed.
fn check_name(name: &str) -> Result<(), String> {
    match name {
        _ if name.eq_ignore_ascii_case("host") => {
            Err("a request's Host can only be set, or rewritten by a URLRewrite filter's hostname".into())
        }
        "" => Err("is empty".into()),
        _ if is_token(name) => Ok(()),
        _ => Err(format!("wanted a header's name, saw {}", quoted(name))),
    }
}

fn share(mirror: &api::HttpRequestMirrorFilter) -> Result<u32, Mistake> {
    match (mirror.percent, mirror.fraction) {
        (None, None) => Ok(1_000_000),
        (Some(percent), None) if percent <= 100 => Ok(percent * 10_000),
        (Some(percent), None) => Err(Mistake::value(format!("percent: wanted 0 to 100, saw {percent}"))),
        (None, Some(api::Fraction { numerator, denominator })) if denominator > 0 && numerator <= denominator => {
            let per_million = u64::from(numerator) * 1_000_000 / u64::from(denominator);
            // At most a million, as the numerator is at most the denominator.
            Ok(u32::try_from(per_million).unwrap_or(1_000_000))
        }
        (None, Some(api::Fraction { numerator, denominator })) => {
            Err(Mistake::value(format!("fraction: {numerator} is more than the denominator, {denominator}")))
        }
        (Some(_), Some(_)) => Err(Mistake::value("fraction: must be absent beside percent")),
    }
}

fn redirect(written: &api::HttpRequestRedirectFilter) -> Result<Redirect, Mistake> {
    if !matches!(written.status_code, 301 | 302 | 303 | 307 | 308) {
        let code = written.status_code;
        return Err(Mistake::value(format!("statusCode: wanted 301, 302, 303, 307 or 308, saw {code}")));
    }
    let scheme = written.scheme.map(|scheme| match scheme {
        api::RedirectScheme::Http => "http".into(),
        api::RedirectScheme::Https => "https".into(),
    });
    Ok(Redirect {
        scheme,
        host: written.hostname.as_deref().map(Arc::from),
        path: written.path.as_ref().map(path).transpose().map_err(|wrong| within("path", wrong))?,
        port: written.port,
        status: written.status_code,
    })
}

fn path(written: &api::HttpPathModifier) -> Result<PathRewrite, Mistake> {
    let wanted = |field: &str, text: &str| {
        Mistake::value(format!("{field}: wanted a path that starts with /, without ? and #, saw {}", quoted(text)))
    };
    match written.kind {
        HttpPathModifierType::ReplaceFullPath => match written.replace_full_path.as_deref() {
            Some(path) if is_path(path) => Ok(PathRewrite::Full(path.into())),
            other => Err(wanted("replaceFullPath", other.unwrap_or_default())),
        },
        HttpPathModifierType::ReplacePrefixMatch => match written.replace_prefix_match.as_deref() {
            Some(prefix) if prefix.is_empty() || is_path(prefix) => Ok(PathRewrite::Prefix(prefix.into())),
            other => Err(wanted("replacePrefixMatch", other.unwrap_or_default())),
        },
    }
}
