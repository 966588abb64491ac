//! Matches that no request reaches, because another one that comes before takes all of them.

use super::finding::{Finding, Level};
use crate::{
    offline::{RouteOrigin, World},
    path::field,
};
use prost::Message;
use proto::{
    TypeUrl,
    envoy::envoy::config::route::v3::{Route, RouteMatch, VirtualHost, route_match::PathSpecifier},
};
use std::collections::BTreeMap;

/// Above this a virtual host isn't searched: the search is quadratic.
const MOST: usize = 5_000;

/// What is known of a match.
#[derive(Default)]
struct Seen {
    hosts: usize,
    shadowed: usize,
    /// Who takes its requests.
    by: Option<RouteOrigin>,
}

/// Matches that are shadowed on every host that they are for.
pub fn findings(world: &World) -> Vec<Finding> {
    let mut seen: BTreeMap<RouteOrigin, Seen> = BTreeMap::new();
    let hosts = world.resources.iter().filter(|(key, _)| key.type_url == TypeUrl::VirtualHost);
    for (_, resource) in hosts {
        let Ok(host) = VirtualHost::decode(resource.body.clone()) else { continue };
        if host.routes.len() <= MOST {
            look(world, &host.routes, &mut seen);
        }
    }
    let shadowed = seen.into_iter().filter(|(_, seen)| seen.shadowed == seen.hosts);
    let finding = |(route, seen): (RouteOrigin, Seen)| {
        let by = seen.by?;
        let RouteOrigin { object, rule, matched } = &route;
        let who = if by.object == *object { "an earlier one of this route".to_owned() } else { by.object.to_string() };
        let message =
            format!("never matches: {who} (spec.rules[{}].matches[{}]) takes all its requests", by.rule, by.matched);
        let at = field(&format!("spec.rules[{rule}].matches[{matched}]"));
        Some(Finding::new(world, Level::Warning, "Shadowed", object, &at, message))
    };
    shadowed.filter_map(finding).collect()
}

fn look(world: &World, routes: &[Route], seen: &mut BTreeMap<RouteOrigin, Seen>) {
    for (index, route) in routes.iter().enumerate() {
        let (Some(origin), Some(narrow)) = (world.route(&route.name), &route.r#match) else { continue };
        let before = routes[..index].iter();
        let by = before.filter(|other| other.r#match.as_ref().is_some_and(|wide| covers(wide, narrow)));
        // A rule's own copies on one host (one for each listener) are the same thing.
        let by = by.filter_map(|other| world.route(&other.name)).find(|other| *other != origin);
        let seen = seen.entry(origin).or_default();
        seen.hosts += 1;
        seen.shadowed += usize::from(by.is_some());
        seen.by = seen.by.take().or(by);
    }
}

/// Whether every request that `narrow` matches is matched by `wide`; false if it isn't certain.
fn covers(wide: &RouteMatch, narrow: &RouteMatch) -> bool {
    let path = match (&wide.path_specifier, &narrow.path_specifier) {
        (Some(PathSpecifier::Prefix(prefix)), _) if prefix == "/" => true,
        (Some(PathSpecifier::PathSeparatedPrefix(prefix)), Some(PathSpecifier::PathSeparatedPrefix(path))) => {
            path.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
        (Some(PathSpecifier::PathSeparatedPrefix(prefix)), Some(PathSpecifier::Path(path))) => {
            path.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
        (wide, narrow) => wide == narrow,
    };
    path && wide.headers.iter().all(|one| narrow.headers.contains(one))
        && wide.query_parameters.iter().all(|one| narrow.query_parameters.contains(one))
        && rest(wide) == RouteMatch::default()
}

/// What of a match is neither path, header nor query.
fn rest(of: &RouteMatch) -> RouteMatch {
    RouteMatch { path_specifier: None, headers: Vec::new(), query_parameters: Vec::new(), ..of.clone() }
}
