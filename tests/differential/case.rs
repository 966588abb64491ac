//! The form of a case file: a first document with backends, certificates and requests, then Kubernetes objects.

use crate::streams::StreamRequest;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::{collections::BTreeMap, net::IpAddr, path::Path, time::Duration};
use tests::{
    backend::Speaks,
    http::{Call, Protocol},
    place::Place,
    stream::Acts,
};

/// One file.
#[derive(Debug)]
pub struct Case {
    /// The file's name without extension.
    pub name: String,
    /// The first document.
    pub plan: Plan,
    /// The other documents, as text.
    pub objects: String,
}

/// The first document.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// What it is about.
    #[allow(dead_code)]
    pub about: String,
    /// Echo backends, each with a Service of its name in `default`, port 80.
    #[serde(default)]
    pub backends: BTreeMap<String, BackendPlan>,
    /// TLS Secrets in `default`, with the names in their certificates.
    #[serde(default)]
    pub certificates: BTreeMap<String, Vec<String>>,
    /// Authorities, each a ConfigMap of its name in `default`.
    #[serde(default)]
    pub authorities: Vec<String>,
    /// TLS Secrets in `default` with certificates of an authority.
    #[serde(default)]
    pub issued: BTreeMap<String, Issued>,
    /// The requests, in order.
    #[serde(default)]
    pub requests: Vec<Request>,
    /// Backends of connections and datagrams, each with a Service of its name in `default`, port 80.
    #[serde(default)]
    pub streams: BTreeMap<String, Acts>,
    /// Exchanges with them, in order, after the requests.
    #[serde(default)]
    pub exchanges: Vec<StreamRequest>,
}

/// A backend.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BackendPlan {
    /// What it speaks; `h2c` also gives its Service that `appProtocol`. `grpc` doesn't: routes know it.
    pub speaks: Speaks,
    /// A Service whose endpoints list is empty.
    pub empty: bool,
    /// Nobody listens at its endpoint.
    pub dead: bool,
    /// It listens where `localhost` leads to, at a port that stands for `$PORT(<name>)` in the objects.
    pub local: bool,
    /// Its certificate; none is clear text.
    pub tls: Option<Issued>,
    /// Its clients need a certificate of this authority.
    pub clients: Option<String>,
    /// The `appProtocol` of its Service, if not that of what it speaks.
    pub app_protocol: Option<String>,
}

/// A certificate.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Issued {
    /// The authority; none is the certificate itself.
    pub by: Option<String>,
    /// Its names.
    pub names: Vec<String>,
}

/// One request and what is wanted of it. Strings are latin-1 on the wire.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// What it shows.
    pub name: String,
    #[serde(default)]
    protocol: Protocol,
    /// A call of gRPC: POST over HTTP/2 with the headers of one, the body as a message.
    #[serde(default)]
    grpc: bool,
    #[serde(default = "get")]
    method: String,
    #[serde(default = "slash")]
    path: String,
    #[serde(default = "example")]
    host: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: String,
    raw: Option<String>,
    sni: Option<String>,
    /// Before all else, TLS too: a PROXY header.
    #[serde(default)]
    pub preface: String,
    /// The certificate that the client shows, by its name in `issued`.
    pub certificate: Option<String>,
    /// The client's address: the last number of the place's network.
    source: Option<u8>,
    /// Which listener; 443 if there is an SNI, else 80.
    port: Option<u16>,
    /// How often it is sent; more than once asks for `share`.
    #[serde(default = "once")]
    pub repeat: u32,
    /// All of those at the same time.
    #[serde(default)]
    pub at_once: bool,
    /// What must be alike between the two data planes.
    #[serde(default)]
    pub alike: Alike,
    /// Why less than everything needs to be alike.
    #[serde(default)]
    pub why: String,
    /// What both must answer.
    #[serde(default)]
    pub expect: Expect,
}

/// How far two answers must be alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Alike {
    /// Status, headers, body, and what the backend saw.
    #[default]
    All,
    /// Status and backend.
    Status,
    /// Who answered: a backend, or nobody with a status of the same hundred. A closed connection counts as 400.
    Verdict,
    /// Our proxy answers as the case says; Envoy may do otherwise.
    Ours,
}

/// What must be true of an answer.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// The status.
    pub status: Option<u16>,
    /// The backend that answered; empty is none.
    pub backend: Option<String>,
    /// Headers of the answer; an empty value wants it absent.
    pub headers: BTreeMap<String, String>,
    /// The whole body.
    pub body: Option<String>,
    /// What the backend saw: `path`, `method`, `protocol`, `body`, or a header; an empty value wants it absent.
    pub saw: BTreeMap<String, String>,
    /// Backends that get a copy.
    pub mirrored: Vec<String>,
    /// Of repeated requests: the part of each backend, or of each status where nobody answered.
    pub share: BTreeMap<String, f64>,
    /// How many requests the backends saw, retries included.
    pub tries: Option<usize>,
    /// Fields of the line in the access log; an empty value wants none.
    pub log: BTreeMap<String, String>,
    /// No answer at all: the connection is refused or closed.
    pub closed: bool,
}

fn get() -> String {
    "GET".into()
}
fn slash() -> String {
    "/".into()
}
fn example() -> String {
    "a.example".into()
}
fn once() -> u32 {
    1
}

impl Case {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)?;
        let (plan, objects) = text.split_once("\n---\n").context("a case is a plan, ---, and objects")?;
        let plan: Plan = serde_yaml_ng::from_str(plan).with_context(|| format!("the plan of {}", path.display()))?;
        for request in &plan.requests {
            let excused = request.alike == Alike::All || !request.why.is_empty();
            ensure!(excused, "{}: {:?} wants a why", path.display(), request.name);
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, plan, objects: objects.into() })
    }
}

impl Request {
    /// The request on the wire.
    pub fn call(&self, place: &Place) -> Call {
        let of_call = self.grpc.then_some([("content-type", "application/grpc"), ("te", "trailers")]);
        let of_call = of_call.into_iter().flatten().map(|(name, value)| (name.to_owned(), value.to_owned()));
        // Bytes are characters below 256: see `http::latin1`.
        let length = u32::try_from(self.body.chars().count()).unwrap_or_default().to_be_bytes();
        let frame: String = [0].into_iter().chain(length).filter(|_| self.grpc).map(char::from).collect();
        Call {
            protocol: if self.grpc { Protocol::Http2 } else { self.protocol },
            method: if self.grpc { "POST".to_owned() } else { self.method.clone() },
            path: self.path.clone(),
            host: self.host.clone(),
            headers: of_call.chain(self.headers.iter().cloned()).chain(self.mark()).collect(),
            body: frame + &self.body,
            raw: self.raw.clone(),
            sni: self.sni.clone(),
            certificate: None,
            preface: place.fill(&self.preface),
            source: Some(place.address(self.source.unwrap_or(77))) as Option<IpAddr>,
            limit: Duration::from_secs(20),
        }
    }

    /// What finds its line in the access log: the user agent is its name.
    fn mark(&self) -> Option<(String, String)> {
        (!self.expect.log.is_empty()).then(|| ("user-agent".to_owned(), self.name.clone()))
    }

    /// The port of the Gateway's listener.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(if self.sni.is_some() { 443 } else { 80 })
    }
}
