//! Filters of HTTPRoute rules and backends.

use super::{matching::is_path, rule::Mistake};
use crate::status::quoted;
use api::{HttpPathModifierType, HttpRouteFilter, HttpRouteFilterType};
use model::{HeaderEdit, HeaderEdits, PathRewrite, Redirect, Rewrite};
use std::sync::Arc;

/// The filters of a rule or a backend.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Filters {
    pub(crate) request_headers: HeaderEdits,
    pub(crate) response_headers: HeaderEdits,
    pub(crate) rewrite: Option<Rewrite>,
    /// Its port as written.
    pub(crate) redirect: Option<Redirect>,
    pub(crate) mirrors: Vec<MirrorRef>,
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
    Ok(filters)
}

fn add(filters: &mut Filters, index: usize, filter: &HttpRouteFilter) -> Result<(), Mistake> {
    match filter.kind {
        HttpRouteFilterType::RequestHeaderModifier => {
            let edits = filter.request_header_modifier.as_ref().ok_or_else(|| missing("requestHeaderModifier"))?;
            filters.request_headers = header_edits(edits).map_err(|wrong| within("requestHeaderModifier", wrong))?;
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
            filters.redirect = Some(redirect(written).map_err(|wrong| within("requestRedirect", wrong))?);
        }
        HttpRouteFilterType::UrlRewrite => {
            let written = filter.url_rewrite.as_ref().ok_or_else(|| missing("urlRewrite"))?;
            let path = written.path.as_ref().map(path).transpose().map_err(|wrong| within("urlRewrite.path", wrong))?;
            filters.rewrite = Some(Rewrite { host: written.hostname.as_deref().map(Arc::from), path });
        }
        HttpRouteFilterType::Cors => return Err(Mistake::value("type: CORS is not supported")),
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

/// Envoy refuses to touch `host` by header edits, and with it the whole route configuration.
fn check_name(name: &str) -> Result<(), String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    match name {
        _ if name.eq_ignore_ascii_case("host") => {
            Err("Host can't be edited; use a URLRewrite filter's hostname".into())
        }
        "" => Err("is empty".into()),
        _ if name.bytes().all(is_token) => Ok(()),
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
