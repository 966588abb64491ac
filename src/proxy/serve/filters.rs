//! What is done with a request before it is routed on: the connection manager's filters in their order.

use super::{
    Link, cors,
    exchange::{End, Exchange},
    ext_authz,
    local::{self, Local},
    respond::Responder,
    session,
    trace::Trace,
};
use crate::{
    authz::{Explanation, Input, Metadata, Rbac, Verdict},
    config::{Action, Config, HttpFilter, Route, Step, WeightedCluster},
    head::{Fields, Head},
    jwt,
    message::Source,
    route::Request,
};
use std::time::SystemTime;

/// Runs the filters; the cluster is the one that was chosen for the request. An end: one of them has answered it.
pub(super) async fn run(
    config: &Config,
    link: &Link,
    x: &mut Exchange<'_>,
    trace: &mut Trace<'_>,
    (route, cluster): (Option<&Route>, Option<&WeightedCluster>),
    source: &mut Source<'_>,
    responder: &mut Responder<'_>,
) -> Option<End> {
    let of_route = route.and_then(|route| route.steps.as_deref());
    let chain = of_route.map_or(&[][..], |steps| &steps.chain);
    let chain = cluster.and_then(|cluster| cluster.chain.as_deref()).unwrap_or(chain);
    for filter in &link.http.filters {
        let steps = match filter {
            HttpFilter::Inline(step) => std::slice::from_ref(step),
            HttpFilter::Named(name) => match config.extensions.get(name) {
                Some(Step::Chain(steps)) => steps,
                Some(step) => std::slice::from_ref(step),
                None => {
                    let why = Box::new(Explanation::missing(name));
                    return Some(deny(x, trace, source, responder, why).await);
                }
            },
            HttpFilter::OfRoute => chain,
            HttpFilter::Cors => {
                // As in Envoy: a redirect or an answer of our own is no resource that anybody could share.
                let forwards = route.is_some_and(|route| matches!(route.action, Action::Forward(_)));
                let cors = of_route.filter(|_| forwards).and_then(|steps| steps.cors.as_ref());
                let answer = cors.and_then(|cors| cors::request(cors, x));
                match answer {
                    None => continue,
                    Some(fields) => {
                        let local = Local::new(200).fields(&fields).plain();
                        return Some(local::answer(x, trace, source, responder, local).await);
                    }
                }
            }
        };
        for step in steps {
            match step {
                Step::Rbac(rbac) => {
                    if let Some(why) = denied(rbac, link, x.head, &mut trace.metadata) {
                        return Some(deny(x, trace, source, responder, why).await);
                    }
                }
                Step::Session(session) => x.left.session = session::Used::new(session, x.head).map(Box::new),
                Step::Jwt(tokens) => {
                    let checked = tokens.check(x.head, &mut trace.metadata, SystemTime::now());
                    if let Err(why) = checked {
                        return Some(refuse(x, trace, source, responder, &why).await);
                    }
                }
                // A chain is taken apart above; the door lets none stand in another.
                Step::Chain(_) => {}
                Step::ExtAuthz(authz) if authz.only.as_ref().is_some_and(|only| !only.matches(&trace.metadata)) => {}
                Step::ExtAuthz(authz) => {
                    // Boxed: requests that ask nobody don't pay for it.
                    let asked = Box::pin(ext_authz::run(config, authz, x, trace, source, responder)).await;
                    if asked.is_some() {
                        return asked;
                    }
                }
            }
        }
    }
    None
}

async fn deny(
    x: &mut Exchange<'_>,
    trace: &mut Trace<'_>,
    source: &mut Source<'_>,
    responder: &mut Responder<'_>,
    why: Box<Explanation>,
) -> End {
    // No flag: Envoy's RBAC sets none, the details say it.
    trace.details = why.details.clone().into();
    trace.denied = Some(why);
    local::answer(x, trace, source, responder, Local::new(403).text("RBAC: access denied")).await
}

/// Answers a request whose token is not valid, as RFC 6750 wants it.
async fn refuse(
    x: &mut Exchange<'_>,
    trace: &mut Trace<'_>,
    source: &mut Source<'_>,
    responder: &mut Responder<'_>,
    why: &jwt::Refusal,
) -> End {
    let text = why.failure.to_string();
    let explanation = Explanation::token(&why.provider, &text);
    trace.details = explanation.details.clone().into();
    trace.denied = Some(Box::new(explanation));
    let mut fields = Fields::default();
    fields.append("www-authenticate", jwt::challenge(x.head, why.failure).as_bytes());
    let local = Local::new(why.failure.status()).text(&text).fields(&fields);
    local::answer(x, trace, source, responder, local).await
}

/// Why a policy denies a request, if it does. What shadow rules would decide is noted.
fn denied(rbac: &Rbac, link: &Link, head: &Head, metadata: &mut Metadata) -> Option<Box<Explanation>> {
    let conn = &link.conn;
    let request = Request::from(head);
    let input = Input {
        request: &request,
        peer: conn.peer,
        local: conn.local,
        remote: head.client().unwrap_or(conn.remote.ip()),
        server_name: conn.sni.as_deref(),
        certificate: conn.certificate.as_deref(),
        metadata,
    };
    let (note, verdict) = (rbac.shadow(&input), rbac.check(&input));
    if let Some(note) = note {
        metadata.note(note);
    }
    match verdict {
        Verdict::Allowed => None,
        Verdict::Denied(why) => Some(why),
    }
}
