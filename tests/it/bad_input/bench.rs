//! One control plane and our proxy, a route that must never fail, and what the control plane says of its input.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::time::Duration;
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
    /// Our proxy.
    pub proxy: DataPlane,
    load: Load,
    probes: usize,
    _backend: Backend,
    /// Where they live.
    pub place: Place,
}

impl Bench {
    pub async fn start() -> Result<Self> {
        let place = Place::take()?;
        let backend = Backend::start("a", place.address(9), Speaks::Http1).await?;
        let objects = place.make("objects")?;
        std::fs::write(objects.join("service.yaml"), objects::backend(&backend))?;
        std::fs::write(objects.join("good.yaml"), objects::route("good", "good.example", &[("a", 1)]))?;
        let control = ControlPlane::start(&place, objects::GATEWAY).await?;
        let proxy = DataPlane::windlass(&place, &control).await?;
        proxy.listening(80).await?;
        proxy.answers(80, &good(), |answer| answer.status == 200).await?;
        let load = Load::start(proxy.at(80), good(), 2, Duration::from_millis(5), |answer| answer.status == 200);
        Ok(Self { control, proxy, load, probes: 0, _backend: backend, place })
    }

    /// Writes a file of objects.
    pub fn write(&self, file: &str, objects: &str) -> Result<()> {
        self.control.write(file, objects)
    }

    /// Waits until a request is answered so.
    pub async fn answers(&self, request: &Call, status: u16) -> Result<()> {
        let to = self.proxy.at(if request.sni.is_some() { 443 } else { 80 });
        eventually(&format!("{} {} is answered {status}", request.host, request.path), LIMIT, async || {
            let answer = call(to, request).await?;
            ensure!(answer.status == status, "saw {}", answer.status);
            Ok(())
        })
        .await
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
    async fn lines(&self) -> Result<Vec<String>> {
        let answer = self.control.page("/debug/status").await?;
        let page: Value = serde_json::from_slice(&answer.body).context("/debug/status")?;
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let mut lines: Vec<String> =
            list(&page["problems"]).iter().map(|problem| format!("problem {problem}")).collect();
        for item in list(&page["items"]) {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (kind, metadata) = (text(&item["kind"]), &item["metadata"]);
            let object = format!("{kind} {}/{}", text(&metadata["namespace"]), text(&metadata["name"]));
            let status = &item["status"];
            let owners = [list(&status["parents"]), list(&status["listeners"]), vec![status.clone()]].concat();
            for condition in owners.iter().flat_map(|owner| list(&owner["conditions"])) {
                let [kind, holds, reason, message] =
                    ["type", "status", "reason", "message"].map(|field| text(&condition[field]));
                lines.push(format!("{object} {kind}={holds} {reason}: {message}"));
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

    /// One case from beginning to end. The next finds what this one found.
    pub async fn check(&mut self, case: &Case) -> Result<()> {
        for (file, objects) in &case.before {
            self.write(file, objects)?;
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
        self.nothing_failed()?;
        // Every file of the case goes, except the Gateway's, which gets back what it had.
        let fixed = [(case.file, ""), (case.fix.0, "")];
        let mut files: Vec<&str> =
            case.before.iter().map(|(file, _)| *file).chain(fixed.map(|(file, _)| file)).collect();
        files.sort_unstable();
        files.dedup();
        for file in files {
            match file {
                "all.yaml" => self.write(file, objects::GATEWAY)?,
                file => self.control.remove(file)?,
            }
        }
        Ok(())
    }

    fn nothing_failed(&self) -> Result<()> {
        let tally = self.load.tally();
        ensure!(tally.failed == 0, "{} of {} good requests failed: {:?}", tally.failed, tally.sent, tally.failures);
        Ok(())
    }

    /// Nothing has failed, and both programs are still the ones that were started.
    pub async fn end(mut self) -> Result<()> {
        self.nothing_failed()?;
        ensure!(self.control.process.exit().is_none(), "the control plane ended: {}", self.control.process.tail());
        ensure!(self.proxy.process.exit().is_none(), "the proxy ended: {}", self.proxy.process.tail());
        ensure!(!self.control.process.output().contains("panicked"), "{}", self.control.process.tail());
        ensure!(!self.proxy.process.output().contains("panicked"), "{}", self.proxy.process.tail());
        Ok(())
    }
}
