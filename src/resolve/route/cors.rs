//! The CORS filter: origins with their wildcards.

use super::{filter::is_token, rule::Mistake};
use crate::status::quoted;
use model::{Cors, Origin};
use std::sync::Arc;

pub(super) fn parse(written: &api::HttpCorsFilter) -> Result<Cors, Mistake> {
    let names = |field: &str, names: &[String]| -> Result<Vec<Arc<str>>, Mistake> {
        match names.iter().position(|name| !is_token(name)) {
            Some(index) => {
                let seen = quoted(&names[index]);
                Err(Mistake::value(format!("{field}[{index}]: wanted a name or *, saw {seen}")))
            }
            None => Ok(names.iter().map(|name| (**name).into()).collect()),
        }
    };
    let origins = written.allow_origins.iter().enumerate().map(|(index, text)| {
        origin(text).ok_or_else(|| {
            let seen = quoted(text);
            Mistake::value(format!("allowOrigins[{index}]: wanted * or http(s)://<host>[:<port>], saw {seen}"))
        })
    });
    Ok(Cors {
        origins: origins.collect::<Result<_, _>>()?,
        methods: names("allowMethods", &written.allow_methods)?,
        headers: names("allowHeaders", &written.allow_headers)?,
        expose: names("exposeHeaders", &written.expose_headers)?,
        credentials: written.allow_credentials.unwrap_or(false),
        max_age: written.max_age,
    })
}

/// A star stands for any number of labels on the left of a host; alone it is every host, and every origin.
fn origin(text: &str) -> Option<Origin> {
    if text == "*" {
        return Some(Origin::Any);
    }
    let (scheme, rest) = text.split_once("://")?;
    let https = match scheme {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().ok().filter(|port| *port > 0)?)),
        _ => (rest, None),
    };
    let (host, wildcard) = host.strip_prefix('*').map_or((host, false), |end| (end, true));
    let of_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte);
    if (host.is_empty() && !wildcard) || !host.bytes().all(of_host) {
        return None;
    }
    Some(Origin::These { https, host: host.to_ascii_lowercase().into(), wildcard, port })
}
