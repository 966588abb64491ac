//! RE2's dialect, as Envoy reads patterns, in the regex crate's.
//!
//! Both are linear-time and close relatives; what differs is written anew: `\d`, `\s`, `\w` and `\b` are ASCII in RE2,
//! and inside brackets `[`, `&&`, `--` and `~~` are plain characters there. What RE2 has and the crate has not
//! (`\Q…\E`, `\C`) is refused; what the crate has and RE2 has not (the flags `x`, `u`, `R`) too.

use regex::{Regex, RegexBuilder};
use std::iter::Peekable;

/// A compiled pattern may take this many bytes, as in the crate's own default for automata.
const SIZE_LIMIT: usize = 1 << 20;

/// A pattern that must match a whole text.
pub(super) fn full(pattern: &str) -> Result<Regex, String> {
    // Alone first: `a)(b` would become valid inside the group.
    anywhere(pattern)?;
    compile(&format!(r"\A(?:{})\z", translate(pattern)?), pattern)
}

/// A pattern that may match anywhere.
pub(super) fn anywhere(pattern: &str) -> Result<Regex, String> {
    compile(&translate(pattern)?, pattern)
}

fn compile(translated: &str, pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(translated)
        .size_limit(SIZE_LIMIT)
        .build()
        .map_err(|error| format!("pattern {pattern:?}: {error}"))
}

/// A substitution in RE2's form (`\1`, `\\`) in the crate's (`${1}`, `$$`). `groups` is how many groups there are.
pub(super) fn substitution(text: &str, groups: usize) -> Result<String, String> {
    let mut out = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '$' => out.push_str("$$"),
            '\\' => match characters.next() {
                Some('\\') => out.push('\\'),
                Some(digit) if digit.to_digit(10).is_some_and(|group| (group as usize) <= groups) => {
                    out.push_str(&format!("${{{digit}}}"));
                }
                other => return Err(format!("substitution {text:?}: wanted \\\\ or a group after \\, saw {other:?}")),
            },
            plain => out.push(plain),
        }
    }
    Ok(out)
}

fn translate(pattern: &str) -> Result<String, String> {
    let refuse = |what: &str| Err(format!("pattern {pattern:?}: {what} is not supported"));
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '\\' => match escape(&mut rest, false) {
                Some(text) => out.push_str(&text),
                None => return refuse("this escape"),
            },
            '[' => match class(&mut rest) {
                Some(text) => out.push_str(&text),
                None => return refuse("this bracket expression"),
            },
            '(' => {
                out.push('(');
                if rest.peek() == Some(&'?') {
                    let flags: String =
                        rest.clone().skip(1).take_while(|&c| c.is_ascii_alphabetic() || c == '-').collect();
                    let named = flags.starts_with('P');
                    if !named && flags.contains(|c: char| !"imsU-".contains(c)) {
                        return refuse("this flag");
                    }
                }
            }
            plain => out.push(plain),
        }
    }
    Ok(out)
}

/// What stands after a backslash.
fn escape(rest: &mut Peekable<impl Iterator<Item = char>>, in_class: bool) -> Option<String> {
    Some(match rest.next()? {
        'd' => "[0-9]".into(),
        'D' => "[^0-9]".into(),
        's' => r"[\t\n\x0C\r ]".into(),
        'S' => r"[^\t\n\x0C\r ]".into(),
        'w' => "[0-9A-Za-z_]".into(),
        'W' => "[^0-9A-Za-z_]".into(),
        'b' if !in_class => r"(?-u:\b)".into(),
        // `\B` alone may stand between the bytes of one character, which the crate doesn't allow on text.
        'Q' | 'E' | 'C' | 'B' | 'b' => return None,
        'z' if !in_class => r"\z".into(),
        'A' if !in_class => r"\A".into(),
        other @ ('a' | 'f' | 'n' | 'r' | 't' | 'v' | 'p' | 'P' | 'x') => format!("\\{other}"),
        // Octal.
        '0' => {
            let digits: String = std::iter::from_fn(|| rest.next_if(|c| ('0'..='7').contains(c))).take(2).collect();
            format!("\\x{:02X}", u32::from_str_radix(&format!("0{digits}"), 8).ok()?)
        }
        other if other.is_ascii_punctuation() => format!("\\{other}"),
        _ => return None,
    })
}

/// A bracket expression, its opening bracket already read.
fn class(rest: &mut Peekable<impl Iterator<Item = char> + Clone>) -> Option<String> {
    let mut out = String::from("[");
    if rest.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    // A closing bracket in first place is itself.
    if rest.next_if_eq(&']').is_some() {
        out.push_str(r"\]");
    }
    loop {
        match rest.next()? {
            ']' => break,
            '\\' => out.push_str(&escape(rest, true)?),
            '[' if rest.peek() == Some(&':') => {
                let name: String = std::iter::from_fn(|| rest.next_if(|&c| c != ']')).collect();
                rest.next()?;
                out.push_str(&format!("[{name}]"));
            }
            plain @ ('[' | '&' | '~') => out.push_str(&format!("\\{plain}")),
            '-' => {
                // A range's dash stays; a second one in a row would be an operator.
                out.push('-');
                if rest.next_if_eq(&'-').is_some() {
                    out.push_str(r"\-");
                }
            }
            plain => out.push(plain),
        }
    }
    out.push(']');
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_re2() {
        for (pattern, yes, no) in [
            ("/a.*", &["/a", "/ab"][..], &["/", "x/a", "/a\n"][..]),
            (r"\d+", &["12"], &["١", "1a", ""]),
            (r"[\d.]+", &["1.2"], &["a"]),
            (r"[^\W]+", &["a_1"], &["-", "é"]),
            ("[a&&b]+", &["a&b"], &["c"]),
            ("[[a]+", &["[a"], &["b"]),
            ("[]a]+", &["]a"], &["b"]),
            ("[^]a]+", &["b"], &["]", "a"]),
            ("[[:alpha:]]+", &["ab"], &["1"]),
            ("a|b", &["a", "b"], &["ab"]),
            ("(?i)abc", &["ABC"], &["abcd"]),
            (r"\.\-\/", &[".-/"], &["..."]),
            (r"[\x2d\]]+", &["-]"], &["a"]),
            ("(?P<x>a)(?:b)", &["ab"], &["a"]),
            ("", &[""], &["a"]),
        ] {
            let regex = full(pattern).unwrap();
            for text in yes {
                assert!(regex.is_match(text), "{pattern} {text}");
            }
            for text in no {
                assert!(!regex.is_match(text), "{pattern} {text}");
            }
        }
        for bad in ["(", "a)(b", "[", r"\Qa\E", r"\C", "(?x) a", "(?u)a", r"\", "*", "a{2000}{2000}", r"(?=a)"] {
            assert!(full(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn substitutions_become_the_crates() {
        let pattern = anywhere("^/a(/?)(.*)").unwrap();
        let text = substitution(r"/$\2\\", pattern.captures_len() - 1).unwrap();
        assert_eq!(pattern.replace_all("/a/b", text.as_str()), "/$b\\");
        assert!(substitution(r"\3", 2).is_err());
        assert!(substitution(r"\x", 2).is_err());
    }
}
