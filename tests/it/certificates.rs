//! The proxy's certificate manager against the real authority, over TLS on loopback.

use anyhow::{Context, Result, ensure};
use ca::{BootstrapTokens, Ca, Options as CaOptions, Peer};
use model::Identity;
use prometheus_client::registry::Registry;
use proxy::certs::{Manager, Options, Token};
use std::{
    fs,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tonic::transport::{Server, server::Connected};
use xds::client::Connect;

/// Longer than anything takes on a busy machine; only failures wait so long.
const PATIENCE: Duration = Duration::from_secs(60);

const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";

/// An authority that listens: certificates on one port, and on another a server that tells each client who it is.
struct Authority {
    ca: Arc<Ca>,
    tokens: Arc<BootstrapTokens>,
    certificates: SocketAddr,
    whoami: SocketAddr,
    tasks: JoinSet<()>,
}

impl Authority {
    async fn start(dir: &Path) -> Result<Self> {
        Self::start_at(dir, "127.0.0.1:0").await
    }

    async fn start_at(dir: &Path, address: &str) -> Result<Self> {
        let ca = Arc::new(Ca::open(CaOptions::new(dir), &mut Registry::default())?);
        let tokens = Arc::new(BootstrapTokens::open(dir)?);
        let (certificates, whoami) = (TcpListener::bind(address).await?, TcpListener::bind("127.0.0.1:0").await?);
        let mut tasks = JoinSet::new();
        let (certificates_at, whoami_at) = (certificates.local_addr()?, whoami.local_addr()?);
        let service = ca.service(tokens.clone());
        let acceptor = TlsAcceptor::from(ca.server_config());
        let incoming = futures::stream::unfold((certificates, acceptor.clone()), |(listener, acceptor)| async move {
            loop {
                let (stream, _) = listener.accept().await.ok()?;
                if let Ok(stream) = acceptor.accept(stream).await {
                    return Some((Ok::<_, std::io::Error>(Accepted(stream)), (listener, acceptor)));
                }
            }
        });
        let served = Server::builder().add_service(service).serve_with_incoming(incoming);
        tasks.spawn(async move { served.await.expect("it serves") });
        tasks.spawn(async move {
            loop {
                let (stream, _) = whoami.accept().await.expect("it listens");
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let peer = Peer::of(stream.get_ref().1);
                    let name = peer.identity.map_or("nobody".into(), |identity| identity.to_string());
                    let _ = stream.write_all(name.as_bytes()).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        Ok(Self { ca, tokens, certificates: certificates_at, whoami: whoami_at, tasks })
    }

    /// A manager for `web` with a good token.
    fn options(&self) -> Options {
        let identity: Identity = WEB.parse().expect("it is an identity");
        let token = self.tokens.issue(&identity, SystemTime::now() + PATIENCE * 10);
        Options {
            ca_address: self.certificates.to_string(),
            server_name: "istiod.istio-system.svc".into(),
            identity,
            roots: self.ca.root_cert_path().to_owned(),
            token: Some(Token::Text(token)),
            dir: None,
            ttl: Duration::from_secs(600),
            clock: Arc::new(SystemTime::now),
        }
    }
}

/// A TLS stream that tells tonic who is at its other end.
struct Accepted(TlsStream<TcpStream>);

impl Connected for Accepted {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        Peer::of(self.0.get_ref().1)
    }
}

impl tokio::io::AsyncRead for Accepted {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl tokio::io::AsyncWrite for Accepted {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::pin::Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// A manager whose task runs as long as this value.
struct Running {
    manager: Arc<Manager>,
    registry: Registry,
    _task: JoinSet<()>,
}

fn run(options: Options) -> Running {
    let mut registry = Registry::default();
    let manager = Manager::new(options, &mut registry);
    let mut task = JoinSet::new();
    let running = manager.clone();
    task.spawn(async move { running.run().await });
    Running { manager, registry, _task: task }
}

impl Running {
    async fn ready(&self) -> Result<Arc<proxy::certs::Certificate>> {
        timeout(PATIENCE, self.manager.ready()).await.context("no certificate")
    }

    /// Waits for a certificate after the current one.
    async fn renewed(&self) -> Result<()> {
        let mut changes = self.manager.subscribe();
        changes.mark_unchanged();
        timeout(PATIENCE, changes.changed()).await.context("no renewal")??;
        Ok(())
    }

    async fn whoami(&self, at: SocketAddr) -> Result<String> {
        let mut stream = timeout(PATIENCE, self.manager.connector(at.to_string()).connect()).await??;
        let mut name = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut name)).await??;
        Ok(name)
    }
}

#[tokio::test]
async fn a_token_buys_the_first_certificate_and_certificates_the_next() -> Result<()> {
    let dir = TempDir::new()?;
    let authority = Authority::start(dir.path()).await?;
    let token = dir.path().join("token");
    let mut options = authority.options();
    let Some(Token::Text(text)) = options.token.replace(Token::File(token.clone())) else {
        anyhow::bail!("the token is a text")
    };
    fs::write(&token, format!("{text}\n"))?;
    options.ttl = Duration::from_secs(4);
    let running = run(options);
    running.ready().await?;
    assert_eq!(running.whoami(authority.whoami).await?, WEB);
    // From here on the token proves nothing.
    fs::write(&token, "a lie")?;
    running.renewed().await?;
    fs::remove_file(&token)?;
    running.renewed().await?;
    assert_eq!(running.whoami(authority.whoami).await?, WEB);
    let mut metrics = String::new();
    prometheus_client::encoding::text::encode(&mut metrics, &running.registry)?;
    let left = metrics.lines().find_map(|line| line.strip_prefix("cert_expiry_seconds ")).context("no metric")?;
    assert!((1..=4).contains(&left.parse::<i64>()?), "{left}");
    Ok(())
}

#[tokio::test]
async fn a_failed_renewal_leaves_a_valid_certificate_alone() -> Result<()> {
    let dir = TempDir::new()?;
    let mut authority = Authority::start(dir.path()).await?;
    let running = run(Options { ttl: Duration::from_secs(20), ..authority.options() });
    let first = running.ready().await?;
    let address = authority.certificates.to_string();
    authority.tasks.shutdown().await;
    // Well into the time in which it is renewed, with nobody there.
    sleep(first.renew_at().duration_since(SystemTime::now())? + Duration::from_secs(1)).await;
    assert!(Arc::ptr_eq(&first, &running.manager.current().context("it was dropped")?));
    let _back = Authority::start_at(dir.path(), &address).await?;
    running.renewed().await?;
    Ok(())
}

#[tokio::test]
async fn a_certificate_outlives_a_restart_and_garbage_does_not() -> Result<()> {
    let (dir, kept) = (TempDir::new()?, TempDir::new()?);
    let mut authority = Authority::start(dir.path()).await?;
    let options = Options { dir: Some(kept.path().to_owned()), ..authority.options() };
    let first = run(options.clone()).ready().await?;
    authority.tasks.shutdown().await;

    let restarted = Manager::new(options.clone(), &mut Registry::default());
    assert_eq!(restarted.current().context("it was not kept")?.certified().cert, first.certified().cert);
    let late = Options { clock: Arc::new(|| SystemTime::now() + Duration::from_secs(601)), ..options.clone() };
    assert!(Manager::new(late, &mut Registry::default()).current().is_none(), "its time is over");
    let other = Options { identity: WEB.replace("web", "api").parse()?, ..options.clone() };
    assert!(Manager::new(other, &mut Registry::default()).current().is_none(), "it is somebody else's");

    let file = kept.path().join("certificate.json");
    let text = fs::read_to_string(&file)?;
    for garbage in ["", "{}", &text[..text.len() / 2], &text.replace("BEGIN CERT", "BEGIN BIRD")] {
        fs::write(&file, garbage)?;
        assert!(Manager::new(options.clone(), &mut Registry::default()).current().is_none(), "{garbage:.30}");
    }
    Ok(())
}

#[tokio::test]
async fn an_authority_that_lost_its_root_is_trusted_again_through_the_file() -> Result<()> {
    let (old, new) = (TempDir::new()?, TempDir::new()?);
    let mut authority = Authority::start(old.path()).await?;
    let (address, roots) = (authority.certificates.to_string(), authority.ca.root_cert_path().to_owned());
    let token = old.path().join("token");
    let mut options = Options { ttl: Duration::from_secs(4), ..authority.options() };
    let Some(Token::Text(text)) = options.token.replace(Token::File(token.clone())) else {
        anyhow::bail!("the token is a text")
    };
    fs::write(&token, text)?;
    let running = run(options);
    running.ready().await?;
    authority.tasks.shutdown().await;

    let authority = Authority::start_at(new.path(), &address).await?;
    fs::copy(authority.ca.root_cert_path(), &roots)?;
    let Some(Token::Text(text)) = authority.options().token else { anyhow::bail!("the token is a text") };
    fs::write(&token, text)?;
    running.renewed().await?;
    assert_eq!(running.whoami(authority.whoami).await?, WEB);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roots_rotate_under_load_without_a_failed_handshake() -> Result<()> {
    const CLIENTS: usize = 6;
    const ROTATIONS: usize = 4;
    let dir = TempDir::new()?;
    let authority = Authority::start(dir.path()).await?;
    // The file is what a client had when it started: it never hears of the new roots but from the authority.
    let first_roots = dir.path().join("first.pem");
    fs::copy(authority.ca.root_cert_path(), &first_roots)?;
    let (done, handshakes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let failures = Arc::new(Mutex::new(Vec::new()));
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        // Some renew all the time, some never: they still know only the first root at the end.
        let ttl = Duration::from_secs(if client % 2 == 0 { 3 } else { 3600 });
        let running = run(Options { ttl, roots: first_roots.clone(), ..authority.options() });
        running.ready().await?;
        let (done, handshakes, failures, at) = (done.clone(), handshakes.clone(), failures.clone(), authority.whoami);
        clients.spawn(async move {
            while !done.load(Ordering::SeqCst) {
                match running.whoami(at).await {
                    Ok(name) if name == WEB => drop(handshakes.fetch_add(1, Ordering::SeqCst)),
                    seen => failures.lock().expect("nobody panics with it").push(format!("client {client}: {seen:?}")),
                }
            }
        });
    }
    for _ in 0..ROTATIONS {
        let before = handshakes.load(Ordering::SeqCst);
        authority.ca.rotate()?;
        let more = async {
            while handshakes.load(Ordering::SeqCst) < before + 10 * CLIENTS
                && failures.lock().expect("nobody panics with it").is_empty()
            {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, more).await.context("handshakes stopped")?;
    }
    done.store(true, Ordering::SeqCst);
    while let Some(ended) = clients.join_next().await {
        ended?;
    }
    let failures = failures.lock().expect("nobody panics with it");
    ensure!(
        failures.is_empty(),
        "{} of {} handshakes: {:?}",
        failures.len(),
        handshakes.load(Ordering::SeqCst),
        failures
    );
    assert_eq!(authority.ca.roots().authority().roots().len(), ROTATIONS + 1);
    Ok(())
}
