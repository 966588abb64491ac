//! Matchers of strings, paths, headers and query parameters: Envoy's rules.

use super::{Headers, Request, is_grpc};
use crate::config::{HeaderMatch, HeaderRule, PathMatch, QueryMatch, RouteMatch, StringMatch};
use std::borrow::Cow;

impl StringMatch {
    /// Whether the value matches.
    pub fn matches(&self, value: &str) -> bool {
        match self {
            StringMatch::Exact(want, false) => value == &**want,
            StringMatch::Exact(want, true) => value.eq_ignore_ascii_case(want),
            StringMatch::Prefix(want, false) => value.starts_with(&**want),
            StringMatch::Prefix(want, true) => {
                value.as_bytes().get(..want.len()).is_some_and(|head| head.eq_ignore_ascii_case(want.as_bytes()))
            }
            StringMatch::Suffix(want, false) => value.ends_with(&**want),
            StringMatch::Suffix(want, true) => {
                let start = value.len().checked_sub(want.len());
                start.is_some_and(|start| value.as_bytes()[start..].eq_ignore_ascii_case(want.as_bytes()))
            }
            StringMatch::Contains(want, false) => value.contains(&**want),
            StringMatch::Contains(want, true) => value.to_ascii_lowercase().contains(&**want),
            StringMatch::Regex(regex) => full_match(regex, value),
        }
    }

    /// The same for bytes of a header. Bytes that are no UTF-8 are compared as bytes; no pattern text matches them.
    pub fn matches_bytes(&self, value: &[u8]) -> bool {
        self.matches(&String::from_utf8_lossy(value))
    }
}

/// Whether the pattern matches the whole text. The door wraps patterns in `^(?:…)$`.
fn full_match(regex: &regex::Regex, text: &str) -> bool {
    regex.is_match(text)
}

impl PathMatch {
    /// Whether the path, without its query, matches.
    pub fn matches(&self, path: &str, case_sensitive: bool) -> bool {
        match self {
            PathMatch::Exact(want) if case_sensitive => path == &**want,
            PathMatch::Exact(want) => path.eq_ignore_ascii_case(want),
            PathMatch::Prefix(want) => starts_with(path, want, case_sensitive),
            PathMatch::Segments(want) => {
                starts_with(path, want, case_sensitive) && matches!(path.as_bytes().get(want.len()), None | Some(b'/'))
            }
            PathMatch::Regex(regex) => full_match(regex, path),
        }
    }
}

fn starts_with(path: &str, prefix: &str, case_sensitive: bool) -> bool {
    match path.as_bytes().get(..prefix.len()) {
        None => false,
        Some(head) if case_sensitive => head == prefix.as_bytes(),
        Some(head) => head.eq_ignore_ascii_case(prefix.as_bytes()),
    }
}

impl HeaderMatch {
    /// Whether the request's header matches. Each of its lines is looked at by itself, and one that matches is enough,
    /// as in Envoy since 1.39 (CVE-2026-26308: of two lines joined, neither may be what a policy names). An absent
    /// header matches nothing but `present: false`, and inversion does not make it match.
    pub fn matches<H: Headers + ?Sized>(&self, request: &Request<'_, H>) -> bool {
        let any_line = |test: &dyn Fn(&str) -> bool| match request.any_line(&self.name, test) {
            None if self.missing_is_empty => Some(test("")),
            verdict => verdict,
        };
        let matched = match &self.rule {
            HeaderRule::Present(present) => Some(any_line(&|_| true).is_some() == *present),
            HeaderRule::Value(want) => any_line(&|line| want.matches(line)),
            HeaderRule::Range(start, end) => {
                any_line(&|line| line.parse::<i64>().is_ok_and(|number| (*start..*end).contains(&number)))
            }
        };
        matched.is_some_and(|matched| matched != self.invert)
    }
}

impl QueryMatch {
    /// Whether the query (without `?`) has the parameter; the first of a name counts; nothing is unescaped, as in Envoy.
    pub fn matches(&self, query: Option<&str>) -> bool {
        let parameters = query.unwrap_or_default().split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        match (parameters.filter(|(name, _)| *name == &*self.name).map(|(_, value)| value).next(), &self.value) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(value), Some(want)) => want.matches(value),
        }
    }
}

impl RouteMatch {
    /// Whether all parts match.
    pub fn matches<H: Headers + ?Sized>(&self, request: &Request<'_, H>) -> bool {
        self.path.matches(request.path, self.case_sensitive) && self.matches_rest(request)
    }

    /// Whether all parts but the path match.
    pub(super) fn matches_rest<H: Headers + ?Sized>(&self, request: &Request<'_, H>) -> bool {
        (!self.grpc || is_grpc(request.headers))
            && self.headers.iter().all(|header| header.matches(request))
            && self.query.iter().all(|parameter| parameter.matches(request.query))
    }
}

impl<H: Headers + ?Sized> Request<'_, H> {
    /// Whether any line of a header, or a pseudo header, passes the test; none if there is no such header.
    fn any_line(&self, name: &str, test: &dyn Fn(&str) -> bool) -> Option<bool> {
        if name.starts_with(':') || name == "host" {
            return self.header(name).map(|value| test(&value));
        }
        let mut lines = self.headers.values(name).peekable();
        lines.peek()?;
        Some(lines.any(|line| test(&String::from_utf8_lossy(line))))
    }

    /// A header or pseudo header, its lines joined by commas; bytes that are no UTF-8 are replaced.
    pub fn header<'a>(&'a self, name: &'a str) -> Option<Cow<'a, str>> {
        match name {
            ":method" => return Some(self.method.into()),
            ":authority" | "host" => return Some(self.host.into()),
            ":scheme" => return Some(self.scheme.into()),
            ":path" => {
                return Some(match self.query {
                    None => self.path.into(),
                    Some(query) => format!("{}?{query}", self.path).into(),
                });
            }
            _ => {}
        }
        let mut joined: Option<Vec<u8>> = None;
        let mut first: Option<&[u8]> = None;
        for value in self.headers.values(name) {
            match (&mut joined, first) {
                (None, None) => first = Some(value),
                (None, Some(one)) => joined = Some([one, value].join(&b',')),
                (Some(all), _) => {
                    all.push(b',');
                    all.extend_from_slice(value);
                }
            }
        }
        match joined {
            Some(all) => Some(String::from_utf8_lossy(&all).into_owned().into()),
            None => first.map(String::from_utf8_lossy),
        }
    }
}
