//! The figures: `windlass-bench [control|large|proxy|streams|ca|cluster].. [--smoke]`; without a name those that need no cluster. Ratios, never limits that
//! fail: a row that falls short says so, and only what cannot be measured is an error.

mod ca;
mod cluster;
mod control;
mod generator;
mod nginx;
mod proxy;
mod routes;
mod simulator;
mod streams;
mod table;

use anyhow::{Result, bail};
use table::Table;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // They block, and have runtimes of their own.
    match arguments.first().map(String::as_str) {
        Some("generate") => {
            return std::thread::spawn(move || generator::main(&arguments[1..])).join().expect("the generator");
        }
        Some("serve") => {
            return std::thread::spawn(move || streams::serve(&arguments[1..])).join().expect("the backend");
        }
        _ => {}
    }
    let smoke = arguments.iter().any(|argument| argument == "--smoke");
    let mut names: Vec<_> = arguments.iter().map(String::as_str).filter(|name| *name != "--smoke").collect();
    if names.is_empty() {
        names = vec!["control", "proxy", "ca"];
    }
    let mut rows = 0;
    for name in names {
        let mut table = Table::new();
        match name {
            "control" => control::run(&mut table, &control_size(smoke)).await?,
            "proxy" => proxy::run(&mut table, &proxy_size(smoke)).await?,
            // Parts of the two above.
            "large" => {
                control::run(&mut table, &control::Size { storms: vec![], ..largest(control_size(smoke)) }).await?
            }
            "streams" => streams::run(&mut table, &proxy_size(smoke)).await?,
            "ca" => ca::run(&mut table, if smoke { 200 } else { 20_000 }).await?,
            "cluster" => cluster::run(&mut table, &cluster_size(smoke)).await?,
            other => bail!("no bench is called {other}: control, proxy, ca, cluster, large or streams"),
        }
        rows += table.keep(&format!("{name}{}", if smoke { "-smoke" } else { "" }))?;
    }
    println!("bench: {rows} rows");
    Ok(())
}

fn control_size(smoke: bool) -> control::Size {
    if smoke {
        control::Size { routes: vec![100], clients: 10, edits: 20, storms: vec![20] }
    } else {
        control::Size { routes: vec![100, 1_000, 10_000], clients: 100, edits: 200, storms: vec![100, 500] }
    }
}

/// Only the largest number of routes.
fn largest(size: control::Size) -> control::Size {
    control::Size { routes: size.routes.iter().copied().max().into_iter().collect(), ..size }
}

fn cluster_size(smoke: bool) -> cluster::Size {
    if smoke {
        cluster::Size { attached: 50, among: 50, probes: 10, namespaces: [2, 10], idle: 5 }
    } else {
        cluster::Size { attached: 1_000, among: 3_000, probes: 300, namespaces: [50, 100], idle: 600 }
    }
}

fn proxy_size(smoke: bool) -> proxy::Size {
    if smoke {
        proxy::Size { seconds: 1, rounds: 1, connections: vec![64], routes: vec![500] }
    } else {
        proxy::Size { seconds: 4, rounds: 3, connections: vec![1, 64], routes: vec![5_000, 10_000] }
    }
}
