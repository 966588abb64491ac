//! The canonical form of a path, for requests as for what is compared with them: routes and policies.
//!
//! RFC 3986 6.2.2, as Envoy's URL library does it: backslashes are slashes, unreserved characters are not escaped, dot
//! segments are resolved and can't leave the root. Nothing is decoded twice.

use std::borrow::Cow;

/// A whole path in its canonical form; none if it doesn't start with a slash or has an escaped NUL.
pub fn resolved(path: &str) -> Option<String> {
    if !path.starts_with(['/', '\\']) {
        return None;
    }
    let plain = characters(&without_dot_parameters(path))?;
    let mut out = String::with_capacity(plain.len());
    let mut segments = plain[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "." | ".." => {
                if segment == ".." {
                    out.truncate(out.rfind('/').unwrap_or(0));
                }
                if segments.peek().is_none() {
                    out.push('/');
                }
            }
            segment => {
                out.push('/');
                out.push_str(segment);
            }
        }
    }
    if out.is_empty() {
        out.push('/');
    }
    Some(out)
}

/// Dot segments without parameters (`/..;x/`), which servers that know parameters resolve. As in Envoy, only those that
/// are written plainly; of the others (`/%2e.;x/`) policies know that they can't judge them.
fn without_dot_parameters(path: &str) -> Cow<'_, str> {
    if !path.contains(".;") {
        return Cow::Borrowed(path);
    }
    let plain = |segment: &str| match segment.split_once(';') {
        Some((dots @ ("." | ".."), _)) => dots.len(),
        _ => segment.len(),
    };
    let mut out = String::with_capacity(path.len());
    for segment in path.split_inclusive(['/', '\\']) {
        let name = segment.trim_end_matches(['/', '\\']);
        out.push_str(&name[..plain(name)]);
        out.push_str(&segment[name.len()..]);
    }
    Cow::Owned(out)
}

/// A part of a path with its characters in their canonical form: unreserved ones unescaped, backslashes as slashes, what
/// may not stand in a path escaped. None if there is an escaped NUL.
pub fn characters(part: &str) -> Option<String> {
    let bytes = part.as_bytes();
    let mut out = Vec::with_capacity(part.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'%' => match bytes.get(at..at + 2).and_then(code) {
                Some(0) => return None,
                Some(code) if code.is_ascii_alphanumeric() || b"-._~".contains(&code) => {
                    out.push(code);
                    at += 2;
                }
                _ => out.push(b'%'),
            },
            b'\\' => out.push(b'/'),
            b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                out.push(b'%');
                out.extend([byte >> 4, byte & 15].map(|digit| b"0123456789ABCDEF"[usize::from(digit)]));
            }
            byte => out.push(byte),
        }
    }
    String::from_utf8(out).ok()
}

/// The byte that two hexadecimal digits stand for.
fn code(hex: &[u8]) -> Option<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16);
    Some((digit(hex[0])? << 4 | digit(hex[1])?) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_paths_have_one_form() {
        for (part, wanted) in
            [("/%7euser*", "/~user*"), ("/a|b", "/a%7Cb"), ("/a%2Fb%zz%", "/a%2Fb%zz%"), ("é%C3%A9", "é%C3%A9")]
        {
            assert_eq!(characters(part).as_deref(), Some(wanted));
            assert_eq!(characters(wanted).as_deref(), Some(wanted), "{wanted} is canonical");
        }
        assert_eq!(characters("/a%00b"), None);
        assert_eq!(resolved("a"), None);
    }
}
