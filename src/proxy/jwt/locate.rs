//! Where tokens are in a request: headers, query parameters, cookies.

use crate::{config::Name, head::Head};
use std::borrow::Cow;

/// Where a provider's tokens may be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A header, its name in lower case, and what stands before the token.
    Header(Name, Name),
    /// A query parameter.
    Parameter(Name),
    /// A cookie.
    Cookie(Name),
}

/// Where a token was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// In this header.
    Header(Name),
    /// In this query parameter.
    Parameter(Name),
    /// In this cookie.
    Cookie(Name),
}

/// The tokens at these places.
pub(super) fn find(places: &[Place], head: &Head) -> Vec<(Location, String)> {
    let mut found = Vec::new();
    for place in places {
        match place {
            Place::Header(name, prefix) => {
                let lines = head.header(name).filter_map(|line| after(&String::from_utf8_lossy(line), prefix));
                found.extend(lines.map(|token| (Location::Header(name.clone()), token)));
            }
            Place::Parameter(name) => {
                let values = parameters(head.query().unwrap_or_default()).filter(|(key, _, _)| *key == **name);
                // One that is given twice might be read either way: each must be valid.
                found.extend(values.map(|(_, value, _)| (Location::Parameter(name.clone()), value.into_owned())));
            }
            Place::Cookie(name) => {
                let values = cookies(head).filter(|(key, _)| key == &**name);
                found.extend(values.map(|(_, value)| (Location::Cookie(name.clone()), value)));
            }
        }
    }
    found
}

/// Takes a token out of what is forwarded. Cookies stay, as in Envoy.
pub(super) fn remove(location: &Location, head: &mut Head) {
    match location {
        Location::Header(name) => head.fields_mut().remove(name),
        Location::Parameter(name) => {
            let Some(query) = head.query() else { return };
            let kept: Vec<&str> =
                parameters(query).filter(|(key, _, _)| *key != **name).map(|(_, _, written)| written).collect();
            let target = match kept.is_empty() {
                true => head.path().to_owned(),
                false => format!("{}?{}", head.path(), kept.join("&")),
            };
            head.set_target(&target);
        }
        Location::Cookie(_) => {}
    }
}

/// What follows the prefix, from the first character that a token can have; none if the prefix isn't there.
fn after(value: &str, prefix: &str) -> Option<String> {
    if prefix.is_empty() {
        return Some(value.to_owned());
    }
    let rest = &value[value.find(prefix)? + prefix.len()..];
    let start = rest.find(|c: char| c.is_ascii_alphanumeric() || "-_.".contains(c));
    Some(start.map_or(value, |start| &rest[start..]).to_owned())
}

/// The parameters of a query: key and value decoded, and the pair as it is written.
fn parameters(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>, &str)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key), decode(value), pair)
    })
}

fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digit = |offset: usize| bytes.get(at + offset).and_then(|byte| (*byte as char).to_digit(16));
        match (bytes[at], digit(1), digit(2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high << 4 | low) as u8);
                at += 3;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

/// All cookies of all lines; quotes around a value don't belong to it.
fn cookies(head: &Head) -> impl Iterator<Item = (String, String)> {
    head.header("cookie").flat_map(|line| {
        let line = String::from_utf8_lossy(line).into_owned();
        let pairs = line.split(';').filter_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            let unquoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            Some((name.to_owned(), unquoted.unwrap_or(value).to_owned()))
        });
        pairs.collect::<Vec<_>>()
    })
}
