//! Session persistence (GEP-1619).

use crate::Duration;
use serde::{Deserialize, Serialize};

/// Requests of one session go to one endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionPersistence {
    /// The name of the cookie or header; absent is one of ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_name: Option<String>,
    /// When a session ends, however much it is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub absolute_timeout: Option<Duration>,
    /// How a session is told.
    #[serde(rename = "type", default)]
    pub kind: SessionPersistenceType,
    /// For `Cookie`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookie_config: Option<CookieConfig>,
}

/// How a session is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionPersistenceType {
    /// By a cookie.
    #[default]
    Cookie,
    /// By a header that the client repeats.
    Header,
}

/// How long a cookie lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CookieConfig {
    /// Which life.
    #[serde(default)]
    pub lifetime_type: CookieLifetimeType,
}

/// How long a cookie lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CookieLifetimeType {
    /// As long as the timeout says.
    Permanent,
    /// Until the browser forgets it.
    #[default]
    Session,
}
