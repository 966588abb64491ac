//! Matchers: strings, headers, query parameters, address blocks.

use super::at::{At, Fault, number, take};
use crate::{
    authz::{MetadataMatch, ValueMatch},
    config::{HeaderMatch, HeaderRule, QueryMatch, StringMatch},
};
use ipnet::IpNet;
use proto::envoy::envoy::{
    config::{
        core::v3::CidrRange,
        route::v3::{
            HeaderMatcher, QueryParameterMatcher, header_matcher::HeaderMatchSpecifier,
            query_parameter_matcher::QueryParameterMatchSpecifier,
        },
    },
    r#type::matcher::v3::{
        MetadataMatcher, RegexMatcher, StringMatcher, ValueMatcher, list_matcher,
        metadata_matcher::path_segment::Segment, string_matcher::MatchPattern, value_matcher,
    },
};
use regex::Regex;
use std::{net::IpAddr, sync::Arc};

pub(super) fn string(at: &At<'_>, matcher: StringMatcher) -> Result<StringMatch, Fault> {
    take!(at, matcher => StringMatcher { ignore_case, match_pattern } moot {} refuse {});
    let name = |text: String| at.name(&if ignore_case { text.to_ascii_lowercase() } else { text });
    Ok(match at.want("match_pattern", match_pattern)? {
        MatchPattern::Exact(text) => StringMatch::Exact(name(text), ignore_case),
        MatchPattern::Prefix(text) => StringMatch::Prefix(name(text), ignore_case),
        MatchPattern::Suffix(text) => StringMatch::Suffix(name(text), ignore_case),
        MatchPattern::Contains(text) => StringMatch::Contains(name(text), ignore_case),
        MatchPattern::SafeRegex(pattern) => StringMatch::Regex(regex(&at.field("safe_regex"), pattern)?),
        MatchPattern::Custom(_) => return at.field("custom").fail("this proxy doesn't support this field"),
    })
}

/// A pattern that must match the whole value.
pub(super) fn regex(at: &At<'_>, matcher: RegexMatcher) -> Result<Arc<Regex>, Fault> {
    // The engine can only be RE2.
    take!(at, matcher => RegexMatcher { regex } moot { engine_type } refuse {});
    at.field("regex").pattern(&regex)
}

pub(super) fn header(at: &At<'_>, matcher: HeaderMatcher) -> Result<HeaderMatch, Fault> {
    take!(at, matcher => HeaderMatcher { name, invert_match, treat_missing_header_as_empty, header_match_specifier }
        moot {} refuse {});
    if name.is_empty() {
        return at.field("name").fail("wanted a header name, saw none");
    }
    let text = |text: String| at.name(&text);
    let rule = match header_match_specifier {
        None => HeaderRule::Present(true),
        Some(HeaderMatchSpecifier::PresentMatch(present)) => HeaderRule::Present(present),
        Some(HeaderMatchSpecifier::ExactMatch(value)) => HeaderRule::Value(StringMatch::Exact(text(value), false)),
        Some(HeaderMatchSpecifier::PrefixMatch(value)) => HeaderRule::Value(StringMatch::Prefix(text(value), false)),
        Some(HeaderMatchSpecifier::SuffixMatch(value)) => HeaderRule::Value(StringMatch::Suffix(text(value), false)),
        Some(HeaderMatchSpecifier::ContainsMatch(value)) => {
            HeaderRule::Value(StringMatch::Contains(text(value), false))
        }
        Some(HeaderMatchSpecifier::SafeRegexMatch(pattern)) => {
            HeaderRule::Value(StringMatch::Regex(regex(&at.field("safe_regex_match"), pattern)?))
        }
        Some(HeaderMatchSpecifier::StringMatch(matcher)) => {
            HeaderRule::Value(string(&at.field("string_match"), matcher)?)
        }
        Some(HeaderMatchSpecifier::RangeMatch(range)) => HeaderRule::Range(range.start, range.end),
    };
    Ok(HeaderMatch {
        name: at.name(&name.to_ascii_lowercase()),
        rule,
        invert: invert_match,
        missing_is_empty: treat_missing_header_as_empty,
    })
}

pub(super) fn query(at: &At<'_>, matcher: QueryParameterMatcher) -> Result<QueryMatch, Fault> {
    take!(at, matcher => QueryParameterMatcher { name, query_parameter_match_specifier } moot {} refuse {});
    let value = match query_parameter_match_specifier {
        None | Some(QueryParameterMatchSpecifier::PresentMatch(true)) => None,
        Some(QueryParameterMatchSpecifier::PresentMatch(false)) => {
            return at.field("present_match").fail("wanted true, saw false");
        }
        Some(QueryParameterMatchSpecifier::StringMatch(matcher)) => Some(string(&at.field("string_match"), matcher)?),
    };
    Ok(QueryMatch { name: at.name(&name), value })
}

pub(super) fn metadata(at: &At<'_>, matcher: MetadataMatcher) -> Result<MetadataMatch, Fault> {
    take!(at, matcher => MetadataMatcher { filter, path, value, invert } moot {} refuse {});
    let keys = path.into_iter().enumerate().map(|(index, segment)| match segment.segment {
        Some(Segment::Key(key)) => Ok(at.name(&key)),
        None => at.field("path").index(index).fail("wanted a key"),
    });
    let path = keys.collect::<Result<_, _>>()?;
    let value = value_match(&at.field("value"), at.want("value", value)?)?;
    Ok(MetadataMatch { filter: at.name(&filter), path, value, invert })
}

/// A text, or a list in which there is one.
fn value_match(at: &At<'_>, matcher: ValueMatcher) -> Result<ValueMatch, Fault> {
    match matcher.match_pattern {
        Some(value_matcher::MatchPattern::StringMatch(text)) => {
            Ok(ValueMatch::Text(string(&at.field("string_match"), text)?))
        }
        Some(value_matcher::MatchPattern::ListMatch(list)) => match list.match_pattern {
            Some(list_matcher::MatchPattern::OneOf(one)) => match one.match_pattern {
                Some(value_matcher::MatchPattern::StringMatch(text)) => {
                    let text = string(&at.field("list_match").field("one_of").field("string_match"), text)?;
                    Ok(ValueMatch::OneOf(text))
                }
                _ => at.field("list_match").field("one_of").fail("wanted string_match"),
            },
            None => at.field("list_match").fail("wanted one_of"),
        },
        _ => at.fail("wanted string_match or list_match"),
    }
}

pub(super) fn block(at: &At<'_>, range: CidrRange) -> Result<IpNet, Fault> {
    take!(at, range => CidrRange { address_prefix, prefix_len } moot {} refuse {});
    let Ok(address) = address_prefix.parse::<IpAddr>() else {
        return at.field("address_prefix").fail(format!("wanted an IP address, saw {address_prefix:?}"));
    };
    let length = number(prefix_len).unwrap_or(0);
    let block = u8::try_from(length).ok().and_then(|length| IpNet::new(address, length).ok());
    block.ok_or_else(|| at.field("prefix_len").fault(format!("{length} is too long for {address}")))
}
