//! One control plane, our proxy and stock Envoy if it is installed, a route that must never fail through either, and
//! what the control plane says of its input.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::{collections::BTreeSet, time::Duration};
use tests::{
    backend::{Backend, Speaks},
    fixture::{ControlPlane, DataPlane},
    http::{Call, call},
    load::Load,
    objects,
    place::Place,
    process::eventually,
};

/// How long anything may take on a slow and busy machine; only failures wait so long.
pub const LIMIT: Duration = Duration::from_secs(30);

/// The request that is answered with 200 all the time.
pub fn good() -> Call {
    Call::get("good.example", "/")
}

/// Something wrong, and its fix.
pub struct Case {
    /// What is wrong.
    pub name: &'static str,
    /// Objects that are there before, in files of their own.
    pub before: Vec<(&'static str, String)>,
    /// Requests and their status codes once those are in force.
    pub established: Vec<(Call, u16)>,
    /// The file with the wrong objects.
    pub file: &'static str,
    /// Its wrong content.
    pub bad: String,
    /// Words that one line of what the control plane says must have.
    pub says: Vec<&'static str>,
    /// Requests and their status codes while it is wrong.
    pub meanwhile: Vec<(Call, u16)>,
    /// The fix: another content for a file.
    pub fix: (&'static str, String),
    /// Requests and their status codes after it.
    pub healed: Vec<(Call, u16)>,
}

/// The programs, the backend `a`, the Gateway `gw` with port 80, and load on a route that nothing may hurt.
pub struct Bench {
    /// The control plane.
    pub control: ControlPlane,
    /// Our proxy is the first.
    pub planes: Vec<DataPlane>,
    loads: Vec<Load>,
    probes: usize,
    backend: Backend,
    /// Where they live.
    pub place: Place,
}

impl Bench {
    /// Starts it with both data planes.
    pub async fn start() -> Result<Self> {
        let mut bench = Self::start_alone().await?;
        if tests::place::envoy().is_ok() {
            let envoy = DataPlane::envoy(&bench.place, &bench.control).await?;
            bench.add(envoy).await?;
        }
        Ok(bench)
    }

    /// Starts it with our proxy alone.
    pub async fn start_alone() -> Result<Self> {
        let place = Place::take()?;
        let backend = Backend::start("a", place.address(9), Speaks::Http1).await?;
        let objects = place.make("objects")?;
        std::fs::write(objects.join("service.yaml"), objects::backend(&backend))?;
        std::fs::write(objects.join("good.yaml"), objects::route("good", "good.example", &[("a", 1)]))?;
        let control = ControlPlane::start(&place, objects::GATEWAY).await?;
        let proxy = DataPlane::windlass(&place, &control).await?;
        let mut bench = Self { control, planes: Vec::new(), loads: Vec::new(), probes: 0, backend, place };
        bench.add(proxy).await?;
        Ok(bench)
    }

    async fn add(&mut self, plane: DataPlane) -> Result<()> {
        plane.listening(80).await?;
        plane.answers(80, &good(), |answer| answer.status == 200).await?;
        let pause = Duration::from_millis(5);
        self.loads.push(Load::start(plane.at(80), good(), 2, pause, |answer| answer.status == 200));
        self.planes.push(plane);
        Ok(())
    }

    /// Ends the load on the route that nothing may hurt.
    pub fn unload(&mut self) {
        self.loads.clear();
    }

    /// Where the backend `a` listens.
    pub fn backend(&self) -> std::net::SocketAddr {
        self.backend.address
    }

    /// Writes a file of objects.
    pub fn write(&self, file: &str, objects: &str) -> Result<()> {
        self.control.write(file, objects)
    }

    /// Waits until a request is answered so by all data planes.
    pub async fn answers(&self, request: &Call, status: u16) -> Result<()> {
        for plane in &self.planes {
            let to = plane.at(if request.sni.is_some() { 443 } else { 80 });
            let what = format!("{}: {} {} is answered {status}", plane.name, request.host, request.path);
            eventually(&what, LIMIT, async || {
                let answer = call(to, request).await?;
                ensure!(answer.status == status, "saw {}", answer.status);
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// Waits until one line of what the control plane says has all of these words.
    pub async fn says(&self, words: &[&str]) -> Result<()> {
        eventually(&format!("the control plane says {words:?}"), LIMIT, async || {
            let lines = self.lines().await?;
            let said = lines.iter().any(|line| words.iter().all(|word| line.contains(word)));
            ensure!(said, "it says:\n{}", lines.join("\n"));
            Ok(())
        })
        .await
    }

    /// Waits until no problem has this word.
    pub async fn says_nothing_of(&self, word: &str) -> Result<()> {
        eventually(&format!("no problem is left with {word:?}"), LIMIT, async || {
            let lines = self.lines().await?;
            let left: Vec<_> = lines.iter().filter(|line| line.starts_with("problem") && line.contains(word)).collect();
            ensure!(left.is_empty(), "{left:#?}");
            Ok(())
        })
        .await
    }

    /// What the control plane says, a line for each problem and each condition.
    pub async fn lines(&self) -> Result<Vec<String>> {
        let answer = self.control.page("/debug/status").await?;
        let page: Value = serde_json::from_slice(&answer.body).context("/debug/status")?;
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let mut lines: Vec<String> =
            list(&page["problems"]).iter().map(|problem| format!("problem {problem}")).collect();
        for item in list(&page["items"]) {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (kind, metadata) = (text(&item["kind"]), &item["metadata"]);
            let object = format!("{kind} {}/{}", text(&metadata["namespace"]), text(&metadata["name"]));
            let owner = |owner: &Value| match owner["name"].as_str() {
                Some(listener) => format!("{object} {listener}"),
                None => object.clone(),
            };
            let status = &item["status"];
            let lists = ["parents", "ancestors", "listeners"].map(|name| list(&status[name]));
            let owners = [lists.concat(), vec![status.clone()]].concat();
            let conditions =
                |of: &Value| list(&of["conditions"]).into_iter().map(|one| (owner(of), one)).collect::<Vec<_>>();
            for (owner, condition) in owners.iter().flat_map(conditions) {
                let [kind, holds, reason, message] =
                    ["type", "status", "reason", "message"].map(|field| text(&condition[field]));
                lines.push(format!("{owner} {kind}={holds} {reason}: {message}"));
            }
        }
        Ok(lines)
    }

    /// A new route is taken in, and the one that is under load has not failed.
    pub async fn still_updates(&mut self) -> Result<()> {
        self.probes += 1;
        let host = format!("probe{}.example", self.probes);
        self.write("probe.yaml", &objects::route("probe", &host, &[("a", 1)]))?;
        self.answers(&Call::get(&host, "/"), 200).await.context("all else keeps updating")?;
        self.nothing_failed()
    }

    /// One case from beginning to end. The next finds what this one found, however this one ends.
    pub async fn check(&mut self, case: &Case) -> Result<()> {
        let checked = self.play(case).await;
        // Every file of the case goes, except the Gateway's, which gets back what it had.
        let written: BTreeSet<&str> =
            case.before.iter().map(|(file, _)| *file).chain([case.file, case.fix.0]).collect();
        for file in written {
            match file {
                "all.yaml" => self.write(file, objects::GATEWAY)?,
                file => self.control.remove(file)?,
            }
        }
        self.says_nothing_of(case.file).await?;
        // A later edit shows: so the removals have been read, and the next case doesn't look like an edit of this one.
        self.still_updates().await.context("after the case")?;
        checked
    }

    async fn play(&mut self, case: &Case) -> Result<()> {
        for (file, objects) in &case.before {
            self.write(file, objects)?;
        }
        for (request, status) in &case.established {
            self.answers(request, *status).await.context("before it is wrong")?;
        }
        self.write(case.file, &case.bad)?;
        self.says(&case.says).await?;
        for (request, status) in &case.meanwhile {
            self.answers(request, *status).await.context("while it is wrong")?;
        }
        self.still_updates().await?;
        self.write(case.fix.0, &case.fix.1)?;
        for (request, status) in &case.healed {
            self.answers(request, *status).await.context("after the fix")?;
        }
        self.says_nothing_of(case.file).await?;
        self.nothing_failed()
    }

    fn nothing_failed(&self) -> Result<()> {
        for (load, plane) in self.loads.iter().zip(&self.planes) {
            let (tally, name) = (load.tally(), plane.name);
            ensure!(
                tally.failed == 0,
                "{name}: {} of {} good requests: {:?}",
                tally.failed,
                tally.sent,
                tally.failures
            );
        }
        Ok(())
    }

    /// Nothing has failed, and all programs are still the ones that were started.
    pub async fn end(mut self) -> Result<()> {
        self.nothing_failed()?;
        for process in self.planes.iter_mut().map(|plane| &mut plane.process).chain([&mut self.control.process]) {
            ensure!(process.exit().is_none(), "ended: {}", process.tail());
            ensure!(!process.output().contains("panicked"), "{}", process.tail());
        }
        Ok(())
    }
}
