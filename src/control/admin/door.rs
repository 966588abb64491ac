//! Who sees the debug pages: this machine, and service accounts of the control plane's own namespace.

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use ca::TokenVerifier;
use std::{net::SocketAddr, sync::Arc, time::SystemTime};

/// How strangers prove who they are.
pub struct Door {
    /// Verifies tokens.
    pub verifier: Arc<dyn TokenVerifier>,
    /// The namespace whose service accounts are let in.
    pub operators: Arc<str>,
}

/// Lets a request through or not. Whoever forwards a port to the pod comes from this machine.
pub async fn pass(
    State(door): State<Arc<Door>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    if peer.ip().to_canonical().is_loopback() {
        return next.run(request).await;
    }
    let refuse = |status: StatusCode, why: &'static str| (status, format!("{why}\n")).into_response();
    let header = request.headers().get(header::AUTHORIZATION).and_then(|header| header.to_str().ok());
    let bearer = header.and_then(|header| header.split_once(' '));
    let Some((_, token)) = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")) else {
        return refuse(StatusCode::UNAUTHORIZED, "wanted a bearer token for istio-ca, or a caller on this machine");
    };
    match door.verifier.verify(token.trim(), SystemTime::now()).await {
        Ok(identity) if identity.namespace == door.operators => next.run(request).await,
        Ok(identity) => {
            tracing::info!(%identity, "debug pages were refused");
            refuse(StatusCode::FORBIDDEN, "wanted a service account of the control plane's namespace")
        }
        Err(ca::TokenError::Unavailable(_)) => refuse(StatusCode::SERVICE_UNAVAILABLE, "try again"),
        Err(_) => refuse(StatusCode::UNAUTHORIZED, "the token was refused"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{Router, body::Body, extract::connect_info::MockConnectInfo, middleware, routing::get};
    use ca::TokenError;
    use model::Identity;
    use tower::ServiceExt;

    /// Knows tokens that are an identity's text.
    struct Plain;

    #[tonic::async_trait]
    impl TokenVerifier for Plain {
        async fn verify(&self, token: &str, _: SystemTime) -> Result<Identity, TokenError> {
            token.parse().map_err(|_| TokenError::Forged)
        }
    }

    #[tokio::test]
    async fn strangers_need_a_token_of_an_operator() {
        let door = || Door { verifier: Arc::new(Plain), operators: "istio-system".into() };
        let bearer = |namespace: &str| Some(format!("Bearer spiffe://cluster.local/ns/{namespace}/sa/a"));
        for (peer, header, wanted) in [
            ("127.0.0.1:1", None, 200),
            ("[::1]:1", None, 200),
            ("[::ffff:127.0.0.1]:1", None, 200),
            ("192.0.2.1:1", None, 401),
            ("192.0.2.1:1", Some("Basic YTpi".to_owned()), 401),
            ("192.0.2.1:1", Some("Bearer nonsense".to_owned()), 401),
            ("192.0.2.1:1", bearer("shop"), 403),
            ("192.0.2.1:1", bearer("istio-system"), 200),
        ] {
            let peer: SocketAddr = peer.parse().unwrap();
            let router = Router::new()
                .route("/debug", get(|| async { "shown" }))
                .layer(middleware::from_fn_with_state(Arc::new(door()), pass))
                .layer(MockConnectInfo(peer));
            let mut request = Request::builder().uri("/debug");
            if let Some(header) = &header {
                request = request.header(header::AUTHORIZATION, header);
            }
            let answer = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
            assert_eq!(answer.status(), wanted, "{peer} {header:?}");
        }
    }
}
