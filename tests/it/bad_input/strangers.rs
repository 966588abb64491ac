//! Requests to the port for certificates and xDS that prove nothing, lie, or are too large: each gets its gRPC code.

use super::bench::{Bench, LIMIT};
use anyhow::{Context, Result, ensure};
use ca::BootstrapTokens;
use hyper_util::rt::TokioIo;
use proto::{
    ads::{
        DeltaDiscoveryRequest, Node, Struct, Value,
        aggregated_discovery_service_client::AggregatedDiscoveryServiceClient, value::Kind,
    },
    istio_ca::{IstioCertificateRequest, istio_certificate_service_client::IstioCertificateServiceClient},
};
use rcgen::{CertificateParams, KeyPair, SanType};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use std::{
    io,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tests::{process::Usage, tls::Certificate};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;
use tonic::{
    Code, Request, Status,
    transport::{Channel, Endpoint, Uri},
};

/// The account of the proxies of Gateway `gw`.
const PROXY: &str = "spiffe://cluster.local/ns/default/sa/gw-windlass";
const OTHER: &str = "spiffe://cluster.local/ns/shop/sa/web";
const NODE: &str = "router~127.0.0.1~gw.default~default.svc.cluster.local";

/// All of it, against one control plane.
pub async fn all(bench: &Bench) -> Result<()> {
    let data = bench.place.make("control")?;
    let strangers = Strangers {
        to: bench.place.control(15_012),
        roots: CertificateDer::pem_file_iter(data.join("root-cert.pem"))?.collect::<Result<_, _>>()?,
        tokens: BootstrapTokens::open(&data)?,
    };
    strangers.ask_for_certificates(&bench.place.make("elsewhere")?).await.context("certificates")?;
    strangers.ask_for_resources().await.context("resources")?;
    let before = Usage::of(bench.control.process.id()).resident;
    strangers.send_too_much().await.context("too much")?;
    strangers.speak_no_protocol().await.context("no protocol")?;
    let growth = Usage::of(bench.control.process.id()).resident - before;
    ensure!(growth < 64.0, "the control plane has grown by {growth} MiB");
    // And whoever is no stranger is served, over the same port.
    strangers.certificate(Some(&strangers.token(PROXY)), &csr(&[PROXY])?, 0).await.context("a good request")?;
    strangers.resources(Some(&strangers.token(PROXY)), node(NODE, "default/gw")).await.context("a good stream")?;
    Ok(())
}

struct Strangers {
    to: SocketAddr,
    roots: Vec<CertificateDer<'static>>,
    tokens: BootstrapTokens,
}

impl Strangers {
    async fn ask_for_certificates(&self, elsewhere: &Path) -> Result<()> {
        let foreign = BootstrapTokens::open(elsewhere)?;
        let late = SystemTime::now() + Duration::from_secs(600);
        let good = csr(&[])?;
        let proof = self.token(OTHER);
        let expired = self.tokens.issue(&OTHER.parse()?, SystemTime::now());
        let another = foreign.issue(&OTHER.parse()?, late);
        let weak = include_str!("../../../src/ca/testdata/rsa-1024.csr");
        let broken = good.replacen("MI", "MJ", 1);
        let huge = format!("{good}{}", "x".repeat(1 << 20));
        for (what, token, csr, life, wanted) in [
            ("no token", None, &*good, 0, Code::Unauthenticated),
            ("a token of garbage", Some("garbage"), &good, 0, Code::Unauthenticated),
            ("a token that has expired", Some(&*expired), &good, 0, Code::Unauthenticated),
            ("a token of somebody else's", Some(&*another), &good, 0, Code::Unauthenticated),
            ("a request of garbage", Some(&*proof), "garbage", 0, Code::InvalidArgument),
            ("a broken request", Some(&*proof), &broken, 0, Code::InvalidArgument),
            ("a weak key", Some(&*proof), weak, 0, Code::InvalidArgument),
            ("a foreign name", Some(&*proof), &self::csr(&[PROXY])?, 0, Code::PermissionDenied),
            ("a life of a year", Some(&*proof), &good, 365 * 24 * 3600, Code::InvalidArgument),
            ("a request of a megabyte", Some(&*proof), &huge, 0, Code::OutOfRange),
        ] {
            let status =
                self.certificate(token, csr, life).await.err().with_context(|| format!("{what} was signed"))?;
            ensure!(status.code() == wanted, "{what}: wanted {wanted:?}, saw {status:?}");
        }
        Ok(())
    }

    async fn ask_for_resources(&self) -> Result<()> {
        let (proof, other) = (self.token(PROXY), self.token(OTHER));
        let lie = format!("{}x", &proof);
        let false_id = "router~127.0.0.1~gw.kube-system~kube-system.svc.cluster.local";
        for (what, token, node, wanted) in [
            ("no token", None, node(NODE, "default/gw"), Code::Unauthenticated),
            ("a token that lies", Some(&*lie), node(NODE, "default/gw"), Code::Unauthenticated),
            ("a false node id", Some(&*proof), node(false_id, "default/gw"), Code::PermissionDenied),
            ("somebody else's Gateway", Some(&*proof), node(NODE, "kube-system/gw"), Code::PermissionDenied),
            ("an account of no Gateway", Some(&*other), node(NODE, "default/gw"), Code::PermissionDenied),
        ] {
            let status = self.resources(token, node).await.err().with_context(|| format!("{what} was served"))?;
            ensure!(status.code() == wanted, "{what}: wanted {wanted:?}, saw {status:?}");
        }
        Ok(())
    }

    /// First messages that are larger than any proxy's.
    async fn send_too_much(&self) -> Result<()> {
        let proof = self.token(PROXY);
        for size in [8 << 20, 64 << 20] {
            let mut node = node(NODE, "default/gw");
            node.cluster = "x".repeat(size);
            let status = self.resources(Some(&proof), node).await.err().context("it was read")?;
            let refused = matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted);
            ensure!(refused, "{size} bytes: {status:?}");
        }
        Ok(())
    }

    /// Connections that never become any: none of them takes another's place.
    async fn speak_no_protocol(&self) -> Result<()> {
        let mut silent = Vec::new();
        for _ in 0..200 {
            silent.push(TcpStream::connect(self.to).await?);
        }
        for garbage in
            [&b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..], &[0; 4096], &[0x16, 3, 1, 0xff, 0xff, 1, 0xff, 0xff, 0xff]]
        {
            TcpStream::connect(self.to).await?.write_all(garbage).await?;
        }
        // A certificate that nobody here has signed.
        let made = tests::tls::certificate(&["x".into()])?;
        let stranger = self.connect(Some(&made)).await;
        ensure!(stranger.is_err() || self.is_refused(&made).await, "a stranger's certificate was taken");
        self.certificate(Some(&self.token(OTHER)), &csr(&[])?, 0).await.context("beside silent connections")?;
        drop(silent);
        Ok(())
    }

    /// In TLS 1.3 the client learns only from its first request that its certificate was refused.
    async fn is_refused(&self, certificate: &Certificate) -> bool {
        let Ok(channel) = self.channel(Some(certificate.clone())).await else { return true };
        let mut client = IstioCertificateServiceClient::new(channel);
        let answer = client.create_certificate(IstioCertificateRequest::default()).await;
        answer.is_err_and(|status| matches!(status.code(), Code::Unknown | Code::Unavailable | Code::Internal))
    }

    async fn certificate(&self, token: Option<&str>, csr: &str, life: i64) -> Result<(), Status> {
        let channel = self.channel(None).await.map_err(|error| Status::unknown(format!("{error:#}")))?;
        let message = IstioCertificateRequest { csr: csr.into(), validity_duration: life, metadata: None };
        let answer = IstioCertificateServiceClient::new(channel).create_certificate(with_token(message, token)).await?;
        if answer.get_ref().cert_chain.len() < 2 {
            return Err(Status::data_loss("wanted a leaf and roots"));
        }
        Ok(())
    }

    /// Opens a stream for clusters and waits for its first response.
    async fn resources(&self, token: Option<&str>, node: Node) -> Result<(), Status> {
        let channel = self.channel(None).await.map_err(|error| Status::unknown(format!("{error:#}")))?;
        let first = DeltaDiscoveryRequest {
            node: Some(node),
            type_url: "type.googleapis.com/envoy.config.cluster.v3.Cluster".into(),
            ..Default::default()
        };
        // The request side stays open: its end would be the end of the stream.
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let _ = sender.try_send(first);
        let requests = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let mut client = AggregatedDiscoveryServiceClient::new(channel).max_encoding_message_size(usize::MAX);
        let answered = timeout(LIMIT, async {
            let mut responses = client.delta_aggregated_resources(with_token(requests, token)).await?.into_inner();
            responses.message().await
        });
        let first = answered.await.map_err(|_| Status::unknown("no answer"))??;
        drop(sender);
        first.map(drop).ok_or_else(|| Status::unknown("the stream ended without a response"))
    }

    async fn channel(&self, certificate: Option<Certificate>) -> Result<Channel> {
        let endpoint = Endpoint::from_static("http://istiod.istio-system.svc").timeout(LIMIT);
        let stream = self.connect(certificate.as_ref()).await?;
        let mut stream = Some(TokioIo::new(stream));
        let dial = tower::service_fn(move |_: Uri| {
            let stream = stream.take().ok_or_else(|| io::Error::other("the connection is gone"));
            async move { stream }
        });
        Ok(endpoint.connect_with_connector(dial).await?)
    }

    async fn connect(&self, certificate: Option<&Certificate>) -> Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        self.roots.iter().try_for_each(|root| roots.add(root.clone()))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let mut config = match certificate {
            Some(certificate) => {
                let chain = CertificateDer::pem_slice_iter(certificate.chain.as_bytes()).collect::<Result<_, _>>()?;
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(certificate.key.as_bytes())?)?
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let name = ServerName::try_from("istiod.istio-system.svc")?;
        let stream = TcpStream::connect(self.to).await?;
        Ok(TlsConnector::from(Arc::new(config)).connect(name, stream).await?)
    }

    fn token(&self, identity: &str) -> String {
        let identity = identity.parse().expect("it is an identity");
        self.tokens.issue(&identity, SystemTime::now() + Duration::from_secs(600))
    }
}

fn with_token<T>(message: T, token: Option<&str>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(value) = token.and_then(|token| format!("Bearer {token}").parse().ok()) {
        request.metadata_mut().insert("authorization", value);
    }
    request
}

fn node(id: &str, gateway: &str) -> Node {
    let value = Value { kind: Some(Kind::StringValue(gateway.into())) };
    let fields = [("GATEWAY".to_owned(), value)].into_iter().collect();
    Node { id: id.into(), metadata: Some(Struct { fields }), ..Node::default() }
}

fn csr(uris: &[&str]) -> Result<String> {
    let mut params = CertificateParams::default();
    for uri in uris {
        params.subject_alt_names.push(SanType::URI((*uri).try_into()?));
    }
    Ok(params.serialize_request(&KeyPair::generate()?)?.pem()?)
}
