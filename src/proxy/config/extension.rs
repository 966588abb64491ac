//! What is done with a request before the router gets it, wherever it is written: in the listener, in a resource of its
//! own (ECDS), or at a route.

use super::{Name, StringMatch};
use crate::{
    authz::{MetadataMatch, Rbac},
    jwt::JwtFilter,
};
use std::{sync::Arc, time::Duration};

/// One step.
#[derive(Clone, Debug)]
pub enum Step {
    /// Authorisation by policies.
    Rbac(Arc<Rbac>),
    /// Authentication by tokens.
    Jwt(Arc<JwtFilter>),
    /// Authorisation by a service (`envoy.filters.http.ext_authz`).
    ExtAuthz(Arc<ExtAuthz>),
    /// Several steps, under one name (`envoy.filters.http.filter_chain`).
    Chain(Arc<[Step]>),
    /// The requests of a session go to one endpoint (`envoy.filters.http.stateful_session`).
    Session(Arc<Session>),
}

/// How a session is told; the endpoint itself is written in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Session {
    /// By a header that the client repeats.
    Header(Name),
    /// By a cookie.
    Cookie {
        /// Its name.
        name: Name,
        /// How long it lives; none is until the browser forgets it.
        life: Option<Duration>,
        /// Where it counts.
        path: Name,
    },
}

/// Steps of a route alone. A route without any has none of these: nothing of it costs a plain request anything.
#[derive(Clone, Debug, Default)]
pub struct RouteSteps {
    /// Answers to browsers' questions about other origins.
    pub cors: Option<Cors>,
    /// In order, where the listener has its filter chain.
    pub chain: Box<[Step]>,
}

/// Asks a service whether a request may pass.
#[derive(Clone, Debug)]
pub struct ExtAuthz {
    /// Only requests of which filters before have said this are asked about; none is all.
    pub only: Option<MetadataMatch>,
    /// How it is asked.
    pub service: AuthService,
    /// The cluster of the service; if there is none, nothing passes.
    pub cluster: Name,
    /// How long it may take.
    pub timeout: Duration,
    /// An error lets the request pass.
    pub failure_mode_allow: bool,
    /// What is answered after an error.
    pub status_on_error: u16,
    /// The request's body goes along.
    pub body: Option<AuthBody>,
    /// The headers that the service sees: these only. None is all (gRPC), or what is always sent (HTTP).
    pub allowed_headers: Option<Box<[StringMatch]>>,
    /// Headers that it never sees.
    pub disallowed_headers: Box<[StringMatch]>,
}

/// What an authorisation service speaks.
#[derive(Clone, Debug)]
pub enum AuthService {
    /// `envoy.service.auth.v3.Authorization`
    Grpc {
        /// The name that it is called by.
        authority: Name,
    },
    /// The request's head with another path; 200 lets pass.
    Http(Box<HttpAuth>),
}

/// An authorisation service that speaks HTTP.
#[derive(Clone, Debug)]
pub struct HttpAuth {
    /// Stands before the request's path.
    pub path_prefix: Name,
    /// Written over what the request has.
    pub headers_to_add: Box<[(Name, Name)]>,
    /// Headers of its answer that replace the request's.
    pub upstream: Box<[StringMatch]>,
    /// Headers of its answer that are added to the request's.
    pub upstream_append: Box<[StringMatch]>,
    /// Headers of a denial that the client sees; none is all.
    pub client: Option<Box<[StringMatch]>>,
    /// Headers of its consent that the client sees.
    pub client_on_success: Box<[StringMatch]>,
}

/// How much of a request's body an authorisation service sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthBody {
    /// Bytes.
    pub most: usize,
    /// What is larger is cut off; else it is answered with 413.
    pub partial: bool,
    /// As bytes instead of text (gRPC).
    pub raw: bool,
}

/// Cross-origin resource sharing (`envoy.filters.http.cors`).
#[derive(Clone, Debug)]
pub struct Cors {
    /// Origins that may ask.
    pub origins: Box<[StringMatch]>,
    /// `access-control-allow-methods`; `*` is what was asked for if credentials are allowed.
    pub methods: Name,
    /// `access-control-allow-headers`; likewise.
    pub headers: Name,
    /// `access-control-expose-headers`
    pub expose: Name,
    /// `access-control-max-age`
    pub max_age: Name,
    /// `access-control-allow-credentials`
    pub credentials: bool,
    /// Preflights of other origins go on to the backend.
    pub forward_foreign: bool,
}
