//! From the creation of a route among many to its first 200: 404 before, and nothing else.

use super::{
    class,
    probe::{self, Client},
};
use crate::table::{Row, Table, Wanted, percentile};
use anyhow::Result;
use serde_json::json;
use std::time::{Duration, Instant};
use tests::cluster::{self, Api, HTTP_ROUTE};

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
            for number in 0..probes {
                let name = format!("p{number}-{}", u8::from(churn));
                let host = format!("{name}.{namespace}.example");
                client.status(&host).await?;
                api.create(route(&name)).await?;
                times.push(client.until_ok(&host, Instant::now()).await? * 1e3);
            }
            anyhow::Ok(times)
        };
        let times = tokio::select! {
            times = timed => times?,
            ended = other => return ended,
        };
        let named = format!("{among} routes");
        let while_ = if churn { ", under churn" } else { "" };
        for (percent, most) in [(50.0, 20.0), (99.0, 50.0)] {
            let what = format!("route created -> first 200, p{percent}{while_}");
            let figure = percentile(&times, percent);
            table.add(Row::new(&what, &named, "ms", figure, ("target", most), Wanted::Most(1.0)));
        }
    }
    Ok(())
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
