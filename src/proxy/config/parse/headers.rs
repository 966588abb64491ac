//! Header edits.

use super::at::{At, Fault, flag, take};
use crate::config::{AppendAction, HeaderEdit, HeaderEdits};
use proto::envoy::envoy::config::core::v3::{HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction};

/// `{kind}_headers_to_add` and `{kind}_headers_to_remove`.
pub(super) fn edits(
    at: &At<'_>,
    kind: &str,
    add: Vec<HeaderValueOption>,
    remove: Vec<String>,
) -> Result<HeaderEdits, Fault> {
    let field = format!("{kind}_headers_to_add");
    let at_add = at.field(&field);
    let write = add.into_iter().enumerate().map(|(index, option)| edit(&at_add.index(index), option));
    let write = write.collect::<Result<_, _>>()?;
    let field = format!("{kind}_headers_to_remove");
    let at_remove = at.field(&field);
    let remove = remove.iter().enumerate().map(|(index, name)| header_name(&at_remove.index(index), name));
    Ok(HeaderEdits { remove: remove.collect::<Result<_, _>>()?, write })
}

fn edit(at: &At<'_>, option: HeaderValueOption) -> Result<HeaderEdit, Fault> {
    take!(at, option => HeaderValueOption { header, append, append_action } moot { keep_empty_value } refuse {});
    let header = at.want("header", header)?;
    let at_header = at.field("header");
    take!(at_header, header => HeaderValue { key, value } moot {} refuse { raw_value });
    let action = match (flag(append), HeaderAppendAction::try_from(append_action)) {
        (Some(true), _) => AppendAction::Append,
        (Some(false), _) => AppendAction::Overwrite,
        (None, Ok(HeaderAppendAction::AppendIfExistsOrAdd)) => AppendAction::Append,
        (None, Ok(HeaderAppendAction::AddIfAbsent)) => AppendAction::IfAbsent,
        (None, Ok(HeaderAppendAction::OverwriteIfExistsOrAdd)) => AppendAction::Overwrite,
        (None, Ok(HeaderAppendAction::OverwriteIfExists)) => AppendAction::OverwriteIfPresent,
        (None, Err(_)) => return at.field("append_action").fail(format!("unknown value {append_action}")),
    };
    let name = header_name(&at_header.field("key"), &key)?;
    let value = literal(&at_header.field("value"), &value)?;
    Ok(HeaderEdit { name, value: at.name(&value), action })
}

fn header_name(at: &At<'_>, name: &str) -> Result<crate::config::Name, Fault> {
    let lower = name.to_ascii_lowercase();
    match http::HeaderName::from_bytes(lower.as_bytes()) {
        Ok(_) if lower == "host" => at.fail("the host is not edited as a header, but by host_rewrite_literal"),
        Ok(_) => Ok(at.name(&lower)),
        Err(_) => at.fail(format!("wanted a header name, saw {name:?}")),
    }
}

/// A literal value: `%%` is a percent sign, an operator is refused.
pub(super) fn literal(at: &At<'_>, text: &str) -> Result<String, Fault> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let Some(after) = after.strip_prefix('%') else {
            return at.fail(format!("wanted a literal value (%% for a percent sign), saw {text:?}"));
        };
        out.push('%');
        rest = after;
    }
    out.push_str(rest);
    match http::HeaderValue::from_str(&out) {
        Ok(_) => Ok(out),
        Err(_) => at.fail(format!("wanted a header value, saw {out:?}")),
    }
}
