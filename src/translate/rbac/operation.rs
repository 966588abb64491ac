//! What a request does: `to`.

use super::{text, tree::Tree};
use crate::{Settings, wire};
use model::{Operation, PolicyAction, StringMatch, ValueSet};
use proto::envoy::envoy::{
    config::{
        rbac::v3::{Permission, permission::Rule},
        route::v3::HeaderMatcher,
    },
    r#type::matcher::v3::{PathMatcher, StringMatcher, path_matcher, string_matcher::MatchPattern},
};

/// All fields of an operation must match.
pub(super) fn operation(settings: &Settings, action: PolicyAction, to: &Operation) -> Permission {
    let mut all = Vec::new();
    Tree::set(&mut all, &to.hosts, |host| header(text::header(":authority", text::host(host))));
    Tree::set(&mut all, &to.ports, |port| self::port(settings, *port));
    Tree::set(&mut all, &to.methods, |method| header(text::header(":method", text::string(method))));
    paths(&mut all, action, &to.paths);
    Permission::and(all)
}

/// The Gateway's port as the one that is bound.
pub(super) fn port(settings: &Settings, port: u16) -> Permission {
    Permission { rule: Some(Rule::DestinationPort(settings.bound_port(port).into())) }
}

pub(super) fn header(header: HeaderMatcher) -> Permission {
    Permission { rule: Some(Rule::Header(header)) }
}

/// Paths, with the doubts that they can have: backends differ in what they make of an escaped slash, and of a dot segment
/// with parameters that was escaped. A path that has one is matched by a DENY or AUDIT rule that names paths and not by an ALLOW rule that does, unless it names every path.
fn paths(all: &mut Vec<Permission>, action: PolicyAction, paths: &ValueSet<StringMatch>) {
    let judge = |leaf: Permission, certain: bool| match (certain, action) {
        (true, _) => leaf,
        (false, PolicyAction::Deny | PolicyAction::Audit | PolicyAction::Custom) => {
            Permission::or(vec![leaf, unjudged()])
        }
        (false, PolicyAction::Allow) => Permission::and(vec![leaf, unjudged().not()]),
    };
    let any_of = |values: &[StringMatch]| Permission::or(values.iter().map(path).collect());
    let certain = |values: &[StringMatch]| values.contains(&StringMatch::Present);
    if !paths.any.is_empty() {
        all.push(judge(any_of(&paths.any), certain(&paths.any)));
    }
    if !paths.none.is_empty() {
        all.push(judge(any_of(&paths.none).not(), certain(&paths.none)));
    }
}

fn path(wanted: &StringMatch) -> Permission {
    match wanted {
        // There is always a path.
        StringMatch::Present => Permission::any(),
        wanted => url_path(text::string(wanted)),
    }
}

fn unjudged() -> Permission {
    let contains = |text: &str| {
        url_path(StringMatcher { ignore_case: true, ..wire::string(MatchPattern::Contains(text.to_owned())) })
    };
    Permission::or(vec![contains("%2f"), contains("%5c"), contains("/.;"), contains("/..;")])
}

fn url_path(path: StringMatcher) -> Permission {
    Permission { rule: Some(Rule::UrlPath(PathMatcher { rule: Some(path_matcher::Rule::Path(path)) })) }
}
