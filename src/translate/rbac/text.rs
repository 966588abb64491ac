//! How texts are matched. Names never become patterns: what goes into a regular expression is escaped.

use crate::wire::{self, escape};
use model::StringMatch;
use proto::envoy::envoy::{
    config::route::v3::{HeaderMatcher, header_matcher::HeaderMatchSpecifier},
    r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern},
};

/// A match of a value that is there.
pub(super) fn string(wanted: &StringMatch) -> StringMatcher {
    wire::string(match wanted {
        StringMatch::Exact(text) => MatchPattern::Exact(text.to_string()),
        // Envoy refuses an empty prefix or suffix, which everything has.
        StringMatch::Prefix(text) | StringMatch::Suffix(text) if text.is_empty() => {
            MatchPattern::SafeRegex(wire::regex("(?s).*"))
        }
        StringMatch::Prefix(text) => MatchPattern::Prefix(text.to_string()),
        StringMatch::Suffix(text) => MatchPattern::Suffix(text.to_string()),
        StringMatch::Present => MatchPattern::SafeRegex(wire::regex("(?s).+")),
        StringMatch::Template(template) => MatchPattern::SafeRegex(wire::regex(path_template(template))),
    })
}

/// The regular expression of a path template: `{*}` is one segment, `{**}` is anything.
fn path_template(template: &str) -> String {
    let parts = template.split("{**}").map(|part| part.split("{*}").map(escape).collect::<Vec<_>>().join("[^/]+"));
    parts.collect::<Vec<_>>().join(".*")
}

/// A regular expression for a part of a SPIFFE identity, which has no slash.
pub(super) fn segment(wanted: &StringMatch) -> String {
    match wanted {
        StringMatch::Exact(text) | StringMatch::Template(text) => escape(text),
        StringMatch::Prefix(text) => format!("{}[^/]*", escape(text)),
        StringMatch::Suffix(text) => format!("[^/]*{}", escape(text)),
        StringMatch::Present => "[^/]+".to_owned(),
    }
}

/// Matches the value of a header.
pub(super) fn header(name: &str, value: StringMatcher) -> HeaderMatcher {
    HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(value)),
        ..Default::default()
    }
}

/// Matches a header that is there, empty or not.
pub(super) fn header_present(name: &str) -> HeaderMatcher {
    HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::PresentMatch(true)),
        ..Default::default()
    }
}

/// A host, without regard to case, as the client wrote it or without the port, which is what follows the last colon
/// outside brackets.
pub(super) fn host(wanted: &StringMatch) -> StringMatcher {
    const PORT: &str = r"(?::[^:\]]*)?";
    let pattern = match wanted {
        StringMatch::Exact(text) | StringMatch::Template(text) => format!("(?i){}{PORT}", escape(text)),
        StringMatch::Suffix(text) => format!("(?i).*{}{PORT}", escape(text)),
        StringMatch::Prefix(text) if !text.is_empty() => {
            return StringMatcher { ignore_case: true, ..string(wanted) };
        }
        StringMatch::Prefix(_) | StringMatch::Present => return string(wanted),
    };
    wire::string(MatchPattern::SafeRegex(wire::regex(pattern)))
}
