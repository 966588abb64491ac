//! Connections that nobody looks into, through both data planes: edits cost none of them; mail and directories as they
//! are used.

use anyhow::{Context, Result, ensure};
use std::{
    io::Write,
    net::SocketAddr,
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use tests::{
    fixture::Trio,
    objects,
    place::Place,
    process::eventually,
    stream::{Acts, StreamBackend},
    tls,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// How long a change may take to be seen, on a slow and busy machine.
const LIMIT: Duration = Duration::from_secs(30);

const LISTENERS: &str = "  - {name: tcp, port: 1000, protocol: TCP}
  - {name: pass, port: 443, protocol: TLS, hostname: '*.example', tls: {mode: Passthrough}}
  - {name: end, port: 443, protocol: TLS, hostname: end.example, tls: {certificateRefs: [{name: cert}]}}
";

fn route(kind: &str, section: &str, hostnames: &str, backend: &str) -> String {
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{name: {section}, namespace: \
         default}}\nspec:\n  parentRefs: [{{name: gw, sectionName: {section}}}]\n{hostnames}  rules:\n  \
         - backendRefs: [{{name: {backend}, port: 80}}]\n"
    )
}

/// An open connection that has been answered.
struct Line(BufReader<TcpStream>);

impl Line {
    async fn open(to: SocketAddr) -> Result<Self> {
        Ok(Self(BufReader::new(TcpStream::connect(to).await?)))
    }

    /// Who answers.
    async fn ask(&mut self) -> Result<String> {
        self.0.get_mut().write_all(b"hello\n").await?;
        let mut answer = String::new();
        tokio::time::timeout(LIMIT, self.0.read_line(&mut answer)).await.context("no answer")??;
        let (who, what) = answer.split_once(" <- ").with_context(|| format!("no answer: {answer:?}"))?;
        ensure!(what == "hello\n", "another answer: {what:?}");
        Ok(who.to_owned())
    }
}

async fn backends(place: &Place, all: &[(&str, Acts)]) -> Result<(Vec<StreamBackend>, String)> {
    let (mut running, mut yaml) = (Vec::new(), String::new());
    for (name, acts) in all {
        let backend = StreamBackend::start(name, place.address(9), *acts).await?;
        yaml += &backend.service(*acts);
        running.push(backend);
    }
    Ok((running, yaml))
}

#[tokio::test]
async fn connections_live_through_edits() -> Result<()> {
    let place = Place::take()?;
    let (_running, services) = backends(&place, &[("a", Acts::Lines), ("b", Acts::Lines)]).await?;
    let certificate = objects::secret("cert", &tls::certificate(&["end.example".to_owned()])?);
    let fixed = format!("{}{LISTENERS}{certificate}{services}", objects::GATEWAY);
    let trio = Trio::start(&place, &fixed).await?;
    trio.control.write("routes.yaml", &route("TCPRoute", "tcp", "", "a"))?;
    let mut lines = Vec::new();
    for turn in 0..6 {
        let (wanted, next) = if turn % 2 == 0 { ("a", "b") } else { ("b", "a") };
        for plane in &trio.planes {
            let what = format!("{} sends connections to {wanted}", plane.name);
            let line = eventually(&what, LIMIT, async || {
                let mut line = Line::open(plane.at(1000)).await?;
                ensure!(line.ask().await? == wanted, "still the other");
                Ok(line)
            });
            lines.push((wanted, plane.name, line.await?));
        }
        // A host comes to the listener beside it, and goes.
        let host = route("TLSRoute", "pass", &format!("  hostnames: [pass.example, x{turn}.pass.example]\n"), next);
        trio.control.write("routes.yaml", &(route("TCPRoute", "tcp", "", next) + &host))?;
        for (who, plane, line) in &mut lines {
            let seen =
                line.ask().await.with_context(|| format!("a connection through {plane} broke in turn {turn}"))?;
            ensure!(seen == *who, "a connection through {plane} moved from {who} to {seen}");
        }
    }
    trio.nothing_refused().await
}

/// What `openssl s_client` prints when it is given these arguments and this input.
async fn openssl(to: SocketAddr, arguments: &[&str], input: &str) -> Result<String> {
    let mut command = Command::new("timeout");
    command.args(["30", "openssl", "s_client", "-quiet", "-connect", &to.to_string()]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let input = input.to_owned();
    // The backends live on this thread.
    let out = tokio::task::spawn_blocking(move || {
        let mut client = command.spawn().context("openssl s_client")?;
        client.stdin.take().context("a pipe")?.write_all(input.as_bytes())?;
        client.wait_with_output().context("openssl s_client")
    });
    let out = out.await??;
    Ok(String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
}

#[tokio::test]
async fn mail_and_directories() -> Result<()> {
    let place = Place::take()?;
    let all = [("mail", Acts::Smtp), ("ldaps", Acts::TlsLines), ("ldap", Acts::Lines)];
    let (_running, services) = backends(&place, &all).await?;
    let certificate = objects::secret("cert", &tls::certificate(&["end.example".to_owned()])?);
    let routes = route("TCPRoute", "tcp", "", "mail")
        + &route("TLSRoute", "pass", "  hostnames: [pass.example]\n", "ldaps")
        + &route("TLSRoute", "end", "  hostnames: [end.example]\n", "ldap");
    let objects = format!("{}{LISTENERS}{certificate}{services}{routes}", objects::GATEWAY);
    let trio = Trio::start(&place, &objects).await?;
    for plane in &trio.planes {
        plane.listening(1000).await?;
        plane.listening(443).await?;
        let mut best = LIMIT;
        for _ in 0..50 {
            let start = Instant::now();
            let mut banner = [0; 4];
            TcpStream::connect(plane.at(1000)).await?.read_exact(&mut banner).await?;
            ensure!(&banner == b"220 ", "{}: {banner:?}", plane.name);
            best = best.min(start.elapsed());
        }
        println!("{}: the first words of a server that speaks first after {best:?} at best", plane.name);
        ensure!(best < Duration::from_millis(5), "{}: a server that speaks first waited {best:?}", plane.name);
        let mail = openssl(plane.at(1000), &["-starttls", "smtp"], "QUIT\n").await?;
        ensure!(mail.contains("221 bye from mail over TLS"), "{}: STARTTLS: {mail}", plane.name);
        for (name, who) in [("pass.example", "ldaps"), ("end.example", "ldap")] {
            let said = openssl(plane.at(443), &["-servername", name], "hello\nQUIT\n").await?;
            ensure!(said.contains(&format!("{who} <- hello")), "{}: {name}: {said}", plane.name);
        }
        let turned_away = openssl(plane.at(443), &["-servername", "other.example"], "hello\n").await?;
        ensure!(!turned_away.contains("<-"), "{}: {turned_away}", plane.name);
    }
    trio.nothing_refused().await
}
