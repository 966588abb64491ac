//! Edits of headers. Envoy removes first and then sets and adds; Gateway API doesn't let one name stand in two lists.

use crate::wire;
use model::{HeaderEdit, HeaderEdits};
use proto::envoy::envoy::config::core::v3::{HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction};

/// What is set and added.
pub(crate) fn added(edits: &HeaderEdits) -> Vec<HeaderValueOption> {
    let set = edits.set.iter().map(|edit| option(edit, HeaderAppendAction::OverwriteIfExistsOrAdd));
    set.chain(edits.add.iter().map(|edit| option(edit, HeaderAppendAction::AppendIfExistsOrAdd))).collect()
}

/// What is removed.
pub(crate) fn removed(edits: &HeaderEdits) -> Vec<String> {
    edits.remove.iter().map(|name| name.to_string()).collect()
}

/// A pattern of all names but these and those that start with a colon. RE2 can't say "not": the pattern goes along the
/// names letter by letter, and lets pass what leaves them.
pub(crate) fn all_but(names: &[&str]) -> String {
    fn rest(names: &[&str], first: bool) -> String {
        let mut letters: Vec<char> = names.iter().filter_map(|name| name.chars().next()).collect();
        letters.sort_unstable();
        letters.dedup();
        let class: String = letters.iter().map(|letter| wire::escape(&letter.to_string())).collect();
        let colon = if first { ":" } else { "" };
        let mut ways = vec![format!("[^{class}{colon}].*")];
        if !first && !names.contains(&"") {
            ways.push(String::new());
        }
        for letter in letters {
            let after: Vec<&str> = names.iter().filter_map(|name| name.strip_prefix(letter)).collect();
            ways.push(format!("{}{}", wire::escape(&letter.to_string()), rest(&after, false)));
        }
        // A name that ends here has no letter that it could go on with.
        let ways: Vec<_> = ways.into_iter().map(|way| way.replacen("[^].*", ".+", 1)).collect();
        format!("(?:{})", ways.join("|"))
    }
    rest(names, true)
}

fn option(edit: &HeaderEdit, action: HeaderAppendAction) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue {
            key: edit.name.to_string(),
            // A literal: `%` would start a format operator.
            value: edit.value.replace('%', "%%"),
            ..Default::default()
        }),
        append_action: action.into(),
        keep_empty_value: true,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_names_but_some() {
        let pattern = regex::Regex::new(&format!("^{}$", all_but(&["te", "host", "content-type"]))).unwrap();
        for name in ["te", "host", "content-type", ":status", ""] {
            assert!(!pattern.is_match(name), "{name}");
        }
        for name in ["t", "tea", "hos", "hosts", "content-typ", "content-length", "x-user", "content-type2"] {
            assert!(pattern.is_match(name), "{name}");
        }
    }

    #[test]
    fn values_are_literals() {
        let edit = HeaderEdit { name: "X-Rate".into(), value: "100%REQ(cookie)%".into() };
        let option = option(&edit, HeaderAppendAction::AppendIfExistsOrAdd);
        assert_eq!(option.header.unwrap().value, "100%%REQ(cookie)%%");
    }
}
