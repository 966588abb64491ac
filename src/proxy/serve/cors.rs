//! Cross-origin resource sharing, as Envoy's filter does it.

use super::exchange::{After, Exchange};
use crate::{
    config::{AppendAction, Cors},
    head::Fields,
};

/// Looks at a request's origin. A preflight is answered with what is given back; another request gets what its response
/// is to say.
pub(super) fn request(cors: &Cors, x: &mut Exchange<'_>) -> Option<Fields> {
    let fields = x.head.fields();
    let origin = fields.get("origin").filter(|origin| !origin.is_empty())?.to_vec();
    let allowed = cors.origins.iter().any(|one| one.matches_bytes(&origin));
    let asked = |name: &str| fields.get(name).filter(|value| !value.is_empty());
    let preflight = asked("access-control-request-method").filter(|_| x.head.method() == "OPTIONS");
    let answer = match preflight {
        Some(_) if !allowed && cors.forward_foreign => return None,
        Some(method) => {
            let mut answer = Fields::default();
            let mut say = |name: &str, value: &[u8]| {
                if !value.is_empty() {
                    answer.append(name, value);
                }
            };
            // With credentials a browser takes a star literally: what it asked for is repeated.
            let or_asked = |value: &str, asked: &[u8]| match value {
                "*" => asked.to_vec(),
                value => value.as_bytes().to_vec(),
            };
            if cors.credentials {
                say("access-control-allow-credentials", b"true");
            }
            let headers = asked("access-control-request-headers").unwrap_or_default();
            say("access-control-allow-methods", &or_asked(&cors.methods, method));
            say("access-control-allow-headers", &or_asked(&cors.headers, headers));
            say("access-control-max-age", cors.max_age.as_bytes());
            Some(answer)
        }
        None => None,
    };
    if allowed {
        let after = x.left.after.get_or_insert_with(Box::<After>::default);
        after.write(AppendAction::Overwrite, "access-control-allow-origin", origin);
        if cors.credentials {
            after.write(AppendAction::Overwrite, "access-control-allow-credentials", *b"true");
        }
        if !cors.expose.is_empty() {
            after.write(AppendAction::Overwrite, "access-control-expose-headers", cors.expose.as_bytes());
        }
    }
    answer
}
