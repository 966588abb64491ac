//! From the creation of a route among many to its first 200: 404 before, and nothing else. Beside it the limit: when a watch
//! of ours, which does nothing else, is told of the route by the same API server.

use super::{
    class,
    probe::{self, Client},
};
use crate::table::{Row, Table, Wanted, percentile};
use anyhow::{Context, Result, bail, ensure};
use futures::{StreamExt, TryStreamExt};
use kube::api::{ListParams, WatchEvent, WatchParams};
use serde_json::json;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use tests::cluster::{self, Api, HTTP_ROUTE, LIMIT};
use tokio::{sync::watch, task::JoinSet, time::timeout};

/// The rows: at rest, then while another route is edited ten times a second.
pub async fn run(table: &mut Table, api: &Api, among: usize, probes: usize) -> Result<()> {
    let namespace = "bench-propagation";
    api.namespace(namespace).await?;
    let gateway = api.gateway(namespace, &class(), &[cluster::listener()]).await?;
    let backend = probe::backend(gateway.address.ip()).await?;
    for object in cluster::service(namespace, "backend", backend) {
        api.create(object).await?;
    }
    let route = |name: &str| cluster::route(namespace, name, &gateway, "backend");
    api.create_all((0..among).map(|number| route(&format!("r{number}")))).await?;
    let mut client = Client::connect(gateway.address).await?;
    client.until_ok(&format!("r{}.{namespace}.example", among.saturating_sub(1)), Instant::now()).await?;
    let written = statuses(api, namespace).await?.as_secs_f64();
    table.add(Row::new(
        "last route created -> every status written",
        &format!("{among} routes"),
        "s",
        written,
        ("-", 0.0),
        Wanted::Known,
    ));
    for churn in [false, true] {
        let other = async {
            if !churn {
                return std::future::pending::<Result<()>>().await;
            }
            loop {
                edit(api, namespace).await?;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let timed = async {
            let mut times = Vec::new();
            let told = Told::watch(api, namespace).await?;
            for number in 0..probes {
                let name = format!("p{number}-{}", u8::from(churn));
                let host = format!("{name}.{namespace}.example");
                client.status(&host).await?;
                api.create(route(&name)).await?;
                let created = Instant::now();
                let served = client.until_ok(&host, created).await? * 1e3;
                times.push((served, told.of(&name).await?.saturating_duration_since(created).as_secs_f64() * 1e3));
            }
            anyhow::Ok(times)
        };
        let (times, limit): (Vec<f64>, Vec<f64>) = tokio::select! {
            times = timed => times?.into_iter().unzip(),
            ended = other => return ended,
        };
        let named = format!("{among} routes");
        let while_ = if churn { ", under churn" } else { "" };
        for (percent, most) in [(50.0, 20.0), (99.0, 50.0)] {
            let what = format!("route created -> first 200, p{percent}{while_}");
            let figure = percentile(&times, percent);
            table.add(Row::new(&what, &named, "ms", figure, ("target", most), Wanted::Most(1.0)));
            table.add(Row::new(&what, &named, "ms", figure, ("a watch", percentile(&limit, percent)), Wanted::Known));
        }
    }
    Ok(())
}

/// Waits until every route has a status; how long that took, two seconds more or less.
async fn statuses(api: &Api, namespace: &str) -> Result<Duration> {
    let (began, routes) = (Instant::now(), api.of(HTTP_ROUTE, namespace));
    loop {
        let all = routes.list(&ListParams::default()).await?;
        if all.items.iter().all(|route| route.data["status"]["parents"].as_array().is_some_and(|all| !all.is_empty())) {
            return Ok(began.elapsed());
        }
        ensure!(began.elapsed() < LIMIT, "routes without a status");
        // Not oftener: a look at all of them keeps the API server from writing.
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// Changes a header of the first route.
async fn edit(api: &Api, namespace: &str) -> Result<()> {
    let value = format!("{:?}", Instant::now());
    let set =
        json!({"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": [{"name": "x", "value": value}]}});
    let rule = json!({"filters": [set], "backendRefs": [{"name": "backend", "port": 80}]});
    let patch = json!({"spec": {"rules": [rule]}});
    api.patch(HTTP_ROUTE, namespace, "r0", &patch).await
}

/// When a watch was told of routes, by their names.
struct Told {
    at: watch::Receiver<BTreeMap<String, Instant>>,
    /// Ends with this.
    _tasks: JoinSet<Result<()>>,
}

impl Told {
    /// Of a namespace, from now on.
    async fn watch(api: &Api, namespace: &str) -> Result<Self> {
        let routes = api.of(HTTP_ROUTE, namespace);
        let version = routes.list(&ListParams::default().limit(1)).await?.metadata.resource_version;
        let (tell, told) = watch::channel(BTreeMap::new());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut events = routes.watch(&WatchParams::default(), &version.unwrap_or_default()).await?.boxed();
            while let Some(event) = events.try_next().await? {
                if let WatchEvent::Added(route) = event {
                    let at = Instant::now();
                    let name = route.metadata.name.unwrap_or_default();
                    tell.send_modify(|all| _ = all.insert(name, at));
                }
            }
            bail!("the watch ended")
        });
        Ok(Self { at: told, _tasks: tasks })
    }

    async fn of(&self, name: &str) -> Result<Instant> {
        let mut told = self.at.clone();
        let all = timeout(LIMIT, told.wait_for(|all| all.contains_key(name))).await.context("no event")??;
        Ok(all[name])
    }
}
