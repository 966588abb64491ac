//! Where there is no route: which host or which route came nearest, and what kept it from matching.

use crate::{
    authz::Clause,
    config::{HeaderMatch, HeaderRule, PathMatch, QueryMatch, Route, RouteTable, VirtualHost},
    head::Fields,
    route::{Request, is_grpc},
};
use std::{collections::BTreeSet, sync::Arc};

/// What came nearest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nearest {
    /// The virtual host, if there is one for the host.
    pub virtual_host: Option<String>,
    /// Without one, or if it has no routes: the domains that there are, the most alike first, a few.
    pub domains: Vec<String>,
    /// The route that fails in the fewest clauses, before others one whose path is right. None if there are no routes.
    pub route: Option<String>,
    /// The clauses that fail.
    pub clauses: Vec<Clause>,
    /// How many routes the virtual host has.
    pub routes: usize,
}

/// The name of the clause about the path; it comes first.
const PATH: &str = "path";

/// How many domains are named.
const DOMAINS: usize = 3;

impl Nearest {
    /// What comes nearest to a request that has no route.
    pub(super) fn find(table: &RouteTable, request: &Request<'_, Fields>) -> Self {
        let Some(host) = table.virtual_host(request.host) else {
            return Self { domains: domains(table, request.host), ..Self::default() };
        };
        let misses = host.routes.iter().map(|route| (route, misses(route, request)));
        let nearest = misses.min_by_key(|(route, clauses)| {
            // Who asks for the right path means that route.
            let path_missed = clauses.first().is_some_and(|clause| clause.field == PATH);
            (path_missed, clauses.len(), distance(path(route), request.path))
        });
        let (route, clauses) = nearest.map(|(route, clauses)| (route.name.to_string(), clauses)).unzip();
        Self {
            virtual_host: Some(host.name.to_string()),
            domains: if host.routes.is_empty() { domains(table, request.host) } else { Vec::new() },
            route,
            clauses: clauses.unwrap_or_default(),
            routes: host.routes.len(),
        }
    }
}

/// The domains that are the most like a host.
fn domains(table: &RouteTable, host: &str) -> Vec<String> {
    let hosts: Vec<&Arc<VirtualHost>> =
        [&table.exact, &table.suffixes, &table.prefixes].into_iter().flat_map(|map| map.values()).collect();
    let hosts = hosts.into_iter().filter(|host| !host.routes.is_empty());
    let domains: BTreeSet<&str> = hosts.flat_map(|host| &host.domains).map(|domain| &**domain).collect();
    let mut domains: Vec<&str> = domains.into_iter().collect();
    domains.sort_by_key(|domain| distance(domain, host));
    domains.into_iter().take(DOMAINS).map(str::to_owned).collect()
}

/// The clauses of a route that a request fails, decided by the matchers themselves.
fn misses(route: &Route, request: &Request<'_, Fields>) -> Vec<Clause> {
    let matches = &route.matches;
    let mut clauses = Vec::new();
    if !matches.path.matches(request.path, matches.case_sensitive) {
        let wanted = match &matches.path {
            PathMatch::Exact(path) => format!("{path:?}"),
            PathMatch::Prefix(prefix) => format!("\"{prefix}*\""),
            PathMatch::Segments(prefix) => format!("{prefix:?} or below"),
            PathMatch::Regex(regex) => format!("/{regex}/"),
        };
        clauses.push(Clause { field: PATH.into(), wanted, seen: format!("{:?}", request.path) });
    }
    if matches.grpc && !is_grpc(request.headers) {
        let seen = request.header("content-type").map_or("none".into(), |kind| format!("{kind:?}"));
        let (field, wanted) = ("headers[content-type]".into(), "\"application/grpc\"".into());
        clauses.push(Clause { field, wanted, seen });
    }
    let headers = matches.headers.iter().filter(|header| !header.matches(request));
    clauses.extend(headers.map(|header| Clause {
        field: if &*header.name == ":method" { "method".into() } else { format!("headers[{}]", header.name) },
        wanted: wanted(header),
        seen: request.header(&header.name).map_or("none".into(), |value| format!("{value:?}")),
    }));
    let parameters = matches.query.iter().filter(|parameter| !parameter.matches(request.query));
    clauses.extend(parameters.map(|QueryMatch { name, value }| Clause {
        field: format!("queryParams[{name}]"),
        wanted: value.as_ref().map_or("any value".into(), ToString::to_string),
        seen: request.query.map_or("no query".into(), |query| format!("{query:?}")),
    }));
    clauses
}

fn wanted(header: &HeaderMatch) -> String {
    let wanted = match &header.rule {
        HeaderRule::Present(true) => "a value".into(),
        HeaderRule::Present(false) => "none".into(),
        HeaderRule::Value(value) => value.to_string(),
        HeaderRule::Range(start, end) => format!("{start}..{end}"),
    };
    if header.invert { format!("not {wanted}") } else { wanted }
}

fn path(route: &Route) -> &str {
    match &route.matches.path {
        PathMatch::Exact(path) | PathMatch::Prefix(path) | PathMatch::Segments(path) => path,
        PathMatch::Regex(regex) => regex.as_str(),
    }
}

/// How many characters have to be changed (Levenshtein), of the first of both.
fn distance(a: &str, b: &str) -> usize {
    const MOST: usize = 64;
    let b: Vec<char> = b.chars().take(MOST).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, one) in a.chars().take(MOST).enumerate() {
        let mut before = std::mem::replace(&mut row[0], i + 1);
        for (j, other) in b.iter().enumerate() {
            let replaced = before + usize::from(one != *other);
            before = row[j + 1];
            row[j + 1] = replaced.min(before + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
