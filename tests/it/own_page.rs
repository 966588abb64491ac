//! A backend's name that DNS leads to the proxy's own admin page, through both data planes as pods run them.

use anyhow::{Context, Result, ensure};
use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    time::Duration,
};
use tests::{
    fixture::{ControlPlane, PORT_OFFSET},
    http::{Call, call},
    objects,
    place::{self, Place, program},
    process::{Process, eventually, words},
};

const LIMIT: Duration = Duration::from_secs(30);

/// Where the admin pages of the two are, by their names; both on the loopback, as in a pod.
struct Pages(Vec<(&'static str, SocketAddr)>);

impl Pages {
    fn take() -> Result<Self> {
        let free = || TcpListener::bind("127.0.0.1:0")?.local_addr();
        Ok(Self(vec![("windlass", free()?), ("envoy", free()?)]))
    }

    /// A route and an XBackend for each page.
    fn objects(&self) -> String {
        let mut text = objects::GATEWAY.to_owned();
        for (name, page) in &self.0 {
            let port = page.port();
            text += &format!(
                "---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: default}}
spec:
  parentRefs: [{{name: gw, sectionName: http}}]
  hostnames: [{name}.example]
  rules: [{{backendRefs: [{{group: gateway.networking.x-k8s.io, kind: XBackend, name: {name}}}]}}]
---
apiVersion: gateway.networking.x-k8s.io/v1alpha1
kind: XBackend
metadata: {{name: {name}, namespace: default}}
spec: {{type: ExternalHostname, externalHostname: {{hostname: localhost}}, port: {{port: {port}}}}}
"
            );
        }
        text
    }

    fn of(&self, name: &str) -> SocketAddr {
        self.0.iter().find(|(other, _)| *other == name).expect("a page").1
    }
}

/// Envoy that ends with who runs it, as in a pod: here nobody else would end it.
fn bound_envoy(place: &Place) -> Result<PathBuf> {
    let script = place.directory().join("bound-envoy");
    fs::write(&script, format!("#!/bin/sh\nexec setpriv --pdeathsig KILL -- {} \"$@\"\n", place::envoy()?.display()))?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    Ok(script)
}

#[tokio::test]
async fn no_backend_is_the_admin_page() -> Result<()> {
    let place = Place::take()?;
    let pages = Pages::take()?;
    let control = ControlPlane::start(&place, &pages.objects()).await?;
    let start = |name: &'static str, last: u8, rest: String| {
        let arguments = format!(
            "{rest} --gateway default/gw --control {} --plaintext --admin {} --data {} --concurrency 1 --bind {}",
            control.plaintext(),
            pages.of(name),
            place.make(name)?.display(),
            place.address(last),
        );
        let process = Process::start(name, &program("windlass-proxy")?, &words(&arguments), &place.make("logs")?)?;
        anyhow::Ok((name, process, SocketAddr::from((place.address(last), 80 + PORT_OFFSET))))
    };
    let source = format!("envoy --source {} --envoy {}", place.address(2), bound_envoy(&place)?.display());
    let planes = [start("windlass", 3, String::new())?, start("envoy", 2, source)?];
    for (name, process, gateway) in &planes {
        let ready = async || {
            let answer = call(pages.of(name), &Call::get("localhost", "/ready")).await?;
            ensure!(answer.status == 200, "/ready: {}", answer.status);
            Ok(())
        };
        eventually(name, LIMIT, ready).await.with_context(|| process.tail())?;
        for (whose, _) in &pages.0 {
            // Another's page is a server like any other: what is refused is refused for whose it is.
            let wanted = if whose == name { 503 } else { 200 };
            let answers = async || {
                let answer = call(*gateway, &Call::get(&format!("{whose}.example"), "/ready")).await?;
                ensure!(answer.status == wanted, "{name}, page of {whose}: {}, wanted {wanted}", answer.status);
                Ok(())
            };
            eventually("the page of one by the other", LIMIT, answers).await.with_context(|| process.tail())?;
        }
        // A 503 may also say that the name isn't resolved yet.
        let told = async || {
            let answer = call(*gateway, &Call::get(&format!("{name}.example"), "/ready")).await?;
            ensure!(answer.status == 503, "{name}, its own page: {}", answer.status);
            ensure!(process.output().contains("admin page"), "{name} doesn't say why");
            Ok(())
        };
        eventually("why", LIMIT, told).await.with_context(|| process.tail())?;
    }
    Ok(())
}
