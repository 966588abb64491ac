//! `windlass analyze` over the manifests of Gateway API's conformance suite: those that are meant to be good have nothing
//! to be said of them, those that are meant to be wrong exactly what they are about.
//!
//! `WINDLASS_CONFORMANCE` is the directory of the Go module `sigs.k8s.io/gateway-api/conformance`; what is to be said
//! stands in `conformance.txt`, a line for each finding.

use serde_json::Value;
use std::{fmt::Write, fs, path::Path, process::Command};
use tests::{
    objects,
    tls::{Authority, certificate},
};

const INFRA: &str = "gateway-conformance-infra";
const APP: &str = "gateway-conformance-app-backend";
const WEB: &str = "gateway-conformance-web-backend";

/// TLS Secrets that the suite makes before it starts.
const SECRETS: [(&str, &str, &[&str]); 10] = [
    (WEB, "certificate", &["*"]),
    (INFRA, "tls-validity-checks-certificate", &["*", "*.org", "*.wildcard.org"]),
    (INFRA, "tls-validity-checks-client-certificate", &["client"]),
    (INFRA, "tls-validity-checks-per-port-client-certificate", &["client"]),
    (INFRA, "tls-checks-certificate", &["abc.example.com", "other.example.com"]),
    (INFRA, "tls-checks-client-certificate", &["client"]),
    (INFRA, "tls-passthrough-checks-certificate", &["abc.example.com"]),
    (APP, "tls-passthrough-checks-certificate", &["abc.example.com"]),
    (INFRA, "tls-terminate-checks-certificate", &["tls.example.com"]),
    (APP, "tls-terminate-checks-certificate", &["tls.example.com"]),
];

/// ConfigMaps with authorities that it makes.
const AUTHORITIES: [(&str, &str); 5] = [
    (WEB, "web-backend-cm"),
    (INFRA, "tls-validity-checks-ca-certificate"),
    (INFRA, "tls-validity-checks-per-port-ca-certificate"),
    (INFRA, "tls-checks-ca-certificate"),
    (INFRA, "mismatch-ca-certificate"),
];

/// What is said of all of them, a line a finding.
pub fn findings(windlass: &Path, suite: &Path) -> Result<String, String> {
    let read = |file: &Path| {
        let text = fs::read_to_string(file).map_err(|why| format!("{}: {why}", file.display()))?;
        let text = text.replace("{GATEWAY_CLASS_NAME}", "windlass");
        Ok::<_, String>(text.replace("{GATEWAY_CONTROLLER_NAME}", "windlass.io/gateway-controller"))
    };
    let directory = tempfile::tempdir().map_err(|why| why.to_string())?;
    let base = directory.path().join("base.yaml");
    fs::write(&base, read(&suite.join("base/manifests.yaml"))? + &made()?).map_err(|why| why.to_string())?;
    let mut said = analyze(windlass, &[&base])?;
    let entries = fs::read_dir(suite.join("tests")).map_err(|why| why.to_string())?;
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    for file in files {
        let copy = directory.path().join(file.file_name().unwrap_or_default());
        fs::write(&copy, read(&file)?).map_err(|why| why.to_string())?;
        // What is said of the base has been said.
        let of_base = |line: &&str| !line.starts_with("base.yaml ");
        said.extend(analyze(windlass, &[&base, &copy])?.iter().map(String::as_str).filter(of_base).map(str::to_owned));
    }
    Ok(said.into_iter().fold(String::new(), |mut all, line| {
        let _ = writeln!(all, "{line}");
        all
    }))
}

/// What the suite makes itself.
fn made() -> Result<String, String> {
    let mut yaml = String::new();
    let mut put =
        |text: String, namespace: &str| yaml += &text.replace("namespace: default", &format!("namespace: {namespace}"));
    for (namespace, name, names) in SECRETS {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        put(objects::secret(name, &certificate(&names).map_err(|why| format!("{why:#}"))?), namespace);
    }
    for name in ["manual-endpointslices", "headless-manual-endpointslices"] {
        let slice = format!(
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\nmetadata:\n  name: {name}\n  \
             namespace: default\n  labels: {{kubernetes.io/service-name: {name}}}\nports: [{{name: first-port, port: 3000}}]\n\
             endpoints: [{{addresses: [10.0.0.1], conditions: {{ready: true}}}}]\n"
        );
        put(slice, INFRA);
    }
    for (namespace, name) in AUTHORITIES {
        put(objects::authority(name, &Authority::new(name).map_err(|why| format!("{why:#}"))?), namespace);
    }
    Ok(yaml)
}

fn analyze(windlass: &Path, files: &[&Path]) -> Result<Vec<String>, String> {
    let output = Command::new(windlass).args(["analyze", "-o", "json"]).args(files).output();
    let output = output.map_err(|why| format!("windlass: {why}"))?;
    let report: Value = serde_json::from_slice(&output.stdout)
        .map_err(|why| format!("windlass analyze: {why}: {}", String::from_utf8_lossy(&output.stderr)))?;
    let line = |finding: &Value| {
        let text = |name: &str| finding[name].as_str().unwrap_or_default();
        let file = text("file").rsplit('/').next().unwrap_or_default();
        format!("{file} {} {} {} {}", text("level"), text("code"), text("object"), text("field"))
    };
    Ok(report["findings"].as_array().into_iter().flatten().map(line).collect())
}
