//! Edits of headers, as Envoy's `request_headers_to_add` and its kin say them.

use std::sync::Arc;

/// What happens if the header is there already (`HeaderAppendAction`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendAction {
    /// Another line is added.
    Append,
    /// Added only if there is none.
    IfAbsent,
    /// Replaces all lines, or is added.
    Overwrite,
    /// Replaces all lines, and is not added if there is none.
    OverwriteIfPresent,
}

/// One header to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderEdit {
    /// Lower case; never a pseudo header, never `host`.
    pub name: Arc<str>,
    /// Literal.
    pub value: Arc<str>,
    /// What happens if it is there already.
    pub action: AppendAction,
}

/// The edits of one level (weighted cluster, route, virtual host, route table): removals come first, as in Envoy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    /// Lower-case names.
    pub remove: Box<[Arc<str>]>,
    /// In order.
    pub write: Box<[HeaderEdit]>,
}

impl HeaderEdits {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.write.is_empty()
    }
}
