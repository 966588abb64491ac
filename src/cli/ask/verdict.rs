//! What became of a request, in the words of the objects.

use super::{Request, grpc};
use crate::{
    condition::{State, judge},
    offline::{World, id},
    service::{service, xbackend},
};
use api::{Kind, ObjectId};
use proto::Scope;
use proxy::{
    authz::Clause,
    rehearsal::{Answer, Closed, Forwarded, Nearest, Question},
};
use serde::Serialize;
use serde_json::Value;

/// What became of a request, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// A backend would answer it.
    Forwarded,
    /// The client is sent elsewhere.
    Redirected,
    /// The proxy itself answers it, as a route or a filter says.
    Answered,
    /// A policy denies it.
    Denied,
    /// There is no route.
    NotFound,
    /// There is a route, and nobody behind it who could answer.
    Failed,
    /// Another service decides, which isn't asked.
    Unknown,
    /// It is no request that is looked at any further.
    Refused,
    /// The connection is closed before anything is read.
    Closed,
}

/// What became of a request, and why.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// In a word.
    pub outcome: Outcome,
    /// The code; none where it is the backend's to say, and of connections that are closed.
    pub status: Option<u16>,
    /// The status of a call of gRPC that the proxy itself answers: then the code is 200.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc_status: Option<u16>,
    /// In a sentence.
    pub why: String,
    /// What goes beyond: what was nearest, what objects say of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// `<namespace>/<name>`
    pub gateway: String,
    /// The listener, by its name in the Gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener: Option<String>,
    /// The host that routes are looked up by, and its path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canonical: Option<(String, String)>,
    /// The host name that it falls under.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<RouteText>,
    /// The policy that decided, `<namespace>/<name> rule <n>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The clauses that kept a policy or a route from matching.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clauses: Vec<ClauseText>,
    /// `<namespace>/<service>:<port>` that was drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// All that can be drawn, by weight.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub backends: Vec<BackendText>,
    /// The endpoints of the one that was drawn.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<EndpointText>,
    /// Who gets copies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<String>,
    /// The request as the backend gets it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent: Option<Sent>,
    /// Fields of the answer that the proxy gives itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
}

/// A match of a route object.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteText {
    /// `Kind namespace/name`
    pub object: String,
    /// Index.
    pub rule: usize,
    /// Index.
    #[serde(rename = "match")]
    pub matched: usize,
    /// `file:line`
    pub place: String,
    /// Types of the rule's filters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<String>,
}

/// One clause that does not hold.
#[derive(Clone, Debug, Serialize)]
pub struct ClauseText {
    pub field: String,
    pub wanted: String,
    pub seen: String,
}

/// A backend and its share.
#[derive(Clone, Debug, Serialize)]
pub struct BackendText {
    pub name: String,
    pub weight: u32,
}

/// An endpoint.
#[derive(Clone, Debug, Serialize)]
pub struct EndpointText {
    pub address: String,
    pub ready: bool,
}

/// A request as a backend gets it.
#[derive(Clone, Debug, Serialize)]
pub struct Sent {
    pub method: String,
    pub host: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub tls: bool,
}

impl Verdict {
    /// The code, or the status of a call, as people read it.
    pub fn status_text(&self) -> Option<String> {
        self.grpc_status.map(grpc::text).or(self.status.map(|status| status.to_string()))
    }

    /// What one Gateway's data path says of a request.
    pub fn new(
        world: &World,
        scope: &Scope,
        request: &Request,
        question: &Question,
        answer: Result<Answer, Closed>,
    ) -> Self {
        let gateway = scope.0.strip_prefix("gateway/").unwrap_or(&scope.0).to_owned();
        let verdict = Self::empty(gateway);
        match answer {
            Err(closed) => verdict.closed(question, &closed),
            Ok(answer) => verdict.answered(world, request, question, answer),
        }
    }

    fn empty(gateway: String) -> Self {
        Self {
            outcome: Outcome::Closed,
            status: None,
            grpc_status: None,
            why: String::new(),
            notes: Vec::new(),
            gateway,
            listener: None,
            canonical: None,
            host: None,
            route: None,
            policy: None,
            clauses: Vec::new(),
            backend: None,
            backends: Vec::new(),
            endpoints: Vec::new(),
            mirrors: Vec::new(),
            sent: None,
            headers: Vec::new(),
        }
    }

    fn closed(mut self, question: &Question, closed: &Closed) -> Self {
        let list = |items: Vec<String>| if items.is_empty() { "none".to_owned() } else { items.join(", ") };
        self.why = match (closed, &question.server_name) {
            (Closed::NoListener { ports }, _) => {
                let ports = list(ports.iter().map(ToString::to_string).collect());
                format!("no listener has port {}; there are {ports}", question.port)
            }
            (Closed::NoHttp, _) => {
                format!("the listener on port {} passes bytes on and looks for no requests in them", question.port)
            }
            (Closed::NoCertificate, _) => "the listener wants a client certificate, and none was shown".into(),
            (Closed::NoChain { tls: true, .. }, None) => {
                format!("port {} speaks TLS, and the client doesn't: write https://", question.port)
            }
            (Closed::NoChain { tls: false, .. }, Some(_)) => {
                format!("port {} is clear text, and the client speaks TLS: write http://", question.port)
            }
            (Closed::NoChain { server_names, .. }, Some(name)) => {
                let names = list(server_names.iter().map(|name| format!("{name:?}")).collect());
                format!("no listener on port {} is for the server name {name:?}; there are {names}", question.port)
            }
            (Closed::NoChain { .. }, None) => format!("no listener on port {} takes such a connection", question.port),
        };
        self
    }

    fn answered(mut self, world: &World, request: &Request, question: &Question, answer: Answer) -> Self {
        self.canonical.clone_from(&answer.canonical);
        self.listener = listener(world, &self.gateway, question.port, &answer);
        self.host =
            answer.virtual_host.as_deref().and_then(|name| name.rsplit_once('/')).map(|(_, host)| host.to_owned());
        self.route = answer.route.as_deref().and_then(|name| route(world, name));
        self.status = Some(answer.status).filter(|status| *status > 0);
        self.grpc_status = grpc::status(&answer);
        if request.from.is_some() && !answer.sees_identity {
            self.notes
                .push("this listener asks for no client certificate, so that the client's identity is not seen".into());
        }
        if let Some(forwarded) = &answer.forwarded {
            self.sent_to(forwarded);
        }
        let is_local = answer.details != "route_not_found" && answer.details != "cluster_not_found";
        let code = grpc::code(&answer);
        match &answer {
            Answer { asked, .. } if !asked.is_empty() => {
                self.outcome = Outcome::Unknown;
                self.status = None;
                let services: Vec<String> = asked.iter().map(|cluster| backend(cluster)).collect();
                self.why = format!("depends on what {} says, which is not asked offline", services.join(", "));
            }
            Answer { denied: Some(why), .. } => {
                self.outcome = Outcome::Denied;
                self.why = why.to_string();
                self.policy = why.policy.as_ref().map(ToString::to_string);
                self.clauses = why.clause.iter().map(ClauseText::new).collect();
            }
            Answer { forwarded: Some(_), .. } if code == 200 => {
                self.outcome = Outcome::Forwarded;
                self.status = None;
                let shares = self.backends.iter().filter(|one| one.weight > 0).map(|one| one.name.as_str());
                self.why = format!("goes to {}", shares.collect::<Vec<_>>().join(" or "));
            }
            Answer { .. } if (300..400).contains(&code) && is_local => {
                self.outcome = Outcome::Redirected;
                let location = answer.headers.iter().find(|(name, _)| name == "location");
                self.why = location.map_or("is redirected".into(), |(_, to)| format!("is redirected to {to}"));
            }
            Answer { nearest: Some(nearest), .. } if answer.details == "route_not_found" => {
                self.outcome = Outcome::NotFound;
                self.not_found(world, nearest);
            }
            Answer { status: 0, .. } => self.why = "the connection is closed without an answer".into(),
            Answer { .. } if code >= 500 => {
                self.outcome = Outcome::Failed;
                self.failed(world, &answer);
            }
            Answer { details, .. } if self.route.is_none() => {
                self.outcome = Outcome::Refused;
                self.why = format!("is refused: {details}");
            }
            Answer { details, .. } => {
                self.outcome = Outcome::Answered;
                self.why = format!("the proxy answers itself: {details}");
            }
        }
        if answer.forwarded.is_none() {
            let tells = |name: &str| !["date", "server", "content-length", "connection"].contains(&name);
            self.headers = answer.headers.into_iter().filter(|(name, _)| tells(name)).collect();
        }
        self
    }

    fn sent_to(&mut self, to: &Forwarded) {
        self.backend = Some(backend(&to.cluster));
        let total: u32 = to.clusters.iter().map(|(_, weight, _)| weight).sum();
        for (cluster, weight, answers) in &to.clusters {
            let name = backend(cluster);
            if !answers && *weight > 0 && to.clusters.len() > 1 {
                let what = "has no endpoint that is ready, or does not exist";
                self.notes.push(format!("{weight} of {total} requests fail: {name} {what}"));
            }
            self.backends.push(BackendText { name, weight: *weight });
        }
        let endpoints = to.endpoints.iter();
        let endpoints = endpoints.map(|one| EndpointText { address: one.address.to_string(), ready: one.healthy });
        let names = to.names.iter().map(|(host, port)| EndpointText { address: format!("{host}:{port}"), ready: true });
        self.endpoints = endpoints.chain(names).collect();
        self.mirrors = to
            .mirrors
            .iter()
            .map(|(cluster, parts)| format!("{} ({}%)", backend(cluster), f64::from(*parts) / 10_000.0))
            .collect();
        let (method, host, target) = to.request.clone();
        self.sent = Some(Sent { method, host, target, headers: to.headers.clone(), tls: to.tls });
    }

    /// Which came nearest, and which would have come if it were attached.
    fn not_found(&mut self, world: &World, nearest: &Nearest) {
        match nearest {
            Nearest { virtual_host: None, domains, .. } => {
                self.why = "no route is for this host".into();
                self.alike(domains);
            }
            Nearest { virtual_host: Some(host), route: None, domains, .. } => {
                let host = host.rsplit_once('/').map_or(host.as_str(), |(_, host)| host);
                self.why = format!("host {host} has no routes");
                self.alike(domains);
            }
            Nearest { virtual_host: Some(host), route: Some(name), clauses, routes, .. } => {
                let host = host.rsplit_once('/').map_or(host.as_str(), |(_, host)| host);
                self.why = format!("none of the {routes} matches on host {host} takes it");
                let near = route(world, name).map_or(name.clone(), |route| route.to_string());
                let clauses: Vec<ClauseText> = clauses.iter().map(ClauseText::new).collect();
                let texts: Vec<String> = clauses.iter().map(ToString::to_string).collect();
                self.notes.push(format!("nearest is {near}: {}", texts.join("; ")));
                self.clauses = clauses;
            }
        }
        let host = self.canonical.as_ref().map(|(host, _)| host.clone()).unwrap_or_default();
        self.notes.extend(unattached(world, &self.gateway, &host));
    }

    fn alike(&mut self, domains: &[String]) {
        if !domains.is_empty() {
            self.notes.push(format!("the hosts most like it: {}", domains.join(", ")));
        }
    }

    fn failed(&mut self, world: &World, answer: &Answer) {
        self.why = match (answer.details.as_str(), &answer.forwarded) {
            ("cluster_not_found", _) => "the rule has no backend that could be used".into(),
            ("no_healthy_upstream", Some(_)) => {
                format!("{} has no endpoint that is ready", self.backend.as_deref().unwrap_or("the backend"))
            }
            ("direct_response", _) => "the rule can't be served as it is written".into(),
            (details, _) => details.to_owned(),
        };
        let origin = answer.route.as_deref().and_then(|name| world.route(name));
        self.notes.extend(origin.iter().flat_map(|origin| complaints(world, &origin.object)));
        let outside = answer.forwarded.as_ref().and_then(|to| xbackend(&to.cluster));
        self.notes.extend(outside.iter().flat_map(|(backend, _)| complaints(world, backend)));
    }
}

/// What is said of an object that isn't good.
fn complaints(world: &World, object: &ObjectId) -> Vec<String> {
    let Some(status) = world.status(object) else { return Vec::new() };
    let conditions = status.conditions.iter().chain(status.parents.iter().flat_map(|parent| &parent.conditions));
    let bad = conditions.filter(|condition| judge(condition) == State::Bad);
    let mut texts: Vec<String> = bad.map(|condition| format!("{object}: {condition}")).collect();
    texts.dedup();
    texts
}

/// Routes that want to be on this Gateway and for this host, and aren't.
fn unattached(world: &World, gateway: &str, host: &str) -> Vec<String> {
    let routes = world.statuses.iter().filter(|(object, _)| object.kind.ends_with("Route"));
    let ours = routes.filter(|(object, status)| {
        let on_gateway = |parent: &&model::ParentStatus| parent.parent.to_string() == gateway;
        let refused = |parent: &model::ParentStatus| {
            parent.conditions.iter().any(|one| one.kind == "Accepted" && judge(one) == State::Bad)
        };
        let json = world.objects.get(&id(object)).and_then(|object| object.to_json().ok()).unwrap_or_default();
        status.parents.iter().filter(on_gateway).any(refused) && is_for(&json, host)
    });
    ours.flat_map(|(object, _)| complaints(world, &id(object))).collect()
}

fn is_for(route: &Value, host: &str) -> bool {
    let names = route["spec"]["hostnames"].as_array();
    names.is_none_or(|names| names.is_empty() || names.iter().filter_map(Value::as_str).any(|name| covers(name, host)))
}

/// Whether a host name, perhaps with a wildcard, is for a host.
fn covers(name: &str, host: &str) -> bool {
    match name.strip_prefix('*') {
        Some(suffix) => host.len() > suffix.len() && host.to_ascii_lowercase().ends_with(&suffix.to_ascii_lowercase()),
        None => name.eq_ignore_ascii_case(host),
    }
}

/// The Gateway's listener that a connection and a host belong to: on its port the most specific for the host.
fn listener(world: &World, gateway: &str, port: u16, answer: &Answer) -> Option<String> {
    let (namespace, name) = gateway.split_once('/')?;
    let id = ObjectId { kind: Kind::Gateway.as_str().into(), namespace: namespace.into(), name: name.into() };
    let json = world.objects.get(&id)?.to_json().ok()?;
    let listeners = json["spec"]["listeners"].as_array()?;
    let on_port = listeners.iter().filter(|one| one["port"].as_u64() == Some(port.into()));
    // Each HTTPS listener has a chain of its own: `https.<port>.<listener>.<gateway>.<namespace>`.
    if let Some(rest) = answer.chain.strip_prefix(&format!("https.{port}.")) {
        let name = rest.strip_suffix(&format!(".{name}.{namespace}"))?;
        return on_port.filter_map(|one| one["name"].as_str()).find(|one| *one == name).map(str::to_owned);
    }
    let host = answer.virtual_host.as_deref().and_then(|name| name.rsplit_once('/')).map(|(_, host)| host);
    let host = host.or(answer.canonical.as_ref().map(|(host, _)| host.as_str())).unwrap_or("*");
    let of = |one: &&Value| {
        one["hostname"].as_str().is_none_or(|name| name.is_empty() || name == host || covers(name, host))
    };
    let best = on_port.filter(of).max_by_key(|one| one["hostname"].as_str().unwrap_or_default().len())?;
    best["name"].as_str().map(str::to_owned)
}

fn route(world: &World, name: &str) -> Option<RouteText> {
    let origin = world.route(name)?;
    let json = world.objects.get(&origin.object)?.to_json().ok()?;
    let rule = &json["spec"]["rules"][origin.rule];
    let filters = rule["filters"].as_array().into_iter().flatten();
    let path = crate::path::field(&format!("spec.rules[{}].matches[{}]", origin.rule, origin.matched));
    let (file, line, _) = world.place(&origin.object, &path);
    Some(RouteText {
        object: origin.object.to_string(),
        rule: origin.rule,
        matched: origin.matched,
        place: if line == 0 { file.to_string() } else { format!("{file}:{line}") },
        filters: filters.filter_map(|filter| filter["type"].as_str()).map(str::to_owned).collect(),
    })
}

/// `<namespace>/<service>:<port>`, `XBackend <namespace>/<name>:<port>`, or the cluster's name if it stands for something
/// else.
fn backend(cluster: &str) -> String {
    match (service(cluster), xbackend(cluster)) {
        (Some((id, port)), _) => format!("{}/{}:{port}", id.namespace, id.name),
        (None, Some((id, port))) => format!("{id}:{port}"),
        (None, None) => cluster.to_owned(),
    }
}

impl ClauseText {
    fn new(clause: &Clause) -> Self {
        let Clause { field, wanted, seen } = clause.clone();
        Self { field, wanted, seen }
    }
}

impl std::fmt::Display for ClauseText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} wanted {}, saw {}", self.field, self.wanted, self.seen)
    }
}

impl std::fmt::Display for RouteText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} rule {} match {} ({})", self.object, self.rule, self.matched, self.place)
    }
}
