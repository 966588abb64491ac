//! Finding the first route that matches without trying all.
//!
//! Routes are put into groups by what their path must be; a request is looked up in each group by hash, and what it
//! finds there are the only routes whose path can match. They are tried in the order of the routes, so that the answer
//! is that of trying all (the law in the tests).

use super::{Headers, Request};
use crate::config::{Name, PathMatch, Route, VirtualHost};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use std::collections::BTreeSet;

/// Below this number of routes trying all is as fast.
const FEW: usize = 8;

/// Positions in the list of routes, ascending.
type Positions = Vec<u32>;

/// The groups; none for few routes.
#[derive(Clone, Debug, Default)]
pub struct RouteIndex(Option<Box<Groups>>);

#[derive(Clone, Debug, Default)]
struct Groups {
    exact: FxHashMap<Name, Positions>,
    /// Prefixes of whole segments.
    segments: FxHashMap<Name, Positions>,
    longest_segments: usize,
    prefixes: FxHashMap<Name, Positions>,
    prefix_lengths: BTreeSet<usize>,
    /// Patterns, and paths without regard to case.
    rest: Positions,
}

impl RouteIndex {
    pub(crate) fn new(routes: &[Route]) -> Self {
        if routes.len() < FEW {
            return Self(None);
        }
        let mut groups = Groups::default();
        for (position, route) in (0u32..).zip(routes) {
            let matches = &route.matches;
            match &matches.path {
                _ if !matches.case_sensitive => groups.rest.push(position),
                PathMatch::Regex(_) => groups.rest.push(position),
                PathMatch::Exact(path) => groups.exact.entry(path.clone()).or_default().push(position),
                PathMatch::Prefix(prefix) => {
                    groups.prefix_lengths.insert(prefix.len());
                    groups.prefixes.entry(prefix.clone()).or_default().push(position);
                }
                PathMatch::Segments(prefix) => {
                    groups.longest_segments = groups.longest_segments.max(prefix.len());
                    groups.segments.entry(prefix.clone()).or_default().push(position);
                }
            }
        }
        Self(Some(Box::new(groups)))
    }
}

impl VirtualHost {
    /// The first route that matches.
    pub fn select<H: Headers + ?Sized>(&self, request: &Request<'_, H>) -> Option<&Route> {
        match &self.index.0 {
            None => self.routes.iter().find(|route| route.matches.matches(request)),
            Some(groups) => groups.select(&self.routes, request),
        }
    }
}

impl Groups {
    fn select<'r, H: Headers + ?Sized>(&self, routes: &'r [Route], request: &Request<'_, H>) -> Option<&'r Route> {
        let mut lists = self.candidates(request.path);
        loop {
            // The earliest route that is left in any list; there are few lists with anything in them.
            let next = lists.iter_mut().filter(|list| !list.left.is_empty()).min_by_key(|list| list.left[0])?;
            let (&position, left) = next.left.split_first()?;
            next.left = left;
            let route = &routes[position as usize];
            let matched = match next.path_matches {
                true => route.matches.matches_rest(request),
                false => route.matches.matches(request),
            };
            if matched {
                return Some(route);
            }
        }
    }

    /// All routes whose path can match. The work is bounded by the longest prefix of the configuration, whatever the
    /// path.
    fn candidates<'a>(&'a self, path: &str) -> SmallVec<[List<'a>; 8]> {
        let mut lists = SmallVec::new();
        let mut add = |found: Option<&'a Positions>| {
            if let Some(left) = found {
                lists.push(List { left, path_matches: true });
            }
        };
        add(self.exact.get(path));
        let borders = path.match_indices('/').map(|(slash, _)| slash).filter(|&slash| slash > 0);
        for border in borders.chain([path.len()]).take_while(|&border| border <= self.longest_segments) {
            add(self.segments.get(&path[..border]));
        }
        for &length in self.prefix_lengths.range(..=path.len()) {
            add(path.get(..length).and_then(|prefix| self.prefixes.get(prefix)));
        }
        if !self.rest.is_empty() {
            lists.push(List { left: &self.rest, path_matches: false });
        }
        lists
    }
}

/// Routes of one group that a request has found, those that are left to try.
struct List<'a> {
    left: &'a [u32],
    /// Whether the path of all of them is known to match.
    path_matches: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Action, DirectResponse, HeaderMatch, HeaderRule, RouteMatch, StringMatch};
    use proptest::prelude::*;
    use regex::Regex;
    use std::sync::Arc;

    fn route(path: PathMatch, case_sensitive: bool, header: Option<&str>) -> Route {
        let rule = |value: &str| HeaderRule::Value(StringMatch::Exact(value.into(), false));
        let header = header.map(|value| HeaderMatch {
            name: "h".into(),
            rule: rule(value),
            invert: false,
            missing_is_empty: false,
        });
        Route {
            name: "".into(),
            matches: RouteMatch {
                path,
                case_sensitive,
                headers: header.into_iter().collect(),
                query: Box::default(),
                grpc: false,
            },
            action: Action::Direct(DirectResponse { status: 200, body: Default::default() }),
            request_headers: Default::default(),
            response_headers: Default::default(),
            steps: None,
        }
    }

    /// Few segments, so that paths meet: also empty ones, and characters of several bytes.
    fn path() -> impl Strategy<Value = String> {
        let segment = prop::sample::select(vec!["", "a", "b", "ab", "A", "é", "a.b"]);
        prop::collection::vec(segment, 0..4).prop_map(|segments| format!("/{}", segments.join("/")))
    }

    fn patterns() -> Vec<Arc<Regex>> {
        let patterns = [r"\A(?:/a.*)\z", r"\A(?:.*b)\z", r"\A(?:/(a|b)/.*)\z"];
        patterns.into_iter().map(|pattern| Arc::new(Regex::new(pattern).unwrap())).collect()
    }

    fn path_match() -> impl Strategy<Value = PathMatch> {
        prop_oneof![
            path().prop_map(|path| PathMatch::Exact(path.into())),
            path().prop_map(|path| PathMatch::Prefix(path.into())),
            Just(PathMatch::Prefix("".into())),
            path().prop_filter_map("a prefix of whole segments ends without slash", |path| {
                (!path.ends_with('/')).then(|| PathMatch::Segments(path.into()))
            }),
            prop::sample::select(patterns()).prop_map(PathMatch::Regex),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn the_index_finds_what_trying_all_finds(
            routes in prop::collection::vec(
                (path_match(), prop::bool::weighted(0.9), prop::option::of(prop::sample::select(vec!["1", "2"]))),
                0..24,
            ),
            paths in prop::collection::vec((path(), prop::sample::select(vec!["1", "2", "3"])), 8),
        ) {
            let routes: Vec<Route> = routes.into_iter().map(|(path, case, header)| route(path, case, header)).collect();
            let index = RouteIndex::new(&routes);
            let host = VirtualHost {
                name: "host".into(),
                domains: Box::default(),
                routes: routes.into(),
                request_headers: Default::default(),
                response_headers: Default::default(),
                retry: None,
                attempt_count: false,
                index,
            };
            for (path, header) in &paths {
                let lines = [("h", *header)];
                let request =
                    Request { method: "GET", scheme: "http", host: "host", path, query: None, headers: &lines[..] };
                let wanted = host.routes.iter().position(|route| route.matches.matches(&request));
                let found = host.select(&request).map(|found| {
                    host.routes.iter().position(|route| std::ptr::eq(route, found)).unwrap()
                });
                prop_assert_eq!(found, wanted, "{}", path);
            }
        }
    }
}
