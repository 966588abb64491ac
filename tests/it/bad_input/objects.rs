//! All kinds of wrong objects at once, among a thousand good routes, through both data planes; then their fixes, one by one.

use super::bench::{Bench, LIMIT};
use anyhow::{Context, Result, ensure};
use std::time::{Duration, Instant};
use tests::{
    bad::{self, Bad, Serves},
    http::{Call, call},
    objects,
    process::eventually,
};

const ROUTES: usize = 1000;

pub async fn all(bench: &mut Bench) -> Result<()> {
    let all = bad::all(bench.backend())?;
    let routes: Vec<_> = (0..ROUTES).map(good).map(|host| objects::route(&host, &host, &[("a", 1)])).collect();
    bench.write("all.yaml", bad::GATEWAY)?;
    bench.write("goods.yaml", &routes.concat())?;
    sample(bench).await.context("before anything is wrong")?;

    for bad in &all {
        bench.write(&format!("{}.yaml", bad.name), &bad.wrong)?;
    }
    eventually("all that is wrong is said", LIMIT, async || {
        let lines = bench.lines().await?;
        let said = |bad: &&Bad| lines.iter().any(|line| bad.says.iter().all(|word| line.contains(word)));
        let unsaid: Vec<_> = all.iter().filter(|bad| !said(bad)).map(|bad| (&bad.name, &bad.says)).collect();
        ensure!(unsaid.is_empty(), "{unsaid:?}");
        Ok(())
    })
    .await?;
    for bad in &all {
        if let Some(status) = bad.meanwhile {
            let request = Serves { status, port: 80, tls: false };
            served(bench, bad, request).await.with_context(|| format!("{}, while it is wrong", bad.name))?;
        }
    }
    sample(bench).await.context("while all of it is wrong")?;
    bench.still_updates().await?;

    let mut spent = Vec::new();
    for bad in &all {
        let began = Instant::now();
        bench.write(&format!("{}.yaml", bad.name), &bad.right)?;
        if let Some(serves) = bad.serves {
            served(bench, bad, serves).await.with_context(|| format!("{}, after its fix", bad.name))?;
            spent.push((began.elapsed(), &bad.name));
        }
    }
    bench.says_nothing_of("yaml").await?;
    sample(bench).await.context("after the fixes")?;
    bench.still_updates().await?;
    let refused = bench.control.metric("pilot_total_xds_rejects", &[]).await?;
    ensure!(refused == 0.0, "the data planes refused {refused} resources");

    spent.sort();
    let (median, (most, last)) = (spent[spent.len() / 2].0, spent[spent.len() - 1]);
    println!("bad objects: {} kinds, fixed and served in {median:?} (median), {most:?} (most, {last})", all.len());
    ensure!(median < Duration::from_secs(1), "a fix is in force after {median:?}");
    Ok(())
}

fn good(number: usize) -> String {
    format!("good{number}.example")
}

/// Some of the good routes serve.
async fn sample(bench: &Bench) -> Result<()> {
    for number in (0..ROUTES).step_by(111) {
        bench.answers(&Call::get(&good(number), "/"), 200).await?;
    }
    Ok(())
}

async fn served(bench: &Bench, bad: &Bad, wanted: Serves) -> Result<()> {
    let host = format!("{}.example", bad.name);
    let request = if wanted.tls { Call::get(&host, "/").over_tls(&host) } else { Call::get(&host, "/") };
    for plane in &bench.planes {
        eventually(&format!("{}: {host} is answered", plane.name), LIMIT, async || {
            let answer = call(plane.at(wanted.port), &request).await?;
            ensure!(answer.status == wanted.status, "wanted {}, saw {}", wanted.status, answer.status);
            Ok(())
        })
        .await?;
    }
    Ok(())
}
