//! `windlass-proxy`: the data plane of one Gateway.

use clap::{Args, Parser, Subcommand, ValueEnum};
use model::{Identity, ObjectKey, TrustDomain};
use proxy::{Control, Options, Proxy, certs, envoy};
use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// The data plane of one Gateway: configuration by xDS, traffic through.
#[derive(Parser)]
#[command(name = "windlass-proxy", version, subcommand_negates_reqs = true, args_conflicts_with_subcommands = true)]
struct Program {
    #[command(flatten)]
    own: Option<Flags>,
    #[command(subcommand)]
    other: Option<Other>,
}

#[derive(Subcommand)]
enum Other {
    /// Stock Envoy in place of our own data plane: gets its certificate, runs it, tells how it is.
    Envoy(EnvoyFlags),
}

#[derive(Args)]
struct EnvoyFlags {
    #[command(flatten)]
    flags: Flags,
    /// The program.
    #[arg(long, value_name = "FILE", default_value = "/usr/local/bin/envoy")]
    envoy: PathBuf,
    /// Addresses of ours, one of a family, from which Envoy connects to backends. They are not let to the admin page,
    /// where a backend's name may lead; without any, all are.
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    source: Vec<IpAddr>,
    /// What else Envoy is told on its command line.
    #[arg(last = true, value_name = "ARGUMENT")]
    arguments: Vec<String>,
}

#[derive(Args)]
struct Flags {
    /// The Gateway to serve.
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = gateway)]
    gateway: ObjectKey,
    /// The control plane.
    #[arg(long, value_name = "HOST:PORT", default_value = "istiod.istio-system.svc:15012")]
    control: String,
    /// Talk to the control plane without TLS, and so without an identity.
    #[arg(long, conflicts_with_all = ["token_file", "root_cert"])]
    plaintext: bool,
    /// A token that proves who we are, read again at each use.
    #[arg(long, value_name = "FILE", default_value = "/var/run/secrets/tokens/istio-token")]
    token_file: PathBuf,
    /// PEM roots that vouch for the control plane, read again at each use.
    #[arg(long, value_name = "FILE", default_value = "/var/run/secrets/istio/root-cert.pem")]
    root_cert: PathBuf,
    /// The name in the control plane's certificate; default: the host of --control.
    #[arg(long, value_name = "NAME")]
    control_name: Option<String>,
    /// Our service account, in the Gateway's namespace; default: `<gateway>-windlass`.
    #[arg(long, value_name = "NAME")]
    service_account: Option<String>,
    /// The trust domain of our identity.
    #[arg(long, value_name = "DOMAIN", default_value = "cluster.local")]
    trust_domain: String,
    /// Directory for the last good configuration and the certificate.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where admin pages are served.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:15000")]
    admin: SocketAddr,
    /// Where readiness and liveness are told to whoever asks: /healthz/ready, /healthz/live.
    #[arg(long, value_name = "ADDR:PORT")]
    health: Option<SocketAddr>,
    /// Where metrics are told to whoever asks: /stats/prometheus.
    #[arg(long, value_name = "ADDR:PORT")]
    metrics: Option<SocketAddr>,
    /// Bind this address in place of those in the configuration.
    #[arg(long, value_name = "ADDR")]
    bind: Option<IpAddr>,
    /// Worker threads; default: one for each core.
    #[arg(long, value_name = "N")]
    concurrency: Option<usize>,
    /// How long requests under way may take when the proxy ends, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 45)]
    drain: u64,
    /// What our own log looks like (not the access log).
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

fn gateway(text: &str) -> Result<ObjectKey, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => Ok(ObjectKey::new(namespace, name)),
        _ => Err(format!("wanted <namespace>/<name>, saw {text:?}")),
    }
}

impl Flags {
    fn workers(&self) -> usize {
        self.concurrency.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// How to get a certificate; none without TLS.
    fn certs(&self) -> Option<certs::Options> {
        let host = self.control.rsplit_once(':').map_or(&*self.control, |(host, _)| host);
        let account = || format!("{}-windlass", self.gateway.name);
        (!self.plaintext).then(|| certs::Options {
            ca_address: self.control.clone(),
            server_name: self.control_name.clone().unwrap_or_else(|| host.to_owned()),
            identity: Identity {
                trust_domain: TrustDomain::new(&self.trust_domain),
                namespace: self.gateway.namespace.clone(),
                service_account: self.service_account.clone().unwrap_or_else(account).into(),
            },
            roots: self.root_cert.clone(),
            token: Some(certs::Token::File(self.token_file.clone())),
            dir: self.data.as_ref().map(|data| data.join("certificate")),
            ttl: Duration::ZERO,
            clock: Arc::new(SystemTime::now),
        })
    }

    fn options(self) -> Options {
        let workers = self.workers();
        let control = match self.certs() {
            None => Control::Plaintext(self.control),
            Some(certs) => Control::Mtls(self.control, Box::new(certs)),
        };
        let Self { gateway, data, bind, admin, health, metrics, .. } = self;
        Options { gateway, control, data, workers, bind, admin: Some(admin), health, metrics }
    }
}

impl EnvoyFlags {
    fn options(self) -> Result<envoy::Options, String> {
        let Self { flags, envoy, source, arguments } = self;
        let data = flags.data.clone().ok_or("--data is needed: Envoy reads its certificate from there")?;
        Ok(envoy::Options {
            certs: flags.certs(),
            workers: flags.workers(),
            gateway: flags.gateway,
            control: flags.control,
            program: envoy,
            arguments,
            data,
            admin: flags.admin,
            sources: source,
            health: flags.health,
            metrics: flags.metrics,
            drain: Duration::from_secs(flags.drain),
        })
    }
}

fn main() -> ExitCode {
    let program = Program::parse();
    let flags = match (&program.own, &program.other) {
        (_, Some(Other::Envoy(envoy))) => &envoy.flags,
        (Some(flags), None) => flags,
        (None, None) => return ExitCode::from(2),
    };
    let format = match flags.log_format {
        LogFormat::Text => base::log::Format::Text,
        LogFormat::Json => base::log::Format::Json,
    };
    base::log::init(format, "info");
    // One thread for all that is not traffic.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime.map_err(|error| error.to_string()).and_then(|runtime| runtime.block_on(start(program)));
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(2),
        Err(error) => {
            eprintln!("windlass-proxy: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn start(program: Program) -> Result<bool, String> {
    match (program.own, program.other) {
        (_, Some(Other::Envoy(envoy))) => envoy::run(envoy.options()?).await,
        (Some(flags), None) => {
            let limit = Duration::from_secs(flags.drain);
            run(flags.options(), limit).await
        }
        (None, None) => Err("nothing to do; see --help".into()),
    }
}

/// Runs until a signal or an admin page asks for the end. False: not everything ended in time.
async fn run(options: Options, limit: Duration) -> Result<bool, String> {
    let proxy = Proxy::start(options).await.map_err(|error| error.to_string())?;
    tokio::select! {
        signal = base::drain::signalled() => {
            let signal = signal.map_err(|error| format!("can't wait for signals: {error}"))?;
            tracing::info!(signal, "draining");
        }
        () = proxy.asked_to_drain() => tracing::info!("draining, as an admin page asks"),
    }
    // A second signal ends at once.
    tokio::select! {
        all = proxy.drain(limit) => Ok(all),
        _ = base::drain::signalled() => Ok(false),
    }
}
