//! The programs under test together: one control plane, stock Envoy on `.2` and our proxy on `.3` of the place.

use crate::{
    http::{Answer, Call, call},
    place::{Place, envoy, program},
    process::{Process, eventually, words},
};
use anyhow::{Context, Result, ensure};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// What is added to a listener's port, so that nobody needs to be root.
pub const PORT_OFFSET: u16 = 10_000;

/// How long a program may take to start, on a slow and busy machine.
const START: Duration = Duration::from_secs(60);

/// `windlass xds` over a directory of objects.
pub struct ControlPlane {
    /// The process.
    pub process: Process,
    objects: PathBuf,
    place_control: [SocketAddr; 3],
    data: PathBuf,
    logs: PathBuf,
    bind: String,
    log: &'static str,
}

impl ControlPlane {
    /// Starts it with these objects in `objects/all.yaml`, watched.
    pub async fn start(place: &Place, objects: &str) -> Result<Self> {
        Self::start_logging(place, objects, "off").await
    }

    /// The same with access logs of that form.
    pub async fn start_logging(place: &Place, objects: &str, log: &'static str) -> Result<Self> {
        let directory = place.make("objects")?;
        std::fs::write(directory.join("all.yaml"), objects)?;
        let place_control = [place.control(15_012), place.control(15_010), place.control(15_014)];
        let (data, logs) = (place.make("control")?, place.make("logs")?);
        let bind = place.address(2).to_string();
        let process = Self::spawn(&directory, place_control, &data, &logs, &bind, log).await?;
        Ok(Self { process, objects: directory, place_control, data, logs, bind, log })
    }

    async fn spawn(
        objects: &Path,
        [xds, plaintext, admin]: [SocketAddr; 3],
        data: &Path,
        logs: &Path,
        bind: &str,
        log: &str,
    ) -> Result<Process> {
        let arguments = format!(
            "xds {} --listen {xds} --plaintext {plaintext} --admin {admin} --data {} --bind {bind} \
             --port-offset {PORT_OFFSET} --access-log {log} --watch",
            objects.display(),
            data.display()
        );
        let mut process = Process::start("control", &program("windlass")?, &words(&arguments), logs)?;
        process.ready_line(START).await?;
        Ok(process)
    }

    /// Stops it at once and starts it again on the same ports, over the same objects and the same data.
    pub async fn restart(&mut self) -> Result<()> {
        self.process.stop("KILL", Duration::from_secs(5)).await;
        let (objects, log) = (&self.objects, self.log);
        self.process = Self::spawn(objects, self.place_control, &self.data, &self.logs, &self.bind, log).await?;
        Ok(())
    }

    /// Writes a file of objects, as an editor would that saves safely: aside, then renamed.
    pub fn write(&self, file: &str, objects: &str) -> Result<()> {
        let aside = self.objects.with_extension("aside");
        std::fs::write(&aside, objects)?;
        std::fs::rename(&aside, self.objects.join(file)).context("rename the objects")
    }

    /// Removes a file of objects.
    pub fn remove(&self, file: &str) -> Result<()> {
        std::fs::remove_file(self.objects.join(file)).context("remove the objects")
    }

    /// Where clients without a certificate connect.
    pub fn plaintext(&self) -> SocketAddr {
        self.place_control[1]
    }

    /// A page of the admin port.
    pub async fn page(&self, path: &str) -> Result<Answer> {
        call(self.place_control[2], &Call::get("localhost", path)).await
    }

    /// The value of a metric, summed over its series whose labels contain all of `labels`.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> Result<f64> {
        metric(self.place_control[2], "/metrics", name, labels).await
    }
}

/// A data plane: where its listeners are, and its process.
pub struct DataPlane {
    /// `envoy` or `windlass`.
    pub name: &'static str,
    /// The process.
    pub process: Process,
    /// Its admin port.
    pub admin: SocketAddr,
    address: std::net::IpAddr,
    program: PathBuf,
    arguments: Vec<String>,
    logs: PathBuf,
}

impl DataPlane {
    /// Stock Envoy with the bootstrap that `windlass envoy-bootstrap` prints.
    pub async fn envoy(place: &Place, control: &ControlPlane) -> Result<Self> {
        let admin: SocketAddr = (place.address(2), 15_000).into();
        let data = place.make("envoy")?;
        let arguments = format!(
            "envoy-bootstrap --gateway default/gw --plaintext {} --admin {admin} --data {} -o json",
            control.plaintext(),
            data.display()
        );
        let made = Command::new(program("windlass")?).args(words(&arguments)).output().context("envoy-bootstrap")?;
        ensure!(made.status.success(), "envoy-bootstrap: {}", String::from_utf8_lossy(&made.stderr));
        Self::envoy_with(place, &String::from_utf8(made.stdout)?).await
    }

    /// Stock Envoy with a bootstrap of one's own, its admin page on port 15000 of `.2`.
    pub async fn envoy_with(place: &Place, bootstrap: &str) -> Result<Self> {
        let file = place.directory().join("bootstrap.json");
        std::fs::write(&file, bootstrap)?;
        let arguments = format!(
            "-c {} --concurrency 1 --disable-hot-restart --log-level warning \
             --file-flush-interval-msec 50",
            file.display()
        );
        Self::start("envoy", envoy()?, words(&arguments), place, 2).await
    }

    /// Our proxy.
    pub async fn windlass(place: &Place, control: &ControlPlane) -> Result<Self> {
        let arguments = format!(
            "--gateway default/gw --control {} --plaintext --admin {}:15000 --bind {} --data {} --concurrency 1",
            control.plaintext(),
            place.address(3),
            place.address(3),
            place.make("proxy")?.display()
        );
        Self::start("windlass", program("windlass-proxy")?, words(&arguments), place, 3).await
    }

    async fn start(name: &'static str, path: PathBuf, arguments: Vec<String>, place: &Place, at: u8) -> Result<Self> {
        let logs = place.make("logs")?;
        let process = Process::start(name, &path, &arguments, &logs)?;
        let (address, admin) = (place.address(at), SocketAddr::from((place.address(at), 15_000)));
        let plane = Self { name, process, admin, address, program: path, arguments, logs };
        plane.ready().await?;
        Ok(plane)
    }

    /// Waits until its admin page says that it is ready.
    pub async fn ready(&self) -> Result<()> {
        let what = format!("{} ready", self.name);
        let ready = eventually(&what, START, async || {
            let answer = self.page("/ready").await?;
            ensure!(answer.status == 200, "/ready: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
            Ok(())
        });
        ready.await.with_context(|| format!("log:\n{}", self.process.tail()))
    }

    /// Stops it at once and starts it again, without waiting until it is ready.
    pub async fn restart(&mut self) -> Result<()> {
        self.process.stop("KILL", Duration::from_secs(5)).await;
        self.process = Process::start(self.name, &self.program, &self.arguments, &self.logs)?;
        Ok(())
    }

    /// The address of the Gateway's listener on `port`.
    pub fn at(&self, port: u16) -> SocketAddr {
        (self.address, port + PORT_OFFSET).into()
    }

    /// A page of its admin port.
    pub async fn page(&self, path: &str) -> Result<Answer> {
        call(self.admin, &Call::get("localhost", path)).await
    }

    /// Waits until its listener on `port` accepts.
    pub async fn listening(&self, port: u16) -> Result<()> {
        let to = self.at(port);
        let what = format!("{} listens on {to}", self.name);
        let accepted =
            eventually(&what, START, async || tokio::net::TcpStream::connect(to).await.map(drop).context("connect"));
        accepted.await.with_context(|| format!("log:\n{}", self.process.tail()))
    }

    /// Waits until a request gets the answer that `wanted` accepts.
    pub async fn answers(&self, port: u16, request: &Call, wanted: impl Fn(&Answer) -> bool) -> Result<Answer> {
        eventually(&format!("{} answers {} as wanted", self.name, request.path), START, async || {
            let answer = call(self.at(port), request).await?;
            ensure!(wanted(&answer), "{}: {} from {:?}", request.path, answer.status, answer.backend());
            Ok(answer)
        })
        .await
    }
}

/// Both data planes at one control plane.
pub struct Trio {
    /// The control plane.
    pub control: ControlPlane,
    /// Stock Envoy and our proxy, in this order.
    pub planes: Vec<DataPlane>,
}

impl Trio {
    /// Starts all three.
    pub async fn start(place: &Place, objects: &str) -> Result<Self> {
        Self::start_only(place, objects, "", "off").await
    }

    /// The same with one data plane, by its name, if that is given, and access logs of a form.
    pub async fn start_only(place: &Place, objects: &str, only: &str, log: &'static str) -> Result<Self> {
        let control = ControlPlane::start_logging(place, objects, log).await?;
        let planes = match only {
            "envoy" => vec![DataPlane::envoy(place, &control).await?],
            "windlass" => vec![DataPlane::windlass(place, &control).await?],
            _ => {
                let both = futures::try_join!(DataPlane::envoy(place, &control), DataPlane::windlass(place, &control));
                both.map(|(envoy, windlass)| vec![envoy, windlass])?
            }
        };
        Ok(Self { control, planes })
    }

    /// Fails if either data plane refused a resource, by the control plane's account and by Envoy's own.
    pub async fn nothing_refused(&self) -> Result<()> {
        let refused = self.control.metric("pilot_total_xds_rejects", &[]).await?;
        ensure!(refused == 0.0, "the control plane counts {refused} NACKs:\n{}", self.control.process.tail());
        for envoy in self.planes.iter().filter(|plane| plane.name == "envoy") {
            let stats = envoy.page("/stats?filter=update_rejected").await?;
            for line in String::from_utf8_lossy(&stats.body).lines() {
                ensure!(line.ends_with(": 0"), "envoy refused: {line}\n{}", envoy.process.tail());
            }
        }
        Ok(())
    }
}

/// The value of a Prometheus metric on a page, summed over its series whose labels contain all of `labels`; a metric
/// that is not there is 0.
pub async fn metric(at: SocketAddr, page: &str, name: &str, labels: &[&str]) -> Result<f64> {
    let answer = call(at, &Call::get("localhost", page)).await?;
    ensure!(answer.status == 200, "{page}: {}", answer.status);
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let rest = text.lines().filter_map(|line| line.strip_prefix(name));
    // OpenMetrics writes a counter `x` as `x_total`.
    let ours = rest.map(|rest| rest.strip_prefix("_total").unwrap_or(rest)).filter(|rest| rest.starts_with(['{', ' ']));
    let wanted = ours.filter(|rest| labels.iter().all(|label| rest.contains(label)));
    Ok(wanted.filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok()).sum())
}
