//! Which match of a host is tried first (Gateway API `HTTPRouteRule.matches`).

use model::{PathMatch, Route, VirtualHost};
use std::{cmp::Reverse, sync::Arc};

/// Puts the routes of one host in order of precedence.
///
/// The specification leaves regular expressions to us: they stand between exact paths and prefixes, the longest
/// pattern first, because who writes one means something narrower than a prefix.
pub(crate) fn sort(mut routes: Vec<Arc<Route>>) -> VirtualHost {
    // `order` differs for every two matches, so the result doesn't depend on the order of the input.
    routes.sort_unstable_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.order.cmp(&b.order)));
    routes.dedup_by(|a, b| a.order == b.order);
    VirtualHost { routes }
}

type Rank = (u8, Reverse<usize>, bool, Reverse<usize>, Reverse<usize>);

fn rank(route: &Route) -> Rank {
    let (kind, length) = match &route.matches.path {
        // Two different exact paths never match the same request: their lengths don't matter.
        PathMatch::Exact(_) => (0, 0),
        PathMatch::Regex(pattern) => (1, pattern.chars().count()),
        PathMatch::Prefix(prefix) => (2, prefix.chars().count()),
    };
    let matches = &route.matches;
    (kind, Reverse(length), matches.method.is_none(), Reverse(matches.headers.len()), Reverse(matches.query.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Action, HeaderEdits, HeaderMatch, Match, ObjectKey, QueryMatch, RouteOrder, ValueMatch};

    fn route(name: &str, created: i64, path: PathMatch, method: bool, headers: usize, query: usize) -> Arc<Route> {
        let value = || ValueMatch::Exact("x".into());
        Arc::new(Route {
            order: RouteOrder { created, object: ObjectKey::new("ns", name), rule: 0, matched: 0 },
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
}
