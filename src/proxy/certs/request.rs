//! One certificate asked for: a new key, a request for it, a call to the authority.

use super::{Certificate, CertificateError, Options, connect};
use hyper_util::rt::TokioIo;
use model::Identity;
use proto::istio_ca::{IstioCertificateRequest, istio_certificate_service_client::IstioCertificateServiceClient};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, SanType};
use std::{fmt, io, path::PathBuf, sync::Arc, time::Duration};
use tonic::{
    Request, Status,
    metadata::AsciiMetadataValue,
    transport::{Channel, Endpoint, Uri},
};

/// How long the whole call may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A bearer token.
#[derive(Clone)]
pub enum Token {
    /// The token.
    Text(String),
    /// A file with the token, read at each call: Kubernetes replaces it before it expires.
    File(PathBuf),
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The token stays out of logs.
            Self::Text(_) => f.write_str("Text(..)"),
            Self::File(path) => write!(f, "File({})", path.display()),
        }
    }
}

/// Why there is no new certificate.
#[derive(Debug)]
pub enum RequestError {
    /// No key or no request for it.
    Key(rcgen::Error),
    /// The token can't be read or sent.
    Token(String),
    /// The authority can't be reached.
    Connect(String),
    /// The authority refuses.
    Refused(Box<Status>),
    /// What the authority sent is no good.
    Certificate(CertificateError),
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(error) => write!(f, "no certificate request could be made: {error}"),
            Self::Token(error) => write!(f, "token: {error}"),
            Self::Connect(error) => write!(f, "the certificate authority can't be reached: {error}"),
            Self::Refused(status) => {
                write!(f, "the certificate authority refuses: {:?}: {}", status.code(), status.message())
            }
            Self::Certificate(error) => write!(f, "the certificate authority answered, but {error}"),
        }
    }
}

impl std::error::Error for RequestError {}

/// Asks for a certificate, showing the one that we have, if any, and the token, if any.
pub(super) async fn request(
    options: &Options,
    shown: Option<Arc<Certificate>>,
    known: Option<Arc<Certificate>>,
) -> Result<Certificate, RequestError> {
    let (key, csr) = key_and_csr(&options.identity).map_err(RequestError::Key)?;
    let validity_duration = i64::try_from(options.ttl.as_secs()).unwrap_or(i64::MAX);
    let mut request = Request::new(IstioCertificateRequest { csr, validity_duration, metadata: None });
    request.set_timeout(PATIENCE);
    if let Some(token) = &options.token {
        match (bearer(token), &shown) {
            (Ok(value), _) => drop(request.metadata_mut().insert("authorization", value)),
            (Err(error), None) => return Err(error),
            // The certificate proves as much.
            (Err(error), Some(_)) => tracing::info!(%error, "a certificate is renewed without a token"),
        }
    }
    let channel = channel(options.clone(), shown, known).await?;
    let answer = IstioCertificateServiceClient::new(channel).create_certificate(request).await;
    let chain = answer.map_err(|status| RequestError::Refused(Box::new(status)))?.into_inner().cert_chain;
    Certificate::new(key, chain, &options.identity, (options.clock)()).map_err(RequestError::Certificate)
}

/// A new P-256 key as PEM, and a request with exactly one name, ours, and no subject: stricter authorities than ours
/// (istio-csr) want just that.
fn key_and_csr(identity: &Identity) -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(identity.to_string().try_into()?)];
    let csr = params.serialize_request(&key)?.pem()?;
    Ok((key.serialize_pem(), csr))
}

fn bearer(token: &Token) -> Result<AsciiMetadataValue, RequestError> {
    let text = match token {
        Token::Text(text) => text.clone(),
        Token::File(path) => std::fs::read_to_string(path)
            .map_err(|error| RequestError::Token(format!("{}: {error}", path.display())))?,
    };
    let value = format!("Bearer {}", text.trim());
    let mut value: AsciiMetadataValue =
        value.parse().map_err(|_| RequestError::Token("wanted printable ASCII on one line".into()))?;
    value.set_sensitive(true);
    Ok(value)
}

async fn channel(
    options: Options,
    shown: Option<Arc<Certificate>>,
    known: Option<Arc<Certificate>>,
) -> Result<Channel, RequestError> {
    // The connector does TLS and decides where to; the URI is only the `:authority`.
    let uri = format!("http://{}", options.server_name);
    let endpoint = Endpoint::from_shared(uri).map_err(|error| RequestError::Connect(error.to_string()))?;
    let dial = tower::service_fn(move |_: Uri| {
        let (options, shown, known) = (options.clone(), shown.clone(), known.clone());
        async move {
            let stream = connect::open(&options, &options.ca_address, shown.as_deref(), known.as_deref()).await?;
            Ok::<_, io::Error>(TokioIo::new(stream))
        }
    });
    endpoint.connect_with_connector(dial).await.map_err(|error| RequestError::Connect(chain_of(&error)))
}

/// An error with its causes: the first alone says only "transport error".
fn chain_of(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
