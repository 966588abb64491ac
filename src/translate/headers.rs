//! Edits of headers. Envoy removes first and then sets and adds; Gateway API doesn't let one name stand in two lists.

use model::{HeaderEdit, HeaderEdits};
use proto::envoy::envoy::config::core::v3::{HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction};

/// What is set and added.
pub(crate) fn added(edits: &HeaderEdits) -> Vec<HeaderValueOption> {
    let set = edits.set.iter().filter(|edit| editable(&edit.name));
    let add = edits.add.iter().filter(|edit| editable(&edit.name));
    set.map(|edit| option(edit, HeaderAppendAction::OverwriteIfExistsOrAdd))
        .chain(add.map(|edit| option(edit, HeaderAppendAction::AppendIfExistsOrAdd)))
        .collect()
}

/// What is removed.
pub(crate) fn removed(edits: &HeaderEdits) -> Vec<String> {
    edits.remove.iter().filter(|name| editable(name)).map(|name| name.to_string()).collect()
}

/// Envoy refuses a route that edits these; the Host is edited by a rewrite. See [`host`].
fn editable(name: &str) -> bool {
    !name.starts_with(':') && !name.eq_ignore_ascii_case("host")
}

/// The Host that is set as if it were any header.
pub(crate) fn host(edits: &HeaderEdits) -> Option<&str> {
    edits.set.iter().find(|edit| edit.name.eq_ignore_ascii_case("host")).map(|edit| &*edit.value)
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
    fn values_are_literals() {
        let edit = HeaderEdit { name: "X-Rate".into(), value: "100%REQ(cookie)%".into() };
        let option = option(&edit, HeaderAppendAction::AppendIfExistsOrAdd);
        assert_eq!(option.header.unwrap().value, "100%%REQ(cookie)%%");
    }
}
