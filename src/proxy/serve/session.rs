//! Sessions: the endpoint that a client is to come back to is written in a cookie or header, as Envoy writes it, so that a
//! session outlives the proxy that began it.

use super::exchange::After;
use crate::{
    config::{AppendAction, Session},
    head::Head,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use prost::Message;
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

/// A route's session as one request uses it.
pub(super) struct Used {
    session: Arc<Session>,
    /// The endpoint that the client was sent to before.
    pub(super) wanted: Option<SocketAddr>,
}

/// What a cookie holds (`envoy.Cookie`).
#[derive(Clone, PartialEq, Message)]
struct Token {
    #[prost(string, tag = "1")]
    address: String,
    /// Seconds since 1970; 0 is never.
    #[prost(int64, tag = "2")]
    expires: i64,
}

impl Used {
    /// Reads what the client brought along; none if the cookie doesn't count for this path.
    pub(super) fn new(session: &Arc<Session>, head: &Head) -> Option<Self> {
        let wanted = match &**session {
            Session::Header(name) => head.fields().get(name).and_then(|value| text(&STANDARD.decode(value).ok()?)),
            Session::Cookie { path, .. } if !counts(path, head.path()) => return None,
            Session::Cookie { name, .. } => {
                let value = cookie(head, name);
                value.and_then(|value| Token::decode(&*STANDARD.decode(value).ok()?).ok()).and_then(|token| {
                    let expired = token.expires > 0 && token.expires <= now();
                    token.address.parse().ok().filter(|_| !expired)
                })
            }
        };
        Some(Self { session: session.clone(), wanted })
    }

    /// Tells the client where it was sent to, unless it knows.
    pub(super) fn tell(&self, chosen: SocketAddr, after: &mut After) {
        if self.wanted == Some(chosen) {
            return;
        }
        let address = chosen.to_string();
        match &*self.session {
            Session::Header(name) => after.write(AppendAction::Overwrite, name.clone(), STANDARD.encode(address)),
            Session::Cookie { name, life, path } => {
                let life = life.map(|life| life.as_secs());
                let expires = life.map_or(0, |life| now() + life as i64);
                let token = STANDARD.encode(Token { address, expires }.encode_to_vec());
                let life = life.map(|life| format!("; Max-Age={life}")).unwrap_or_default();
                let path = if path.is_empty() { String::new() } else { format!("; Path={path}") };
                let cookie = format!("{name}=\"{token}\"{life}{path}; HttpOnly");
                after.write(AppendAction::Append, "set-cookie", cookie);
            }
        }
    }
}

fn text(bytes: &[u8]) -> Option<SocketAddr> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() as i64)
}

/// Whether a cookie's path counts for a request's (RFC 6265 5.1.4).
fn counts(cookie: &str, path: &str) -> bool {
    match path.strip_prefix(cookie) {
        Some(rest) => cookie.is_empty() || cookie.ends_with('/') || rest.is_empty() || rest.starts_with('/'),
        None => false,
    }
}

/// The value of the first cookie of that name, without its quotes.
fn cookie<'a>(head: &'a Head, name: &str) -> Option<&'a [u8]> {
    let lines = head.fields().values("cookie");
    let pairs = lines.flat_map(|line| line.split(|&byte| byte == b';')).map(<[u8]>::trim_ascii);
    let values = pairs.filter_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
    let value = values.into_iter().next()?;
    Some(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
}
