//! What callers of the service see.

use crate::{metrics::Metrics, service::CertificateService, testing::*, *};
use prometheus_client::{encoding::text::encode, registry::Registry};
use proto::istio_ca::{IstioCertificateRequest, istio_certificate_service_server::IstioCertificateService};
use tempfile::TempDir;
use tonic::{Code, Request, Status};

struct Fixture {
    service: CertificateService,
    tokens: Arc<BootstrapTokens>,
    registry: Registry,
    _dir: TempDir,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let roots = Arc::new(Roots::open(Source::SelfSigned(dir.path().into()), "cluster.local", now()).unwrap());
    let tokens = Arc::new(BootstrapTokens::open(dir.path()).unwrap());
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    let service = CertificateService { roots, tokens: tokens.clone(), clock: Arc::new(now), metrics };
    Fixture { service, tokens, registry, _dir: dir }
}

impl Fixture {
    async fn ask(&self, request: IstioCertificateRequest, proof: Proof<'_>) -> Result<Vec<String>, Status> {
        let mut request = Request::new(request);
        match proof {
            Proof::Nothing => {}
            Proof::Header(value) => drop(request.metadata_mut().insert("authorization", value.parse().unwrap())),
            Proof::Peer(peer) => drop(request.extensions_mut().insert(peer)),
        }
        Ok(self.service.create_certificate(request).await?.into_inner().cert_chain)
    }

    fn token(&self) -> String {
        format!("Bearer {}", self.tokens.issue(&web(), now() + Duration::from_secs(60)))
    }

    fn metrics(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).unwrap();
        text
    }
}

enum Proof<'a> {
    Nothing,
    Header(&'a str),
    Peer(Peer),
}

fn request(csr: String) -> IstioCertificateRequest {
    IstioCertificateRequest { csr, ..Default::default() }
}

#[tokio::test]
async fn a_token_or_a_certificate_proves_the_caller() {
    let fixture = fixture();
    let by_token = fixture.ask(request(csr(&[])), Proof::Header(&fixture.token())).await.unwrap();
    let peer = Peer { identity: Some(web()), has_certificate: true };
    let by_certificate = fixture.ask(request(csr(&[])), Proof::Peer(peer)).await.unwrap();
    assert_eq!(by_token.len(), 2);
    assert_eq!(by_token[1], by_certificate[1]);
    assert_ne!(by_token[0], by_certificate[0]);
    assert!(fixture.metrics().contains("\ncitadel_server_success_cert_issuance_count 2\n"), "{}", fixture.metrics());
}

#[tokio::test]
async fn who_proves_nothing_learns_nothing() {
    let fixture = fixture();
    let expired = fixture.tokens.issue(&web(), now());
    let nameless = Peer { identity: None, has_certificate: true };
    let proofs = [
        Proof::Nothing,
        Proof::Header("Bearer "),
        Proof::Header("Bearer garbage"),
        Proof::Header("Basic dXNlcjpwYXNz"),
        Proof::Header(&format!("Bearer {expired}")),
        Proof::Header(&fixture.token().replace("Bearer ", "Bearer x")),
        Proof::Peer(nameless),
    ];
    for proof in proofs {
        let status = fixture.ask(request(csr(&[])), proof).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Unauthenticated, "request authenticate failure"));
    }
    let metrics = fixture.metrics();
    assert!(metrics.contains("\ncitadel_server_authentication_failure_count 7\n"), "{metrics}");
    assert!(metrics.contains("\ncitadel_server_id_extraction_err_count 1\n"), "{metrics}");
}

#[tokio::test]
async fn nobody_speaks_for_another() {
    let fixture = fixture();
    let foreign = request(csr(&["spiffe://cluster.local/ns/kube-system/sa/root"]));
    let status = fixture.ask(foreign, Proof::Header(&fixture.token())).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");

    let mut impersonating = request(csr(&[]));
    let whom = prost_types::Value { kind: Some(prost_types::value::Kind::StringValue("spiffe://a/ns/b/sa/c".into())) };
    impersonating.metadata =
        Some(prost_types::Struct { fields: [("ImpersonatedIdentity".to_owned(), whom)].into_iter().collect() });
    let status = fixture.ask(impersonating, Proof::Header(&fixture.token())).await.unwrap_err();
    let wanted = (Code::Unauthenticated, "request impersonation authentication failure");
    assert_eq!((status.code(), status.message()), wanted);
}

#[tokio::test]
async fn a_bad_request_says_what_is_wrong() {
    let fixture = fixture();
    let longer = IstioCertificateRequest { validity_duration: 91 * 24 * 3600, ..request(csr(&[])) };
    for (request, wanted) in [
        (request("garbage".into()), "no PEM block CERTIFICATE REQUEST"),
        (request("x".repeat(MAX_CSR + 1)), "wanted at most"),
        (request(include_str!("testdata/rsa-1024.csr").into()), "saw an RSA key of 1024 bits"),
        (longer, "greater than the max allowed TTL"),
    ] {
        let status = fixture.ask(request, Proof::Header(&fixture.token())).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().starts_with("CSR signing error ("), "{status}");
        assert!(status.message().contains(wanted), "wanted {wanted:?}, saw {status}");
    }
    let metrics = fixture.metrics();
    assert!(metrics.contains("\ncitadel_server_csr_count 4\n"), "{metrics}");
    assert!(metrics.contains("\ncitadel_server_csr_parsing_err_count 2\n"), "{metrics}");
    assert!(metrics.contains("\ncitadel_server_csr_sign_err_count 2\n"), "{metrics}");
}

#[tokio::test]
async fn a_negative_life_means_the_default() {
    let fixture = fixture();
    let asked = IstioCertificateRequest { validity_duration: i64::MIN, ..request(csr(&[])) };
    fixture.ask(asked, Proof::Header(&fixture.token())).await.unwrap();
}
