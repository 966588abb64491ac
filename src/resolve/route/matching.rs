//! Matches of rules of HTTPRoutes and GRPCRoutes.

use super::rule::Mistake;
use crate::{regex, status::quoted};
use api::{GrpcMethodMatchType, GrpcRouteMatch, HttpHeaderMatch, HttpRouteMatch, PathMatchType, ValueMatchType};
use model::{HeaderMatch, Match, PathMatch, QueryMatch, ValueMatch};
use std::sync::Arc;

/// Reads a match. Of several headers or parameters with one name the first counts (Gateway API `HTTPHeaderMatch.name`).
pub(super) fn parse(written: &HttpRouteMatch) -> Result<Match, Mistake> {
    let headers = headers(&written.headers)?;
    let mut query: Vec<QueryMatch> = Vec::with_capacity(written.query_params.len());
    for (index, parameter) in written.query_params.iter().enumerate() {
        let value = value(parameter.kind, &parameter.value, || format!("queryParams[{index}].value"))?;
        if query.iter().all(|known| *known.name != *parameter.name) {
            query.push(QueryMatch { name: (*parameter.name).into(), value });
        }
    }
    let method = written.method.map(|method| method.as_str().into());
    Ok(Match { path: path(&written.path)?, method, headers, query })
}

/// Reads a match of calls.
pub(super) fn parse_call(written: &GrpcRouteMatch) -> Result<Match, Mistake> {
    let called = written.method.clone().unwrap_or_default();
    let part = |field: &str, text: Option<&str>| match (called.kind, text) {
        // Empty is any (Gateway API `GRPCMethodMatch`).
        (_, None | Some("")) => Ok(None),
        (GrpcMethodMatchType::Exact, Some(text)) if text.contains('/') || !is_path(&format!("/{text}")) => {
            Err(Mistake::value(format!("method.{field}: wanted the name of a {field} of gRPC, saw {}", quoted(text))))
        }
        (GrpcMethodMatchType::Exact, Some(text)) => Ok(Some(ValueMatch::Exact(text.into()))),
        (GrpcMethodMatchType::RegularExpression, Some(text)) => {
            value(ValueMatchType::RegularExpression, text, || format!("method.{field}")).map(Some)
        }
    };
    let (service, method) = (part("service", called.service.as_deref())?, part("method", called.method.as_deref())?);
    let path = PathMatch::Call { service, method };
    Ok(Match { path, method: None, headers: headers(&written.headers)?, query: Vec::new() })
}

fn headers(written: &[HttpHeaderMatch]) -> Result<Vec<HeaderMatch>, Mistake> {
    let mut headers: Vec<HeaderMatch> = Vec::with_capacity(written.len());
    for (index, header) in written.iter().enumerate() {
        let name: Arc<str> = header.name.to_ascii_lowercase().into();
        let value = value(header.kind, &header.value, || format!("headers[{index}].value"))?;
        if headers.iter().all(|known| known.name != name) {
            headers.push(HeaderMatch { name, value });
        }
    }
    Ok(headers)
}

fn value(kind: ValueMatchType, text: &str, field: impl Fn() -> String) -> Result<ValueMatch, Mistake> {
    match kind {
        ValueMatchType::Exact => Ok(ValueMatch::Exact(text.into())),
        ValueMatchType::RegularExpression => match regex::check(text) {
            Ok(()) => Ok(ValueMatch::Regex(text.into())),
            Err(why) => Err(Mistake::value(format!("{}: {why}", field()))),
        },
    }
}

fn path(path: &api::HttpPathMatch) -> Result<PathMatch, Mistake> {
    let text = &*path.value;
    if path.kind == PathMatchType::RegularExpression {
        return match regex::check(text) {
            Ok(()) => Ok(PathMatch::Regex(text.into())),
            Err(why) => Err(Mistake::value(format!("path.value: {why}"))),
        };
    }
    if !is_path(text) {
        return Err(Mistake::value(format!(
            "path.value: wanted a path that starts with /, without ? and #, saw {}",
            quoted(text)
        )));
    }
    // Requests are compared in their canonical form: what is written in another one would match none.
    let Some(text) = model::path::resolved(text) else {
        return Err(Mistake::value(format!("path.value: wanted a path without %00, saw {}", quoted(text))));
    };
    Ok(match path.kind {
        PathMatchType::Exact => PathMatch::Exact(text.into()),
        _ => match text.trim_end_matches('/') {
            "" => PathMatch::Prefix("/".into()),
            prefix => PathMatch::Prefix(prefix.into()),
        },
    })
}

/// Whether a text can stand as a path in a request: visible characters from the first slash on, no query, no fragment.
pub(super) fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.bytes().all(|byte| byte > b' ' && byte != 0x7f && byte != b'?' && byte != b'#')
}
