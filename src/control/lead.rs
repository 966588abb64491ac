//! What one replica does for all: statuses, Gateways' proxies, classes. It holds the Lease; when it loses it, it stops.

use crate::{
    Board,
    cluster::Cluster,
    deploy::{Deployer, Desired, Settings},
    lease, peers,
    write::{Seen, Writer},
};
use base::{drain::Drain, tasks::Tasks};
use kube::{
    Api,
    api::{ApiResource, DynamicObject, GroupVersionKind, PostParams},
};
use model::DataPlane;
use serde_json::json;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::sync::watch;

/// What leading needs.
pub struct Lead {
    /// The cluster.
    pub cluster: Cluster,
    /// Statuses.
    pub board: Board,
    /// The statuses that stand in the cluster.
    pub seen: Seen,
    /// What is to be made for Gateways.
    pub desired: Desired,
    /// Our controllers.
    pub controllers: BTreeMap<Arc<str>, DataPlane>,
    /// How proxies are run.
    pub settings: Settings,
}

/// The name of the leader's Lease.
pub const LEADER: &str = lease::NAME;
/// What the names of replicas' Leases begin with.
pub const REPLICA: &str = peers::PREFIX;
/// The classes that are made if they are missing, by controller.
const CLASSES: [(&str, &str); 3] = [
    (resolve::CONTROLLER, "windlass"),
    (resolve::ENVOY_CONTROLLER, "windlass-envoy"),
    ("istio.io/gateway-controller", "istio"),
];
/// Their description, as in the chart.
pub const DESCRIPTION: &str = "Gateways whose proxies Windlass runs";
/// Between two tries.
const AGAIN: Duration = Duration::from_secs(5);

/// Starts it all. It ends with the tasks.
pub fn start(lead: Lead, tasks: &Tasks) {
    let Lead { cluster, board, seen, desired, controllers, settings } = lead;
    board.collect();
    let (elected, leads) = watch::channel(false);
    let names: Vec<Arc<str>> = controllers.keys().cloned().collect();
    let writer = Writer {
        client: cluster.client.clone(),
        board: board.clone(),
        seen: seen.clone(),
        controllers: Arc::new(names.iter().cloned().collect()),
    };
    let deployer = Deployer { client: cluster.client.clone(), desired, board, controllers: names.into(), settings };
    let election = cluster.clone();
    let (replica, words) = (cluster.clone(), deployer.board.clone());
    tasks.spawn("other replicas", |drain| peers::run(replica, words, drain));
    tasks.spawn("leader election", |drain| lease::run(election, elected, drain));
    let mut writes = leads.clone();
    tasks.spawn("statuses", |drain| while_leading(leads.clone(), drain, async move || writer.lead(&mut writes).await));
    let mut deploys = leads.clone();
    tasks.spawn("deployer", |drain| {
        while_leading(leads.clone(), drain, async move || deployer.lead(&mut deploys).await)
    });
    tasks.spawn("gateway classes", |drain| {
        let (leads, cluster, controllers) = (leads.clone(), cluster, controllers);
        while_leading(leads.clone(), drain, async move || classes(&cluster, &controllers, leads.clone()).await)
    });
}

/// Does something whenever we lead; it ends by itself when we don't.
async fn while_leading(mut leads: watch::Receiver<bool>, mut drain: Drain, mut work: impl AsyncFnMut()) {
    loop {
        tokio::select! {
            elected = leads.wait_for(|leads| *leads) => if elected.is_err() { return },
            () = drain.drained() => return,
        }
        tokio::select! {
            () = work() => {}
            () = drain.drained() => return,
        }
    }
}

/// Makes the classes that are missing; whatever is there stays as it is. Then waits until we lead no more.
async fn classes(cluster: &Cluster, controllers: &BTreeMap<Arc<str>, DataPlane>, mut leads: watch::Receiver<bool>) {
    let group = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "GatewayClass");
    let api: Api<DynamicObject> = Api::all_with(cluster.client.clone(), &ApiResource::from_gvk(&group));
    let mut missing: Vec<_> =
        CLASSES.into_iter().filter(|(controller, _)| controllers.contains_key(*controller)).collect();
    while !missing.is_empty() {
        let mut left = Vec::new();
        for (controller, name) in missing {
            if let Err(error) = make(cluster, &api, controller, name).await {
                tracing::debug!(%error, name, "a GatewayClass can't be made yet");
                left.push((controller, name));
            }
        }
        missing = left;
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            _ = leads.wait_for(|leads| !leads) => return,
        }
    }
    let _ = leads.wait_for(|leads| !leads).await;
}

async fn make(cluster: &Cluster, api: &Api<DynamicObject>, controller: &str, name: &str) -> Result<(), kube::Error> {
    if api.get_opt(name).await?.is_some() {
        return Ok(());
    }
    let class = json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "GatewayClass",
        "metadata": {"name": name, "ownerReferences": cluster.owners().await},
        "spec": {"controllerName": controller, "description": DESCRIPTION},
    });
    let class = serde_json::from_value(class).map_err(kube::Error::SerdeError)?;
    match api.create(&PostParams::default(), &class).await {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        other => other.map(|_| ()),
    }
}
