//! Rewrites of the path, with Gateway API's table of slashes (`HTTPPathModifier.replacePrefixMatch`).

use crate::wire;
use model::{PathMatch, PathRewrite};
use proto::envoy::envoy::r#type::matcher::v3::RegexMatchAndSubstitute;

/// How Envoy rewrites a path.
#[derive(Debug, PartialEq)]
pub(crate) enum Path {
    /// Not at all.
    Keep,
    /// `prefix_rewrite`: the text of the prefix that matched is replaced.
    Prefix(String),
    /// `regex_rewrite`
    Regex(RegexMatchAndSubstitute),
}

/// The rewrite of a path that matched `matched`.
pub(crate) fn path(matched: &PathMatch, to: &PathRewrite) -> Path {
    match (to, matched) {
        (PathRewrite::Prefix(to), PathMatch::Prefix(from)) => prefix(from, to),
        // A prefix of what is no prefix is the whole of it; the API server refuses that anyway.
        (PathRewrite::Full(to) | PathRewrite::Prefix(to), _) => Path::Regex(substitute("^.*$".to_owned(), to)),
    }
}

/// A slash at the end of the replacement means nothing, and one slash stands between it and the rest.
fn prefix(from: &str, to: &str) -> Path {
    match (from, to.trim_end_matches('/')) {
        ("/", "") => Path::Keep,
        ("/", to) => Path::Prefix(format!("{to}/")),
        // Plain replacement would leave `/foo` empty and make `//x` of `/foo/x`.
        (from, "") => Path::Regex(substitute(format!("^{}/*", wire::escape(from)), "/")),
        (_, to) => Path::Prefix(to.to_owned()),
    }
}

fn substitute(pattern: String, with: &str) -> RegexMatchAndSubstitute {
    // `\1` would be a group.
    RegexMatchAndSubstitute { pattern: Some(wire::regex(pattern)), substitution: with.replace('\\', "\\\\") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Envoy does with the path of a request that matched.
    fn apply(from: &str, to: &str, request: &str) -> String {
        match path(&PathMatch::Prefix(from.into()), &PathRewrite::Prefix(to.into())) {
            Path::Keep => request.to_owned(),
            Path::Prefix(prefix) => format!("{prefix}{}", &request[from.len()..]),
            Path::Regex(rewrite) => regex::Regex::new(&rewrite.pattern.unwrap().regex)
                .unwrap()
                .replace_all(request, rewrite.substitution.as_str())
                .into_owned(),
        }
    }

    #[test]
    fn the_table_of_slashes_holds() {
        // `HTTPPathModifier.replacePrefixMatch`; the model stores prefixes without their trailing slash.
        for (request, from, to, wanted) in [
            ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
            ("/foo", "/foo", "/xyz", "/xyz"),
            ("/foo/", "/foo", "/xyz", "/xyz/"),
            ("/foo/bar", "/foo", "", "/bar"),
            ("/foo/", "/foo", "", "/"),
            ("/foo", "/foo", "", "/"),
            ("/foo/", "/foo", "/", "/"),
            ("/foo", "/foo", "/", "/"),
            ("/a.b/c", "/a.b", "/", "/c"),
            ("/bar", "/", "/xyz", "/xyz/bar"),
            ("/", "/", "/xyz/", "/xyz/"),
            ("/bar", "/", "/", "/bar"),
        ] {
            assert_eq!(apply(from, to, request), wanted, "{from} -> {to:?} of {request}");
        }
    }
}
