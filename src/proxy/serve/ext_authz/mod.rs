//! Asks a service whether a request may pass (`envoy.filters.http.ext_authz`). Whatever goes wrong, it may not.

mod grpc;
mod http;

use super::{
    call::Called,
    exchange::{After, End, Exchange},
    local::{self, Local},
    respond::Responder,
    talk::Failed,
    trace::Trace,
};
use crate::{
    config::{AppendAction, AuthService, Config, ExtAuthz, Name, StringMatch},
    filter::write,
    head::Fields,
    log::Flag,
    message::{Kept, Source, SourceError},
    worker::now,
};
use std::time::Duration;

/// Most bytes of an answer.
const MOST_ANSWER: usize = 256 << 10;
/// How long the part of a body that the service is to see may be on its way without a byte.
const PATIENCE: Duration = Duration::from_secs(300);

/// What the service says.
enum Verdict {
    Allowed(Changes),
    Denied(Denial),
}

/// What becomes of a request that may pass.
#[derive(Default)]
struct Changes {
    /// Removed from the request.
    remove: Vec<String>,
    /// Written over what the request has.
    set: Vec<(String, Vec<u8>)>,
    /// Added to what the request has.
    append: Vec<(String, Vec<u8>)>,
    /// Written on the response.
    response: Vec<(AppendAction, String, Vec<u8>)>,
}

/// The answer to a request that may not pass.
struct Denial {
    status: u16,
    fields: Fields,
    body: Vec<u8>,
}

/// What the service sees of a request's body.
struct Seen {
    bytes: Vec<u8>,
    /// It is a part of the body only.
    partial: bool,
}

/// Asks. An end: the request has been answered.
pub(super) async fn run(
    config: &Config,
    authz: &ExtAuthz,
    x: &mut Exchange<'_>,
    trace: &mut Trace<'_>,
    source: &mut Source<'_>,
    responder: &mut Responder<'_>,
) -> Option<End> {
    let body = match body(authz, x, source, responder).await {
        Ok(body) => body,
        Err(status) => {
            trace.flags.set(Flag::Unauthorized);
            trace.details = "request_payload_too_large".into();
            let text = if status == 413 { "Payload Too Large" } else { "" };
            return Some(local::answer(x, trace, source, responder, Local::new(status).text(text)).await);
        }
    };
    let verdict = match config.cluster(&authz.cluster) {
        None => Err(format!("there is no cluster {}", authz.cluster)),
        Some(cluster) => {
            let asked = async {
                match &authz.service {
                    AuthService::Http(auth) => http::ask(authz, auth, cluster, x, body).await,
                    AuthService::Grpc { authority } => grpc::ask(authz, authority, cluster, x, body).await,
                }
            };
            tokio::time::timeout(authz.timeout, asked)
                .await
                .unwrap_or_else(|_| Err(format!("no answer within {:?}", authz.timeout)))
        }
    };
    match verdict {
        Ok(Verdict::Allowed(changes)) => {
            changes.apply(x);
            None
        }
        Ok(Verdict::Denied(denial)) => {
            trace.flags.set(Flag::Unauthorized);
            trace.details = "ext_authz_denied".into();
            let Denial { status, fields, body } = &denial;
            Some(local::answer(x, trace, source, responder, Local::new(*status).fields(fields).body(body)).await)
        }
        Err(_) if authz.failure_mode_allow => None,
        Err(why) => {
            trace.flags.set(Flag::Unauthorized);
            trace.details = "ext_authz_error".into();
            trace.upstream_failure = Some(format!("authorization service: {why}"));
            Some(local::answer(x, trace, source, responder, Local::new(authz.status_on_error)).await)
        }
    }
}

/// Reads what the service is to see of the body; it will be read again for the backend. An error is a code to answer.
async fn body(
    authz: &ExtAuthz,
    x: &mut Exchange<'_>,
    source: &mut Source<'_>,
    responder: &mut Responder<'_>,
) -> Result<Option<Seen>, u16> {
    let Some(wanted) = &authz.body else { return Ok(None) };
    if x.upgrade || source.is_done() {
        return Ok(None);
    }
    if std::mem::take(&mut x.expects_continue) && responder.proceed().await.is_err() {
        return Err(400);
    }
    let kept = Kept::wrap(source, wanted.most);
    x.alarm.set(Some(now() + x.link.http.stream_idle_timeout.unwrap_or(PATIENCE)));
    let read: Result<Result<(), SourceError>, _> = x.alarm.guard(kept.read(wanted.most)).await;
    match read {
        Err(_) => return Err(408),
        Ok(Err(_)) => return Err(400),
        Ok(Ok(())) => {}
    }
    let partial = kept.copy().len() > wanted.most || !kept.is_complete();
    if partial && !wanted.partial {
        return Err(413);
    }
    let bytes = kept.copy()[..kept.copy().len().min(wanted.most)].to_vec();
    Ok(Some(Seen { bytes, partial }))
}

impl Changes {
    fn apply(self, x: &mut Exchange<'_>) {
        let fields = x.head.fields_mut();
        self.remove.iter().for_each(|name| fields.remove(name));
        self.set.iter().for_each(|(name, value)| fields.set(name, value));
        self.append.iter().for_each(|(name, value)| fields.append(name, value));
        if !self.response.is_empty() {
            let after = x.left.after.get_or_insert_with(Box::<After>::default);
            self.response.into_iter().for_each(|(action, name, value)| after.write(action, &*name, value));
        }
    }
}

/// Whether a list has a name.
fn has(list: &[StringMatch], name: &str) -> bool {
    list.iter().any(|one| one.matches(name))
}

/// Names that a service can neither set nor remove: how a message is framed and where it goes is not its business.
fn is_ours(name: &str) -> bool {
    matches!(
        name,
        "host" | "content-length" | "transfer-encoding" | "connection" | "keep-alive" | "upgrade" | "te" | "trailer"
    ) || name.starts_with(':')
}

/// What went wrong with a call, in words.
fn failure(failed: Failed) -> String {
    match failed {
        Failed::NoEndpoint => "no endpoint of it is usable".into(),
        Failed::Connect(error) => error.to_string(),
        Failed::Protocol(why) => why,
        Failed::Reset { .. } | Failed::RemoteReset { .. } => "it closed the connection".into(),
        other => format!("{other:?}"),
    }
}
