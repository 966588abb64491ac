//! The one canonical form of a path and of a host.
//!
//! What Envoy calls path normalization, in the same order: escaped slashes first, then RFC 3986 (backslashes are
//! slashes, unreserved characters are not escaped, dot segments are resolved and can't leave the root), then doubled
//! slashes. Nothing is decoded twice.

use super::HeadError;
use std::borrow::Cow;

/// What becomes of `%2F` and `%5C` in a path (Envoy `PathWithEscapedSlashesAction`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EscapedSlashes {
    /// They stay.
    #[default]
    Keep,
    /// The request is answered with 400.
    Reject,
    /// They become `/` and `\`, and the client is sent there with 307.
    Redirect,
    /// They become `/` and `\`.
    Unescape,
}

/// How a request is brought to its canonical form (from the HTTP connection manager).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Normalize {
    /// RFC 3986 (`normalize_path`).
    pub dot_segments: bool,
    /// Several slashes become one (`merge_slashes`).
    pub merge_slashes: bool,
    /// `path_with_escaped_slashes_action`
    pub escaped_slashes: EscapedSlashes,
    /// Drop any port from the host (`strip_any_host_port`).
    pub strip_port: bool,
    /// Drop a trailing dot from the host (`strip_trailing_host_dot`).
    pub strip_trailing_dot: bool,
}

impl Normalize {
    /// The canonical path, or none if it is canonical already.
    pub(super) fn path(&self, path: &str) -> Result<Option<String>, HeadError> {
        let slashes = self.escaped_slashes != EscapedSlashes::Keep;
        if !(self.dot_segments || self.merge_slashes || slashes) || is_plain(path) {
            return Ok(None);
        }
        let mut path = Cow::Borrowed(path);
        if let Some(unescaped) = slashes.then(|| unescape_slashes(&path)).flatten() {
            match self.escaped_slashes {
                EscapedSlashes::Reject => return Err(HeadError::EscapedSlash),
                EscapedSlashes::Redirect => return Err(HeadError::Redirect(unescaped.into())),
                _ => path = Cow::Owned(unescaped),
            }
        }
        if self.dot_segments {
            path = Cow::Owned(model::path::resolved(&path).ok_or(HeadError::Path)?);
        }
        if self.merge_slashes && path.contains("//") {
            path = Cow::Owned(merge_slashes(&path));
        }
        Ok(Some(path.into_owned()))
    }

    /// The authority without the dot at the host's end and the port, where they are to be stripped.
    pub(super) fn authority<'a>(&self, authority: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(authority);
        if let Some(dot) = authority.rfind('.').filter(|_| self.strip_trailing_dot) {
            match &authority[dot + 1..] {
                "" => text = Cow::Borrowed(&authority[..dot]),
                // A dot before a colon can only stand before the port, in front of which it hides the host as well.
                rest if rest.starts_with(':') => text = Cow::Owned([&authority[..dot], rest].concat()),
                _ => {}
            }
        }
        match split_port(&text) {
            (host, Some(_)) if self.strip_port => {
                let end = host.len();
                match text {
                    Cow::Borrowed(text) => Cow::Borrowed(&text[..end]),
                    Cow::Owned(text) => Cow::Owned(text[..end].to_owned()),
                }
            }
            _ => text,
        }
    }
}

/// Whether a text may be an authority: the characters of RFC 3986, without user information's `@`.
pub(super) fn is_authority(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:[]%".contains(&byte))
}

/// Host and port; the port is what follows the last colon outside brackets, if it is all digits.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port))
            if port.bytes().all(|byte| byte.is_ascii_digit()) && (!host.contains(':') || host.ends_with(']')) =>
        {
            (host, Some(port))
        }
        _ => (authority, None),
    }
}

/// Whether a path has nothing that any step could change.
fn is_plain(path: &str) -> bool {
    let mut last = 0;
    path.starts_with('/')
        && path.bytes().all(|byte| {
            let plain = match byte {
                b'%' | b'\\' | b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}' => false,
                b'.' | b'/' => last != b'/',
                _ => true,
            };
            last = byte;
            plain
        })
}

/// With `%2F` and `%5C` as `/` and `\`; none if there is none.
fn unescape_slashes(path: &str) -> Option<String> {
    let escaped = |text: &str| match text.get(..3) {
        Some("%2F" | "%2f") => Some('/'),
        Some("%5C" | "%5c") => Some('\\'),
        _ => None,
    };
    path.match_indices('%').find(|&(at, _)| escaped(&path[at..]).is_some())?;
    let (mut out, mut rest) = (String::with_capacity(path.len()), path);
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let slash = escaped(&rest[at..]);
        out.push(slash.unwrap_or('%'));
        rest = &rest[at + if slash.is_some() { 3 } else { 1 }..];
    }
    out.push_str(rest);
    Some(out)
}

fn merge_slashes(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for character in path.chars() {
        if character != '/' || !out.ends_with('/') {
            out.push(character);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(path: &str, normalize: Normalize) -> Result<String, HeadError> {
        Ok(normalize.path(path)?.unwrap_or_else(|| path.to_string()))
    }

    #[test]
    fn paths_have_one_form() {
        let options = Normalize { dot_segments: true, merge_slashes: true, ..Normalize::default() };
        for (path, wanted) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/../../b", "/b"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/%252e%252e/b", "/a/%252e%252e/b"),
            ("/a\\b", "/a/b"),
            ("/a//b///c", "/a/b/c"),
            ("/%61dmin", "/admin"),
            ("/a%2Fb", "/a%2Fb"),
            ("/a%2fb", "/a%2fb"),
            ("/a;x=1/b", "/a;x=1/b"),
            ("/a/..;x=1;y/b", "/b"),
            ("/a/.;/b", "/a/b"),
            ("/a/..;", "/"),
            ("/a\\..;\\b", "/b"),
            ("/a/...;/b", "/a/...;/b"),
            ("/a/..%3b/b", "/a/..%3b/b"),
            ("/.a/b.", "/.a/b."),
            ("/a%zz%", "/a%zz%"),
            ("/a|b", "/a%7Cb"),
        ] {
            assert_eq!(canonical(path, options).as_deref(), Ok(wanted), "{path}");
            assert_eq!(canonical(wanted, options).as_deref(), Ok(wanted), "{wanted} is canonical");
        }
        assert_eq!(canonical("/a%00b", options), Err(HeadError::Path));
        assert_eq!(canonical("a", options), Err(HeadError::Path));
    }

    #[test]
    fn escaped_slashes_are_what_the_configuration_says() {
        let with = |escaped_slashes| Normalize { dot_segments: true, escaped_slashes, ..Normalize::default() };
        let path = "/a%2F..%5cb";
        assert_eq!(canonical(path, with(EscapedSlashes::Unescape)).as_deref(), Ok("/b"));
        assert_eq!(canonical(path, with(EscapedSlashes::Reject)), Err(HeadError::EscapedSlash));
        let redirect = Err(HeadError::Redirect("/a/..\\b".into()));
        assert_eq!(canonical(path, with(EscapedSlashes::Redirect)), redirect);
    }

    #[test]
    fn ports_and_dots_are_stripped_as_configured() {
        let any = Normalize { strip_port: true, strip_trailing_dot: true, ..Normalize::default() };
        for (authority, wanted) in [
            ("a.test:80", "a.test"),
            ("a.test.", "a.test"),
            ("a.test.:1", "a.test"),
            ("a.test.:", "a.test"),
            ("[::1]:80", "[::1]"),
            ("::1", "::1"),
        ] {
            assert_eq!(any.authority(authority), wanted);
        }
        let dot = Normalize { strip_trailing_dot: true, ..Normalize::default() };
        for (authority, wanted) in [("a.test.:80", "a.test:80"), ("[::1].:80", "[::1]:80"), ("a.test:80", "a.test:80")]
        {
            assert_eq!(dot.authority(authority), wanted);
        }
    }
}
