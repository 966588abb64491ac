//! Which match of a host is tried first (Gateway API `HTTPRouteRule.matches`, `GRPCRouteRule.matches`).

use model::{PathMatch, Route, ValueMatch, VirtualHost};
use std::{cmp::Reverse, sync::Arc};

/// Puts the routes of one host in order of precedence.
///
/// The specification leaves regular expressions to us: they stand between exact paths and prefixes, the longest
/// pattern first, because who writes one means something narrower than a prefix. For calls of gRPC the service decides
/// before the method, and for each of them a name comes before patterns.
pub(crate) fn sort(mut routes: Vec<Arc<Route>>) -> VirtualHost {
    // `order` differs for every two matches, so the result doesn't depend on the order of the input.
    routes.sort_unstable_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.order.cmp(&b.order)));
    routes.dedup_by(|a, b| a.order == b.order);
    VirtualHost { routes }
}

type Rank = ([Width; 2], bool, Reverse<usize>, Reverse<usize>);

/// The kind of a match, and its length. Two different texts are never equal to the same: their lengths don't matter.
type Width = (u8, Reverse<usize>);

const EXACT: Width = (0, Reverse(0));

fn rank(route: &Route) -> Rank {
    let matches = &route.matches;
    let widths = match &matches.path {
        PathMatch::Exact(_) => [EXACT; 2],
        PathMatch::Regex(pattern) => [(1, Reverse(pattern.chars().count())), EXACT],
        PathMatch::Prefix(prefix) => [(2, Reverse(prefix.chars().count())), EXACT],
        PathMatch::Call { service, method } => [part(service.as_ref()), part(method.as_ref())],
    };
    (widths, matches.method.is_none(), Reverse(matches.headers.len()), Reverse(matches.query.len()))
}

/// Service or method of a call.
fn part(wanted: Option<&ValueMatch>) -> Width {
    match wanted {
        Some(ValueMatch::Exact(_)) => EXACT,
        Some(ValueMatch::Regex(pattern)) => (1, Reverse(pattern.chars().count())),
        None => (2, Reverse(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Action, HeaderEdits, HeaderMatch, Match, ObjectKey, QueryMatch, RouteOrder};

    fn route(name: &str, created: i64, path: PathMatch, method: bool, headers: usize, query: usize) -> Arc<Route> {
        let value = || ValueMatch::Exact("x".into());
        Arc::new(Route {
            order: RouteOrder { created, object: ObjectKey::new("ns", name), grpc: false, rule: 0, matched: 0 },
            rule_name: None,
            matches: Match {
                path,
                method: method.then(|| "GET".into()),
                headers: (0..headers).map(|n| HeaderMatch { name: format!("h{n}").into(), value: value() }).collect(),
                query: (0..query).map(|n| QueryMatch { name: format!("q{n}").into(), value: value() }).collect(),
            },
            request_headers: HeaderEdits::default(),
            response_headers: HeaderEdits::default(),
            mirrors: Vec::new(),
            steps: model::Steps::default(),
            action: Action::Respond { status: 500 },
        })
    }

    #[test]
    fn the_order_of_the_specification() {
        let wanted = [
            route("exact", 9, PathMatch::Exact("/a".into()), false, 0, 0),
            route("regex", 9, PathMatch::Regex("/a+".into()), false, 0, 0),
            route("longer", 9, PathMatch::Prefix("/abc".into()), false, 0, 0),
            route("method", 9, PathMatch::Prefix("/a".into()), true, 0, 0),
            route("headers", 9, PathMatch::Prefix("/a".into()), false, 2, 0),
            route("header-query", 9, PathMatch::Prefix("/a".into()), false, 1, 1),
            route("query", 9, PathMatch::Prefix("/a".into()), false, 0, 3),
            route("older", 1, PathMatch::Prefix("/a".into()), false, 0, 0),
            route("a-name", 9, PathMatch::Prefix("/a".into()), false, 0, 0),
            route("b-name", 9, PathMatch::Prefix("/a".into()), false, 0, 0),
        ];
        let mut shuffled = wanted.to_vec();
        shuffled.reverse();
        shuffled.swap(1, 6);
        assert_eq!(sort(shuffled).routes, wanted);
    }

    #[test]
    fn the_order_of_calls() {
        let exact = |text: &str| Some(ValueMatch::Exact(text.into()));
        let regex = |text: &str| Some(ValueMatch::Regex(text.into()));
        let call =
            |name, service, method, headers| route(name, 9, PathMatch::Call { service, method }, false, headers, 0);
        let wanted = [
            call("both", exact("a.B"), exact("C"), 0),
            call("pattern of a method", exact("a.B"), regex("C|Dddddddd"), 0),
            call("service, headers", exact("a.B"), None, 2),
            call("service", exact("a.B"), None, 0),
            call("long pattern", regex("a[.]B+"), None, 0),
            call("pattern, both", regex("a.B"), exact("C"), 0),
            call("pattern, headers", regex("a.B"), None, 1),
            call("pattern", regex("a.B"), None, 0),
            call("method", None, exact("C"), 0),
            call("headers", None, None, 1),
            call("any", None, None, 0),
        ];
        let mut shuffled = wanted.to_vec();
        shuffled.reverse();
        shuffled.swap(2, 9);
        assert_eq!(sort(shuffled).routes, wanted);
    }
}
