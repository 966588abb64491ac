//! `attachedRoutes` of one Gateway while routes come: when it is right, and how often it was written.

use super::class;
use crate::table::{Row, Table, Wanted};
use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::{WatchEvent, WatchParams};
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};
use tests::cluster::{self, Api, GATEWAY};

/// How many routes are made at once.
const WIDTH: usize = 16;

/// What was seen of the Gateway.
#[derive(Default)]
struct Seen {
    writes: usize,
    wrong: usize,
    right_at: Option<Instant>,
}

/// The rows.
pub async fn run(table: &mut Table, api: &Api, routes: usize) -> Result<()> {
    let namespace = "bench-attached";
    api.namespace(namespace).await?;
    let gateway = api.gateway(namespace, &class(), &[cluster::listener()]).await?;
    // Sent and answered: between the two any number is right.
    let (sent, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let watched = watch(api, namespace, routes, &sent);
    let made = async {
        stream::iter(0..routes)
            .map(|number| {
                sent.fetch_add(1, Ordering::SeqCst);
                api.create(cluster::route(namespace, &format!("r{number}"), &gateway, "nobody"))
            })
            .buffer_unordered(WIDTH)
            .try_for_each(|_| async {
                done.fetch_add(1, Ordering::SeqCst);
                Ok(())
            })
            .await?;
        anyhow::Ok(Instant::now())
    };
    let (seen, last) = tokio::try_join!(watched, made)?;
    let right = seen.right_at.context("attachedRoutes was never right")?.saturating_duration_since(last).as_secs_f64();
    let named = format!("{routes} routes");
    let row = |what, unit, figure, most| Row::new(what, &named, unit, figure, ("target", most), Wanted::Most(1.0));
    table.add(row("attachedRoutes right after the last create", "s", right, 1.0));
    table.add(row("Gateway writes", "writes", seen.writes as f64, 25.0));
    table.add(Row::new("wrong values seen", &named, "values", seen.wrong as f64, ("-", 0.0), Wanted::Known));
    Ok(())
}

/// Follows the Gateway until all routes are counted. Each event is a write of somebody.
async fn watch(api: &Api, namespace: &str, routes: usize, sent: &AtomicUsize) -> Result<Seen> {
    let gateways = api.of(GATEWAY, namespace);
    let version = gateways.list(&Default::default()).await?.metadata.resource_version.unwrap_or_default();
    let mut events = gateways.watch(&WatchParams::default(), &version).await?.boxed();
    let (mut seen, mut last) = (Seen::default(), 0);
    let follow = async {
        while let Some(event) = events.try_next().await? {
            let WatchEvent::Modified(gateway) = event else { continue };
            seen.writes += 1;
            let count = gateway.data["status"]["listeners"][0]["attachedRoutes"].as_u64().unwrap_or_default() as usize;
            if count < last || count > sent.load(Ordering::SeqCst) {
                seen.wrong += 1;
            }
            last = count;
            if count == routes {
                seen.right_at = Some(Instant::now());
                return anyhow::Ok(());
            }
        }
        anyhow::bail!("the watch ended")
    };
    tokio::time::timeout(cluster::LIMIT, follow).await.context("attachedRoutes is not right in time")??;
    Ok(seen)
}
