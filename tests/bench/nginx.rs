//! nginx as a backend and as a peer, and the core that a process has.

use anyhow::{Context, Result, ensure};
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tests::{place::Place, process::Process};

/// Starts one with these contexts beside `events`: one process, nothing logged. `$DIR` is the place's directory,
/// `$HERE` its own, `$BACKEND` and `$ADDRESS` are where a backend and a peer listen.
pub fn start(place: &Place, name: &str, contexts: &str) -> Result<Process> {
    let directory = place.make(name)?;
    let text = format!(
        "daemon off; master_process off; error_log stderr crit; pid {}/pid;\n{}events {{ worker_connections 8192; }}\n{contexts}",
        directory.display(),
        if contexts.contains("stream {") { load_stream()? } else { String::new() },
    );
    let text = text
        .replace("$DIR", &place.directory().display().to_string())
        .replace("$HERE", &directory.display().to_string())
        .replace("$BACKEND", &place.address(9).to_string())
        .replace("$ADDRESS", &place.address(4).to_string());
    let file = directory.join("nginx.conf");
    std::fs::write(&file, text)?;
    let arguments = ["-c".into(), file.display().to_string(), "-p".into(), directory.display().to_string()];
    Process::start(name, &find("nginx")?, &arguments, &place.make("logs")?)
}

/// An `http` context with these servers.
pub fn http(servers: &str) -> String {
    let temporary =
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|of| format!("{of}_temp_path $HERE/{of};"));
    format!(
        "http {{\n access_log off; keepalive_requests 1000000000; keepalive_timeout 1h;\n {}\n{servers}}}\n",
        temporary.join(" ")
    )
}

/// Holds a process to one core, where there are several.
pub fn pin(id: u32, core: u32) -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if cores > 1 {
        let status =
            Command::new("taskset").args(["-acp", &core.to_string(), &id.to_string()]).stdout(Stdio::null()).status();
        ensure!(status.context("taskset")?.success(), "pin {id} to core {core}");
    }
    Ok(())
}

/// Debian has streams in a module of their own.
fn load_stream() -> Result<String> {
    let module = Path::new("/usr/lib/nginx/modules/ngx_stream_module.so");
    ensure!(module.exists(), "{} is not there: install the package libnginx-mod-stream", module.display());
    Ok(format!("load_module {};\n", module.display()))
}

/// A program on the path, or where Debian keeps servers.
fn find(name: &str) -> Result<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
    let found = path.split(':').map(|directory| Path::new(directory).join(name)).find(|file| file.exists());
    found.with_context(|| format!("{name} is not installed"))
}
