//! One request: authorize, route, and then forward, redirect or answer it.

use super::{
    Link,
    forward::forward,
    local::{self, Local},
    prepare,
    respond::Responder,
    trace::Trace,
};
use crate::{
    authz::{Explanation, Input, Verdict},
    config::{Action, Config, HttpFilter, HttpManager, RbacSource, Underscores},
    head::{Fields, Head, Reply},
    io::{Alarm, Buffer},
    log::Flag,
    message::Source,
    route::{Request, location},
    worker::Worker,
};
use std::rc::Rc;
use tokio::time::Instant;

/// What a request needs on its way.
pub(super) struct Exchange<'a> {
    /// The worker.
    pub(super) worker: &'a Rc<Worker>,
    /// The client's connection.
    pub(super) link: &'a Link,
    /// The deadline of this request.
    pub(super) alarm: &'a Alarm,
    /// The request.
    pub(super) head: &'a mut Head,
    /// Its response.
    pub(super) reply: &'a mut Reply,
    /// What is read from the backend.
    pub(super) back: &'a mut Buffer,
    /// What is written to the backend.
    pub(super) out: &'a mut Vec<u8>,
    /// When the first byte of the request arrived.
    pub(super) started: Instant,
    /// The client asks for another protocol.
    pub(super) upgrade: bool,
    /// The client waits to be told to go on.
    pub(super) expects_continue: bool,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The response is complete.
    Complete,
    /// The client's connection (or stream) can't go on.
    Broken,
}

/// Answers a request whose head has been read.
pub(super) async fn run(x: &mut Exchange<'_>, source: &mut Source<'_>, responder: &mut Responder<'_>) -> End {
    let config = x.worker.config();
    let mut trace = Trace::new(x.started);
    let end = answer(&config, x.link, x, &mut trace, source, responder).await;
    trace.tell(x);
    end
}

async fn answer<'c>(
    config: &'c Config,
    link: &'c Link,
    x: &mut Exchange<'_>,
    trace: &mut Trace<'c>,
    source: &mut Source<'_>,
    responder: &mut Responder<'_>,
) -> End {
    let http = &link.chain.http;
    prepare::request(x.head, link, x.worker, x.upgrade);
    if let Some(why) = denied(config, http, link, x.head) {
        // No flag: Envoy's RBAC sets none, the details say it.
        trace.details = why.details.clone().into();
        trace.denied = Some(why);
        return local::answer(x, trace, source, responder, Local::new(403).text("RBAC: access denied")).await;
    }
    if !underscores_allowed(http.underscores, x.head.fields_mut()) {
        trace.flags.set(Flag::DownstreamProtocolError);
        trace.details = "unexpected_underscore".into();
        return local::answer(x, trace, source, responder, Local::new(400)).await;
    }
    let table = config.table(&http.routes);
    if let Some(table) = table.filter(|_| http.use_remote_address) {
        table.internal_only_headers.iter().for_each(|name| x.head.fields_mut().remove(name));
    }
    let selected = table.and_then(|table| Some((table, table.select(&Request::from(&*x.head))?)));
    let Some((table, selected)) = selected else {
        trace.flags.set(Flag::NoRoute);
        trace.details = "route_not_found".into();
        return local::answer(x, trace, source, responder, Local::new(404)).await;
    };
    trace.route = Some(&selected.route.name);
    trace.virtual_host = Some(&selected.host.name);
    match &selected.route.action {
        Action::Forward(to) => forward(config, x, trace, (table, selected, to), source, responder).await,
        Action::Redirect(redirect) => {
            trace.details = "direct_response".into();
            let location = location(redirect, &selected.route.matches, &Request::from(&*x.head), x.head.authority());
            let local = Local::new(redirect.status).location(&location).edited(table, selected);
            local::answer(x, trace, source, responder, local).await
        }
        Action::Direct(direct) => {
            trace.details = "direct_response".into();
            let local = Local::new(direct.status).body(&direct.body).edited(table, selected);
            local::answer(x, trace, source, responder, local).await
        }
    }
}

/// What the configuration says of names with an underscore. False: the request is refused.
fn underscores_allowed(action: Underscores, fields: &mut Fields) -> bool {
    let has = |name: &[u8]| name.contains(&b'_');
    match action {
        Underscores::Allow => {}
        Underscores::Reject => return !fields.iter().any(|(name, _)| has(name.as_bytes())),
        Underscores::Drop => fields.remove_if(|_, name, _| has(name)),
    }
    true
}

/// Why the policies deny a request, if they do. A policy that isn't there denies.
fn denied(config: &Config, http: &HttpManager, link: &Link, head: &Head) -> Option<Box<Explanation>> {
    if http.filters.is_empty() {
        return None;
    }
    let conn = &link.conn;
    let request = Request::from(head);
    let input = Input {
        request: &request,
        peer: conn.peer,
        local: conn.local,
        remote: head.client().unwrap_or(conn.peer.ip()),
        server_name: conn.sni.as_deref(),
        certificate: conn.certificate.as_deref(),
    };
    http.filters.iter().find_map(|filter| {
        let HttpFilter::Rbac(from) = filter;
        match (config.policy(from), from) {
            (Some(rbac), _) => match rbac.check(&input) {
                Verdict::Allowed => None,
                Verdict::Denied(why) => Some(why),
            },
            (None, RbacSource::Named(name)) => Some(Box::new(Explanation::missing(name))),
            // Not reached: what is written in the listener is there.
            (None, RbacSource::Inline(_)) => Some(Box::new(Explanation::missing("of the listener"))),
        }
    })
}
