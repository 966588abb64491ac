//! `windlass run`: the sample does what it prints, and a directory is told object by object. No Envoy.

use anyhow::{Result, ensure};
use std::time::Duration;
use tests::{
    http::{Call, call},
    objects::GATEWAY,
    place::{Place, program},
    process::{Process, eventually},
};

const LIMIT: Duration = Duration::from_secs(60);

/// Starts `windlass run` with its listeners on `.2` of the place.
fn start(place: &Place, more: &[&str]) -> Result<Process> {
    let arguments = [
        "run".to_owned(),
        format!("--bind={}", place.address(2)),
        "--port-offset=10000".to_owned(),
        format!("--admin={}", place.control(15_014)),
        format!("--xds={}", place.control(0)),
        format!("--data={}", place.make("data")?.display()),
    ];
    let more = more.iter().map(|word| (*word).to_owned());
    let arguments: Vec<String> = arguments.into_iter().chain(more).collect();
    Process::start("run", &program("windlass")?, &arguments, &place.make("logs")?)
}

/// Waits until it has printed something.
async fn prints(process: &Process, words: &str) -> Result<()> {
    let said = eventually(words, LIMIT, async || {
        ensure!(process.output().contains(words), "not printed");
        Ok(())
    });
    said.await.map_err(|error| error.context(process.tail()))
}

#[tokio::test]
async fn the_sample_does_what_it_says() -> Result<()> {
    let place = Place::take()?;
    let mut process = start(&place, &[])?;
    prints(&process, "Ctrl-C ends.").await?;
    let gateway = (place.address(2), 10_080).into();
    ensure!(process.output().contains(&format!("curl -i http://{gateway}/")), "{}", process.output());

    let get = async |path: &str| call(gateway, &Call::get("localhost", path)).await;
    let answer = get("/").await?;
    ensure!(answer.status == 200 && answer.body.starts_with(b"red: GET /"), "{answer:?}");
    let (mut red, mut blue) = (0, 0);
    for _ in 0..60 {
        match get("/split").await?.body.starts_with(b"red") {
            true => red += 1,
            false => blue += 1,
        }
    }
    // With weights of 3 to 1, fewer than this of either has a chance below one in a million.
    ensure!(red >= 20 && blue >= 1, "{red} red, {blue} blue");
    ensure!(get("/secret").await?.status == 403);
    prints(&process, "DENY policy default/no-secrets rule 0 matches").await?;
    ensure!(process.stop("INT", LIMIT).await, "it ends with 0:\n{}", process.tail());
    Ok(())
}

#[tokio::test]
async fn a_directory_is_told_object_by_object() -> Result<()> {
    let place = Place::take()?;
    let directory = place.make("objects")?;
    std::fs::write(directory.join("gateway.yaml"), GATEWAY)?;
    let process = start(&place, &[&directory.display().to_string()])?;
    prints(&process, "Gateway default/gw      ok      Accepted, Programmed; 1 listeners, 0 routes").await?;

    let route = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\nspec:\n  \
                 parentRefs: [{name: gw}]\n  rules:\n  - backendRefs: [{name: missing, port: 80}]\n";
    std::fs::write(directory.join("route.yaml"), route)?;
    prints(&process, "+ HTTPRoute default/r   error   on default/gw: ResolvedRefs=False (BackendNotFound)").await?;
    std::fs::write(directory.join("route.yaml"), route.replace("port: 80", "port: eighty"))?;
    prints(&process, "route.yaml:7:35: HTTPRoute default/r: spec.rules[0].backendRefs[0].port: wanted").await?;
    std::fs::remove_file(directory.join("route.yaml"))?;
    prints(&process, "- HTTPRoute default/r").await?;
    Ok(())
}
