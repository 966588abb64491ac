//! Path templates (`envoy.path.match.uri_template`): `*` is one segment or part of it, `**` any number, `{name=pattern}`
//! the same with a name.

use crate::config::Name;
use regex::Regex;
use std::fmt;

/// What RFC 3986 allows in a segment, as Envoy's template matcher reads it: `*` is left out.
const SEGMENT: &str = r"[a-zA-Z0-9\-._~%!$&'()+,;:@=]";

/// A compiled template.
#[derive(Clone, Debug)]
pub struct Template {
    source: Name,
    regex: Box<Regex>,
}

impl Template {
    /// Compiles a template; the error says what is wrong with it.
    pub fn new(source: &str) -> Result<Self, String> {
        let Some(path) = source.strip_prefix('/') else { return Err("wanted a template that starts with /".into()) };
        let mut pattern = String::from(r"\A");
        let mut open_ended = false;
        for segment in path.split('/') {
            pattern.push('/');
            if open_ended && segment.contains(['*', '{']) {
                return Err("** must be the last operator".into());
            }
            open_ended |= push_segment(segment, &mut pattern)?;
        }
        pattern.push_str(r"\z");
        let regex = Regex::new(&pattern).map_err(|error| error.to_string())?;
        Ok(Self { source: source.into(), regex: Box::new(regex) })
    }

    /// Whether the path fits.
    pub fn matches(&self, path: &str) -> bool {
        self.regex.is_match(path)
    }
}

/// Appends one segment's pattern; true if it may hold more than one segment.
fn push_segment(segment: &str, pattern: &mut String) -> Result<bool, String> {
    let operator = match segment.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')) {
        None => segment,
        Some(variable) => match variable.split_once('=') {
            None if variable.starts_with('*') => variable,
            None => "*",
            Some((_, inner)) if inner == "*" || inner == "**" => inner,
            Some(_) => return Err(format!("the pattern of variable {{{variable}}} is not supported: wanted * or **")),
        },
    };
    if operator == "**" {
        pattern.push_str(&format!("(?:{SEGMENT}|/)*"));
        return Ok(true);
    }
    if operator.contains("**") || operator.contains(['{', '}']) {
        return Err(format!("segment {segment:?} is no literal, * or **"));
    }
    for (index, literal) in operator.split('*').enumerate() {
        if index > 0 {
            pattern.push_str(SEGMENT);
            pattern.push('+');
        }
        pattern.push_str(&regex::escape(literal));
    }
    Ok(false)
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_match_segments() {
        for (template, yes, no) in [
            ("/a/*", &["/a/b", "/a/%20"][..], &["/a", "/a/", "/a/b/c", "/b/c"][..]),
            ("/a/{*}/c", &["/a/b/c"], &["/a/b/x/c", "/a//c"]),
            ("/a/**", &["/a/", "/a/b", "/a/b/c"], &["/a", "/ab"]),
            ("/a/{**}", &["/a/", "/a/b/c"], &["/b"]),
            ("/*/x.{y}", &[], &["/a/x.b"]),
            ("/v/*.m4s", &["/v/1.m4s"], &["/v/.m4s", "/v/1xm4s", "/v/a/1.m4s"]),
            ("/{a}/{b=**}", &["/x/y/z"], &["/x"]),
            ("/**/end", &["/a/b/end", "//end"], &["/end", "/a/b/endless"]),
        ] {
            let Ok(compiled) = Template::new(template) else {
                assert!(yes.is_empty(), "{template}");
                continue;
            };
            for path in yes {
                assert!(compiled.matches(path), "{template} {path}");
            }
            for path in no {
                assert!(!compiled.matches(path), "{template} {path}");
            }
        }
        for bad in ["", "a", "/**/*", "/a**", "/{a=b*}"] {
            assert!(Template::new(bad).is_err(), "{bad}");
        }
    }
}
