//! What a rehearsing worker notes of a request.

use super::{Answer, Nearest};
use crate::{
    Observer,
    config::{Cluster, Config, Discovery, Forward, Health, HttpManager, WeightedCluster},
    head::Head,
    log::Record,
    route::Request,
    serve::Link,
    upstream::Group,
};
use std::{cell::RefCell, net::SocketAddr, rc::Rc, time::Duration};

/// Where a request is sent, and how it looks then.
#[derive(Clone, Debug, Default)]
pub struct Forwarded {
    /// The cluster that was drawn.
    pub cluster: String,
    /// All that could be drawn, with their weights, and whether anybody would answer.
    pub clusters: Vec<(String, u32, bool)>,
    /// The endpoints of the cluster that was drawn.
    pub endpoints: Vec<Backend>,
    /// The names that are asked for where DNS knows the endpoints.
    pub names: Vec<(String, u16)>,
    /// The method, the host, and the path with its query.
    pub request: (String, String, String),
    /// Its fields.
    pub headers: Vec<(String, String)>,
    /// Copies: clusters, and how many of a million requests.
    pub mirrors: Vec<(String, u32)>,
    /// The time that the whole may take.
    pub timeout: Option<Duration>,
    /// Whether the backend is spoken to over TLS.
    pub tls: bool,
}

/// An endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Where.
    pub address: SocketAddr,
    /// Whether it gets requests.
    pub healthy: bool,
    /// Whether it was picked.
    pub picked: bool,
}

/// Notes on the request under way.
#[derive(Default)]
pub(crate) struct Notes(RefCell<Answer>);

impl Notes {
    pub(super) fn clear(&self) {
        *self.0.borrow_mut() = Answer::default();
    }

    pub(super) fn take(&self) -> Answer {
        self.0.take()
    }

    /// A filter would have asked a service, such as one that authorizes.
    pub(crate) fn asked(&self, cluster: &str) {
        self.0.borrow_mut().asked.push(cluster.into());
    }

    /// A request is on its way to a cluster, its head edited. Says whether anybody would answer it.
    pub(crate) fn forwarded(
        &self,
        config: &Config,
        head: &Head,
        (to, weighted): (&Forward, &WeightedCluster),
        (cluster, group): (&Cluster, &Group),
    ) -> bool {
        let picked = group.pick(|| 0, None).map(|target| target.address);
        let (names, dns) = match &cluster.spec.discovery {
            Discovery::Dns { hosts, .. } => {
                (hosts.iter().map(|(host, port)| (host.to_string(), *port)).collect(), true)
            }
            Discovery::Endpoints => (Vec::new(), false),
        };
        let backends = cluster.endpoints.list.iter().map(|endpoint| Backend {
            address: endpoint.address,
            healthy: endpoint.health == Health::Healthy,
            picked: Some(endpoint.address) == picked,
        });
        self.0.borrow_mut().forwarded = Some(Forwarded {
            cluster: weighted.cluster.to_string(),
            clusters: to.clusters.iter().map(|one| drawn(config, one)).collect(),
            endpoints: backends.collect(),
            names,
            request: (head.method().into(), head.authority().into(), head.target().into()),
            headers: fields(head),
            mirrors: to.mirrors.iter().map(|mirror| (mirror.cluster.to_string(), mirror.per_million)).collect(),
            timeout: to.timeout,
            tls: cluster.spec.tls.is_some(),
        });
        dns || picked.is_some()
    }

    /// A request has ended; what the log will have of it comes apart.
    pub(crate) fn ended(&self, config: &Config, link: &Link, head: &Head) {
        let mut answer = self.0.borrow_mut();
        // One that is forwarded has been edited: its canonical form is what was noted before.
        if answer.forwarded.is_some() {
            return;
        }
        answer.canonical = Some((head.host().into(), head.path().into()));
        let request = Request::from(head);
        let Some(table) = config.table(&link.http.routes) else { return };
        match table.select(&request) {
            Some(selected) => {
                answer.virtual_host = Some(selected.host.name.to_string());
                answer.route = Some(selected.route.name.to_string());
            }
            None => answer.nearest = Some(Nearest::find(table, &request)),
        }
    }
}

fn drawn(config: &Config, one: &WeightedCluster) -> (String, u32, bool) {
    let answers = config.cluster(&one.cluster).is_some_and(|cluster| {
        let ready = cluster.endpoints.list.iter().any(|endpoint| endpoint.health == Health::Healthy);
        ready || matches!(cluster.spec.discovery, Discovery::Dns { .. })
    });
    (one.cluster.to_string(), one.weight, answers)
}

fn fields(head: &Head) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    head.fields().iter().map(|(name, value)| (name.to_owned(), text(value))).collect()
}

impl Observer for Rc<Notes> {
    fn ended(&self, _: &HttpManager, record: &Record<'_>) {
        let mut answer = self.0.borrow_mut();
        answer.details = record.details.unwrap_or_default().into();
        answer.denied = record.denied.cloned();
        if let Some(route) = record.route {
            answer.route = Some(route.into());
            answer.virtual_host = record.virtual_host.map(Into::into);
        }
    }
}
