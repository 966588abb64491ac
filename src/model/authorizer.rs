//! Services that decide for the CUSTOM policies of Gateways.

use crate::StringMatch;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// A service that decides about what the CUSTOM policies of a Gateway match. Whatever goes wrong, it has not let pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorizer {
    /// The cluster's name.
    pub cluster: Arc<str>,
    /// The name that the service is called by.
    pub authority: Arc<str>,
    /// What it speaks.
    pub protocol: AuthorizerProtocol,
    /// How long it may take.
    pub timeout: Duration,
    /// An error lets the request pass.
    pub fail_open: bool,
    /// The code of the answer after an error.
    pub status_on_error: u16,
    /// What it sees of the body.
    pub body: Option<AuthorizerBody>,
}

/// What such a service speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthorizerProtocol {
    /// Envoy's `ext_authz`.
    Grpc,
    /// The request under another path; 200 lets it pass.
    Http(Box<AuthorizerHttp>),
}

/// A service that speaks HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthorizerHttp {
    /// Stands before the path; may be empty.
    pub path: Arc<str>,
    /// Headers that it sees besides those that it always does.
    pub request_headers: Vec<StringMatch>,
    /// Headers that only it gets.
    pub added: BTreeMap<Arc<str>, Arc<str>>,
    /// Headers of its answer that go into the request.
    pub to_backend: Vec<StringMatch>,
    /// Headers of its denial that the client sees; empty is all.
    pub on_deny: Vec<StringMatch>,
    /// Headers of its consent that the client sees.
    pub on_allow: Vec<StringMatch>,
}

/// What a service sees of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthorizerBody {
    /// Bytes.
    pub most: u32,
    /// A longer body is cut off; else it is refused.
    pub partial: bool,
    /// As bytes, not as text.
    pub raw: bool,
}
