//! `windlass why`: what happens to one request, step by step, and for a no: what was nearest.

use crate::{
    ask::{Headers, Outcome, Request, Stage, Verdict},
    live::Source,
    offline::Assume,
    output::{self, Format, Paint},
};
use clap::Args;
use std::{fmt::Write, net::IpAddr, path::PathBuf, process::ExitCode};

/// Says what happens to a request: listener, host, route, filters, policies, backend, endpoint; for a no, what was nearest.
///
/// The proxy's own code answers, with what the control plane would send it; no request is sent anywhere.
#[derive(Args)]
#[command(after_help = "Exit codes: 0 it is served; 1 it is not; 2 the command line or a path is wrong.")]
pub struct Why {
    /// The method, such as GET.
    method: String,
    /// http://host[:port]/path?query or https://..; passed on as it is written.
    url: String,
    /// Files and directories of Kubernetes objects (YAML or JSON); - is standard input. Without files a cluster is asked.
    #[arg(value_name = "FILES")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    source: Source,
    /// A header of the request; may be given several times.
    #[arg(long, value_name = "NAME:VALUE", value_parser = header)]
    header: Vec<(String, String)>,
    /// It is a call of gRPC: POST with `content-type: application/grpc`.
    #[arg(long)]
    grpc: bool,
    /// The client's identity.
    #[arg(long, value_name = "NAMESPACE/SERVICE_ACCOUNT")]
    from: Option<String>,
    /// The client's address.
    #[arg(long, value_name = "IP")]
    from_ip: Option<IpAddr>,
    /// The address that the client connects to.
    #[arg(long, value_name = "IP")]
    to_ip: Option<IpAddr>,
    /// The server name of the TLS handshake, if it is not the host.
    #[arg(long, value_name = "NAME")]
    sni: Option<String>,
    /// The Gateway, if there are several.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    gateway: Option<String>,
    #[command(flatten)]
    assume: Assume,
    /// Print for machines.
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("wanted NAME:VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

impl Why {
    pub fn main(self) -> anyhow::Result<ExitCode> {
        let world = self.source.read(&self.files, &self.assume)?;
        let request = Request {
            method: Some(self.method),
            url: self.url,
            headers: Headers::List(self.header),
            grpc: self.grpc,
            from: self.from,
            from_ip: self.from_ip,
            to_ip: self.to_ip,
            sni: self.sni,
            gateway: self.gateway,
            ..Request::default()
        };
        world.complain();
        let verdict = Stage::new(&world)?.ask(&request)?;
        output::print(&match self.output {
            Some(format) => output::text(format, &verdict)?,
            None => text(&request, &verdict, Paint::stdout()),
        })?;
        Ok(if verdict.outcome.is_served() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Outcome {
    /// Whether somebody gets what he asked for.
    pub fn is_served(self) -> bool {
        matches!(self, Outcome::Forwarded | Outcome::Redirected | Outcome::Answered)
    }
}

fn text(request: &Request, verdict: &Verdict, paint: Paint) -> String {
    let mut text = format!("{} {}\n", request.method(), request.url);
    let mut line = |what: &str, value: &str| text += &format!("  {} {value}\n", paint.dim(&format!("{what:9}")));
    line("gateway", &verdict.gateway);
    if let Some(listener) = &verdict.listener {
        line("listener", listener);
    }
    if let Some((host, path)) = &verdict.canonical {
        line("read as", &format!("host {host}, path {path}"));
    }
    if let Some(host) = &verdict.host {
        line("host", host);
    }
    if let Some(route) = &verdict.route {
        line("route", &route.to_string());
        if !route.filters.is_empty() {
            line("filters", &route.filters.join(", "));
        }
    }
    match (&verdict.policy, verdict.outcome) {
        (Some(policy), _) => line("policy", policy),
        (None, Outcome::Forwarded | Outcome::Redirected | Outcome::Answered) => line("policy", "allowed"),
        _ => {}
    }
    let total: u32 = verdict.backends.iter().map(|one| one.weight).sum();
    for backend in &verdict.backends {
        let share = if verdict.backends.len() > 1 { format!(", {} of {total}", backend.weight) } else { String::new() };
        line("backend", &format!("{}{share}", backend.name));
    }
    for endpoint in &verdict.endpoints {
        let of = verdict.backend.as_deref().filter(|_| verdict.backends.len() > 1);
        let of = of.map(|backend| format!(" of {backend}")).unwrap_or_default();
        line("endpoint", &format!("{}{of}{}", endpoint.address, if endpoint.ready { "" } else { ", not ready" }));
    }
    for mirror in &verdict.mirrors {
        line("copy to", mirror);
    }
    if let Some(sent) = &verdict.sent {
        let tls = if sent.tls { ", over TLS" } else { "" };
        line("sent as", &format!("{} {} to host {}{tls}", sent.method, sent.target, sent.host));
        for (name, value) in sent.headers.iter().filter(|(name, _)| name != "x-request-id") {
            line("", &format!("{name}: {value}"));
        }
    }
    let status = verdict.status_text().map(|status| format!("{status} ")).unwrap_or_default();
    // Writing to a String can't fail.
    let (word, colour) = if verdict.outcome.is_served() { ("yes", 32) } else { ("no", 31) };
    let _ = writeln!(text, "{}: {status}{}", paint.bold(colour, word), verdict.why);
    for note in &verdict.notes {
        let _ = writeln!(text, "  {note}");
    }
    text
}
