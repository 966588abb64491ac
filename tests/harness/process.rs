//! Real processes: started by the test, stopped by their id when the test ends, whichever way it ends.

use anyhow::{Context, Result, bail};
use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// A running process. Dropping it kills it; if the test itself is killed, the kernel does (parent-death signal).
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    lines: tokio::sync::mpsc::UnboundedReceiver<String>,
}

impl Process {
    /// Starts `program` with its output in `<logs>/<name>.log`. The parent-death signal comes from util-linux's
    /// `setpriv`, which execs, so the process keeps its id. It is bound to the calling thread: start processes from a
    /// thread that outlives them.
    pub fn start(name: &str, program: &Path, arguments: &[String], logs: &Path) -> Result<Self> {
        let log = logs.join(format!("{name}.log"));
        let mut file = File::options().create(true).append(true).open(&log).context("open the log")?;
        writeln!(file, "$ {} {}", program.display(), arguments.join(" "))?;
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file.try_clone()?)
            .spawn()
            .with_context(|| format!("start {name}: {}", program.display()))?;
        let stdout = child.stdout.take().context("a pipe")?;
        let (send, lines) = tokio::sync::mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                let _ = writeln!(file, "{line}");
                let _ = send.send(line);
            }
        });
        Ok(Self { name: name.into(), child, log, lines })
    }

    /// The first line of standard output that is a JSON object with `"ready": true`.
    pub async fn ready_line(&mut self, limit: Duration) -> Result<serde_json::Value> {
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match tokio::time::timeout(left, self.lines.recv()).await {
                Ok(Some(line)) => match serde_json::from_str::<serde_json::Value>(&line) {
                    Ok(value) if value["ready"] == true => return Ok(value),
                    _ => continue,
                },
                Ok(None) => {
                    let status = self.child.wait();
                    bail!("{} ended before it was ready ({status:?}):\n{}", self.name, self.tail())
                }
                Err(_) => bail!("{} was not ready within {limit:?}:\n{}", self.name, self.tail()),
            }
        }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The exit status, if it has ended.
    pub fn exit(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Asks it to end with a signal and waits for it, at most `limit`; then kills it. True if it went by itself with 0.
    pub async fn stop(&mut self, signal: &str, limit: Duration) -> bool {
        let _ = Command::new("kill").arg(format!("-{signal}")).arg(self.id().to_string()).status();
        let end = Instant::now() + limit;
        while Instant::now() < end {
            if let Some(status) = self.exit() {
                return status.success();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        false
    }

    /// Everything it has printed.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last lines that it printed, for messages.
    pub fn tail(&self) -> String {
        let output = self.output();
        let lines: Vec<_> = output.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }

    /// What it has used so far.
    pub fn usage(&self) -> Usage {
        Usage::of(self.id())
    }
}

/// A command line without quotes, cut at its spaces.
pub fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a process has used, from `/proc`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// User and system time, seconds.
    pub cpu: f64,
    /// Resident set, MiB.
    pub resident: f64,
}

impl Usage {
    /// Of the process with that id; zeros if it is gone.
    pub fn of(id: u32) -> Self {
        let cpu = ticks(&id.to_string(), [11, 12]);
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = resident.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
        Self { cpu, resident: kilobytes.unwrap_or_default() / 1024.0 }
    }

    /// Of all children of this process that have ended and been waited for; no memory.
    pub fn of_ended_children() -> Self {
        Self { cpu: ticks("self", [13, 14]), resident: 0.0 }
    }
}

/// Seconds by `/proc/ID/stat`: the sum of two fields, counted after the command's closing parenthesis. They are clock
/// ticks, of which Linux shows 100 a second on every architecture.
fn ticks(id: &str, fields: [usize; 2]) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let all: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| all.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or_default();
    fields.map(ticks).iter().sum::<f64>() / 100.0
}

/// Calls `probe` until it gives a value, at most `limit`; the last error becomes part of the failure.
pub async fn eventually<T, F>(what: &str, limit: Duration, mut probe: F) -> Result<T>
where
    F: AsyncFnMut() -> Result<T>,
{
    let end = Instant::now() + limit;
    loop {
        match probe().await {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() >= end => return Err(error.context(format!("{what}: not within {limit:?}"))),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}
