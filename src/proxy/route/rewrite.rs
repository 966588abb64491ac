//! Where a request goes: rewritten paths, and the `location` of redirects. Envoy's rules.

use super::{Headers, Request};
use crate::config::{PathMatch, PathRewrite, Redirect, RouteMatch};

/// Path and query after a rewrite. The query stays, unless the new path brings its own.
pub fn rewrite_path(rewrite: &PathRewrite, matches: &RouteMatch, path: &str, query: Option<&str>) -> String {
    let new = match rewrite {
        PathRewrite::Full(new) => new.to_string(),
        PathRewrite::Prefix(new) => {
            let matched = match &matches.path {
                PathMatch::Exact(text) | PathMatch::Prefix(text) | PathMatch::Segments(text) => text.len(),
                PathMatch::Regex(_) => 0,
            };
            // What matched is a prefix of the path, so this is a border between characters.
            format!("{new}{}", path.get(matched..).unwrap_or_default())
        }
        PathRewrite::Regex(rewrite) => rewrite.pattern.replace_all(path, &*rewrite.substitution).into_owned(),
    };
    match query {
        Some(query) if !new.contains('?') => format!("{new}?{query}"),
        _ => new,
    }
}

/// The `location` of a redirect. `authority` is the request's host as it would be forwarded.
pub fn location<H: Headers + ?Sized>(
    redirect: &Redirect,
    matches: &RouteMatch,
    request: &Request<'_, H>,
    authority: &str,
) -> String {
    let scheme = redirect.scheme.as_deref().unwrap_or(request.scheme);
    let host = match &redirect.host {
        Some(host) => host,
        None => host(authority, redirect, request.scheme),
    };
    let port = redirect.port.map(|port| format!(":{port}")).unwrap_or_default();
    let query = request.query.filter(|_| !redirect.strip_query);
    let path = match &redirect.path {
        Some(rewrite) => rewrite_path(rewrite, matches, request.path, query),
        None => match query {
            Some(query) => format!("{}?{query}", request.path),
            None => request.path.to_owned(),
        },
    };
    format!("{scheme}://{host}{port}{path}")
}

/// The request's host without its port, where the port would be wrong: another is written, or the scheme changes and
/// the port was the old one's own.
fn host<'a>(authority: &'a str, redirect: &Redirect, old_scheme: &str) -> &'a str {
    let colon = if authority.starts_with('[') {
        authority.rfind("]:").map(|bracket| bracket + 1)
    } else {
        authority.rfind(':')
    };
    let Some(colon) = colon else { return authority };
    let default = match old_scheme {
        "https" => ":443",
        _ => ":80",
    };
    let changes = redirect.scheme.as_deref().is_some_and(|scheme| scheme != old_scheme);
    match redirect.port.is_some() || (changes && &authority[colon..] == default) {
        true => &authority[..colon],
        false => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RegexRewrite;
    use std::sync::Arc;

    fn matching(path: PathMatch) -> RouteMatch {
        RouteMatch { path, case_sensitive: true, headers: Box::default(), query: Box::default(), grpc: false }
    }

    #[test]
    fn paths_are_rewritten() {
        let regex = |pattern: &str, substitution: &str| {
            let pattern = Arc::new(regex::Regex::new(pattern).unwrap());
            PathRewrite::Regex(Box::new(RegexRewrite { pattern, substitution: substitution.into() }))
        };
        for (rewrite, matched, path, query, wanted) in [
            (PathRewrite::Full("/x".into()), PathMatch::Prefix("/".into()), "/a/b", Some("q=1"), "/x?q=1"),
            (PathRewrite::Full("/x?y".into()), PathMatch::Prefix("/".into()), "/a/b", Some("q=1"), "/x?y"),
            (PathRewrite::Prefix("/x".into()), PathMatch::Segments("/a".into()), "/a/b", None, "/x/b"),
            (PathRewrite::Prefix("/x".into()), PathMatch::Segments("/a".into()), "/a", Some(""), "/x?"),
            (PathRewrite::Prefix("/x".into()), PathMatch::Exact("/a/b".into()), "/a/b", None, "/x"),
            (regex("^/a(/?)(.*)", "/${2}"), PathMatch::Segments("/a".into()), "/a/b/c", Some("q"), "/b/c?q"),
            (regex("^/a(/?)(.*)", "/${2}"), PathMatch::Segments("/a".into()), "/a", None, "/"),
        ] {
            assert_eq!(rewrite_path(&rewrite, &matching(matched), path, query), wanted);
        }
    }

    #[test]
    fn redirects_have_a_location() {
        let redirect = |scheme: Option<&str>, host: Option<&str>, port, path, strip_query| Redirect {
            scheme: scheme.map(Into::into),
            host: host.map(Into::into),
            port,
            path,
            strip_query,
            status: 302,
        };
        let full = Some(PathRewrite::Full("/x".into()));
        for (redirect, scheme, authority, wanted) in [
            (redirect(None, None, None, None, false), "http", "a.test", "http://a.test/p?q=1"),
            (redirect(None, None, None, None, true), "http", "a.test:8080", "http://a.test:8080/p"),
            (redirect(Some("https"), None, None, None, false), "http", "a.test:80", "https://a.test/p?q=1"),
            (redirect(Some("https"), None, None, None, false), "http", "a.test:81", "https://a.test:81/p?q=1"),
            (redirect(Some("https"), None, Some(444), None, false), "http", "[::1]:81", "https://[::1]:444/p?q=1"),
            (redirect(None, Some("b.test"), None, full, false), "https", "a.test", "https://b.test/x?q=1"),
        ] {
            let request =
                Request { method: "GET", scheme, host: "a.test", path: "/p", query: Some("q=1"), headers: &[][..] };
            let location = location(&redirect, &matching(PathMatch::Prefix("/".into())), &request, authority);
            assert_eq!(location, wanted);
        }
    }
}
