//! A Kubernetes API server over an etcd of its own, on the test's loopback network: real objects, validation, RBAC,
//! watches and tokens, without nodes or controllers.
//!
//! Who needs pods, Deployments that run or LoadBalancers needs `conformance/cluster`.

use crate::{
    place::{Place, cache, program},
    process::{Process, eventually, words},
    tls::Authority,
};
use anyhow::{Context, Result, bail, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use std::{
    env, fs,
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

/// How long a program may take to start, on a slow and busy machine.
const START: Duration = Duration::from_secs(120);

/// The token of a user who may do everything.
const ADMIN: &str = "the-admin-of-the-test";

/// The programs of Kubernetes: `WINDLASS_KUBE`, or what `conformance/cluster` has built.
pub fn programs() -> Result<PathBuf> {
    if let Some(directory) = env::var_os("WINDLASS_KUBE") {
        return Ok(directory.into());
    }
    let built = cache().join("cluster");
    let mut found: Vec<PathBuf> = fs::read_dir(&built).into_iter().flatten().flatten().map(|one| one.path()).collect();
    found.retain(|path| path.join("kube-apiserver").exists());
    // Several versions of a clone's recipe may lie there: the one that was built or used last.
    found.sort_by_key(|path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok());
    found.pop().with_context(|| {
        format!("no Kubernetes in {}: tests/run cluster builds it, or set WINDLASS_KUBE", built.display())
    })
}

/// The real helm: `WINDLASS_HELM`, or what `conformance/cluster` has built.
pub fn helm() -> Result<PathBuf> {
    if let Some(program) = env::var_os("WINDLASS_HELM") {
        return Ok(program.into());
    }
    let built = cache().join("cluster");
    let directories = fs::read_dir(&built).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = directories.map(|one| one.path().join("helm")).filter(|path| path.exists()).collect();
    found.sort_by_key(|path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok());
    found
        .pop()
        .with_context(|| format!("no helm in {}: tests/run cluster builds it, or set WINDLASS_HELM", built.display()))
}

/// A running API server. Dropping it ends it, with all that it kept.
pub struct ApiServer {
    /// Where it listens.
    pub address: SocketAddr,
    directory: PathBuf,
    logs: PathBuf,
    programs: PathBuf,
    server: Option<Process>,
    etcd: Process,
}

impl ApiServer {
    /// Starts etcd on ports 2379 and 2380 and the API server on port 6443 of the place's first address; returns when it
    /// is ready.
    pub async fn start(place: &Place) -> Result<Self> {
        let (directory, logs, programs) = (place.make("kube")?, place.make("logs")?, programs()?);
        let authority = Authority::new("test cluster")?;
        let shown = authority.certificate(&["kubernetes.default.svc".into(), "localhost".into()])?;
        let key = rcgen::KeyPair::generate()?;
        for (name, content) in [
            ("ca.crt", authority.pem.as_str()),
            ("server.crt", &shown.chain),
            ("server.key", &shown.key),
            ("sa.key", &key.serialize_pem()),
            ("sa.pub", &key.public_key_pem()),
            ("tokens.csv", &format!("{ADMIN},admin,admin,system:masters\n")),
        ] {
            fs::write(directory.join(name), content)?;
        }
        let (clients, peers) = (place.control(2379), place.control(2380));
        let etcd = format!(
            "--data-dir {}/etcd --unsafe-no-fsync --listen-client-urls http://{clients} \
             --advertise-client-urls http://{clients} --listen-peer-urls http://{peers} \
             --initial-advertise-peer-urls http://{peers} --initial-cluster default=http://{peers} --log-level warn",
            directory.display()
        );
        let etcd = Process::start("etcd", &programs.join("etcd"), &words(&etcd), &logs)?;
        let address = place.control(6443);
        let mut started = Self { address, directory, logs, programs, server: None, etcd };
        started.resume().await?;
        Ok(started)
    }

    /// Starts the API server after [`ApiServer::kill`], at the same address.
    pub async fn resume(&mut self) -> Result<()> {
        let etcd = SocketAddr::new(self.address.ip(), 2379);
        let directory = self.directory.display();
        // It writes no endpoints of its own: those may not be on loopback.
        let arguments = format!(
            "--etcd-servers=http://{etcd} --bind-address={} --secure-port={} --advertise-address=192.0.2.1 \
             --endpoint-reconciler-type=none --service-cluster-ip-range=10.96.0.0/16 --authorization-mode=RBAC \
             --token-auth-file={directory}/tokens.csv --tls-cert-file={directory}/server.crt \
             --tls-private-key-file={directory}/server.key --cert-dir={directory} \
             --service-account-issuer=https://kubernetes.default.svc.cluster.local \
             --service-account-key-file={directory}/sa.pub --service-account-signing-key-file={directory}/sa.key \
             --api-audiences=https://kubernetes.default.svc.cluster.local \
             --disable-admission-plugins=ServiceAccount --profiling=false",
            self.address.ip(),
            self.address.port()
        );
        let program = self.programs.join("kube-apiserver");
        self.server = Some(Process::start("kube-apiserver", &program, &words(&arguments), &self.logs)?);
        self.kubeconfig("admin", ADMIN)?;
        let ready = async || self.kubectl(&["get", "--raw", "/readyz"], "");
        eventually("the API server is ready", START, async || {
            ready().await?;
            self.kubectl(&["get", "namespace", "default", "-o", "name"], "")
        })
        .await?;
        Ok(())
    }

    /// Ends the API server at once; etcd keeps what it knew.
    pub async fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.stop("KILL", Duration::from_secs(5)).await;
        }
    }

    /// Stops etcd as it is, with signal `STOP`, or lets it go on, with `CONT`.
    pub fn signal_etcd(&self, signal: &str) -> Result<()> {
        let done = Command::new("kill").arg(format!("-{signal}")).arg(self.etcd.id().to_string()).status()?;
        ensure!(done.success(), "kill -{signal}: {done}");
        Ok(())
    }

    /// A kubeconfig for whoever has a token, as a file of that name.
    pub fn kubeconfig(&self, name: &str, token: &str) -> Result<PathBuf> {
        let authority = STANDARD.encode(fs::read(self.directory.join("ca.crt"))?);
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             clusters: [{{name: test, cluster: {{server: \"https://{}\", tls-server-name: localhost, \
             certificate-authority-data: {authority}}}}}]\n\
             users: [{{name: {name}, user: {{token: \"{token}\"}}}}]\n\
             contexts: [{{name: test, context: {{cluster: test, user: {name}}}}}]\n",
            self.address
        );
        let path = self.directory.join(format!("{name}.conf"));
        fs::write(&path, text)?;
        Ok(path)
    }

    /// The kubeconfig of a user who may do everything.
    pub fn admin(&self) -> PathBuf {
        self.directory.join("admin.conf")
    }

    /// A token of a service account, for an audience; empty is the API server itself.
    pub fn token(&self, namespace: &str, account: &str, audience: &str) -> Result<String> {
        let audience = format!("--audience={audience}");
        let mut arguments = vec!["create", "token", account, "-n", namespace];
        if audience != "--audience=" {
            arguments.push(&audience);
        }
        Ok(self.kubectl(&arguments, "")?.trim().to_owned())
    }

    /// Runs kubectl as the admin with that standard input; gives its standard output.
    pub fn kubectl(&self, arguments: &[&str], input: &str) -> Result<String> {
        let mut child = Command::new(self.programs.join("kubectl"))
            .arg(format!("--kubeconfig={}", self.admin().display()))
            .arg(format!("--cache-dir={}", self.directory.join("cache").display()))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("kubectl")?;
        let mut stdin = child.stdin.take().context("a pipe")?;
        stdin.write_all(input.as_bytes())?;
        drop(stdin);
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("kubectl {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Applies objects by server-side apply.
    pub fn apply(&self, objects: &str) -> Result<()> {
        let arguments = ["apply", "--server-side", "--force-conflicts", "--validate=false", "-f", "-"];
        self.kubectl(&arguments, objects).map(drop)
    }

    /// Deletes objects that are named in YAML, and waits until they are gone.
    pub fn delete(&self, objects: &str) -> Result<()> {
        self.kubectl(&["delete", "--ignore-not-found", "-f", "-"], objects).map(drop)
    }

    /// An object as JSON.
    pub fn get(&self, kind: &str, namespace: &str, name: &str) -> Result<serde_json::Value> {
        let text = self.kubectl(&["get", kind, name, "-n", namespace, "-o", "json"], "")?;
        serde_json::from_str(&text).context("kubectl prints JSON")
    }

    /// The trust bundle of a namespace, as soon as it is there.
    pub async fn bundle(&self, namespace: &str) -> Result<String> {
        eventually("the trust bundle", START, async || {
            let map = self.get("configmap", namespace, "istio-ca-root-cert")?;
            Ok(map["data"]["root-cert.pem"].as_str().context("root-cert.pem")?.to_owned())
        })
        .await
    }

    /// Installs CustomResourceDefinitions of Gateway API (the experimental channel) and Istio by their plural names,
    /// and waits until they are established. Without names, all of them.
    pub fn install_crds(&self, names: &[&str]) -> Result<()> {
        let text = crds(names)?;
        self.apply(&text)?;
        self.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "-f", "-"], &text).map(drop)
    }

    /// What the API server has logged.
    pub fn log(&self) -> String {
        self.server.as_ref().map(Process::output).unwrap_or_default()
    }
}

/// The CustomResourceDefinitions that `tests/run` downloaded, by their plural names; all without names.
pub fn crds(names: &[&str]) -> Result<String> {
    let mut text = String::new();
    for directory in crd_directories()? {
        let mut files: Vec<PathBuf> = fs::read_dir(&directory)?.flatten().map(|entry| entry.path()).collect();
        files.sort();
        for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "yaml")) {
            text += &wanted(&fs::read_to_string(file)?, names)?;
        }
    }
    ensure!(!text.is_empty(), "no CustomResourceDefinition of {names:?}");
    Ok(text)
}

fn wanted(file: &str, names: &[&str]) -> Result<String> {
    use serde::Deserialize;
    let mut text = String::new();
    for document in serde_yaml_ng::Deserializer::from_str(file) {
        let value = serde_yaml_ng::Value::deserialize(document)?;
        let field = |path: &[&str]| path.iter().try_fold(&value, |at, key| at.get(*key)).and_then(|at| at.as_str());
        let plural = field(&["spec", "names", "plural"]).unwrap_or_default();
        let group = field(&["spec", "group"]).unwrap_or_default();
        let group_is_read =
            ["gateway.networking.k8s.io", "gateway.networking.x-k8s.io", "security.istio.io"].contains(&group);
        let is_definition = field(&["kind"]) == Some("CustomResourceDefinition");
        if is_definition && group_is_read && (names.is_empty() || names.contains(&plural)) {
            text += &format!("---\n{}", serde_yaml_ng::to_string(&value)?);
        }
    }
    Ok(text)
}

fn crd_directories() -> Result<Vec<PathBuf>> {
    if let Some(paths) = env::var_os("WINDLASS_CRDS") {
        return Ok(env::split_paths(&paths).collect());
    }
    let mut found: Vec<PathBuf> = fs::read_dir(cache())?.flatten().map(|entry| entry.path()).collect();
    let named = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("crds-"));
    found.retain(|path| named(path) && path.join("gateway-api").is_dir());
    found.sort();
    let newest = found.pop().context("no CRDs in the cache: tests/run downloads them")?;
    Ok(vec![newest.join("gateway-api"), newest.join("istio")])
}

/// `windlass-control` against an API server, on ports 15012, 15014 and 8080 of an address of the place.
pub struct Control {
    /// The process.
    pub process: Process,
    /// Its address.
    pub address: std::net::IpAddr,
}

impl Control {
    /// Starts it as whoever the kubeconfig is, with further flags, at the place's address with that last number;
    /// doesn't wait until it is ready.
    pub fn start(place: &Place, last: u8, kubeconfig: &Path, flags: &[&str]) -> Result<Self> {
        let address = place.address(last);
        let at = |port: u16| SocketAddr::new(address, port);
        let logs = place.make("logs")?;
        let mut arguments = words(&format!(
            "--kubeconfig {} --xds {} --admin {} --health {} --ca /nonexistent --pod control-{last}",
            kubeconfig.display(),
            at(15_012),
            at(15_014),
            at(8080),
        ));
        arguments.extend(flags.iter().map(|&flag| flag.to_owned()));
        let name = format!("windlass-control-{last}");
        let process = Process::start(&name, &program("windlass-control")?, &arguments, &logs)?;
        Ok(Self { process, address })
    }

    /// A proxy of Gateway `default/gw` that knows only this replica, at the place's address with that last number: with a
    /// token of a service account for an audience, and the trust bundle, as its pod would have them.
    pub async fn proxy(
        &self,
        place: &Place,
        server: &ApiServer,
        last: u8,
        (account, audience): (&str, &str),
    ) -> Result<Process> {
        let address = place.address(last);
        let (roots, token) = credentials(place, server, last, (account, audience)).await?;
        let arguments = format!(
            "--gateway default/gw --control {} --control-name istiod.istio-system.svc --service-account {account} \
             --token-file {} --root-cert {} --bind {address} --admin {address}:15000 --concurrency 1",
            self.at(15_012),
            token.display(),
            roots.display()
        );
        Process::start(&format!("proxy-{last}"), &program("windlass-proxy")?, &words(&arguments), &place.make("logs")?)
    }

    /// One of its ports.
    pub fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address, port)
    }
}

/// Files with the trust bundle, and with a token of a service account of `default` for an audience.
pub async fn credentials(
    place: &Place,
    server: &ApiServer,
    last: u8,
    (account, audience): (&str, &str),
) -> Result<(PathBuf, PathBuf)> {
    let data = place.make(&format!("proxy-{last}"))?;
    let (roots, token) = (data.join("root-cert.pem"), data.join("token"));
    fs::write(&roots, server.bundle("default").await?)?;
    let issued = eventually("a token", START, async || server.token("default", account, audience)).await?;
    fs::write(&token, issued)?;
    Ok((roots, token))
}

/// The namespace, the control plane's service account and its rights, as its chart renders them in a case.
pub fn chart_rights(case: &str) -> Result<String> {
    let rendered = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/cases").join(case);
    let text = fs::read_to_string(&rendered).with_context(|| rendered.display().to_string())?;
    let kinds = ["ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"];
    let is_right = |document: &&str| kinds.iter().any(|kind| document.contains(&format!("\nkind: {kind}\n")));
    let rights: Vec<&str> = text.split("\n---\n").filter(is_right).collect();
    ensure!(rights.len() > kinds.len(), "{}: no rights in there", rendered.display());
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: istio-system}";
    Ok(format!("{namespace}\n---\n{}\n", rights.join("\n---\n")))
}
