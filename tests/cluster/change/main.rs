//! Change under load in a real cluster: through the address of a Gateway's load balancer, without retries, no request
//! fails, whatever is edited, rolled out or restarted. `change [--class CLASS] [--restarts N] [STORY..]`
//!
//! It runs beside a cluster that is up, with Windlass installed: `tests/cluster/run change` sees to both.

mod scene;
mod stories;

use anyhow::{Result, ensure};
use scene::Scene;
use std::{
    process::ExitCode,
    time::{Duration, Instant},
};
use stories::STORIES;
use tests::cluster::Api;

/// How much is asked for.
struct Asked {
    classes: Vec<String>,
    /// How often the backends are restarted.
    restarts: usize,
    /// Parts of the names of stories; none is all of them.
    parts: Vec<String>,
}

impl Asked {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut asked = Self { classes: Vec::new(), restarts: 50, parts: Vec::new() };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--class" => asked.classes.extend(arguments.next()),
                "--restarts" => asked.restarts = arguments.next().unwrap_or_default().parse()?,
                part => asked.parts.push(part.to_owned()),
            }
        }
        if asked.classes.is_empty() {
            asked.classes = vec!["windlass".into(), "windlass-envoy".into()];
        }
        let known = |part: &String| STORIES.iter().any(|(name, _)| name.contains(part.as_str()));
        let names: Vec<_> = STORIES.iter().map(|(name, _)| *name).collect();
        ensure!(asked.parts.iter().all(known), "wanted parts of {names:?}, seen {:?}", asked.parts);
        Ok(asked)
    }

    fn wants(&self, name: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|part| name.contains(part.as_str()))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("change: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// All stories, one after the other; how many failed.
async fn run() -> Result<usize> {
    let asked = Asked::read(std::env::args().skip(1))?;
    let api = Api::connect().await?;
    api.clean().await?;
    let (mut told, mut failed) = (0, 0);
    for class in &asked.classes {
        let mut scene = Scene::set(&api, class, asked.restarts).await?;
        for (name, story) in STORIES.iter().filter(|(name, _)| asked.wants(name)) {
            let began = Instant::now();
            scene.start_load().await?;
            let outcome = story(&scene).await;
            // Failures may come after the change, by what it left behind.
            tokio::time::sleep(Duration::from_secs(1)).await;
            let (sent, faults) = scene.end_load(outcome);
            told += 1;
            failed += usize::from(!faults.is_empty());
            let word = if faults.is_empty() { "ok" } else { "FAILED" };
            let seconds = began.elapsed().as_secs();
            println!("{word:6} {class:14} {name}: {sent} requests, {} faults, {seconds} s", faults.len());
            faults.iter().for_each(|fault| println!("         {fault}"));
        }
    }
    api.clean().await?;
    println!("change: {told} stories told, {failed} failed");
    Ok(failed)
}
