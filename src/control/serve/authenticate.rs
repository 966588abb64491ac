//! Who asks for resources over TLS: the holder of the connection's certificate, otherwise of a bearer token.

use ca::{Peer, TokenError, TokenVerifier};
use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::SystemTime,
};
use tonic::{
    Status,
    body::Body,
    codegen::{Service, http},
    server::NamedService,
};
use xds::server::PeerIdentity;

/// Puts the identity into the extensions of a request before the service sees it.
#[derive(Clone)]
pub struct Authenticate<S> {
    service: S,
    tokens: Arc<dyn TokenVerifier>,
}

impl<S> Authenticate<S> {
    pub fn new(service: S, tokens: Arc<dyn TokenVerifier>) -> Self {
        Self { service, tokens }
    }
}

impl<S: NamedService> NamedService for Authenticate<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Authenticate<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        // The one that was polled ready must be the one that is called.
        let clone = self.service.clone();
        let mut service = std::mem::replace(&mut self.service, clone);
        let (tokens, proof) = (self.tokens.clone(), Proof::of(&request));
        Box::pin(async move {
            match proof.verify(&*tokens).await {
                Ok(identity) => {
                    request.extensions_mut().insert(identity);
                    service.call(request).await
                }
                Err(status) => Ok(status.into_http()),
            }
        })
    }
}

/// What a caller shows.
enum Proof {
    Certificate(PeerIdentity),
    Token(String),
    Malformed,
    Nothing,
}

impl Proof {
    fn of(request: &http::Request<Body>) -> Self {
        if let Some(identity) = request.extensions().get::<Peer>().and_then(|peer| peer.identity.as_ref()) {
            return Self::Certificate(PeerIdentity(identity.to_string().into()));
        }
        let Some(header) = request.headers().get(http::header::AUTHORIZATION) else { return Self::Nothing };
        match header.to_str().ok().and_then(|header| header.split_once(' ')) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                Self::Token(token.trim_start().to_owned())
            }
            _ => Self::Malformed,
        }
    }

    /// The caller. Who shows nothing goes no further.
    async fn verify(self, tokens: &dyn TokenVerifier) -> Result<PeerIdentity, Status> {
        let token = match self {
            Self::Certificate(identity) => return Ok(identity),
            Self::Nothing => {
                return Err(Status::unauthenticated("wanted a client certificate or a bearer token, saw neither"));
            }
            Self::Malformed => {
                return Err(Status::unauthenticated("wanted a bearer token in authorization, saw something else"));
            }
            Self::Token(token) => token,
        };
        match tokens.verify(&token, SystemTime::now()).await {
            Ok(identity) => Ok(PeerIdentity(identity.to_string().into())),
            Err(error) => {
                tracing::info!(%error, "a stream was asked for without proof of an identity");
                Err(match error {
                    TokenError::Unavailable(_) => Status::unavailable("request authenticate failure: try again"),
                    _ => Status::unauthenticated("request authenticate failure"),
                })
            }
        }
    }
}
