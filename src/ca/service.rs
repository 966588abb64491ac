//! `istio.v1.auth.IstioCertificateService`, as workloads, node proxies and Istio's agents call it.

use crate::{Chain, Clock, Roots, SignError, TokenVerifier, metrics::Metrics, sign, tls::Peer, token::TokenError};
use model::Identity;
use proto::istio_ca::{
    IstioCertificateRequest, IstioCertificateResponse,
    istio_certificate_service_server::{IstioCertificateService, IstioCertificateServiceServer},
};
use std::{sync::Arc, time::Duration};
use tonic::{Request, Response, Status};

/// The largest request that is read, in bytes.
const MAX_REQUEST: usize = 64 * 1024;

/// The service. It keeps no state between calls.
pub struct CertificateService {
    pub(crate) roots: Arc<Roots>,
    pub(crate) tokens: Arc<dyn TokenVerifier>,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
}

impl CertificateService {
    /// For tonic's router.
    pub(crate) fn into_server(self) -> IstioCertificateServiceServer<Self> {
        IstioCertificateServiceServer::new(self).max_decoding_message_size(MAX_REQUEST)
    }

    /// Who calls: by client certificate, otherwise by bearer token. What exactly was wrong stays in our log.
    async fn authenticate<T>(&self, request: &Request<T>) -> Result<Identity, Status> {
        let peer = request.extensions().get::<Peer>();
        if let Some(identity) = peer.and_then(|peer| peer.identity.clone()) {
            return Ok(identity);
        }
        if peer.is_some_and(|peer| peer.has_certificate) {
            self.metrics.without_identity.increment();
        }
        let verified = match bearer(request) {
            Some(token) => self.tokens.verify(token, (self.clock)()).await,
            None => Err(TokenError::Malformed),
        };
        verified.map_err(|error| {
            self.metrics.unauthenticated.increment();
            tracing::info!(%error, "a certificate was asked for without proof of an identity");
            match error {
                TokenError::Unavailable(_) => Status::unavailable("request authenticate failure: try again"),
                _ => Status::unauthenticated("request authenticate failure"),
            }
        })
    }

    fn sign(&self, request: &IstioCertificateRequest, caller: &Identity) -> Result<Chain, SignError> {
        // Istio reads a negative duration as "the default".
        let ttl = Duration::from_secs(u64::try_from(request.validity_duration).unwrap_or(0));
        sign(&request.csr, caller, ttl, (self.clock)(), &self.roots.authority())
    }
}

#[tonic::async_trait]
impl IstioCertificateService for CertificateService {
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        self.metrics.requests.increment();
        let caller = self.authenticate(&request).await?;
        if impersonates(request.get_ref()) {
            // Only a node proxy may ask for another's certificate, and here is nobody who knows which pods a node has.
            self.metrics.unauthenticated.increment();
            tracing::info!(%caller, "an impersonation was refused: there is no node authorizer");
            return Err(Status::unauthenticated("request impersonation authentication failure"));
        }
        match self.sign(request.get_ref(), &caller) {
            Ok(chain) => {
                self.metrics.issued.increment();
                tracing::debug!(%caller, "issued a certificate");
                Ok(Response::new(IstioCertificateResponse { cert_chain: chain.pem }))
            }
            Err(error) => {
                let malformed = matches!(error, SignError::Malformed(_));
                (if malformed { &self.metrics.unreadable } else { &self.metrics.sign_errors }).increment();
                tracing::info!(%caller, %error, "a certificate was not issued");
                Err(status(&error))
            }
        }
    }
}

/// The codes of Istio's own authority, and `PermissionDenied` for what it would have ignored.
fn status(error: &SignError) -> Status {
    let text = format!("CSR signing error ({error})");
    match error {
        SignError::Malformed(_) | SignError::WeakKey(_) | SignError::BadSignature(_) | SignError::TtlTooLong(_) => {
            Status::invalid_argument(text)
        }
        SignError::ForeignName { .. } => Status::permission_denied(text),
        SignError::Authority(_) => Status::internal(text),
    }
}

fn bearer<T>(request: &Request<T>) -> Option<&str> {
    let (scheme, token) = request.metadata().get("authorization")?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start())
}

fn impersonates(request: &IstioCertificateRequest) -> bool {
    request.metadata.as_ref().is_some_and(|metadata| metadata.fields.contains_key("ImpersonatedIdentity"))
}
