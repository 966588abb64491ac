//! One request: authorize, route, and then forward, redirect or answer it.

use super::{
    Link, filters,
    forward::forward,
    local::{self, Local},
    prepare,
    respond::Responder,
    session::Used,
    trace::Trace,
};
use crate::{
    config::{Action, AppendAction, Config, Name, Underscores},
    filter::write,
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
    /// What filters left behind for later.
    pub(super) left: Left,
}

/// What filters left behind for later.
#[derive(Default)]
pub(super) struct Left {
    /// What they have to say on the response, if anything.
    pub(super) after: Option<Box<After>>,
    /// The session that the request belongs to, if the route has sessions.
    pub(super) session: Option<Box<Used>>,
}

/// What filters write on a response, whoever it comes from, after the route's own edits.
#[derive(Default)]
pub(super) struct After(Vec<(AppendAction, Name, Vec<u8>)>);

impl After {
    /// Writes a field.
    pub(super) fn write(&mut self, action: AppendAction, name: impl Into<Name>, value: impl Into<Vec<u8>>) {
        self.0.push((action, name.into(), value.into()));
    }

    /// Writes it all.
    pub(super) fn apply(&self, fields: &mut Fields) {
        self.0.iter().for_each(|(action, name, value)| write(*action, name, value, fields));
    }
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
    if let Some(rehearsal) = &x.worker.rehearsal {
        rehearsal.ended(&config, x.link, x.head);
    }
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
    let http = &link.http;
    prepare::request(x.head, link, x.worker, x.upgrade);
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
    if let Some((_, selected)) = &selected {
        trace.route = Some(&selected.route.name);
        trace.virtual_host = Some(&selected.host.name);
    }
    let route = selected.as_ref().map(|(_, selected)| selected.route);
    // Chosen before the filters: some of what they do depends on it.
    let chosen = route.and_then(|route| match &route.action {
        Action::Forward(to) => Some(to.pick(x.worker.random())),
        _ => None,
    });
    if let Some(end) = filters::run(config, link, x, trace, (route, chosen), source, responder).await {
        return end;
    }
    let Some((table, selected)) = selected else {
        trace.flags.set(Flag::NoRoute);
        trace.details = "route_not_found".into();
        return local::answer(x, trace, source, responder, Local::new(404)).await;
    };
    match &selected.route.action {
        Action::Forward(to) => {
            let weighted = chosen.unwrap_or_else(|| to.pick(x.worker.random()));
            forward(config, x, trace, (table, selected, to, weighted), source, responder).await
        }
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
