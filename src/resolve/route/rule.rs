//! One rule of an HTTPRoute or GRPCRoute, judged by itself.

use super::{
    filter::{self, Filters},
    matching, session,
};
use crate::{kind::created, status::Fault};
use model::{Match, ObjectKey, PathMatch, PathRewrite, Retry, RouteOrder, Session, Timeouts};
use std::{borrow::Cow, sync::Arc};

/// A rule, before its references are followed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rule {
    pub(crate) name: Option<Arc<str>>,
    /// What it matches, as far as that can be understood, each with its place in the order of routes.
    pub(crate) matches: Vec<(RouteOrder, Match)>,
    pub(crate) outcome: Outcome,
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    Valid(Box<Valid>),
    Invalid(Fault),
}

/// A rule without fault.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Valid {
    pub(crate) index: usize,
    pub(crate) filters: Filters,
    pub(crate) backends: Vec<WeightedRef>,
    pub(crate) timeouts: Timeouts,
    pub(crate) retry: Option<Retry>,
    pub(crate) session: Option<Arc<Session>>,
}

/// How often a request is tried again where a route asks for it without a number: as often as one that asks for nothing.
const ATTEMPTS: u32 = 2;

/// A backend reference with its share and its own filters.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WeightedRef {
    pub(crate) reference: api::BackendObjectReference,
    pub(crate) weight: u32,
    /// None if it has none, as nearly all.
    pub(crate) filters: Option<Box<Filters>>,
}

/// A place in an object, and what is wrong there.
pub(crate) struct Mistake {
    pub(crate) reason: &'static str,
    /// Starts with the field, relative to the rule.
    pub(crate) what: String,
}

impl Mistake {
    pub(super) fn value(what: impl Into<String>) -> Self {
        Self { reason: "UnsupportedValue", what: what.into() }
    }
}

/// The rules of an HTTPRoute.
pub(crate) fn of_http(key: &ObjectKey, route: &api::HttpRoute) -> Vec<Rule> {
    let order = order(key, &route.metadata, false);
    let rule = |(index, rule): (u32, &api::HttpRouteRule)| {
        parse(index, rule, all_or_default(&rule.matches).iter().map(matching::parse), &order)
    };
    (0..).zip(&route.spec.rules).map(rule).collect()
}

/// The rules of a GRPCRoute: those of an HTTPRoute, but for what they match.
pub(crate) fn of_grpc(key: &ObjectKey, route: &api::GrpcRoute) -> Vec<Rule> {
    let order = order(key, &route.metadata, true);
    let rule = |(index, rule): (u32, &api::GrpcRouteRule)| {
        let as_http = api::HttpRouteRule {
            name: rule.name.clone(),
            matches: Vec::new(),
            filters: rule.filters.iter().map(Into::into).collect(),
            backend_refs: rule.backend_refs.iter().map(Into::into).collect(),
            timeouts: None,
            retry: None,
            session_persistence: rule.session_persistence.clone(),
        };
        parse(index, &as_http, all_or_default(&rule.matches).iter().map(matching::parse_call), &order)
    };
    (0..).zip(&route.spec.rules).map(rule).collect()
}

/// Places in the order of routes, by rule and match.
fn order(key: &ObjectKey, metadata: &api::ObjectMeta, grpc: bool) -> impl Fn(u32, u32) -> RouteOrder {
    let (created, object) = (created(metadata), key.clone());
    move |rule, matched| RouteOrder { created, object: object.clone(), grpc, rule, matched }
}

/// A rule without matches matches everything.
fn all_or_default<T: Clone + Default>(matches: &[T]) -> Cow<'_, [T]> {
    if matches.is_empty() { vec![T::default()].into() } else { matches.into() }
}

fn parse(
    index: u32,
    rule: &api::HttpRouteRule,
    written: impl Iterator<Item = Result<Match, Mistake>>,
    order: &impl Fn(u32, u32) -> RouteOrder,
) -> Rule {
    let (mut matches, mut mistake) = (Vec::with_capacity(written.size_hint().0), None);
    for (match_index, parsed) in (0..).zip(written) {
        match parsed {
            Ok(parsed) => matches.push((order(index, match_index), parsed)),
            Err(wrong) => {
                mistake.get_or_insert_with(|| Mistake::value(format!("matches[{match_index}].{}", wrong.what)));
            }
        }
    }
    let outcome = match (mistake, valid(index as usize, rule, &matches, &order(index, 0).object)) {
        (None, Ok(valid)) => Outcome::Valid(Box::new(valid)),
        (Some(mistake), _) | (None, Err(mistake)) => {
            Outcome::Invalid(Fault::new(mistake.reason, format!("spec.rules[{index}].{}", mistake.what)))
        }
    };
    Rule { name: rule.name.as_deref().map(Arc::from), matches, outcome }
}

fn valid(
    index: usize,
    rule: &api::HttpRouteRule,
    matches: &[(RouteOrder, Match)],
    route: &ObjectKey,
) -> Result<Valid, Mistake> {
    let filters =
        filter::parse(&rule.filters).map_err(|wrong| Mistake { what: format!("filters{}", wrong.what), ..wrong })?;
    if filters.redirect.is_some() && !rule.backend_refs.is_empty() {
        let what = "backendRefs: must be empty beside a RequestRedirect filter";
        return Err(Mistake { reason: "IncompatibleFilters", what: what.into() });
    }
    let only_prefixes = matches.iter().all(|(_, matches)| matches!(matches.path, PathMatch::Prefix(_)));
    if filters.replaces_prefix() && !only_prefixes {
        return Err(Mistake::value("filters: ReplacePrefixMatch needs every match of the rule to be a PathPrefix"));
    }
    let mut backends = Vec::with_capacity(rule.backend_refs.len());
    for (backend_index, backend) in rule.backend_refs.iter().enumerate() {
        let at = |what: &str| format!("backendRefs[{backend_index}].filters{what}");
        let filters = filter::parse(&backend.filters).map_err(|wrong| Mistake { what: at(&wrong.what), ..wrong })?;
        let rewrites_path = filters.rewrite.as_ref().is_some_and(|rewrite| rewrite.path.is_some());
        let others = filters.redirect.is_some() || !filters.mirrors.is_empty();
        if others || rewrites_path || filters.cors.is_some() || filters.auth.is_some() {
            let what =
                at(": only header modifiers and a URLRewrite's hostname are supported here; move others to the rule");
            return Err(Mistake::value(what));
        }
        let filters = (!backend.filters.is_empty()).then(|| Box::new(filters));
        backends.push(WeightedRef { reference: backend.backend.clone(), weight: backend.weight, filters });
    }
    let session = rule.session_persistence.as_ref().map(|written| {
        let unnamed = || format!("session.{}.{}.{index}", route.namespace, route.name);
        let session = session::parse(written, unnamed);
        session.map_err(|wrong| Mistake { what: format!("sessionPersistence.{}", wrong.what), ..wrong })
    });
    let session = session.transpose()?.map(Arc::new);
    if session.is_some() && backends.iter().filter(|backend| backend.weight > 0).count() > 1 {
        let what = "sessionPersistence: supported with one backend that has a weight; a session would not stay with one of several";
        return Err(Mistake::value(what));
    }
    let timeouts = timeouts(rule.timeouts.as_deref())?;
    Ok(Valid { index, filters, backends, timeouts, retry: retry(rule.retry.as_deref())?, session })
}

fn retry(written: Option<&api::HttpRouteRetry>) -> Result<Option<Retry>, Mistake> {
    let Some(written) = written else { return Ok(None) };
    if let Some(code) = written.codes.iter().find(|code| !(400..=599).contains(*code)) {
        return Err(Mistake::value(format!("retry.codes: wanted 400 to 599, saw {code}")));
    }
    let mut codes = written.codes.clone();
    codes.sort_unstable();
    codes.dedup();
    let backoff = written.backoff.map(|pause| pause.0).filter(|pause| !pause.is_zero());
    Ok(Some(Retry { codes, attempts: written.attempts.unwrap_or(ATTEMPTS), backoff }))
}

/// Zero turns a timeout off (Gateway API `HTTPRouteTimeouts`).
fn timeouts(timeouts: Option<&api::HttpRouteTimeouts>) -> Result<Timeouts, Mistake> {
    let limit = |timeout: Option<api::Duration>| timeout.map(|timeout| timeout.0).filter(|timeout| !timeout.is_zero());
    let Some(timeouts) = timeouts else { return Ok(Timeouts::default()) };
    let (request, backend) = (limit(timeouts.request), limit(timeouts.backend_request));
    match (request, backend) {
        (Some(all), Some(one)) if one > all => Err(Mistake::value(format!(
            "timeouts.backendRequest: {one:?} is longer than timeouts.request, {all:?}; make it at most as long"
        ))),
        _ => Ok(Timeouts { request, backend }),
    }
}

impl Filters {
    fn replaces_prefix(&self) -> bool {
        let rewrite = self.rewrite.as_ref().and_then(|rewrite| rewrite.path.as_ref());
        let redirect = self.redirect.as_ref().and_then(|redirect| redirect.path.as_ref());
        [rewrite, redirect].into_iter().flatten().any(|path| matches!(path, PathRewrite::Prefix(_)))
    }
}
