//! Routes in many namespaces, each with a Service of its own: what the control plane and the proxy hold and burn, then
//! when nothing happens, then when all is gone again.

use super::{
    class,
    probe::{self, Client},
};
use crate::table::{Row, Table, Wanted};
use anyhow::{Context, Result, ensure};
use kube::api::DynamicObject;
use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};
use tests::{
    cluster::{self, Api, DEPLOYMENT, GATEWAY, HTTP_ROUTE},
    process::{Usage, eventually},
};

/// How long figures may settle.
const SETTLE: Duration = Duration::from_secs(10);

/// The rows.
pub async fn run(table: &mut Table, api: &Api, [namespaces, each]: [usize; 2], idle: u64) -> Result<()> {
    api.namespace("bench-scale").await?;
    let gateway = api.gateway("bench-scale", &class(), &[cluster::listener()]).await?;
    let backend = probe::backend(gateway.address.ip()).await?;
    let control = running("windlass-control", None)?;
    let proxy = running("windlass-proxy", Some("bench-scale/gw"))?;
    let before = Usage::of(control).resident;
    let names: Vec<String> = (0..namespaces).map(|number| format!("bench-scale-{number}")).collect();
    for name in &names {
        api.namespace(name).await?;
        let number = |number: usize| format!("s{number}");
        api.create_all((0..each).flat_map(|at| cluster::service(name, &number(at), backend))).await?;
        api.create_all((0..each).map(|at| cluster::route(name, &number(at), &gateway, &number(at)))).await?;
    }
    let last = format!("s{}.bench-scale-{}.example", each - 1, namespaces - 1);
    Client::connect(gateway.address).await?.until_ok(&last, Instant::now()).await?;
    tokio::time::sleep(SETTLE).await;

    let named = format!("{} routes", namespaces * each);
    let row =
        |what: &str, unit, figure, most| Row::new(what, &named, unit, figure, ("target", most), Wanted::Most(1.0));
    let versions = versions(api).await?;
    let began = (Usage::of(control), Instant::now());
    tokio::time::sleep(Duration::from_secs(idle)).await;
    let (now, seconds) = (Usage::of(control), began.1.elapsed().as_secs_f64());
    table.add(row("control plane, resident", "MiB", now.resident, 150.0));
    table.add(row("control plane, idle", "cores", (now.cpu - began.0.cpu) / seconds, 0.01));
    table.add(row("proxy, resident", "MiB", Usage::of(proxy).resident, 40.0));
    let written = self::versions(api).await?.into_iter().filter(|(id, at)| versions.get(id) != Some(at)).count();
    table.add(Row::new(
        &format!("objects written in {idle} s"),
        &named,
        "objects",
        written as f64,
        ("-", 0.0),
        Wanted::Known,
    ));

    for name in &names {
        api.all("/v1/Namespace").delete(name, &Default::default()).await?;
    }
    let routes = api.all(HTTP_ROUTE);
    let is_ours = |route: &DynamicObject| route.metadata.namespace.as_ref().is_some_and(|name| names.contains(name));
    eventually("the routes are gone", cluster::LIMIT, async || {
        ensure!(!routes.list(&Default::default()).await?.items.iter().any(is_ours), "some are there");
        Ok(())
    })
    .await?;
    tokio::time::sleep(SETTLE).await;
    let after = Usage::of(control).resident;
    table.add(Row::new(
        "control plane, resident after all is gone",
        &named,
        "MiB",
        after,
        ("before", before),
        Wanted::Known,
    ));
    Ok(())
}

/// The versions of everything that Windlass writes.
async fn versions(api: &Api) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    for kind in [GATEWAY, HTTP_ROUTE, "gateway.networking.k8s.io/v1/GatewayClass", DEPLOYMENT, "/v1/Service"] {
        for object in api.all(kind).list(&Default::default()).await? {
            let metadata = object.metadata;
            let (namespace, name) = (metadata.namespace.unwrap_or_default(), metadata.name.unwrap_or_default());
            all.insert(format!("{kind} {namespace}/{name}"), metadata.resource_version.unwrap_or_default());
        }
    }
    Ok(all)
}

/// The process of that name with that word in its command line: containers' processes are this machine's too.
fn running(name: &str, word: Option<&str>) -> Result<u32> {
    let mut ids = fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is = |id: &u32| {
        let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0);
        words.next().is_some_and(|program| program.ends_with(name.as_bytes()))
            && word.is_none_or(|word| words.any(|other| String::from_utf8_lossy(other).contains(word)))
    };
    ids.find(is).with_context(|| format!("no process {name} {} runs on this machine", word.unwrap_or_default()))
}
