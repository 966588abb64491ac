//! Objects that are wrong, one kind of wrong a file, each with what must be said of it and its fix.
//!
//! A file of `it/bad_input/objects` is a head of comments and YAML. In the head: what is wrong; `says:` words that one
//! problem or condition must have, separated by ` | `; `fix: OLD -> NEW`, as often as needed; `meanwhile:` the status of
//! its request while it is wrong; `serves:` status, port and `tls` of that request after the fix, or `nothing`. What
//! follows `# ==== added` comes with the fix. `NAME` stands for the file's name, and the request is for `NAME.example`.

use crate::tls;
use anyhow::{Context, Result, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use std::{net::SocketAddr, path::Path};

/// One kind of wrong.
#[derive(Clone, Debug)]
pub struct Bad {
    /// The file's name without extension.
    pub name: String,
    /// Words that one line of what is said must have.
    pub says: Vec<String>,
    /// The objects, wrong.
    pub wrong: String,
    /// The objects, right.
    pub right: String,
    /// The status of its request while it is wrong.
    pub meanwhile: Option<u16>,
    /// Its request after the fix; none if no data plane here serves it.
    pub serves: Option<Serves>,
}

/// What a request is answered with, and where.
#[derive(Clone, Copy, Debug)]
pub struct Serves {
    /// The status.
    pub status: u16,
    /// The listener's port.
    pub port: u16,
    /// Whether over TLS.
    pub tls: bool,
}

/// The class, and the Gateway that all of them are about.
pub const GATEWAY: &str = "---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: windlass}
spec: {controllerName: windlass.io/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw, namespace: default}
spec:
  gatewayClassName: windlass
  allowedListeners: {namespaces: {from: Same}}
  listeners:
  - {name: http, port: 80, protocol: HTTP}
  - {name: narrow, port: 80, protocol: HTTP, hostname: narrow.example}
  - {name: other-kind, port: 80, protocol: HTTP, hostname: other-kind.example, allowedRoutes: {kinds: [{kind: GRPCRoute}]}}
";

/// All of them, by name; `backend` is what Service `a` leads to.
pub fn all(backend: SocketAddr) -> Result<Vec<Bad>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("it/bad_input/objects");
    let mut files: Vec<_> =
        std::fs::read_dir(&directory)?.map(|entry| Ok(entry?.path())).collect::<Result<_, std::io::Error>>()?;
    files.sort();
    let certificates = [tls::certificate(&["a.example".into()])?, tls::certificate(&["b.example".into()])?];
    files.iter().map(|file| read(file, backend, &certificates).with_context(|| file.display().to_string())).collect()
}

fn read(file: &Path, backend: SocketAddr, [one, two]: &[tls::Certificate; 2]) -> Result<Bad> {
    let name = file.file_stem().and_then(|stem| stem.to_str()).context("a name")?.to_owned();
    let text = std::fs::read_to_string(file)?;
    let fill = |text: &str| {
        let text = text.replace("NAME", &name).replace("CERT", &STANDARD.encode(&one.chain));
        let text = text.replace("OTHER", &STANDARD.encode(&two.key)).replace("KEY", &STANDARD.encode(&one.key));
        text.replace("BACKENDIP", &backend.ip().to_string()).replace("BACKENDPORT", &backend.port().to_string())
    };
    let (text, added) = text.split_once("# ==== added\n").map_or((&*text, ""), |(text, added)| (text, added));
    let head: Vec<&str> = text.lines().take_while(|line| line.starts_with('#')).collect();
    let field = |name: &str| {
        let start = format!("# {name}: ");
        head.iter().filter_map(move |line| line.strip_prefix(&*start)).collect::<Vec<_>>()
    };
    let wrong: String = text.lines().skip(head.len()).map(|line| format!("{line}\n")).collect();
    let mut right = wrong.clone();
    for fix in field("fix") {
        let (old, new) = fix.split_once(" -> ").context("fix: wanted OLD -> NEW")?;
        let [old, new] = [old, new].map(|text| text.replace("\\n", "\n").replace("\\t", "\t"));
        ensure!(right.contains(&old), "fix: {old:?} is not there");
        right = right.replace(&old, &new);
    }
    let says = field("says").first().context("says")?.split(" | ").map(fill).collect();
    let serves = match field("serves").first().copied() {
        None => Some(Serves { status: 200, port: 80, tls: false }),
        Some("nothing") => None,
        Some(words) => {
            let words: Vec<&str> = words.split(' ').collect();
            let port = words.get(1).map_or(Ok(80), |port| port.parse())?;
            Some(Serves { status: words[0].parse()?, port, tls: words.contains(&"tls") })
        }
    };
    Ok(Bad {
        says,
        wrong: fill(&wrong),
        right: fill(&format!("{right}{added}")),
        meanwhile: field("meanwhile").first().map(|status| status.parse()).transpose()?,
        serves,
        name,
    })
}
