//! XBackends: hosts outside of the cluster, the clusters that stand for them, and what routes to them need to know.
//!
//! One that can't be spoken to as it asks has no cluster: routes to it answer 500. One whose TLS refers to what isn't
//! there has a cluster without a way to it: 503, never clear text, and healed by the reference alone.

use crate::{
    Inputs, Settings,
    authority::Authorities,
    certificate::Certificates,
    frontend::client_certificate,
    gateway::Workload,
    grant::{Grants, Referrer},
    kind::RouteKey,
    listener,
    parent::Parents,
    service_policy::of_gateways,
    status::{Fault, unless},
    validation::Validation,
    wanted::Wanted,
};
use api::{BackendProtocol, BackendTlsMode, SecretObjectReference};
use engine::{Engine, Table, View};
use model::{
    AppProtocol, BackendTls, CertificateKey, Cluster, Condition, Discovery, ObjectKey, ObjectRef, Shown, Status, Trust,
    TrustKey,
};
use std::{collections::BTreeSet, sync::Arc};

const KIND: &str = "XBackend";
/// The most parents that a status may name.
const MOST_PARENTS: usize = 32;
const CLIENT_CERTIFICATE: &str = "spec.tls.clientCertificateRef";
/// What is said of clear text: the specification calls it a risk.
const CLEAR_TEXT: &str =
    "spec.tls: without it, or with mode None, only what clients encrypt themselves is safe on its way";

/// The tables of XBackends.
#[derive(Clone, Copy)]
pub(crate) struct XBackends {
    /// What references need to know.
    pub(crate) places: Table<ObjectKey, Place>,
    /// A cluster for each that we can speak to.
    pub(crate) clusters: Table<Arc<str>, Cluster>,
    /// The authorities that they name.
    pub(crate) trust: Table<TrustKey, Trust>,
    /// The Secrets and ConfigMaps that they refer to.
    pub(crate) wanted: Wanted,
    judged: Table<ObjectKey, Judged>,
}

/// Where it is and what is spoken there: its TLS is no business of routes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place {
    pub(crate) host: Arc<str>,
    pub(crate) port: u16,
    pub(crate) protocol: AppProtocol,
    /// The cluster that stands for it.
    pub(crate) cluster: Arc<str>,
    /// Why it can't be spoken to at all.
    pub(crate) fault: Option<Fault>,
}

/// One by itself.
#[derive(Clone, Debug, PartialEq)]
struct ReadBackend {
    place: Place,
    tls: Option<Tls>,
}

/// TLS towards it.
#[derive(Clone, Debug, PartialEq)]
struct Tls {
    validation: Validation,
    /// The Secret of the certificate that it is shown.
    shown: Option<SecretObjectReference>,
}

/// One with its references followed.
#[derive(Clone, Debug, Default, PartialEq)]
struct Judged {
    tls: Option<BackendTls>,
    /// Whether it refers to anything.
    refers: bool,
    fault: Option<Fault>,
    refs_fault: Option<Fault>,
}

pub(crate) fn declare(
    engine: &mut Engine,
    inputs: &Inputs,
    (authorities, certificates): (&Authorities, &Certificates),
    grants: Grants,
    settings: &Settings,
) -> XBackends {
    let domain = settings.cluster_domain.clone();
    let read = engine.derive("xbackends read", &inputs.xbackends, move |_, key, rows| {
        rows.iter().map(|backend| (key.clone(), read(key, &backend.spec, &domain))).collect()
    });
    let places = engine.derive("xbackend places", &read, |_, key, rows| {
        rows.iter().map(|backend| (key.clone(), backend.place.clone())).collect()
    });
    let (authorities, certificates) = (*authorities, *certificates);
    let judged = engine.derive("xbackends judged", &read, move |view, key, rows| {
        let tls = |backend: &Arc<ReadBackend>| backend.tls.clone();
        let judge = |tls: Option<Tls>| match tls {
            None => Judged::default(),
            Some(tls) => tls.judge(view, key, (&authorities, &certificates), grants),
        };
        rows.iter().map(|backend| (key.clone(), judge(tls(backend)))).collect()
    });
    let clusters = engine.derive("xbackend clusters", &places, move |view, key, rows| {
        let usable = rows.iter().filter(|place| place.fault.is_none());
        let cluster = |place: &Arc<Place>| {
            let tls = view.get(&judged, key)?.tls.clone();
            Some((place.cluster.clone(), place.spoken_to(tls)))
        };
        usable.filter_map(cluster).collect()
    });
    let trust = engine.derive("xbackend authorities", &read, move |view, _, rows| {
        let tls = rows.iter().filter_map(|backend| backend.tls.as_ref());
        tls.filter_map(|tls| tls.validation.trust(view, &authorities)).collect()
    });
    let wanted = engine.derive("objects wanted by xbackends", &read, move |view, key, rows| {
        let tls = rows.iter().filter_map(|backend| backend.tls.as_ref());
        tls.flat_map(|tls| tls.wanted(view, key, grants)).map(|object| (object, ())).collect()
    });
    XBackends { places, clusters, trust, wanted, judged }
}

fn read(key: &ObjectKey, spec: &api::BackendSpec, cluster_domain: &str) -> ReadBackend {
    let host: Arc<str> = spec.external_hostname.as_ref().map_or("", |external| &external.hostname).into();
    let port = spec.port.port;
    let (protocol, spoken) = match spec.protocol {
        // Which version of HTTP a route without a word on it means is ours to choose.
        None | Some(BackendProtocol::Http | BackendProtocol::Http11) => (AppProtocol::Http1, None),
        Some(BackendProtocol::Http2 | BackendProtocol::H2c) => (AppProtocol::H2c, None),
        Some(BackendProtocol::Tcp) => (AppProtocol::Opaque, None),
        Some(BackendProtocol::Mcp) => {
            let what = "spec.protocol: MCP is not supported; HTTP carries it without looking at it";
            (AppProtocol::Opaque, Some(Fault::new("UnsupportedProtocol", what)))
        }
    };
    let cluster = format!("xbackend|{port}||{}.{}", key.name, key.namespace).into();
    let fault = misnamed(&host, cluster_domain).or(spoken);
    let tls = spec.tls.as_ref().and_then(|tls| Tls::read(key, tls, &host));
    ReadBackend { place: Place { host, port, protocol, cluster, fault }, tls }
}

/// What is wrong with a host name that the API server takes: an address in any of its forms, or one of a Service.
fn misnamed(host: &str, cluster_domain: &str) -> Option<Fault> {
    let wrong = |what: &str| {
        let what = format!("spec.externalHostname.hostname: wanted a host outside of the cluster, saw {what} {host:?}");
        Some(Fault::new("Invalid", what))
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    let hexadecimal = last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if hexadecimal || last.bytes().all(|byte| byte.is_ascii_digit()) {
        return wrong("the address");
    }
    let inside = host.strip_suffix(cluster_domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    if inside { wrong("one of its domain,") } else { None }
}

impl Place {
    fn spoken_to(&self, tls: Option<BackendTls>) -> Cluster {
        let discovery = Discovery::Dns { host: self.host.clone(), port: self.port };
        Cluster { protocol: self.protocol, discovery, tls, proxy_protocol: false, retry_budget: None }
    }
}

impl Tls {
    /// None is clear text.
    fn read(key: &ObjectKey, tls: &api::BackendTls, host: &Arc<str>) -> Option<Self> {
        let field = "spec.tls.validation";
        let shown = match tls.mode {
            BackendTlsMode::None => return None,
            BackendTlsMode::ServerOnly => None,
            BackendTlsMode::ClientAndServer => tls.client_certificate_ref.clone(),
        };
        let validation = match &tls.validation {
            Some(written) => Validation::read((key, field), TrustKey::XBackend(key.clone()), Shown::Nothing, written),
            None => Validation::of_host(host, field, Shown::Nothing),
        };
        Some(Self { validation, shown })
    }

    fn judge(
        &self,
        view: &View,
        key: &ObjectKey,
        (authorities, certificates): (&Authorities, &Certificates),
        grants: Grants,
    ) -> Judged {
        let checked = self.validation.judge(view, authorities);
        let shown = self.shown.as_ref().map(|reference| {
            let (from, reference) = ((Referrer::XBackend, key), (CLIENT_CERTIFICATE, reference));
            client_certificate(view, from, reference, certificates, grants)
        });
        let refers = self.shown.is_some() || self.validation.refers();
        let (certificate, unreadable) = match shown.transpose() {
            Ok(certificate) => (certificate, None),
            Err(fault) => (None, Some(fault)),
        };
        let tls = match checked.fault.as_ref().or(unreadable.as_ref()) {
            None => self.originate(certificate),
            Some(_) => BackendTls::Broken,
        };
        let refs_fault = checked.refs_fault.or(unreadable);
        Judged { tls: Some(tls), refers, fault: checked.fault, refs_fault }
    }

    fn originate(&self, certificate: Option<CertificateKey>) -> BackendTls {
        let mut originate = self.validation.originate.clone();
        originate.shown = certificate.map_or(Shown::Nothing, Shown::Own);
        BackendTls::Originate(originate)
    }

    fn wanted(&self, view: &View, key: &ObjectKey, grants: Grants) -> Vec<ObjectRef> {
        let target = |one: &SecretObjectReference| listener::target(view, (Referrer::XBackend, key), one, grants).ok();
        let secret = self.shown.as_ref().and_then(target).map(|secret| ObjectRef::new("Secret", secret));
        self.validation.wanted().chain(secret).collect()
    }
}

/// Declares the statuses. Their parents are the Gateways that take a route which refers to the XBackend, whether requests
/// get there or not.
pub(crate) fn statuses(
    engine: &mut Engine,
    inputs: &Inputs,
    backends: &XBackends,
    named: Table<RouteKey, ObjectKey>,
    parents: &Parents,
    workloads: Table<ObjectKey, Workload>,
) -> Table<ObjectRef, Status> {
    let XBackends { places, judged, .. } = *backends;
    let parents = parents.parents;
    let users = engine.derive("gateways of xbackends", &named, move |view, route, rows| {
        let Some(attachment) = view.get(&parents, route) else { return Vec::new() };
        let gateways: BTreeSet<_> = attachment.gateways().collect();
        let used = |backend: &Arc<ObjectKey>| {
            let backend = ObjectKey::clone(backend);
            gateways.iter().map(move |gateway| (backend.clone(), ObjectKey::clone(gateway)))
        };
        rows.iter().flat_map(used).collect()
    });
    engine.derive("xbackend statuses", &inputs.xbackends, move |view, key, rows| {
        let (Some(place), Some(judged)) = (view.get(&places, key), view.get(&judged, key)) else { return Vec::new() };
        let conditions = conditions(&place, &judged);
        let gateways: BTreeSet<_> = view.rows(&users, key).iter().map(|gateway| ObjectKey::clone(gateway)).collect();
        let status = |object: &Arc<api::XBackend>| {
            let gateways = gateways.iter().take(MOST_PARENTS).cloned();
            let parents = of_gateways(view, workloads, gateways, &conditions);
            let observed_generation = object.metadata.generation.unwrap_or_default();
            let status = Status { observed_generation, parents, ..Status::default() };
            (!status.parents.is_empty()).then(|| (ObjectRef::new(KIND, key.clone()), status))
        };
        rows.iter().filter_map(status).collect()
    })
}

fn conditions(place: &Place, judged: &Judged) -> Vec<Condition> {
    let accepted = match place.fault.as_ref().or(judged.fault.as_ref()) {
        None if judged.tls.is_none() => Condition::yes_but("Accepted", "Accepted", CLEAR_TEXT),
        fault => unless("Accepted", fault),
    };
    let resolved = judged.refers.then(|| unless("ResolvedRefs", judged.refs_fault.as_ref()));
    [accepted].into_iter().chain(resolved).collect()
}
