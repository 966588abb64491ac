//! Redirects, with the port that Gateway API wants in `Location` (`HTTPRequestRedirectFilter.port`).
//!
//! Envoy drops the port of the request's Host only where it writes another one, or where the scheme changes and the port
//! was the old one's own. A `Location` without port therefore takes a host that we write: the virtual host's, if it is
//! one. Under a wildcard we can't know it; there a Host with a port gets the port of the scheme spelt out, which leads to
//! the same place.

use crate::{rewrite, wire};
use model::{PathMatch, PathRewrite, Redirect, VirtualHostKey};
use proto::envoy::envoy::{
    config::route::v3::{
        HeaderMatcher, RedirectAction,
        header_matcher::HeaderMatchSpecifier,
        redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier},
    },
    r#type::matcher::v3::string_matcher::MatchPattern,
};

/// A redirect.
pub(crate) struct Redirected {
    /// For every request.
    pub(crate) action: RedirectAction,
    /// Before it: another one for requests with such headers.
    pub(crate) with_port: Option<(Vec<HeaderMatcher>, RedirectAction)>,
}

/// The redirect `to` on a virtual host.
pub(crate) fn redirect(key: &VirtualHostKey, matched: &PathMatch, to: &Redirect) -> Redirected {
    let mut action = action(matched, to);
    if to.host.is_some() || to.port.is_some() {
        return Redirected { action, with_port: None };
    }
    if !key.host.is_wildcard() {
        key.host.as_str().clone_into(&mut action.host_redirect);
        return Redirected { action, with_port: None };
    }
    let well_known = |https: bool| if https { 443 } else { 80 };
    let old = key.https.is_some();
    let new = to.scheme.as_deref().map_or(old, |scheme| scheme == "https");
    let mut headers = vec![authority(MatchPattern::SafeRegex(wire::regex(".*:[0-9]+")), false)];
    if old != new {
        // The one port that Envoy drops by itself.
        headers.push(authority(MatchPattern::Suffix(format!(":{}", well_known(old))), true));
    }
    let with_port = RedirectAction { port_redirect: well_known(new), ..action.clone() };
    Redirected { action, with_port: Some((headers, with_port)) }
}

fn authority(pattern: MatchPattern, invert: bool) -> HeaderMatcher {
    HeaderMatcher {
        name: ":authority".to_owned(),
        invert_match: invert,
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(wire::string(pattern))),
        ..Default::default()
    }
}

fn action(matched: &PathMatch, to: &Redirect) -> RedirectAction {
    let code = match to.status {
        301 => RedirectResponseCode::MovedPermanently,
        303 => RedirectResponseCode::SeeOther,
        307 => RedirectResponseCode::TemporaryRedirect,
        308 => RedirectResponseCode::PermanentRedirect,
        _ => RedirectResponseCode::Found,
    };
    let path = to.path.as_ref().and_then(|path| match (path, rewrite::path(matched, path)) {
        (PathRewrite::Full(full), _) => Some(PathRewriteSpecifier::PathRedirect(full.to_string())),
        (_, rewrite::Path::Keep) => None,
        (_, rewrite::Path::Prefix(prefix)) => Some(PathRewriteSpecifier::PrefixRewrite(prefix)),
        (_, rewrite::Path::Regex(regex)) => Some(PathRewriteSpecifier::RegexRewrite(regex)),
    });
    RedirectAction {
        scheme_rewrite_specifier: to.scheme.as_ref().map(|to| SchemeRewriteSpecifier::SchemeRedirect(to.to_string())),
        host_redirect: to.host.as_deref().unwrap_or_default().to_owned(),
        port_redirect: to.port.unwrap_or_default().into(),
        path_rewrite_specifier: path,
        response_code: code.into(),
        ..Default::default()
    }
}
