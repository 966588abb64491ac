//! A service that speaks HTTP: it gets the request's head under another path, and 200 lets the request pass.

use super::{Called, Changes, Denial, MOST_ANSWER, Seen, Verdict, failure, has, is_ours};
use crate::{
    config::{AppendAction, Cluster, ExtAuthz, HttpAuth},
    head::{Fields, Head, Normalize},
    route::Request,
    serve::{
        call::{Body, call},
        exchange::Exchange,
    },
};

/// A header of its answer that names headers to remove from the request.
const TO_REMOVE: &str = "x-envoy-auth-headers-to-remove";

pub(super) async fn ask(
    authz: &ExtAuthz,
    auth: &HttpAuth,
    cluster: &Cluster,
    x: &Exchange<'_>,
    body: Option<Seen>,
) -> Result<Verdict, String> {
    let question = question(authz, auth, x.head, body.as_ref())?;
    let bytes = body.map(|seen| seen.bytes).unwrap_or_default();
    let answer = call(x.worker, cluster, &question, bytes.into(), Body::Keep(MOST_ANSWER)).await.map_err(failure)?;
    match answer.status {
        200 => Ok(Verdict::Allowed(allowed(auth, &answer))),
        500.. => Err(format!("it answered {}", answer.status)),
        status => {
            let fields = denial(auth, &answer.fields);
            Ok(Verdict::Denied(Denial { status, fields, body: answer.body }))
        }
    }
}

fn question(authz: &ExtAuthz, auth: &HttpAuth, head: &Head, body: Option<&Seen>) -> Result<Head, String> {
    let mut question = Head::default();
    let target = format!("{}{}", auth.path_prefix, head.target());
    let started = question.start(head.version(), head.method(), &target, head.authority(), &Normalize::default());
    started.map_err(|error| error.to_string())?;
    let fields = question.fields_mut();
    fields.append("content-length", b"0");
    if let Some(seen) = body {
        fields.append("x-envoy-auth-partial-body", if seen.partial { b"true" } else { b"false" });
    }
    let request = Request::from(head);
    for (name, _) in head.fields().iter() {
        let always = name == "authorization";
        let listed = authz.allowed_headers.as_deref().is_some_and(|list| has(list, name));
        let told = !has(&authz.disallowed_headers, name) && !is_ours(name) && !fields.contains(name);
        // Several lines become one, as in Envoy.
        if (always || listed)
            && told
            && let Some(value) = request.header(name)
        {
            fields.append(name, value.as_bytes());
        }
    }
    auth.headers_to_add.iter().for_each(|(name, value)| fields.set(name, value.as_bytes()));
    Ok(question)
}

fn allowed(auth: &HttpAuth, answer: &Called) -> Changes {
    let mut changes = Changes::default();
    let remove = answer.fields.values(TO_REMOVE).map(String::from_utf8_lossy);
    for name in remove.flat_map(|line| line.split(',').map(|name| name.trim().to_ascii_lowercase()).collect::<Vec<_>>())
    {
        if !is_ours(&name) && !name.is_empty() {
            changes.remove.push(name);
        }
    }
    for (name, value) in answer.fields.iter().filter(|(name, _)| !is_ours(name)) {
        if has(&auth.upstream, name) {
            changes.set.push((name.to_owned(), value.to_owned()));
        }
        if has(&auth.upstream_append, name) {
            changes.append.push((name.to_owned(), value.to_owned()));
        }
        if has(&auth.client_on_success, name) {
            changes.response.push((AppendAction::Append, name.to_owned(), value.to_owned()));
        }
    }
    changes
}

/// What the client sees of a denial's fields. Without a list it is all; with one, what a browser needs comes along.
fn denial(auth: &HttpAuth, answer: &Fields) -> Fields {
    let mut fields = Fields::default();
    for (name, value) in answer.iter().filter(|(name, _)| !is_ours(name)) {
        let always = matches!(name, "www-authenticate" | "proxy-authenticate" | "location");
        if auth.client.as_deref().is_none_or(|list| always || has(list, name)) {
            fields.append(name, value);
        }
    }
    fields
}
