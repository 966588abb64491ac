//! Single clauses of a policy: a field with its values and their opposite.

use crate::status::quoted;
use ipnet::IpNet;
use model::{PolicyAction, StringMatch, ValueSet};
use std::{net::IpAddr, sync::Arc};

/// Reads the clauses of one policy and notes what is wrong.
pub(super) struct Reader<'a> {
    pub(super) action: PolicyAction,
    /// For service accounts without one.
    pub(super) namespace: &'a Arc<str>,
    pub(super) problems: &'a mut Vec<String>,
}

/// A clause of an ALLOW policy that can't be read: what it belongs to never matches.
pub(super) struct Never;

impl Reader<'_> {
    /// Notes a problem. An ALLOW policy goes on without what has it, others without the restriction.
    pub(super) fn problem<T: Default>(&mut self, what: String) -> Result<T, Never> {
        self.problems.push(what);
        match self.action {
            PolicyAction::Allow => Err(Never),
            PolicyAction::Deny | PolicyAction::Audit | PolicyAction::Custom => Ok(T::default()),
        }
    }

    /// Reads a field and its opposite, which are named `names`.
    pub(super) fn set<T>(
        &mut self,
        at: &str,
        names: [&str; 2],
        [any, none]: [&[String]; 2],
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<ValueSet<T>, Never> {
        let read = |name: &str, values: &[String]| -> Result<Vec<T>, String> {
            let each = values.iter().enumerate();
            each.map(|(i, value)| parse(value).map_err(|why| format!("{at}.{name}[{i}]: {why}"))).collect()
        };
        match (read(names[0], any), read(names[1], none)) {
            (Ok(any), Ok(none)) => Ok(ValueSet { any, none }),
            (Err(what), _) | (_, Err(what)) => self.problem(what),
        }
    }
}

/// Istio's string match: `*`, `prefix*`, `*suffix` or exact.
pub(super) fn string(text: &str) -> Result<StringMatch, String> {
    match text {
        "" => Err("is empty".into()),
        "*" => Ok(StringMatch::Present),
        _ => Ok(match (text.strip_prefix('*'), text.strip_suffix('*')) {
            (Some(suffix), _) => StringMatch::Suffix(suffix.into()),
            (None, Some(prefix)) => StringMatch::Prefix(prefix.into()),
            (None, None) => StringMatch::Exact(text.into()),
        }),
    }
}

/// The same in lower case, for names whose case doesn't count.
pub(super) fn host(text: &str) -> Result<StringMatch, String> {
    string(&text.to_ascii_lowercase())
}

/// A principal: `<trust domain>/ns/<namespace>/sa/<service account>`.
pub(super) fn principal(text: &str) -> Result<StringMatch, String> {
    match text.strip_prefix("spiffe://") {
        // It would match nobody, and a DENY policy would be without effect.
        Some(rest) => Err(format!("leave out spiffe://, write {}", quoted(rest))),
        None => string(text),
    }
}

/// A path: a string match, or a template with `{*}` for one segment and `{**}` for any number. Its characters are brought
/// to the canonical form that requests are compared in: a DENY of `/%61dmin` is one of `/admin`.
pub(super) fn path(text: &str) -> Result<StringMatch, String> {
    let canonical = |part: &str| {
        model::path::characters(part).ok_or_else(|| format!("wanted a path without %00, saw {}", quoted(text)))
    };
    if !text.contains("{*}") && !text.contains("{**}") {
        return string(&canonical(text)?);
    }
    let Some(rest) = text.strip_prefix('/') else {
        return Err(format!("wanted a template that starts with /, saw {}", quoted(text)));
    };
    let (mut ended, mut out) = (false, String::with_capacity(text.len()));
    for segment in rest.split('/') {
        out.push('/');
        match segment {
            _ if ended => return Err(format!("{{**}} must be the last segment, saw {}", quoted(text))),
            "{*}" => out.push_str(segment),
            "{**}" => {
                ended = true;
                out.push_str(segment);
            }
            "" => return Err(format!("a template can't have empty segments, saw {}", quoted(text))),
            _ if segment.contains(['{', '}', '*']) => {
                return Err(format!("a segment of a template is {{*}}, {{**}} or a literal, saw {}", quoted(segment)));
            }
            _ => out.push_str(&canonical(segment)?),
        }
    }
    Ok(StringMatch::Template(out.into()))
}

/// An address or a CIDR block.
pub(super) fn block(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    let block = text.parse::<IpNet>().or_else(|_| address()).map(|block| block.trunc());
    block.map_err(|_| format!("wanted an address or a block such as 10.0.0.0/8, saw {}", quoted(text)))
}

/// A port.
pub(super) fn port(text: &str) -> Result<u16, String> {
    let port = text.parse().ok().filter(|port| *port > 0);
    port.ok_or_else(|| format!("wanted a port from 1 to 65535, saw {}", quoted(text)))
}

/// A service account: `<namespace>/<name>`, or the name alone in the policy's own namespace.
pub(super) fn service_account(namespace: &Arc<str>, text: &str) -> Result<(Arc<str>, Arc<str>), String> {
    let (namespace, name) = match text.split_once('/') {
        Some((namespace, name)) => (namespace.into(), name),
        None => (namespace.clone(), text),
    };
    let is_plain = |part: &str| !part.is_empty() && !part.contains(['/', '*']);
    match is_plain(&namespace) && is_plain(name) {
        true => Ok((namespace, name.into())),
        false => Err(format!("wanted <namespace>/<service account> without wildcards, saw {}", quoted(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_exact_prefix_suffix_or_presence() {
        assert_eq!(string("a*"), Ok(StringMatch::Prefix("a".into())));
        assert_eq!(string("*a"), Ok(StringMatch::Suffix("a".into())));
        assert_eq!(string("*"), Ok(StringMatch::Present));
        assert_eq!(string("a*b"), Ok(StringMatch::Exact("a*b".into())));
        assert!(string("").is_err());
        assert!(principal("spiffe://td/ns/a/sa/b").is_err());
    }

    #[test]
    fn templates_are_whole_segments() {
        for good in ["/a/{*}", "/{*}/b/{**}", "/{**}"] {
            assert_eq!(path(good), Ok(StringMatch::Template(good.into())), "{good}");
        }
        for bad in ["a/{*}", "/{**}/b", "/x{*}", "/{*}.txt", "/a//{*}", "/{*}/*", "/{*}/"] {
            assert!(path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn blocks_are_truncated_to_their_prefix() {
        assert_eq!(block("10.1.2.3/8").map(|block| block.to_string()), Ok("10.0.0.0/8".into()));
        assert_eq!(block("::1").map(|block| block.to_string()), Ok("::1/128".into()));
        for bad in ["", "10.0.0.0/33", "10.0.0", "a"] {
            assert!(block(bad).is_err(), "{bad}");
        }
    }
}
