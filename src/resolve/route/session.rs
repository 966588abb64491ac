//! Session persistence of a rule.

use super::{filter::is_token, rule::Mistake};
use crate::status::quoted;
use api::{CookieLifetimeType, SessionPersistence, SessionPersistenceType};
use model::{Session, SessionKind};
use std::sync::Arc;

/// Reads it; `unnamed` is the name of a session that has none. Envoy's cookies and headers know no end but that of the
/// cookie itself: what asks for another is refused rather than overlooked.
pub(crate) fn parse(written: &SessionPersistence, unnamed: impl Fn() -> String) -> Result<Session, Mistake> {
    let name: Arc<str> = match written.session_name.as_deref() {
        None | Some("") => unnamed().into(),
        Some(name) if is_token(name) => name.into(),
        Some(name) => {
            let what = format!("sessionName: wanted the name of a cookie or header, saw {}", quoted(name));
            return Err(Mistake::value(what));
        }
    };
    let lifetime = written.cookie_config.unwrap_or_default().lifetime_type;
    let timeout = written.absolute_timeout.map(|timeout| timeout.0).filter(|timeout| !timeout.is_zero());
    let kind = match (written.kind, lifetime, timeout) {
        (SessionPersistenceType::Header, _, None) => SessionKind::Header,
        (SessionPersistenceType::Cookie, CookieLifetimeType::Session, None) => SessionKind::Cookie(None),
        (SessionPersistenceType::Cookie, CookieLifetimeType::Permanent, Some(life)) => SessionKind::Cookie(Some(life)),
        (SessionPersistenceType::Cookie, CookieLifetimeType::Permanent, None) => {
            return Err(Mistake::value("absoluteTimeout: missing, lifetimeType Permanent asks for it"));
        }
        (_, _, Some(_)) => {
            let what = "absoluteTimeout: supported only for cookies with lifetimeType Permanent";
            return Err(Mistake::value(what));
        }
    };
    Ok(Session { name, kind })
}
