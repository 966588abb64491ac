//! Reading the paths of fields that messages name.

use api::{FieldPath, Step};

/// A path as it is written, such as `spec.rules[0].matches`. None if it is no path.
pub fn path(text: &str) -> Option<FieldPath> {
    let mut steps = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix("[\"") {
            let (name, after) = inside.split_once("\"]")?;
            steps.push(Step::Field(name.to_owned()));
            rest = after;
        } else if let Some(inside) = rest.strip_prefix('[') {
            let (index, after) = inside.split_once(']')?;
            steps.push(Step::Item(index.parse().ok()?));
            rest = after;
        } else {
            let name = rest.strip_prefix('.').unwrap_or(rest);
            let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(name.len());
            if end == 0 || (name.len() == rest.len() && !steps.is_empty()) {
                return None;
            }
            steps.push(Step::Field(name[..end].to_owned()));
            rest = &name[end..];
        }
    }
    (!steps.is_empty()).then_some(FieldPath(steps))
}

/// A path that is known to be one.
pub fn field(text: &str) -> FieldPath {
    path(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_they_are_written() {
        for text in ["spec", "spec.rules[0].matches[12].path", "data[\"tls.crt\"]", "metadata.annotations[\"a/b\"]"] {
            assert_eq!(path(text).map(|path| path.to_string()).as_deref(), Some(text));
        }
        for text in ["", "spec.", "spec rules", "spec.listeners[].x", "[0", "a[x]", "a[0]b"] {
            assert_eq!(path(text), None, "{text}");
        }
    }
}
