//! Bad input heals: each wrong thing gets a clear error or its condition, all else keeps serving and updating, and
//! after the fix the object works without a restart. The real programs, driven by files, ports and pages.

#[path = "bad_input/objects.rs"]
mod bad_objects;
#[path = "bad_input/bench.rs"]
mod bench;
#[path = "bad_input/cases.rs"]
mod cases;
#[path = "bad_input/strangers.rs"]
mod strangers;

use anyhow::{Context, Result, ensure};
use bench::{Bench, LIMIT, good};
use std::{
    fs,
    os::unix::fs::symlink,
    time::{Duration, SystemTime},
};
use tests::{
    http::{Call, call},
    objects,
    place::{Place, program},
    process::{Process, eventually, words},
};

#[tokio::test]
async fn objects_that_are_wrong_say_so_and_heal() -> Result<()> {
    let mut bench = Bench::start().await?;
    let mut failed = Vec::new();
    for case in cases::all()? {
        if let Err(error) = bench.check(&case).await {
            failed.push(format!("{}: {error:#}", case.name));
        }
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n\n"));
    let refused = bench.control.metric("pilot_total_xds_rejects", &[]).await?;
    ensure!(refused == 0.0, "the data planes refused {refused} resources");
    bench.end().await
}

#[tokio::test]
async fn every_kind_of_wrong_object_hurts_only_itself() -> Result<()> {
    let mut bench = Bench::start().await?;
    bad_objects::all(&mut bench).await?;
    bench.end().await
}

#[tokio::test]
async fn files_that_are_no_files_hurt_no_others() -> Result<()> {
    let mut bench = Bench::start().await?;
    let aside = bench.place.make("aside")?;
    let objects = bench.place.make("objects")?;
    fs::create_dir(objects.join("directory.yaml"))?;
    symlink(aside.join("nowhere"), objects.join("dangling.yaml"))?;
    fs::write(objects.join("binary.yaml"), [0, 159, 146, 150, 0, 255])?;
    fs::write(objects.join("huge.yaml"), "")?;
    fs::File::options().write(true).open(objects.join("huge.yaml"))?.set_len(1 << 30)?;
    fs::write(objects.join("deep.yaml"), "[".repeat(100_000))?;
    let laughs = (1..30).map(|n| format!("a{n}: &a{n} [*a{0}, *a{0}, *a{0}, *a{0}]\n", n - 1)).collect::<String>();
    fs::write(objects.join("laughs.yaml"), format!("a0: &a0 [x]\n{laughs}"))?;
    for file in ["binary.yaml", "huge.yaml", "deep.yaml", "laughs.yaml"] {
        bench.says(&[file]).await?;
    }
    bench.still_updates().await?;
    for file in ["dangling.yaml", "binary.yaml", "huge.yaml", "deep.yaml", "laughs.yaml"] {
        fs::remove_file(objects.join(file))?;
    }
    fs::remove_dir(objects.join("directory.yaml"))?;
    bench.says_nothing_of("yaml").await?;
    bench.end().await
}

#[tokio::test]
async fn files_that_come_and_go_while_they_are_read_lose_nothing() -> Result<()> {
    let mut bench = Bench::start().await?;
    let objects = bench.place.make("objects")?;
    let route = objects::route("flicker", "flicker.example", &[("a", 1)]);
    for turn in 0..300 {
        let file = objects.join(format!("flicker-{}.yaml", turn % 7));
        // Written in place, in pieces: a reader may see any of them.
        fs::write(&file, &route[..route.len() / 2])?;
        if turn % 3 == 0 {
            fs::write(&file, &route)?;
        }
        fs::remove_file(&file)?;
        tokio::time::sleep(Duration::from_millis(u64::from(turn % 5 == 0))).await;
    }
    bench.says_nothing_of("flicker").await?;
    bench.still_updates().await?;
    bench.write("flicker.yaml", &route)?;
    bench.answers(&Call::get("flicker.example", "/"), 200).await?;
    bench.end().await
}

#[tokio::test]
async fn a_port_in_use_stops_a_program_with_its_name() -> Result<()> {
    let bench = Bench::start_alone().await?;
    let taken = bench.control.plaintext();
    let arguments = format!(
        "xds {} --listen {taken} --data {}",
        bench.place.make("objects")?.display(),
        bench.place.make("second")?.display()
    );
    let arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
    let mut second = Process::start("second", &program("windlass")?, &arguments, &bench.place.make("logs")?)?;
    let status =
        eventually("the second control plane gives up", LIMIT, async || second.exit().context("it runs")).await?;
    ensure!(status.code() == Some(1), "{status}");
    ensure!(second.output().contains(&taken.to_string()), "{}", second.output());
    bench.end().await
}

const TAKEN: [&str; 4] =
    ["Gateway default/gw more Programmed=False", "Listener 0.0.0.0_8080", "Address already in use", "free the address"];
const SERVED: [&str; 1] = ["Gateway default/gw more Programmed=True"];

#[tokio::test]
async fn a_port_in_use_is_told_by_the_gateway_until_it_is_free() -> Result<()> {
    let mut bench = Bench::start().await?;
    let mut blockers = Vec::new();
    for plane in &bench.planes {
        blockers.push(tokio::net::TcpListener::bind(plane.at(8080)).await?);
    }
    bench.write("all.yaml", &format!("{}  - {{name: more, port: 8080, protocol: HTTP}}\n", objects::GATEWAY))?;
    bench.says(&TAKEN).await?;
    bench.says(&["Gateway default/gw Programmed=False", "Address already in use"]).await?;
    bench.says(&["Gateway default/gw http Programmed=True"]).await?;
    bench.still_updates().await?;
    // It is offered again and again, and told once by each side.
    let offers = async || bench.control.metric("pilot_total_xds_rejects", &[]).await;
    let before = offers().await?;
    eventually("it is offered again", LIMIT, async || {
        let now = offers().await?;
        ensure!(now >= before + 3.0, "{now}");
        Ok(())
    })
    .await?;
    let told = |output: String, words: &str| output.lines().filter(|line| line.contains(words)).count();
    let refusals = told(bench.control.process.output(), "a proxy refuses a resource");
    ensure!(refusals == bench.planes.len(), "told {refusals} times: {}", bench.control.process.tail());
    let refusals = told(bench.planes[0].process.output(), "resource refused");
    ensure!(refusals == 1, "told {refusals} times: {}", bench.planes[0].process.tail());

    drop(blockers);
    bench.says(&SERVED).await?;
    bench.says(&["Gateway default/gw Programmed=True"]).await?;
    for plane in &bench.planes {
        let answer = call(plane.at(8080), &good()).await?;
        ensure!(answer.status == 200, "{}: {}", plane.name, answer.status);
    }
    bench.end().await
}

#[tokio::test]
async fn a_port_that_is_in_use_when_a_proxy_comes_back_is_told_too() -> Result<()> {
    let mut bench = Bench::start_alone().await?;
    bench.write("all.yaml", &format!("{}  - {{name: more, port: 8080, protocol: HTTP}}\n", objects::GATEWAY))?;
    bench.says(&SERVED).await?;
    bench.unload();
    // It starts from what it keeps on disk, and has acknowledged that before.
    bench.planes[0].process.stop("KILL", LIMIT).await;
    let blocker = tokio::net::TcpListener::bind(bench.planes[0].at(8080)).await?;
    bench.planes[0].restart().await?;
    bench.says(&TAKEN).await?;
    bench.answers(&good(), 200).await?;
    drop(blocker);
    bench.says(&SERVED).await?;
    let answer = call(bench.planes[0].at(8080), &good()).await?;
    ensure!(answer.status == 200, "{}", answer.status);
    bench.end().await
}

#[tokio::test]
async fn strangers_get_a_code_and_change_nothing() -> Result<()> {
    let mut bench = Bench::start().await?;
    strangers::all(&bench).await?;
    bench.still_updates().await?;
    bench.end().await
}

#[tokio::test]
async fn a_plug_in_authority_that_does_not_fit_is_refused_by_name() -> Result<()> {
    let place = Place::take()?;
    let (objects, authority) = (place.make("objects")?, place.make("authority")?);
    let one = tests::tls::certificate(&["ca".into()])?;
    let other = tests::tls::certificate(&["ca".into()])?;
    let files = [
        ("ca-cert.pem", &one.chain),
        ("ca-key.pem", &other.key),
        ("cert-chain.pem", &one.chain),
        ("root-cert.pem", &one.chain),
    ];
    // Each time one file more is there; with all of them the key is the wrong one.
    let wanted = files.map(|(file, _)| file).into_iter().map(Some).chain([None]);
    for (at, missing) in wanted.enumerate() {
        let arguments = format!(
            "xds {} --listen {} --data {} --ca {}",
            objects.display(),
            place.control(15_012),
            place.make("data")?.display(),
            authority.display()
        );
        let arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
        let mut process = Process::start("authority", &program("windlass")?, &arguments, &place.make("logs")?)?;
        let status = eventually("it gives up", LIMIT, async || process.exit().context("it runs")).await?;
        ensure!(status.code() == Some(1), "{status}");
        let wanted = missing.unwrap_or("the CA key does not belong to the CA certificate");
        ensure!(process.output().contains(wanted), "wanted {wanted} in: {}", process.output());
        if let Some((file, content)) = files.get(at) {
            fs::write(authority.join(file), content)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_proxy_whose_roots_or_token_lie_says_so_and_heals_when_they_are_mended() -> Result<()> {
    let bench = Bench::start_alone().await?;
    let Bench { mut control, place, .. } = bench;
    let data = place.make("control")?;
    let (roots, token) = (place.directory().join("roots.pem"), place.directory().join("token"));
    fs::write(&roots, tests::tls::certificate(&["istiod.istio-system.svc".into()])?.chain)?;
    fs::write(&token, "garbage")?;
    let at = std::net::SocketAddr::from((place.address(4), 80 + tests::fixture::PORT_OFFSET));
    let arguments = format!(
        "--gateway default/gw --control {} --control-name istiod.istio-system.svc --service-account gw-windlass \
         --token-file {} --root-cert {} --admin {}:15000 --bind {} --data {} --concurrency 1",
        place.control(15_012),
        token.display(),
        roots.display(),
        at.ip(),
        at.ip(),
        place.make("mtls")?.display()
    );
    let arguments = words(&arguments);
    let start = || Process::start("mtls", &program("windlass-proxy")?, &arguments, &place.make("logs")?);
    let mut proxy = start()?;
    let says = async |proxy: &Process, word: &str| {
        eventually(&format!("the proxy says {word}"), LIMIT, async || {
            ensure!(proxy.output().contains(word), "it says:\n{}", proxy.tail());
            Ok(())
        })
        .await
    };
    let answers = async |host: &str| {
        eventually(&format!("{host} is answered"), LIMIT, async || {
            let answer = call(at, &Call::get(host, "/")).await?;
            ensure!(answer.status == 200, "{}", answer.status);
            Ok(())
        })
        .await
    };
    says(&proxy, "UnknownIssuer").await?;
    fs::copy(data.join("root-cert.pem"), &roots)?;
    says(&proxy, "request authenticate failure").await?;
    let identity = "spiffe://cluster.local/ns/default/sa/gw-windlass".parse()?;
    let good = ca::BootstrapTokens::open(&data)?.issue(&identity, SystemTime::now() + LIMIT * 20);
    fs::write(&token, good)?;
    answers("good.example").await?;

    // From here on there is neither token nor control plane: what was kept on disk must do.
    fs::remove_file(&token)?;
    control.process.stop("KILL", LIMIT).await;
    proxy.stop("KILL", LIMIT).await;
    proxy = start()?;
    answers("good.example").await.with_context(|| proxy.tail())?;
    control.restart().await?;
    control.write("later.yaml", &objects::route("later", "later.example", &[("a", 1)]))?;
    answers("later.example").await.with_context(|| proxy.tail())
}
