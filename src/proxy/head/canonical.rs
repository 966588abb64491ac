//! The one canonical form of a path and of a host.
//!
//! What Envoy calls path normalization, in the same order: escaped slashes first, then dot segments (RFC 3986), then
//! doubled slashes. Percent-encoded unreserved characters other than `.` stay as they are, as in Envoy.

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
    /// Resolve dot segments (`normalize_path`); backslashes become slashes.
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
